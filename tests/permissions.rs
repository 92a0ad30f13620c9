//! Promise: a segment is its user's alone unless it is shared explicitly; whoever may not gets `Denied` at once, never a
//! hang, and whoever may only read can look.

#![cfg(not(loom))]
#![expect(clippy::unwrap_used, reason = "tests")]

use std::os::unix::fs::MetadataExt;

use nix::sys::prctl;
use nix::unistd::{Gid, Uid, geteuid, setgid, setgroups, setuid};
use outlive::ring::spsc::Ring;
use outlive::{Address, Error, Segment};

mod common;
use common::Name;
use common::process::{self, Child, say, soon};
use common::sysv::{Key, entries};

/// The children of these tests: see `common::process`.
#[test]
fn child_entry() {
    process::as_child(&[
        ("visitor", visitor),
        ("member", member),
        ("founder", founder),
        ("settler", settler),
    ]);
}

/// Nobody, and a group of nobody in particular.
const STRANGER: u32 = 65_534;
const GROUP: u32 = 64_242;

/// Becomes an ordinary user, who is a member of this group.
fn become_a_stranger(group: &str) {
    let group = Gid::from_raw(group.parse().unwrap());
    setgroups(&[group]).unwrap();
    setgid(Gid::from_raw(STRANGER)).unwrap();
    setuid(Uid::from_raw(STRANGER)).unwrap();
    prctl::set_dumpable(true).unwrap(); // else it may not look at its own descriptors, as an ordinary user may
}

fn word<T>(result: Result<T, Error>) -> &'static str {
    match result {
        Ok(_) => "done",
        Err(Error::Denied { .. }) => "denied",
        Err(Error::AlreadyExists { .. }) => "exists",
        Err(Error::NotFound { .. }) => "missing",
        Err(Error::InvalidAddress { .. }) => "misnamed",
        Err(other) => panic!("{other}"),
    }
}

/// Tries everything with the segment of that name.
fn visitor(args: &[String]) {
    become_a_stranger(&args[1]);
    let (address, observe) = (&args[0], Segment::options().read_only(true));
    say(&format!("open {}", word(Segment::open(address))));
    say(&format!("either {}", word(Segment::open_or_create(address, 1 << 16))));
    say(&format!("create {}", word(Segment::create(address, 1 << 16))));
    say(&format!("look {}", word(observe.open(address))));
    say(&format!("unlink {}", word(Segment::unlink(address))));
}

/// Takes part.
fn member(args: &[String]) {
    become_a_stranger(&args[1]);
    let segment = Segment::open(&args[0]).unwrap();
    let mut sender = Ring::<u64>::open(&segment, "ring").unwrap().try_sender().unwrap();
    sender.send(7).unwrap();
    let owner = sender.peer().unwrap();
    assert!(!segment.is_dead(owner), "another user's process, seen alive");
    say("sent");
    assert_eq!(process::hear(), "killed?");
    assert!(soon(|| segment.is_dead(owner)), "another user's process, seen dead");
    let dead = segment.sweep().unwrap().recovered;
    say(&format!("swept {dead}"));
    process::sleep_for_ever_with(sender)
}

/// Creates as root, for the group, receives, and is killed.
fn founder(args: &[String]) {
    let segment = shared(&args[0], GROUP).unwrap();
    let mut receiver = Ring::<u64>::create(&segment, "ring", 8).unwrap().try_receiver().unwrap();
    say("founded");
    assert_eq!(receiver.recv(), Ok(7));
    say("received");
    process::sleep_for_ever_with(receiver)
}

fn shared(address: &str, group: u32) -> Result<Segment, Error> {
    Segment::options().mode(0o660).group(group).create(address)
}

/// Creates for a group that it is no member of, and for one that it is.
fn settler(args: &[String]) {
    become_a_stranger(&STRANGER.to_string());
    assert_eq!(word(shared(&args[0], GROUP)), "denied");
    assert_eq!(word(Segment::open(&args[0])), "missing");
    assert_eq!(word(shared(&args[0], STRANGER)), "done");
    let key = Key::new();
    assert_eq!(word(shared(&key.text(), GROUP)), "denied");
    let private = Segment::options().mode(0o660).group(GROUP).sysv_private();
    assert_eq!(word(private), "denied");
    assert!(key.is_clean(), "nothing is left");
    assert!(entries().iter().all(|entry| entry.maker != std::process::id()));
    assert_eq!(word(shared(&key.text(), STRANGER)), "done");
    assert_eq!(key.entry().group, STRANGER);
}

/// Whether another user can be played here.
fn is_root() -> bool {
    let root = geteuid().is_root();
    if !root {
        process::visibly("NOT TESTED: another user's segments: these tests are not run by root");
    }
    root
}

/// Permission bits, whether the visitor is a member of the group, and what he can do then.
const CASES: [(u32, bool, [&str; 3]); 8] = [
    (0o600, true, ALL_DENIED),
    (0o640, true, MAY_LOOK),
    (0o640, false, ALL_DENIED),
    (0o660, true, MAY_USE),
    (0o660, false, ALL_DENIED),
    (0o644, false, MAY_LOOK),
    (0o666, false, MAY_USE),
    (0o000, true, ALL_DENIED),
];
const ALL_DENIED: [&str; 3] = ["open denied", "either denied", "look denied"];
const MAY_LOOK: [&str; 3] = ["open denied", "either denied", "look done"];
const MAY_USE: [&str; 3] = ["open done", "either done", "look done"];

/// With the two that never succeed.
fn and_not([open, either, look]: [&'static str; 3], create: &'static str) -> [&'static str; 5] {
    [open, either, create, look, "unlink denied"]
}

/// What a visitor of the segment experiences.
fn visited(address: &Address, group: u32) -> Vec<String> {
    let mut child = Child::start("visitor", &[&address.to_string(), &group.to_string()]);
    let words = (0..5).map(|_| child.hear()).collect();
    child.succeeds();
    words
}

#[test]
fn who_may_not_is_told_so_and_who_may_read_can_look() {
    if !is_root() {
        return;
    }
    for name in [Name::shm("permissions"), Name::file("permissions")] {
        for (mode, member, experience) in CASES {
            let options = Segment::options().mode(mode).group(GROUP);
            let segment = options.create(name.address()).unwrap();
            let found = std::fs::metadata(name.path()).unwrap();
            assert_eq!((found.mode() & 0o777, found.gid()), (mode, GROUP));
            let group = if member { GROUP } else { STRANGER };
            let experience = and_not(experience, "create exists");
            assert_eq!(visited(&name.address(), group), experience, "{mode:o} {member}");
            assert_eq!(segment.attachments().unwrap().len(), 1);
            drop(segment);
            Segment::unlink(name.address()).unwrap();
        }
    }
}

#[test]
fn so_it_is_with_system_v() {
    if !is_root() {
        return;
    }
    let key = Key::new();
    for (mode, member, experience) in CASES {
        let segment = Segment::options().mode(mode).group(GROUP).create(key.address()).unwrap();
        let sidecar = std::fs::metadata(key.sidecar()).unwrap();
        assert_eq!((sidecar.mode() & 0o777, sidecar.gid()), (mode, GROUP));
        assert_eq!((key.entry().mode & 0o777, key.entry().group), (mode, GROUP));
        let group = if member { GROUP } else { STRANGER };
        // Whoever may not use it is not told what it is that has the key.
        let create = if experience == MAY_USE { "create exists" } else { "create denied" };
        assert_eq!(visited(&key.address(), group), and_not(experience, create), "{mode:o} {member}");
        assert_eq!(segment.attachments().unwrap().len(), 1);
        drop(segment);
        Segment::unlink(key.address()).unwrap();
        assert!(key.is_clean());
    }
    // One whose lock file is lost gets another one for the same people.
    drop(Segment::options().mode(0o660).group(GROUP).create(key.address()).unwrap());
    std::fs::remove_file(key.sidecar()).unwrap();
    drop(Segment::open(key.address()).unwrap());
    let sidecar = std::fs::metadata(key.sidecar()).unwrap();
    assert_eq!((sidecar.mode() & 0o777, sidecar.gid()), (0o660, GROUP));
    Segment::unlink(key.address()).unwrap();
    let private = Segment::options().temporary(true).mode(0o660).group(GROUP).sysv_private().unwrap();
    let words = visited(&private.sysv_address().unwrap(), GROUP);
    assert_eq!(words, and_not(MAY_USE, "create misnamed"));
}

#[test]
fn no_group_is_no_group() {
    let (name, key) = (Name::shm("nobody"), Key::new());
    let options = Segment::options().mode(0o660).group(u32::MAX);
    for refused in [options.create(name.address()), options.create(key.address()), options.sysv_private()] {
        assert!(matches!(refused, Err(Error::InvalidConfig { .. })));
    }
    assert!(!name.path().exists() && key.is_clean());
}

#[test]
fn by_default_nothing_is_shared() {
    let name = Name::shm("default");
    let segment = Segment::create(name.address(), 1 << 16).unwrap();
    let found = std::fs::metadata(name.path()).unwrap();
    assert_eq!((found.mode() & 0o777, found.uid()), (0o600, geteuid().as_raw()));
    if is_root() {
        let words = visited(&name.address(), GROUP);
        assert_eq!(words, ["open denied", "either denied", "create exists", "look denied", "unlink denied"]);
    }
    drop(segment);
}

#[test]
fn members_of_a_group_outlive_each_other() {
    if !is_root() {
        return;
    }
    let name = Name::shm("group");
    let address = name.address().to_string();
    let mut founder = Child::start("founder", &[&address]);
    founder.expect("founded");
    let mut member = Child::start("member", &[&address, &GROUP.to_string()]);
    member.expect("sent");
    founder.expect("received");
    founder.kill();
    member.tell("killed?");
    assert_eq!(member.expect("swept"), "1");
    let segment = Segment::open(name.address()).unwrap();
    let owner = Ring::<u64>::open(&segment, "ring").unwrap().stats().sender.unwrap();
    assert!(!segment.is_dead(owner));
    let uid = segment.attachments().unwrap().into_iter().find(|each| each.owner == owner).unwrap().uid;
    assert_eq!(uid, STRANGER);
    member.kill();
    assert!(soon(|| segment.is_dead(owner)));
    assert_eq!(segment.sweep().unwrap().recovered, 1);
    drop(Ring::<u64>::open(&segment, "ring").unwrap().try_sender().unwrap());
}

#[test]
fn a_group_that_is_not_ones_own_is_denied_and_nothing_is_left() {
    let name = Name::shm("founder");
    if geteuid().is_root() {
        Child::start("settler", &[&name.address().to_string()]).succeeds();
        assert_eq!(std::fs::metadata(name.path()).unwrap().gid(), STRANGER);
    } else {
        assert_eq!(word(shared(&name.address().to_string(), GROUP)), "denied");
        assert!(!name.path().exists());
    }
}
