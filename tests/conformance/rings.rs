//! A ring between two processes.

use outlive::atomic::{AtomicU64, Ordering};
use outlive::error::RecvError;
use outlive::object::Object;
use outlive::ring::spsc::Ring;
use outlive::{Segment, Trusted};

use crate::backend::Backend;
use crate::peer::Peer;

pub(crate) fn one_ring_connects_two_processes(backend: &dyn Backend) {
    const NUMBERS: u64 = 5000;
    let segment = backend.segment();
    let mut numbers = Ring::<u64>::create(&segment, "numbers", 64).unwrap().try_sender().unwrap();
    let mut doubled = Ring::<u64>::create(&segment, "doubled", 64).unwrap().try_receiver().unwrap();
    let counter = Object::<AtomicU64>::create(&segment, "counter", AtomicU64::default).unwrap();
    let mut peer = Peer::start(backend, &segment, |segment, line| {
        let mut numbers = Ring::<u64>::open(&segment, "numbers").unwrap().try_receiver().unwrap();
        let mut doubled = Ring::<u64>::open(&segment, "doubled").unwrap().try_sender().unwrap();
        let counter = Object::<AtomicU64>::open(&segment, "counter").unwrap();
        line.say("ready");
        for number in numbers.iter() {
            counter.fetch_add(1, Ordering::Relaxed);
            doubled.send(2 * number.unwrap()).unwrap();
        }
    });
    assert_eq!(peer.line.hear(), "ready");
    // As far ahead as the two rings are long: the one waits for the other, here and there.
    for number in 0..NUMBERS + 100 {
        if number < NUMBERS {
            numbers.send(number).unwrap();
        }
        if number >= 100 {
            assert_eq!(doubled.recv(), Ok(2 * (number - 100)));
        }
    }
    numbers.close();
    assert_eq!(doubled.recv(), Err(RecvError::Closed));
    peer.ends();
    assert_eq!(counter.load(Ordering::Relaxed), NUMBERS);
    drop((segment, doubled, counter));
    backend.remove();
}

/// Any bytes, in any order.
type Block = [u8; 200];

pub(crate) fn values_are_written_and_read_in_place_by_two_processes(backend: &dyn Backend) {
    let segment = backend.segment();
    // SAFETY: only this test's two processes write it, through this crate, as the same type.
    let trusted = unsafe { segment.clone().trust() };
    let ring = Ring::<Block, Trusted>::create(&trusted, "blocks", 8).unwrap();
    let peer = Peer::start(backend, &segment, |segment, _| {
        // SAFETY: as above.
        let trusted: Segment<Trusted> = unsafe { segment.trust() };
        let mut sender = Ring::<Block, Trusted>::open(&trusted, "blocks").unwrap().sender().unwrap();
        let mut round = 0_u8;
        for _ in 0..300 {
            let mut grant = sender.reserve(3).unwrap();
            for block in grant.as_mut_slice() {
                block.fill(round);
                round = round.wrapping_add(1);
            }
            grant.commit();
        }
        sender.close();
    });
    let mut receiver = ring.try_receiver().unwrap();
    let mut round = 0_u8;
    loop {
        match receiver.read(8) {
            Ok(items) => {
                for block in items.iter() {
                    assert_eq!(*block, [round; 200]);
                    round = round.wrapping_add(1);
                }
                items.release();
            }
            Err(error) => break assert_eq!(error, RecvError::Closed),
        }
    }
    assert!(receiver.position() >= 300);
    peer.ends();
    drop((segment, trusted, ring, receiver));
    backend.remove();
}
