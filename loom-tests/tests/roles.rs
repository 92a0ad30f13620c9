//! The two roles of a ring: taking, resigning, closing, dying; by any order of two or three processes, without waiting.
//!
//! What a role changes into is a peer's only news of its holder, and a successor's only claim to what the last one left:
//! so each model looks at the role and at what it guards.
#![cfg(loom)]
#![expect(clippy::unwrap_used, reason = "tests")]

use outlive::error::RecvError;
use outlive::loom::thread;
use outlive::model::life;
use outlive::ring::spsc::{Ring, Sender};
use outlive::{Error, Segment};
use outlive_loom_tests::{explore, explore_deaths, processes};

fn ring_of(segment: &Segment) -> Ring<u64> {
    Ring::open(segment, "r").unwrap()
}

fn sender(segment: &Segment) -> Sender<u64> {
    ring_of(segment).try_sender().unwrap()
}

/// How a sender may leave.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Leaving {
    Resigns,
    Closes,
    Drops,
}

const WAYS: [Leaving; 3] = [Leaving::Resigns, Leaving::Closes, Leaving::Drops];

impl Leaving {
    fn leave(self, sender: Sender<u64>) {
        match self {
            Self::Resigns => sender.resign(),
            Self::Closes => sender.close(),
            Self::Drops => drop(sender),
        }
    }
}

/// The race: the holder of a role uses it for the last time and leaves, while another process asks for the role.
///
/// Allowed: `Busy`, naming the holder; or the role, and all that was done with it. Forbidden: the role with a position that
/// the last holder had left behind.
#[test]
fn who_takes_a_role_goes_on_where_it_was_left() {
    for way in WAYS {
        let iterations = explore(3, move || {
            let [here, there] = processes();
            let ring = Ring::<u64>::create(&here, "r", 4).unwrap();
            let mut first = sender(&there);
            let leaving = thread::spawn(move || {
                first.try_send(0).unwrap();
                way.leave(first);
                there
            });
            let early = ring.try_sender();
            match &early {
                Ok(sender) => assert_eq!(sender.position(), 1),
                Err(Error::Busy { .. }) => {}
                Err(error) => panic!("{error}"),
            }
            leaving.join().unwrap();
            let mut second = early.or_else(|_| ring.try_sender()).unwrap();
            second.try_send(1).unwrap();
            let mut receiver = ring.try_receiver().unwrap();
            assert_eq!([receiver.try_recv(), receiver.try_recv()], [Ok(0), Ok(1)]);
            assert_eq!(ring.stats().senders, 2);
        });
        assert!(iterations > 4, "{way:?}: {iterations}");
    }
}

/// The race: two processes ask for a role that a third one is leaving.
///
/// Allowed: one of them gets it, or both in turn, or neither if they came too early. Forbidden: both at once.
#[test]
fn a_role_that_is_left_is_one_process_s() {
    let iterations = explore(2, || {
        let [here, there, third] = processes();
        let ring = Ring::<u64>::create(&here, "r", 2).unwrap();
        let first = sender(&third);
        let leaving = thread::spawn(move || first.resign());
        let claimant = thread::spawn(move || (ring_of(&there).try_sender(), there.owner()));
        let mine = ring.try_sender();
        leaving.join().unwrap();
        let (theirs, owner) = claimant.join().unwrap();
        assert!(mine.is_err() || theirs.is_err());
        let holder = match (&mine, &theirs) {
            (Ok(_), _) => Some(here.owner()),
            (_, Ok(_)) => Some(owner),
            _ => None,
        };
        assert_eq!(ring.stats().sender, holder);
        assert_eq!(ring.stats().senders, 1 + u32::from(holder.is_some()));
    });
    assert!(iterations > 110, "{iterations}");
}

/// A process takes a role from a dead one, uses it and leaves, and dies before each of its writes; another one asks for the
/// role meanwhile, and afterwards gets it.
///
/// Allowed: `Busy` while the first one lives. Forbidden: a role that nobody can take, or a message that is lost.
#[test]
fn a_successor_dies_at_every_write() {
    for way in WAYS {
        let deaths = explore_deaths(1, move |k| {
            let [here, there, dead] = processes();
            let ring = Ring::<u64>::create(&here, "r", 4).unwrap();
            let died = life::mortal(&dead, 2, || {
                let mut doomed = sender(&dead); // its writes: the bit of the opener, the role
                doomed.try_send(9)
            });
            assert!(died.is_none());
            let heir = thread::spawn({
                let there = there.clone();
                move || {
                    life::mortal(&there, k, || {
                        if let Ok(mut heir) = ring_of(&there).try_sender() {
                            heir.try_send(heir.position()).unwrap();
                            way.leave(heir);
                        }
                    })
                }
            });
            match ring.try_sender() {
                Ok(mut sender) => sender.try_send(sender.position()).unwrap(),
                Err(error) => assert!(matches!(error, Error::Busy { .. }), "{error}"),
            }
            let died = heir.join().unwrap().is_none();
            let mut last = ring.try_sender().unwrap();
            last.try_send(last.position()).unwrap();
            let mut receiver = ring.try_receiver().unwrap();
            for n in 0..=last.position() - 1 {
                assert_eq!(receiver.try_recv(), Ok(n));
            }
            assert_eq!(receiver.try_recv(), Err(RecvError::Empty));
            died
        });
        assert!(deaths.len() >= 5 && deaths.iter().sum::<usize>() > 100, "{way:?}: {deaths:?}");
    }
}

/// The race: a sender ends in each way, and the receiver asks after it.
///
/// Allowed: empty at first, then the message; at the end what the way says: closed, or nothing (a resigned role has no end). A
/// role that was dropped is closed. Forbidden: death, for nobody died; the end before the message.
#[test]
fn a_peer_is_told_how_it_ended() {
    for way in WAYS {
        let iterations = explore(3, move || {
            let [here, there] = processes();
            let mut receiver = Ring::<u64>::create(&here, "r", 2).unwrap().try_receiver().unwrap();
            let ending = thread::spawn(move || {
                let mut sender = sender(&there);
                sender.try_send(0).unwrap();
                way.leave(sender);
            });
            let mut received = 0;
            for _ in 0..2 {
                match receiver.try_recv() {
                    Ok(0) => received += 1,
                    Err(RecvError::Closed) => assert!(way != Leaving::Resigns && received == 1),
                    other => assert_eq!(other, Err(RecvError::Empty)),
                }
            }
            ending.join().unwrap();
            if received == 0 {
                assert_eq!(receiver.try_recv(), Ok(0));
            }
            let end = if way == Leaving::Resigns { RecvError::Empty } else { RecvError::Closed };
            assert_eq!(receiver.try_recv(), Err(end));
        });
        assert!(iterations > 100, "{way:?}: {iterations}");
    }
}

/// The race: the holder of a role has died; one process sweeps it, another one takes the role, and the receiver waits for
/// a successor, or not.
///
/// Allowed: what the dead one sent, then its death or its successor's message. Forbidden: the death of somebody who has a
/// successor, told to who waits for one; a successor whose role the sweep ends.
#[test]
fn a_sweep_ends_no_successor() {
    for waits in [false, true] {
        let iterations = explore(2, move || {
            let [here, there, dead] = processes();
            let ring = Ring::<u64>::create(&here, "r", 4).unwrap();
            let died = life::mortal(&dead, 4, || {
                let mut doomed = sender(&dead); // its writes: the bit, the role; slot and tail of a message
                doomed.try_send(0).unwrap();
                doomed.try_send(9)
            });
            assert!(died.is_none());
            let mut receiver = ring.try_receiver().unwrap();
            receiver.wait_for_successor(waits);
            let sweeper = thread::spawn(move || there.sweep().unwrap());
            let mut heir = ring_of(&here).try_sender().unwrap();
            assert_eq!(receiver.try_recv(), Ok(0));
            assert_eq!(receiver.try_recv(), Err(RecvError::Empty));
            heir.try_send(1).unwrap();
            sweeper.join().unwrap();
            assert_eq!(receiver.try_recv(), Ok(1));
            assert_eq!(receiver.try_recv(), Err(RecvError::Empty));
            assert_eq!((ring.stats().sender, ring.stats().senders), (Some(here.owner()), 2));
            drop(heir);
        });
        assert!(iterations > 600, "{waits}: {iterations}");
    }
}
