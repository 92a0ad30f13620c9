//! The width of `usize` is that of the program.

use outlive::Shared;

#[repr(C)]
#[derive(Shared)]
struct Slice {
    at: u64,
    len: usize,
}

fn main() {}
