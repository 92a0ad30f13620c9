//! Mappings with inaccessible pages on both sides.
//!
//! What lies next to a segment in this address space is somebody else's: a heap, a stack, another segment. Between them
//! there is a page that nothing can reach, so that an access one byte too far ends the process, and does not corrupt it. All
//! it takes is addresses, and a system call for each mapping.
//!
//! # Invariants
//!
//! * **I1**: `start..start + total` was reserved by [`Guarded::new`], and `base..base + len` lies in it, a page or more from
//!   either end; nothing but [`Guarded::place`] maps anything there until the drop.

use std::ffi::c_void;
use std::fmt;
use std::io;
use std::num::NonZeroUsize;
use std::os::fd::BorrowedFd;
use std::ptr::NonNull;

use nix::errno::Errno;
use nix::libc::off_t;
use nix::sys::mman::{self, MapFlags, MmapAdvise, MsFlags, ProtFlags};

use super::map::page_size;

/// So large are the pages that the kernel puts together by itself, where a mapping begins at a multiple.
const LARGE: usize = 2 << 20;

/// Some bytes of address space, with a page before and behind them. Unmapped when dropped.
pub(super) struct Guarded {
    start: NonNull<c_void>,
    total: usize,
    base: NonNull<u8>,
    len: NonZeroUsize,
}

// SAFETY: I1 - addresses and lengths; the memory belongs to no thread.
unsafe impl Send for Guarded {}
// SAFETY: as above.
unsafe impl Sync for Guarded {}

impl Guarded {
    /// Reserves addresses for `len` bytes, which begin at a multiple of `align`, a power of two, or of a large page if
    /// there are that many.
    ///
    /// # Errors
    ///
    /// What `mmap` says, mostly that there are no more addresses.
    pub(super) fn new(len: NonZeroUsize, align: usize) -> io::Result<Self> {
        let page = page_size();
        let align = align.max(page).max(if len.get() >= LARGE { LARGE } else { page });
        let whole = len.get().checked_next_multiple_of(page).and_then(|whole| whole.checked_add(page));
        let total = whole.and_then(|whole| whole.checked_add(align)).and_then(NonZeroUsize::new);
        let Some(total) = total else { return Err(Errno::ENOMEM.into()) };
        let flags = MapFlags::MAP_PRIVATE | MapFlags::MAP_NORESERVE;
        // SAFETY: new addresses, chosen by the kernel.
        let start = unsafe { mman::mmap_anonymous(None, total, ProtFlags::PROT_NONE, flags) }?;
        // Where `mlockall` has all that comes locked, addresses are counted like memory, and what is mapped to them once more.
        // SAFETY: I1 - just reserved; nothing was locked there but by that.
        let _ = unsafe { mman::munlock(start, total.get()) };
        // At `align` at the latest, and behind a page at least: `start` is a multiple of pages.
        let first = start.addr().get().wrapping_add(page).next_multiple_of(align);
        let offset = first.wrapping_sub(start.addr().get());
        // SAFETY: I1 - `page <= offset <= align`, hence inside of what was just reserved.
        let base = unsafe { start.cast::<u8>().add(offset) };
        Ok(Self { start, total: total.get(), base, len })
    }

    /// Maps `len` bytes of an object, from `from` on, to the bytes from `at` on. Once for each of these.
    ///
    /// # Errors
    ///
    /// What `mmap` says; `InvalidInput` for what does not lie inside.
    pub(super) fn place(
        &mut self,
        at: usize,
        len: NonZeroUsize,
        fd: BorrowedFd<'_>,
        from: u64,
        read_only: bool,
    ) -> io::Result<()> {
        let inside = at.checked_add(len.get()).is_some_and(|end| end <= self.len.get());
        let (true, Ok(from)) = (inside, off_t::try_from(from)) else {
            return Err(io::ErrorKind::InvalidInput.into());
        };
        let place = self.base.addr().checked_add(at);
        let access =
            if read_only { ProtFlags::PROT_READ } else { ProtFlags::PROT_READ | ProtFlags::PROT_WRITE };
        let flags = MapFlags::MAP_SHARED | MapFlags::MAP_FIXED;
        // SAFETY: I1 - replaces what was reserved, which nothing uses.
        let mapped = unsafe { mman::mmap(place, len, access, flags, fd, from) };
        mapped.map(|_| ()).map_err(|errno| {
            if !matches!(errno, Errno::EACCES | Errno::EPERM | Errno::EBADF | Errno::ENODEV) {
                // There may be a hole now, where another thread may have mapped something by now: so the addresses are
                // not given back. Only a process out of memory or mappings comes here.
                self.total = 0;
            }
            errno.into()
        })
    }

    /// The address of the first byte.
    pub(super) fn base(&self) -> NonNull<u8> {
        self.base
    }

    /// The number of bytes that were asked for.
    pub(super) fn len(&self) -> usize {
        self.len.get()
    }

    /// Makes every page present.
    pub(super) fn populate(&self, read_only: bool) -> io::Result<()> {
        self.advise(if read_only { MmapAdvise::MADV_POPULATE_READ } else { MmapAdvise::MADV_POPULATE_WRITE })
    }

    /// Asks for huge pages where there are some.
    pub(super) fn advise_huge_pages(&self) -> io::Result<()> {
        self.advise(MmapAdvise::MADV_HUGEPAGE)
    }

    fn advise(&self, advice: MmapAdvise) -> io::Result<()> {
        // SAFETY: ours by I1, and no byte changes.
        Ok(unsafe { mman::madvise(self.base.cast(), self.len(), advice) }?)
    }

    /// Keeps the pages in memory.
    pub(super) fn lock(&self) -> io::Result<()> {
        // SAFETY: ours by I1.
        Ok(unsafe { mman::mlock(self.base.cast(), self.len()) }?)
    }

    /// Waits until what was written is where the object is kept.
    pub(super) fn flush(&self) -> io::Result<()> {
        // SAFETY: ours by I1.
        Ok(unsafe { mman::msync(self.base.cast(), self.len(), MsFlags::MS_SYNC) }?)
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        if self.total != 0 {
            // SAFETY: I1 - ours, and nobody uses it any more. It cannot fail for whole mappings.
            let _ = unsafe { mman::munmap(self.start, self.total) };
        }
    }
}

impl fmt::Debug for Guarded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Guarded").field("base", &self.base).field("len", &self.len).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::{AsFd, OwnedFd};

    use nix::sys::signal::Signal;
    use nix::sys::wait::WaitStatus;

    use super::*;
    use crate::os::object::{self, Reserve};
    use crate::os::testing::Child;

    fn object(len: u64) -> OwnedFd {
        let fd = object::memfd("outlive-test-guarded").unwrap();
        assert_eq!(object::reserve(fd.as_fd(), len).unwrap(), Reserve::Done);
        fd
    }

    fn guarded(len: usize, align: usize) -> Guarded {
        let fd = object(len as u64);
        let len = NonZeroUsize::new(len).unwrap();
        let mut guarded = Guarded::new(len, align).unwrap();
        guarded.place(0, len, fd.as_fd(), 0, false).unwrap();
        guarded
    }

    /// How a child ends that reads a byte so far from the beginning.
    fn reads(guarded: &Guarded, offset: isize) -> WaitStatus {
        Child::spawn(|| {
            // A core would be of no use to anybody.
            let none = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
            // SAFETY: a live local; the limit is the child's own.
            unsafe { libc::setrlimit(libc::RLIMIT_CORE, &raw const none) };
            // A sanitizer would make an exit of it.
            // SAFETY: the default; the child has one thread, and no handler runs in it.
            unsafe { libc::signal(libc::SIGSEGV, libc::SIG_DFL) };
            // SAFETY: readable, or a fault, which is what is asked.
            let _ = unsafe { guarded.base().as_ptr().wrapping_offset(offset).read_volatile() };
            true
        })
        .wait()
    }

    #[test]
    fn one_byte_too_far_faults() {
        let page = page_size();
        for (len, align) in [(page, 1), (3 * page, 4 * page), (LARGE + page, 1)] {
            let guarded = guarded(len, align);
            let end = isize::try_from(len).unwrap();
            for inside in [0, end - 1] {
                assert!(matches!(reads(&guarded, inside), WaitStatus::Exited(_, 0)), "{inside} of {len}");
            }
            for outside in [-1, end] {
                let ended = reads(&guarded, outside);
                assert!(matches!(ended, WaitStatus::Signaled(_, Signal::SIGSEGV, _)), "{outside}: {ended:?}");
            }
        }
    }

    #[test]
    fn it_is_aligned_as_it_was_asked_for_and_as_the_kernel_would() {
        let page = page_size();
        assert_eq!(guarded(page, 16 * page).base().addr().get() % (16 * page), 0);
        assert_eq!(guarded(LARGE, page).base().addr().get() % LARGE, 0);
        assert!(Guarded::new(NonZeroUsize::MAX, page).is_err());
    }

    #[test]
    fn a_refused_object_leaves_no_mapping() {
        let fd = object(4096);
        let reader = object::reopen(fd.as_fd(), true).unwrap();
        let len = NonZeroUsize::new(4096).unwrap();
        let mut guarded = Guarded::new(len, 1).unwrap();
        let refused = guarded.place(0, len, reader.as_fd(), 0, false).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::PermissionDenied);
        assert!(guarded.place(1, len, fd.as_fd(), 0, false).is_err(), "not inside");
        guarded.place(0, len, reader.as_fd(), 0, true).unwrap();
    }

    /// A process whose mappings are all locked in memory pays for what it uses, and not for the addresses around it.
    #[test]
    fn locked_memory_is_counted_once() {
        let len = NonZeroUsize::new(64 * page_size()).unwrap();
        let fd = object(len.get() as u64);
        let child = Child::spawn(|| {
            let most = len.get() as u64 * 3 / 2;
            let few = libc::rlimit { rlim_cur: most, rlim_max: most };
            // SAFETY: a live local; the limit is the child's own.
            unsafe { libc::setrlimit(libc::RLIMIT_MEMLOCK, &raw const few) };
            // SAFETY: takes the right away to go beyond the limit, from root, and from this process alone.
            unsafe { libc::syscall(libc::SYS_setuid, 65534) };
            mman::mlockall(mman::MlockAllFlags::MCL_FUTURE).unwrap();
            let mut guarded = Guarded::new(len, 1).unwrap();
            guarded.place(0, len, fd.as_fd(), 0, false).unwrap();
            // SAFETY: mapped, and the child's alone.
            unsafe { guarded.base().write_volatile(1) };
            true
        });
        assert!(child.succeeds());
    }
}
