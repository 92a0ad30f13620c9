//! Time passes by being asked for.
//!
//! A finite deadline is over when it was asked about twice: a wait takes place, is looked after once, and ends. So
//! time-outs are explored, and end.

use core::cell::{Cell, RefCell};
use core::time::Duration;

/// How many questions find a finite deadline not over.
const QUESTIONS: u32 = 2;
/// How far the clock goes with each look: further than any pause between two looks at something.
const TICK: Duration = Duration::from_secs(60);

thread_local! {
    /// Questions left, for each finite deadline of the iteration.
    static LEFT: RefCell<Vec<u32>> = const { RefCell::new(Vec::new()) };
    static NOW: Cell<Duration> = const { Cell::new(Duration::ZERO) };
}

/// A new iteration.
pub(super) fn reset() {
    LEFT.with_borrow_mut(Vec::clear);
    NOW.set(Duration::ZERO);
}

/// The moment when a wait is given up.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Deadline {
    length: Duration,
    /// Which counter; `None`: never.
    number: Option<usize>,
}

impl Deadline {
    /// So long from now. `None`, and what the clock cannot express: never.
    pub(crate) fn after(wait: Option<Duration>) -> Self {
        let length = wait.unwrap_or(Duration::MAX);
        let number = length.checked_add(TICK).map(|_| {
            LEFT.with_borrow_mut(|left| {
                left.push(if length.is_zero() { 0 } else { QUESTIONS });
                left.len() - 1
            })
        });
        Self { length, number }
    }

    /// What is left: [`Duration::MAX`] if it never comes, zero if it is over.
    pub(crate) fn left(&self) -> Duration {
        let Some(number) = self.number else { return Duration::MAX };
        LEFT.with_borrow_mut(|left| match left.get_mut(number) {
            None | Some(0) => Duration::ZERO,
            Some(questions) => {
                *questions -= 1;
                self.length
            }
        })
    }

    pub(crate) fn is_over(&self) -> bool {
        self.left().is_zero()
    }
}

/// The time since some moment in the past. Every look finds it a minute later.
pub(crate) fn coarse_now() -> Duration {
    NOW.set(NOW.get() + TICK);
    NOW.get()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finite_deadlines_end_and_others_do_not() {
        reset();
        let soon = Deadline::after(Some(Duration::from_millis(5)));
        let copy = soon;
        assert_eq!(soon.left(), Duration::from_millis(5));
        assert!(!copy.is_over(), "the second question");
        assert!(soon.is_over() && copy.is_over());
        assert!(Deadline::after(Some(Duration::ZERO)).is_over());
        for never in [Deadline::after(None), Deadline::after(Some(Duration::MAX))] {
            for _ in 0..10 {
                assert_eq!(never.left(), Duration::MAX);
            }
        }
        assert!(coarse_now() < coarse_now());
    }
}
