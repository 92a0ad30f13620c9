//! Names: what can stand there, who may use it, and when it goes.

use nix::sys::stat::{Mode, umask};
use nix::unistd::{Gid, Uid, setgroups, setresgid, setresuid};
use outlive::atomic::{AtomicU64, Ordering};
use outlive::object::Object;
use outlive::{Error, Segment};

use crate::backend::{Backend, Feature};
use crate::common::process::visibly;
use crate::peer::{Peer, Victim};

pub(crate) fn a_temporary_segment_goes_with_its_last_attachment(backend: &dyn Backend) {
    let exists = || !backend.remains().is_empty();
    let first = backend.create(&Segment::options().temporary(true)).unwrap();
    let second = backend.join(&first).unwrap();
    drop(first);
    assert!(exists());
    let third = second.attach().unwrap();
    let mut peer = Peer::start(backend, &second, |segment, line| {
        line.say("ready");
        line.hear();
        drop(segment);
    });
    assert_eq!(peer.line.hear(), "ready");
    drop((second, third));
    assert!(exists());
    peer.line.say("leave");
    peer.ends();
    assert!(!exists());
    if backend.has(Feature::Name) {
        assert!(matches!(Segment::open(backend.address()), Err(Error::NotFound { .. })));
    }
}

pub(crate) fn a_temporary_segment_of_the_dead_goes_with_the_next_one(backend: &dyn Backend) {
    let first = backend.create(&Segment::options().temporary(true)).unwrap();
    let last = Victim::start(backend, &first, |mine| {
        Object::<AtomicU64>::create(mine, "words", || AtomicU64::new(7)).unwrap()
    });
    drop(first);
    last.kill();
    assert_eq!(backend.remains().len(), 1, "nobody was there to take it away");
    let next = Segment::open(backend.address()).unwrap();
    assert_eq!(Object::<AtomicU64>::open(&next, "words").unwrap().load(Ordering::Relaxed), 7);
    drop(next);
    assert_eq!(backend.remains(), [] as [String; 0]);
    // Among others who die, too.
    let first = backend.create(&Segment::options().temporary(true)).unwrap();
    let victims = [(); 3].map(|()| Victim::start(backend, &first, Segment::clone));
    let dead = victims.map(Victim::kill);
    assert!(dead.iter().all(|owner| first.is_dead(*owner)));
    drop(first);
}

pub(crate) fn what_is_withdrawn_goes_unless_somebody_came(backend: &dyn Backend) {
    let segment = backend.segment();
    let words = Object::<AtomicU64>::create(&segment, "words", || AtomicU64::new(7)).unwrap();
    segment.withdraw();
    assert_eq!(backend.remains().len(), 1, "a handle is left");
    drop(words);
    assert_eq!(backend.remains(), [] as [String; 0]);
    assert!(matches!(Segment::open(backend.address()), Err(Error::NotFound { .. })));
    // A visitor who is gone again counts: he may have left something, and only he knows what.
    let segment = backend.segment();
    drop(Segment::open(backend.address()).unwrap());
    segment.withdraw();
    // So does one who has died.
    let segment = Segment::open(backend.address()).unwrap();
    Victim::start(backend, &segment, Segment::clone).kill();
    segment.withdraw();
    // And nobody can withdraw what he has not made.
    Segment::open(backend.address()).unwrap().withdraw();
    assert_eq!(backend.remains().len(), 1);
    Segment::unlink(backend.address()).unwrap();
    // A look changes nothing.
    let segment = backend.segment();
    drop(Segment::options().read_only(true).open(backend.address()).unwrap());
    segment.withdraw();
    assert_eq!(backend.remains(), [] as [String; 0]);
}

pub(crate) fn those_who_are_attached_keep_what_is_unlinked(backend: &dyn Backend) {
    let segment = backend.segment();
    let words = Object::<AtomicU64>::create(&segment, "words", || AtomicU64::new(7)).unwrap();
    let mut peer = Peer::start(backend, &segment, |segment, line| {
        let words = Object::<AtomicU64>::open(&segment, "words").unwrap();
        line.say("ready");
        line.hear();
        words.fetch_add(1, Ordering::Relaxed);
    });
    assert_eq!(peer.line.hear(), "ready");
    Segment::unlink(backend.address()).unwrap();
    assert!(matches!(Segment::unlink(backend.address()), Err(Error::NotFound { .. })));
    assert!(matches!(Segment::open(backend.address()), Err(Error::NotFound { .. })));
    let other = segment.attach().unwrap();
    assert_eq!(other.attachments().unwrap().iter().filter(|each| each.alive).count(), 3);
    // What stands there from now on is another one.
    let new = backend.segment();
    assert!(new.created() == backend.has(Feature::Creates) && new.objects().unwrap().is_empty());
    peer.line.say("add");
    peer.ends();
    assert_eq!(words.load(Ordering::Relaxed), 8);
    let victim = Victim::start(backend, &new, Segment::clone);
    assert_eq!(new.attachments().unwrap().len(), 2);
    victim.kill();
    segment.sweep().unwrap();
    assert_eq!((segment.attachments().unwrap().len(), new.attachments().unwrap().len()), (2, 2));
    drop((words, other, segment, new));
    backend.remove();
}

pub(crate) fn a_foreign_object_is_refused_and_left_alone(backend: &dyn Backend) {
    let (zeros, ones) = (vec![0; 4096], vec![0xff; 70_000]);
    for content in [&b"x"[..], &zeros, &ones] {
        backend.replace_content(content);
        let refusals = [
            Segment::open(backend.address()).map(drop),
            Segment::open_or_create(backend.address(), 1 << 16).map(drop),
            Segment::unlink(backend.address()),
        ];
        for refused in refusals {
            assert!(matches!(refused, Err(Error::Foreign { .. })), "{refused:?}");
        }
        let refused = backend.create(&Segment::options());
        assert!(matches!(refused, Err(Error::AlreadyExists { .. } | Error::Foreign { .. })), "{refused:?}");
        assert_eq!(backend.content(), content);
        backend.remove();
    }
    assert_eq!(backend.segment().created(), backend.has(Feature::Creates));
    backend.remove();
}

pub(crate) fn each_constant_of_the_header_is_checked(backend: &dyn Backend) {
    drop(backend.segment());
    let good = backend.content();
    for (at, what) in [
        (0, "segment"),
        (8, "version"),
        (24, "flags"),
        (32, "rows"),
        (40, "entries"),
        (48, "rows at"),
        (56, "directory"),
    ] {
        for bad in [u64::MAX, 12_345] {
            let mut content = good.clone();
            content[at..at + 8].copy_from_slice(&bad.to_le_bytes());
            backend.replace_content(&content);
            let error = Segment::open(backend.address()).unwrap_err();
            assert!(matches!(error, Error::Foreign { .. }), "{error}");
            assert!(error.to_string().contains(what), "{error}");
            assert_eq!(backend.content(), content);
        }
    }
    backend.replace_content(&good);
    drop(Segment::open(backend.address()).unwrap());
    backend.remove();
}

pub(crate) fn what_was_truncated_is_refused_and_left_alone(backend: &dyn Backend) {
    for len in [0, 1, 4095, 4096, 8192, (1 << 16) - 1] {
        drop(backend.segment());
        backend.truncate(len);
        let content = backend.content();
        let refused = [
            Segment::open(backend.address()),
            Segment::options().size(1).open_or_create(backend.address()),
            Segment::options().read_only(true).open(backend.address()),
        ];
        for refused in refused {
            assert!(matches!(refused, Err(Error::Foreign { .. })), "{len} bytes: {refused:?}");
        }
        assert!(backend.content() == content);
        backend.remove();
    }
    // What was made longer, or had been before somebody was killed: nothing lies behind the end.
    drop(backend.segment());
    backend.truncate(1 << 17);
    assert_eq!(Segment::open(backend.address()).unwrap().size(), 1 << 16);
    backend.remove();
}

pub(crate) fn the_mode_is_what_was_asked_for(backend: &dyn Backend) {
    drop(backend.segment());
    assert_eq!(backend.mode(), 0o600);
    backend.remove();
    umask(Mode::from_bits_truncate(0o077));
    for mode in [0o600, 0o660, 0o666, 0o640] {
        drop(backend.create(&Segment::options().mode(mode)).unwrap());
        assert_eq!(backend.mode(), mode, "whatever the umask");
        backend.remove();
    }
}

/// Whether this process has become somebody with no rights.
fn become_nobody() -> bool {
    let (uid, gid) = (Uid::from_raw(65_534), Gid::from_raw(65_534));
    setgroups(&[]).is_ok() && setresgid(gid, gid, gid).is_ok() && setresuid(uid, uid, uid).is_ok()
}

pub(crate) fn another_user_is_denied(backend: &dyn Backend) {
    let segment = backend.segment();
    let mut other = Peer::start_at_home(|line| {
        if !become_nobody() {
            return line.say("not allowed to become somebody else");
        }
        let denied = |result: Result<(), Error>| matches!(result, Err(Error::Denied { .. }));
        assert!(denied(Segment::open(backend.address()).map(drop)));
        assert!(denied(Segment::open_or_create(backend.address(), 1 << 16).map(drop)));
        assert!(denied(Segment::unlink(backend.address())));
        line.say("denied");
    });
    let result = other.line.hear();
    other.ends();
    assert_eq!(segment.attachments().unwrap().len(), 1);
    drop(segment);
    backend.remove();
    if result != "denied" {
        return visibly(&format!("NOT TESTED: another user: {result}"));
    }
    let segment = backend.create(&Segment::options().mode(0o666)).unwrap();
    let words = Object::<AtomicU64>::create(&segment, "words", AtomicU64::default).unwrap();
    let mut other = Peer::start_at_home(|line| {
        assert!(become_nobody());
        let mine = match Segment::open(backend.address()) {
            Err(Error::Denied { .. }) if !backend.can_be_reached() => return line.say("no way to it"),
            other => other.unwrap(),
        };
        Object::<AtomicU64>::open(&mine, "words").unwrap().store(7, Ordering::Relaxed);
        let others = mine.attachments().unwrap();
        assert!(others.len() == 2 && others.iter().all(|each| each.alive), "{others:?}");
        line.say("ready");
        line.hear();
    });
    let result = other.line.hear();
    if result == "ready" {
        let rows = segment.attachments().unwrap();
        assert!(rows.iter().any(|each| each.uid == 65_534 && each.alive), "{rows:?}");
        other.kill();
        assert_eq!(segment.sweep().unwrap().recovered, 1);
        assert_eq!(words.load(Ordering::Relaxed), 7);
    } else {
        visibly(&format!("NOT TESTED: shared with another user: {result}"));
    }
    drop((words, segment));
    backend.remove();
}
