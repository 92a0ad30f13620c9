//! Sleep on a word, wake its sleepers. Never the private kind: the word may be anybody's.
//!
//! # Invariants
//!
//! * **I1**: `word` points to four mapped, aligned bytes for as long as the call lasts (the caller's
//!   contract). The kernel reads them atomically and never writes them.

use std::ptr;
use std::time::Duration;

use nix::errno::Errno;

/// Sleeps if the word still has the value that was `seen`, until it is woken, or for `timeout`.
///
/// `false` only if the time passed. Everything else is `true`, "look again": woken, the value was another, a
/// signal came, the kernel refused. So this never sleeps in a loop; the caller does, in slices.
///
/// # Safety
///
/// `word` is valid for reads and aligned while the call lasts.
pub(crate) unsafe fn wait(word: *const u32, seen: u32, timeout: Duration) -> bool {
    // SAFETY: integers only, for which all zeroes is a value.
    let mut time: libc::timespec = unsafe { std::mem::zeroed() };
    time.tv_sec = libc::time_t::try_from(timeout.as_secs()).unwrap_or(libc::time_t::MAX);
    time.tv_nsec = timeout.subsec_nanos().into();
    let nobody = ptr::null::<u32>();
    // SAFETY: the word by I1; the time is a live local; FUTEX_WAIT does not look at the rest.
    let rc = unsafe {
        libc::syscall(libc::SYS_futex, word, libc::FUTEX_WAIT, seen, &raw const time, nobody, 0_u32)
    };
    rc == 0 || Errno::last() != Errno::ETIMEDOUT
}

/// Wakes at most `n` of those who sleep on the word, in whatever process, and says how many they were.
///
/// # Safety
///
/// `word` is valid for reads and aligned while the call lasts.
pub(crate) unsafe fn wake(word: *const u32, n: u32) -> usize {
    let n = i32::try_from(n).unwrap_or(i32::MAX);
    // SAFETY: the word by I1. FUTEX_WAKE looks at nothing else.
    let rc = unsafe { libc::syscall(libc::SYS_futex, word, libc::FUTEX_WAKE, n) };
    usize::try_from(rc).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;
    use std::sync::atomic::AtomicU32;

    use super::*;
    use crate::os::map::Mapping;
    use crate::os::object::{self, status};
    use crate::os::testing::{self, Child};

    #[test]
    fn time_passes_and_another_value_returns_at_once() {
        let word = AtomicU32::new(3);
        // SAFETY: a live local, by I1.
        let other = unsafe { wait(word.as_ptr(), 4, Duration::MAX) };
        assert!(other);
        // SAFETY: a live local, by I1.
        let same = unsafe { wait(word.as_ptr(), 3, Duration::from_millis(1)) };
        assert!(!same);
        // SAFETY: a live local, by I1.
        let woken = unsafe { wake(word.as_ptr(), u32::MAX) };
        assert_eq!(woken, 0);
    }

    #[test]
    fn a_sleeper_of_another_process_at_another_address_is_woken() {
        let fd = object::memfd("outlive-test-futex").unwrap();
        object::reserve(fd.as_fd(), 4096).unwrap();
        let ours = Mapping::shared(fd.as_fd(), &status(fd.as_fd()).unwrap(), 4096, false).unwrap();
        let theirs = Mapping::shared(fd.as_fd(), &status(fd.as_fd()).unwrap(), 4096, true).unwrap();
        let child = Child::spawn(|| {
            // SAFETY: by I1 inside the mapping.
            unsafe { wait(theirs.base().as_ptr().cast(), 0, Duration::from_secs(3600)) }
        });
        // SAFETY: by I1 inside the mapping.
        let woken = || unsafe { wake(ours.base().as_ptr().cast(), 1) } == 1;
        assert!(testing::soon(woken));
        assert!(child.succeeds());
    }

    #[test]
    fn every_duration_is_a_time() {
        for timeout in [Duration::MAX, Duration::new(u64::MAX, 0), Duration::from_secs(1 << 62)] {
            // In a child, which a timer ends if nobody wakes it.
            let child = Child::spawn(|| {
                let word = &AtomicU32::new(0);
                std::thread::scope(|scope| {
                    // SAFETY: a live local, by I1.
                    let sleeper = scope.spawn(move || unsafe { wait(word.as_ptr(), 0, timeout) });
                    // SAFETY: a live local, by I1.
                    let woken = || unsafe { wake(word.as_ptr(), 1) } == 1;
                    testing::soon(woken) && sleeper.join().is_ok_and(|looks_again| looks_again)
                })
            });
            assert!(child.succeeds(), "{timeout:?}: it must really sleep until it is woken");
        }
    }
}
