//! The model checker in the machine's place.
//!
//! All loom threads of a model run on one thread of the system, and change only inside loom's operations. So
//! what a model needs besides (wait lists, deadlines, race cells) lives in plain memory, is atomic without being
//! modelled, and is forgotten at the start of each iteration, by [`explore`].

mod atomic;
pub(crate) mod barrier;
pub(crate) mod clock;
mod exploration;
pub(crate) mod futex;
pub(crate) mod life;
mod slots;

pub use atomic::{AtomicU32, AtomicU64};
pub use core::sync::atomic::Ordering;
pub use exploration::explore;
pub use futex::set_slices;
pub(crate) use life::mortal_as;
pub use loom::sync::atomic::fence;
pub(crate) use slots::{RaceTable, Slots};

/// There are no caches in a model.
pub(crate) fn prefetch(_place: *const u8) {}

/// There are no caches in a model.
pub(crate) fn prefetch_for_store(_place: *const u8) {}

/// Lets the others run.
pub(crate) fn spin_hint() {
    yield_now();
}

/// Lets the others run: the model comes back when they are done, or wait too.
pub(crate) fn yield_now() {
    if !life::is_ghost() {
        loom::thread::yield_now();
    }
}

/// Nobody knows: the threads of a model share their thread-locals.
pub(crate) fn this_thread() -> u64 {
    0
}
