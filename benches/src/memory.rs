//! Memory that a parent shares with the processes it forks.
//!
//! # Invariants
//!
//! * `I1` `base` points to `size` mapped, readable and writable bytes, until drop.
//! * `I2` They were zero when mapped, and every access is through atomics, or through the pointer of
//!   [`SharedMemory::at`] by the one side that a published index allows to.

use std::num::NonZeroUsize;
use std::ptr::NonNull;
use std::sync::atomic::AtomicU64;

use nix::sys::mman::{MapFlags, ProtFlags, mmap_anonymous, munmap};

use crate::Result;

/// No two words of different writers share one of these: two lines, for processors that fetch pairs.
pub(crate) const LINE: usize = 128;

/// An anonymous mapping that stays shared across `fork`.
pub(crate) struct SharedMemory {
    base: NonNull<u8>,
    size: usize,
}

// SAFETY: I2: shared access is through atomics only; the rest is by raw pointers.
unsafe impl Send for SharedMemory {}
// SAFETY: as above.
unsafe impl Sync for SharedMemory {}

impl SharedMemory {
    /// Maps at least `size` zero bytes.
    pub(crate) fn new(size: usize) -> Result<Self> {
        let length = NonZeroUsize::new(size).ok_or("an empty mapping")?;
        let prot = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        // SAFETY: a new mapping at an address of the kernel's choice disturbs no other.
        let base = unsafe { mmap_anonymous(None, length, prot, MapFlags::MAP_SHARED) }?;
        Ok(Self { base: base.cast(), size })
    }

    /// The word at the `n`-th line.
    pub(crate) fn line(&self, n: usize) -> &AtomicU64 {
        let word = self.at::<AtomicU64>(n * LINE, 1);
        // SAFETY: I1: `at` has checked the range and the alignment. I2: any bytes are a valid atomic.
        unsafe { word.as_ref() }
    }

    /// Where `count` values of `T` lie from byte `offset` on.
    pub(crate) fn at<T>(&self, offset: usize, count: usize) -> NonNull<T> {
        let end = offset + count * size_of::<T>();
        assert!(end <= self.size, "{end} bytes wanted of {}", self.size);
        // SAFETY: I1: `offset` lies within the mapping.
        let place = unsafe { self.base.add(offset) }.cast::<T>();
        assert!(place.is_aligned(), "offset {offset} is not aligned");
        place
    }
}

impl Drop for SharedMemory {
    fn drop(&mut self) {
        // SAFETY: I1: this is the mapping that `new` made; every reference to it has borrowed `self`, and
        // links keep it alive as long as their ends.
        let unmapped = unsafe { munmap(self.base.cast(), self.size) };
        debug_assert!(unmapped.is_ok(), "munmap of our own mapping");
    }
}
