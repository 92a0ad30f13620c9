//! System V shared memory: found by a number, attached by an id, and gone when it was removed and nobody is attached.
//!
//! # Invariants
//!
//! * **I1**: an [`Attachment`] is what one `shmat` returned: never null, `len` bytes at least, detached once.
//! * **I2**: a pointer handed to `shmctl` is to a live local of the type that it fills in.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::ptr::{self, NonNull};

use nix::errno::Errno;
use nix::sys::mman::{self, MmapAdvise};
use nix::unistd;

use super::huge;
use super::map::page_size;
use super::reserve::memory_available;

/// The key of segments that no key finds.
pub(crate) const PRIVATE: u32 = 0;

/// What came of a creation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Created {
    /// It is there, all zero, under this id.
    Done(i32),
    /// There is not that much room.
    NoSpace {
        /// Bytes that could be had, as far as is known; 0 if it is not.
        available: u64,
    },
}

/// What the kernel knows of a segment, as far as anybody asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Status {
    /// [`PRIVATE`] also when it is only waiting for its last detach.
    pub key: u32,
    /// Bytes that were asked for.
    pub size: u64,
    /// The user who made it.
    pub creator: u32,
    /// The group that it belongs to.
    pub group: u32,
    /// The process that made it, in our pid namespace.
    pub creator_pid: u32,
    /// Permissions.
    pub mode: u32,
    /// How often it is attached, in whatever process.
    pub attached: u64,
    /// It was removed, and goes with the last detach.
    pub doomed: bool,
}

/// The segment of that key.
///
/// # Errors
///
/// What `shmget` says; `Unsupported` without System V shared memory.
pub(crate) fn find(key: u32) -> io::Result<Option<i32>> {
    match shmget(key, 0, 0) {
        Ok(id) => Ok(Some(id)),
        Err(Errno::ENOENT) => Ok(None),
        Err(errno) => Err(errno.into()),
    }
}

/// Makes a segment, whose permissions are exactly `mode`; of huge pages of that size, if one is told, and then of whole
/// ones.
///
/// # Errors
///
/// `AlreadyExists`, `Unsupported` where there are no such pages at all, `PermissionDenied` for those who may not have any,
/// and what else `shmget` says.
pub(crate) fn create(key: u32, size: u64, mode: u32, huge_page: Option<u64>) -> io::Result<Created> {
    let Ok(len) = usize::try_from(size) else { return Err(Errno::EINVAL.into()) };
    let available = || huge_page.map_or_else(memory_available, huge::free);
    match available() {
        // Where everything may be promised, the machine would find out later.
        Some(available) if size > available => return Ok(Created::NoSpace { available }),
        _ => {}
    }
    let exclusively = libc::IPC_CREAT | libc::IPC_EXCL;
    let mode = libc::c_int::try_from(mode & 0o777).map_err(|_| Errno::EINVAL)?;
    match shmget(key, len, exclusively | mode | huge_page.map_or(0, of_huge_pages)) {
        Ok(id) => Ok(Created::Done(id)),
        Err(Errno::EINVAL) => match limit("shmmax")? {
            available if huge_page.is_none() || size > available => Ok(Created::NoSpace { available }),
            _ => {
                Err(io::Error::new(io::ErrorKind::Unsupported, "this kernel has no huge pages of that size"))
            }
        },
        Err(Errno::ENOMEM) => Ok(Created::NoSpace { available: available().unwrap_or(0) }),
        Err(Errno::ENOSPC) => {
            let page = u64::try_from(page_size()).unwrap_or(4096);
            let used: u64 = entries()?.map(|entry| entry.size.div_ceil(page)).sum();
            let available = limit("shmall")?.saturating_sub(used).saturating_mul(page);
            if available >= size {
                return Err(io::Error::new(
                    io::ErrorKind::StorageFull,
                    "there are as many System V segments as kernel.shmmni allows",
                ));
            }
            Ok(Created::NoSpace { available })
        }
        Err(errno) => Err(errno.into()),
    }
}

/// `SHM_HUGETLB`, and which.
fn of_huge_pages(page: u64) -> libc::c_int {
    const HUGETLB: libc::c_int = 0o4000;
    let size = libc::c_int::try_from(page.trailing_zeros()).unwrap_or(0);
    HUGETLB | size << libc::MAP_HUGE_SHIFT
}

fn shmget(key: u32, size: usize, flags: libc::c_int) -> nix::Result<i32> {
    let key = libc::key_t::from_le_bytes(key.to_le_bytes());
    // SAFETY: takes no pointer.
    Errno::result(unsafe { libc::shmget(key, size, flags) })
}

/// What it is; `None` if there is none of that id any more.
///
/// # Errors
///
/// `PermissionDenied` for those who may not read it.
#[allow(clippy::useless_conversion, reason = "the widths of these fields depend on the architecture")]
pub(crate) fn status(id: i32) -> io::Result<Option<Status>> {
    let found = match stat(id) {
        Ok(found) => found,
        Err(Errno::EINVAL | Errno::EIDRM) => return Ok(None),
        Err(errno) => return Err(errno.into()),
    };
    let mode = u32::from(found.shm_perm.mode);
    Ok(Some(Status {
        key: u32::from_le_bytes(found.shm_perm.__key.to_le_bytes()),
        size: u64::try_from(found.shm_segsz).unwrap_or(u64::MAX),
        creator: found.shm_perm.cuid,
        group: found.shm_perm.gid,
        creator_pid: u32::try_from(found.shm_cpid).unwrap_or(0),
        mode: mode & 0o777,
        attached: u64::from(found.shm_nattch),
        doomed: mode & DOOMED != 0,
    }))
}

fn stat(id: i32) -> nix::Result<libc::shmid_ds> {
    // SAFETY: integers only, for which all zeroes is a value.
    let mut found: libc::shmid_ds = unsafe { std::mem::zeroed() };
    // SAFETY: a live local, by I2.
    Errno::result(unsafe { libc::shmctl(id, libc::IPC_STAT, &raw mut found) })?;
    Ok(found)
}

/// Gives it to that group. What the mode gives to a group, that of its creator keeps as well: so the kernel will have it.
///
/// # Errors
///
/// `PermissionDenied` for all but its owner and its creator; otherwise what `shmctl` says. It does not ask whether we are
/// a member.
pub(crate) fn give_to_group(id: i32, group: u32) -> io::Result<()> {
    let mut found = stat(id)?;
    found.shm_perm.gid = group;
    // SAFETY: a live local, by I2.
    Errno::result(unsafe { libc::shmctl(id, libc::IPC_SET, &raw mut found) })?;
    Ok(())
}

/// In the kernel's mode of a segment: removed, and still attached.
const DOOMED: u32 = 0o1000;

/// Removes it: nobody finds it by its key any more; whoever is attached keeps it, and may attach once more by its id.
///
/// # Errors
///
/// `PermissionDenied` for all but its owner and its creator, `InvalidInput` if there is none of that id.
pub(crate) fn remove(id: i32) -> io::Result<()> {
    // SAFETY: this command looks at no buffer.
    Errno::result(unsafe { libc::shmctl(id, libc::IPC_RMID, ptr::null_mut()) })?;
    Ok(())
}

/// The id of an attached segment. While it is attached, no other segment of its ipc namespace has that number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Id {
    number: i32,
    namespace: u64,
}

impl Id {
    /// The number, if we still are where it means that segment.
    ///
    /// # Errors
    ///
    /// `NotFound` if this thread has gone to another ipc namespace.
    pub(crate) fn here(self) -> io::Result<i32> {
        if namespace()? == self.namespace { Ok(self.number) } else { Err(Errno::ENOENT.into()) }
    }
}

/// A segment in this address space. Detached when dropped; a forked child has one of its own.
pub(crate) struct Attachment {
    base: NonNull<u8>,
    len: usize,
    id: Id,
}

// SAFETY: an address. Nothing here looks at the bytes, which are other processes' as well.
unsafe impl Send for Attachment {}
// SAFETY: as above.
unsafe impl Sync for Attachment {}

impl Attachment {
    /// Attaches the segment, wherever there is room. `None` if there is none of that id any more.
    ///
    /// # Errors
    ///
    /// What `shmat` says.
    pub(crate) fn new(id: i32, read_only: bool) -> io::Result<Option<Self>> {
        let flags = if read_only { libc::SHM_RDONLY } else { 0 };
        // SAFETY: the kernel chooses an address that nothing uses.
        let base = unsafe { libc::shmat(id, ptr::null(), flags) };
        if base.addr() == usize::MAX {
            return match Errno::last() {
                Errno::EINVAL | Errno::EIDRM => Ok(None),
                errno => Err(errno.into()),
            };
        }
        let Some(base) = NonNull::new(base.cast::<u8>()) else { return Err(Errno::EFAULT.into()) };
        let mut attachment = Self { base, len: 0, id: Id { number: id, namespace: 0 } };
        attachment.id.namespace = namespace()?;
        let size = status(id)?.map_or(0, |status| status.size); // attached: the id is not another one's by now
        attachment.len = usize::try_from(size).map_err(|_| Errno::EINVAL)?;
        Ok(Some(attachment))
    }

    /// Whether its first page can be had: of huge pages that were promised to nobody there may be none left, and the
    /// first access be SIGBUS. (Before Linux 5.14 nobody can ask.)
    pub(super) fn begins(&self) -> bool {
        let first = self.len.min(page_size());
        // SAFETY: ours by I1, and no byte changes.
        let populated = unsafe { mman::madvise(self.base.cast(), first, MmapAdvise::MADV_POPULATE_READ) };
        matches!(populated, Ok(()) | Err(Errno::EINVAL))
    }

    pub(crate) fn base(&self) -> NonNull<u8> {
        self.base
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn id(&self) -> Id {
        self.id
    }

    /// Makes every page present.
    pub(super) fn populate(&self, read_only: bool) -> io::Result<()> {
        let advice = if read_only { MmapAdvise::MADV_POPULATE_READ } else { MmapAdvise::MADV_POPULATE_WRITE };
        // SAFETY: ours by I1, and no byte changes.
        unsafe { mman::madvise(self.base.cast(), self.len, advice) }?;
        Ok(())
    }

    /// Asks for huge pages where there are some.
    pub(super) fn advise_huge_pages(&self) -> io::Result<()> {
        // SAFETY: ours by I1, and no byte changes.
        unsafe { mman::madvise(self.base.cast(), self.len, MmapAdvise::MADV_HUGEPAGE) }?;
        Ok(())
    }

    /// Keeps the pages in memory.
    pub(super) fn lock(&self) -> io::Result<()> {
        // SAFETY: ours by I1.
        unsafe { mman::mlock(self.base.cast(), self.len) }?;
        Ok(())
    }
}

impl Drop for Attachment {
    fn drop(&mut self) {
        // SAFETY: I1 - attached once, and detached here.
        unsafe { libc::shmdt(self.base.as_ptr().cast()) };
    }
}

/// Keys and ids of all segments of this ipc namespace that are not removed.
///
/// # Errors
///
/// What reading `/proc/sysvipc/shm` says.
pub(crate) fn all() -> io::Result<Vec<(u32, i32)>> {
    Ok(entries()?.filter(|entry| !entry.doomed).map(|entry| (entry.key, entry.id)).collect())
}

struct Entry {
    key: u32,
    id: i32,
    doomed: bool,
    size: u64,
}

fn entries() -> io::Result<impl Iterator<Item = Entry>> {
    let text = fs::read_to_string("/proc/sysvipc/shm")?;
    let entries: Vec<Entry> = text.lines().filter_map(entry).collect();
    Ok(entries.into_iter())
}

/// `key shmid perms size ...`; the first line names the columns.
fn entry(line: &str) -> Option<Entry> {
    let mut columns = line.split_whitespace();
    let key: i32 = columns.next()?.parse().ok()?;
    let id = columns.next()?.parse().ok()?;
    let mode = u32::from_str_radix(columns.next()?, 8).ok()?;
    let size = columns.next()?.parse().ok()?;
    Some(Entry { key: u32::from_le_bytes(key.to_le_bytes()), id, doomed: mode & DOOMED != 0, size })
}

fn limit(name: &str) -> io::Result<u64> {
    let text = fs::read_to_string(format!("/proc/sys/kernel/{name}"))?;
    text.trim().parse().map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "a limit that is no number"))
}

/// The number of our ipc namespace, in which keys and ids are looked up.
///
/// # Errors
///
/// `NotFound` without `/proc`.
pub(crate) fn namespace() -> io::Result<u64> {
    Ok(fs::metadata("/proc/thread-self/ns/ipc")?.ino())
}

/// The key that `ftok` makes of a file and a number: of its device, its inode, and that.
///
/// # Errors
///
/// What `stat` says.
pub(crate) fn key_of(path: &Path, number: u8) -> io::Result<u32> {
    let found = fs::metadata(path)?;
    let low = |value: u64, mask: u64| u32::try_from(value & mask).unwrap_or(0);
    Ok(u32::from(number) << 24 | low(found.dev(), 0xff) << 16 | low(found.ino(), 0xffff))
}

/// Who we are for permissions, now: a process may change that.
pub(crate) fn user() -> u32 {
    unistd::geteuid().as_raw()
}

#[cfg(test)]
mod tests {
    use std::ffi::CString;
    use std::thread;
    use std::time::{Duration, Instant};

    use super::*;

    /// A private segment, removed when dropped.
    struct Segment(i32);

    impl Segment {
        fn new(size: u64) -> Self {
            match create(PRIVATE, size, 0o600, None).unwrap() {
                Created::Done(id) => Self(id),
                none @ Created::NoSpace { .. } => panic!("{none:?}"),
            }
        }
    }

    impl Drop for Segment {
        fn drop(&mut self) {
            let _ = remove(self.0);
        }
    }

    #[test]
    fn it_is_attached_by_its_id_also_when_it_was_removed() {
        let segment = Segment::new(8192);
        let before = status(segment.0).unwrap().unwrap();
        assert_eq!((before.key, before.size, before.mode, before.attached), (PRIVATE, 8192, 0o600, 0));
        assert_eq!(before.creator_pid, std::process::id());
        let one = Attachment::new(segment.0, false).unwrap().unwrap();
        // SAFETY: inside the attachment, which this test alone knows.
        unsafe { one.base().as_ptr().wrapping_add(5000).write_volatile(42) };
        assert!(all().unwrap().contains(&(PRIVATE, segment.0)));
        remove(segment.0).unwrap();
        assert!(status(segment.0).unwrap().unwrap().doomed);
        assert!(!all().unwrap().contains(&(PRIVATE, segment.0)));
        let two = Attachment::new(segment.0, true).unwrap().unwrap();
        // Children that other tests fork meanwhile have it, too.
        assert!(two.len() == 8192 && status(segment.0).unwrap().unwrap().attached >= 2);
        // SAFETY: inside the attachment.
        assert_eq!(unsafe { two.base().as_ptr().wrapping_add(5000).read_volatile() }, 42);
        drop((one, two));
        let until = Instant::now() + Duration::from_secs(20);
        while status(segment.0).unwrap().is_some() {
            assert!(Instant::now() < until, "nobody has it, and it is there");
            thread::sleep(Duration::from_millis(1));
        }
        assert!(Attachment::new(segment.0, false).unwrap().is_none());
    }

    #[test]
    fn more_than_all_memory_is_refused_with_a_number() {
        let Created::NoSpace { available } = create(PRIVATE, 1 << 50, 0o600, None).unwrap() else {
            panic!("made")
        };
        assert!(available < 1 << 50);
    }

    #[test]
    fn keys_of_files_are_those_of_ftok() {
        for (path, number) in [("/", 1), ("/proc", 255), ("/dev/null", 17)] {
            let name = CString::new(path).unwrap();
            // SAFETY: a string with its end.
            let expected = unsafe { libc::ftok(name.as_ptr(), i32::from(number)) };
            assert_eq!(key_of(Path::new(path), number).unwrap().to_le_bytes(), expected.to_le_bytes());
        }
        assert_eq!(key_of(Path::new("/nowhere"), 1).unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}
