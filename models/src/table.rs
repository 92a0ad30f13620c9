//! All states that were found, each once, in the order in which they were found.

use core::hash::{BuildHasher, BuildHasherDefault, Hash, Hasher};

/// Numbers of states, kept in half the bytes: there are never as many as that.
#[expect(clippy::cast_possible_truncation, reason = "bounded by the greatest number of states")]
pub(crate) fn small(index: usize) -> u32 {
    index as u32
}

pub(crate) fn large(index: u32) -> usize {
    index as usize
}

/// A hash table of indices: each state is stored once.
pub(crate) struct Table<S> {
    states: Vec<S>,
    /// Open addressing; a power of two of them, half of them empty at least.
    slots: Vec<u32>,
}

const EMPTY: u32 = u32::MAX;

impl<S: Eq + Hash> Table<S> {
    pub(crate) fn new() -> Self {
        Self { states: Vec::new(), slots: vec![EMPTY; 1 << 10] }
    }

    pub(crate) fn len(&self) -> usize {
        self.states.len()
    }

    pub(crate) fn get(&self, index: usize) -> &S {
        &self.states[index]
    }

    /// The index of `state`, and whether it is new.
    pub(crate) fn insert(&mut self, state: S) -> (usize, bool) {
        if self.states.len() * 2 >= self.slots.len() {
            self.grow();
        }
        let mut slot = self.first_slot(&state);
        while self.slots[slot] != EMPTY {
            let index = large(self.slots[slot]);
            if self.states[index] == state {
                return (index, false);
            }
            slot = (slot + 1) % self.slots.len();
        }
        let index = self.states.len();
        self.slots[slot] = small(index);
        self.states.push(state);
        (index, true)
    }

    fn grow(&mut self) {
        self.slots = vec![EMPTY; self.slots.len() * 4];
        for index in 0..self.states.len() {
            let mut slot = self.first_slot(&self.states[index]);
            while self.slots[slot] != EMPTY {
                slot = (slot + 1) % self.slots.len();
            }
            self.slots[slot] = small(index);
        }
    }

    #[expect(clippy::cast_possible_truncation, reason = "usize has 64 bits where this crate runs")]
    fn first_slot(&self, state: &S) -> usize {
        BuildHasherDefault::<Multiplying>::default().hash_one(state) as usize % self.slots.len()
    }
}

/// Quick, and good enough for states that nobody chose to collide.
#[derive(Default)]
struct Multiplying(u64);

impl Multiplying {
    fn add(&mut self, word: u64) {
        self.0 = (self.0.rotate_left(5) ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }
}

impl Hasher for Multiplying {
    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.add(u64::from_le_bytes(word));
        }
    }

    fn write_u8(&mut self, byte: u8) {
        self.add(byte.into());
    }

    fn write_u16(&mut self, word: u16) {
        self.add(word.into());
    }

    fn write_usize(&mut self, word: usize) {
        self.add(word as u64);
    }

    /// The high bits are the best ones, the low ones are used.
    fn finish(&self) -> u64 {
        self.0 ^ self.0 >> 32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_state_is_there_once_and_keeps_its_number() {
        let mut table = Table::new();
        for round in 0..2 {
            for n in 0..10_000_usize {
                assert_eq!(table.insert([n % 100, n / 100]), (n, round == 0));
            }
        }
        assert_eq!((table.len(), table.get(4711)), (10_000, &[11, 47]));
    }
}
