//! Descriptors of all kinds, from which the kernel fills the ring and to which it drains it.

use core::time::Duration;
use std::fs::File;
use std::io::{ErrorKind, Read, Seek, SeekFrom, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::thread;

use super::{drain, elsewhere, ends, pattern, ring, trusted_ring};
use crate::error::{RecvError, SendError};
use crate::ring::stream::Ring;
use crate::{Error, Trust, os};

/// A file without a name, with these bytes, to be read from the beginning.
fn file(bytes: &[u8]) -> File {
    let mut file = File::from(os::object::memfd("outlive-test-stream").unwrap());
    file.write_all(bytes).unwrap();
    file.seek(SeekFrom::Start(0)).unwrap();
    file
}

fn pipe() -> (OwnedFd, OwnedFd) {
    nix::unistd::pipe2(nix::fcntl::OFlag::O_CLOEXEC | nix::fcntl::OFlag::O_NONBLOCK).unwrap()
}

#[test]
fn a_file_goes_through_and_ends() {
    fn through<M: Trust>(ring: &Ring<M>) {
        let (mut writer, mut reader) = ends(ring);
        let bytes = pattern(7, 100_003);
        let (from, mut to) = (file(&bytes), file(b""));
        let mut filled = 0;
        // begins in the middle, so that the end of the ring is met
        assert_eq!(writer.try_write(b"skew"), Ok(4));
        assert_eq!(reader.try_read(&mut [0; 4]), Ok(4));
        let filling = thread::spawn(move || {
            loop {
                match writer.fill_from(&from).unwrap() {
                    0 => return (writer.position(), filled),
                    n => filled += n,
                }
            }
        });
        let mut drained = 0;
        loop {
            match reader.drain_to(&to).unwrap() {
                0 => break,
                n => drained += n,
            }
        }
        assert_eq!(filling.join().unwrap(), (bytes.len() as u64 + 4, bytes.len()));
        assert_eq!((drained, reader.position()), (bytes.len(), bytes.len() as u64 + 4));
        let mut copied = Vec::new();
        to.seek(SeekFrom::Start(0)).unwrap();
        to.read_to_end(&mut copied).unwrap();
        assert_eq!(copied, bytes);
    }
    for capacity in [1 << 12, 1 << 16] {
        through(&ring(capacity).1);
        through(&trusted_ring(capacity).1);
    }
}

#[test]
fn what_is_there_comes_at_once_and_nothing_else_is_touched() {
    let (_segment, ring) = ring(8);
    let (mut writer, mut reader) = ends(&ring);
    let (here, mut there) = UnixStream::pair().unwrap();
    there.write_all(b"abc").unwrap();
    assert_eq!(writer.fill_from(&here).unwrap(), 3);
    there.write_all(b"defghijkl").unwrap();
    assert_eq!(writer.fill_from(here.as_fd()).unwrap(), 5, "to the end of the ring");
    writer.set_timeout(Some(Duration::ZERO));
    let full = writer.fill_from(&here).unwrap_err();
    assert_eq!((full.kind(), full.raw_os_error()), (ErrorKind::WouldBlock, None));
    assert_eq!(reader.drain_to(&here).unwrap(), 8);
    let mut back = [0; 8];
    there.read_exact(&mut back).unwrap();
    assert_eq!(&back, b"abcdefgh");
    assert_eq!(writer.fill_from(&here).unwrap(), 4, "what was left in the socket");
    assert_eq!(drain(&mut reader), b"ijkl");
    drop(there);
    assert_eq!(writer.fill_from(&here).unwrap(), 0);
    assert_eq!((writer.position(), reader.position()), (12, 12));
}

#[test]
fn a_descriptor_that_has_nothing_or_no_room_changes_nothing() {
    let (_segment, ring) = ring(1 << 17);
    let (mut writer, mut reader) = ends(&ring);
    let (from, to) = pipe();
    let nothing = writer.fill_from(&from).unwrap_err();
    assert_eq!((nothing.kind(), nothing.raw_os_error()), (ErrorKind::WouldBlock, Some(libc::EAGAIN)));
    assert_eq!(writer.position(), 0);
    assert_eq!(reader.try_read(&mut [0]), Err(RecvError::Empty));

    // a pipe takes a part, and then nothing
    let bytes = pattern(3, 1 << 17);
    assert_eq!(writer.try_write(&bytes), Ok(bytes.len()));
    let mut drained = 0;
    let full = loop {
        match reader.drain_to(&to) {
            Ok(n) => drained += n,
            Err(error) => break error,
        }
    };
    assert_eq!((full.kind(), full.raw_os_error()), (ErrorKind::WouldBlock, Some(libc::EAGAIN)));
    assert!(drained > 0 && reader.position() == drained as u64);
    let mut taken = vec![0; drained];
    File::from(from).read_exact(&mut taken).unwrap();
    assert_eq!(taken, bytes[..drained]);
    assert_eq!(drain(&mut reader), bytes[drained..]);
}

/// A pipe of one page takes a page of what it is offered: exactly that is consumed.
#[test]
fn what_was_taken_is_consumed_and_no_more() {
    let (_segment, ring) = ring(1 << 16);
    let (mut writer, mut reader) = ends(&ring);
    let (from, to) = pipe();
    let page = nix::fcntl::fcntl(&to, nix::fcntl::FcntlArg::F_SETPIPE_SZ(4096)).unwrap();
    let page = usize::try_from(page).unwrap();
    let mut from = File::from(from);
    let (mut written, mut arrived) = (0, 0);
    for _ in 0..40 {
        written += writer.try_write(&pattern(written, 1 << 16)).unwrap_or(0) as u64;
        let offered = reader.try_peek(1 << 14).unwrap().len();
        let taken = reader.drain_to(&to).unwrap();
        assert_eq!(taken, page.min(offered));
        let mut some = vec![0; taken];
        from.read_exact(&mut some).unwrap();
        assert_eq!(some, pattern(arrived, taken));
        arrived += taken as u64;
        assert_eq!(reader.position(), arrived);
    }
    assert!(arrived > 1 << 16, "{arrived}");
}

#[test]
fn bad_descriptors_are_told_and_change_nothing() {
    let (_segment, ring) = ring(64);
    let (mut writer, mut reader) = ends(&ring);
    assert_eq!(writer.try_write(b"abc"), Ok(3));
    let (from, to) = pipe();
    let code = |error: std::io::Error| error.raw_os_error();
    assert_eq!(code(writer.fill_from(&to).unwrap_err()), Some(libc::EBADF), "cannot be read");
    assert_eq!(code(reader.drain_to(&from).unwrap_err()), Some(libc::EBADF), "cannot be written");
    assert_eq!(code(writer.fill_from(File::open("/").unwrap()).unwrap_err()), Some(libc::EISDIR));
    drop(from);
    let broken = reader.drain_to(&to).unwrap_err();
    assert_eq!((broken.kind(), broken.raw_os_error()), (ErrorKind::BrokenPipe, Some(libc::EPIPE)));
    let full = File::options().write(true).open("/dev/full").unwrap();
    assert_eq!(code(reader.drain_to(&full).unwrap_err()), Some(libc::ENOSPC));
    assert_eq!((writer.position(), reader.position()), (3, 0));
    assert_eq!(drain(&mut reader), b"abc");
}

#[test]
fn ends_that_are_gone_are_told_here_too() {
    let (segment, ring) = ring(4);
    let (other, theirs) = elsewhere(&segment);
    let (mut writer, mut reader) = (theirs.try_writer().unwrap(), ring.try_reader().unwrap());
    let zeros = File::open("/dev/zero").unwrap();
    let nowhere = File::options().write(true).open("/dev/null").unwrap();
    assert_eq!(writer.fill_from(&zeros).unwrap(), 4);
    crate::testing::kill(&other).unwrap();
    assert_eq!(reader.drain_to(&nowhere).unwrap(), 4);
    let broken = reader.drain_to(&nowhere).unwrap_err();
    assert_eq!((broken.kind(), broken.raw_os_error()), (ErrorKind::BrokenPipe, None));
    assert!(
        matches!(broken.get_ref().unwrap().downcast_ref(), Some(Error::PeerDied { owner }) if *owner == other.owner())
    );
    let mut writer = ring.try_writer().unwrap();
    reader.close();
    let broken = writer.fill_from(&zeros).unwrap_err();
    assert_eq!((broken.kind(), broken.raw_os_error()), (ErrorKind::BrokenPipe, None));
    assert_eq!(writer.try_write(b"a"), Err(SendError::Closed(())));
}
