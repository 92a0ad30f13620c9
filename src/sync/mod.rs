//! Floor 5: waiting for others, and locks that outlive their holders.
//!
//! | structure | what it is for |
//! |---|---|
//! | [`Mutex`] | a value that one process at a time may change |
//!
//! Inside of the crate, every blocking operation of the rings sleeps on an eventcount, and every lock is one word.

mod event;
mod lock;
pub mod mutex;
mod patience;

pub use mutex::{LockError, Mutex};

pub(crate) use event::{EventCount, Seen};
pub(crate) use lock::{Claimant, LockWord, Refused, State, Taken};
pub(crate) use patience::{Slices, Spins};
