//! An address means nothing in another process.

use outlive::Shared;

#[repr(C)]
#[derive(Shared)]
struct Label {
    id: u64,
    text: &'static u8,
}

fn main() {}
