//! How a segment comes to be, and how a process comes to it.
//!
//! A segment is made without a name, initialised to the last byte, and only then linked to its name, which fails if
//! the name is taken. So nobody ever sees half a segment, and a creator that is killed leaves nothing at all.
//!
//! # Crashes
//! | dies                                      | left                        | outcome                                  | held by |
//! |-------------------------------------------|-----------------------------|------------------------------------------|---------|
//! | create, before the link                   | an unnamed file             | the kernel frees it                      | `tests startup_race::a_creator_killed_at_any_system_*` |
//! |                                           |                             |                                          | `kill "segment create"` |
//! | create, after the link                    | the segment, a dead row     | it exists; the row is swept              | `tests startup_race::a_creator_killed_at_any_system_*` |
//! |                                           |                             |                                          | `kill "segment create"` |
//! | attach, row byte taken, identity half in  | FREE, byte free again       | the next attacher overwrites             | `kill "segment attach"` |
//! |                                           |                             |                                          | `kill "segment from_fd"` |
//! | attach, row Active                        | Active row of a dead owner  | swept                                    | `kill "segment open"` |
//! |                                           |                             |                                          | `kill "segment attach, every row is dead"` |
//! | an observer, anywhere                     | nothing                     | it has no row, and writes nothing        | `conformance kills::who_only_looks_*` |
//! | detach, anywhere                          | Active or Free row          | swept, or nothing to do                  | `kill "segment dropped"` |
//! |                                           |                             |                                          | `kill "segment dropped, something is open"` |
//! | last detach of a temporary segment        | `gone`, or gone and linked  | openers find `gone` and unlink it        | `tests startup_race::the_last_one_*` |
//! | the end of a withdrawn one                | the same                    | the same                                 | `tests startup_race::who_withdraws_*` |

use core::time::Duration;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::attached::{Cell, Kernel, claim_by_byte, claim_on_heap};
use super::evidence::{self, Evidence};
use super::header::{Header, MAGIC, Plan, check_magic};
use super::rows::{CAP_MEMBARRIER, Phase, Row};
use super::sysv::{self, Wish};
use super::{Address, Attached, HugePages, Options, Owner, Swept, observer, sweep};
use crate::error::{Error, Result};
use crate::memory::Region;
use crate::os::object::{self, Reserve};
use crate::os::{self, map::Mapping};
use crate::shim::Ordering;
use crate::shim::clock::Deadline;

/// The model checker's atomics take more bytes than the segment's: its segments get so many times their size.
const FATTER: u64 = if cfg!(loom) { 4 } else { 0 };

/// Makes the segment under its name, which must be free.
pub(super) fn create(address: &Address, options: &Options) -> Result<Arc<Attached>> {
    if address.sysv().is_some() {
        return sysv::start(address, options, Wish::Create).map(|(attached, _)| attached);
    }
    let path = address.path()?;
    let taken = || Error::AlreadyExists { name: address.to_string() };
    if object::is_taken(&path) {
        return Err(taken()); // before memory is reserved for nothing
    }
    let parent = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let fd = object::create_unnamed(parent, options.mode).map_err(|e| match e.kind() {
        io::ErrorKind::Unsupported | io::ErrorKind::IsADirectory => {
            Error::Unsupported { what: "unnamed files (O_TMPFILE) on this file system" }
        }
        _ => translate("open(O_TMPFILE)", e, || address.to_string()),
    })?;
    if let Some(group) = options.group {
        let name = || format!("{address} to group {group}, which takes a member of it");
        object::give_to(fd.as_fd(), None, Some(group)).map_err(|e| translate("fchown", e, name))?;
    }
    let published = fd.try_clone().map_err(|e| Error::os("dup", e))?;
    let attached = make(options, fd, Some(path.clone()))?;
    match object::publish(published.as_fd(), &path) {
        Ok(()) => Ok(attached),
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Err(taken()),
        Err(e) => Err(translate("linkat", e, || address.to_string())),
    }
}

/// Attaches to the segment of this name.
pub(super) fn open(address: &Address, options: &Options) -> Result<Arc<Attached>> {
    if address.sysv().is_some() {
        return sysv::start(address, options, Wish::Open).map(|(attached, _)| attached);
    }
    let path = address.path()?;
    let (fd, status) = object::open_and_look(&path, options.read_only).map_err(|e| match e.kind() {
        io::ErrorKind::InvalidInput | io::ErrorKind::IsADirectory => Error::InvalidAddress {
            address: address.to_string(),
            why: "it names something that is not a regular file",
        },
        _ => translate("open", e, || address.to_string()),
    })?;
    join(options, fd, &status, Some(path))?.ok_or_else(|| Error::NotFound { name: address.to_string() })
}

/// Either; whoever loses the race for the name attaches to the winner's segment.
pub(super) fn open_or_create(address: &Address, options: &Options) -> Result<(Arc<Attached>, bool)> {
    if address.sysv().is_some() {
        return sysv::start(address, options, Wish::Either);
    }
    let mut last = Error::NotFound { name: address.to_string() };
    for attempt in 0..1000 {
        match open(address, options) {
            Err(Error::NotFound { .. }) => {}
            Ok(attached) => {
                let (expected, found) = (options.size as u64, attached.region().len());
                return if found < expected {
                    Err(Error::WrongShape { name: address.to_string(), expected, found })
                } else {
                    Ok((attached, false))
                };
            }
            Err(error) => return Err(error),
        }
        match create(address, options) {
            Err(error @ Error::AlreadyExists { .. }) => last = error,
            other => return other.map(|attached| (attached, true)),
        }
        let dangling = matches!(last, Error::AlreadyExists { .. }) && object::is_dangling(&address.path()?);
        if attempt > 100 && dangling {
            let why = "it is a symbolic link to nothing";
            return Err(Error::InvalidAddress { address: address.to_string(), why });
        }
        if attempt > 10 {
            os::clock::pause(Duration::from_millis(1)); // somebody unlinks and links it all the time
        }
    }
    Err(last)
}

/// A segment without a name, sealed so that nobody can shrink it under us.
pub(super) fn create_memfd(label: &str, options: &Options) -> Result<Arc<Attached>> {
    if label.len() > 249 || label.contains('\0') {
        return Err(Error::InvalidConfig { why: "a memfd's label has at most 249 bytes, without NUL" });
    }
    let fd = match options.huge_pages.explicit() {
        Some(page) => os::huge::memfd(label, page as u64),
        None => object::memfd(label),
    };
    let fd = fd.map_err(|e| match e.kind() {
        io::ErrorKind::Unsupported => Error::Unsupported { what: "huge pages of this size, by this kernel" },
        _ => translate("memfd_create", e, || label.to_owned()),
    })?;
    let seal = fd.try_clone().map_err(|e| Error::os("dup", e))?;
    let attached = make(options, fd, None)?;
    object::seal_shrink(seal.as_fd()).map_err(|e| Error::os("fcntl(F_ADD_SEALS)", e))?;
    Ok(attached)
}

/// Attaches to what a descriptor refers to, through a description of our own.
///
/// One without a name was passed on by somebody: it must be sealed, or he could truncate it under us.
pub(super) fn join_fd(fd: &OwnedFd, options: &Options) -> Result<Arc<Attached>> {
    let status = object::status(fd.as_fd()).map_err(|e| Error::os("fstat", e))?;
    if status.links == 0 && !matches!(object::cannot_shrink(fd.as_fd()), Ok(true)) {
        return Err(Error::Denied {
            what: "the descriptor's object has no name and is not sealed with F_SEAL_SHRINK: it could be truncated".to_owned(),
        });
    }
    let fresh = object::reopen(fd.as_fd(), options.read_only)
        .map_err(|e| translate("open", e, || "the descriptor".to_owned()))?;
    join(options, fresh, &status, None)?
        .ok_or_else(|| Error::NotFound { name: "the descriptor's segment".to_owned() })
}

/// A further attachment to the same segment.
pub(super) fn attach(attached: &Attached) -> Result<Arc<Attached>> {
    let Some(kernel) = attached.kernel() else {
        if attached.check() == Err(crate::error::Fault::Forked) {
            return Err(Error::Unsupported { what: "attaching to a heap segment of the parent process" });
        }
        return join_heap(Arc::clone(attached.shared_region()), *attached.plan());
    };
    let fresh = kernel.evidence.fresh()?;
    let status = status_of(&fresh)?;
    let path = kernel.evidence.path().map(Path::to_owned);
    if let Some(id) = attached.region().sysv_id() {
        return sysv::attach(id, fresh, &status, path, attached.is_read_only());
    }
    let gone = || Error::NotFound { name: "the segment, which is being unlinked".to_owned() };
    let options = Options::default().read_only(attached.is_read_only());
    join(&options, fresh, &status, path)?.ok_or_else(gone)
}

/// A segment on the heap of this process.
pub(super) fn create_heap(options: &Options) -> Result<Arc<Attached>> {
    if options.huge_pages.explicit().is_some() {
        return Err(Error::Unsupported { what: "huge pages of an explicit size on the heap" });
    }
    let (plan, size) = plan(options)?;
    let size = if FATTER != 0 { plan.data_at + size * FATTER } else { size };
    let plan = Plan { size, ..plan };
    let mut region = Region::heap(size, plan.rows)?;
    plan.build(&region, [0; 2], os::process::random())?;
    region.guard_what_is_free();
    region.lock_away(plan.data_at, size - plan.data_at);
    join_heap(Arc::new(region), plan)
}

pub(super) fn join_heap(region: Arc<Region>, plan: Plan) -> Result<Arc<Attached>> {
    let mut patience = Patience::new();
    loop {
        let cell = Cell::take()?;
        if let Some((owner, generation)) = claim_on_heap(&region, &plan)? {
            return Ok(Attached::new(region, plan, owner, generation, None, cell));
        }
        let guest = Attached::new(Arc::clone(&region), plan, Owner::NOBODY, 0, None, cell);
        if !patience.another_try(false, sweep::sweep(&guest)?) {
            return Err(Error::NoRow { rows: plan.rows });
        }
    }
}

/// How long to look for a row that others are about to free: by time, for the others may be preempted.
struct Patience {
    deadline: Deadline,
    in_vain: u32,
}

impl Patience {
    fn new() -> Self {
        Self { deadline: Deadline::after(Some(Duration::from_secs(2))), in_vain: 0 }
    }

    /// After a claim that failed (`contended`: some row was free, its byte was not) and a sweep.
    fn another_try(&mut self, contended: bool, swept: Swept) -> bool {
        if swept.recovered > 0 {
            return !self.deadline.is_over();
        }
        if !contended && swept.left == 0 {
            // Nothing is on its way. Once more, though: another sweeper may have finished between claim and sweep.
            self.in_vain += 1;
            return self.in_vain < 2;
        }
        if self.deadline.is_over() {
            return false;
        }
        crate::os::clock::pause(Duration::from_millis(1));
        true
    }
}

pub(super) fn plan(options: &Options) -> Result<(Plan, u64)> {
    let size = u64::try_from(options.size).ok().and_then(|size| size.checked_next_multiple_of(4096));
    let size = size.filter(|&size| size != 0 && i64::try_from(size).is_ok());
    let Some(size) = size else {
        return Err(Error::InvalidConfig { why: "a segment's size is 1 byte to 2^63 - 4096" });
    };
    let entries = Plan::entries_for(size);
    let Some(plan) = Plan::new(options.rows.into(), entries) else {
        return Err(Error::InvalidConfig { why: "a segment has 1 to 1022 rows" });
    };
    if FATTER == 0 && size < plan.data_at {
        return Err(Error::NoSpace { needed: plan.data_at, available: size }); // header, rows and directory
    }
    Ok((Plan { size, temporary: options.temporary, ..plan }, size))
}

/// The size is made of the object's pages, which are those that were asked for.
fn in_whole_pages(options: &Options, fd: &OwnedFd) -> Result<Options> {
    let page = os::huge::page_size(fd.as_fd()).map_err(|e| Error::os("fstatfs", e))?;
    let page = page.and_then(|page| usize::try_from(page).ok());
    if options.huge_pages.explicit().is_some_and(|wanted| page != Some(wanted)) {
        return Err(Error::Unsupported {
            what: "huge pages of this size in this file system: use a memfd, or `file:` in a hugetlbfs of that page size",
        });
    }
    let rounded = page.map(|page| options.size.checked_next_multiple_of(page).unwrap_or(usize::MAX));
    Ok(options.clone().size(rounded.unwrap_or(options.size)))
}

/// Fills an unnamed object, and attaches to it.
fn make(options: &Options, fd: OwnedFd, path: Option<PathBuf>) -> Result<Arc<Attached>> {
    refuse_foreign_file_systems(&fd)?;
    let (plan, size) = plan(&in_whole_pages(options, &fd)?)?;
    reserve(&fd, size)?;
    let status = status_of(&fd)?;
    let region = map(&fd, &status, size, false)?;
    make_present(options, &region)?;
    let plan = Plan { asymmetric: os::membarrier::register(), ..plan };
    plan.build(&region, os::process::boot_id(), os::process::random())?;
    join_region(fd, &status, path, region, plan)?
        .ok_or(Error::NotFound { name: "the new segment".to_owned() })
}

fn reserve(fd: &OwnedFd, size: u64) -> Result<()> {
    match object::reserve(fd.as_fd(), size) {
        Ok(Reserve::Done) => Ok(()),
        Ok(Reserve::NoSpace { available }) => Err(Error::NoSpace { needed: size, available }),
        Err(e) => Err(translate("fallocate", e, || "the segment".to_owned())),
    }
}

/// `None`: it is being unlinked.
fn join(
    options: &Options,
    fd: OwnedFd,
    status: &object::Status,
    path: Option<PathBuf>,
) -> Result<Option<Arc<Attached>>> {
    refuse_foreign_file_systems(&fd)?;
    if status.size < size_of::<Header>() as u64 {
        return Err(Error::Foreign {
            expected: "a segment".to_owned(),
            found: format!("a file of {} bytes", status.size),
        });
    }
    check_magic(first_word(&fd)?)?;
    let mut region = map(&fd, status, status.size, options.read_only)?;
    let plan = Plan::read(&region)?;
    if plan.size != status.size {
        // Somebody has extended the file, or was killed while he did: no space is reserved behind the size.
        region = map(&fd, status, plan.size, options.read_only)?;
    }
    // A file may be a copy, without the pages that were zero. (A memfd is not, and what its maker left out is his affair.)
    let is_reserved = || object::is_reserved(fd.as_fd(), plan.size).map_err(|e| Error::os("fstat", e));
    if status.links != 0 && !options.read_only && !is_reserved()? {
        reserve(&fd, plan.size)?;
    }
    make_present(options, &region)?;
    if options.read_only {
        return observer::join(fd, status, path, region, plan);
    }
    join_region(fd, status, path, region, plan)
}

fn status_of(fd: &OwnedFd) -> Result<object::Status> {
    object::status(fd.as_fd()).map_err(|e| Error::os("fstat", e))
}

/// Read, and not looked at in a mapping: where a file has no page yet, and its file system no room for one, that faults.
fn first_word(fd: &OwnedFd) -> Result<u64> {
    let words = object::read_words::<1>(fd.as_fd()).map_err(|e| Error::os("pread", e))?;
    Ok(words.map_or(0, |[word]| word))
}

fn refuse_foreign_file_systems(fd: &OwnedFd) -> Result<()> {
    match object::one_kernel(fd.as_fd()) {
        Ok(true) => Ok(()),
        Ok(false) => Err(Error::Unsupported {
            what: "this file system: its locks and mappings may not be one kernel's (use tmpfs, ext4, xfs, btrfs, f2fs or zfs)",
        }),
        Err(e) => Err(Error::os("fstatfs", e)),
    }
}

fn map(fd: &OwnedFd, status: &object::Status, size: u64, read_only: bool) -> Result<Region> {
    let too_large = Error::InvalidConfig { why: "the segment is larger than the address space" };
    let Ok(len) = usize::try_from(size) else { return Err(too_large) };
    let mapping = Mapping::shared(fd.as_fd(), status, len, read_only)
        .map_err(|e| translate("mmap", e, || "the segment".to_owned()))?;
    Ok(Region::mapped(mapping))
}

/// What the options ask for, of what is known to be a segment: a sparse file of another kind is not to be filled.
pub(super) fn make_present(options: &Options, region: &Region) -> Result<()> {
    let Some(mapping) = region.mapping() else { return Ok(()) };
    if options.huge_pages == HugePages::Transparent {
        mapping.advise_huge_pages();
    }
    if options.prefault {
        mapping.prefault().map_err(|e| Error::os("madvise(MADV_POPULATE_WRITE)", e))?;
    }
    if options.lock_in_ram {
        mapping
            .lock_in_ram()
            .map_err(|e| translate("mlock (see RLIMIT_MEMLOCK)", e, || "locking in RAM".to_owned()))?;
    }
    Ok(())
}

/// `None`: it is being unlinked.
pub(super) fn join_region(
    fd: OwnedFd,
    status: &object::Status,
    path: Option<PathBuf>,
    region: Region,
    plan: Plan,
) -> Result<Option<Arc<Attached>>> {
    let region = Arc::new(region);
    let me = os::process::me();
    let another = || another_description(&fd, status, path.as_deref(), false);
    after_reboot(&region, &plan, another)?;
    let caps = if os::membarrier::register() { CAP_MEMBARRIER } else { 0 };
    let mut cell = Some(Cell::take()?);
    let mut patience = Patience::new();
    loop {
        let gone = || -> Result<bool> { Ok(region.get::<Header>(0)?.is_gone(&plan)) };
        let contended = match claim_by_byte(&region, &plan, &me, caps, another)? {
            Ok((owner, generation, anchor)) => {
                let kernel = Kernel::new(Evidence::new(fd, status, path, me), Some(anchor));
                let cell = match cell.take() {
                    Some(cell) => cell,
                    None => Cell::take()?,
                };
                let attached =
                    Attached::new(Arc::clone(&region), plan, owner, generation, Some(kernel), cell);
                if gone()? {
                    sweep::detach_and_unlink(attached);
                    return Ok(None);
                }
                return Ok(Some(attached));
            }
            Err(contended) => contended,
        };
        if gone()? {
            if let Some(path) = path {
                sweep::unlink_gone(another_description(&fd, status, Some(&path), false)?, &path, &region);
            }
            return Ok(None);
        }
        let swept = {
            let questions = another()?;
            let kernel = Kernel::new(Evidence::new(questions, status, path.clone(), me), None);
            let guest =
                Attached::new(Arc::clone(&region), plan, Owner::NOBODY, 0, Some(kernel), Cell::take()?);
            sweep::sweep(&guest)?
        };
        if !patience.another_try(contended, swept) {
            return Err(Error::NoRow { rows: plan.rows });
        }
    }
}

/// A fresh description of the same object: by its name, which is quicker, if it still has it.
pub(super) fn another_description(
    fd: &OwnedFd,
    status: &object::Status,
    path: Option<&Path>,
    read_only: bool,
) -> Result<OwnedFd> {
    if let Some((named, found)) = path.and_then(|path| object::open_and_look(path, read_only).ok()) {
        if (found.dev, found.ino) == (status.dev, status.ino) {
            return Ok(named);
        }
    }
    object::reopen_same(fd.as_fd(), status, read_only).map_err(|e| Error::os("open(/proc/self/fd)", e))
}

/// Another boot id, and nobody attached: every tenant died with the old kernel. Their pids mean nothing now.
fn after_reboot(region: &Region, plan: &Plan, another: impl Fn() -> Result<OwnedFd>) -> Result<()> {
    let header = region.get::<Header>(0)?;
    let boot = os::process::boot_id();
    if header.boot_id() == boot {
        return Ok(());
    }
    let all = another()?;
    if !matches!(evidence::try_take_all_rows(all.as_fd(), plan.rows), Ok(true)) {
        return Ok(()); // somebody of this kernel is attached: a made-up boot id, as containers have them
    }
    for row in 1..=plan.rows {
        let row = region.get::<Row>(plan.row_at(row))?;
        let state = row.state();
        if state.phase() == Some(Phase::Active) {
            let dead = state.with(Phase::Dead);
            let _ = row.state.compare_exchange(state.0, dead.0, Ordering::AcqRel, Ordering::Relaxed); // [A1]
        }
    }
    for (word, value) in header.boot.iter().zip(boot) {
        word.store(value, Ordering::Relaxed); // [H1]
    }
    evidence::give_all_rows_back(all.as_fd(), plan.rows); // a child forked meanwhile has the description, too
    Ok(())
}

/// Removes the name of a segment; those who are attached keep it.
pub(super) fn unlink(address: &Address) -> Result<()> {
    if address.sysv().is_some() {
        return sysv::unlink(address);
    }
    let path = address.path()?;
    let name = || address.to_string();
    let fd = object::open(&path, true).map_err(|e| translate("open", e, name))?;
    let status = status_of(&fd)?;
    if status.size < size_of::<Header>() as u64 || first_word(&fd)? != MAGIC {
        return Err(Error::Foreign {
            expected: "a segment".to_owned(),
            found: format!("a file of {} bytes that is none; it was not removed", status.size),
        });
    }
    // Another one who unlinks holds the byte between his look and his unlinking, as we do: so that nobody takes away the
    // name of a segment that came afterwards. Without the right to write there is no byte to hold.
    let held = object::open_and_look(&path, false)
        .ok()
        .filter(|(_, found)| (found.dev, found.ino) == (status.dev, status.ino));
    if let Some((fd, _)) = &held {
        for _ in 0..100 {
            if evidence::try_take_name(fd.as_fd()) {
                break;
            }
            os::clock::pause(Duration::from_millis(1));
        }
    }
    match object::status_of(&path) {
        Ok(found) if (found.dev, found.ino) == (status.dev, status.ino) => {
            object::unlink(&path).map_err(|e| translate("unlink", e, name))
        }
        _ => Err(Error::NotFound { name: name() }),
    }
}

/// An `io::Error` of a call, as what it means.
pub(super) fn translate(call: &'static str, error: io::Error, name: impl FnOnce() -> String) -> Error {
    match error.kind() {
        io::ErrorKind::NotFound => Error::NotFound { name: name() },
        io::ErrorKind::AlreadyExists => Error::AlreadyExists { name: name() },
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
            Error::Denied { what: format!("{call} of {}", name()) }
        }
        _ => Error::os(call, error),
    }
}
