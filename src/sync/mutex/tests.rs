//! A mutex in one process: what its guards leave, whom they tell, and what corrupt words do.

use core::time::Duration;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread;

use super::*;
use crate::error::Fault;
use crate::{Trusted, testing};

fn two() -> (Segment, Segment, Mutex<u64>, Mutex<u64>) {
    let here = Segment::heap(1 << 16).unwrap();
    let there = here.attach().unwrap();
    let ours = Mutex::create(&here, "m", || 7).unwrap();
    let theirs = Mutex::open(&there, "m").unwrap();
    (here, there, ours, theirs)
}

/// Who is said to have died inside.
fn is_told(mutex: &Mutex<u64>) -> Option<Owner> {
    match mutex.try_lock() {
        Err(LockError::OwnerDied(inconsistent)) => Some(inconsistent.owner().unwrap()),
        _ => None,
    }
}

#[test]
fn one_at_a_time_by_value_and_by_change() {
    let (here, _there, ours, theirs) = two();
    let mut guard = ours.lock().unwrap();
    assert!(matches!(theirs.try_lock(), Err(LockError::Held(owner)) if owner == here.owner()));
    let short = theirs.lock_timeout(Duration::from_millis(2));
    assert!(matches!(short, Err(LockError::Held(owner)) if owner == here.owner()));
    assert_eq!((guard.get(), guard.update(|value| core::mem::replace(value, 8))), (7, 7));
    guard.set(guard.get() + 1);
    assert_eq!(theirs.owner(), Some(here.owner()));
    drop(guard);
    assert_eq!((theirs.owner(), theirs.lock().unwrap().get()), (None, 9));
}

#[test]
fn a_thread_that_has_it_is_told_so() {
    let (_here, there, ours, _theirs) = two();
    let guard = ours.lock().unwrap();
    assert!(matches!(ours.lock(), Err(LockError::Deadlock)));
    assert!(matches!(ours.clone().try_lock(), Err(LockError::Deadlock)));
    let held = thread::scope(|scope| {
        scope.spawn(|| matches!(ours.lock_timeout(Duration::ZERO), Err(LockError::Held(_)))).join().unwrap()
    });
    assert!(held, "another thread of this process has to wait");
    drop(guard);
    let theirs = Mutex::<u64>::open(&there, "m").unwrap();
    let _guard = theirs.lock().unwrap();
    assert!(matches!(ours.try_lock(), Err(LockError::Held(_))), "it is not this handle's");
}

#[test]
fn the_next_one_is_told_of_a_death_until_it_is_repaired() {
    let (_here, there, ours, theirs) = two();
    let guard = theirs.lock().unwrap();
    testing::kill(&there).unwrap();
    drop(guard); // the dead do nothing
    for _ in 0..3 {
        assert_eq!(is_told(&ours), Some(there.owner()));
    }
    match ours.lock() {
        Err(LockError::OwnerDied(mut inconsistent)) => {
            assert_eq!(inconsistent.update(|value| *value), 7);
            inconsistent.set(1);
            let mut guard = inconsistent.mark_consistent();
            guard.update(|value| *value += 1);
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(ours.lock().unwrap().get(), 2);
    assert!(matches!(theirs.lock(), Err(LockError::Fault(Fault::Killed))));
}

#[test]
fn a_sweep_and_the_end_of_an_attachment_free_it() {
    let (here, there, ours, theirs) = two();
    let _leaked = core::mem::ManuallyDrop::new(theirs.lock().unwrap());
    drop((theirs, there));
    assert!(is_told(&ours).is_some(), "a guard that was leaked");
    drop(ours.lock_or_repair(|_| ()).unwrap());
    let third = here.attach().unwrap();
    let theirs = Mutex::<u64>::open(&third, "m").unwrap();
    let _guard = theirs.lock().unwrap();
    testing::kill(&third).unwrap();
    assert_eq!(here.sweep().unwrap().recovered, 1);
    assert_eq!((ours.owner(), is_told(&ours)), (None, Some(third.owner())));
}

/// Locks it when it is dropped.
struct LocksWhileItUnwinds<'a>(&'a Mutex<u64>);
impl Drop for LocksWhileItUnwinds<'_> {
    fn drop(&mut self) {
        self.0.lock().unwrap().set(9);
    }
}

#[test]
fn a_panic_is_told_but_not_one_that_was_before() {
    let (here, _there, ours, theirs) = two();
    let panics = catch_unwind(AssertUnwindSafe(|| {
        let mut guard = ours.lock().unwrap();
        guard.update(|value| {
            *value = 0;
            panic!("in the middle");
        })
    }));
    assert!(panics.is_err());
    assert_eq!(is_told(&theirs), Some(here.owner()));
    let repaired =
        catch_unwind(AssertUnwindSafe(|| theirs.lock_or_repair(|_| panic!("once more")).map(drop)));
    assert!(repaired.is_err());
    assert!(is_told(&ours).is_some(), "its repair did not finish");
    assert_eq!(ours.lock_or_repair(|value| *value += 1).unwrap().get(), 8, "nothing was copied in");

    let unwound = catch_unwind(AssertUnwindSafe(|| {
        let _locks = LocksWhileItUnwinds(&ours);
        panic!("for another reason");
    }));
    assert!(unwound.is_err());
    assert_eq!(ours.lock().unwrap().get(), 9);
}

#[test]
fn what_was_given_up_is_lost_for_all() {
    let (here, there, ours, theirs) = two();
    let guard = theirs.lock().unwrap();
    testing::kill(&there).unwrap();
    drop(guard);
    match ours.lock() {
        Err(LockError::OwnerDied(inconsistent)) => inconsistent.give_up(),
        other => panic!("{other:?}"),
    }
    assert!(matches!(ours.lock(), Err(LockError::NotRecoverable)));
    assert!(matches!(ours.lock_or_repair(|_| ()), Err(Error::NotRecoverable)));
    let third = here.attach().unwrap();
    let again = Mutex::<u64>::open(&third, "m").unwrap();
    assert!(matches!(again.try_lock(), Err(LockError::NotRecoverable)));
    here.remove("m").unwrap();
    assert_eq!(Mutex::create(&here, "m", || 1).unwrap().lock().unwrap().get(), 1);
}

#[test]
fn the_question_mark_leaves_it_for_the_next_one() {
    fn add(mutex: &Mutex<u64>) -> Result<u64> {
        Ok(mutex.lock()?.update(|value| {
            *value += 1;
            *value
        }))
    }
    let (_here, there, ours, theirs) = two();
    assert_eq!(add(&ours).unwrap(), 8);
    let guard = theirs.lock().unwrap();
    testing::kill(&there).unwrap();
    drop(guard);
    for _ in 0..2 {
        let error = add(&ours).unwrap_err();
        assert!(
            matches!(error, Error::OwnerDied { owner: Some(owner) } if owner == there.owner()),
            "{error}"
        );
    }
}

#[test]
fn trusted_values_are_changed_in_place() {
    // SAFETY: heap memory of this process, which only this test writes, through this crate.
    let segment = unsafe { Segment::heap(1 << 16).unwrap().trust() };
    let mutex = Mutex::<[bool; 3], Trusted>::create(&segment, "flags", || [false; 3]).unwrap();
    let mut guard = mutex.lock().unwrap();
    guard[1] = true;
    assert!(!guard[0] && guard.iter().any(|flag| *flag));
    drop(guard);
    let panics = catch_unwind(AssertUnwindSafe(|| {
        mutex.lock().unwrap()[0] = true;
        let mut guard = mutex.lock().unwrap();
        guard[2] = true;
        panic!("in the middle");
    }));
    assert!(panics.is_err());
    let guard = mutex.lock_or_repair(|flags| flags[2] = false).unwrap();
    assert_eq!(*guard, [true, true, false]);
}

#[test]
fn threads_count_together() {
    let (_here, _there, ours, theirs) = two();
    thread::scope(|scope| {
        for mutex in [&ours, &theirs, &ours, &theirs] {
            scope.spawn(move || {
                for _ in 0..2000 {
                    mutex.lock().unwrap().update(|value| *value += 1);
                }
            });
        }
    });
    assert_eq!(ours.lock().unwrap().get(), 7 + 8000);
}

#[test]
fn corrupt_words_are_told() {
    let (_here, there, ours, theirs) = two();
    for word in [1 << 24, 1, u32::MAX, Owner::NOBODY.bits()] {
        ours.plant(word);
        assert!(matches!(ours.lock(), Err(LockError::Fault(Fault::Corrupt { .. }))), "{word:x}");
    }
    ours.plant(there.owner().bits()); // as if it had locked it
    assert!(matches!(ours.try_lock(), Err(LockError::Held(owner)) if owner == there.owner()));
    drop((theirs, there));
    assert!(ours.lock_or_repair(|_| ()).is_ok());
}

#[test]
fn another_type_and_a_corrupt_header_are_refused() {
    let (here, _there, ours, _theirs) = two();
    assert!(matches!(Mutex::<i64>::open(&here, "m"), Err(Error::WrongType { .. })));
    assert!(matches!(Mutex::create(&here, "m", || 1_u64), Err(Error::AlreadyExists { .. })));
    // SAFETY: X-I3.
    let header = unsafe { ours.header.as_ref() };
    for constant in &header.constants {
        let before = constant.load(crate::shim::Ordering::Relaxed); // one thread
        constant.store(before ^ 4, crate::shim::Ordering::Relaxed); // one thread
        assert!(matches!(Mutex::<u64>::open(&here, "m"), Err(Error::Corrupt { .. })));
        constant.store(before, crate::shim::Ordering::Relaxed); // one thread
    }
}
