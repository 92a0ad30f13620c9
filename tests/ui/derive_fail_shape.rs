//! These have the wrong shape, whatever their `repr`.

use outlive::Shared;

#[repr(C)]
#[derive(Shared)]
struct Nothing;

#[repr(C)]
#[derive(Shared)]
union Either {
    a: u64,
    b: f64,
}

#[repr(u8)]
#[derive(Shared)]
enum WithData {
    A,
    B(u64),
}

#[repr(C)]
#[derive(Shared)]
struct Borrowed<'a> {
    a: &'a u64,
}

#[repr(C)]
#[derive(Shared)]
struct Misplaced {
    #[shared(concurrent)]
    a: u64,
}

#[repr(C)]
#[derive(Shared)]
#[shared(lockfree)]
struct Misspelled {
    a: u64,
}

fn main() {}
