//! Floor 4: offsets, the pointers of shared memory.
//!
//! An [`Offset`] counts bytes from the beginning of the segment; 0 is null, for the header lies there. It means the
//! same at every mapping address, can be copied, compared, stored and exchanged atomically, and is checked each time
//! it is resolved. (Self-relative pointers break on every move of a Rust value, and cannot be exchanged atomically.)

use core::fmt;
use core::hash::{Hash, Hasher};
use core::marker::PhantomData;

use crate::payload::{Concurrent, Schema, Shared};
use crate::shim::{AtomicU64, Ordering};

mod place;

pub use place::Place;

/// Where a `T` lies in a segment, in bytes from its beginning; 0 is null.
///
/// Any bit pattern is a valid `Offset`: it is believed only after [`Segment::resolve`](crate::Segment::resolve).
///
/// ```
/// use outlive::{Segment, ptr::Offset};
/// let segment = Segment::heap(1 << 16)?;
/// assert!(Offset::<u64>::null().is_null());
/// assert!(segment.resolve(Offset::<u64>::null()).is_err());
/// assert!(segment.resolve(Offset::<u64>::new(u64::MAX)).is_err());
/// # Ok::<(), outlive::Error>(())
/// ```
#[repr(transparent)]
pub struct Offset<T> {
    bytes: u64,
    target: PhantomData<fn() -> T>,
}

impl<T> Offset<T> {
    /// `bytes` from the beginning.
    pub const fn new(bytes: u64) -> Self {
        Self { bytes, target: PhantomData }
    }

    /// To nothing.
    pub const fn null() -> Self {
        Self::new(0)
    }

    /// Whether it points to nothing.
    pub const fn is_null(self) -> bool {
        self.bytes == 0
    }

    /// Bytes from the beginning.
    pub const fn get(self) -> u64 {
        self.bytes
    }
}

impl<T> Clone for Offset<T> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<T> Copy for Offset<T> {}
impl<T> PartialEq for Offset<T> {
    fn eq(&self, other: &Self) -> bool {
        self.bytes == other.bytes
    }
}
impl<T> Eq for Offset<T> {}
impl<T> Hash for Offset<T> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.bytes.hash(state);
    }
}
impl<T> Default for Offset<T> {
    fn default() -> Self {
        Self::null()
    }
}
impl<T> fmt::Debug for Offset<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Offset({:#x})", self.bytes)
    }
}

// SAFETY: transparent over a `u64`; the marker has no size.
unsafe impl<T: 'static> bytemuck::Zeroable for Offset<T> {}
// SAFETY: as above; any bits are valid, there is no padding.
unsafe impl<T: 'static> bytemuck::Pod for Offset<T> {}
// SAFETY: a number; what it points to is checked when it is resolved.
unsafe impl<T: 'static> Shared for Offset<T> {
    /// Not what it points to: a list's node holds an offset of its own type.
    const SCHEMA: Schema = Schema::of::<Self>("Offset");
}

/// An [`Offset`] that is read and exchanged atomically.
#[repr(transparent)]
pub struct AtomicOffset<T> {
    bytes: AtomicU64,
    target: PhantomData<fn() -> T>,
}

// SAFETY: an atomic number.
unsafe impl<T: 'static> Shared for AtomicOffset<T> {
    const SCHEMA: Schema = Schema::of::<Self>("AtomicOffset");
}
// SAFETY: an atomic and nothing else.
unsafe impl<T: 'static> Concurrent for AtomicOffset<T> {}

impl<T> Default for AtomicOffset<T> {
    fn default() -> Self {
        Self { bytes: AtomicU64::default(), target: PhantomData }
    }
}

impl<T> AtomicOffset<T> {
    /// Reads it.
    pub fn load(&self, order: Ordering) -> Offset<T> {
        Offset::new(self.bytes.load(order))
    }

    /// Replaces it.
    pub fn store(&self, offset: Offset<T>, order: Ordering) {
        self.bytes.store(offset.get(), order);
    }

    /// Replaces it if it is `current`.
    ///
    /// # Errors
    /// What it is instead.
    pub fn compare_exchange(
        &self,
        current: Offset<T>,
        new: Offset<T>,
        success: Ordering,
        failure: Ordering,
    ) -> Result<Offset<T>, Offset<T>> {
        let result = self.bytes.compare_exchange(current.get(), new.get(), success, failure);
        result.map(Offset::new).map_err(Offset::new)
    }
}

impl<T> fmt::Debug for AtomicOffset<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AtomicOffset")
    }
}
