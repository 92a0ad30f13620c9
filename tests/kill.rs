//! Promise: kill a process after any instruction of any operation, and kill whoever recovers after any instruction of
//! that: what survivors find is what was there before the operation, or after it, and all of it can be used.
//!
//! An operation is a [`Case`](case::Case) of a few lines. Its victim is stepped through it; at each instruction that
//! changed the segment, the bytes are copied to an object to which nobody is attached, so that by the kernel's own
//! evidence all are dead, and survivors come: see `judge`. Names of cases, or parts of them, as arguments run only
//! these. `OUTLIVE_KILL=full` samples nothing, `OUTLIVE_KILL=verbose` tells every state.

#![cfg(not(loom))]
#![allow(clippy::disallowed_methods, reason = "it maps what it looks at, and hides nothing from a model")]
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a test, which reports by itself"
)]

#[cfg(target_arch = "x86_64")]
#[path = "kill/case.rs"]
mod case;
#[cfg(target_arch = "x86_64")]
mod common;
#[cfg(target_arch = "x86_64")]
#[path = "kill/coverage.rs"]
mod coverage;
#[cfg(target_arch = "x86_64")]
#[path = "kill/directory.rs"]
mod directory;
#[cfg(target_arch = "x86_64")]
#[path = "kill/judge.rs"]
mod judge;
#[cfg(target_arch = "x86_64")]
#[path = "kill/location.rs"]
mod location;
#[cfg(target_arch = "x86_64")]
#[path = "kill/peers.rs"]
mod peers;
#[cfg(target_arch = "x86_64")]
#[path = "kill/records.rs"]
mod records;
#[cfg(target_arch = "x86_64")]
#[path = "kill/run.rs"]
mod run;
#[cfg(target_arch = "x86_64")]
#[path = "kill/segments.rs"]
mod segments;
#[cfg(target_arch = "x86_64")]
#[path = "tidy/source.rs"]
#[allow(dead_code, unused_imports, reason = "the house rules use the rest")]
mod source;
#[cfg(target_arch = "x86_64")]
#[path = "kill/spsc.rs"]
mod spsc;
#[cfg(target_arch = "x86_64")]
#[path = "kill/step.rs"]
mod step;
#[cfg(target_arch = "x86_64")]
#[path = "kill/stream.rs"]
mod stream;
#[cfg(target_arch = "x86_64")]
#[path = "kill/world.rs"]
mod world;

#[cfg(target_arch = "x86_64")]
fn main() -> std::process::ExitCode {
    run::all(&[spsc::CASES, records::CASES, stream::CASES, directory::CASES, segments::CASES])
}

/// The markers are x86-64's.
#[cfg(not(target_arch = "x86_64"))]
fn main() {
    eprintln!("*** NOT TESTED: kills at every instruction need x86-64 ***");
}
