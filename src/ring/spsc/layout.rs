//! Where everything lies in a ring, and the private copy of what never changes.

use core::alloc::Layout;
use core::ptr::NonNull;

use crate::error::{Error, Fault, Result};
use crate::memory::Region;
use crate::payload::Shared;
use crate::ring::end::Header;
use crate::ring::position::{MAX_CAPACITY, index};
use crate::segment::directory::ObjectHandle;
use crate::shim::Slots;

/// "OUTLSPSC".
pub(super) const MAGIC: u64 = u64::from_le_bytes(*b"OUTLSPSC");
/// Of this layout.
pub(super) const VERSION: u64 = 1;
/// The slots begin on a line of their own, whatever `T` is.
const LINE: u64 = 128;

/// What a ring of so many `T` looks like. A private copy: after `open` nothing of it is read from the segment again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Plan {
    /// A power of two.
    pub(super) capacity: u64,
    size: u64,
    align: u64,
    schema: u64,
    /// Offset of slot 0 in the ring.
    data_at: u64,
    /// Bytes of the ring.
    pub(super) total: u64,
}

impl Plan {
    /// The capacity that a request is rounded up to.
    pub(super) fn rounded(requested: usize) -> Result<u64> {
        match requested.checked_next_power_of_two() {
            Some(capacity) if requested > 0 && capacity as u64 <= MAX_CAPACITY => Ok(capacity as u64),
            _ => Err(Error::InvalidConfig { why: "the capacity of a ring is 1 to 2^31 messages" }),
        }
    }

    /// `None`: larger than an address space.
    pub(super) fn new<T: Shared>(capacity: u64) -> Option<Self> {
        let (size, align) = (size_of::<T>() as u64, align_of::<T>() as u64);
        Self::of_payload(capacity, size, align, T::SCHEMA.fingerprint())
    }

    /// For a payload that is known by its layout only. `None`: there can be none, or the ring is larger than an address space.
    pub(super) fn of_payload(capacity: u64, size: u64, align: u64, schema: u64) -> Option<Self> {
        if size == 0 || !align.is_power_of_two() || size % align != 0 {
            return None;
        }
        let header = Layout::new::<Header>().size() as u64;
        let data_at = header.checked_next_multiple_of(align.max(LINE))?;
        let total = capacity.checked_mul(size)?.checked_add(data_at)?;
        Some(Self { capacity, size, align, schema, data_at, total })
    }

    /// The alignment of the whole ring.
    pub(super) fn object_align(&self) -> u64 {
        self.align.max(LINE)
    }

    /// Makes an empty ring at `at`, whose first position is `start`. For its creator.
    pub(super) fn build<T: Shared>(&self, region: &Region, at: u64, start: u64) -> Result<(), Fault> {
        Header::build(region, at, &self.values(), start)?;
        let data_at = at.saturating_add(self.data_at);
        let base = region.bytes(data_at, self.capacity.saturating_mul(self.size), self.align)?;
        // SAFETY: `bytes` has checked range and alignment; the bytes are the creator's alone, and then those of rings of
        // one type in one mode (R-I1).
        let _ = unsafe { Slots::<T>::build(base.cast(), index(self.capacity), region.races(), data_at) };
        Ok(())
    }

    /// Compares what stands in the ring, and in the directory, with what a ring of this capacity looks like.
    pub(super) fn verify(&self, object: &ObjectHandle) -> Result<(), Fault> {
        let at = object.at();
        let region = object.attached().region();
        Header::verify(region, at, &self.values())?;
        if self.total > object.len() {
            return Err(Fault::Corrupt { what: "a ring is larger than its object", at });
        }
        Ok(())
    }

    /// Where the slots of a ring that was verified begin, and how far each is from the next.
    pub(super) fn place_of_slots(&self, object: &ObjectHandle) -> Result<(NonNull<u8>, usize), Fault> {
        let data_at = object.at().saturating_add(self.data_at);
        let len = self.capacity.saturating_mul(self.size);
        Ok((object.attached().region().bytes(data_at, len, self.align)?, index(self.size)))
    }

    /// The slots of a ring that was verified.
    pub(super) fn slots<T: Shared>(&self, object: &ObjectHandle) -> Result<Slots<T>, Fault> {
        let region = object.attached().region();
        let data_at = object.at().saturating_add(self.data_at);
        let (base, _) = self.place_of_slots(object)?;
        // SAFETY: `bytes` has checked range and alignment; the handle keeps them mapped, and the object's (R-I1).
        Ok(unsafe { Slots::open(base.cast(), index(self.capacity), region.races(), data_at) })
    }

    pub(super) fn values(&self) -> [u64; 8] {
        [MAGIC, VERSION, self.capacity, self.size, self.align, self.schema, self.data_at, self.total]
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn capacities_are_rounded_up() {
        for (requested, capacity) in [(1, 1), (2, 2), (3, 4), (4096, 4096), (1 << 31, 1 << 31)] {
            assert_eq!(Plan::rounded(requested).unwrap(), capacity);
        }
        for requested in [0, (1 << 31) + 1, usize::MAX] {
            assert!(matches!(Plan::rounded(requested), Err(Error::InvalidConfig { .. })));
        }
    }

    #[test]
    fn slots_are_aligned_and_sizes_do_not_overflow() {
        let plan = Plan::new::<u8>(1).unwrap();
        assert_eq!((plan.data_at, plan.total, plan.object_align()), (1024, 1025, 128));
        let plan = Plan::new::<[u64; 3]>(4).unwrap();
        assert_eq!((plan.data_at, plan.total), (1024, 1024 + 96));
        assert_eq!(Plan::new::<[u64; 1 << 31]>(MAX_CAPACITY), None);
    }
}
