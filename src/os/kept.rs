//! Descriptors that are kept for long in a process that may close them behind our back.
//!
//! `closefrom`, or a daemon that tidies up, closes every number it finds, and the next `open` reuses them. So a number
//! kept for long may mean another file by now: to read from it would be to believe a stranger, to close it to rob one.
//! Before each use its identity is compared.
//!
//! # Invariants
//! * **I1**: the number that a `Kept` was made with was an owned descriptor, given away by whoever owned it.
//!
//! Two things cannot be seen: that the application itself has opened the very same object under the very same number,
//! and that it does so between our look and our use.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};
use std::sync::{Mutex, PoisonError};

use super::object::{self, Status};
use super::per_process::PerProcess;
use super::wipe;

/// Which `Kept` of this process has a number last: an older one with the same number has lost it.
type Book = Mutex<BTreeMap<RawFd, u64>>;

/// A descriptor, unless somebody has closed it. Closed when dropped, if it is still ours.
#[derive(Debug)]
pub(crate) struct Kept {
    number: RawFd,
    device: u64,
    inode: u64,
    /// The process that keeps it; a forked child has its own copy of the descriptor, and no entry in its book.
    epoch: u64,
    id: u64,
}

impl Kept {
    /// Keeps a descriptor of the object that `status` was just told of.
    pub(crate) fn new(fd: OwnedFd, status: &Status) -> Self {
        let epoch = wipe::epoch().unwrap_or(0);
        let mut book = book().lock().unwrap_or_else(PoisonError::into_inner);
        let id = book.values().max().map_or(1, |latest| latest + 1);
        let number = fd.into_raw_fd();
        book.insert(number, id);
        Self { number, device: status.dev, inode: status.ino, epoch, id }
    }

    /// The descriptor, if it is still ours.
    pub(crate) fn get(&self) -> Option<BorrowedFd<'_>> {
        if self.epoch == wipe::epoch().unwrap_or(0) {
            let book = book().lock().unwrap_or_else(PoisonError::into_inner);
            if book.get(&self.number) != Some(&self.id) {
                return None;
            }
        }
        // SAFETY: I1 - ours unless it was closed; what else it may be by then is only asked for its identity.
        let fd = unsafe { BorrowedFd::borrow_raw(self.number) };
        object::status(fd).is_ok_and(|found| self.is_of(&found)).then_some(fd)
    }

    /// Whether that is the object it refers to.
    pub(crate) fn is_of(&self, status: &Status) -> bool {
        (status.dev, status.ino) == (self.device, self.inode)
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        let ours = self.get().is_some();
        if self.epoch == wipe::epoch().unwrap_or(0) {
            let mut book = book().lock().unwrap_or_else(PoisonError::into_inner);
            if book.get(&self.number) == Some(&self.id) {
                book.remove(&self.number);
            }
        }
        if ours {
            // SAFETY: I1 - it was given to us, and it still refers to what it did then.
            drop(unsafe { OwnedFd::from_raw_fd(self.number) });
        }
    }
}

fn book() -> &'static Book {
    static BOOK: PerProcess<&'static Book> = PerProcess::new();
    BOOK.get(|| Box::leak(Box::default()))
}

/// Keeps a descriptor, whatever it refers to.
///
/// # Errors
///
/// What `fstat` says.
pub(crate) fn keep(fd: OwnedFd) -> io::Result<Kept> {
    let status = object::status(fd.as_fd())?;
    Ok(Kept::new(fd, &status))
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsRawFd;

    use super::*;
    use crate::os::testing::Child;

    fn a_file() -> OwnedFd {
        object::memfd("outlive-test-kept").unwrap()
    }

    /// In a child: numbers are the process's, and other tests run beside.
    fn alone(work: impl FnOnce() -> bool) {
        assert!(Child::spawn(work).succeeds());
    }

    fn close(number: RawFd) {
        nix::unistd::close(number).unwrap();
    }

    #[test]
    fn it_is_closed_when_dropped() {
        alone(|| {
            let fd = a_file();
            let number = fd.as_raw_fd();
            let kept = keep(fd).unwrap();
            let there = kept.get().is_some_and(|fd| fd.as_raw_fd() == number);
            drop(kept);
            there && a_file().as_raw_fd() == number
        });
    }

    #[test]
    fn a_stranger_under_its_number_is_neither_used_nor_closed() {
        alone(|| {
            let kept = keep(a_file()).unwrap();
            close(kept.number);
            let nobody = kept.get().is_none();
            let stranger = a_file();
            let same = stranger.as_raw_fd() == kept.number;
            let refused = kept.get().is_none();
            drop(kept);
            nobody && same && refused && object::status(stranger.as_fd()).is_ok()
        });
    }

    #[test]
    fn of_two_that_had_one_number_the_later_has_it() {
        alone(|| {
            let object = a_file();
            let again = || object::reopen(object.as_fd(), false).unwrap();
            let first = keep(again()).unwrap();
            close(first.number);
            let second = keep(again()).unwrap();
            let same = first.number == second.number && first.get().is_none();
            drop(first);
            same && second.get().is_some()
        });
    }

    #[test]
    fn a_child_closes_its_own_copy() {
        let kept = keep(a_file()).unwrap();
        alone(|| {
            let number = kept.number;
            let there = kept.get().is_some();
            // SAFETY: a bitwise copy in another process; the parent's is dropped in the parent.
            drop(unsafe { std::ptr::read(&raw const kept) });
            // SAFETY: only asked whether it is there.
            let gone = object::status(unsafe { BorrowedFd::borrow_raw(number) }).is_err();
            there && gone
        });
        assert!(kept.get().is_some());
    }
}
