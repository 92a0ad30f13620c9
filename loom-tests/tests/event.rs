//! Sleeping and waking over the ring: whoever blocks is woken, and nobody depends on being woken by somebody who dies.
#![cfg(loom)]
#![expect(clippy::unwrap_used, reason = "tests")]

use outlive::Segment;
use outlive::error::{RecvError, SendError};
use outlive::loom::thread;
use outlive::model::{life, set_slices};
use outlive::ring::spsc::{Receiver, Ring, Sender};
use outlive_loom_tests::{explore, explore_deaths};

/// Two processes with a ring of one slot.
fn two() -> (Segment, Segment, Ring<u64>) {
    let here = Segment::options().rows(2).heap().unwrap();
    let there = here.attach().unwrap();
    let ring = Ring::create(&here, "r", 1).unwrap();
    (here, there, ring)
}

fn sender(segment: &Segment) -> Sender<u64> {
    Ring::open(segment, "r").unwrap().try_sender().unwrap()
}

fn receiver(segment: &Segment) -> Receiver<u64> {
    Ring::open(segment, "r").unwrap().try_receiver().unwrap()
}

/// The race: the receiver finds nothing and goes to sleep while the sender sends and looks for sleepers; and the sender
/// finds no room while the receiver makes some.
///
/// Allowed: nobody sleeps, or whoever does is woken. Forbidden: a sleep that only a slice would end (loom: deadlock).
#[test]
fn whoever_sleeps_is_woken() {
    let iterations = explore(3, || {
        let (_here, there, ring) = two();
        let mut sender = sender(&there);
        let mut receiver = ring.try_receiver().unwrap();
        let sending = thread::spawn(move || {
            for n in 0..2 {
                sender.send(n).unwrap();
            }
            sender
        });
        for n in 0..2 {
            assert_eq!(receiver.recv(), Ok(n));
        }
        drop(sending.join().unwrap());
    });
    assert!(iterations > 6000, "{iterations}");
}

/// The race: the receiver goes to sleep while the sender closes.
///
/// Four preemptions, since one story takes as many: the receiver announces itself again while the sender clears W; the alarm
/// finds no W; the receiver falls asleep before it is over.
///
/// Allowed: it is told. Forbidden: a sleep without end; a message lost over it.
#[test]
fn a_sleeping_receiver_is_told_that_the_sender_closes() {
    let iterations = explore(4, || {
        let (_here, there, ring) = two();
        let mut sender = sender(&there);
        let mut receiver = ring.try_receiver().unwrap();
        let sending = thread::spawn(move || {
            sender.send(7).unwrap();
            sender.close();
        });
        assert_eq!(receiver.recv(), Ok(7));
        assert_eq!(receiver.recv(), Err(RecvError::Closed));
        sending.join().unwrap();
    });
    assert!(iterations > 10_000, "{iterations}");
}

/// The race: the sender goes to sleep, the ring being full, while the receiver closes.
///
/// Allowed: it is told, at once. Forbidden: a sleep without end.
#[test]
fn a_sleeping_sender_is_told_that_the_receiver_closes() {
    let iterations = explore(3, || {
        let (_here, there, ring) = two();
        let receiver = receiver(&there);
        let mut sender = ring.try_sender().unwrap();
        let closing = thread::spawn(move || receiver.close());
        let mut sent = 0;
        let refused = loop {
            match sender.send(sent) {
                Ok(()) => sent += 1,
                Err(refused) => break refused,
            }
        };
        assert!(sent <= 1 && refused == SendError::Closed(sent), "{sent} {refused:?}");
        closing.join().unwrap();
    });
    assert!(iterations > 300, "{iterations}");
}

/// The race: a standby goes to sleep while the holder of the role resigns or closes.
///
/// Allowed: it gets the role. Forbidden: a sleep without end.
#[test]
fn a_standby_is_woken() {
    for resigns in [true, false] {
        let iterations = explore(3, move || {
            let (_here, there, ring) = two();
            let first = sender(&there);
            let leaving = thread::spawn(move || if resigns { first.resign() } else { first.close() });
            let second = ring.sender().unwrap();
            assert_eq!(ring.stats().senders, 2);
            drop(second);
            leaving.join().unwrap();
        });
        assert!(iterations > 200, "{iterations}");
    }
}

/// A sender dies before each of its writes, the wake-ups among them, while the receiver sleeps in slices.
///
/// Allowed: everything that it committed arrives, then its death, or its end if it lived to close.
/// Forbidden: a sleep without end, a message lost or told twice.
#[test]
fn a_sleeping_receiver_outlives_the_sender() {
    let deaths = explore_deaths(2, |k| {
        set_slices(true);
        let (_here, there, ring) = two();
        let mut receiver = ring.try_receiver().unwrap();
        let sender = sender(&there);
        let sending = thread::spawn({
            let there = there.clone();
            move || {
                life::mortal(&there, k, move || {
                    let mut sender = sender;
                    sender.send(0).unwrap();
                    sender.send(1).unwrap();
                })
            }
        });
        let mut received = 0;
        let end = loop {
            match receiver.recv() {
                Ok(n) => {
                    assert_eq!(n, received);
                    received += 1;
                }
                Err(end) => break end,
            }
        };
        let died = sending.join().unwrap().is_none();
        let closed = end == RecvError::Closed; // it may die after that
        assert!(closed && received == 2 || end == RecvError::PeerDied(there.owner()) && died, "{end:?}");
        assert_eq!(ring.stats().received, received);
        assert_eq!(ring.stats().depth, 0);
        died
    });
    assert!(deaths.len() >= 5 && deaths.iter().sum::<usize>() > 30_000, "{deaths:?}");
}

/// A receiver dies before each of its writes, announced or asleep at times, while the sender sleeps in slices.
///
/// Allowed: the sender fills what room there is, and learns of the death. Its successor receives what is left.
/// Forbidden: a sleep without end; a message that is lost, or received again after it was released.
#[test]
fn a_sleeping_sender_outlives_the_receiver() {
    let deaths = explore_deaths(2, |k| {
        set_slices(true);
        let (_here, there, ring) = two();
        let mut sender = ring.try_sender().unwrap();
        let receiver = receiver(&there);
        let receiving = thread::spawn({
            let there = there.clone();
            move || {
                life::mortal(&there, k, move || {
                    let mut receiver = receiver;
                    assert_eq!(receiver.recv(), Ok(0));
                })
            }
        });
        let mut sent = 0;
        let end = loop {
            match sender.send(sent) {
                Ok(()) => sent += 1,
                Err(end) => break end,
            }
        };
        let died = receiving.join().unwrap().is_none();
        let closed = end == SendError::Closed(sent);
        assert!(closed || end == SendError::PeerDied(sent, there.owner()) && died, "{end:?}");
        let mut successor = ring.try_receiver().unwrap();
        for n in successor.position()..sent {
            assert_eq!(successor.try_recv(), Ok(n));
        }
        assert_eq!(successor.try_recv(), Err(RecvError::Empty));
        died
    });
    assert!(deaths.len() >= 5 && deaths.iter().sum::<usize>() > 30_000, "{deaths:?}");
}

/// The holder of a role dies before each of its writes, also while it leaves; a standby sleeps in slices.
///
/// Allowed: the standby gets the role and carries on. Forbidden: a sleep without end.
#[test]
fn a_standby_outlives_the_holder() {
    let deaths = explore_deaths(2, |k| {
        set_slices(true);
        let (_here, there, ring) = two();
        let first = sender(&there);
        let leaving = thread::spawn({
            let there = there.clone();
            move || {
                life::mortal(&there, k, move || {
                    let mut first = first;
                    first.send(0).unwrap();
                    first.resign();
                })
            }
        });
        let mut second = ring.sender().unwrap();
        let position = second.position();
        assert!(position <= 1);
        if position == 0 {
            second.try_send(0).unwrap();
        }
        assert_eq!(ring.try_receiver().unwrap().try_recv(), Ok(0));
        leaving.join().unwrap().is_none()
    });
    assert!(deaths.len() >= 3 && deaths.iter().sum::<usize>() > 800, "{deaths:?}");
}

/// A sender dies while the receiver sleeps without slices; the one who sweeps dies before each of its writes, the
/// alarms among them; then another one sweeps.
///
/// Allowed: the receiver is told of the death. Forbidden: a sleep without end, since the second sweep finds the role
/// repaired and nobody woken.
#[test]
fn a_sweep_that_was_cut_short_is_made_good() {
    let deaths = explore_deaths(2, |k| {
        let here = Segment::options().rows(3).heap().unwrap();
        let [there, dead] = [here.attach().unwrap(), here.attach().unwrap()];
        let mut receiver = Ring::<u64>::create(&here, "r", 1).unwrap().try_receiver().unwrap();
        let doomed = sender(&dead);
        let receiving = thread::spawn(move || receiver.recv());
        let died = life::mortal(&dead, 0, move || {
            let mut doomed = doomed;
            doomed.try_send(0)
        });
        assert!(died.is_none());
        let died = life::mortal(&there, k, || there.sweep().unwrap()).is_none();
        here.sweep().unwrap();
        assert_eq!(receiving.join().unwrap(), Err(RecvError::PeerDied(dead.owner())));
        died
    });
    assert!(deaths.len() >= 5 && deaths.iter().sum::<usize>() > 10_000, "{deaths:?}");
}
