//! Promise: a segment is there completely or not at all, however many come at once, and whoever is killed meanwhile.

#![cfg(not(loom))]
#![expect(clippy::unwrap_used, reason = "tests")]
#![expect(clippy::disallowed_methods, reason = "real processes in real time: no model runs them")]

use std::fs::File;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::fcntl::{Flock, FlockArg};
use nix::sys::stat::fstat;
use outlive::atomic::{AtomicU64, Ordering};
use outlive::object::Object;
use outlive::{Address, Error, Segment, inspect};

mod common;
use common::process::{self, Child, Random, Signal, fork, leave, say};
use common::{Name, scratch_dir};

/// The children of these tests: see `common::process`.
#[test]
fn child_entry() {
    process::as_child(&[
        ("racer", racer),
        ("nursery", nursery),
        ("commuter", commuter),
        ("maker", maker),
        ("leaver", leaver),
        ("withdrawer", withdrawer),
        ("creator", creator),
        ("remover", remover),
        ("opener", opener),
        ("hoarder", hoarder),
    ]);
}

const RACERS: usize = 32;
/// A word for each racer.
type Ledger = [AtomicU64; RACERS];

fn inode(segment: &Segment) -> u64 {
    fstat(segment.as_fd().unwrap()).unwrap().st_ino
}

/// Waits at the gate with all the others, comes in, and signs the ledger.
fn racer(args: &[String]) {
    let (address, gate, number) =
        (&args[0], File::open(&args[1]).unwrap(), args[2].parse::<usize>().unwrap());
    say("ready");
    let _through = Flock::lock(gate, FlockArg::LockShared).unwrap();
    let segment = Segment::open_or_create(address, 1 << 16).unwrap();
    let ledger = Object::<Ledger>::open_or_create(&segment, "ledger", Ledger::default).unwrap();
    ledger[number].fetch_add(1, Ordering::Relaxed);
    if segment.created() {
        let created = Object::<AtomicU64>::open_or_create(&segment, "created", AtomicU64::default).unwrap();
        created.fetch_add(1, Ordering::Relaxed);
    }
    say(&format!("in {}", inode(&segment)));
    process::hear();
    drop((ledger, segment));
    say("out");
}

/// Names that begin like this one, in its directory: others would be left-overs of it.
fn names_like(path: &Path) -> Vec<PathBuf> {
    let prefix = path.file_name().unwrap().to_str().unwrap();
    let entries = std::fs::read_dir(path.parent().unwrap()).unwrap().map(|entry| entry.unwrap().path());
    entries.filter(|entry| entry.file_name().unwrap().to_str().unwrap().starts_with(prefix)).collect()
}

fn race(name: &Name, random: &mut Random) {
    let gate = Name::file("gate");
    let file = File::create(gate.path()).unwrap();
    let closed = Flock::lock(file, FlockArg::LockExclusive).unwrap();
    let (address, gate) = (name.address().to_string(), gate.path().to_str().unwrap().to_owned());
    let start = |number: usize| Child::start("racer", &[&address, &gate, &number.to_string()]);
    let mut racers: Vec<Child> = (0..RACERS).map(start).collect();
    for racer in &racers {
        racer.expect("ready");
    }
    let mut victims: Vec<(u64, usize)> = (0..RACERS).map(|number| (random.below(4000), number)).collect();
    victims.retain(|_| random.once_in(3));
    victims.sort_unstable();
    let opening = Instant::now();
    drop(closed);
    for &(moment, victim) in &victims {
        std::thread::sleep(Duration::from_micros(moment).saturating_sub(opening.elapsed()));
        racers[victim].signal(Signal::SIGKILL);
    }
    for &(_, victim) in &victims {
        racers[victim].kill();
    }
    let is_victim = |number: usize| victims.iter().any(|&(_, victim)| victim == number);
    let inodes: Vec<String> =
        (0..RACERS).filter(|&number| !is_victim(number)).map(|number| racers[number].expect("in")).collect();
    let segment = Segment::open_or_create(&address, 1 << 16).unwrap();
    assert!(!segment.created() || inodes.is_empty());
    assert!(
        inodes.iter().all(|found| *found == inode(&segment).to_string()),
        "more than one segment: {inodes:?}"
    );
    assert_eq!(names_like(&name.path()).len(), 1);
    let ledger = Object::<Ledger>::open_or_create(&segment, "ledger", Ledger::default).unwrap();
    for number in 0..RACERS {
        let signed = ledger[number].load(Ordering::Relaxed);
        assert!(signed == 1 || is_victim(number) && signed == 0, "{number} has signed {signed} times");
    }
    let created = Object::<AtomicU64>::open_or_create(&segment, "created", AtomicU64::default).unwrap();
    assert!(created.load(Ordering::Relaxed) <= 1, "created more than once");
    let alive = || segment.attachments().unwrap().iter().filter(|row| row.alive).count();
    assert_eq!(alive(), inodes.len() + 1);
    segment.sweep().unwrap();
    assert_eq!(segment.attachments().unwrap().len(), inodes.len() + 1);
    let objects = segment.objects().unwrap();
    assert_eq!(objects.len(), 2, "{objects:?}");
    let ledgers = objects.iter().find(|object| object.name == "ledger").unwrap();
    assert_eq!(usize::try_from(ledgers.openers).unwrap(), inodes.len() + 1);
    for (number, racer) in racers.iter_mut().enumerate() {
        if !is_victim(number) {
            racer.tell("leave");
            racer.expect("out");
            racer.succeeds();
        }
    }
    assert_eq!(segment.attachments().unwrap().len(), 1);
    assert!(segment.objects().unwrap().iter().all(|object| object.openers == 1));
}

#[test]
fn of_32_that_come_at_once_all_that_live_are_in_one_segment() {
    let mut random = Random::announced("startup race");
    for _ in 0..3 {
        race(&Name::shm("race"), &mut random);
        race(&Name::file("race"), &mut random);
    }
}

/// Forks creators and kills them; after each, the next one must find nothing or everything.
fn nursery(args: &[String]) {
    let (path, mut random) = (Path::new(&args[0]), Random::new(args[1].parse().unwrap()));
    let mut longest = Duration::ZERO;
    for _ in 0..200 {
        let Some(child) = fork() else {
            leave(|| {
                loop {
                    let segment = Segment::open_or_create(path, 1 << 16).unwrap();
                    let _ = Object::<Ledger>::open_or_create(&segment, "ledger", Ledger::default).unwrap();
                    let _ = std::fs::remove_file(path);
                }
            })
        };
        std::thread::sleep(Duration::from_micros(random.below(2000)));
        child.kill();
        let start = Instant::now();
        is_nothing_or_everything(path);
        longest = longest.max(start.elapsed());
        std::fs::remove_file(path).unwrap();
    }
    say(&format!("longest {longest:?}"));
}

/// What a killed creator leaves: no name, or a segment that can be used. And nothing else in its directory.
fn is_nothing_or_everything(path: &Path) {
    let there = path.exists();
    assert!(names_like(path).len() <= 1, "{:?}", names_like(path));
    match Segment::open(path) {
        Ok(segment) => assert!(there && segment.size() == 1 << 16),
        Err(error) => assert!(!there && matches!(error, Error::NotFound { .. }), "{error}"),
    }
    let segment = Segment::open_or_create(path, 1 << 16).unwrap();
    assert_eq!(segment.created(), !there);
    let ledger = Object::<Ledger>::open_or_create(&segment, "ledger", Ledger::default).unwrap();
    ledger[0].fetch_add(1, Ordering::Relaxed);
    segment.sweep().unwrap();
    assert_eq!(segment.attachments().unwrap().len(), 1);
}

#[test]
fn a_creator_killed_at_any_moment_leaves_nothing_or_a_segment() {
    let mut random = Random::announced("killed creators");
    for name in [Name::shm("nursery"), Name::file("nursery")] {
        let seed = random.next().to_string();
        let mut child = Child::start("nursery", &[name.path().to_str().unwrap(), &seed]);
        // The promise is a second; a machine may be busy, so it is shown and not asserted.
        eprintln!("the next one was in after at most {}", child.expect("longest"));
        child.succeeds();
        assert_eq!(names_like(&name.path()), [] as [PathBuf; 0]);
    }
}

/// Comes and goes, so that it is now the first and now the last one of a temporary segment.
fn commuter(args: &[String]) {
    say("ready");
    for _ in 0..args[1].parse::<u32>().unwrap() {
        let segment = Segment::options().temporary(true).open_or_create(&args[0]).unwrap();
        let ledger = Object::<Ledger>::open_or_create(&segment, "ledger", Ledger::default).unwrap();
        ledger[0].fetch_add(1, Ordering::Relaxed);
        // As long as somebody is in, the name means what he is in.
        assert_eq!(std::fs::metadata(&args[2]).unwrap().ino(), inode(&segment));
    }
}

#[test]
fn a_temporary_segment_comes_and_goes_while_its_users_are_killed() {
    let mut random = Random::announced("temporary segments");
    for name in [Name::shm("commute"), Name::file("commute")] {
        let (address, path) = (name.address().to_string(), name.path().to_str().unwrap().to_owned());
        for _ in 0..6 {
            let start = |rounds: &str| Child::start("commuter", &[&address, rounds, &path]);
            let mut commuters: Vec<Child> = (0..4).map(|_| start("150")).collect();
            let mut victim = start("1000000");
            for commuter in commuters.iter().chain([&victim]) {
                commuter.expect("ready");
            }
            std::thread::sleep(Duration::from_micros(random.below(20_000)));
            victim.kill();
            for commuter in &mut commuters {
                commuter.succeeds();
            }
        }
        // Is it there, its last one was killed: then the next last one removes it.
        assert!(goes_with_the_next_one(&address, &name.path()));
        assert_eq!(names_like(&name.path()), [] as [PathBuf; 0]);
    }
}

/// Whether a temporary segment is removed by the last one of those who come.
///
/// One may be too few: another test of this process starts a child just then, which has a copy of the descriptor with our
/// lock until its exec.
fn goes_with_the_next_one(address: impl Into<Address>, path: &Path) -> bool {
    let address = address.into();
    process::soon(|| {
        drop(Segment::options().temporary(true).open_or_create(&address).unwrap());
        !path.exists()
    })
}

/// A directory of its own: there, everything that is left is seen.
struct Folder(PathBuf);

impl Folder {
    fn new(within: &Path) -> Self {
        let folder = within.join(Name::file("folder").path().file_name().unwrap());
        std::fs::create_dir(&folder).unwrap();
        Self(folder)
    }

    fn all() -> [Self; 2] {
        [Self::new(Path::new("/dev/shm")), Self::new(&scratch_dir())]
    }

    fn address(&self) -> Address {
        Address::from(&self.0.join("segment"))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn maker(args: &[String]) {
    process::be_traced();
    let segment = Segment::options().temporary(args.len() > 1).open_or_create(&args[0]).unwrap();
    process::end_of_trace();
    drop(segment);
}

fn leaver(args: &[String]) {
    let segment = Segment::options().temporary(args.len() > 1).open_or_create(&args[0]).unwrap();
    process::be_traced();
    drop(segment);
    process::end_of_trace();
}

fn withdrawer(args: &[String]) {
    let segment = Segment::options().open_or_create(&args[0]).unwrap();
    process::be_traced();
    segment.withdraw();
    process::end_of_trace();
}

/// Kills a child at each of its stops at system calls; then everything must be in order for the next one.
fn killed_at_each_system_call(role: &str, temporary: bool, given: impl Fn(&Address)) {
    for folder in Folder::all() {
        let (address, path) = (folder.address(), folder.0.join("segment"));
        let text = address.to_string();
        let mut args = vec![text.as_str()];
        args.extend(temporary.then_some("temporary"));
        let mut killed = 0;
        for stop in 1..1000 {
            given(&address);
            let mut child = Child::start(role, &args);
            if !child.kill_at_system_call(stop) {
                break;
            }
            killed += 1;
            let others =
                std::fs::read_dir(&folder.0).unwrap().filter(|entry| entry.as_ref().unwrap().path() != path);
            assert_eq!(others.count(), 0, "stop {stop}");
            let options = Segment::options().temporary(temporary);
            let segment =
                options.open_or_create(&address).unwrap_or_else(|error| panic!("stop {stop}: {error}"));
            let report = inspect::check(&segment);
            assert!(report.is_sound(), "stop {stop}: {report}"); // nor is it one that is gone
            segment.sweep().unwrap();
            assert_eq!(segment.attachments().unwrap().len(), 1, "stop {stop}");
            Object::<Ledger>::create(&segment, "ledger", Ledger::default).unwrap();
            drop(segment);
            assert!(temporary || path.exists(), "stop {stop}");
            assert!(!temporary || goes_with_the_next_one(&address, &path), "stop {stop}");
            let _ = std::fs::remove_file(&path);
        }
        eprintln!("{role}: killed at {killed} stops");
        assert!(killed > 10, "{killed}");
    }
}

#[test]
fn a_creator_killed_at_any_system_call_leaves_nothing_or_a_segment() {
    killed_at_each_system_call("maker", false, |_| ());
}

#[test]
fn an_opener_killed_at_any_system_call_leaves_a_row_at_most() {
    killed_at_each_system_call("maker", true, |address| {
        // Its last one is killed too: a temporary segment that stays.
        let mut child = Child::start("leaver", &[&address.to_string(), "temporary"]);
        assert!(child.kill_at_system_call(1));
    });
}

#[test]
fn the_last_one_of_a_temporary_segment_killed_at_any_system_call_is_completed() {
    killed_at_each_system_call("leaver", true, |_| ());
}

#[test]
fn who_withdraws_and_is_killed_at_any_system_call_leaves_nothing_or_a_segment() {
    killed_at_each_system_call("withdrawer", false, |_| ());
}

/// A segment of which every state is worth a copy.
fn small(name: &Name) -> Segment {
    Segment::options().size(12 << 10).rows(4).create(name.address()).unwrap()
}

fn creator(args: &[String]) {
    let segment = Segment::open(&args[0]).unwrap();
    process::be_traced();
    let _made = Object::<[AtomicU64; 2]>::create(&segment, "half", || [AtomicU64::new(7), AtomicU64::new(8)]);
    process::end_of_trace();
}

fn remover(args: &[String]) {
    let segment = Segment::open(&args[0]).unwrap();
    process::be_traced();
    segment.remove("half").unwrap();
    process::end_of_trace();
}

fn opener(args: &[String]) {
    let segment = Segment::open(&args[0]).unwrap();
    process::be_traced();
    drop(Object::<[AtomicU64; 2]>::open(&segment, "half").unwrap());
    process::end_of_trace();
}

/// How many objects of this size fit: what leaks is missing here.
fn room(segment: &Segment) -> usize {
    let mut all = Vec::new();
    while let Ok(one) =
        Object::<[AtomicU64; 32]>::create(segment, &format!("o{}", all.len()), Default::default)
    {
        all.push(one);
    }
    all.iter().enumerate().for_each(|(number, _)| segment.remove(&format!("o{number}")).unwrap());
    all.len()
}

/// Has a process killed behind each of its stores to the segment. What is seen then may change once, from `before` to
/// `after` (whether "half" is there), and never costs a byte.
fn killed_at_each_store(role: &str, before: bool, after: bool, given: impl Fn(&Segment)) {
    let name = Name::shm("stores");
    let segment = small(&name);
    let all = room(&segment);
    given(&segment);
    let states = Child::start(role, &[&name.address().to_string()]).states_of(&name.path());
    eprintln!("{role}: {} states", states.len());
    assert!(states.len() > 1);
    let mut expected = before;
    for (number, state) in states.iter().enumerate() {
        let copy = Name::shm("state");
        std::fs::write(copy.path(), state).unwrap();
        let segment = Segment::open(copy.address()).unwrap();
        let report = inspect::check(&segment);
        assert!(report.is_sound(), "state {number}: {report}");
        let there = match Object::<[AtomicU64; 2]>::open(&segment, "half") {
            Ok(half) => {
                let found = [&half[0], &half[1]].map(|word| word.load(Ordering::Relaxed));
                assert_eq!(found, [7, 8], "state {number}: there, and not complete");
                true
            }
            Err(error) => {
                assert!(matches!(error, Error::NotFound { .. }), "state {number}: {error}");
                false
            }
        };
        assert!(there == expected || there == after, "state {number}: {there} again");
        expected = there;
        // Nobody has swept yet.
        drop(Object::<[AtomicU64; 2]>::open_or_create(&segment, "half", Default::default).unwrap());
        drop(Object::<AtomicU64>::create(&segment, "another", Default::default).unwrap());
        segment.sweep().unwrap();
        let report = inspect::check(&segment);
        assert!(report.findings.is_empty(), "state {number}: {report}");
        assert_eq!(segment.attachments().unwrap().len(), 1, "state {number}");
        let objects = segment.objects().unwrap();
        assert!(
            objects.len() == 2 && objects.iter().all(|object| object.openers == 0),
            "state {number}: {objects:?}"
        );
        segment.remove("half").unwrap();
        segment.remove("another").unwrap();
        assert_eq!(room(&segment), all, "state {number}: memory or entries have leaked");
    }
    assert_eq!(expected, after);
}

/// More than half of the room in a [`small`] segment.
type Large = [[AtomicU64; 32]; 16];

fn hoarder(args: &[String]) {
    let segment = Segment::open(&args[0]).unwrap();
    process::be_traced();
    let _made = Object::<Large>::create(&segment, "large", Large::default);
    process::end_of_trace();
}

/// Has it killed behind each of its stores; then somebody who has not swept creates another as large. What is told of
/// each state: whether the first one is there, whether an entry was being vacated, whether the dead are swept by now.
fn hoarder_killed_at_each_store(name: &Name) -> Vec<(bool, bool, bool)> {
    const ENTRIES: std::ops::Range<usize> = 4096 + 4 * 128..4096 + 4 * 128 + 16 * 128;
    const VACATING: u8 = 4;
    let states = Child::start("hoarder", &[&name.address().to_string()]).states_of(&name.path());
    let killed = |(number, state): (usize, &Vec<u8>)| {
        let copy = Name::shm("state");
        std::fs::write(copy.path(), state).unwrap();
        let segment = Segment::open(copy.address()).unwrap();
        let is_there = Object::<Large>::open(&segment, "large").is_ok();
        let another = Object::<Large>::create(&segment, "another", Large::default);
        assert!(matches!(&another, Err(Error::NoSpace { .. })) == is_there, "state {number}: {another:?}");
        assert!(is_there || another.is_ok(), "state {number}: {another:?}");
        let is_vacated = state[ENTRIES].chunks_exact(128).any(|entry| entry[3] == VACATING);
        (is_there, is_vacated, segment.attachments().unwrap().iter().all(|each| each.alive))
    };
    states.iter().enumerate().map(killed).collect()
}

#[test]
fn what_a_dead_creator_took_is_free_to_whoever_needs_it_and_has_not_swept() {
    let name = Name::shm("hoarder");
    let _segment = small(&name);
    let states = hoarder_killed_at_each_store(&name);
    let there = states.iter().filter(|(is_there, ..)| *is_there).count();
    assert!(there > 0 && states.len() - there > 5, "{states:?}");
    assert!(
        states.iter().any(|(_, _, swept)| *swept),
        "what has its bit set is free when its creator is swept"
    );
}

#[test]
fn what_a_dead_creator_was_vacating_is_free_to_the_next_one_who_need_not_sweep() {
    let name = Name::shm("vacating");
    let segment = small(&name);
    drop(Object::<Large>::create(&segment, "large", Large::default).unwrap());
    segment.remove("large").unwrap();
    let vacated: Vec<bool> = hoarder_killed_at_each_store(&name)
        .into_iter()
        .filter(|state| state.1)
        .map(|state| state.2)
        .collect();
    assert!(!vacated.is_empty() && vacated.iter().all(|swept| !swept), "{vacated:?}");
}

fn half(segment: &Segment) {
    let _ =
        Object::<[AtomicU64; 2]>::create(segment, "half", || [AtomicU64::new(7), AtomicU64::new(8)]).unwrap();
}

#[test]
fn the_creator_of_an_object_killed_at_any_store_leaves_it_whole_or_not_at_all() {
    killed_at_each_store("creator", false, true, |_| ());
}

#[test]
fn who_removes_an_object_and_is_killed_at_any_store_has_removed_it_or_not() {
    killed_at_each_store("remover", true, false, half);
}

#[test]
fn who_opens_an_object_and_is_killed_at_any_store_leaves_it_as_it_is() {
    killed_at_each_store("opener", true, true, half);
}
