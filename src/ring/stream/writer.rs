//! The writing end.

use core::fmt;
use core::time::Duration;
use std::io;
use std::os::fd::AsFd;

use crate::error::{Error, SendError};
use crate::os::transfer;
use crate::ring::end::{End, Sending, Stuck, Waiting};
use crate::ring::lease::State;
use crate::segment::Owner;
use crate::trust::{Checked, Trust};

use super::data::Data;
use super::guards::Grant;
use super::{Wait, late, waiting};

/// The right to write, and its holder: see [`Ring::try_writer`](super::Ring::try_writer).
///
/// [`io::Write`], with the meaning that a pipe gives it:
///
/// * `write` waits until a byte fits, writes as many as there is room for, and says how many. `write_all` of more than the
///   ring holds goes in rounds. What was written is visible to the reader before `write` returns: `flush` has nothing to do.
/// * [`BrokenPipe`](io::ErrorKind::BrokenPipe): the reader has closed, or it is dead and the ring is full. The error's
///   source is [`Error::Closed`] or [`Error::PeerDied`].
/// * [`TimedOut`](io::ErrorKind::TimedOut), or [`WouldBlock`](io::ErrorKind::WouldBlock): only after
///   [`set_timeout`](Self::set_timeout). Nothing was written then.
///
/// Bytes are committed in parts of a quarter of the ring (4 KiB to 64 KiB), each by one store. Killed in between, what was
/// committed stays, and [`position`](Self::position) tells the successor how much that is.
///
/// Dropped, or [`close`](Self::close)d, the reader finds the end of the stream; a successor reopens it. Dropped while its
/// thread panics, the writer counts as dead. `Send`, neither `Sync` nor `Clone`: one at a time. In a forked child, and after
/// `testing::kill`, all methods refuse, and dropping does nothing.
///
/// ```
/// use outlive::{Segment, ring::stream};
/// use std::io::{Read, Write};
/// let segment = Segment::heap(1 << 16)?;
/// let ring = stream::Ring::create(&segment, "log", 16)?;
/// let mut reader = ring.try_reader()?;
/// let mut writer = ring.try_writer()?;
/// let reading = std::thread::spawn(move || {
///     let mut all = Vec::new();
///     reader.read_to_end(&mut all).map(|_| all)
/// });
/// writer.write_all(&[7; 1000])?; // through 16 bytes
/// writer.close();
/// assert_eq!(reading.join().unwrap()?, [7; 1000]);
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct Writer<M: Trust = Checked> {
    pub(super) end: End<Sending>,
    pub(super) data: Data<M>,
    timeout: Option<Duration>,
}

impl<M: Trust> Writer<M> {
    pub(super) fn new(end: End<Sending>, data: Data<M>) -> Self {
        Self { end, data, timeout: None }
    }

    /// Writes as many of the first `bytes` as there is room for, and says how many: at least one, or all of none.
    ///
    /// Wait-free, in parts as told [above](Self); at most one system call a part, and that only to wake the reader.
    ///
    /// ```
    /// use outlive::{Segment, error::SendError, ring::stream};
    /// let segment = Segment::heap(1 << 16)?;
    /// let ring = stream::Ring::create(&segment, "log", 4)?;
    /// let mut writer = ring.try_writer()?;
    /// assert_eq!(writer.try_write(b"abcdef")?, 4);
    /// assert_eq!(writer.try_write(b"ef"), Err(SendError::Full(())));
    /// # Ok::<(), outlive::Error>(())
    /// ```
    ///
    /// # Errors
    /// Nothing was written:
    /// * `Full`.
    /// * `Closed`: the reader has closed. At once, even if there is room, as for a pipe without readers; the write after
    ///   the one during which it closed is the first that may be refused.
    /// * `PeerDied`: full, and the reader is dead. Found by the second look at the latest, if 20 ms lie in between.
    /// * `Fault`: `Corrupt`, `Forked`, `Killed`.
    #[inline]
    pub fn try_write(&mut self, bytes: &[u8]) -> Result<usize, SendError> {
        Ok(self.put(bytes, Waiting::No)?)
    }

    fn put(&mut self, bytes: &[u8], waiting: Waiting) -> Result<usize, Stuck> {
        let (position, n) = self.end.some(bytes.len() as u64, waiting)?;
        let part = self.data.part();
        let mut done = 0;
        for from in bytes.split_at(n).0.chunks(part) {
            let position = position.wrapping_add(done as u64);
            // SAFETY: R-I2 - `n` bytes from the first position on are ours until they are published.
            unsafe { self.data.put(position, from) };
            if self.end.publish_some(position, from.len()) == 0 {
                break; // killed meanwhile
            }
            done += from.len();
        }
        if done == 0 && n > 0 { Err(self.why()) } else { Ok(done) }
    }

    /// Why nothing could be published.
    #[cold]
    fn why(&mut self) -> Stuck {
        self.end.some(1, Waiting::No).err().unwrap_or(Stuck::Yet)
    }

    /// Up to `max` free bytes in a row, to be filled in place: at least one, at most up to the end of the ring.
    ///
    /// Asking for 0 gives an empty grant, whatever the state of the ring.
    ///
    /// ```
    /// use outlive::{Segment, ring::stream};
    /// let segment = Segment::heap(1 << 16)?;
    /// let mut writer = stream::Ring::create(&segment, "log", 64)?.try_writer()?;
    /// let mut grant = writer.try_reserve(10)?;
    /// grant.extend_from_slice(b"seven b");
    /// assert_eq!(grant.commit(), 7); // without this, nothing is written
    /// # Ok::<(), outlive::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`try_write`](Self::try_write).
    #[inline]
    pub fn try_reserve(&mut self, max: usize) -> Result<Grant<'_, M>, SendError> {
        self.grant(max, Waiting::No)
    }

    /// [`try_reserve`](Self::try_reserve), but waits for the first byte.
    ///
    /// # Errors
    /// As [`try_write`](Self::try_write), but never `Full`. A death is noticed within 100 ms.
    #[inline]
    pub fn reserve(&mut self, max: usize) -> Result<Grant<'_, M>, SendError> {
        self.grant(max, Waiting::For(None))
    }

    /// [`try_reserve`](Self::try_reserve), but waits for the first byte, no longer than `timeout`.
    ///
    /// # Errors
    /// As [`try_write`](Self::try_write); `Full` means: still so.
    #[inline]
    pub fn reserve_timeout(&mut self, max: usize, timeout: Duration) -> Result<Grant<'_, M>, SendError> {
        self.grant(max, Waiting::For(Some(timeout)))
    }

    #[inline]
    fn grant(&mut self, max: usize, waiting: Waiting) -> Result<Grant<'_, M>, SendError> {
        let (position, capacity) = self.end.row(max, waiting)?;
        Ok(Grant::new(self, position, capacity))
    }

    /// Waits for room, as `write` does, and has the kernel copy from `fd` straight into the ring: one `read`, of up to a
    /// part of the ring, and no copy of ours. Says how many bytes these were; 0 at the end of the file.
    ///
    /// Works with files, pipes, stream sockets, terminals. Not with what gives messages, as datagram sockets do: of one that
    /// is longer than the room up to the end of the ring, `read` drops the rest, and an empty one looks like the end of the
    /// file. While `read` waits for a slow `fd`, nobody looks whether the reader of the ring is there: that comes with the
    /// next bytes, as with `cat`. A descriptor opened with `O_DIRECT` asks for an alignment which positions in a ring do not
    /// have.
    ///
    /// Killed before `read` has returned, nothing of it was written; a regular file has its offset, so that a successor
    /// seeks to [`position`](Self::position).
    ///
    /// ```
    /// use outlive::{Segment, ring::stream};
    /// let segment = Segment::heap(1 << 20)?;
    /// let ring = stream::Ring::create(&segment, "zeros", 1 << 16)?;
    /// let mut writer = ring.try_writer()?;
    /// let zeros = std::fs::File::open("/dev/zero")?;
    /// let n = writer.fill_from(&zeros)?;
    /// assert!(n > 0 && n as u64 == writer.position());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// # Errors
    /// Those of `write`; then `fd` was not read from. Those of `read(2)`, as [`io::Error::last_os_error`] has them, e.g.
    /// `WouldBlock` of a non-blocking descriptor: then nothing was written. They have a
    /// [`raw_os_error`](io::Error::raw_os_error), and the ring's have none.
    pub fn fill_from(&mut self, fd: impl AsFd) -> io::Result<usize> {
        let waiting = waiting(self.timeout);
        let (position, room) = self.end.row(self.data.part(), waiting).map_err(|stuck| io(stuck, waiting))?;
        let fd = fd.as_fd();
        // SAFETY: R-I2, R-I9 - the `room` bytes of the call below, which stay mapped while this end lives.
        let read = |to| unsafe { transfer::read(fd, to, room) };
        // SAFETY: R-I2 - `room` bytes from here, ours until they are published.
        let n = unsafe { self.data.slots().written_by_kernel(self.end.slot(position), room, read) }?;
        match self.end.publish_some(position, n) {
            0 if n > 0 => Err(io(self.why(), waiting)),
            done => Ok(done),
        }
    }

    /// How many bytes were committed since the ring was created, by all its writers: where a successor carries on.
    ///
    /// 0 in a forked child, and after `testing::kill`.
    #[inline]
    pub fn position(&self) -> u64 {
        self.end.count()
    }

    /// Who has the reader's role, dead or alive; `None` if nobody has it at the moment.
    pub fn peer(&self) -> Option<Owner> {
        self.end.peer()
    }

    /// How long `write` and [`fill_from`](Self::fill_from) wait for room: for ever (`None`, the default), or so long, and
    /// then they fail with `TimedOut`. With [`Duration::ZERO`] they do not wait, and fail with `WouldBlock`.
    pub fn set_timeout(&mut self, timeout: Option<Duration>) {
        self.timeout = timeout;
    }

    /// With `yes`, a dead reader is no error: its successor is waited for. `Closed` stays one. Default: no.
    pub fn wait_for_successor(&mut self, yes: bool) {
        self.end.wait_for_successor(yes);
    }

    /// How blocking operations wait. Default: [`Wait::Sleep`].
    pub fn set_wait(&mut self, how: Wait) {
        self.end.set_wait(how);
    }

    /// The end: once it has drained the ring, the reader reads 0 bytes. The same as dropping it.
    pub fn close(mut self) {
        self.end.leave(State::Closed);
    }

    /// Frees the role for a successor; the reader is told nothing, and waits for it.
    pub fn resign(mut self) {
        self.end.leave(State::Vacant);
    }
}

fn io(stuck: Stuck, waiting: Waiting) -> io::Error {
    match stuck {
        Stuck::Yet => late(waiting, Error::Full),
        other => Error::from(SendError::from(other)).into(),
    }
}

impl<M: Trust> io::Write for Writer<M> {
    #[inline]
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let waiting = waiting(self.timeout);
        self.put(bytes, waiting).map_err(|stuck| io(stuck, waiting))
    }

    /// Nothing: what was written is visible already.
    #[inline]
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<M: Trust> fmt::Debug for Writer<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Writer").field(&self.end).finish()
    }
}

static_assertions::assert_impl_all!(Writer: Send, io::Write);
static_assertions::assert_not_impl_any!(Writer: Sync, Clone);
