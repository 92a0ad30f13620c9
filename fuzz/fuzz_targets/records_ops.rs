//! Operations of two attachments on a ring of records, with deaths and successors, against a queue: nothing is lost, torn, or
#![no_main]

use libfuzzer_sys::fuzz_target;
use outlive_drivers::records_ops::{Input, run};

fuzz_target!(|input: Input| run(input));
