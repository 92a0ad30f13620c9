//! What takes one process: bytes in order, the wrap of positions, waiting.

use core::time::Duration;
use std::collections::VecDeque;
use std::io::{BufRead, ErrorKind, Read, Write};
use std::thread;

use super::*;
use crate::error::{RecvError, SendError};
use crate::segment::directory::Mode;
use crate::{Checked, Error, Segment, Trust, Trusted};

mod descriptors;
mod ends;
mod words;

/// A prime, so that no wrap of a power of two hides a shift.
const CYCLE: usize = 251;

/// What has to be at these positions.
fn pattern(from: u64, len: usize) -> Vec<u8> {
    (0..len as u64).map(|i| u8::try_from((from + i) % CYCLE as u64).unwrap()).collect()
}

fn ring(capacity: usize) -> (Segment, Ring) {
    let segment = Segment::heap(1 << 18).unwrap();
    let ring = Ring::create(&segment, "ring", capacity).unwrap();
    (segment, ring)
}

fn trusted_ring(capacity: usize) -> (Segment<Trusted>, Ring<Trusted>) {
    // SAFETY: heap memory that only this test writes, through this crate.
    let segment = unsafe { Segment::heap(1 << 18).unwrap().trust() };
    let ring = Ring::<Trusted>::create(&segment, "ring", capacity).unwrap();
    (segment, ring)
}

/// The ring of `segment` as another process sees it.
fn elsewhere(segment: &Segment) -> (Segment, Ring) {
    let other = segment.attach().unwrap();
    let ring = Ring::open(&other, "ring").unwrap();
    (other, ring)
}

fn ends<M: Trust>(ring: &Ring<M>) -> (Writer<M>, Reader<M>) {
    (ring.try_writer().unwrap(), ring.try_reader().unwrap())
}

/// Everything that is in the ring.
fn drain<M: Trust>(reader: &mut Reader<M>) -> Vec<u8> {
    let (mut all, mut buffer) = (Vec::new(), [0; 64]);
    while let Ok(n @ 1..) = reader.try_read(&mut buffer) {
        all.extend_from_slice(&buffer[..n]);
    }
    all
}

#[test]
fn what_is_written_is_read_in_order() {
    let (_segment, ring) = ring(4);
    let (mut writer, mut reader) = ends(&ring);
    let mut buffer = [0; 8];
    assert_eq!(reader.try_read(&mut buffer), Err(RecvError::Empty));
    for round in 0..10_u8 {
        assert_eq!(writer.try_write(&[round, 1, 2, 3, 4]), Ok(4));
        assert_eq!(writer.try_write(&[9]), Err(SendError::Full(())));
        assert_eq!(reader.try_read(&mut buffer[..3]), Ok(3));
        assert_eq!(buffer[..3], [round, 1, 2]);
        assert_eq!(reader.try_read(&mut buffer), Ok(1));
        assert_eq!(buffer[0], 3);
    }
    assert_eq!((writer.position(), reader.position()), (40, 40));
}

/// Any mixture of operations does what a queue does, whatever the capacity and wherever the positions are.
#[test]
fn it_behaves_like_a_queue_also_around_the_wrap_of_positions() {
    for capacity in [1, 2, 4, 16, 64] {
        for start in [crate::ring::position::START, 0_u64.wrapping_sub(3), u64::MAX - 100] {
            let segment = Segment::heap(1 << 16).unwrap();
            let config = Some(Config::new(capacity));
            let ring = Ring::<Checked>::find(&segment, "ring", Mode::Create, config, start).unwrap();
            let (mut writer, mut reader) = ends(&ring);
            let (before, mut queue) = (writer.position(), VecDeque::<u8>::new());
            let (mut written, mut state) = (0_u64, 88_172_645_463_325_252_u64);
            for _ in 0..2000 {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                let n = usize::try_from((state >> 8) % (capacity as u64 + 2)).unwrap();
                let bytes = pattern(written, n);
                let mut into = vec![0; n];
                match state % 4 {
                    0 => {
                        let done = writer.try_write(&bytes).unwrap_or(0);
                        assert_eq!(done, n.min(capacity - queue.len()));
                        queue.extend(&bytes[..done]);
                        written += done as u64;
                    }
                    1 => {
                        if let Ok(mut grant) = writer.try_reserve(n) {
                            assert!(grant.capacity() <= n.min(capacity - queue.len()));
                            assert!(n == 0 || grant.capacity() > 0);
                            let first = grant.extend_from_slice(&bytes[..n / 2]);
                            let filled = first + grant.extend_from_slice(&bytes[first..]);
                            assert_eq!((filled, filled), (grant.capacity(), grant.len()));
                            assert_eq!(grant.extend_from_slice(b"x"), 0);
                            if state & 1 << 40 != 0 {
                                assert_eq!(grant.commit(), filled);
                                queue.extend(&bytes[..filled]);
                                written += filled as u64;
                            } // else dropped: nothing was written
                        } else {
                            assert_eq!(queue.len(), capacity);
                        }
                    }
                    2 => {
                        let done = reader.try_read(&mut into).unwrap_or(0);
                        assert_eq!(done, n.min(queue.len()));
                        assert!(queue.drain(..done).eq(into[..done].iter().copied()));
                    }
                    _ => {
                        let Ok(bytes) = reader.try_peek(n) else {
                            assert!(queue.is_empty());
                            continue;
                        };
                        assert!(bytes.len() <= n && (n == 0 || !bytes.is_empty()));
                        let copied = bytes.copy_to(&mut into);
                        assert_eq!(copied, bytes.len());
                        assert!(into[..copied].iter().eq(queue.iter().take(copied)));
                        let some = usize::try_from(state >> 32).unwrap() % (bytes.len() + 2);
                        let expected = some.min(bytes.len());
                        assert_eq!(bytes.release_first(some), expected);
                        queue.drain(..expected);
                    }
                }
                assert_eq!(ring.stats().depth, queue.len() as u64);
                assert_eq!(writer.position(), before.wrapping_add(written));
                assert_eq!(reader.position(), before.wrapping_add(written - queue.len() as u64));
            }
            assert!(written > 100, "positions went round, several times");
        }
    }
}

/// Writes and reads of many parts, across the end of the ring, at any offset.
#[test]
fn large_writes_and_reads_are_exact() {
    fn through<M: Trust>(ring: &Ring<M>) {
        let (mut writer, mut reader) = ends(ring);
        let capacity = ring.capacity();
        let mut at = 0;
        for skew in [1, 63, 64, 4095, 4096, 5000, capacity - 1, capacity] {
            let bytes = pattern(at, capacity + 17);
            assert_eq!(writer.try_write(&bytes[..skew]), Ok(skew));
            assert_eq!(writer.try_write(&bytes[skew..]).unwrap_or(0), capacity - skew);
            let mut into = vec![0; capacity + 17];
            assert_eq!(reader.try_read(&mut into), Ok(capacity));
            assert_eq!(into[..capacity], bytes[..capacity]);
            at += capacity as u64;
            // the next round begins somewhere else
            assert_eq!(writer.try_write(&pattern(at, skew)), Ok(skew));
            assert_eq!(drain(&mut reader), pattern(at, skew));
            at += skew as u64;
        }
    }
    through(&ring(1 << 16).1);
    through(&trusted_ring(1 << 16).1);
}

#[test]
fn a_grant_ends_where_the_bytes_begin_anew() {
    let (_segment, ring) = ring(4);
    let (mut writer, mut reader) = ends(&ring);
    assert_eq!(writer.try_write(b"abc"), Ok(3));
    assert_eq!(reader.try_peek(3).unwrap().release(), 3);
    assert_eq!(writer.try_reserve(4).unwrap().capacity(), 1);
    assert_eq!(writer.try_write(b"defgh"), Ok(4), "both sides of it");
    assert_eq!(reader.try_peek(4).unwrap().len(), 1);
    assert_eq!(drain(&mut reader), b"defg");
}

#[test]
fn nothing_is_always_to_be_had() {
    let (_segment, ring) = ring(1);
    let (mut writer, mut reader) = ends(&ring);
    assert!(reader.try_peek(0).unwrap().is_empty());
    assert!(reader.peek(0).unwrap().is_empty());
    assert_eq!(reader.read(&mut []).unwrap(), 0);
    writer.write_all(b"x").unwrap();
    assert_eq!(writer.write(&[]).unwrap(), 0);
    assert_eq!(writer.try_write(&[]), Ok(0));
    assert_eq!(writer.reserve(0).unwrap().commit(), 0);
    assert!(matches!(writer.try_reserve(1), Err(SendError::Full(()))));
    writer.flush().unwrap();
}

#[test]
fn trusted_guards_are_slices_and_the_reader_has_lines() {
    let (_segment, ring) = trusted_ring(16);
    let (mut writer, mut reader) = ends(&ring);
    let mut grant = writer.try_reserve(5).unwrap();
    assert_eq!(grant.extend_from_slice(b"a"), 1);
    for (byte, c) in grant.spare().iter_mut().zip(b"bcd\n") {
        byte.write(*c);
    }
    // SAFETY: one was filled, and four were written.
    unsafe { grant.set_len(99) };
    assert_eq!(grant.commit(), 5);
    let mut grant = writer.try_reserve(3).unwrap();
    grant.as_mut_slice().copy_from_slice(b"e\nf");
    assert_eq!(grant.commit(), 3);
    let bytes = reader.try_peek(8).unwrap();
    assert_eq!((&*bytes, bytes.len()), (&b"abcd\ne\nf"[..], 8));
    assert_eq!(bytes.release_first(1), 1);
    let mut line = String::new();
    assert_eq!(reader.read_line(&mut line).unwrap(), 4);
    assert_eq!(reader.read_line(&mut line).unwrap(), 2);
    assert_eq!(line, "bcd\ne\n");
    assert_eq!(reader.fill_buf().unwrap(), b"f");
    reader.consume(9);
    assert_eq!(reader.position(), 8);
    reader.set_timeout(Some(Duration::ZERO));
    assert_eq!(reader.fill_buf().unwrap_err().kind(), ErrorKind::WouldBlock);
    writer.write_all(b"0123456789").unwrap(); // across the end of the ring
    writer.close();
    assert_eq!(reader.fill_buf().unwrap(), b"01234567");
    let rest: Vec<_> = reader.lines().map(Result::unwrap).collect();
    assert_eq!(rest, ["0123456789"]);
}

#[test]
fn messages_larger_than_the_ring_go_in_rounds() {
    for (how, capacity) in
        [(Wait::Sleep, 1 << 12), (Wait::Yield, 64), (Wait::Spin, 1 << 14), (Wait::Sleep, 1)]
    {
        let (segment, ring) = ring(capacity);
        let (_other, theirs) = elsewhere(&segment);
        let len = if capacity == 1 { 500 } else { 100_000 };
        let sent = pattern(0, len);
        let writing = thread::spawn({
            let sent = sent.clone();
            move || {
                let mut writer = theirs.writer().unwrap();
                writer.set_wait(how);
                writer.write_all(&sent).unwrap();
            }
        });
        let mut reader = ring.reader().unwrap();
        reader.set_wait(how);
        let mut all = Vec::new();
        assert_eq!(reader.read_to_end(&mut all).unwrap(), len);
        assert_eq!(all, sent);
        writing.join().unwrap();
    }
}

#[test]
fn waiting_ends_with_the_time_given() {
    for how in [Wait::Sleep, Wait::Spin, Wait::Yield] {
        let (_segment, ring) = ring(1);
        let (mut writer, mut reader) = ends(&ring);
        writer.set_wait(how);
        reader.set_wait(how);
        let (moment, mut byte) = (Duration::from_millis(3), [0]);
        for (timeout, kind) in [(moment, ErrorKind::TimedOut), (Duration::ZERO, ErrorKind::WouldBlock)] {
            reader.set_timeout(Some(timeout));
            let error = reader.read(&mut byte).unwrap_err();
            assert_eq!((error.kind(), error.raw_os_error()), (kind, None));
            assert!(matches!(error.get_ref().unwrap().downcast_ref(), Some(Error::Empty)));
            assert!(matches!(reader.peek_timeout(1, timeout), Err(RecvError::Empty)));
            writer.set_timeout(Some(timeout));
            assert_eq!(writer.write(b"ab").unwrap(), 1);
            let error = writer.write(b"b").unwrap_err();
            assert_eq!((error.kind(), error.raw_os_error()), (kind, None));
            assert!(matches!(error.get_ref().unwrap().downcast_ref(), Some(Error::Full)));
            assert!(matches!(writer.reserve_timeout(1, timeout), Err(SendError::Full(()))));
            reader.set_timeout(Some(Duration::MAX));
            assert_eq!((reader.read(&mut byte).unwrap(), byte), (1, [b'a']));
        }
    }
}

#[test]
fn shapes_and_types_are_compared() {
    let (segment, ring) = ring(5);
    assert_eq!(ring.capacity(), 8);
    assert_eq!(Ring::open_or_create(&segment, "ring", 7).unwrap().capacity(), 8);
    let other = Ring::open_or_create(&segment, "ring", 9);
    assert!(matches!(other, Err(Error::WrongShape { expected: 16, found: 8, .. })));
    let other = crate::ring::spsc::Ring::<u8>::open(&segment, "ring");
    assert!(matches!(other, Err(Error::WrongType { .. })));
    assert!(matches!(Ring::open(&segment, "none"), Err(Error::NotFound { .. })));
    assert!(matches!(Ring::create(&segment, "none", 0), Err(Error::InvalidConfig { .. })));
    assert!(matches!(Ring::create(&segment, "none", (1 << 31) + 1), Err(Error::InvalidConfig { .. })));
    assert!(matches!(Ring::create(&segment, "none", 1 << 31), Err(Error::NoSpace { .. })));
    assert!(format!("{:?} {ring:?}", ends(&ring)).contains("capacity"));
}
