//! What System V segments there are, and what each of them is.

use std::io;
use std::path::PathBuf;

use super::sidecar::{Seen, Sidecar};
use crate::error::{Error, Result};
use crate::memory::Region;
use crate::os::map::Mapping;
use crate::os::sysv;
use crate::segment::Address;
use crate::segment::address::Sysv;
use crate::segment::header::{Header, LAYOUT_VERSION, MAGIC};
use crate::segment::startup::translate;
use crate::shim::{AtomicU64, Ordering};

/// A segment as it is named.
#[derive(Clone, Copy, Debug)]
pub(super) enum Target {
    Key(u32),
    Id(i32),
}

impl Target {
    pub(super) fn of(address: &Address) -> Result<Self> {
        match address.sysv() {
            Some(Sysv::Key(key)) => Ok(Self::Key(*key)),
            Some(Sysv::Path(path, number)) => match sysv::key_of(path, *number) {
                Ok(key) => Ok(Self::Key(key)),
                Err(e) => Err(translate("stat", e, || path.display().to_string())),
            },
            Some(Sysv::Id(id)) => match status_of(*id)? {
                Some(found) if found.key != sysv::PRIVATE => Ok(Self::Key(found.key)),
                _ => Ok(Self::Id(*id)),
            },
            None => Err(Error::NotFound { name: address.to_string() }),
        }
    }

    pub(super) fn find(self) -> Result<Option<(i32, sysv::Status)>> {
        let id = match self {
            Self::Id(id) => Some(id),
            Self::Key(key) => sysv::find(key).map_err(|e| explained("shmget", e))?,
        };
        let Some(id) = id else { return Ok(None) };
        let found = status_of(id)?.filter(|found| !found.doomed);
        let same = |found: &sysv::Status| match self {
            Self::Key(key) => found.key == key,
            Self::Id(_) => found.key == sysv::PRIVATE,
        };
        Ok(found.filter(same).map(|found| (id, found)))
    }

    /// Whether it is still that one which is found so.
    pub(super) fn is_still(self, id: i32) -> Result<bool> {
        Ok(self.find()?.is_some_and(|(found, _)| found == id))
    }

    pub(super) fn path(self) -> Result<PathBuf> {
        match self {
            Self::Key(key) => Sidecar::path_of(key, 0),
            Self::Id(id) => Sidecar::path_of(sysv::PRIVATE, id),
        }
    }
}

/// What is found behind a name, under START or for a look.
pub(super) struct Look {
    pub(super) region: Region,
    pub(super) complete: bool,
}

impl Look {
    /// `None`: it is gone, or has no room for a header, or no page for it.
    pub(super) fn at(id: i32, read_only: bool) -> Result<Option<Self>> {
        let mapping = Mapping::sysv(id, read_only)
            .map_err(|e| translate("shmat", e, || format!("System V segment {id}")))?;
        let Some(mapping) = mapping.filter(|mapping| mapping.len() >= size_of::<Header>()) else {
            return Ok(None);
        };
        let region = Region::mapped(mapping);
        let complete = region.get::<Header>(0)?.magic.load(Ordering::Acquire) == MAGIC; // [H3]
        Ok(Some(Self { region, complete }))
    }

    /// Whether a creator may have been killed here.
    pub(super) fn is_half_made(&self) -> Result<bool> {
        let header = self.region.get::<Header>(0)?;
        let word = |word: &AtomicU64| word.load(Ordering::Relaxed); // [H4]
        let started = word(&header.version) == LAYOUT_VERSION;
        let nothing = || -> Result<bool> {
            for at in (0..size_of::<Header>() as u64).step_by(8) {
                if word(self.region.get::<AtomicU64>(at)?) != 0 {
                    return Ok(false);
                }
            }
            Ok(true)
        };
        Ok(word(&header.magic) == 0 && (started || nothing()?))
    }

    pub(super) fn cookie(&self) -> Result<[u64; 2]> {
        let header = self.region.get::<Header>(0)?;
        Ok([&header.cookie[0], &header.cookie[1]].map(|word| word.load(Ordering::Relaxed))) // [H5]
    }

    pub(super) fn set_cookie(&self, cookie: [u64; 2]) -> Result<()> {
        for (word, value) in self.region.get::<Header>(0)?.cookie.iter().zip(cookie) {
            word.store(value, Ordering::Relaxed); // [H5]
        }
        Ok(())
    }
}

/// The System V segments of this ipc namespace that are segments of ours, as far as we may read them; those included that
/// a killed creator has left half made, so that they can be unlinked.
///
/// Each is attached for a moment, for reading. Other processes' System V memory is left alone.
///
/// ```
/// use outlive::{Segment, segment};
/// let made = Segment::options().temporary(true).sysv_private()?;
/// let address = made.sysv_address().expect("it has one");
/// assert!(segment::sysv_addresses()?.contains(&address));
/// # Ok::<(), outlive::Error>(())
/// ```
///
/// # Errors
/// `Os` if `/proc/sysvipc/shm` cannot be read.
pub fn sysv_addresses() -> Result<Vec<Address>> {
    let mut addresses = Vec::new();
    for (key, id) in sysv::all().map_err(|e| Error::os("reading /proc/sysvipc/shm", e))? {
        if matches!(is_ours(key, id), Ok(true)) {
            addresses.push(Address::of_sysv(key, id));
        }
    }
    Ok(addresses)
}

fn is_ours(key: u32, id: i32) -> Result<bool> {
    let Some(look) = Look::at(id, true)? else { return Ok(false) };
    let Some(status) = status_of(id)? else { return Ok(false) };
    if look.complete {
        return Ok(true);
    }
    let seen = Seen::at(&Sidecar::path_of(key, id)?, status.creator)?;
    Ok(seen.is_some_and(|seen| seen.is_of(id, &status)) && look.is_half_made()?)
}

/// What names that segment, if it has not been removed.
pub(in crate::segment) fn address_of(id: sysv::Id) -> Option<Address> {
    let id = id.here().ok()?;
    let found = status_of(id).ok().flatten().filter(|found| !found.doomed)?;
    Some(Address::of_sysv(found.key, id))
}

pub(super) fn status_of(id: i32) -> Result<Option<sysv::Status>> {
    sysv::status(id).map_err(|e| translate("shmctl(IPC_STAT)", e, || format!("System V segment {id}")))
}

pub(super) fn explained(call: &'static str, error: io::Error) -> Error {
    match error.kind() {
        io::ErrorKind::Unsupported => {
            Error::Unsupported { what: "System V shared memory: this kernel has none" }
        }
        _ => translate(call, error, || "System V shared memory".to_owned()),
    }
}
