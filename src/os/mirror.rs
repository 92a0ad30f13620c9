//! The same bytes of an object twice, back to back: what crosses their end lies in one piece all the same.

use std::io;
use std::num::NonZeroUsize;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr::NonNull;

use memmap2::MmapOptions;

use super::guarded::Guarded;
use super::huge;
use super::map::page_size;
use super::object::Status;

/// Some pages of an object, mapped twice in a row. Unmapped when dropped.
///
/// Nothing here looks at the bytes, as in [`Mapping`](super::map::Mapping).
#[derive(Debug)]
pub(crate) struct Mirror {
    /// Both of them.
    pages: Guarded,
}

impl Mirror {
    /// Maps the bytes `at..at + len` of the object, of whose size `status` was just told, twice.
    ///
    /// # Errors
    ///
    /// `InvalidInput` if they are no whole pages, none at all, or reach behind the end of the object (where accesses would
    /// fault), or for an object of huge pages: `mmap` would map more than was asked for, over what lies behind, and
    /// `munmap` refuse. Otherwise what `mmap` says.
    pub(crate) fn of(fd: BorrowedFd<'_>, status: &Status, at: u64, len: u64) -> io::Result<Self> {
        let invalid = |what| io::Error::new(io::ErrorKind::InvalidInput, what);
        let page = page_size() as u64;
        if at % page != 0 || len % page != 0 {
            return Err(invalid("no whole pages"));
        }
        if at.checked_add(len).is_none_or(|end| end > status.size) {
            return Err(invalid("the object does not have that many bytes"));
        }
        if huge::page_size(fd)?.is_some() {
            return Err(invalid("an object of huge pages"));
        }
        let half = usize::try_from(len).ok().and_then(NonZeroUsize::new);
        let both = half.and_then(|half| half.checked_mul(NonZeroUsize::MIN.saturating_add(1)));
        let (Some(half), Some(both)) = (half, both) else {
            return Err(invalid("no bytes, or more than can be mapped"));
        };
        // What cannot be mapped at all is found out where nothing is at stake.
        drop(MmapOptions::new().offset(at).len(half.get()).map_raw(fd.as_raw_fd())?);
        let mut pages = Guarded::new(both, 1)?;
        for place in [0, half.get()] {
            pages.place(place, half, fd, at, false)?;
        }
        Ok(Self { pages })
    }

    /// The address of the first byte; the same byte is there once more half way to the end.
    pub(crate) fn base(&self) -> NonNull<u8> {
        self.pages.base()
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::{AsFd, OwnedFd};
    use std::os::unix::fs::FileExt;

    use super::*;
    use crate::os::object::{self, Reserve, status};

    fn object(len: u64) -> OwnedFd {
        let fd = object::memfd("outlive-test-mirror").unwrap();
        assert_eq!(object::reserve(fd.as_fd(), len).unwrap(), Reserve::Done);
        fd
    }

    fn mirror(fd: &OwnedFd, at: u64, len: u64) -> io::Result<Mirror> {
        Mirror::of(fd.as_fd(), &status(fd.as_fd()).unwrap(), at, len)
    }

    #[test]
    fn every_byte_is_there_twice() {
        let page = page_size();
        let fd = object(4 * page as u64);
        let mirror = mirror(&fd, page as u64, 2 * page as u64).unwrap();
        assert_eq!(mirror.pages.len(), 4 * page);
        let bytes = mirror.base().as_ptr();
        for (i, value) in [(0, 1), (1, 2), (page, 3), (2 * page - 1, 4_u8)] {
            // SAFETY: inside the first half, which is writable and known to this test alone.
            unsafe { bytes.wrapping_add(i).write_volatile(value) };
            // SAFETY: inside the second half.
            let seen = unsafe { bytes.wrapping_add(2 * page + i).read_volatile() };
            assert_eq!(seen, value);
        }
        let mut plain = [0; 1];
        std::fs::File::from(fd).read_exact_at(&mut plain, page as u64).unwrap();
        assert_eq!(plain, [1], "the object's byte behind its first page");
    }

    #[test]
    fn nothing_but_whole_pages_that_are_there() {
        let page = page_size() as u64;
        let fd = object(2 * page);
        for (at, len) in [
            (0, 0),
            (1, page),
            (0, page + 1),
            (0, page / 2),
            (page, 2 * page),
            (0, 3 * page),
            (2 * page, page),
            (0, u64::MAX - page + 1),
            (u64::MAX - page + 1, page),
        ] {
            let refused = mirror(&fd, at, len).unwrap_err();
            assert_eq!(refused.kind(), io::ErrorKind::InvalidInput, "{at} {len}");
        }
        assert!(mirror(&fd, page, page).is_ok());
    }

    #[test]
    fn it_does_not_outlive_itself() {
        let page = page_size() as u64;
        let fd = object(page);
        let maps = |base: NonNull<u8>| {
            let all = std::fs::read_to_string("/proc/self/maps").unwrap();
            all.lines().filter(|line| line.starts_with(&format!("{:x}-", base.addr()))).count()
        };
        let mirror = mirror(&fd, 0, page).unwrap();
        let base = mirror.base();
        assert_eq!(maps(base), 1);
        drop(mirror);
        // Another thread may have got the address, but not for this file.
        let all = std::fs::read_to_string("/proc/self/maps").unwrap();
        let place = format!("{:x}-", base.addr());
        assert!(!all.lines().any(|line| line.starts_with(&place) && line.contains("outlive-test-mirror")));
    }
}
