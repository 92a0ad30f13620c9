//! The machine as it is.

pub(crate) mod barrier;
pub(crate) mod clock;
pub(crate) mod futex;
pub(crate) mod life;
mod slots;

pub use core::sync::atomic::{AtomicU32, AtomicU64, Ordering, fence};
pub(crate) use slots::{RaceTable, Slots};

/// Inside a spin: gives the core's other thread, and the power budget, a chance.
#[inline]
pub(crate) fn spin_hint() {
    core::hint::spin_loop();
}

/// Lets somebody else have the processor.
pub(crate) fn yield_now() {
    std::thread::yield_now();
}
