//! The payload of a structure: slots of one type, back to back.
//!
//! # Invariants
//! I1  `base..base + count` are readable (and writable, if anything is written through it) and aligned to
//!     `T` while the `Slots` or a clone of it is used: contract of `build` and `open`.
//! I2  An index, with the number of slots from it, stays within `count`: contract of every method.
//! I3  In one mapping the bytes are accessed either only by the checked methods, or only by the trusted ones:
//!     contract of `build` and `open`. Thus in checked mode all accesses are the copy's, whose races are defined.
//! I4  Trusted: nobody writes a slot while we read it, nobody touches it while we write it, and what is read
//!     was written as a `T`: contract of those methods, kept by the structure's protocol.

use core::fmt;
use core::mem::MaybeUninit;
use core::ptr::{self, NonNull};

use bytemuck::Pod;

use crate::shim::copy;

/// The model checker's business: nothing here.
#[derive(Debug, Default)]
pub(crate) struct RaceTable;

impl RaceTable {
    pub(crate) fn new() -> Self {
        Self
    }
}

/// The payload area of a structure: `count` slots of `T`, back to back, aligned to `T`.
///
/// *Checked* methods may run while anybody writes the same bytes: what comes out may be a mixture of values, but
/// nothing is undefined. *Trusted* methods rely on the protocol to keep others away.
pub(crate) struct Slots<T> {
    base: NonNull<T>,
    count: usize,
}

impl<T> Clone for Slots<T> {
    fn clone(&self) -> Self {
        Self { base: self.base, count: self.count }
    }
}

impl<T> fmt::Debug for Slots<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Slots").field("base", &self.base).field("count", &self.count).finish()
    }
}

// SAFETY: I3, I4 - an address and a number; with it values of `T` go from thread to thread, which `T: Send`
// allows. The memory belongs to no thread.
unsafe impl<T: Send> Send for Slots<T> {}
// SAFETY: I3, I4 - every access is an unsafe method: the checked ones may race, and for the trusted ones the caller
// keeps all others away from a slot that it writes. A slot that several threads read at once through `slice` takes
// `T: Sync` as well; that too is the contract of `slice`.
unsafe impl<T: Send> Sync for Slots<T> {}

impl<T> Slots<T> {
    /// The slots, for whoever makes the structure. `at` is their offset in the region.
    ///
    /// # Safety
    /// I1, I3.
    pub(crate) unsafe fn build(base: NonNull<T>, count: usize, _races: &RaceTable, _at: u64) -> Self {
        Self { base, count }
    }

    /// The slots of a structure that was built.
    ///
    /// # Safety
    /// I1, I3.
    pub(crate) unsafe fn open(base: NonNull<T>, count: usize, _races: &RaceTable, _at: u64) -> Self {
        Self { base, count }
    }

    #[inline]
    fn at(&self, i: usize, n: usize) -> *mut T {
        debug_assert!(i <= self.count && n <= self.count - i, "{n} slots from {i} of {}", self.count);
        // SAFETY: I1, I2 - in bounds.
        unsafe { self.base.as_ptr().add(i) }
    }

    /// Checked: a copy of slot `i`.
    ///
    /// # Safety
    /// I2.
    #[inline]
    pub(crate) unsafe fn load(&self, i: usize) -> T
    where
        T: Pod,
    {
        // SAFETY: I1, I2, I3 - in bounds, and all accesses are of this kind.
        unsafe { copy::load(self.at(i, 1)) }
    }

    /// Checked: fills slot `i`.
    ///
    /// # Safety
    /// I2.
    #[inline]
    pub(crate) unsafe fn store(&self, i: usize, value: T)
    where
        T: Pod,
    {
        // SAFETY: I1, I2, I3 - in bounds, and all accesses are of this kind.
        unsafe { copy::store(self.at(i, 1), value) }
    }

    /// Checked: copies of the slots from `i` on; all of `into` is filled.
    ///
    /// # Safety
    /// I2.
    #[inline]
    pub(crate) unsafe fn load_many(&self, i: usize, into: &mut [MaybeUninit<T>])
    where
        T: Pod,
    {
        let n = into.len();
        // SAFETY: I1, I2, I3 - in bounds, and all accesses are of this kind.
        unsafe { copy::load_bytes(into.as_mut_ptr().cast(), self.at(i, n), n) }
    }

    /// Checked: fills the slots from `i` on.
    ///
    /// # Safety
    /// I2.
    #[inline]
    pub(crate) unsafe fn store_many(&self, i: usize, from: &[T])
    where
        T: Pod,
    {
        // SAFETY: I1, I2, I3 - in bounds, and all accesses are of this kind.
        unsafe { copy::store_bytes(self.at(i, from.len()), from.as_ptr(), from.len()) }
    }

    /// Has the kernel write `n` slots from `i` on, in either mode: what it stores is no access of our program, but another
    /// process'. It may do so while `call` runs.
    ///
    /// # Safety
    /// I2; trusted also I4.
    #[inline]
    pub(crate) unsafe fn written_by_kernel<R>(
        &self,
        i: usize,
        n: usize,
        call: impl FnOnce(*mut T) -> R,
    ) -> R {
        call(self.at(i, n))
    }

    /// Has the kernel read `n` slots from `i` on, likewise.
    ///
    /// # Safety
    /// I2; trusted also I4.
    #[inline]
    pub(crate) unsafe fn read_by_kernel<R>(&self, i: usize, n: usize, call: impl FnOnce(*const T) -> R) -> R {
        call(self.at(i, n))
    }

    /// Trusted: moves the value out of slot `i`.
    ///
    /// # Safety
    /// I2, I4. The slot counts as empty afterwards.
    #[inline]
    pub(crate) unsafe fn take(&self, i: usize) -> T {
        // SAFETY: I1, I2, I4 - in bounds, written, and nobody else's now.
        unsafe { self.at(i, 1).read() }
    }

    /// Trusted: moves a value into slot `i`. What was in it is forgotten, not dropped.
    ///
    /// # Safety
    /// I2, I4.
    #[inline]
    pub(crate) unsafe fn put(&self, i: usize, value: T) {
        // SAFETY: I1, I2, I4 - in bounds, and nobody else's now.
        unsafe { self.at(i, 1).write(value) }
    }

    /// Trusted: `n` slots in place. Ask for it again for each use, rather than keep it: a model looks for
    /// races at each call.
    ///
    /// # Safety
    /// I2; I4 for as long as the slice lives, and `T: Sync` if several threads do this at once.
    #[inline]
    pub(crate) unsafe fn slice(&self, i: usize, n: usize) -> &[T] {
        // SAFETY: I1, I2, I4 - in bounds, written, and nobody writes for so long.
        unsafe { core::slice::from_raw_parts(self.at(i, n), n) }
    }

    /// Trusted: `n` slots to be written in place. Ask for it again for each use, as for [`slice`](Self::slice).
    ///
    /// # Safety
    /// I2; I4 for as long as the slice lives: one at a time.
    #[inline]
    #[expect(
        clippy::mut_from_ref,
        reason = "the protocol says whose a slot is, and the caller vouches for it"
    )]
    pub(crate) unsafe fn slice_mut(&self, i: usize, n: usize) -> &mut [MaybeUninit<T>] {
        // SAFETY: I1, I2, I4 - in bounds, and nobody else's for so long.
        unsafe { core::slice::from_raw_parts_mut(self.at(i, n).cast(), n) }
    }

    /// Trusted: moves the slots from `i` on out; all of `into` is filled.
    ///
    /// # Safety
    /// I2, I4. The slots count as empty afterwards.
    #[inline]
    pub(crate) unsafe fn copy_out(&self, i: usize, into: &mut [MaybeUninit<T>]) {
        let n = into.len();
        // SAFETY: I1, I2, I4 - in bounds, written, nobody else's now; an exclusive slice is elsewhere.
        unsafe { ptr::copy_nonoverlapping(self.at(i, n), into.as_mut_ptr().cast(), n) }
    }

    /// Trusted: moves copies of `from` into the slots from `i` on.
    ///
    /// # Safety
    /// I2, I4. `from` lies elsewhere, and the caller may give its values away: `T` is `Copy`, or they are forgotten.
    #[inline]
    pub(crate) unsafe fn copy_in(&self, i: usize, from: &[T]) {
        // SAFETY: I1, I2, I4 - in bounds, nobody else's now, and no overlap.
        unsafe { ptr::copy_nonoverlapping(from.as_ptr(), self.at(i, from.len()), from.len()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slots<T>(memory: &mut [T]) -> Slots<T> {
        let base = NonNull::new(memory.as_mut_ptr()).unwrap();
        // SAFETY: I1, I3 - the tests keep the memory, and each uses one kind of methods.
        unsafe { Slots::build(base, memory.len(), &RaceTable::new(), 0) }
    }

    static_assertions::assert_impl_all!(Slots<u64>: Send, Sync, Clone);
    static_assertions::assert_not_impl_any!(Slots<*const u8>: Send, Sync);
    static_assertions::assert_eq_size!(RaceTable, ());

    #[test]
    fn checked_copies_go_where_they_should() {
        let mut memory = [0_u64; 8];
        let slots = slots(&mut memory);
        // SAFETY: I2 - in bounds.
        unsafe { slots.store(1, 11) };
        // SAFETY: I2 - in bounds.
        unsafe { slots.store_many(2, &[12, 13, 14]) };
        let mut out = [MaybeUninit::new(0); 3];
        // SAFETY: I2 - in bounds.
        unsafe { slots.load_many(1, &mut out) };
        // SAFETY: just filled; integers in any case.
        assert_eq!(out.map(|v| unsafe { v.assume_init() }), [11, 12, 13]);
        // SAFETY: I2 - in bounds.
        assert_eq!(unsafe { slots.clone().load(4) }, 14);
        assert_eq!(memory, [0, 11, 12, 13, 14, 0, 0, 0]);
    }

    #[test]
    fn trusted_moves_go_where_they_should() {
        let mut memory = [0_u32; 6];
        let slots = slots(&mut memory);
        // SAFETY: I2, I4 - in bounds, one thread.
        unsafe { slots.put(0, 1) };
        // SAFETY: I2, I4 - in bounds, one thread.
        unsafe { slots.copy_in(1, &[2, 3]) };
        // SAFETY: I2, I4 - in bounds, one thread, one at a time.
        let pair = unsafe { slots.slice_mut(3, 2) };
        pair[1].write(5);
        // SAFETY: I2, I4 - in bounds, one thread.
        assert_eq!(unsafe { slots.slice(0, 6) }, [1, 2, 3, 0, 5, 0]);
        // SAFETY: I2, I4 - in bounds, one thread.
        assert_eq!(unsafe { slots.take(4) }, 5);
        let mut out = [MaybeUninit::new(0); 2];
        // SAFETY: I2, I4 - in bounds, one thread.
        unsafe { slots.copy_out(1, &mut out) };
        // SAFETY: just filled; integers in any case.
        assert_eq!(out.map(|v| unsafe { v.assume_init() }), [2, 3]);
    }

    #[test]
    #[cfg(debug_assertions)]
    #[should_panic(expected = "3 slots from 2 of 4")]
    fn debug_builds_refuse_what_is_out_of_bounds() {
        let mut memory = [0_u64; 4];
        // SAFETY: it is refused before anything is accessed.
        unsafe { slots(&mut memory).store_many(2, &[1, 2, 3]) };
    }
}
