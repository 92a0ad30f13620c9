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

/// Asks for the cache line at `place`, which may be any address: nothing faults, and nothing is read.
#[inline]
pub(crate) fn prefetch(place: *const u8) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: I1 - a hint takes any address.
    unsafe {
        core::arch::x86_64::_mm_prefetch::<{ core::arch::x86_64::_MM_HINT_T0 }>(place.cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = place;
}

/// Asks for the cache line at `place`, which may be any address, so that a store to it need not wait for its other owners.
#[inline]
pub(crate) fn prefetch_for_store(place: *const u8) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: I1 - a hint takes any address; processors that do not know it do nothing.
    unsafe {
        core::arch::asm!("prefetchw [{}]", in(reg) place, options(nostack, readonly, preserves_flags));
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = place;
}

/// Lets somebody else have the processor.
pub(crate) fn yield_now() {
    std::thread::yield_now();
}

/// A number that no other thread of this process has while this one lives; never 0.
#[inline]
pub(crate) fn this_thread() -> u64 {
    thread_local!(static MARK: u8 = const { 0 });
    MARK.with(|mark| core::ptr::from_ref(mark).addr() as u64) // it needs no `Drop`, hence is there until the thread's end
}
