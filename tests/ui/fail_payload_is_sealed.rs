//! What `Checked` admits is for the library to say.

use outlive::{Checked, Payload, Schema, Shared};

#[repr(u8)]
enum Side {
    Buy,
    Sell,
}

// SAFETY: a fixed layout, without pointers or drop glue.
unsafe impl Shared for Side {
    const SCHEMA: Schema = Schema::of::<Self>("Side").variant("Buy", 0).variant("Sell", 1);
}

impl Payload<Checked> for Side {}

fn main() {}
