//! Promise: a read-only attachment sees all there is to see, leaves no trace, and refuses what would write.

#![cfg(not(loom))]
#![expect(clippy::unwrap_used, reason = "tests")]

use std::fs::File;
use std::os::fd::AsFd;
use std::path::Path;
use std::time::Duration;

use nix::fcntl::{FcntlArg, fcntl};
use nix::libc;
use outlive::atomic::{AtomicU64, Ordering};
use outlive::error::Fault;
use outlive::object::Object;
use outlive::ptr::Offset;
use outlive::ring::spsc::Ring;
use outlive::ring::{records, stream};
use outlive::{Address, Error, Segment, testing};

mod common;
use common::Name;
use common::process::{self, Child, say};
use common::sysv::Key;

/// The children of these tests: see `common::process`.
#[test]
fn child_entry() {
    process::as_child(&[("sender", sender), ("parent", parent), ("locker", locker)]);
}

/// Has sent 3 messages, and keeps the role.
fn sender(args: &[String]) {
    let segment = Segment::open(&args[0]).unwrap();
    let ring = Ring::<u64>::open_or_create(&segment, "ring", 8).unwrap();
    let mut sender = ring.try_sender().unwrap();
    for number in 0..3 {
        sender.send(number).unwrap();
    }
    say("ready");
    process::sleep_for_ever_with(sender)
}

/// Looks, and has a child that does.
fn parent(args: &[String]) {
    let segment = observe(&*args[0]);
    let Some(child) = process::fork() else {
        process::leave(|| {
            assert!(matches!(segment.attachments(), Err(Error::Forked)));
            assert!(matches!(segment.sweep(), Err(Error::Forked)));
            let own = segment.attach().unwrap();
            assert!(own.is_read_only());
            assert_eq!(own.attachments().unwrap().len(), 1);
        })
    };
    child.succeeds();
    assert_eq!(segment.attachments().unwrap().len(), 1);
}

fn observe(address: impl Into<Address>) -> Segment {
    Segment::options().read_only(true).open(address).unwrap()
}

fn bytes(path: &Path) -> Vec<u8> {
    std::fs::read(path).unwrap()
}

/// The byte WATCH, for oneself.
fn alone() -> libc::flock {
    let [l_type, l_whence] =
        [libc::F_WRLCK, libc::SEEK_SET].map(|number| libc::c_short::try_from(number).unwrap());
    libc::flock { l_type, l_whence, l_start: (1 << 62) + 2, l_len: 1, l_pid: 0 }
}

/// Whether somebody looks: whoever wanted the segment for itself would see it.
fn is_watched(path: &Path) -> bool {
    let file = File::open(path).unwrap();
    let mut question = alone();
    fcntl(file.as_fd(), FcntlArg::F_OFD_GETLK(&mut question)).unwrap();
    i32::from(question.l_type) != libc::F_UNLCK
}

#[test]
fn who_wants_to_be_alone_is_not_watched() {
    let name = Name::shm("alone");
    let _segment = Segment::create(name.address(), 1 << 16).unwrap();
    let file = File::options().read(true).write(true).open(name.path()).unwrap();
    fcntl(file.as_fd(), FcntlArg::F_OFD_SETLK(&alone())).unwrap();
    let refused = Segment::options().read_only(true).open(name.address());
    assert!(matches!(refused, Err(Error::Denied { .. })), "at once, and not when it is done: {refused:?}");
    drop(file);
    drop(observe(name.address()));
}

#[test]
fn an_observer_sees_everything_and_leaves_no_trace() {
    for name in [Name::shm("observer"), Name::file("observer")] {
        let segment = Segment::options().rows(1).create(name.address()).unwrap();
        let ring = Ring::<u64>::create(&segment, "ring", 8).unwrap();
        let mut sender = ring.try_sender().unwrap();
        sender.send(7).unwrap();
        let words = Object::<[AtomicU64; 4]>::create(&segment, "words", Default::default).unwrap();
        words[1].store(41, Ordering::Relaxed);
        let before = bytes(&name.path());
        let observer = observe(name.address());
        assert!(observer.is_read_only() && !segment.is_read_only() && !observer.created());
        assert!(is_watched(&name.path()));
        assert_eq!(observer.size(), segment.size());
        assert_eq!(observer.attachments().unwrap(), segment.attachments().unwrap());
        assert_eq!(observer.objects().unwrap(), segment.objects().unwrap());
        assert!(!observer.is_dead(segment.owner()) && !segment.is_dead(observer.owner()));
        let seen = Ring::<u64>::open(&observer, "ring").unwrap();
        assert_eq!((seen.stats(), seen.capacity()), (ring.stats(), 8));
        assert_eq!(seen.stats().sender, Some(segment.owner()));
        assert!(Ring::<u64>::open_or_create(&observer, "ring", 8).is_ok(), "it exists");
        assert!(matches!(Ring::<f64>::open(&observer, "ring"), Err(Error::WrongType { .. })));
        let at = Offset::<u64>::new(words.offset().get() + 8);
        assert_eq!(observer.resolve(at).unwrap().read(), 41);
        words[1].store(42, Ordering::Relaxed);
        assert_eq!(observer.resolve(at).unwrap().read(), 42, "it looks at the thing itself");
        words[1].store(41, Ordering::Relaxed);
        drop((seen, observer));
        assert_eq!(bytes(&name.path()), before);
        assert!(!is_watched(&name.path()));
    }
}

#[expect(clippy::needless_pass_by_value, reason = "results of calls")]
fn read_only<T>(result: Result<T, Error>) -> bool {
    matches!(result, Err(Error::ReadOnly))
}

#[test]
fn what_would_write_is_refused() {
    let name = Name::shm("refused");
    let segment = Segment::create(name.address(), 1 << 16).unwrap();
    let ring = Ring::<u64>::create(&segment, "ring", 8).unwrap();
    let words = Object::<AtomicU64>::create(&segment, "words", AtomicU64::default).unwrap();
    let stream = stream::Ring::create(&segment, "bytes", 4096).unwrap();
    assert_eq!(stream.try_writer().unwrap().try_write(b"abc"), Ok(3));
    records::Ring::create(&segment, "lines", 4096).unwrap().try_sender().unwrap().try_send(b"abc").unwrap();
    let mut doomed = Child::start("sender", &[&name.address().to_string()]);
    doomed.expect("ready");
    doomed.kill();
    let before = bytes(&name.path());
    let first = observe(name.address());
    for observer in [first.attach().unwrap(), first] {
        let seen = Ring::<u64>::open(&observer, "ring").unwrap();
        assert!(read_only(seen.try_sender()) && read_only(seen.try_receiver()));
        assert!(read_only(seen.sender()) && read_only(seen.receiver()));
        let soon = Duration::from_millis(1);
        assert!(read_only(seen.sender_timeout(soon)) && read_only(seen.receiver_timeout(soon)));
        let (bytes, lines) = (
            stream::Ring::open(&observer, "bytes").unwrap(),
            records::Ring::open(&observer, "lines").unwrap(),
        );
        assert_eq!((bytes.stats().depth, lines.stats().depth > 0), (3, true));
        assert!(read_only(bytes.try_writer()) && read_only(bytes.try_reader()));
        assert!(read_only(lines.try_sender()) && read_only(lines.try_receiver()));
        assert!(read_only(stream::Ring::create(&observer, "new", 4096)));
        assert!(read_only(records::Ring::open_or_create(&observer, "new", 4096)));
        assert!(read_only(Ring::<u64>::create(&observer, "ring", 8)));
        assert!(read_only(Ring::<u64>::create(&observer, "new", 8)));
        assert!(read_only(Ring::<u64>::open_or_create(&observer, "new", 8)));
        assert!(read_only(Object::<AtomicU64>::open(&observer, "words")));
        assert!(read_only(Object::<AtomicU64>::create(&observer, "new", AtomicU64::default)));
        assert!(read_only(Object::<AtomicU64>::open_or_create(&observer, "words", AtomicU64::default)));
        assert!(read_only(observer.remove("words")) && read_only(observer.remove("new")));
        assert!(read_only(observer.sweep()), "though somebody is dead");
        let at = Offset::<u64>::new(words.offset().get());
        assert_eq!(observer.resolve(at).unwrap().write(1), Err(Fault::ReadOnly));
        assert!(matches!(testing::kill(&observer), Err(Error::Unsupported { .. })));
        let dead = observer.attachments().unwrap().into_iter().filter(|each| !each.alive).count();
        assert_eq!(dead, 1);
        // SAFETY: this test alone writes the segment, through this crate, and forks no more.
        let trusted = unsafe { observer.trust() };
        let trusted = Ring::<u64, outlive::Trusted>::open(&trusted, "ring");
        assert!(matches!(trusted, Err(Error::WrongType { .. }) | Ok(_)));
        assert!(trusted.map_or(true, |ring| read_only(ring.try_sender())));
    }
    assert_eq!(bytes(&name.path()), before);
    assert_eq!(ring.try_receiver().unwrap().try_recv(), Ok(0), "and nothing is held");
}

#[test]
fn an_observer_creates_nothing() {
    let name = Name::shm("nothing");
    let options = Segment::options().read_only(true);
    let refused = |result: Result<Segment, Error>| matches!(result, Err(Error::InvalidConfig { .. }));
    assert!(refused(options.create(name.address())));
    assert!(refused(options.open_or_create(name.address())));
    assert!(refused(options.memfd("nothing")) && refused(options.heap()));
    assert!(matches!(options.open(name.address()), Err(Error::NotFound { .. })));
    std::fs::write(name.path(), vec![7; 70_000]).unwrap();
    assert!(matches!(options.open(name.address()), Err(Error::Foreign { .. })));
    std::fs::write(name.path(), b"x").unwrap();
    assert!(matches!(options.open(name.address()), Err(Error::Foreign { .. })));
}

#[test]
fn deaths_are_seen() {
    let name = Name::shm("deaths");
    let address = name.address().to_string();
    let segment = Segment::create(name.address(), 1 << 16).unwrap();
    let observer = observe(name.address());
    let mut starts: Vec<fn(&str) -> Option<Child>> = vec![|address| Some(Child::start("sender", &[address]))];
    starts.push(|address| Child::start_in_a_pid_namespace("sender", &[address]));
    for start in starts {
        let Some(mut child) = start(&address) else { continue };
        child.expect("ready");
        let ring = Ring::<u64>::open(&observer, "ring").unwrap();
        let owner = ring.stats().sender.unwrap();
        assert!(!observer.is_dead(owner));
        child.kill();
        assert!(process::soon(|| observer.is_dead(owner)));
        let listed = observer.attachments().unwrap().into_iter().find(|each| each.owner == owner);
        assert!(!listed.expect("nobody has swept it").alive);
        assert_eq!(segment.sweep().unwrap().recovered, 1);
        assert!(observer.is_dead(owner));
        assert!(observer.attachments().unwrap().iter().all(|each| each.owner != owner));
        segment.remove("ring").unwrap();
    }
}

#[test]
fn nobody_waits_for_an_observer() {
    let name = Name::shm("waits");
    let segment = Segment::options().temporary(true).create(name.address()).unwrap();
    let observer = observe(name.address());
    drop(segment);
    assert!(!name.path().exists(), "its last attachment is gone");
    assert!(observer.attachments().unwrap().is_empty());
    let error = observer.attach().unwrap_err();
    assert!(matches!(error, Error::NotFound { .. }), "it is no more: {error}");
    let next = Segment::options().temporary(true).create(name.address()).unwrap();
    drop(observer);
    assert!(name.path().exists(), "another segment of that name");
    drop(observe(name.address()));
    assert!(name.path().exists(), "who looks does not remove");
    drop(next);
}

#[test]
fn nothing_is_kept_for_an_observer() {
    let name = Name::shm("kept");
    let segment = Segment::create(name.address(), 1 << 16).unwrap();
    drop(Ring::<u64>::create(&segment, "old", 8).unwrap());
    let observer = observe(name.address());
    let old = Ring::<u64>::open(&observer, "old").unwrap();
    segment.remove("old").unwrap();
    let ring = Ring::<u64>::create(&segment, "new", 16).unwrap();
    ring.try_sender().unwrap().send(1).unwrap();
    let new = Ring::<u64>::open(&observer, "new").unwrap();
    assert_eq!(segment.objects().unwrap().len(), 1, "its memory is used again");
    assert_eq!(new.stats(), ring.stats());
    assert!(old.stats().depth <= 8, "something, within its bounds");
    assert!(matches!(Ring::<u64>::open(&observer, "old"), Err(Error::NotFound { .. })));
}

#[test]
fn a_descriptor_can_be_observed() {
    let segment = Segment::options().memfd("observed").unwrap();
    Ring::<u64>::create(&segment, "ring", 8).unwrap();
    let fd = || segment.as_fd().unwrap().try_clone_to_owned().unwrap();
    let observer = Segment::options().read_only(true).from_fd(fd()).unwrap();
    assert_eq!(observer.objects().unwrap().len(), 1);
    let further = observer.attach().unwrap();
    assert!(further.is_read_only());
    let passed_on = observer.as_fd().unwrap().try_clone_to_owned().unwrap();
    let again = Segment::options().read_only(true).from_fd(passed_on).unwrap();
    assert_eq!(again.attachments().unwrap().len(), 1);
    for options in [Segment::options().prefault(true), Segment::options().lock_in_ram(true)] {
        let result = options.read_only(true).from_fd(fd());
        assert!(matches!(result, Ok(_) | Err(Error::Os { .. } | Error::Denied { .. })), "{result:?}");
    }
}

/// Looks at each segment, and keeps it in memory.
fn locker(addresses: &[String]) {
    let locked = || {
        let text = std::fs::read_to_string("/proc/self/status").unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix("VmLck:")).unwrap();
        line.trim().strip_suffix(" kB").unwrap().parse::<u64>().unwrap()
    };
    for address in addresses {
        let before = locked();
        let result = Segment::options().read_only(true).lock_in_ram(true).open(address);
        if matches!(&result, Err(Error::Denied { .. } | Error::Os { .. })) {
            continue; // it says so
        }
        let observer = result.unwrap();
        assert_eq!((locked() - before) * 1024, observer.size(), "{address}");
    }
}

#[test]
fn what_it_asks_for_its_mapping_is_done() {
    let (name, key) = (Name::shm("locked"), Key::new());
    let _segments = [name.address(), key.address()].map(|address| Segment::create(address, 1 << 15).unwrap());
    Child::start("locker", &[&name.address().to_string(), &key.text()]).succeeds();
}

#[test]
fn an_observer_survives_the_loss_of_its_name() {
    let name = Name::file("lost");
    let _segment = Segment::create(name.address(), 1 << 16).unwrap();
    let observer = observe(name.address());
    Segment::unlink(name.address()).unwrap();
    assert_eq!(observer.attach().unwrap().attachments().unwrap().len(), 1);
}

#[test]
fn in_a_forked_child_an_observer_refuses_and_attaches_for_itself() {
    let name = Name::shm("forked");
    let _segment = Segment::create(name.address(), 1 << 16).unwrap();
    Child::start("parent", &[&name.address().to_string()]).succeeds();
}
