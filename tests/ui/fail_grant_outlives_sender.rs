//! A grant is part of its sender.

use outlive::{Segment, ring::spsc};

fn main() {
    let segment = Segment::heap(1 << 16).unwrap();
    let ring = spsc::Ring::<u64>::create(&segment, "x", 64).unwrap();
    let mut tx = ring.try_sender().unwrap();
    let grant = tx.try_reserve(4).unwrap();
    drop(tx);
    grant.commit();
}
