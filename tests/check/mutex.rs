//! A mutex: sound as long as nobody scribbles, and every word of it is watched.

use std::os::fd::AsFd;

use nix::sys::uio::{pread, pwrite};
use outlive::sync::Mutex;
use outlive::{Segment, inspect};

/// Flips `bits` of the byte at `at`.
fn flip(segment: &Segment, at: i64, bits: u8) {
    let fd = segment.as_fd().unwrap();
    let mut byte = [0];
    assert_eq!(pread(fd.as_fd(), &mut byte, at), Ok(1));
    byte[0] ^= bits;
    assert_eq!(pwrite(fd.as_fd(), &byte, at), Ok(1));
}

#[test]
fn a_mutex_is_watched() {
    let segment = Segment::options().size(1 << 16).rows(4).memfd("check-mutex").unwrap();
    let mutex = Mutex::<[u64; 2]>::create(&segment, "m", || [1, 2]).unwrap();
    let at = i64::try_from(segment.objects().unwrap()[0].at).unwrap();
    assert!(inspect::check(&segment).is_sound());
    let guard = mutex.lock().unwrap();
    assert!(inspect::check(&segment).is_sound(), "held by the living");
    drop(guard);
    // Constants, the reserved bits of the lock, an owner that is none, what is reserved; not who was the last to die.
    for offset in (0..64).chain([65, 67]).chain(72..80) {
        flip(&segment, at + offset, 0x21);
        assert!(!inspect::check(&segment).findings.is_empty(), "{offset}");
        flip(&segment, at + offset, 0x21);
    }
    flip(&segment, at + 67, 0xc0); // W and I: somebody died inside, somebody sleeps
    assert!(inspect::check(&segment).is_sound());
}
