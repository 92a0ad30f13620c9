//! Bytes in place: room to be filled, bytes to be read.
//!
//! One rule for both: dropped, it undoes (there is nothing to do for that); the verb commits, by one store.

use core::fmt;
use core::mem::MaybeUninit;

use crate::trust::{Checked, Trust, Trusted};

use super::reader::Reader;
use super::writer::Writer;

/// Free bytes in a row. The filled ones, a prefix as in a `Vec`, are written by [`commit`](Self::commit), with one store.
///
/// Dropped, nothing was written. Killed before the commit, nothing was written either; after it, all of it was.
#[must_use = "dropped, nothing is written: `commit` it"]
pub struct Grant<'a, M: Trust = Checked> {
    writer: &'a mut Writer<M>,
    position: u64,
    /// R-I2: `first..first + capacity` are free bytes of the ring, those from `position` on.
    first: usize,
    capacity: usize,
    /// At most `capacity`.
    filled: usize,
}

impl<'a, M: Trust> Grant<'a, M> {
    #[inline]
    pub(super) fn new(writer: &'a mut Writer<M>, position: u64, capacity: usize) -> Self {
        let first = writer.end.slot(position);
        Self { writer, position, first, capacity, filled: 0 }
    }

    /// How many bytes there are, filled or not.
    #[inline]
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// How many of them are filled, and would be written.
    #[inline]
    pub fn len(&self) -> usize {
        self.filled
    }

    /// Whether none is filled.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.filled == 0
    }

    /// The bytes that can be filled yet: none in a forked child, where they are the parent's.
    #[inline]
    fn left(&self) -> usize {
        if self.writer.end.is_here() { self.capacity - self.filled } else { 0 }
    }

    /// Fills the next bytes with the first of these, as many as there is room for, and says how many.
    #[inline]
    pub fn extend_from_slice(&mut self, bytes: &[u8]) -> usize {
        let n = bytes.len().min(self.left());
        // SAFETY: R-I2 - free bytes of the grant.
        unsafe { self.writer.data.put_row(self.first + self.filled, &bytes[..n]) };
        self.filled += n;
        n
    }

    /// Writes what was filled, and says how much that was: 0 in a forked child, and after `testing::kill`.
    #[inline]
    pub fn commit(self) -> usize {
        self.writer.end.publish_some(self.position, self.filled)
    }
}

impl Grant<'_, Trusted> {
    /// The bytes that are not filled yet, in place. What is written there counts after [`set_len`](Self::set_len).
    #[inline]
    pub fn spare(&mut self) -> &mut [MaybeUninit<u8>] {
        let left = self.left();
        // SAFETY: R-I2 - free bytes of the grant; nobody else uses them, by the contract of trust, and only one slice
        // of them lives at a time, as it borrows the grant.
        unsafe { self.writer.data.slots().slice_mut(self.first + self.filled, left) }
    }

    /// Says how many bytes are filled, from the first on; at most all of them.
    ///
    /// # Safety
    /// The first `n` bytes were filled, or written through [`spare`](Self::spare).
    #[inline]
    pub unsafe fn set_len(&mut self, n: usize) {
        self.filled = n.min(self.capacity);
    }

    /// All the bytes, in place. They count as filled, with whatever is there.
    ///
    /// ```
    /// use outlive::{Segment, Trusted, ring::stream};
    /// // SAFETY: heap memory of this process, which only this program writes, through this crate.
    /// let segment = unsafe { Segment::heap(1 << 16)?.trust() };
    /// let ring = stream::Ring::<Trusted>::create(&segment, "log", 4096)?;
    /// let mut writer = ring.try_writer()?;
    /// let mut grant = writer.try_reserve(3)?;
    /// grant.as_mut_slice().copy_from_slice(b"abc");
    /// assert_eq!(grant.commit(), 3);
    /// let mut reader = ring.try_reader()?;
    /// let bytes = reader.try_peek(100)?;
    /// assert_eq!(&*bytes, b"abc");
    /// bytes.release();
    /// # Ok::<(), outlive::Error>(())
    /// ```
    #[inline]
    pub fn as_mut_slice(&mut self) -> &mut [u8] {
        let here = self.writer.end.is_here();
        self.filled = if here { self.capacity } else { 0 }; // in a forked child the bytes are the parent's
        // SAFETY: R-I2 - the bytes of the grant, as in `spare`.
        let bytes = unsafe { self.writer.data.slots().slice_mut(self.first, self.filled) };
        // SAFETY: R-I2 - the same bytes: shared memory is initialised; the borrow is handed on.
        unsafe { core::slice::from_raw_parts_mut(bytes.as_mut_ptr().cast(), bytes.len()) }
    }
}

impl<M: Trust> fmt::Debug for Grant<'_, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Grant")
            .field("filled", &self.filled)
            .field("capacity", &self.capacity)
            .finish_non_exhaustive()
    }
}

/// Bytes in a row, where they are. They are consumed by [`release`](Self::release), with one store.
///
/// Dropped, none was consumed: the next `read` or `peek` gets them again. A reader that is killed before the release leaves
/// them to its successor.
///
/// In mode `Checked` they are copied out, by `copy_to`; in mode `Trusted` this is a slice of them.
#[must_use = "dropped, nothing is consumed: `release` them"]
pub struct Bytes<'a, M: Trust = Checked> {
    reader: &'a mut Reader<M>,
    position: u64,
    /// R-I2: `first..first + len` are committed bytes of the ring, those from `position` on.
    first: usize,
    len: usize,
}

impl<'a, M: Trust> Bytes<'a, M> {
    #[inline]
    pub(super) fn new(reader: &'a mut Reader<M>, position: u64, len: usize) -> Self {
        let first = reader.end.slot(position);
        Self { reader, position, first, len }
    }

    /// How many there are; none in a forked child, and after `testing::kill`.
    #[inline]
    pub fn len(&self) -> usize {
        if self.reader.end.is_here() { self.len } else { 0 }
    }

    /// Whether there are none, which were asked for then.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Consumes all of them, and says how many: 0 in a forked child, and after `testing::kill`.
    #[inline]
    pub fn release(self) -> usize {
        self.reader.end.publish_some(self.position, self.len)
    }

    /// Consumes the first `n`, or all if there are fewer, and says how many; the others stay.
    #[inline]
    pub fn release_first(self, n: usize) -> usize {
        self.reader.end.publish_some(self.position, n.min(self.len))
    }
}

impl Bytes<'_, Checked> {
    /// Copies as many as fit, and says how many.
    #[inline]
    pub fn copy_to(&self, into: &mut [u8]) -> usize {
        let n = into.len().min(self.len());
        // SAFETY: R-I2 - the first `n` of these bytes.
        unsafe { self.reader.data.get_row(self.first, &mut into[..n]) };
        n
    }
}

impl core::ops::Deref for Bytes<'_, Trusted> {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        // SAFETY: R-I2 - committed bytes that nobody writes before they are released, by the contract of trust; the
        // slice borrows the guard.
        unsafe { self.reader.data.slots().slice(self.first, self.len()) }
    }
}

impl<M: Trust> fmt::Debug for Bytes<'_, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bytes").field("len", &self.len).finish_non_exhaustive()
    }
}
