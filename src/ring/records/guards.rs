//! Records in place: room to be filled, a record to be read.
//!
//! One rule for both: dropped, it undoes (there is nothing to do for that); the verb commits, by one store.

use core::fmt;
use core::mem::MaybeUninit;
use std::io;

use crate::segment::Owner;
use crate::trust::{Checked, Trust, Trusted};

use super::receiver::{Frame, Receiver};
use super::sender::{Room, Sender};

/// Room for one record. What is filled, a prefix as in a `Vec`, is sent by [`commit`](Self::commit), with one store.
///
/// Dropped, nothing was sent. Killed before the commit, nothing was sent either; after it, the whole record was.
///
/// ```
/// use outlive::{Segment, ring::records};
/// use std::io::Write;
/// let segment = Segment::heap(1 << 16)?;
/// let ring: records::Ring = records::Ring::create(&segment, "lines", 4096)?;
/// let mut sender = ring.try_sender()?;
/// let mut grant = sender.try_reserve(80)?;
/// writeln!(grant, "{} of {}", 1, 2)?;
/// assert_eq!(grant.commit(), 7);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use = "dropped, nothing is sent: `commit` it"]
pub struct Grant<'a, M: Trust = Checked> {
    sender: &'a mut Sender<M>,
    /// B-I3: room for a record of `capacity` bytes.
    room: Room,
    capacity: usize,
    /// At most `capacity`.
    filled: usize,
}

impl<'a, M: Trust> Grant<'a, M> {
    #[inline]
    pub(super) fn new(sender: &'a mut Sender<M>, room: Room, capacity: usize) -> Self {
        Self { sender, room, capacity, filled: 0 }
    }

    /// How many bytes there are, filled or not: as many as were asked for.
    #[inline]
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// How many of them are filled, and would be sent.
    #[inline]
    pub fn len(&self) -> usize {
        self.filled
    }

    /// Whether none is filled: then an empty record would be sent.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.filled == 0
    }

    /// The bytes that can be filled yet: none in a forked child, where they are the parent's.
    #[inline]
    fn left(&self) -> usize {
        if self.sender.end.is_here() { self.capacity - self.filled } else { 0 }
    }

    /// Fills in as many of the first `bytes` as there is room for, and says how many.
    #[inline]
    pub fn extend_from_slice(&mut self, bytes: &[u8]) -> usize {
        let n = bytes.len().min(self.left());
        self.sender.area.append(self.room.bytes(), self.filled, &bytes[..n]);
        self.filled += n;
        n
    }

    /// Sends what was filled as one record, and says how many bytes that were. In a forked child, and after `testing::kill`,
    /// nothing: 0.
    #[inline]
    pub fn commit(self) -> usize {
        if self.sender.commit(self.room, self.filled) { self.filled } else { 0 }
    }
}

impl Grant<'_, Trusted> {
    /// The bytes that are not filled yet, in place. What is written there counts after [`set_len`](Self::set_len).
    #[inline]
    pub fn spare(&mut self) -> &mut [MaybeUninit<u8>] {
        let end = self.filled + self.left();
        // SAFETY: B-I3 - bytes of the room; nobody else uses them, by the contract of trust, and only one slice
        // of them lives at a time, as it borrows the grant.
        unsafe { self.sender.area.slice_mut(self.room.bytes(), self.filled, end) }
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
    /// use outlive::{Segment, Trusted, ring::records};
    /// // SAFETY: heap memory of this process, which only this program writes, through this crate.
    /// let segment = unsafe { Segment::heap(1 << 16)?.trust() };
    /// let ring = records::Ring::<Trusted>::create(&segment, "frames", 1 << 14)?;
    /// let (mut sender, mut receiver) = (ring.try_sender()?, ring.try_receiver()?);
    /// let mut grant = sender.try_reserve(1024)?;
    /// grant.as_mut_slice().fill(7);
    /// assert_eq!(grant.commit(), 1024);
    /// let record = receiver.try_read()?;
    /// assert!(record.iter().all(|byte| *byte == 7));
    /// record.release();
    /// # Ok::<(), outlive::Error>(())
    /// ```
    #[inline]
    pub fn as_mut_slice(&mut self) -> &mut [u8] {
        let here = self.sender.end.is_here();
        self.filled = if here { self.capacity } else { 0 }; // in a forked child they are the parent's
        // SAFETY: B-I3 - bytes of the room, as in `spare`.
        let bytes = unsafe { self.sender.area.slice_mut(self.room.bytes(), 0, self.filled) };
        // SAFETY: B-I3 - the same bytes: shared memory is initialised; the borrow is handed on.
        unsafe { core::slice::from_raw_parts_mut(bytes.as_mut_ptr().cast(), bytes.len()) }
    }
}

/// As for a `&mut [u8]`: a grant that is full takes 0 bytes more.
impl<M: Trust> io::Write for Grant<'_, M> {
    #[inline]
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(self.extend_from_slice(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
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

/// A record, where it is. It is consumed by [`release`](Self::release), with one store.
///
/// Dropped, it was not consumed: the next `recv` or `read` gets it again. A receiver that is killed before the release
/// leaves it to its successor.
///
/// In mode `Checked` it is copied out, by `copy_to` or `to_vec`; in mode `Trusted` this is a slice of its bytes.
#[must_use = "dropped, it is not consumed: `release` it"]
pub struct Record<'a, M: Trust = Checked> {
    receiver: &'a mut Receiver<M>,
    frame: Frame,
}

impl<'a, M: Trust> Record<'a, M> {
    #[inline]
    pub(super) fn new(receiver: &'a mut Receiver<M>, frame: Frame) -> Self {
        Self { receiver, frame }
    }

    /// Who committed it: a word of the sender's, so true of whom you trust.
    #[inline]
    pub fn sender(&self) -> Owner {
        self.frame.sender
    }

    /// How many bytes it has; 0 in a forked child, and after `testing::kill`.
    #[inline]
    pub fn len(&self) -> usize {
        if self.receiver.end.is_here() { self.frame.len } else { 0 }
    }

    /// Whether it has none.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Consumes it, and says whether it did: not in a forked child, nor after `testing::kill`.
    #[inline]
    pub fn release(self) -> bool {
        self.receiver.release(self.frame)
    }
}

impl Record<'_, Checked> {
    /// Copies as many of its first bytes as fit, and says how many.
    #[inline]
    pub fn copy_to(&self, into: &mut [u8]) -> usize {
        let n = into.len().min(self.len());
        self.receiver.area.get(self.frame.bytes, &mut into[..n]);
        n
    }

    /// A copy of it.
    #[inline]
    pub fn to_vec(&self) -> Vec<u8> {
        let mut copy = Vec::new();
        self.receiver.area.read_to(self.frame.bytes, self.len(), &mut copy);
        copy
    }
}

impl core::ops::Deref for Record<'_, Trusted> {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        let (area, len) = (&self.receiver.area, self.len());
        if !area.is_in_a_row(self.frame.bytes, len) {
            return &self.receiver.scratch[..len];
        }
        // SAFETY: B-I3 - a record, which nobody writes before it is released, by the contract of trust; the slice borrows
        // the guard.
        unsafe { area.slice(self.frame.bytes, len) }
    }
}

impl<M: Trust> fmt::Debug for Record<'_, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Record")
            .field("sender", &self.sender())
            .field("len", &self.len())
            .finish_non_exhaustive()
    }
}
