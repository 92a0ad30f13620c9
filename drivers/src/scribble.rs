//! Somebody who writes into a segment, and does not run the protocol.

use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicU64, Ordering};

use arbitrary::Arbitrary;
use memmap2::{MmapOptions, MmapRaw};
use outlive::{Owner, Segment};

/// What to write: mostly what nearly makes sense.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub enum Value {
    /// A small number.
    Small(u8),
    /// All ones, less a little.
    Large(u8),
    /// What is there, and a little more or less.
    Near(i8),
    /// What is there, with one bit changed.
    Flip(u8),
    /// One bit.
    Power(u8),
    /// Anything.
    Any(u64),
}

impl Value {
    /// The new value of a word that holds `old`.
    pub fn over(self, old: u64) -> u64 {
        match self {
            Self::Small(value) => u64::from(value),
            Self::Large(less) => u64::MAX - u64::from(less),
            Self::Near(by) => old.wrapping_add_signed(i64::from(by)),
            Self::Flip(bit) => old ^ 1 << (bit % 64),
            Self::Power(bit) => 1 << (bit % 64),
            Self::Any(value) => value,
        }
    }
}

/// A second mapping of a segment.
#[derive(Debug)]
pub struct Scribbler {
    map: MmapRaw,
}

impl Scribbler {
    /// Where the lock of the directory lies. It is part of the layout.
    pub const DIRECTORY_LOCK: usize = 384;

    /// Maps the segment's object anew. `None` on the heap.
    pub fn new(segment: &Segment) -> Option<Self> {
        Self::of(&segment.as_fd()?)
    }

    /// Maps the object that this descriptor is of. `None` if that is none.
    pub fn of(fd: &impl AsRawFd) -> Option<Self> {
        MmapOptions::new().map_raw(fd).ok().map(|map| Self { map })
    }

    /// The aligned 8 bytes at (about) `at`.
    pub fn look(&self, at: usize) -> u64 {
        self.word(at).load(Ordering::Relaxed)
    }

    /// Writes this over the aligned 8 bytes at (about) `at`.
    pub fn scribble_to(&self, at: usize, value: u64) {
        self.word(at).store(value, Ordering::Relaxed);
    }

    /// Writes over the aligned 8 bytes at (about) `at`.
    pub fn scribble(&self, at: usize, value: Value) {
        let word = self.word(at);
        word.store(value.over(word.load(Ordering::Relaxed)), Ordering::Relaxed);
    }

    /// Frees the directory if the scribbling made one of these living attachments its holder: a lock that a living
    /// process never gives back ends in `Busy` after seconds, which is right, and too slow here.
    pub fn unjam(&self, living: &[Owner]) {
        let word = self.word(Self::DIRECTORY_LOCK);
        let held = word.load(Ordering::Relaxed);
        let stamp = |owner: Owner| u64::from(owner.row() << 14 | owner.generation());
        if living.iter().any(|owner| held & 0xff_ffff == stamp(*owner)) {
            word.store(held & !0xff_ffff, Ordering::Relaxed);
        }
    }

    fn word(&self, at: usize) -> &AtomicU64 {
        let words = self.map.len() / 8;
        let start = self.map.as_mut_ptr().cast::<AtomicU64>();
        // SAFETY: inside the mapping.
        let word = unsafe { start.add(at / 8 % words) };
        // SAFETY: the mapping lives as long as this borrow, and is aligned to pages; nobody in this process forms
        // anything but references to atomics, or raw pointers, to these bytes.
        unsafe { &*word }
    }
}

/// The same, over bytes that are nobody's yet.
pub fn words(bytes: &mut [u8], at: usize, value: Value) {
    let words = bytes.len() / 8;
    if words == 0 {
        return;
    }
    let at = at / 8 % words * 8;
    let mut word = [0; 8];
    word.copy_from_slice(&bytes[at..at + 8]);
    bytes[at..at + 8].copy_from_slice(&value.over(u64::from_le_bytes(word)).to_le_bytes());
}
