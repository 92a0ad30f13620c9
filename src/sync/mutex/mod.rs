//! A value that one process at a time may change, and that outlives whoever changes it.
//!
//! # Answers
//! "Is it mine to change, and did the last one who changed it finish?"
//!
//! ```
//! use outlive::{Segment, sync::Mutex};
//!
//! let segment = Segment::heap(1 << 16)?; // or Segment::open_or_create("shm:shop", 1 << 16)?
//! let stock = Mutex::<[u64; 2]>::open_or_create(&segment, "stock", || [10, 0])?;
//! let mut here_and_sold = stock.lock()?;
//! here_and_sold.update(|[here, sold]| {
//!     *here -= 1;
//!     *sold += 1;
//! });
//! drop(here_and_sold);
//! assert_eq!(stock.lock()?.get(), [9, 1]);
//! # Ok::<(), outlive::Error>(())
//! ```
//!
//! # When the owner dies
//! The next locker has the lock, and is told: [`LockError::OwnerDied`] carries the value, which may be half changed. Whoever
//! puts it in order says so ([`Inconsistent::mark_consistent`]); dropped without that, the next one is told again; given up
//! ([`Inconsistent::give_up`]), it is lost for all. A panic while the lock is held is the same as a death. To repair it
//! wherever it is locked is [`Mutex::lock_or_repair`].
//!
//! ```
//! use outlive::{Segment, sync::{LockError, Mutex}, testing};
//! let segment = Segment::heap(1 << 16)?;
//! let pair = Mutex::<[u64; 2]>::create(&segment, "equal", || [1, 1])?;
//!
//! let other = segment.attach()?; // plays another process
//! let theirs = Mutex::<[u64; 2]>::open(&other, "equal")?;
//! let mut guard = theirs.lock()?;
//! guard.set([2, 1]);
//! testing::kill(&other)?; // in the middle
//!
//! match pair.lock() {
//!     Err(LockError::OwnerDied(mut broken)) => {
//!         assert_eq!(broken.owner(), Some(other.owner()));
//!         let [first, _] = broken.get();
//!         broken.set([first, first]);
//!         broken.mark_consistent();
//!     }
//!     other => panic!("{other:?}"),
//! }
//! assert_eq!(pair.lock()?.get(), [2, 2]);
//! # Ok::<(), outlive::Error>(())
//! ```
//!
//! # Guarantees
//! * At most one attachment's handle has the lock. What its holder did is seen by the next one.
//! * A dead holder is noticed by whoever waits, within 100 ms, or by a sweep. No timeout ever takes a lock from the living: a
//!   process that is stopped holds what it holds.
//! * `?` on [`lock`](Mutex::lock) is harmless: it leaves the value as it is, and the next locker is told as well.
//! * Whatever a peer writes into the words below, operations return an error or wrong values, and never fault or panic.
//!   A peer that writes a living owner into the lock keeps it for as long as that owner lives, as if it had locked it.
//!
//! # Layout
//! ```text
//!    0           64     68     72         80          data_at
//!    | constants | lock | died | reserved | padding   | value |
//!
//!    constants:  magic, version, size and align of the value, its schema, data_at, bytes in all, 0
//!    lock:       W:1 | I:1 | 0:6 | owner:24     see `sync::lock`
//!    died:       who was the last to die inside: for reports
//! ```
//! Lock and value lie together, so that a small value comes with the line that the lock is on.
//!
//! # Invariants
//! X-I1  The value of a mutex is used by mutexes of one payload type: the directory compares schemas. Checked and trusted
//!       handles on one mutex meet only where somebody has vouched, by `Segment::trust`, that all keep the protocol.
//! X-I2  A guard exists while its attachment has the lock (M-I1), unless its process was forked, its attachment
//!       declared dead, or a peer has scribbled. Its references to the value (trusted only) borrow it.
//! X-I3  The header that a handle points to is mapped for as long as the handle's object is open.
//!
//! # Orderings
//! | tag | operation                  | order   | pairs | because                                                     |
//! |-----|----------------------------|---------|-------|-------------------------------------------------------------|
//! | X1  | constants                  | Relaxed | -     | written before the directory publishes the object, never again |
//!
//! Those of the lock stand in the private module `sync::lock`.
//!
//! # Crashes
//! | dies                        | left                         | outcome                                       | held by |
//! |-----------------------------|------------------------------|-----------------------------------------------|---------|
//! | create, anywhere            | no such mutex                | the next `open_or_create` makes it            | `kill "mutex create"` |
//! | holder, anywhere            | the lock in its name, the value as far as it was written | `OwnerDied` for the next one | `kill "mutex set"` |
//! | repairer, before `mark_consistent` | the same, in its name | `OwnerDied` for the next one                  | `kill "mutex mark_consistent"` |
//! | giving up, before the store | the lock in its name         | `OwnerDied` for the next one                  | `kill "mutex give_up"` |
//! | closing with a leaked guard | the lock in its name, or free | `OwnerDied` for the next one                 | `kill "mutex leaked, and closed"` |
//! | anyone, anywhere else       | see `sync::lock`             |                                               | `kill "mutex try_lock"` |
//!
//! # Limits
//! Values are never dropped. Not fair: whoever comes at the right moment overtakes those who sleep. A guard that is
//! leaked keeps the lock until the last clone of its handle is gone. Not for signal handlers.
//!
//! # Where it is tested
//! `loom-tests/tests/mutex.rs` (orderings, deaths at every write, sleeping), the tests of this module (corrupt words, panics),
//! `tests/kill/mutex.rs` (every instruction).

use core::fmt;
use core::marker::PhantomData;
use core::ptr::NonNull;
use core::time::Duration;
use std::sync::Arc;

use crate::error::{Error, Result};
use crate::memory::Region;
use crate::payload::sealed::Admitted;
use crate::payload::{self, Payload};
use crate::segment::directory::{self, Kind, Mode, ObjectHandle, Spec};
use crate::segment::{Owner, Segment, Stamp};
use crate::shim::clock::Deadline;
use crate::shim::{PrivateU64, Slots, this_thread};
use crate::sync::{Claimant, LockWord, Taken};
use crate::trust::{Checked, Trust};

mod check;
mod error;
mod guard;
mod layout;
#[cfg(all(test, not(loom)))]
mod tests;

pub use error::LockError;
pub use guard::{Guard, Inconsistent};
use layout::{Header, Plan};

/// A value of `T` in a segment, behind a lock that every process can take, and that outlives its holders.
///
/// Blocking; `try_lock` is wait-free but for a liveness check when the lock is held. Uncontended, locking and unlocking are one
/// read-modify-write each. Clone the handle, keep it, share it with threads.
///
/// See the [module](self) for what a death leaves.
pub struct Mutex<T: Payload<M>, M: Trust = Checked> {
    header: NonNull<Header>,
    slots: Slots<T>,
    stamp: Stamp,
    opened: Arc<Opened>,
    mode: PhantomData<M>,
}

/// What a handle shares with its clones.
struct Opened {
    header: NonNull<Header>,
    stamp: Stamp,
    /// The thread that has the lock by one of them, 0 = none: a lock is not taken twice.
    thread: PrivateU64,
    object: ObjectHandle,
}

// SAFETY: X-I3 - an address of atomics, which is valid as long as `object`.
unsafe impl Send for Opened {}
// SAFETY: as above.
unsafe impl Sync for Opened {}

impl Drop for Opened {
    /// A guard that was leaked can be used no more, as it had borrowed a handle: whoever locks next is told.
    fn drop(&mut self) {
        if self.thread.get() != 0 && self.stamp.bits() != 0 {
            // SAFETY: X-I3.
            let header = unsafe { self.header.as_ref() };
            header.lock.blame(self.object.attached().owner());
            header.lock.leave_inconsistent();
        }
    }
}

// SAFETY: X-I3 - an address of atomics, which is valid as long as `opened`; and with it values of `T`, which may go to
// other threads (`Slots<T>` is what says whether).
unsafe impl<T: Payload<M>, M: Trust> Send for Mutex<T, M> where Slots<T>: Send {}
// SAFETY: as above: the lock keeps threads apart.
unsafe impl<T: Payload<M>, M: Trust> Sync for Mutex<T, M> where Slots<T>: Send {}

/// How a mutex is repaired after a death, and checked.
pub(crate) static KIND: Kind = Kind { tag: 5, name: "mutex", sweep, look: None, check: check::check };

fn sweep(region: &Region, at: u64, len: u64, dead: &dyn Fn(Owner) -> bool) {
    if len < size_of::<Header>() as u64 {
        return;
    }
    let Ok(header) = region.get::<Header>(at) else { return };
    header.lock.sweep(dead);
}

impl<T: Payload<M>, M: Trust> Mutex<T, M> {
    /// Makes the mutex; its name must be free. `init` runs under no lock.
    ///
    /// Killed in the middle, there is no such mutex, and its memory is free for the next one.
    ///
    /// # Errors
    /// `AlreadyExists`, `InvalidName`, `NoSpace`, `Busy` if a stopped process holds the directory.
    pub fn create(segment: &Segment<M>, name: &str, init: impl FnOnce() -> T) -> Result<Self> {
        Self::find(segment, name, Mode::Create, Some(init()))
    }

    /// Opens the mutex.
    ///
    /// # Errors
    /// `NotFound`, `WrongType`, `InvalidName`, `Corrupt`.
    pub fn open(segment: &Segment<M>, name: &str) -> Result<Self> {
        Self::find(segment, name, Mode::Open, None)
    }

    /// Opens the mutex, or makes it. `init` runs if it does not exist, under no lock; if two processes do this at once,
    /// both run it, and one value is used.
    ///
    /// # Errors
    /// Those of [`create`](Self::create) and [`open`](Self::open).
    pub fn open_or_create(segment: &Segment<M>, name: &str, init: impl FnOnce() -> T) -> Result<Self> {
        match Self::open(segment, name) {
            Err(Error::NotFound { .. }) => Self::find(segment, name, Mode::OpenOrCreate, Some(init())),
            other => other,
        }
    }

    fn find(segment: &Segment<M>, name: &str, mode: Mode, value: Option<T>) -> Result<Self> {
        const { payload::admit::<T>() };
        let attached = segment.attached();
        let too_large = || Error::NoSpace { needed: u64::MAX, available: attached.region().len() };
        let plan = Plan::of::<T>().ok_or_else(too_large)?;
        let align = plan.object_align();
        let spec = Spec { kind: &KIND, schema: T::SCHEMA, shape: None, size: plan.total, align };
        let build = |region: &Region, at| {
            let slots = plan.build::<T>(region, at)?;
            if let Some(value) = value {
                // SAFETY: X-I1 - one slot, which is the creator's alone.
                unsafe { <T as Admitted<M>>::store(&slots, 0, value) };
            }
            Ok(())
        };
        let object = directory::find(attached, name, mode, &spec, build)?;
        let (header, slots) = plan.open(&object)?;
        let stamp = attached.stamp();
        let opened = Arc::new(Opened { header, stamp, thread: PrivateU64::new(0), object });
        Ok(Self { header, slots, stamp, opened, mode: PhantomData })
    }

    /// Locks it; waits until it is free, or its holder dead.
    ///
    /// ```
    /// use outlive::{Segment, sync::Mutex};
    /// let segment = Segment::heap(1 << 16)?;
    /// let count = Mutex::<u64>::create(&segment, "count", || 0)?;
    /// count.lock()?.update(|count| *count += 1);
    /// assert_eq!(count.lock()?.get(), 1);
    /// # Ok::<(), outlive::Error>(())
    /// ```
    ///
    /// # Errors
    /// `OwnerDied`: it is locked, and the value to be put in order. `Deadlock`: this thread has it already, by this handle or a clone
    /// of it. `NotRecoverable`, and `Fault`: `Corrupt`, `ReadOnly`, `Forked`, `Killed`.
    #[inline]
    pub fn lock(&self) -> Result<Guard<'_, T, M>, LockError<'_, T, M>> {
        if self.take_free() {
            return Ok(Guard::new(self));
        }
        self.lock_slowly(None)
    }

    /// Locks it, if it is free, or its holder dead.
    ///
    /// ```
    /// use outlive::{Segment, sync::{LockError, Mutex}};
    /// let segment = Segment::heap(1 << 16)?;
    /// let count = Mutex::<u64>::create(&segment, "count", || 0)?;
    /// let other = segment.attach()?;
    /// let theirs = Mutex::<u64>::open(&other, "count")?;
    /// let guard = theirs.lock()?;
    /// assert!(matches!(count.try_lock(), Err(LockError::Held(owner)) if owner == other.owner()));
    /// # Ok::<(), outlive::Error>(())
    /// ```
    ///
    /// # Errors
    /// `Held`, and those of [`lock`](Self::lock).
    #[inline]
    pub fn try_lock(&self) -> Result<Guard<'_, T, M>, LockError<'_, T, M>> {
        if self.take_free() {
            return Ok(Guard::new(self));
        }
        let taken = self.word().try_take(&self.claimant());
        self.taken(taken)
    }

    /// Locks it; waits no longer than `timeout`.
    ///
    /// # Errors
    /// `Held`: still so; and those of [`lock`](Self::lock).
    pub fn lock_timeout(&self, timeout: Duration) -> Result<Guard<'_, T, M>, LockError<'_, T, M>> {
        if self.take_free() {
            return Ok(Guard::new(self));
        }
        self.lock_slowly(Some(timeout))
    }

    /// Locks it; if the last owner died or panicked inside, `repair` puts the value in order first.
    ///
    /// A death in `repair` means that the next one repairs what that has left: it must bear to be run on anything.
    ///
    /// ```
    /// use outlive::{Segment, sync::Mutex, testing};
    /// let segment = Segment::heap(1 << 16)?;
    /// let evens = Mutex::<u64>::create(&segment, "evens", || 2)?;
    /// let other = segment.attach()?;
    /// let theirs = Mutex::<u64>::open(&other, "evens")?;
    /// let mut guard = theirs.lock()?;
    /// guard.set(3);
    /// testing::kill(&other)?;
    /// assert_eq!(evens.lock_or_repair(|number| *number &= !1)?.get(), 2);
    /// assert_eq!(evens.lock()?.get(), 2);
    /// # Ok::<(), outlive::Error>(())
    /// ```
    ///
    /// # Errors
    /// `Deadlock`, `NotRecoverable`, `Corrupt`, `ReadOnly`, `Forked`, `Killed`.
    pub fn lock_or_repair(&self, repair: impl FnOnce(&mut T)) -> Result<Guard<'_, T, M>> {
        match self.lock() {
            Ok(guard) => Ok(guard),
            Err(LockError::OwnerDied(mut inconsistent)) => {
                inconsistent.repair(repair);
                Ok(inconsistent.mark_consistent())
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Who has it at this moment, dead or alive. For people and monitors.
    pub fn owner(&self) -> Option<Owner> {
        self.word().holder()
    }

    #[cold]
    fn lock_slowly(&self, timeout: Option<Duration>) -> Result<Guard<'_, T, M>, LockError<'_, T, M>> {
        let taken = self.word().take(&self.claimant(), &Deadline::after(timeout));
        self.taken(taken)
    }

    fn taken(
        &self,
        taken: core::result::Result<Taken, crate::sync::Refused>,
    ) -> Result<Guard<'_, T, M>, LockError<'_, T, M>> {
        match taken {
            Ok(Taken::Consistent) => Ok(Guard::new(self)),
            Ok(Taken::Inconsistent) => Err(LockError::OwnerDied(Inconsistent::new(self))),
            Err(refused) => Err(refused.into()),
        }
    }

    /// The fast path: free, in order, and nobody waits.
    #[inline]
    fn take_free(&self) -> bool {
        let stamp = self.stamp.bits();
        stamp != 0 && self.word().take_free(stamp)
    }

    fn claimant(&self) -> Claimant<'_> {
        let me = this_thread();
        Claimant {
            attached: self.opened.object.attached(),
            at: self.opened.object.at(),
            has_it: me != 0 && self.opened.thread.get() == me,
        }
    }

    #[inline]
    fn word(&self) -> &LockWord {
        // SAFETY: X-I3.
        let header = unsafe { self.header.as_ref() };
        &header.lock
    }

    /// Notes which thread has the lock.
    #[inline]
    fn note(&self, thread: u64) {
        self.opened.thread.set(thread);
    }

    /// Whether a guard of ours means anything: not in a forked child, nor after `testing::kill`.
    #[inline]
    fn is_here(&self) -> bool {
        self.stamp.bits() != 0
    }

    /// What peers may write, for tests.
    #[cfg(all(test, not(loom)))]
    fn plant(&self, word: u32) {
        self.word().plant(word);
    }
}

impl<T: Payload<M>, M: Trust> Clone for Mutex<T, M> {
    fn clone(&self) -> Self {
        Self {
            header: self.header,
            slots: self.slots.clone(),
            stamp: self.stamp,
            opened: Arc::clone(&self.opened),
            mode: PhantomData,
        }
    }
}

impl<T: Payload<M>, M: Trust> fmt::Debug for Mutex<T, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mutex")
            .field("name", &self.opened.object.name())
            .field("owner", &self.owner())
            .finish_non_exhaustive()
    }
}

static_assertions::assert_impl_all!(Mutex<u64>: Send, Sync, Clone);
