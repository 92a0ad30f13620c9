//! Promise: a segment in System V shared memory is like any other: complete or not there, and clean when it is removed;
//! and what strangers keep under a key is left alone.

#![cfg(not(loom))]
#![expect(clippy::unwrap_used, reason = "tests")]

use std::fs::{self, File};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;

use nix::sys::stat::{Mode, umask};
use nix::unistd::{Gid, Uid};
use outlive::atomic::{AtomicU64, Ordering};
use outlive::error::RecvError;
use outlive::object::Object;
use outlive::ring::spsc::{Receiver, Ring};
use outlive::{Address, Error, Segment, segment};

mod common;
#[path = "sysv/crashes.rs"]
mod crashes;
#[path = "sysv/sidecar.rs"]
mod sidecar;
use common::Name;
use common::process::{self, Child, fork, leave, say};
use common::sysv::{self as raw, Key, Private, Raw};

/// The children of these tests: see `common::process`.
#[test]
fn child_entry() {
    process::as_child(&[
        ("holder", holder),
        ("streamer", streamer),
        ("parent", parent),
        ("limited", limited),
        ("nobody", nobody),
        ("masked", masked),
        ("maker", crashes::maker),
        ("leaver", crashes::leaver),
        ("remover", crashes::remover),
        ("private maker", crashes::private_maker),
        ("racer", crashes::racer),
        ("churner", crashes::churner),
        ("commuter", crashes::commuter),
        ("starter", sidecar::starter),
        ("visitor", sidecar::visitor),
        ("emigrant", sidecar::emigrant),
    ]);
}

#[test]
fn it_is_created_opened_and_unlinked() {
    let key = Key::new();
    assert!(matches!(Segment::open(key.address()), Err(Error::NotFound { .. })));
    assert!(key.is_clean(), "nothing was made");
    let created = Segment::create(key.address(), 1 << 16).unwrap();
    assert!(created.created() && created.size() == 1 << 16 && created.as_fd().is_none());
    assert!(matches!(Segment::create(key.address(), 1 << 16), Err(Error::AlreadyExists { .. })));
    let decimal = format!("sysv:{}", key.number());
    let opened = Segment::open_or_create(&decimal, 1 << 16).unwrap();
    assert!(!opened.created());
    let by_id = Segment::open(format!("sysv:#{}", key.id().unwrap())).unwrap();
    assert_eq!(by_id.sysv_address().unwrap().to_string(), format!("sysv:{:#010x}", key.number()));
    assert!(matches!(Segment::open_or_create(key.address(), 1 << 20), Err(Error::WrongShape { .. })));
    assert_ne!(created.address(), opened.address(), "two mappings");
    assert_eq!(created.attachments().unwrap().len(), 3);
    let counter = Object::<AtomicU64>::create(&created, "counter", AtomicU64::default).unwrap();
    counter.store(7, Ordering::Relaxed);
    assert_eq!(Object::<AtomicU64>::open(&opened, "counter").unwrap().load(Ordering::Relaxed), 7);
    Segment::unlink(key.address()).unwrap();
    assert!(key.is_clean());
    assert!(matches!(Segment::unlink(key.address()), Err(Error::NotFound { .. })));
    assert!(matches!(Segment::open(key.address()), Err(Error::NotFound { .. })));
    assert_eq!(created.sysv_address(), None);
    let fresh = Segment::create(key.address(), 1 << 16).unwrap();
    assert_eq!(fresh.attachments().unwrap().len(), 1);
    counter.store(8, Ordering::Relaxed); // those who are attached keep theirs
    let again = created.attach().unwrap();
    assert_eq!(again.attachments().unwrap().len(), 4);
    assert_eq!(Object::<AtomicU64>::open(&again, "counter").unwrap().load(Ordering::Relaxed), 8);
    let row = opened.owner();
    drop(opened);
    assert!(again.is_dead(row) && !again.is_dead(created.owner()));
}

#[test]
fn a_path_and_a_number_make_a_key() {
    let name = Name::file("ftok");
    fs::write(name.path(), b"").unwrap();
    let address = format!("sysv:{}:200", name.path().display());
    let found = fs::metadata(name.path()).unwrap();
    let low = |value: u64, mask: u64| u32::try_from(value & mask).unwrap();
    let key = Key::known(200 << 24 | low(found.dev(), 0xff) << 16 | low(found.ino(), 0xffff));
    let created = Segment::create(&address, 1 << 16).unwrap();
    assert_eq!(Segment::open(key.address()).unwrap().attachments().unwrap().len(), 2);
    drop(created);
    Segment::unlink(&address).unwrap();
    assert!(key.is_clean());
    let nowhere = Segment::create(format!("sysv:{}x:1", name.path().display()), 1 << 16).unwrap_err();
    assert!(matches!(nowhere, Error::NotFound { .. }), "{nowhere}");
    for wrong in ["sysv:", "sysv:0", "sysv:/tmp", "sysv:/tmp:0", "sysv:#x"] {
        assert!(matches!(Segment::open(wrong), Err(Error::InvalidAddress { .. })), "{wrong}");
    }
    assert!(matches!(Segment::create("sysv:#1", 1 << 16), Err(Error::InvalidAddress { .. })));
}

fn id_of(segment: &Segment) -> i32 {
    segment.sysv_address().unwrap().to_string().strip_prefix("sysv:#").unwrap().parse().unwrap()
}

#[test]
fn a_private_one_is_found_by_its_id() {
    let created = Segment::options().size(1 << 16).sysv_private().unwrap();
    let private = Private(id_of(&created));
    let address = created.sysv_address().unwrap();
    assert!(created.created() && private.sidecar().exists());
    let opened = Segment::open_or_create(&address, 1 << 16).unwrap();
    assert!(!opened.created());
    assert_eq!(created.attachments().unwrap().len(), 2);
    drop((created, opened));
    assert!(private.is_there(), "it stays");
    Segment::unlink(&address).unwrap();
    assert!(private.is_clean());
    for gone in [Segment::open(&address), Segment::open_or_create(&address, 1 << 16)] {
        assert!(matches!(gone, Err(Error::NotFound { .. })));
    }
    let other = Segment::options().temporary(true).sysv_private().unwrap();
    let guard = Private(id_of(&other));
    assert_ne!(guard.0, private.0);
}

#[test]
fn a_temporary_one_goes_with_its_last_attachment() {
    let key = Key::new();
    let first = Segment::options().temporary(true).create(key.address()).unwrap();
    let second = Segment::open(key.address()).unwrap();
    drop(first);
    assert!(key.id().is_some() && key.sidecar().exists());
    let third = second.attach().unwrap();
    drop(second);
    assert!(key.id().is_some());
    drop(third);
    assert!(process::soon(|| {
        // Another test may just be starting a child, which has copies of our descriptors until its exec.
        drop(Segment::options().temporary(true).open_or_create(key.address()).unwrap());
        key.is_clean()
    }));
}

#[test]
fn a_stranger_s_memory_is_left_alone() {
    let key = Key::new();
    let id = raw::make(&key, 8192);
    let contents: [&[u8]; 4] = [b"", b"somebody else's", &1_u64.to_le_bytes(), b"OUTLIVE"];
    for (round, content) in contents.into_iter().enumerate() {
        // Half of them while somebody is attached.
        let kept = Raw::attach(id, 8192);
        kept.write(0, content);
        let before = kept.read();
        let kept = if round % 2 == 0 { Some(kept) } else { None };
        let refused = [
            Segment::create(key.address(), 1 << 16),
            Segment::open(key.address()),
            Segment::open_or_create(key.address(), 1 << 14),
            Segment::unlink(key.address()).map(|()| unreachable!()),
        ];
        for refused in refused {
            assert!(matches!(refused, Err(Error::Foreign { .. })), "{content:?}: {refused:?}");
        }
        assert_eq!(key.id(), Some(id));
        assert!(!key.sidecar().exists());
        assert!(
            !segment::sysv_addresses()
                .unwrap()
                .contains(&Address::from(format!("sysv:{:#010x}", key.number())))
        );
        drop(kept);
        assert_eq!(Raw::attach(id, 8192).read(), before);
    }
    raw::remove(id);
    let small = raw::make(&key, 100);
    assert!(matches!(Segment::open_or_create(key.address(), 1 << 16), Err(Error::Foreign { .. })));
    assert!(matches!(Segment::unlink(key.address()), Err(Error::Foreign { .. })));
    assert_eq!(key.id(), Some(small));
    assert!(!key.sidecar().exists());
}

#[test]
fn removed_by_the_kernel_s_own_means_it_stays_with_those_who_are_attached() {
    let key = Key::new();
    let old = Segment::create(key.address(), 1 << 16).unwrap();
    let inode = || fs::metadata(key.sidecar()).unwrap().ino();
    let before = inode();
    assert!(raw::remove(key.id().unwrap()));
    assert!(matches!(Segment::open(key.address()), Err(Error::NotFound { .. })));
    assert_eq!(old.attach().unwrap().attachments().unwrap().len(), 2);
    let new = Segment::open_or_create(key.address(), 1 << 16).unwrap();
    assert!(new.created());
    assert_ne!(before, inode(), "the old lock file holds bytes of the old one");
    assert!(!new.is_dead(new.owner()) && !old.is_dead(old.owner()));
    assert_eq!((old.attachments().unwrap().len(), new.attachments().unwrap().len()), (1, 1));
    assert_eq!((old.sweep().unwrap().recovered, new.sweep().unwrap().recovered), (0, 0));
    drop(new);
    assert!(raw::remove(key.id().unwrap()));
    assert!(matches!(Segment::unlink(key.address()), Err(Error::NotFound { .. })));
    assert!(key.is_clean(), "and its lock file is gone");
}

#[test]
fn what_is_listed_can_be_opened() {
    let (one, other) = (Key::new(), Key::new());
    let keyed = Segment::create(one.address(), 1 << 16).unwrap();
    let private = Segment::options().sysv_private().unwrap();
    let _guard = Private(id_of(&private));
    let stranger = raw::make(&other, 8192);
    let listed = segment::sysv_addresses().unwrap();
    for ours in [&keyed, &private] {
        let address = ours.sysv_address().unwrap();
        assert!(listed.contains(&address));
        assert_eq!(Segment::open(&address).unwrap().attachments().unwrap().len(), 2);
    }
    let text = format!("sysv:#{stranger}");
    assert!(!listed.iter().any(|address| address.to_string() == text));
    assert!(!listed.contains(&Address::from(format!("sysv:{:#010x}", other.number()))));
}

/// Attached, with an object open.
fn holder(args: &[String]) {
    let segment = Segment::open(&args[0]).unwrap();
    let words = Object::<AtomicU64>::open_or_create(&segment, "words", AtomicU64::default).unwrap();
    words.fetch_add(1, Ordering::Relaxed);
    say("ready");
    process::sleep_for_ever_with((segment, words))
}

/// Sends numbers from where its predecessor was, until it is killed, or has sent what it was told.
fn streamer(args: &[String]) {
    let segment = Segment::open(&args[0]).unwrap();
    say(&format!("at {}", segment.address()));
    let ring = Ring::<u64>::open(&segment, "numbers").unwrap();
    let mut sender = ring.sender().unwrap();
    let end = args[1].parse().unwrap();
    while sender.position() < end {
        sender.send(sender.position()).unwrap();
    }
}

/// How many came: none if there is no sender just now.
fn receive(receiver: &mut Receiver<u64>, next: u64) -> u64 {
    match receiver.recv() {
        Err(RecvError::PeerDied(_)) => 0,
        number => {
            assert_eq!(number, Ok(next));
            1
        }
    }
}

/// Numbers that are sent.
const ALL: u64 = 200_000;

#[test]
fn what_the_killed_held_is_recovered_and_taken_over() {
    let key = Key::new();
    let segment = Segment::options().rows(4).create(key.address()).unwrap();
    let mut child = Child::start("holder", &[&key.text()]);
    child.expect("ready");
    let them = segment.attachments().unwrap().into_iter().find(|row| row.pid == child.id()).unwrap();
    assert!(them.alive && !segment.is_dead(them.owner));
    child.kill();
    assert!(segment.is_dead(them.owner));
    assert_eq!(segment.sweep().unwrap().recovered, 1);
    assert_eq!(segment.objects().unwrap()[0].openers, 0);
    let ring = Ring::<u64>::create(&segment, "numbers", 64).unwrap();
    let mut receiver = ring.try_receiver().unwrap();
    let start = || Child::start("streamer", &[&key.text(), &ALL.to_string()]);
    let (mut next, mut sender) = (0, start());
    for kills in 1..=8 {
        assert_ne!(sender.expect("at").parse::<usize>().unwrap(), segment.address());
        while next < kills * ALL / 10 {
            next += receive(&mut receiver, next);
        }
        sender.kill();
        sender = start();
    }
    while next < ALL {
        next += receive(&mut receiver, next);
    }
    sender.succeeds();
    segment.sweep().unwrap();
    assert_eq!(segment.attachments().unwrap().len(), 1);
}

#[test]
fn processes_of_other_pid_namespaces_are_seen_alive_and_dead() {
    let key = Key::new();
    let segment = Segment::create(key.address(), 1 << 16).unwrap();
    let Some(mut inside) = Child::start_in_a_pid_namespace("holder", &[&key.text()]) else { return };
    inside.expect("ready");
    let me = segment.owner();
    let them = segment.attachments().unwrap().into_iter().find(|row| row.owner != me).unwrap();
    // Number 1 lives for ever in our namespace: this is another one's.
    for _ in 0..50 {
        assert!(!segment.is_dead(them.owner));
    }
    assert_eq!(segment.sweep().unwrap().recovered, 0);
    inside.kill();
    assert!(process::soon(|| segment.is_dead(them.owner)));
    assert_eq!(segment.sweep().unwrap().recovered, 1);
}

/// Forks, before and after the name is gone.
fn parent(args: &[String]) {
    let segment = Segment::open(&args[0]).unwrap();
    let words = Object::<AtomicU64>::open_or_create(&segment, "words", AtomicU64::default).unwrap();
    for round in 1..=2 {
        let Some(child) = fork() else {
            leave(|| {
                assert!(matches!(segment.attachments(), Err(Error::Forked)));
                let mine = segment.attach().unwrap();
                let words = Object::<AtomicU64>::open(&mine, "words").unwrap();
                words.fetch_add(1, Ordering::Relaxed);
                assert_eq!(mine.attachments().unwrap().iter().filter(|row| row.alive).count(), 2);
                drop((words, mine, segment));
            })
        };
        child.succeeds();
        assert_eq!(words.load(Ordering::Relaxed), round);
        assert!(segment.attachments().unwrap().iter().all(|row| row.pid == std::process::id()));
        let _ = Segment::unlink(&args[0]);
    }
}

#[test]
fn a_forked_child_attaches_for_itself_also_when_the_name_is_gone() {
    let key = Key::new();
    drop(Segment::create(key.address(), 1 << 16).unwrap());
    Child::start("parent", &[&key.text()]).succeeds();
    assert!(key.is_clean());
}

/// In an ipc namespace of its own, where it sets the limits.
fn limited(_: &[String]) {
    use nix::sched::{CloneFlags, unshare};
    let alone = unshare(CloneFlags::CLONE_NEWIPC)
        .or_else(|_| unshare(CloneFlags::CLONE_NEWUSER | CloneFlags::CLONE_NEWIPC));
    let set = |name: &str, value: u64| fs::write(format!("/proc/sys/kernel/{name}"), value.to_string());
    if alone.is_err() || set("shmmax", 1 << 17).is_err() {
        return say("result not allowed to set limits");
    }
    let key = Key::new();
    let error = Segment::create(key.address(), 1 << 20).unwrap_err();
    assert!(matches!(error, Error::NoSpace { needed: 0x10_0000, available: 0x2_0000 }), "{error}");
    assert!(key.is_clean());
    set("shmall", 40).unwrap();
    let first = Segment::create(key.address(), 1 << 17).unwrap();
    let second = Key::new();
    let error = Segment::open_or_create(second.address(), 1 << 16).unwrap_err();
    assert!(matches!(error, Error::NoSpace { needed: 0x1_0000, available: 0x8000 }), "{error}");
    assert!(second.is_clean());
    assert!(matches!(Segment::options().sysv_private(), Err(Error::NoSpace { .. })));
    set("shmall", 1 << 20).unwrap();
    set("shmmni", 1).unwrap();
    let error = Segment::create(second.address(), 1 << 16).unwrap_err();
    assert!(
        matches!(&error, Error::Os { call: "shmget", .. }) && error.to_string().contains("shmmni"),
        "{error}"
    );
    assert!(second.is_clean());
    drop(first);
    Segment::unlink(key.address()).unwrap();
    assert!(raw::entries().is_empty());
    say("result fine");
}

#[test]
fn the_kernel_s_limits_are_errors_with_numbers() {
    let key = Key::new();
    let error = Segment::create(key.address(), 1 << 50).unwrap_err();
    assert!(matches!(error, Error::NoSpace { needed, available } if needed == 1 << 50 && available < needed));
    assert!(matches!(Segment::create(key.address(), 0), Err(Error::InvalidConfig { .. })));
    assert!(matches!(Segment::create(key.address(), 4096), Err(Error::NoSpace { .. })));
    assert!(key.is_clean());
    let mut child = Child::start("limited", &[]);
    match child.expect("result").as_str() {
        "fine" => child.succeeds(),
        other => process::visibly(&format!("NOT TESTED: {other}")),
    }
}

/// Another user.
fn nobody(args: &[String]) {
    nix::unistd::setgid(Gid::from_raw(65534)).unwrap();
    nix::unistd::setuid(Uid::from_raw(65534)).unwrap();
    for refused in [
        Segment::open(&args[0]),
        Segment::create(&args[0], 1 << 16),
        Segment::open_or_create(&args[0], 1 << 16),
        Segment::unlink(&args[0]).map(|()| unreachable!()),
    ] {
        assert!(matches!(refused, Err(Error::Denied { .. })), "{refused:?}");
    }
    let listed = segment::sysv_addresses().unwrap();
    assert!(!listed.iter().any(|address| address.to_string().contains(&args[0][7..])));
}

#[test]
fn another_user_is_denied() {
    if !Uid::effective().is_root() {
        return process::visibly("NOT TESTED: only root can be somebody else");
    }
    let key = Key::new();
    let segment = Segment::create(key.address(), 1 << 16).unwrap();
    Child::start("nobody", &[&key.text()]).succeeds();
    assert_eq!(segment.attachments().unwrap().len(), 1);
    assert!(key.id().is_some() && key.sidecar().exists());
}

fn masked(args: &[String]) {
    umask(Mode::from_bits_truncate(0o777));
    drop(Segment::options().mode(0o640).create(&args[0]).unwrap());
}

#[test]
fn the_mode_is_exact_whatever_the_umask() {
    let key = Key::new();
    Child::start("masked", &[&key.text()]).succeeds();
    let id = key.id();
    assert_eq!(raw::entries().iter().find(|entry| Some(entry.id) == id).unwrap().mode & 0o777, 0o640);
    assert_eq!(fs::metadata(key.sidecar()).unwrap().permissions().mode() & 0o7777, 0o640);
}
