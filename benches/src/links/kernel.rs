//! What the kernel offers: pipe, UNIX stream socket, UNIX sequenced packets. Each read and write is a system call,
//! and sleeps where there is nothing to do.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;

use nix::fcntl::OFlag;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socketpair};
use nix::unistd::pipe2;

use crate::Result;
use crate::byte_loops::{RecordRx, RecordTx};
use crate::harness::Mode;
use crate::loops::Link;

/// The two ends of one of them, with what it is given by default.
pub(crate) struct Kernel {
    reading: OwnedFd,
    writing: OwnedFd,
}

impl Kernel {
    pub(crate) fn pipe() -> Result<Self> {
        let (reading, writing) = pipe2(OFlag::O_CLOEXEC)?;
        Ok(Self { reading, writing })
    }

    fn sockets(kind: SockType) -> Result<Self> {
        let (reading, writing) = socketpair(AddressFamily::Unix, kind, None, SockFlag::SOCK_CLOEXEC)?;
        Ok(Self { reading, writing })
    }

    pub(crate) fn stream_socket() -> Result<Self> {
        Self::sockets(SockType::Stream)
    }

    pub(crate) fn sequenced_packets() -> Result<Self> {
        Self::sockets(SockType::SeqPacket)
    }
}

/// An end in the hands of a side.
fn end(fd: &OwnedFd) -> File {
    fd.try_clone().expect("a descriptor is free").into()
}

impl Link<[u8]> for Kernel {
    type Tx = File;
    type Rx = File;
    const MODE: Mode = Mode::Processes;

    fn tx(&self, channel: usize) -> File {
        assert_eq!(channel, 0, "one way only");
        end(&self.writing)
    }

    fn rx(&self, channel: usize) -> File {
        assert_eq!(channel, 0, "one way only");
        end(&self.reading)
    }
}

impl RecordTx for File {
    #[inline]
    fn try_send(&mut self, record: &[u8]) -> bool {
        let sent = self.write(record).expect("the receiver lives");
        assert_eq!(sent, record.len(), "a packet goes whole");
        true
    }
}

impl RecordRx for File {
    #[inline]
    fn try_recv(&mut self, into: &mut [u8]) -> Option<usize> {
        Some(self.read(into).expect("the sender lives"))
    }
}
