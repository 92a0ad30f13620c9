//! Against naive copies: every kind of granule, many sizes and places, and nothing outside is touched.

use super::*;

/// Bytes that tell where they come from; 251 is a prime, so that no size hides a shift.
fn pattern(seed: usize, len: usize) -> Vec<u8> {
    (0..len).map(|i| u8::try_from((i * 7 + seed * 31 + 1) % 251).unwrap()).collect()
}

/// A block whose start is aligned to 64, within which all places are tried.
struct Arena {
    words: Vec<[u64; 8]>,
}

impl Arena {
    fn filled(bytes: &[u8]) -> Self {
        let mut arena = Self { words: vec![[0; 8]; bytes.len() / 64 + 2] };
        arena.bytes_mut()[..bytes.len()].copy_from_slice(bytes);
        arena
    }

    fn start(&self) -> usize {
        self.words.as_ptr().addr().wrapping_neg() % 64
    }

    fn bytes(&self) -> &[u8] {
        &bytemuck::cast_slice(&self.words)[self.start()..]
    }

    fn bytes_mut(&mut self) -> &mut [u8] {
        let start = self.start();
        &mut bytemuck::cast_slice_mut(&mut self.words)[start..]
    }
}

const MARGIN: usize = 128;

/// `count` values of `T`, `place` values behind the start of the payload.
fn there_and_back<T: Pod>(count: usize, place: usize) {
    let size = count * size_of::<T>();
    let at = MARGIN + place * size_of::<T>();
    let whole = at + size + MARGIN;
    let background = pattern(3, whole);
    let values = pattern(5, size);

    // store: the values are there, the rest is as it was
    let mut arena = Arena::filled(&background);
    let source =
        values.chunks_exact(size_of::<T>()).map(bytemuck::pod_read_unaligned::<T>).collect::<Vec<_>>();
    let to = bytemuck::cast_slice_mut::<u8, T>(&mut arena.bytes_mut()[at..at + size]).as_mut_ptr();
    // SAFETY: I1, I2 - within the arena, one thread.
    unsafe { store_bytes(to, source.as_ptr(), count) };
    let mut expected = background.clone();
    expected[at..at + size].copy_from_slice(&values);
    assert_eq!(arena.bytes()[..whole], expected, "{count} stored at {place}, {} bytes each", size_of::<T>());

    // load: what was read is what was there, and nothing around the destination is touched
    let from = bytemuck::cast_slice::<u8, T>(&arena.bytes()[at..at + size]).as_ptr();
    let fill = bytemuck::pod_read_unaligned::<T>(&pattern(9, size_of::<T>()));
    let mut out = vec![fill; count + 2];
    let inner = out[1..=count].as_mut_ptr();
    // SAFETY: I1, I2 - within the arena and the vector, one thread.
    unsafe { load_bytes(inner, from, count) };
    assert_eq!(bytemuck::cast_slice::<T, u8>(&out[1..=count]), values);
    for outside in [&out[0], &out[count + 1]] {
        assert_eq!(bytemuck::bytes_of(outside), bytemuck::bytes_of(&fill));
    }

    // granules, which other machines use throughout
    let mut again = vec![fill; count + 2];
    let inner = again[1..=count].as_mut_ptr();
    // SAFETY: I1, I2 - within the arena and the vector, one thread.
    unsafe { granules::load_long(inner, from, count) };
    assert_eq!(bytemuck::cast_slice::<T, u8>(&again), bytemuck::cast_slice::<T, u8>(&out));
    let mut arena = Arena::filled(&background);
    let to = bytemuck::cast_slice_mut::<u8, T>(&mut arena.bytes_mut()[at..at + size]).as_mut_ptr();
    // SAFETY: I1, I2 - within the arena, one thread.
    unsafe { granules::store_long(to, source.as_ptr(), count) };
    assert_eq!(arena.bytes()[..whole], expected);
}

/// One value, by `load` and `store`.
fn one<T: Pod>() {
    let size = size_of::<T>();
    let (background, bytes) = (pattern(2, MARGIN + 2 * size + MARGIN), pattern(4, size));
    let at = MARGIN + size;
    let mut arena = Arena::filled(&background);
    let to = bytemuck::cast_slice_mut::<u8, T>(&mut arena.bytes_mut()[at..at + size]).as_mut_ptr();
    // SAFETY: I1 - within the arena, one thread.
    unsafe { store(to, bytemuck::pod_read_unaligned(&bytes)) };
    // SAFETY: I1 - within the arena, one thread.
    let value: T = unsafe { load(to) };
    assert_eq!(bytemuck::bytes_of(&value), bytes);
    let mut expected = background.clone();
    expected[at..at + size].copy_from_slice(&bytes);
    assert_eq!(arena.bytes()[..background.len()], expected, "{size} bytes, aligned to {}", align_of::<T>());
}

#[test]
fn one_value_of_any_size_and_alignment() {
    macro_rules! all {
        ($($n:literal)*) => {$(
            one::<[u8; $n]>();
            one::<[u16; $n]>();
            one::<[u32; $n]>();
            one::<[u64; $n]>();
        )*};
    }
    all!(1 2 3 4 5 6 7 8 9 10 11 12 13 15 16 17 31 32 33 63 64 65 127 128 129);
    one::<u128>();
    one::<[u128; 3]>();
    one::<[u128; 9]>();
}

#[test]
fn many_values_of_any_alignment_at_any_place() {
    for count in (0..=70).chain([127, 128, 129, 255, 256, 257, 1000]) {
        for place in [0, 1, 2, 3, 5, 7, 8, 15, 16, 17, 31, 63] {
            there_and_back::<u8>(count, place);
            there_and_back::<u16>(count, place);
            there_and_back::<u32>(count, place);
            there_and_back::<u64>(count, place);
        }
        there_and_back::<[u8; 3]>(count, 1);
        there_and_back::<[u16; 3]>(count, 1);
        there_and_back::<[u32; 3]>(count, 1);
        there_and_back::<[u64; 3]>(count, 1);
    }
}

/// Where a single instruction takes over, at any distance from the next line and modulo a page.
#[test]
fn long_copies_of_bytes_at_any_place() {
    for count in [4095, 4096, 4097, 9000] {
        for place in (0..70).chain([1000, 4000, 4090, 4096]) {
            there_and_back::<u8>(count, place);
        }
        there_and_back::<[u8; 3]>(count, 1);
        there_and_back::<u16>(count, 1);
    }
}

#[test]
fn megabytes_arrive() {
    there_and_back::<u8>((1 << 20) + 13, 1);
    there_and_back::<[u64; 16]>(1 << 13, 1);
}

/// Under a writer that never stops, a granule is always one that was written.
#[test]
#[cfg(not(race_check))]
fn a_race_mixes_values_but_never_splits_a_granule() {
    use std::sync::atomic::{AtomicBool, Ordering};

    /// The address only: the bytes are accessed by the copy alone.
    struct Place(*mut [u64; 16]);
    // SAFETY: I1 - both threads access the bytes only through this module.
    unsafe impl Sync for Place {}
    impl Place {
        fn get(&self) -> *mut [u64; 16] {
            self.0
        }
    }

    let mut shared = [0; 16];
    let place = Place(&raw mut shared);
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for byte in (1..=255_u8).cycle() {
                // SAFETY: I1 - see `Place`.
                unsafe { store(place.get(), [u64::from_le_bytes([byte; 8]); 16]) };
                if stop.load(Ordering::Relaxed) {
                    break;
                }
            }
        });
        for _ in 0..20_000 {
            // SAFETY: I1 - see `Place`.
            for granule in unsafe { load(place.get()) } {
                let bytes = granule.to_le_bytes();
                assert_eq!(bytes, [bytes[0]; 8], "a granule of two values");
            }
        }
        stop.store(true, Ordering::Relaxed);
    });
}
