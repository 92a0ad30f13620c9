//! Bytes between a descriptor and memory that others may access.
//!
//! Raw pointers and no slices: a reference would promise that nobody else writes these bytes.
//!
//! # Invariants
//!
//! * **I1**: `len` bytes from the pointer on are mapped, readable (writable for [`read`]), and stay so while the call
//!   lasts (the caller's contract). The kernel accesses no others. It is through with them when the call returns: nothing
//!   here is asynchronous.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

use nix::errno::Errno;

/// Reads up to `len` bytes to where `to` points; 0 at the end of the file.
///
/// # Errors
///
/// What `read` says; `EAGAIN` if the descriptor is non-blocking and has nothing. `EINTR` is tried again.
///
/// # Safety
///
/// I1.
pub(crate) unsafe fn read(fd: BorrowedFd<'_>, to: *mut u8, len: usize) -> io::Result<usize> {
    // SAFETY: I1 - the caller's memory.
    patiently(|| unsafe { libc::read(fd.as_raw_fd(), to.cast(), len) })
}

/// Writes up to `len` bytes from where `from` points.
///
/// # Errors
///
/// What `write` says. `EINTR` is tried again.
///
/// # Safety
///
/// I1.
pub(crate) unsafe fn write(fd: BorrowedFd<'_>, from: *const u8, len: usize) -> io::Result<usize> {
    // SAFETY: I1 - the caller's memory.
    patiently(|| unsafe { libc::write(fd.as_raw_fd(), from.cast(), len) })
}

/// A call that was interrupted before it did anything is made again.
fn patiently(mut call: impl FnMut() -> isize) -> io::Result<usize> {
    loop {
        match Errno::result(call()) {
            Ok(n) => return Ok(usize::try_from(n).unwrap_or(0)),
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::os::fd::AsFd;
    use std::time::Duration;

    use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};
    use nix::unistd;

    use super::*;
    use crate::os::testing::Child;

    fn get(fd: BorrowedFd<'_>, into: &mut [u8]) -> io::Result<usize> {
        // SAFETY: I1 - a live local.
        unsafe { read(fd, into.as_mut_ptr(), into.len()) }
    }

    fn put(fd: BorrowedFd<'_>, from: &[u8]) -> io::Result<usize> {
        // SAFETY: I1 - a live local.
        unsafe { write(fd, from.as_ptr(), from.len()) }
    }

    #[test]
    fn bytes_go_through_and_then_there_is_an_end() {
        let (reader, writer) = unistd::pipe().unwrap();
        assert_eq!(put(writer.as_fd(), b"abc").unwrap(), 3);
        let mut into = [0; 8];
        assert_eq!(get(reader.as_fd(), &mut into[1..3]).unwrap(), 2);
        assert_eq!(into, [0, b'a', b'b', 0, 0, 0, 0, 0]);
        drop(writer);
        assert_eq!(get(reader.as_fd(), &mut into).unwrap(), 1);
        assert_eq!(get(reader.as_fd(), &mut into).unwrap(), 0);
    }

    #[test]
    fn what_the_kernel_says_is_told() {
        let (reader, writer) = unistd::pipe().unwrap();
        assert_eq!(get(writer.as_fd(), &mut [0]).unwrap_err().raw_os_error(), Some(libc::EBADF));
        drop(reader);
        assert_eq!(put(writer.as_fd(), b"a").unwrap_err().kind(), io::ErrorKind::BrokenPipe);
        let directory = File::open("/").unwrap();
        assert_eq!(get(directory.as_fd(), &mut [0]).unwrap_err().raw_os_error(), Some(libc::EISDIR));
    }

    /// A signal whose handler does not ask for a restart interrupts `read` again and again, and nobody sees it.
    #[test]
    fn signals_are_not_seen() {
        extern "C" fn nothing(_: i32) {}
        let (reader, writer) = unistd::pipe().unwrap();
        let (ready, starts) = unistd::pipe().unwrap();
        let child = Child::spawn(|| {
            let action = SigAction::new(SigHandler::Handler(nothing), SaFlags::empty(), SigSet::empty());
            // SAFETY: the handler does nothing.
            let set = unsafe { sigaction(Signal::SIGUSR1, &action) };
            set.is_ok()
                && put(starts.as_fd(), b"r").is_ok()
                && matches!(get(reader.as_fd(), &mut [0; 2]), Ok(1))
        });
        assert_eq!(get(ready.as_fd(), &mut [0]).unwrap(), 1);
        for _ in 0..20 {
            child.signal(Signal::SIGUSR1);
            std::thread::sleep(Duration::from_micros(200)); // so that some find it asleep; any order is right
        }
        assert_eq!(put(writer.as_fd(), b"x").unwrap(), 1);
        assert!(child.succeeds());
    }
}
