//! The layout of these is not fixed.

use outlive::Shared;

#[derive(Shared)]
struct NoRepr {
    a: u64,
}

#[repr(C, packed)]
#[derive(Shared)]
struct Packed {
    a: u8,
    b: u64,
}

#[derive(Shared)]
enum NoReprEither {
    A,
    B,
}

#[repr(i32)]
#[derive(Shared)]
enum Signed {
    A,
}

#[repr(C)]
#[derive(Shared)]
enum AsCMayChoose {
    A,
}

fn main() {}
