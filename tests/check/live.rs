//! Nobody who keeps the rules is accused, whoever works and whoever is killed meanwhile.

use std::time::{Duration, Instant};

use outlive::inspect::{self, Severity};
use outlive::ring::{records, spsc, stream};
use outlive::{Error, Segment};

use crate::common::Name;
use crate::common::process::{self, Child, Random};

const SIZE: usize = 1 << 18;

fn open(address: &str) -> Segment {
    Segment::options().size(SIZE).rows(20).open_or_create(address).unwrap()
}

/// Does whatever can be done, for ever: takes the roles that are free, moves what can be moved, makes and removes objects,
/// comes and goes.
pub(crate) fn worker(args: &[String]) {
    let mut random = Random::new(args[1].parse().unwrap());
    process::say("ready");
    loop {
        let segment = open(&args[0]);
        for _ in 0..=random.below(20) {
            match random.below(5) {
                0 => messages(&segment, &mut random),
                1 => lines(&segment, &mut random, "plain", 512),
                2 => lines(&segment, &mut random, "mirrored", 8192),
                3 => bytes(&segment, &mut random),
                _ => names(&segment, &mut random),
            }
        }
    }
}

fn messages(segment: &Segment, random: &mut Random) {
    let ring = spsc::Ring::<u64>::open_or_create(segment, "messages", 16).unwrap();
    let (mut sender, mut receiver) = (ring.try_sender().ok(), ring.try_receiver().ok());
    for number in 0..random.below(20_000) {
        let _ = sender.as_mut().map(|sender| sender.try_send(number));
        let _ = receiver.as_mut().map(spsc::Receiver::try_recv);
    }
    if random.below(2) == 0 {
        sender.into_iter().for_each(spsc::Sender::resign);
    }
}

fn lines(segment: &Segment, random: &mut Random, name: &str, capacity: usize) {
    let ring: records::Ring = records::Ring::open_or_create(segment, name, capacity).unwrap();
    let (mut sender, mut receiver) = (ring.try_sender().ok(), ring.try_receiver().ok());
    let mut line = Vec::new();
    for _ in 0..random.below(5000) {
        let length = usize::try_from(random.below(120)).unwrap();
        let _ = sender.as_mut().map(|sender| sender.try_send(&vec![0xff; length]));
        let _ = receiver.as_mut().map(|receiver| receiver.try_recv(&mut line));
    }
}

fn bytes(segment: &Segment, random: &mut Random) {
    let ring: stream::Ring = stream::Ring::open_or_create(segment, "bytes", 256).unwrap();
    let (mut writer, mut reader) = (ring.try_writer().ok(), ring.try_reader().ok());
    let mut room = [1; 100];
    for _ in 0..random.below(5000) {
        let length = usize::try_from(random.below(100)).unwrap();
        let _ = writer.as_mut().map(|writer| writer.try_write(&[1; 100][..length]));
        let _ = reader.as_mut().map(|reader| reader.try_read(&mut room[..length]));
    }
}

fn names(segment: &Segment, random: &mut Random) {
    for _ in 0..random.below(30) {
        let name = format!("short-lived {}", random.below(4));
        match spsc::Ring::<u32>::open_or_create(segment, &name, 1 << random.below(6)) {
            Ok(ring) => drop((ring.try_sender(), ring.try_receiver())),
            Err(Error::WrongShape { .. } | Error::NoSpace { .. }) => {}
            Err(error) => panic!("{error}"),
        }
        match segment.remove(&name) {
            Ok(()) | Err(Error::NotFound { .. }) => {}
            Err(error) => panic!("{error}"),
        }
    }
}

/// Looks without end, through an attachment of its own and through one that only looks; the workers are killed meanwhile.
#[test]
fn nobody_is_accused_while_processes_work_and_are_killed() {
    let name = Name::shm("check-live");
    let address = name.address().to_string();
    let segment = open(&address);
    let observer = Segment::options().read_only(true).open(name.address()).unwrap();
    let mut random = Random::announced("a check of a live segment");
    let start = |random: &mut Random| {
        let child = Child::start("check worker", &[&address, &random.below(u64::MAX).to_string()]);
        child.expect("ready");
        child
    };
    let mut workers = [start(&mut random), start(&mut random), start(&mut random)];
    let (mut looks, mut kills, mut unsettled, mut invariants) = (0_u64, 0_u64, 0, 0);
    let end = Instant::now() + Duration::from_secs(5);
    while Instant::now() < end {
        for _ in 0..20 {
            for eyes in [&segment, &observer] {
                let report = inspect::check(eyes);
                assert!(report.is_sound(), "after {kills} kills: {report}");
                looks += 1;
                unsettled += report.unsettled;
                invariants += report.invariants;
            }
        }
        let victim = usize::try_from(random.below(3)).unwrap();
        workers[victim].kill();
        kills += 1;
        workers[victim] = start(&mut random);
    }
    for worker in &mut workers {
        worker.kill();
    }
    let report = inspect::check(&segment);
    assert!(report.is_sound() && report.dead >= 1, "{report}");
    assert!(process::soon(|| segment.sweep().is_ok() && inspect::check(&segment).dead == 0));
    let report = inspect::check(&segment);
    assert!(report.of(Severity::NeedsSweep).next().is_none() && report.is_sound(), "{report}");
    assert_eq!(report.unsettled, 0, "{report}");
    println!("{looks} looks, {kills} kills, {unsettled} of {invariants} invariants unsettled");
    assert!(looks > 0 && kills > 0 && unsettled < invariants / 100);
}

/// Looks once, instruction by instruction.
pub(crate) fn eyes(args: &[String]) {
    let segment = Segment::options().read_only(true).open(&args[0]).unwrap();
    process::be_traced();
    let report = inspect::check(&segment);
    process::say(&format!("sound: {}: {}", report.is_sound(), report.to_string().replace('\n', "; ")));
    process::end_of_trace();
}

/// What an entry says while it changes hands, again and again, is not held against anybody.
#[test]
fn nobody_is_accused_of_what_two_objects_say_together() {
    let mut random = Random::announced("a check of what changes hands");
    // Within a look at an entry, and while its object is looked into.
    for longest in [30, 30, 50_000] {
        let name = Name::shm("check-hands");
        let segment = Segment::options().size(16 << 10).rows(2).create(name.address()).unwrap();
        let mut eyes = Child::start("check eyes", &[&name.address().to_string()]);
        let (mut steps, mut changes, mut next) = (0_u64, 0_u64, 0);
        eyes.between_its_steps(|| {
            steps += 1;
            if steps < next {
                return;
            }
            next = steps + random.below(longest);
            changes += 1;
            if changes > 1 {
                segment.remove("x").unwrap();
            }
            if changes % 2 == 0 {
                drop(spsc::Ring::<u64>::create(&segment, "x", 8).unwrap());
            } else {
                drop(records::Ring::<outlive::Checked>::create(&segment, "x", 64).unwrap());
            }
        });
        let verdict = eyes.expect("sound:");
        println!("{steps} steps, {changes} changes: {verdict}");
        assert!(verdict.starts_with("true"), "{verdict}");
        assert!(changes > 1, "{changes}");
    }
}
