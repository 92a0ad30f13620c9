//! See `outlive_drivers::spsc_ops`, and the README.
#![no_main]

use libfuzzer_sys::fuzz_target;
use outlive_drivers::spsc_ops::{Input, run};

fuzz_target!(|input: Input| run(input));
