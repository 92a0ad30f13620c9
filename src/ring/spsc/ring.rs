//! The ring by name: who may become its ends.

use core::fmt;
use core::marker::PhantomData;
use core::time::Duration;

use crate::error::{Error, Result};
use crate::memory::Region;
use crate::payload::{self, Payload};
use crate::ring::end::{End, Patience, Side, sweep};
use crate::ring::position::{START, index};
use crate::ring::{Stats, Unit, stats};
use crate::segment::Segment;
use crate::segment::directory::{self, Kind, Mode, ObjectHandle, Spec};
use crate::shim::Slots;
use crate::trust::{Checked, Trust};

use super::check::check;
use super::layout::{MAGIC, Plan, VERSION};
use super::receiver::Receiver;
use super::sender::Sender;

/// A ring of `T` in a segment: one sender, one receiver, in any two processes (or in one).
///
/// The handle holds no role; clone it, keep it, hand it to threads. Roles are taken from it, and survive their holders:
/// [`try_sender`](Self::try_sender), [`try_receiver`](Self::try_receiver).
///
/// ```
/// use outlive::{Segment, ring::spsc};
/// let segment = Segment::heap(1 << 16)?;
/// let ring = spsc::Ring::<u64>::open_or_create(&segment, "numbers", 1000)?;
/// assert_eq!(ring.capacity(), 1024);
/// ring.try_sender()?.send(7)?;
/// assert_eq!(ring.stats().depth, 1);
/// assert_eq!(ring.try_receiver()?.recv()?, 7);
/// # Ok::<(), outlive::Error>(())
/// ```
pub struct Ring<T: Payload<M>, M: Trust = Checked> {
    object: ObjectHandle,
    plan: Plan,
    slots: Slots<T>,
    mode: PhantomData<M>,
}

/// The shape of a new ring.
///
/// ```
/// use outlive::{Segment, ring::spsc};
/// let segment = Segment::heap(1 << 16)?;
/// let ring = spsc::Ring::<u64>::create(&segment, "numbers", spsc::Config::new(64))?; // or just 64
/// # Ok::<(), outlive::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    capacity: usize,
}

impl Config {
    /// Room for so many messages, 1 to 2^31; rounded up to a power of two.
    pub fn new(capacity: usize) -> Self {
        Self { capacity }
    }
}

impl From<usize> for Config {
    fn from(capacity: usize) -> Self {
        Self::new(capacity)
    }
}

/// How a ring is repaired after a death, and looked at from outside.
pub(crate) static KIND: Kind = Kind { tag: 2, name: "spsc ring", sweep, look: Some(look), check };

fn look(region: &Region, at: u64, len: u64) -> Option<Stats> {
    stats::look(region, at, len, [MAGIC, VERSION], Unit::Messages)
}

impl<T: Payload<M>, M: Trust> Ring<T, M> {
    /// Makes the ring; its name must be free.
    ///
    /// Killed in the middle, there is no such ring, and its memory is free for the next one.
    ///
    /// ```
    /// use outlive::{Error, Segment, ring::spsc};
    /// let segment = Segment::heap(1 << 16)?;
    /// let ring = spsc::Ring::<u64>::create(&segment, "numbers", 64)?;
    /// let again = spsc::Ring::<u64>::create(&segment, "numbers", 64);
    /// assert!(matches!(again, Err(Error::AlreadyExists { .. })));
    /// # Ok::<(), Error>(())
    /// ```
    ///
    /// # Errors
    /// `AlreadyExists`, `InvalidName`, `InvalidConfig`, `NoSpace`, `Busy` if a stopped process holds the directory.
    pub fn create(segment: &Segment<M>, name: &str, config: impl Into<Config>) -> Result<Self> {
        Self::find(segment, name, Mode::Create, Some(config.into()), START)
    }

    /// Opens the ring, whatever its capacity. A ring of `Checked` can be opened in a trusted segment too.
    ///
    /// ```
    /// use outlive::{Error, Segment, ring::spsc};
    /// let segment = Segment::heap(1 << 16)?;
    /// let ring = spsc::Ring::<u64>::create(&segment, "numbers", 64)?;
    /// let again = spsc::Ring::<u64>::open(&segment.attach()?, "numbers")?;
    /// let other = spsc::Ring::<f64>::open(&segment, "numbers");
    /// assert!(matches!(other, Err(Error::WrongType { .. })));
    /// # Ok::<(), Error>(())
    /// ```
    ///
    /// # Errors
    /// `NotFound`, `WrongType`, `InvalidName`, `Corrupt`.
    pub fn open(segment: &Segment<M>, name: &str) -> Result<Self> {
        Self::find(segment, name, Mode::Open, None, START)
    }

    /// Opens the ring, or makes it. Capacities are rounded up before they are compared.
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
        const { payload::admit::<T>() };
        let attached = segment.attached();
        let shape = config.map(|config| Plan::rounded(config.capacity)).transpose()?;
        let too_large = || Error::NoSpace { needed: u64::MAX, available: attached.region().len() };
        let plan = Plan::new::<T>(shape.unwrap_or(1)).ok_or_else(too_large)?;
        let spec =
            Spec { kind: &KIND, schema: T::SCHEMA, shape, size: plan.total, align: plan.object_align() };
        let build = |region: &Region, at| plan.build::<T>(region, at, start);
        let object = directory::find(attached, name, mode, &spec, build)?;
        let corrupt = || Error::Corrupt { what: "the capacity of a ring is impossible", at: object.at() };
        let found = usize::try_from(object.shape()).ok().filter(|found| found.is_power_of_two());
        let capacity = Plan::rounded(found.ok_or_else(corrupt)?).map_err(|_| corrupt())?;
        let plan = Plan::new::<T>(capacity).ok_or_else(corrupt)?;
        plan.verify(&object)?;
        let slots = plan.slots(&object)?;
        Ok(Self { object, plan, slots, mode: PhantomData })
    }

    /// How many messages fit.
    pub fn capacity(&self) -> usize {
        index(self.plan.capacity)
    }

    /// A look from outside: how full it is, and who uses it. Wait-free; for people and monitors.
    pub fn stats(&self) -> Stats {
        stats::of_header(
            self.object.attached().region(),
            self.object.at(),
            Unit::Messages,
            self.plan.capacity,
        )
    }

    /// The right to send, if nobody alive has it. It goes on where the last sender stopped.
    ///
    /// Lock-free; one liveness check.
    ///
    /// ```
    /// use outlive::{Error, Segment, ring::spsc};
    /// let segment = Segment::heap(1 << 16)?;
    /// let ring = spsc::Ring::<u64>::create(&segment, "numbers", 64)?;
    /// let sender = ring.try_sender()?;
    /// assert!(matches!(ring.try_sender(), Err(Error::Busy { owner }) if owner == segment.owner()));
    /// # Ok::<(), Error>(())
    /// ```
    ///
    /// # Errors
    /// `Busy`, `Corrupt`, `ReadOnly`, `Forked`, `Killed`.
    pub fn try_sender(&self) -> Result<Sender<T, M>> {
        self.take_sender(Patience::None)
    }

    /// The right to send; waits until its holder dies, resigns or closes: a hot standby in one call.
    ///
    /// A death is noticed within 100 ms. `Busy` at once if the holder is this very attachment.
    ///
    /// # Errors
    /// As [`try_sender`](Self::try_sender).
    pub fn sender(&self) -> Result<Sender<T, M>> {
        self.take_sender(Patience::Until(None))
    }

    /// The right to send; waits for it, but no longer than `timeout`.
    ///
    /// # Errors
    /// As [`try_sender`](Self::try_sender); `Busy` means: still so.
    pub fn sender_timeout(&self, timeout: Duration) -> Result<Sender<T, M>> {
        self.take_sender(Patience::Until(Some(timeout)))
    }

    /// The right to receive, if nobody alive has it. What the last receiver did not release is received again.
    ///
    /// Lock-free; one liveness check.
    ///
    /// # Errors
    /// `Busy`, `Corrupt`, `ReadOnly`, `Forked`, `Killed`.
    pub fn try_receiver(&self) -> Result<Receiver<T, M>> {
        self.take_receiver(Patience::None)
    }

    /// The right to receive; waits until its holder dies, resigns or closes.
    ///
    /// A death is noticed within 100 ms. `Busy` at once if the holder is this very attachment.
    ///
    /// # Errors
    /// As [`try_receiver`](Self::try_receiver).
    pub fn receiver(&self) -> Result<Receiver<T, M>> {
        self.take_receiver(Patience::Until(None))
    }

    /// The right to receive; waits for it, but no longer than `timeout`.
    ///
    /// ```
    /// use outlive::{Error, Segment, ring::spsc, testing};
    /// use std::time::Duration;
    /// let segment = Segment::heap(1 << 16)?;
    /// let ring = spsc::Ring::<u64>::create(&segment, "numbers", 64)?;
    /// let other = segment.attach()?;
    /// let mut first = spsc::Ring::<u64>::open(&other, "numbers")?.try_receiver()?;
    /// assert!(matches!(ring.receiver_timeout(Duration::from_millis(1)), Err(Error::Busy { .. })));
    /// testing::kill(&other)?;
    /// let second = ring.receiver_timeout(Duration::from_secs(1))?;
    /// # Ok::<(), Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`try_receiver`](Self::try_receiver); `Busy` means: still so.
    pub fn receiver_timeout(&self, timeout: Duration) -> Result<Receiver<T, M>> {
        self.take_receiver(Patience::Until(Some(timeout)))
    }

    fn take_sender(&self, patience: Patience) -> Result<Sender<T, M>> {
        self.take(patience).map(|end| Sender::new(end, self.slots.clone()))
    }

    fn take_receiver(&self, patience: Patience) -> Result<Receiver<T, M>> {
        self.take(patience).map(|end| Receiver::new(end, self.slots.clone()))
    }

    fn take<S: Side>(&self, patience: Patience) -> Result<End<S>> {
        End::take(&self.object, self.plan.capacity, self.plan.place_of_slots(&self.object)?, patience)
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

impl<T: Payload<M>, M: Trust> Clone for Ring<T, M> {
    fn clone(&self) -> Self {
        Self { object: self.object.clone(), plan: self.plan, slots: self.slots.clone(), mode: PhantomData }
    }
}

impl<T: Payload<M>, M: Trust> fmt::Debug for Ring<T, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ring")
            .field("name", &self.object.name())
            .field("stats", &self.stats())
            .finish_non_exhaustive()
    }
}

static_assertions::assert_impl_all!(Ring<u64>: Send, Sync, Clone);
