//! Ends that close, resign, panic and die, and those who come after them.

use core::time::Duration;
use std::thread;

use super::{elsewhere, ends, ring, try_recv};
use crate::error::{Fault, RecvError, SendError};
use crate::ring::position::START;
use crate::{Error, testing};

#[test]
fn a_closed_sender_is_told_when_all_is_received() {
    let (_segment, ring) = ring(64);
    let (mut sender, mut receiver) = ends(&ring);
    sender.send(b"1").unwrap();
    sender.close();
    assert_eq!(try_recv(&mut receiver).unwrap(), b"1");
    assert_eq!(try_recv(&mut receiver), Err(RecvError::Closed));
    assert_eq!(receiver.recv(&mut Vec::new()), Err(RecvError::Closed));
    assert!(matches!(receiver.read(), Err(RecvError::Closed)));
    assert_eq!(receiver.iter().next(), None);
    let mut sender = ring.try_sender().unwrap(); // reopens
    assert_eq!((try_recv(&mut receiver), sender.position()), (Err(RecvError::Empty), 1));
    sender.send(b"2").unwrap();
    assert_eq!(try_recv(&mut receiver).unwrap(), b"2");
}

#[test]
fn a_closed_receiver_is_told_although_there_is_room() {
    let (_segment, ring) = ring(256);
    let (mut sender, receiver) = ends(&ring);
    sender.try_send(b"1").unwrap();
    receiver.close();
    sender.try_send(b"2").unwrap(); // finds the alarm
    assert_eq!(sender.try_send(b"3"), Err(SendError::Closed(())));
    assert!(matches!(sender.try_reserve(1), Err(SendError::Closed(()))));
    assert_eq!(sender.send(b"3"), Err(SendError::Closed(())));
    let mut receiver = ring.try_receiver().unwrap(); // reopens
    sender.try_send(b"3").unwrap();
    assert!(receiver.iter().take(3).map(Result::unwrap).eq([b"1", b"2", b"3"]));
}

#[test]
fn a_resigned_end_is_waited_for() {
    let (_segment, ring) = ring(64);
    let (mut sender, mut receiver) = ends(&ring);
    sender.send(b"1").unwrap();
    sender.resign();
    assert_eq!(try_recv(&mut receiver).unwrap(), b"1");
    assert_eq!((try_recv(&mut receiver), receiver.peer()), (Err(RecvError::Empty), None));
    let mut sender = ring.try_sender().unwrap();
    sender.send(&[2; 24]).unwrap();
    receiver.resign();
    sender.send(b"3").unwrap();
    assert_eq!(sender.try_send(&[4; 24]), Err(SendError::Full(())));
    assert_eq!(sender.send_timeout(&[4; 24], Duration::from_millis(1)), Err(SendError::Full(())));
    assert_eq!(try_recv(&mut ring.try_receiver().unwrap()).unwrap(), [2; 24]);
}

#[test]
fn a_dead_sender_is_told_when_all_is_received_and_a_successor_carries_on() {
    for sweep in [false, true] {
        let (segment, ring) = ring(64);
        let (other, theirs) = elsewhere(&segment);
        let (mut sender, mut receiver) = (theirs.try_sender().unwrap(), ring.try_receiver().unwrap());
        sender.send(b"theirs").unwrap();
        let mut grant = sender.try_reserve(8).unwrap();
        grant.extend_from_slice(b"never");
        testing::kill(&other).unwrap();
        assert_eq!(grant.extend_from_slice(b" more"), 0);
        assert_eq!(grant.commit(), 0, "the dead commit nothing");
        if sweep {
            assert_eq!(segment.sweep().unwrap().recovered, 1);
        }
        assert_eq!(sender.try_send(b"2"), Err(SendError::Fault((), Fault::Killed)));
        assert!(matches!(theirs.try_sender(), Err(Error::Killed)));
        assert_eq!(sender.position(), 0);
        assert_eq!(try_recv(&mut receiver).unwrap(), b"theirs");
        assert_eq!(receiver.last_sender(), Some(other.owner()));
        assert_eq!(try_recv(&mut receiver), Err(RecvError::PeerDied(other.owner())));
        receiver.wait_for_successor(true);
        assert_eq!(try_recv(&mut receiver), Err(RecvError::Empty));
        let mut successor = ring.try_sender().unwrap();
        assert_eq!((successor.position(), ring.stats().senders), (1, 2));
        successor.send(b"ours").unwrap();
        assert_eq!(try_recv(&mut receiver).unwrap(), b"ours");
        assert_eq!(receiver.last_sender(), Some(segment.owner()));
        drop(sender);
        assert_eq!(try_recv(&mut receiver), Err(RecvError::Empty), "the dead close nothing");
    }
}

#[test]
fn a_dead_receiver_is_told_when_the_ring_is_full_and_leaves_what_it_did_not_release() {
    for sweep in [false, true] {
        let (segment, ring) = ring(64);
        let (other, theirs) = elsewhere(&segment);
        let (mut sender, mut receiver) = (ring.try_sender().unwrap(), theirs.try_receiver().unwrap());
        sender.send(&[1; 24]).unwrap();
        let record = receiver.try_read().unwrap(); // not released
        assert_eq!(record.to_vec(), [1; 24]);
        testing::kill(&other).unwrap();
        assert_eq!((record.len(), record.to_vec(), record.copy_to(&mut [0; 9])), (0, vec![], 0));
        assert!(!record.release(), "the dead release nothing");
        assert_eq!(try_recv(&mut receiver), Err(RecvError::Fault(Fault::Killed)));
        if sweep {
            segment.sweep().unwrap();
        }
        sender.send(&[2; 24]).unwrap();
        assert_eq!(sender.send(b"3"), Err(SendError::PeerDied((), other.owner())));
        sender.wait_for_successor(true);
        assert_eq!(sender.try_send(b"3"), Err(SendError::Full(())));
        let mut successor = ring.try_receiver().unwrap();
        assert_eq!(successor.position(), 0);
        assert!(successor.iter().take(2).map(Result::unwrap).eq([[1; 24], [2; 24]]));
        assert_eq!(successor.position(), 2);
        sender.send(b"3").unwrap();
    }
}

/// Whoever takes over knows how many records there were, whatever the last holder had begun.
#[test]
fn counts_are_taken_over() {
    for memory in super::ALL {
        let segment = memory.segment();
        let ring = memory.create(&segment, 1 << 13, START);
        for round in 0..50 {
            let mut sender = ring.try_sender().unwrap();
            let mut receiver = ring.try_receiver().unwrap();
            assert_eq!((sender.position(), receiver.position()), (round * 3, round * 2 + round / 10 * 10));
            for n in 0..3 {
                sender.send(&super::bytes(n, n * 5)).unwrap();
            }
            let mut grant = sender.try_reserve(20).unwrap();
            grant.extend_from_slice(b"not sent");
            drop(grant);
            let take = if round % 10 == 9 { 12 } else { 2 };
            assert_eq!(receiver.iter().take(take).map(Result::unwrap).count(), take);
            sender.resign();
            receiver.resign();
        }
        assert_eq!((ring.stats().sent, ring.stats().received), (150, 150));
    }
}

#[test]
fn a_standby_takes_over() {
    let (segment, ring) = ring(64);
    let mut receiver = ring.try_receiver().unwrap();
    for resigns in [true, false] {
        let (other, theirs) = elsewhere(&segment);
        let sender = ring.try_sender().unwrap();
        let standby = thread::spawn(move || {
            let mut sender = theirs.sender().unwrap();
            sender.send(b"7").unwrap();
            drop(other);
        });
        thread::sleep(Duration::from_millis(2)); // most of the time it sleeps by now; any order is right
        if resigns {
            sender.resign();
        } else {
            sender.close();
        }
        standby.join().unwrap();
        assert_eq!(try_recv(&mut receiver).unwrap(), b"7");
    }
}

#[test]
fn a_sleeper_learns_of_a_death() {
    for sweep in [false, true] {
        let (segment, ring) = ring(64);
        let (other, theirs) = elsewhere(&segment);
        let _sender = theirs.try_sender().unwrap();
        let mut receiver = ring.try_receiver().unwrap();
        let sleeper = thread::spawn(move || receiver.recv(&mut Vec::new()));
        thread::sleep(Duration::from_millis(2)); // most of the time it sleeps by now; any order is right
        testing::kill(&other).unwrap();
        if sweep {
            segment.sweep().unwrap();
        }
        assert_eq!(sleeper.join().unwrap(), Err(RecvError::PeerDied(other.owner())));
    }
}
