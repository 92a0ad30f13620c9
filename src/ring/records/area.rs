//! The bytes of a ring, as words: where they lie, and how they are copied whatever lies behind the last one.

use core::mem::MaybeUninit;
use core::ptr::NonNull;
use std::sync::Arc;

use crate::error::Fault;
use crate::memory::Region;
use crate::os::mirror::Mirror;
use crate::ring::position::index;
use crate::segment::directory::ObjectHandle;
use crate::shim::Slots;

use super::layout::{FrameHeader, Plan, WORD};

/// What is copied at once. Its alignment, and with it the granule of all copies, is that of a byte.
type Word = [u8; 8];

/// The data area. Everything here is total: positions are taken modulo the capacity, so that no argument leads out of it.
#[derive(Clone, Debug)]
pub(super) struct Area {
    words: Slots<Word>,
    /// Words of the ring, less one.
    mask: usize,
    /// Words in a row from the first one on: those of the ring, or twice as many.
    row: usize,
    /// What `words` lies in, if the area is mapped twice.
    mirror: Option<Arc<Mirror>>,
}

impl Area {
    /// Makes an area of `capacity` bytes at `at`. For the ring's creator.
    pub(super) fn build(region: &Region, at: u64, capacity: u64) -> Result<(), Fault> {
        let base = region.bytes(at, capacity, WORD)?;
        // SAFETY: `bytes` has checked the range; the bytes are the creator's alone, and then those of records (B-I1).
        let _ = unsafe { Slots::<Word>::build(base.cast(), index(capacity / WORD), region.races(), at) };
        Ok(())
    }

    /// The area of a ring that was verified. Mapped twice, if it is mirrored and this attachment can.
    pub(super) fn open(object: &ObjectHandle, plan: &Plan) -> Result<Self, Fault> {
        let attached = object.attached();
        let at = object.at().saturating_add(plan.data_at);
        let base = attached.region().bytes(at, plan.capacity, WORD)?;
        let words = index(plan.capacity / WORD);
        let mirror = if plan.mirrored { attached.mirror(at, plan.capacity) } else { None };
        let (base, row) = mirror.as_ref().map_or((base, words), |mirror| (mirror.base(), 2 * words));
        // SAFETY: `bytes` has checked the range, and the handle keeps it mapped, and the object's; or the mirror, which is as
        // long twice, and is kept here. B-I1.
        let words_of = unsafe { Slots::open(base.cast(), row, attached.region().races(), at) };
        Ok(Self { words: words_of, mask: words - 1, row, mirror: mirror.map(Arc::new) })
    }

    /// The area at `at`, of a `capacity` in whole words, for whoever looks at it from outside: in one piece.
    pub(super) fn seen(region: &Region, at: u64, capacity: u64) -> Result<Self, Fault> {
        let (base, words) = (region.bytes(at, capacity, WORD)?, index(capacity / WORD));
        // SAFETY: `bytes` has checked the range; whoever looks keeps it mapped. B-I1.
        let words_of = unsafe { Slots::open(base.cast(), words, region.races(), at) };
        Ok(Self { words: words_of, mask: words - 1, row: words, mirror: None })
    }

    /// Whether it is mapped twice: then every frame lies in one piece.
    pub(super) fn is_mapped_twice(&self) -> bool {
        self.mirror.is_some()
    }

    /// Where the ring's first position lies.
    pub(super) fn base(&self, object: &ObjectHandle, plan: &Plan) -> Result<NonNull<u8>, Fault> {
        if let Some(mirror) = &self.mirror {
            return Ok(mirror.base());
        }
        let at = object.at().saturating_add(plan.data_at);
        object.attached().region().bytes(at, plan.capacity, WORD)
    }

    #[inline]
    fn word(&self, position: u64) -> usize {
        index(position / WORD) & self.mask
    }

    /// Whether `len` bytes from `position` on lie in one piece.
    #[inline]
    pub(super) fn is_in_a_row(&self, position: u64, len: usize) -> bool {
        words(len) <= self.row - self.word(position)
    }

    #[inline]
    pub(super) fn header(&self, position: u64) -> FrameHeader {
        FrameHeader::from_bytes(self.load(position))
    }

    #[inline]
    pub(super) fn set_header(&self, position: u64, header: FrameHeader) {
        self.store(position, header.to_bytes());
    }

    #[inline]
    pub(super) fn load(&self, position: u64) -> Word {
        // SAFETY: B-I2 - a word of the area.
        unsafe { self.words.load(self.word(position)) }
    }

    #[inline]
    pub(super) fn store(&self, position: u64, word: Word) {
        // SAFETY: B-I2 - a word of the area.
        unsafe { self.words.store(self.word(position), word) }
    }

    /// Copies words out; all of `into` is filled (up to the size of the ring).
    #[inline]
    pub(super) fn load_many(&self, position: u64, into: &mut [MaybeUninit<Word>]) {
        let first = self.word(position);
        if into.len() <= self.row - first {
            // SAFETY: B-I2 - as many words as there are in a row.
            unsafe { self.words.load_many(first, into) }
        } else {
            self.load_around(first, into);
        }
    }

    #[cold]
    fn load_around(&self, first: usize, into: &mut [MaybeUninit<Word>]) {
        let (now, anew) = into.split_at_mut(self.row - first);
        let n = anew.len().min(first);
        // SAFETY: B-I2 - the words up to the last one.
        unsafe { self.words.load_many(first, now) };
        // SAFETY: B-I2 - words from the first one on, not farther than where this began.
        unsafe { self.words.load_many(0, &mut anew[..n]) };
        anew[n..].fill(MaybeUninit::zeroed()); // nobody asks for more than the ring has
    }

    /// Copies words in.
    #[inline]
    fn store_many(&self, position: u64, words: &[Word]) {
        let first = self.word(position);
        if words.len() <= self.row - first {
            // SAFETY: B-I2 - as many words as there are in a row.
            unsafe { self.words.store_many(first, words) }
        } else {
            self.store_around(first, words);
        }
    }

    #[cold]
    fn store_around(&self, first: usize, words: &[Word]) {
        let (now, anew) = words.split_at(self.row - first);
        // SAFETY: B-I2 - the words up to the last one.
        unsafe { self.words.store_many(first, now) };
        // SAFETY: B-I2 - words from the first one on, not farther than where this began.
        unsafe { self.words.store_many(0, &anew[..anew.len().min(first)]) };
    }

    /// Copies bytes in, from `position` on; the rest of their last word is zero.
    #[inline]
    pub(super) fn put(&self, position: u64, bytes: &[u8]) {
        let whole = bytes.len() & !7;
        self.store_many(position, bytemuck::cast_slice(&bytes[..whole]));
        if whole != bytes.len() {
            self.store(position.wrapping_add(whole as u64), rest(bytes));
        }
    }

    /// Copies bytes in, behind the first `at` from `position` on.
    #[inline]
    pub(super) fn append(&self, position: u64, at: usize, bytes: &[u8]) {
        let (begun, place) = (at % 8, position.wrapping_add(at as u64));
        if begun == 0 || bytes.is_empty() {
            return self.put(place, bytes); // nothing: not even the same word anew, which may be another's by now
        }
        let place = place.wrapping_sub(begun as u64);
        let (first, others) = bytes.split_at(bytes.len().min(8 - begun));
        let mut word = self.load(place);
        word[begun..begun + first.len()].copy_from_slice(first);
        self.store(place, word);
        self.put(place.wrapping_add(WORD), others);
    }

    /// Makes the rest of the last word zero, of `len` bytes from `position` on.
    #[inline]
    pub(super) fn seal(&self, position: u64, len: usize) {
        let used = len % 8;
        if used != 0 {
            let place = position.wrapping_add((len - used) as u64);
            let mut word = self.load(place);
            word[used..].fill(0);
            self.store(place, word);
        }
    }

    /// Copies bytes out, from `position` on.
    #[inline]
    pub(super) fn get(&self, position: u64, into: &mut [u8]) {
        let whole = into.len() & !7;
        let (words, rest) = into.split_at_mut(whole);
        let words: &mut [Word] = bytemuck::cast_slice_mut(words);
        // SAFETY: B-I6 - the caller's words, into which nothing but words is written.
        let words = unsafe { core::slice::from_raw_parts_mut(words.as_mut_ptr().cast(), words.len()) };
        self.load_many(position, words);
        if !rest.is_empty() {
            let word = self.load(position.wrapping_add(whole as u64));
            rest.copy_from_slice(&word[..rest.len()]);
        }
    }

    /// Replaces the contents of `into` by `len` bytes from `position` on.
    #[inline]
    pub(super) fn read_to(&self, position: u64, len: usize, into: &mut Vec<u8>) {
        let words = words(len);
        into.clear();
        into.reserve(words * 8);
        let spare = into.spare_capacity_mut().as_mut_ptr();
        // SAFETY: B-I6 - spare bytes of a vector that has room for so many words, whose alignment is that of a byte.
        let spare = unsafe { core::slice::from_raw_parts_mut(spare.cast::<MaybeUninit<Word>>(), words) };
        self.load_many(position, spare);
        // SAFETY: B-I6 - so many bytes were just written, and more.
        unsafe { into.set_len(len) };
    }

    /// Trusted: bytes in place, which lie in a row.
    ///
    /// # Safety
    /// The bytes are the caller's for as long as the slice lives, and nobody writes them: contract of trust.
    #[inline]
    pub(super) unsafe fn slice(&self, position: u64, len: usize) -> &[u8] {
        let first = self.word(position);
        let n = words(len).min(self.row - first);
        // SAFETY: B-I2 - as many words as there are in a row; the caller's contract.
        let words = unsafe { self.words.slice(first, n) };
        let bytes = words.as_flattened();
        &bytes[..len.min(bytes.len())]
    }

    /// Trusted: bytes to be written in place, which lie in a row: those behind the first `at` of `len`.
    ///
    /// # Safety
    /// The bytes are the caller's for as long as the slice lives, one at a time.
    #[inline]
    #[expect(clippy::mut_from_ref, reason = "the caller vouches for it, as in `Slots`")]
    pub(super) unsafe fn slice_mut(&self, position: u64, at: usize, len: usize) -> &mut [MaybeUninit<u8>] {
        let first = self.word(position.wrapping_add((at & !7) as u64));
        let n = (words(len) - at / 8).min(self.row - first);
        // SAFETY: B-I2 - as many words as there are in a row; the caller's contract.
        let words = unsafe { self.words.slice_mut(first, n) };
        // SAFETY: B-I2 - the same words, as bytes; the borrow is handed on.
        let bytes = unsafe { core::slice::from_raw_parts_mut(words.as_mut_ptr().cast(), words.len() * 8) };
        let end = (len - (at & !7)).min(bytes.len());
        &mut bytes[at % 8..end]
    }
}

/// How many words so many bytes are.
#[inline]
const fn words(len: usize) -> usize {
    len.wrapping_add(7) / 8
}

/// The last 1 to 7 bytes of a slice that is no whole words, and zeros.
#[inline]
fn rest(bytes: &[u8]) -> Word {
    let n = bytes.len() % 8;
    if let Some(last) = bytes.last_chunk::<8>() {
        return (u64::from_le_bytes(*last) >> (8 * (8 - n))).to_le_bytes();
    }
    let mut word = [0; 8];
    for (to, from) in word.iter_mut().zip(bytes) {
        *to = *from;
    }
    word
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::rest;

    #[test]
    fn the_rest_is_padded_with_zeros() {
        let bytes: Vec<u8> = (1..=23).collect();
        for len in (1..24).filter(|len| len % 8 != 0) {
            let whole = len / 8 * 8;
            let mut expected = [0; 8];
            expected[..len - whole].copy_from_slice(&bytes[whole..len]);
            assert_eq!(rest(&bytes[..len]), expected, "{len}");
        }
    }
}
