//! The ring by name: who may become its ends.

use core::fmt;
use core::marker::PhantomData;
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

use super::area::Area;
use super::check::check;
use super::layout::{MAGIC, Plan, VERSION, WORD};
use super::receiver::Receiver;
use super::sender::Sender;

/// A ring of records in a segment: one sender, one receiver, in any two processes (or in one).
///
/// The handle holds no role; clone it, keep it, hand it to threads. Roles are taken from it, and survive their holders:
/// [`try_sender`](Self::try_sender), [`try_receiver`](Self::try_receiver).
///
/// ```
/// use outlive::{Segment, ring::records};
/// let segment = Segment::heap(1 << 16)?;
/// let ring: records::Ring = records::Ring::open_or_create(&segment, "lines", 5000)?;
/// assert_eq!((ring.capacity(), ring.longest()), (8192, 4088));
/// ring.try_sender()?.send(b"to whom it may concern")?;
/// assert_eq!(ring.stats().sent, 1);
/// let mut line = Vec::new();
/// assert_eq!(ring.try_receiver()?.recv(&mut line)?, 22);
/// # Ok::<(), outlive::Error>(())
/// ```
pub struct Ring<M: Trust = Checked> {
    object: ObjectHandle,
    plan: Plan,
    area: Area,
    mode: PhantomData<M>,
}

/// The shape of a new ring.
///
/// ```
/// use outlive::{Segment, ring::records};
/// let segment = Segment::heap(1 << 16)?;
/// let ring: records::Ring = records::Ring::create(&segment, "lines", records::Config::new(8192))?; // or just 8192
/// # Ok::<(), outlive::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    capacity: usize,
}

impl Config {
    /// Room for so many bytes, 1 to 2^31; rounded up to a power of two, 64 at least. A record takes 8 bytes more than it
    /// has, rounded up to a multiple of 8.
    pub fn new(bytes: usize) -> Self {
        Self { capacity: bytes }
    }
}

impl From<usize> for Config {
    fn from(bytes: usize) -> Self {
        Self::new(bytes)
    }
}

/// How a ring is repaired after a death.
pub(crate) static KIND: Kind = Kind { tag: 3, name: "records ring", sweep, look: Some(look), check };

fn look(region: &Region, at: u64, len: u64) -> Option<Stats> {
    stats::look(region, at, len, [MAGIC, VERSION], Unit::Records)
}

impl<M: Trust> Ring<M> {
    /// Makes the ring; its name must be free.
    ///
    /// Where memory can be mapped twice (not on the heap, not in huge pages, a page at least), the ring is made for it: then
    /// a record may be as long as the ring, and lies in one piece all the same.
    ///
    /// Killed in the middle, there is no such ring, and its memory is free for the next one.
    ///
    /// # Errors
    /// `AlreadyExists`, `InvalidName`, `InvalidConfig`, `NoSpace`, `Busy` if a stopped process holds the directory.
    pub fn create(segment: &Segment<M>, name: &str, config: impl Into<Config>) -> Result<Self> {
        Self::find(segment, name, Mode::Create, Some(config.into()), New::in_segment(segment))
    }

    /// Opens the ring, whatever its capacity.
    ///
    /// ```
    /// use outlive::{Error, Segment, ring::records};
    /// let segment = Segment::heap(1 << 16)?;
    /// let none = records::Ring::open(&segment, "lines");
    /// assert!(matches!(none, Err(Error::NotFound { .. })));
    /// # Ok::<(), Error>(())
    /// ```
    ///
    /// # Errors
    /// `NotFound`, `WrongType`, `InvalidName`, `Corrupt`.
    pub fn open(segment: &Segment<M>, name: &str) -> Result<Self> {
        Self::find(segment, name, Mode::Open, None, New::default())
    }

    /// Opens the ring, or makes it. Capacities are rounded up before they are compared.
    ///
    /// # Errors
    /// `WrongShape` if it exists with another capacity, and those of [`create`](Self::create) and [`open`](Self::open).
    pub fn open_or_create(segment: &Segment<M>, name: &str, config: impl Into<Config>) -> Result<Self> {
        Self::find(segment, name, Mode::OpenOrCreate, Some(config.into()), New::in_segment(segment))
    }

    pub(super) fn find(
        segment: &Segment<M>,
        name: &str,
        mode: Mode,
        config: Option<Config>,
        new: New,
    ) -> Result<Self> {
        let attached = segment.attached();
        let shape = config.map(|config| Plan::rounded(config.capacity)).transpose()?;
        let plan = Plan::new(shape.unwrap_or(WORD), new.mirrored);
        let spec =
            Spec { kind: &KIND, schema: u8::SCHEMA, shape, size: plan.total, align: plan.object_align() };
        let build = |region: &Region, at| plan.build(region, at, new.start);
        let object = directory::find(attached, name, mode, &spec, build)?;
        let corrupt = || Error::Corrupt { what: "the capacity of a ring is impossible", at: object.at() };
        let found = usize::try_from(object.shape()).map_err(|_| corrupt())?;
        let capacity = Plan::rounded(found).ok().filter(|&rounded| rounded == object.shape());
        let plan = Plan::of(&object, capacity.ok_or_else(corrupt)?)?;
        plan.verify(&object)?;
        let area = Area::open(&object, &plan)?;
        Ok(Self { object, plan, area, mode: PhantomData })
    }

    /// How many bytes there are, for records and their headers.
    pub fn capacity(&self) -> usize {
        index(self.plan.capacity)
    }

    /// The longest record that a sender of this handle can send, in bytes.
    ///
    /// The capacity less 8 where this attachment has mapped the ring twice; elsewhere half the capacity, less 8.
    pub fn longest(&self) -> usize {
        let most = if self.area.is_mapped_twice() { self.plan.capacity } else { self.plan.capacity / 2 };
        index(most - WORD)
    }

    /// A look from outside: how full it is (in bytes), how many records there were, and who uses it. Wait-free; for people
    /// and monitors.
    pub fn stats(&self) -> Stats {
        stats::of_header(self.object.attached().region(), self.object.at(), Unit::Records, self.plan.capacity)
    }

    /// The right to send, if nobody alive has it. It goes on where the last sender stopped.
    ///
    /// Lock-free; one liveness check.
    ///
    /// # Errors
    /// `Busy`, `Corrupt`, `ReadOnly`, `Forked`, `Killed`.
    pub fn try_sender(&self) -> Result<Sender<M>> {
        self.take_sender(Patience::None)
    }

    /// The right to send; waits until its holder dies, resigns or closes: a hot standby in one call.
    ///
    /// A death is noticed within 100 ms. `Busy` at once if the holder is this very attachment.
    ///
    /// # Errors
    /// As [`try_sender`](Self::try_sender).
    pub fn sender(&self) -> Result<Sender<M>> {
        self.take_sender(Patience::Until(None))
    }

    /// The right to send; waits for it, but no longer than `timeout`.
    ///
    /// # Errors
    /// As [`try_sender`](Self::try_sender); `Busy` means: still so.
    pub fn sender_timeout(&self, timeout: Duration) -> Result<Sender<M>> {
        self.take_sender(Patience::Until(Some(timeout)))
    }

    /// The right to receive, if nobody alive has it. What the last receiver did not release is received again.
    ///
    /// Lock-free; one liveness check.
    ///
    /// # Errors
    /// `Busy`, `Corrupt`, `ReadOnly`, `Forked`, `Killed`.
    pub fn try_receiver(&self) -> Result<Receiver<M>> {
        self.take_receiver(Patience::None)
    }

    /// The right to receive; waits until its holder dies, resigns or closes.
    ///
    /// A death is noticed within 100 ms. `Busy` at once if the holder is this very attachment.
    ///
    /// # Errors
    /// As [`try_receiver`](Self::try_receiver).
    pub fn receiver(&self) -> Result<Receiver<M>> {
        self.take_receiver(Patience::Until(None))
    }

    /// The right to receive; waits for it, but no longer than `timeout`.
    ///
    /// # Errors
    /// As [`try_receiver`](Self::try_receiver); `Busy` means: still so.
    pub fn receiver_timeout(&self, timeout: Duration) -> Result<Receiver<M>> {
        self.take_receiver(Patience::Until(Some(timeout)))
    }

    fn take_sender(&self, patience: Patience) -> Result<Sender<M>> {
        let (end, count) = self.take(patience)?;
        let longest = self.longest();
        Ok(Sender::new(end, count, self.area.clone(), longest, self.object.attached().owner()))
    }

    fn take_receiver(&self, patience: Patience) -> Result<Receiver<M>> {
        let (end, count) = self.take(patience)?;
        Ok(Receiver::new(end, count, self.area.clone(), self.plan.mirrored))
    }

    /// An end, and how many records went through it.
    fn take<S: Side>(&self, patience: Patience) -> Result<(End<S>, u64)> {
        let first = self.area.base(&self.object, &self.plan)?;
        let end = End::<S>::take(&self.object, self.plan.capacity, (first, 1), patience)?;
        end.without_look_ahead().resume_count(WORD)
    }

    /// What peers may write, for tests.
    #[cfg(all(test, not(loom)))]
    pub(super) fn header(&self) -> &crate::ring::end::Header {
        self.object.attached().region().get(self.object.at()).unwrap()
    }

    /// The same as words, eventcounts and padding included; then those of the records.
    #[cfg(all(test, not(loom)))]
    pub(super) fn words(&self) -> &[crate::shim::AtomicU64] {
        let len = self.plan.total;
        let words = self.object.attached().region().bytes(self.object.at(), len, 128).unwrap();
        // SAFETY: in range and aligned; in a test with one thread no access races with another.
        unsafe { core::slice::from_raw_parts(words.cast().as_ptr(), index(len / 8)) }
    }
}

/// What the creator of a ring chooses.
#[derive(Clone, Copy, Debug)]
pub(super) struct New {
    /// The first position.
    pub(super) start: u64,
    pub(super) mirrored: bool,
}

impl Default for New {
    fn default() -> Self {
        Self { start: START, mirrored: false }
    }
}

impl New {
    /// Mirrored, if that segment's memory can be: its first page is asked.
    fn in_segment<M: Trust>(segment: &Segment<M>) -> Self {
        Self { start: START, mirrored: segment.attached().mirror(0, 4096).is_some() }
    }
}

impl<M: Trust> Clone for Ring<M> {
    fn clone(&self) -> Self {
        Self { object: self.object.clone(), plan: self.plan, area: self.area.clone(), mode: PhantomData }
    }
}

impl<M: Trust> fmt::Debug for Ring<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ring")
            .field("name", &self.object.name())
            .field("mapped_twice", &self.area.is_mapped_twice())
            .field("stats", &self.stats())
            .finish_non_exhaustive()
    }
}

static_assertions::assert_impl_all!(Ring: Send, Sync, Clone);
