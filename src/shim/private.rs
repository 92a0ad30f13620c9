//! A word that no other process sees.
//!
//! # Orderings
//! | tag | operation | order   | pairs | because                                                      |
//! |-----|-----------|---------|-------|--------------------------------------------------------------|
//! | V1  | get       | Relaxed | -     | one thread at a time writes it; nothing is published by it   |
//! | V2  | set       | Relaxed | -     | as above                                                     |

use core::sync::atomic::{AtomicU64, Ordering};

/// Hot state of a handle that is private to the process, in memory that fork wipes: hence an atomic, which
/// may become zero at any time, and no plain field.
///
/// The model checker does not see it: it orders nothing and is no crash point.
#[derive(Debug, Default)]
#[repr(transparent)]
pub(crate) struct PrivateU64(AtomicU64);

impl PrivateU64 {
    pub(crate) const fn new(value: u64) -> Self {
        Self(AtomicU64::new(value))
    }

    #[inline]
    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed) // [V1]
    }

    #[inline]
    pub(crate) fn set(&self, value: u64) {
        self.0.store(value, Ordering::Relaxed); // [V2]
    }
}
