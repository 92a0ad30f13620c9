//! The padding of a value would carry private memory into the segment.

use outlive::Shared;
use outlive::atomic::{AtomicU32, AtomicU64};

#[repr(C)]
#[derive(Default, Shared)]
#[shared(concurrent)]
struct Gappy {
    narrow: AtomicU32,
    wide: AtomicU64,
}

fn main() {}
