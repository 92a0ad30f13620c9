//! The lock file of a System V segment: what such a segment lacks, an inode, for byte locks and anchors.
//!
//! # Layout
//! ```text
//! /dev/shm/outlive-sysv-<ipc namespace>-k<key, 8 hex digits>, or -i<id> for one that no key finds
//! 0         16      24      32        40
//! | cookie  | size  | pid   | id + 1  |      bytes 0 to 39, little-endian words
//! ```
//! The cookie is the header's as well. Size and pid are those of the segment that its maker is about to make, written
//! before the file has its name; the id follows when there is one (0: not yet).
//!
//! # Invariants
//! C1  A file that was here for one segment is never used for another: who is attached to the old one holds row bytes of it.
//! C2  The file is made and taken away, and the segment too, only by whoever holds the START byte of the inode that the
//!     name means. A new one has its START byte taken before it has its name.
//! C3  Nobody believes the file of another user, unless he has made the segment as well: the directory is everybody's.
//!
//! # Crashes
//! | dies                                 | left                                    | outcome                                              | held by |
//! |--------------------------------------|-----------------------------------------|------------------------------------------------------|---------|
//! | its maker, before it has its name    | an unnamed file                         | the kernel frees it                                  | `tests sysv::crashes::a_creator_killed_*` |
//! | its maker, behind that               | a file of no segment, or of half of one | see the module above: whoever comes next replaces it | `tests sysv::crashes::a_creator_killed_*` |
//! | whoever replaces it, between the two | no file, or a new one of no segment     | the next one makes one, or replaces it               | `tests sysv::crashes::who_replaces_*` |
//! |                                      |                                         |                                                      | `tests sysv::crashes::an_adopter_*` |
//! | whoever has START                    | START                                   | the kernel gives it back                             | `tests sysv::crashes::a_creator_killed_*`, `tests sysv::crashes::an_opener_killed_*` |
//! |                                      |                                         |                                                      | `tests sysv::crashes::who_removes_*` |

use core::fmt;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::os::object::{self, Status};
use crate::os::{self, sysv};
use crate::segment::evidence;
use crate::segment::startup::{another_description, translate};
use crate::shim::clock::Deadline;

use super::PAUSE;

/// What the file says of its segment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Record {
    pub(super) cookie: [u64; 2],
    /// What its maker was about to ask for.
    size: u64,
    /// The maker, in his pid namespace.
    pid: u64,
    /// The id of the segment, as soon as it has been noted.
    pub(super) id: Option<i32>,
}

/// The word that holds `id + 1`.
const ID_WORD: u32 = 4;

impl Record {
    fn read(fd: BorrowedFd<'_>) -> Result<Self> {
        // A file of another length says nothing, as one without an id does.
        let words: [u64; 5] = object::read_words(fd).map_err(|e| Error::os("pread", e))?.unwrap_or_default();
        let id = words[4].checked_sub(1).and_then(|id| i32::try_from(id).ok());
        Ok(Self { cookie: [words[0], words[1]], size: words[2], pid: words[3], id })
    }

    /// Whether this file's maker was making that segment when he was killed. (Whether it is complete, the header says.)
    fn is_of(&self, id: i32, found: &sysv::Status) -> bool {
        let by_maker = self.pid == u64::from(found.creator_pid) && self.size == found.size && self.pid != 0;
        self.id == Some(id) || self.id.is_none() && by_maker
    }
}

/// The START byte, until it is dropped.
#[derive(Debug)]
struct Start(OwnedFd);

impl Drop for Start {
    fn drop(&mut self) {
        evidence::give_start_back(self.0.as_fd());
    }
}

/// The lock file, with its START byte.
#[derive(Debug)]
pub(super) struct Sidecar {
    start: Start,
    pub(super) status: Status,
    pub(super) path: PathBuf,
    pub(super) record: Record,
    /// Made by this call: nobody has ever held a row byte of it.
    pub(super) fresh: bool,
}

/// The lock file as it is seen without START, by those who may only read.
#[derive(Debug)]
pub(super) struct Seen {
    pub(super) fd: OwnedFd,
    pub(super) status: Status,
    pub(super) record: Record,
}

impl Seen {
    /// `None`: there is none. `made_by`: who has made the segment.
    pub(super) fn at(path: &Path, made_by: u32) -> Result<Option<Self>> {
        let (fd, status) = match object::open_and_look(path, true) {
            Ok(found) => found,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(unusable(path, e)),
        };
        believe(path, status.uid, Some(made_by))?;
        let record = Record::read(fd.as_fd())?;
        Ok(Some(Self { fd, status, record }))
    }

    /// Whether its user was making that segment when he was killed.
    pub(super) fn is_of(&self, id: i32, found: &sysv::Status) -> bool {
        self.status.uid == found.creator && self.record.is_of(id, found)
    }
}

/// Who a new file is for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Access {
    pub(super) mode: u32,
    /// Who has made the segment, if that may be somebody else.
    pub(super) user: Option<u32>,
    pub(super) group: Option<u32>,
}

impl fmt::Display for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.user, self.group) {
            (Some(user), _) => {
                write!(f, "a new lock file to user {user}, who has made the segment: let him open it")
            }
            (None, Some(group)) => write!(f, "its lock file to group {group}, which takes a member of it"),
            (None, None) => f.write_str("its lock file"),
        }
    }
}

impl Sidecar {
    /// The path for a segment of that key; for one that no key finds, of that id.
    pub(super) fn path_of(key: u32, id: i32) -> Result<PathBuf> {
        Ok(Self::paths()?(key, id))
    }

    /// The same for segments that are still to come: in the ipc namespace that we are in now.
    pub(super) fn paths() -> Result<impl Fn(u32, i32) -> PathBuf> {
        let Ok(namespace) = sysv::namespace() else {
            return Err(Error::Unsupported { what: "System V segments without /proc" });
        };
        Ok(move |key, id| {
            let name = match key {
                sysv::PRIVATE => format!("outlive-sysv-{namespace}-i{id}"),
                _ => format!("outlive-sysv-{namespace}-k{key:08x}"),
            };
            Path::new(object::SHM_DIR).join(name)
        })
    }

    /// The one of that path, once its START byte is ours. `None`: there is none.
    ///
    /// `made_by`: who has made the segment, if there is one.
    pub(super) fn enter(path: &Path, made_by: Option<u32>, patience: &Deadline) -> Result<Option<Self>> {
        loop {
            let (fd, status) = match object::open_and_look(path, false) {
                Ok(found) => found,
                Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
                Err(e) => return Err(unusable(path, e)),
            };
            believe(path, status.uid, made_by)?;
            let taken =
                evidence::try_take_start(fd.as_fd()).map_err(|e| Error::os("fcntl(F_OFD_SETLK)", e))?;
            if taken {
                let record = Record::read(fd.as_fd())?;
                let path = path.to_owned();
                let entered = Self { start: Start(fd), status, path, record, fresh: false };
                if entered.is_named() {
                    return Ok(Some(entered));
                }
            } else if patience.is_over() {
                return Err(super::stuck());
            } else {
                os::clock::pause(PAUSE);
            }
        }
    }

    /// Whether its user was making that segment when he was killed.
    pub(super) fn is_of(&self, id: i32, found: &sysv::Status) -> bool {
        self.status.uid == found.creator && self.record.is_of(id, found)
    }

    /// A new one without a name, with its START byte.
    pub(super) fn unnamed(size: u64, access: Access) -> Result<Self> {
        let dir = Path::new(object::SHM_DIR);
        let fail = |call| move |e| translate(call, e, || object::SHM_DIR.to_owned());
        let fd = object::create_unnamed(dir, access.mode).map_err(fail("open(O_TMPFILE)"))?;
        if !matches!(object::one_kernel(fd.as_fd()), Ok(true)) {
            return Err(Error::Unsupported { what: "System V segments where /dev/shm is not a tmpfs" });
        }
        if access.user.is_some() || access.group.is_some() {
            object::give_to(fd.as_fd(), access.user, access.group)
                .map_err(|e| translate("fchown", e, || access.to_string()))?;
        }
        let status = object::status(fd.as_fd()).map_err(|e| Error::os("fstat", e))?;
        let record =
            Record { cookie: os::process::random(), size, pid: os::process::me().pid.into(), id: None };
        let words = [record.cookie[0], record.cookie[1], size, record.pid, 0];
        object::write_words(fd.as_fd(), 0, &words).map_err(|e| match e.kind() {
            io::ErrorKind::StorageFull => Error::NoSpace { needed: size_of_val(&words) as u64, available: 0 },
            _ => Error::os("pwrite", e),
        })?;
        evidence::try_take_start(fd.as_fd()).map_err(|e| Error::os("fcntl(F_OFD_SETLK)", e))?;
        Ok(Self { start: Start(fd), status, path: PathBuf::new(), record, fresh: true })
    }

    /// Gives it its name, unless something has that name.
    pub(super) fn publish(&mut self, path: &Path) -> Result<bool> {
        match object::publish(self.start.0.as_fd(), path) {
            Ok(()) => {
                path.clone_into(&mut self.path);
                Ok(true)
            }
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Ok(false),
            Err(e) => Err(translate("linkat", e, || path.display().to_string())),
        }
    }

    /// A new one in the place of this one. `None`: somebody else was quicker.
    pub(super) fn replace(self, size: u64, access: Access) -> Result<Option<Self>> {
        let path = self.path.clone();
        let mut new = Self::unnamed(size, access)?;
        self.remove()?;
        Ok(new.publish(&path)?.then_some(new))
    }

    /// Notes the id: from here on a successor knows what we were making.
    pub(super) fn note_id(&mut self, id: i32) -> Result<()> {
        let word = u64::try_from(id).unwrap_or(0) + 1;
        object::write_words(self.start.0.as_fd(), ID_WORD, &[word]).map_err(|e| Error::os("pwrite", e))?;
        self.record.id = Some(id);
        Ok(())
    }

    /// Takes the file away.
    pub(super) fn remove(self) -> Result<()> {
        if !self.is_named() {
            return Ok(());
        }
        object::unlink(&self.path).map_err(|e| translate("unlink", e, || self.path.display().to_string()))
    }

    /// A description that holds nothing.
    pub(super) fn another(&self) -> Result<OwnedFd> {
        another_description(&self.start.0, &self.status, Some(&self.path), false)
    }

    /// Whether the name still means this file, which may have been taken away while we waited.
    fn is_named(&self) -> bool {
        object::status_of(&self.path)
            .is_ok_and(|found| (found.dev, found.ino) == (self.status.dev, self.status.ino))
    }
}

/// By C3.
fn believe(path: &Path, user: u32, made_by: Option<u32>) -> Result<()> {
    if user == sysv::user() || made_by == Some(user) {
        return Ok(());
    }
    let path = path.display();
    let what =
        format!("the lock file {path}: it is user {user}'s, who has not made the segment; have it removed");
    Err(Error::Denied { what })
}

fn unusable(path: &Path, error: io::Error) -> Error {
    let path = path.display();
    if error.kind() == io::ErrorKind::InvalidInput {
        return Error::Denied {
            what: format!("the lock file {path}: it is not a regular file; have it removed"),
        };
    }
    translate("open", error, || path.to_string())
}
