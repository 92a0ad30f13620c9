//! Promise: the check finds what is broken, says nothing about what is not, whoever works meanwhile, and reads any bytes.

#![cfg(not(loom))]
#![expect(clippy::unwrap_used, reason = "tests")]
#![expect(clippy::disallowed_methods, reason = "real processes in real time: no model runs them")]

mod common;

#[path = "check/bounds.rs"]
mod bounds;
#[path = "check/live.rs"]
mod live;
#[path = "check/mutex.rs"]
mod mutex;
#[path = "check/planted.rs"]
mod planted;
#[path = "check/sound.rs"]
mod sound;

/// The children of these tests: see `common::process`.
#[test]
fn child_entry() {
    common::process::as_child(&[
        ("check worker", live::worker),
        ("check eyes", live::eyes),
        ("check parent", bounds::parent),
    ]);
}
