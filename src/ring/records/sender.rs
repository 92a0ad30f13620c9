//! The sending end.

use core::fmt;
use core::marker::PhantomData;
use core::time::Duration;

use crate::error::SendError;
use crate::ring::end::{End, Sending, Waiting};
use crate::ring::lease::State;
use crate::ring::position::{index, until_wrap};
use crate::segment::Owner;
use crate::trust::{Checked, Trust};

use super::Wait;
use super::area::Area;
use super::guards::Grant;
use super::layout::{FrameHeader, WORD, framed};

/// The right to send, and its holder: see [`Ring::try_sender`](super::Ring::try_sender).
///
/// A record is visible to the receiver before `send` returns: all of it or nothing. Dropped, or [`close`](Self::close)d, it
/// tells the receiver that this is the end; a successor reopens. Dropped while its thread panics, it counts as dead.
///
/// `Send`, neither `Sync` nor `Clone`: one at a time. In a forked child, and after `testing::kill`, all methods refuse, and
/// dropping does nothing.
///
/// ```
/// use outlive::{Segment, error::SendError, ring::records};
/// let segment = Segment::heap(1 << 16)?;
/// let ring: records::Ring = records::Ring::create(&segment, "lines", 64)?;
/// let mut sender = ring.try_sender()?;
/// sender.send(b"one")?;
/// sender.send(b"")?; // an empty record is one
/// assert_eq!(sender.position(), 2);
/// assert_eq!(sender.send(&[0; 25]), Err(SendError::TooLarge((), 24)));
/// # Ok::<(), outlive::Error>(())
/// ```
pub struct Sender<M: Trust = Checked> {
    pub(super) end: End<Sending>,
    pub(super) area: Area,
    /// Bytes of the longest record.
    longest: usize,
    /// Of our records.
    header: FrameHeader,
    /// Records so far.
    count: u64,
    mode: PhantomData<M>,
}

/// Where a record is to stand.
#[derive(Clone, Copy, Debug)]
pub(super) struct Room {
    /// The position that is published: behind it there is a pad, or nothing.
    start: u64,
    /// Where its header stands.
    frame: u64,
}

impl Room {
    /// Where its bytes stand.
    #[inline]
    pub(super) fn bytes(&self) -> u64 {
        self.frame.wrapping_add(WORD)
    }
}

impl<M: Trust> Sender<M> {
    pub(super) fn new(end: End<Sending>, count: u64, area: Area, longest: usize, owner: Owner) -> Self {
        Self { end, area, longest, header: FrameHeader::of_sender(owner), count, mode: PhantomData }
    }

    /// Sends a record if there is room. Wait-free; at most one system call, and that only if the ring stays full.
    ///
    /// Commits by one store. Killed before it, nothing was sent; after it, the whole record is in the ring.
    ///
    /// # Errors
    /// * `Full`.
    /// * `TooLarge`: it is longer than [`Ring::longest`](super::Ring::longest), now and always.
    /// * `Closed`: the receiver has closed. At once, even if there is room, as for a pipe without readers; the record
    ///   after the one during which it closed is the first that may be refused.
    /// * `PeerDied`: full, and the receiver is dead. Found by the second look at the latest, if 20 ms lie in between.
    /// * `Fault`: `Corrupt`, `Forked`, `Killed`.
    #[inline]
    pub fn try_send(&mut self, record: &[u8]) -> Result<(), SendError> {
        self.send_one(record, Waiting::No)
    }

    /// Sends a record; waits for room as [`set_wait`](Self::set_wait) says.
    ///
    /// No system call while the receiver keeps up.
    ///
    /// # Errors
    /// As [`try_send`](Self::try_send), but never `Full`. A death is noticed within 100 ms.
    #[inline]
    pub fn send(&mut self, record: &[u8]) -> Result<(), SendError> {
        self.send_one(record, Waiting::For(None))
    }

    /// Sends a record; waits for room, but no longer than `timeout`.
    ///
    /// # Errors
    /// As [`try_send`](Self::try_send); `Full` means: still so.
    #[inline]
    pub fn send_timeout(&mut self, record: &[u8], timeout: Duration) -> Result<(), SendError> {
        self.send_one(record, Waiting::For(Some(timeout)))
    }

    #[inline]
    fn send_one(&mut self, record: &[u8], waiting: Waiting) -> Result<(), SendError> {
        let room = self.room(record.len(), waiting)?;
        self.area.put(room.bytes(), record);
        self.set_headers(room, record.len());
        if self.publish(room, record.len()) { Ok(()) } else { Err(self.end.gone().into()) }
    }

    /// Room for a record of `len` bytes.
    #[inline]
    fn room(&mut self, len: usize, waiting: Waiting) -> Result<Room, SendError> {
        if len > self.longest {
            return Err(SendError::TooLarge((), self.longest as u64));
        }
        let framed = framed(len as u64);
        let start = self.end.position();
        if self.area.is_in_a_row(start, index(framed)) {
            self.end.at_least(framed, waiting)?;
            Ok(Room { start, frame: start })
        } else {
            self.room_behind_pad(start, framed, waiting)
        }
    }

    #[cold]
    fn room_behind_pad(&mut self, start: u64, framed: u64, waiting: Waiting) -> Result<Room, SendError> {
        let pad = until_wrap(start, self.end.capacity());
        self.end.at_least(pad + framed, waiting)?;
        Ok(Room { start, frame: start.wrapping_add(pad) })
    }

    /// Sends what stands in the room: `len` bytes, no more than were asked for. `false` in a forked child, and after
    /// `testing::kill`.
    #[inline]
    pub(super) fn commit(&mut self, room: Room, len: usize) -> bool {
        if !self.end.is_here() {
            return false; // in a forked child the room is the parent's
        }
        self.area.seal(room.bytes(), len);
        self.set_headers(room, len);
        self.publish(room, len)
    }

    #[inline]
    fn set_headers(&self, room: Room, len: usize) {
        self.area.set_header(room.frame, self.header.with_len(len));
        if room.frame != room.start {
            self.area.set_header(room.start, FrameHeader::pad(room.frame.wrapping_sub(room.start)));
        }
    }

    #[inline]
    fn publish(&mut self, room: Room, len: usize) -> bool {
        let count = self.count.wrapping_add(1);
        let n = room.bytes().wrapping_sub(room.start) + (framed(len as u64) - WORD);
        let sent = self.end.publish_counted(room.start, n, count);
        if sent {
            self.count = count;
            self.end.look_ahead_to_store(n, 1);
        }
        sent
    }

    /// Room for a record of up to `len` bytes, to be filled in place. What is filled by the time of the commit is sent.
    ///
    /// ```
    /// use outlive::{Segment, ring::records};
    /// let segment = Segment::heap(1 << 16)?;
    /// let ring: records::Ring = records::Ring::create(&segment, "lines", 4096)?;
    /// let (mut sender, mut receiver) = (ring.try_sender()?, ring.try_receiver()?);
    /// let mut grant = sender.try_reserve(100)?;
    /// grant.extend_from_slice(b"a number: ");
    /// grant.extend_from_slice(&7_u32.to_le_bytes());
    /// assert_eq!(grant.commit(), 14); // without this, nothing is sent
    /// assert_eq!(receiver.try_read()?.to_vec(), b"a number: \x07\0\0\0");
    /// # Ok::<(), outlive::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`try_send`](Self::try_send).
    #[inline]
    pub fn try_reserve(&mut self, len: usize) -> Result<Grant<'_, M>, SendError> {
        self.grant(len, Waiting::No)
    }

    /// [`try_reserve`](Self::try_reserve), but waits for room.
    ///
    /// # Errors
    /// As [`send`](Self::send).
    #[inline]
    pub fn reserve(&mut self, len: usize) -> Result<Grant<'_, M>, SendError> {
        self.grant(len, Waiting::For(None))
    }

    /// [`try_reserve`](Self::try_reserve), but waits for room, no longer than `timeout`.
    ///
    /// # Errors
    /// As [`send_timeout`](Self::send_timeout).
    #[inline]
    pub fn reserve_timeout(&mut self, len: usize, timeout: Duration) -> Result<Grant<'_, M>, SendError> {
        self.grant(len, Waiting::For(Some(timeout)))
    }

    #[inline]
    fn grant(&mut self, len: usize, waiting: Waiting) -> Result<Grant<'_, M>, SendError> {
        let room = self.room(len, waiting)?;
        Ok(Grant::new(self, room, len))
    }

    /// How many records were committed since the ring was created, by all its senders: where a successor carries on.
    ///
    /// 0 in a forked child, and after `testing::kill`.
    #[inline]
    pub fn position(&self) -> u64 {
        if self.end.is_here() { self.count } else { 0 }
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
    pub fn resign(mut self) {
        self.end.leave(State::Vacant);
    }
}

impl<M: Trust> fmt::Debug for Sender<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sender")
            .field("records", &self.position())
            .field("end", &self.end)
            .finish_non_exhaustive()
    }
}

static_assertions::assert_impl_all!(Sender: Send);
static_assertions::assert_not_impl_any!(Sender: Sync, Clone);
