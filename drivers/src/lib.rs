//! What the fuzz targets do with an input, and the property tests of the same names: `fuzz/` drives these with libFuzzer
//! and sanitizers, `tests/twins.rs` on any compiler. `tests/corruption.rs` has the actor use corrupted segments of many kinds.
//!
//! Each module has an `Input`, made of arbitrary bytes, and a `run` that panics if a promise is broken. They share an actor
//! that does anything with a segment that the public interface offers, and memory that somebody else scribbles over.
#![cfg(not(loom))]

mod actor;
pub mod check;
pub mod corrupt_ops;
mod objects;
pub mod open_segment;
mod records;
pub mod records_ops;
mod scribble;
mod spsc;
pub mod spsc_ops;
mod stream;
pub mod stream_ops;
mod whole;

use arbitrary::{Arbitrary, Unstructured};

pub use actor::{Act, Actor};
pub use objects::ObjectsAct;
pub use records::RecordsAct;
pub use scribble::{Scribbler, Value, words};
pub use spsc::SpscAct;
pub use stream::StreamAct;
pub use whole::WholeAct;

/// The most that one input does.
pub const LONGEST: usize = 64;

/// What libFuzzer makes of these bytes. `None` if it makes nothing of them.
pub fn input<'a, Input: Arbitrary<'a>>(bytes: &'a [u8]) -> Option<Input> {
    Input::arbitrary_take_rest(Unstructured::new(bytes)).ok()
}
