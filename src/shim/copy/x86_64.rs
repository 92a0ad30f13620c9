//! The copy in moves of up to 16 bytes, each of which stands for the relaxed atomics of the granules that it spans. Why that
//! is sound, and the invariants (I1 to I3), are the parent's.
//!
//! A rest is taken in falling powers of two, so that no granule is split between two moves. Where the granule is a byte, long
//! copies are made by the string instruction.

use core::arch::asm;
use core::arch::x86_64::__m128i;

use bytemuck::Pod;

use super::granules::granule_of;

pub(super) use long as load_long;
pub(super) use long as store_long;

/// What one move takes.
trait Piece: Copy {
    /// # Safety
    /// I1, for so many bytes. Not necessarily aligned.
    unsafe fn get(from: *const u8) -> Self;
    /// # Safety
    /// I1, for so many bytes. Not necessarily aligned.
    unsafe fn set(to: *mut u8, value: Self);
}

impl Piece for __m128i {
    #[inline]
    unsafe fn get(from: *const u8) -> Self {
        let value: Self;
        // SAFETY: I1 - one read, within the payload.
        unsafe {
            asm!("movdqu {v}, [{p}]", v = out(xmm_reg) value, p = in(reg) from, options(nostack, readonly, preserves_flags));
        }
        value
    }

    #[inline]
    unsafe fn set(to: *mut u8, value: Self) {
        // SAFETY: I1 - one write, within the payload.
        unsafe {
            asm!("movdqu [{p}], {v}", v = in(xmm_reg) value, p = in(reg) to, options(nostack, preserves_flags));
        }
    }
}

impl Piece for u64 {
    #[inline]
    unsafe fn get(from: *const u8) -> Self {
        let value: Self;
        // SAFETY: I1 - one read, within the payload.
        unsafe {
            asm!("mov {v}, qword ptr [{p}]", v = out(reg) value, p = in(reg) from, options(nostack, readonly, preserves_flags));
        }
        value
    }

    #[inline]
    unsafe fn set(to: *mut u8, value: Self) {
        // SAFETY: I1 - one write, within the payload.
        unsafe {
            asm!("mov qword ptr [{p}], {v}", v = in(reg) value, p = in(reg) to, options(nostack, preserves_flags));
        }
    }
}

impl Piece for u32 {
    #[inline]
    unsafe fn get(from: *const u8) -> Self {
        let value: Self;
        // SAFETY: I1 - one read, within the payload.
        unsafe {
            asm!("mov {v:e}, dword ptr [{p}]", v = out(reg) value, p = in(reg) from, options(nostack, readonly, preserves_flags));
        }
        value
    }

    #[inline]
    unsafe fn set(to: *mut u8, value: Self) {
        // SAFETY: I1 - one write, within the payload.
        unsafe {
            asm!("mov dword ptr [{p}], {v:e}", v = in(reg) value, p = in(reg) to, options(nostack, preserves_flags));
        }
    }
}

impl Piece for u16 {
    #[inline]
    unsafe fn get(from: *const u8) -> Self {
        let value: Self;
        // SAFETY: I1 - one read, within the payload.
        unsafe {
            asm!("mov {v:x}, word ptr [{p}]", v = out(reg) value, p = in(reg) from, options(nostack, readonly, preserves_flags));
        }
        value
    }

    #[inline]
    unsafe fn set(to: *mut u8, value: Self) {
        // SAFETY: I1 - one write, within the payload.
        unsafe {
            asm!("mov word ptr [{p}], {v:x}", v = in(reg) value, p = in(reg) to, options(nostack, preserves_flags));
        }
    }
}

impl Piece for u8 {
    #[inline]
    unsafe fn get(from: *const u8) -> Self {
        let value: Self;
        // SAFETY: I1 - one read, within the payload.
        unsafe {
            asm!("mov {v}, byte ptr [{p}]", v = out(reg_byte) value, p = in(reg) from, options(nostack, readonly, preserves_flags));
        }
        value
    }

    #[inline]
    unsafe fn set(to: *mut u8, value: Self) {
        // SAFETY: I1 - one write, within the payload.
        unsafe {
            asm!("mov byte ptr [{p}], {v}", v = in(reg_byte) value, p = in(reg) to, options(nostack, preserves_flags));
        }
    }
}

/// A `T` of a constant size, of up to 64 bytes or so: straight through registers.
///
/// # Safety
/// I1 (`src`), I2 (`dst`), for one `T`.
#[inline]
pub(super) unsafe fn load_short<T: Pod>(dst: *mut T, src: *const T) {
    let (dst, src, size) = (dst.cast::<u8>(), src.cast::<u8>(), size_of::<T>());
    let mut at = 0;
    // The sizes are constants: nothing of this remains but the moves.
    while size - at >= 16 {
        // SAFETY: I1, I2 - 16 bytes from here.
        unsafe { load_piece::<__m128i>(dst, src, at) };
        at += 16;
    }
    if size - at >= 8 {
        // SAFETY: I1, I2 - 8 bytes from here.
        unsafe { load_piece::<u64>(dst, src, at) };
        at += 8;
    }
    if size - at >= 4 {
        // SAFETY: I1, I2 - 4 bytes from here.
        unsafe { load_piece::<u32>(dst, src, at) };
        at += 4;
    }
    if size - at >= 2 {
        // SAFETY: I1, I2 - 2 bytes from here.
        unsafe { load_piece::<u16>(dst, src, at) };
        at += 2;
    }
    if size - at >= 1 {
        // SAFETY: I1, I2 - the last byte.
        unsafe { load_piece::<u8>(dst, src, at) };
    }
}

/// # Safety
/// I1 (`src`), I2 (`dst`), for a piece at `at`.
#[inline]
unsafe fn load_piece<P: Piece>(dst: *mut u8, src: *const u8, at: usize) {
    // SAFETY: I1, I2 - the caller's.
    let from = unsafe { src.add(at) };
    // SAFETY: I1, I2 - the caller's.
    let to = unsafe { dst.add(at) };
    // SAFETY: I1.
    let piece = unsafe { P::get(from) };
    // SAFETY: I2.
    unsafe { to.cast::<P>().write_unaligned(piece) };
}

/// The other direction of [`load_short`].
///
/// # Safety
/// I1 (`dst`), I2 (`src`), for one `T`.
#[inline]
pub(super) unsafe fn store_short<T: Pod>(dst: *mut T, src: *const T) {
    let (dst, src, size) = (dst.cast::<u8>(), src.cast::<u8>(), size_of::<T>());
    let mut at = 0;
    // The sizes are constants: nothing of this remains but the moves.
    while size - at >= 16 {
        // SAFETY: I1, I2 - 16 bytes from here.
        unsafe { store_piece::<__m128i>(dst, src, at) };
        at += 16;
    }
    if size - at >= 8 {
        // SAFETY: I1, I2 - 8 bytes from here.
        unsafe { store_piece::<u64>(dst, src, at) };
        at += 8;
    }
    if size - at >= 4 {
        // SAFETY: I1, I2 - 4 bytes from here.
        unsafe { store_piece::<u32>(dst, src, at) };
        at += 4;
    }
    if size - at >= 2 {
        // SAFETY: I1, I2 - 2 bytes from here.
        unsafe { store_piece::<u16>(dst, src, at) };
        at += 2;
    }
    if size - at >= 1 {
        // SAFETY: I1, I2 - the last byte.
        unsafe { store_piece::<u8>(dst, src, at) };
    }
}

/// # Safety
/// I1 (`dst`), I2 (`src`), for a piece at `at`.
#[inline]
unsafe fn store_piece<P: Piece>(dst: *mut u8, src: *const u8, at: usize) {
    // SAFETY: I1, I2 - the caller's.
    let from = unsafe { src.add(at) };
    // SAFETY: I1, I2 - the caller's.
    let to = unsafe { dst.add(at) };
    // SAFETY: I2.
    let piece = unsafe { from.cast::<P>().read_unaligned() };
    // SAFETY: I1.
    unsafe { P::set(to, piece) };
}

/// From so many bytes on the string instruction is at least as fast as moves.
const STRING: usize = 4096;

/// Any number of values, in either direction.
///
/// # Safety
/// I1 (one side), I2 (the other), for `count` values.
#[inline]
pub(super) unsafe fn long<T: Pod>(dst: *mut T, src: *const T, count: usize) {
    if const { granule_of::<T>() == 1 } && count * size_of::<T>() >= STRING && likes_strings(dst, src) {
        // SAFETY: I1, I2 - the caller's; the granule is a byte.
        unsafe { string(dst.cast(), src.cast(), count * size_of::<T>()) };
    } else {
        // SAFETY: I1, I2 - the caller's.
        unsafe { moves(dst, src, count) };
    }
}

/// Whether the string instruction is fast here. It falls to a fraction of its speed on some processors when the destination
/// runs a few bytes ahead of the source modulo 4096, which happens as soon as a ring and a buffer are both aligned to
/// pages.
#[inline]
fn likes_strings<T>(dst: *const T, src: *const T) -> bool {
    let ahead = dst.addr().wrapping_sub(src.addr()) % 4096;
    !(1..64).contains(&ahead) && std::arch::is_x86_feature_detected!("ermsb")
}

/// Many bytes, by the string instruction: it fetches no line that it is going to fill, and so leaves more of the way
/// between two processors to the bytes. From one to another, 64 KiB at a time, against moves: 6.6 to 4.9 GB/s through 64 KiB,
/// 10.6 to 9.3 through 1 MiB, 17.9 to 15.7 through 8 MiB. Moves of 32 and 64 bytes and prefetching were no faster than moves
/// of 16; stores past the cache took half as long again.
///
/// It may write its bytes in any order, as the granules' copy may; a later store, such as that of a position, is never seen
/// before them.
///
/// # Safety
/// I1 (one side), I2 (the other), for `len` bytes; the granule is 1.
unsafe fn string(dst: *mut u8, src: *const u8, len: usize) {
    let crooked = (dst.addr().wrapping_neg() % 64).min(len);
    // SAFETY: I1, I2 - the first of the bytes, to the next line of the destination.
    unsafe { moves(dst, src, crooked) };
    // SAFETY: I1, I2 - within the bytes.
    let to = unsafe { dst.add(crooked) };
    // SAFETY: I1, I2 - within the bytes.
    let from = unsafe { src.add(crooked) };
    // SAFETY: I1, I2, I3 - exactly the rest of the bytes are read and written, each once; the direction flag is clear, as
    // it is whenever assembly begins.
    unsafe {
        asm!(
            "rep movsb",
            inout("rcx") len - crooked => _,
            inout("rsi") from => _,
            inout("rdi") to => _,
            options(nostack, preserves_flags),
        );
    }
}

/// Any number of values, in either direction, 64 bytes a round.
///
/// # Safety
/// I1 (one side), I2 (the other), for `count` values.
#[inline]
unsafe fn moves<T: Pod>(dst: *mut T, src: *const T, count: usize) {
    // SAFETY: I1, I2, I3 - exactly the bytes of `count` values are read and written, each once; no stack, and flags
    // are declared clobbered by default.
    unsafe {
        asm!(
            "sub {n}, 64",
            "jb 3f",
            "2:",
            "movdqu {a}, [{s}]",
            "movdqu {b}, [{s} + 16]",
            "movdqu {c}, [{s} + 32]",
            "movdqu {e}, [{s} + 48]",
            "movdqu [{d}], {a}",
            "movdqu [{d} + 16], {b}",
            "movdqu [{d} + 32], {c}",
            "movdqu [{d} + 48], {e}",
            "add {s}, 64",
            "add {d}, 64",
            "sub {n}, 64",
            "jae 2b",
            "3:",
            // `n` is the rest minus 64: its low six bits are those of the rest.
            "test {n:l}, 32",
            "jz 4f",
            "movdqu {a}, [{s}]",
            "movdqu {b}, [{s} + 16]",
            "movdqu [{d}], {a}",
            "movdqu [{d} + 16], {b}",
            "add {s}, 32",
            "add {d}, 32",
            "4:",
            "test {n:l}, 16",
            "jz 5f",
            "movdqu {a}, [{s}]",
            "movdqu [{d}], {a}",
            "add {s}, 16",
            "add {d}, 16",
            "5:",
            "test {n:l}, 8",
            "jz 6f",
            "mov {t}, qword ptr [{s}]",
            "mov qword ptr [{d}], {t}",
            "add {s}, 8",
            "add {d}, 8",
            "6:",
            "test {n:l}, 4",
            "jz 7f",
            "mov {t:e}, dword ptr [{s}]",
            "mov dword ptr [{d}], {t:e}",
            "add {s}, 4",
            "add {d}, 4",
            "7:",
            "test {n:l}, 2",
            "jz 8f",
            "movzx {t:e}, word ptr [{s}]",
            "mov word ptr [{d}], {t:x}",
            "add {s}, 2",
            "add {d}, 2",
            "8:",
            "test {n:l}, 1",
            "jz 9f",
            "movzx {t:e}, byte ptr [{s}]",
            "mov byte ptr [{d}], {t:l}",
            "9:",
            n = inout(reg) count * size_of::<T>() => _,
            s = inout(reg) src => _,
            d = inout(reg) dst => _,
            t = out(reg) _,
            a = out(xmm_reg) _,
            b = out(xmm_reg) _,
            c = out(xmm_reg) _,
            e = out(xmm_reg) _,
            options(nostack),
        );
    }
}
