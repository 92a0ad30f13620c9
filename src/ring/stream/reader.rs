//! The reading end.

use core::fmt;
use core::time::Duration;
use std::io;
use std::os::fd::AsFd;

use crate::error::{Error, RecvError};
use crate::os::transfer;
use crate::ring::end::{End, Receiving, Stuck, Waiting};
use crate::ring::lease::State;
use crate::segment::Owner;
use crate::trust::{Checked, Trust, Trusted};

use super::data::Data;
use super::guards::Bytes;
use super::{Wait, late, waiting};

/// The right to read, and its holder: see [`Ring::try_reader`](super::Ring::try_reader).
///
/// [`io::Read`], with the meaning that a pipe gives it:
///
/// * `read` waits for the first byte, reads as many as there are and fit, and says how many.
/// * 0: the writer has closed, and everything is read. The next writer reopens the stream: then there is more.
/// * [`BrokenPipe`](io::ErrorKind::BrokenPipe): the writer is dead, and everything that it committed is read. A pipe would
///   call that the end of the stream, and nobody would know that something is missing. The error's source is
///   [`Error::PeerDied`]. With [`wait_for_successor`](Self::wait_for_successor) it does not come.
/// * [`TimedOut`](io::ErrorKind::TimedOut), or [`WouldBlock`](io::ErrorKind::WouldBlock): only after
///   [`set_timeout`](Self::set_timeout).
///
/// `read` commits before it returns, in parts of a quarter of the ring (4 KiB to 64 KiB), each by one store: a death
/// afterwards loses the bytes with the process. To commit when the work is done, see [`try_peek`](Self::try_peek).
///
/// In mode `Trusted` it is [`io::BufRead`] too, without a buffer of its own: lines and the like are found in the ring.
///
/// Dropped, or [`close`](Self::close)d, it tells the writer that nobody reads any more; a successor reopens. Dropped while
/// its thread panics, it counts as dead. Bytes that were not read stay in the ring, for the successor. `Send`, neither
/// `Sync` nor `Clone`: one at a time. In a forked child, and after `testing::kill`, all methods refuse, and dropping does
/// nothing.
///
/// ```
/// use outlive::{Error, Segment, ring::stream};
/// use std::io::{ErrorKind, Read, Write};
/// use std::time::Duration;
/// let segment = Segment::heap(1 << 16)?;
/// let ring = stream::Ring::create(&segment, "log", 64)?;
/// let (mut writer, mut reader) = (ring.try_writer()?, ring.try_reader()?);
/// let mut buffer = [0; 16];
/// writer.write_all(b"abc")?;
/// assert_eq!(reader.read(&mut buffer)?, 3);
/// reader.set_timeout(Some(Duration::from_millis(1)));
/// assert_eq!(reader.read(&mut buffer).unwrap_err().kind(), ErrorKind::TimedOut);
/// writer.close();
/// assert_eq!(reader.read(&mut buffer)?, 0);
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct Reader<M: Trust = Checked> {
    pub(super) end: End<Receiving>,
    pub(super) data: Data<M>,
    timeout: Option<Duration>,
}

impl<M: Trust> Reader<M> {
    pub(super) fn new(end: End<Receiving>, data: Data<M>) -> Self {
        Self { end, data, timeout: None }
    }

    /// Reads as many bytes as there are and fit, and says how many: at least one, or none into nothing.
    ///
    /// Wait-free; at most one system call a part, and that only to wake the writer.
    ///
    /// ```
    /// use outlive::{Segment, error::RecvError, ring::stream};
    /// let segment = Segment::heap(1 << 16)?;
    /// let ring = stream::Ring::create(&segment, "log", 64)?;
    /// let (mut writer, mut reader) = (ring.try_writer()?, ring.try_reader()?);
    /// let mut buffer = [0; 16];
    /// assert_eq!(reader.try_read(&mut buffer), Err(RecvError::Empty));
    /// writer.try_write(b"abc")?;
    /// assert_eq!(reader.try_read(&mut buffer)?, 3);
    /// writer.close();
    /// assert_eq!(reader.try_read(&mut buffer), Err(RecvError::Closed));
    /// # Ok::<(), outlive::Error>(())
    /// ```
    ///
    /// # Errors
    /// * `Empty`.
    /// * `Closed`: the writer has closed, and everything was read.
    /// * `PeerDied`: the writer is dead, and everything that it committed was read. Found by the second look at the latest,
    ///   if 20 ms lie in between.
    /// * `Fault`: `Corrupt`, `Forked`, `Killed`.
    #[inline]
    pub fn try_read(&mut self, into: &mut [u8]) -> Result<usize, RecvError> {
        Ok(self.get(into, Waiting::No)?)
    }

    fn get(&mut self, into: &mut [u8], waiting: Waiting) -> Result<usize, Stuck> {
        let (position, n) = self.end.some(into.len() as u64, waiting)?;
        let part = self.data.part();
        let mut done = 0;
        for into in into.split_at_mut(n).0.chunks_mut(part) {
            let position = position.wrapping_add(done as u64);
            // SAFETY: R-I2 - `n` bytes from the first position on are ours until their end is published.
            unsafe { self.data.get(position, into) };
            if self.end.publish_some(position, into.len()) == 0 {
                break; // killed meanwhile
            }
            done += into.len();
        }
        if done == 0 && n > 0 { Err(self.why()) } else { Ok(done) }
    }

    /// Why nothing could be published.
    #[cold]
    fn why(&mut self) -> Stuck {
        self.end.some(1, Waiting::No).err().unwrap_or(Stuck::Yet)
    }

    /// Up to `max` bytes in a row, to be read where they are: at least one, at most up to the end of the ring.
    ///
    /// They are consumed by [`Bytes::release`]; a death before it, or dropping them, leaves them in the ring. Asking for 0
    /// gives none, whatever the state of the ring.
    ///
    /// ```
    /// use outlive::{Segment, ring::stream};
    /// let segment = Segment::heap(1 << 16)?;
    /// let ring = stream::Ring::create(&segment, "log", 64)?;
    /// let (mut writer, mut reader) = (ring.try_writer()?, ring.try_reader()?);
    /// writer.try_write(b"abc")?;
    /// let mut buffer = [0; 16];
    /// let bytes = reader.try_peek(usize::MAX)?;
    /// assert_eq!(bytes.copy_to(&mut buffer), 3);
    /// assert_eq!(bytes.release_first(2), 2); // `c` stays
    /// assert_eq!(reader.try_read(&mut buffer)?, 1);
    /// # Ok::<(), outlive::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`try_read`](Self::try_read).
    #[inline]
    pub fn try_peek(&mut self, max: usize) -> Result<Bytes<'_, M>, RecvError> {
        self.bytes(max, Waiting::No)
    }

    /// [`try_peek`](Self::try_peek), but waits for the first byte.
    ///
    /// # Errors
    /// As [`try_read`](Self::try_read), but never `Empty`. A death is noticed within 100 ms.
    #[inline]
    pub fn peek(&mut self, max: usize) -> Result<Bytes<'_, M>, RecvError> {
        self.bytes(max, Waiting::For(None))
    }

    /// [`try_peek`](Self::try_peek), but waits for the first byte, no longer than `timeout`.
    ///
    /// # Errors
    /// As [`try_read`](Self::try_read); `Empty` means: still so.
    #[inline]
    pub fn peek_timeout(&mut self, max: usize, timeout: Duration) -> Result<Bytes<'_, M>, RecvError> {
        self.bytes(max, Waiting::For(Some(timeout)))
    }

    #[inline]
    fn bytes(&mut self, max: usize, waiting: Waiting) -> Result<Bytes<'_, M>, RecvError> {
        let (position, len) = self.end.row(max, waiting)?;
        Ok(Bytes::new(self, position, len))
    }

    /// Waits for bytes, as `read` does, and has the kernel copy them straight out of the ring to `fd`: one `write`, of up
    /// to a part of the ring, and no copy of ours. Says how many bytes these were; 0 at the end of the stream.
    ///
    /// What `write` took is consumed, and no more; what it did not take stays in the ring. Killed in between, it may have
    /// taken bytes that are still in the ring: a successor that writes to a regular file truncates it to
    /// [`position`](Self::position) first. A descriptor opened with `O_DIRECT` asks for an alignment which positions in a
    /// ring do not have.
    ///
    /// A pipe without readers is `BrokenPipe`, as long as `SIGPIPE` is ignored, which Rust sees to before `main`. Where
    /// somebody has changed that back, it kills this process: that loses nothing either.
    ///
    /// ```
    /// use outlive::{Segment, ring::stream};
    /// use std::io::Write;
    /// let segment = Segment::heap(1 << 16)?;
    /// let ring = stream::Ring::create(&segment, "log", 4096)?;
    /// let (mut writer, mut reader) = (ring.try_writer()?, ring.try_reader()?);
    /// let nowhere = std::fs::File::options().write(true).open("/dev/null")?;
    /// writer.write_all(b"abc")?;
    /// writer.close();
    /// assert_eq!(reader.drain_to(&nowhere)?, 3);
    /// assert_eq!(reader.drain_to(&nowhere)?, 0);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// # Errors
    /// Those of `read`; then nothing was written to `fd`. Those of `write(2)`, e.g. `WouldBlock` of a non-blocking
    /// descriptor, and `WriteZero` if it takes nothing: then nothing was consumed. The former have no
    /// [`raw_os_error`](io::Error::raw_os_error), which tells one `BrokenPipe` from the other.
    pub fn drain_to(&mut self, fd: impl AsFd) -> io::Result<usize> {
        let waiting = waiting(self.timeout);
        let (position, len) = match self.end.row(self.data.part(), waiting) {
            Err(Stuck::Closed) => return Ok(0),
            other => other.map_err(|stuck| io(stuck, waiting))?,
        };
        let fd = fd.as_fd();
        // SAFETY: R-I2, R-I9 - the `len` bytes of the call below, which stay mapped while this end lives.
        let write = |from| unsafe { transfer::write(fd, from, len) };
        // SAFETY: R-I2 - `len` bytes from here, ours until their end is published.
        let n = unsafe { self.data.slots().read_by_kernel(self.end.slot(position), len, write) }?;
        if n == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        match self.end.publish_some(position, n.min(len)) {
            0 => Err(io(self.why(), waiting)),
            done => Ok(done),
        }
    }

    /// How many bytes were consumed since the ring was created, by all its readers.
    ///
    /// 0 in a forked child, and after `testing::kill`.
    #[inline]
    pub fn position(&self) -> u64 {
        self.end.count()
    }

    /// Who has the writer's role, dead or alive; `None` if nobody has it at the moment.
    pub fn peer(&self) -> Option<Owner> {
        self.end.peer()
    }

    /// How long `read` and [`drain_to`](Self::drain_to) wait for bytes: for ever (`None`, the default), or so long, and
    /// then they fail with `TimedOut`. With [`Duration::ZERO`] they do not wait, and fail with `WouldBlock`.
    pub fn set_timeout(&mut self, timeout: Option<Duration>) {
        self.timeout = timeout;
    }

    /// With `yes`, a dead writer is no error: its successor is waited for. The end of the stream stays one. Default: no.
    pub fn wait_for_successor(&mut self, yes: bool) {
        self.end.wait_for_successor(yes);
    }

    /// How blocking operations wait. Default: [`Wait::Sleep`].
    pub fn set_wait(&mut self, how: Wait) {
        self.end.set_wait(how);
    }

    /// The end: the writer is told `BrokenPipe`, even if there is room. The same as dropping it.
    pub fn close(mut self) {
        self.end.leave(State::Closed);
    }

    /// Frees the role for a successor; the writer is told nothing, and waits for it when the ring is full.
    pub fn resign(mut self) {
        self.end.leave(State::Vacant);
    }
}

fn io(stuck: Stuck, waiting: Waiting) -> io::Error {
    match stuck {
        Stuck::Yet => late(waiting, Error::Empty),
        other => Error::from(RecvError::from(other)).into(),
    }
}

impl<M: Trust> io::Read for Reader<M> {
    #[inline]
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let waiting = waiting(self.timeout);
        match self.get(into, waiting) {
            Err(Stuck::Closed) => Ok(0),
            other => other.map_err(|stuck| io(stuck, waiting)),
        }
    }
}

/// The ring is the buffer: `fill_buf` gives its bytes up to its end, without a copy, and `consume` releases them.
impl io::BufRead for Reader<Trusted> {
    #[inline]
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        let waiting = waiting(self.timeout);
        let (position, len) = match self.end.row(usize::MAX, waiting) {
            Err(Stuck::Closed) => return Ok(&[]),
            other => other.map_err(|stuck| io(stuck, waiting))?,
        };
        // SAFETY: R-I2 - committed bytes, which nobody writes before they are released, by the contract of trust; the
        // slice borrows the reader.
        Ok(unsafe { self.data.slots().slice(self.end.slot(position), len) })
    }

    /// No more than the ring has.
    #[inline]
    fn consume(&mut self, n: usize) {
        if let Ok((position, n)) = self.end.row(n, Waiting::No) {
            self.end.publish_some(position, n);
        }
    }
}

impl<M: Trust> fmt::Debug for Reader<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Reader").field(&self.end).finish()
    }
}

static_assertions::assert_impl_all!(Reader: Send, io::Read);
static_assertions::assert_impl_all!(Reader<Trusted>: io::BufRead);
static_assertions::assert_not_impl_any!(Reader: Sync, Clone, io::BufRead);
