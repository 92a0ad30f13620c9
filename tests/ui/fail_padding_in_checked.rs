//! Padding would show the peer what happened to be on our stack.

use outlive::{Schema, Shared, ring::spsc};

#[repr(C)]
#[derive(Clone, Copy)]
struct Padded {
    a: u8,
    b: u64,
}

// SAFETY: a fixed layout, without pointers or drop glue.
unsafe impl Shared for Padded {
    const SCHEMA: Schema = Schema::of::<Self>("Padded").field("a", 0, u8::SCHEMA).field("b", 8, u64::SCHEMA);
}

fn trade(_: &spsc::Ring<Padded>) {}

fn main() {}
