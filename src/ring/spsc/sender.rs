//! The sending end.

use core::fmt;
use core::time::Duration;

use crate::error::SendError;
use crate::payload::Payload;
use crate::payload::sealed::Admitted;
use crate::ring::end::{End, Sending, Turn, Waiting};
use crate::ring::lease::State;
use crate::ring::position::{index, until_wrap};
use crate::segment::Owner;
use crate::shim::Slots;
use crate::trust::{Checked, Trust};

use super::Wait;
use super::guards::Grant;

/// Messages of so many bytes cost more for their own lines than for that of the tail.
const WIDE: usize = 32;

/// The right to send, and its holder: see [`Ring::try_sender`](super::Ring::try_sender).
///
/// A message is visible to the receiver before `send` returns. Dropped, or [`close`](Self::close)d, it tells the receiver
/// that this is the end; a successor reopens. Dropped while its thread panics, it counts as dead.
///
/// `Send`, neither `Sync` nor `Clone`: one at a time. In a forked child, and after `testing::kill`, all methods refuse, and
/// dropping does nothing.
///
/// ```
/// use outlive::{Segment, error::SendError, ring::spsc};
/// let segment = Segment::heap(1 << 16)?;
/// let ring = spsc::Ring::<u64>::create(&segment, "numbers", 2)?;
/// let mut sender = ring.try_sender()?;
/// sender.send(1)?;
/// sender.send(2)?;
/// assert_eq!(sender.try_send(3), Err(SendError::Full(3))); // the value comes back
/// assert_eq!(sender.position(), 2);
/// # Ok::<(), outlive::Error>(())
/// ```
pub struct Sender<T: Payload<M>, M: Trust = Checked> {
    pub(super) end: End<Sending>,
    pub(super) slots: Slots<T>,
    mode: core::marker::PhantomData<M>,
}

impl<T: Payload<M>, M: Trust> Sender<T, M> {
    pub(super) fn new(end: End<Sending>, slots: Slots<T>) -> Self {
        Self { end, slots, mode: core::marker::PhantomData }
    }

    /// Sends `value` if there is room. Wait-free; at most one system call, and that only if the ring stays full.
    ///
    /// Commits by one store. Killed before it, nothing was sent; after it, the message is in the ring.
    ///
    /// # Errors
    /// * `Full`.
    /// * `Closed`: the receiver has closed. At once, even if there is room, as for a pipe without readers; the message
    ///   after the one during which it closed is the first that may be refused.
    /// * `PeerDied`: full, and the receiver is dead. Found by the second look at the latest, if 20 ms lie in between.
    /// * `Fault`: `Corrupt`, `Forked`, `Killed`.
    #[inline]
    pub fn try_send(&mut self, value: T) -> Result<(), SendError<T>> {
        self.send_one(value, Waiting::No)
    }

    /// Sends `value`; waits for room as [`set_wait`](Self::set_wait) says.
    ///
    /// No system call while the receiver keeps up.
    ///
    /// ```
    /// use outlive::{Segment, ring::spsc};
    /// let segment = Segment::heap(1 << 16)?;
    /// let ring = spsc::Ring::<[u64; 2]>::create(&segment, "pairs", 64)?;
    /// ring.try_sender()?.send([1, 2])?;
    /// assert_eq!(ring.try_receiver()?.recv()?, [1, 2]);
    /// # Ok::<(), outlive::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`try_send`](Self::try_send), but never `Full`. A death is noticed within 100 ms.
    #[inline]
    pub fn send(&mut self, value: T) -> Result<(), SendError<T>> {
        self.send_one(value, Waiting::For(None))
    }

    /// Sends `value`; waits for room, but no longer than `timeout`.
    ///
    /// # Errors
    /// As [`try_send`](Self::try_send); `Full` means: still so.
    #[inline]
    pub fn send_timeout(&mut self, value: T, timeout: Duration) -> Result<(), SendError<T>> {
        self.send_one(value, Waiting::For(Some(timeout)))
    }

    #[inline]
    fn send_one(&mut self, value: T, waiting: Waiting) -> Result<(), SendError<T>> {
        let Some(turn) = self.end.next() else { return self.send_stuck(value, waiting) };
        self.put(turn, value);
        Ok(())
    }

    #[cold]
    #[inline(never)]
    fn send_stuck(&mut self, value: T, waiting: Waiting) -> Result<(), SendError<T>> {
        match self.end.stuck(waiting) {
            Ok(turn) => self.put(turn, value),
            Err(stuck) => return Err(stuck.refuse(value)),
        }
        Ok(())
    }

    #[inline]
    fn put(&mut self, turn: Turn, value: T) {
        // SAFETY: R-I2 - a slot of the ring, free and ours until the new tail is published.
        unsafe { <T as Admitted<M>>::store(&self.slots, self.end.slot(turn.position), value) };
        self.end.publish(turn);
        if size_of::<T>() >= WIDE {
            self.end.look_ahead_to_store(1, size_of::<T>());
        }
    }

    /// Sends as many of the first `values` as there is room for, with one commit, and says how many: at least one, or all
    /// of none.
    ///
    /// ```
    /// use outlive::{Segment, ring::spsc};
    /// let segment = Segment::heap(1 << 16)?;
    /// let ring = spsc::Ring::<u64>::create(&segment, "numbers", 4)?;
    /// assert_eq!(ring.try_sender()?.try_send_slice(&[1, 2, 3, 4, 5])?, 4);
    /// # Ok::<(), outlive::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`try_send`](Self::try_send). Then nothing was sent.
    #[inline]
    pub fn try_send_slice(&mut self, values: &[T]) -> Result<usize, SendError>
    where
        T: Copy,
    {
        let (position, n) = self.end.some(values.len() as u64, Waiting::No)?;
        let (values, _) = values.split_at(n);
        let (now, anew) = values.split_at(index(until_wrap(position, self.end.capacity())).min(n));
        // SAFETY: R-I2 - slots up to the wrap, free and ours until the new tail is published.
        unsafe { <T as Admitted<M>>::store_many(&self.slots, self.end.slot(position), now) };
        // SAFETY: R-I2 - as above; the rest of them begin at slot 0.
        unsafe { <T as Admitted<M>>::store_many(&self.slots, 0, anew) };
        Ok(self.end.publish_some(position, n))
    }

    /// Up to `max` free slots in a row, to be filled in place: at least one, at most up to the last slot of the ring.
    ///
    /// Asking for 0 gives an empty grant, whatever the state of the ring.
    ///
    /// ```
    /// use outlive::{Segment, ring::spsc};
    /// let segment = Segment::heap(1 << 16)?;
    /// let ring = spsc::Ring::<u64>::create(&segment, "numbers", 64)?;
    /// let mut sender = ring.try_sender()?;
    /// let mut grant = sender.try_reserve(10)?;
    /// grant.extend(0..7);
    /// assert_eq!(grant.commit(), 7); // without this, nothing is sent
    /// # Ok::<(), outlive::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`try_send`](Self::try_send).
    #[inline]
    pub fn try_reserve(&mut self, max: usize) -> Result<Grant<'_, T, M>, SendError> {
        self.grant(max, Waiting::No)
    }

    /// [`try_reserve`](Self::try_reserve), but waits for the first slot.
    ///
    /// # Errors
    /// As [`send`](Self::send).
    #[inline]
    pub fn reserve(&mut self, max: usize) -> Result<Grant<'_, T, M>, SendError> {
        self.grant(max, Waiting::For(None))
    }

    /// [`try_reserve`](Self::try_reserve), but waits for the first slot, no longer than `timeout`.
    ///
    /// # Errors
    /// As [`send_timeout`](Self::send_timeout).
    #[inline]
    pub fn reserve_timeout(&mut self, max: usize, timeout: Duration) -> Result<Grant<'_, T, M>, SendError> {
        self.grant(max, Waiting::For(Some(timeout)))
    }

    #[inline]
    fn grant(&mut self, max: usize, waiting: Waiting) -> Result<Grant<'_, T, M>, SendError> {
        let (position, capacity) = self.end.row(max, waiting)?;
        Ok(Grant::new(self, position, capacity))
    }

    /// How many messages were committed since the ring was created, by all its senders: where a successor carries on.
    ///
    /// 0 in a forked child, and after `testing::kill`.
    #[inline]
    pub fn position(&self) -> u64 {
        self.end.count()
    }

    /// Who has the receiver's role, dead or alive; `None` if nobody has it at the moment.
    pub fn peer(&self) -> Option<Owner> {
        self.end.peer()
    }

    /// With `yes`, a dead receiver is no error: its successor is waited for. `Closed` stays one. Default: no.
    pub fn wait_for_successor(&mut self, yes: bool) {
        self.end.wait_for_successor(yes);
    }

    /// How blocking operations wait. Default: [`Wait::Sleep`].
    pub fn set_wait(&mut self, how: Wait) {
        self.end.set_wait(how);
    }

    /// The end: once it has drained the ring, the receiver is told `Closed`. The same as dropping it.
    pub fn close(mut self) {
        self.end.leave(State::Closed);
    }

    /// Frees the role for a successor; the receiver is told nothing, and waits for it.
    ///
    /// ```
    /// use outlive::{Segment, error::RecvError, ring::spsc};
    /// let segment = Segment::heap(1 << 16)?;
    /// let ring = spsc::Ring::<u64>::create(&segment, "numbers", 64)?;
    /// ring.try_sender()?.resign();
    /// assert_eq!(ring.try_receiver()?.try_recv(), Err(RecvError::Empty));
    /// ring.try_sender()?.close();
    /// assert_eq!(ring.try_receiver()?.try_recv(), Err(RecvError::Closed));
    /// # Ok::<(), outlive::Error>(())
    /// ```
    pub fn resign(mut self) {
        self.end.leave(State::Vacant);
    }
}

impl<T: Payload<M>, M: Trust> fmt::Debug for Sender<T, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Sender").field(&self.end).finish()
    }
}

static_assertions::assert_impl_all!(Sender<u64>: Send);
static_assertions::assert_not_impl_any!(Sender<u64>: Sync, Clone);
