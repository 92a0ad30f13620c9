//! Where everything lies in a stream, and the private copy of what never changes.

use core::alloc::Layout;
use core::ptr::NonNull;

use crate::error::{Error, Fault, Result};
use crate::memory::Region;
use crate::ring::end::Header;
use crate::ring::position::{MAX_CAPACITY, index};
use crate::segment::directory::ObjectHandle;
use crate::shim::Slots;

/// "OUTLSTRM".
pub(super) const MAGIC: u64 = u64::from_le_bytes(*b"OUTLSTRM");
/// Of this layout.
pub(super) const VERSION: u64 = 1;
/// The bytes begin on a line of their own.
pub(super) const LINE: u64 = 128;

/// What a stream of so many bytes looks like. A private copy: after `open` nothing of it is read from the segment again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Plan {
    /// A power of two.
    pub(super) capacity: u64,
    /// Offset of the first byte in the ring.
    data_at: u64,
    /// Bytes of the ring.
    pub(super) total: u64,
}

impl Plan {
    /// The capacity that a request is rounded up to.
    pub(super) fn rounded(requested: usize) -> Result<u64> {
        match requested.checked_next_power_of_two() {
            Some(capacity) if requested > 0 && capacity as u64 <= MAX_CAPACITY => Ok(capacity as u64),
            _ => Err(Error::InvalidConfig { why: "the capacity of a stream is 1 to 2^31 bytes" }),
        }
    }

    /// `capacity`: of those that [`rounded`](Self::rounded) gives.
    pub(super) fn new(capacity: u64) -> Self {
        let header = Layout::new::<Header>().size() as u64;
        let data_at = header.next_multiple_of(LINE);
        Self { capacity, data_at, total: data_at + capacity }
    }

    /// Makes an empty stream at `at`, whose first position is `start`. For its creator.
    pub(super) fn build(&self, region: &Region, at: u64, start: u64) -> Result<(), Fault> {
        Header::build(region, at, &self.values(), start)?;
        let data_at = at.saturating_add(self.data_at);
        let base = region.bytes(data_at, self.capacity, 1)?;
        // SAFETY: `bytes` has checked the range; the bytes are the creator's alone, and then those of streams (R-I1).
        let _ = unsafe { Slots::<u8>::build(base, index(self.capacity), region.races(), data_at) };
        Ok(())
    }

    /// Compares what stands in the stream, and in the directory, with what one of this capacity looks like.
    pub(super) fn verify(&self, object: &ObjectHandle) -> Result<(), Fault> {
        let at = object.at();
        Header::verify(object.attached().region(), at, &self.values())?;
        if self.total > object.len() {
            return Err(Fault::Corrupt { what: "a stream is larger than its object", at });
        }
        Ok(())
    }

    /// Where the bytes of a stream that was verified begin.
    pub(super) fn place_of_bytes(&self, object: &ObjectHandle) -> Result<NonNull<u8>, Fault> {
        object.attached().region().bytes(object.at().saturating_add(self.data_at), self.capacity, 1)
    }

    /// The bytes of a stream that was verified.
    pub(super) fn bytes(&self, object: &ObjectHandle) -> Result<Slots<u8>, Fault> {
        let region = object.attached().region();
        let base = self.place_of_bytes(object)?;
        let data_at = object.at().saturating_add(self.data_at);
        // SAFETY: `bytes` has checked the range; the handle keeps it mapped, and the object's (R-I1).
        Ok(unsafe { Slots::open(base, index(self.capacity), region.races(), data_at) })
    }

    pub(super) fn values(&self) -> [u64; 8] {
        [MAGIC, VERSION, self.capacity, self.data_at, self.total, 0, 0, 0]
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn capacities_are_rounded_up() {
        for (requested, capacity) in [(1, 1), (2, 2), (3, 4), (65_535, 65_536), (1 << 31, 1 << 31)] {
            assert_eq!(Plan::rounded(requested).unwrap(), capacity);
        }
        for requested in [0, (1 << 31) + 1, usize::MAX] {
            assert!(matches!(Plan::rounded(requested), Err(Error::InvalidConfig { .. })));
        }
    }

    #[test]
    fn the_bytes_follow_the_header() {
        let plan = Plan::new(1);
        assert_eq!((plan.data_at, plan.total), (1024, 1025));
        assert_eq!(Plan::new(MAX_CAPACITY).total, 1024 + (1 << 31));
    }
}
