//! Promise: whoever is killed, whenever: nothing that was committed is lost, comes twice or is torn, and nobody waits for
//! the dead.
//!
//! The soak itself is a command, `outlive soak`: `soak/command.rs` runs it. `OUTLIVE_SEED` makes the same choices again,
//! `OUTLIVE_SOAK_SECONDS` lengthens it.

#![cfg(not(loom))]
#![expect(clippy::unwrap_used, reason = "tests")]
#![expect(clippy::disallowed_methods, reason = "real processes in real time: no model runs them")]

use std::time::{Duration, Instant};

use outlive::atomic::{AtomicU64, Ordering};
use outlive::error::RecvError;
use outlive::object::Object;
use outlive::ring::spsc::Ring;
use outlive::{Segment, testing};

#[path = "soak/asleep.rs"]
mod asleep;
#[cfg(feature = "cli")]
#[path = "soak/command.rs"]
mod command;
mod common;
#[path = "soak/stores.rs"]
mod stores;
use common::Name;
use common::process::{self, Child, Random, Signal, fork, leave, say};

/// The children of these tests: see `common::process`.
#[test]
fn child_entry() {
    process::as_child(&[("last words", last_words), ("holder", asleep::holder), ("victim", stores::victim)]);
}

/// What is sent: its number, and three words by which a part of another message would be noticed.
type Message = [u64; 4];

fn message(number: u64) -> Message {
    [number, number.wrapping_mul(0x9e37_79b9_7f4a_7c15), !number, number.rotate_left(32)]
}

/// How many senders have begun.
const SENDERS: usize = 0;
type Ledger = [AtomicU64; 1];

fn get(word: &AtomicU64) -> u64 {
    word.load(Ordering::Acquire)
}

/// Everything that a worker needs; each opens it for itself.
struct Place {
    segment: Segment,
    ledger: Object<Ledger>,
    ring: Ring<Message>,
}

impl Place {
    fn open(address: &str) -> Self {
        let segment = Segment::open(address).unwrap();
        let ledger = Object::open(&segment, "ledger").unwrap();
        let ring = Ring::open(&segment, "messages").unwrap();
        Self { segment, ledger, ring }
    }

    fn create(address: &str, capacity: usize) -> Self {
        // Few rows: the dead have to be swept to find one.
        let segment = Segment::options().rows(8).create(address).unwrap();
        let ledger = Object::create(&segment, "ledger", Ledger::default).unwrap();
        let ring = Ring::create(&segment, "messages", capacity).unwrap();
        Self { segment, ledger, ring }
    }
}

/// Kills senders in the middle of sending, again and again: when a receiver is told of the death, nothing is left.
fn last_words(args: &[String]) {
    let place = Place::create(&args[0], 64);
    let mut random = Random::new(args[1].parse().unwrap());
    let mut receiver = place.ring.try_receiver().unwrap();
    let mut after_the_verdict = 0;
    for round in 0..150 {
        let worker = fork().unwrap_or_else(|| {
            leave(|| {
                let place = Place::open(&args[0]);
                let mut sender = place.ring.sender().unwrap();
                place.ledger[SENDERS].fetch_add(1, Ordering::Release);
                loop {
                    let next = sender.position();
                    sender.send(message(next)).unwrap();
                    std::thread::yield_now();
                }
            })
        });
        let (mut moment, mut killed) = (None, false);
        loop {
            if moment.is_none() && get(&place.ledger[SENDERS]) > round {
                moment = Some(Instant::now() + Duration::from_micros(random.below(1000)));
            }
            if !killed && moment.is_some_and(|moment| Instant::now() > moment) {
                worker.signal(Signal::SIGKILL);
                killed = true;
            }
            let expected = receiver.position();
            match receiver.recv_timeout(Duration::from_micros(100)) {
                Ok(arrived) => assert_eq!(arrived, message(expected)),
                Err(RecvError::Empty | RecvError::Closed) => {}
                Err(RecvError::PeerDied(_)) if !killed => {} // of the last round
                Err(RecvError::PeerDied(_)) => break,
                Err(error) => panic!("{error:?}"),
            }
        }
        worker.was_killed();
        after_the_verdict += place.ring.stats().depth;
    }
    assert_eq!(after_the_verdict, 0, "committed, and not received before the death was told");
    say("done");
}

#[test]
fn a_death_is_told_after_the_last_message_of_the_dead() {
    let mut random = Random::announced("last words");
    let name = Name::shm("words");
    let mut child =
        Child::start("last words", &[&name.address().to_string(), &(random.next() >> 1).to_string()]);
    child.expect("done");
    child.succeeds();
}

#[test]
fn on_the_heap_too_a_death_is_told_after_the_last_message() {
    let segment = Segment::heap(1 << 16).unwrap();
    let mut receiver = Ring::<u64>::create(&segment, "numbers", 64).unwrap().try_receiver().unwrap();
    let mut sent = 0;
    // One after the other: some messages are known to the receiver when the sender dies, some are not.
    for (known, unknown) in [(0, 0), (0, 3), (2, 0), (2, 3)] {
        let other = segment.attach().unwrap();
        let mut sender = Ring::<u64>::open(&other, "numbers").unwrap().try_sender().unwrap();
        let mut more = |n: u64| (0..n).for_each(|_| sender.send(sender.position()).unwrap());
        more(known + 1);
        assert_eq!(receiver.recv(), Ok(sent));
        more(unknown);
        testing::kill(&other).unwrap();
        for number in 0..known + unknown {
            assert_eq!(receiver.recv(), Ok(sent + 1 + number));
        }
        sent += 1 + known + unknown;
        assert_eq!(receiver.recv(), Err(RecvError::PeerDied(other.owner())));
        assert_eq!(receiver.try_recv(), Err(RecvError::PeerDied(other.owner())));
    }
    // At once: the last message comes while the receiver asks.
    for round in 0..1000_u64 {
        let other = segment.attach().unwrap();
        let mut sender = Ring::<u64>::open(&other, "numbers").unwrap().try_sender().unwrap();
        let n = round % 8;
        let last = std::thread::scope(|scope| {
            let worker = scope.spawn(move || {
                (0..n).for_each(|_| sender.send(sender.position()).unwrap());
                testing::kill(&other).unwrap();
                other.owner()
            });
            loop {
                match receiver.try_recv() {
                    Ok(number) => {
                        assert_eq!(number, sent);
                        sent += 1;
                    }
                    Err(RecvError::Empty) => std::thread::yield_now(),
                    Err(RecvError::PeerDied(_)) => break,
                    Err(error) => panic!("{error:?}"),
                }
            }
            worker.join().unwrap()
        });
        assert_eq!(receiver.try_recv(), Err(RecvError::PeerDied(last)), "round {round}: told too early");
    }
}
