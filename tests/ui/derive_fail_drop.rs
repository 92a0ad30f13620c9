//! Nobody would run this `drop`.

use outlive::Shared;

#[repr(C)]
#[derive(Shared)]
struct Handle {
    fd: u32,
}

impl Drop for Handle {
    fn drop(&mut self) {}
}

fn main() {}
