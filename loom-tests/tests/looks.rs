//! Whoever only looks: statistics and the check, at what others are changing.
//!
//! A look takes no role and stops nobody, so it sees words of different moments. What it says has to be true of some
//! moment all the same.
#![cfg(loom)]
#![expect(clippy::unwrap_used, reason = "tests")]

use outlive::atomic::AtomicU64;
use outlive::inspect::{Severity, check};
use outlive::loom::thread;
use outlive::model::{self, life};
use outlive::object::Object;
use outlive::ring::{records, spsc};
use outlive::{Segment, testing};
use outlive_loom_tests::{explore, explore_deaths, is_full, processes};

/// A segment of which no invariant is broken. How often this could not be said.
fn is_sound(segment: &Segment) -> u64 {
    let report = check(segment);
    let corrupt = report.findings.iter().find(|finding| finding.severity == Severity::Corrupt);
    assert_eq!(corrupt, None, "{corrupt:?}");
    report.unsettled
}

/// The race: messages come and go while somebody counts them.
///
/// Allowed: any counts that were true of some moment for each end. Forbidden: more received than sent, a ring that holds more
/// than fits.
#[test]
fn no_more_is_received_than_sent() {
    let iterations = explore(3, || {
        let [here, there] = processes();
        let ring = spsc::Ring::<u64>::create(&here, "r", 1).unwrap();
        let traffic = thread::spawn(move || {
            let ring = spsc::Ring::<u64>::open(&there, "r").unwrap();
            let (mut sender, mut receiver) = (ring.try_sender().unwrap(), ring.try_receiver().unwrap());
            for n in 0..2 {
                sender.try_send(n).unwrap();
                assert_eq!(receiver.try_recv(), Ok(n));
            }
        });
        let stats = ring.stats();
        assert!(stats.received <= stats.sent && stats.depth <= 1, "{stats:?}");
        assert!(stats.sent <= 2, "{stats:?}");
        traffic.join().unwrap();
        let stats = ring.stats();
        assert_eq!((stats.received, stats.sent, stats.depth), (2, 2, 0));
    });
    assert!(iterations > 700, "{iterations}");
}

/// The same race with records, whose counts stand beside the positions, in marks.
///
/// Allowed: counts that were true of some moment for each end. Forbidden: more received than sent, a count that never was.
#[test]
fn no_more_records_are_received_than_sent() {
    let iterations = explore(1, || {
        let [here, there] = processes();
        let ring = records::Ring::create(&here, "r", 64).unwrap();
        let theirs = records::Ring::open(&there, "r").unwrap();
        let (mut sender, mut receiver) = (theirs.try_sender().unwrap(), theirs.try_receiver().unwrap());
        let traffic = thread::spawn(move || {
            for n in 0..2 {
                sender.try_send(&[n; 9]).unwrap();
                receiver.try_read().unwrap().release();
            }
            (there, theirs, sender, receiver)
        });
        let stats = ring.stats();
        assert!(stats.received <= stats.sent && stats.sent <= 2 && stats.depth <= 64, "{stats:?}");
        let _kept = traffic.join().unwrap();
        let stats = ring.stats();
        assert_eq!((stats.received, stats.sent, stats.depth), (2, 2, 0));
    });
    assert!(iterations > 15_000, "{iterations}");
}

/// How many preemptions the models of the check get: it looks at so many words.
const FEW: usize = 1;

/// The race: the check looks at a ring while both of its ends work.
///
/// Allowed: nothing is found, or words were never still. Forbidden: an accusation.
#[test]
fn the_check_accuses_no_ring_at_work() {
    let iterations = explore(FEW, || {
        let [here, there] = processes();
        let ring = spsc::Ring::<u64>::create(&here, "r", 1).unwrap();
        let mut receiver = spsc::Ring::<u64>::open(&there, "r").unwrap().try_receiver().unwrap();
        let working = thread::spawn(move || {
            let mut sender = spsc::Ring::<u64>::open(&there, "r").unwrap().try_sender().unwrap();
            for n in 0..2 {
                sender.try_send(n).unwrap();
                assert_eq!(receiver.try_recv(), Ok(n));
            }
        });
        is_sound(&here);
        working.join().unwrap();
        drop(ring);
        assert_eq!(is_sound(&here), 0);
    });
    assert!(iterations > 2000, "{iterations}");
}

/// The race: the check looks while an object is removed; in the long tier, also while another one is made in its place, which
/// changes so many words that one preemption has to do there, too.
///
/// Allowed: nothing is found, or words were never still. Forbidden: an accusation.
#[test]
fn the_check_accuses_no_directory_at_work() {
    let makes = is_full();
    let iterations = model::explore(FEW, move || {
        let [here, there] = processes();
        drop(Object::create(&here, "old", || AtomicU64::new(1)).unwrap());
        let working = thread::spawn(move || {
            there.remove("old").unwrap();
            if makes {
                drop(Object::create(&there, "new", || AtomicU64::new(1)).unwrap());
            }
            there
        });
        is_sound(&here);
        let _there = working.join().unwrap();
        assert_eq!(is_sound(&here), 0);
    });
    assert!(iterations > 80, "{iterations}");
}

/// The race: the check looks while a dead holder is swept and succeeded.
///
/// Allowed: that a dead one needs sweeping. Forbidden: an accusation, or a dead one that is found when all is done.
#[test]
fn the_check_accuses_no_sweep_at_work() {
    let iterations = explore(FEW, || {
        let [here, there, dead] = processes();
        let ring = spsc::Ring::<u64>::create(&here, "r", 1).unwrap();
        let doomed = spsc::Ring::<u64>::open(&dead, "r").unwrap().try_sender().unwrap();
        testing::kill(&dead).unwrap();
        drop((doomed, dead));
        let sweeper = thread::spawn(move || {
            there.sweep().unwrap();
            let heir = spsc::Ring::<u64>::open(&there, "r").unwrap().try_sender().unwrap();
            (there, heir)
        });
        is_sound(&here);
        let kept = sweeper.join().unwrap();
        assert_eq!(check(&here).findings, []);
        drop((ring, kept));
    });
    assert!(iterations > 2500, "{iterations}");
}

/// A process makes a ring, uses and removes it, and dies before each of its writes; the check looks at what is left, before
/// the sweep and after it.
///
/// Allowed: that a dead one needs sweeping. Forbidden: an accusation; that the sweep leaves anything to find.
#[test]
fn no_death_leaves_a_broken_invariant() {
    let deaths = explore_deaths(1, |k| {
        let [here, there] = processes();
        let died = life::mortal(&there, k, || {
            let ring = records::Ring::create(&there, "r", 64).unwrap();
            let (mut sender, mut receiver) = (ring.try_sender().unwrap(), ring.try_receiver().unwrap());
            sender.try_send(&[1; 9]).unwrap();
            receiver.try_read().unwrap().release();
            there.remove("r").unwrap();
            drop((sender, receiver, ring));
            drop(Object::create(&there, "x", || AtomicU64::new(1)).unwrap());
        })
        .is_none();
        is_sound(&here);
        drop(there);
        here.sweep().unwrap();
        assert_eq!(check(&here).findings, []);
        died
    });
    assert!(deaths.len() > 60 && deaths.iter().sum::<usize>() > 60, "{deaths:?}");
}
