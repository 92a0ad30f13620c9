//! Words that no peer should write.

use core::time::Duration;

use super::super::Ring;
use super::{ALL, Memory, ends, try_recv};
use crate::Error;
use crate::error::{Fault, RecvError, SendError};
use crate::ring::end::Header;
use crate::ring::position::START;
use crate::shim::Ordering;

fn is_corrupt<T>(result: &Result<T, Error>) -> bool {
    matches!(result, Err(Error::Corrupt { .. }))
}

/// All that a peer can write, and all that it can do: errors or wrong values, no panic, no end of time.
#[test]
fn no_word_of_the_ring_is_believed() {
    let open_of_row_1 = 1 << 24 | 1 << 14;
    let evil = [
        0,
        1,
        7,
        u64::MAX,
        START - 8,
        START + 4,
        START + 40,
        START + 65,
        START << 1,
        open_of_row_1,
        16 << 32 | open_of_row_1,
        24 << 32 | 2 << 24,
        7 << 24,
    ];
    for memory in [Memory::Plain, Memory::Once] {
        let capacity = memory.capacity();
        for word in 0..size_of::<Header>() / 8 + 8 {
            for value in evil {
                let segment = memory.segment();
                let ring = memory.create(&segment, capacity, START);
                let (mut sender, mut receiver) = ends(&ring);
                sender.try_send(b"one").unwrap();
                sender.try_send(b"two").unwrap();
                try_recv(&mut receiver).unwrap();
                let word = if word < 128 { word } else { ring.words().len() - capacity / 8 + word - 128 };
                let before = ring.words()[word].swap(value, Ordering::Relaxed); // one thread
                for _ in 0..6 {
                    let _ = sender.try_send(&[3; 11]);
                    let _ = sender.send_timeout(&[4; 24], Duration::from_micros(1));
                }
                let _ = sender
                    .try_reserve(9)
                    .map(|mut grant| (grant.extend_from_slice(&[5; 12]), grant.commit()));
                for _ in 0..6 {
                    let _ = try_recv(&mut receiver);
                    let _ = receiver.recv_timeout(&mut Vec::new(), Duration::from_micros(1));
                }
                let _ = receiver.try_read().map(|record| (record.to_vec(), record.release()));
                let _ = (
                    ring.stats(),
                    sender.peer(),
                    receiver.peer(),
                    format!("{sender:?} {receiver:?} {ring:?}"),
                );
                let _ = (ring.try_sender().is_ok(), ring.try_receiver().is_ok());
                let other = segment.attach().unwrap();
                let opened = Ring::open(&other, "ring");
                assert_eq!(
                    opened.is_ok(),
                    word >= 8 || value == before,
                    "the constants are the first eight words"
                );
                if let Ok(ring) = opened {
                    let moment = Duration::from_micros(1);
                    let _ = ring.sender_timeout(moment).map(|mut sender| sender.try_send(b"1"));
                    let _ = ring.receiver_timeout(moment).map(|mut receiver| try_recv(&mut receiver));
                }
                receiver.close();
                sender.close();
                let _ = segment.sweep();
            }
        }
    }
}

/// Each header that is no record's and no pad's where it stands.
#[test]
fn impossible_frames_are_corrupt_for_good() {
    for memory in ALL {
        let capacity = memory.capacity() as u64;
        let owner = 1 << 14 | 1_u64;
        let record = |len: u64| len << 32 | 1 << 24 | owner;
        let pad = |len: u64| len << 32 | 2 << 24;
        // At 24 bytes before the end of the area; 16 bytes are ready: a record of 1 to 8 bytes.
        let mut impossible = vec![
            0,
            owner,
            record(9),
            record(17),
            record(capacity),
            record(u64::from(u32::MAX)),
            record(8) & !0xff_ffff,        // nobody's
            record(8) & !0xff_ffff | 0x4d, // of row 0
            record(8) | 0xff_ffff,         // of row 1023
            record(8) ^ 2 << 24,           // of kind 3
            pad(8),                        // not up to the end
            pad(16),                       // nothing behind it
            pad(capacity + 16),
            pad(16) | owner,
        ];
        if memory == Memory::Plain {
            impossible.push(pad(capacity - 8));
        }
        for header in impossible {
            let segment = memory.segment();
            let ring = memory.create(&segment, memory.capacity(), START + capacity - 24);
            let (mut sender, mut receiver) = ends(&ring);
            sender.try_send(b"12345678").unwrap();
            let place = &ring.words()[ring.words().len() - 3];
            let was = place.swap(header, Ordering::Relaxed); // one thread
            assert_eq!(was, record(8) & !owner | u64::from(segment.owner().bits()));
            let refused = receiver.try_read().map(|record| record.to_vec());
            assert!(
                matches!(refused, Err(RecvError::Fault(Fault::Corrupt { .. }))),
                "{memory:?} {header:x} {refused:?}"
            );
            place.store(was, Ordering::Relaxed); // one thread
            for _ in 0..2 {
                assert!(matches!(try_recv(&mut receiver), Err(RecvError::Fault(Fault::Corrupt { .. }))));
            }
            sender.try_send(b"the sender has its own opinion").unwrap_or(());
            drop(receiver);
            assert_eq!(try_recv(&mut ring.try_receiver().unwrap()).unwrap(), b"12345678", "a fresh look");
        }
    }
}

/// A pad leads to a record, and not to another pad, and not nowhere.
#[test]
fn a_pad_is_followed_by_a_record() {
    for second in [0, 2 << 24, 8 << 32 | 2 << 24, 48 << 32 | 2 << 24, 56 << 32 | 2 << 24] {
        let memory = Memory::Plain;
        let segment = memory.segment();
        let ring = memory.create(&segment, 64, START + 40);
        let (mut sender, mut receiver) = ends(&ring);
        sender.try_send(&[7; 24]).unwrap(); // 24 bytes up to the end: a pad, and then the record
        let area = &ring.words()[ring.words().len() - 8..];
        let was = area[0].swap(second, Ordering::Relaxed); // one thread
        assert_eq!(area[5].load(Ordering::Relaxed), 16 << 32 | 2 << 24, "the pad"); // one thread
        assert!(
            matches!(try_recv(&mut receiver), Err(RecvError::Fault(Fault::Corrupt { .. }))),
            "{second:x}"
        );
        area[0].store(was, Ordering::Relaxed); // one thread
        drop(receiver);
        assert_eq!(try_recv(&mut ring.try_receiver().unwrap()).unwrap(), [7; 24]);
    }
}

#[test]
fn contradicting_positions_are_corrupt_for_good() {
    for by in [65, 1 << 40, 1 << 63, 0_u64.wrapping_sub(40)] {
        let memory = Memory::Plain;
        let segment = memory.segment();
        let ring = memory.create(&segment, 64, START);
        let (mut sender, mut receiver) = ends(&ring);
        for n in 0..4 {
            sender.try_send(&[n; 8]).unwrap();
        }
        try_recv(&mut receiver).unwrap();
        let (head, tail) = (&ring.header().head, &ring.header().tail);
        let (was, then) = (head.look(), tail.look());
        head.plant(was.wrapping_add(by));
        tail.plant(then.wrapping_add(by));
        for _ in 0..3 {
            let refused = sender.try_send(&[5; 16]);
            assert!(
                matches!(refused, Err(SendError::Fault((), Fault::Corrupt { .. }))),
                "{by:x} {refused:?}"
            );
        }
        while try_recv(&mut receiver).is_ok() {}
        assert!(matches!(try_recv(&mut receiver), Err(RecvError::Fault(Fault::Corrupt { .. }))));
        let left = head.look();
        head.plant(was);
        assert!(
            matches!(sender.try_send(b"5"), Err(SendError::Fault((), Fault::Corrupt { .. }))),
            "for good"
        );
        drop((sender, receiver));
        head.plant(left);
        tail.plant(then.wrapping_add(129));
        assert!(is_corrupt(&ring.try_sender()) && is_corrupt(&ring.try_receiver()));
        for crooked in [then + 4, then - 4, then + 8] {
            tail.plant(crooked);
            assert!(is_corrupt(&ring.try_sender()), "in the middle of a word, or without a mark");
        }
        tail.plant(then);
        assert!(ring.try_sender().is_ok() && ring.try_receiver().is_ok(), "no role was lost");
    }
}
