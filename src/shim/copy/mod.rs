//! The one way to payload that others may write meanwhile.
//!
//! # Why this is sound
//!
//! In checked mode any process, and through a scribbled control word even another thread of this one, may write the
//! bytes that we read or write. A plain access would be undefined behaviour then, and so would a volatile one
//! between threads. So each byte of a payload area is accessed by this module and by nothing else, and every access
//! here *is* a sequence of relaxed atomic accesses of one size, the granule. Atomics may race. The granule is the
//! largest power of two up to 8 that divides the alignment of `T`. It depends on nothing else, hence it is the same for
//! the same bytes in every call, long or short: atomics of different sizes never meet.
//!
//! Written out with core's atomics (`granules`) that is literally so. On x86-64 all but the simplest forms are
//! assembly, which is declared to *mean* that sequence, in unspecified order. This is no more than the machine does:
//! each granule lies within one move, naturally aligned on the payload's side (or is a byte, which nothing splits), and the
//! compiler, for which the block is opaque, can neither repeat nor invent an access. Stores of other processes are no accesses of our
//! program; they count as relaxed atomic stores of granules too.
//!
//! What comes out of a race is a mixture of values: `T: Pod` makes every mixture a value, and leaves no padding to
//! leak. What it means is for the caller to validate.
//!
//! Assembly is opaque to tools as well, so builds for Miri, fuzzing (`AddressSanitizer`) and
//! `cfg(race_check)` (`ThreadSanitizer`) use granules throughout; under `race_check` they are volatile and not atomic,
//! so that races are *seen*.
//!
//! # Invariants
//! I1  The payload side is readable (loads) or writable (stores), aligned to `T`, and accessed by others only through
//!     this module, or from other processes: contract of every function.
//! I2  The private side is readable or writable, aligned to `T`, nobody else's, and does not overlap the payload.
//! I3  The granule divides size and alignment of `T`, so that the loops below end exactly at the end.
//!
//! # Orderings
//! | tag | operation | order   | pairs | because                                                          |
//! |-----|-----------|---------|-------|------------------------------------------------------------------|
//! | Y1  | load      | Relaxed | -     | the control words of the structure order payload, not payload    |
//! | Y2  | store     | Relaxed | -     | as above                                                         |

mod granules;
#[cfg(all(target_arch = "x86_64", not(any(miri, fuzzing, race_check))))]
mod x86_64;

use core::mem::MaybeUninit;

use bytemuck::Pod;

#[cfg(not(all(target_arch = "x86_64", not(any(miri, fuzzing, race_check)))))]
use granules as wide;
#[cfg(all(target_arch = "x86_64", not(any(miri, fuzzing, race_check))))]
use x86_64 as wide;

/// How a single `T` is copied.
enum Form {
    /// By core's atomics: the compiler knows them best.
    Granules,
    /// In a few wide moves, without a loop.
    Short,
    /// In a loop.
    Long,
}

const fn form_of<T>() -> Form {
    let (size, granule) = (size_of::<T>(), granules::granule_of::<T>());
    if size <= granule || granule == 8 && size <= 64 {
        Form::Granules
    } else if size <= 64 {
        Form::Short
    } else {
        Form::Long
    }
}

/// Reads a `T` of the payload.
///
/// # Safety
/// I1 for one `T`.
#[inline]
pub(super) unsafe fn load<T: Pod>(from: *const T) -> T {
    let mut value = MaybeUninit::<T>::uninit();
    let to = value.as_mut_ptr();
    match const { form_of::<T>() } {
        // SAFETY: I1, I2 - to a local.
        Form::Granules => unsafe { granules::load_short(to, from) },
        // SAFETY: I1, I2 - to a local.
        Form::Short => unsafe { wide::load_short(to, from) },
        // SAFETY: I1, I2 - to a local.
        Form::Long => unsafe { wide::load_long(to, from, 1) },
    }
    // SAFETY: I3 - every byte was written, and any bytes are a `T`.
    unsafe { value.assume_init() }
}

/// Writes a `T` of the payload.
///
/// # Safety
/// I1 for one `T`.
#[inline]
pub(super) unsafe fn store<T: Pod>(to: *mut T, value: T) {
    let from = &raw const value;
    match const { form_of::<T>() } {
        // SAFETY: I1, I2 - from a local.
        Form::Granules => unsafe { granules::store_short(to, from) },
        // SAFETY: I1, I2 - from a local.
        Form::Short => unsafe { wide::store_short(to, from) },
        // SAFETY: I1, I2 - from a local.
        Form::Long => unsafe { wide::store_long(to, from, 1) },
    }
}

/// Reads `count` of the payload's `T`.
///
/// # Safety
/// I1 (`src`), I2 (`dst`), for `count` of them.
#[inline]
pub(super) unsafe fn load_bytes<T: Pod>(dst: *mut T, src: *const T, count: usize) {
    // SAFETY: I1, I2 - the caller's.
    unsafe { wide::load_long(dst, src, count) };
}

/// Writes `count` of the payload's `T`.
///
/// # Safety
/// I1 (`dst`), I2 (`src`), for `count` of them.
#[inline]
pub(super) unsafe fn store_bytes<T: Pod>(dst: *mut T, src: *const T, count: usize) {
    // SAFETY: I1, I2 - the caller's.
    unsafe { wide::store_long(dst, src, count) };
}

#[cfg(test)]
mod tests;
