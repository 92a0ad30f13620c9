//! The payload of a structure, watched for races.
//!
//! The values are plain bytes, in both modes: copies by atomics would hide from the model that two processes touch a
//! slot at once. Each slot has a cell of loom's instead, which is entered before every access. Cells are no
//! scheduling points, hence free.
//!
//! # Invariants
//! I1  `base..base + count` are readable (and writable, if anything is written through it) and aligned to `T` while
//!     the `Slots` or a clone of it is used: contract of `build` and `open`.
//! I2  An index, with the number of slots from it, stays within `count`: contract of every method, and checked.
//! I3  In one mapping the bytes are accessed either only by the checked methods, or only by the trusted ones:
//!     contract of `build` and `open`.
//! I4  Trusted: nobody writes a slot while we read it, nobody touches it while we write it, and what is read was
//!     written as a `T`: contract of those methods, kept by the structure's protocol, and checked by the cells.
//! I5  All threads of a model run on one thread of the system, and none changes between entering a cell and the end
//!     of the access. So no copy here races, even where the model reports a race.

use core::fmt;
use core::mem::MaybeUninit;
use core::ptr::{self, NonNull};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use bytemuck::Pod;
use loom::cell::UnsafeCell;

use super::life;

/// A cell a slot.
struct Cells(Box<[UnsafeCell<()>]>);

// SAFETY: I5 - one thread of the system.
unsafe impl Send for Cells {}
// SAFETY: I5 - one thread of the system; the cells are for finding out who races.
unsafe impl Sync for Cells {}

/// The cells of each payload area of a region, by its offset.
#[derive(Default)]
pub(crate) struct RaceTable(Mutex<BTreeMap<u64, Arc<Cells>>>);

impl RaceTable {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    fn build(&self, at: u64, count: usize) -> Arc<Cells> {
        let cells = Arc::new(Cells((0..count).map(|_| UnsafeCell::new(())).collect()));
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(at, Arc::clone(&cells));
        cells
    }

    fn open(&self, at: u64, count: usize) -> Arc<Cells> {
        let cells = self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&at).cloned();
        let cells = cells.unwrap_or_else(|| panic!("no slots were built at {at}"));
        assert_eq!(cells.0.len(), count, "another number of slots was built at {at}");
        cells
    }
}

impl fmt::Debug for RaceTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RaceTable").finish_non_exhaustive()
    }
}

/// The payload area of a structure: `count` slots of `T`, back to back, aligned to `T`.
///
/// Every slot that is written is a crash point; a ghost writes nothing.
pub(crate) struct Slots<T> {
    base: NonNull<T>,
    cells: Arc<Cells>,
}

impl<T> Clone for Slots<T> {
    fn clone(&self) -> Self {
        Self { base: self.base, cells: Arc::clone(&self.cells) }
    }
}

impl<T> fmt::Debug for Slots<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Slots").field("base", &self.base).field("count", &self.cells.0.len()).finish()
    }
}

// SAFETY: I3, I4 - as natively: the memory belongs to no thread, and `T: Send`.
unsafe impl<T: Send> Send for Slots<T> {}
// SAFETY: I3, I4 - as natively: every access is an unsafe method.
unsafe impl<T: Send> Sync for Slots<T> {}

impl<T> Slots<T> {
    /// The slots, for whoever makes the structure. `at` is their offset in the region.
    ///
    /// # Safety
    /// I1, I3.
    pub(crate) unsafe fn build(base: NonNull<T>, count: usize, races: &RaceTable, at: u64) -> Self {
        Self { base, cells: races.build(at, count) }
    }

    /// The slots of a structure that was built.
    ///
    /// # Safety
    /// I1, I3.
    pub(crate) unsafe fn open(base: NonNull<T>, count: usize, races: &RaceTable, at: u64) -> Self {
        Self { base, cells: races.open(at, count) }
    }

    fn cells(&self, i: usize, n: usize) -> &[UnsafeCell<()>] {
        let cells = i.checked_add(n).and_then(|end| self.cells.0.get(i..end));
        cells.unwrap_or_else(|| panic!("{n} slots from {i} of {}", self.cells.0.len()))
    }

    /// A look at `n` slots from `i` on. A ghost's look is nobody's race.
    #[track_caller]
    fn reading(&self, i: usize, n: usize) -> *mut T {
        let cells = self.cells(i, n);
        if !life::is_ghost() {
            for cell in cells {
                cell.with(|_| ());
            }
        }
        // SAFETY: I1, I2 - in bounds.
        unsafe { self.base.as_ptr().add(i) }
    }

    /// The crash point before a write to slot `i`. `None`: a ghost's, do nothing.
    #[track_caller]
    fn writing(&self, i: usize) -> Option<*mut T> {
        let cell = &self.cells(i, 1)[0];
        if !life::may_write() {
            return None;
        }
        cell.with_mut(|_| ());
        // SAFETY: I1, I2 - in bounds.
        Some(unsafe { self.base.as_ptr().add(i) })
    }

    /// Checked: a copy of slot `i`.
    ///
    /// # Safety
    /// I2.
    #[track_caller]
    pub(crate) unsafe fn load(&self, i: usize) -> T
    where
        T: Pod,
    {
        // SAFETY: I1, I2, I5 - in bounds, and any bytes are a `T`.
        unsafe { self.reading(i, 1).read() }
    }

    /// Checked: fills slot `i`.
    ///
    /// # Safety
    /// I2.
    #[track_caller]
    pub(crate) unsafe fn store(&self, i: usize, value: T)
    where
        T: Pod,
    {
        // SAFETY: I2 - the caller's.
        unsafe { self.put(i, value) }
    }

    /// Checked: copies of the slots from `i` on; all of `into` is filled.
    ///
    /// # Safety
    /// I2.
    #[track_caller]
    pub(crate) unsafe fn load_many(&self, i: usize, into: &mut [MaybeUninit<T>])
    where
        T: Pod,
    {
        // SAFETY: I2 - the caller's; any bytes are a `T`.
        unsafe { self.copy_out(i, into) }
    }

    /// Checked: fills the slots from `i` on.
    ///
    /// # Safety
    /// I2.
    #[track_caller]
    pub(crate) unsafe fn store_many(&self, i: usize, from: &[T])
    where
        T: Pod,
    {
        // SAFETY: I2 - the caller's.
        unsafe { self.copy_in(i, from) }
    }

    /// Has the kernel write `n` slots from `i` on, while `call` runs. A ghost's kernel writes into the void.
    ///
    /// # Safety
    /// I2; trusted also I4.
    #[track_caller]
    pub(crate) unsafe fn written_by_kernel<R>(
        &self,
        i: usize,
        n: usize,
        call: impl FnOnce(*mut T) -> R,
    ) -> R {
        // SAFETY: I2 - the caller's; only the address is kept.
        call(unsafe { self.slice_mut(i, n) }.as_mut_ptr().cast())
    }

    /// Has the kernel read `n` slots from `i` on, while `call` runs.
    ///
    /// # Safety
    /// I2; trusted also I4.
    #[track_caller]
    pub(crate) unsafe fn read_by_kernel<R>(&self, i: usize, n: usize, call: impl FnOnce(*const T) -> R) -> R {
        call(self.reading(i, n))
    }

    /// Trusted: moves the value out of slot `i`.
    ///
    /// # Safety
    /// I2, I4. The slot counts as empty afterwards.
    #[track_caller]
    pub(crate) unsafe fn take(&self, i: usize) -> T {
        // SAFETY: I1, I2, I4, I5 - in bounds and written.
        unsafe { self.reading(i, 1).read() }
    }

    /// Trusted: moves a value into slot `i`. What was in it is forgotten, not dropped.
    ///
    /// # Safety
    /// I2, I4.
    #[track_caller]
    pub(crate) unsafe fn put(&self, i: usize, value: T) {
        if let Some(slot) = self.writing(i) {
            // SAFETY: I1, I2, I4, I5 - in bounds.
            unsafe { slot.write(value) }
        }
    }

    /// Trusted: `n` slots in place. Ask for it again for each use, rather than keep it: a model looks for races at
    /// each call.
    ///
    /// # Safety
    /// I2; I4 for as long as the slice lives, and `T: Sync` if several threads do this at once.
    #[track_caller]
    pub(crate) unsafe fn slice(&self, i: usize, n: usize) -> &[T] {
        // SAFETY: I1, I2, I4, I5 - in bounds, written, and nobody writes for so long.
        unsafe { core::slice::from_raw_parts(self.reading(i, n), n) }
    }

    /// Trusted: `n` slots to be written in place. Ask for it again for each use, as for [`slice`](Self::slice).
    ///
    /// # Safety
    /// I2; I4 for as long as the slice lives: one at a time.
    #[track_caller]
    #[expect(
        clippy::mut_from_ref,
        reason = "the protocol says whose a slot is, and the caller vouches for it"
    )]
    pub(crate) unsafe fn slice_mut(&self, i: usize, n: usize) -> &mut [MaybeUninit<T>] {
        let allowed = (i..i + n).filter(|&k| self.writing(k).is_some()).count();
        if allowed < n {
            // A ghost writes into the void; a model may leak.
            return Box::leak(Box::new_uninit_slice(n));
        }
        // SAFETY: I1, I2 - in bounds.
        let start = unsafe { self.base.as_ptr().add(i) };
        // SAFETY: I1, I2, I4, I5 - in bounds, and nobody else's for so long.
        unsafe { core::slice::from_raw_parts_mut(start.cast(), n) }
    }

    /// Trusted: moves the slots from `i` on out; all of `into` is filled.
    ///
    /// # Safety
    /// I2, I4. The slots count as empty afterwards.
    #[track_caller]
    pub(crate) unsafe fn copy_out(&self, i: usize, into: &mut [MaybeUninit<T>]) {
        let from = self.reading(i, into.len());
        // SAFETY: I1, I2, I4, I5 - in bounds, written; an exclusive slice is elsewhere.
        unsafe { ptr::copy_nonoverlapping(from, into.as_mut_ptr().cast(), into.len()) }
    }

    /// Trusted: moves copies of `from` into the slots from `i` on.
    ///
    /// # Safety
    /// I2, I4. `from` lies elsewhere, and the caller may give its values away: `T` is `Copy`, or they are forgotten.
    #[track_caller]
    pub(crate) unsafe fn copy_in(&self, i: usize, from: &[T]) {
        for (k, value) in from.iter().enumerate() {
            if let Some(slot) = self.writing(i + k) {
                // SAFETY: I1, I2, I4, I5 - in bounds, and no overlap.
                unsafe { ptr::copy_nonoverlapping(value, slot, 1) }
            }
        }
    }
}

#[cfg(test)]
#[path = "slots_tests.rs"]
mod tests;
