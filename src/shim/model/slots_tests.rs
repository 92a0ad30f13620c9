//! That the cells see races, and that every slot is a crash point.

use super::super::life::{Registry, mortal_as};
use super::super::{AtomicU64, Ordering, explore};
use super::*;

/// Two slots in memory that lives as long as the model runs.
fn two() -> (RaceTable, Slots<u64>) {
    let memory = NonNull::from(Box::leak(Box::new([0_u64; 2])));
    let races = RaceTable::new();
    // SAFETY: I1, I3 - leaked; each test uses one kind of methods.
    let slots = unsafe { Slots::build(memory.cast(), 2, &races, 64) };
    (races, slots)
}

/// A value behind a flag that is set in this order.
fn publish(order: Ordering) -> usize {
    explore(3, move || {
        let (races, slots) = two();
        let flag = Arc::new(AtomicU64::new(0));
        let writer = loom::thread::spawn({
            let (flag, slots) = (Arc::clone(&flag), slots.clone());
            move || {
                // SAFETY: I2 - in bounds.
                unsafe { slots.store(1, 7) };
                flag.store(1, order); // pairs with the load below, if it is Release
            }
        });
        // SAFETY: I1, I3 - as in `two`.
        let slots = unsafe { Slots::open(slots.base, 2, &races, 64) };
        // pairs with the store above
        if flag.load(Ordering::Acquire) == 1 {
            // SAFETY: I2 - in bounds.
            assert_eq!(unsafe { slots.load(1) }, 7);
        }
        writer.join().unwrap();
    })
}

#[test]
fn what_is_published_is_read() {
    let iterations = publish(Ordering::Release);
    assert!(iterations > 1, "{iterations}");
}

#[test]
#[should_panic(expected = "Causality violation")]
fn what_is_not_published_is_a_race() {
    let _ = publish(Ordering::Relaxed); // the bug
}

#[test]
fn every_slot_is_a_crash_point() {
    for (k, expected) in [(0, [0, 0]), (1, [1, 0]), (2, [1, 2])] {
        let iterations = explore(1, move || {
            let (_, slots) = two();
            let victim = slots.clone();
            let out = mortal_as(Arc::new(Registry::new(2)), 1, 0, k, move || {
                // SAFETY: I2 - in bounds.
                unsafe { victim.store_many(0, &[1, 2]) };
            });
            assert_eq!(out.is_some(), k == 2);
            // SAFETY: I2 - in bounds.
            assert_eq!([0, 1].map(|i| unsafe { slots.load(i) }), expected);
        });
        assert_eq!(iterations, 1);
    }
}

#[test]
fn a_ghost_writes_nothing_in_place() {
    /// Scribbles in `Drop`.
    struct Scribbler(Slots<u64>);
    impl Drop for Scribbler {
        fn drop(&mut self) {
            // SAFETY: I2, I4 - in bounds, one thread.
            let pair = unsafe { self.0.slice_mut(0, 2) };
            pair.fill(MaybeUninit::new(9));
        }
    }

    let iterations = explore(1, || {
        let (_, slots) = two();
        let scribbler = Scribbler(slots.clone());
        let out = mortal_as(Arc::new(Registry::new(2)), 1, 0, 1, move || {
            // SAFETY: I2, I4 - in bounds, one thread.
            let pair = unsafe { scribbler.0.slice_mut(0, 2) };
            pair[1].write(5);
        });
        assert!(out.is_none());
        // SAFETY: I2, I4 - in bounds, one thread.
        assert_eq!(unsafe { slots.slice(0, 2) }, [0, 0]);
    });
    assert_eq!(iterations, 1);
}

#[test]
fn in_place_is_the_same_place() {
    let iterations = explore(1, || {
        let (_, slots) = two();
        // SAFETY: I2, I4 - in bounds, one thread.
        let pair = unsafe { slots.slice_mut(0, 2) };
        pair[1].write(5);
        // SAFETY: I2, I4 - in bounds, one thread.
        assert_eq!(unsafe { slots.slice(0, 2) }, [0, 5]);
        // SAFETY: I2, I4 - in bounds, one thread.
        assert_eq!(unsafe { slots.take(1) }, 5);
        let mut out = [MaybeUninit::new(0); 2];
        // SAFETY: I2 - in bounds.
        unsafe { slots.load_many(0, &mut out) };
        // SAFETY: just filled; integers in any case.
        assert_eq!(out.map(|v| unsafe { v.assume_init() }), [0, 5]);
    });
    assert_eq!(iterations, 1);
}

#[test]
#[should_panic(expected = "no slots were built at 128")]
fn what_was_not_built_cannot_be_opened() {
    let _ = explore(1, || {
        let (races, slots) = two();
        // SAFETY: it is refused.
        let _ = unsafe { Slots::open(slots.base, 2, &races, 128) };
    });
}

#[test]
#[should_panic(expected = "2 slots from 1 of 2")]
fn what_is_out_of_bounds_is_refused() {
    let _ = explore(1, || {
        let (_, slots) = two();
        // SAFETY: it is refused.
        unsafe { slots.load_many(1, &mut [MaybeUninit::uninit(); 2]) };
    });
}
