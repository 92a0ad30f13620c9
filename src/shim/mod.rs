//! Floor 1: the only door to atomics, payload cells, futex, time and liveness.
//!
//! Ordinary builds get the machine: core's atomics, the kernel's futex and clocks, and a copy whose races are defined.
//! `--cfg loom` builds get the model checker: every write is a point where a process may die, payload is
//! watched for races, sleepers stand in lists of our own, and time passes by being asked for. Nothing above this floor
//! knows which of the two it runs on.
//!
//! | name | natively | in a model |
//! |---|---|---|
//! | [`AtomicU32`], [`AtomicU64`] | core's own | loom's, repaired, mortal before every write |
//! | [`Slots`], [`RaceTable`] | payload, copied in defined ways | the same, behind race-detecting cells |
//! | [`futex`] | the kernel's | wait lists, one an address |
//! | [`barrier`] | asymmetric, if the segment is | full fences |
//! | [`clock`] | the monotonic clock | deadlines that end after two questions |
//! | [`life`] | who was declared dead in heap memory | the same; and processes that die |
//! | [`this_thread`] | an address of the thread's own | nobody knows |
//! | [`PrivateU64`] | core's own | core's own: the model does not see it |
//!
//! Rules for the floors above: construct, never zero (an atomic of a model is no bytes); sizes come from
//! `Layout::new`, never from a literal; a loop that waits calls [`yield_now`] or [`spin_hint`].
#![expect(clippy::disallowed_types, reason = "the door")]
#![cfg_attr(not(loom), expect(clippy::disallowed_methods, reason = "the door"))]

#[cfg(not(target_has_atomic = "64"))]
compile_error!("outlive needs 64-bit atomics");

#[cfg(not(loom))]
mod copy;
#[cfg(loom)]
pub(crate) mod model;
#[cfg(not(loom))]
mod native;
mod private;

#[cfg(loom)]
use model as chosen;
#[cfg(not(loom))]
use native as chosen;

pub use chosen::{AtomicU32, AtomicU64, Ordering, fence};
pub(crate) use chosen::{
    RaceTable, Slots, barrier, clock, futex, life, prefetch, prefetch_for_store, spin_hint, this_thread,
    yield_now,
};
pub(crate) use private::PrivateU64;
