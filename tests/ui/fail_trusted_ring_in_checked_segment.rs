//! Trust is given once, to the segment.

use outlive::{Segment, Trusted, ring::spsc};

fn main() {
    let segment: Segment = Segment::heap(1 << 16).unwrap();
    let _ = spsc::Ring::<u64, Trusted>::open(&segment, "x");
}
