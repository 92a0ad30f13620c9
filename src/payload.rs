//! Types that may live in a segment: [`Shared`], and what each mode of trust asks of them.
//!
//! Another process sees the bytes of a value, at another address, compiled by another compiler, and maybe after
//! the death of whoever wrote them. So a payload has a fixed layout, holds no pointer, and is never dropped. Its
//! [`Schema`] is stored with every object and compared when it is opened.
//!
//! | trait                    | says                                                     | who implements it           |
//! |--------------------------|----------------------------------------------------------|-----------------------------|
//! | [`Shared`]               | it may live in a segment, and this is its layout         | `#[derive(Shared)]`         |
//! | [`Payload<Checked>`]     | ... and any bytes are a valid value without padding      | every `Shared` + `Pod` type |
//! | [`Payload<Trusted>`]     | ... and writers are vouched for, so that `Shared` will do | every `Shared` type         |
//! | [`Concurrent`]           | ... and all of it is atomics, so that `&T` is sound      | `#[shared(concurrent)]`     |
//!
//! # Example
//! ```
//! # #[cfg(feature = "derive")] {
//! use outlive::{Payload, Schema, Shared, Trusted};
//!
//! #[repr(C)]
//! #[derive(Clone, Copy, Shared)]
//! struct Order { id: u64, side: Side } // padding behind `side`, and a `Side` is not any byte: only for `Trusted`
//!
//! #[repr(u8)]
//! #[derive(Clone, Copy, Shared)]
//! enum Side { Buy = 1, Sell = 2 }
//!
//! fn travels<T: Payload<Trusted>>() -> Schema { T::SCHEMA }
//! assert_eq!(travels::<Order>().name(), "Order");
//! assert_eq!(travels::<Order>().size(), 16);
//! # }
//! ```
//!
//! Without the derive, [`Shared`] is implemented by hand: see there.
//!
//! # Invariants
//! I1  `Admitted<Checked>` is implemented for `Pod` types only: to read one, any initialised bytes will do.
//! I2  A type that is `Concurrent` consists of atomics, so that a shared reference to it is sound at any time.

use core::mem::{MaybeUninit, needs_drop};

use crate::shim::{AtomicU32, AtomicU64};
use crate::trust::{Checked, Trust, Trusted};

mod schema;

pub use schema::Schema;

/// A type that may live in a segment.
///
/// With feature `derive`, `#[derive(Shared)]` checks all that is said below. It takes structs of `repr(C)` or
/// `repr(transparent)`, and enums without fields of `repr(u8)` to `repr(u64)`.
///
/// Implemented for numbers of fixed width, `bool`, `char`, arrays and the types of `outlive::atomic`. Not for
/// `usize` and `isize` (their width is the program's), `u128` and `i128` (compilers disagree on their alignment),
/// tuples and `Option` (no fixed layout), references, pointers, and whatever owns something.
///
/// # Safety
/// * The layout is the same in every program whose type has the same schema: `repr(C)`, `repr(transparent)`, or a
///   primitive `repr`, and all fields are `Shared` themselves.
/// * It holds no pointer, reference, handle or index that means something only in one process.
/// * It has no drop glue: values are overwritten and forgotten.
/// * `SCHEMA` describes this very type, with all its fields, or all its variants.
///
/// # Example
/// ```
/// use core::mem::offset_of;
/// use outlive::{Schema, Shared};
///
/// #[repr(C)]
/// struct Point { x: f64, y: f64 }
///
/// // SAFETY: `repr(C)`, two numbers, nothing else; the schema names both.
/// unsafe impl Shared for Point {
///     const SCHEMA: Schema = Schema::of::<Self>("Point")
///         .field("x", offset_of!(Self, x), f64::SCHEMA)
///         .field("y", offset_of!(Self, y), f64::SCHEMA);
/// }
/// assert_eq!(Point::SCHEMA.size(), 16);
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot live in a segment",
    label = "does not implement `Shared`",
    note = "derive it for your own `repr(C)` structs and `repr(u8)` enums: `#[derive(Shared)]`, with feature `derive`",
    note = "instead of `usize` take `u64`, instead of a tuple a `repr(C)` struct, instead of a reference an `Offset<T>`"
)]
pub unsafe trait Shared: Sized + Send + Sync + 'static {
    /// Its layout, as it is written into the segment.
    const SCHEMA: Schema;
}

/// What structures of mode `M` carry. There is nothing to implement: it follows from [`Shared`].
///
/// * `Payload<Checked>`: every [`Shared`] type that is [`bytemuck::Pod`]: any bytes are a valid value, and there is
///   no padding through which a process could leak what is none of its peer's business.
/// * `Payload<Trusted>`: every [`Shared`] type, as those who write it are vouched for.
///
/// One bound for both directions: a type that may be sent may be received.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be the payload of a structure in mode `{M}`",
    label = "is not a `Payload<{M}>`",
    note = "mode `Checked` takes `Shared` types that are `bytemuck::Pod`: any bytes are a valid value, no padding",
    note = "mode `Trusted` takes all `Shared` types, also enums, `bool`, `char` and padding: see `Segment::trust`"
)]
pub trait Payload<M: Trust>: Shared + sealed::Admitted<M> {}

#[diagnostic::do_not_recommend]
impl<T: Shared + bytemuck::Pod> Payload<Checked> for T {}

#[diagnostic::do_not_recommend]
impl<T: Shared> Payload<Trusted> for T {}

/// A type made of atomics only: a shared reference to it is sound in any mode, whoever writes the bytes.
///
/// Implemented for the types of `outlive::atomic` and arrays of them (up to 32, where `Default` ends). For structs
/// of them: `#[derive(Shared)]` with `#[shared(concurrent)]`.
///
/// # Safety
/// Every field is an atomic of `outlive::atomic`, or an array or struct of such; so any bytes are a valid value. There is
/// no padding, whose bytes would carry private memory into the segment.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not made of atomics only",
    label = "does not implement `Concurrent`",
    note = "take `outlive::atomic::AtomicU32` and `AtomicU64`, arrays of them, and structs of them that derive \
            `Shared` with `#[shared(concurrent)]`"
)]
pub unsafe trait Concurrent: Shared + Default {}

/// For `#[derive(Shared)]` with `#[shared(concurrent)]`: all bytes of a `T` are the `bytes` of its fields.
#[doc(hidden)]
pub const fn refuse_padding<T>(bytes: usize) {
    // The model checker's atomics are of other sizes.
    const CHECKED: u8 = if cfg!(loom) { 0 } else { 1 };
    assert!(
        CHECKED == 0 || bytes == size_of::<T>(),
        "outlive: there is padding between or behind the fields: add fields that fill it, e.g. an `AtomicU32`"
    );
}

/// Refuses at compile time what no structure can carry; for constructors: `const { admit::<T>() }`.
#[track_caller] // so that the error shows the structure, not this function
pub(crate) const fn admit<T>() {
    assert!(size_of::<T>() > 0, "outlive: a zero-sized payload has no bytes to share; send a `u8` instead");
    assert!(
        align_of::<T>() <= 4096,
        "outlive: a payload must not be aligned to more than a page of 4096 bytes"
    );
    assert!(
        !needs_drop::<T>(),
        "outlive: a payload must not need `Drop`: values in a segment are never dropped"
    );
}

/// How the crate moves values; not nameable outside, so that nobody can admit a type by itself.
#[expect(
    unnameable_types,
    private_interfaces,
    reason = "sealed: nobody outside can name it, or make a `Slots`"
)]
pub(crate) mod sealed {
    use super::{Checked, MaybeUninit, Shared, Trust, Trusted};
    use crate::shim::Slots;

    /// Moves values between slots and this process: by copies that may race with anybody, or plainly.
    #[diagnostic::on_unimplemented(
        message = "`{Self}` is not admitted to structures in mode `{M}`",
        label = "is not admitted",
        note = "`Payload` is not for users to implement: it follows from `Shared`, and for `Checked` from `bytemuck::Pod`"
    )]
    pub trait Admitted<M: Trust>: Sized {
        /// Reads slot `i`.
        ///
        /// # Safety
        /// The contract of `Slots::load` (`Checked`) or `Slots::take` (`Trusted`).
        unsafe fn load(slots: &Slots<Self>, i: usize) -> Self;

        /// Writes slot `i`.
        ///
        /// # Safety
        /// The contract of `Slots::store` (`Checked`) or `Slots::put` (`Trusted`).
        unsafe fn store(slots: &Slots<Self>, i: usize, value: Self);

        /// Reads the slots from `i` on; afterwards all of `into` is initialised.
        ///
        /// # Safety
        /// The contract of `Slots::load_many` (`Checked`) or `Slots::copy_out` (`Trusted`).
        unsafe fn load_many(slots: &Slots<Self>, i: usize, into: &mut [MaybeUninit<Self>]);

        /// Writes the slots from `i` on.
        ///
        /// # Safety
        /// The contract of `Slots::store_many` (`Checked`) or `Slots::copy_in` (`Trusted`).
        unsafe fn store_many(slots: &Slots<Self>, i: usize, from: &[Self]);
    }

    #[diagnostic::do_not_recommend]
    impl<T: Shared + bytemuck::Pod> Admitted<Checked> for T {
        #[inline]
        unsafe fn load(slots: &Slots<Self>, i: usize) -> Self {
            // SAFETY: the caller's contract; I1 - `T` is `Pod`.
            unsafe { slots.load(i) }
        }

        #[inline]
        unsafe fn store(slots: &Slots<Self>, i: usize, value: Self) {
            // SAFETY: the caller's contract; I1 - `T` is `Pod`.
            unsafe { slots.store(i, value) }
        }

        #[inline]
        unsafe fn load_many(slots: &Slots<Self>, i: usize, into: &mut [MaybeUninit<Self>]) {
            // SAFETY: the caller's contract; I1 - `T` is `Pod`.
            unsafe { slots.load_many(i, into) }
        }

        #[inline]
        unsafe fn store_many(slots: &Slots<Self>, i: usize, from: &[Self]) {
            // SAFETY: the caller's contract; I1 - `T` is `Pod`.
            unsafe { slots.store_many(i, from) }
        }
    }

    #[diagnostic::do_not_recommend]
    impl<T: Shared> Admitted<Trusted> for T {
        #[inline]
        unsafe fn load(slots: &Slots<Self>, i: usize) -> Self {
            // SAFETY: the caller's contract.
            unsafe { slots.take(i) }
        }

        #[inline]
        unsafe fn store(slots: &Slots<Self>, i: usize, value: Self) {
            // SAFETY: the caller's contract.
            unsafe { slots.put(i, value) }
        }

        #[inline]
        unsafe fn load_many(slots: &Slots<Self>, i: usize, into: &mut [MaybeUninit<Self>]) {
            // SAFETY: the caller's contract.
            unsafe { slots.copy_out(i, into) }
        }

        #[inline]
        unsafe fn store_many(slots: &Slots<Self>, i: usize, from: &[Self]) {
            // SAFETY: the caller's contract.
            unsafe { slots.copy_in(i, from) }
        }
    }
}

macro_rules! shared {
    ($($primitive:ident)*) => {$(
        // SAFETY: a fixed layout without pointers or drop glue, and a schema without fields.
        unsafe impl Shared for $primitive {
            const SCHEMA: Schema = Schema::of::<Self>(stringify!($primitive));
        }
    )*};
}

shared!(u8 u16 u32 u64 i8 i16 i32 i64 f32 f64 bool char AtomicU32 AtomicU64);

// SAFETY: as its elements, which follow each other without gaps; the size tells how many.
unsafe impl<T: Shared, const N: usize> Shared for [T; N] {
    const SCHEMA: Schema = Schema::of::<Self>(schema::ArrayName::<T, N>::TEXT).field("0", 0, T::SCHEMA);
}

// SAFETY: an atomic.
unsafe impl Concurrent for AtomicU32 {}
// SAFETY: an atomic.
unsafe impl Concurrent for AtomicU64 {}
// SAFETY: I2 - nothing but its elements.
unsafe impl<T: Concurrent, const N: usize> Concurrent for [T; N] where [T; N]: Default {}
