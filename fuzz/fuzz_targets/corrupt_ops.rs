//! Two attachments work while a third party scribbles over header, tables and ring.
#![no_main]

use libfuzzer_sys::fuzz_target;
use outlive_drivers::corrupt_ops::{Input, run};

fuzz_target!(|input: Input| run(input));
