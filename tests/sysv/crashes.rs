//! Processes killed while a segment comes and goes.

use super::*;

use nix::fcntl::{Flock, FlockArg};
use outlive::inspect;
use process::{Random, Signal};

fn options(args: &[String]) -> outlive::segment::Options {
    // Our own group: giving the segment to it takes the same system calls as giving it to another.
    let group = nix::unistd::getegid().as_raw();
    Segment::options().group(group).temporary(args.get(1).is_some_and(|arg| arg == "temporary"))
}

pub(crate) fn maker(args: &[String]) {
    process::be_traced();
    let segment = options(args).open_or_create(&args[0]).unwrap();
    process::end_of_trace();
    drop(segment);
}

pub(crate) fn leaver(args: &[String]) {
    let segment = options(args).open_or_create(&args[0]).unwrap();
    process::be_traced();
    drop(segment);
    process::end_of_trace();
}

pub(crate) fn remover(args: &[String]) {
    process::be_traced();
    let _ = Segment::unlink(&args[0]);
    process::end_of_trace();
}

pub(crate) fn private_maker(_: &[String]) {
    process::be_traced();
    let _segment = options(&[]).sysv_private().unwrap();
    process::end_of_trace();
}

/// Kills a child at each of its stops at system calls. What it leaves must do for the next one, and go when it is removed.
fn killed_at_each_system_call(role: &str, temporary: bool, given: impl Fn(&Key)) {
    let key = Key::new();
    let text = key.text();
    let args = [text.as_str(), if temporary { "temporary" } else { "" }];
    let mut killed = 0;
    for stop in 1..1000 {
        given(&key);
        let mut child = Child::start(role, &args);
        if !child.kill_at_system_call(stop) {
            break;
        }
        killed += 1;
        // Half of them are removed by somebody who does not create.
        if stop % 2 == 0 {
            match Segment::unlink(key.address()) {
                Ok(()) | Err(Error::NotFound { .. }) => {}
                Err(error) => panic!("stop {stop}: {error}"),
            }
            assert!(key.is_clean(), "stop {stop}");
            given(&key);
            let mut child = Child::start(role, &args);
            let _ = child.kill_at_system_call(stop); // it may have less to wait for, and come to its end
        }
        let next = Segment::options().temporary(temporary).open_or_create(key.address());
        let segment = next.unwrap_or_else(|error| panic!("stop {stop}: {error}"));
        let report = inspect::check(&segment);
        assert!(report.is_sound(), "stop {stop}: {report}"); // nor is it one that is gone
        segment.sweep().unwrap();
        assert_eq!(segment.attachments().unwrap().len(), 1, "stop {stop}");
        drop(Object::<AtomicU64>::open_or_create(&segment, "words", AtomicU64::default).unwrap());
        assert_eq!(Segment::open(key.address()).unwrap().attachments().unwrap().len(), 2, "stop {stop}");
        drop(segment);
        match Segment::unlink(key.address()) {
            Ok(()) => {}
            Err(Error::NotFound { .. }) => assert!(temporary, "stop {stop}"),
            Err(error) => panic!("stop {stop}: {error}"),
        }
        assert!(key.is_clean(), "stop {stop}");
    }
    eprintln!("{role}: killed at {killed} stops");
    assert!(killed > 10, "{killed}");
}

#[test]
fn a_creator_killed_at_any_system_call_leaves_what_the_next_one_uses_or_removes() {
    killed_at_each_system_call("maker", false, |_| ());
}

#[test]
fn an_opener_killed_at_any_system_call_leaves_a_row_at_most() {
    killed_at_each_system_call("maker", true, |key| {
        drop(Segment::open_or_create(key.address(), 1 << 16).unwrap());
    });
}

#[test]
fn the_last_one_of_a_temporary_segment_killed_at_any_system_call_is_completed() {
    killed_at_each_system_call("leaver", true, |_| ());
}

#[test]
fn who_removes_a_segment_and_is_killed_at_any_system_call_has_removed_it_or_not() {
    killed_at_each_system_call("remover", false, |key| {
        drop(Segment::open_or_create(key.address(), 1 << 16).unwrap());
    });
}

#[test]
fn an_adopter_killed_at_any_system_call_leaves_a_segment_to_adopt() {
    killed_at_each_system_call("maker", false, |key| {
        drop(Segment::open_or_create(key.address(), 1 << 16).unwrap());
        fs::remove_file(key.sidecar()).unwrap();
    });
}

#[test]
fn who_replaces_a_lock_file_and_is_killed_at_any_system_call_leaves_it_to_the_next_one() {
    killed_at_each_system_call("maker", false, |key| {
        drop(Segment::open_or_create(key.address(), 1 << 16).unwrap());
        raw::remove(key.id().unwrap());
    });
}

#[test]
fn a_private_segment_of_a_killed_creator_is_listed_and_removed() {
    let (mut killed, mut unknown, mut listed) = (0, 0, 0);
    for stop in 1..1000 {
        let mut child = Child::start("private maker", &[]);
        let pid = child.id();
        if !child.kill_at_system_call(stop) {
            for entry in raw::entries().iter().filter(|entry| entry.maker == pid) {
                drop(Private(entry.id));
            }
            break;
        }
        killed += 1;
        for entry in raw::entries().iter().filter(|entry| entry.maker == pid) {
            let private = Private(entry.id);
            let address = Address::from(format!("sysv:#{}", entry.id));
            if segment::sysv_addresses().unwrap().contains(&address) {
                listed += 1;
                if let Ok(segment) = Segment::open(&address) {
                    segment.sweep().unwrap();
                    assert_eq!(segment.attachments().unwrap().len(), 1, "stop {stop}");
                }
                Segment::unlink(&address).unwrap();
                assert!(private.is_clean(), "stop {stop}");
            } else {
                unknown += 1;
            }
        }
    }
    eprintln!("killed at {killed} stops, {listed} listed, {unknown} unknown");
    assert!(killed > 10 && listed > 10);
    assert!(unknown <= 6, "between the making and the naming: {unknown} stops");
}

/// Comes and goes, so that it is now the first and now the last one of a temporary segment.
pub(crate) fn commuter(args: &[String]) {
    say("ready");
    for _ in 0..args[1].parse::<u32>().unwrap() {
        let segment = Segment::options().temporary(true).open_or_create(&args[0]).unwrap();
        let ledger = Object::<Ledger>::open_or_create(&segment, "ledger", Ledger::default).unwrap();
        ledger[0].fetch_add(1, Ordering::Relaxed);
        // As long as somebody is in, the key means what he is in.
        let named = Segment::open(&args[0]).unwrap();
        assert_eq!(Object::<Ledger>::open(&named, "ledger").unwrap().offset(), ledger.offset());
        assert!(segment.sysv_address().is_some());
    }
}

#[test]
fn a_temporary_segment_comes_and_goes_while_its_users_are_killed() {
    let mut random = Random::announced("temporary System V segments");
    let key = Key::new();
    for _ in 0..6 {
        let start = |rounds: &str| Child::start("commuter", &[&key.text(), rounds]);
        let mut commuters: Vec<Child> = (0..4).map(|_| start("100")).collect();
        let mut victim = start("1000000");
        commuters.iter().chain([&victim]).for_each(|child| drop(child.expect("ready")));
        std::thread::sleep(std::time::Duration::from_micros(random.below(20_000)));
        victim.kill();
        commuters.iter_mut().for_each(Child::succeeds);
    }
    // Is it there, its last one was killed: then the next last one removes it.
    drop(Segment::options().temporary(true).open_or_create(key.address()).unwrap());
    assert!(process::soon(|| {
        drop(Segment::options().temporary(true).open_or_create(key.address()).unwrap());
        key.is_clean()
    }));
}

/// Makes and removes what others make and remove.
pub(crate) fn churner(args: &[String]) {
    say("ready");
    for _ in 0..args[1].parse::<u32>().unwrap() {
        let segment = Segment::open_or_create(&args[0], 1 << 16).unwrap();
        let _ledger = Object::<Ledger>::open_or_create(&segment, "ledger", Ledger::default).unwrap();
        match Segment::unlink(&args[0]) {
            Ok(()) | Err(Error::NotFound { .. }) => {}
            Err(error) => panic!("{error}"),
        }
        assert!(segment.attachments().unwrap().iter().any(|row| row.owner == segment.owner()));
    }
}

#[test]
fn many_make_and_remove_segments_of_one_key_while_some_are_killed() {
    let mut random = Random::announced("churn under one key");
    let key = Key::new();
    for _ in 0..6 {
        let start = |rounds: &str| Child::start("churner", &[&key.text(), rounds]);
        let mut churners: Vec<Child> = (0..3).map(|_| start("100")).collect();
        let mut victim = start("1000000");
        churners.iter().chain([&victim]).for_each(|child| drop(child.expect("ready")));
        std::thread::sleep(std::time::Duration::from_micros(random.below(20_000)));
        victim.kill();
        churners.iter_mut().for_each(Child::succeeds);
    }
    let _ = Segment::unlink(key.address());
    assert!(key.is_clean());
}

const RACERS: usize = 24;
type Ledger = [AtomicU64; RACERS];

/// Waits at the gate with all the others, comes in, and signs.
pub(crate) fn racer(args: &[String]) {
    let (gate, number) = (File::open(&args[1]).unwrap(), args[2].parse::<usize>().unwrap());
    say("ready");
    let _through = Flock::lock(gate, FlockArg::LockShared).unwrap();
    let segment = Segment::open_or_create(&args[0], 1 << 16).unwrap();
    let ledger = Object::<Ledger>::open_or_create(&segment, "ledger", Ledger::default).unwrap();
    ledger[number].fetch_add(1, Ordering::Relaxed);
    say(&format!("in {}", u8::from(segment.created())));
    process::hear();
    drop((ledger, segment));
}

#[test]
fn of_many_that_come_at_once_one_creates_and_all_that_live_are_in() {
    let mut random = Random::announced("System V startup race");
    for _ in 0..3 {
        let key = Key::new();
        let gate = Name::file("gate");
        let closed = Flock::lock(File::create(gate.path()).unwrap(), FlockArg::LockExclusive).unwrap();
        let path = gate.path().to_str().unwrap().to_owned();
        let start = |number: usize| Child::start("racer", &[&key.text(), &path, &number.to_string()]);
        let mut racers: Vec<Child> = (0..RACERS).map(start).collect();
        for racer in &racers {
            racer.expect("ready");
        }
        let victims: Vec<usize> = (0..RACERS).filter(|_| random.once_in(3)).collect();
        drop(closed);
        for &victim in &victims {
            (0..random.below(20_000)).for_each(|_| std::hint::black_box(()));
            racers[victim].signal(Signal::SIGKILL);
        }
        for &victim in &victims {
            racers[victim].kill();
        }
        let survivors: Vec<usize> = (0..RACERS).filter(|number| !victims.contains(number)).collect();
        let created: u32 =
            survivors.iter().map(|&number| racers[number].expect("in").parse::<u32>().unwrap()).sum();
        assert!(created <= 1, "{created} have created it");
        let segment = Segment::open(key.address()).unwrap();
        segment.sweep().unwrap();
        assert_eq!(segment.attachments().unwrap().len(), survivors.len() + 1);
        let ledger = Object::<Ledger>::open(&segment, "ledger").unwrap();
        for number in 0..RACERS {
            let signed = ledger[number].load(Ordering::Relaxed);
            assert!(signed == 1 || victims.contains(&number) && signed == 0, "{number}: {signed}");
        }
        for number in survivors {
            racers[number].tell("leave");
            racers[number].succeeds();
        }
        assert_eq!(segment.attachments().unwrap().len(), 1);
        Segment::unlink(key.address()).unwrap();
        assert!(key.is_clean());
    }
}
