//! Every bit of every control word: changed, it is found, or there is a reason why it may be so.
//!
//! The words are written through the segment's descriptor, as somebody writes them who does not run the protocol.

use core::mem::ManuallyDrop;
use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::AsFd;

use nix::sys::uio::{pread, pwrite};
use outlive::Segment;
use outlive::atomic::AtomicU64;
use outlive::inspect::{self, Finding, Severity};
use outlive::object::Object;
use outlive::ring::{records, spsc, stream};

use crate::common::process::{fork, leave};

fn read(segment: &Segment, at: u64) -> u64 {
    let mut bytes = [0; 8];
    assert_eq!(pread(segment.as_fd().unwrap().as_fd(), &mut bytes, at.try_into().unwrap()), Ok(8));
    u64::from_le_bytes(bytes)
}

fn write(segment: &Segment, at: u64, word: u64) {
    let fd = segment.as_fd().unwrap();
    assert_eq!(pwrite(fd.as_fd(), &word.to_le_bytes(), at.try_into().unwrap()), Ok(8));
}

/// Where the tables and the objects are, and everything that keeps them so.
struct Scene {
    segment: Segment,
    objects: BTreeMap<String, u64>,
    _kept: Vec<Box<dyn std::any::Any>>,
}

const ROWS: u64 = 4;
const ENTRIES: u64 = 16;
const ROWS_AT: u64 = 4096;
const ENTRIES_AT: u64 = ROWS_AT + 128 * ROWS;
const OPENERS_AT: u64 = ENTRIES_AT + 128 * ENTRIES;
const DATA_AT: u64 = OPENERS_AT + 8 * ENTRIES;

/// Two attachments, one of which has the receivers' roles; things in all rings; an entry that was removed while it is open,
/// one whose object is gone, and empty ones.
fn scene() -> Scene {
    let segment = Segment::options().size(64 << 10).rows(4).memfd("planted").unwrap();
    let other = segment.attach().unwrap();
    let messages = spsc::Ring::<u64>::create(&segment, "messages", 8).unwrap();
    let removed = spsc::Ring::<u64>::create(&segment, "removed", 8).unwrap();
    drop(Object::<AtomicU64>::create(&segment, "gone", AtomicU64::default).unwrap());
    let plain: records::Ring = records::Ring::create(&segment, "plain", 256).unwrap();
    let mirrored: records::Ring = records::Ring::create(&segment, "mirrored", 4096).unwrap();
    let stream: stream::Ring = stream::Ring::create(&segment, "stream", 64).unwrap();
    let object = Object::<AtomicU64>::create(&segment, "object", AtomicU64::default).unwrap();
    let mut sender = messages.try_sender().unwrap();
    let mut receiver = spsc::Ring::<u64>::open(&other, "messages").unwrap().try_receiver().unwrap();
    (0..5).for_each(|number| sender.send(number).unwrap());
    (0..2).for_each(|number| assert_eq!(receiver.recv(), Ok(number)));
    let mut kept: Vec<Box<dyn std::any::Any>> = vec![Box::new((sender, receiver))];
    for (ring, name) in [(plain, "plain"), (mirrored, "mirrored")] {
        let mut sender = ring.try_sender().unwrap();
        let opened: records::Ring = records::Ring::open(&other, name).unwrap();
        let mut receiver = opened.try_receiver().unwrap();
        let (length, mut line) = (ring.capacity() / 5, Vec::new());
        for _ in 0..9 {
            while sender.try_send(&vec![0xff; length]).is_err() {
                receiver.recv(&mut line).unwrap();
            }
        }
        kept.push(Box::new((sender, receiver)));
    }
    let mut writer = stream.try_writer().unwrap();
    writer.try_write(&[1; 40]).unwrap();
    kept.push(Box::new((writer, removed.try_sender().unwrap(), object)));
    let mut objects: BTreeMap<String, u64> =
        segment.objects().unwrap().into_iter().map(|object| (object.name, object.at)).collect();
    segment.remove("gone").unwrap();
    segment.remove("removed").unwrap();
    drop(Object::<AtomicU64>::create(&segment, "object too", AtomicU64::default).unwrap()); // in its place
    objects.remove("gone");
    assert_eq!(segment.info().unwrap().objects_at, DATA_AT);
    kept.push(Box::new(other));
    Scene { segment, objects, _kept: kept }
}

fn findings(segment: &Segment) -> BTreeSet<(Severity, &'static str, u64)> {
    let key = |finding: &Finding| (finding.severity, finding.what, finding.at);
    inspect::check(segment).findings.iter().map(key).collect()
}

/// Which of these bits of the word at `at` are found nowhere when they are changed, one after the other.
fn unseen(scene: &Scene, at: u64, bits: impl Iterator<Item = u32>) -> Vec<u32> {
    let good = read(&scene.segment, at);
    let mut unseen = Vec::new();
    for bit in bits {
        write(&scene.segment, at, good ^ 1 << bit);
        if findings(&scene.segment).is_empty() {
            unseen.push(bit);
        }
    }
    write(&scene.segment, at, good);
    unseen
}

/// Bits of a word that may be anything, or something else at least, and why.
type Excuse = (&'static [(u32, u32)], &'static str);

const ALL: &[(u32, u32)] = &[(0, 64)];
/// Of words that may be anything, these stand for all.
const SOME: [u32; 5] = [0, 7, 14, 33, 63];
const NONE: Excuse = (&[], "");

fn excuse_of_header(at: u64) -> Excuse {
    match at {
        96 => (ALL, "when it was created, by a clock that somebody may have set"),
        104 | 112 => (ALL, "a random number"),
        256 => (&[(0, 2), (32, 64)], "a hint: a row that exists; padding"),
        384 | 512 | 640 | 896 => (&[(32, 64)], "padding"),
        768 => (ALL, "a counter; padding"),
        0..128 | 128 | 1024.. => NONE,
        _ => (ALL, "padding"),
    }
}

fn excuse_of_row(row: u64, at: u64) -> Excuse {
    let free = row >= 2;
    match at {
        0 if free => (&[(8, 40)], "a row that is nobody's may have had any number of tenants"),
        0 if row == 1 => (&[(22, 40)], "stamps carry no more of the number of a tenant"),
        0 | 64 | 72 => (if at == 72 { &[(32, 64)] } else { &[] }, "padding"),
        56 if free => (&[(0, 32)], "what the last tenant could do"),
        56 => (&[(0, 1)], "this process may be registered for membarrier, or not"),
        8..56 if free => (ALL, "who the last tenant was"),
        8..56 if row == 0 => (ALL, "who this process is, it need not ask"),
        8 => (
            &[(0, 22), (32, 64)],
            "of a process that is known to live, by a descriptor that was kept; the user",
        ),
        16 => (&[(0, 32)], "the pid namespace: it is not ours"),
        32 | 40 => (ALL, "of a process that nobody can ask about, nothing can be said: its row byte is held"),
        24 => (&[(0, 32)], "the time namespace: only the start time's meaning hangs on it"),
        48 => (ALL, "when it attached, by a clock that somebody may have set"),
        _ => (ALL, "padding"),
    }
}

/// `now`: what stands there.
fn excuse_of_entry(state: u64, at: u64, is_object: bool, now: u64) -> Excuse {
    if state == 0 || matches!(at, 48 | 56) {
        return NONE;
    }
    match (state, at) {
        (_, 0) => {
            (&[(24, 25), (32, 64)], "as if it had been removed, or had not been; any number of changes")
        }
        (2, 16 | 32 | 40) if is_object => {
            (ALL, "an object of atomics may be of any type and anywhere, where no other one is")
        }
        (2, 8..=40) => NONE,
        (2, 64..128) if now == 0 => NONE,
        (2, 64..112) => (ALL, "another name is one, too"),
        (2, 112..128) => (ALL, "another payload's name is one, too"),
        (_, 32 | 40) => (ALL, "where a removed object is, as long as no other one is there"),
        _ => (ALL, "what the entry said about an object that was removed"),
    }
}

/// `is_published`: it is in a mark, of the position that is published.
fn excuse_of_ring(name: &str, at: u64, is_published: bool) -> Excuse {
    let is_counted = matches!(name, "plain" | "mirrored");
    match at {
        0..64 | 896 => NONE,
        128 | 256 if !is_counted => (&[(0, 6)], "another position from which the ring is long enough"),
        128 | 256 => (&[(6, 7)], "the position before, which has a mark as well"),
        136..168 | 264..296 if is_published && is_counted => NONE,
        136..168 | 264..296 if is_counted => (ALL, "the mark of a position that is not published"),
        384 | 512 if name == "removed" => {
            (ALL, "a removed ring may be half a ring: it is judged if a role is held")
        }
        384 | 512 => (&[(24, 26), (32, 64)], "nobody, or nobody any more; any number of holders"),
        392 | 520 | 640 | 768 => (ALL, "an eventcount may have any value; padding"),
        _ => (ALL, "padding"),
    }
}

/// All 64 bits of a word are changed. Those that are not found have to be excused, and each excuse has to be needed.
struct Judge {
    accused: Vec<String>,
    needed: BTreeSet<&'static str>,
    given: BTreeSet<&'static str>,
}

impl Judge {
    fn new() -> Self {
        Self { accused: Vec::new(), needed: BTreeSet::new(), given: BTreeSet::new() }
    }

    fn hear(&mut self, scene: &Scene, what: &str, base: u64, at: u64, (bits, why): Excuse) {
        let excused = |bit: u32| bits.iter().any(|&(from, to)| (from..to).contains(&bit));
        if !bits.is_empty() {
            self.given.insert(why);
        }
        let changed = (0..64).filter(|bit| bits != ALL || SOME.contains(bit));
        for bit in unseen(scene, base + at, changed) {
            if excused(bit) {
                self.needed.insert(why);
            } else {
                self.accused.push(format!("{what}: bit {bit} of the word at {at}"));
            }
        }
    }

    fn verdict(self, scene: &Scene) {
        assert!(self.accused.is_empty(), "changed, and not found:\n{}", self.accused.join("\n"));
        assert_eq!(self.given, self.needed, "excuses that nobody needs");
        assert_eq!(findings(&scene.segment), BTreeSet::new(), "all is as it was");
    }
}

#[test]
fn every_bit_of_the_header_is_watched_or_means_nothing() {
    let scene = scene();
    assert_eq!(findings(&scene.segment), BTreeSet::new());
    let mut judge = Judge::new();
    for at in (0..1024).chain([1024, 2048, 4088]).step_by(8) {
        judge.hear(&scene, "header", 0, at, excuse_of_header(at));
    }
    judge.verdict(&scene);
}

#[test]
fn every_bit_of_the_attachments_is_watched_or_means_nothing() {
    let scene = scene();
    let mut judge = Judge::new();
    for row in 0..ROWS {
        for at in (0..128).step_by(8) {
            judge.hear(&scene, &format!("row {}", row + 1), ROWS_AT + 128 * row, at, excuse_of_row(row, at));
        }
    }
    judge.verdict(&scene);
}

#[test]
fn every_bit_of_the_directory_is_watched_or_means_nothing() {
    let scene = scene();
    let mut judge = Judge::new();
    let mut states = BTreeSet::new();
    for entry in 0..ENTRIES {
        let base = ENTRIES_AT + 128 * entry;
        let (state, kind) = (read(&scene.segment, base) >> 24 & 0xff, read(&scene.segment, base + 8));
        states.insert(state);
        for at in (0..128).step_by(8) {
            let excuse = excuse_of_entry(state, at, kind == 1, read(&scene.segment, base + at));
            judge.hear(&scene, &format!("entry {entry} in state {state}"), base, at, excuse);
        }
        let excuse: Excuse = match state {
            0 => NONE,
            _ => (&[(1, 3)], "one of two that live may have it open, or not"),
        };
        judge.hear(&scene, &format!("openers of entry {entry}"), OPENERS_AT + 8 * entry, 0, excuse);
    }
    assert_eq!(states, BTreeSet::from([0, 2, 3]));
    judge.verdict(&scene);
}

#[test]
fn every_bit_of_the_rings_is_watched_or_means_nothing() {
    let scene = scene();
    let mut judge = Judge::new();
    for (name, base) in &scene.objects {
        if name.starts_with("object") {
            continue; // its words are the user's
        }
        for at in (0..1024).step_by(8) {
            let track = *base + at / 128 * 128;
            let mark = track + 8 + at.saturating_sub(8) % 128 / 16 * 16;
            let is_published = read(&scene.segment, mark) == read(&scene.segment, track);
            judge.hear(&scene, name, *base, at, excuse_of_ring(name, at, is_published));
        }
    }
    judge.verdict(&scene);
}

/// What no word alone can break: entries that contradict each other.
#[test]
fn entries_that_contradict_each_other_are_found() {
    let scene = scene();
    let segment = &scene.segment;
    let objects = segment.objects().unwrap();
    let entry = |name: &str| {
        let at = objects.iter().find(|object| object.name == name).unwrap().at;
        let mut entries = (0..ENTRIES).map(|entry| ENTRIES_AT + 128 * entry);
        entries.find(|base| read(segment, base + 32) == at && read(segment, base + 40) != 0).unwrap()
    };
    let (object, other) = (entry("object"), entry("object too"));
    let planted = |words: &[(u64, u64)], what: &str, places: &[u64]| {
        let good: Vec<u64> = words.iter().map(|&(at, _)| read(segment, at)).collect();
        for &(at, word) in words {
            write(segment, at, word);
        }
        let report = inspect::check(segment);
        let found: BTreeSet<u64> =
            report.findings.iter().filter(|it| it.what == what).map(|it| it.at).collect();
        assert_eq!(found, places.iter().copied().collect(), "{what}: {report}");
        for (&(at, _), good) in words.iter().zip(good) {
            write(segment, at, good);
        }
    };
    let name: Vec<(u64, u64)> = (64..112)
        .step_by(8)
        .map(|at| (object.max(other) + at, read(segment, object.min(other) + at)))
        .collect();
    planted(&name, "two objects have the same name", &[object.max(other) + 64]);
    // Both in one that is larger than the first of them, so that the second one's neighbour is not what it lies in.
    let plain = scene.objects["plain"];
    let nested = [(object + 32, plain + 128), (other + 32, plain + 512)];
    planted(&nested, "two objects lie in the same place", &[object, other]);
    assert_eq!(findings(segment), BTreeSet::new(), "all is as it was");
}

/// A creator that died in the middle of its work: the directory is locked, and an entry reserved.
#[test]
fn what_the_dead_were_making_is_for_the_sweep() {
    let scene = scene();
    let segment = &scene.segment;
    let Some(creator) = fork() else { leave(|| _ = ManuallyDrop::new(segment.attach().unwrap())) };
    creator.succeeds();
    let dead = segment.attachments().unwrap().into_iter().find(|each| !each.alive).unwrap().owner;
    let (lock, stamp) = (384, u64::from(dead.row() << 14 | dead.generation()));
    let is_empty = |entry: &u64| read(segment, ENTRIES_AT + 128 * entry) == 0;
    let entry = ENTRIES_AT + 128 * ((0..ENTRIES).find(is_empty).unwrap() - 1);
    write(segment, lock, stamp);
    write(segment, entry, read(segment, entry) >> 32 << 32 | 1 << 24 | stamp);
    let report = inspect::check(segment);
    let places: Vec<u64> = report.of(Severity::NeedsSweep).map(|finding| finding.at).collect();
    assert!(report.is_sound() && places == [lock, entry], "{report}");
    assert_eq!(segment.sweep().unwrap().recovered, 1);
    assert_eq!(findings(segment), BTreeSet::new());
}

/// The words of the records themselves: changed, they are found where the receiver would stumble over them.
#[test]
fn every_frame_is_walked_through() {
    let scene = scene();
    let found = |at: u64| {
        let report = inspect::check(&scene.segment);
        let wrong = report.of(Severity::Corrupt).map(|finding| finding.at).collect::<Vec<_>>();
        assert!(wrong.is_empty() || wrong == [at] && !report.is_sound(), "{report}");
        !wrong.is_empty()
    };
    for (name, length, data_at, capacity) in [("plain", 51, 1024, 256), ("mirrored", 819, 4096, 4096)] {
        let base = scene.objects[name] + data_at;
        let (tail, head) =
            (read(&scene.segment, base - data_at + 128), read(&scene.segment, base - data_at + 256));
        let (mut at, mut records) = (head, 0);
        while at != tail {
            let place = base + at % capacity;
            let header = read(&scene.segment, place);
            let (len, kind) = (header >> 32, header >> 24 & 0xff);
            assert_eq!(kind, if len == length { 1 } else { 2 });
            for (bit, is_watched) in
                [(0, kind == 2), (23, true), (24, true), (25, true), (31, true), (40, true), (63, true)]
            {
                write(&scene.segment, place, header ^ 1 << bit);
                assert_eq!(found(place), is_watched, "{name}: bit {bit} of the header at {at}");
            }
            write(&scene.segment, place, header);
            if kind == 1 {
                let last = base + (at + 8 + len) % capacity / 8 * 8;
                let word = read(&scene.segment, last);
                write(&scene.segment, last, word | 1 << 63);
                assert!(found(place), "what is behind the end of a record is zero");
                write(&scene.segment, last, word);
                records += 1;
            }
            at += 8 + len.next_multiple_of(8);
        }
        assert!(records > 2, "{name}: {records}");
    }
}
