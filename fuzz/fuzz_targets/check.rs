//! See `outlive_drivers::check`, and the README.
#![no_main]

use libfuzzer_sys::fuzz_target;
use outlive_drivers::check::{Input, run};

fuzz_target!(|input: Input| run(input));
