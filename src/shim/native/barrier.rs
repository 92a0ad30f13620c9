//! The store-load barrier between one who publishes and then looks for sleepers, and one who goes to sleep and then
//! looks once more. Whether it is asymmetric is a property of the segment, the same for all.
//!
//! # Orderings
//! | tag | operation      | order                        | pairs | because                                              |
//! |-----|----------------|------------------------------|-------|------------------------------------------------------|
//! | B1  | light, even    | SeqCst fence                 | B3    | publish before the look for sleepers                 |
//! | B2  | light, uneven  | SeqCst compiler fence        | B4    | the processor's part is done by the waiter, in B4    |
//! | B3  | heavy          | SeqCst fence                 | B1    | the announced sleeper before the second look         |
//! | B4  | heavy, uneven  | membarrier, global expedited | B2    | a full fence on every processor that runs one of us  |

use core::sync::atomic::{Ordering, compiler_fence, fence};

use crate::os;

/// The side that runs for every message.
#[inline]
pub(crate) fn light(asymmetric: bool) {
    if asymmetric {
        compiler_fence(Ordering::SeqCst); // [B2]
    } else {
        fence(Ordering::SeqCst); // [B1]
    }
}

/// The side of whoever is about to sleep. `false`: the kernel refused the barrier, and the light sides are
/// *not* ordered: do not rely on being woken.
#[must_use]
pub(crate) fn heavy(asymmetric: bool) -> bool {
    fence(Ordering::SeqCst); // [B3]
    !asymmetric || os::membarrier::global_expedited() // [B4]
}
