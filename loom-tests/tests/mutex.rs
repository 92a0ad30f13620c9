//! The mutex: who may touch the value, what the next one is told after a death, and that whoever sleeps is woken.
#![cfg(loom)]
#![expect(clippy::unwrap_used, reason = "tests")]

use outlive::loom::thread;
use outlive::model::{explore, life, set_slices};
use outlive::sync::{LockError, Mutex};
use outlive::{Owner, Segment};
use outlive_loom_tests::explore_deaths;

/// A value that is in order if both are equal.
type Pair = [u64; 2];

/// So many processes, with a mutex of the first.
fn processes<const N: usize>() -> ([Segment; N], [Mutex<Pair>; N]) {
    let first = Segment::options().rows(u16::try_from(N).unwrap()).heap().unwrap();
    drop(Mutex::<Pair>::create(&first, "m", || [0, 0]).unwrap());
    let mut first = Some(first);
    let segments = std::array::from_fn(|i| match i {
        0 => first.as_ref().unwrap().clone(),
        _ => first.as_ref().unwrap().attach().unwrap(),
    });
    first = None;
    drop(first);
    let mutexes = std::array::from_fn(|i: usize| {
        let segment: &Segment = &<[Segment; N]>::as_slice(&segments)[i];
        Mutex::open(segment, "m").unwrap()
    });
    (segments, mutexes)
}

/// Adds one to both; what it found, and who was told to have died inside.
fn add(mutex: &Mutex<Pair>) -> (Pair, Option<Owner>) {
    match mutex.lock() {
        Ok(mut guard) => {
            let found = guard.get();
            guard.set([found[0] + 1, found[1]]);
            guard.set([found[0] + 1, found[1] + 1]);
            (found, None)
        }
        Err(LockError::OwnerDied(mut inconsistent)) => {
            let (found, dead) = (inconsistent.get(), inconsistent.owner());
            inconsistent.set([found[0] + 1, found[0] + 1]);
            drop(inconsistent.mark_consistent());
            (found, dead)
        }
        Err(error) => panic!("{error}"),
    }
}

/// The race: two processes change the value under the lock.
///
/// Allowed: one after the other, in either order. Forbidden: both at once (loom: a race on the payload), a change that is lost,
/// a sleep that only a slice would end (loom: deadlock).
#[test]
fn one_changes_it_after_the_other() {
    let iterations = explore(3, || {
        let (_segments, [ours, theirs]) = processes::<2>();
        let other = thread::spawn(move || add(&theirs).0);
        let here = add(&ours).0;
        let there = other.join().unwrap();
        assert!(here != there && here[0] + there[0] == 1, "{here:?} {there:?}");
        assert_eq!(ours.lock().unwrap().get(), [2, 2]);
    });
    assert!(iterations > 25, "{iterations}");
}

/// The race: two wait while a third has it. Whoever is woken cannot know whether it was the last one that slept.
///
/// Allowed: each gets it. Forbidden: one sleeps on although the lock is free.
#[test]
fn whoever_was_woken_wakes_the_next() {
    let iterations = explore(3, || {
        let (_segments, [a, b, c]) = processes::<3>();
        let guard = a.lock().unwrap();
        let others = [b, c].map(|mutex| thread::spawn(move || add(&mutex)));
        drop(guard);
        for other in others {
            other.join().unwrap();
        }
        assert_eq!(a.lock().unwrap().get(), [2, 2]);
    });
    assert!(iterations > 6000, "{iterations}");
}

/// The race: the lock becomes free while somebody is about to sleep for a short time, and gives up.
///
/// Allowed: it gets the lock, or is told who had it. Forbidden: its going leaves the lock taken.
#[test]
fn whoever_gives_up_leaves_nothing() {
    let iterations = explore(3, || {
        let ([_here, there], [ours, theirs]) = processes::<2>();
        let other = thread::spawn(move || drop(theirs.lock().unwrap()));
        match ours.try_lock() {
            Ok(guard) => assert_eq!(guard.get(), [0, 0]),
            Err(LockError::Held(owner)) => assert_eq!(owner, there.owner()),
            Err(error) => panic!("{error}"),
        }
        other.join().unwrap();
        assert_eq!(ours.try_lock().unwrap().get(), [0, 0]);
    });
    assert!(iterations > 20, "{iterations}");
}

/// A holder dies before each of its writes, the one that unlocks and the wake-up among them, while another waits in slices.
///
/// Allowed: the next one finds the value as it was, or as it was to be; or it is told who died, and finds whatever was written. Forbidden:
/// half a change, and nobody is told; a sleep without end; a race on the payload, for the dead had not released the lock.
#[test]
fn whoever_waits_outlives_the_holder() {
    let deaths = explore_deaths(3, |k| {
        set_slices(true);
        let ([_here, there], [ours, theirs]) = processes::<2>();
        let holder = thread::spawn({
            let there = there.clone();
            move || life::mortal(&there, k, move || add(&theirs))
        });
        let (found, told) = add(&ours);
        let died = holder.join().unwrap().is_none();
        if told.is_some() {
            assert!(died && told == Some(there.owner()), "{told:?}");
        } else {
            assert_eq!(found[0], found[1], "half a change");
        }
        drop(ours.lock_or_repair(|pair| pair[1] = pair[0]).unwrap()); // it may die after us
        let [first, second] = ours.lock().unwrap().get();
        assert!(first == second && first >= 1 && first <= 2);
        died
    });
    assert!(deaths.len() >= 5 && deaths.iter().sum::<usize>() > 150, "{deaths:?}");
}

/// The holder is dead. The one who takes the lock from it dies before each of its writes, while another one does the same.
///
/// Allowed: the survivor is told, and repairs. Forbidden: it is not told; both have the lock.
#[test]
fn whoever_repairs_may_die_as_well() {
    let deaths = explore_deaths(3, |k| {
        set_slices(true);
        let ([_here, there, dead], [ours, theirs, doomed]) = processes::<3>();
        assert!(life::mortal(&dead, 2, || add(&doomed)).is_none(), "in the middle of its change");
        let repairing = thread::spawn({
            let there = there.clone();
            move || life::mortal(&there, k, move || add(&theirs))
        });
        let (found, told) = add(&ours);
        let repaired = repairing.join().unwrap();
        if let Some((_, told)) = repaired {
            assert!(told.is_none() || told == Some(dead.owner()), "{told:?}");
        }
        assert!(told.is_some() || found[0] == found[1], "half a change, and nobody is told");
        drop(ours.lock_or_repair(|pair| pair[1] = pair[0]).unwrap());
        let [first, second] = ours.lock().unwrap().get();
        assert_eq!(first, second);
        repaired.is_none()
    });
    assert!(deaths.len() >= 5 && deaths.iter().sum::<usize>() > 5000, "{deaths:?}");
}

/// The race: whoever is told changes the value and leaves it as inconsistent as it was, while another one waits.
///
/// Allowed: the other one is told as well. Forbidden: it is not; both have the value (loom: a race on the payload).
#[test]
fn whoever_is_told_may_leave_it_to_the_next() {
    let iterations = explore(3, || {
        let ([_here, _there, dead], [ours, theirs, doomed]) = processes::<3>();
        assert!(life::mortal(&dead, 2, || add(&doomed)).is_none(), "in the middle of its change");
        let leaving = thread::spawn(move || match theirs.lock() {
            Err(LockError::OwnerDied(mut inconsistent)) => inconsistent.set([5, 1]),
            other => assert!(other.is_ok(), "{other:?}"),
        });
        let (found, told) = add(&ours);
        assert!(told.is_some() && (found == [1, 0] || found == [5, 1]), "{found:?}");
        leaving.join().unwrap();
    });
    assert!(iterations > 100, "{iterations}");
}

/// The holder is dead. One sweeps, dead before each of its writes, while another one waits for the lock without slices; then a second
/// one sweeps.
///
/// Allowed: the waiter takes the lock from the dead by itself, or finds it swept; it is told in either case.
/// Forbidden: a sleep without end.
#[test]
fn a_sweep_frees_it_under_those_who_want_it() {
    let deaths = explore_deaths(2, |k| {
        let ([here, there, dead], [ours, _theirs, doomed]) = processes::<3>();
        assert!(life::mortal(&dead, 2, || add(&doomed)).is_none(), "in the middle of its change");
        let waiting = thread::spawn(move || add(&ours));
        let died = life::mortal(&there, k, || there.sweep().unwrap()).is_none();
        here.sweep().unwrap();
        let (found, told) = waiting.join().unwrap();
        assert_eq!((found, told), ([1, 0], Some(dead.owner())));
        died
    });
    assert!(deaths.len() >= 3 && deaths.iter().sum::<usize>() > 3000, "{deaths:?}");
}
