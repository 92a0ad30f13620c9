//! Eventcount: sleep until something that others publish elsewhere, without a system call when nobody sleeps.
//!
//! # Answers
//! "Does anybody sleep, whom I have to tell?" in a load; "may I sleep, or was it told meanwhile?" in the kernel.
//!
//! # The word
//! ```text
//! 31                              1   0
//! | sequence: counts wake-ups       | W |     W: somebody sleeps, is about to, or did; or is to look up (alarm)
//! ```
//!
//! # Algorithm
//! ```text
//! waiter:    condition? -> announce: set W, keep the word -> heavy barrier -> condition? -> sleep while the word is that
//! notifier:  publish -> light barrier -> W? no: done
//!            sequence + 1; wake n; nobody slept: clear W, and wake all who came in between
//! alarm:     change a state -> sequence + 1 -> set W -> wake all, if W was set before
//! ```
//! The last wake of the notifier is not decoration. W may be a left-over: the wake finds nobody, then a waiter announces
//! itself (W stays as it is) and sleeps, then W is cleared. The next message would find W clear, and wake nobody.
//! `models/tests/event.rs` shows it.
//!
//! An alarm is for those who need no speed: it changes the word by read-modify-writes, which order it with the waiter's
//! announcement without barriers. It leaves W set, so that whoever *notifies* on this word looks up at its next
//! message: it finds W. The sequence comes first: a waiter whose W was cleared between its announcement and its sleep
//! has a key that W alone would make true again, and the alarm, which had found no W, would not wake it.
//!
//! # Invariants
//! E-I1  The word is changed by read-modify-writes only: all of them form one release sequence.
//! E-I2  No sleep is without end: every sleeper sleeps in slices, and looks at condition and liveness after each.
//!
//! # Orderings
//! | tag | operation               | order           | pairs  | because                                                       |
//! |-----|-------------------------|-----------------|--------|---------------------------------------------------------------|
//! | E1  | notifier looks for W    | Relaxed         | E2     | behind a light barrier: what was published, before this look  |
//! | E2  | announce                | `AcqRel`        | E1, E4 | the heavy barrier follows; an alarm before it is seen         |
//! | E3  | notifier changes it     | `AcqRel`, Acquire | E4     | it then sees what an alarm was about                          |
//! | E4  | alarm changes it        | `AcqRel`        | E2, E3 | the change of state, before the news of it                    |
//!
//! E2 and E4 made Relaxed, and the notifier's barriers left out, fail in `loom-tests/tests/event.rs`. No model is known to tell
//! one E3 from Relaxed: it stands twice in a row, and the other one orders the same.
//!
//! # Crashes
//! | dies                                  | left                    | outcome                                              | held by |
//! |---------------------------------------|-------------------------|------------------------------------------------------|---------|
//! | waiter, announced or asleep           | W                       | one vain wake; then W is clear                       | `unit sync::event::tests::a_left_over_is_cleared_*` |
//! |                                       |                         |                                                      | `kill "spsc recv_timeout, empty"` |
//! | notifier, before or in the wake       | a sleeper with its work | it looks when its slice is over                      | `loom event::a_sleeping_receiver_outlives_*` |
//! |                                       |                         |                                                      | `unit sync::event::tests::a_slice_ends` |
//! | notifier, between clearing and waking | the same                | the same                                             | `loom event::a_sleeping_receiver_outlives_*` |
//! | alarm, anywhere                       | the same                | the same; the sweep raises the alarm again           | `loom event::a_sweep_that_was_cut_short_*` |
//! |                                       |                         |                                                      | `loom event::a_standby_outlives_*` |
//!
//! # Progress
//! Every operation but `sleep` is wait-free.

use core::time::Duration;

use crate::memory::Control;
use crate::shim::{AtomicU32, Ordering, barrier, futex};

/// Somebody sleeps, or may be about to.
const WAITING: u32 = 1;
/// One wake-up.
const STEP: u32 = 2;

/// The word, wherever it lies.
#[derive(Debug, Default)]
#[repr(transparent)]
pub(crate) struct EventCount {
    word: AtomicU32,
}

// SAFETY: an atomic.
unsafe impl Control for EventCount {}

/// What a waiter announced itself with: it sleeps only if nothing has happened since.
#[derive(Clone, Copy, Debug)]
#[must_use]
pub(crate) struct Key(u32);

/// What a notifier saw: somebody may sleep.
#[derive(Clone, Copy, Debug)]
#[must_use]
pub(crate) struct Seen(u32);

impl EventCount {
    /// Notifier, after publishing: whether anybody may have to be woken.
    #[inline]
    pub(crate) fn look(&self, asymmetric: bool) -> Option<Seen> {
        if !asymmetric {
            seldom(); // only on the heap, and where there is no membarrier: out of the way of the others
            barrier::light(false);
        }
        barrier::light(true);
        let seen = self.word.load(Ordering::Relaxed); // [E1]
        (seen & WAITING != 0).then_some(Seen(seen))
    }

    /// Notifier: wakes up to `n` of those who sleep.
    ///
    /// Afterwards everything is visible that was done before an alarm whose W it found.
    pub(crate) fn wake(&self, Seen(seen): Seen, n: u32) {
        let next = seen.wrapping_add(STEP);
        // Lost: another one has changed the sequence, which is all that is wanted.
        let _ = self.word.compare_exchange(seen, next, Ordering::AcqRel, Ordering::Acquire); // [E3]
        if futex::wake(&self.word, n) > 0 {
            return;
        }
        let cleared = next & !WAITING;
        if self.word.compare_exchange(next, cleared, Ordering::AcqRel, Ordering::Acquire).is_ok() {
            // [E3]
            futex::wake(&self.word, u32::MAX);
        }
    }

    /// Notifier, after publishing: wakes up to `n` sleepers. `true`: somebody may have slept, or raised an alarm.
    #[cfg(test)]
    fn notify(&self, n: u32, asymmetric: bool) -> bool {
        let seen = self.look(asymmetric);
        if let Some(seen) = seen {
            self.wake(seen, n);
        }
        seen.is_some()
    }

    /// Waiter: from now on whoever publishes will wake it. The condition must be looked at once more before sleeping,
    /// and if it is published by notifiers (not by alarms only) behind a `barrier::heavy`.
    pub(crate) fn announce(&self) -> Key {
        Key(self.word.fetch_or(WAITING, Ordering::AcqRel) | WAITING) // [E2]
    }

    /// Waiter: sleeps, unless something happened since `key`. `false`: the slice is over; else look again.
    pub(crate) fn sleep(&self, Key(key): Key, slice: Duration) -> bool {
        futex::wait(&self.word, key, slice)
    }

    /// A state has changed: wakes all who sleep, and makes whoever notifies here look up at its next message.
    pub(crate) fn alarm(&self) {
        let before = self.word.fetch_add(STEP, Ordering::AcqRel); // [E4]
        self.word.fetch_or(WAITING, Ordering::AcqRel); // [E4]
        if before & WAITING != 0 {
            futex::wake(&self.word, u32::MAX);
        }
    }
}

/// The path it stands on is not the usual one.
#[cold]
#[inline]
const fn seldom() {}

#[cfg(not(loom))]
static_assertions::assert_eq_size!(EventCount, u32);

#[cfg(all(test, not(loom)))]
#[expect(clippy::disallowed_types, reason = "tests")]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicBool;
    use std::thread;

    const HOUR: Duration = Duration::from_secs(3600);

    #[test]
    fn nobody_sleeps_nothing_happens() {
        let event = EventCount::default();
        assert!(!event.notify(1, false));
        assert_eq!(event.word.load(Ordering::Relaxed), 0); // one thread
    }

    #[test]
    fn a_left_over_is_cleared_by_the_next_notifier() {
        let event = EventCount::default();
        let _dead = event.announce();
        assert!(event.notify(1, false));
        assert!(!event.notify(1, false));
    }

    #[test]
    fn what_happens_after_the_announcement_prevents_the_sleep() {
        let event = EventCount::default();
        let key = event.announce();
        assert!(event.notify(1, false));
        assert!(event.sleep(key, HOUR));
        let key = event.announce();
        event.alarm();
        assert!(event.sleep(key, HOUR));
        let key = event.announce();
        assert!(event.notify(1, false));
        let _another = event.announce(); // W is as it was when the first one announced itself
        assert!(event.sleep(key, Duration::from_secs(1)));
    }

    #[test]
    fn a_slice_ends() {
        let event = EventCount::default();
        let key = event.announce();
        assert!(!event.sleep(key, Duration::from_millis(1)));
    }

    #[test]
    fn an_alarm_is_told_to_whoever_notifies_next() {
        let event = EventCount::default();
        event.alarm();
        assert!(event.notify(1, false));
        assert!(!event.notify(1, false));
    }

    #[test]
    fn the_sequence_comes_round() {
        let event = EventCount { word: AtomicU32::new(u32::MAX) };
        let key = event.announce();
        event.alarm();
        assert_eq!(event.word.load(Ordering::Relaxed), WAITING); // one thread
        assert!(event.sleep(key, HOUR));
    }

    #[test]
    fn sleepers_are_woken() {
        let (event, flag) = (EventCount::default(), AtomicBool::new(false));
        thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| {
                    while !flag.load(Ordering::SeqCst) {
                        let key = event.announce();
                        assert!(barrier::heavy(false));
                        if !flag.load(Ordering::SeqCst) {
                            event.sleep(key, HOUR);
                        }
                    }
                });
            }
            thread::sleep(Duration::from_millis(5)); // most of the time they sleep by now; any order is right
            flag.store(true, Ordering::SeqCst);
            event.notify(u32::MAX, false);
        });
    }
}
