//! Promise: looking at what others have put somewhere never faults, whatever it is and however full the machine is.

#![cfg(not(loom))]
#![expect(clippy::unwrap_used, reason = "tests")]

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::Path;

use nix::libc;
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::unistd::geteuid;
use outlive::ring::spsc::Ring;
use outlive::{Error, Segment, segment};

mod common;
use common::process::{self, Child, say};
use common::sysv::{Key, remove};

/// The children of these tests: see `common::process`.
#[test]
fn child_entry() {
    process::as_child(&[("visitor", visitor), ("copier", copier), ("caller", caller)]);
}

/// This process's own /dev/shm, of 256 KiB.
fn shm() -> Option<&'static Path> {
    let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
    let nothing: Option<&str> = None;
    let shm = Path::new("/dev/shm");
    let mounted = unshare(CloneFlags::CLONE_NEWNS)
        .and_then(|()| mount(nothing, "/", nothing, private, nothing))
        .and_then(|()| mount(Some("none"), shm, Some("tmpfs"), MsFlags::empty(), Some("size=256k")));
    if let Err(why) = mounted {
        say(&format!("NOT TESTED: a full /dev/shm: {why}"));
        return None;
    }
    Some(shm)
}

fn fill(shm: &Path) {
    let mut filler = File::create(shm.join("filler")).unwrap();
    while filler.write_all(&[7; 4096]).is_ok() {}
}

/// Looks at a file without contents where there is no room for any.
fn visitor(_: &[String]) {
    let Some(shm) = shm() else { return };
    File::create(shm.join("hole")).unwrap().set_len(1 << 16).unwrap();
    fill(shm);
    let looks = [
        Segment::open("shm:hole"),
        Segment::open_or_create("shm:hole", 1 << 16),
        Segment::options().read_only(true).open("shm:hole"),
    ];
    for look in looks {
        assert!(matches!(look, Err(Error::Foreign { .. })), "{look:?}");
    }
    assert!(matches!(Segment::unlink("shm:hole"), Err(Error::Foreign { .. })));
    say("fine");
}

/// Opens a copy of a segment, as `cp` makes it: without the pages that were never written.
fn copier(_: &[String]) {
    let Some(shm) = shm() else { return };
    let original = Segment::create("shm:original", 1 << 16).unwrap();
    Ring::<u64>::create(&original, "ring", 1 << 12).unwrap();
    drop(original);
    let bytes = fs::read(shm.join("original")).unwrap();
    let copy = File::create(shm.join("copy")).unwrap();
    copy.set_len(1 << 16).unwrap();
    for (page, at) in bytes.chunks(4096).zip((0..).step_by(4096)) {
        if page.iter().any(|&byte| byte != 0) {
            copy.write_all_at(page, at).unwrap();
        }
    }
    fill(shm);
    let refused = Segment::open("shm:copy");
    assert!(matches!(refused, Err(Error::NoSpace { needed: 65_536, .. })), "{refused:?}");
    fs::remove_file(shm.join("filler")).unwrap();
    let segment = Segment::open("shm:copy").unwrap();
    fill(shm);
    let mut sender = Ring::<u64>::open(&segment, "ring").unwrap().try_sender().unwrap();
    for number in 0..1 << 12 {
        sender.send(number).unwrap();
    }
    say("fine");
}

#[test]
fn a_copy_without_its_empty_pages_gets_them_when_it_is_opened() {
    let mut child = Child::start("copier", &[]);
    let word = child.hear();
    child.succeeds();
    if word != "fine" {
        process::visibly(&word);
    }
}

#[test]
fn a_file_without_contents_where_there_is_no_room_for_any_is_foreign() {
    let mut child = Child::start("visitor", &[]);
    let word = child.hear();
    child.succeeds();
    if word != "fine" {
        process::visibly(&word);
    }
}

/// Looks at System V memory whose pages cannot be had.
fn caller(args: &[String]) {
    let key = &*args[0];
    let looks = [
        Segment::open(key),
        Segment::open_or_create(key, 1 << 16),
        Segment::create(key, 1 << 16),
        Segment::options().read_only(true).open(key),
    ];
    for look in looks {
        assert!(matches!(look, Err(Error::Foreign { .. })), "{look:?}");
    }
    assert!(matches!(Segment::unlink(key), Err(Error::Foreign { .. })));
    let listed = segment::sysv_addresses().unwrap();
    assert!(listed.iter().all(|address| address.to_string() != key));
}

#[test]
fn system_v_memory_without_pages_where_none_can_be_had_is_foreign() {
    let free = fs::read_to_string("/sys/kernel/mm/hugepages/hugepages-1048576kB/free_hugepages");
    if !geteuid().is_root() || free.map_or(true, |free| free.trim() != "0") {
        process::visibly("NOT TESTED: huge pages that are promised to nobody: they cannot be asked for here");
        return;
    }
    let key = Key::new();
    let (of_1_gib, no_reserve) = (0o4000 | 30 << libc::MAP_HUGE_SHIFT, 0o10000);
    let flags = libc::IPC_CREAT | libc::IPC_EXCL | of_1_gib | no_reserve | 0o600;
    // SAFETY: takes no pointer.
    let id = unsafe { libc::shmget(key.number().cast_signed(), 1 << 30, flags) };
    assert!(id >= 0, "{}", std::io::Error::last_os_error());
    Child::start("caller", &[&key.text()]).succeeds();
    assert!(remove(id) && key.is_clean());
}
