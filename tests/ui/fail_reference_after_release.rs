//! A released slot belongs to the sender again.

use outlive::{Segment, Trusted, ring::spsc};

fn main() {
    // SAFETY: nobody else has this memory.
    let segment = unsafe { Segment::heap(1 << 16).unwrap().trust() };
    let ring = spsc::Ring::<u64, Trusted>::create(&segment, "x", 64).unwrap();
    let mut rx = ring.try_receiver().unwrap();
    let items = rx.try_read(4).unwrap();
    let first: &u64 = &items[0];
    items.release();
    println!("{first}");
}
