//! Sleepers, each in the list of the word that it sleeps on: a wake-up reaches nobody who sleeps on another.
//!
//! The lists are plain memory. loom changes threads only at its own operations, so what stands between two of them
//! is atomic, as the kernel's bucket lock makes it. The kernel compares the newest value, where a load of the model
//! may be stale.
//!
//! A model decides what ends a sleep ([`set_slices`]). An operation that blocks gets both kinds: *no slices, nobody
//! dies* (a lost wake-up is a deadlock, which loom reports, even though a slice would heal it), and *slices, the
//! waker dies at every write* (nobody may depend on a wake-up). A wake-up carries happens-before here, which a futex
//! does not promise: judge orderings by models that do not block.

use core::cell::{Cell, RefCell};
use core::ptr;
use core::time::Duration;
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;

use super::{AtomicU32, life};

struct Sleeper {
    woken: Rc<Cell<bool>>,
    /// Whom to unpark, unless a slice ends its sleep.
    parked: Option<loom::thread::Thread>,
}

thread_local! {
    /// Who sleeps, first come first, by the address of the word.
    static SLEEPERS: RefCell<BTreeMap<usize, VecDeque<Sleeper>>> = const { RefCell::new(BTreeMap::new()) };
    static SLICES: Cell<bool> = const { Cell::new(false) };
}

/// Whether a sleep of this model ends by itself, once nobody else can run. For the iteration that runs: call it
/// inside of the model, first.
///
/// Without slices (the start of every iteration) only a wake-up ends a sleep, so that a lost one is a deadlock.
pub fn set_slices(yes: bool) {
    SLICES.set(yes);
}

/// A new iteration.
pub(super) fn reset() {
    SLICES.set(false);
    SLEEPERS.with_borrow_mut(BTreeMap::clear);
}

/// Sleeps while `word` is `seen`, until woken, or until the slice is over if this model has slices. `false`: it is.
///
/// `true` proves nothing: look at the word again.
pub(crate) fn wait(word: &AtomicU32, seen: u32, slice: Duration) -> bool {
    if life::is_ghost() {
        return false;
    }
    if word.seen_by_kernel() != seen {
        loom::thread::yield_now(); // whoever was in the kernel does not read the old value for ever
        return true;
    }
    if slice.is_zero() {
        return false;
    }
    let address = ptr::from_ref(word).addr();
    let woken = Rc::new(Cell::new(false));
    let parks = !SLICES.get();
    let me = Sleeper { woken: Rc::clone(&woken), parked: parks.then(loom::thread::current) };
    SLEEPERS.with_borrow_mut(|lists| lists.entry(address).or_default().push_back(me));
    if parks {
        while !woken.get() {
            loom::thread::park();
        }
    } else {
        loom::thread::yield_now();
        SLEEPERS.with_borrow_mut(|lists| {
            if let Some(list) = lists.get_mut(&address) {
                list.retain(|sleeper| !Rc::ptr_eq(&sleeper.woken, &woken));
            }
        });
    }
    woken.get()
}

/// Wakes up to `n` sleepers and says how many there were. A crash point.
pub(crate) fn wake(word: &AtomicU32, n: u32) -> usize {
    if !life::may_write() {
        return 0;
    }
    word.lock_bucket();
    let address = ptr::from_ref(word).addr();
    let n = usize::try_from(n).unwrap_or(usize::MAX);
    let woken: Vec<Sleeper> = SLEEPERS.with_borrow_mut(|lists| {
        lists.get_mut(&address).map_or_else(Vec::new, |list| list.drain(..n.min(list.len())).collect())
    });
    for sleeper in &woken {
        sleeper.woken.set(true);
    }
    for thread in woken.iter().filter_map(|sleeper| sleeper.parked.as_ref()) {
        thread.unpark();
    }
    woken.len()
}

#[cfg(test)]
mod tests {
    use core::sync::atomic::Ordering;
    use std::sync::Arc;

    use super::super::explore;
    use super::super::life::{Registry, mortal_as};
    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    /// One waits for a word to change; the other changes it and then does something about the sleeper.
    fn change_and(slices: bool, then: impl Fn(&[AtomicU32; 2]) + Copy + Send + Sync + 'static) -> usize {
        explore(3, move || {
            set_slices(slices);
            let words = Arc::new([AtomicU32::new(0), AtomicU32::new(0)]);
            let waker = loom::thread::spawn({
                let words = Arc::clone(&words);
                move || {
                    words[0].store(1, Ordering::Release); // pairs with the load below
                    then(&words);
                }
            });
            // pairs with the store above
            while words[0].load(Ordering::Acquire) == 0 {
                wait(&words[0], 0, HOUR);
            }
            waker.join().unwrap();
        })
    }

    fn nothing(_: &[AtomicU32; 2]) {}

    fn wake_it(words: &[AtomicU32; 2]) {
        wake(&words[0], u32::MAX);
    }

    fn wake_the_other(words: &[AtomicU32; 2]) {
        wake(&words[1], u32::MAX);
    }

    fn die(words: &[AtomicU32; 2]) {
        assert!(mortal_as(Arc::new(Registry::new(1)), 0, 0, 0, || wake(&words[0], u32::MAX)).is_none());
    }

    #[test]
    fn a_sleeper_is_woken() {
        for slices in [false, true] {
            let iterations = change_and(slices, wake_it);
            assert!(iterations > 2, "{iterations}");
        }
    }

    #[test]
    #[should_panic(expected = "deadlock")]
    fn without_a_wake_up_it_sleeps_for_ever() {
        let _ = change_and(false, nothing);
    }

    #[test]
    #[should_panic(expected = "deadlock")]
    fn a_wake_up_on_another_word_is_none() {
        let _ = change_and(false, wake_the_other);
    }

    #[test]
    #[should_panic(expected = "deadlock")]
    fn a_wake_up_by_the_dead_is_none() {
        let _ = change_and(false, die);
    }

    #[test]
    fn slices_heal_all_of_that() {
        for iterations in [change_and(true, nothing), change_and(true, wake_the_other), change_and(true, die)]
        {
            assert!(iterations > 2, "{iterations}");
        }
    }

    #[test]
    fn a_wake_up_reaches_as_many_as_it_says() {
        let most = Arc::new(std::sync::atomic::AtomicUsize::new(0));
        let seen = Arc::clone(&most);
        let iterations = explore(2, move || {
            set_slices(true);
            let word = Arc::new(AtomicU32::new(0));
            let sleepers = [(); 2].map(|()| {
                let word = Arc::clone(&word);
                loom::thread::spawn(move || usize::from(wait(&word, 0, HOUR)))
            });
            let said = wake(&word, 1);
            assert!(said <= 1);
            let woken: usize = sleepers.map(|sleeper| sleeper.join().unwrap()).iter().sum();
            assert_eq!(woken, said);
            seen.fetch_max(said, Ordering::Relaxed); // a statistic
        });
        assert!(iterations > 2 && most.load(Ordering::Relaxed) == 1, "{iterations}"); // a statistic
    }

    #[test]
    fn another_value_and_no_time_return_at_once() {
        let iterations = explore(1, || {
            let word = AtomicU32::new(3);
            assert!(wait(&word, 4, HOUR));
            assert!(!wait(&word, 3, Duration::ZERO));
            assert_eq!(wake(&word, u32::MAX), 0);
        });
        assert_eq!(iterations, 1);
    }
}
