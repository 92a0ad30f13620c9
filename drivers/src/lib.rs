//! What the fuzz targets do with an input, and the property tests of the same names: `fuzz/` drives these with libFuzzer
//! and sanitizers, `tests/twins.rs` on any compiler. `tests/corruption.rs` has the actor use corrupted segments of many kinds.
//!
//! Each module has an `Input`, made of arbitrary bytes, and a `run` that panics if a promise is broken. They share an actor
//! that does anything with a segment that the public interface offers, and memory that somebody else scribbles over.
#![cfg(not(loom))]

mod actor;
pub mod byte_ring_ops;
pub mod check;
pub mod corrupt_ops;
pub mod directory_ops;
mod objects;
pub mod open_segment;
mod records;
mod scribble;
mod spsc;
pub mod spsc_ops;
mod stream;
mod two_ends;
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

/// What happens, one after the other: as much as the bytes hold, at most [`LONGEST`]. (A `Vec` asks a byte before each
/// element whether there is one more, and so ends after two, if the bytes are random.)
#[derive(Debug)]
pub struct Steps<T>(pub Vec<T>);

impl<'a, T: Arbitrary<'a>> Arbitrary<'a> for Steps<T> {
    fn arbitrary(bytes: &mut Unstructured<'a>) -> arbitrary::Result<Self> {
        let mut steps = Vec::new();
        while !bytes.is_empty() && steps.len() < LONGEST {
            steps.push(T::arbitrary(bytes)?);
        }
        Ok(Self(steps))
    }
}

/// What libFuzzer makes of these bytes. `None` if it makes nothing of them.
pub fn input<'a, Input: Arbitrary<'a>>(bytes: &'a [u8]) -> Option<Input> {
    Input::arbitrary_take_rest(Unstructured::new(bytes)).ok()
}
