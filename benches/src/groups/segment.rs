//! Setting up: attaching and creating, beside the bare system calls; and what a segment costs in memory.

use std::cell::Cell;
use std::num::NonZeroUsize;
use std::os::fd::{AsFd, OwnedFd};
use std::process;
use std::sync::atomic::{AtomicU32, Ordering};

use nix::fcntl::{FallocateFlags, OFlag, fallocate};
use nix::sys::mman::{MapFlags, ProtFlags, mmap, munmap, shm_open, shm_unlink};
use nix::sys::stat::{Mode, fstat};
use nix::unistd::ftruncate;
use outlive::Segment;

use crate::Result;
use crate::case::Case;
use crate::harness::Setup;
use crate::loops::repeat;
use crate::stats::float;

pub(crate) const ATTACH: &str = "segment/attach/outlive";
pub(crate) const ATTACH_PLAIN: &str = "segment/attach/plain";
pub(crate) const MEMORY: &str = "segment/memory";

/// Large enough for 64 rows and some structures.
const SIZE: usize = 1 << 20;
/// What is created again and again.
const SMALL: usize = 256 << 10;

pub(crate) fn cases() -> Vec<Case> {
    const CREATE_PLAIN: &str = "segment/create/plain";
    let of = |id, case, who, params| Case::new("segment", id, case, who, params);
    let plain_calls = "open, fstat, mmap, munmap, close";
    vec![
        of(ATTACH_PLAIN, "attach and detach", plain_calls, "shm, 1 MiB").ns(attach_plain),
        of(ATTACH, "attach and detach", "outlive", "shm, 1 MiB, ready").ns(attach).against(&[ATTACH_PLAIN]),
        of(CREATE_PLAIN, "create and unlink", "system calls", "shm, 256 KiB, space reserved")
            .ns(create_plain),
        of("segment/create/outlive", "create and unlink", "outlive", "shm, 256 KiB")
            .ns(create)
            .against(&[CREATE_PLAIN]),
        of(MEMORY, "fixed memory", "outlive", "64 rows, empty directory").measured("bytes", fixed_memory),
    ]
}

/// A name in the system's shared memory that is gone when this is dropped, whatever has become of it.
struct Name(String);

impl Name {
    fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let n = NEXT.fetch_add(1, Ordering::Relaxed);
        Self(format!("/outlive-bench-{}-{n}", process::id()))
    }

    /// As an address of a segment.
    fn address(&self) -> String {
        format!("shm:{}", &self.0[1..])
    }
}

impl Drop for Name {
    fn drop(&mut self) {
        // Usually it is gone already.
        shm_unlink(self.0.as_str()).ok();
    }
}

fn open(name: &Name, more: OFlag) -> OwnedFd {
    let flags = OFlag::O_RDWR | OFlag::O_CLOEXEC | more;
    shm_open(name.0.as_str(), flags, Mode::S_IRUSR | Mode::S_IWUSR).expect("a name of our own")
}

/// Maps all of it, does something with its first byte, and unmaps it.
fn map(fd: impl AsFd, touch: bool) {
    let size = usize::try_from(fstat(&fd).expect("an open file").st_size).expect("a size");
    let length = NonZeroUsize::new(size).expect("not empty");
    let prot = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
    // SAFETY: a new mapping at an address of the kernel's choice disturbs no other.
    let base = unsafe { mmap(None, length, prot, MapFlags::MAP_SHARED, fd, 0) }.expect("there is room");
    if touch {
        // SAFETY: the first byte of a fresh mapping, which nobody else has.
        unsafe { base.cast::<u8>().write_volatile(1) };
    }
    // SAFETY: the mapping made above; nothing refers to it any more.
    unsafe { munmap(base, size) }.expect("our own mapping");
}

fn make_plain(name: &Name, size: usize) -> OwnedFd {
    let fd = open(name, OFlag::O_CREAT | OFlag::O_EXCL);
    let size = size.try_into().expect("a small size");
    ftruncate(&fd, size).expect("our own file");
    fallocate(&fd, FallocateFlags::empty(), 0, size).expect("there is room");
    fd
}

fn attach_plain(setup: &Setup) -> Result<f64> {
    let name = Name::new();
    drop(make_plain(&name, SIZE));
    repeat(setup, 200, &|| map(open(&name, OFlag::empty()), false))
}

fn attach(setup: &Setup) -> Result<f64> {
    let name = Name::new();
    let address = name.address();
    let ready = Segment::create(address.as_str(), SIZE)?;
    let time = repeat(setup, 200, &|| {
        let segment = Segment::open(address.as_str()).expect("it is ready");
        assert_eq!(segment.size(), ready_size(), "another segment");
    });
    assert_eq!(ready.size(), ready_size(), "created as asked for");
    time
}

fn ready_size() -> u64 {
    SIZE.try_into().expect("64 bits hold every size")
}

fn create_plain(setup: &Setup) -> Result<f64> {
    let name = Name::new();
    repeat(setup, 20, &|| {
        let fd = make_plain(&name, SMALL);
        map(fd, true);
        shm_unlink(name.0.as_str()).expect("it was just made");
    })
}

fn create(setup: &Setup) -> Result<f64> {
    let name = Name::new();
    let address = name.address();
    repeat(setup, 20, &|| {
        let segment = Segment::create(address.as_str(), SMALL).expect("there is room");
        assert!(segment.created());
        drop(segment);
        Segment::unlink(address.as_str()).expect("it was just made");
    })
}

/// Bytes of the smallest segment that can be had.
fn fixed_memory(_: &Setup) -> Result<f64> {
    let found = Cell::new(None);
    let fits = |size: usize| match Segment::options().rows(64).size(size).memfd("outlive-bench") {
        Ok(segment) => {
            found.set(Some(segment.size()));
            true
        }
        Err(_) => false,
    };
    let (mut too_small, mut enough) = (0, SIZE);
    if !fits(enough) {
        return Err("not even 1 MiB is enough".into());
    }
    while enough - too_small > 1 {
        let middle = usize::midpoint(too_small, enough);
        if fits(middle) {
            enough = middle;
        } else {
            too_small = middle;
        }
    }
    fits(enough);
    Ok(float(found.get().ok_or("nothing was created")?))
}
