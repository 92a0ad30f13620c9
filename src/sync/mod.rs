//! Floor 5: waiting for others.
//!
//! [`EventCount`] is what every blocking operation sleeps on.

mod event;

pub(crate) use event::{EventCount, Seen};
