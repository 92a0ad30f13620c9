//! Promise: a segment introduces itself, is never half visible, and refuses what it is not with a typed error.

#![cfg(not(loom))]

use std::io::Write;
use std::os::unix::fs::{FileExt, PermissionsExt};

use outlive::atomic::{AtomicU64, Ordering};
use outlive::object::Object;
use outlive::{Error, Segment};

mod common;
use common::Name;

#[test]
fn every_kind_is_created_opened_and_unlinked() {
    for address in [Name::shm("kinds").address(), Name::file("kinds").address()] {
        assert!(matches!(Segment::open(&address), Err(Error::NotFound { .. })));
        let created = Segment::create(&address, 1 << 16).unwrap();
        assert!(created.created());
        assert_eq!(created.size(), 1 << 16);
        assert!(matches!(Segment::create(&address, 1 << 16), Err(Error::AlreadyExists { .. })));
        let opened = Segment::open_or_create(&address, 1 << 16).unwrap();
        assert!(!opened.created());
        assert!(matches!(Segment::open_or_create(&address, 1 << 20), Err(Error::WrongShape { .. })));
        assert_ne!(created.owner(), opened.owner());
        assert_ne!(created.address(), opened.address(), "two mappings");
        let counter = Object::<AtomicU64>::create(&created, "counter", AtomicU64::default).unwrap();
        counter.store(7, Ordering::Relaxed);
        assert_eq!(Object::<AtomicU64>::open(&opened, "counter").unwrap().load(Ordering::Relaxed), 7);
        Segment::unlink(&address).unwrap();
        assert!(matches!(Segment::unlink(&address), Err(Error::NotFound { .. })));
        assert!(matches!(Segment::open(&address), Err(Error::NotFound { .. })));
        counter.store(8, Ordering::Relaxed); // those who are attached keep it
        assert_eq!(created.attach().unwrap().attachments().unwrap().len(), 3);
    }
}

#[test]
fn a_memfd_is_passed_as_a_descriptor_and_cannot_shrink() {
    let segment = Segment::options().size(1 << 16).memfd("scratch").unwrap();
    let fd = segment.as_fd().unwrap().try_clone_to_owned().unwrap();
    let file = std::fs::File::from(fd.try_clone().unwrap());
    assert!(file.set_len(4096).is_err(), "sealed against shrinking");
    let other = Segment::options().from_fd(fd).unwrap();
    assert_eq!(other.attachments().unwrap().len(), 2);
    drop(segment);
    assert_eq!(other.attachments().unwrap().len(), 1);
}

#[test]
fn attachments_come_and_go_and_rows_run_out() {
    let segment = Segment::options().rows(3).memfd("rows").unwrap();
    let second = segment.attach().unwrap();
    let third = segment.attach().unwrap();
    assert!(matches!(segment.attach(), Err(Error::NoRow { rows: 3 })));
    let gone = third.owner();
    drop(third);
    assert!(segment.is_dead(gone) && !segment.is_dead(second.owner()));
    let fourth = segment.attach().unwrap();
    assert_eq!(fourth.owner().row(), gone.row());
    assert_ne!(fourth.owner(), gone, "the next generation");
    assert!(segment.is_dead(gone) && !segment.is_dead(fourth.owner()));
    let me = segment.attachments().unwrap();
    assert!(me.iter().all(|a| a.alive && a.pid == std::process::id()), "{me:?}");
    assert_eq!(segment.sweep().unwrap().recovered, 0);
}

#[test]
fn objects_are_typed_named_and_removed() {
    let segment = Segment::heap(1 << 16).unwrap();
    let one = Object::<AtomicU64>::create(&segment, "one", AtomicU64::default).unwrap();
    assert!(matches!(
        Object::<AtomicU64>::create(&segment, "one", AtomicU64::default),
        Err(Error::AlreadyExists { .. })
    ));
    let wrong = Object::<[AtomicU64; 2]>::open(&segment, "one").unwrap_err();
    assert!(matches!(&wrong, Error::WrongType { name, .. } if name == "one"), "{wrong}");
    for bad in ["", "a/b", "a\0", &"x".repeat(48)] {
        assert!(matches!(Object::<AtomicU64>::open(&segment, bad), Err(Error::InvalidName { .. })));
    }
    let other = segment.attach().unwrap();
    let held = Object::<AtomicU64>::open(&other, "one").unwrap();
    held.store(5, Ordering::Relaxed);
    segment.remove("one").unwrap();
    assert!(matches!(segment.remove("one"), Err(Error::NotFound { .. })));
    let new = Object::<AtomicU64>::create(&segment, "one", AtomicU64::default).unwrap();
    assert_ne!(new.offset(), one.offset(), "memory under a handle is not used again");
    new.store(9, Ordering::Relaxed);
    assert_eq!(held.load(Ordering::Relaxed), 5);
    let at = one.offset();
    drop((one, held));
    let third = Object::<AtomicU64>::create(&segment, "two", AtomicU64::default).unwrap();
    assert_eq!(third.offset(), at, "memory that nobody has open is used again");
    assert_eq!(third.load(Ordering::Relaxed), 0);
    let names: Vec<_> = segment.objects().unwrap().into_iter().map(|o| o.name).collect();
    assert_eq!(names, ["two", "one"]);
}

#[test]
fn creating_and_removing_for_ever_exhausts_nothing() {
    let segment = Segment::heap(1 << 16).unwrap();
    for round in 0..10_000 {
        let object = Object::<[AtomicU64; 32]>::create(&segment, "again", Default::default);
        assert!(object.is_ok(), "round {round}: {object:?}");
        segment.remove("again").unwrap();
    }
}

#[test]
fn a_full_segment_and_a_full_directory_say_so() {
    let segment = Segment::heap(1 << 16).unwrap();
    let mut objects = Vec::new();
    let error = loop {
        match Object::<[AtomicU64; 32]>::create(&segment, &format!("o{}", objects.len()), Default::default) {
            Ok(object) => objects.push(object),
            Err(error) => break error,
        }
        assert!(objects.len() < 10_000);
    };
    assert!(matches!(error, Error::NoSpace { .. }), "{error}");
    let large = Segment::heap(1 << 16).unwrap();
    let words = Object::<[AtomicU64; 32]>::create(&large, "x", Default::default).unwrap();
    drop(words);
    large.remove("x").unwrap();
    assert!(large.objects().unwrap().is_empty());
}

#[test]
fn more_than_there_is_fails_at_creation() {
    let name = Name::shm("toolarge");
    let error = Segment::create(name.address(), 1 << 50).unwrap_err();
    let Error::NoSpace { needed, available } = error else { panic!("{error}") };
    assert_eq!(needed, 1 << 50);
    assert!(available < needed);
    assert!(matches!(Segment::open(name.address()), Err(Error::NotFound { .. })));
    for size in [0, usize::MAX] {
        assert!(matches!(Segment::create(name.address(), size), Err(Error::InvalidConfig { .. })), "{size}");
    }
    let error = Segment::create(name.address(), 4096).unwrap_err();
    assert!(matches!(error, Error::NoSpace { .. }), "header and tables do not fit: {error}");
    assert!(matches!(Segment::options().rows(0).heap(), Err(Error::InvalidConfig { .. })));
    assert!(matches!(Segment::options().rows(1023).heap(), Err(Error::InvalidConfig { .. })));
    assert!(Segment::options().rows(1022).size(1 << 20).heap().is_ok());
}

#[test]
fn the_mode_is_what_was_asked_for() {
    let name = Name::shm("mode");
    let path = name.path();
    let segment = Segment::create(name.address(), 1 << 16).unwrap();
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    drop(segment);
    Segment::unlink(name.address()).unwrap();
    let shared = Segment::options().mode(0o666).create(name.address()).unwrap();
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o666, "whatever the umask");
    drop(shared);
    assert!(matches!(
        Segment::options().mode(0o7777).create(name.address()),
        Err(Error::InvalidConfig { .. })
    ));
}

#[test]
fn foreign_and_malformed_objects_are_refused_and_not_removed() {
    let name = Name::file("foreign");
    let (zeros, ones) = (vec![0; 4096], vec![0xff; 70_000]);
    for content in [&b""[..], b"x", &zeros, &ones] {
        std::fs::File::create(name.path()).unwrap().write_all(content).unwrap();
        let error = Segment::open(name.address()).unwrap_err();
        assert!(matches!(error, Error::Foreign { .. }), "{error}");
        assert!(matches!(Segment::open_or_create(name.address(), 1 << 16), Err(Error::Foreign { .. })));
        assert!(matches!(Segment::unlink(name.address()), Err(Error::Foreign { .. })));
        assert_eq!(std::fs::read(name.path()).unwrap(), content);
    }
    std::fs::remove_file(name.path()).unwrap();
    // Each constant of the header, changed: an error that names it.
    drop(Segment::create(name.address(), 1 << 16).unwrap());
    for (at, what) in [
        (0, "segment"),
        (8, "version"),
        (24, "flags"),
        (32, "rows"),
        (40, "entries"),
        (48, "rows at"),
        (56, "directory"),
    ] {
        let file = std::fs::OpenOptions::new().read(true).write(true).open(name.path()).unwrap();
        let mut good = [0; 8];
        file.read_exact_at(&mut good, at).unwrap();
        for bad in [u64::MAX, 12_345] {
            file.write_all_at(&bad.to_le_bytes(), at).unwrap();
            let error = Segment::open(name.address()).unwrap_err();
            assert!(matches!(error, Error::Foreign { .. }), "{error}");
            assert!(error.to_string().contains(what), "{error}");
        }
        file.write_all_at(&good, at).unwrap();
        assert!(Segment::open(name.address()).is_ok());
    }
    // Truncated.
    let file = std::fs::OpenOptions::new().write(true).open(name.path()).unwrap();
    file.set_len(8192).unwrap();
    assert!(matches!(Segment::open(name.address()), Err(Error::Foreign { .. })));
}

#[test]
fn directories_fifos_and_devices_are_no_segments() {
    let dir = common::scratch_dir();
    let fifo = dir.join("fifo");
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRUSR).unwrap();
    for path in [fifo.as_path(), dir.as_path(), std::path::Path::new("/dev/zero")] {
        let error = Segment::open(path).unwrap_err();
        assert!(matches!(error, Error::InvalidAddress { .. } | Error::Denied { .. }), "{path:?}: {error}");
    }
    std::fs::remove_file(fifo).unwrap();
    let missing = Segment::create(dir.join("no/such/dir").as_path(), 1 << 16).unwrap_err();
    assert!(matches!(missing, Error::NotFound { .. }), "{missing}");
}

#[test]
fn a_temporary_segment_goes_with_its_last_attachment() {
    for name in [Name::shm("temporary"), Name::file("temporary")] {
        let first = Segment::options().temporary(true).create(name.address()).unwrap();
        let second = Segment::open(name.address()).unwrap();
        drop(first);
        assert!(name.path().exists());
        let third = second.attach().unwrap();
        drop(second);
        assert!(name.path().exists());
        drop(third);
        assert!(!name.path().exists());
    }
}

#[test]
fn prefault_and_locking_work_or_say_why() {
    assert!(Segment::options().prefault(true).memfd("prefault").is_ok());
    match Segment::options().lock_in_ram(true).memfd("lock") {
        Ok(_) => {}
        Err(error) => assert!(matches!(error, Error::Os { .. } | Error::Denied { .. }), "{error}"),
    }
}
