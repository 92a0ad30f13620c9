//! Floor 2: bytes with bounds. [`Region`] is the only way from bytes to a reference.

mod cache_line;
mod region;

pub(crate) use cache_line::CacheLine;
pub(crate) use region::{Control, Region};
