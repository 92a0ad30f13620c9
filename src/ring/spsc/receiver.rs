//! The receiving end.

use core::fmt;
use core::time::Duration;

use crate::error::RecvError;
use crate::payload::Payload;
use crate::payload::sealed::Admitted;
use crate::ring::end::{End, Receiving, Turn, Waiting};
use crate::ring::lease::State;
use crate::segment::Owner;
use crate::shim::Slots;
use crate::trust::{Checked, Trust};

use super::Wait;
use super::guards::Items;

/// The right to receive, and its holder: see [`Ring::try_receiver`](super::Ring::try_receiver).
///
/// Dropped, or [`close`](Self::close)d, it tells the sender that nobody reads any more; a successor reopens. Dropped while
/// its thread panics, it counts as dead. Messages that were not received stay in the ring, for the successor.
///
/// `Send`, neither `Sync` nor `Clone`: one at a time. In a forked child, and after `testing::kill`, all methods refuse, and
/// dropping does nothing.
///
/// ```
/// use outlive::{Segment, error::RecvError, ring::spsc};
/// let segment = Segment::heap(1 << 16)?;
/// let ring = spsc::Ring::<u64>::create(&segment, "numbers", 64)?;
/// let (mut sender, mut receiver) = (ring.try_sender()?, ring.try_receiver()?);
/// sender.send(7)?;
/// assert_eq!(receiver.try_recv()?, 7);
/// assert_eq!(receiver.try_recv(), Err(RecvError::Empty));
/// # Ok::<(), outlive::Error>(())
/// ```
pub struct Receiver<T: Payload<M>, M: Trust = Checked> {
    pub(super) end: End<Receiving>,
    pub(super) slots: Slots<T>,
    mode: core::marker::PhantomData<M>,
}

impl<T: Payload<M>, M: Trust> Receiver<T, M> {
    pub(super) fn new(end: End<Receiving>, slots: Slots<T>) -> Self {
        Self { end, slots, mode: core::marker::PhantomData }
    }

    /// Receives a message if there is one. Wait-free; at most one system call, and that only if the ring stays empty.
    ///
    /// Commits by one store, after the message was copied: a death before it leaves the message to the successor, a death
    /// after it takes the message along. To commit when the work is done, see [`try_read`](Self::try_read).
    ///
    /// # Errors
    /// * `Empty`.
    /// * `Closed`: the sender has closed, and everything was received.
    /// * `PeerDied`: the sender is dead, and everything that it committed was received. Found by the second look at the
    ///   latest, if 20 ms lie in between.
    /// * `Fault`: `Corrupt`, `Forked`, `Killed`.
    #[inline]
    pub fn try_recv(&mut self) -> Result<T, RecvError> {
        self.recv_one(Waiting::No)
    }

    /// Receives a message; waits for it as [`set_wait`](Self::set_wait) says.
    ///
    /// No system call while the sender keeps up.
    ///
    /// # Errors
    /// As [`try_recv`](Self::try_recv), but never `Empty`. A death is noticed within 100 ms.
    #[inline]
    pub fn recv(&mut self) -> Result<T, RecvError> {
        self.recv_one(Waiting::For(None))
    }

    /// Receives a message; waits for it, but no longer than `timeout`.
    ///
    /// ```
    /// use outlive::{Segment, error::RecvError, ring::spsc};
    /// use std::time::Duration;
    /// let segment = Segment::heap(1 << 16)?;
    /// let mut receiver = spsc::Ring::<u64>::create(&segment, "numbers", 64)?.try_receiver()?;
    /// assert_eq!(receiver.recv_timeout(Duration::from_millis(1)), Err(RecvError::Empty));
    /// # Ok::<(), outlive::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`try_recv`](Self::try_recv); `Empty` means: still so.
    #[inline]
    pub fn recv_timeout(&mut self, timeout: Duration) -> Result<T, RecvError> {
        self.recv_one(Waiting::For(Some(timeout)))
    }

    #[inline]
    fn recv_one(&mut self, waiting: Waiting) -> Result<T, RecvError> {
        match self.end.next() {
            Some(turn) => Ok(self.take(turn)),
            None => self.recv_stuck(waiting),
        }
    }

    #[cold]
    #[inline(never)]
    fn recv_stuck(&mut self, waiting: Waiting) -> Result<T, RecvError> {
        let turn = self.end.stuck(waiting)?;
        Ok(self.take(turn))
    }

    #[inline]
    fn take(&mut self, turn: Turn) -> T {
        // SAFETY: R-I2 - a slot of the ring with a message that is ours until the new head is published.
        let value = unsafe { <T as Admitted<M>>::load(&self.slots, self.end.slot(turn.position)) };
        self.end.publish(turn);
        value
    }

    /// Up to `max` messages in a row, to be read where they are: at least one, at most up to the last slot of the ring.
    ///
    /// They are consumed by [`Items::release`]; a death before it, or dropping them, leaves them in the ring. Asking for 0
    /// gives none, whatever the state of the ring.
    ///
    /// ```
    /// use outlive::{Segment, ring::spsc};
    /// let segment = Segment::heap(1 << 16)?;
    /// let ring = spsc::Ring::<u64>::create(&segment, "numbers", 64)?;
    /// let (mut sender, mut receiver) = (ring.try_sender()?, ring.try_receiver()?);
    /// sender.try_send_slice(&[1, 2, 3])?;
    /// let items = receiver.try_read(usize::MAX)?;
    /// assert_eq!(items.iter().sum::<u64>(), 6);
    /// assert_eq!(items.release_first(2), 2);
    /// assert_eq!(receiver.recv()?, 3);
    /// # Ok::<(), outlive::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`try_recv`](Self::try_recv).
    #[inline]
    pub fn try_read(&mut self, max: usize) -> Result<Items<'_, T, M>, RecvError> {
        self.items(max, Waiting::No)
    }

    /// [`try_read`](Self::try_read), but waits for the first message.
    ///
    /// # Errors
    /// As [`recv`](Self::recv).
    #[inline]
    pub fn read(&mut self, max: usize) -> Result<Items<'_, T, M>, RecvError> {
        self.items(max, Waiting::For(None))
    }

    /// [`try_read`](Self::try_read), but waits for the first message, no longer than `timeout`.
    ///
    /// # Errors
    /// As [`recv_timeout`](Self::recv_timeout).
    #[inline]
    pub fn read_timeout(&mut self, max: usize, timeout: Duration) -> Result<Items<'_, T, M>, RecvError> {
        self.items(max, Waiting::For(Some(timeout)))
    }

    #[inline]
    fn items(&mut self, max: usize, waiting: Waiting) -> Result<Items<'_, T, M>, RecvError> {
        let (position, len) = self.end.row(max, waiting)?;
        Ok(Items::new(self, position, len))
    }

    /// One message after the other, as [`recv`](Self::recv). Ends when the sender has closed and all is received, and after
    /// an error, which is its last item.
    ///
    /// ```
    /// use outlive::{Segment, ring::spsc};
    /// let segment = Segment::heap(1 << 16)?;
    /// let ring = spsc::Ring::<u64>::create(&segment, "numbers", 64)?;
    /// let mut sender = ring.try_sender()?;
    /// sender.try_send_slice(&[1, 2, 3])?;
    /// sender.close();
    /// let numbers: Result<Vec<_>, _> = ring.try_receiver()?.iter().collect();
    /// assert_eq!(numbers?, [1, 2, 3]);
    /// # Ok::<(), outlive::Error>(())
    /// ```
    pub fn iter(&mut self) -> impl Iterator<Item = Result<T, RecvError>> {
        let mut over = false;
        core::iter::from_fn(move || {
            if over {
                return None;
            }
            let item = self.recv();
            over = item.is_err();
            (item.as_ref().err() != Some(&RecvError::Closed)).then_some(item)
        })
    }

    /// How many messages were consumed since the ring was created, by all its receivers.
    ///
    /// 0 in a forked child, and after `testing::kill`.
    #[inline]
    pub fn position(&self) -> u64 {
        self.end.count()
    }

    /// Who has the sender's role, dead or alive; `None` if nobody has it at the moment.
    pub fn peer(&self) -> Option<Owner> {
        self.end.peer()
    }

    /// With `yes`, a dead sender is no error: its successor is waited for. `Closed` stays one. Default: no.
    pub fn wait_for_successor(&mut self, yes: bool) {
        self.end.wait_for_successor(yes);
    }

    /// How blocking operations wait. Default: [`Wait::Sleep`].
    pub fn set_wait(&mut self, how: Wait) {
        self.end.set_wait(how);
    }

    /// The end: the sender is told `Closed`, even if there is room. The same as dropping it.
    pub fn close(mut self) {
        self.end.leave(State::Closed);
    }

    /// Frees the role for a successor; the sender is told nothing, and waits for it when the ring is full.
    pub fn resign(mut self) {
        self.end.leave(State::Vacant);
    }
}

impl<T: Payload<M>, M: Trust> fmt::Debug for Receiver<T, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Receiver").field(&self.end).finish()
    }
}

static_assertions::assert_impl_all!(Receiver<u64>: Send);
static_assertions::assert_not_impl_any!(Receiver<u64>: Sync, Clone);
