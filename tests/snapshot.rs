//! Promise: a snapshot is a copy that can be inspected and drained, in which everybody else is dead, and of which the
//! original notices nothing.

#![cfg(not(loom))]
#![expect(clippy::unwrap_used, reason = "tests")]

use std::os::unix::fs::FileExt;

use outlive::atomic::{AtomicU64, Ordering};
use outlive::error::RecvError;
use outlive::object::Object;
use outlive::ring::spsc::Ring;
use outlive::{Error, Segment, testing};

mod common;
use common::Name;

/// A segment with a ring, three messages in it, and an object.
fn fill(segment: &Segment) -> outlive::ring::spsc::Sender<u64> {
    let ring = Ring::<u64>::create(segment, "ring", 8).unwrap();
    let mut sender = ring.try_sender().unwrap();
    for number in 10..13 {
        sender.send(number).unwrap();
    }
    let words = Object::<[AtomicU64; 2]>::create(segment, "words", Default::default).unwrap();
    words[1].store(7, Ordering::Relaxed);
    sender
}

fn is_as_it_was(segment: &Segment, copy: &Segment) {
    assert!(copy.created() && !copy.is_read_only());
    assert_eq!(copy.size(), segment.size());
    let names = |segment: &Segment| {
        let objects = segment.objects().unwrap();
        objects.into_iter().map(|object| (object.name, object.at, object.size)).collect::<Vec<_>>()
    };
    assert_eq!(names(copy), names(segment));
    let former = segment.attachments().unwrap();
    let listed = copy.attachments().unwrap();
    assert_eq!(listed.len(), former.len() + 1);
    for each in former {
        let there = listed.iter().find(|there| there.owner == each.owner).expect("it was attached");
        assert!(!there.alive && there.since == each.since && there.pid == each.pid);
        assert!(copy.is_dead(each.owner) && !segment.is_dead(each.owner));
    }
    let words = Object::<[AtomicU64; 2]>::open(copy, "words").unwrap();
    assert_eq!(words[1].load(Ordering::Relaxed), 7);
    let ring = Ring::<u64>::open(copy, "ring").unwrap();
    let sender = ring.stats().sender.expect("it has one");
    let mut receiver = ring.try_receiver().unwrap();
    for number in 10..13 {
        assert_eq!(receiver.recv(), Ok(number));
    }
    assert_eq!(receiver.recv(), Err(RecvError::PeerDied(sender)));
    let mut successor = ring.try_sender().unwrap();
    assert_eq!(successor.position(), 3);
    successor.send(13).unwrap();
    assert_eq!(receiver.recv(), Ok(13));
}

#[test]
fn a_copy_can_be_inspected_and_drained() {
    let names = [Name::shm("snapshot"), Name::file("snapshot")];
    let made = names.each_ref().map(|name| Segment::create(name.address(), 1 << 16).unwrap());
    let others = [Segment::options().memfd("snapshot").unwrap(), Segment::heap(1 << 16).unwrap()];
    for segment in made.into_iter().chain(others) {
        let mut sender = fill(&segment);
        is_as_it_was(&segment, &segment.snapshot().unwrap());
        let copy = segment.snapshot().unwrap();
        sender.send(13).unwrap();
        assert_eq!(Ring::<u64>::open(&copy, "ring").unwrap().stats().depth, 3, "of that moment");
        let ring = Ring::<u64>::open(&segment, "ring").unwrap();
        assert_eq!((ring.stats().depth, ring.stats().received), (4, 0));
        assert_eq!(ring.try_receiver().unwrap().recv(), Ok(10), "nobody has received anything");
    }
}

#[test]
fn who_may_only_look_may_copy_and_changes_nothing() {
    let name = Name::shm("look");
    let segment = Segment::create(name.address(), 1 << 16).unwrap();
    let _sender = fill(&segment);
    let before = std::fs::read(name.path()).unwrap();
    let observer = Segment::options().read_only(true).open(name.address()).unwrap();
    is_as_it_was(&segment, &observer.snapshot().unwrap());
    assert_eq!(std::fs::read(name.path()).unwrap(), before);
    Segment::unlink(name.address()).unwrap();
    is_as_it_was(&segment, &observer.snapshot().unwrap());
}

#[test]
fn a_copy_is_a_segment_like_any_other() {
    let segment = Segment::options().size(1 << 16).temporary(true).memfd("like").unwrap();
    let _sender = fill(&segment);
    let copy = segment.snapshot().unwrap();
    let again = copy.snapshot().unwrap();
    assert_eq!(again.attachments().unwrap().len(), 3);
    drop(Ring::<u64>::create(&copy, "new", 8).unwrap());
    copy.remove("ring").unwrap();
    assert_eq!(copy.sweep().unwrap().recovered, 1);
    let other = copy.attach().unwrap();
    testing::kill(&other).unwrap();
    assert!(copy.is_dead(other.owner()));
    assert!(matches!(other.snapshot(), Err(Error::Killed)));
    assert_eq!(segment.objects().unwrap().len(), 2);
    assert_eq!(again.objects().unwrap().len(), 2);
}

#[test]
fn a_full_table_is_no_obstacle() {
    let segment = Segment::options().rows(2).memfd("full").unwrap();
    let other = segment.attach().unwrap();
    let _sender = fill(&other);
    let copy = segment.snapshot().unwrap();
    assert_eq!(copy.attachments().unwrap().len(), 1, "the dead had to make room");
    let mut receiver = Ring::<u64>::open(&copy, "ring").unwrap().try_receiver().unwrap();
    assert_eq!(receiver.iter().map_while(Result::ok).collect::<Vec<_>>(), [10, 11, 12]);
}

#[test]
fn more_than_there_is_memory_for_is_refused() {
    let name = Name::shm("vast");
    drop(Segment::create(name.address(), 1 << 16).unwrap());
    // A sparse object of 16 TiB, which says so in its header.
    let (size, max_size_at, size_at) = (1_u64 << 44, 16, 128);
    let file = std::fs::OpenOptions::new().write(true).open(name.path()).unwrap();
    file.set_len(size).unwrap();
    for at in [max_size_at, size_at] {
        file.write_all_at(&size.to_le_bytes(), at).unwrap();
    }
    let segment = Segment::options().read_only(true).open(name.address()).unwrap();
    assert_eq!(segment.size(), size);
    let Err(Error::NoSpace { needed, available }) = segment.snapshot() else { panic!("16 TiB of memory?") };
    assert!(needed == size && available < size);
}
