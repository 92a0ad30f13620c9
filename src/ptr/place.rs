//! A resolved offset.

use core::fmt;
use core::marker::PhantomData;
use core::ptr::NonNull;

use super::Offset;
use crate::error::Fault;
use crate::payload::{Payload, Shared};
use crate::segment::Segment;
use crate::shim::Slots;
use crate::trust::{Checked, Trust, Trusted};

/// A place in a segment that holds a `T`: in range, aligned, mapped. It says nothing about who else uses it.
///
/// Wait-free. In checked mode it copies in and out, and a copy may be torn if somebody writes at the same time.
pub struct Place<'a, T: Payload<M>, M: Trust = Checked> {
    /// I1: `size_of::<T>()` mapped bytes of the segment, aligned to `T`, for as long as `'a`; to be written
    /// unless `read_only`.
    slots: Slots<T>,
    base: NonNull<T>,
    /// A store would fault.
    read_only: bool,
    segment: PhantomData<(&'a Segment<M>, M)>,
}

impl<M: Trust> Segment<M> {
    /// Checks an offset: range, alignment, not null. What lies there is not checked.
    ///
    /// ```
    /// use outlive::{Segment, atomic::AtomicU64, object::Object, ptr::Offset};
    /// let segment = Segment::heap(1 << 16)?;
    /// let words = Object::<[AtomicU64; 4]>::create(&segment, "words", Default::default)?;
    /// let second = Offset::<u64>::new(words.offset().get() + 8);
    /// segment.resolve(second)?.write(7)?;
    /// assert_eq!(segment.resolve(second)?.read(), 7);
    /// # Ok::<(), outlive::Error>(())
    /// ```
    ///
    /// # Errors
    /// `Corrupt` for null, for what lies outside of the objects, and for what is not aligned; `Forked`, `Killed`.
    pub fn resolve<T: Payload<M>>(&self, offset: Offset<T>) -> Result<Place<'_, T, M>, Fault> {
        let attached = self.attached();
        attached.check()?;
        let at = offset.get();
        if at < attached.data_at() {
            return Err(Fault::Corrupt { what: "an offset points to the tables, or is null", at });
        }
        let region = attached.region();
        let base = region.bytes(at, size_of::<T>() as u64, align_of::<T>() as u64)?.cast::<T>();
        // SAFETY: `bytes` has checked range and alignment, and the attachment keeps the region mapped (I1).
        let slots = unsafe { Slots::open(base, 1, region.races(), at) };
        Ok(Place { slots, base, read_only: region.is_read_only(), segment: PhantomData })
    }
}

impl<T: Payload<Checked>> Place<'_, T, Checked> {
    /// A copy of what is there.
    pub fn read(&self) -> T {
        // SAFETY: I1 - one slot; any bytes are a valid `T` in checked mode.
        unsafe { T::load(&self.slots, 0) }
    }

    /// Copies `value` there. Another process may see a part of it.
    ///
    /// # Errors
    /// `ReadOnly`.
    pub fn write(&self, value: T) -> Result<(), Fault> {
        if self.read_only {
            return Err(Fault::ReadOnly);
        }
        // SAFETY: I1 - one slot, which may be written.
        unsafe { T::store(&self.slots, 0, value) }
        Ok(())
    }
}

impl<'a, T: Shared> Place<'a, T, Trusted> {
    /// A reference to what is there.
    ///
    /// # Safety
    /// It holds a valid `T`, and nobody writes it during `'a`. (A `T` of atomics may be written, if the attachment
    /// is not read-only.)
    pub unsafe fn as_ref(&self) -> &'a T {
        // SAFETY: I1, and the caller's promise.
        unsafe { self.base.as_ref() }
    }

    /// An exclusive reference to what is there.
    ///
    /// # Safety
    /// It holds a valid `T`, nobody else reads or writes it during `'a`, and the attachment is not read-only.
    pub unsafe fn as_mut(&mut self) -> &'a mut T {
        // SAFETY: I1, and the caller's promise.
        unsafe { self.base.as_mut() }
    }
}

impl<T: Payload<M>, M: Trust> fmt::Debug for Place<'_, T, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Place({:?})", self.base)
    }
}
