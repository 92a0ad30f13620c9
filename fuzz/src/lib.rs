//! What the targets share: an actor that does anything with a segment that the public interface offers, and memory that
//! somebody else scribbles over.

mod actor;
mod records;
mod scribble;

pub use actor::{Act, Actor};
pub use records::RecordsAct;
pub use scribble::{Scribbler, Value, words};

/// The most that one input does.
pub const LONGEST: usize = 64;
