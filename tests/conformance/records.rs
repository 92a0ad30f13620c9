//! Records between two processes.

use outlive::error::{RecvError, SendError};
use outlive::ring::records::{Receiver, Ring, Sender};
use outlive::{Error, Segment, Trusted};

use crate::backend::Backend;
use crate::common::process::soon;
use crate::peer::{Peer, Victim};

/// Of a page: where pages can be mapped twice, records lie across its end.
const CAPACITY: usize = 4096;

/// The record of that number: of any length, none included, and with bytes of its own.
fn record(number: u64) -> Vec<u8> {
    let len = number * 397 % 1500;
    (0..len).map(|at| (number ^ at).wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes()[7]).collect()
}

fn ring(segment: &Segment) -> Ring {
    Ring::create(segment, "records", CAPACITY).unwrap()
}

fn sender(segment: &Segment) -> Sender {
    Ring::open(segment, "records").unwrap().sender().unwrap()
}

fn receiver(segment: &Segment) -> Receiver {
    Ring::open(segment, "records").unwrap().receiver().unwrap()
}

/// Goes on where the predecessor stopped.
fn send_up_to(sender: &mut Sender, end: u64) {
    while sender.position() < end {
        sender.send(&record(sender.position())).unwrap();
    }
}

/// Receives, and compares; every third one is consumed after it was looked at.
fn receive_up_to(receiver: &mut Receiver, end: u64) -> Result<(), RecvError> {
    let mut bytes = vec![1; 10];
    while receiver.position() < end {
        let number = receiver.position();
        if number % 3 == 0 {
            let one = receiver.read()?;
            assert_eq!((one.len(), one.to_vec()), (one.len(), record(number)), "record {number}");
            assert!(one.release());
        } else {
            let len = receiver.recv(&mut bytes)?;
            assert!(len == bytes.len() && bytes == record(number), "record {number}");
        }
        assert_eq!(receiver.position(), number + 1);
    }
    Ok(())
}

pub(crate) fn records_arrive_whole_and_in_order(backend: &dyn Backend) {
    const END: u64 = 1000;
    let segment = backend.segment();
    let ring = ring(&segment);
    let mut peer = Peer::start(backend, &segment, |segment, line| {
        let mut sender = sender(&segment);
        line.say(segment.owner().row());
        send_up_to(&mut sender, END);
        sender.close();
    });
    let row = peer.line.hear_number();
    let mut receiver = ring.try_receiver().unwrap();
    receive_up_to(&mut receiver, END / 2).unwrap();
    let from = receiver.last_sender().expect("somebody has sent it");
    assert_eq!(u64::from(from.row()), row, "the ring knows who");
    assert_eq!(receiver.read().unwrap().sender(), from);
    receive_up_to(&mut receiver, END).unwrap();
    assert_eq!([(); 2].map(|()| receiver.recv(&mut Vec::new())), [Err(RecvError::Closed); 2]);
    peer.ends();
    drop((ring, receiver, segment));
    backend.remove();
}

pub(crate) fn the_longest_record_fits_and_no_longer_one(backend: &dyn Backend) {
    let segment = backend.segment();
    let ring = ring(&segment);
    let longest = ring.longest();
    // All of the ring but the header of a frame; or half of it, where no frame can lie across the end.
    assert!(longest == CAPACITY - 8 || longest == CAPACITY / 2 - 8, "{longest}");
    let peer = Peer::start(backend, &segment, |segment, _| {
        let ring = Ring::open(&segment, "records").unwrap();
        assert_eq!(ring.longest(), longest, "for all who attach");
        let mut sender = ring.sender().unwrap();
        let too_large = Err(SendError::TooLarge((), longest as u64));
        for len in [longest + 1, 2 * CAPACITY, 1 << 20] {
            assert_eq!(sender.try_send(&vec![0; len]), too_large);
            assert_eq!(sender.send(&vec![0; len]), too_large, "at once");
        }
        for number in 0..5 {
            sender.send(&vec![number; longest]).unwrap();
            sender.send(&[number; 3]).unwrap(); // the next one begins elsewhere
        }
        sender.close();
    });
    let mut receiver = ring.receiver().unwrap();
    let mut bytes = Vec::new();
    for number in 0..5 {
        assert_eq!(receiver.recv(&mut bytes), Ok(longest));
        assert!(bytes == vec![number; longest]);
        assert_eq!(receiver.recv(&mut bytes), Ok(3));
        assert_eq!(bytes, [number; 3]);
    }
    assert_eq!(receiver.recv(&mut bytes), Err(RecvError::Closed));
    peer.ends();
    drop((ring, receiver, segment));
    backend.remove();
}

pub(crate) fn records_lie_in_one_piece_in_a_trusted_segment(backend: &dyn Backend) {
    const END: u64 = 300;
    let segment = backend.segment();
    // SAFETY: only this test's two processes write it, through this crate.
    let trusted = unsafe { segment.clone().trust() };
    let ring: Ring<Trusted> = Ring::create(&trusted, "records", CAPACITY).unwrap();
    let peer = Peer::start(backend, &segment, |segment, _| {
        // SAFETY: as above.
        let trusted = unsafe { segment.trust() };
        let ring: Ring<Trusted> = Ring::open(&trusted, "records").unwrap();
        let mut sender = ring.sender().unwrap();
        while sender.position() < END {
            let next = record(sender.position());
            let mut grant = sender.reserve(next.len() + 5).unwrap();
            assert_eq!(grant.extend_from_slice(&next), next.len());
            assert_eq!(grant.commit(), next.len());
        }
        sender.close();
    });
    let mut receiver = ring.try_receiver().unwrap();
    for number in 0..END {
        let one = receiver.read().unwrap();
        assert!(*one == record(number), "record {number}");
        assert!(one.release());
    }
    assert!(matches!(receiver.read().map(drop), Err(RecvError::Closed)));
    peer.ends();
    drop((ring, receiver, trusted, segment));
    backend.remove();
}

pub(crate) fn what_a_dead_sender_committed_arrives_whole(backend: &dyn Backend) {
    let segment = backend.segment();
    let ring = ring(&segment);
    let mut receiver = ring.try_receiver().unwrap();
    let victim = Victim::start(backend, &segment, |mine| {
        let mut sender = sender(mine);
        send_up_to(&mut sender, 4);
        let mut grant = sender.try_reserve(100).unwrap();
        assert_eq!(grant.extend_from_slice(&[0xff; 100]), 100);
        drop(grant); // never sent
        sender
    });
    assert!(matches!(ring.try_sender(), Err(Error::Busy { owner }) if owner == victim.owner));
    let owner = victim.kill();
    receive_up_to(&mut receiver, 4).unwrap();
    assert_eq!(receiver.recv(&mut Vec::new()), Err(RecvError::PeerDied(owner)));
    assert!(soon(|| receiver.try_recv(&mut Vec::new()) == Err(RecvError::PeerDied(owner))));
    let mut successor = ring.try_sender().unwrap();
    assert_eq!(successor.position(), 4, "records, not bytes");
    send_up_to(&mut successor, 6);
    successor.close();
    receive_up_to(&mut receiver, 6).unwrap();
    assert_eq!(receiver.last_sender(), Some(segment.owner()));
    assert_eq!(receiver.recv(&mut Vec::new()), Err(RecvError::Closed));
    drop((receiver, ring, segment));
    backend.remove();
}

pub(crate) fn what_a_dead_receiver_had_not_released_arrives_again(backend: &dyn Backend) {
    let segment = backend.segment();
    let ring = ring(&segment);
    let mut sender = ring.try_sender().unwrap();
    send_up_to(&mut sender, 4);
    let victim = Victim::start(backend, &segment, |mine| {
        let mut receiver = receiver(mine);
        receive_up_to(&mut receiver, 2).unwrap();
        let looked_at = receiver.try_read().unwrap();
        assert_eq!(looked_at.to_vec(), record(2));
        drop(looked_at);
        receiver
    });
    let owner = victim.kill();
    let mut sent = 4;
    let refused = loop {
        match sender.send(&record(sent)) {
            Ok(()) => sent += 1,
            Err(refused) => break refused,
        }
    };
    assert_eq!(refused, SendError::PeerDied((), owner));
    let mut successor = ring.try_receiver().unwrap();
    assert_eq!((successor.position(), sender.position()), (2, sent));
    receive_up_to(&mut successor, sent).unwrap();
    let mut bytes = Vec::new();
    sender.send(b"and on").unwrap();
    assert_eq!(successor.recv(&mut bytes), Ok(6));
    assert_eq!(bytes, b"and on");
    drop((sender, successor, ring, segment));
    backend.remove();
}

pub(crate) fn records_survive_their_senders_and_receivers(backend: &dyn Backend) {
    let segment = backend.segment();
    let ring = ring(&segment);
    let mut end = 0;
    let mut first = ring.try_receiver().unwrap();
    first.wait_for_successor(true);
    for round in 0..5 {
        // It is killed wherever it is.
        let sending =
            Peer::start(backend, &segment, |segment, _| send_up_to(&mut sender(&segment), u64::MAX));
        end += 50 + 17 * round;
        receive_up_to(&mut first, end).unwrap();
        sending.kill();
    }
    first.resign();
    let mut last = ring.try_sender().unwrap();
    last.wait_for_successor(true);
    for round in 0..5 {
        let receiving = Peer::start(backend, &segment, |segment, _| {
            receive_up_to(&mut receiver(&segment), u64::MAX).unwrap();
        });
        end += 50 + 17 * round;
        send_up_to(&mut last, end);
        receiving.kill();
    }
    last.close();
    let mut receiver = ring.try_receiver().unwrap();
    receive_up_to(&mut receiver, end).unwrap();
    assert_eq!(receiver.recv(&mut Vec::new()), Err(RecvError::Closed));
    let stats = ring.stats();
    assert_eq!((stats.sent, stats.received), (end, end));
    drop((receiver, ring, segment));
    backend.remove();
}
