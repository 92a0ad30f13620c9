//! Sleep on a word, wake its sleepers.
//!
//! # Invariants
//! I1  A reference to an atomic is to mapped, aligned memory for as long as it lives.

use core::time::Duration;

use super::AtomicU32;
use crate::os;

/// Sleeps while `word` is `seen`, until woken, but no longer than `slice`. `false`: the slice is over.
///
/// `true` proves nothing: look at the word again.
pub(crate) fn wait(word: &AtomicU32, seen: u32, slice: Duration) -> bool {
    // SAFETY: I1 - the reference outlives the call.
    unsafe { os::futex::wait(word.as_ptr().cast_const(), seen, slice) }
}

/// Wakes up to `n` sleepers and says how many there were.
pub(crate) fn wake(word: &AtomicU32, n: u32) -> usize {
    // SAFETY: I1 - the reference outlives the call.
    unsafe { os::futex::wake(word.as_ptr().cast_const(), n) }
}
