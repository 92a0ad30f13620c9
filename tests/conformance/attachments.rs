//! Who is attached.

use outlive::Error;
use outlive::Segment;
use outlive::atomic::{AtomicU64, Ordering};
use outlive::object::Object;
use outlive::ptr::Offset;
use outlive::ring::spsc::Ring;

use crate::backend::{Backend, Feature};
use crate::peer::{Peer, find, sleeper};

pub(crate) fn rows_run_out_and_come_back(backend: &dyn Backend) {
    let first = backend.create(&Segment::options().rows(3)).unwrap();
    let second = backend.join(&first).unwrap();
    let third = first.attach().unwrap();
    for _ in 0..2 {
        assert!(matches!(backend.join(&first), Err(Error::NoRow { rows: 3 })));
        assert!(matches!(second.attach(), Err(Error::NoRow { rows: 3 })));
    }
    let gone = third.owner();
    drop(third);
    assert!(first.is_dead(gone) && !first.is_dead(second.owner()));
    let fourth = backend.join(&first).unwrap();
    assert_eq!(fourth.owner().row(), gone.row());
    assert_ne!(fourth.owner(), gone, "the next generation");
    assert!(second.is_dead(gone) && !second.is_dead(fourth.owner()));
    // Nothing runs out, however many come and go.
    drop(fourth);
    for _ in 0..50 {
        drop(backend.join(&second).unwrap());
        drop(second.attach().unwrap());
    }
    let fourth = first.attach().unwrap();
    let rows = first.attachments().unwrap();
    assert!(rows.len() == 3 && rows.iter().all(|row| row.alive), "{rows:?}");
    assert_eq!(first.sweep().unwrap().recovered, 0);
    drop((first, second, fourth));
    backend.remove();
}

pub(crate) fn a_segment_is_detached_with_its_last_handle(backend: &dyn Backend) {
    let segment = backend.segment();
    let other = backend.join(&segment).unwrap();
    let (owner, clone) = (other.owner(), other.clone());
    let words = Object::<AtomicU64>::create(&other, "words", AtomicU64::default).unwrap();
    let ring = Ring::<u64>::create(&other, "ring", 4).unwrap();
    let sender = ring.try_sender().unwrap();
    let is_attached = || find(&segment, |each| each.owner == owner).is_some_and(|each| each.alive);
    drop(other);
    assert!(is_attached() && clone.owner() == owner);
    drop((clone, ring));
    words.store(7, Ordering::Relaxed);
    assert!(is_attached());
    drop(words);
    assert!(is_attached(), "a sender is a handle too");
    drop(sender);
    assert!(!is_attached() && segment.is_dead(owner));
    assert!(segment.objects().unwrap().iter().all(|object| object.openers == 0));
    assert_eq!(segment.sweep().unwrap().recovered, 0, "nothing was left to do");
    drop(segment);
    backend.remove();
}

pub(crate) fn a_second_mapping_sees_the_same(backend: &dyn Backend) {
    let one = backend.segment();
    for other in [one.attach().unwrap(), backend.join(&one).unwrap()] {
        let apart = u64::try_from(one.address().abs_diff(other.address())).unwrap();
        assert_eq!(apart >= one.size(), backend.has(Feature::Processes), "{apart} bytes apart");
        let here = Object::<[AtomicU64; 4]>::create(&one, "words", Default::default).unwrap();
        let there = Object::<[AtomicU64; 4]>::open(&other, "words").unwrap();
        assert_eq!(here.offset(), there.offset());
        here[3].store(7, Ordering::Relaxed);
        assert_eq!(there[3].fetch_add(1, Ordering::Relaxed), 7);
        let place = other.resolve(Offset::<u64>::new(here.offset().get() + 24)).unwrap();
        assert_eq!(place.read(), 8);
        place.write(9).unwrap();
        assert_eq!(here[3].load(Ordering::Relaxed), 9);
        let mut sender = Ring::<[u64; 3]>::create(&one, "triples", 8).unwrap().try_sender().unwrap();
        let mut receiver = Ring::<[u64; 3]>::open(&other, "triples").unwrap().try_receiver().unwrap();
        for number in 0..100 {
            // Batches that cross the end of the slots, each time elsewhere.
            let batch = [[number; 3], [number + 1, 0, 0], [0, 0, number + 2]];
            assert_eq!(sender.try_send_slice(&batch).unwrap(), 3);
            assert_eq!([(); 3].map(|()| receiver.recv().unwrap()), batch);
        }
        one.remove("words").unwrap();
        one.remove("triples").unwrap();
    }
    drop(one);
    backend.remove();
}

pub(crate) fn another_process_is_listed_until_it_detaches(backend: &dyn Backend) {
    let segment = backend.segment();
    let mut owners = Vec::new();
    for _ in 0..3 {
        let mut peer = Peer::start(backend, &segment, |segment, line| {
            let me = segment.owner();
            assert!(find(&segment, |each| each.owner == me).unwrap().pid == std::process::id());
            line.say(me.row());
            assert_eq!(line.hear(), "leave");
            drop(segment);
            line.say("left");
            line.hear();
        });
        let row = peer.line.hear_number();
        let them = find(&segment, |each| u64::from(each.owner.row()) == row).unwrap();
        assert_eq!(i64::from(them.pid), i64::from(peer.pid().as_raw()));
        assert!(them.alive && !segment.is_dead(them.owner));
        assert_eq!(segment.attachments().unwrap().len(), 2);
        peer.line.say("leave");
        assert_eq!(peer.line.hear(), "left");
        assert!(segment.is_dead(them.owner), "the process lives, its attachment does not");
        assert_eq!(segment.attachments().unwrap().len(), 1);
        peer.line.say("end");
        peer.ends();
        owners.push(them.owner);
    }
    assert!(owners.iter().enumerate().all(|(index, owner)| !owners[..index].contains(owner)), "{owners:?}");
    // One that exits without a word, as programs do.
    let peer = Peer::start(backend, &segment, |segment, line| {
        line.say("ready");
        std::process::exit(i32::from(segment.attachments().unwrap().len() != 2));
    });
    peer.ends();
    assert!(segment.attachments().unwrap().iter().filter(|each| each.alive).count() == 1);
    segment.sweep().unwrap();
    assert_eq!(segment.attachments().unwrap().len(), 1);
    let mut many: Vec<Peer> = (0..10).map(|_| Peer::start(backend, &segment, sleeper)).collect();
    for peer in &mut many {
        assert_eq!(peer.line.hear(), "ready");
    }
    assert_eq!(segment.attachments().unwrap().iter().filter(|each| each.alive).count(), 11);
    drop(many);
    assert_eq!(segment.sweep().unwrap().recovered, 10);
    drop(segment);
    backend.remove();
}
