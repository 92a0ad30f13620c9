//! What a crash can leave: the bytes of a segment, or whether there is a segment of that name and which bytes it has.

use std::fs::File;
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

use memmap2::Mmap;
use nix::fcntl::{FcntlArg, SealFlag, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::unistd::Pid;

use outlive::{Address, Error, Result, Segment};

/// Bytes of a segment; `None`: there is none.
pub(crate) type State = Option<Vec<u8>>;

/// How the segments of a case are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Shape {
    /// In POSIX shared memory, under a name: the case is about that name. Otherwise a memfd, which is always there.
    pub named: bool,
    /// Bytes. The smaller, the faster: they are compared after each instruction.
    pub size: usize,
    /// Attachments at most; [given](crate::Case::given), peers, victim, recoverer and survivor have one each.
    pub rows: u16,
}

/// Where the segment of a case lives, or will.
#[derive(Debug)]
pub struct World(Place);

#[derive(Debug)]
enum Place {
    Memory(File),
    Named(Name),
}

/// In shared memory; removed when dropped, with all that was made of it.
#[derive(Debug)]
struct Name(String);

const SHARED_MEMORY: &str = "/dev/shm";
const NAMES: &str = "outlive-kill-";

impl Name {
    fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed); // unique, whatever the order
        Self(format!("{NAMES}{}-{number}.", std::process::id()))
    }

    fn path(&self) -> PathBuf {
        PathBuf::from(SHARED_MEMORY).join(&self.0)
    }
}

impl Drop for Name {
    fn drop(&mut self) {
        remove_all_of(&self.0);
    }
}

/// Names in shared memory that were made of this one, itself included.
fn all_of(name: &str) -> impl Iterator<Item = String> {
    let names = std::fs::read_dir(SHARED_MEMORY).into_iter().flatten().flatten();
    names
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .filter(move |other| other.contains(name))
}

fn remove_all_of(name: &str) {
    for name in all_of(name) {
        let _ = std::fs::remove_file(PathBuf::from(SHARED_MEMORY).join(name));
    }
}

/// What a process has left that was killed, or has hung.
pub(crate) fn remove_names_of(pid: Pid) {
    remove_all_of(&format!("{NAMES}{pid}-"));
}

impl World {
    /// A fresh one: a segment with nothing in it, or a free name.
    pub(crate) fn new(shape: Shape) -> Self {
        if shape.named {
            return Self(Place::Named(Name::new()));
        }
        let options = Segment::options().size(shape.size).rows(shape.rows);
        let segment = options.memfd("kill").expect("a memfd of that shape");
        let fd = segment.as_fd().expect("a memfd has a descriptor").try_clone_to_owned();
        Self(Place::Memory(File::from(fd.expect("one more descriptor"))))
    }

    /// One that is in this state: another object, at another address wherever it is mapped. Nobody is attached to it: all
    /// that the state names are dead, by the kernel's evidence.
    pub(crate) fn in_state(shape: Shape, state: &State) -> Self {
        let bytes = state.as_deref();
        if shape.named {
            let name = Name::new();
            if let Some(bytes) = bytes {
                std::fs::write(name.path(), bytes).expect("shared memory can be written");
            }
            return Self(Place::Named(name));
        }
        let flags = MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING;
        let file = File::from(memfd_create("kill", flags).expect("a memfd"));
        file.write_all_at(bytes.expect("a memfd is always there"), 0).expect("a memfd can be written");
        fcntl(&file, FcntlArg::F_ADD_SEALS(SealFlag::F_SEAL_SHRINK)).expect("a memfd can be sealed");
        Self(Place::Memory(file))
    }

    /// An attachment of one's own.
    ///
    /// # Errors
    /// Those of [`Options::from_fd`](outlive::segment::Options::from_fd) and [`Segment::open`].
    pub fn open(&self) -> Result<Segment> {
        match &self.0 {
            Place::Memory(file) => {
                let fd = file.as_fd().try_clone_to_owned();
                let fd = fd.map_err(|source| Error::Os { call: "dup", source })?;
                Segment::options().from_fd(fd)
            }
            Place::Named(name) => Segment::open(name.0.as_str()),
        }
    }

    /// The same, where there is a segment.
    ///
    /// # Panics
    /// If there is none, or it does not take us.
    pub fn attach(&self) -> Segment {
        self.open().expect("whoever comes can attach")
    }

    /// The same; `None` where there is none.
    ///
    /// # Panics
    /// If there is one, and it does not take us.
    pub fn find(&self) -> Option<Segment> {
        match self.open() {
            Err(Error::NotFound { .. }) => None,
            other => Some(other.expect("whoever comes can attach")),
        }
    }

    /// The name of a case that is about one.
    ///
    /// # Panics
    /// If its [shape](Shape) has no name.
    pub fn address(&self) -> Address {
        match &self.0 {
            Place::Memory(_) => panic!("a memfd has no name: `..NAMED` has one"),
            Place::Named(name) => Address::from(name.0.as_str()),
        }
    }

    /// What it is now.
    pub(crate) fn state(&self) -> State {
        match &self.0 {
            Place::Memory(file) => Some(read(file)),
            Place::Named(name) => File::open(name.path()).ok().map(|file| read(&file)),
        }
    }

    /// The bytes themselves, to be compared step by step. A name may mean something else any time.
    pub(crate) fn view(&self) -> Option<Mmap> {
        match &self.0 {
            // SAFETY: of a size that does not change; read only while whoever writes there is stopped.
            Place::Memory(file) => Some(unsafe { Mmap::map(file) }.expect("a memfd can be mapped")),
            Place::Named(_) => None,
        }
    }

    /// Other names in shared memory that were made of this one, and were left behind.
    pub(crate) fn strays(&self) -> Vec<String> {
        let Place::Named(name) = &self.0 else { return Vec::new() };
        all_of(&name.0).filter(|other| *other != name.0).collect()
    }
}

fn read(file: &File) -> Vec<u8> {
    let size = file.metadata().expect("an open file").len();
    let mut bytes = vec![0; usize::try_from(size).expect("it fits into memory")];
    file.read_exact_at(&mut bytes, 0).expect("an open file can be read");
    bytes
}
