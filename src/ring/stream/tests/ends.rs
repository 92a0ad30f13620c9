//! Ends that close, resign, panic and die, and those who come after them.

use std::io::{ErrorKind, Read, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};

use super::{drain, elsewhere, ends, ring};
use crate::error::{Fault, RecvError, SendError};
use crate::{Error, Owner, testing};

fn died(error: &std::io::Error) -> Option<Owner> {
    match error.get_ref()?.downcast_ref() {
        Some(Error::PeerDied { owner }) if error.kind() == ErrorKind::BrokenPipe => Some(*owner),
        _ => None,
    }
}

#[test]
fn the_end_comes_when_all_is_read_and_is_none_when_somebody_reopens() {
    let (_segment, ring) = ring(8);
    let (mut writer, mut reader) = ends(&ring);
    writer.write_all(b"abc").unwrap();
    writer.close();
    let mut buffer = [0; 2];
    assert_eq!(reader.read(&mut buffer).unwrap(), 2);
    assert_eq!(reader.read(&mut buffer).unwrap(), 1);
    assert_eq!(reader.read(&mut buffer).unwrap(), 0);
    assert_eq!(reader.try_read(&mut buffer), Err(RecvError::Closed));
    assert!(matches!(reader.peek(1), Err(RecvError::Closed)));
    let mut writer = ring.try_writer().unwrap(); // reopens
    assert_eq!((reader.try_read(&mut buffer), writer.position()), (Err(RecvError::Empty), 3));
    writer.write_all(b"d").unwrap();
    assert_eq!(drain(&mut reader), b"d");
}

#[test]
fn a_closed_reader_breaks_the_pipe_although_there_is_room() {
    let (_segment, ring) = ring(64);
    let (mut writer, reader) = ends(&ring);
    writer.write_all(b"a").unwrap();
    reader.close();
    assert_eq!(writer.try_write(b"b"), Ok(1), "finds the alarm");
    let error = writer.write(b"c").unwrap_err();
    assert_eq!((error.kind(), error.raw_os_error()), (ErrorKind::BrokenPipe, None));
    assert!(matches!(error.get_ref().unwrap().downcast_ref(), Some(Error::Closed)));
    assert_eq!(writer.try_write(b"c"), Err(SendError::Closed(())));
    assert!(matches!(writer.try_reserve(1), Err(SendError::Closed(()))));
    drop(writer);
    let mut writer = ring.try_writer().unwrap();
    assert_eq!(writer.try_write(b"c"), Err(SendError::Closed(())), "its first write at once");
    let mut reader = ring.try_reader().unwrap(); // reopens
    writer.write_all(b"c").unwrap();
    assert_eq!(drain(&mut reader), b"abc");
}

#[test]
fn a_resigned_end_is_waited_for() {
    let (_segment, ring) = ring(1);
    let (mut writer, mut reader) = ends(&ring);
    writer.write_all(b"a").unwrap();
    writer.resign();
    let mut byte = [0];
    assert_eq!(reader.read(&mut byte).unwrap(), 1);
    assert_eq!(reader.try_read(&mut byte), Err(RecvError::Empty));
    assert_eq!(reader.peer(), None);
    let mut writer = ring.try_writer().unwrap();
    writer.write_all(b"b").unwrap();
    reader.resign();
    assert_eq!(writer.try_write(b"c"), Err(SendError::Full(())));
    assert_eq!(drain(&mut ring.try_reader().unwrap()), b"b");
}

#[test]
fn a_death_is_no_end_and_a_successor_carries_on_at_the_byte() {
    for sweep in [false, true] {
        let (segment, ring) = ring(8);
        let (other, theirs) = elsewhere(&segment);
        let (mut writer, mut reader) = (theirs.try_writer().unwrap(), ring.try_reader().unwrap());
        writer.write_all(b"abc").unwrap();
        let mut grant = writer.try_reserve(4).unwrap();
        assert_eq!(grant.extend_from_slice(b"lost"), 4);
        testing::kill(&other).unwrap();
        assert_eq!(grant.commit(), 0, "the dead write nothing");
        if sweep {
            assert_eq!(segment.sweep().unwrap().recovered, 1);
        }
        assert_eq!(writer.try_write(b"x"), Err(SendError::Fault((), Fault::Killed)));
        assert_eq!(writer.write(b"x").unwrap_err().kind(), ErrorKind::Other);
        let mut buffer = [0; 8];
        assert_eq!(reader.read(&mut buffer).unwrap(), 3);
        assert_eq!(reader.try_read(&mut buffer), Err(RecvError::PeerDied(other.owner())));
        assert_eq!(died(&reader.read(&mut buffer).unwrap_err()), Some(other.owner()));
        reader.wait_for_successor(true);
        assert_eq!(reader.try_read(&mut buffer), Err(RecvError::Empty));
        let mut successor = ring.try_writer().unwrap();
        assert_eq!((successor.position(), ring.stats().senders), (3, 2));
        successor.write_all(b"de").unwrap();
        drop(writer);
        assert_eq!(drain(&mut reader), b"de");
        assert_eq!(reader.try_read(&mut buffer), Err(RecvError::Empty), "the dead close nothing");
    }
}

#[test]
fn a_dead_reader_breaks_the_pipe_when_the_ring_is_full() {
    for sweep in [false, true] {
        let (segment, ring) = ring(4);
        let (other, theirs) = elsewhere(&segment);
        let (mut writer, mut reader) = (ring.try_writer().unwrap(), theirs.try_reader().unwrap());
        writer.write_all(b"ab").unwrap();
        let mut first = [0];
        assert_eq!(reader.read(&mut first).unwrap(), 1);
        let bytes = reader.try_peek(1).unwrap(); // not released
        testing::kill(&other).unwrap();
        assert_eq!((bytes.len(), bytes.release()), (0, 0), "the dead release nothing");
        assert_eq!(reader.read(&mut first).unwrap_err().kind(), ErrorKind::Other);
        if sweep {
            segment.sweep().unwrap();
        }
        assert_eq!(writer.write(b"cdefg").unwrap(), 3);
        assert_eq!(died(&writer.write(b"f").unwrap_err()), Some(other.owner()));
        assert_eq!(writer.try_write(b"f"), Err(SendError::PeerDied((), other.owner())));
        writer.wait_for_successor(true);
        assert_eq!(writer.try_write(b"f"), Err(SendError::Full(())));
        let mut successor = ring.try_reader().unwrap();
        assert_eq!(successor.position(), 1);
        assert_eq!(drain(&mut successor), b"bcde");
        writer.write_all(b"f").unwrap();
    }
}

#[test]
fn who_panics_has_died() {
    let (segment, ring) = ring(4);
    let (mut writer, mut reader) = ends(&ring);
    let panicked = catch_unwind(AssertUnwindSafe(move || {
        writer.write_all(b"a").unwrap();
        panic!("planned");
    }));
    assert!(panicked.is_err());
    let mut all = Vec::new();
    assert_eq!(died(&reader.read_to_end(&mut all).unwrap_err()), Some(segment.owner()));
    assert_eq!(all, b"a", "what came before is not lost");
    assert_eq!(ring.try_writer().unwrap().position(), 1);
}

#[test]
fn the_killed_refuse() {
    let (segment, ring) = ring(8);
    let (other, theirs) = elsewhere(&segment);
    let (mut writer, mut reader) = ends(&theirs);
    writer.write_all(b"ab").unwrap();
    testing::kill(&other).unwrap();
    let zeros = std::fs::File::open("/dev/zero").unwrap();
    let nowhere = std::fs::File::options().write(true).open("/dev/null").unwrap();
    for error in [
        writer.write(b"c").unwrap_err(),
        writer.fill_from(&zeros).unwrap_err(),
        reader.read(&mut [0]).unwrap_err(),
        reader.drain_to(&nowhere).unwrap_err(),
    ] {
        assert!(matches!(error.get_ref().unwrap().downcast_ref(), Some(Error::Killed)));
    }
    assert!(matches!(writer.reserve(1), Err(SendError::Fault((), Fault::Killed))));
    assert!(matches!(reader.peek(1), Err(RecvError::Fault(Fault::Killed))));
    assert!(matches!(theirs.try_writer(), Err(Error::Killed)));
    assert_eq!((writer.position(), reader.position()), (0, 0));
    assert_eq!(drain(&mut ring.try_reader().unwrap()), b"ab");
}
