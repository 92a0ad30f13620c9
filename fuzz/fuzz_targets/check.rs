//! The check over a segment that two attachments use and a third party scribbles over.
#![no_main]

use libfuzzer_sys::fuzz_target;
use outlive_drivers::check::{Input, run};

fuzz_target!(|input: Input| run(input));
