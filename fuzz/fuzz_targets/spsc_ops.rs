//! Operations of two attachments on a ring, with deaths and successors, against a queue: nothing is lost, nothing comes
#![no_main]

use libfuzzer_sys::fuzz_target;
use outlive_drivers::spsc_ops::{Input, run};

fuzz_target!(|input: Input| run(input));
