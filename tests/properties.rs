//! Promise: whatever is done in whatever order, a ring is a queue with a bound, a stream a queue of bytes, and the directory a map of names, and who
//! is killed in between changes neither.

#![cfg(not(loom))]
#![expect(clippy::unwrap_used, reason = "tests")]

use proptest::test_runner::Config;

#[path = "properties/check.rs"]
mod check;
#[path = "properties/directory.rs"]
mod directory;
#[path = "properties/records.rs"]
mod records;
#[path = "properties/ring.rs"]
mod ring;
#[path = "properties/stream.rs"]
mod stream;

fn config(cases: u32) -> Config {
    // A failure prints the shortest sequence that fails: that becomes a test, not a file of seeds.
    Config { cases, failure_persistence: None, ..Config::default() }
}
