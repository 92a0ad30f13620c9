//! The asymmetric pair gives the guarantee of two `SeqCst` fences, so that is what a model gets.
//!
//! # Orderings
//! | tag | operation | order        | pairs | because                                                          |
//! |-----|-----------|--------------|-------|------------------------------------------------------------------|
//! | B1  | light     | SeqCst fence | B3    | publish before the look for sleepers                             |
//! | B3  | heavy     | SeqCst fence | B1    | the announced sleeper before the second look                     |

use core::sync::atomic::Ordering;

use loom::sync::atomic::fence;

use super::life;

/// The side that runs for every message.
pub(crate) fn light(_asymmetric: bool) {
    if !life::is_ghost() {
        fence(Ordering::SeqCst); // [B1]
    }
}

/// The side of whoever is about to sleep.
#[must_use]
pub(crate) fn heavy(_asymmetric: bool) -> bool {
    if !life::is_ghost() {
        fence(Ordering::SeqCst); // [B3]
    }
    true
}
