//! What the dead leave behind.

use std::os::unix::process::CommandExt;
use std::process::Command;

use nix::sched::{CloneFlags, unshare};
use outlive::atomic::{AtomicU64, Ordering};
use outlive::error::{RecvError, SendError};
use outlive::inspect::{self, Severity};
use outlive::object::Object;
use outlive::ring::spsc::Ring;
use outlive::{Error, Owner, Segment};

use crate::backend::{Backend, Feature};
use crate::common::process::{
    Signal, Stranger, fork, leave, sleep_for_ever, sleep_for_ever_with, soon, state_of, visibly,
};
use crate::peer::{Peer, Victim, find, sleeper};

/// It is dead, shown as dead, recovered once, and gone.
fn is_dead_and_recovered(segment: &Segment, owner: Owner) {
    let row = || find(segment, |each| each.owner == owner);
    assert!(segment.is_dead(owner) && !row().unwrap().alive);
    let sound = || {
        let report = inspect::check(segment);
        assert!(report.is_sound(), "{report}");
        report.of(Severity::NeedsSweep).count() + report.of(Severity::Note).count()
    };
    assert!(sound() > 0, "a death is worth a note");
    let swept = segment.sweep().unwrap();
    assert_eq!((swept.recovered, swept.left), (1, 0));
    assert_eq!(row(), None);
    assert!(segment.is_dead(owner), "for ever");
    assert_eq!(segment.sweep().unwrap().recovered, 0);
    assert_eq!(sound(), 0, "and no more than one");
}

pub(crate) fn the_killed_are_dead_and_their_rows_are_used_again(backend: &dyn Backend) {
    let segment = backend.create(&Segment::options().rows(2)).unwrap();
    let words = Object::<AtomicU64>::create(&segment, "words", AtomicU64::default).unwrap();
    let mut owners = Vec::new();
    for round in 0..6 {
        let victim = Victim::start(backend, &segment, |mine| {
            let words = Object::<AtomicU64>::open(mine, "words").unwrap();
            words.fetch_add(1, Ordering::Relaxed);
            words
        });
        assert!(
            !segment.is_dead(victim.owner)
                && find(&segment, |each| each.owner == victim.owner).unwrap().alive
        );
        assert!(matches!(backend.join(&segment), Err(Error::NoRow { .. })));
        let owner = victim.kill();
        if round % 2 == 0 {
            is_dead_and_recovered(&segment, owner);
        }
        // Else the next one recovers what he needs.
        assert!(!owners.contains(&owner));
        owners.push(owner);
    }
    segment.sweep().unwrap();
    assert!(owners.iter().all(|owner| owner.row() == owners[0].row()), "one row: {owners:?}");
    assert_eq!(words.load(Ordering::Relaxed), 6, "and what they did is there");
    drop((words, segment));
    backend.remove();
}

pub(crate) fn the_openings_of_the_dead_are_closed(backend: &dyn Backend) {
    let segment = backend.segment();
    let mine = Object::<AtomicU64>::create(&segment, "one", AtomicU64::default).unwrap();
    let at = mine.offset();
    let victim = Victim::start(backend, &segment, |mine| {
        let ring = Ring::<u64>::create(mine, "ring", 8).unwrap();
        (Object::<AtomicU64>::open(mine, "one").unwrap(), ring.try_sender().unwrap(), ring)
    });
    let openers = || segment.objects().unwrap().into_iter().map(|object| (object.name, object.openers));
    assert_eq!(openers().collect::<Vec<_>>(), [("one".to_owned(), 2), ("ring".to_owned(), 1)]);
    segment.remove("one").unwrap();
    drop(mine);
    let another = Object::<AtomicU64>::create(&segment, "two", AtomicU64::default).unwrap();
    assert_ne!(another.offset(), at, "somebody has it open");
    let owner = victim.kill();
    is_dead_and_recovered(&segment, owner);
    let again = Object::<AtomicU64>::create(&segment, "three", AtomicU64::default).unwrap();
    assert_eq!(again.offset(), at, "nobody has it open any more");
    assert!(openers().any(|(name, openers)| name == "ring" && openers == 0));
    assert!(Ring::<u64>::open(&segment, "ring").unwrap().try_sender().is_ok());
    drop((another, again, segment));
    backend.remove();
}

pub(crate) fn what_a_dead_sender_committed_arrives_and_nothing_else(backend: &dyn Backend) {
    let segment = backend.segment();
    let ring = Ring::<u64>::create(&segment, "numbers", 16).unwrap();
    let mut receiver = ring.try_receiver().unwrap();
    let victim = Victim::start(backend, &segment, |mine| {
        let mut sender = Ring::<u64>::open(mine, "numbers").unwrap().try_sender().unwrap();
        assert_eq!(sender.try_send_slice(&[0, 1, 2, 3, 4]).unwrap(), 5);
        let mut grant = sender.try_reserve(3).unwrap();
        grant.push(99).unwrap();
        drop(grant); // what is in a slot and not committed was never sent
        sender
    });
    assert!(matches!(ring.try_sender(), Err(Error::Busy { owner }) if owner == victim.owner));
    let owner = victim.kill();
    assert_eq!([(); 5].map(|()| receiver.recv().unwrap()), [0, 1, 2, 3, 4]);
    let died = Err(RecvError::PeerDied(owner));
    assert!([(); 2].map(|()| receiver.recv()) == [died; 2]);
    assert!(soon(|| receiver.try_recv() == died), "who does not wait need not ask each time");
    let mut successor = ring.try_sender().unwrap();
    assert_eq!(successor.position(), 5);
    successor.send(5).unwrap();
    assert_eq!(receiver.recv(), Ok(5));
    successor.close();
    assert_eq!(receiver.recv(), Err(RecvError::Closed));
    drop((receiver, ring, segment));
    backend.remove();
}

pub(crate) fn what_a_dead_receiver_had_not_released_is_received_again(backend: &dyn Backend) {
    let segment = backend.segment();
    let ring = Ring::<u64>::create(&segment, "numbers", 8).unwrap();
    let mut sender = ring.try_sender().unwrap();
    assert_eq!(sender.try_send_slice(&[0, 1, 2, 3, 4, 5]).unwrap(), 6);
    let victim = Victim::start(backend, &segment, |mine| {
        let mut receiver = Ring::<u64>::open(mine, "numbers").unwrap().try_receiver().unwrap();
        assert_eq!((receiver.recv(), receiver.recv()), (Ok(0), Ok(1)));
        assert_eq!(receiver.try_read(3).unwrap().iter().collect::<Vec<_>>(), [2, 3, 4]);
        receiver
    });
    assert!(matches!(ring.try_receiver(), Err(Error::Busy { owner }) if owner == victim.owner));
    let owner = victim.kill();
    assert_eq!(sender.try_send_slice(&[6, 7, 8, 9]).unwrap(), 4, "there is room still");
    assert_eq!(sender.send(10), Err(SendError::PeerDied(10, owner)));
    assert!(soon(|| sender.try_send(10) == Err(SendError::PeerDied(10, owner))));
    let mut successor = ring.try_receiver().unwrap();
    assert_eq!(successor.position(), 2);
    assert_eq!([(); 8].map(|()| successor.recv().unwrap()), [2, 3, 4, 5, 6, 7, 8, 9]);
    sender.send(10).unwrap();
    assert_eq!(successor.recv(), Ok(10));
    successor.close();
    // The first message behind the end may still go; it learns of it.
    let behind = [11, 12, 13].map(|number| sender.send(number));
    assert!(behind[1..] == [Err(SendError::Closed(12)), Err(SendError::Closed(13))], "{behind:?}");
    drop((sender, ring, segment));
    backend.remove();
}

pub(crate) fn a_stream_of_numbers_survives_its_senders(backend: &dyn Backend) {
    let segment = backend.segment();
    let ring = Ring::<u64>::create(&segment, "numbers", 32).unwrap();
    let mut receiver = ring.try_receiver().unwrap();
    receiver.wait_for_successor(true);
    let mut expected = 0;
    for round in 0..6 {
        if !backend.has(Feature::Processes) {
            let victim = Victim::start(backend, &segment, move |mine| {
                let mut sender = Ring::<u64>::open(mine, "numbers").unwrap().sender().unwrap();
                let from = sender.position();
                (from..from + 10).for_each(|number| sender.send(number).unwrap());
                sender
            });
            victim.kill();
            (0..10).for_each(|number| assert_eq!(receiver.recv(), Ok(expected + number)));
            expected += 10;
            continue;
        }
        let peer = Peer::start(backend, &segment, |segment, _| {
            let mut sender = Ring::<u64>::open(&segment, "numbers").unwrap().sender().unwrap();
            for number in sender.position().. {
                sender.send(number).unwrap();
            }
        });
        // It is killed wherever it is.
        for _ in 0..100 + 37 * round {
            assert_eq!(receiver.recv(), Ok(expected));
            expected += 1;
        }
        peer.kill();
    }
    receiver.wait_for_successor(false);
    loop {
        match receiver.recv() {
            Ok(number) => assert_eq!(number, expected),
            Err(error) => break assert!(matches!(error, RecvError::PeerDied(_)), "{error}"),
        }
        expected += 1;
    }
    assert_eq!((ring.stats().sent, ring.try_sender().unwrap().position()), (expected, expected));
    drop((receiver, ring, segment));
    backend.remove();
}

pub(crate) fn whose_every_row_is_dead_can_still_be_attached(backend: &dyn Backend) {
    let segment = backend.create(&Segment::options().rows(4)).unwrap();
    Object::<AtomicU64>::create(&segment, "words", || AtomicU64::new(7)).unwrap();
    let dead: Vec<Victim> = (0..3)
        .map(|_| {
            Victim::start(backend, &segment, |mine| {
                let ring = Ring::<u64>::open_or_create(mine, "ring", 8).unwrap();
                (ring.try_sender().ok(), ring.try_receiver().ok())
            })
        })
        .collect();
    assert!(matches!(backend.join(&segment), Err(Error::NoRow { rows: 4 })));
    let dead: Vec<Owner> = dead.into_iter().map(Victim::kill).collect();
    let three = [(); 3].map(|()| backend.join(&segment).unwrap());
    assert!(matches!(backend.join(&segment), Err(Error::NoRow { rows: 4 })));
    assert!(dead.iter().all(|owner| three[0].is_dead(*owner)));
    assert_eq!(Object::<AtomicU64>::open(&three[1], "words").unwrap().load(Ordering::Relaxed), 7);
    let ring = Ring::<u64>::open(&three[2], "ring").unwrap();
    assert!(ring.try_sender().is_ok() && ring.try_receiver().is_ok());
    drop((ring, three, segment));
    backend.remove();
}

pub(crate) fn a_zombie_is_dead_and_a_stopped_process_is_not(backend: &dyn Backend) {
    let segment = backend.segment();
    let mut peer = Peer::start(backend, &segment, sleeper);
    assert_eq!(peer.line.hear(), "ready");
    let me = segment.owner();
    let owner = find(&segment, |each| each.owner != me).unwrap().owner;
    peer.signal(Signal::SIGSTOP);
    assert!(soon(|| state_of(peer.pid()) == Some('T')));
    for _ in 0..50 {
        assert!(!segment.is_dead(owner));
    }
    assert_eq!(segment.sweep().unwrap().recovered, 0);
    peer.signal(Signal::SIGKILL);
    assert!(soon(|| state_of(peer.pid()) == Some('Z')));
    is_dead_and_recovered(&segment, owner);
    drop((peer, segment));
    backend.remove();
}

pub(crate) fn the_killed_are_dead_though_their_forked_children_live(backend: &dyn Backend) {
    Stranger::adopt_orphans();
    let segment = backend.create(&Segment::options().rows(2)).unwrap();
    for _ in 0..2 {
        let mut peer = Peer::start(backend, &segment, |segment, line| {
            let ring = Ring::<u64>::open_or_create(&segment, "ring", 8).unwrap();
            let roles = (ring.try_sender().unwrap(), ring.try_receiver().unwrap());
            let Some(child) = fork() else { leave(|| sleep_for_ever()) };
            line.say(child.abandon());
            sleep_for_ever_with((segment, roles))
        });
        let orphan = Stranger::new(&peer.line.hear());
        let me = segment.owner();
        let owner = find(&segment, |each| each.owner != me).unwrap().owner;
        assert!(!segment.is_dead(owner));
        peer.kill();
        is_dead_and_recovered(&segment, owner);
        assert!(orphan.lives());
        drop(backend.join(&segment).unwrap());
        let ring = Ring::<u64>::open(&segment, "ring").unwrap();
        assert!(ring.try_sender().is_ok() && ring.try_receiver().is_ok());
    }
    drop(segment);
    backend.remove();
}

pub(crate) fn after_exec_the_attachment_is_dead_though_the_process_lives(backend: &dyn Backend) {
    let segment = backend.segment();
    let mut peer = Peer::start(backend, &segment, |segment, line| {
        let _words = Object::<AtomicU64>::create(&segment, "words", AtomicU64::default).unwrap();
        line.say("ready");
        line.hear();
        panic!("{}", Command::new("/bin/sleep").arg("60").exec());
    });
    assert_eq!(peer.line.hear(), "ready");
    let me = segment.owner();
    let owner = find(&segment, |each| each.owner != me).unwrap().owner;
    assert!(!segment.is_dead(owner));
    peer.line.say("change");
    assert!(soon(|| segment.is_dead(owner)));
    is_dead_and_recovered(&segment, owner);
    assert!(matches!(state_of(peer.pid()), Some('R' | 'S' | 'D')));
    assert_eq!(segment.objects().unwrap()[0].openers, 0);
    drop((peer, segment));
    backend.remove();
}

pub(crate) fn another_pid_namespace_changes_nothing(backend: &dyn Backend) {
    let segment = backend.segment();
    let me = segment.owner();
    let mut outside = Peer::start(backend, &segment, sleeper);
    assert_eq!(outside.line.hear(), "ready");
    let theirs = find(&segment, |each| each.owner != me).unwrap().owner;
    // From now on those who are forked here are in a namespace of their own.
    let own = CloneFlags::CLONE_NEWPID;
    if unshare(own).or_else(|_| unshare(own | CloneFlags::CLONE_NEWUSER)).is_err() {
        visibly("NOT TESTED: no new pid namespace is allowed here");
        outside.kill();
        drop(segment);
        return backend.remove();
    }
    let mut inside = Peer::start(backend, &segment, |segment, line| {
        line.say(segment.owner().row());
        let of_row = |row: u64| find(&segment, |each| u64::from(each.owner.row()) == row);
        loop {
            let row = line.hear_number();
            line.say(of_row(row).map_or("none".to_owned(), |each| format!("alive {}", each.alive)));
        }
    });
    let row = inside.line.hear_number();
    let its = find(&segment, |each| u64::from(each.owner.row()) == row).unwrap();
    // Number 1 lives for ever in our namespace; it must not be mistaken for that one, nor be called dead for it.
    assert_eq!((its.pid, its.alive), (1, true));
    assert_eq!(segment.sweep().unwrap().recovered, 0);
    let mut sees = |owner: Owner| {
        inside.line.say(owner.row());
        inside.line.hear()
    };
    assert_eq!((sees(me), sees(theirs)), ("alive true".to_owned(), "alive true".to_owned()));
    outside.kill();
    assert_eq!((sees(me), sees(theirs)), ("alive true".to_owned(), "alive false".to_owned()));
    inside.kill();
    assert!(segment.is_dead(its.owner) && segment.is_dead(theirs));
    assert_eq!(segment.sweep().unwrap().recovered, 2);
    drop(segment);
    backend.remove();
}
