//! Whatever was done by the rules, nothing is found; and what the dead leave is no damage.

use std::os::unix::fs::FileExt;

use outlive::atomic::AtomicU64;
use outlive::inspect::{self, Report, Severity};
use outlive::object::Object;
use outlive::ring::{records, spsc, stream};
use outlive::{Segment, testing};

use crate::common::Name;

/// Nothing at all is found.
#[track_caller]
fn assert_clean(segment: &Segment) -> Report {
    let report = inspect::check(segment);
    assert!(report.findings.is_empty(), "{report}");
    assert_eq!(report.unsettled, 0, "{report}");
    report
}

fn segments() -> (Name, Name, Vec<Segment>) {
    let (shm, file) = (Name::shm("check"), Name::file("check"));
    let options = || Segment::options().size(1 << 18).rows(70);
    let segments = vec![
        options().heap().unwrap(),
        options().memfd("check").unwrap(),
        options().create(shm.address()).unwrap(),
        options().create(file.address()).unwrap(),
        options().temporary(true).anonymous().unwrap(),
        options().temporary(true).sysv_private().unwrap(),
    ];
    (shm, file, segments)
}

#[test]
fn every_kind_of_segment_is_sound_in_every_state_of_its_objects() {
    let (_shm, _file, segments) = segments();
    for segment in segments {
        let report = assert_clean(&segment);
        assert_eq!((report.objects, report.alive, report.dead, report.live), (0, 1, 0, false));
        let other = segment.attach().unwrap();
        assert!(assert_clean(&segment).live, "somebody else is attached");
        used(&segment, &other);
        drop(other);
        assert!(!assert_clean(&segment).live);
        let copy = segment.snapshot().unwrap();
        let report = inspect::check(&copy);
        assert!(report.is_sound(), "{report}");
        assert_eq!((report.alive, report.dead), (1, 1), "{report}");
        copy.sweep().unwrap();
        assert_clean(&copy);
        assert_clean(&segment);
    }
}

/// Everything that can be done with objects, with a look after each step.
fn used(segment: &Segment, other: &Segment) {
    let look = || {
        assert_clean(segment);
        assert_clean(other);
    };
    let object = Object::<AtomicU64>::create(segment, "object", AtomicU64::default).unwrap();
    look();
    let ring = spsc::Ring::<[u32; 3]>::create(other, "messages", 8).unwrap();
    let (mut sender, mut receiver) = (ring.try_sender().unwrap(), ring.try_receiver().unwrap());
    for number in 0..30 {
        sender.send([number; 3]).unwrap();
        look();
        if number > 5 {
            receiver.recv().unwrap();
        }
    }
    for capacity in [64, 8192] {
        let name = format!("records{capacity}");
        let ring: records::Ring = records::Ring::create(segment, &name, capacity).unwrap();
        let (mut sender, mut receiver) = (ring.try_sender().unwrap(), ring.try_receiver().unwrap());
        let mut line = Vec::new();
        for length in (0..ring.longest()).step_by(ring.longest() / 30 + 1) {
            while sender.try_send(&vec![0xff; length]).is_err() {
                receiver.recv(&mut line).unwrap();
            }
            look();
        }
        drop((sender, receiver));
        look();
        let opened: records::Ring = records::Ring::open(other, &name).unwrap();
        opened.try_receiver().unwrap().recv(&mut line).unwrap();
        segment.remove(&name).unwrap();
        look();
    }
    let stream: stream::Ring = stream::Ring::create(segment, "stream", 100).unwrap();
    let mut writer = stream.try_writer().unwrap();
    writer.try_write(&[7; 77]).unwrap();
    look();
    stream.try_reader().unwrap().try_read(&mut [0; 70]).unwrap();
    writer.try_write(&[7; 77]).unwrap();
    look();
    drop(object);
    segment.remove("object").unwrap();
    look();
    let again = spsc::Ring::<u8>::create(segment, "object", 1).unwrap();
    again.try_sender().unwrap().resign();
    look();
    for round in 0..40 {
        let name = format!("short-lived {round}");
        spsc::Ring::<u64>::create(segment, &name, 4).unwrap();
        segment.remove(&name).unwrap();
        look();
    }
    receiver.resign();
    sender.close();
    look();
}

#[test]
fn an_attachment_that_only_looks_can_check() {
    let name = Name::shm("check-observer");
    let segment = Segment::create(name.address(), 1 << 16).unwrap();
    let ring: records::Ring = records::Ring::create(&segment, "lines", 4096).unwrap();
    ring.try_sender().unwrap().send(b"a line").unwrap();
    let observer = Segment::options().read_only(true).open(name.address()).unwrap();
    let report = assert_clean(&observer);
    assert_eq!((report.objects, report.alive, report.dead, report.live), (1, 1, 0, true));
    drop((ring, segment));
    let report = assert_clean(&observer);
    assert_eq!((report.objects, report.alive, report.live), (1, 0, false));
}

/// Whoever dies in a check has changed nothing: it maps what it looks at for reading, and a write would be a fault.
#[test]
fn a_look_changes_not_a_byte() {
    let (_shm, _file, segments) = segments();
    for segment in segments.into_iter().filter(|segment| segment.as_fd().is_some()) {
        let other = segment.attach().unwrap();
        let ring: records::Ring = records::Ring::create(&other, "lines", 4096).unwrap();
        let mut ends = (ring.try_sender().unwrap(), ring.try_receiver().unwrap());
        ends.0.send(b"a line").unwrap();
        let file = std::fs::File::from(segment.as_fd().unwrap().try_clone_to_owned().unwrap());
        let bytes = || {
            let mut bytes = vec![0; usize::try_from(segment.size()).unwrap()];
            file.read_exact_at(&mut bytes, 0).unwrap();
            bytes
        };
        let before = bytes();
        assert_clean(&segment);
        assert_clean(&other);
        assert!(bytes() == before, "a look has changed something");
    }
}

#[test]
fn what_the_dead_hold_is_for_the_sweep() {
    let segment = Segment::heap(1 << 16).unwrap();
    let other = segment.attach().unwrap();
    let ring = spsc::Ring::<u64>::create(&other, "r", 8).unwrap();
    let roles = (ring.try_sender().unwrap(), ring.try_receiver().unwrap());
    testing::kill(&other).unwrap();
    let report = inspect::check(&segment);
    assert!(report.is_sound() && !report.live, "{report}");
    let counts = [Severity::Note, Severity::NeedsSweep].map(|severity| report.of(severity).count());
    assert_eq!(counts, [1, 2], "its row, and two roles: {report}");
    assert!(report.of(Severity::NeedsSweep).all(|finding| finding.object.as_deref() == Some("r")));
    assert_eq!((report.alive, report.dead), (1, 1));
    assert!(inspect::check(&other).is_sound(), "and it may look, too");
    segment.sweep().unwrap();
    assert_clean(&segment);
    drop(roles);
}
