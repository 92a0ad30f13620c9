//! A payload without bytes is not a message.

use outlive::{Segment, ring::spsc};

fn main() {
    let segment = Segment::heap(1 << 16).unwrap();
    let _ = spsc::Ring::<[u64; 0]>::open(&segment, "x");
}
