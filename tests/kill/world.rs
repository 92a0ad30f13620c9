//! What a crash can leave: the bytes of a segment, or whether there is a segment of that name and which bytes it has.

use std::fs::File;
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;

use memmap2::Mmap;
use nix::fcntl::{FcntlArg, SealFlag, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};

use outlive::{Address, Error, Result, Segment};

use super::common::Name;

/// Bytes of a segment; `None`: there is none.
pub(crate) type State = Option<Vec<u8>>;

/// Where a segment lives, or will.
pub(crate) enum World {
    /// A memfd.
    Memory(File),
    /// A name in shared memory.
    Named(Name),
}

/// How the segments of a case are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Shape {
    pub(crate) named: bool,
    pub(crate) size: usize,
    pub(crate) rows: u16,
}

impl World {
    /// A fresh one: a segment with nothing in it, or a free name.
    pub(crate) fn new(shape: Shape) -> Self {
        if shape.named {
            return Self::Named(Name::shm("kill"));
        }
        let segment = Segment::options().size(shape.size).rows(shape.rows).memfd("kill").unwrap();
        let fd = segment.as_fd().unwrap().try_clone_to_owned().unwrap();
        Self::Memory(File::from(fd))
    }

    /// One that is in this state: another object, at another address wherever it is mapped. Nobody is attached to it: all
    /// that the state names are dead, by the kernel's evidence.
    pub(crate) fn in_state(shape: Shape, state: &State) -> Self {
        let bytes = state.as_deref();
        if shape.named {
            let name = Name::shm("kill");
            if let Some(bytes) = bytes {
                std::fs::write(name.path(), bytes).unwrap();
            }
            return Self::Named(name);
        }
        let fd = memfd_create("kill", MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING).unwrap();
        let file = File::from(fd);
        file.write_all_at(bytes.expect("a memfd is always there"), 0).unwrap();
        fcntl(&file, FcntlArg::F_ADD_SEALS(SealFlag::F_SEAL_SHRINK)).unwrap();
        Self::Memory(file)
    }

    /// An attachment of one's own.
    pub(crate) fn open(&self) -> Result<Segment> {
        match self {
            Self::Memory(file) => Segment::options().from_fd(file.as_fd().try_clone_to_owned().unwrap()),
            Self::Named(name) => Segment::open(name.address()),
        }
    }

    /// The same, where there is one.
    pub(crate) fn attach(&self) -> Segment {
        self.open().unwrap()
    }

    /// The same; `None` where there is none.
    pub(crate) fn find(&self) -> Option<Segment> {
        match self.open() {
            Err(Error::NotFound { .. }) => None,
            other => Some(other.unwrap()),
        }
    }

    pub(crate) fn address(&self) -> Address {
        match self {
            Self::Memory(_) => unreachable!("a memfd has no name"),
            Self::Named(name) => name.address(),
        }
    }

    /// What it is now.
    pub(crate) fn state(&self) -> State {
        match self {
            Self::Memory(file) => Some(read(file)),
            Self::Named(name) => File::open(name.path()).ok().map(|file| read(&file)),
        }
    }

    /// The bytes themselves, to be compared step by step. A name may mean something else any time.
    pub(crate) fn view(&self) -> Option<Mmap> {
        match self {
            // SAFETY: of a size that does not change; read only while whoever writes there is stopped.
            Self::Memory(file) => Some(unsafe { Mmap::map(file) }.unwrap()),
            Self::Named(_) => None,
        }
    }
}

fn read(file: &File) -> Vec<u8> {
    let size = file.metadata().unwrap().len();
    let mut bytes = vec![0; usize::try_from(size).unwrap()];
    file.read_exact_at(&mut bytes, 0).unwrap();
    bytes
}
