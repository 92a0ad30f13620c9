//! The stream by name: who may become its ends.

use core::fmt;
use core::time::Duration;

use crate::error::{Error, Result};
use crate::memory::Region;
use crate::payload::Shared;
use crate::ring::end::{End, Patience, Side, sweep};
use crate::ring::position::{START, index};
use crate::ring::{Stats, Unit, stats};
use crate::segment::Segment;
use crate::segment::directory::{self, Kind, Mode, ObjectHandle, Spec};
use crate::trust::{Checked, Trust};

use super::check::check;
use super::data::Data;
use super::layout::{LINE, MAGIC, Plan, VERSION};
use super::reader::Reader;
use super::writer::Writer;

/// A stream of bytes in a segment: one writer, one reader, in any two processes (or in one).
///
/// The handle holds no role; clone it, keep it, hand it to threads. Roles are taken from it, and survive their holders:
/// [`try_writer`](Self::try_writer), [`try_reader`](Self::try_reader).
///
/// ```
/// use outlive::{Segment, ring::stream};
/// use std::io::{Read, Write};
/// let segment = Segment::heap(1 << 16)?;
/// let ring = stream::Ring::open_or_create(&segment, "log", 1000)?;
/// assert_eq!(ring.capacity(), 1024);
/// let mut writer = ring.try_writer()?;
/// writeln!(writer, "{} bytes at most at a time, any number in all", ring.capacity())?;
/// writer.close();
/// let mut text = String::new();
/// ring.try_reader()?.read_to_string(&mut text)?;
/// assert_eq!(text, "1024 bytes at most at a time, any number in all\n");
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct Ring<M: Trust = Checked> {
    object: ObjectHandle,
    plan: Plan,
    data: Data<M>,
}

/// The shape of a new stream.
///
/// ```
/// use outlive::{Segment, ring::stream};
/// let segment = Segment::heap(1 << 20)?;
/// let ring = stream::Ring::create(&segment, "log", stream::Config::new(1 << 16))?; // or just 1 << 16
/// # Ok::<(), outlive::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    capacity: usize,
}

impl Config {
    /// Room for so many bytes, 1 to 2^31; rounded up to a power of two. Several times what is written or read at once:
    /// then both sides work at the same time.
    pub fn new(bytes: usize) -> Self {
        Self { capacity: bytes }
    }
}

impl From<usize> for Config {
    fn from(bytes: usize) -> Self {
        Self::new(bytes)
    }
}

/// How a stream is repaired after a death.
pub(crate) static KIND: Kind = Kind { tag: 4, name: "stream ring", sweep, look: Some(look), check };

fn look(region: &Region, at: u64, len: u64) -> Option<Stats> {
    stats::look(region, at, len, [MAGIC, VERSION], Unit::Bytes)
}

impl<M: Trust> Ring<M> {
    /// Makes the stream; its name must be free.
    ///
    /// Killed in the middle, there is no such stream, and its memory is free for the next one.
    ///
    /// # Errors
    /// `AlreadyExists`, `InvalidName`, `InvalidConfig`, `NoSpace`, `Busy` if a stopped process holds the directory.
    pub fn create(segment: &Segment<M>, name: &str, config: impl Into<Config>) -> Result<Self> {
        Self::find(segment, name, Mode::Create, Some(config.into()), START)
    }

    /// Opens the stream, whatever its capacity. A ring of `Checked` can be opened in a trusted segment too.
    ///
    /// ```
    /// use outlive::{Error, Segment, ring::{spsc, stream}};
    /// let segment = Segment::heap(1 << 16)?;
    /// let ring = stream::Ring::create(&segment, "log", 4096)?;
    /// let again = stream::Ring::open(&segment.attach()?, "log")?;
    /// let other = spsc::Ring::<u8>::open(&segment, "log");
    /// assert!(matches!(other, Err(Error::WrongType { .. })));
    /// # Ok::<(), Error>(())
    /// ```
    ///
    /// # Errors
    /// `NotFound`, `WrongType`, `InvalidName`, `Corrupt`.
    pub fn open(segment: &Segment<M>, name: &str) -> Result<Self> {
        Self::find(segment, name, Mode::Open, None, START)
    }

    /// Opens the stream, or makes it. Capacities are rounded up before they are compared.
    ///
    /// # Errors
    /// `WrongShape` if it exists with another capacity, and those of [`create`](Self::create) and [`open`](Self::open).
    pub fn open_or_create(segment: &Segment<M>, name: &str, config: impl Into<Config>) -> Result<Self> {
        Self::find(segment, name, Mode::OpenOrCreate, Some(config.into()), START)
    }

    /// `start`: the first position of a new ring.
    pub(super) fn find(
        segment: &Segment<M>,
        name: &str,
        mode: Mode,
        config: Option<Config>,
        start: u64,
    ) -> Result<Self> {
        let shape = config.map(|config| Plan::rounded(config.capacity)).transpose()?;
        let plan = Plan::new(shape.unwrap_or(1));
        let spec = Spec { kind: &KIND, schema: u8::SCHEMA, shape, size: plan.total, align: LINE };
        let build = |region: &Region, at| plan.build(region, at, start);
        let object = directory::find(segment.attached(), name, mode, &spec, build)?;
        let found = usize::try_from(object.shape()).ok().filter(|found| found.is_power_of_two());
        let Some(Ok(capacity)) = found.map(Plan::rounded) else {
            return Err(Error::Corrupt { what: "the capacity of a stream is impossible", at: object.at() });
        };
        let plan = Plan::new(capacity);
        plan.verify(&object)?;
        let data = Data::new(plan.bytes(&object)?, capacity);
        Ok(Self { object, plan, data })
    }

    /// How many bytes fit.
    pub fn capacity(&self) -> usize {
        index(self.plan.capacity)
    }

    /// A look from outside: how full it is, and who uses it. Wait-free; for people and monitors.
    pub fn stats(&self) -> Stats {
        stats::of_header(self.object.attached().region(), self.object.at(), Unit::Bytes, self.plan.capacity)
    }

    /// The right to write, if nobody alive has it. It goes on where the last writer stopped:
    /// [`Writer::position`] says where that is.
    ///
    /// Lock-free; one liveness check.
    ///
    /// ```
    /// use outlive::{Error, Segment, ring::stream};
    /// let segment = Segment::heap(1 << 16)?;
    /// let ring = stream::Ring::create(&segment, "log", 4096)?;
    /// let writer = ring.try_writer()?;
    /// assert!(matches!(ring.try_writer(), Err(Error::Busy { owner }) if owner == segment.owner()));
    /// # Ok::<(), Error>(())
    /// ```
    ///
    /// # Errors
    /// `Busy`, `Corrupt`, `ReadOnly`, `Forked`, `Killed`.
    pub fn try_writer(&self) -> Result<Writer<M>> {
        self.take_writer(Patience::None)
    }

    /// The right to write; waits until its holder dies, resigns or closes: a hot standby in one call.
    ///
    /// A death is noticed within 100 ms. `Busy` at once if the holder is this very attachment.
    ///
    /// # Errors
    /// As [`try_writer`](Self::try_writer).
    pub fn writer(&self) -> Result<Writer<M>> {
        self.take_writer(Patience::Until(None))
    }

    /// The right to write; waits for it, but no longer than `timeout`.
    ///
    /// # Errors
    /// As [`try_writer`](Self::try_writer); `Busy` means: still so.
    pub fn writer_timeout(&self, timeout: Duration) -> Result<Writer<M>> {
        self.take_writer(Patience::Until(Some(timeout)))
    }

    /// The right to read, if nobody alive has it. What the last reader did not release is read again.
    ///
    /// Lock-free; one liveness check.
    ///
    /// # Errors
    /// `Busy`, `Corrupt`, `ReadOnly`, `Forked`, `Killed`.
    pub fn try_reader(&self) -> Result<Reader<M>> {
        self.take_reader(Patience::None)
    }

    /// The right to read; waits until its holder dies, resigns or closes.
    ///
    /// A death is noticed within 100 ms. `Busy` at once if the holder is this very attachment.
    ///
    /// # Errors
    /// As [`try_reader`](Self::try_reader).
    pub fn reader(&self) -> Result<Reader<M>> {
        self.take_reader(Patience::Until(None))
    }

    /// The right to read; waits for it, but no longer than `timeout`.
    ///
    /// # Errors
    /// As [`try_reader`](Self::try_reader); `Busy` means: still so.
    pub fn reader_timeout(&self, timeout: Duration) -> Result<Reader<M>> {
        self.take_reader(Patience::Until(Some(timeout)))
    }

    fn take_writer(&self, patience: Patience) -> Result<Writer<M>> {
        self.take(patience).map(|end| Writer::new(end, self.data.clone()))
    }

    fn take_reader(&self, patience: Patience) -> Result<Reader<M>> {
        self.take(patience).map(|end| Reader::new(end, self.data.clone()))
    }

    fn take<S: Side>(&self, patience: Patience) -> Result<End<S>> {
        End::take(&self.object, self.plan.capacity, (self.plan.place_of_bytes(&self.object)?, 1), patience)
    }

    /// What peers may write, for tests.
    #[cfg(all(test, not(loom)))]
    pub(super) fn header(&self) -> &crate::ring::end::Header {
        self.object.attached().region().get(self.object.at()).unwrap()
    }

    /// The same as words, eventcounts and padding included.
    #[cfg(all(test, not(loom)))]
    pub(super) fn words(&self) -> &[crate::shim::AtomicU64] {
        let len = size_of::<crate::ring::end::Header>();
        let words = self.object.attached().region().bytes(self.object.at(), len as u64, 128).unwrap();
        // SAFETY: in range and aligned; in a test with one thread no access races with another.
        unsafe { core::slice::from_raw_parts(words.cast().as_ptr(), len / 8) }
    }
}

impl<M: Trust> Clone for Ring<M> {
    fn clone(&self) -> Self {
        Self { object: self.object.clone(), plan: self.plan, data: self.data.clone() }
    }
}

impl<M: Trust> fmt::Debug for Ring<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ring")
            .field("name", &self.object.name())
            .field("stats", &self.stats())
            .finish_non_exhaustive()
    }
}

static_assertions::assert_impl_all!(Ring: Send, Sync, Clone);
