//! Promise: kill a publisher after any instruction, and its successor after any instruction of the take-over: the value
//! before or the value after is there, whole, its bell has been rung, and the next one carries on.

#![cfg(not(loom))]
#![allow(clippy::unwrap_used, reason = "a test")]

use std::process::ExitCode;

use outlive::Segment;
use outlive::atomic::Ordering;
use outlive_example_protocol::{Latest, PUBLISHER, Publisher, VERSION, Words, slot};
use outlive_kill::{Case, INSIDE, Survivor, Tier, World, dies, forget, run, step};

/// Two words that belong together: half a value is seen.
fn value(number: u64) -> [u64; 2] {
    [number, !number]
}

fn latest(world: &World) -> Latest {
    Latest::open_or_create(&world.attach()).unwrap()
}

fn publisher(world: &World) -> Publisher {
    latest(world).publisher().unwrap().unwrap()
}

fn drained(latest: &Latest) -> Vec<u64> {
    let mut bell = latest.bell().try_receiver().unwrap();
    let heard = std::iter::from_fn(|| bell.try_recv().ok()).collect();
    bell.resign();
    heard
}

/// The first value was published and heard of, and nobody publishes.
fn given(world: &World) {
    publisher(world).publish(value(1));
    assert_eq!(drained(&latest(world)), [1]);
}

/// The same, and a publisher has died.
fn of_the_dead(world: &World) {
    given(world);
    dies(|| forget(publisher(world)));
}

/// What survivors do: one of them takes over.
fn take_over(segment: &Segment) {
    let publisher = Latest::open_or_create(segment).unwrap().publisher().unwrap();
    drop(publisher.expect("the dead publish no more"));
}

/// The version that is there. Then it is used as if nobody had died.
fn seen(survivor: &Survivor<'_>) -> String {
    let latest = Latest::open_or_create(survivor).unwrap();
    let (version, found) = latest.read();
    assert_eq!(found, value(version), "half a value");
    let heard = drained(&latest);
    assert!(heard.iter().all(|&heard| heard <= version), "a bell without a value: {heard:?}");
    assert_eq!(heard.last(), Some(&version), "a value without a bell");
    let mut publisher = latest.publisher().unwrap().expect("nobody publishes");
    for next in version + 1..version + 10 {
        publisher.publish(value(next));
        assert_eq!(latest.read(), (next, value(next)));
        assert_eq!(drained(&latest).last(), Some(&next));
    }
    version.to_string()
}

const PUBLISH: Case = Case {
    name: "publish",
    given,
    victim: |world| {
        let mut publisher = publisher(world);
        step(|| publisher.publish(value(2)));
    },
    recover: take_over,
    seen,
    outcomes: &["1", "2"],
    states: 4, // before, half a value, a whole one, committed: and what the bell adds
    ..INSIDE
};

/// Each phase is a case of its own.
const CASES: &[Case] = &[
    PUBLISH,
    Case {
        name: "publisher",
        victim: |world| {
            let latest = latest(world);
            step(|| latest.publisher().map(forget).unwrap());
        },
        outcomes: &["1"],
        ..PUBLISH
    },
    Case {
        name: "publisher, after a death",
        given: of_the_dead,
        victim: |world| {
            let latest = latest(world);
            step(|| latest.publisher().map(forget).unwrap());
        },
        outcomes: &["1"],
        ..PUBLISH
    },
    Case {
        name: "publisher dropped",
        victim: |world| {
            let publisher = publisher(world);
            step(|| drop(publisher));
        },
        outcomes: &["1"],
        ..PUBLISH
    },
];

fn store(words: &Words, values: [(usize, u64); 3]) {
    for (word, value) in values {
        words[word].store(value, Ordering::SeqCst);
    }
}

/// Bugs, and what has to be said about each.
const PLANTED: &[(Case, &str)] = &[
    (
        Case {
            name: "committed before it is written",
            victim: |world| {
                let _publisher = publisher(world);
                let words = Words::open(&world.attach(), "latest").unwrap();
                let ([first, second], [one, other]) = (slot(2), value(2));
                step(|| store(&words, [(VERSION, 2), (first, one), (second, other)]));
            },
            ..PUBLISH
        },
        "half a value",
    ),
    (
        Case {
            name: "a successor who does not ring",
            recover: |segment| {
                let words = Words::open(segment, "latest").unwrap();
                words[PUBLISHER].store(0, Ordering::SeqCst);
            },
            ..PUBLISH
        },
        "a value without a bell",
    ),
];

/// A forked child has a copy of the publisher: when it drops that, its parent stays the publisher.
fn a_forked_child_gives_nothing_up() {
    let segment = Segment::options().size(1 << 16).memfd("protocol").unwrap();
    let latest = Latest::open_or_create(&segment).unwrap();
    let mut publisher = Some(latest.publisher().unwrap().unwrap());
    dies(|| publisher = None);
    assert!(matches!(latest.publisher(), Ok(None)), "a forked child has given up what its parent has");
    publisher.unwrap().publish(value(1));
    assert_eq!(drained(&latest), [1]);
}

fn main() -> ExitCode {
    a_forked_child_gives_nothing_up();
    if cfg!(target_arch = "x86_64") {
        for (case, told) in PLANTED {
            let failures = case.explore(Tier::from_environment()).failures;
            assert!(failures.iter().any(|failure| failure.contains(told)), "{}: {failures:#?}", case.name);
        }
    }
    run(&[CASES])
}
