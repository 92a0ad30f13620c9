//! What is done to the bytes of a segment: any value to any byte, and what nearly makes sense where it matters.

use outlive_drivers::Value;

use super::random::Random;
use super::templates::{Places, read, write};

/// Offsets of words of the header: constants, and one in each line.
const HEADER: [usize; 23] =
    [0, 8, 16, 24, 32, 40, 48, 56, 64, 72, 80, 88, 96, 104, 112, 120, 128, 256, 384, 512, 640, 768, 896];
/// Offsets of the words of a ring: constants, tail, head, roles, events.
const RING: [usize; 24] = [
    0, 8, 16, 24, 32, 40, 48, 56, 128, 136, 144, 152, 160, 256, 264, 272, 280, 288, 384, 392, 512, 520, 640,
    768,
];
/// Bytes of a ring before what it carries.
const RING_HEADER: usize = 1024;
const TAIL: usize = 128;
const HEAD: usize = 256;

/// Between one and eight changes.
pub fn some(random: &mut Random, bytes: &mut [u8], places: &Places) {
    for _ in 0..=random.below(8) {
        one(random, bytes, places);
    }
}

fn one(random: &mut Random, bytes: &mut [u8], places: &Places) {
    match random.below(16) {
        0 | 1 => {
            let at = random.below(bytes.len());
            bytes[at] = random.next().to_le_bytes()[0];
        }
        2 => copy(random, bytes, places),
        3 => fill(random, bytes, places),
        4 | 5 => move_ring(random, bytes, places),
        6 => {
            let (one, other) = (aim(random, places, bytes.len()), aim(random, places, bytes.len()));
            let (first, second) = (read(bytes, one), read(bytes, other));
            write(bytes, one, second);
            write(bytes, other, first);
        }
        _ => {
            let at = aim(random, places, bytes.len());
            let value = value(random, bytes, places, read(bytes, at));
            write(bytes, at, value);
        }
    }
}

/// A word that means something. Always inside.
pub fn aim(random: &mut Random, places: &Places, len: usize) -> usize {
    let at = match random.below(16) {
        0 => 8 * random.below(len / 8),
        1 => random.one_of(&HEADER),
        2 | 3 => places.rows_at + 128 * random.below(places.rows) + 8 * random.below(10),
        4 | 5 => places.entries_at + 128 * random.below(places.entries.min(10)) + 8 * random.below(16),
        6 => places.openers_at + 8 * random.below(places.entries),
        7..=12 => object(random, places).0 + random.one_of(&RING),
        _ => {
            let (at, len) = object(random, places);
            at + RING_HEADER + 8 * random.below((len.saturating_sub(RING_HEADER) / 8).min(32))
        }
    };
    at.min(len - 8)
}

fn object(random: &mut Random, places: &Places) -> (usize, usize) {
    if places.objects.is_empty() { (0, 0) } else { random.one_of(&places.objects) }
}

/// What to write over `old`.
pub fn value(random: &mut Random, bytes: &[u8], places: &Places, old: u64) -> u64 {
    match random.below(8) {
        0 => stamped(random, places),
        1 => read(bytes, aim(random, places, bytes.len())),
        2 => old.rotate_left(32),
        3 => {
            let half = random.arbitrary::<Value>().over(old & 0xffff_ffff) & 0xffff_ffff;
            old & !0xffff_ffff | half
        }
        4 => {
            let half = random.arbitrary::<Value>().over(old >> 32) << 32;
            old & 0xffff_ffff | half
        }
        _ => random.arbitrary::<Value>().over(old),
    }
}

/// As roles, entries and rows are written: a count, a state, and who.
fn stamped(random: &mut Random, places: &Places) -> u64 {
    let count = random.one_of(&[0, 1, 2, 0x3fff, 0x4000, 0x7fff_ffff, 0xffff_fffe, 0xffff_ffff]);
    let state = random.below(7) as u64;
    if random.once_in(4) {
        return count << 8 | state; // a row's
    }
    let row = random.one_of(&[0, 1, 2, 3, places.rows as u64, places.rows as u64 + 1, 1022, 1023]);
    let generation = random.one_of(&[0, 1, 2, 0x3fff]);
    count << 32 | state << 24 | row << 14 | generation
}

/// Bytes of one place to another one: another object's words, a row's, an entry's.
fn copy(random: &mut Random, bytes: &mut [u8], places: &Places) {
    let (from, to) = (aim(random, places, bytes.len()), aim(random, places, bytes.len()));
    let n = random.one_of(&[8, 64, 128, 1024]).min(bytes.len() - from.max(to));
    bytes.copy_within(from..from + n, to);
}

fn fill(random: &mut Random, bytes: &mut [u8], places: &Places) {
    let at = aim(random, places, bytes.len());
    let n = random.one_of(&[8, 128, 512, 4096]).min(bytes.len() - at);
    bytes[at..at + n].fill(random.one_of(&[0, 0xff, 0x80, 1]));
}

/// Positions that agree with each other, at the edges of what positions can be.
fn move_ring(random: &mut Random, bytes: &mut [u8], places: &Places) {
    let at = object(random, places).0;
    if at + RING_HEADER > bytes.len() {
        return;
    }
    let capacity = read(bytes, at + 16);
    let edge = random.one_of(&[0, 1 << 31, 1 << 32, 1 << 62, 1 << 63, u64::MAX - 7, u64::MAX]);
    let head = edge.wrapping_sub(8 * random.below(5) as u64).wrapping_add(random.below(2) as u64);
    let length = random.one_of(&[0, 1, 8, 16, capacity, capacity.wrapping_sub(8), capacity.wrapping_add(1)]);
    for (track, position) in [(HEAD, head), (TAIL, head.wrapping_add(length))] {
        let count = random.one_of(&[0, 1, 2, u64::MAX - 1, u64::MAX]);
        let mark = 8 + 16 * (count % 2) as usize;
        write(bytes, at + track, position);
        write(bytes, at + track + mark, position);
        write(bytes, at + track + mark + 8, count);
    }
    // So that somebody can come, and go on from there.
    for role in [384, 512] {
        if random.once_in(2) {
            write(bytes, at + role, 0xffff_ffff << 32 | random.one_of(&[0, 2]) << 24);
        }
    }
}
