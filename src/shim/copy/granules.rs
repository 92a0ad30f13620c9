//! The copy as it is defined: relaxed atomics, one a granule. Invariants and orderings (I1 to I3, Y1, Y2) are the parent's.

use bytemuck::Pod;

/// What one access takes.
trait Granule: Copy {
    /// # Safety
    /// I1 of the module.
    unsafe fn get(from: *const Self) -> Self;
    /// # Safety
    /// I1 of the module.
    unsafe fn set(to: *mut Self, value: Self);
}

macro_rules! granule {
    ($integer:ty, $atomic:ident) => {
        impl Granule for $integer {
            #[cfg(not(race_check))]
            #[inline]
            unsafe fn get(from: *const Self) -> Self {
                use core::sync::atomic::{Ordering, $atomic};
                // SAFETY: I1 - valid and aligned, and all accesses are atomics of this size.
                let atomic = unsafe { $atomic::from_ptr(from.cast_mut()) };
                atomic.load(Ordering::Relaxed) // [Y1]
            }

            #[cfg(not(race_check))]
            #[inline]
            unsafe fn set(to: *mut Self, value: Self) {
                use core::sync::atomic::{Ordering, $atomic};
                // SAFETY: I1 - valid and aligned, and all accesses are atomics of this size.
                let atomic = unsafe { $atomic::from_ptr(to) };
                atomic.store(value, Ordering::Relaxed); // [Y2]
            }

            #[cfg(race_check)]
            unsafe fn get(from: *const Self) -> Self {
                // SAFETY: I1 - valid and aligned; races are for ThreadSanitizer to report.
                unsafe { from.read_volatile() }
            }

            #[cfg(race_check)]
            unsafe fn set(to: *mut Self, value: Self) {
                // SAFETY: I1 - valid and aligned; races are for ThreadSanitizer to report.
                unsafe { to.write_volatile(value) }
            }
        }
    };
}

granule!(u8, AtomicU8);
granule!(u16, AtomicU16);
granule!(u32, AtomicU32);
granule!(u64, AtomicU64);

pub(super) const fn granule_of<T>() -> usize {
    if align_of::<T>() < 8 { align_of::<T>() } else { 8 }
}

/// # Safety
/// I1 (`src`), I2 (`dst`), for one `T`.
#[inline]
pub(super) unsafe fn load_short<T: Pod>(dst: *mut T, src: *const T) {
    // SAFETY: I1, I2 - the caller's.
    unsafe { load_long(dst, src, 1) }
}

/// # Safety
/// I1 (`dst`), I2 (`src`), for one `T`.
#[inline]
pub(super) unsafe fn store_short<T: Pod>(dst: *mut T, src: *const T) {
    // SAFETY: I1, I2 - the caller's.
    unsafe { store_long(dst, src, 1) }
}

/// # Safety
/// I1 (`src`), I2 (`dst`), for `count` values.
#[inline]
pub(super) unsafe fn load_long<T: Pod>(dst: *mut T, src: *const T, count: usize) {
    let n = count * (size_of::<T>() / granule_of::<T>());
    match const { granule_of::<T>() } {
        // SAFETY: I1, I2, I3 - the same bytes as granules, four times.
        8 => unsafe { load_each::<u64>(dst.cast(), src.cast(), n) },
        // SAFETY: as above.
        4 => unsafe { load_each::<u32>(dst.cast(), src.cast(), n) },
        // SAFETY: as above.
        2 => unsafe { load_each::<u16>(dst.cast(), src.cast(), n) },
        // SAFETY: as above.
        _ => unsafe { load_each::<u8>(dst.cast(), src.cast(), n) },
    }
}

/// # Safety
/// I1 (`dst`), I2 (`src`), for `count` values.
#[inline]
pub(super) unsafe fn store_long<T: Pod>(dst: *mut T, src: *const T, count: usize) {
    let n = count * (size_of::<T>() / granule_of::<T>());
    match const { granule_of::<T>() } {
        // SAFETY: I1, I2, I3 - the same bytes as granules, four times.
        8 => unsafe { store_each::<u64>(dst.cast(), src.cast(), n) },
        // SAFETY: as above.
        4 => unsafe { store_each::<u32>(dst.cast(), src.cast(), n) },
        // SAFETY: as above.
        2 => unsafe { store_each::<u16>(dst.cast(), src.cast(), n) },
        // SAFETY: as above.
        _ => unsafe { store_each::<u8>(dst.cast(), src.cast(), n) },
    }
}

/// # Safety
/// I1 (`src`), I2 (`dst`), for `n` granules.
#[inline]
unsafe fn load_each<G: Granule>(dst: *mut G, src: *const G, n: usize) {
    for k in 0..n {
        // SAFETY: I1 - within the payload.
        let from = unsafe { src.add(k) };
        // SAFETY: I2 - within the private side.
        let to = unsafe { dst.add(k) };
        // SAFETY: I1.
        let granule = unsafe { G::get(from) };
        // SAFETY: I2.
        unsafe { to.write(granule) };
    }
}

/// # Safety
/// I1 (`dst`), I2 (`src`), for `n` granules.
#[inline]
unsafe fn store_each<G: Granule>(dst: *mut G, src: *const G, n: usize) {
    for k in 0..n {
        // SAFETY: I2 - within the private side.
        let from = unsafe { src.add(k) };
        // SAFETY: I1 - within the payload.
        let to = unsafe { dst.add(k) };
        // SAFETY: I2.
        let granule = unsafe { from.read() };
        // SAFETY: I1.
        unsafe { G::set(to, granule) };
    }
}
