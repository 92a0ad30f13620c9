#![cfg_attr(docsrs, feature(doc_cfg))]
#![doc = include_str!("../README.md")]
//! # The house
//!
//! Imports go downward only.
//!
//! | floor | module | what |
//! |---|---|---|
//! | 0 | `os` | the only system calls |
//! | 1 | `shim` | the only door to atomics, payload cells, futexes, time and liveness; `cfg(loom)` swaps it |
//! | 2 | `memory` | bytes with bounds |
//! | 3 | [`segment`] | memory that introduces itself: header, attachments, directory, recovery |
//! | 4 | [`ptr`] | offsets |
//! | 5 | [`sync`] | eventcount, locks |
//! | 6 | [`ring`] | rings: values, records, streams of bytes |
//! | 7 | [`object`] | users' own atomics by name |
//! | 10 | [`inspect`] | everything, distrusted: the check |
//!
//! What a death leaves is written in each module's table of crashes. The last column names the tests that hold the row:
//! `kill "..."`, a case of `tests/kill`, in which the process dies after every instruction; `loom file::name`, a model in
//! `loom-tests`, in which it dies before every write; `tests file::name`, `conformance file::name`, `unit module::name`, others.
//! Where a name is cut, `a_sender_*`, one test begins so.
#![deny(clippy::unwrap_used)]
#![cfg_attr(test, allow(clippy::unwrap_used, reason = "tests panic on purpose"))]

#[cfg(not(all(
    target_os = "linux",
    target_has_atomic = "64",
    target_pointer_width = "64",
    target_endian = "little"
)))]
compile_error!("outlive needs 64-bit little-endian Linux with 64-bit atomics");

pub mod error;
pub mod guide;
pub mod inspect;
mod memory;
pub mod object;
mod os;
pub mod payload;
pub mod ptr;
pub mod ring;
pub mod segment;
mod shim;
pub mod sync;
pub mod trust;

pub use bytemuck;
pub use error::{Error, Result};
#[cfg(feature = "derive")]
pub use outlive_derive::Shared;
pub use payload::{Payload, Schema, Shared};
pub use segment::{Address, Owner, Segment, testing};
pub use trust::{Checked, Trust, Trusted};

/// Atomics for structures of your own: core's, or the model checker's under `cfg(loom)`.
pub mod atomic {
    pub use crate::shim::{AtomicU32, AtomicU64, Ordering, fence};
}

/// The model checker that `atomic` and everything here then run on.
#[cfg(loom)]
pub use loom;

/// Model-checking code on top of this crate (`cfg(loom)`).
#[cfg(loom)]
pub mod model {
    pub use crate::shim::model::{explore, set_slices};

    /// Deaths in a model.
    pub mod life {
        use crate::Segment;

        /// Runs `body` as the process of this attachment, dead before its `k`-th write (counted from 0). `None`: it died.
        pub fn mortal<R>(segment: &Segment, k: u32, body: impl FnOnce() -> R) -> Option<R> {
            let attached = segment.attached();
            let deaths = attached.region().deaths().expect("a model's segment is on the heap");
            let generation = attached.generation();
            crate::shim::model::mortal_as(deaths.clone(), segment.owner().row(), generation, k, body)
        }
    }
}

/// How each kind of structure is repaired after a death: what the sweep looks up by the directory's kind tag.
pub(crate) static KINDS: [&segment::directory::Kind; 5] =
    [&object::KIND, &ring::spsc::KIND, &ring::records::KIND, &ring::stream::KIND, &sync::mutex::KIND];
