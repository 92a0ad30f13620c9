//! The things that get mapped: files, shared memory objects (files of `/dev/shm`) and memfds.
//!
//! An object with a name appears complete or not at all: it is made without a name, filled, and then
//! linked. Nothing that the kernel accepts as an address makes an open hang: a FIFO, a device or a
//! directory is refused.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{self, AT_FDCWD, AtFlags, FcntlArg, OFlag, SealFlag};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::stat::{self, FileStat, Mode, SFlag};
use nix::sys::statfs;
use nix::sys::uio::{pread, pwrite};
use nix::unistd;

pub(crate) use super::reserve::{Reserve, is_reserved, reserve};

/// Where POSIX shared memory objects live: `shm_open("/x")` is a file of this directory.
pub(crate) const SHM_DIR: &str = "/dev/shm";

/// What `stat` says, as far as anybody asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Status {
    /// Device of the file system. With `ino`, the identity of the object.
    pub dev: u64,
    /// Number of the object in its file system.
    pub ino: u64,
    /// Bytes.
    pub size: u64,
    /// Who owns it.
    pub uid: u32,
    /// Type and permissions.
    pub mode: u32,
    /// Names that it has: 0 after the last unlink, and before the first publish.
    pub links: u64,
}

/// An empty file without a name, in the file system of `dir`. It is gone with its last descriptor and
/// mapping unless [`publish`] gives it a name.
///
/// Its permissions are exactly `mode`, whatever the umask.
///
/// # Errors
///
/// What `open` says; `Unsupported` (or `EISDIR`, from a file system that never heard of it) where unnamed
/// files do not exist.
pub(crate) fn create_unnamed(dir: &Path, mode: u32) -> io::Result<OwnedFd> {
    let flags = OFlag::O_TMPFILE | OFlag::O_RDWR | OFlag::O_CLOEXEC;
    let fd = retry(|| fcntl::open(dir, flags, Mode::S_IRUSR | Mode::S_IWUSR))?;
    stat::fchmod(&fd, Mode::from_bits_truncate(mode))?;
    Ok(fd)
}

/// Gives the object to that user, and to that group, and its permission bits for a group with it.
///
/// # Errors
///
/// `PermissionDenied` unless the object and the user are ours and the group is one of ours, or we are privileged.
pub(crate) fn give_to(fd: BorrowedFd<'_>, user: Option<u32>, group: Option<u32>) -> io::Result<()> {
    Ok(unistd::fchown(fd, user.map(unistd::Uid::from_raw), group.map(unistd::Gid::from_raw))?)
}

/// Gives an unnamed file its name, at one instant, without ever replacing what has the name already.
///
/// # Errors
///
/// `AlreadyExists` if the name is taken, by whatever it is; otherwise what `linkat` says.
pub(crate) fn publish(fd: BorrowedFd<'_>, path: &Path) -> io::Result<()> {
    let through_proc = unistd::linkat(AT_FDCWD, &link_of(fd), AT_FDCWD, path, AtFlags::AT_SYMLINK_FOLLOW);
    let Err(first) = through_proc else { return Ok(()) };
    if first == Errno::EEXIST {
        return Err(first.into());
    }
    // Without /proc. It takes a capability before Linux 6.10, and "no such capability" is spelt ENOENT: so
    // its complaint says less than the first one.
    match unistd::linkat(fd, "", AT_FDCWD, path, AtFlags::AT_EMPTY_PATH) {
        Ok(()) => Ok(()),
        Err(Errno::EEXIST) => Err(Errno::EEXIST.into()),
        Err(_) => Err(first.into()),
    }
}

/// Opens the regular file of that name. Symbolic links are followed, except as entries of [`SHM_DIR`]: there
/// anybody may put one, and `shm_open` does not follow it either.
///
/// # Errors
///
/// `InvalidInput` if it is not a regular file; otherwise what `open` says.
pub(crate) fn open(path: &Path, read_only: bool) -> io::Result<OwnedFd> {
    open_and_look(path, read_only).map(|(fd, _)| fd)
}

/// [`open`], with what was found.
///
/// # Errors
///
/// As [`open`].
pub(crate) fn open_and_look(path: &Path, read_only: bool) -> io::Result<(OwnedFd, Status)> {
    let mut flags = open_flags(read_only);
    if !follows_links(path) {
        flags |= OFlag::O_NOFOLLOW;
    }
    let fd = retry(|| fcntl::open(path, flags, Mode::empty())).map_err(|errno| match errno {
        // A directory opened for writing, a socket or a device without a driver, a symbolic link in SHM_DIR.
        Errno::EISDIR | Errno::ENXIO | Errno::ENODEV => not_regular(),
        Errno::ELOOP if flags.contains(OFlag::O_NOFOLLOW) => not_regular(),
        _ => errno.into(),
    })?;
    let status = stat::fstat(&fd)?;
    let kind = SFlag::from_bits_truncate(status.st_mode) & SFlag::S_IFMT;
    if kind == SFlag::S_IFREG { Ok((fd, told(&status))) } else { Err(not_regular()) }
}

/// A fresh open file description of the same object, through `/proc`: locks taken through it are its own.
/// (Those of a duplicated or inherited descriptor belong to everybody who has it.)
///
/// # Errors
///
/// What `open` says: `NotFound` where there is no `/proc`, `PermissionDenied` where the descriptor came from
/// somebody who may do more.
pub(crate) fn reopen(fd: BorrowedFd<'_>, read_only: bool) -> io::Result<OwnedFd> {
    reopen_same(fd, &status(fd)?, read_only)
}

/// [`reopen`], where what the descriptor refers to is known.
///
/// # Errors
///
/// As [`reopen`].
pub(crate) fn reopen_same(fd: BorrowedFd<'_>, same: &Status, read_only: bool) -> io::Result<OwnedFd> {
    let fresh = retry(|| fcntl::open(&link_of(fd), open_flags(read_only), Mode::empty()))?;
    let found = status(fresh.as_fd())?;
    // Something else that is mounted at /proc must not give us another file to lock.
    if (found.dev, found.ino) != (same.dev, same.ino) {
        return Err(io::Error::new(io::ErrorKind::NotFound, "/proc shows another file for this descriptor"));
    }
    Ok(fresh)
}

/// Takes the name away. Whoever has the object open or mapped keeps it.
///
/// # Errors
///
/// What `unlink` says.
pub(crate) fn unlink(path: &Path) -> io::Result<()> {
    Ok(unistd::unlink(path)?)
}

/// An empty object without a name that can be sealed. `label` is what `/proc` shows, nothing more.
///
/// # Errors
///
/// What `memfd_create` says: `InvalidInput` for a label with NUL or of more than 249 bytes.
pub(crate) fn memfd(label: &str) -> io::Result<OwnedFd> {
    Ok(memfd_with(label, MFdFlags::empty())?)
}

/// The same, with further wishes.
pub(super) fn memfd_with(label: &str, wishes: MFdFlags) -> nix::Result<OwnedFd> {
    let flags = wishes | MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING;
    // Not executable, for good. Kernels before 6.3 refuse the flag, some newer ones are set up to demand it.
    let no_exec = MFdFlags::from_bits_retain(libc::MFD_NOEXEC_SEAL);
    match memfd_create(label, flags | no_exec) {
        Err(Errno::EINVAL) => memfd_create(label, flags),
        other => other,
    }
}

/// From now on nobody can make the object smaller, which would turn accesses into SIGBUS.
///
/// # Errors
///
/// `InvalidInput` for an object that has no seals (anything but a memfd), `PermissionDenied` for one that is
/// sealed against sealing or not open for writing.
pub(crate) fn seal_shrink(fd: BorrowedFd<'_>) -> io::Result<()> {
    fcntl::fcntl(fd, FcntlArg::F_ADD_SEALS(SealFlag::F_SEAL_SHRINK))?;
    Ok(())
}

/// Whether [`seal_shrink`] was done to it. `false` for objects that have no seals.
///
/// # Errors
///
/// What `fcntl` says.
pub(crate) fn cannot_shrink(fd: BorrowedFd<'_>) -> io::Result<bool> {
    match fcntl::fcntl(fd, FcntlArg::F_GET_SEALS) {
        Ok(seals) => Ok(SealFlag::from_bits_truncate(seals).contains(SealFlag::F_SEAL_SHRINK)),
        Err(Errno::EINVAL) => Ok(false),
        Err(errno) => Err(errno.into()),
    }
}

/// What the object is.
///
/// # Errors
///
/// What `fstat` says.
pub(crate) fn status(fd: BorrowedFd<'_>) -> io::Result<Status> {
    Ok(told(&stat::fstat(fd)?))
}

/// The first words of a file; `None` if it has fewer.
///
/// # Errors
///
/// What `pread` says.
pub(crate) fn read_words<const N: usize>(file: BorrowedFd<'_>) -> io::Result<Option<[u64; N]>> {
    let mut bytes = vec![0; N * 8];
    if pread(file, &mut bytes, 0)? < bytes.len() {
        return Ok(None);
    }
    let mut words = [0; N];
    for (word, bytes) in words.iter_mut().zip(bytes.chunks_exact(8)) {
        *word = bytes.iter().rev().fold(0, |word, &byte| word << 8 | u64::from(byte));
    }
    Ok(Some(words))
}

/// Writes words to a file, from word `first` on.
///
/// # Errors
///
/// What `pwrite` says; `StorageFull` if not all of it was written.
pub(crate) fn write_words(file: BorrowedFd<'_>, first: u32, words: &[u64]) -> io::Result<()> {
    let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
    if pwrite(file, &bytes, libc::off_t::from(first) * 8)? < bytes.len() {
        return Err(io::Error::new(io::ErrorKind::StorageFull, "not all was written"));
    }
    Ok(())
}

/// What stands under that name, by the rule of [`open`]: a symbolic link in [`SHM_DIR`] is itself.
///
/// # Errors
///
/// What `stat` says.
pub(crate) fn status_of(path: &Path) -> io::Result<Status> {
    let found = if follows_links(path) { stat::stat(path)? } else { stat::lstat(path)? };
    Ok(told(&found))
}

/// Whether something has that name, be it a symbolic link to nothing.
pub(crate) fn is_taken(path: &Path) -> bool {
    stat::lstat(path).is_ok()
}

/// Whether that is a symbolic link to nothing.
pub(crate) fn is_dangling(path: &Path) -> bool {
    stat::lstat(path).is_ok() && stat::stat(path).is_err()
}

/// That path, wherever the process goes and whatever becomes of the symbolic links on the way.
///
/// # Errors
///
/// What `getcwd` says.
pub(crate) fn settled(path: &Path) -> io::Result<PathBuf> {
    std::fs::canonicalize(path).or_else(|_| std::path::absolute(path))
}

/// Whether everybody who can reach this object runs on this very kernel, so that file locks and shared
/// mappings mean the same to all of them. `false` for network and virtual machine file systems, for
/// overlays (whose upper layers differ), and for what is not known.
///
/// # Errors
///
/// What `fstatfs` says.
pub(crate) fn one_kernel(fd: BorrowedFd<'_>) -> io::Result<bool> {
    const RAMFS: u64 = 0x8584_58f6;
    const TMPFS: u64 = 0x0102_1994;
    const HUGETLBFS: u64 = 0x9584_58f6;
    const EXT_2_3_4: u64 = 0xef53;
    const XFS: u64 = 0x5846_5342;
    const BTRFS: u64 = 0x9123_683e;
    const F2FS: u64 = 0xf2f5_2010;
    const ZFS: u64 = 0x2fc1_2fc1;
    let own = [RAMFS, TMPFS, HUGETLBFS, EXT_2_3_4, XFS, BTRFS, F2FS, ZFS];
    Ok(own.contains(&file_system(fd)?))
}

/// The 32 bits by which a file system introduces itself.
pub(super) fn file_system(fd: BorrowedFd<'_>) -> io::Result<u64> {
    #[allow(
        clippy::cast_sign_loss,
        reason = "the field is signed in some C libraries and unsigned in others"
    )]
    let magic = statfs::fstatfs(fd)?.filesystem_type().0 as u64;
    Ok(magic & 0xffff_ffff)
}

#[allow(clippy::useless_conversion, reason = "the widths of these fields depend on the architecture")]
fn told(found: &FileStat) -> Status {
    Status {
        dev: u64::from(found.st_dev),
        ino: u64::from(found.st_ino),
        size: u64::try_from(found.st_size).unwrap_or(0),
        uid: found.st_uid,
        mode: found.st_mode,
        links: u64::from(found.st_nlink),
    }
}

/// Of the calling thread, not of `/proc/self`: that is the first thread's, which may have exited.
fn link_of(fd: BorrowedFd<'_>) -> PathBuf {
    PathBuf::from(format!("/proc/thread-self/fd/{}", fd.as_raw_fd()))
}

/// Never waits for a FIFO's other end, a carrier or a lease, and never becomes our terminal.
fn open_flags(read_only: bool) -> OFlag {
    let access = if read_only { OFlag::O_RDONLY } else { OFlag::O_RDWR };
    access | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK | OFlag::O_NOCTTY
}

fn follows_links(path: &Path) -> bool {
    path.parent() != Some(Path::new(SHM_DIR))
}

fn not_regular() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, "not a regular file")
}

/// Some file systems let a signal interrupt an open.
fn retry<T>(mut call: impl FnMut() -> nix::Result<T>) -> nix::Result<T> {
    loop {
        match call() {
            Err(Errno::EINTR) => {}
            other => return other,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;
    use std::os::unix::fs::symlink;

    use super::*;
    use crate::os::testing::{Child, Scratch, scratch_name};

    #[test]
    fn an_unnamed_file_appears_when_it_is_published() {
        for dir in [Path::new(SHM_DIR), &std::env::temp_dir()] {
            let name = Scratch::in_dir(dir);
            let fd = match create_unnamed(dir, 0o640) {
                // Some overlays.
                Err(error) if error.kind() == io::ErrorKind::Unsupported && dir != Path::new(SHM_DIR) => {
                    continue;
                }
                other => other.unwrap(),
            };
            assert_eq!(status(fd.as_fd()).unwrap().links, 0);
            assert_eq!(status_of(&name.path).unwrap_err().kind(), io::ErrorKind::NotFound);
            publish(fd.as_fd(), &name.path).unwrap();
            let there = status_of(&name.path).unwrap();
            assert_eq!(there, status(fd.as_fd()).unwrap());
            assert_eq!((there.links, there.mode & 0o7777, there.size), (1, 0o640, 0));
        }
    }

    #[test]
    fn a_taken_name_is_not_replaced() {
        let name = Scratch::in_dir(Path::new(SHM_DIR));
        let first = create_unnamed(Path::new(SHM_DIR), 0o600).unwrap();
        let second = create_unnamed(Path::new(SHM_DIR), 0o600).unwrap();
        publish(first.as_fd(), &name.path).unwrap();
        let refused = publish(second.as_fd(), &name.path).unwrap_err();
        assert_eq!(refused.raw_os_error(), Some(libc::EEXIST));
        let opened = open(&name.path, false).unwrap();
        assert_eq!(status(opened.as_fd()).unwrap(), status(first.as_fd()).unwrap());
    }

    #[test]
    fn publish_says_what_is_missing() {
        let fd = create_unnamed(Path::new(SHM_DIR), 0o600).unwrap();
        let nowhere = scratch_name(Path::new(SHM_DIR)).join("x");
        assert_eq!(publish(fd.as_fd(), &nowhere).unwrap_err().kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn only_regular_files_open_and_nothing_hangs() {
        let fifo = Scratch::in_dir(&std::env::temp_dir());
        unistd::mkfifo(&fifo.path, Mode::S_IRWXU).unwrap();
        let socket = Scratch::in_dir(&std::env::temp_dir());
        let _listener = std::os::unix::net::UnixListener::bind(&socket.path).unwrap();
        // In a child, which a timer ends if it hangs.
        let child = Child::spawn(|| {
            let others = [fifo.path.as_path(), &socket.path, Path::new("/dev/null"), Path::new("/")];
            others.iter().all(|path| {
                let refused = |read_only| open(path, read_only).err().map(|error| error.kind());
                [false, true].map(refused) == [Some(io::ErrorKind::InvalidInput); 2]
            })
        });
        assert!(child.succeeds());
    }

    #[test]
    fn links_are_followed_except_in_the_shared_memory_directory() {
        let target = Scratch::in_dir(&std::env::temp_dir());
        std::fs::write(&target.path, b"x").unwrap();
        let outside = Scratch::in_dir(&std::env::temp_dir());
        symlink(&target.path, &outside.path).unwrap();
        let inside = Scratch::in_dir(Path::new(SHM_DIR));
        symlink(&target.path, &inside.path).unwrap();
        assert_eq!(
            status(open(&outside.path, true).unwrap().as_fd()).unwrap(),
            status_of(&target.path).unwrap()
        );
        assert_eq!(open(&inside.path, true).unwrap_err().kind(), io::ErrorKind::InvalidInput);
        assert_ne!(status_of(&inside.path).unwrap().ino, status_of(&target.path).unwrap().ino);
    }

    #[test]
    fn a_name_with_nul_is_refused() {
        assert_eq!(open(Path::new("/dev/shm/a\0b"), true).unwrap_err().kind(), io::ErrorKind::InvalidInput);
        assert_eq!(memfd("a\0b").unwrap_err().kind(), io::ErrorKind::InvalidInput);
    }

    #[test]
    fn a_reopened_object_has_its_own_description() {
        let fd = memfd("outlive-test-reopen").unwrap();
        let fresh = reopen(fd.as_fd(), true).unwrap();
        assert_eq!(status(fresh.as_fd()).unwrap(), status(fd.as_fd()).unwrap());
        unistd::lseek(&fd, 7, unistd::Whence::SeekSet).unwrap();
        assert_eq!(unistd::lseek(&fresh, 0, unistd::Whence::SeekCur).unwrap(), 0);
        assert_eq!(unistd::write(&fresh, b"x"), Err(Errno::EBADF));
    }

    #[test]
    fn a_sealed_object_does_not_shrink() {
        let fd = memfd("outlive-test-seal").unwrap();
        assert_eq!(reserve(fd.as_fd(), 8192).unwrap(), Reserve::Done);
        assert!(!cannot_shrink(fd.as_fd()).unwrap());
        seal_shrink(fd.as_fd()).unwrap();
        assert!(cannot_shrink(fd.as_fd()).unwrap());
        assert_eq!(unistd::ftruncate(&fd, 4096), Err(Errno::EPERM));
        assert_eq!(reserve(fd.as_fd(), 16384).unwrap(), Reserve::Done);
        let unsealed = create_unnamed(Path::new(SHM_DIR), 0o600).unwrap();
        assert!(!cannot_shrink(unsealed.as_fd()).unwrap());
    }

    #[test]
    fn memory_is_of_one_kernel_and_proc_is_not_counted() {
        assert!(one_kernel(memfd("outlive-test-kernel").unwrap().as_fd()).unwrap());
        assert!(one_kernel(create_unnamed(Path::new(SHM_DIR), 0o600).unwrap().as_fd()).unwrap());
        let proc = std::fs::File::open("/proc/self/stat").unwrap();
        assert!(!one_kernel(proc.as_fd()).unwrap());
    }

    #[test]
    fn words_are_read_as_they_were_written() {
        let file = memfd("outlive-test-words").unwrap();
        assert_eq!(read_words::<1>(file.as_fd()).unwrap(), None);
        write_words(file.as_fd(), 0, &[1, u64::MAX - 1]).unwrap();
        write_words(file.as_fd(), 2, &[7]).unwrap();
        assert_eq!(read_words(file.as_fd()).unwrap(), Some([1, u64::MAX - 1, 7]));
        assert_eq!(read_words::<4>(file.as_fd()).unwrap(), None);
    }
}
