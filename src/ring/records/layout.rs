//! Where everything lies in a ring of records, and what the header of a frame says.

use core::alloc::Layout;

use crate::error::{Error, Fault, Result};
use crate::memory::Region;
use crate::ring::end::Header;
use crate::ring::position::{MAX_CAPACITY, until_wrap};
use crate::segment::Owner;
use crate::segment::directory::ObjectHandle;

use super::area::Area;

/// "OUTLRECS".
pub(super) const MAGIC: u64 = u64::from_le_bytes(*b"OUTLRECS");
/// Of this layout.
pub(super) const VERSION: u64 = 1;
/// The bytes begin on a line of their own.
const LINE: u64 = 128;
/// The pages that a mirrored ring is made of, whatever machine it is on: one with other pages makes none.
const PAGE: u64 = 4096;
/// So that there is room for a record of some bytes.
const MIN_CAPACITY: u64 = 64;

/// Bytes of a header, and of what frames are multiples of.
pub(super) const WORD: u64 = 8;

/// What a ring of so many bytes looks like. A private copy: after `open` nothing of it is read from the segment again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Plan {
    /// In bytes: a power of two.
    pub(super) capacity: u64,
    /// Whether records may cross the end of the data area: chosen by the creator.
    pub(super) mirrored: bool,
    /// Offset of the data area in the ring.
    pub(super) data_at: u64,
    /// Bytes of the ring.
    pub(super) total: u64,
}

impl Plan {
    /// The capacity that a request is rounded up to.
    pub(super) fn rounded(requested: usize) -> Result<u64> {
        match requested.max(1).checked_next_power_of_two() {
            Some(capacity) if requested > 0 && capacity as u64 <= MAX_CAPACITY => {
                Ok((capacity as u64).max(MIN_CAPACITY))
            }
            _ => Err(Error::InvalidConfig { why: "the capacity of a ring of records is 1 to 2^31 bytes" }),
        }
    }

    /// `mirrored`: if it is large enough for that.
    pub(super) fn new(capacity: u64, mirrored: bool) -> Self {
        let mirrored = mirrored && capacity % PAGE == 0;
        let data_at = if mirrored { PAGE } else { Layout::new::<Header>().size() as u64 };
        let data_at = data_at.next_multiple_of(LINE);
        Self { capacity, mirrored, data_at, total: data_at + capacity }
    }

    /// What the creator has chosen.
    pub(super) fn of(object: &ObjectHandle, capacity: u64) -> Result<Self, Fault> {
        let header = object.attached().region().get::<Header>(object.at())?;
        Ok(Self::new(capacity, header.constant(MIRRORED) != 0))
    }

    /// The alignment of the whole ring.
    pub(super) fn object_align(&self) -> u64 {
        if self.mirrored { PAGE } else { LINE }
    }

    /// Makes an empty ring at `at`, whose first position is `start`. For its creator.
    pub(super) fn build(&self, region: &Region, at: u64, start: u64) -> Result<(), Fault> {
        Header::build(region, at, &self.values(), start)?;
        Area::build(region, at.saturating_add(self.data_at), self.capacity)
    }

    /// Compares what stands in the ring, and in the directory, with what such a ring looks like.
    pub(super) fn verify(&self, object: &ObjectHandle) -> Result<(), Fault> {
        let at = object.at();
        Header::verify(object.attached().region(), at, &self.values())?;
        if self.total > object.len() {
            return Err(Fault::Corrupt { what: "a ring is larger than its object", at });
        }
        Ok(())
    }

    pub(super) fn values(&self) -> [u64; 8] {
        [MAGIC, VERSION, self.capacity, self.mirrored.into(), self.data_at, self.total, 0, 0]
    }
}

/// Which of the constants says whether the ring is mirrored.
const MIRRORED: usize = 3;

/// The first word of a frame.
///
/// ```text
/// 63            32 31       24 23                 0
/// | length        | kind      | sender             |
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FrameHeader(u64);

impl FrameHeader {
    const RECORD: u32 = 1;
    const PAD: u32 = 2;

    /// What the headers of a sender's records have in common.
    pub(super) fn of_sender(sender: Owner) -> Self {
        Self(u64::from(Self::RECORD << Owner::BITS | sender.bits()))
    }

    /// Of a record of `len` bytes.
    #[inline]
    pub(super) fn with_len(self, len: usize) -> Self {
        Self(self.0 | (len as u64) << 32)
    }

    /// Of nothing, up to the end of the data area: `framed` bytes, this header included.
    pub(super) fn pad(framed: u64) -> Self {
        Self((framed - WORD) << 32 | u64::from(Self::PAD << Owner::BITS))
    }

    #[inline]
    pub(super) fn to_bytes(self) -> [u8; 8] {
        self.0.to_le_bytes()
    }

    /// What was found.
    #[inline]
    pub(super) fn from_bytes(bytes: [u8; 8]) -> Self {
        Self(u64::from_le_bytes(bytes))
    }

    /// Who has sent the record; `None` if it is none.
    #[inline]
    pub(super) fn sender(self) -> Option<Owner> {
        let low = (self.0 & 0xffff_ffff) as u32;
        if low >> Owner::BITS == Self::RECORD { Owner::of_stamp(low) } else { None }
    }

    /// Bytes of the record.
    #[inline]
    pub(super) fn len(self) -> u64 {
        self.0 >> 32
    }

    /// Bytes of the frame.
    #[inline]
    pub(super) fn framed(self) -> u64 {
        framed(self.len())
    }

    /// Whether it is the pad that belongs to this position: up to the end of the data area, which it does not fill.
    pub(super) fn is_pad(self, position: u64, capacity: u64) -> bool {
        let left = until_wrap(position, capacity);
        left < capacity && self == Self::pad(left)
    }
}

/// Bytes of the frame of a record of `len` bytes: a header, and whole words.
#[inline]
pub(super) const fn framed(len: u64) -> u64 {
    // `next_multiple_of` has a branch for what cannot be here: a length fits into 32 bits.
    WORD + (len.wrapping_add(WORD - 1) & !(WORD - 1))
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn capacities_are_rounded_up() {
        for (requested, capacity) in
            [(1, 64), (64, 64), (65, 128), (4096, 4096), (5000, 8192), (1 << 31, 1 << 31)]
        {
            assert_eq!(Plan::rounded(requested).unwrap(), capacity);
        }
        for requested in [0, (1 << 31) + 1, usize::MAX] {
            assert!(matches!(Plan::rounded(requested), Err(Error::InvalidConfig { .. })));
        }
    }

    #[test]
    fn a_mirrored_ring_begins_on_a_page() {
        let plain = Plan::new(1 << 16, false);
        assert_eq!((plain.data_at, plain.total, plain.object_align()), (1024, 1024 + (1 << 16), 128));
        let mirrored = Plan::new(1 << 16, true);
        assert_eq!(
            (mirrored.data_at, mirrored.total, mirrored.object_align()),
            (4096, 4096 + (1 << 16), 4096)
        );
        assert_eq!(Plan::new(2048, true), Plan::new(2048, false), "less than a page");
    }

    #[test]
    fn a_header_says_length_and_sender() {
        let owner = Owner::new(1022, 16383);
        for len in [0, 1, 8, (1 << 31) - 8] {
            let header = FrameHeader::of_sender(owner).with_len(len);
            let header = FrameHeader::from_bytes(header.to_bytes());
            assert_eq!((header.len(), header.sender()), (len as u64, Some(owner)));
            assert!(!header.is_pad(0, 64) && !header.is_pad(56, 64));
        }
        assert_eq!([0, 1, 8, 9].map(framed), [8, 16, 16, 24]);
    }

    #[test]
    fn a_pad_ends_where_the_area_ends() {
        let pad = FrameHeader::pad(24);
        assert_eq!((pad.len(), pad.framed(), pad.sender()), (16, 24, None));
        assert!(pad.is_pad(40, 64) && pad.is_pad(u64::MAX - 23, 64));
        assert!(!pad.is_pad(32, 64) && !pad.is_pad(48, 64));
        assert!(!FrameHeader::pad(64).is_pad(0, 64), "the whole area is never padded");
        let with_sender = FrameHeader::from_bytes((16_u64 << 32 | 2 << 24 | 1 << 14).to_le_bytes());
        assert!(!with_sender.is_pad(40, 64), "a pad is nobody's");
    }

    #[test]
    fn what_is_neither_is_nothing() {
        for low in
            [0, 1 << 14, 1 << 24, 1 << 24 | 5, 1 << 24 | 0xff_ffff, 3 << 24 | 1 << 14, u64::from(u32::MAX)]
        {
            let header = FrameHeader::from_bytes((16 << 32 | low).to_le_bytes());
            assert!(header.sender().is_none() && !header.is_pad(40, 64), "{low:x}");
        }
    }
}
