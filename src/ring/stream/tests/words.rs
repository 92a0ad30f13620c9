//! Words that no peer should write.

use core::time::Duration;
use std::fs::File;
use std::io::{Read, Write};

use super::super::Ring;
use super::{ends, ring};
use crate::Error;
use crate::error::{Fault, RecvError, SendError};
use crate::ring::end::Header;
use crate::ring::position::START;
use crate::shim::Ordering;

/// All that a peer can write, and all that it can do: errors or wrong bytes, no panic, no end of time.
#[test]
fn no_word_of_the_ring_is_believed() {
    let open_of_row_1 = 1 << 24 | 1 << 14;
    let evil = [
        0,
        1,
        2,
        5,
        u64::MAX,
        u64::MAX - 1,
        START - 1,
        START + 5,
        START + 1,
        START << 1,
        open_of_row_1,
        1 << 24,
        7 << 24,
    ];
    let zeros = File::open("/dev/zero").unwrap();
    let nowhere = File::options().write(true).open("/dev/null").unwrap();
    let moment = Duration::from_micros(1);
    for word in 0..size_of::<Header>() / 8 {
        for value in evil {
            let (segment, ring) = ring(4);
            let (mut writer, mut reader) = ends(&ring);
            let mut buffer = [0; 9];
            writer.set_timeout(Some(moment));
            reader.set_timeout(Some(moment));
            writer.try_write(b"abc").unwrap();
            reader.try_read(&mut buffer[..1]).unwrap();
            let before = ring.words()[word].swap(value, Ordering::Relaxed); // one thread
            for _ in 0..3 {
                let _ = writer.try_write(b"d");
                let _ = writer.write(b"efghijklm");
                let _ = writer.fill_from(&zeros);
            }
            let _ = writer.try_reserve(9).map(|mut grant| (grant.extend_from_slice(b"xyz"), grant.commit()));
            for _ in 0..3 {
                assert!(reader.try_read(&mut buffer).map_or(true, |n| n <= 4));
                let _ = reader.drain_to(&nowhere);
                let _ = reader.read(&mut buffer);
            }
            let _ = reader.try_peek(9).map(|bytes| (bytes.copy_to(&mut buffer), bytes.release()));
            let _ = (ring.stats(), writer.peer(), reader.peer(), format!("{writer:?} {reader:?} {ring:?}"));
            let _ = (ring.try_writer().is_ok(), ring.try_reader().is_ok());
            let other = segment.attach().unwrap();
            let opened = Ring::open(&other, "ring");
            assert_eq!(
                opened.is_ok(),
                word >= 8 || value == before,
                "the constants are the first eight words"
            );
            if let Ok(ring) = opened {
                let _ = ring.writer_timeout(moment).map(|mut writer| writer.try_write(b"n"));
                let _ = ring.reader_timeout(moment).map(|mut reader| reader.try_read(&mut buffer));
            }
            reader.close();
            writer.close();
            let _ = segment.sweep();
        }
    }
}

#[test]
fn contradicting_positions_are_corrupt_for_good() {
    for by in [5, 1 << 40, 1 << 63, 0_u64.wrapping_sub(2)] {
        let (_segment, ring) = ring(4);
        let (mut writer, mut reader) = ends(&ring);
        let mut byte = [0];
        writer.try_write(b"abcd").unwrap();
        reader.try_read(&mut byte).unwrap();
        let (head, tail) = (&ring.header().head, &ring.header().tail);
        let (was, then) = (head.look(), tail.look());
        head.plant(was.wrapping_add(by));
        tail.plant(then.wrapping_add(by));
        for _ in 0..3 {
            let refused = writer.try_write(b"e");
            assert!(
                matches!(refused, Err(SendError::Fault((), Fault::Corrupt { .. }))),
                "{by:x} {refused:?}"
            );
        }
        let mut taken = 0;
        while reader.try_read(&mut byte).is_ok() {
            taken += 1;
        }
        assert!(taken <= 3);
        assert!(matches!(reader.peek(1), Err(RecvError::Fault(Fault::Corrupt { .. }))));
        assert_eq!(reader.read(&mut byte).unwrap_err().kind(), std::io::ErrorKind::InvalidData);
        head.plant(was);
        assert!(
            matches!(writer.try_write(b"e"), Err(SendError::Fault((), Fault::Corrupt { .. }))),
            "for good"
        );
        tail.plant(then.wrapping_add(9));
        drop((writer, reader));
        assert!(matches!(ring.try_writer(), Err(Error::Corrupt { .. })));
        assert!(matches!(ring.try_reader(), Err(Error::Corrupt { .. })));
        tail.plant(then);
        assert!(ring.try_writer().is_ok() && ring.try_reader().is_ok(), "no role was lost");
    }
}
