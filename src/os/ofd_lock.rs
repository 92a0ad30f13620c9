//! Byte locks of an open file description.
//!
//! A lock belongs to the *description*: it goes when the last descriptor and the last mapping of it go, and
//! everybody who has the same description (by fork, `dup` or a socket) has the same locks. Hence
//! [`reopen`](super::object::reopen) first. A description never conflicts with itself: asked through the one
//! that holds a byte, that byte is free. Locks of processes (`F_SETLK`) would go with *any* close of the
//! file.
//!
//! Bytes are numbers: they need not lie inside the object.

use std::io;
use std::os::fd::BorrowedFd;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, fcntl};

#[derive(Clone, Copy)]
enum Kind {
    Read,
    Write,
    None,
}

/// Takes the bytes for this description alone. `false` if another has some of them.
///
/// # Errors
///
/// `EBADF` if the descriptor is not open for writing, `ENOLCK` if the kernel has no memory for it.
pub(crate) fn try_write(fd: BorrowedFd<'_>, start: u64, len: u64) -> io::Result<bool> {
    try_set(fd, Kind::Write, start, len)
}

/// Takes the bytes for this description and all others that want them for reading. `false` if another has some of
/// them for itself.
///
/// # Errors
///
/// `EBADF` if the descriptor is not open for reading, `ENOLCK` if the kernel has no memory for it.
pub(crate) fn try_read(fd: BorrowedFd<'_>, start: u64, len: u64) -> io::Result<bool> {
    try_set(fd, Kind::Read, start, len)
}

/// Gives the bytes back, whether they were held or not.
///
/// # Errors
///
/// `ENOLCK` if a lock has to be split and the kernel has no memory for that.
pub(crate) fn unlock(fd: BorrowedFd<'_>, start: u64, len: u64) -> io::Result<()> {
    set(fd, Kind::None, start, len).map_err(io::Error::from)
}

/// Whether no *other* description holds one of the bytes, for reading or writing. Takes nothing.
///
/// # Errors
///
/// What `fcntl` says.
pub(crate) fn is_free(fd: BorrowedFd<'_>, start: u64, len: u64) -> io::Result<bool> {
    let mut question = request(Kind::Write, start, len)?;
    loop {
        match fcntl(fd, FcntlArg::F_OFD_GETLK(&mut question)) {
            Ok(_) => return Ok(question.l_type == type_of(Kind::None)),
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
}

fn try_set(fd: BorrowedFd<'_>, kind: Kind, start: u64, len: u64) -> io::Result<bool> {
    match set(fd, kind, start, len) {
        Ok(()) => Ok(true),
        Err(Errno::EAGAIN | Errno::EACCES) => Ok(false),
        Err(errno) => Err(errno.into()),
    }
}

fn set(fd: BorrowedFd<'_>, kind: Kind, start: u64, len: u64) -> nix::Result<()> {
    let lock = request(kind, start, len)?;
    loop {
        match fcntl(fd, FcntlArg::F_OFD_SETLK(&lock)) {
            Ok(_) => return Ok(()),
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno),
        }
    }
}

/// `EINVAL` for no bytes at all, which the kernel would read as *all that follow*, and for numbers out of
/// range.
fn request(kind: Kind, start: u64, len: u64) -> nix::Result<libc::flock> {
    let l_start = libc::off_t::try_from(start).map_err(|_| Errno::EINVAL)?;
    let l_len = libc::off_t::try_from(len).map_err(|_| Errno::EINVAL)?;
    if l_len == 0 {
        return Err(Errno::EINVAL);
    }
    // `l_pid` must be 0 for this kind of lock.
    Ok(libc::flock { l_type: type_of(kind), l_whence: whence(), l_start, l_len, l_pid: 0 })
}

#[allow(clippy::cast_possible_truncation, reason = "0, 1 and 2")]
fn type_of(kind: Kind) -> libc::c_short {
    match kind {
        Kind::Read => libc::F_RDLCK as libc::c_short,
        Kind::Write => libc::F_WRLCK as libc::c_short,
        Kind::None => libc::F_UNLCK as libc::c_short,
    }
}

#[allow(clippy::cast_possible_truncation, reason = "0")]
fn whence() -> libc::c_short {
    libc::SEEK_SET as libc::c_short
}

#[cfg(test)]
mod tests {
    use std::os::fd::{AsFd, OwnedFd};

    use nix::sys::signal::Signal;

    use super::*;
    use crate::os::map::Anchor;
    use crate::os::object;
    use crate::os::testing::{self, Child, Pipe};

    fn two_descriptions() -> (OwnedFd, OwnedFd) {
        let one = object::memfd("outlive-test-lock").unwrap();
        let two = object::reopen(one.as_fd(), false).unwrap();
        (one, two)
    }

    #[test]
    fn a_byte_has_one_holder() {
        let (one, two) = two_descriptions();
        let (one, two) = (one.as_fd(), two.as_fd());
        assert!(try_write(one, 5, 1).unwrap());
        assert!(try_write(one, 5, 1).unwrap(), "once more for the holder");
        assert!(!try_write(two, 5, 1).unwrap());
        assert!(!try_write(two, 0, 10).unwrap(), "a range that holds it");
        assert!(try_write(two, 4, 1).unwrap());
        assert!(!is_free(two, 5, 1).unwrap());
        assert!(is_free(one, 5, 1).unwrap(), "a description does not conflict with itself");
        unlock(one, 5, 1).unwrap();
        assert!(is_free(two, 5, 1).unwrap());
    }

    #[test]
    fn many_read_what_nobody_has_for_himself() {
        let (one, two) = two_descriptions();
        let reader = object::reopen(one.as_fd(), true).unwrap();
        assert!(try_read(reader.as_fd(), 5, 1).unwrap() && try_read(two.as_fd(), 5, 1).unwrap());
        assert!(!try_write(one.as_fd(), 5, 1).unwrap());
        assert!(!is_free(one.as_fd(), 5, 1).unwrap() && !is_free(reader.as_fd(), 5, 1).unwrap());
        drop((reader, two));
        assert!(try_write(one.as_fd(), 5, 1).unwrap());
        let reader = object::reopen(one.as_fd(), true).unwrap();
        assert!(!try_read(reader.as_fd(), 5, 1).unwrap());
        assert!(try_write(reader.as_fd(), 6, 1).is_err(), "a lock for writing takes the right to write");
    }

    #[test]
    fn no_bytes_are_no_question() {
        let (one, two) = two_descriptions();
        for (start, len) in [(0, 0), (u64::MAX, 1), (0, u64::MAX), (i64::MAX.unsigned_abs(), 2)] {
            assert!(try_write(one.as_fd(), start, len).is_err(), "{start} {len}");
            assert!(is_free(one.as_fd(), start, len).is_err(), "{start} {len}");
        }
        assert!(is_free(two.as_fd(), 0, 1 << 40).unwrap());
    }

    #[test]
    fn a_read_only_descriptor_may_only_ask() {
        let (one, _two) = two_descriptions();
        let reader = object::reopen(one.as_fd(), true).unwrap();
        assert_eq!(try_write(reader.as_fd(), 1, 1).unwrap_err().raw_os_error(), Some(libc::EBADF));
        assert!(is_free(reader.as_fd(), 2, 1).unwrap());
    }

    /// Takes byte 1 of the object for this address space, as an attacher does.
    fn take_and_anchor(fd: BorrowedFd<'_>) -> Option<Anchor> {
        let fresh = object::reopen(fd, false).ok()?;
        if !try_write(fresh.as_fd(), 1, 1).ok()? {
            return None;
        }
        Anchor::hold(fresh).ok()
    }

    #[test]
    fn an_anchored_byte_survives_closing_every_descriptor() {
        let fd = object::memfd("outlive-test-anchor").unwrap();
        let ready = Pipe::new();
        let child = Child::spawn(|| {
            let Some(_anchor) = take_and_anchor(fd.as_fd()) else { return false };
            ready.move_writer_to_stdin();
            testing::close_all_from(3);
            Pipe::say_on_stdin(1);
            testing::sleep_for_ever()
        });
        assert_eq!(ready.hear(), Some(1));
        assert!(!is_free(fd.as_fd(), 1, 1).unwrap());
        child.kill(Signal::SIGKILL);
        assert!(testing::soon(|| is_free(fd.as_fd(), 1, 1).unwrap()));
    }

    #[test]
    fn an_anchored_byte_is_free_after_death_though_a_forked_child_lives() {
        let fd = object::memfd("outlive-test-anchor").unwrap();
        let ready = Pipe::new();
        let child = Child::spawn(|| {
            let Some(_anchor) = take_and_anchor(fd.as_fd()) else { return false };
            let grandchild = Child::spawn(testing::sleep_for_ever);
            ready.say(grandchild.pid().as_raw());
            testing::sleep_for_ever()
        });
        let grandchild = testing::KillOnDrop(ready.hear().unwrap());
        assert!(!is_free(fd.as_fd(), 1, 1).unwrap());
        child.kill(Signal::SIGKILL);
        assert!(testing::soon(|| is_free(fd.as_fd(), 1, 1).unwrap()));
        assert!(grandchild.lives());
    }

    #[test]
    fn without_an_anchor_the_forked_child_keeps_the_byte() {
        // What the anchor is for.
        let fd = object::memfd("outlive-test-anchor").unwrap();
        let ready = Pipe::new();
        let child = Child::spawn(|| {
            let Ok(fresh) = object::reopen(fd.as_fd(), false) else { return false };
            if !matches!(try_write(fresh.as_fd(), 1, 1), Ok(true)) {
                return false;
            }
            let grandchild = Child::spawn(testing::sleep_for_ever);
            ready.say(grandchild.pid().as_raw());
            testing::sleep_for_ever()
        });
        let grandchild = testing::KillOnDrop(ready.hear().unwrap());
        child.kill(Signal::SIGKILL);
        assert!(!is_free(fd.as_fd(), 1, 1).unwrap());
        assert!(grandchild.lives());
    }

    #[test]
    fn dropping_the_anchor_frees_the_byte() {
        let fd = object::memfd("outlive-test-anchor").unwrap();
        let child = Child::spawn(|| {
            let Some(anchor) = take_and_anchor(fd.as_fd()) else { return false };
            let held = matches!(is_free(fd.as_fd(), 1, 1), Ok(false));
            drop(anchor);
            held && matches!(is_free(fd.as_fd(), 1, 1), Ok(true))
        });
        assert!(child.succeeds());
    }
}
