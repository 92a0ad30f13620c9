//! What takes one process: messages in order, the wrap of positions, waiting.

use core::time::Duration;
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread;

use super::*;
use crate::error::{RecvError, SendError};
use crate::segment::directory::Mode;
use crate::{Checked, Error, Payload, Segment, Trusted};

mod ends;
mod words;

fn ring<T: Payload<Checked>>(capacity: usize) -> (Segment, Ring<T>) {
    let segment = Segment::heap(1 << 16).unwrap();
    let ring = Ring::create(&segment, "ring", capacity).unwrap();
    (segment, ring)
}

/// The ring of `segment` as another process sees it.
fn elsewhere(segment: &Segment) -> (Segment, Ring<u64>) {
    let other = segment.attach().unwrap();
    let ring = Ring::open(&other, "ring").unwrap();
    (other, ring)
}

fn ends(ring: &Ring<u64>) -> (Sender<u64>, Receiver<u64>) {
    (ring.try_sender().unwrap(), ring.try_receiver().unwrap())
}

#[test]
fn what_is_sent_is_received_in_order() {
    let (_segment, ring) = ring::<u64>(4);
    let (mut sender, mut receiver) = ends(&ring);
    assert_eq!(receiver.try_recv(), Err(RecvError::Empty));
    for round in 0..10 {
        for n in 0..4 {
            sender.try_send(round * 4 + n).unwrap();
        }
        assert_eq!(sender.try_send(99), Err(SendError::Full(99)));
        for n in 0..4 {
            assert_eq!(receiver.try_recv(), Ok(round * 4 + n));
        }
    }
    assert_eq!((sender.position(), receiver.position()), (40, 40));
}

#[test]
fn payloads_of_any_size_and_alignment() {
    fn one<T: Payload<Checked> + PartialEq + Copy + core::fmt::Debug>(value: T) {
        let (_segment, ring) = ring::<T>(1);
        let (mut sender, mut receiver) = (ring.try_sender().unwrap(), ring.try_receiver().unwrap());
        for _ in 0..3 {
            sender.try_send(value).unwrap();
            assert_eq!(receiver.try_recv(), Ok(value));
        }
    }
    one([1_u8, 2, 3]);
    one(7_u16);
    one([9_u64; 100]);
    one(1.5_f32);
}

/// Any mixture of operations does what a queue does, whatever the capacity and wherever the positions are.
#[test]
fn it_behaves_like_a_queue_also_around_the_wrap_of_positions() {
    for capacity in [1, 2, 4, 16] {
        for start in [crate::ring::position::START, 0_u64.wrapping_sub(3), u64::MAX - 100] {
            let segment = Segment::heap(1 << 16).unwrap();
            let config = Some(Config::new(capacity));
            let ring = Ring::<u64>::find(&segment, "ring", Mode::Create, config, start).unwrap();
            let (mut sender, mut receiver) = ends(&ring);
            let (before, mut queue) = (sender.position(), VecDeque::new());
            let (mut sent, mut state) = (0_u64, 88_172_645_463_325_252_u64);
            for _ in 0..2000 {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                let n = (state >> 8) as usize % (capacity + 2);
                match state % 7 {
                    0 => {
                        let fits = queue.len() < capacity;
                        assert_eq!(sender.try_send(sent).is_ok(), fits);
                        queue.extend(fits.then_some(sent));
                        sent += u64::from(fits);
                    }
                    1 => {
                        let values: Vec<u64> = (sent..sent + n as u64).collect();
                        let done = sender.try_send_slice(&values).unwrap_or(0);
                        assert_eq!(done, n.min(capacity - queue.len()));
                        queue.extend(&values[..done]);
                        sent += done as u64;
                    }
                    2 => {
                        if let Ok(mut grant) = sender.try_reserve(n) {
                            assert!(grant.capacity() <= n.min(capacity - queue.len()));
                            assert!(n == 0 || grant.capacity() > 0);
                            let filled = grant.extend(sent..sent + n as u64);
                            assert_eq!((filled, filled), (grant.capacity(), grant.len()));
                            assert_eq!(grant.push(0), Err(0));
                            if state & 1 << 40 != 0 {
                                assert_eq!(grant.commit(), filled);
                                queue.extend(sent..sent + filled as u64);
                                sent += filled as u64;
                            } // else dropped: nothing was sent
                        } else {
                            assert_eq!(queue.len(), capacity);
                        }
                    }
                    3 | 4 => assert_eq!(receiver.try_recv().ok(), queue.pop_front()),
                    _ => {
                        let Ok(items) = receiver.try_read(n) else {
                            assert!(queue.is_empty());
                            continue;
                        };
                        assert!(items.len() <= n && (n == 0 || !items.is_empty()));
                        assert!(items.iter().eq(queue.iter().copied().take(items.len())));
                        assert_eq!(items.get(items.len()), None);
                        assert_eq!(items.get(0), queue.front().copied().filter(|_| n > 0));
                        let mut into = vec![0; capacity];
                        let copied = items.copy_to(&mut into);
                        assert!(into[..copied].iter().eq(queue.iter().take(copied)));
                        let some = (state >> 32) as usize % (items.len() + 2);
                        let expected = some.min(items.len());
                        assert_eq!(items.release_first(some), expected);
                        queue.drain(..expected);
                    }
                }
                assert_eq!(ring.stats().depth, queue.len() as u64);
                assert_eq!(sender.position(), before.wrapping_add(sent));
                assert_eq!(receiver.position(), before.wrapping_add(sent - queue.len() as u64));
            }
            assert!(sent > 100, "positions went round, several times");
        }
    }
}

#[test]
fn a_grant_ends_where_the_slots_begin_anew() {
    let (_segment, ring) = ring::<u64>(4);
    let (mut sender, mut receiver) = ends(&ring);
    assert_eq!(sender.try_send_slice(&[0, 1, 2]).unwrap(), 3);
    receiver.try_read(3).unwrap().release();
    assert_eq!(sender.try_reserve(4).unwrap().capacity(), 1);
    assert_eq!(sender.try_send_slice(&[3, 4, 5, 6, 7]).unwrap(), 4, "both sides of it");
    assert_eq!(receiver.try_read(4).unwrap().len(), 1);
    assert!(receiver.iter().take(4).map(Result::unwrap).eq(3..7));
}

#[test]
fn nothing_is_always_to_be_had() {
    let (_segment, ring) = ring::<u64>(1);
    let (mut sender, mut receiver) = ends(&ring);
    assert!(receiver.try_read(0).unwrap().is_empty());
    assert!(receiver.read(0).unwrap().is_empty());
    sender.send(1).unwrap();
    assert_eq!(sender.try_send_slice(&[]).unwrap(), 0);
    assert_eq!(sender.reserve(0).unwrap().commit(), 0);
    assert!(matches!(sender.try_reserve(1), Err(SendError::Full(()))));
}

#[test]
fn a_panic_in_the_middle_of_a_batch_sends_nothing() {
    let (_segment, ring) = ring::<u64>(4);
    let (mut sender, mut receiver) = ends(&ring);
    let panicked = catch_unwind(AssertUnwindSafe(|| {
        let mut grant = sender.try_reserve(4).unwrap();
        grant.extend((0..4).map(|n| if n < 2 { n } else { panic!("planned") }));
        grant.commit();
    }));
    assert!(panicked.is_err());
    assert_eq!(receiver.try_recv(), Err(RecvError::Empty));
    sender.try_send(7).unwrap();
    assert_eq!(receiver.try_recv(), Ok(7));
}

#[test]
fn trusted_guards_are_slices() {
    // SAFETY: heap memory that only this test writes, through this crate.
    let segment = unsafe { Segment::heap(1 << 16).unwrap().trust() };
    let ring = Ring::<char, Trusted>::create(&segment, "chars", 8).unwrap();
    let (mut sender, mut receiver) = (ring.try_sender().unwrap(), ring.try_receiver().unwrap());
    let mut grant = sender.try_reserve(5).unwrap();
    grant.push('a').unwrap();
    for (slot, c) in grant.spare().iter_mut().zip('b'..) {
        slot.write(c);
    }
    // SAFETY: one was pushed, and four were written.
    unsafe { grant.set_len(99) };
    assert_eq!(grant.commit(), 5);
    let items = receiver.try_read(8).unwrap();
    assert_eq!((&*items, items.len()), (&['a', 'b', 'c', 'd', 'e'][..], 5));
    items.release_first(2);
    assert_eq!(receiver.try_recv(), Ok('c'));

    let numbers = Ring::<u64, Trusted>::create(&segment, "numbers", 8).unwrap();
    let (mut sender, mut receiver) = (numbers.try_sender().unwrap(), numbers.try_receiver().unwrap());
    let mut grant = sender.try_reserve(3).unwrap();
    grant.as_mut_slice().copy_from_slice(&[1, 2, 3]);
    assert_eq!(grant.commit(), 3);
    assert_eq!(*receiver.try_read(8).unwrap(), [1, 2, 3]);
}

#[test]
fn both_sides_wait_for_each_other() {
    for how in [Wait::Sleep, Wait::Spin, Wait::Yield] {
        let (segment, ring) = ring::<u64>(2);
        let (_other, theirs) = elsewhere(&segment);
        let count = if how == Wait::Sleep { 20_000 } else { 2_000 };
        let sending = thread::spawn(move || {
            let mut sender = theirs.sender().unwrap();
            sender.set_wait(how);
            for n in 0..count {
                if n % 3 == 0 {
                    sender.send(n).unwrap();
                } else {
                    let mut grant = sender.reserve(1).unwrap();
                    grant.push(n).unwrap();
                    assert_eq!(grant.commit(), 1);
                }
            }
        });
        let mut receiver = ring.receiver().unwrap();
        receiver.set_wait(how);
        assert!(receiver.iter().map(Result::unwrap).eq(0..count));
        sending.join().unwrap();
    }
}

#[test]
fn waiting_ends_with_the_time_given() {
    for how in [Wait::Sleep, Wait::Spin, Wait::Yield] {
        let (_segment, ring) = ring::<u64>(1);
        let (mut sender, mut receiver) = ends(&ring);
        sender.set_wait(how);
        receiver.set_wait(how);
        let moment = Duration::from_millis(3);
        assert_eq!(receiver.recv_timeout(moment), Err(RecvError::Empty));
        assert!(matches!(receiver.read_timeout(1, Duration::ZERO), Err(RecvError::Empty)));
        sender.send_timeout(1, moment).unwrap();
        assert_eq!(sender.send_timeout(2, moment), Err(SendError::Full(2)));
        assert!(matches!(sender.reserve_timeout(1, moment), Err(SendError::Full(()))));
        assert_eq!(receiver.recv_timeout(Duration::MAX), Ok(1));
    }
}

#[test]
fn shapes_and_types_are_compared() {
    let (segment, ring) = ring::<u64>(5);
    assert_eq!(ring.capacity(), 8);
    assert_eq!(Ring::<u64>::open_or_create(&segment, "ring", 7).unwrap().capacity(), 8);
    let other = Ring::<u64>::open_or_create(&segment, "ring", 9);
    assert!(matches!(other, Err(Error::WrongShape { expected: 16, found: 8, .. })));
    assert!(matches!(Ring::<i64>::open(&segment, "ring"), Err(Error::WrongType { .. })));
    assert!(matches!(Ring::<u64>::open(&segment, "none"), Err(Error::NotFound { .. })));
    assert!(matches!(Ring::<u64>::create(&segment, "none", 0), Err(Error::InvalidConfig { .. })));
    assert!(matches!(Ring::<u64>::create(&segment, "none", 1 << 14), Err(Error::NoSpace { .. })));
    let huge = Ring::<[u64; 1 << 20]>::create(&segment, "none", 1 << 31);
    assert!(matches!(huge, Err(Error::NoSpace { .. })));
}
