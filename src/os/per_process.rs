//! A value that is worked out once in a process, and again in a forked child.
//!
//! A `OnceLock` would hand the parent's value to the child, and hang there if the fork came in the middle.
//!
//! # Invariants
//!
//! * **I1**: an entry, once `latest`, is never freed or moved: one is lost for each generation of forks.
//!
//! # Orderings
//!
//! | tag | where | pairs with | why |
//! |---|---|---|---|
//! | `[E1]` | `latest` Acquire | `[E2]` | the entry is seen whole |
//! | `[E2]` | `latest` CAS Release / Acquire | `[E1]`, `[E2]` | publishes; a loser takes the winner's |

use std::ptr;
use std::sync::atomic::{AtomicPtr, Ordering};

use super::wipe;

/// See the module. Meant for statics: what it holds is not freed when it is dropped.
#[derive(Debug)]
pub(crate) struct PerProcess<T: 'static> {
    latest: AtomicPtr<Entry<T>>,
}

struct Entry<T> {
    epoch: u64,
    value: T,
}

impl<T: Copy + Send + Sync> PerProcess<T> {
    /// Nothing yet.
    pub(crate) const fn new() -> Self {
        Self { latest: AtomicPtr::new(ptr::null_mut()) }
    }

    /// The value of this process. Threads that come first together may all work it out, and get one value; without wiped memory
    /// everybody always does.
    pub(crate) fn get(&self, work_out: impl FnOnce() -> T) -> T {
        let Ok(epoch) = wipe::epoch() else { return work_out() };
        let latest = self.latest.load(Ordering::Acquire); // [E1]
        // SAFETY: null or an entry that stays, by I1.
        if let Some(entry) = unsafe { latest.as_ref() } {
            if entry.epoch == epoch {
                return entry.value;
            }
        }
        let value = work_out();
        let ours = Box::into_raw(Box::new(Entry { epoch, value }));
        // [E2]
        match self.latest.compare_exchange(latest, ours, Ordering::Release, Ordering::Acquire) {
            Ok(_) => value,
            Err(winner) => {
                // SAFETY: made by `Box::into_raw` above, and never published.
                drop(unsafe { Box::from_raw(ours) });
                // SAFETY: null or an entry that stays, by I1.
                unsafe { winner.as_ref() }.map_or(value, |winner| winner.value)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::os::testing::Child;

    #[test]
    fn once_a_process() {
        static VALUE: PerProcess<u32> = PerProcess::new();
        assert_eq!(VALUE.get(std::process::id), std::process::id());
        assert_eq!(VALUE.get(|| unreachable!("it is known")), std::process::id());
        let child = Child::spawn(|| VALUE.get(|| 1) == 1 && VALUE.get(|| 2) == 1);
        assert!(child.succeeds());
        assert_eq!(VALUE.get(|| 3), std::process::id());
    }
}
