//! Words that no peer should write.

use core::time::Duration;

use super::super::Ring;
use super::{ends, ring};
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
        2,
        5,
        u64::MAX,
        u64::MAX - 1,
        START - 1,
        START + 5,
        START << 1,
        open_of_row_1,
        1 << 24,
        7 << 24,
    ];
    for word in 0..size_of::<Header>() / 8 {
        for value in evil {
            let (segment, ring) = ring::<u64>(4);
            let (mut sender, mut receiver) = ends(&ring);
            sender.try_send_slice(&[1, 2]).unwrap();
            receiver.try_recv().unwrap();
            let before = ring.words()[word].swap(value, Ordering::Relaxed); // one thread
            for n in 0..6 {
                let _ = sender.try_send(n);
                let _ = sender.send_timeout(n, Duration::from_micros(1));
            }
            let _ = sender.try_send_slice(&[0; 9]);
            let _ = sender.try_reserve(9).map(|mut grant| (grant.extend(0..9), grant.commit()));
            for _ in 0..6 {
                let _ = receiver.try_recv();
                let _ = receiver.recv_timeout(Duration::from_micros(1));
            }
            let _ = receiver.try_read(9).map(|items| (items.iter().count(), items.release()));
            let _ =
                (ring.stats(), sender.peer(), receiver.peer(), format!("{sender:?} {receiver:?} {ring:?}"));
            let _ = (ring.try_sender().is_ok(), ring.try_receiver().is_ok());
            assert!(
                crate::ring::stats(&segment, "ring").is_ok_and(|stats| stats.depth <= stats.capacity)
                    || word < 3
            );
            let other = segment.attach().unwrap();
            let opened = Ring::<u64>::open(&other, "ring");
            assert_eq!(
                opened.is_ok(),
                word >= 8 || value == before,
                "the constants are the first eight words"
            );
            if let Ok(ring) = opened {
                let _ = ring.sender_timeout(Duration::from_micros(1)).map(|mut sender| sender.try_send(1));
                let _ =
                    ring.receiver_timeout(Duration::from_micros(1)).map(|mut receiver| receiver.try_recv());
            }
            receiver.close();
            sender.close();
            let _ = segment.sweep();
        }
    }
}

#[test]
fn contradicting_positions_are_corrupt_for_good() {
    for by in [5, 1 << 40, 1 << 63, 0_u64.wrapping_sub(2)] {
        let (_segment, ring) = ring::<u64>(4);
        let (mut sender, mut receiver) = ends(&ring);
        sender.try_send_slice(&[1, 2, 3, 4]).unwrap();
        receiver.try_recv().unwrap();
        let (head, tail) = (&ring.header().head, &ring.header().tail);
        let (was, then) = (head.look(), tail.look());
        head.plant(was.wrapping_add(by));
        tail.plant(then.wrapping_add(by));
        for _ in 0..3 {
            let refused = sender.try_send(5);
            assert!(matches!(refused, Err(SendError::Fault(5, Fault::Corrupt { .. }))), "{by:x} {refused:?}");
        }
        let mut taken = 0;
        while receiver.try_recv().is_ok() {
            taken += 1;
        }
        assert!(taken <= 3);
        assert!(matches!(receiver.recv(), Err(RecvError::Fault(Fault::Corrupt { .. }))));
        head.plant(was);
        assert!(matches!(sender.try_send(5), Err(SendError::Fault(5, Fault::Corrupt { .. }))), "for good");
        tail.plant(then.wrapping_add(9));
        drop((sender, receiver));
        assert!(is_corrupt(&ring.try_sender()) && is_corrupt(&ring.try_receiver()));
        tail.plant(then);
        assert!(ring.try_sender().is_ok() && ring.try_receiver().is_ok(), "no role was lost");
    }
}
