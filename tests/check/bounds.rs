//! It ends, and soon, whatever it is shown; and reads nothing that is not there.

use std::fs::File;
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;

use outlive::Segment;
use outlive::inspect::{self, Severity};
use outlive::ring::{records, spsc};

use crate::common::Name;
use crate::common::process::{self, Child};

fn file_of(segment: &Segment) -> File {
    File::from(segment.as_fd().unwrap().as_fd().try_clone_to_owned().unwrap())
}

fn fill(file: &File, from: u64, to: u64, word: impl Fn(u64) -> u64) {
    let bytes: Vec<u8> = (from..to).step_by(8).flat_map(|at| word(at).to_le_bytes()).collect();
    file.write_all_at(&bytes, from).unwrap();
}

/// Every row and every entry in use, and every bit set that says so: the most that a scribbler can have us look at.
#[test]
fn the_largest_tables_are_looked_at_once_whatever_they_say() {
    let segment = Segment::options().size(17 << 20).rows(1022).memfd("large").unwrap();
    let info = segment.info().unwrap();
    assert_eq!((info.rows, info.entries), (1022, 1024));
    let file = file_of(&segment);
    let sound = inspect::check(&segment);
    assert!(sound.findings.is_empty(), "{sound}");
    let rows_at = 4096;
    let entries_at = rows_at + 128 * 1022;
    let openers_at = entries_at + 128 * 1024;
    fill(&file, openers_at, info.objects_at, |_| u64::MAX);
    let report = inspect::check(&segment);
    assert!(report.of(Severity::Corrupt).count() >= 1024, "{}", report.findings.len());
    // All rows active, by processes that nobody can ask about; all entries live, on top of each other.
    fill(&file, rows_at + 128, entries_at, |at| if at % 128 == 0 { 1 << 8 | 1 } else { at });
    fill(&file, entries_at, openers_at, |at| match at % 128 {
        0 => 1 << 32 | 2 << 24,
        8 => 2 + at / 128 % 4,
        24 => 64,
        32 => info.objects_at,
        40 => segment.size() - info.objects_at,
        64 => u64::from_le_bytes(*b"\x01a\0\0\0\0\0\0"),
        _ => 0,
    });
    let report = inspect::check(&segment);
    let findings = report.findings.len();
    assert!((3000..20_000).contains(&findings) && report.invariants < 100_000, "{findings}");
    assert_eq!(report.unsettled, 0);
    assert_eq!(report.to_string().lines().count(), findings + 1);
}

/// A thousand rings in one segment, each of which claims to be full of the shortest records there are.
#[test]
fn as_many_records_as_fit_are_walked_through() {
    let segment = Segment::options().size(17 << 20).rows(8).memfd("many").unwrap();
    for n in 0..1000 {
        let ring: records::Ring = records::Ring::create(&segment, &format!("r{n}"), 8192).unwrap();
        let mut sender = ring.try_sender().unwrap();
        while sender.try_send(b"").is_ok() {}
    }
    let report = inspect::check(&segment);
    assert!(report.findings.is_empty() && report.objects == 1000, "{report}");
}

/// The file is shorter than it was: what is missing would fault.
#[test]
fn what_was_truncated_is_a_finding() {
    for name in [Name::shm("check-truncated"), Name::file("check-truncated")] {
        let segment = Segment::create(name.address(), 1 << 16).unwrap();
        let observer = Segment::options().read_only(true).open(name.address()).unwrap();
        let _ring = spsc::Ring::<u64>::create(&segment, "numbers", 64).unwrap();
        let file = File::options().write(true).open(name.path()).unwrap();
        file.set_len(4096).unwrap();
        for eyes in [&segment, &observer] {
            let report = inspect::check(eyes);
            let found: Vec<_> = report.findings.iter().map(|found| (found.at, found.found)).collect();
            assert!(!report.is_sound() && found == [(4096, 1 << 16)], "{report}");
        }
        file.set_len(1 << 16).unwrap(); // for whoever detaches
    }
}

/// Has a child, which looks at what is open here.
pub(crate) fn parent(args: &[String]) {
    let segments = [Segment::create(&args[0], 1 << 16).unwrap(), Segment::heap(1 << 16).unwrap()];
    let _ends = segments.each_ref().map(|segment| {
        let ring: records::Ring = records::Ring::create(segment, "lines", 4096).unwrap();
        (ring.try_sender().unwrap(), ring.try_receiver().unwrap())
    });
    let Some(child) = process::fork() else {
        process::leave(|| {
            for segment in &segments {
                let report = inspect::check(segment);
                assert!(report.findings.is_empty() && report.unsettled == 0, "{report}");
            }
        })
    };
    child.succeeds();
}

/// In a forked child nothing is known of others' lives, and nobody is accused for it.
#[test]
fn a_forked_child_can_look() {
    let name = Name::shm("check-fork");
    Child::start("check parent", &[&name.address().to_string()]).succeeds();
}
