//! Processes that die.
//!
//! A process of a model is a piece of code that [`mortal_as`] runs: dead before its `k`-th write. Nothing is written
//! in the algorithms for that. Loads need no crash points: death before a load leaves the same memory as death
//! before the next write. A wake-up is one: nothing but it distinguishes the death before it from the one after it.
//!
//! The stack of the dead must unwind, since a thread that stays parked is a deadlock to loom, but it does so as a
//! *ghost*: its writes do nothing, so that guards dropped on the way out release nothing. That is what death is.
//!
//! # Orderings
//! | tag | operation | order   | pairs | because                                                          |
//! |-----|-----------|---------|-------|------------------------------------------------------------------|
//! | D1  | kill      | Release | D2    | all that the dead wrote, before the news of the death            |
//! | D2  | is dead   | Acquire | D1    | whoever repairs must see it                                      |

use core::cell::{Cell, RefCell};
use core::sync::atomic::Ordering;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;

use super::AtomicU64;

/// For each row of the attachment table the highest generation that was killed.
#[derive(Debug)]
pub(crate) struct Registry {
    /// `generation + 1`, 0 = none.
    killed: Box<[AtomicU64]>,
}

impl Registry {
    /// Rows are `0..rows`. Nobody is dead.
    pub(crate) fn new(rows: usize) -> Self {
        Self { killed: (0..rows).map(|_| AtomicU64::new(0)).collect() }
    }

    /// Declares the tenant of `row` dead, and all before it. No crash point: it is the kernel's deed.
    pub(crate) fn kill(&self, row: u32, generation: u32) {
        if let Some(killed) = self.row(row) {
            killed.fetch_max_by_kernel(u64::from(generation) + 1, Ordering::Release); // [D1]
        }
    }

    /// Whether this tenant of `row`, or a later one, was killed.
    pub(crate) fn is_dead(&self, row: u32, generation: u32) -> bool {
        self.row(row).is_some_and(|killed| killed.load(Ordering::Acquire) > u64::from(generation)) // [D2]
    }

    /// The process of this thread has just become `generation` of `row`, with which it dies.
    pub(crate) fn settle(&self, row: u32, generation: u32) {
        FATE.with(|fate| {
            if let Fate::Mortal { registry, tenancies, .. } = &mut *fate.borrow_mut() {
                debug_assert!(core::ptr::eq(self, Arc::as_ptr(registry)), "a mortal has one segment");
                tenancies.push((row, generation));
            }
        });
    }

    fn row(&self, row: u32) -> Option<&AtomicU64> {
        self.killed.get(usize::try_from(row).ok()?)
    }
}

/// What a stack that unwinds because of a death carries.
struct Killed;

/// What becomes of the process whose code this thread runs.
enum Fate {
    /// Nobody plans its death.
    Immortal,
    /// It dies when `left` more writes are done, and with it all its attachments: rows and generations.
    Mortal { left: u32, registry: Arc<Registry>, tenancies: Vec<(u32, u32)> },
    /// It died; `steps` is how often its code has asked since.
    Ghost { steps: u32 },
}

/// More than any `Drop` takes that ends.
const GHOST_STEPS: u32 = 100_000;

loom::thread_local! {
    static FATE: RefCell<Fate> = RefCell::new(Fate::Immortal);
}

thread_local! {
    /// How many threads of the iteration are inside of `mortal_as`: while none is, nobody need look after its fate.
    static MORTALS: Cell<u32> = const { Cell::new(0) };
}

/// A new iteration.
pub(super) fn reset() {
    MORTALS.set(0);
}

/// Whether the process of this thread is dead, and only its stack still runs.
pub(super) fn is_ghost() -> bool {
    if MORTALS.get() == 0 {
        return false;
    }
    let ghost = FATE.try_with(|fate| match &mut *fate.borrow_mut() {
        Fate::Ghost { steps } => {
            *steps += 1;
            assert!(*steps < GHOST_STEPS, "a `Drop` waits for its own writes: the dead make none");
            true
        }
        Fate::Immortal | Fate::Mortal { .. } => false,
    });
    ghost.unwrap_or(false) // else the thread is at its very end
}

/// Before every write. `true`: do it. `false`: a ghost's, do nothing. Or does not return: this is where it dies.
pub(super) fn may_write() -> bool {
    if MORTALS.get() == 0 {
        return true;
    }
    if is_ghost() {
        return false;
    }
    let dead = FATE.try_with(|fate| {
        let mut fate = fate.borrow_mut();
        match &mut *fate {
            Fate::Mortal { left: 0, .. } => Some(core::mem::replace(&mut *fate, Fate::Ghost { steps: 0 })),
            Fate::Mortal { left, .. } => {
                *left -= 1;
                None
            }
            Fate::Immortal | Fate::Ghost { .. } => None,
        }
    });
    if let Ok(Some(Fate::Mortal { registry, tenancies, .. })) = dead {
        for (row, generation) in tenancies {
            registry.kill(row, generation);
        }
        drop(registry);
        resume_unwind(Box::new(Killed)); // no hook, no message
    }
    true
}

/// Runs `body` as the process that is `generation` of `row`; it dies before its `k`-th write, counted from 0.
/// `None`: it did.
///
/// What the process owns belongs *into* `body`: what is dropped outside is dropped by the living. Threads that
/// `body` starts are other processes to the model.
pub(crate) fn mortal_as<R>(
    registry: Arc<Registry>,
    row: u32,
    generation: u32,
    k: u32,
    body: impl FnOnce() -> R,
) -> Option<R> {
    MORTALS.set(MORTALS.get() + 1);
    let tenancies = vec![(row, generation)];
    let before = FATE.with(|fate| fate.replace(Fate::Mortal { left: k, registry, tenancies }));
    let mut result = catch_unwind(AssertUnwindSafe(body)).map(Some);
    if let (true, Ok(value)) = (is_ghost(), &mut result) {
        drop(value.take()); // it caught its own death; what it returns goes with it
    }
    FATE.with(|fate| fate.replace(before));
    MORTALS.set(MORTALS.get() - 1);
    match result {
        Ok(value) => value,
        Err(panic) if panic.is::<Killed>() => None,
        Err(panic) => resume_unwind(panic),
    }
}

#[cfg(test)]
mod tests {
    use super::super::explore;
    use super::*;

    /// Releases when dropped, as a guard does.
    struct Guard<'a>(&'a AtomicU64);

    impl Drop for Guard<'_> {
        fn drop(&mut self) {
            self.0.store(9, Ordering::Relaxed); // one thread
        }
    }

    #[test]
    fn it_dies_before_its_kth_write_and_writes_no_more() {
        for (k, written) in [(0, 0), (1, 1), (2, 3), (3, 7)] {
            let iterations = explore(2, move || {
                let registry = Arc::new(Registry::new(3));
                let word = AtomicU64::new(0);
                let out = mortal_as(Arc::clone(&registry), 2, 5, k, || {
                    let _guard = Guard(&word);
                    word.store(1, Ordering::Relaxed); // one thread
                    assert_eq!(word.load(Ordering::Relaxed), 1); // one thread
                    word.fetch_add(2, Ordering::Relaxed); // one thread
                    word.compare_exchange(3, 7, Ordering::Relaxed, Ordering::Relaxed).unwrap(); // one thread
                });
                assert!(out.is_none());
                assert_eq!(word.load(Ordering::Relaxed), written); // one thread
                assert!(registry.is_dead(2, 5) && !registry.is_dead(2, 6) && !registry.is_dead(1, 5));
                word.store(4, Ordering::Relaxed); // the thread lives on
                assert_eq!(word.load(Ordering::Relaxed), 4); // one thread
            });
            assert_eq!(iterations, 1);
        }
    }

    #[test]
    fn it_dies_with_all_its_attachments() {
        let iterations = explore(2, || {
            let registry = Arc::new(Registry::new(4));
            let word = AtomicU64::new(0);
            let out = mortal_as(Arc::clone(&registry), 1, 0, 1, || {
                registry.settle(2, 7);
                word.store(1, Ordering::Relaxed); // one thread
                registry.settle(3, 0);
                word.store(2, Ordering::Relaxed); // never
                registry.settle(0, 0);
            });
            assert!(out.is_none());
            assert_eq!([0, 1, 2, 3].map(|row| registry.is_dead(row, 0)), [false, true, true, true]);
            registry.settle(0, 0); // the living settle, too
        });
        assert_eq!(iterations, 1);
    }

    #[test]
    fn who_has_fewer_writes_lives() {
        let iterations = explore(2, || {
            let registry = Arc::new(Registry::new(2));
            let word = AtomicU64::new(0);
            let out = mortal_as(Arc::clone(&registry), 1, 0, 2, || {
                word.store(1, Ordering::Relaxed); // one thread
                word.swap(2, Ordering::Relaxed) // one thread
            });
            assert_eq!(out, Some(1));
            assert!(!registry.is_dead(1, 0));
        });
        assert_eq!(iterations, 1);
    }

    #[test]
    fn the_news_of_a_death_comes_after_its_writes() {
        let heard = Arc::new(std::sync::atomic::AtomicUsize::new(0));
        let count = Arc::clone(&heard);
        let iterations = explore(3, move || {
            let registry = Arc::new(Registry::new(2));
            let word = Arc::new(AtomicU64::new(0));
            let victim = loom::thread::spawn({
                let (registry, word) = (Arc::clone(&registry), Arc::clone(&word));
                move || {
                    let out = mortal_as(registry, 1, 0, 1, || {
                        word.store(1, Ordering::Relaxed); // the death publishes it: D1
                        word.store(2, Ordering::Relaxed); // never
                    });
                    assert!(out.is_none());
                }
            });
            if registry.is_dead(1, 0) {
                assert_eq!(word.load(Ordering::Relaxed), 1); // ordered by D2
                count.fetch_add(1, Ordering::Relaxed); // a statistic
            }
            victim.join().unwrap();
        });
        assert!(iterations > 1 && heard.load(Ordering::Relaxed) > 0, "{iterations}"); // a statistic
    }

    #[test]
    #[should_panic(expected = "a real failure")]
    fn a_failure_inside_is_a_failure_outside() {
        let _ = explore(1, || {
            let _ = mortal_as(Arc::new(Registry::new(2)), 1, 0, 3, || panic!("a real failure"));
        });
    }
}
