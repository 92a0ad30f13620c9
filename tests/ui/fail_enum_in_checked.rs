//! Whoever writes the memory could write a `Side` of 2.

use outlive::{Schema, Shared, ring::spsc};

#[repr(u8)]
enum Side {
    Buy,
    Sell,
}

// SAFETY: a fixed layout, without pointers or drop glue.
unsafe impl Shared for Side {
    const SCHEMA: Schema = Schema::of::<Self>("Side").variant("Buy", 0).variant("Sell", 1);
}

fn trade(_: &spsc::Ring<Side>) {}

fn main() {}
