//! Promise: who is gone is called dead, by the kernel's evidence; who lives never is; and what the dead held is given
//! back.

#![cfg(not(loom))]
#![expect(clippy::unwrap_used, reason = "tests")]

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::sync::Barrier;
use std::time::Duration;

use nix::sys::resource::{Resource, setrlimit};

use outlive::atomic::{AtomicU64, Ordering};
use outlive::object::Object;
use outlive::ring::spsc::Ring;
use outlive::segment::Attachment;
use outlive::{Error, Owner, Segment, testing};

mod common;
use common::Name;
use common::process::{self, Child, Signal, Stranger, say, soon};

/// The children of these tests: see `common::process`.
#[test]
fn child_entry() {
    process::as_child(&[
        ("holder", holder),
        ("parent", parent),
        ("changeling", changeling),
        ("sweeper", sweeper),
        ("observer", observer),
        ("headless", headless),
        ("reuser", reuser),
    ]);
}

/// Attached, with an object open.
fn holder(args: &[String]) {
    let segment = Segment::open(&args[0]).unwrap();
    let words = Object::<AtomicU64>::open_or_create(&segment, "words", AtomicU64::default).unwrap();
    words.fetch_add(1, Ordering::Relaxed);
    // A process of another pid namespace learns here what its number is in ours.
    say(&format!("ready {}", std::fs::read_link("/proc/self").unwrap().display()));
    process::sleep_for_ever()
}

/// Attached, with a forked child that has inherited everything and sleeps.
fn parent(args: &[String]) {
    let segment = Segment::open(&args[0]).unwrap();
    let Some(child) = process::fork() else { process::leave(|| process::sleep_for_ever()) };
    say(&format!("ready {}", child.abandon()));
    let _kept = segment;
    process::sleep_for_ever()
}

/// Attached, and then another program in the same process.
fn changeling(args: &[String]) {
    let segment = Segment::open(&args[0]).unwrap();
    say("ready");
    assert_eq!(process::hear(), "change");
    let error = Command::new("/bin/sh").args(["-c", "echo; echo @changed; exec sleep 60"]).exec();
    drop(segment);
    panic!("{error}");
}

/// Recovers the dead, once it is traced. With a word more it has a forked child.
fn sweeper(args: &[String]) {
    let segment = Segment::open(&args[0]).unwrap();
    if args.len() > 1 {
        match process::fork() {
            None => process::leave(|| process::sleep_for_ever()),
            Some(child) => say(&format!("child {}", child.abandon())),
        }
    }
    process::be_traced();
    segment.sweep().unwrap();
    process::end_of_trace();
}

/// Has a child that is attached, and whose first thread has come to its end.
#[expect(clippy::disallowed_methods, reason = "no wrapper ends a thread and nothing else")]
fn headless(args: &[String]) {
    let Some(child) = process::fork() else {
        let segment = Segment::open(&args[0]).unwrap();
        std::thread::spawn(move || {
            let me = nix::unistd::getpid();
            assert!(soon(|| process::state_of(me) == Some('Z')), "this is not the first thread");
            say(&format!("ready {me}"));
            process::sleep_for_ever_with(segment)
        });
        // SAFETY: ends this thread, and nothing on its stack is used any more.
        unsafe { nix::libc::syscall(nix::libc::SYS_exit, 0) };
        unreachable!()
    };
    process::hear();
    child.signal(Signal::SIGKILL);
    process::sleep_for_ever_with(child)
}

/// Attached; tells what it is asked.
fn observer(args: &[String]) {
    let segment = Segment::open(&args[0]).unwrap();
    say("ready");
    loop {
        let asked: u32 = process::hear().parse().unwrap();
        let them = segment.attachments().unwrap().into_iter().find(|each| each.owner.row() == asked);
        say(&them.map_or("none".to_owned(), |them| format!("alive {}", them.alive)));
    }
}

/// The first process of a pid namespace, where it can choose the numbers of its children.
fn reuser(args: &[String]) {
    let segment = Segment::open(&args[0]).unwrap();
    let next_is = |pid: u32| std::fs::write("/proc/sys/kernel/ns_last_pid", (pid - 1).to_string()).is_ok();
    if !next_is(300) {
        say("result not allowed to choose the number of a process");
        return;
    }
    let Some(first) = process::fork() else {
        process::leave(|| {
            let _mine = segment.attach().unwrap();
            say("attached");
            process::sleep_for_ever()
        })
    };
    let numbered = |pid: u32| segment.attachments().unwrap().into_iter().find(|each| each.pid == pid);
    assert!(soon(|| numbered(300).is_some()));
    let them = numbered(300).unwrap();
    assert!(them.alive && !segment.is_dead(them.owner));
    first.kill();
    assert!(next_is(300));
    let Some(second) = process::fork() else { process::leave(|| process::sleep_for_ever()) };
    assert_eq!(second.pid().as_raw(), 300);
    assert!(segment.is_dead(them.owner), "the number is another process's now");
    let fresh = segment.attach().unwrap(); // knows nothing from before
    assert!(fresh.is_dead(them.owner));
    assert_eq!(fresh.sweep().unwrap().recovered, 1);
    second.kill();
    say("result fine");
}

fn segment_for(name: &Name, rows: u16) -> Segment {
    Segment::options().rows(rows).create(name.address()).unwrap()
}

fn row_of(segment: &Segment, pid: u32) -> Option<Attachment> {
    segment.attachments().unwrap().into_iter().find(|each| each.pid == pid)
}

fn living(segment: &Segment, child: &Child) -> Owner {
    let them = row_of(segment, child.id()).unwrap();
    assert!(them.alive && !segment.is_dead(them.owner), "{them:?}");
    them.owner
}

/// It is dead, shown as dead, recovered once, and gone.
fn is_dead_and_recovered(segment: &Segment, owner: Owner) {
    assert!(segment.is_dead(owner));
    let find = || segment.attachments().unwrap().into_iter().find(|each| each.owner == owner);
    assert!(!find().unwrap().alive);
    let swept = segment.sweep().unwrap();
    assert_eq!((swept.recovered, swept.left), (1, 0));
    assert_eq!(find(), None);
    assert!(segment.is_dead(owner), "for ever");
    assert_eq!(segment.sweep().unwrap().recovered, 0);
}

#[test]
fn the_killed_are_dead_and_their_rows_are_used_again() {
    for name in [Name::shm("killed"), Name::file("killed")] {
        let segment = segment_for(&name, 2);
        let address = name.address().to_string();
        let (mut generations, mut dead) = (Vec::new(), Vec::new());
        for _ in 0..3 {
            let mut child = Child::start("holder", &[&address]);
            child.expect("ready");
            let owner = living(&segment, &child);
            assert!(
                dead.iter().all(|before| segment.is_dead(*before)),
                "their row is another one's: {dead:?}"
            );
            assert_eq!(segment.objects().unwrap()[0].openers, 1);
            child.kill();
            is_dead_and_recovered(&segment, owner);
            assert_eq!(segment.objects().unwrap()[0].openers, 0);
            generations.push((owner.row(), owner.generation()));
            dead.push(owner);
        }
        assert!(generations.iter().all(|each| each.0 == generations[0].0), "one row: {generations:?}");
        assert!(generations.windows(2).all(|two| two[0].1 != two[1].1), "{generations:?}");
        let words = Object::<AtomicU64>::open(&segment, "words").unwrap();
        assert_eq!(words.load(Ordering::Relaxed), 3, "and what they did is there");
    }
}

#[test]
fn a_zombie_is_dead() {
    let name = Name::shm("zombie");
    let segment = segment_for(&name, 4);
    let child = Child::start("holder", &[&name.address().to_string()]);
    child.expect("ready");
    let owner = living(&segment, &child);
    child.make_zombie();
    assert_eq!(process::state_of(child.pid()), Some('Z'));
    is_dead_and_recovered(&segment, owner);
}

#[test]
fn a_killed_process_is_dead_though_its_forked_child_lives() {
    Stranger::adopt_orphans();
    let name = Name::shm("orphan");
    let segment = segment_for(&name, 2);
    let address = name.address().to_string();
    let mut child = Child::start("parent", &[&address]);
    let orphan = Stranger::new(&child.expect("ready"));
    let owner = living(&segment, &child);
    child.kill();
    is_dead_and_recovered(&segment, owner);
    assert_eq!(segment.attach().expect("its row can be had").owner().row(), owner.row());
    assert!(orphan.lives());
}

#[test]
fn a_stopped_process_is_not_dead() {
    let name = Name::shm("stopped");
    let segment = segment_for(&name, 2);
    let child = Child::start("holder", &[&name.address().to_string()]);
    child.expect("ready");
    let owner = living(&segment, &child);
    child.stop();
    for _ in 0..100 {
        assert!(!segment.is_dead(owner));
        assert!(matches!(segment.attach(), Err(Error::NoRow { rows: 2 })));
        assert_eq!(segment.sweep().unwrap().recovered, 0);
    }
    child.signal(Signal::SIGCONT);
    assert_eq!(living(&segment, &child), owner);
}

#[test]
fn who_has_no_descriptor_left_calls_nobody_dead() {
    let name = Name::shm("exhausted");
    let segment = segment_for(&name, 4);
    let child = Child::start("holder", &[&name.address().to_string()]);
    child.expect("ready");
    let owner = living(&segment, &child);
    let Some(judge) = process::fork() else {
        process::leave(|| {
            let own = segment.attach().unwrap(); // knows nothing from before
            setrlimit(Resource::RLIMIT_NOFILE, 0, 0).unwrap();
            assert!(!own.is_dead(owner));
            assert_eq!(own.sweep().unwrap().recovered, 0);
        })
    };
    judge.succeeds();
    assert_eq!(living(&segment, &child), owner);
}

#[test]
fn a_process_lives_as_long_as_one_of_its_threads() {
    let name = Name::shm("headless");
    let segment = segment_for(&name, 4);
    let mut child = Child::start("headless", &[&name.address().to_string()]);
    let owner = row_of(&segment, child.expect("ready").parse().unwrap()).unwrap().owner;
    for _ in 0..50 {
        assert!(!segment.is_dead(owner));
    }
    assert_eq!(segment.sweep().unwrap().recovered, 0);
    child.tell("kill");
    assert!(soon(|| segment.is_dead(owner)));
    is_dead_and_recovered(&segment, owner);
}

#[test]
fn when_the_generations_of_a_row_come_round_nobody_inherits_from_the_dead() {
    let segment = Segment::options().rows(2).heap().unwrap();
    let ring = Ring::<u64>::create(&segment, "numbers", 2).unwrap();
    let dead = segment.attach().unwrap();
    let held = Ring::<u64>::open(&dead, "numbers").unwrap().try_sender().unwrap();
    testing::kill(&dead).unwrap();
    let owner = dead.owner();
    drop((held, dead));
    let namesake =
        (0..20_000).map(|_| segment.attach().unwrap()).find(|other| other.owner() == owner).unwrap();
    assert!(!segment.is_dead(namesake.owner()));
    assert_eq!(ring.stats().sender, None);
    assert!(ring.try_sender().is_ok(), "the role was another one's of that name");
}

#[test]
fn after_exec_the_attachment_is_dead_though_the_process_lives() {
    let name = Name::shm("exec");
    let segment = segment_for(&name, 4);
    let mut child = Child::start("changeling", &[&name.address().to_string()]);
    child.expect("ready");
    let owner = living(&segment, &child);
    child.tell("change");
    child.expect("changed");
    is_dead_and_recovered(&segment, owner);
    assert!(matches!(process::state_of(child.pid()), Some('R' | 'S' | 'D')));
}

/// Writes into the header who has the directory: `directory_lock`, as the layout has it.
fn directory_is_held_by(name: &Name, owner: Owner) {
    let file = File::options().write(true).open(name.path()).unwrap();
    let stamp = owner.row() << 14 | owner.generation();
    file.write_all_at(&stamp.to_le_bytes(), 384).unwrap();
}

#[test]
fn the_directory_is_kept_by_the_living_and_free_after_the_dead() {
    let name = Name::shm("directory");
    let segment = segment_for(&name, 4);
    let mut child = Child::start("holder", &[&name.address().to_string()]);
    child.expect("ready");
    let owner = living(&segment, &child);
    directory_is_held_by(&name, owner);
    std::thread::scope(|scope| {
        let waits =
            scope.spawn(|| Object::<AtomicU64>::create(&segment, "other", AtomicU64::default).map(drop));
        std::thread::sleep(Duration::from_millis(300));
        assert!(!waits.is_finished(), "somebody who lives has it");
        child.kill();
        waits.join().unwrap().unwrap();
    });
    directory_is_held_by(&name, owner);
    segment.remove("other").unwrap();
    directory_is_held_by(&name, owner);
    is_dead_and_recovered(&segment, owner);
    let mut word = [1; 4];
    File::open(name.path()).unwrap().read_exact_at(&mut word, 384).unwrap();
    assert_eq!(word, [0; 4], "the sweep has freed it");
}

#[test]
fn processes_of_other_pid_namespaces_are_seen_alive_and_dead() {
    let name = Name::shm("namespace");
    let segment = segment_for(&name, 8);
    let address = name.address().to_string();
    let Some(inside) = Child::start_in_a_pid_namespace("holder", &[&address]) else { return };
    let number = inside.expect("ready");
    let them = row_of(&segment, 1).expect("the first process of its namespace");
    // Number 1 lives for ever in our namespace; it must not be mistaken for that one, nor be called dead for it.
    for _ in 0..50 {
        assert!(!segment.is_dead(them.owner));
    }
    assert_eq!(segment.sweep().unwrap().recovered, 0);
    let mut observer = Child::start_in_a_pid_namespace("observer", &[&address]).unwrap();
    observer.expect("ready");
    let mut sees = |owner: Owner| {
        observer.tell(&owner.row().to_string());
        observer.hear()
    };
    let mut outside = Child::start("parent", &[&address]);
    let orphan = Stranger::new(&outside.expect("ready"));
    let ours = living(&segment, &outside);
    assert_eq!(sees(them.owner), "alive true", "number 1 of another namespace, seen by number 1");
    assert_eq!(sees(ours), "alive true");
    outside.kill();
    assert_eq!(sees(ours), "alive false", "by its byte, though its forked child lives");
    assert!(orphan.lives());
    drop(Stranger::new(&number)); // killed
    assert!(soon(|| segment.is_dead(them.owner)));
    assert_eq!(sees(them.owner), "alive false");
    assert_eq!(segment.sweep().unwrap().recovered, 2);
}

#[test]
fn a_stranger_with_the_same_number_is_a_stranger() {
    let name = Name::shm("reuse");
    let _segment = segment_for(&name, 8);
    let Some(mut child) = Child::start_in_a_pid_namespace("reuser", &[&name.address().to_string()]) else {
        return;
    };
    let result = loop {
        let word = child.hear();
        if let Some(result) = word.strip_prefix("result ") {
            break result.to_owned();
        }
    };
    child.succeeds();
    if result != "fine" {
        process::visibly(&format!("NOT TESTED: reuse of a pid: {result}"));
    }
}

/// Rows of the dead, as many as there are.
fn all_rows_dead(name: &Name, rows: u16) {
    drop(segment_for(name, rows));
    let address = name.address().to_string();
    let children: Vec<Child> = (0..rows).map(|_| Child::start("holder", &[&address])).collect();
    for child in &children {
        child.expect("ready");
    }
    assert!(matches!(Segment::open(name.address()), Err(Error::NoRow { .. })));
    for child in &children {
        child.make_zombie();
    }
}

#[test]
fn a_segment_whose_every_row_is_dead_can_be_attached() {
    let name = Name::shm("crypt");
    all_rows_dead(&name, 2);
    let first = Segment::open(name.address()).unwrap();
    let second = Segment::open(name.address()).unwrap();
    assert!(matches!(Segment::open(name.address()), Err(Error::NoRow { rows: 2 })));
    assert_eq!(first.attachments().unwrap().len(), 2);
    assert!(first.attachments().unwrap().iter().all(|each| each.alive));
    assert!(!first.is_dead(second.owner()));
}

#[test]
fn two_who_come_at_once_to_two_dead_rows_both_get_one() {
    for _ in 0..10 {
        let name = Name::shm("two");
        all_rows_dead(&name, 2);
        let start = Barrier::new(2);
        let come = || {
            start.wait();
            Segment::open(name.address())
        };
        std::thread::scope(|scope| {
            let other = scope.spawn(come);
            let one = come();
            let other = other.join().unwrap();
            assert!(one.is_ok() && other.is_ok(), "{one:?} {other:?}");
        });
    }
}

#[test]
fn two_who_come_at_once_to_two_dead_rows_of_the_heap_both_get_one() {
    let segment = Segment::options().rows(3).heap().unwrap();
    let start = Barrier::new(2);
    let come = || {
        let mut refused = 0;
        let mut mine = segment.attach().ok();
        for _ in 0..5000 {
            if let Some(mine) = mine.take() {
                testing::kill(&mine).unwrap();
            }
            start.wait();
            mine = segment.attach().ok();
            refused += u32::from(mine.is_none());
            start.wait();
        }
        refused
    };
    std::thread::scope(|scope| {
        let other = scope.spawn(come);
        assert_eq!(come() + other.join().unwrap(), 0, "refused, although all rows were dead");
    });
}

/// Kills the sweeper of a dead row at each of its stops; the next sweep always completes the work.
fn a_sweep_killed_anywhere_is_done_again(with_a_forked_child: bool) {
    Stranger::adopt_orphans();
    let name = Name::shm("sweeper");
    let segment = segment_for(&name, 8);
    let address = name.address().to_string();
    let mut args = vec![address.as_str()];
    if with_a_forked_child {
        args.push("with a forked child");
    }
    let mut killed = 0;
    for stop in 1.. {
        let mut dead = Child::start("holder", &[&address]);
        dead.expect("ready");
        let owner = living(&segment, &dead);
        dead.kill();
        let mut sweeper = Child::start("sweeper", &args);
        let orphan = with_a_forked_child.then(|| Stranger::new(&sweeper.expect("child")));
        let was_killed = sweeper.kill_at_system_call(stop);
        assert!(segment.is_dead(owner));
        let swept = segment.sweep().unwrap();
        assert_eq!(swept.left, 0, "stop {stop}: {swept:?}");
        assert_eq!(segment.attachments().unwrap().len(), 1, "stop {stop}");
        assert!(orphan.is_none_or(|orphan| orphan.lives()));
        if !was_killed {
            break;
        }
        killed += 1;
        assert!(stop < 500, "a sweep of 500 stops?");
    }
    assert!(killed > 4, "{killed} stops");
}

#[test]
fn a_sweeper_killed_anywhere_leaves_work_not_damage() {
    a_sweep_killed_anywhere_is_done_again(false);
}

#[test]
fn a_sweeper_killed_anywhere_leaves_work_though_its_forked_child_lives() {
    a_sweep_killed_anywhere_is_done_again(true);
}

/// Two at once would close what the row's next tenant has opened.
#[test]
fn a_row_is_swept_by_one_at_a_time() {
    let name = Name::shm("sweepers");
    let segment = segment_for(&name, 8);
    let address = name.address().to_string();
    let mut left = 0;
    for stop in 1..500 {
        let mut dead = Child::start("holder", &[&address]);
        dead.expect("ready");
        dead.kill();
        let mut sweeper = Child::start("sweeper", &[&address]);
        let mut stops = 0;
        sweeper.at_each_system_call(|| {
            stops += 1;
            if stops == stop {
                let swept = segment.sweep().unwrap();
                assert!(swept.recovered + swept.left <= 1, "stop {stop}: {swept:?}");
                left += swept.left;
            }
        });
        assert_eq!(segment.sweep().unwrap().left, 0, "stop {stop}");
        assert_eq!(segment.attachments().unwrap().len(), 1, "stop {stop}");
        if stops < stop {
            break;
        }
    }
    assert!(left > 0, "the other one was never seen at it");
}
