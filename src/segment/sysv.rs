//! Segments in System V shared memory: how they come to be, are found, and go.
//!
//! Such a segment is visible from its first moment, empty, and has no inode. So everybody, creator or opener, first takes
//! the START byte of its [lock file](sidecar), and only then looks at it: whoever looks sees no creator at work. What is
//! not complete then was left by a killed one.
//!
//! ```text
//!  creator   lock file, START taken -> named | shmget | id noted | group | header ... magic | row | START back
//!  opener    lock file, START taken | shmget | magic? cookie of the lock file? | START back | row
//!  last one  all rows, START taken | gone | shmctl(IPC_RMID) | unlink
//! ```
//!
//! # Crashes
//! | dies                                         | left                                  | the next one                                          | held by |
//! |----------------------------------------------|---------------------------------------|-------------------------------------------------------|---------|
//! | before the lock file has its name            | an unnamed file                       | the kernel frees it                                   | `tests sysv::crashes::a_creator_killed_*` |
//! | before shmget                                | a lock file of no segment             | replaces it                                           | `tests sysv::crashes::a_creator_killed_*` |
//! |                                              |                                       |                                                       | `tests sysv::crashes::who_replaces_*` |
//! | before the id is noted                       | and an empty segment                  | knows it by maker and size, removes both              | `tests sysv::crashes::a_creator_killed_*` |
//! | before the magic                             | and half a segment                    | knows it by its id, removes both                      | `tests sysv::crashes::a_creator_killed_*` |
//! | before the row, or attached                  | a segment, perhaps a dead row         | opens it; the row is swept                            | `tests sysv::crashes::a_creator_killed_*` |
//! |                                              |                                       |                                                       | `tests sysv::crashes::an_opener_killed_*` |
//! | last detach, before `IPC_RMID`               | `gone`                                | completes the removal                                 | `tests sysv::crashes::the_last_one_*` |
//! | last detach or unlink, before the unlinking  | a lock file of no segment             | replaces it; `unlink` removes it                      | `tests sysv::crashes::the_last_one_*` |
//! |                                              |                                       |                                                       | `tests sysv::crashes::who_removes_*` |
//! | an opener or unlinker, anywhere before that  | nothing                               |                                                       | `tests sysv::crashes::an_opener_killed_*` |
//! |                                              |                                       |                                                       | `tests sysv::crashes::who_removes_*` |
//! | adopter, before the header's cookie          | a lock file that does not fit         | adopts                                                | `tests sysv::crashes::an_adopter_*` |
//!
//! # Where the lock file is not the segment's
//! Somebody removed it, or the segment's processes see another `/dev/shm` (containers that share the ipc namespace only):
//! then byte locks say nothing about them. If the kernel counts nobody attached, the segment is *adopted*: it gets a new
//! cookie and a new lock file, so that no old one fits any more. Otherwise it is refused.
//!
//! # Limits
//! A process killed in the middle of starting up, while a child that another thread had just forked lives on without
//! `exec`, leaves START to that child. Others then wait ten seconds and say so, as they do if the process is stopped. (Who
//! detaches from a temporary segment last then leaves it to the next one.)
//!
//! A creator killed before the id is noted is known by its pid, which processes of other pid namespaces cannot compare: to
//! them that empty segment is a stranger's, until one of its own namespace comes by.
//!
//! Tested in `tests/sysv.rs`: each row of the table by killing at every system call.

use core::time::Duration;
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::sync::Arc;

use super::address::Sysv;
use super::evidence;
use super::header::Plan;
use super::startup::{join_region, make_present, plan, translate};
use super::{Address, Attached, Options, observer};
use crate::error::{Error, Result};
use crate::os::object::Status;
use crate::os::{self, sysv};
use crate::shim::clock::Deadline;

mod look;
mod observe;
mod sidecar;
pub(super) use look::address_of;
pub use look::sysv_addresses;
use look::{Look, Target, explained, status_of};
use sidecar::{Access, Sidecar};

/// What a call is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wish {
    Create,
    Open,
    Either,
}

/// Between two looks at what another process is about to change.
const PAUSE: Duration = Duration::from_millis(1);
/// Nobody starts up for so long, unless he is stopped.
const STOPPED: Duration = Duration::from_secs(10);
/// Looks at a segment until it is nobody's: `sysv_addresses` attaches for a moment.
const LOOKS: u32 = 100;

/// Creates, opens, or either; and whether it created.
pub(super) fn start(address: &Address, options: &Options, wish: Wish) -> Result<(Arc<Attached>, bool)> {
    if matches!((address.sysv(), wish), (Some(Sysv::Id(_)), Wish::Create)) {
        let why = "the kernel chooses ids: use `Options::sysv_private`, or a key";
        return Err(Error::InvalidAddress { address: address.to_string(), why });
    }
    let target = Target::of(address)?;
    let start = Startup { address, options, wish, target, path: target.path()? };
    if options.read_only {
        return observe::open(&start).map(|attached| (attached, false));
    }
    let patience = Deadline::after(Some(STOPPED));
    loop {
        if let Some(done) = start.attempt(&patience)? {
            return Ok(done);
        }
        if patience.is_over() {
            return Err(stuck());
        }
        os::clock::pause(PAUSE);
    }
}

struct Startup<'a> {
    address: &'a Address,
    options: &'a Options,
    wish: Wish,
    target: Target,
    path: PathBuf,
}

type Attempt = Result<Option<(Arc<Attached>, bool)>>;

impl Startup<'_> {
    fn not_found(&self) -> Error {
        Error::NotFound { name: self.address.to_string() }
    }

    fn foreign(&self) -> Error {
        Error::Foreign {
            expected: "a segment".to_owned(),
            found: format!("System V shared memory that is none, at {}; it was left alone", self.address),
        }
    }

    fn misfit(&self) -> Error {
        Error::Foreign {
            expected: format!("the lock file {} of those who are attached", self.path.display()),
            found: "another one, or none: share /dev/shm with them, or end them".to_owned(),
        }
    }

    fn may_create(&self) -> bool {
        self.wish != Wish::Open && matches!(self.target, Target::Key(_))
    }

    /// `None`: somebody else has changed everything meanwhile.
    fn attempt(&self, patience: &Deadline) -> Attempt {
        let found = self.target.find()?;
        if found.is_none() && !self.may_create() {
            return Err(self.not_found());
        }
        let size = match (plan_of(self.options), found) {
            (Ok((_, size)), _) => size,
            (Err(error), None) => return Err(error), // before anything is made
            (Err(_), Some(_)) => 0,
        };
        let maker = found.map(|(_, found)| found.creator);
        let sidecar = if let Some(sidecar) = Sidecar::enter(&self.path, maker, patience)? {
            sidecar
        } else {
            let access = match found {
                None => access(self.options),
                Some((id, found)) => match Look::at(id, true)? {
                    Some(look) if look.complete => access_of(&found),
                    _ if self.target.is_still(id)? => return Err(self.foreign()), // it gets no lock file
                    _ => return Ok(None),
                },
            };
            let mut new = Sidecar::unnamed(size, access)?;
            if !new.publish(&self.path)? {
                return Ok(None);
            }
            new
        };
        match self.judge(&sidecar, found.map(|(id, _)| id)) {
            Ok(Verdict::Fits(look)) => self.join(sidecar, look),
            Ok(Verdict::Vacant) if self.may_create() => self.create(sidecar, size),
            Ok(Verdict::Abandoned(id, found, look)) => self.adopt(sidecar, id, &found, look),
            Ok(Verdict::HalfMade(id)) if self.may_create() => {
                sysv::remove(id).map_err(|e| self.refused("shmctl(IPC_RMID)", e))?;
                Ok(None) // and the next attempt replaces the lock file
            }
            other => {
                if sidecar.fresh {
                    sidecar.remove()?;
                }
                match other? {
                    Verdict::Changed => Ok(None),
                    _ => Err(self.not_found()),
                }
            }
        }
    }

    /// What there is, now that nobody else starts up. `found`: what was there when the lock file's user was believed.
    fn judge(&self, sidecar: &Sidecar, found: Option<i32>) -> Result<Verdict> {
        let Some((id, status)) = self.target.find()? else {
            return Ok(if found.is_none() { Verdict::Vacant } else { Verdict::Changed });
        };
        if found != Some(id) {
            return Ok(Verdict::Changed);
        }
        let Some(look) = Look::at(id, false)? else {
            return if self.target.is_still(id)? { Err(self.foreign()) } else { Ok(Verdict::Changed) };
        };
        if !look.complete {
            let ours = sidecar.is_of(id, &status) && !sidecar.fresh && look.is_half_made()?;
            drop(look);
            if !ours || !is_attached_so_often(id, 0)? {
                return Err(self.foreign());
            }
            return Ok(Verdict::HalfMade(id));
        }
        if self.wish == Wish::Create {
            return Err(Error::AlreadyExists { name: self.address.to_string() });
        }
        if sidecar.record.id == Some(id) && sidecar.record.cookie == look.cookie()? {
            return Ok(Verdict::Fits(look));
        }
        if is_attached_so_often(id, 1)? {
            return Ok(Verdict::Abandoned(id, status, look));
        }
        Err(self.misfit())
    }

    /// A new cookie and a new lock file for a segment that nobody is attached to.
    fn adopt(&self, sidecar: Sidecar, id: i32, found: &sysv::Status, look: Look) -> Attempt {
        let old = look.cookie()?;
        let sidecar =
            if sidecar.fresh { Some(sidecar) } else { sidecar.replace(found.size, access_of(found))? };
        let Some(mut sidecar) = sidecar else { return Ok(None) };
        sidecar.note_id(id)?;
        look.set_cookie(sidecar.record.cookie)?;
        // Whoever has attached by now with a lock file that did fit has seen the old cookie, perhaps.
        if !is_attached_so_often(id, 1)? {
            look.set_cookie(old)?;
            sidecar.remove()?;
            return Ok(None);
        }
        self.join(sidecar, look)
    }

    fn join(&self, sidecar: Sidecar, look: Look) -> Attempt {
        let plan = Plan::read(&look.region)?;
        let (expected, found) = (self.options.size as u64, plan.size);
        if self.wish == Wish::Either && found < expected {
            return Err(Error::WrongShape { name: self.address.to_string(), expected, found });
        }
        make_present(self.options, &look.region)?;
        let (fd, status, path) = (sidecar.another()?, sidecar.status, sidecar.path.clone());
        drop(sidecar); // others may start up while we look for a row
        match join_region(fd, &status, Some(path), look.region, plan)? {
            Some(attached) => Ok(Some((attached, false))),
            None if self.may_create() => Ok(None),
            None => Err(self.not_found()),
        }
    }

    fn create(&self, sidecar: Sidecar, size: u64) -> Attempt {
        let Target::Key(key) = self.target else { return Err(self.not_found()) };
        let sidecar =
            if sidecar.fresh { Some(sidecar) } else { sidecar.replace(size, access(self.options))? };
        let Some(sidecar) = sidecar else { return Ok(None) };
        match make(key, size, self.options) {
            Ok(Some(id)) => fill(sidecar, id, self.options).map(|attached| Some((attached, true))),
            other => {
                sidecar.remove()?; // it is of no segment, and must not be taken for one of a stranger's
                other.map(|_| None)
            }
        }
    }

    fn refused(&self, call: &'static str, error: io::Error) -> Error {
        translate(call, error, || self.address.to_string())
    }
}

/// What a look under START has shown.
enum Verdict {
    /// Nothing.
    Vacant,
    /// Something else than a moment ago.
    Changed,
    /// A segment, and this is its lock file.
    Fits(Look),
    /// A segment that nobody is attached to, and this is not its lock file.
    Abandoned(i32, sysv::Status, Look),
    /// Its creator was killed.
    HalfMade(i32),
}

/// A System V segment that no key finds.
pub(super) fn create_private(options: &Options) -> Result<Arc<Attached>> {
    let (_, size) = plan_of(options)?;
    let paths = Sidecar::paths()?;
    let mut sidecar = Sidecar::unnamed(size, access(options))?;
    let Some(id) = make(sysv::PRIVATE, size, options)? else {
        return Err(Error::AlreadyExists { name: "a segment without a key".to_owned() });
    };
    // From here to its name, nobody but us knows of the segment: as little as possible.
    let mut named = || -> Result<bool> {
        let path = paths(sysv::PRIVATE, id);
        sidecar.note_id(id)?;
        if sidecar.publish(&path)? {
            return Ok(true);
        }
        // Ids come again after a long time: what has that name is a removed segment's.
        if let Some(old) = Sidecar::enter(&path, None, &Deadline::after(Some(STOPPED)))? {
            old.remove()?;
        }
        sidecar.publish(&path)
    };
    match named() {
        Ok(true) => fill(sidecar, id, options),
        other => {
            let _ = sysv::remove(id); // the error says more
            other?;
            Err(Error::AlreadyExists { name: paths(sysv::PRIVATE, id).display().to_string() })
        }
    }
}

/// Its size is made of the pages that are asked for.
fn plan_of(options: &Options) -> Result<(Plan, u64)> {
    let page = options.huge_pages.explicit().unwrap_or(1);
    plan(&options.clone().size(options.size.checked_next_multiple_of(page).unwrap_or(usize::MAX)))
}

/// An empty segment. `None`: somebody was quicker.
fn make(key: u32, size: u64, options: &Options) -> Result<Option<i32>> {
    let huge_page = options.huge_pages.explicit().map(|page| page as u64);
    match sysv::create(key, size, options.mode, huge_page) {
        Ok(sysv::Created::Done(id)) => Ok(Some(id)),
        Ok(sysv::Created::NoSpace { available }) => Err(Error::NoSpace { needed: size, available }),
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Ok(None),
        Err(e) if huge_page.is_some() => Err(match e.kind() {
            io::ErrorKind::Unsupported => {
                Error::Unsupported { what: "huge pages of this size, by this kernel" }
            }
            _ => translate("shmget", e, || {
                "huge pages, which takes CAP_IPC_LOCK or a member of vm.hugetlb_shm_group".to_owned()
            }),
        }),
        Err(e) => Err(explained("shmget", e)),
    }
}

/// Makes a segment of an empty one, and attaches to it, while START is ours. If that fails, both are gone.
fn fill(mut sidecar: Sidecar, id: i32, options: &Options) -> Result<Arc<Attached>> {
    let mut filled = || -> Result<Arc<Attached>> {
        let nothing = || Error::NotFound { name: "the new segment".to_owned() };
        if sidecar.record.id.is_none() {
            sidecar.note_id(id)?;
        }
        let region = Look::at(id, false)?.ok_or_else(nothing)?.region;
        if let Some(group) = options.group {
            let name = || format!("System V segment {id} to group {group}");
            sysv::give_to_group(id, group).map_err(|e| translate("shmctl(IPC_SET)", e, name))?;
        }
        let (plan, size) = plan_of(options)?;
        if let Some(mapping) = region.mapping() {
            match mapping.prefault() {
                Ok(()) => {}
                Err(e) if e.kind() == io::ErrorKind::Unsupported => {} // it has promised the memory, at least
                Err(_) => return Err(Error::NoSpace { needed: size, available: 0 }),
            }
        }
        make_present(options, &region)?;
        let plan = Plan { asymmetric: os::membarrier::register(), ..plan };
        plan.build(&region, os::process::boot_id(), sidecar.record.cookie)?;
        let fd = sidecar.another()?;
        join_region(fd, &sidecar.status, Some(sidecar.path.clone()), region, plan)?.ok_or_else(nothing)
    };
    let result = filled();
    if result.is_err() {
        let _ = sysv::remove(id); // the error says more
        let _ = sidecar.remove();
    }
    result
}

/// A further attachment to a segment that is attached, so that its id is not another one's.
pub(super) fn attach(
    id: sysv::Id,
    fd: OwnedFd,
    status: &Status,
    path: Option<PathBuf>,
    read_only: bool,
) -> Result<Arc<Attached>> {
    let gone = || Error::NotFound { name: "the segment, which is being removed".to_owned() };
    let elsewhere = |_| Error::Unsupported { what: "attaching to a segment of another ipc namespace" };
    let region = Look::at(id.here().map_err(elsewhere)?, read_only)?.ok_or_else(gone)?.region;
    let plan = Plan::read(&region)?;
    let join = if read_only { observer::join } else { join_region };
    join(fd, status, path, region, plan)?.ok_or_else(gone)
}

/// Removes a segment and its lock file; those who are attached keep it.
pub(super) fn unlink(address: &Address) -> Result<()> {
    let target = Target::of(address)?;
    let path = target.path()?;
    let patience = Deadline::after(Some(STOPPED));
    let start = Startup { address, options: &Options::default(), wish: Wish::Open, target, path };
    loop {
        let found = target.find()?;
        let sidecar = match Sidecar::enter(&start.path, found.map(|(_, found)| found.creator), &patience) {
            Err(Error::Denied { .. }) => None, // not to be believed, and not ours to remove
            other => other?,
        };
        let Some((id, status)) = target.find()? else {
            if let Some(left) = sidecar {
                left.remove()?;
            }
            return Err(start.not_found());
        };
        let same = found.is_some_and(|(found, _)| found == id);
        let look = if same { Look::at(id, true)? } else { None };
        if let Some(look) = look {
            let half = |sidecar: &Sidecar| sidecar.is_of(id, &status);
            let ours = look.complete || sidecar.as_ref().is_some_and(half) && look.is_half_made()?;
            if !ours {
                return Err(start.foreign());
            }
            sysv::remove(id).map_err(|e| start.refused("shmctl(IPC_RMID)", e))?;
            return sidecar.map_or(Ok(()), Sidecar::remove);
        }
        if same && start.target.is_still(id)? {
            return Err(start.foreign());
        }
        if patience.is_over() {
            return Err(stuck());
        }
    }
}

/// Takes START, unless somebody who is stopped has it.
pub(super) fn take_start(description: BorrowedFd<'_>) -> bool {
    let patience = Deadline::after(Some(STOPPED));
    loop {
        match evidence::try_take_start(description) {
            Ok(false) if !patience.is_over() => os::clock::pause(PAUSE),
            taken => return matches!(taken, Ok(true)),
        }
    }
}

/// For the lock file of a new segment.
fn access(options: &Options) -> Access {
    Access { mode: options.mode, user: None, group: options.group }
}

/// For the lock file of a segment that is there already.
fn access_of(found: &sysv::Status) -> Access {
    Access { mode: found.mode, user: Some(found.creator), group: Some(found.group) }
}

/// Whether the kernel counts so many attachments, or soon does: `sysv_addresses` looks at all of them.
fn is_attached_so_often(id: i32, often: u64) -> Result<bool> {
    for _ in 0..LOOKS {
        match status_of(id)? {
            Some(found) if found.attached > often => os::clock::pause(PAUSE),
            _ => return Ok(true),
        }
    }
    Ok(false)
}

fn stuck() -> Error {
    let why =
        "a process that started up holds its lock file for ten seconds: it is stopped; continue or end it";
    Error::os("starting up a System V segment", io::Error::new(io::ErrorKind::TimedOut, why))
}
