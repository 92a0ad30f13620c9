//! Promise: kill a process after any instruction of any operation, and kill whoever recovers after any instruction of
//! that: what survivors find is what was there before the operation, or after it, and all of it can be used.
//!
//! An operation is a `Case` of a few lines; how it is killed, and what is asked of the survivors, is in `outlive-kill`.
//! Names of cases, or parts of them, as arguments run only these. `OUTLIVE_KILL=full` samples nothing,
//! `OUTLIVE_KILL=verbose` tells every state.

#![cfg(not(loom))]
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a test, which reports by itself, and hides nothing from a model"
)]

use std::process::ExitCode;

#[path = "kill/coverage.rs"]
mod coverage;
#[path = "kill/directory.rs"]
mod directory;
#[path = "kill/mutex.rs"]
mod mutex;
#[path = "kill/records.rs"]
mod records;
#[path = "kill/segments.rs"]
mod segments;
#[path = "tidy/source.rs"]
#[allow(dead_code, unused_imports, reason = "the house rules use the rest")]
mod source;
#[path = "kill/spsc.rs"]
mod spsc;
#[path = "kill/stream.rs"]
mod stream;
#[path = "kill/told.rs"]
mod told;

fn main() -> ExitCode {
    let cases = [spsc::CASES, records::CASES, stream::CASES, directory::CASES, segments::CASES, mutex::CASES];
    coverage::finds_what_is_planted();
    let findings = coverage::findings(&cases.concat());
    let outcome = outlive_kill::run(&cases);
    for finding in &findings {
        println!("FAILED {finding}");
    }
    if findings.is_empty() { outcome } else { ExitCode::FAILURE }
}
