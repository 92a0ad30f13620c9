//! See `outlive_drivers::open_segment`, and the README.
#![no_main]

use libfuzzer_sys::fuzz_target;
use outlive_drivers::open_segment::{Input, run};

fuzz_target!(|input: Input| run(input));
