//! How long to wait, and what time it is.

use core::time::Duration;

use crate::os::clock;

/// The moment when a wait is given up.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Deadline {
    /// On the monotonic clock; `None`: never.
    end: Option<Duration>,
}

impl Deadline {
    /// So long from now. `None`, and what the clock cannot express: never.
    pub(crate) fn after(wait: Option<Duration>) -> Self {
        Self { end: wait.and_then(|wait| clock::monotonic().checked_add(wait)) }
    }

    /// What is left: [`Duration::MAX`] if it never comes, zero if it is over.
    pub(crate) fn left(&self) -> Duration {
        self.end.map_or(Duration::MAX, |end| end.saturating_sub(clock::monotonic()))
    }

    pub(crate) fn is_over(&self) -> bool {
        self.left().is_zero()
    }
}

/// The time since some moment in the past, the same moment for all processes; cheap, and a few milliseconds late.
pub(crate) fn coarse_now() -> Duration {
    clock::monotonic_coarse()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn never_is_never_over() {
        for never in [Deadline::after(None), Deadline::after(Some(Duration::MAX))] {
            assert!(!never.is_over());
            assert_eq!(never.left(), Duration::MAX);
        }
    }

    #[test]
    fn zero_is_over_and_an_hour_is_not() {
        let now = Deadline::after(Some(Duration::ZERO));
        assert!(now.is_over());
        assert_eq!(now.left(), Duration::ZERO);
        let hour = Deadline::after(Some(Duration::from_secs(3600)));
        assert!(!hour.is_over());
        assert!(hour.left() <= Duration::from_secs(3600));
    }
}
