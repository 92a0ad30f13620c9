//! What stands where the lock file should be.

use super::*;

use std::os::fd::AsRawFd;

use nix::fcntl::{FcntlArg, fcntl};
use nix::libc;
use nix::unistd::{chown, mkfifo};

/// The byte that whoever starts up holds.
const START: i64 = 1 << 62;

fn set_start(file: &File, kind: libc::c_int) -> bool {
    let lock = libc::flock {
        l_type: libc::c_short::try_from(kind).unwrap(),
        l_whence: 0,
        l_start: START,
        l_len: 1,
        l_pid: 0,
    };
    fcntl(file, FcntlArg::F_OFD_SETLK(&lock)).is_ok()
}

/// Where a lock file is put aside; removed when dropped.
struct Aside(std::path::PathBuf);

impl Aside {
    fn of(key: &Key, what: &str) -> Self {
        Self(key.sidecar().with_extension(what))
    }
}

impl Drop for Aside {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

fn lock_file(key: &Key) -> File {
    File::options().read(true).write(true).open(key.sidecar()).unwrap()
}

#[test]
fn without_it_nobody_gets_in_to_those_who_are_attached_and_everybody_to_an_empty_one() {
    let key = Key::new();
    let segment = Segment::create(key.address(), 1 << 16).unwrap();
    let words = Object::<AtomicU64>::create(&segment, "words", AtomicU64::default).unwrap();
    words.store(7, Ordering::Relaxed);
    let child = Child::start("holder", &[&key.text()]);
    child.expect("ready");
    fs::remove_file(key.sidecar()).unwrap();
    for _ in 0..2 {
        let refused = [Segment::open(key.address()), Segment::open_or_create(key.address(), 1 << 16)];
        for refused in refused {
            let error = refused.unwrap_err();
            assert!(
                matches!(error, Error::Foreign { .. }) && error.to_string().contains("/dev/shm"),
                "{error}"
            );
        }
        assert!(matches!(Segment::create(key.address(), 1 << 16), Err(Error::AlreadyExists { .. })));
        assert!(!key.sidecar().exists(), "a lock file that fits nothing is not left behind");
    }
    assert_eq!(segment.attach().unwrap().attachments().unwrap().len(), 3, "through what is kept");
    drop((words, segment, child));
    let adopted = Segment::open(key.address()).unwrap();
    assert_eq!(Object::<AtomicU64>::open(&adopted, "words").unwrap().load(Ordering::Relaxed), 8);
    adopted.sweep().unwrap();
    assert_eq!(adopted.attachments().unwrap().len(), 1);
    assert_eq!(Segment::open(key.address()).unwrap().attachments().unwrap().len(), 2);
    Segment::unlink(key.address()).unwrap();
    assert!(key.is_clean());
}

#[test]
fn one_that_fitted_before_somebody_else_adopted_the_segment_does_not_fit_any_more() {
    // As two containers see it that share the ipc namespace, and each have their /dev/shm.
    let key = Key::new();
    drop(Segment::create(key.address(), 1 << 16).unwrap());
    let theirs = Aside::of(&key, "theirs");
    fs::rename(key.sidecar(), &theirs.0).unwrap();
    let ours = Segment::open(key.address()).unwrap();
    let inode = fs::metadata(key.sidecar()).unwrap().ino();
    let aside = Aside::of(&key, "ours");
    fs::rename(key.sidecar(), &aside.0).unwrap();
    fs::rename(&theirs.0, key.sidecar()).unwrap();
    assert!(
        matches!(Segment::open(key.address()), Err(Error::Foreign { .. })),
        "its bytes say that we are dead"
    );
    fs::rename(&aside.0, key.sidecar()).unwrap();
    assert_eq!(Segment::open(key.address()).unwrap().attachments().unwrap().len(), 2);
    assert_eq!(fs::metadata(key.sidecar()).unwrap().ino(), inode);
    drop(ours);
}

type Squat<'a> = &'a dyn Fn(&Path);

#[test]
fn what_others_put_there_is_not_believed() {
    let key = Key::new();
    let path = key.sidecar();
    let target = Name::file("target");
    fs::write(target.path(), b"").unwrap();
    let squats: [(&str, Squat<'_>); 4] = [
        ("link", &|path| symlink(target.path(), path).unwrap()),
        ("dangling link", &|path| symlink("nowhere", path).unwrap()),
        ("fifo", &|path| mkfifo(path, Mode::S_IRWXU).unwrap()),
        ("another user's", &|path| {
            fs::write(path, [0; 40]).unwrap();
            fs::set_permissions(path, fs::Permissions::from_mode(0o666)).unwrap();
            chown(path, Some(Uid::from_raw(65534)), None).unwrap();
        }),
    ];
    for (what, squat) in squats {
        if what.starts_with("another") && !Uid::effective().is_root() {
            process::visibly("NOT TESTED: only root can be somebody else");
            continue;
        }
        squat(&path);
        for wish in [Segment::create(key.address(), 1 << 16), Segment::open_or_create(key.address(), 1 << 16)]
        {
            let error = wish.unwrap_err();
            assert!(
                matches!(&error, Error::Denied { what } if what.contains("lock file")),
                "{what}: {error}"
            );
        }
        assert!(matches!(Segment::open(key.address()), Err(Error::NotFound { .. })), "{what}");
        assert_eq!(key.id(), None);
        fs::remove_file(&path).unwrap();
        // In the place of one that was there.
        let segment = Segment::create(key.address(), 1 << 16).unwrap();
        fs::remove_file(&path).unwrap();
        squat(&path);
        assert!(matches!(Segment::open(key.address()), Err(Error::Denied { .. })), "{what}");
        assert_eq!(segment.attachments().unwrap().len(), 1);
        Segment::unlink(key.address()).unwrap();
        assert_eq!(key.id(), None, "what is ours we may remove");
        fs::remove_file(&path).unwrap();
    }
}

#[test]
fn ours_does_not_make_a_stranger_s_memory_ours() {
    let key = Key::new();
    drop(Segment::create(key.address(), 1 << 16).unwrap());
    let removed = key.id().unwrap();
    raw::remove(removed);
    let size = 1 << 16;
    let id = raw::make(&key, size);
    // What is there is of the removed segment; or of a creator killed before he had made his, who is not this process.
    let not_he = u64::from(std::process::id()) + 1;
    let words = |pid: u64, size: usize| [1, 2, size as u64, pid, 0].map(u64::to_le_bytes).concat();
    let me = not_he - 1;
    for record in [None, Some(words(not_he, size)), Some(words(me, size + 4096))] {
        if let Some(record) = record {
            fs::write(key.sidecar(), record).unwrap();
        }
        for refused in [
            Segment::create(key.address(), size),
            Segment::open(key.address()),
            Segment::open_or_create(key.address(), size),
            Segment::unlink(key.address()).map(|()| unreachable!()),
        ] {
            assert!(matches!(refused, Err(Error::Foreign { .. })), "{refused:?}");
        }
        assert_eq!(key.id(), Some(id));
        let listed = segment::sysv_addresses().unwrap();
        assert!(!listed.contains(&Address::from(format!("sysv:{:#010x}", key.number()))));
    }
    // Of one who was, and had: but by now somebody has written into it.
    fs::write(key.sidecar(), words(me, size)).unwrap();
    Raw::attach(id, size).write(100, b"x");
    assert!(matches!(Segment::create(key.address(), size), Err(Error::Foreign { .. })));
    Raw::attach(id, size).write(100, b"\0");
    assert!(matches!(Segment::open(key.address()), Err(Error::NotFound { .. })));
    assert_eq!(key.id(), Some(id));
    assert!(Segment::open_or_create(key.address(), size).unwrap().created());
}

#[test]
fn a_damaged_one_is_replaced_when_nobody_is_attached() {
    let key = Key::new();
    for damage in [&[][..], &[0; 39], &[0xff; 40], &[0xff; 4096]] {
        drop(Segment::open_or_create(key.address(), 1 << 16).unwrap());
        fs::write(key.sidecar(), damage).unwrap();
        let segment = Segment::open(key.address()).unwrap();
        assert_eq!(segment.attachments().unwrap().len(), 1);
        fs::write(key.sidecar(), damage).unwrap();
        assert!(matches!(Segment::open(key.address()), Err(Error::Foreign { .. })));
        drop(segment);
    }
    Segment::unlink(key.address()).unwrap();
    assert!(key.is_clean());
}

/// Comes in as soon as it may.
pub(crate) fn starter(args: &[String]) {
    say("ready");
    let result = Segment::open_or_create(&args[0], 1 << 16);
    say(&format!("result {}", result.map_or_else(|error| error.to_string(), |_| "in".to_owned())));
}

#[test]
fn whoever_starts_up_is_waited_for_but_not_for_ever() {
    let key = Key::new();
    let segment = Segment::create(key.address(), 1 << 16).unwrap();
    let held = lock_file(&key);
    assert!(set_start(&held, libc::F_WRLCK));
    let patient = Child::start("starter", &[&key.text()]);
    patient.expect("ready");
    assert_eq!(segment.attach().unwrap().attachments().unwrap().len(), 2, "who is in needs it not");
    assert_eq!(patient.overheard(), None);
    assert!(set_start(&held, libc::F_UNLCK));
    patient.expect("result in");
    assert!(process::soon(|| set_start(&held, libc::F_WRLCK)));
    let waiting = Child::start("starter", &[&key.text()]);
    waiting.expect("ready");
    let told = waiting.expect("result");
    assert!(told.contains("stopped"), "{told}");
    assert!(held.as_raw_fd() >= 0);
    drop(held);
    assert_eq!(Segment::open(key.address()).unwrap().attachments().unwrap().len(), 2);
}

/// Is the last one of a temporary segment.
pub(crate) fn visitor(args: &[String]) {
    let segment = Segment::options().temporary(true).open_or_create(&args[0]).unwrap();
    say("in");
    process::hear();
    drop(segment);
    say("left");
}

#[test]
fn whoever_starts_up_keeps_the_last_one_from_removing_a_segment_behind_his_back() {
    let key = Key::new();
    let mut child = Child::start("visitor", &[&key.text()]);
    child.expect("in");
    let held = lock_file(&key);
    assert!(set_start(&held, libc::F_WRLCK));
    child.tell("leave");
    std::thread::sleep(std::time::Duration::from_millis(300));
    assert_eq!(child.overheard(), None);
    assert!(key.id().is_some() && key.sidecar().exists());
    assert!(set_start(&held, libc::F_UNLCK));
    child.expect("left");
    assert!(process::soon(|| {
        drop(Segment::options().temporary(true).open_or_create(key.address()).unwrap());
        key.is_clean()
    }));
}

/// Goes to another ipc namespace, where its ids mean nothing, or something else.
pub(crate) fn emigrant(args: &[String]) {
    let segment = Segment::open(&args[0]).unwrap();
    say("in");
    process::hear();
    let address = segment.sysv_address();
    if nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWIPC).is_err() {
        return say("result not allowed to leave the ipc namespace");
    }
    // There, somebody else's has the number that ours has here.
    let stranger = Key::new();
    let chosen = fs::write("/proc/sys/kernel/shm_next_id", &args[1]);
    let id = raw::make(&stranger, 1 << 16);
    if chosen.is_err() || id.to_string() != args[1] {
        return say("result not allowed to choose an id");
    }
    assert!(address.is_some() && segment.sysv_address().is_none());
    assert!(matches!(segment.attach(), Err(Error::Unsupported { .. })));
    assert!(matches!(Segment::open(&args[0]), Err(Error::NotFound { .. })));
    assert_eq!(segment.attachments().unwrap().len(), 1);
    drop(segment);
    assert_eq!(stranger.id(), Some(id), "a stranger's was removed");
    say("result fine");
}

#[test]
fn in_another_ipc_namespace_nothing_is_taken_for_what_it_is_here() {
    let key = Key::new();
    let made = Segment::options().temporary(true).create(key.address()).unwrap();
    let mut child = Child::start("emigrant", &[&key.text(), &key.id().unwrap().to_string()]);
    child.expect("in");
    drop(made);
    child.tell("leave");
    match child.expect("result").as_str() {
        "fine" => child.succeeds(),
        other => return process::visibly(&format!("NOT TESTED: {other}")),
    }
    assert!(key.id().is_some(), "left to the next one");
    let next = Segment::options().temporary(true).open_or_create(key.address()).unwrap();
    assert!(!next.created());
    assert_eq!(next.attachments().unwrap().len(), 1);
}

#[test]
fn an_observer_looks_and_changes_nothing() {
    let key = Key::new();
    let observe = || Segment::options().read_only(true).open(key.address());
    assert!(matches!(observe(), Err(Error::NotFound { .. })));
    let segment = Segment::create(key.address(), 1 << 16).unwrap();
    let ring = Ring::<u64>::create(&segment, "numbers", 8).unwrap();
    ring.try_sender().unwrap().send(7).unwrap();
    let held = lock_file(&key);
    assert!(set_start(&held, libc::F_WRLCK)); // whoever only looks needs it not
    let observer = observe().unwrap();
    let other = observer.attach().unwrap();
    assert!(set_start(&held, libc::F_UNLCK));
    for observer in [&observer, &other] {
        assert_eq!(observer.attachments().unwrap().len(), 1);
        assert_eq!(Ring::<u64>::open(observer, "numbers").unwrap().stats().depth, 1);
        assert!(matches!(observer.sweep(), Err(Error::ReadOnly)));
        assert!(observer.as_fd().is_none());
    }
    for looked_at in [&segment, &observer] {
        let copy = looked_at.snapshot().unwrap();
        assert_eq!(Ring::<u64>::open(&copy, "numbers").unwrap().try_receiver().unwrap().recv(), Ok(7));
    }
    let row = segment.owner();
    assert!(!observer.is_dead(row));
    drop((ring, segment));
    assert!(observer.is_dead(row));
    let aside = Aside::of(&key, "aside");
    fs::rename(key.sidecar(), &aside.0).unwrap();
    let error = observe().unwrap_err();
    assert!(matches!(error, Error::Foreign { .. }), "an observer adopts nothing: {error}");
    fs::rename(&aside.0, key.sidecar()).unwrap();
    assert!(observe().is_ok());
    drop((observer, other));
    raw::remove(key.id().unwrap());
    raw::make(&key, 1 << 16);
    assert!(matches!(observe(), Err(Error::Foreign { .. })));
}

#[test]
fn one_of_a_removed_segment_is_never_used_again() {
    let key = Key::new();
    let old = Segment::create(key.address(), 1 << 16).unwrap();
    let kept = Aside::of(&key, "kept");
    fs::hard_link(key.sidecar(), &kept.0).unwrap();
    Segment::unlink(key.address()).unwrap();
    fs::rename(&kept.0, key.sidecar()).unwrap();
    let inode = fs::metadata(key.sidecar()).unwrap().ino();
    // The old one's row 1 is locked in it: a tenant of row 1 of a new segment would be alive for ever.
    let new = Segment::create(key.address(), 1 << 16).unwrap();
    assert_ne!(fs::metadata(key.sidecar()).unwrap().ino(), inode);
    assert_eq!(new.owner().row(), old.owner().row());
}
