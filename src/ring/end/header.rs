//! The words that two ends share.

use crate::error::Fault;
use crate::memory::{CacheLine, Control, Region};
use crate::ring::lease::Role;
use crate::segment::Owner;
use crate::shim::{AtomicU64, Ordering};
use crate::sync::EventCount;

/// The head of a ring. Each word that is written has a line for itself and for those who read it together.
#[derive(Debug, Default)]
#[repr(C)]
pub(in crate::ring) struct Header {
    pub(super) constants: CacheLine<Constants>,
    /// The next position to send. Written by the sender only.
    pub(in crate::ring) tail: CacheLine<Track>,
    /// The next position to receive. Written by the receiver only.
    pub(in crate::ring) head: CacheLine<Track>,
    /// Who may send.
    pub(in crate::ring) sender: CacheLine<Role>,
    /// Who may receive.
    pub(in crate::ring) receiver: CacheLine<Role>,
    /// The receiver sleeps on it, the sender notifies.
    pub(in crate::ring) items: CacheLine<EventCount>,
    /// The sender sleeps on it, the receiver notifies.
    pub(in crate::ring) space: CacheLine<EventCount>,
    /// For later: the rows to be woken through their doorbells, and statistics.
    pub(super) reserved: CacheLine<Reserved>,
}

// SAFETY: cache lines of structs of atomics.
unsafe impl Control for Header {}

/// Written by the creator, never again. What they mean is the ring's own business.
#[derive(Debug, Default)]
#[repr(C)]
pub(super) struct Constants(pub(super) [AtomicU64; 8]);

// SAFETY: atomics.
unsafe impl Control for Constants {}

/// How far one end has come.
#[derive(Debug, Default)]
#[repr(C)]
pub(in crate::ring) struct Track {
    position: AtomicU64,
    pub(super) marks: [Mark; 2],
}

// SAFETY: an atomic, and structs of atomics.
unsafe impl Control for Track {}

/// What else belongs to a position, for rings that count something else than positions.
#[derive(Debug, Default)]
#[repr(C)]
pub(super) struct Mark {
    pub(super) position: AtomicU64,
    pub(super) count: AtomicU64,
}

// SAFETY: atomics.
unsafe impl Control for Mark {}

#[derive(Debug, Default)]
#[repr(C)]
pub(super) struct Reserved {
    pub(super) waiting: AtomicU64,
}

// SAFETY: an atomic.
unsafe impl Control for Reserved {}

#[cfg(not(loom))]
mod drawn {
    use super::{Header, Track};
    use core::mem::offset_of;
    use static_assertions::const_assert_eq;

    const_assert_eq!(offset_of!(Header, constants), 0);
    const_assert_eq!(offset_of!(Header, tail), 128);
    const_assert_eq!(offset_of!(Header, head), 256);
    const_assert_eq!(offset_of!(Header, sender), 384);
    const_assert_eq!(offset_of!(Header, receiver), 512);
    const_assert_eq!(offset_of!(Header, items), 640);
    const_assert_eq!(offset_of!(Header, space), 768);
    const_assert_eq!(offset_of!(Header, reserved), 896);
    const_assert_eq!(size_of::<Header>(), 1024);
    const_assert_eq!(offset_of!(Track, position), 0);
    const_assert_eq!(offset_of!(Track, marks), 8);
    const_assert_eq!(size_of::<Track>(), 40);
}

impl Header {
    /// The head of an empty ring whose first position is `start`. For its creator.
    pub(in crate::ring) fn build<'a>(
        region: &'a Region,
        at: u64,
        constants: &[u64; 8],
        start: u64,
    ) -> Result<&'a Self, Fault> {
        let header = region.build::<Self>(at)?;
        for (word, value) in header.constants.0.0.iter().zip(constants) {
            word.store(*value, Ordering::Relaxed); // [R1]
        }
        for track in [&*header.tail, &*header.head] {
            track.position.store(start, Ordering::Relaxed); // [R1]
            track.marks[0].position.store(start, Ordering::Relaxed); // [R1]
        }
        Ok(header)
    }

    /// Compares the constants with what they have to be.
    pub(in crate::ring) fn verify(region: &Region, at: u64, constants: &[u64; 8]) -> Result<(), Fault> {
        let header = region.get::<Self>(at)?;
        for (word, value) in header.constants.0.0.iter().zip(constants) {
            let found = word.load(Ordering::Relaxed); // [R1]
            if found != *value {
                return Err(Fault::Corrupt { what: "a constant of a ring is wrong", at });
            }
        }
        Ok(())
    }

    /// Constant `i`, not compared with anything yet.
    pub(in crate::ring) fn constant(&self, i: usize) -> u64 {
        self.constants.0.0[i].load(Ordering::Relaxed) // [R1]
    }

    /// A role has changed: wakes both ends, and makes them look up at their next message.
    pub(in crate::ring) fn alarm(&self) {
        self.items.alarm();
        self.space.alarm();
    }
}

/// Recovery: notes the deaths in the roles of the ring at `at`, and wakes everybody who may have waited for the dead.
pub(in crate::ring) fn sweep(region: &Region, at: u64, len: u64, dead: &dyn Fn(Owner) -> bool) {
    if len < size_of::<Header>() as u64 {
        return;
    }
    let Ok(header) = region.get::<Header>(at) else { return };
    for role in [&*header.sender, &*header.receiver] {
        if role.sweep(dead) {
            header.alarm();
            role.alarm();
        }
    }
}

impl Track {
    /// The word that is published.
    #[inline]
    pub(in crate::ring) fn position(&self) -> &AtomicU64 {
        &self.position
    }

    /// A look from outside.
    pub(in crate::ring) fn look(&self) -> u64 {
        self.position.load(Ordering::Acquire) // [R3]
    }

    /// Notes, before `position` is published, that `count` belongs to it. Counts go up by one: the other mark, which
    /// belongs to what is published now, stays.
    #[inline]
    pub(super) fn mark(&self, position: u64, count: u64) {
        let mark = &self.marks[usize::from(count & 1 != 0)];
        mark.position.store(position, Ordering::Relaxed); // [R6]
        mark.count.store(count, Ordering::Release); // [R7]
    }

    /// The count that belongs to `position`, if one was noted.
    pub(in crate::ring) fn count_at(&self, position: u64) -> Option<u64> {
        self.marks.iter().find_map(|mark| {
            let is_it = || mark.position.load(Ordering::Relaxed) == position; // [R6]
            if !is_it() {
                return None;
            }
            let count = mark.count.load(Ordering::Acquire); // [R7]
            is_it().then_some(count) // else the mark was another one's before its count was read
        })
    }

    /// Plants a position.
    #[cfg(all(test, not(loom)))]
    pub(in crate::ring) fn plant(&self, position: u64) {
        self.position.store(position, Ordering::Relaxed); // one thread
    }
}
