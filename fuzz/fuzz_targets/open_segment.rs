//! Arbitrary bytes as a segment: a valid one with changes, or something else altogether.
#![no_main]

use libfuzzer_sys::fuzz_target;
use outlive_drivers::open_segment::{Input, run};

fuzz_target!(|input: Input| run(input));
