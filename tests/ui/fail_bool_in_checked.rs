//! Whoever writes the memory could write a `bool` of 2.

use outlive::{Segment, ring::spsc};

fn main() {
    let segment = Segment::heap(1 << 16).unwrap();
    let _ = spsc::Ring::<bool>::open(&segment, "x");
}
