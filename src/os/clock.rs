//! What time it is.
//!
//! # Invariants
//!
//! * **I1**: a pointer handed to `clock_gettime` is to a live local of the type it fills in.

use std::time::Duration;

/// Time since some moment before now, the same for all processes of a time namespace. Never goes back; does
/// not count suspension.
pub(crate) fn monotonic() -> Duration {
    read(libc::CLOCK_MONOTONIC)
}

/// [`monotonic`] as of the last tick: cheaper, and up to some milliseconds late.
pub(crate) fn monotonic_coarse() -> Duration {
    read(libc::CLOCK_MONOTONIC_COARSE)
}

/// Nanoseconds since 1970, for people to read. It jumps whenever somebody sets the clock; 0 before 1970,
/// and it ends in 2554.
pub(crate) fn realtime_ns() -> u64 {
    u64::try_from(read(libc::CLOCK_REALTIME).as_nanos()).unwrap_or(u64::MAX)
}

fn read(clock: libc::clockid_t) -> Duration {
    // SAFETY: integers only, for which all zeroes is a value.
    let mut now: libc::timespec = unsafe { std::mem::zeroed() };
    // SAFETY: a live local, by I1. It cannot fail for these clocks, and would leave zero.
    unsafe { libc::clock_gettime(clock, &raw mut now) };
    Duration::new(u64::try_from(now.tv_sec).unwrap_or(0), u32::try_from(now.tv_nsec).unwrap_or(0))
}

/// Lets others run for so long.
pub(crate) fn pause(time: Duration) {
    std::thread::sleep(time);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clocks_go_forward_and_agree() {
        let coarse = monotonic_coarse();
        let first = monotonic();
        let second = monotonic();
        assert!(coarse <= first && first <= second);
        assert!(second > Duration::ZERO);
    }

    #[test]
    fn it_is_after_2020() {
        assert!(realtime_ns() > 1_577_836_800_000_000_000);
    }
}
