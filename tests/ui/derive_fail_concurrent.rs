//! A reference to `plain` would not be sound while another process writes it.

use outlive::Shared;
use outlive::atomic::AtomicU64;

#[repr(C)]
#[derive(Default, Shared)]
#[shared(concurrent)]
struct Counters {
    atomic: AtomicU64,
    plain: u64,
}

fn main() {}
