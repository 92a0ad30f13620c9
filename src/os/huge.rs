//! Huge pages that the administrator has set aside: memfds and files (of hugetlbfs) that consist of nothing else.
//!
//! Such an object has whole pages only: a size, a mapping or an unmapping that ends within one is refused, or is silently
//! something else. The pages come from a pool; one that is empty at the first touch is SIGBUS, hence
//! [`reserve`](super::reserve).

use std::fs;
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::memfd::MFdFlags;
use nix::sys::statfs::{self, HUGETLBFS_MAGIC};

use super::object;

/// How large the object's pages are. `None`: they are the machine's.
///
/// # Errors
///
/// What `fstatfs` says.
#[allow(clippy::useless_conversion, reason = "the width of this field depends on the architecture")]
pub(crate) fn page_size(fd: BorrowedFd<'_>) -> io::Result<Option<u64>> {
    let found = statfs::fstatfs(fd)?;
    if found.filesystem_type() != HUGETLBFS_MAGIC {
        return Ok(None);
    }
    let size = u64::try_from(found.block_size()).ok().filter(|size| size.is_power_of_two());
    size.map(Some).ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "a block size out of range"))
}

/// An empty object without a name, of pages of that size, that can be sealed.
///
/// # Errors
///
/// `Unsupported` where there are no such pages at all; otherwise what `memfd_create` says.
pub(crate) fn memfd(label: &str, page: u64) -> io::Result<OwnedFd> {
    let size = MFdFlags::from_bits_retain(page.trailing_zeros() << libc::MFD_HUGE_SHIFT);
    object::memfd_with(label, MFdFlags::MFD_HUGETLB | size).map_err(|errno| match errno {
        Errno::ENODEV | Errno::EINVAL | Errno::ENOSYS | Errno::ENOENT => {
            io::Error::new(io::ErrorKind::Unsupported, "this kernel has no huge pages of that size")
        }
        _ => errno.into(),
    })
}

/// Bytes in pages of that size that could still be had: free, not promised to anybody, or to be made on demand. `None`
/// where the kernel does not tell.
pub(crate) fn free(page: u64) -> Option<u64> {
    let pool = format!("/sys/kernel/mm/hugepages/hugepages-{}kB", page / 1024);
    let count = |name: &str| fs::read_to_string(format!("{pool}/{name}")).ok()?.trim().parse::<u64>().ok();
    let set_aside = count("free_hugepages")?.saturating_sub(count("resv_hugepages")?);
    let on_demand = count("nr_overcommit_hugepages")?.saturating_sub(count("surplus_hugepages")?);
    Some(set_aside.saturating_add(on_demand).saturating_mul(page))
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use super::*;

    #[test]
    fn an_object_says_how_large_its_pages_are() {
        let usual = object::memfd("outlive-test-huge").unwrap();
        assert_eq!(page_size(usual.as_fd()).unwrap(), None);
        match memfd("outlive-test-huge", 2 << 20) {
            Ok(huge) => assert_eq!(page_size(huge.as_fd()).unwrap(), Some(2 << 20)),
            Err(error) => assert_eq!(error.kind(), io::ErrorKind::Unsupported, "{error}"),
        }
        assert_eq!(memfd("outlive-test-huge", 1 << 50).unwrap_err().kind(), io::ErrorKind::Unsupported);
    }

    #[test]
    fn a_pool_that_does_not_exist_is_unknown() {
        assert_eq!(free(12_345 << 10), None);
        assert!(free(2 << 20).is_none_or(|bytes| bytes % (2 << 20) == 0));
    }
}
