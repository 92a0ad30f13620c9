//! Descriptors that are closed behind our back, and whose numbers come to mean something else.

use std::fs::File;
use std::io::Read;
use std::os::fd::AsRawFd;

use outlive::ring::spsc::Ring;
use outlive::{Error, Segment};

use super::common::Name;
use super::common::process::{self, Child, leave, say, soon};
use super::play;

/// As `closefrom(3)`.
fn close_all() {
    // SAFETY: numbers only; what is closed here is not used as a file any more, or that is what is tested.
    let rc = unsafe { nix::libc::close_range(3, nix::libc::c_uint::MAX, 0) };
    assert_eq!(rc, 0);
}

pub(crate) fn closer(args: &[String]) {
    let segment = Segment::open(&args[0]).unwrap();
    let ring = Ring::<u64>::open_or_create(&segment, "numbers", 8).unwrap();
    let mut sender = ring.try_sender().unwrap();
    close_all();
    say("closed");
    process::hear();
    sender.send(1).unwrap();
    let again = segment.attach().unwrap();
    assert!(!again.is_dead(segment.owner()) && !segment.is_dead(again.owner()));
    assert!(matches!(Ring::<u64>::open(&again, "numbers").unwrap().try_sender(), Err(Error::Busy { .. })));
    say("attached again");
    process::sleep_for_ever()
}

#[test]
fn who_closes_all_descriptors_lives_attaches_again_and_dies() {
    for name in [Name::shm("closer"), Name::file("closer")] {
        let segment = Segment::options().rows(8).create(name.address()).unwrap();
        let mut child = Child::start("closer", &[&name.address().to_string()]);
        child.expect("closed");
        let pid = child.id();
        let alive = |count: usize| {
            let rows = segment.attachments().unwrap();
            assert_eq!(segment.sweep().unwrap().recovered, 0);
            rows.iter().filter(|row| row.pid == pid && row.alive && !segment.is_dead(row.owner)).count()
                == count
        };
        assert!(alive(1));
        child.tell("go on");
        child.expect("attached again");
        assert!(alive(2));
        child.kill();
        assert_eq!(segment.sweep().unwrap().recovered, 2);
        assert_eq!(segment.attachments().unwrap().len(), 1);
        let mut sender = Ring::<u64>::open(&segment, "numbers").unwrap().try_sender().unwrap();
        assert_eq!(sender.position(), 1);
        sender.send(2).unwrap();
    }
}

pub(crate) fn memfd_closer(_: &[String]) {
    let segment = Segment::options().memfd("closed").unwrap();
    let owner = segment.owner();
    close_all();
    let refused = segment.attach().unwrap_err();
    assert!(matches!(refused, Error::NotFound { .. }), "{refused}");
    assert!(!segment.is_dead(owner));
    assert_eq!(segment.attachments().unwrap().len(), 1);
    leave(|| ()) // what dropping does: see `tidy_closer`
}

#[test]
fn without_name_and_descriptor_there_is_no_way_back_and_it_says_so() {
    play("memfd closer", &Name::shm("unused"));
}

pub(crate) fn bystander(args: &[String]) {
    let segment = Segment::open(&args[0]).unwrap();
    say("ready");
    process::sleep_for_ever_with(segment)
}

/// Takes every number that was closed for a file that is always readable.
fn strangers() -> Vec<File> {
    (0..64).map(|_| File::open("/proc/self/exe").unwrap()).collect()
}

/// Judges others when its own descriptors are strangers' files.
pub(crate) fn judge(args: &[String]) {
    let segment = Segment::open(&args[0]).unwrap();
    let them = segment.attachments().unwrap().into_iter().find(|row| row.owner != segment.owner()).unwrap();
    assert!(them.alive, "asked once, so that there is something to remember");
    close_all();
    if args.len() > 1 {
        assert!(!segment.is_dead(them.owner), "it lives, though there is nothing left to ask");
        assert_eq!(segment.sweep().unwrap().recovered, 0);
    }
    let strangers = strangers();
    for _ in 0..2 {
        assert!(!segment.is_dead(them.owner), "it lives, whatever a stranger's file says");
        assert_eq!(segment.sweep().unwrap().recovered, 0);
    }
    say("alive");
    process::hear();
    assert!(soon(|| segment.is_dead(them.owner)), "by its number, which needs no old descriptor");
    say("dead");
    for mut file in strangers {
        assert_eq!(file.read(&mut [0; 4]).unwrap(), 4, "descriptor {} was closed for us", file.as_raw_fd());
    }
    say("fine");
    leave(|| ())
}

#[test]
fn a_judge_whose_descriptors_were_closed_and_reused_calls_nobody_dead_who_lives() {
    let name = Name::shm("judge");
    let address = name.address().to_string();
    for args in [&[address.as_str()][..], &[&address, "asks in between"]] {
        let segment = Segment::create(&address, 1 << 16).unwrap();
        let mut bystander = Child::start("bystander", &[&address]);
        bystander.expect("ready");
        drop(segment);
        let mut judge = Child::start("judge", args);
        judge.expect("alive");
        bystander.kill();
        judge.tell("killed");
        judge.expect("dead");
        judge.expect("fine");
        judge.succeeds();
        Segment::unlink(&address).unwrap();
    }
}

/// Drops everything after its descriptors were closed, and used again by others.
pub(crate) fn tidy_closer(args: &[String]) {
    let segment = Segment::open(&args[0]).unwrap();
    let them = segment.attachments().unwrap();
    assert!(them.iter().all(|row| row.alive));
    close_all();
    let strangers = if args.len() > 1 { strangers() } else { Vec::new() };
    drop(segment);
    for mut file in strangers {
        assert_eq!(file.read(&mut [0; 4]).unwrap(), 4, "descriptor {} was closed for us", file.as_raw_fd());
    }
    say("dropped");
}

#[test]
fn who_drops_a_segment_after_closing_its_descriptors_detaches_and_closes_nobody_elses() {
    let name = Name::shm("tidy");
    let address = name.address().to_string();
    let segment = Segment::create(&address, 1 << 16).unwrap();
    for args in [&[address.as_str()][..], &[&address, "reuse"]] {
        let mut child = Child::start("tidy closer", args);
        child.succeeds();
        assert_eq!(segment.attachments().unwrap().len(), 1, "{args:?}");
    }
}
