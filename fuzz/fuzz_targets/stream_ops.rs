//! Operations of two attachments on a stream, with deaths and successors, against a queue of bytes: nothing is lost, nothing
#![no_main]

use libfuzzer_sys::fuzz_target;
use outlive_drivers::stream_ops::{Input, run};

fuzz_target!(|input: Input| run(input));
