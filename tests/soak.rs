//! Promise: whoever is killed, whenever: nothing that was committed is lost, comes twice or is torn, and nobody waits for
//! the dead.
//!
//! `OUTLIVE_SEED` repeats a run, `OUTLIVE_SOAK_SECONDS` lengthens it.

#![cfg(not(loom))]
#![expect(clippy::unwrap_used, reason = "tests")]
#![expect(clippy::disallowed_methods, reason = "real processes in real time: no model runs them")]

use std::time::{Duration, Instant};

use outlive::atomic::{AtomicU64, Ordering};
use outlive::error::{RecvError, SendError};
use outlive::object::Object;
use outlive::ring::spsc::{Receiver, Ring, Sender};
use outlive::{Error, Segment, inspect, testing};

#[path = "soak/asleep.rs"]
mod asleep;
mod common;
#[path = "soak/stores.rs"]
mod stores;
use common::Name;
use common::process::{self, Child, Forked, Random, Signal, fork, leave, say};

/// The children of these tests: see `common::process`.
#[test]
fn child_entry() {
    process::as_child(&[
        ("soak", soak),
        ("last words", last_words),
        ("holder", asleep::holder),
        ("victim", stores::victim),
    ]);
}

/// What is sent: its number, and three words by which a part of another message would be noticed.
type Message = [u64; 4];

fn message(number: u64) -> Message {
    [number, number.wrapping_mul(0x9e37_79b9_7f4a_7c15), !number, number.rotate_left(32)]
}

/// The ledger: what the workers say about themselves, each before and after it does it.
const SENDING: usize = 0;
const SENT: usize = 1;
const RECEIVING: usize = 2;
const RECEIVED: usize = 3;
const STOP: usize = 4;
const SENDERS: usize = 5;
const RECEIVERS: usize = 6;
const REDELIVERED: usize = 7;
const LOOKED_AT: usize = 8;
type Ledger = [AtomicU64; 9];

fn get(word: &AtomicU64) -> u64 {
    word.load(Ordering::Acquire)
}

fn set(word: &AtomicU64, value: u64) {
    word.store(value, Ordering::Release);
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
        // Few rows: workers have to sweep the dead to find one.
        let segment = Segment::options().rows(8).create(address).unwrap();
        let ledger = Object::create(&segment, "ledger", Ledger::default).unwrap();
        let ring = Ring::create(&segment, "messages", capacity).unwrap();
        Self { segment, ledger, ring }
    }

    fn stops(&self) -> bool {
        get(&self.ledger[STOP]) != 0
    }

    /// Checks what the last holder of an end said against where the ring says that it stopped.
    fn take_over(&self, position: u64, doing: usize, done: usize) {
        let (first, last) = (get(&self.ledger[done]), get(&self.ledger[doing]).max(get(&self.ledger[done])));
        assert!(
            (first..=last).contains(&position),
            "taken over at {position}, left between {first} and {last}"
        );
        set(&self.ledger[done], position);
    }
}

fn sender(address: &str, mut random: Random) {
    let place = Place::open(address);
    let mut sender = loop {
        match place.ring.sender_timeout(Duration::from_millis(200)) {
            Ok(sender) => break sender,
            Err(Error::Busy { .. }) if !place.stops() => {}
            Err(Error::Busy { .. }) => return,
            Err(error) => panic!("{error}"),
        }
    };
    sender.wait_for_successor(true);
    place.take_over(sender.position(), SENDING, SENT);
    place.ledger[SENDERS].fetch_add(1, Ordering::Relaxed);
    while !place.stops() {
        send_some(&place, &mut sender, &mut random);
        set(&place.ledger[SENT], sender.position());
        if random.once_in(500) {
            std::thread::sleep(Duration::from_micros(random.below(3000))); // the receiver falls asleep
        }
    }
    sender.close();
}

fn send_some(place: &Place, sender: &mut Sender<Message>, random: &mut Random) {
    let next = sender.position();
    let n = 1 + random.below(6);
    set(&place.ledger[SENDING], next + n);
    let numbers: Vec<Message> = (next..next + n).map(message).collect();
    let refused = match random.below(6) {
        0 => sender.try_send(numbers[0]).map_err(SendError::into_value).err(),
        1 => sender.send_timeout(numbers[0], Duration::from_millis(1)).map_err(SendError::into_value).err(),
        2 => sender.send(numbers[0]).map_err(|error| panic!("{error:?}")).err(),
        3 => {
            let sent = sender.try_send_slice(&numbers);
            assert!(matches!(sent, Ok(_) | Err(SendError::Full(()))), "{sent:?}");
            None
        }
        4 => {
            let mut grant = sender.reserve(numbers.len()).unwrap();
            let filled = grant.extend(numbers);
            assert_eq!(grant.commit(), filled);
            None
        }
        _ => {
            let mut grant = sender.reserve(numbers.len()).unwrap();
            grant.extend([message(u64::MAX), message(u64::MAX)]); // and nothing of it is sent
            None
        }
    };
    assert!(refused.is_none_or(|value| value == message(next)), "what was refused comes back");
}

fn receiver(address: &str, mut random: Random) {
    let place = Place::open(address);
    let mut receiver = loop {
        match place.ring.receiver_timeout(Duration::from_millis(200)) {
            Ok(receiver) => break receiver,
            Err(Error::Busy { .. }) if !place.stops() => {}
            Err(Error::Busy { .. }) => return,
            Err(error) => panic!("{error}"),
        }
    };
    receiver.wait_for_successor(true);
    place.take_over(receiver.position(), RECEIVING, RECEIVED);
    place.ledger[RECEIVERS].fetch_add(1, Ordering::Relaxed);
    loop {
        match receive_some(&place, &mut receiver, &mut random) {
            Ok(()) | Err(RecvError::Empty) => {}
            Err(RecvError::Closed) => break,
            Err(error) => panic!("{error:?}"),
        }
        set(&place.ledger[RECEIVED], receiver.position());
        if random.once_in(500) {
            std::thread::sleep(Duration::from_micros(random.below(3000))); // the sender falls asleep
        }
    }
    assert!(place.stops(), "closed, though nobody is to stop");
}

fn receive_some(
    place: &Place,
    receiver: &mut Receiver<Message>,
    random: &mut Random,
) -> Result<(), RecvError> {
    let next = receiver.position();
    let n = 1 + random.below(6);
    set(&place.ledger[RECEIVING], next + n);
    let is_right = |number: u64, received: Message| {
        assert_eq!(received, message(number), "lost, torn, or out of order");
        // Somebody before us had it in his hands, and did not release it.
        if place.ledger[LOOKED_AT].fetch_max(number + 1, Ordering::Relaxed) > number {
            place.ledger[REDELIVERED].fetch_add(1, Ordering::Relaxed);
        }
    };
    match random.below(5) {
        0 => is_right(next, receiver.try_recv()?),
        1 => is_right(next, receiver.recv()?),
        2 => is_right(next, receiver.recv_timeout(Duration::from_millis(1))?),
        how => {
            let items = receiver.read(usize::try_from(n).unwrap())?;
            for (number, received) in (next..).zip(items.iter()) {
                is_right(number, received);
            }
            let keep = usize::try_from(random.below(3)).unwrap();
            match how {
                3 => assert_eq!(items.len(), items.release()),
                _ => assert!(items.release_first(keep) <= keep), // the others come again
            }
        }
    }
    Ok(())
}

/// After so long without a message something hangs.
const STALL: Duration = Duration::from_secs(20);

/// Keeps two senders and two receivers alive, one of each as a standby, and kills them.
fn soak(args: &[String]) {
    let (address, capacity, mut random) =
        (&args[0], args[1].parse().unwrap(), Random::new(args[2].parse().unwrap()));
    let end = Instant::now() + Duration::from_millis(args[3].parse().unwrap());
    nix::unistd::alarm::cancel(); // the supervisor below knows better
    let place = Place::create(address, capacity);
    let mut start = |kind: usize| {
        let seed = random.next();
        fork().unwrap_or_else(|| {
            let work = if kind < 2 { sender } else { receiver };
            leave(|| work(address, Random::new(seed)))
        })
    };
    let mut workers: Vec<Forked> = (0..4).map(&mut start).collect();
    let mut random = Random::new(args[2].parse::<u64>().unwrap() + 1);
    let (mut kills, mut longest) = (0_u32, Duration::ZERO);
    let (mut seen, mut since) = (0, Instant::now());
    while Instant::now() < end {
        std::thread::sleep(Duration::from_micros(random.below(8000)));
        let progress = get(&place.ledger[SENT]) + get(&place.ledger[RECEIVED]);
        if progress != seen {
            longest = longest.max(since.elapsed());
            (seen, since) = (progress, Instant::now());
        }
        assert!(since.elapsed() < STALL, "nothing moves after {kills} kills: {:?}", place.ring.stats());
        match random.below(20) {
            0 => {
                place.segment.sweep().unwrap();
                let report = inspect::check(&place.segment);
                assert!(report.is_sound(), "after {kills} kills: {report}");
            }
            1 => {
                // Stopped is not dead: nobody takes its role.
                let victim = &workers[usize::try_from(random.below(4)).unwrap()];
                victim.signal(Signal::SIGSTOP);
                std::thread::sleep(Duration::from_micros(random.below(3000)));
                victim.signal(Signal::SIGCONT);
            }
            2 => {
                // Both of one kind.
                let first = if random.once_in(2) { 0 } else { 2 };
                for victim in [first, first + 1] {
                    workers[victim].signal(Signal::SIGKILL);
                }
                for victim in [first, first + 1] {
                    std::mem::replace(&mut workers[victim], start(victim)).was_killed();
                }
                kills += 2;
            }
            _ => {
                let victim = usize::try_from(random.below(4)).unwrap();
                workers[victim].signal(Signal::SIGKILL);
                std::mem::replace(&mut workers[victim], start(victim)).was_killed();
                kills += 1;
            }
        }
    }
    set(&place.ledger[STOP], 1);
    for worker in workers {
        worker.succeeds();
    }
    let stats = place.ring.stats();
    assert_eq!((stats.sent, stats.depth), (stats.received, 0), "{stats:?}");
    assert_eq!(get(&place.ledger[RECEIVED]), stats.received);
    assert!(place.ring.try_sender().is_ok_and(|sender| sender.position() == stats.sent));
    assert!(place.ring.try_receiver().is_ok_and(|receiver| receiver.position() == stats.received));
    place.segment.sweep().unwrap();
    assert_eq!(place.segment.attachments().unwrap().len(), 1);
    assert!(place.segment.objects().unwrap().iter().all(|object| object.openers == 1));
    let report = inspect::check(&place.segment);
    assert!(report.findings.is_empty(), "{report}");
    let [senders, receivers, again] = [SENDERS, RECEIVERS, REDELIVERED].map(|word| get(&place.ledger[word]));
    say(&format!(
        "capacity {capacity}: {kills} kills, {senders} senders, {receivers} receivers, {} messages, {again} looked at again, \
         longest pause {longest:?}",
        stats.sent
    ));
}

#[test]
fn every_number_comes_once_and_in_order_whoever_is_killed() {
    let mut random = Random::announced("soak");
    let seconds: u64 = std::env::var("OUTLIVE_SOAK_SECONDS").map_or(5, |text| text.parse().unwrap());
    for (name, capacity) in [(Name::shm("soak"), 64), (Name::file("soak"), 2), (Name::shm("soak"), 1)] {
        let (seed, time) = (random.next() >> 1, seconds * 1000 / 3);
        let args = [name.address().to_string(), capacity.to_string(), seed.to_string(), time.to_string()];
        let mut child = Child::start("soak", &args.each_ref().map(String::as_str));
        let told = child.hear_within(Duration::from_millis(time) + 3 * STALL);
        process::visibly(&told);
        child.succeeds();
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
