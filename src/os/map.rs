//! Shared mappings of whole objects, and the anchor that ties a lock to an address space.

use std::fmt;
use std::io;
use std::num::NonZeroUsize;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::ptr::NonNull;

use memmap2::{Advice, MmapOptions, MmapRaw};
use nix::errno::Errno;
use nix::unistd::{SysconfVar, sysconf};

use super::guarded::Guarded;
use super::huge;
use super::mirror::Mirror;
use super::object::{self, Status};
use super::sysv;

/// A shared mapping of an object from its first byte on. Unmapped when dropped. (Nothing else lies next to it, but for System
/// V memory: see [`guarded`](super::guarded).)
///
/// Nothing here looks at the bytes: the memory is other processes' as well, and only the floor above knows
/// how to reach into it.
pub(crate) struct Mapping {
    raw: Raw,
    read_only: bool,
}

enum Raw {
    Mapped {
        pages: Guarded,
        /// Device and number of the object.
        object: (u64, u64),
    },
    Sysv(sysv::Attachment),
}

impl Mapping {
    /// Maps the first `len` bytes of the object, of whose size `status` was just told.
    ///
    /// # Errors
    ///
    /// `InvalidInput` if `len` is zero or more than the object has (the bytes behind its end would fault), or ends
    /// within one of its huge pages (what is mapped would not be what is unmapped); otherwise what `mmap` says. Somebody who shrinks the object later can still make accesses fault.
    pub(crate) fn shared(
        fd: BorrowedFd<'_>,
        status: &Status,
        len: usize,
        read_only: bool,
    ) -> io::Result<Self> {
        let bytes = NonZeroUsize::new(len).filter(|len| len.get() as u64 <= status.size);
        let Some(bytes) = bytes else {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "the object does not have that many bytes",
            ));
        };
        let huge = huge_page(fd)?;
        if len != whole_pages(huge, len)? {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "the object has whole huge pages only"));
        }
        let mut pages = Guarded::new(bytes, huge.unwrap_or(1))?;
        pages.place(0, bytes, fd, 0, read_only)?;
        Ok(Self { raw: Raw::Mapped { pages, object: (status.dev, status.ino) }, read_only })
    }

    /// The System V segment of that id. `None` if there is none any more, or not even its first page can be had.
    ///
    /// # Errors
    ///
    /// What `shmat` says.
    pub(crate) fn sysv(id: i32, read_only: bool) -> io::Result<Option<Self>> {
        let attachment = sysv::Attachment::new(id, read_only)?.filter(sysv::Attachment::begins);
        Ok(attachment.map(|attachment| Self { raw: Raw::Sysv(attachment), read_only }))
    }

    /// The id of the System V segment, if it is one.
    pub(crate) fn sysv_id(&self) -> Option<sysv::Id> {
        match &self.raw {
            Raw::Mapped { .. } => None,
            Raw::Sysv(attachment) => Some(attachment.id()),
        }
    }

    /// The address of the first byte.
    pub(crate) fn base(&self) -> NonNull<u8> {
        match &self.raw {
            Raw::Mapped { pages, .. } => pages.base(),
            Raw::Sysv(attachment) => attachment.base(),
        }
    }

    /// The number of bytes that were asked for.
    pub(crate) fn len(&self) -> usize {
        match &self.raw {
            Raw::Mapped { pages, .. } => pages.len(),
            Raw::Sysv(attachment) => attachment.len(),
        }
    }

    /// Whether a store to it would fault.
    pub(crate) fn is_read_only(&self) -> bool {
        self.read_only
    }

    /// Waits until what was written so far is where the object is kept: on disk, for a file that is; memory is at once.
    ///
    /// # Errors
    ///
    /// What `msync` says: `EIO` if the disk fails.
    pub(crate) fn flush(&self) -> io::Result<()> {
        match &self.raw {
            Raw::Mapped { pages, .. } => pages.flush(),
            Raw::Sysv(_) => Ok(()),
        }
    }

    /// The bytes `at..at + len` of the same object, which `fd` has to be, once more: twice, back to back.
    ///
    /// # Errors
    ///
    /// `InvalidInput` if `fd` is another object, and as [`Mirror::of`].
    pub(crate) fn mirror(&self, fd: BorrowedFd<'_>, at: u64, len: u64) -> io::Result<Mirror> {
        let found = object::status(fd)?;
        let this = match self.raw {
            Raw::Mapped { object, .. } => Some(object),
            Raw::Sysv(_) => None, // no descriptor is of it
        };
        if Some((found.dev, found.ino)) != this {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "the descriptor is of another object"));
        }
        Mirror::of(fd, &found, at, len)
    }

    /// Makes every page present, writable ones without changing a byte, so that first touches cost
    /// nothing later.
    ///
    /// # Errors
    ///
    /// `Unsupported` before Linux 5.14, where nothing is touched; `EFAULT` or `ENOMEM` where a page cannot be
    /// had. `MAP_POPULATE` would not say so.
    pub(crate) fn prefault(&self) -> io::Result<()> {
        let done = match &self.raw {
            Raw::Mapped { pages, .. } => pages.populate(self.read_only),
            Raw::Sysv(attachment) => attachment.populate(self.read_only),
        };
        done.map_err(|error| match error.raw_os_error().map(Errno::from_raw) {
            Some(Errno::EINVAL) => io::Error::new(io::ErrorKind::Unsupported, "this kernel cannot prefault"),
            _ => error,
        })
    }

    /// Asks for huge pages where the kernel can put some together. An advice: it may be taken later, or never.
    pub(crate) fn advise_huge_pages(&self) {
        // Refused by kernels without such pages; there is nothing to be done about it.
        let _ = match &self.raw {
            Raw::Mapped { pages, .. } => pages.advise_huge_pages(),
            Raw::Sysv(attachment) => attachment.advise_huge_pages(),
        };
    }

    /// Keeps the pages in memory, `mlock`.
    ///
    /// # Errors
    ///
    /// What `mlock` says, mostly that `RLIMIT_MEMLOCK` is too low. Pages that were locked before the failure
    /// stay so until the mapping goes.
    pub(crate) fn lock_in_ram(&self) -> io::Result<()> {
        match &self.raw {
            Raw::Mapped { pages, .. } => pages.lock(),
            Raw::Sysv(attachment) => attachment.lock(),
        }
    }
}

impl fmt::Debug for Mapping {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mapping")
            .field("base", &self.base())
            .field("len", &self.len())
            .field("read_only", &self.read_only)
            .finish_non_exhaustive()
    }
}

/// Ties the locks of an open file description to the life of this address space.
///
/// A descriptor alone lies both ways: its locks go when somebody closes all descriptors, and stay for as
/// long as a forked child lives. A mapping holds the description too, and one with `MADV_DONTFORK` is not
/// inherited: through the anchor, "locked" means *this address space exists*. It is gone after death, `exec`
/// and drop.
///
/// A fork by another thread between the mapping and the advice inherits one or both; then the lock lives as
/// long as that child.
pub(crate) struct Anchor {
    page: MmapRaw,
}

impl Anchor {
    /// Maps one page through `fd`, keeps it from children, and closes `fd`. The page is never read.
    ///
    /// # Errors
    ///
    /// What `mmap` or `madvise` says. The descriptor is closed then too, and with it go its locks.
    #[expect(
        clippy::needless_pass_by_value,
        reason = "the descriptor has to be closed here: the anchor replaces it"
    )]
    pub(crate) fn hold(fd: OwnedFd) -> io::Result<Self> {
        let len = whole_pages(huge_page(fd.as_fd())?, page_size())?;
        let page = MmapOptions::new().len(len).map_raw_read_only(fd.as_raw_fd())?;
        page.advise(Advice::DontFork)?;
        Ok(Self { page })
    }
}

impl fmt::Debug for Anchor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Anchor").field("page", &self.page.as_ptr()).finish()
    }
}

/// Bytes of the object's pages, if they are huge.
///
/// # Errors
///
/// What `fstatfs` says.
fn huge_page(fd: BorrowedFd<'_>) -> io::Result<Option<usize>> {
    let page = huge::page_size(fd)?.map(usize::try_from).transpose();
    page.map_err(|_| io::Error::new(io::ErrorKind::InvalidInput, "larger than the address space"))
}

/// So many bytes, rounded up to the object's pages if they are huge: `mmap` rounds by itself, `munmap` refuses.
fn whole_pages(huge: Option<usize>, len: usize) -> io::Result<usize> {
    let Some(page) = huge else { return Ok(len) };
    let rounded = len.checked_next_multiple_of(page);
    rounded.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "larger than the address space"))
}

/// Bytes in a page of this machine: 4, 16 or 64 KiB.
pub(crate) fn page_size() -> usize {
    sysconf(SysconfVar::PAGE_SIZE).ok().flatten().and_then(|size| usize::try_from(size).ok()).unwrap_or(4096)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::os::object::{self, Reserve, status};

    fn object(len: u64) -> OwnedFd {
        let fd = object::memfd("outlive-test-map").unwrap();
        assert_eq!(object::reserve(fd.as_fd(), len).unwrap(), Reserve::Done);
        fd
    }

    #[test]
    fn two_mappings_show_the_same_bytes() {
        let fd = object(8192);
        let one = Mapping::shared(fd.as_fd(), &status(fd.as_fd()).unwrap(), 8192, false).unwrap();
        let two = Mapping::shared(fd.as_fd(), &status(fd.as_fd()).unwrap(), 8192, true).unwrap();
        assert_ne!(one.base(), two.base());
        assert_eq!((one.len(), two.len()), (8192, 8192));
        // SAFETY: inside the mapping, which is writable and known to this test alone.
        unsafe { one.base().as_ptr().wrapping_add(5000).write_volatile(42) };
        // SAFETY: inside the mapping.
        let seen = unsafe { two.base().as_ptr().wrapping_add(5000).read_volatile() };
        assert_eq!(seen, 42);
    }

    #[test]
    fn a_mirror_is_of_the_same_object() {
        let (fd, other) = (object(1 << 16), object(1 << 16));
        let mapping = Mapping::shared(fd.as_fd(), &status(fd.as_fd()).unwrap(), 1 << 16, false).unwrap();
        let mirror = mapping.mirror(fd.as_fd(), 0, 1 << 16).unwrap();
        // SAFETY: inside the mapping, which is writable and known to this test alone.
        unsafe { mapping.base().as_ptr().wrapping_add(5000).write_volatile(42) };
        // SAFETY: inside the mirror's second half.
        let seen = unsafe { mirror.base().as_ptr().wrapping_add((1 << 16) + 5000).read_volatile() };
        assert_eq!(seen, 42);
        let refused = mapping.mirror(other.as_fd(), 0, 1 << 16).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::InvalidInput);
    }

    #[test]
    fn no_mapping_behind_the_end() {
        let fd = object(4096);
        for len in [0, 4097, usize::MAX] {
            let refused = Mapping::shared(fd.as_fd(), &status(fd.as_fd()).unwrap(), len, false).unwrap_err();
            assert_eq!(refused.kind(), io::ErrorKind::InvalidInput, "{len}");
        }
    }

    #[test]
    fn prefault_allocates_nothing_new_and_says_when_it_cannot() {
        let fd = object(1 << 20);
        for read_only in [false, true] {
            let mapping =
                Mapping::shared(fd.as_fd(), &status(fd.as_fd()).unwrap(), 1 << 20, read_only).unwrap();
            match mapping.prefault() {
                Ok(()) => {}
                Err(error) => assert_eq!(error.kind(), io::ErrorKind::Unsupported),
            }
        }
    }

    #[test]
    fn a_page_is_a_power_of_two() {
        assert!(page_size().is_power_of_two());
        assert!(page_size() >= 4096);
    }

    #[test]
    fn both_may_move_between_threads() {
        fn holds<T: Send + Sync>() {}
        holds::<Mapping>();
        holds::<Anchor>();
    }
}
