//! The bytes of a stream by position, and how each mode of trust goes about them.

use core::marker::PhantomData;
use core::mem::MaybeUninit;

use crate::ring::position::{index, until_wrap};
use crate::shim::Slots;
use crate::trust::Trust;

/// So much of a ring is copied before it is published: the peer starts on it while the next part is copied.
const PART: u64 = 64 << 10;
/// Parts are not made smaller than this; in a model they are.
const LEAST_PART: u64 = if cfg!(loom) { 1 } else { 4096 };

/// The bytes of a stream.
pub(super) struct Data<M: Trust> {
    slots: Slots<u8>,
    capacity: u64,
    mode: PhantomData<M>,
}

impl<M: Trust> Data<M> {
    /// `slots`: as many as `capacity`, a power of two.
    pub(super) fn new(slots: Slots<u8>, capacity: u64) -> Self {
        Self { slots, capacity, mode: PhantomData }
    }

    /// How many bytes to copy before they are published: a quarter of the ring, within bounds.
    pub(super) fn part(&self) -> usize {
        index((self.capacity / 4).clamp(LEAST_PART, PART))
    }

    fn slot(&self, position: u64) -> usize {
        index(position & (self.capacity - 1))
    }

    /// Copies `from` to `position` on, in two pieces if the end of the ring lies between.
    ///
    /// # Safety
    /// R-I2: the sender's bytes, as many, and no more than there are in the ring.
    #[inline]
    pub(super) unsafe fn put(&self, position: u64, from: &[u8]) {
        let (now, anew) = from.split_at(index(until_wrap(position, self.capacity)).min(from.len()));
        // SAFETY: R-I2 - up to the end of the ring.
        unsafe { self.put_row(self.slot(position), now) };
        // SAFETY: R-I2 - the rest, from its beginning.
        unsafe { self.put_row(0, anew) };
    }

    /// # Safety
    /// R-I2: the sender's bytes, from `slot` on.
    #[inline]
    pub(super) unsafe fn put_row(&self, slot: usize, from: &[u8]) {
        if M::TRUSTED {
            // SAFETY: R-I2 - nobody else's, by the contract of trust.
            unsafe { self.slots.copy_in(slot, from) };
        } else {
            // SAFETY: R-I2 - within the ring.
            unsafe { self.slots.store_many(slot, from) };
        }
    }

    /// Copies from `position` on into all of `into`, in two pieces if the end of the ring lies between.
    ///
    /// # Safety
    /// R-I2: the receiver's bytes, as many.
    #[inline]
    pub(super) unsafe fn get(&self, position: u64, into: &mut [u8]) {
        let (now, anew) = into.split_at_mut(index(until_wrap(position, self.capacity)).min(into.len()));
        // SAFETY: R-I2 - up to the end of the ring.
        unsafe { self.get_row(self.slot(position), now) };
        // SAFETY: R-I2 - the rest, from its beginning.
        unsafe { self.get_row(0, anew) };
    }

    /// # Safety
    /// R-I2: the receiver's bytes, from `slot` on.
    #[inline]
    pub(super) unsafe fn get_row(&self, slot: usize, into: &mut [u8]) {
        // SAFETY: R-I7 - the caller's bytes; only bytes are written there.
        let into = unsafe {
            core::slice::from_raw_parts_mut(into.as_mut_ptr().cast::<MaybeUninit<u8>>(), into.len())
        };
        if M::TRUSTED {
            // SAFETY: R-I2 - nobody writes them now, by the contract of trust.
            unsafe { self.slots.copy_out(slot, into) };
        } else {
            // SAFETY: R-I2 - within the ring.
            unsafe { self.slots.load_many(slot, into) };
        }
    }

    /// For the kernel, and for slices in mode `Trusted`.
    pub(super) fn slots(&self) -> &Slots<u8> {
        &self.slots
    }
}

impl<M: Trust> Clone for Data<M> {
    fn clone(&self) -> Self {
        Self { slots: self.slots.clone(), capacity: self.capacity, mode: PhantomData }
    }
}
