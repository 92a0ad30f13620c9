//! The receiving end.

use core::fmt;
use core::marker::PhantomData;
use core::time::Duration;

use crate::error::RecvError;
use crate::ring::end::{End, Receiving, Stuck, Waiting};
use crate::ring::lease::State;
use crate::ring::position::{index, until_wrap};
use crate::segment::Owner;
use crate::trust::{Checked, Trust};

use super::Wait;
use super::area::Area;
use super::guards::Record;
use super::layout::{FrameHeader, WORD, framed};

/// The right to receive, and its holder: see [`Ring::try_receiver`](super::Ring::try_receiver).
///
/// Dropped, or [`close`](Self::close)d, it tells the sender that nobody reads any more; a successor reopens. Dropped while
/// its thread panics, it counts as dead. Records that were not received stay in the ring, for the successor.
///
/// `Send`, neither `Sync` nor `Clone`: one at a time. In a forked child, and after `testing::kill`, all methods refuse, and
/// dropping does nothing.
///
/// ```
/// use outlive::{Segment, error::RecvError, ring::records};
/// let segment = Segment::heap(1 << 16)?;
/// let ring: records::Ring = records::Ring::create(&segment, "lines", 4096)?;
/// let (mut sender, mut receiver) = (ring.try_sender()?, ring.try_receiver()?);
/// sender.send(b"seven")?;
/// let mut line = Vec::new(); // one for all records: it keeps its memory
/// assert_eq!(receiver.try_recv(&mut line)?, 5);
/// assert_eq!(line, b"seven");
/// assert_eq!(receiver.last_sender(), Some(segment.owner()));
/// assert_eq!(receiver.try_recv(&mut line), Err(RecvError::Empty));
/// # Ok::<(), outlive::Error>(())
/// ```
pub struct Receiver<M: Trust = Checked> {
    pub(super) end: End<Receiving>,
    pub(super) area: Area,
    /// Records may cross the end of the area.
    mirrored: bool,
    /// Records so far.
    count: u64,
    last_sender: Option<Owner>,
    /// Trusted: a copy of the record that is being read, if it does not lie in one piece.
    pub(super) scratch: Vec<u8>,
    mode: PhantomData<M>,
}

/// A record in the ring.
#[derive(Clone, Copy, Debug)]
pub(super) struct Frame {
    /// The position that was published last: here it is, or a pad and then it.
    start: u64,
    /// Where its bytes stand.
    pub(super) bytes: u64,
    pub(super) len: usize,
    pub(super) sender: Owner,
}

impl<M: Trust> Receiver<M> {
    pub(super) fn new(end: End<Receiving>, count: u64, area: Area, mirrored: bool) -> Self {
        Self { end, area, mirrored, count, last_sender: None, scratch: Vec::new(), mode: PhantomData }
    }

    /// Receives a record if there is one, and says how long it is: it replaces the contents of `into`, which keeps its memory.
    /// Wait-free; at most one system call, and that only if the ring stays empty.
    ///
    /// Commits by one store, after the record was copied: a death before it leaves the record to the successor, a death
    /// after it takes the record along. To commit when the work is done, see [`try_read`](Self::try_read).
    ///
    /// # Errors
    /// Then `into` is as it was (unless `testing::kill` came in between).
    /// * `Empty`.
    /// * `Closed`: the sender has closed, and everything was received.
    /// * `PeerDied`: the sender is dead, and everything that it committed was received. Found by the second look at the
    ///   latest, if 20 ms lie in between.
    /// * `Fault`: `Corrupt`, `Forked`, `Killed`.
    #[inline]
    pub fn try_recv(&mut self, into: &mut Vec<u8>) -> Result<usize, RecvError> {
        self.recv_one(into, Waiting::No)
    }

    /// Receives a record; waits for it as [`set_wait`](Self::set_wait) says.
    ///
    /// No system call while the sender keeps up.
    ///
    /// # Errors
    /// As [`try_recv`](Self::try_recv), but never `Empty`. A death is noticed within 100 ms.
    #[inline]
    pub fn recv(&mut self, into: &mut Vec<u8>) -> Result<usize, RecvError> {
        self.recv_one(into, Waiting::For(None))
    }

    /// Receives a record; waits for it, but no longer than `timeout`.
    ///
    /// ```
    /// use outlive::{Segment, error::RecvError, ring::records};
    /// use std::time::Duration;
    /// let segment = Segment::heap(1 << 16)?;
    /// let ring: records::Ring = records::Ring::create(&segment, "lines", 4096)?;
    /// let mut line = Vec::new();
    /// let received = ring.try_receiver()?.recv_timeout(&mut line, Duration::from_millis(1));
    /// assert_eq!(received, Err(RecvError::Empty));
    /// # Ok::<(), outlive::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`try_recv`](Self::try_recv); `Empty` means: still so.
    #[inline]
    pub fn recv_timeout(&mut self, into: &mut Vec<u8>, timeout: Duration) -> Result<usize, RecvError> {
        self.recv_one(into, Waiting::For(Some(timeout)))
    }

    #[inline]
    fn recv_one(&mut self, into: &mut Vec<u8>, waiting: Waiting) -> Result<usize, RecvError> {
        let frame = self.frame(waiting)?;
        self.area.read_to(frame.bytes, frame.len, into);
        if self.release(frame) { Ok(frame.len) } else { Err(self.end.gone().into()) }
    }

    /// The next record.
    #[inline]
    fn frame(&mut self, waiting: Waiting) -> Result<Frame, Stuck> {
        let (start, ready) = self.end.at_least(WORD, waiting)?;
        let header = self.area.header(start);
        match self.record(start, start, header, ready) {
            Some(frame) => Ok(frame),
            None => self.frame_behind_pad(start, header, ready),
        }
    }

    /// The record whose header was found at `at`, if it is one, and if it is within the `ready` bytes from there.
    #[inline]
    fn record(&self, start: u64, at: u64, header: FrameHeader, ready: u64) -> Option<Frame> {
        let (sender, framed) = (header.sender()?, header.framed());
        if framed > ready || !(self.mirrored || framed <= until_wrap(at, self.end.capacity())) {
            return None;
        }
        Some(Frame { start, bytes: at.wrapping_add(WORD), len: index(header.len()), sender })
    }

    /// No record: a pad, and then a record, which were published together. Anything else is no sender's.
    #[cold]
    fn frame_behind_pad(&mut self, start: u64, header: FrameHeader, ready: u64) -> Result<Frame, Stuck> {
        if header.is_pad(start, self.end.capacity()) && header.framed() + WORD <= ready {
            let at = start.wrapping_add(header.framed());
            let ready = ready - header.framed();
            if let Some(frame) = self.record(start, at, self.area.header(at), ready) {
                return Ok(frame);
            }
        }
        Err(self.end.corrupt("the header of a record is impossible").into())
    }

    /// Consumes the record. `false` in a forked child, and after `testing::kill`.
    #[inline]
    pub(super) fn release(&mut self, frame: Frame) -> bool {
        let n = frame.bytes.wrapping_sub(frame.start) + (framed(frame.len as u64) - WORD);
        let count = self.count.wrapping_add(1);
        let done = self.end.publish_counted(frame.start, n, count);
        if done {
            self.count = count;
            self.last_sender = Some(frame.sender);
        }
        done
    }

    /// The next record, to be read where it is.
    ///
    /// It is consumed by [`Record::release`]; a death before it, or dropping it, leaves it in the ring.
    ///
    /// ```
    /// use outlive::{Segment, ring::records};
    /// let segment = Segment::heap(1 << 16)?;
    /// let ring: records::Ring = records::Ring::create(&segment, "lines", 4096)?;
    /// let (mut sender, mut receiver) = (ring.try_sender()?, ring.try_receiver()?);
    /// sender.send(b"work")?;
    /// let record = receiver.try_read()?;
    /// assert_eq!((record.len(), record.sender()), (4, segment.owner()));
    /// assert_eq!(record.to_vec(), b"work");
    /// record.release(); // now it is done
    /// # Ok::<(), outlive::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`try_recv`](Self::try_recv).
    #[inline]
    pub fn try_read(&mut self) -> Result<Record<'_, M>, RecvError> {
        self.read_one(Waiting::No)
    }

    /// [`try_read`](Self::try_read), but waits for a record.
    ///
    /// # Errors
    /// As [`recv`](Self::recv).
    #[inline]
    pub fn read(&mut self) -> Result<Record<'_, M>, RecvError> {
        self.read_one(Waiting::For(None))
    }

    /// [`try_read`](Self::try_read), but waits for a record, no longer than `timeout`.
    ///
    /// # Errors
    /// As [`recv_timeout`](Self::recv_timeout).
    #[inline]
    pub fn read_timeout(&mut self, timeout: Duration) -> Result<Record<'_, M>, RecvError> {
        self.read_one(Waiting::For(Some(timeout)))
    }

    #[inline]
    fn read_one(&mut self, waiting: Waiting) -> Result<Record<'_, M>, RecvError> {
        let frame = self.frame(waiting)?;
        if M::TRUSTED && !self.area.is_in_a_row(frame.bytes, frame.len) {
            self.area.read_to(frame.bytes, frame.len, &mut self.scratch);
        }
        Ok(Record::new(self, frame))
    }

    /// One record after the other, as [`recv`](Self::recv), each in a vector of its own. Ends when the sender has closed and
    /// all is received, and after an error, which is its last item.
    ///
    /// ```
    /// use outlive::{Segment, ring::records};
    /// let segment = Segment::heap(1 << 16)?;
    /// let ring: records::Ring = records::Ring::create(&segment, "lines", 4096)?;
    /// let mut sender = ring.try_sender()?;
    /// for line in ["one", "two"] {
    ///     sender.send(line.as_bytes())?;
    /// }
    /// sender.close();
    /// let lines: Result<Vec<_>, _> = ring.try_receiver()?.iter().collect();
    /// assert_eq!(lines?, [b"one", b"two"]);
    /// # Ok::<(), outlive::Error>(())
    /// ```
    pub fn iter(&mut self) -> impl Iterator<Item = Result<Vec<u8>, RecvError>> {
        let mut over = false;
        core::iter::from_fn(move || {
            if over {
                return None;
            }
            let mut record = Vec::new();
            let received = self.recv(&mut record);
            over = received.is_err();
            (received != Err(RecvError::Closed)).then_some(received.map(|_| record))
        })
    }

    /// Who committed the record that was received last through this handle.
    #[inline]
    pub fn last_sender(&self) -> Option<Owner> {
        self.last_sender
    }

    /// How many records were consumed since the ring was created, by all its receivers.
    ///
    /// 0 in a forked child, and after `testing::kill`.
    #[inline]
    pub fn position(&self) -> u64 {
        if self.end.is_here() { self.count } else { 0 }
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

impl<M: Trust> fmt::Debug for Receiver<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Receiver")
            .field("records", &self.position())
            .field("end", &self.end)
            .finish_non_exhaustive()
    }
}

static_assertions::assert_impl_all!(Receiver: Send);
static_assertions::assert_not_impl_any!(Receiver: Sync, Clone);
