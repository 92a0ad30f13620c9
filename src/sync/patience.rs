//! How long to spin, and how long to sleep at a time.

use core::time::Duration;

use crate::shim::clock::Deadline;

/// The slices of one sleep: 20 ms, doubling to 100 ms.
///
/// Nobody relies on being woken by somebody who may die: after each slice the sleeper looks at condition and liveness.
#[derive(Debug)]
pub(crate) struct Slices {
    next: Duration,
}

impl Slices {
    /// Not sooner than the scheduler's tick (4 to 10 ms): else the sleep has to program the timer, and the wake-up to
    /// program it back. In a virtual machine that made the blocked round trip 1.2 to 1.35 of a bare futex's, against 1.03.
    const FIRST: Duration = Duration::from_millis(20);
    /// Where wake-ups may be missed.
    const NAP: Duration = Duration::from_millis(1);
    const LONGEST: Duration = Duration::from_millis(100);

    pub(crate) fn new() -> Self {
        Self { next: Self::FIRST }
    }

    /// How long to sleep now. `ordered`: notifiers are certain to see the announcement; else it is a short nap.
    pub(crate) fn current(&self, deadline: &Deadline, ordered: bool) -> Duration {
        let slice = if ordered { self.next } else { Self::NAP };
        slice.min(deadline.left())
    }

    /// It passed, and nothing happened.
    pub(crate) fn expired(&mut self) {
        self.next = (self.next * 2).min(Self::LONGEST);
    }
}

/// How long to spin before sleeping: more if it helped, less if not.
#[derive(Debug)]
pub(crate) struct Spins(u32);

impl Spins {
    /// About 20 microseconds on current x86-64. A model has no time to lose.
    const MOST: u32 = if cfg!(loom) { 0 } else { 1024 };
    /// About what a sleep and a wake-up cost both sides. Fewer would hardly ever help, and so stay few for ever: a reader
    /// that waits 10 microseconds for each part of a file slept two times in three.
    const LEAST: u32 = if cfg!(loom) { 0 } else { 256 };

    pub(crate) fn new() -> Self {
        Self(Self::MOST)
    }

    /// Spins until `done`; whether it was.
    pub(crate) fn spin(&mut self, mut done: impl FnMut() -> bool) -> bool {
        for _ in 0..self.0 {
            if done() {
                self.0 = (self.0 * 2).min(Self::MOST);
                return true;
            }
            crate::shim::spin_hint();
        }
        self.0 = (self.0 / 2).max(Self::LEAST);
        false
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn slices_double_up_to_a_limit_and_end_with_the_deadline() {
        let never = Deadline::after(None);
        let mut slices = Slices::new();
        assert_eq!(slices.current(&never, true), Duration::from_millis(20));
        for _ in 0..20 {
            slices.expired();
        }
        assert_eq!(slices.current(&never, true), Duration::from_millis(100));
        assert_eq!(slices.current(&never, false), Duration::from_millis(1));
        assert_eq!(slices.current(&Deadline::after(Some(Duration::ZERO)), true), Duration::ZERO);
    }

    #[test]
    fn vain_spins_become_fewer_and_useful_ones_more() {
        let mut spins = Spins::new();
        for _ in 0..20 {
            assert!(!spins.spin(|| false));
        }
        assert_eq!(spins.0, Spins::LEAST);
        let mut looks = 0;
        assert!(!spins.spin(|| {
            looks += 1;
            false
        }));
        assert_eq!(looks, Spins::LEAST);
        for _ in 0..20 {
            assert!(spins.spin(|| true));
        }
        assert_eq!(spins.0, Spins::MOST);
    }
}
