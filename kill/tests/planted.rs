//! Promise: a protocol that does not survive a death is reported, and so is a case that would not notice.
//!
//! Toys of a few words, each with one known bug; and one without, which passes.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test, which reports by itself")]

use std::io::{BufRead, BufReader};
use std::process::{Command, ExitCode, Stdio};
use std::sync::atomic::AtomicU64 as Counter;
use std::time::{Duration, Instant};

use outlive::Segment;
use outlive::atomic::{AtomicU64, Ordering};
use outlive::object::Object;
use outlive::ring::spsc::Ring;
use outlive_kill::{Case, INSIDE, NAMED, Peer, Report, Survivor, Tier, World, dies, forget, keep, step};

type Words = Object<[AtomicU64; 4]>;

fn words(segment: &Segment) -> Words {
    Words::open_or_create(segment, "w", Default::default).unwrap()
}

fn load(words: &Words, word: usize) -> u64 {
    words[word].load(Ordering::SeqCst)
}

fn store(words: &Words, word: usize, value: u64) {
    words[word].store(value, Ordering::SeqCst);
}

/// All words are 0.
fn given(world: &World) {
    words(&world.attach());
}

/// Word 0.
fn seen(survivor: &Survivor<'_>) -> String {
    load(&words(survivor), 0).to_string()
}

/// Two words, of which the first counts, and which belong together.
fn both(survivor: &Survivor<'_>) -> String {
    let words = words(survivor);
    let counts = load(&words, 0);
    assert!(counts == 0 || load(&words, 1) == 10 * counts, "half a message");
    counts.to_string()
}

/// Word 0, which the lock in word 3 protects.
fn behind_a_lock(survivor: &Survivor<'_>) -> String {
    assert_eq!(load(&words(survivor), 3), 0, "the dead hold the lock");
    seen(survivor)
}

/// What was posted in word 1 is added to word 0.
fn add_what_was_posted(segment: &Segment) {
    let words = words(segment);
    let posted = load(&words, 1);
    if posted != 0 {
        store(&words, 0, load(&words, 0) + posted);
        store(&words, 1, 0);
    }
}

/// The same, and right: word 2 says what will be in word 0, which may be done again.
fn add_what_was_posted_once(segment: &Segment) {
    let words = words(segment);
    if load(&words, 1) != 0 {
        if load(&words, 2) == 0 {
            store(&words, 2, load(&words, 0) + load(&words, 1));
        }
        store(&words, 0, load(&words, 2));
        store(&words, 1, 0);
    }
    store(&words, 2, 0);
}

/// With both steps of [`add_what_was_posted_once`], as a survivor of a posting.
fn posted(survivor: &Survivor<'_>) -> String {
    let words = words(survivor);
    assert_eq!((load(&words, 1), load(&words, 2)), (0, 0), "something is left to be done");
    seen(survivor)
}

static GIVEN: Counter = Counter::new(0);

const RIGHT: Case = Case {
    name: "a value posted",
    given,
    victim: |world| {
        let words = words(&world.attach());
        step(|| store(&words, 1, 7));
    },
    recover: add_what_was_posted_once,
    seen: posted,
    outcomes: &["0", "7"],
    ..INSIDE
};

const ONE: Case = Case {
    given,
    victim: |world| {
        let words = words(&world.attach());
        step(|| store(&words, 0, 1));
    },
    seen,
    outcomes: &["0", "1"],
    ..INSIDE
};

/// Bugs, and what has to be said about each.
const PLANTED: &[(Case, &str)] = &[
    (
        Case {
            name: "commit before write",
            victim: |world| {
                let words = words(&world.attach());
                step(|| {
                    store(&words, 0, 1);
                    store(&words, 1, 10);
                });
            },
            seen: both,
            ..ONE
        },
        "state 1 of 3, ",
    ),
    (
        Case {
            name: "a lock that nobody takes from the dead",
            victim: |world| {
                let words = words(&world.attach());
                step(|| {
                    store(&words, 3, 1);
                    store(&words, 0, 1);
                    store(&words, 3, 0);
                });
            },
            seen: behind_a_lock,
            ..ONE
        },
        "the dead hold the lock",
    ),
    (
        Case { name: "recovery that cannot be repeated", recover: add_what_was_posted, ..RIGHT },
        "recoverer killed in its state",
    ),
    (
        Case {
            name: "an attachment leaked",
            seen: |survivor| {
                forget(survivor.attach().unwrap());
                seen(survivor)
            },
            ..ONE
        },
        "all rows can be had",
    ),
    (
        Case {
            name: "an opening leaked",
            seen: |survivor| {
                forget(words(survivor));
                seen(survivor)
            },
            ..ONE
        },
        "objects that fit",
    ),
    (
        Case {
            name: "back again",
            victim: |world| {
                let words = words(&world.attach());
                step(|| {
                    store(&words, 0, 1);
                    store(&words, 0, 0);
                });
            },
            ..ONE
        },
        "in this order; 1 was reached",
    ),
    (Case { name: "not the end", outcomes: &["0", "1", "2"], states: 0, ..ONE }, "not all of"),
    (Case { name: "something else", outcomes: &["0", "2"], ..ONE }, "\"1\"; expected"),
    (
        Case { name: "a sleeper whom nobody wakes", peers: &[Peer::Waits(|_| keep(()))], ..ONE },
        "a peer that waits does not return",
    ),
    (
        Case {
            name: "a sleeper who wakes and finds nothing",
            victim: |world| {
                let ring = Ring::<u64>::open_or_create(&world.attach(), "r", 4).unwrap();
                let sender = ring.try_sender().unwrap();
                step(|| drop(sender));
            },
            given: |world| {
                given(world);
                forget(Ring::<u64>::open_or_create(&world.attach(), "r", 4).unwrap());
            },
            peers: &[Peer::Waits(|world| {
                let ring = Ring::<u64>::open_or_create(&world.attach(), "r", 4).unwrap();
                let mut receiver = ring.try_receiver().unwrap();
                assert_eq!(receiver.recv(), Ok(7)); // planted: it comes back with an error
            })],
            outcomes: &["0"],
            ..ONE
        },
        "a peer that waits has returned, and then: ",
    ),
    (
        Case {
            name: "a child in the victim, and a wrong outcome",
            victim: |world| {
                dies(|| ());
                (ONE.victim)(world);
            },
            outcomes: &["0", "2"],
            ..ONE
        },
        "\"1\"; expected",
    ),
    (
        Case {
            name: "something that only a sweep repairs",
            seen: |survivor| format!("{}{}", if survivor.is_swept() { "" } else { "not " }, seen(survivor)),
            ..ONE
        },
        "without a sweep, instead of",
    ),
    (
        Case {
            name: "another course of things",
            given: |world| store(&words(&world.attach()), 1, GIVEN.fetch_add(1, Ordering::Relaxed)), // one thread
            seen: |survivor| {
                assert_eq!(load(&words(survivor), 1), 0, "not as in the beginning");
                seen(survivor)
            },
            ..ONE
        },
        "killed in earnest in state",
    ),
    (
        Case {
            name: "a name left behind",
            victim: |world| {
                let name = world.address().to_string();
                let options = Segment::options().size(NAMED.shape.size).rows(NAMED.shape.rows);
                step(|| {
                    forget(options.create(format!("{name}2").as_str()).unwrap());
                    forget(options.create(name.as_str()).unwrap());
                });
            },
            seen: |survivor| survivor.segment().is_some().to_string(),
            outcomes: &["false", "true"],
            ..NAMED
        },
        "left in shared memory",
    ),
    (
        Case {
            name: "nothing done",
            victim: |world| {
                let words = words(&world.attach());
                step(|| store(&words, 0, 0));
            },
            outcomes: &["0"],
            ..ONE
        },
        "1 states, of at least 2",
    ),
    (Case { name: "no step", victim: |_| (), ..ONE }, "did not come to its operation"),
    (
        Case { name: "a victim that fails", victim: |_| step(|| panic!("planted")), ..ONE },
        "an end of its own",
    ),
    (Case { name: "nothing expected", outcomes: &[], ..ONE }, "it cannot be wrong"),
    (Case { name: "nothing given", given: |_| panic!("planted"), ..ONE }, "cannot be prepared"),
];

fn main() -> ExitCode {
    if !cfg!(target_arch = "x86_64") {
        println!("*** NOT TESTED: kills at every instruction need x86-64 ***");
        return ExitCode::SUCCESS;
    }
    if std::env::args().any(|argument| argument == KILLED) {
        let _never = ENDLESS.explore(Tier::default());
    }
    // Around each switch is where these bugs are.
    let tier = Tier { doubles: 2, reals: 1, patience: Duration::from_secs(2), ..Tier::default() };
    let Report { counts, failures } = RIGHT.explore(tier);
    assert_eq!(failures, [""; 0], "nothing was planted");
    // Before and after the posting; and in its recoverer, beside what the sweep does: what will be, what is, posted no more.
    assert!((counts.states, counts.reals) == (2, 1) && counts.doubles > 3, "{counts:?}");
    assert!(counts.steps > 100 && counts.recoveries == 2 * 2 + counts.doubles, "{counts:?}");

    let mut missed = 0;
    for (case, told) in PLANTED {
        let failures = case.explore(tier).failures;
        let reported = failures.iter().any(|failure| failure.contains(told));
        println!("{}: {}", case.name, if reported { "reported" } else { "MISSED" });
        if !reported {
            missed += 1;
            println!("expected {told:?} in {failures:#?}");
        }
    }
    the_tester_is_killed();
    nothing_is_left();
    if missed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// In place of everything else: the argument of a tester that is killed.
const KILLED: &str = "a tester that is killed";

/// Has a peer, which tells its number, and a victim whose operation never ends.
const ENDLESS: Case = Case {
    peers: &[Peer::Keeps(|_| {
        println!("{}", std::process::id());
        keep(());
    })],
    victim: |_| step(|| while GIVEN.load(Ordering::Relaxed) != u64::MAX {}),
    ..ONE
};

/// A tester is killed: its peer, which is stopped then, dies as well.
fn the_tester_is_killed() {
    let mut tester = Command::new(std::env::current_exe().unwrap());
    let mut tester = tester.arg(KILLED).stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(tester.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let peer: u32 = line.trim().parse().unwrap();
    let state = || {
        let stat = std::fs::read_to_string(format!("/proc/{peer}/stat")).ok()?;
        stat.rsplit(") ").next()?.chars().next()
    };
    let becomes = |wanted: fn(Option<char>) -> bool| {
        let start = Instant::now();
        while !wanted(state()) {
            assert!(start.elapsed() < Duration::from_secs(60), "the peer is in state {:?}", state());
            std::thread::yield_now();
        }
    };
    becomes(|state| state == Some('T'));
    tester.kill().unwrap();
    tester.wait().unwrap();
    becomes(|state| matches!(state, None | Some('Z' | 'X')));
}

fn nothing_is_left() {
    let ours = format!("outlive-kill-{}-", std::process::id());
    let names = std::fs::read_dir("/dev/shm").unwrap().flatten().map(|entry| entry.file_name());
    let left: Vec<String> = names.map(|name| name.to_string_lossy().into_owned()).collect();
    assert!(!left.iter().any(|name| name.starts_with(&ours)), "{left:?}");
}
