//! Where everything lies in a mutex.

use core::alloc::Layout;
use core::ptr::NonNull;

use crate::error::{Fault, Result};
use crate::memory::{Control, Region};
use crate::payload::Shared;
use crate::segment::directory::ObjectHandle;
use crate::shim::{AtomicU64, Ordering, Slots};
use crate::sync::LockWord;

/// "OUTLMUTX".
pub(super) const MAGIC: u64 = u64::from_le_bytes(*b"OUTLMUTX");
/// Of this layout.
pub(super) const VERSION: u64 = 1;
/// What objects are aligned to, at least.
pub(super) const LINE: u64 = 128;

/// What stands in front of the value.
#[derive(Debug, Default)]
#[repr(C)]
pub(super) struct Header {
    /// Written by the creator, never again.
    pub(super) constants: [AtomicU64; 8],
    pub(super) lock: LockWord,
    /// For later.
    pub(super) reserved: AtomicU64,
}

// SAFETY: atomics.
unsafe impl Control for Header {}

#[cfg(not(loom))]
mod drawn {
    use super::Header;
    use core::mem::offset_of;
    use static_assertions::const_assert_eq;

    const_assert_eq!(offset_of!(Header, constants), 0);
    const_assert_eq!(offset_of!(Header, lock), 64);
    const_assert_eq!(offset_of!(Header, reserved), 72);
    const_assert_eq!(size_of::<Header>(), 80);
}

/// What a mutex of one payload looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Plan {
    size: u64,
    align: u64,
    schema: u64,
    /// Offset of the value.
    pub(super) data_at: u64,
    /// Bytes in all.
    pub(super) total: u64,
}

impl Plan {
    pub(super) fn of<T: Shared>() -> Option<Self> {
        Self::of_payload(size_of::<T>() as u64, align_of::<T>() as u64, T::SCHEMA.fingerprint())
    }

    /// For a payload that is known by its layout only. `None`: there can be none, or it is larger than an address space.
    pub(super) fn of_payload(size: u64, align: u64, schema: u64) -> Option<Self> {
        if size == 0 || !align.is_power_of_two() || size % align != 0 {
            return None;
        }
        let data_at = (Layout::new::<Header>().size() as u64).checked_next_multiple_of(align)?;
        let total = data_at.checked_add(size)?;
        Some(Self { size, align, schema, data_at, total })
    }

    /// The alignment of the whole object.
    pub(super) fn object_align(&self) -> u64 {
        self.align.max(LINE)
    }

    /// What stands in the constants.
    pub(super) fn values(&self) -> [u64; 8] {
        [MAGIC, VERSION, self.size, self.align, self.schema, self.data_at, self.total, 0]
    }

    fn slot<T>(&self, region: &Region, at: u64) -> Result<(NonNull<T>, u64), Fault> {
        let data_at = at.saturating_add(self.data_at);
        Ok((region.bytes(data_at, self.size, self.align)?.cast(), data_at))
    }

    /// Makes a free mutex at `at`, without its value. For its creator.
    pub(super) fn build<T>(&self, region: &Region, at: u64) -> Result<Slots<T>, Fault> {
        let header = region.build::<Header>(at)?;
        for (word, value) in header.constants.iter().zip(self.values()) {
            word.store(value, Ordering::Relaxed); // [X1]
        }
        let (base, data_at) = self.slot(region, at)?;
        // SAFETY: X-I1 - `bytes` has checked range and alignment; the bytes are the creator's alone, and then those of
        // mutexes of one type in one mode.
        Ok(unsafe { Slots::build(base, 1, region.races(), data_at) })
    }

    /// Compares what stands there with what has to, and says where lock and value are.
    pub(super) fn open<T>(&self, object: &ObjectHandle) -> Result<(NonNull<Header>, Slots<T>), Fault> {
        let (at, region) = (object.at(), object.attached().region());
        if object.len() < self.total {
            return Err(Fault::Corrupt { what: "a mutex is larger than its object", at });
        }
        let header = region.get::<Header>(at)?;
        for (word, value) in header.constants.iter().zip(self.values()) {
            let found = word.load(Ordering::Relaxed); // [X1]
            if found != value {
                return Err(Fault::Corrupt { what: "a constant of a mutex is wrong", at });
            }
        }
        let (base, data_at) = self.slot(region, at)?;
        // SAFETY: X-I1 - `bytes` has checked range and alignment; the handle keeps them mapped, and the object's.
        let slots = unsafe { Slots::open(base, 1, region.races(), data_at) };
        Ok((NonNull::from(header), slots))
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_small_value_lies_behind_its_lock() {
        let plan = Plan::of::<u64>().unwrap();
        assert_eq!((plan.data_at, plan.total, plan.object_align()), (80, 88, 128));
        let plan = Plan::of_payload(4096, 4096, 1).unwrap();
        assert_eq!((plan.data_at, plan.total, plan.object_align()), (4096, 8192, 4096));
        for (size, align) in [(0, 1), (8, 3), (9, 8), (u64::MAX - 7, 8)] {
            assert_eq!(Plan::of_payload(size, align, 1), None);
        }
    }
}
