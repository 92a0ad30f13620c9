//! The SPSC ring without waiting: orderings, deaths at every write, roles.
#![cfg(loom)]
#![expect(clippy::unwrap_used, reason = "tests")]

use std::sync::{Arc, Mutex};

use outlive::error::{RecvError, SendError};
use outlive::loom::thread;
use outlive::model::life;
use outlive::ring::spsc::{Receiver, Ring, Sender};
use outlive::{Error, Segment, Trusted};
use outlive_loom_tests::{self as fixture, Kind, Pair, explore, explore_deaths};

/// The ring of numbers.
enum Numbers {}

impl Kind for Numbers {
    type Ring = Ring<u64>;
    type Sender = Sender<u64>;
    type Receiver = Receiver<u64>;

    fn create(segment: &Segment, capacity: usize) -> Result<Ring<u64>, Error> {
        Ring::create(segment, "r", capacity)
    }

    fn open(segment: &Segment) -> Result<Ring<u64>, Error> {
        Ring::open(segment, "r")
    }

    fn sender(ring: &Ring<u64>) -> Result<Sender<u64>, Error> {
        ring.try_sender()
    }

    fn receiver(ring: &Ring<u64>) -> Result<Receiver<u64>, Error> {
        ring.try_receiver()
    }
}

fn pair(capacity: usize) -> Pair<Numbers> {
    fixture::pair::<Numbers>(capacity)
}

fn ring_of(segment: &Segment) -> Ring<u64> {
    Numbers::open(segment).unwrap()
}

/// Everything that is in the ring, from `from` on.
fn drain(receiver: &mut Receiver<u64>, from: u64) -> u64 {
    fixture::drain(
        || receiver.try_recv(),
        from,
        |n, found| {
            assert_eq!(found, n, "in order, each once");
            n + 1
        },
    )
}

/// The race: the sender writes a slot and publishes it, while the receiver looks, reads and frees it for the next lap.
///
/// Allowed: a prefix of what was sent, in order. Forbidden: a slot that both touch, a value that was not sent.
#[test]
fn values_are_behind_the_position_that_names_them() {
    let iterations = explore(3, || {
        let (_segments, _ring, mut sender, mut receiver) = pair(2);
        let sending = thread::spawn(move || {
            let mut sent = 0;
            for _ in 0..3 {
                sent += u64::from(sender.try_send(sent).is_ok());
            }
            (sender, sent)
        });
        let mut next = 0;
        for _ in 0..3 {
            match receiver.try_recv() {
                Ok(n) => {
                    assert_eq!(n, next);
                    next += 1;
                }
                Err(error) => assert_eq!(error, RecvError::Empty),
            }
        }
        let (sender, sent) = sending.join().unwrap();
        assert!(sent >= 2);
        assert_eq!(drain(&mut receiver, next), sent);
        drop(sender);
    });
    assert!(iterations > 600, "{iterations}");
}

/// The race: the sender closes and detaches, and is then dead to all others, while the receiver asks after it.
///
/// Allowed: empty, then closed. Forbidden: death, for it lived to close.
#[test]
fn who_closes_and_goes_has_not_died() {
    let iterations = explore(3, || {
        let ([first, second], _ring, sender, mut receiver) = pair(2);
        let going = thread::spawn(move || {
            sender.close();
            drop(second);
        });
        for _ in 0..2 {
            let seen = receiver.try_recv();
            assert!(matches!(seen, Err(RecvError::Empty | RecvError::Closed)), "{seen:?}");
        }
        going.join().unwrap();
        assert_eq!(receiver.try_recv(), Err(RecvError::Closed));
        drop(first);
    });
    assert!(iterations > 60, "{iterations}");
}

/// The race: the sender sends, resigns and detaches, while the receiver receives and asks after it.
///
/// Allowed: empty, the message, empty again: a role without a holder has no end. Forbidden: death, or the end.
#[test]
fn who_resigns_and_goes_has_not_died() {
    let iterations = explore(3, || {
        let ([_first, second], ring, mut sender, mut receiver) = pair(2);
        let going = thread::spawn(move || {
            sender.try_send(0).unwrap();
            sender.resign();
            drop(second);
        });
        let mut next = 0;
        for _ in 0..2 {
            match receiver.try_recv() {
                Ok(n) => next = n + 1,
                Err(error) => assert_eq!(error, RecvError::Empty),
            }
        }
        going.join().unwrap();
        assert_eq!(drain(&mut receiver, next), 1);
        assert_eq!(ring.try_sender().unwrap().position(), 1);
    });
    assert!(iterations > 500, "{iterations}");
}

/// The same race, by slices and grants on one side, by items on the other; both cross the last slot of the ring.
///
/// Allowed: a prefix of each batch. Forbidden: as above; items that are released and come again.
#[test]
fn batches_are_behind_the_position_that_names_them() {
    let iterations = explore(3, || {
        let (_segments, _ring, mut sender, mut receiver) = pair(2);
        sender.try_send(0).unwrap();
        let sending = thread::spawn(move || {
            let mut sent = 1 + sender.try_send_slice(&[1, 2]).unwrap_or(0) as u64;
            if let Ok(mut grant) = sender.try_reserve(2) {
                grant.extend(sent..);
                sent += grant.commit() as u64;
            }
            (sender, sent)
        });
        let mut next = 0;
        for _ in 0..2 {
            if let Ok(items) = receiver.try_read(2) {
                assert!(items.iter().eq((next..).take(items.len())));
                next += items.release_first(1) as u64;
            }
        }
        let (sender, sent) = sending.join().unwrap();
        assert_eq!(drain(&mut receiver, next), sent);
        drop(sender);
    });
    assert!(iterations > 140, "{iterations}");
}

/// The same race, in place on both sides.
///
/// Allowed: a prefix of what was committed. Forbidden: a slot that both touch, a value that was not committed.
#[test]
fn slices_in_place_are_behind_the_position_that_names_them() {
    let iterations = explore(3, || {
        let here = Segment::options().rows(2).heap().unwrap();
        // SAFETY: two attachments to heap memory that only this model writes, through this crate.
        let there = unsafe { here.attach().unwrap().trust() };
        // SAFETY: as above.
        let here = unsafe { here.trust() };
        let ring = Ring::<u64, Trusted>::create(&here, "r", 2).unwrap();
        let mut sender = Ring::<u64, Trusted>::open(&there, "r").unwrap().try_sender().unwrap();
        let mut receiver = ring.try_receiver().unwrap();
        let sending = thread::spawn(move || {
            let mut sent = 0;
            for _ in 0..2 {
                if let Ok(mut grant) = sender.try_reserve(2) {
                    for slot in grant.as_mut_slice() {
                        *slot = sent;
                        sent += 1;
                    }
                    grant.commit();
                }
            }
            (sender, sent)
        });
        let mut next = 0;
        for _ in 0..2 {
            if let Ok(items) = receiver.try_read(2) {
                for n in &*items {
                    assert_eq!(*n, next);
                    next += 1;
                }
                items.release();
            }
        }
        let (sender, sent) = sending.join().unwrap();
        assert!(next <= sent);
        assert_eq!(ring.stats().depth, sent - next);
        drop(sender);
    });
    assert!(iterations > 90, "{iterations}");
}

/// The race: the sender sends its last message and closes, the receiver looks.
///
/// Allowed: empty, the message, then closed. Forbidden: closed while the message lies there.
#[test]
fn closed_means_drained() {
    let iterations = explore(3, || {
        let (_segments, ring, mut sender, mut receiver) = pair(2);
        let sending = thread::spawn(move || {
            sender.try_send(0).unwrap();
            sender.close();
        });
        let mut next = 0;
        for _ in 0..3 {
            match receiver.try_recv() {
                Ok(n) => {
                    assert_eq!(n, next);
                    next += 1;
                }
                Err(RecvError::Closed) => assert_eq!(next, 1, "closed before the message was received"),
                Err(error) => assert_eq!(error, RecvError::Empty),
            }
        }
        sending.join().unwrap();
        assert_eq!(drain(&mut receiver, next), 1);
        assert_eq!(ring.stats().sent, 1);
        assert_eq!(receiver.try_recv(), Err(RecvError::Closed));
    });
    assert!(iterations > 800, "{iterations}");
}

/// The race: the receiver closes while the sender, who has room and looks at nothing, sends.
///
/// Allowed: what was sent before is in the ring, for a successor. Forbidden: more than one message that is sent after
/// the receiver has closed.
#[test]
fn a_sender_with_room_is_told_soon() {
    let iterations = explore(3, || {
        let (_segments, ring, mut sender, receiver) = pair(8);
        let closing = thread::spawn(move || receiver.close());
        let mut sent = 0;
        for _ in 0..2 {
            match sender.try_send(sent) {
                Ok(()) => sent += 1,
                Err(error) => assert_eq!(error, SendError::Closed(sent)),
            }
        }
        closing.join().unwrap();
        sent += u64::from(sender.try_send(sent).is_ok());
        assert_eq!(sender.try_send(sent), Err(SendError::Closed(sent)));
        assert_eq!(drain(&mut ring.try_receiver().unwrap(), 0), sent);
    });
    assert!(iterations > 40, "{iterations}");
}

/// A sender dies before each of its writes; the receiver receives meanwhile; then a successor carries on.
///
/// Allowed: the successor begins where the dead one stopped. Forbidden: a message lost, or told twice; death reported
/// while a message lies there.
#[test]
fn a_successor_of_the_sender_carries_on() {
    let deaths = explore_deaths(3, |k| {
        let ([_here, there], ring) = fixture::ring::<Numbers, 2>(2);
        let mut receiver = ring.try_receiver().unwrap();
        let victim = thread::spawn({
            let there = there.clone();
            move || {
                life::mortal(&there, k, || {
                    let mut sender = ring_of(&there).try_sender().unwrap();
                    sender.try_send(0).unwrap();
                    assert_eq!(sender.try_send_slice(&[1]).unwrap(), 1);
                })
            }
        });
        let mut next = 0;
        for _ in 0..2 {
            match receiver.try_recv() {
                Ok(n) => {
                    assert_eq!(n, next);
                    next += 1;
                }
                Err(RecvError::PeerDied(owner)) => {
                    assert_eq!(owner, there.owner());
                    assert_eq!(
                        ring.stats().sent,
                        next,
                        "its last message was not looked for after the verdict"
                    );
                }
                Err(error) => assert!(matches!(error, RecvError::Empty | RecvError::Closed)),
            }
        }
        let died = victim.join().unwrap().is_none();
        let mut successor = ring.try_sender().unwrap();
        for n in successor.position()..3 {
            if successor.try_send(n).is_err() {
                next = drain(&mut receiver, next);
                successor.try_send(n).unwrap();
            }
        }
        assert_eq!(drain(&mut receiver, next), 3);
        died
    });
    assert!(deaths.len() >= 5 && deaths.iter().sum::<usize>() > 10_000, "{deaths:?}");
}

/// A receiver dies before each of its writes, by `recv` and by `read` and `release`; the sender sends meanwhile.
///
/// Allowed: its successor gets everything that was not released. Forbidden: a message lost that was not consumed, one
/// that was consumed and comes again.
#[test]
fn a_successor_of_the_receiver_gets_what_is_left() {
    let deaths = explore_deaths(3, |k| {
        let ([_here, there], ring) = fixture::ring::<Numbers, 2>(2);
        let mut sender = ring.try_sender().unwrap();
        sender.try_send(0).unwrap();
        let consumed = Arc::new(Mutex::new(0)); // what its user knows to be done; not part of the model
        let victim = thread::spawn({
            let (there, consumed) = (there.clone(), Arc::clone(&consumed));
            move || {
                life::mortal(&there, k, || {
                    let mut receiver = ring_of(&there).try_receiver().unwrap();
                    assert_eq!(receiver.try_recv(), Ok(0));
                    *consumed.lock().unwrap() = 1;
                    if let Ok(items) = receiver.try_read(2) {
                        let n = items.len() as u64;
                        assert!(items.iter().eq(1..=n));
                        assert_eq!(items.release() as u64, n);
                        *consumed.lock().unwrap() += n;
                    }
                })
            }
        });
        let mut sent = 1;
        for _ in 0..2 {
            match sender.try_send(sent) {
                Ok(()) => sent += 1,
                Err(error) => assert!(
                    error == SendError::Full(sent)
                        || error == SendError::Closed(sent)
                        || error == SendError::PeerDied(sent, there.owner())
                ),
            }
        }
        let died = victim.join().unwrap().is_none();
        let mut successor = ring.try_receiver().unwrap();
        let (position, consumed) = (successor.position(), *consumed.lock().unwrap());
        assert!(consumed <= position, "consumed, and comes again");
        assert!(position <= sent && (died || position == consumed), "lost");
        assert_eq!(drain(&mut successor, position), sent);
        died
    });
    assert!(deaths.len() >= 4 && deaths.iter().sum::<usize>() > 15_000, "{deaths:?}");
}

/// The process sends a message, and dies before it publishes the next one.
fn die_after_one_message(process: &Segment) {
    let mut sender = ring_of(process).try_sender().unwrap();
    // Its writes: a slot, the tail, a slot.
    let died = life::mortal(process, 3, move || {
        sender.try_send(0).unwrap();
        sender.try_send(1).unwrap();
    });
    assert!(died.is_none());
}

/// The race: two processes want the role of a dead one, a third sweeps it.
///
/// Allowed: one gets it, the other is told who. Forbidden: both, or neither.
#[test]
fn one_of_two_claimants_gets_the_role() {
    let iterations = explore(2, || {
        let ([here, there, dead], ring) = fixture::ring::<Numbers, 3>(2);
        die_after_one_message(&dead);
        let claimant = thread::spawn({
            let there = there.clone();
            move || ring_of(&there).try_sender()
        });
        let mine = ring.try_sender();
        here.sweep().unwrap();
        let theirs = claimant.join().unwrap();
        match (&mine, &theirs) {
            (Ok(sender), Err(Error::Busy { owner })) => {
                assert_eq!((sender.position(), *owner), (1, here.owner()));
            }
            (Err(Error::Busy { owner }), Ok(sender)) => {
                assert_eq!((sender.position(), *owner), (1, there.owner()));
            }
            other => panic!("{other:?}"),
        }
        assert_eq!(ring.stats().senders, 2);
        drop((mine, theirs));
    });
    assert!(iterations > 200, "{iterations}");
}

/// A sweeper dies before each of its writes; another sweep follows; the receiver looks meanwhile.
///
/// Allowed: the death is told, by whichever word. Forbidden: a role that stays held, a message lost.
#[test]
fn a_sweeper_dies_at_every_write() {
    let deaths = explore_deaths(2, |k| {
        let ([here, there, dead], ring) = fixture::ring::<Numbers, 3>(2);
        die_after_one_message(&dead);
        let mut receiver = ring.try_receiver().unwrap();
        let sweeper = thread::spawn({
            let there = there.clone();
            move || life::mortal(&there, k, || there.sweep().unwrap())
        });
        assert_eq!(receiver.try_recv(), Ok(0));
        assert_eq!(receiver.try_recv(), Err(RecvError::PeerDied(dead.owner())));
        let died = sweeper.join().unwrap().is_none();
        here.sweep().unwrap();
        assert_eq!(receiver.try_recv(), Err(RecvError::PeerDied(dead.owner())));
        assert_eq!(ring.try_sender().unwrap().position(), 1);
        died
    });
    assert!(deaths.len() >= 5 && deaths.iter().sum::<usize>() > 500, "{deaths:?}");
}
