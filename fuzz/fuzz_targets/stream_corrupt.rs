//! Two attachments write and read a stream while a third party scribbles over its control words and its bytes.
#![no_main]

use libfuzzer_sys::fuzz_target;
use outlive_drivers::stream_corrupt::{Input, run};

fuzz_target!(|input: Input| run(input));
