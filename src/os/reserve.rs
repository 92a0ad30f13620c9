//! Space that is really there.
//!
//! `ftruncate` succeeds on a full tmpfs, and the first touch is SIGBUS. `fallocate` says `ENOSPC` instead.
//! What it cannot say is that a memory cgroup will kill us for what we were given.
//!
//! # Invariants
//!
//! * **I1**: a pointer handed to `getrlimit` or `sysinfo` is to a live local of the type it fills in.

use std::io;
use std::os::fd::BorrowedFd;

use nix::errno::Errno;
use nix::fcntl::{FallocateFlags, fallocate};
use nix::sys::stat;
use nix::sys::statvfs;

use super::{huge, object};

/// What came of a reservation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reserve {
    /// Every byte of the range has its place, and the object is at least that long.
    Done,
    /// There is not that much room.
    NoSpace {
        /// Bytes that could be had, as far as is known; 0 if it is not.
        available: u64,
    },
}

/// The smallest piece that a reservation under fire is cut into.
const LEAST: u64 = 64 * 1024;

/// Gives the first `len` bytes of the object their place, and makes it at least `len` bytes long. Bytes that
/// are there already stay as they are.
///
/// A request that cannot succeed is refused before anything is allocated: more than the file system has
/// free, more than `RLIMIT_FSIZE` allows (the kernel would send SIGXFSZ), and for objects in memory more than
/// all memory and swap. One that fails in the middle is undone by tmpfs, unless signals cut it into
/// pieces; the object is then to be closed (or, growing, used up to its old size).
///
/// # Errors
///
/// `InvalidInput` if `len` is zero, `Unsupported` if the file system cannot reserve, otherwise what
/// `fallocate` says.
pub(crate) fn reserve(fd: BorrowedFd<'_>, len: u64) -> io::Result<Reserve> {
    if len == 0 {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "nothing to reserve"));
    }
    if let Some(available) = hopeless(fd, len)? {
        return Ok(Reserve::NoSpace { available });
    }
    let allocated = in_pieces(len, |from, count| {
        let from = libc::off_t::try_from(from).map_err(|_| Errno::EFBIG)?;
        let count = libc::off_t::try_from(count).map_err(|_| Errno::EFBIG)?;
        fallocate(fd, FallocateFlags::empty(), from, count)
    });
    match allocated {
        Ok(()) => Ok(Reserve::Done),
        Err(Errno::ENOSPC | Errno::EDQUOT | Errno::EFBIG | Errno::ENOMEM) => {
            Ok(Reserve::NoSpace { available: room(fd)?.available })
        }
        Err(errno) => Err(errno.into()),
    }
}

/// Whether the object takes as much of its file system as `len` bytes do. A copy may take less, for programs that copy
/// leave out pages that are zero.
///
/// # Errors
///
/// What `fstat` says.
pub(crate) fn is_reserved(fd: BorrowedFd<'_>, len: u64) -> io::Result<bool> {
    Ok(taken(&stat::fstat(fd)?) >= len)
}

/// Bytes that it takes: `st_blocks` counts in 512, whatever the file system does.
fn taken(found: &stat::FileStat) -> u64 {
    u64::try_from(found.st_blocks).unwrap_or(0).saturating_mul(512)
}

/// Allocates in one call if it can. At a signal, tmpfs may give up and give back what it had of that call (of
/// any signal in some kernels, of a deadly one in others): under a timer only ever smaller pieces get
/// through.
fn in_pieces(len: u64, mut allocate: impl FnMut(u64, u64) -> nix::Result<()>) -> nix::Result<()> {
    let (mut done, mut piece) = (0, len);
    while done < len {
        let now = piece.min(len - done);
        match allocate(done, now) {
            Ok(()) => done += now,
            Err(Errno::EINTR) => piece = (piece / 2).max(LEAST),
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}

/// The number of bytes that can be had at most, if that is not enough.
fn hopeless(fd: BorrowedFd<'_>, len: u64) -> io::Result<Option<u64>> {
    let found = stat::fstat(fd)?;
    let size = u64::try_from(found.st_size).unwrap_or(0);
    let wants = len.saturating_sub(taken(&found));
    let room = room(fd)?;
    if room.limited && wants > room.free {
        return Ok(Some(room.available));
    }
    if let Some(limit) = size_limit() {
        if len > size && len > limit {
            return Ok(Some(limit));
        }
    }
    if in_memory(fd)? {
        if let Some(memory) = memory() {
            if wants > memory {
                return Ok(Some(if room.limited { room.available.min(memory) } else { memory }));
            }
        }
    }
    Ok(None)
}

/// Bytes of a file system.
struct Room {
    /// Its size is known at all. The kernel's own tmpfs, where memfds live, does not.
    limited: bool,
    /// Free for somebody, if only for root.
    free: u64,
    /// Free for us, as far as is known.
    available: u64,
}

#[allow(clippy::useless_conversion, reason = "the widths of these fields depend on the architecture")]
fn room(fd: BorrowedFd<'_>) -> io::Result<Room> {
    // The file system of a memfd of huge pages knows no size: their pool does.
    if let Some(free) = huge::page_size(fd)?.and_then(huge::free) {
        return Ok(Room { limited: true, free, available: free });
    }
    let found = statvfs::fstatvfs(fd)?;
    let unit = u64::from(found.fragment_size());
    Ok(Room {
        limited: found.blocks() != 0,
        free: u64::from(found.blocks_free()).saturating_mul(unit),
        available: u64::from(found.blocks_available()).saturating_mul(unit),
    })
}

/// Whether the bytes of the object are memory, with nothing behind it but swap.
fn in_memory(fd: BorrowedFd<'_>) -> io::Result<bool> {
    const RAMFS: u64 = 0x8584_58f6;
    const TMPFS: u64 = 0x0102_1994;
    let found = object::file_system(fd)?;
    Ok(found == RAMFS || found == TMPFS)
}

/// `RLIMIT_FSIZE`, if there is one.
fn size_limit() -> Option<u64> {
    let mut limit = libc::rlimit { rlim_cur: libc::RLIM_INFINITY, rlim_max: libc::RLIM_INFINITY };
    // SAFETY: a live local, by I1.
    let rc = unsafe { libc::getrlimit(libc::RLIMIT_FSIZE, &raw mut limit) };
    (rc == 0 && limit.rlim_cur != libc::RLIM_INFINITY).then_some(limit.rlim_cur)
}

/// All memory and swap of the machine.
#[allow(clippy::useless_conversion, reason = "the widths of these fields depend on the architecture")]
fn memory() -> Option<u64> {
    // SAFETY: integers only, for which all zeroes is a value.
    let mut found: libc::sysinfo = unsafe { std::mem::zeroed() };
    // SAFETY: a live local, by I1.
    let rc = unsafe { libc::sysinfo(&raw mut found) };
    let units = u64::from(found.totalram).saturating_add(u64::from(found.totalswap));
    (rc == 0).then(|| units.saturating_mul(u64::from(found.mem_unit)))
}

/// Memory and swap that can be had for new pages, by the kernel's estimate. `None` where `/proc` does not tell.
pub(crate) fn memory_available() -> Option<u64> {
    parse_available(&std::fs::read_to_string("/proc/meminfo").ok()?)
}

fn parse_available(meminfo: &str) -> Option<u64> {
    let bytes = |name: &str| -> Option<u64> {
        let line = meminfo.lines().find_map(|line| line.strip_prefix(name))?;
        line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
    };
    Some(bytes("MemAvailable:")?.saturating_add(bytes("SwapFree:").unwrap_or(0)))
}

#[cfg(test)]
mod tests {
    use std::os::fd::{AsFd, OwnedFd};
    use std::path::Path;

    use super::*;
    use crate::os::testing::Child;

    #[test]
    fn what_is_available_is_told_in_bytes() {
        let text = "MemTotal:  900 kB\nMemAvailable:      7 kB\nSwapFree:   1 kB\n";
        assert_eq!(parse_available(text), Some(8192));
        assert_eq!(parse_available("MemAvailable: 7 kB\n"), Some(7168));
        for text in ["", "MemAvailable: 7", "MemAvailable: x kB", "MemAvailable: 18446744073709551615 kB"] {
            assert_eq!(parse_available(text), None, "{text}");
        }
        assert!(memory_available().is_none_or(|bytes| bytes > 0));
    }

    fn allocated(fd: BorrowedFd<'_>) -> i64 {
        stat::fstat(fd).unwrap().st_blocks * 512
    }

    #[test]
    fn what_is_reserved_is_there() {
        let objects = [
            object::memfd("outlive-test-reserve").unwrap(),
            object::create_unnamed(Path::new(object::SHM_DIR), 0o600).unwrap(),
        ];
        for fd in objects {
            assert_eq!(reserve(fd.as_fd(), 1 << 20).unwrap(), Reserve::Done);
            assert_eq!(object::status(fd.as_fd()).unwrap().size, 1 << 20);
            assert_eq!(allocated(fd.as_fd()), 1 << 20);
            assert_eq!(reserve(fd.as_fd(), 4096).unwrap(), Reserve::Done, "never smaller");
            assert_eq!(object::status(fd.as_fd()).unwrap().size, 1 << 20);
        }
    }

    /// Refused by the kernel at once, whatever is asked: these tests must not be able to fill the machine's
    /// memory, not even when what they test is broken.
    fn harmless(fd: BorrowedFd<'_>) -> OwnedFd {
        let reader = object::reopen(fd, true).unwrap();
        assert!(reserve(reader.as_fd(), 4096).is_err(), "a descriptor for reading allocates nothing");
        reader
    }

    #[test]
    fn too_much_is_refused_before_it_is_tried() {
        let memfd = object::memfd("outlive-test-reserve").unwrap();
        let shm = object::create_unnamed(Path::new(object::SHM_DIR), 0o600).unwrap();
        for fd in [memfd, shm] {
            let fd = harmless(fd.as_fd());
            for len in [1 << 50, i64::MAX.unsigned_abs(), u64::MAX] {
                let refused = reserve(fd.as_fd(), len).unwrap();
                assert!(
                    matches!(refused, Reserve::NoSpace { available } if available < len),
                    "{len}: {refused:?}"
                );
            }
            assert_eq!((object::status(fd.as_fd()).unwrap().size, allocated(fd.as_fd())), (0, 0));
        }
    }

    #[test]
    fn more_than_is_free_is_refused_before_it_is_tried() {
        for dir in [Path::new(object::SHM_DIR), &std::env::temp_dir()] {
            let fd = match object::create_unnamed(dir, 0o600) {
                // Some overlays.
                Err(error) if error.kind() == io::ErrorKind::Unsupported => continue,
                other => other.unwrap(),
            };
            let room = room(fd.as_fd()).unwrap();
            assert!(room.limited);
            let refused = reserve(harmless(fd.as_fd()).as_fd(), room.free.saturating_mul(2)).unwrap();
            assert!(matches!(refused, Reserve::NoSpace { available } if available > 0), "{refused:?}");
        }
    }

    #[test]
    fn nothing_is_an_error() {
        let fd = object::memfd("outlive-test-reserve").unwrap();
        assert_eq!(reserve(fd.as_fd(), 0).unwrap_err().kind(), io::ErrorKind::InvalidInput);
    }

    #[test]
    fn a_limit_on_file_sizes_is_an_answer_not_a_signal() {
        let fd = object::memfd("outlive-test-reserve").unwrap();
        let child = Child::spawn(|| {
            let limit = libc::rlimit { rlim_cur: 8192, rlim_max: 8192 };
            // SAFETY: a live local, by I1. It is the forked child's own limit.
            let rc = unsafe { libc::setrlimit(libc::RLIMIT_FSIZE, &raw const limit) };
            rc == 0
                && matches!(reserve(fd.as_fd(), 8192), Ok(Reserve::Done))
                && matches!(reserve(fd.as_fd(), 8193), Ok(Reserve::NoSpace { available: 8192 }))
        });
        assert!(child.succeeds());
    }

    #[test]
    fn interrupted_it_goes_on_in_pieces_that_fit_between_two_signals() {
        let mut pieces = Vec::new();
        // A signal comes whenever a call takes as long as a mebibyte.
        let came = in_pieces((10 << 20) + 1, |from, count| {
            if count >= 1 << 20 {
                assert!(pieces.is_empty(), "it is to learn from it");
                return Err(Errno::EINTR);
            }
            pieces.push((from, count));
            Ok(())
        });
        assert_eq!(came, Ok(()));
        let end = pieces.iter().try_fold(0, |end, &(from, count)| (from == end).then_some(from + count));
        assert_eq!(end, Some((10 << 20) + 1), "one after the other, without a gap");
    }

    #[test]
    fn an_error_ends_it() {
        let mut calls = 0;
        let came = in_pieces(1 << 30, |_, count| {
            assert!(count >= LEAST);
            calls += 1;
            if calls < 40 { Err(Errno::EINTR) } else { Err(Errno::ENOSPC) }
        });
        assert_eq!((came, calls), (Err(Errno::ENOSPC), 40), "signals alone never end it");
    }
}
