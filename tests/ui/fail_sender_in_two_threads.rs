//! A sender may move to another thread, but not be in two.

use outlive::{Segment, ring::spsc};

fn main() {
    let segment = Segment::heap(1 << 16).unwrap();
    let ring = spsc::Ring::<u64>::create(&segment, "x", 64).unwrap();
    let mut tx = ring.try_sender().unwrap();
    let first = std::thread::spawn(move || tx.send(1).unwrap());
    let second = std::thread::spawn(move || tx.send(2).unwrap());
    first.join().unwrap();
    second.join().unwrap();
}
