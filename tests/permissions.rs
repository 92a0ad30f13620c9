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
}

/// Whether another user can be played here.
fn is_root() -> bool {
    let root = geteuid().is_root();
    if !root {
        process::visibly("NOT TESTED: another user's segments: these tests are not run by root");
    }
    root
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
    let all_denied = ["open denied", "either denied", "create exists", "look denied", "unlink denied"];
    let may_look = ["open denied", "either denied", "create exists", "look done", "unlink denied"];
    let may_use = ["open done", "either done", "create exists", "look done", "unlink denied"];
    for name in [Name::shm("permissions"), Name::file("permissions")] {
        for (mode, member, experience) in [
            (0o600, true, all_denied),
            (0o640, true, may_look),
            (0o640, false, all_denied),
            (0o660, true, may_use),
            (0o660, false, all_denied),
            (0o644, false, may_look),
            (0o666, false, may_use),
            (0o000, true, all_denied),
        ] {
            let options = Segment::options().mode(mode).group(GROUP);
            let segment = options.create(name.address()).unwrap();
            let found = std::fs::metadata(name.path()).unwrap();
            assert_eq!((found.mode() & 0o777, found.gid()), (mode, GROUP));
            let group = if member { GROUP } else { STRANGER };
            assert_eq!(visited(&name.address(), group), experience, "{mode:o} {member}");
            assert_eq!(segment.attachments().unwrap().len(), 1);
            drop(segment);
            Segment::unlink(name.address()).unwrap();
        }
    }
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
