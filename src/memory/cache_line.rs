//! A word that has its line for itself.

/// 128 bytes: the adjacent-line prefetch of x86-64, and the lines of some 64-bit Arm cores.
///
/// Part of the layout, hence the same in every build, unlike `crossbeam_utils::CachePadded`.
#[derive(Debug, Default)]
#[repr(C, align(128))]
pub(crate) struct CacheLine<T>(pub(crate) T);

impl<T> core::ops::Deref for CacheLine<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

#[cfg(not(loom))]
static_assertions::assert_eq_size!(CacheLine<crate::shim::AtomicU64>, [u8; 128]);
