//! Attachments that only look: for monitors, and for users who may read the object and no more.
//!
//! # Answers
//! "What is in this segment, and who lives?", without a row, a role, a bit or any other trace in it.
//!
//! An observer's mapping faults if it is written, so nothing may try: whatever stores asks `Attached::check_writable`
//! first. It is `Owner::NOBODY`, hence never dead and never the holder of anything. It takes a share of the byte WATCH,
//! kept by an anchor, so that whoever wants the segment for itself sees that somebody looks; nobody waits for it.
//!
//! What the others correct, it cannot: rows of another boot stay Active until one of them comes. So it compares the boot
//! id for itself, and where that differs, or is made up, it believes bytes only, which are right in any case.
//!
//! # Crashes
//! | dies                  | left    | outcome                                     | held by |
//! |-----------------------|---------|---------------------------------------------|---------|
//! | an observer, anywhere | nothing | the kernel gives its share of the byte back | `conformance kills::who_only_looks_*` |
//!
//! Tested in `tests/observer.rs`.

use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::sync::Arc;

use super::attached::{Cell, Kernel};
use super::evidence::{self, Evidence};
use super::header::{Header, Plan};
use super::startup::another_description;
use super::{Attached, Owner};
use crate::error::{Error, Result};
use crate::memory::Region;
use crate::os::map::Anchor;
use crate::os::{self, object};

/// Attaches to a segment that is mapped for reading. `None`: it is being unlinked.
pub(super) fn join(
    fd: OwnedFd,
    status: &object::Status,
    path: Option<PathBuf>,
    region: Region,
    plan: Plan,
) -> Result<Option<Arc<Attached>>> {
    let header = region.get::<Header>(0)?;
    if header.is_gone(&plan) {
        return Ok(None);
    }
    let same_boot = header.boot_id() == os::process::boot_id();
    let description = another_description(&fd, status, path.as_deref(), true)?;
    if !evidence::try_watch(description.as_fd()).map_err(|e| Error::os("fcntl(F_OFD_SETLK)", e))? {
        return Err(Error::Denied { what: "to look: another process has the segment for itself".to_owned() });
    }
    let anchor = Anchor::hold(description).map_err(|e| Error::os("mmap", e))?;
    let evidence = Evidence::new(fd, status, path, os::process::me()).of_an_observer(same_boot);
    let kernel = Kernel::new(evidence, Some(anchor));
    let cell = Cell::take()?;
    Ok(Some(Attached::new(Arc::new(region), plan, Owner::NOBODY, 0, Some(kernel), cell)))
}
