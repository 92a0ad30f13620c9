//! Who holds a word: a row of the attachment table, and which tenant of that row.

use core::fmt;

/// An attachment, as it is stamped into every word that it holds: row and generation of the attachment table.
///
/// A row has a new generation with each tenant, so that the stamp of a dead process does not name its successor. After 16384
/// tenants of one row it comes again: what outlive stamps was cleared long before, and a stamp in a word of yours, which
/// nobody has taken over from the dead by then, counts as that of the living.
///
/// ```
/// let segment = outlive::Segment::heap(1 << 16)?;
/// let other = segment.attach()?;
/// assert_ne!(segment.owner(), other.owner());
/// let word = u64::from(other.owner().bits()); // in a word of yours
/// assert!(!segment.is_dead(outlive::Owner::from_bits(word as u32).unwrap()));
/// # Ok::<(), outlive::Error>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Owner(u32);

impl Owner {
    /// Width of a stamp: `row:10 | generation:14`, 0 = nobody.
    pub(crate) const BITS: u32 = 24;
    /// Rows are 1..=1022: row 0 would make "nobody" an owner, row 1023 is kept for "not recoverable" in locks.
    pub(crate) const MAX_ROW: u32 = 1022;
    /// An attachment without a row: it can look and sweep, and holds nothing.
    pub(crate) const NOBODY: Self = Self(1023 << Self::GENERATION_BITS);
    const GENERATION_BITS: u32 = 14;
    const GENERATION_MASK: u32 = (1 << Self::GENERATION_BITS) - 1;

    /// The stamp of `row` in its `generation`, of which only the low bits are kept.
    pub(crate) fn new(row: u32, generation: u32) -> Self {
        debug_assert!((1..=Self::MAX_ROW).contains(&row));
        Self(row << Self::GENERATION_BITS | generation & Self::GENERATION_MASK)
    }

    /// The stamp, to be put into a word of one's own: 24 bits, never 0.
    pub fn bits(self) -> u32 {
        self.0
    }

    /// The owner whose stamp is in the low 24 bits of a word; `None` if they are 0: nobody. Whether a segment has such a row
    /// is another question, which [`Segment::is_dead`](crate::Segment::is_dead) answers.
    pub fn from_bits(bits: u32) -> Option<Self> {
        let bits = bits & ((1 << Self::BITS) - 1);
        (bits != 0).then_some(Self(bits))
    }

    /// As [`from_bits`](Self::from_bits), of a row that some segment could have.
    #[inline]
    pub(crate) fn of_stamp(bits: u32) -> Option<Self> {
        let owner = Self(bits & ((1 << Self::BITS) - 1));
        (owner.row().wrapping_sub(1) < Self::MAX_ROW).then_some(owner)
    }

    /// Which row of the attachment table, from 1.
    pub fn row(self) -> u32 {
        self.0 >> Self::GENERATION_BITS
    }

    /// Which tenant of that row, modulo 16384.
    pub fn generation(self) -> u32 {
        self.0 & Self::GENERATION_MASK
    }

    /// Whether `generation`, in full width, is this owner's.
    pub(crate) fn is_generation(self, generation: u32) -> bool {
        self.generation() == generation & Self::GENERATION_MASK
    }
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "attachment {}.{}", self.row(), self.generation())
    }
}

impl fmt::Debug for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Owner({}.{})", self.row(), self.generation())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamp_says_row_and_generation() {
        let owner = Owner::new(1022, 16384 + 5);
        assert_eq!((owner.row(), owner.generation()), (1022, 5));
        assert_eq!(Owner::from_bits(owner.bits()), Some(owner));
        assert_eq!(Owner::from_bits(0), None);
        assert_eq!(Owner::of_stamp(owner.bits()), Some(owner));
        for nobody in [0, 1, 16383, Owner::NOBODY.bits(), 0xff_ffff] {
            assert_eq!(Owner::of_stamp(nobody), None, "{nobody:x}");
        }
        assert!(owner.is_generation(5) && owner.is_generation(16384 + 5) && !owner.is_generation(6));
        assert!(owner.bits() < 1 << Owner::BITS);
    }
}
