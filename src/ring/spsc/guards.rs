//! Slots in place: room to be filled, messages to be read.
//!
//! One rule for both: dropped, it undoes (there is nothing to do for that); the verb commits, by one store.

use core::fmt;
use core::mem::MaybeUninit;

use crate::payload::sealed::Admitted;
use crate::payload::{Payload, Shared};
use crate::trust::{Checked, Trust, Trusted};
use bytemuck::AnyBitPattern;

use super::receiver::Receiver;
use super::sender::Sender;

/// Free slots in a row. The filled ones, a prefix as in a `Vec`, are sent by [`commit`](Self::commit), with one store.
///
/// Dropped, nothing was sent. Killed before the commit, nothing was sent either; after it, all of them were.
///
/// ```
/// use outlive::{Segment, ring::spsc};
/// let segment = Segment::heap(1 << 16)?;
/// let ring = spsc::Ring::<u64>::create(&segment, "numbers", 4)?;
/// let mut sender = ring.try_sender()?;
/// let mut grant = sender.try_reserve(2)?;
/// assert_eq!((grant.push(1), grant.push(2), grant.push(3)), (Ok(()), Ok(()), Err(3)));
/// assert_eq!(grant.commit(), 2);
/// # Ok::<(), outlive::Error>(())
/// ```
#[must_use = "dropped, nothing is sent: `commit` it"]
pub struct Grant<'a, T: Payload<M>, M: Trust = Checked> {
    sender: &'a mut Sender<T, M>,
    position: u64,
    /// R-I2: `first..first + capacity` are free slots of the ring, those from `position` on.
    first: usize,
    capacity: usize,
    /// At most `capacity`.
    filled: usize,
}

impl<'a, T: Payload<M>, M: Trust> Grant<'a, T, M> {
    #[inline]
    pub(super) fn new(sender: &'a mut Sender<T, M>, position: u64, capacity: usize) -> Self {
        let first = sender.end.slot(position);
        Self { sender, position, first, capacity, filled: 0 }
    }

    /// How many slots there are, filled or not.
    #[inline]
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// How many of them are filled, and would be sent.
    #[inline]
    pub fn len(&self) -> usize {
        self.filled
    }

    /// Whether none is filled.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.filled == 0
    }

    /// The slots that can be filled yet: none in a forked child, where they are the parent's.
    #[inline]
    fn left(&self) -> usize {
        if self.sender.end.is_here() { self.capacity - self.filled } else { 0 }
    }

    /// Fills the next slot.
    ///
    /// # Errors
    /// All are filled: the value comes back.
    #[inline]
    pub fn push(&mut self, value: T) -> Result<(), T> {
        if self.left() == 0 {
            return Err(value);
        }
        // SAFETY: R-I2 - a free slot of the grant.
        unsafe { <T as Admitted<M>>::store(&self.sender.slots, self.first + self.filled, value) };
        self.filled += 1;
        Ok(())
    }

    /// Fills slots until there are none left, or no values; says how many. What does not fit is not taken from the
    /// iterator.
    #[inline]
    pub fn extend(&mut self, values: impl IntoIterator<Item = T>) -> usize {
        let mut filled = self.filled;
        let values = values.into_iter().take(self.left());
        for value in values {
            if !self.sender.end.is_here() {
                break; // the iterator has forked, or killed us
            }
            // SAFETY: R-I2 - a free slot of the grant: no more are taken than there are.
            unsafe { <T as Admitted<M>>::store(&self.sender.slots, self.first + filled, value) };
            filled += 1;
        }
        let more = filled - self.filled;
        self.filled = filled;
        more
    }

    /// Sends what was filled, and says how much that was: 0 in a forked child, and after `testing::kill`.
    #[inline]
    pub fn commit(self) -> usize {
        self.sender.end.publish_some(self.position, self.filled)
    }
}

impl<T: Shared> Grant<'_, T, Trusted> {
    /// The slots that are not filled yet, in place. What is written there counts after [`set_len`](Self::set_len).
    #[inline]
    pub fn spare(&mut self) -> &mut [MaybeUninit<T>] {
        let left = self.left();
        // SAFETY: R-I2 - free slots of the grant; nobody else uses them, by the contract of trust, and only one slice
        // of them lives at a time, as it borrows the grant.
        unsafe { self.sender.slots.slice_mut(self.first + self.filled, left) }
    }

    /// Says how many slots are filled, from the first on; at most all of them.
    ///
    /// # Safety
    /// The first `n` slots hold values: they were pushed, or written through [`spare`](Self::spare).
    #[inline]
    pub unsafe fn set_len(&mut self, n: usize) {
        self.filled = n.min(self.capacity);
    }

    /// All the slots, in place. They count as filled, with whatever bytes are there.
    ///
    /// ```
    /// use outlive::{Segment, Trusted, ring::spsc};
    /// // SAFETY: heap memory of this process, which only this program writes, through this crate.
    /// let segment = unsafe { Segment::heap(1 << 16)?.trust() };
    /// let ring = spsc::Ring::<[f32; 256], Trusted>::create(&segment, "frames", 8)?;
    /// let mut sender = ring.try_sender()?;
    /// let mut grant = sender.try_reserve(1)?;
    /// grant.as_mut_slice()[0].fill(0.5);
    /// assert_eq!(grant.commit(), 1);
    /// let mut receiver = ring.try_receiver()?;
    /// let items = receiver.try_read(1)?;
    /// assert_eq!(items[0][255], 0.5);
    /// items.release();
    /// # Ok::<(), outlive::Error>(())
    /// ```
    #[inline]
    pub fn as_mut_slice(&mut self) -> &mut [T]
    where
        T: AnyBitPattern,
    {
        let here = self.sender.end.is_here();
        self.filled = if here { self.capacity } else { 0 }; // in a forked child the slots are the parent's
        // SAFETY: R-I2 - the slots of the grant, as in `spare`.
        let slots = unsafe { self.sender.slots.slice_mut(self.first, self.filled) };
        // SAFETY: R-I2 - the same slots: shared memory is initialised, and any bytes are a `T`; the borrow is handed on.
        unsafe { core::slice::from_raw_parts_mut(slots.as_mut_ptr().cast(), slots.len()) }
    }
}

impl<T: Payload<M>, M: Trust> fmt::Debug for Grant<'_, T, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Grant")
            .field("filled", &self.filled)
            .field("capacity", &self.capacity)
            .finish_non_exhaustive()
    }
}

/// Messages in a row, where they are. They are consumed by [`release`](Self::release), with one store.
///
/// Dropped, none was consumed: the next `recv` or `read` gets them again. A receiver that is killed before the release
/// leaves them to its successor.
///
/// In mode `Checked` messages are copied out, by `get`, `iter` or `copy_to`; in mode `Trusted` this is a slice of them.
#[must_use = "dropped, nothing is consumed: `release` them"]
pub struct Items<'a, T: Payload<M>, M: Trust = Checked> {
    receiver: &'a mut Receiver<T, M>,
    position: u64,
    /// R-I2: `first..first + len` are slots of the ring with messages, those from `position` on.
    first: usize,
    len: usize,
}

impl<'a, T: Payload<M>, M: Trust> Items<'a, T, M> {
    #[inline]
    pub(super) fn new(receiver: &'a mut Receiver<T, M>, position: u64, len: usize) -> Self {
        let first = receiver.end.slot(position);
        Self { receiver, position, first, len }
    }

    /// How many there are; none in a forked child, and after `testing::kill`.
    #[inline]
    pub fn len(&self) -> usize {
        if self.receiver.end.is_here() { self.len } else { 0 }
    }

    /// Whether there are none, which were asked for then.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Consumes all of them, and says how many: 0 in a forked child, and after `testing::kill`.
    #[inline]
    pub fn release(self) -> usize {
        self.receiver.end.publish_some(self.position, self.len)
    }

    /// Consumes the first `n`, or all if there are fewer, and says how many; the others stay.
    #[inline]
    pub fn release_first(self, n: usize) -> usize {
        self.receiver.end.publish_some(self.position, n.min(self.len))
    }
}

impl<T: Payload<Checked>> Items<'_, T, Checked> {
    /// A copy of message `i`, counted from 0.
    #[inline]
    pub fn get(&self, i: usize) -> Option<T> {
        // SAFETY: R-I2 - one of the messages.
        (i < self.len())
            .then(|| unsafe { <T as Admitted<Checked>>::load(&self.receiver.slots, self.first + i) })
    }

    /// Copies of all messages.
    #[inline]
    pub fn iter(&self) -> impl ExactSizeIterator<Item = T> {
        (self.first..self.first + self.len()).map(|slot| {
            // SAFETY: R-I2 - one of the messages.
            unsafe { <T as Admitted<Checked>>::load(&self.receiver.slots, slot) }
        })
    }

    /// Copies as many as fit, and says how many.
    ///
    /// ```
    /// use outlive::{Segment, ring::spsc};
    /// let segment = Segment::heap(1 << 16)?;
    /// let ring = spsc::Ring::<u64>::create(&segment, "numbers", 64)?;
    /// let (mut sender, mut receiver) = (ring.try_sender()?, ring.try_receiver()?);
    /// sender.try_send_slice(&[1, 2, 3])?;
    /// let mut buffer = [0; 2];
    /// let items = receiver.try_read(64)?;
    /// let copied = items.copy_to(&mut buffer);
    /// assert_eq!((copied, buffer), (2, [1, 2]));
    /// items.release_first(copied);
    /// # Ok::<(), outlive::Error>(())
    /// ```
    #[inline]
    pub fn copy_to(&self, into: &mut [T]) -> usize {
        let n = into.len().min(self.len());
        // SAFETY: R-I7 - the first `n` of the caller's values.
        let into = unsafe { core::slice::from_raw_parts_mut(into.as_mut_ptr().cast::<MaybeUninit<T>>(), n) };
        // SAFETY: R-I2 - the first `n` messages.
        unsafe { <T as Admitted<Checked>>::load_many(&self.receiver.slots, self.first, into) };
        n
    }
}

impl<T: Shared> core::ops::Deref for Items<'_, T, Trusted> {
    type Target = [T];

    #[inline]
    fn deref(&self) -> &[T] {
        // SAFETY: R-I2 - messages that were written as `T`, and that nobody writes before they are released, by the
        // contract of trust; the slice borrows the guard.
        unsafe { self.receiver.slots.slice(self.first, self.len()) }
    }
}

impl<T: Payload<M>, M: Trust> fmt::Debug for Items<'_, T, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Items").field("len", &self.len).finish_non_exhaustive()
    }
}
