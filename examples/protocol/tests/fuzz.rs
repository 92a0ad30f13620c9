//! Promise: whatever three processes do, in whatever order, and whoever of them dies in between, the latest value is the last
//! one that was published, and its bell was rung.
//!
//! Heap segments and scripted deaths: one process, no kernel object, the same course each time.

#![cfg(not(loom))]
#![allow(clippy::unwrap_used, reason = "tests")]

#[path = "fuzz/drive.rs"]
mod drive;

use outlive::atomic::Ordering;
use outlive_example_protocol::{Latest, PUBLISHER};
use proptest::collection::vec;
use proptest::prelude::any;
use proptest::test_runner::{Config, TestRunner};

fn fuzz(claim: drive::Claim) {
    let config = Config { cases: 500, failure_persistence: None, ..Config::default() };
    let run = |input: Vec<u8>| {
        drive::drive(&input, claim);
        Ok(())
    };
    TestRunner::new(config).run(&vec(any::<u8>(), 0..100), run).unwrap();
}

#[test]
fn the_latest_value_is_the_last_one() {
    fuzz(Latest::publisher);
}

#[test]
#[should_panic(expected = "nobody alive publishes")]
fn a_claim_that_never_takes_over_is_found() {
    fuzz(|latest| {
        let free = latest.words()[PUBLISHER].load(Ordering::Acquire) == 0;
        if free { latest.publisher() } else { Ok(None) } // planted: the dead keep it
    });
}
