//! What the two modes admit, without the derive.

use bytemuck::{Pod, Zeroable};
use outlive::{Schema, Segment, Shared, Trusted, ring::spsc};

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct Point {
    x: f64,
    y: f64,
}

// SAFETY: `repr(C)`, two numbers, both in the schema.
unsafe impl Shared for Point {
    const SCHEMA: Schema = Schema::of::<Self>("Point").field("x", 0, f64::SCHEMA).field("y", 8, f64::SCHEMA);
}

#[repr(u8)]
#[derive(Clone, Copy, Debug, PartialEq)]
enum Side {
    Buy,
    Sell,
}

// SAFETY: a fixed layout, without pointers or drop glue.
unsafe impl Shared for Side {
    const SCHEMA: Schema = Schema::of::<Self>("Side").variant("Buy", 0).variant("Sell", 1);
}

fn main() -> outlive::Result<()> {
    let segment = Segment::heap(1 << 16)?;
    let points = spsc::Ring::<Point>::create(&segment, "points", 64)?;
    let mut sender = points.try_sender()?;
    sender.send(Point { x: 1.0, y: 2.0 })?;
    let mut receiver = points.try_receiver()?;
    assert_eq!(receiver.recv()?.y, 2.0);

    // SAFETY: heap memory of this program, which writes it through this crate only.
    let segment = unsafe { segment.trust() };
    let sides = spsc::Ring::<Side, Trusted>::create(&segment, "sides", 64)?;
    let mut sender = sides.try_sender()?;
    sender.send(Side::Buy)?;
    sender.send(Side::Sell)?;
    let mut receiver = sides.try_receiver()?;
    let items = receiver.try_read(4)?;
    assert_eq!(*items, [Side::Buy, Side::Sell]);
    items.release();

    // A mode that is not spelled is `Checked`, in a trusted segment too.
    let numbers = spsc::Ring::<[u64; 4]>::create(&segment, "numbers", 64)?;
    assert_eq!(numbers.capacity(), 64);
    Ok(())
}
