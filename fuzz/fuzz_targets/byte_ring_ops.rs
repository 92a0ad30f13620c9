//! See `outlive_drivers::byte_ring_ops`, and the README.
#![no_main]

use libfuzzer_sys::fuzz_target;
use outlive_drivers::byte_ring_ops::{Input, run};

fuzz_target!(|input: Input| run(input));
