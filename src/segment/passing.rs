//! A segment handed over through a UNIX socket.
//!
//! # Answers
//! "How does a process that shares no name with us get at our segment, and why may it believe what it gets?"
//!
//! One message of 24 bytes, little-endian, with the segment's descriptor attached to the first:
//! ```text
//! 0                8                          24
//! | magic, version | cookie of the segment     |
//! ```
//! Only memfds that nobody can shrink are passed, and both sides look at the seal: else either could make the other's
//! accesses fault. Huge pages are not passed, for the kernel lets anybody take them out of the object again. The
//! cookie tells the segment that was meant from another one; it is no secret.
//!
//! # Crashes
//! | dies                          | left                          | outcome                                           | held by |
//! |-------------------------------|-------------------------------|---------------------------------------------------|---------|
//! | sender, before the message    | a closed socket               | the receiver is told `Closed`                     | `tests passing::a_sender_dies_before_or_behind_*` |
//! | sender, after it              | a descriptor in the socket    | it is received; the sender's row is swept         | `tests passing::a_sender_dies_before_or_behind_*` |
//! | receiver, anywhere            | at most a row                 | the kernel closes the descriptor; the row is swept | `kill "segment receive_over"` |
//!
//! Tested in `tests/passing.rs`.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;

use super::startup::join_fd;
use super::{Attached, Options};
use crate::error::{Error, Result};
use crate::os::{huge, object, socket};

/// "OUTLFD", and the version of the message.
const MAGIC: u64 = u64::from_le_bytes(*b"OUTLFD\0\x01");
const SIZE: usize = 24;

/// Sends the segment's descriptor.
pub(super) fn send(attached: &Attached, over: BorrowedFd<'_>) -> Result<()> {
    attached.check()?;
    let kernel = attached.kernel().filter(|kernel| kernel.evidence.path().is_none());
    let Some(kernel) = kernel else {
        return Err(Error::Unsupported {
            what: "sending a segment that is no memfd: those with a name are opened by it",
        });
    };
    let Some(fd) = kernel.evidence.descriptor() else {
        return Err(Error::NotFound { name: "the segment: its descriptor was closed".to_owned() });
    };
    refuse_what_can_vanish(fd)?;
    let [first, second] = attached.header()?.cookie();
    let mut message = [0; SIZE];
    for (bytes, word) in message.chunks_exact_mut(8).zip([MAGIC, first, second]) {
        bytes.copy_from_slice(&word.to_le_bytes());
    }
    socket::send(over, &message, fd).map_err(|e| translate("sendmsg", e))
}

/// Attaches to the segment that comes.
pub(super) fn receive(options: &Options, over: BorrowedFd<'_>) -> Result<Arc<Attached>> {
    let foreign =
        |expected: &str, found: String| Err(Error::Foreign { expected: expected.to_owned(), found });
    let mut message = [0; SIZE];
    let (len, mut descriptors) = socket::receive(over, &mut message).map_err(|e| translate("recvmsg", e))?;
    if len == 0 {
        return Err(Error::Closed);
    }
    let mut words = message
        .chunks_exact(8)
        .map(|bytes| bytes.iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte)));
    let [magic, first, second] = [(); 3].map(|()| words.next().unwrap_or(0));
    if descriptors.len() > 1 {
        return foreign("one descriptor in the message", descriptors.len().to_string());
    }
    if len < SIZE {
        return foreign("a message of 24 bytes", format!("{len} bytes and the end"));
    }
    if magic != MAGIC {
        let (expected, found) = (MAGIC.to_le_bytes(), magic.to_le_bytes());
        return foreign(
            &format!("a message that begins with {}", expected.escape_ascii()),
            format!("one that begins with {}", found.escape_ascii()),
        );
    }
    let Some(fd) = descriptors.pop() else {
        return foreign("a descriptor in the message", "none".to_owned());
    };
    refuse_what_can_vanish(fd.as_fd())?;
    let attached = join_fd(&fd, options)?;
    let cookie = attached.header()?.cookie();
    if cookie != [first, second] {
        return foreign("the segment that the message names", "another one".to_owned());
    }
    Ok(attached)
}

/// What its peer can take away under an attachment is not passed.
fn refuse_what_can_vanish(fd: BorrowedFd<'_>) -> Result<()> {
    if !object::cannot_shrink(fd).map_err(|e| Error::os("fcntl(F_GET_SEALS)", e))? {
        let what = "to pass an object that is no memfd sealed with F_SEAL_SHRINK: it could be truncated";
        return Err(Error::Denied { what: what.to_owned() });
    }
    if huge::page_size(fd).map_err(|e| Error::os("fstatfs", e))?.is_some() {
        let what = "to pass huge pages: the kernel lets either side take them away";
        return Err(Error::Denied { what: what.to_owned() });
    }
    Ok(())
}

fn translate(call: &'static str, error: io::Error) -> Error {
    match error.kind() {
        io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset => Error::Closed,
        _ => Error::os(call, error),
    }
}
