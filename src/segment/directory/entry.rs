//! One entry of the directory: its word, its name, its extent.

use super::Spec;
use crate::error::{Error, Result};
use crate::memory::Control;
use crate::segment::Owner;
use crate::shim::{AtomicU64, Ordering, fence};

/// An entry. 128 bytes.
///
/// | at  | field   | meaning                                                                     |
/// |-----|---------|-----------------------------------------------------------------------------|
/// |   0 | word    | `version:32 \| state:8 \| owner:24`: the truth                              |
/// |   8 | kind    | which structure                                                             |
/// |  16 | schema  | fingerprint of the payload type                                             |
/// |  24 | shape   | capacity                                                                    |
/// |  32 | at      | offset of the object                                                        |
/// |  40 | len     | bytes; 0 = none                                                             |
/// |  48 |         | zero                                                                        |
/// |  64 | name    | length in the first byte, then 1 to 47 bytes of UTF-8, then zeros           |
/// | 112 | payload | name of the payload type, cut at 16 bytes, padded with zeros: for messages  |
#[derive(Debug, Default)]
#[repr(C, align(128))]
pub(crate) struct Entry {
    pub(super) word: AtomicU64,
    pub(super) kind: AtomicU64,
    pub(super) schema: AtomicU64,
    pub(super) shape: AtomicU64,
    pub(super) at: AtomicU64,
    pub(super) len: AtomicU64,
    pub(super) reserved: [AtomicU64; 2],
    pub(super) name: [AtomicU64; 6],
    pub(super) payload: [AtomicU64; 2],
}

// SAFETY: atomics and arrays of atomics.
unsafe impl Control for Entry {}

#[cfg(not(loom))]
static_assertions::assert_eq_size!(Entry, [u8; 128]);
#[cfg(not(loom))]
static_assertions::const_assert_eq!(core::mem::offset_of!(Entry, name), 64);

/// What an entry is in: see the module above.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    Empty,
    Reserved(Owner),
    Live,
    Retired,
    Vacating(Owner),
    Vacant,
}

/// The word of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Word(pub(super) u64);

impl Word {
    pub(super) fn state(self) -> State {
        let owner = Owner::from_bits(u32::try_from(self.0 & 0x00ff_ffff).unwrap_or_default());
        match (self.0 >> 24 & 0xff, owner) {
            (0, _) => State::Empty,
            (1, Some(owner)) => State::Reserved(owner),
            (2, _) => State::Live,
            (4, Some(owner)) => State::Vacating(owner),
            (5, _) => State::Vacant,
            _ => State::Retired, // 3, and whatever else a scribbler leaves: no name, memory kept while open
        }
    }

    /// The word of the next version.
    pub(super) fn next(self, state: State) -> Self {
        let (code, owner) = match state {
            State::Empty => (0, 0),
            State::Reserved(owner) => (1, owner.bits()),
            State::Live => (2, 0),
            State::Retired => (3, 0),
            State::Vacating(owner) => (4, owner.bits()),
            State::Vacant => (5, 0),
        };
        let version = (self.0 >> 32).wrapping_add(1);
        Self(version << 32 | code << 24 | u64::from(owner))
    }
}

impl Entry {
    pub(super) fn word(&self) -> Word {
        Word(self.word.load(Ordering::Acquire)) // [D1]
    }

    /// Whether the word went from `old` to `new` by us.
    pub(super) fn change(&self, old: Word, new: Word) -> bool {
        self.word.compare_exchange(old.0, new.0, Ordering::AcqRel, Ordering::Relaxed).is_ok() // [D2]
    }

    /// Offset and length, unverified.
    pub(super) fn extent(&self) -> (u64, u64) {
        (self.at.load(Ordering::Relaxed), self.len.load(Ordering::Relaxed)) // [D7]
    }

    pub(super) fn forget_extent(&self) {
        self.len.store(0, Ordering::Relaxed); // [D7]
    }

    pub(super) fn kind(&self) -> u64 {
        self.kind.load(Ordering::Relaxed) // [D7]
    }

    pub(super) fn schema(&self) -> u64 {
        self.schema.load(Ordering::Relaxed) // [D7]
    }

    pub(super) fn shape(&self) -> u64 {
        self.shape.load(Ordering::Relaxed) // [D7]
    }

    /// For the creator, in RESERVED.
    pub(super) fn describe(&self, name: &Name, spec: &Spec, at: u64, len: u64) {
        fence(Ordering::Release); // [D9]
        let order = Ordering::Relaxed; // [D7]
        self.kind.store(u64::from(spec.kind.tag), order);
        self.schema.store(spec.schema.fingerprint(), order);
        self.shape.store(spec.shape.unwrap_or(0), order);
        for (word, value) in self.name.iter().zip(name.0) {
            word.store(value, order);
        }
        let mut payload = [0; 16];
        let type_name = spec.schema.name().as_bytes();
        let cut = type_name.len().min(payload.len());
        payload[..cut].copy_from_slice(&type_name[..cut]);
        for (word, bytes) in self.payload.iter().zip(payload.chunks_exact(8)) {
            word.store(u64_of(bytes), order);
        }
        self.at.store(at, order);
        self.len.store(len, Ordering::Release); // [D3]
    }

    pub(super) fn has_name(&self, name: &Name) -> bool {
        self.name.iter().zip(name.0).all(|(word, value)| word.load(Ordering::Relaxed) == value) // [D7]
    }

    pub(super) fn name(&self) -> String {
        let bytes = bytes_of::<48>(&self.name);
        let len = usize::from(bytes[0]).min(47);
        String::from_utf8_lossy(bytes.get(1..=len).unwrap_or_default()).into_owned()
    }

    pub(super) fn payload_name(&self) -> String {
        let bytes = bytes_of::<16>(&self.payload);
        String::from_utf8_lossy(&bytes).trim_end_matches(['\0', '\u{fffd}']).to_owned()
    }
}

fn u64_of(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |word, &byte| word << 8 | u64::from(byte))
}

fn bytes_of<const N: usize>(words: &[AtomicU64]) -> [u8; N] {
    let mut bytes = [0; N];
    for (chunk, word) in bytes.chunks_exact_mut(8).zip(words) {
        chunk.copy_from_slice(&word.load(Ordering::Relaxed).to_le_bytes()); // [D7]
    }
    bytes
}

/// A name, as an entry holds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Name([u64; 6]);

impl Name {
    /// 1 to 47 bytes, without NUL and `/`.
    pub(super) fn pack(name: &str) -> Result<Self> {
        let invalid = || Error::InvalidName { name: name.to_owned() };
        let len = u8::try_from(name.len()).map_err(|_| invalid())?;
        if !(1..=47).contains(&len) || name.contains(['/', '\0']) {
            return Err(invalid());
        }
        let mut bytes = [0; 48];
        bytes[0] = len;
        bytes[1..=usize::from(len)].copy_from_slice(name.as_bytes());
        let mut words = [0; 6];
        for (word, chunk) in words.iter_mut().zip(bytes.chunks_exact(8)) {
            *word = u64_of(chunk);
        }
        Ok(Self(words))
    }

    /// What those words say, if [`pack`](Self::pack) gives them for it.
    pub(super) fn unpack(words: &[u64; 6]) -> Option<String> {
        let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        let (len, bytes) = bytes.split_first()?;
        let name = core::str::from_utf8(bytes.get(..usize::from(*len))?).ok()?;
        Self::pack(name).is_ok_and(|packed| packed.0 == *words).then(|| name.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_bounds() {
        assert!(Name::pack("a").is_ok() && Name::pack(&"x".repeat(47)).is_ok());
        for bad in ["", "a/b", "a\0b", &"x".repeat(48), &"x".repeat(300)] {
            assert!(matches!(Name::pack(bad), Err(Error::InvalidName { .. })), "{bad:?}");
        }
    }

    #[test]
    fn a_word_carries_state_owner_and_version() {
        let owner = Owner::new(3, 9);
        let mut word = Word(0);
        for state in [
            State::Reserved(owner),
            State::Live,
            State::Retired,
            State::Vacating(owner),
            State::Vacant,
            State::Empty,
        ] {
            let next = word.next(state);
            assert_eq!(next.state(), state);
            assert_eq!(next.0 >> 32, (word.0 >> 32) + 1);
            word = next;
        }
        assert_eq!(Word(u64::MAX).state(), State::Retired);
        assert_eq!(Word(1 << 24).state(), State::Retired, "reserved by nobody");
    }
}
