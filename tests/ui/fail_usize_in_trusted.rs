//! Trust in the writers does not make `usize` as wide here as there.

use outlive::{Segment, Trusted, ring::spsc};

fn main() {
    // SAFETY: nobody else has this memory.
    let segment = unsafe { Segment::heap(1 << 16).unwrap().trust() };
    let _ = spsc::Ring::<usize, Trusted>::open(&segment, "x");
}
