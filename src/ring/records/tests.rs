//! What takes one process: records in order, pads, crossings, the wrap of positions, waiting.

use core::mem::MaybeUninit;
use core::time::Duration;
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread;

use super::layout::framed;
use super::ring::New;
use super::*;
use crate::error::{RecvError, SendError};
use crate::ring::position::{START, index};
use crate::segment::directory::Mode;
use crate::{Error, Segment, Trust, Trusted};

mod ends;
mod words;

/// How a ring's memory may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Memory {
    /// Nothing crosses the end of the area.
    Plain,
    /// Mapped twice.
    Twice,
    /// Records may cross the end, and this attachment has mapped it once.
    Once,
}

const ALL: [Memory; 3] = [Memory::Plain, Memory::Twice, Memory::Once];

impl Memory {
    fn segment(self) -> Segment {
        let size = 1 << 17;
        match self {
            Self::Plain | Self::Once => Segment::heap(size).unwrap(),
            Self::Twice => Segment::options().size(size).memfd("outlive-test-records").unwrap(),
        }
    }

    /// The smallest capacity of a ring that is of this kind.
    fn capacity(self) -> usize {
        if self == Self::Plain { 64 } else { 4096 }
    }

    fn create<M: Trust>(self, segment: &Segment<M>, capacity: usize, start: u64) -> Ring<M> {
        let new = New { start, mirrored: self != Self::Plain };
        let ring = Ring::find(segment, "ring", Mode::Create, Some(capacity.into()), new).unwrap();
        assert_eq!(format!("{ring:?}").contains("mapped_twice: true"), self == Self::Twice);
        ring
    }
}

fn ring(capacity: usize) -> (Segment, Ring) {
    let segment = Segment::heap(1 << 16).unwrap();
    let ring = Ring::create(&segment, "ring", capacity).unwrap();
    (segment, ring)
}

/// The ring of `segment` as another process sees it.
fn elsewhere(segment: &Segment) -> (Segment, Ring) {
    let other = segment.attach().unwrap();
    let ring = Ring::open(&other, "ring").unwrap();
    (other, ring)
}

fn ends(ring: &Ring) -> (Sender, Receiver) {
    (ring.try_sender().unwrap(), ring.try_receiver().unwrap())
}

fn try_recv(receiver: &mut Receiver) -> Result<Vec<u8>, RecvError> {
    let mut record = vec![1, 2, 3];
    receiver.try_recv(&mut record).map(|len| {
        assert_eq!(len, record.len());
        record
    })
}

/// Bytes that tell where they come from.
fn bytes(seed: usize, len: usize) -> Vec<u8> {
    (0..len).map(|i| (seed * 31 + i * 7).to_le_bytes()[0]).collect()
}

struct Random(u64);

impl Random {
    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        index(self.0 >> 8) % n
    }
}

#[test]
fn what_is_sent_is_received_in_order_at_every_offset() {
    for memory in ALL {
        let segment = memory.segment();
        let ring = memory.create(&segment, memory.capacity(), START);
        let (mut sender, mut receiver) = ends(&ring);
        assert_eq!(try_recv(&mut receiver), Err(RecvError::Empty));
        for n in 0..1000 {
            let record = bytes(n, n % (ring.longest() + 1));
            sender.try_send(&record).unwrap();
            assert_eq!(try_recv(&mut receiver), Ok(record), "{memory:?} {n}");
            assert_eq!(receiver.last_sender(), Some(segment.owner()));
        }
        assert_eq!((sender.position(), receiver.position()), (1000, 1000));
    }
}

#[test]
fn the_longest_record_fits_wherever_the_ring_is() {
    for memory in ALL {
        for offset in (0..memory.capacity() as u64).step_by(if memory == Memory::Plain { 8 } else { 504 }) {
            let segment = memory.segment();
            let ring = memory.create(&segment, memory.capacity(), START + offset);
            let (mut sender, mut receiver) = ends(&ring);
            let expected =
                if memory == Memory::Twice { ring.capacity() - 8 } else { ring.capacity() / 2 - 8 };
            assert_eq!(ring.longest(), expected);
            let record = bytes(7, ring.longest());
            for _ in 0..3 {
                sender.try_send(&record).unwrap();
                assert_eq!(try_recv(&mut receiver), Ok(record.clone()), "{memory:?} {offset}");
            }
            let longer = bytes(0, ring.longest() + 1);
            let refused = SendError::TooLarge((), ring.longest() as u64);
            assert_eq!(sender.try_send(&longer), Err(refused));
            assert_eq!(sender.send(&longer), Err(refused));
            assert!(matches!(sender.reserve(usize::MAX), Err(SendError::TooLarge((), _))));
            assert!(matches!(Error::from(refused), Error::TooLarge { .. }));
        }
    }
}

/// Any mixture of operations does what a queue does, whatever the memory and wherever the positions are.
#[test]
fn it_behaves_like_a_queue_also_around_the_wrap_of_positions() {
    for memory in ALL {
        for start in [START, 0_u64.wrapping_sub(24), 0_u64.wrapping_sub(6000)] {
            for capacity in [memory.capacity(), memory.capacity() * 2] {
                let segment = memory.segment();
                let ring = memory.create(&segment, capacity, start);
                a_queue(&segment, &ring, 3000);
            }
        }
    }
}

fn a_queue(segment: &Segment, ring: &Ring, steps: usize) {
    let (mut sender, mut receiver) = ends(ring);
    let mut queue = VecDeque::new();
    let (mut random, mut pushed, mut popped) = (Random(88_172_645_463_325_252), 0, 0);
    let mut into = Vec::new();
    for step in 0..steps {
        let most = [ring.longest(), 40.min(ring.longest())][random.below(2)];
        let record = bytes(step, random.below(most + 1));
        let do_it = random.below(2) == 0;
        match random.below(8) {
            0..=1 => match sender.try_send(&record) {
                Ok(()) => {
                    queue.push_back(record);
                    pushed += 1;
                }
                Err(error) => {
                    assert_eq!(error, SendError::Full(()));
                    let (capacity, framed) = (ring.capacity() as u64, framed(record.len() as u64));
                    let until_wrap = capacity - ring.header().tail.look() % capacity;
                    let crosses = framed > until_wrap && ring.longest() as u64 + 8 < capacity;
                    let needed = framed + if crosses { until_wrap } else { 0 };
                    assert!(ring.stats().depth + needed > capacity, "{needed}");
                }
            },
            2..=3 => {
                if let Ok(mut grant) = sender.try_reserve(record.len()) {
                    assert_eq!((grant.capacity(), grant.is_empty()), (record.len(), true));
                    let keep = random.below(record.len() + 1);
                    for piece in record[..keep].chunks(1 + random.below(13)) {
                        assert_eq!(grant.extend_from_slice(piece), piece.len());
                    }
                    assert_eq!(grant.len(), keep);
                    if do_it {
                        assert_eq!(grant.commit(), keep);
                        queue.push_back(record[..keep].to_vec());
                        pushed += 1;
                    } // else dropped: nothing was sent
                }
            }
            4..=5 => {
                let front = queue.pop_front();
                assert_eq!(receiver.try_recv(&mut into).ok(), front.as_ref().map(Vec::len));
                popped += u64::from(front.is_some());
                if let Some(front) = front {
                    assert_eq!(into, front);
                }
            }
            _ => match receiver.try_read() {
                Ok(record) => {
                    let front: &Vec<u8> = queue.front().unwrap();
                    assert_eq!((record.len(), record.sender()), (front.len(), segment.owner()));
                    assert_eq!(record.to_vec(), *front);
                    let mut part = bytes(9, random.below(front.len() + 3));
                    let n = record.copy_to(&mut part);
                    assert_eq!((n, &part[..n]), (front.len().min(part.len()), &front[..n]));
                    if do_it {
                        assert!(record.release());
                        queue.pop_front();
                        popped += 1;
                    } // else dropped: it is still there
                }
                Err(error) => assert_eq!((error, queue.len()), (RecvError::Empty, 0)),
            },
        }
        assert_eq!((sender.position(), receiver.position()), (pushed, popped));
        let seen = ring.stats();
        assert_eq!((seen.sent, seen.received), (pushed, popped));
    }
    assert!(pushed > steps as u64 / 8, "{pushed}");
}

#[test]
fn what_was_there_before_does_not_leak() {
    let (_segment, ring) = ring(64);
    let (mut sender, mut receiver) = ends(&ring);
    for _ in 0..4 {
        sender.try_send(&[0xff; 24]).unwrap();
        try_recv(&mut receiver).unwrap();
    }
    sender.try_send(b"abc").unwrap();
    let mut grant = sender.try_reserve(16).unwrap();
    grant.extend_from_slice(b"de");
    grant.extend_from_slice(b"fg");
    assert_eq!(grant.commit(), 4);
    let area = &ring.words()[1024 / 8..];
    let found: Vec<_> = area.iter().map(|word| word.load(crate::shim::Ordering::Relaxed)).collect(); // one thread
    for expected in [b"abc\0\0\0\0\0", b"defg\0\0\0\0"] {
        assert!(found.contains(&u64::from_le_bytes(*expected)), "{found:x?}");
    }
}

#[test]
fn a_grant_is_a_writer_and_takes_no_more_than_it_has() {
    use std::io::Write;
    let (_segment, ring) = ring(64);
    let (mut sender, mut receiver) = ends(&ring);
    let mut grant = sender.try_reserve(5).unwrap();
    write!(grant, "{}", 123).unwrap();
    grant.flush().unwrap();
    let full = grant.write_all(b"456").unwrap_err();
    assert_eq!(full.kind(), std::io::ErrorKind::WriteZero);
    assert_eq!((grant.len(), grant.extend_from_slice(b"7"), grant.commit()), (5, 0, 5));
    assert_eq!(try_recv(&mut receiver).unwrap(), b"12345");
}

#[test]
fn in_place_in_a_trusted_segment() {
    for memory in ALL {
        // SAFETY: memory of this process, which only this test writes, through this crate.
        let segment = unsafe { memory.segment().trust() };
        let ring: Ring<Trusted> = memory.create(&segment, memory.capacity(), START);
        let (mut sender, mut receiver) = (ring.try_sender().unwrap(), ring.try_receiver().unwrap());
        for n in 0..200 {
            let record = bytes(n, n % (ring.longest() + 1));
            let (now, later) = record.split_at(record.len() / 2);
            let mut grant = sender.try_reserve(record.len()).unwrap();
            assert_eq!(grant.extend_from_slice(now), now.len());
            if n % 2 == 0 {
                for (to, from) in grant.spare().iter_mut().zip(later) {
                    *to = MaybeUninit::new(*from);
                }
                // SAFETY: all of them were filled, half by half.
                unsafe { grant.set_len(record.len()) };
            } else {
                grant.as_mut_slice().copy_from_slice(&record);
            }
            assert_eq!(grant.commit(), record.len());
            let read = receiver.try_read().unwrap();
            assert_eq!(*read, record);
            assert!(read.release());
        }
    }
}

#[test]
fn a_record_of_another_handle_is_read_where_the_memory_is_mapped_once() {
    let memory = Memory::Once;
    // SAFETY: memory of this process, which only this test writes, through this crate.
    let segment = unsafe { memory.segment().trust() };
    let ring: Ring<Trusted> = memory.create(&segment, 4096, START + 4096 - 64);
    // What a handle that has mapped it twice would send: a record across the end, longer than we may send.
    let len = 4096 - 8;
    let expected = bytes(3, len);
    let first = 4096 - 64;
    let data = ring.words().len() - 4096 / 8;
    let mut frame = ((len as u64) << 32 | 1 << 24 | u64::from(segment.owner().bits())).to_le_bytes().to_vec();
    frame.extend_from_slice(&expected);
    for (i, word) in frame.chunks(8).enumerate() {
        let place = data + (first / 8 + i) % (4096 / 8);
        let word = u64::from_le_bytes(word.try_into().unwrap());
        ring.words()[place].store(word, crate::shim::Ordering::Relaxed); // one thread
    }
    ring.header().tail.plant(START + 4096 - 64 + 4096);
    let mut receiver = ring.try_receiver().unwrap();
    assert_eq!(*receiver.try_read().unwrap(), expected);
    assert_eq!(receiver.iter().next(), Some(Ok(expected)));
    assert_eq!(receiver.position(), 1);
}

#[test]
fn both_sides_wait_for_each_other() {
    for memory in ALL {
        for how in [Wait::Sleep, Wait::Spin, Wait::Yield] {
            let segment = memory.segment();
            let ring = memory.create(&segment, memory.capacity(), START);
            let (_other, theirs) = elsewhere(&segment);
            let count = if how == Wait::Sleep { 5_000 } else { 1_000 };
            let longest = theirs.longest();
            let sending = thread::spawn(move || {
                let mut sender = theirs.sender().unwrap();
                sender.set_wait(how);
                for n in 0..count {
                    let record = bytes(n, n % (longest + 1));
                    if n % 3 == 0 {
                        sender.send(&record).unwrap();
                    } else {
                        let mut grant = sender.reserve(record.len()).unwrap();
                        grant.extend_from_slice(&record);
                        assert_eq!(grant.commit(), record.len());
                    }
                }
            });
            let mut receiver = ring.receiver().unwrap();
            receiver.set_wait(how);
            let expected = (0..count).map(|n| bytes(n, n % (longest + 1)));
            assert!(receiver.iter().map(Result::unwrap).eq(expected));
            sending.join().unwrap();
        }
    }
}

#[test]
fn waiting_ends_with_the_time_given() {
    for how in [Wait::Sleep, Wait::Spin, Wait::Yield] {
        let (_segment, ring) = ring(64);
        let (mut sender, mut receiver) = ends(&ring);
        sender.set_wait(how);
        receiver.set_wait(how);
        let (moment, mut into) = (Duration::from_millis(3), b"as it was".to_vec());
        assert_eq!(receiver.recv_timeout(&mut into, moment), Err(RecvError::Empty));
        assert!(matches!(receiver.read_timeout(Duration::ZERO), Err(RecvError::Empty)));
        assert_eq!(into, b"as it was");
        sender.send_timeout(&[1; 24], moment).unwrap();
        sender.send_timeout(&[2; 24], moment).unwrap();
        assert_eq!(sender.send_timeout(&[3; 24], moment), Err(SendError::Full(())));
        assert!(matches!(sender.reserve_timeout(24, moment), Err(SendError::Full(()))));
        assert_eq!(receiver.recv_timeout(&mut into, Duration::MAX), Ok(24));
        assert_eq!(into, [1; 24]);
    }
}

#[test]
fn shapes_and_kinds_are_compared() {
    let (segment, ring) = ring(5000);
    assert_eq!((ring.capacity(), ring.longest()), (8192, 4088));
    assert_eq!(Ring::open_or_create(&segment, "ring", 5001).unwrap().capacity(), 8192);
    let other = Ring::open_or_create(&segment, "ring", 9000);
    assert!(matches!(other, Err(Error::WrongShape { expected: 16384, found: 8192, .. })));
    let other = crate::ring::spsc::Ring::<u8>::open(&segment, "ring");
    assert!(matches!(other, Err(Error::WrongType { .. })));
    assert!(matches!(Ring::open(&segment, "none"), Err(Error::NotFound { .. })));
    assert!(matches!(Ring::create(&segment, "none", 0), Err(Error::InvalidConfig { .. })));
    assert!(matches!(Ring::create(&segment, "none", 1 << 16), Err(Error::NoSpace { .. })));
    assert!(matches!(Ring::create(&segment, "none", 1 << 32), Err(Error::InvalidConfig { .. })));
}

#[test]
fn a_ring_is_mapped_twice_where_that_is_possible() {
    let segment = Memory::Twice.segment();
    let ring = Ring::create(&segment, "ring", 1 << 13).unwrap();
    assert_eq!(ring.longest(), (1 << 13) - 8);
    let (_other, theirs) = elsewhere(&segment);
    assert_eq!(theirs.longest(), ring.longest());
    let small = Ring::create(&segment, "small", 2048).unwrap();
    assert_eq!(small.longest(), 1016, "less than a page");
    let (mut sender, mut receiver) = (theirs.try_sender().unwrap(), ring.try_receiver().unwrap());
    drop((theirs, ring)); // the ends keep what they need
    for n in 0..10 {
        sender.send(&bytes(n, 5000)).unwrap();
        assert_eq!(try_recv(&mut receiver).unwrap(), bytes(n, 5000));
    }
}

#[test]
fn an_iterator_ends_with_an_error_which_is_its_last_item() {
    let (_segment, ring) = ring(64);
    let mut receiver = ring.try_receiver().unwrap();
    let panicked = catch_unwind(AssertUnwindSafe(|| {
        let mut sender = ring.try_sender().unwrap();
        sender.send(b"1").unwrap();
        panic!("planned");
    }));
    assert!(panicked.is_err());
    let mut items = receiver.iter();
    assert_eq!(items.next(), Some(Ok(b"1".to_vec())));
    assert!(matches!(items.next(), Some(Err(RecvError::PeerDied(_)))));
    assert_eq!(items.next(), None);
}

/// Whoever looks at a busy ring does not see more records leave it than came in.
#[test]
fn no_more_are_received_than_were_sent_in_any_look() {
    let (_segment, ring) = ring(1 << 12);
    let (mut sender, mut receiver) = ends(&ring);
    thread::scope(|scope| {
        let looking = scope.spawn(|| {
            let mut seen = ring.stats();
            for look in 0..300_000 {
                assert!(seen.received <= seen.sent, "look {look}: {seen:?}");
                seen = ring.stats();
            }
        });
        let mut record = Vec::new();
        while !looking.is_finished() {
            sender.try_send(b"1").unwrap();
            receiver.try_recv(&mut record).unwrap();
        }
        looking.join().unwrap();
    });
}
