//! Floor 7: a user's own atomics, by name.
//!
//! For whoever builds a structure of his own: an [`Object`] of atomics for its words, [`Segment::owner`] to stamp
//! them, [`Segment::is_dead`] to know when a stamp may be taken over. The same code runs under the model checker, on
//! `outlive::atomic`.
//!
//! # Crashes
//! | dies                   | left            | outcome                                                            | held by |
//! |------------------------|-----------------|--------------------------------------------------------------------|---------|
//! | create, anywhere       | no such object  | the next `open_or_create` makes it                                 | `kill "object create"` |
//! |                        |                 |                                                                    | `tests startup_race::the_creator_of_an_object_*` |
//! | user, anywhere         | the words       | what they mean is the user's: stamp owners, commit by one store    | `kill "link exchanged"` |

use core::fmt;
use core::marker::PhantomData;
use core::ops::Deref;
use core::ptr::NonNull;

use crate::error::{Error, Result};
use crate::memory::Region;
use crate::payload::{self, Concurrent};
use crate::ptr::Offset;
use crate::segment::directory::{self, Kind, Mode, ObjectHandle, Spec};
use crate::segment::inspection::{Breach, Inspection, Place};
use crate::segment::{Owner, Segment};

/// A `T` of atomics in a segment, shared by everybody who opens it.
///
/// Wait-free: an operation on it is an operation on the atomics. Nothing is recovered after a death: the words stay as
/// the dead process left them.
///
/// ```
/// use outlive::{Segment, atomic::{AtomicU64, Ordering}, object::Object};
/// let segment = Segment::heap(1 << 16)?;
/// let hits = Object::<AtomicU64>::open_or_create(&segment, "hits", AtomicU64::default)?;
/// hits.fetch_add(1, Ordering::Relaxed);
/// let again = Object::<AtomicU64>::open(&segment.attach()?, "hits")?;
/// assert_eq!(again.load(Ordering::Relaxed), 1);
/// # Ok::<(), outlive::Error>(())
/// ```
pub struct Object<T: Concurrent> {
    /// I1: points to a `T` inside the region that `handle` keeps mapped, and that nobody uses for anything else.
    place: NonNull<T>,
    handle: ObjectHandle,
    owns: PhantomData<T>,
}

// SAFETY: I1 - a shared reference to a `T`, which is `Sync` (`Shared`), with what keeps it alive.
unsafe impl<T: Concurrent> Send for Object<T> {}
// SAFETY: as above.
unsafe impl<T: Concurrent> Sync for Object<T> {}

/// Users' words are theirs to repair.
pub(crate) static KIND: Kind = Kind { tag: 1, name: "object", sweep: nothing_to_repair, look: None, check };

fn nothing_to_repair(_: &Region, _: u64, _: u64, _: &dyn Fn(Owner) -> bool) {}

/// What users' words mean is theirs. An object has no capacity.
fn check(inspection: &mut Inspection<'_>, place: &Place) {
    if place.named && place.shape != 0 {
        inspection.report(Breach::corrupt("an object of atomics has a capacity", place.at, place.shape));
    }
}

impl<T: Concurrent> Object<T> {
    /// Makes the object; its name must be free.
    ///
    /// # Errors
    /// `AlreadyExists`, `InvalidName`, `NoSpace`, `Busy`.
    pub fn create(segment: &Segment, name: &str, init: impl FnOnce() -> T) -> Result<Self> {
        Self::find(segment, name, Mode::Create, Some(init()))
    }

    /// Opens the object.
    ///
    /// # Errors
    /// `NotFound`, `WrongType`, `InvalidName`; `ReadOnly` in an attachment that only looks, for an atomic can be stored to.
    /// What is in the object can be read there by [`Segment::resolve`], copy by copy.
    pub fn open(segment: &Segment, name: &str) -> Result<Self> {
        Self::find(segment, name, Mode::Open, None)
    }

    /// Opens the object, or makes it. `init` runs if it does not exist, under no lock; if two processes do this at once,
    /// both run it, and one value is used.
    ///
    /// # Errors
    /// `WrongType`, `InvalidName`, `NoSpace`, `Busy`.
    pub fn open_or_create(segment: &Segment, name: &str, init: impl FnOnce() -> T) -> Result<Self> {
        match Self::open(segment, name) {
            Err(Error::NotFound { .. }) => Self::find(segment, name, Mode::OpenOrCreate, Some(init())),
            other => other,
        }
    }

    fn find(segment: &Segment, name: &str, mode: Mode, value: Option<T>) -> Result<Self> {
        const { payload::admit::<T>() };
        segment.attached().check_writable()?; // whoever has it can store to it
        let (size, align) = (size_of::<T>() as u64, align_of::<T>() as u64);
        let spec = Spec { kind: &KIND, schema: T::SCHEMA, shape: None, size, align };
        let build = |region: &Region, at| region.put(at, value.unwrap_or_default()).map(|_| ());
        let handle = directory::find(segment.attached(), name, mode, &spec, build)?;
        if handle.len() < size {
            return Err(Error::Corrupt { what: "an object is smaller than its type", at: handle.at() });
        }
        let place = NonNull::from(handle.attached().region().shared::<T>(handle.at())?);
        Ok(Self { place, handle, owns: PhantomData })
    }

    /// Where it lies, to be stored in other objects as a link.
    pub fn offset(&self) -> Offset<T> {
        Offset::new(self.handle.at())
    }
}

impl<T: Concurrent> Deref for Object<T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        // SAFETY: I1.
        unsafe { self.place.as_ref() }
    }
}

impl<T: Concurrent> Clone for Object<T> {
    fn clone(&self) -> Self {
        Self { place: self.place, handle: self.handle.clone(), owns: PhantomData }
    }
}

impl<T: Concurrent> fmt::Debug for Object<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Object")
            .field("name", &self.handle.name())
            .field("at", &self.handle.at())
            .finish_non_exhaustive()
    }
}
