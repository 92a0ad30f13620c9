//! What crosses the ring: numbered pieces of the file.
//!
//! Message number `n` carries the bytes from `n * CHUNK` on, and is the ring's `n`-th message: so a successor finds its place in
//! the file from the ring's position, and the receiver finds the place in its output from the number alone.
//!
//! Invariants of the unsafe code:
//!
//! * I1: [`Chunk`] is `repr(C)` with fields of 8, 4, 4 and [`CHUNK`] bytes at alignments 8, 4, 4 and 1; `CHUNK` is a multiple
//!   of 8. It has no padding and any bytes are a valid value (asserted below the type).

use core::mem::offset_of;

use bytemuck::{Pod, Zeroable};
use outlive::{Schema, Shared};

/// File bytes in a message. In larger ones the stream is hardly faster, in messages of 4 KiB it is slower.
pub(crate) const CHUNK: usize = 16 * 1024;

/// A piece of the file.
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct Chunk {
    /// Which piece.
    pub(crate) number: u64,
    /// How many of the bytes are file: all, but in the last message.
    pub(crate) length: u32,
    /// Of the number and the bytes: a torn or misplaced message shows at once.
    pub(crate) checksum: u32,
    /// The bytes; beyond `length` they mean nothing.
    pub(crate) bytes: [u8; CHUNK],
}

const _: () = assert!(size_of::<Chunk>() == 16 + CHUNK && CHUNK % 8 == 0);

// SAFETY: I1, zero bytes are a valid value.
unsafe impl Zeroable for Chunk {}
// SAFETY: I1, no padding and any bytes are a valid value; it is `Copy` and has no references.
unsafe impl Pod for Chunk {}
// SAFETY: I1, plain numbers with a fixed layout, without pointers and without `Drop`; the schema names every field.
unsafe impl Shared for Chunk {
    const SCHEMA: Schema = Schema::of::<Self>("Chunk")
        .field("number", offset_of!(Self, number), u64::SCHEMA)
        .field("length", offset_of!(Self, length), u32::SCHEMA)
        .field("checksum", offset_of!(Self, checksum), u32::SCHEMA)
        .field("bytes", offset_of!(Self, bytes), <[u8; CHUNK]>::SCHEMA);
}

impl Chunk {
    /// The file bytes of this message, or what is wrong with it.
    pub(crate) fn verified(&self, number: u64, total: u64) -> Result<&[u8], String> {
        let expected = length_of(number, total);
        let bytes = usize::try_from(self.length).ok().and_then(|length| self.bytes.get(..length));
        match bytes {
            Some(bytes) if bytes.len() == expected && self.checksum == checksum(number, bytes) => Ok(bytes),
            Some(bytes) if bytes.len() == expected => {
                Err(format!("message {number} arrived damaged: its checksum differs"))
            }
            _ => {
                Err(format!("message {number} arrived damaged: {} bytes instead of {expected}", self.length))
            }
        }
    }
}

/// How many messages a file of `total` bytes takes.
pub(crate) fn messages(total: u64) -> u64 {
    total.div_ceil(CHUNK as u64)
}

/// How many file bytes message `number` carries; 0 beyond the end.
pub(crate) fn length_of(number: u64, total: u64) -> usize {
    let rest = total.saturating_sub(number.saturating_mul(CHUNK as u64));
    usize::try_from(rest).map_or(CHUNK, |rest| rest.min(CHUNK))
}

/// A fast sum that depends on the order of the bytes and on the number: four multiplying lanes.
pub(crate) fn checksum(number: u64, mut bytes: &[u8]) -> u32 {
    const ODD: u64 = 0x9E37_79B9_7F4A_7C15;
    let mix = |lane: u64, word: u64| (lane ^ word).wrapping_mul(ODD);
    let word = |block: &[u8; 32], at: usize| {
        let mut word = [0; 8];
        word.copy_from_slice(&block[at..at + 8]);
        u64::from_le_bytes(word)
    };
    let mut lanes = [number, !number, number.rotate_left(16), number.rotate_left(32)];
    while let Some((block, rest)) = bytes.split_first_chunk::<32>() {
        lanes[0] = mix(lanes[0], word(block, 0));
        lanes[1] = mix(lanes[1], word(block, 8));
        lanes[2] = mix(lanes[2], word(block, 16));
        lanes[3] = mix(lanes[3], word(block, 24));
        bytes = rest;
    }
    for byte in bytes {
        lanes[0] = mix(lanes[0], u64::from(*byte));
    }
    let folded = lanes.iter().fold(0u64, |sum, lane| mix(sum.rotate_left(17), *lane));
    u32::try_from(folded >> 32).unwrap_or(0) // it fits
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chunk(number: u64, length: usize) -> Box<Chunk> {
        let mut chunk = Box::new(Chunk::zeroed());
        chunk.number = number;
        chunk.length = u32::try_from(length).expect("a chunk is small");
        for (at, byte) in chunk.bytes[..length].iter_mut().enumerate() {
            *byte = u8::try_from(at % 251).expect("a remainder");
        }
        chunk.checksum = checksum(number, &chunk.bytes[..length]);
        chunk
    }

    #[test]
    fn a_file_is_cut_into_full_messages_and_a_rest() {
        let total = 3 * CHUNK as u64 + 5;
        assert_eq!(messages(total), 4);
        assert_eq!((length_of(2, total), length_of(3, total), length_of(4, total)), (CHUNK, 5, 0));
        assert_eq!(messages(CHUNK as u64), 1);
        assert_eq!(length_of(u64::MAX, total), 0);
    }

    #[test]
    fn an_undamaged_message_gives_its_bytes() {
        let total = CHUNK as u64 + 77;
        assert_eq!(chunk(0, CHUNK).verified(0, total).map(<[u8]>::len), Ok(CHUNK));
        assert_eq!(chunk(1, 77).verified(1, total).map(<[u8]>::len), Ok(77));
    }

    #[test]
    fn every_kind_of_damage_shows() {
        let total = CHUNK as u64 + 77;
        for at in [0, 1, 31, 32, 64, 76] {
            let mut damaged = chunk(1, 77);
            damaged.bytes[at] ^= 1;
            assert!(damaged.verified(1, total).is_err(), "byte {at}");
        }
        let mut swapped = chunk(1, 77);
        swapped.bytes.swap(0, 32);
        assert!(swapped.verified(1, total).is_err(), "two bytes of one lane changed places");
        assert!(chunk(0, 77).verified(1, total).is_err(), "the bytes of another message");
        assert!(chunk(1, 76).verified(1, total).is_err(), "too short");
        let mut long = chunk(1, 77);
        long.length = u32::MAX;
        assert!(long.verified(1, total).is_err(), "longer than a message");
    }
}
