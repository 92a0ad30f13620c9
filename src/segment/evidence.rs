//! What the kernel knows about who is alive: pidfds and byte locks. Never a timeout, never a heartbeat.
//!
//! * Same pid namespace: a **pidfd** is readable when every thread of the process has left user code for good. The
//!   process is identified by the pidfd's inode, or by its start time, so that a reused pid is a stranger.
//! * Any namespace: an **OFD byte lock** on the segment's own file, held by a mapping that `fork` does not copy
//!   (the anchor). Byte free: that address space is gone, be it by death or by `exec`.
//!
//! Neither lies when descriptors are closed behind our back: the anchor needs none, and whatever is kept is compared
//! with what it was before it is believed, or closed ([`Kept`]).

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use super::Owner;
use crate::error::{Error, Result};
use crate::os::kept::{self, Kept};
use crate::os::map::Anchor;
use crate::os::process::{self, Identity};
use crate::os::{object, ofd_lock};

/// Lock bytes lie far behind any content, so that nobody's own record locks meet them.
const BYTES: u64 = 1 << 62;
/// "A System V segment starts up, or goes": see `sysv`.
const START: u64 = BYTES;
/// "The name is being taken away."
const NAME: u64 = BYTES + 1;
/// "The address space of row i exists."
const ROW: u64 = BYTES + 1024;
/// "Somebody is looking", for reading: whoever wants the segment for itself sees it; nobody waits for it.
const WATCH: u64 = BYTES + 2;
/// "Row i is being swept."
const SWEEP: u64 = BYTES + 2048;

/// Cached pidfds; an uncached look costs 3 us, a descriptor is worth more than that to most programs.
const CACHED: usize = 32;

/// How this attachment asks the kernel.
#[derive(Debug)]
pub(super) struct Evidence {
    /// A description of its own: a description does not conflict with itself, so it holds no row byte.
    questions: Kept,
    /// The segment's name, if it has one.
    path: Option<PathBuf>,
    me: Identity,
    /// Fresh descriptions are for looking only.
    read_only: bool,
    /// The identities in the rows are of another boot, or the boot id is made up: only bytes are evidence.
    bytes_only: bool,
    pidfds: Mutex<Vec<(Owner, Kept)>>,
}

impl Evidence {
    pub(super) fn new(
        questions: OwnedFd,
        status: &object::Status,
        path: Option<PathBuf>,
        me: Identity,
    ) -> Self {
        let (questions, pidfds) = (Kept::new(questions, status), Mutex::default());
        Self { questions, path, me, read_only: false, bytes_only: false, pidfds }
    }

    /// For an attachment that only looks, and hence corrects nothing: neither rows after a reboot nor the boot id.
    pub(super) fn of_an_observer(self, same_boot: bool) -> Self {
        Self { read_only: true, bytes_only: !same_boot, ..self }
    }

    /// The kept descriptor, if it still means the segment.
    pub(super) fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        self.questions.get()
    }

    pub(super) fn path(&self) -> Option<&Path> {
        self.path.as_deref()
    }

    pub(super) fn is_this(&self, status: &object::Status) -> bool {
        self.questions.is_of(status)
    }

    /// A fresh description of the segment: by its name, if that still is it, or else from the kept one.
    pub(super) fn fresh(&self) -> Result<OwnedFd> {
        let named = self.path().and_then(|path| object::open_and_look(path, self.read_only).ok());
        if let Some((named, found)) = named {
            if self.is_this(&found) {
                return Ok(named);
            }
        }
        let Some(kept) = self.descriptor() else {
            return Err(Error::NotFound {
                name: "the segment: its descriptor was closed, its name is gone".to_owned(),
            });
        };
        object::reopen(kept, self.read_only).map_err(|e| Error::os("open(/proc/self/fd)", e))
    }

    /// Whether the kernel says that the process which introduced itself as `them` in `row` is gone.
    pub(super) fn is_gone(&self, owner: Owner, them: &Identity) -> bool {
        let same_namespace = !self.bytes_only && self.me.pid_ns != 0 && self.me.pid_ns == them.pid_ns;
        if same_namespace && self.pidfd_says_gone(owner, them) {
            return true;
        }
        let is_free =
            |fd: BorrowedFd<'_>| matches!(ofd_lock::is_free(fd, ROW + u64::from(owner.row()), 1), Ok(true));
        match self.descriptor() {
            Some(kept) => is_free(kept) && self.descriptor().is_some(),
            None => self.fresh().is_ok_and(|fresh| is_free(fresh.as_fd())),
        }
    }

    fn pidfd_says_gone(&self, owner: Owner, them: &Identity) -> bool {
        let mut cache = self.pidfds.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(place) = cache.iter().position(|(cached, _)| *cached == owner) {
            let entry = cache.remove(place);
            if entry.1.get().is_some_and(|pidfd| matches!(process::is_over(pidfd), Ok(false))) {
                cache.push(entry); // most recently used last
                return false;
            }
            // It is over, or the number is a stranger's by now: only a fresh look is believed.
        }
        match process::look(them) {
            process::Evidence::Dead => true,
            process::Evidence::Unknown => false,
            process::Evidence::Alive(pidfd) => {
                if cache.len() >= CACHED {
                    cache.remove(0);
                }
                if let Ok(pidfd) = kept::keep(pidfd) {
                    cache.push((owner, pidfd));
                }
                false
            }
        }
    }

    /// The right to sweep some of `rows`, and which; until the anchor is dropped, or our death.
    ///
    /// On a description of its own, kept by an anchor: a forked child that outlives us must not keep the bytes.
    pub(super) fn take_sweep(&self, rows: &[u32]) -> Result<(Vec<u32>, Option<Anchor>)> {
        let fresh = self.fresh()?;
        let mut taken = Vec::new();
        for &row in rows {
            let byte = SWEEP + u64::from(row);
            if ofd_lock::try_write(fresh.as_fd(), byte, 1).map_err(|e| Error::os("fcntl(F_OFD_SETLK)", e))? {
                taken.push(row);
            }
        }
        let anchor = Anchor::hold(fresh).map_err(|e| Error::os("mmap", e))?;
        Ok((taken, Some(anchor)))
    }
}

/// Takes the byte of `row` through `description`, which nothing else may use: the anchor will keep it.
pub(super) fn try_take_row(description: BorrowedFd<'_>, row: u32) -> std::io::Result<bool> {
    ofd_lock::try_write(description, ROW + u64::from(row), 1)
}

/// Takes a share of the byte of those who look, through `description`. `false`: somebody wants to be alone.
pub(super) fn try_watch(description: BorrowedFd<'_>) -> std::io::Result<bool> {
    ofd_lock::try_read(description, WATCH, 1)
}

/// Gives the byte of `row` back.
pub(super) fn give_row_back(description: BorrowedFd<'_>, row: u32) -> std::io::Result<()> {
    ofd_lock::unlock(description, ROW + u64::from(row), 1)
}

/// The right to take the segment's name away, until `description` is closed.
pub(super) fn try_take_name(description: BorrowedFd<'_>) -> bool {
    matches!(ofd_lock::try_write(description, NAME, 1), Ok(true))
}

/// The right to make, to judge and to remove a System V segment, until it is given back or `description` is closed.
pub(super) fn try_take_start(description: BorrowedFd<'_>) -> std::io::Result<bool> {
    ofd_lock::try_write(description, START, 1)
}

/// Whether nobody has that right.
pub(super) fn start_is_free(description: BorrowedFd<'_>) -> bool {
    matches!(ofd_lock::is_free(description, START, 1), Ok(true))
}

/// Gives that right back: a child that was forked meanwhile has the description, too.
pub(super) fn give_start_back(description: BorrowedFd<'_>) {
    let _ = ofd_lock::unlock(description, START, 1);
}

/// Gives the bytes of all rows back.
pub(super) fn give_all_rows_back(description: BorrowedFd<'_>, rows: u32) {
    // Closing does it as well, unless a forked child has the description.
    let _ = ofd_lock::unlock(description, ROW, u64::from(rows) + 1);
}

/// Takes the bytes of all rows at once: nobody is attached, and nobody can attach, until `description` is closed.
pub(super) fn try_take_all_rows(description: BorrowedFd<'_>, rows: u32) -> std::io::Result<bool> {
    ofd_lock::try_write(description, ROW, u64::from(rows) + 1)
}
