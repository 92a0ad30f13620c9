//! Bytes with bounds: a mapping in production, heap memory in models, fuzzers and unit tests.
//!
//! # Invariants
//! I1  `base..base + len` is one allocation or mapping, readable (and writable, unless the attachment is
//!     read-only), and stays so, at this address, while the `Region` lives.
//! I2  `base` is aligned to a page of 4096 bytes.
//! I7  Nothing stores to a read-only region: what would, asks [`Region::writable`] or `Attached::check_writable`
//!     first. Loads of atomics of up to 8 bytes are the machine's loads, of whatever ordering: they work there.
//! I8  [`Region::copy_to_heap`] reads by the payload's copy, byte by byte, what others access in other pieces. From a
//!     mapping it is made for: its bytes are accessed by nothing else in this program, and stores to the object
//!     through another mapping are as those of another process. From heap memory its assembly stands for loads of
//!     whatever pieces the bytes are stored in; where the copy is made of core's atomics, which define no such
//!     mixture, it is for memory that nobody writes meanwhile.
//! I3  Control words are only ever accessed through the types that [`Control`] admits: structs of the shim's
//!     atomics. So a shared reference to them is sound, whatever other processes write.
//! I4  No reference to payload bytes is formed here; [`Region::bytes`] hands out raw pointers.
//! I6  `Concurrent` types have no padding, and are aligned to 4 bytes at least (the trait's contract).
//! I5  A region that was built (see [`Region::build`]) holds valid values of `T`: any bytes are valid for atomics;
//!     under the model checker a table remembers which type was constructed where.

use core::alloc::Layout;
use core::fmt;
#[cfg(not(loom))]
use core::mem::MaybeUninit;
use core::ptr::NonNull;
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use crate::error::{Error, Fault, Result};
use crate::os;
use crate::payload::Concurrent;
#[cfg(not(loom))]
use crate::shim::Slots;
use crate::shim::{RaceTable, life};

/// Structs made of the shim's atomics, fixed width, `repr(C)`.
///
/// # Safety
/// Every field is an atomic of the shim, or an array or struct of such; `Default` gives zeros; all-zero bytes are
/// a valid value in ordinary builds.
pub(crate) unsafe trait Control: Default + 'static {}

// SAFETY: an atomic.
unsafe impl Control for crate::shim::AtomicU32 {}
// SAFETY: an atomic.
unsafe impl Control for crate::shim::AtomicU64 {}
// SAFETY: the padding behind the inner struct is never read.
unsafe impl<T: Control> Control for super::CacheLine<T> {}

/// Bytes with bounds.
pub(crate) struct Region {
    backing: Backing,
    base: NonNull<u8>,
    len: u64,
    races: RaceTable,
    #[cfg(fuzzing)]
    guards_what_is_free: bool,
    #[cfg(loom)]
    built: model::Built,
}

enum Backing {
    Mapped(os::map::Mapping),
    Heap { _block: HeapBlock, deaths: Arc<life::Registry>, swept: Mutex<BTreeSet<u32>> },
}

struct HeapBlock {
    start: NonNull<u8>,
    layout: Layout,
}

impl Drop for HeapBlock {
    fn drop(&mut self) {
        #[cfg(fuzzing)]
        os::poison::unpoison(self.start, self.layout.size());
        // SAFETY: I1 - allocated in `Region::heap` with this layout, and the region is gone.
        unsafe { std::alloc::dealloc(self.start.as_ptr(), self.layout) }
    }
}

// SAFETY: I3, I4 - the region itself only hands out references to atomics and raw pointers.
unsafe impl Send for Region {}
// SAFETY: as above.
unsafe impl Sync for Region {}

/// Alignment of every region.
pub(crate) const REGION_ALIGN: u64 = 4096;
const REGION_ALIGN_USIZE: usize = 4096;
/// What is poisoned begins at such a multiple.
#[cfg(fuzzing)]
const POISON_ALIGN: u64 = 8;
#[cfg(fuzzing)]
const POISON_ALIGN_USIZE: usize = 8;

impl Region {
    /// The whole of a mapping.
    pub(crate) fn mapped(mapping: os::map::Mapping) -> Self {
        let (base, len) = (mapping.base(), mapping.len() as u64);
        Self::new(Backing::Mapped(mapping), base, len)
    }

    /// `len` zeroed bytes of heap memory, with a registry of who of `rows` processes is dead.
    pub(crate) fn heap(len: u64, rows: u32) -> Result<Self> {
        let too_large = Error::InvalidConfig { why: "the size is zero, or larger than the address space" };
        let Ok(size) = usize::try_from(len) else { return Err(too_large) };
        let Ok(layout) = Layout::from_size_align(size, REGION_ALIGN_USIZE) else { return Err(too_large) };
        if size == 0 {
            return Err(too_large);
        }
        // SAFETY: the layout is not empty, as just checked; the result becomes the region of I1.
        let start = unsafe { std::alloc::alloc_zeroed(layout) };
        let Some(start) = NonNull::new(start) else {
            return Err(Error::NoSpace { needed: len, available: 0 });
        };
        let deaths = Arc::new(life::Registry::new(rows as usize + 1));
        Ok(Self::new(
            Backing::Heap { _block: HeapBlock { start, layout }, deaths, swept: Mutex::default() },
            start,
            len,
        ))
    }

    /// A copy on the heap, with a registry of who of `rows` processes is dead: see I8 for what may be copied.
    pub(crate) fn copy_to_heap(&self, rows: u32) -> Result<Self> {
        #[cfg(loom)]
        {
            let _ = rows;
            return Err(Error::Unsupported { what: "copies of a segment, whose bytes are none in a model" });
        }
        #[cfg(not(loom))]
        {
            let copy = Self::heap(self.len, rows)?;
            let too_large = |_| Error::InvalidConfig { why: "the size is larger than the address space" };
            let count = usize::try_from(self.len).map_err(too_large)?;
            // SAFETY: I1 - the whole of the region.
            let from = unsafe { Slots::<u8>::open(self.base, count, &self.races, 0) };
            let to = copy.base.as_ptr().cast::<MaybeUninit<u8>>();
            // SAFETY: I1 - the whole of the copy, which nobody else knows yet.
            let to = unsafe { core::slice::from_raw_parts_mut(to, count) };
            #[cfg(fuzzing)]
            if self.guards_what_is_free {
                self.copy_what_is_in_use(&from, to);
                return Ok(copy);
            }
            // SAFETY: I1, I8 - all of both.
            unsafe { from.load_many(0, to) };
            Ok(copy)
        }
    }

    fn new(backing: Backing, base: NonNull<u8>, len: u64) -> Self {
        Self {
            backing,
            base,
            len,
            races: RaceTable::new(),
            #[cfg(fuzzing)]
            guards_what_is_free: false,
            #[cfg(loom)]
            built: model::Built::default(),
        }
    }

    /// Where the region begins in this process.
    pub(crate) fn base(&self) -> NonNull<u8> {
        self.base
    }

    /// Bytes.
    pub(crate) fn len(&self) -> u64 {
        self.len
    }

    /// The model checker's table of payload cells; empty in ordinary builds.
    pub(crate) fn races(&self) -> &RaceTable {
        &self.races
    }

    /// The kernel mapping, unless this is heap memory.
    pub(crate) fn mapping(&self) -> Option<&os::map::Mapping> {
        match &self.backing {
            Backing::Mapped(mapping) => Some(mapping),
            Backing::Heap { .. } => None,
        }
    }

    /// Whether a store to it would fault: this process may only look.
    pub(crate) fn is_read_only(&self) -> bool {
        self.mapping().is_some_and(os::map::Mapping::is_read_only)
    }

    /// Word by word, because free bytes are poisoned: they stay zero in the copy.
    #[cfg(fuzzing)]
    fn copy_what_is_in_use(&self, from: &Slots<u8>, to: &mut [MaybeUninit<u8>]) {
        for (word, to) in to.chunks_mut(POISON_ALIGN_USIZE).enumerate() {
            let at = word * POISON_ALIGN_USIZE;
            // SAFETY: I1 - inside the region.
            let place = unsafe { self.base.add(at) };
            if !os::poison::is_poisoned(place) {
                // SAFETY: I1, I8 - as many bytes as there are.
                unsafe { from.load_many(at, to) };
            }
        }
    }

    /// From now on nobody touches what [`lock_away`](Self::lock_away) names: `AddressSanitizer` reports it. Nothing unless
    /// `cfg(fuzzing)`, and nothing for a mapping: those bytes have several addresses.
    pub(crate) fn guard_what_is_free(&mut self) {
        let _ = &self;
        #[cfg(fuzzing)]
        {
            self.guards_what_is_free = self.mapping().is_none();
        }
    }

    /// These bytes are nobody's: an access is an overrun, or comes too late.
    pub(crate) fn lock_away(&self, at: u64, len: u64) {
        let _ = (self, at, len);
        #[cfg(fuzzing)]
        self.if_guarded(at, len, os::poison::poison);
    }

    /// These bytes are handed out.
    pub(crate) fn hand_out(&self, at: u64, len: u64) {
        let _ = (self, at, len);
        #[cfg(fuzzing)]
        self.if_guarded(at, len.next_multiple_of(POISON_ALIGN), os::poison::unpoison);
    }

    #[cfg(fuzzing)]
    fn if_guarded(&self, at: u64, len: u64, mark: fn(NonNull<u8>, usize)) {
        if let (true, Ok(start), Ok(len)) =
            (self.guards_what_is_free, self.bytes(at, len, 1), usize::try_from(len))
        {
            mark(start, len);
        }
    }

    fn writable(&self) -> Result<(), Fault> {
        if self.is_read_only() { Err(Fault::ReadOnly) } else { Ok(()) }
    }

    /// The id of the System V segment, if it is one.
    pub(crate) fn sysv_id(&self) -> Option<os::sysv::Id> {
        self.mapping().and_then(os::map::Mapping::sysv_id)
    }

    /// Who is dead, if this is heap memory.
    pub(crate) fn deaths(&self) -> Option<&Arc<life::Registry>> {
        match &self.backing {
            Backing::Mapped(_) => None,
            Backing::Heap { deaths, .. } => Some(deaths),
        }
    }

    /// The right to sweep `row` of heap memory; what the kernel's byte locks are for a mapping.
    pub(crate) fn try_sweep(&self, row: u32) -> bool {
        match &self.backing {
            Backing::Mapped(_) => false,
            Backing::Heap { swept, .. } => swept.lock().unwrap_or_else(PoisonError::into_inner).insert(row),
        }
    }

    pub(crate) fn swept(&self, row: u32) {
        if let Backing::Heap { swept, .. } = &self.backing {
            swept.lock().unwrap_or_else(PoisonError::into_inner).remove(&row);
        }
    }

    /// A raw range, for payload: inside the region, and aligned.
    #[inline]
    pub(crate) fn bytes(&self, at: u64, len: u64, align: u64) -> Result<NonNull<u8>, Fault> {
        let what = "an offset or length points outside of the segment";
        let Some(end) = at.checked_add(len) else { return Err(Fault::Corrupt { what, at }) };
        let aligned = align.is_power_of_two() && align <= REGION_ALIGN && at & (align - 1) == 0;
        if end > self.len || !aligned {
            return Err(Fault::Corrupt { what, at });
        }
        let Ok(offset) = usize::try_from(at) else { return Err(Fault::Corrupt { what, at }) };
        // SAFETY: I1 - `offset <= len`, as just checked.
        Ok(unsafe { self.base.add(offset) })
    }

    fn place<T>(&self, at: u64) -> Result<NonNull<T>, Fault> {
        let layout = Layout::new::<T>();
        self.bytes(at, layout.size() as u64, layout.align() as u64).map(NonNull::cast)
    }

    /// Makes a fresh `T` at `at`: zeros everywhere, its padding included, so that nothing private leaks.
    ///
    /// For whoever has the bytes for itself: the creator of the segment or of an object.
    pub(crate) fn build<T: Control>(&self, at: u64) -> Result<&T, Fault> {
        self.writable()?;
        let place = self.place::<T>(at)?;
        #[cfg(not(loom))]
        self.store_words(place.cast(), size_of::<T>() / 4, &mut core::iter::repeat(0));
        #[cfg(loom)]
        self.built.construct(at, place);
        // SAFETY: I1, I3, I5 - in range, aligned, and all zeros are a valid `T` (`Control`).
        Ok(unsafe { place.as_ref() })
    }

    /// Puts a user's atomics at `at`, for whoever has the bytes for itself.
    pub(crate) fn put<T: Concurrent>(&self, at: u64, value: T) -> Result<&T, Fault> {
        self.writable()?;
        let place = self.place::<T>(at)?;
        #[cfg(not(loom))]
        {
            let value = core::mem::ManuallyDrop::new(value); // its bytes move
            let value: *const u32 = (&raw const value).cast();
            let count = size_of::<T>() / 4;
            // SAFETY: I6 - `count` words of a value without padding, aligned to one of them.
            let words = unsafe { core::slice::from_raw_parts(value, count) };
            self.store_words(place.cast(), count, &mut words.iter().copied());
        }
        #[cfg(loom)]
        {
            // SAFETY: I1 - in range and aligned.
            unsafe { place.write(value) };
            self.built.remember::<T>(at);
        }
        // SAFETY: I1, I3 - in range, aligned, just written; `Concurrent` is atomics all through.
        Ok(unsafe { place.as_ref() })
    }

    /// Stores words as payload is stored: if a peer makes us believe that these bytes are free, the threads of ours that
    /// still use them race with accesses that may race.
    #[cfg(not(loom))]
    fn store_words(&self, place: NonNull<u32>, count: usize, words: &mut dyn Iterator<Item = u32>) {
        // SAFETY: I1 - the caller has checked the range; `Control` and `Concurrent` are made of words of 4 bytes or more.
        let slots = unsafe { Slots::open(place, count, &self.races, 0) };
        for (i, word) in words.take(count).enumerate() {
            // SAFETY: I1 - one of the `count` words.
            unsafe { slots.store(i, word) };
        }
    }

    /// The user's atomics that were put at `at`.
    pub(crate) fn shared<T: Concurrent>(&self, at: u64) -> Result<&T, Fault> {
        let place = self.place::<T>(at)?;
        #[cfg(loom)]
        self.built.check::<T>(at);
        // SAFETY: I1, I3 - in range, aligned, and any bytes are valid for atomics (`Concurrent`).
        Ok(unsafe { place.as_ref() })
    }

    /// The `T` that was built at `at`.
    pub(crate) fn get<T: Control>(&self, at: u64) -> Result<&T, Fault> {
        let place = self.place::<T>(at)?;
        #[cfg(loom)]
        self.built.check::<T>(at);
        // SAFETY: I1, I3, I5 - in range, aligned, and any bytes are a valid `T` (`Control`).
        Ok(unsafe { place.as_ref() })
    }
}

impl fmt::Debug for Region {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = if self.mapping().is_some() { "mapped" } else { "heap" };
        f.debug_struct("Region")
            .field("kind", &kind)
            .field("base", &self.base)
            .field("len", &self.len)
            .finish_non_exhaustive()
    }
}

#[cfg(loom)]
mod model {
    //! Under the model checker an atomic is an index into its tables: bytes are none until one was constructed.

    use super::{Control, NonNull};
    use core::any::TypeId;
    use std::collections::BTreeMap;
    use std::sync::Mutex;

    #[derive(Default)]
    pub(super) struct Built(Mutex<BTreeMap<u64, (TypeId, u64)>>);

    impl Built {
        pub(super) fn construct<T: Control>(&self, at: u64, place: NonNull<T>) {
            // SAFETY: I1 - the caller has checked range and alignment.
            unsafe { place.write(T::default()) };
            self.remember::<T>(at);
        }

        pub(super) fn remember<T: 'static>(&self, at: u64) {
            let mut table = self.0.lock().expect("no panic inside");
            let end = at + size_of::<T>() as u64;
            table.retain(|&start, &mut (_, size)| start + size <= at || end <= start);
            table.insert(at, (TypeId::of::<T>(), size_of::<T>() as u64));
        }

        pub(super) fn check<T: 'static>(&self, at: u64) {
            let table = self.0.lock().expect("no panic inside");
            let (id, _) = table.get(&at).expect("nothing was built here");
            assert_eq!(*id, TypeId::of::<T>(), "another type was built at {at}");
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::shim::{AtomicU64, Ordering};

    #[test]
    fn what_lies_outside_or_is_crooked_is_refused() {
        let region = Region::heap(4096, 4).unwrap();
        assert!(region.get::<AtomicU64>(4088).is_ok());
        for at in [4089, 4090, 4096, u64::MAX, u64::MAX - 7, 4] {
            assert!(matches!(region.get::<AtomicU64>(at), Err(Fault::Corrupt { .. })), "{at}");
        }
        assert!(region.bytes(0, 4096, 1).is_ok());
        assert!(region.bytes(1, 4096, 1).is_err());
        assert!(region.bytes(0, 8, 3).is_err(), "no power of two");
        assert!(Region::heap(0, 4).is_err());
        assert!(Region::heap(u64::MAX, 4).is_err());
    }

    #[test]
    fn a_copy_is_a_copy() {
        let region = Region::heap(4099, 4).unwrap();
        region.get::<AtomicU64>(64).unwrap().store(7, Ordering::Relaxed); // one thread
        let copy = region.copy_to_heap(4).unwrap();
        region.get::<AtomicU64>(64).unwrap().store(8, Ordering::Relaxed); // one thread
        assert_eq!(copy.len(), 4099);
        assert_eq!(copy.get::<AtomicU64>(64).unwrap().load(Ordering::Relaxed), 7); // one thread
    }

    #[test]
    fn a_fresh_value_is_zero_whatever_was_there() {
        let region = Region::heap(4096, 4).unwrap();
        region.get::<AtomicU64>(64).unwrap().store(7, Ordering::Relaxed); // one thread
        assert_eq!(region.build::<AtomicU64>(64).unwrap().load(Ordering::Relaxed), 0); // one thread
    }
}
