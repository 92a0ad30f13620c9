//! Promise: huge pages are had or refused with a typed error; a segment of them is a segment, and never faults.

#![cfg(not(loom))]
#![expect(clippy::unwrap_used, reason = "tests")]

use std::fs;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::sys::resource::{Resource, setrlimit};
use nix::unistd::{Gid, Uid, geteuid, setgid, setgroups, setuid};
use outlive::ring::records;
use outlive::ring::spsc::Ring;
use outlive::segment::HugePages;
use outlive::{Error, Segment};

mod common;
use common::Name;
use common::process::{self, Child, say};
use common::sysv::Key;

/// The children of these tests: see `common::process`.
#[test]
fn child_entry() {
    process::as_child(&[("filer", filer), ("commoner", commoner)]);
}

const MB2: u64 = 2 << 20;
const POOL: &str = "/proc/sys/vm/nr_hugepages";

/// More huge pages than there were, given back when dropped. One at a time.
struct Pool {
    before: String,
    _alone: MutexGuard<'static, ()>,
}

impl Pool {
    /// `None`, and a visible word, where there is nothing to be had.
    fn with(pages: u64) -> Option<Self> {
        let alone = alone();
        let before = fs::read_to_string(POOL).unwrap_or_default();
        let pool = Self { before, _alone: alone };
        let had: u64 = pool.before.trim().parse().unwrap_or(0);
        let size = fs::read_to_string("/proc/meminfo").unwrap_or_default();
        let is_usual =
            size.lines().any(|line| line.starts_with("Hugepagesize:") && line.contains(" 2048 kB"));
        let raised = is_usual && fs::write(POOL, (had + pages).to_string()).is_ok();
        if raised && free() >= pages {
            return Some(pool);
        }
        process::visibly("NOT TESTED: segments of huge pages: this machine gives none");
        None
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        let _ = fs::write(POOL, self.before.trim());
    }
}

/// Other tests here count free pages.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn free() -> u64 {
    let text = fs::read_to_string("/sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages");
    text.ok().and_then(|text| text.trim().parse().ok()).unwrap_or(0)
}

fn of_2_mib(size: usize) -> outlive::segment::Options {
    Segment::options().size(size).huge_pages(HugePages::Mb2)
}

/// Whatever maps, locks or copies, with a segment of two huge pages.
fn works(segment: &Segment) {
    assert_eq!(segment.size(), 2 * MB2, "rounded up");
    let ring = Ring::<u64>::create(segment, "ring", 1 << 18).unwrap();
    let (mut sender, mut receiver) = (ring.try_sender().unwrap(), ring.try_receiver().unwrap());
    for number in 0..1 << 18 {
        sender.send(number).unwrap(); // every page is touched
    }
    assert_eq!(receiver.recv(), Ok(0));
    let bytes = records::Ring::create(segment, "bytes", 1 << 16).unwrap();
    bytes.try_sender().unwrap().try_send(b"hello").unwrap(); // it cannot be mapped twice, and must not be by half
    segment.flush().unwrap();
    let other = segment.attach().unwrap();
    assert_ne!(other.address(), segment.address());
    assert_eq!(Ring::<u64>::open(&other, "ring").unwrap().stats(), ring.stats());
    let gone = other.owner();
    drop(other);
    assert!(segment.is_dead(gone));
    let copy = segment.snapshot().unwrap();
    assert_eq!(Ring::<u64>::open(&copy, "ring").unwrap().try_receiver().unwrap().recv(), Ok(1));
    assert_eq!(segment.attachments().unwrap().len(), 1);
}

#[test]
fn a_memfd_of_huge_pages_is_a_segment() {
    let Some(_pool) = Pool::with(8) else { return };
    let before = free();
    // A row is given out again only if a detach frees its byte.
    let segment = of_2_mib(3 << 20).rows(2).memfd("huge").unwrap();
    assert_eq!(free(), before - 2, "reserved");
    works(&segment);
    for _ in 0..5 {
        let fd = segment.as_fd().unwrap().try_clone_to_owned().unwrap();
        let other = Segment::options().from_fd(fd).unwrap();
        assert!(matches!(segment.attach(), Err(Error::NoRow { .. })));
        drop(other);
    }
    let fd = segment.as_fd().unwrap().try_clone_to_owned().unwrap();
    let observer = Segment::options().read_only(true).from_fd(fd).unwrap();
    assert_eq!(observer.objects().unwrap().len(), 2);
    let (ours, _theirs) = UnixStream::pair().unwrap();
    assert!(matches!(segment.send_over(&ours), Err(Error::Denied { .. })), "pages could be taken out");
    drop((observer, segment));
    assert_eq!(free(), before, "every mapping is gone");
    drop(of_2_mib(1).prefault(true).anonymous().unwrap());
    assert_eq!(free(), before);
}

#[test]
fn too_few_pages_are_an_error_and_not_a_signal() {
    let _alone = alone();
    let before = free();
    let size = usize::try_from((before + 5) * MB2).unwrap();
    match of_2_mib(size).anonymous() {
        Err(Error::NoSpace { needed, available }) => {
            assert_eq!(needed, size as u64);
            assert!(available < needed && available % MB2 == 0);
        }
        Err(Error::Unsupported { .. }) => process::visibly("NOT TESTED: this kernel has no pages of 2 MiB"),
        other => panic!("{other:?}"),
    }
    assert_eq!(free(), before, "nothing is kept");
    match Segment::options().size(1 << 40).huge_pages(HugePages::Gb1).anonymous() {
        Err(Error::NoSpace { .. } | Error::Unsupported { .. }) => {}
        other => panic!("{other:?}"),
    }
    assert!(matches!(of_2_mib(0).anonymous(), Err(Error::InvalidConfig { .. })));
    assert!(matches!(of_2_mib(usize::MAX).anonymous(), Err(Error::InvalidConfig { .. })));
}

#[test]
fn system_v_memory_of_huge_pages_is_a_segment() {
    let Some(_pool) = Pool::with(8) else { return };
    let (before, key) = (free(), Key::new());
    let segment = of_2_mib(3 << 20).rows(2).create(key.address()).unwrap();
    assert_eq!(free(), before - 2, "had, and not only promised");
    works(&segment);
    for _ in 0..5 {
        let other = Segment::open(key.address()).unwrap();
        assert!(matches!(segment.attach(), Err(Error::NoRow { .. })));
        drop(other);
    }
    let observer = Segment::options().read_only(true).open(key.address()).unwrap();
    assert_eq!(observer.snapshot().unwrap().objects().unwrap().len(), 2);
    drop((observer, segment));
    assert!(matches!(of_2_mib(5 << 20).open_or_create(key.address()), Err(Error::WrongShape { .. })));
    assert!(!of_2_mib(4 << 20).open_or_create(key.address()).unwrap().created());
    Segment::unlink(key.address()).unwrap();
    assert!(key.is_clean());
    assert_eq!(free(), before);
    let private = of_2_mib(1).prefault(true).temporary(true).sysv_private().unwrap();
    assert_eq!((private.size(), free()), (MB2, before - 1));
    drop(private);
    assert_eq!(free(), before);
}

#[test]
fn system_v_memory_of_too_few_pages_is_an_error_and_leaves_nothing() {
    let _alone = alone();
    let (before, key) = (free(), Key::new());
    let size = usize::try_from((before + 5) * MB2).unwrap();
    for result in [of_2_mib(size).create(key.address()), of_2_mib(size).sysv_private()] {
        match result {
            Err(Error::NoSpace { needed, available }) => {
                assert_eq!(needed, size as u64);
                assert!(available < needed && available % MB2 == 0);
            }
            Err(Error::Unsupported { .. }) => {
                process::visibly("NOT TESTED: this kernel has no pages of 2 MiB");
            }
            other => panic!("{other:?}"),
        }
    }
    let gigantic = Segment::options().size(1 << 40).huge_pages(HugePages::Gb1).create(key.address());
    assert!(matches!(gigantic, Err(Error::NoSpace { .. } | Error::Unsupported { .. })), "{gigantic:?}");
    assert!(matches!(of_2_mib(0).create(key.address()), Err(Error::InvalidConfig { .. })));
    assert!(matches!(of_2_mib(usize::MAX).create(key.address()), Err(Error::InvalidConfig { .. })));
    assert!(key.is_clean());
    assert_eq!(free(), before, "nothing is kept");
}

/// A user without privileges, who may lock nothing.
fn commoner(args: &[String]) {
    let nobody = 65_534;
    setrlimit(Resource::RLIMIT_MEMLOCK, 0, 0).unwrap();
    setgroups(&[]).unwrap();
    setgid(Gid::from_raw(nobody)).unwrap();
    setuid(Uid::from_raw(nobody)).unwrap();
    let error = of_2_mib(1).create(&args[0]).unwrap_err();
    assert!(
        matches!(error, Error::Denied { .. }) && error.to_string().contains("hugetlb_shm_group"),
        "{error}"
    );
    assert!(matches!(of_2_mib(1).sysv_private(), Err(Error::Denied { .. })));
}

#[test]
fn system_v_gives_huge_pages_to_the_privileged() {
    let Some(_pool) = Pool::with(2) else { return };
    if !geteuid().is_root() {
        process::visibly("NOT TESTED: users without privileges: this is not run by root");
        return;
    }
    let key = Key::new();
    Child::start("commoner", &[&key.text()]).succeeds();
    assert!(key.is_clean());
}

#[test]
fn elsewhere_there_are_none_of_an_explicit_size() {
    for name in [Name::shm("huge"), Name::file("huge")] {
        for result in
            [of_2_mib(1 << 20).create(name.address()), of_2_mib(1 << 20).open_or_create(name.address())]
        {
            let error = result.unwrap_err();
            assert!(matches!(error, Error::Unsupported { .. }), "{error}");
            assert!(error.to_string().contains("hugetlbfs"), "it says what to do: {error}");
        }
        assert!(!name.path().exists());
        // They are a matter of creation.
        let _segment = Segment::create(name.address(), 1 << 16).unwrap();
        assert!(of_2_mib(1 << 16).open(name.address()).is_ok());
    }
    assert!(matches!(of_2_mib(1 << 20).heap(), Err(Error::Unsupported { .. })));
}

#[test]
fn transparent_ones_are_an_advice() {
    let options = Segment::options().size(4 << 20).huge_pages(HugePages::Transparent);
    let names = [Name::shm("thp"), Name::file("thp")];
    let linked = names.each_ref().map(|name| options.create(name.address()).unwrap());
    for segment in linked.into_iter().chain([options.anonymous().unwrap(), options.heap().unwrap()]) {
        let ring = Ring::<u64>::create(&segment, "ring", 1 << 16).unwrap();
        let mut sender = ring.try_sender().unwrap();
        for number in 0..1 << 16 {
            sender.send(number).unwrap();
        }
        assert_eq!(segment.attach().unwrap().attachments().unwrap().len(), 2);
    }
    let observe = options.read_only(true).open(names[0].address()).unwrap();
    assert_eq!(observe.objects().unwrap().len(), 1);
}

/// Files of huge pages, in a file system that is mounted for this process only.
fn filer(args: &[String]) {
    let dir = Path::new(&args[0]);
    let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
    let nothing: Option<&str> = None;
    let mounted = unshare(CloneFlags::CLONE_NEWNS)
        .and_then(|()| mount(nothing, "/", nothing, private, nothing))
        .and_then(|()| mount(Some("none"), dir, Some("hugetlbfs"), MsFlags::empty(), Some("pagesize=2M")));
    if let Err(why) = mounted {
        say(&format!("NOT TESTED: files of huge pages: {why}"));
        return;
    }
    let path = dir.join("segment");
    let segment = match of_2_mib(3 << 20).create(path.as_path()) {
        Err(Error::Unsupported { what }) if what.contains("O_TMPFILE") => {
            say("NOT TESTED: files of huge pages: this kernel makes none without a name");
            return;
        }
        other => other.unwrap(),
    };
    works(&segment);
    let gigantic = Segment::options().huge_pages(HugePages::Gb1).create(dir.join("other").as_path());
    assert!(matches!(gigantic, Err(Error::Unsupported { .. })), "of another size");
    drop(Segment::options().size(3 << 20).create(dir.join("unasked").as_path()).unwrap());
    assert_eq!(Segment::open(dir.join("unasked").as_path()).unwrap().size(), 2 * MB2);
    let pages = free();
    drop(segment);
    Segment::unlink(path.as_path()).unwrap();
    Segment::unlink(dir.join("unasked").as_path()).unwrap();
    assert_eq!(free(), pages + 4, "nothing keeps them");
    say("fine");
}

#[test]
fn a_file_of_huge_pages_is_a_segment() {
    let Some(_pool) = Pool::with(8) else { return };
    let name = Name::file("hugetlbfs");
    fs::create_dir(name.path()).unwrap();
    let mut child = Child::start("filer", &[&name.path().display().to_string()]);
    let word = child.hear();
    child.succeeds();
    fs::remove_dir(name.path()).unwrap();
    if word != "fine" {
        process::visibly(&word);
    }
}
