//! Floor 6: rings, the structures that move messages from process to process.
//!
//! | module | who sends, who receives | messages |
//! |---|---|---|
//! | [`spsc`] | one, one | values of one type |
//! | [`records`] | one, one | bytes with boundaries |
//! | [`stream`] | one, one | bytes, without boundaries |
//!
//! What all rings with two ends have in common: how an end works, waits and goes (`end`), positions that count messages
//! since creation (`position`), the right to an end, which survives its holder (`lease`), how long to wait (`wait`), and
//! how they look from outside ([`stats`]).

mod end;
mod lease;
mod position;
pub mod records;
pub mod spsc;
mod stats;
pub mod stream;
mod wait;

pub use crate::segment::directory::{Stats, Unit};
pub use stats::stats;
