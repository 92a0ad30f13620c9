//! The value, for as long as the lock is held.
//!
//! One rule for both guards: dropped, they leave the lock by one store. What they leave it as is decided by what they are:
//! a [`Guard`] leaves it in order, unless a panic unwinds; an [`Inconsistent`] leaves it as it found it.

use core::fmt;
use core::marker::PhantomData;
use core::mem::ManuallyDrop;
use core::ops::{Deref, DerefMut};

use super::Mutex;
use crate::payload::sealed::Admitted;
use crate::payload::{Payload, Shared};
use crate::segment::Owner;
use crate::shim::this_thread;
use crate::trust::{Checked, Trust, Trusted};

/// The lock, and what every guard does with it.
struct Held<'a, T: Payload<M>, M: Trust> {
    mutex: &'a Mutex<T, M>,
    /// A thread has the lock: it is not given to another one.
    not_send: PhantomData<*const ()>,
}

// SAFETY: X-I2 - shared between threads it only reads values of `T`, or gives references to one, for which `T` is `Sync`
// (`Shared` types are).
unsafe impl<T: Payload<M>, M: Trust> Sync for Held<'_, T, M> {}

impl<T: Payload<M>, M: Trust> Held<'_, T, M> {
    fn load(&self) -> T {
        // SAFETY: X-I1, X-I2 - one slot, and ours.
        unsafe { <T as Admitted<M>>::load(&self.mutex.slots, 0) }
    }

    fn store(&mut self, value: T) {
        if self.mutex.is_here() {
            // SAFETY: X-I1, X-I2 - one slot, and ours.
            unsafe { <T as Admitted<M>>::store(&self.mutex.slots, 0, value) }
        }
    }
}

impl<T: Shared> Held<'_, T, Trusted> {
    fn get_ref(&self) -> &T {
        // SAFETY: X-I2 - one slot, which holds a value and is ours, by the contract of trust; the slice borrows the guard.
        let slot = unsafe { self.mutex.slots.slice(0, 1) };
        &slot[0]
    }

    fn get_mut(&mut self) -> &mut T {
        // SAFETY: X-I2 - as above; one at a time, for it borrows the guard exclusively.
        let slot = unsafe { self.mutex.slots.slice_mut(0, 1) };
        // SAFETY: X-I2 - the creator has put a value there, and only values of `T` were since.
        unsafe { slot[0].assume_init_mut() }
    }
}

/// The lock, and the value, which is in order.
///
/// Dropped, it unlocks. Dropped while its thread panics, the next locker is told that the value may be half changed.
#[must_use = "dropped, it is unlocked at once"]
pub struct Guard<'a, T: Payload<M>, M: Trust = Checked> {
    held: Held<'a, T, M>,
    /// It was locked by a thread that was panicking already.
    panicking: bool,
}

impl<'a, T: Payload<M>, M: Trust> Guard<'a, T, M> {
    #[inline]
    pub(super) fn new(mutex: &'a Mutex<T, M>) -> Self {
        mutex.note(this_thread());
        Self { held: Held { mutex, not_send: PhantomData }, panicking: std::thread::panicking() }
    }
}

impl<T: Payload<Checked>> Guard<'_, T, Checked> {
    /// A copy of the value.
    #[inline]
    pub fn get(&self) -> T {
        self.held.load()
    }

    /// Replaces the value. In a forked child, and after `testing::kill`, it does nothing: the lock is another's there.
    #[inline]
    pub fn set(&mut self, value: T) {
        self.held.store(value);
    }

    /// Changes the value: a copy out, a copy in. If `change` panics, nothing is copied in.
    #[inline]
    pub fn update<R>(&mut self, change: impl FnOnce(&mut T) -> R) -> R {
        let mut value = self.held.load();
        let result = change(&mut value);
        self.held.store(value);
        result
    }
}

impl<T: Shared> Deref for Guard<'_, T, Trusted> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        self.held.get_ref()
    }
}

impl<T: Shared> DerefMut for Guard<'_, T, Trusted> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        self.held.get_mut()
    }
}

impl<T: Payload<M>, M: Trust> Drop for Guard<'_, T, M> {
    #[inline]
    fn drop(&mut self) {
        let mutex = self.held.mutex;
        if !mutex.is_here() {
            return;
        }
        mutex.note(0);
        if !self.panicking && std::thread::panicking() {
            mutex.word().blame(mutex.opened.object.attached().owner());
            mutex.word().leave_inconsistent();
        } else {
            mutex.word().leave();
        }
    }
}

impl<T: Payload<M>, M: Trust> fmt::Debug for Guard<'_, T, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Guard").field("mutex", self.held.mutex).finish_non_exhaustive()
    }
}

/// The lock, and the value, which somebody has left in the middle of a change.
///
/// Dropped, it unlocks, and the next locker is told again.
#[must_use = "dropped, the next locker is told again: `mark_consistent` it"]
pub struct Inconsistent<'a, T: Payload<M>, M: Trust = Checked> {
    held: Held<'a, T, M>,
}

impl<'a, T: Payload<M>, M: Trust> Inconsistent<'a, T, M> {
    pub(super) fn new(mutex: &'a Mutex<T, M>) -> Self {
        mutex.note(this_thread());
        Self { held: Held { mutex, not_send: PhantomData } }
    }

    /// Who died, or panicked, inside; `None` if that cannot be told any more.
    pub fn owner(&self) -> Option<Owner> {
        self.held.mutex.word().last_died()
    }

    /// The value is in order again.
    pub fn mark_consistent(self) -> Guard<'a, T, M> {
        let inconsistent = ManuallyDrop::new(self);
        let mutex = inconsistent.held.mutex;
        if mutex.is_here() {
            mutex.word().mark_consistent();
        }
        Guard::new(mutex)
    }

    /// The value is lost: from now on whoever locks is told `NotRecoverable`.
    pub fn give_up(self) {
        let inconsistent = ManuallyDrop::new(self);
        let mutex = inconsistent.held.mutex;
        if mutex.is_here() {
            mutex.note(0);
            mutex.word().give_up();
        }
    }

    pub(super) fn repair(&mut self, repair: impl FnOnce(&mut T)) {
        let mut value = self.held.load();
        repair(&mut value);
        self.held.store(value);
    }
}

impl<T: Payload<Checked>> Inconsistent<'_, T, Checked> {
    /// A copy of the value.
    pub fn get(&self) -> T {
        self.held.load()
    }

    /// Replaces the value. In a forked child, and after `testing::kill`, it does nothing.
    pub fn set(&mut self, value: T) {
        self.held.store(value);
    }

    /// Changes the value: a copy out, a copy in. If `change` panics, nothing is copied in.
    pub fn update<R>(&mut self, change: impl FnOnce(&mut T) -> R) -> R {
        let mut value = self.held.load();
        let result = change(&mut value);
        self.held.store(value);
        result
    }
}

impl<T: Shared> Deref for Inconsistent<'_, T, Trusted> {
    type Target = T;

    fn deref(&self) -> &T {
        self.held.get_ref()
    }
}

impl<T: Shared> DerefMut for Inconsistent<'_, T, Trusted> {
    fn deref_mut(&mut self) -> &mut T {
        self.held.get_mut()
    }
}

impl<T: Payload<M>, M: Trust> Drop for Inconsistent<'_, T, M> {
    fn drop(&mut self) {
        let mutex = self.held.mutex;
        if mutex.is_here() {
            mutex.note(0);
            mutex.word().leave_inconsistent();
        }
    }
}

impl<T: Payload<M>, M: Trust> fmt::Debug for Inconsistent<'_, T, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inconsistent")
            .field("mutex", self.held.mutex)
            .field("owner", &self.owner())
            .finish_non_exhaustive()
    }
}

static_assertions::assert_impl_all!(Guard<'_, u64>: Sync);
static_assertions::assert_not_impl_any!(Guard<'_, u64>: Send);
static_assertions::assert_not_impl_any!(Inconsistent<'_, u64>: Send);
