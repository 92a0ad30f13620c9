//! There is no reference to bytes that anybody may change.

use outlive::{Segment, ring::spsc};

fn main() {
    let segment = Segment::heap(1 << 16).unwrap();
    let ring = spsc::Ring::<u64>::create(&segment, "x", 64).unwrap();
    let mut rx = ring.try_receiver().unwrap();
    let items = rx.try_read(4).unwrap();
    let _first: &u64 = &(*items)[0];
}
