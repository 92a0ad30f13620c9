//! Ends that close, resign, panic and die, and those who come after them.

use core::time::Duration;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread;

use super::{elsewhere, ends, ring};
use crate::error::{Fault, RecvError, SendError};
use crate::{Error, testing};

#[test]
fn a_closed_sender_is_told_when_all_is_received() {
    let (_segment, ring) = ring::<u64>(4);
    let (mut sender, mut receiver) = ends(&ring);
    sender.send(1).unwrap();
    sender.close();
    assert_eq!(receiver.try_recv(), Ok(1));
    assert_eq!(receiver.try_recv(), Err(RecvError::Closed));
    assert_eq!(receiver.recv(), Err(RecvError::Closed));
    assert_eq!(receiver.iter().next(), None);
    let mut sender = ring.try_sender().unwrap(); // reopens
    assert_eq!((receiver.try_recv(), sender.position()), (Err(RecvError::Empty), 1));
    sender.send(2).unwrap();
    assert_eq!(receiver.recv(), Ok(2));
}

#[test]
fn a_closed_receiver_is_told_although_there_is_room() {
    let (_segment, ring) = ring::<u64>(64);
    let (mut sender, receiver) = ends(&ring);
    sender.try_send(1).unwrap();
    receiver.close();
    sender.try_send(2).unwrap(); // finds the alarm
    assert_eq!(sender.try_send(3), Err(SendError::Closed(3)));
    assert!(matches!(sender.try_reserve(1), Err(SendError::Closed(()))));
    assert_eq!(sender.try_send_slice(&[3]), Err(SendError::Closed(())));
    assert_eq!(sender.send(3), Err(SendError::Closed(3)));
    drop(sender);
    let mut sender = ring.try_sender().unwrap();
    assert_eq!(sender.try_send(3), Err(SendError::Closed(3)), "its first message at once");
    let mut receiver = ring.try_receiver().unwrap(); // reopens
    sender.try_send(3).unwrap();
    assert!(receiver.iter().take(3).map(Result::unwrap).eq(1..4));
}

#[test]
fn a_resigned_end_is_waited_for() {
    let (_segment, ring) = ring::<u64>(1);
    let (mut sender, mut receiver) = ends(&ring);
    sender.send(1).unwrap();
    sender.resign();
    assert_eq!(receiver.recv(), Ok(1));
    assert_eq!(receiver.try_recv(), Err(RecvError::Empty));
    assert_eq!(receiver.peer(), None);
    let mut sender = ring.try_sender().unwrap();
    sender.send(2).unwrap();
    receiver.resign();
    assert_eq!(sender.try_send(3), Err(SendError::Full(3)));
    assert_eq!(sender.send_timeout(3, Duration::from_millis(1)), Err(SendError::Full(3)));
    assert_eq!(ring.try_receiver().unwrap().recv(), Ok(2));
}

#[test]
fn a_death_is_told_when_all_is_received_and_a_successor_carries_on() {
    for sweep in [false, true] {
        let (segment, ring) = ring::<u64>(4);
        let (other, theirs) = elsewhere(&segment);
        let (mut sender, mut receiver) = (theirs.try_sender().unwrap(), ring.try_receiver().unwrap());
        sender.send(1).unwrap();
        assert_eq!(receiver.peer(), Some(other.owner()));
        testing::kill(&other).unwrap();
        if sweep {
            assert_eq!(segment.sweep().unwrap().recovered, 1);
        }
        assert_eq!(sender.try_send(2), Err(SendError::Fault(2, Fault::Killed)));
        assert_eq!(receiver.try_recv(), Ok(1));
        assert_eq!(receiver.try_recv(), Err(RecvError::PeerDied(other.owner())));
        assert_eq!(receiver.recv(), Err(RecvError::PeerDied(other.owner())));
        receiver.wait_for_successor(true);
        assert_eq!(receiver.try_recv(), Err(RecvError::Empty));
        let mut successor = ring.try_sender().unwrap();
        assert_eq!((successor.position(), ring.stats().senders), (1, 2));
        successor.send(2).unwrap();
        assert_eq!(receiver.recv(), Ok(2));
        drop(sender);
        assert_eq!(receiver.try_recv(), Err(RecvError::Empty), "the dead close nothing");
    }
}

#[test]
fn a_dead_receiver_is_told_when_the_ring_is_full() {
    for sweep in [false, true] {
        let (segment, ring) = ring::<u64>(2);
        let (other, theirs) = elsewhere(&segment);
        let (mut sender, mut receiver) = (ring.try_sender().unwrap(), theirs.try_receiver().unwrap());
        sender.send(1).unwrap();
        let items = receiver.try_read(1).unwrap(); // not released
        assert_eq!(items.get(0), Some(1));
        testing::kill(&other).unwrap();
        assert_eq!(items.release(), 0, "the dead release nothing");
        if sweep {
            segment.sweep().unwrap();
        }
        sender.send(2).unwrap();
        assert_eq!(sender.send(3), Err(SendError::PeerDied(3, other.owner())));
        assert_eq!(sender.try_send(3), Err(SendError::PeerDied(3, other.owner())));
        sender.wait_for_successor(true);
        assert_eq!(sender.try_send(3), Err(SendError::Full(3)));
        let mut successor = ring.try_receiver().unwrap();
        assert_eq!((successor.recv(), successor.recv()), (Ok(1), Ok(2)));
        sender.send(3).unwrap();
    }
}

#[test]
fn who_panics_has_died() {
    let (segment, ring) = ring::<u64>(4);
    let (mut sender, mut receiver) = ends(&ring);
    let panicked = catch_unwind(AssertUnwindSafe(move || {
        sender.send(1).unwrap();
        panic!("planned");
    }));
    assert!(panicked.is_err());
    assert_eq!(receiver.try_recv(), Ok(1));
    assert_eq!(receiver.try_recv(), Err(RecvError::PeerDied(segment.owner())));
    assert!(receiver.iter().eq([Err(RecvError::PeerDied(segment.owner()))]));
    assert_eq!(ring.try_sender().unwrap().position(), 1);
}

#[test]
fn the_killed_refuse_and_their_guards_do_nothing() {
    let (segment, ring) = ring::<u64>(4);
    let (other, theirs) = elsewhere(&segment);
    let (mut sender, mut receiver) = ends(&theirs);
    sender.try_send_slice(&[1, 2]).unwrap();
    let mut grant = sender.try_reserve(2).unwrap();
    grant.push(3).unwrap();
    testing::kill(&other).unwrap();
    assert_eq!(grant.push(4), Err(4));
    assert_eq!(grant.extend(4..6), 0);
    assert_eq!(grant.commit(), 0);
    assert_eq!(sender.send(3), Err(SendError::Fault(3, Fault::Killed)));
    assert_eq!(receiver.recv(), Err(RecvError::Fault(Fault::Killed)));
    assert!(matches!(receiver.try_read(4), Err(RecvError::Fault(Fault::Killed))));
    assert_eq!(sender.try_send_slice(&[3]), Err(SendError::Fault((), Fault::Killed)));
    assert!(matches!(theirs.try_sender(), Err(Error::Killed)));
    assert_eq!((sender.position(), receiver.position()), (0, 0));
    let (sender, mut receiver) = ends(&ring);
    assert_eq!(sender.position(), 2);
    assert_eq!((receiver.recv(), receiver.recv()), (Ok(1), Ok(2)));
    assert_eq!(receiver.try_recv(), Err(RecvError::Empty));
}

#[test]
fn a_standby_takes_over() {
    let (segment, ring) = ring::<u64>(4);
    let mut receiver = ring.try_receiver().unwrap();
    for resigns in [true, false] {
        let (other, theirs) = elsewhere(&segment);
        let sender = ring.try_sender().unwrap();
        let standby = thread::spawn(move || {
            let mut sender = theirs.sender().unwrap();
            sender.send(7).unwrap();
            drop(other);
        });
        thread::sleep(Duration::from_millis(2)); // most of the time it sleeps by now; any order is right
        if resigns {
            sender.resign();
        } else {
            sender.close();
        }
        standby.join().unwrap();
        assert_eq!(receiver.recv(), Ok(7));
    }
}

#[test]
fn a_sleeper_learns_of_a_death() {
    for sweep in [false, true] {
        let (segment, ring) = ring::<u64>(1);
        let (other, theirs) = elsewhere(&segment);
        let _sender = theirs.try_sender().unwrap();
        let mut receiver = ring.try_receiver().unwrap();
        let sleeper = thread::spawn(move || receiver.recv());
        thread::sleep(Duration::from_millis(2)); // most of the time it sleeps by now; any order is right
        testing::kill(&other).unwrap();
        if sweep {
            segment.sweep().unwrap();
        }
        assert_eq!(sleeper.join().unwrap(), Err(RecvError::PeerDied(other.owner())));
    }
}
