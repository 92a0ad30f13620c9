//! One ring, one sender: the handle is the lease.

use outlive::ring::spsc;

fn needs_clone<T: Clone>() {}

fn main() {
    needs_clone::<spsc::Ring<u64>>();
    needs_clone::<spsc::Sender<u64>>();
}
