//! Bytes that `AddressSanitizer` reports when they are touched: only under `cfg(fuzzing)`, which `cargo fuzz` sets.
//!
//! The sanitizer brings the functions along. A program that is fuzzed without it gets these here instead, which do
//! nothing: a weak symbol gives way.

use core::ffi::{c_int, c_void};
use core::ptr::NonNull;

core::arch::global_asm!(
    ".weak __asan_poison_memory_region",
    ".weak __asan_unpoison_memory_region",
    "__asan_poison_memory_region:",
    "__asan_unpoison_memory_region:",
    "ret",
    ".weak __asan_address_is_poisoned",
    "__asan_address_is_poisoned:",
    #[cfg(target_arch = "x86_64")]
    "xor eax, eax",
    #[cfg(target_arch = "aarch64")]
    "mov w0, wzr",
    "ret",
);

unsafe extern "C" {
    /// Marks `len` bytes at `at`.
    safe fn __asan_poison_memory_region(at: *const c_void, len: usize);
    /// Takes the mark away.
    safe fn __asan_unpoison_memory_region(at: *const c_void, len: usize);
    /// Whether it has one.
    safe fn __asan_address_is_poisoned(at: *const c_void) -> c_int;
}

/// Whoever touches these bytes is reported from now on; if they do not begin at a multiple of 8, from the next one on.
pub(crate) fn poison(at: NonNull<u8>, len: usize) {
    __asan_poison_memory_region(at.as_ptr().cast(), len);
}

/// They may be touched again.
pub(crate) fn unpoison(at: NonNull<u8>, len: usize) {
    __asan_unpoison_memory_region(at.as_ptr().cast(), len);
}

/// Whether touching this byte would be reported.
pub(crate) fn is_poisoned(at: NonNull<u8>) -> bool {
    __asan_address_is_poisoned(at.as_ptr().cast()) != 0
}
