//! Descriptors through a UNIX socket.
//!
//! A descriptor travels with the first byte of a message, as ancillary data. `nix` has wrappers; but where the kernel cuts
//! ancillary data off, for want of descriptors say, they refuse to look at what did arrive, and so lose it open.
//!
//! # Invariants
//! * **I1**: pointers handed to `sendmsg` and `recvmsg` are to live locals and slices, with their sizes.
//! * **I2**: the control buffer is aligned to its headers and zeroed, and `CMSG_FIRSTHDR` and `CMSG_NXTHDR` walk through what
//!   lies in it.
//! * **I3**: a descriptor that `recvmsg` has put there is nobody else's.

use std::io;
use std::mem;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::ptr;

use nix::errno::Errno;

/// Room for 253 descriptors, which is all that a message carries, and for what else a socket may be set up to tell.
type Control = [u64; 256];

/// `SCM_PIDFD`, to sockets that ask for it: a descriptor, too.
const PIDFD: libc::c_int = 4;

/// Sends all of `bytes`, and `fd` with the first of them. No signal if the peer is gone.
///
/// # Errors
///
/// `BrokenPipe` if the peer is gone; `WouldBlock` where the socket does not wait, or no longer; otherwise what `sendmsg`
/// says. Part of the bytes may have been sent.
pub(crate) fn send(socket: BorrowedFd<'_>, bytes: &[u8], fd: BorrowedFd<'_>) -> io::Result<()> {
    let mut control: Control = [0; 256];
    let mut sent = 0;
    while sent < bytes.len() {
        let rest = &bytes[sent..];
        // It is only read from.
        let mut piece = libc::iovec { iov_base: rest.as_ptr().cast_mut().cast(), iov_len: rest.len() };
        let mut message = message(&mut piece);
        if sent == 0 {
            attach(&mut message, &mut control, fd);
        }
        // SAFETY: I1, and a control buffer that is empty or was just filled.
        let n = unsafe { libc::sendmsg(socket.as_raw_fd(), &raw const message, libc::MSG_NOSIGNAL) };
        match usize::try_from(n) {
            Ok(n) => sent += n,
            Err(_) if Errno::last() == Errno::EINTR => {}
            Err(_) => return Err(io::Error::last_os_error()),
        }
    }
    Ok(())
}

const NOT_TAKEN: &str = "the descriptor that came could not be taken: are too many open (RLIMIT_NOFILE)?";

/// Fills `bytes`, and no byte more is taken from the socket. How many there were before the end of the stream, and the
/// descriptors that came with them, closed on `exec`; it stops early when these are more than one.
///
/// # Errors
///
/// `WouldBlock` where the socket does not wait, or no longer; `Other` if a descriptor came that this process could not take,
/// mostly because too many are open: the kernel has closed it; otherwise what `recvmsg` says. What came before is lost.
pub(crate) fn receive(socket: BorrowedFd<'_>, bytes: &mut [u8]) -> io::Result<(usize, Vec<OwnedFd>)> {
    let (mut received, mut descriptors) = (0, Vec::new());
    while received < bytes.len() && descriptors.len() <= 1 {
        let rest = &mut bytes[received..];
        let mut piece = libc::iovec { iov_base: rest.as_mut_ptr().cast(), iov_len: rest.len() };
        let mut control: Control = [0; 256];
        let mut message = message(&mut piece);
        message.msg_control = control.as_mut_ptr().cast();
        message.msg_controllen = size_of::<Control>() as _;
        // SAFETY: I1.
        let n = unsafe { libc::recvmsg(socket.as_raw_fd(), &raw mut message, libc::MSG_CMSG_CLOEXEC) };
        match usize::try_from(n) {
            Ok(n) => {
                detach(&message, &mut descriptors);
                // The buffer has room for one: what was cut off never got a number.
                if descriptors.is_empty() && message.msg_flags & libc::MSG_CTRUNC != 0 {
                    return Err(io::Error::other(NOT_TAKEN));
                }
                if n == 0 {
                    break;
                }
                received += n;
            }
            Err(_) if Errno::last() == Errno::EINTR => {}
            Err(_) => return Err(io::Error::last_os_error()),
        }
    }
    Ok((received, descriptors))
}

/// One piece, no address, nothing attached.
fn message(piece: &mut libc::iovec) -> libc::msghdr {
    // SAFETY: integers and pointers, for which all zeroes is a value.
    let mut message: libc::msghdr = unsafe { mem::zeroed() };
    message.msg_iov = piece;
    message.msg_iovlen = 1;
    message
}

/// Attaches a descriptor.
fn attach(message: &mut libc::msghdr, control: &mut Control, fd: BorrowedFd<'_>) {
    const SIZE: libc::c_uint = 4;
    static_assertions::assert_eq_size!(RawFd, [u8; SIZE as usize]);
    message.msg_control = control.as_mut_ptr().cast();
    // SAFETY: a number from a number.
    message.msg_controllen = unsafe { libc::CMSG_SPACE(SIZE) } as _;
    // SAFETY: I2 - the buffer has room for one header.
    let header = unsafe { libc::CMSG_FIRSTHDR(message) };
    // SAFETY: a number from a number.
    let len = unsafe { libc::CMSG_LEN(SIZE) };
    // SAFETY: I2 - the first header lies in the buffer.
    let told = unsafe { &mut *header };
    (told.cmsg_level, told.cmsg_type, told.cmsg_len) = (libc::SOL_SOCKET, libc::SCM_RIGHTS, len as _);
    // SAFETY: I2 - behind the header, where `CMSG_SPACE` has made room.
    let data = unsafe { libc::CMSG_DATA(header) };
    // SAFETY: I2 - as above; no alignment is assumed.
    unsafe { data.cast::<RawFd>().write_unaligned(fd.as_raw_fd()) };
}

/// Takes over every descriptor that came, so that none stays open unknown.
#[expect(clippy::cast_ptr_alignment, reason = "read unaligned")]
#[allow(clippy::unnecessary_cast, reason = "the widths of these fields depend on the C library")]
fn detach(message: &libc::msghdr, into: &mut Vec<OwnedFd>) {
    // SAFETY: I2 - what the kernel has written.
    let mut header = unsafe { libc::CMSG_FIRSTHDR(message) };
    // SAFETY: I2 - null, or a header in the buffer.
    while let Some(told) = unsafe { header.as_ref() } {
        if told.cmsg_level == libc::SOL_SOCKET && matches!(told.cmsg_type, libc::SCM_RIGHTS | PIDFD) {
            // SAFETY: a number from a number.
            let empty = unsafe { libc::CMSG_LEN(0) } as usize;
            let count = (told.cmsg_len as usize).saturating_sub(empty) / size_of::<RawFd>();
            // SAFETY: I2 - behind the header.
            let data = unsafe { libc::CMSG_DATA(header) }.cast::<RawFd>();
            for i in 0..count {
                // SAFETY: I2 - so many lie there, by the header's length.
                let place = unsafe { data.add(i) };
                // SAFETY: I2 - as above; no alignment is assumed.
                let number = unsafe { ptr::read_unaligned(place) };
                if number < 0 {
                    continue;
                }
                // SAFETY: I3.
                let descriptor = unsafe { OwnedFd::from_raw_fd(number) };
                if told.cmsg_type == libc::SCM_RIGHTS {
                    into.push(descriptor);
                }
            }
        }
        // SAFETY: I2 - `header` lies in the buffer.
        header = unsafe { libc::CMSG_NXTHDR(message, header) };
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::fd::AsFd;
    use std::os::unix::net::UnixStream;

    use nix::sys::resource::{Resource, setrlimit};

    use super::*;
    use crate::os::object;
    use crate::os::testing::Child;

    #[test]
    fn bytes_and_a_descriptor_come_together_and_no_byte_more() {
        let (mut one, two) = UnixStream::pair().unwrap();
        let memfd = object::memfd("outlive-test-socket").unwrap();
        send(one.as_fd(), b"hello", memfd.as_fd()).unwrap();
        one.write_all(b"more").unwrap();
        let mut bytes = [0; 5];
        let (n, descriptors) = receive(two.as_fd(), &mut bytes).unwrap();
        assert_eq!((n, &bytes, descriptors.len()), (5, b"hello", 1));
        let same = object::status(descriptors[0].as_fd()).unwrap();
        assert_eq!(same, object::status(memfd.as_fd()).unwrap());
        let mut rest = [0; 4];
        assert_eq!(receive(two.as_fd(), &mut rest).unwrap().0, 4);
        assert_eq!(&rest, b"more");
    }

    #[test]
    fn pieces_are_put_together_until_the_end() {
        let (mut one, two) = UnixStream::pair().unwrap();
        let memfd = object::memfd("outlive-test-socket").unwrap();
        one.write_all(b"a").unwrap();
        send(one.as_fd(), b"b", memfd.as_fd()).unwrap();
        one.write_all(b"c").unwrap();
        drop(one);
        let mut bytes = [0; 5];
        let (n, descriptors) = receive(two.as_fd(), &mut bytes).unwrap();
        assert_eq!((n, &bytes[..3], descriptors.len()), (3, &b"abc"[..], 1));
        assert_eq!(receive(two.as_fd(), &mut bytes).unwrap().0, 0);
    }

    #[test]
    fn a_descriptor_that_gets_no_number_is_an_error() {
        let (one, two) = UnixStream::pair().unwrap();
        let memfd = object::memfd("outlive-test-socket").unwrap();
        send(one.as_fd(), b"hello", memfd.as_fd()).unwrap();
        let child = Child::spawn(|| {
            setrlimit(Resource::RLIMIT_NOFILE, 0, 0).unwrap();
            receive(two.as_fd(), &mut [0; 5]).is_err_and(|error| error.kind() == io::ErrorKind::Other)
        });
        assert!(child.succeeds());
    }

    #[test]
    fn a_peer_that_is_gone_is_an_error() {
        let (one, two) = UnixStream::pair().unwrap();
        drop(two);
        let memfd = object::memfd("outlive-test-socket").unwrap();
        let error = send(one.as_fd(), b"hello", memfd.as_fd()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
    }

    #[test]
    fn a_socket_that_does_not_wait_says_so() {
        let (one, two) = UnixStream::pair().unwrap();
        two.set_nonblocking(true).unwrap();
        let error = receive(two.as_fd(), &mut [0; 5]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
        drop(one);
    }
}
