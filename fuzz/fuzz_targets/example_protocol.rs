//! The guide's own protocol, driven as in its property test.
#![no_main]

use libfuzzer_sys::fuzz_target;
use outlive_example_protocol::Latest;

#[path = "../../examples/protocol/tests/fuzz/drive.rs"]
mod drive;

fuzz_target!(|input: &[u8]| drive::drive(input, Latest::publisher));
