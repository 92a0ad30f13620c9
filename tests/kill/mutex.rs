//! The mutex: taken, left, repaired, given up, swept.

use std::time::Duration;

use outlive::Trusted;
use outlive::sync::mutex::{Guard, Inconsistent};
use outlive::sync::{LockError, Mutex};
use outlive_kill::{Case, INSIDE, Peer, Survivor, World, dies, forget, keep, step, step_unwinding};

/// In order if both are equal.
type Pair = [u64; 2];

fn mutex(world: &World) -> Mutex<Pair> {
    Mutex::open(&world.attach(), "m").unwrap()
}

fn given(world: &World) {
    drop(Mutex::<Pair>::create(&world.attach(), "m", || [1, 1]).unwrap());
}

/// As [`given`], and a process has died in the middle of a change.
fn of_the_dead(world: &World) {
    given(world);
    dies(|| {
        let mutex = mutex(world);
        let mut guard = mutex.lock().unwrap();
        guard.set([2, 1]);
        forget(guard);
        forget(mutex);
    });
}

/// The lock of a dead owner.
fn broken(mutex: &Mutex<Pair>) -> Inconsistent<'_, Pair> {
    match mutex.lock() {
        Err(LockError::OwnerDied(inconsistent)) => inconsistent,
        other => panic!("{other:?}"),
    }
}

/// What the next one finds: a pair that is in order, one that may not be, or nothing for ever. Then it is used as ever.
fn seen(survivor: &Survivor<'_>) -> String {
    let Ok(mutex) = Mutex::<Pair>::open(survivor, "m") else {
        return "none".to_owned();
    };
    let seen = match mutex.try_lock() {
        Ok(guard) => {
            let [first, second] = guard.get();
            assert_eq!(first, second, "half a change, and nobody is told");
            first.to_string()
        }
        Err(LockError::OwnerDied(mut inconsistent)) => {
            assert!(inconsistent.get().iter().all(|part| (1..=3).contains(part)), "{:?}", inconsistent.get());
            inconsistent.set([7, 7]);
            drop(inconsistent.mark_consistent());
            "told".to_owned()
        }
        Err(LockError::NotRecoverable) => return "lost".to_owned(),
        Err(error) => panic!("{error}"),
    };
    for _ in 0..3 {
        mutex.lock().unwrap().update(|pair| *pair = pair.map(|part| part + 1));
    }
    let [first, second] = mutex.try_lock().unwrap().get();
    assert_eq!(first, second);
    assert_eq!(mutex.owner(), None);
    seen
}

fn guard(mutex: &Mutex<Pair>) -> Guard<'_, Pair> {
    mutex.try_lock().unwrap()
}

/// Waits for the lock, and goes.
const WAITS: Peer = Peer::Waits(|world| {
    let mutex = mutex(world);
    drop(mutex.lock());
});
/// Has the lock.
const HOLDS: Peer = Peer::Keeps(|world| {
    let mutex = mutex(world);
    keep(mutex.lock());
});

pub(crate) const CASES: &[Case] = &[
    Case {
        name: "mutex create",
        covers: &["sync::Mutex::create", "sync::Mutex::open_or_create"],
        victim: |world| {
            let segment = world.attach();
            step(|| forget(Mutex::<Pair>::open_or_create(&segment, "m", || [1, 1])));
        },
        seen,
        outcomes: &["none", "1"],
        ..INSIDE
    },
    Case {
        name: "mutex open",
        covers: &["sync::Mutex::open"],
        given,
        victim: |world| {
            let segment = world.attach();
            step(|| forget(Mutex::<Pair>::open(&segment, "m")));
        },
        seen,
        outcomes: &["1"],
        ..INSIDE
    },
    Case {
        name: "mutex try_lock",
        covers: &["sync::Mutex::try_lock"],
        given,
        victim: |world| {
            let mutex = mutex(world);
            step(|| forget(mutex.try_lock()));
        },
        seen,
        outcomes: &["1", "told"],
        ..INSIDE
    },
    Case {
        name: "mutex set",
        covers: &["sync::Guard::set", "sync::Guard::update"],
        given,
        victim: |world| {
            let mutex = mutex(world);
            let mut guard = guard(&mutex);
            step(|| {
                guard.set([2, 2]);
                guard.update(|pair| *pair = [3, 3]);
            });
        },
        seen,
        outcomes: &["told"],
        states: 3,
        ..INSIDE
    },
    Case {
        name: "mutex unlock",
        covers: &["sync::Guard::drop"],
        given,
        peers: &[WAITS],
        victim: |world| {
            let mutex = mutex(world);
            let mut guard = guard(&mutex);
            guard.set([2, 2]);
            step(|| drop(guard));
        },
        seen,
        outcomes: &["told", "2"],
        ..INSIDE
    },
    Case {
        name: "mutex lock, change, unlock",
        covers: &["sync::Mutex::lock"],
        given,
        victim: |world| {
            let mutex = mutex(world);
            step(|| mutex.lock().unwrap().set([2, 2]));
        },
        seen,
        outcomes: &["1", "told", "2"],
        states: 4,
        ..INSIDE
    },
    Case {
        name: "mutex in place",
        covers: &["sync::Mutex::lock"],
        given,
        victim: |world| {
            // SAFETY: processes of this test only, which keep the protocol.
            let segment = unsafe { world.attach().trust() };
            let mutex = Mutex::<Pair, Trusted>::open(&segment, "m").unwrap();
            step(|| *mutex.lock().unwrap() = [2, 2]);
        },
        seen,
        outcomes: &["1", "told", "2"],
        states: 4,
        ..INSIDE
    },
    Case {
        name: "mutex unlock by a panic",
        covers: &["sync::Guard::drop"],
        given,
        peers: &[WAITS],
        victim: |world| {
            let mutex = mutex(world);
            let mut guard = guard(&mutex);
            guard.set([2, 1]);
            step_unwinding(guard);
        },
        seen,
        outcomes: &["told"],
        ..INSIDE
    },
    Case {
        name: "mutex lock_timeout",
        covers: &["sync::Mutex::lock_timeout"],
        given,
        peers: &[HOLDS],
        victim: |world| {
            let mutex = mutex(world);
            step(|| forget(mutex.lock_timeout(Duration::from_secs(2))));
        },
        seen,
        outcomes: &["told"],
        ..INSIDE
    },
    Case {
        name: "mutex lock of the dead",
        covers: &["sync::Mutex::lock"],
        given: of_the_dead,
        victim: |world| {
            let mutex = mutex(world);
            step(|| forget(mutex.lock()));
        },
        seen,
        outcomes: &["told"],
        ..INSIDE
    },
    Case {
        name: "mutex mark_consistent",
        covers: &[
            "sync::Inconsistent::mark_consistent",
            "sync::Inconsistent::set",
            "sync::Inconsistent::update",
        ],
        given: of_the_dead,
        victim: |world| {
            let mutex = mutex(world);
            let mut inconsistent = broken(&mutex);
            step(|| {
                inconsistent.set([3, 1]);
                inconsistent.update(|pair| pair[1] = pair[0]);
                drop(inconsistent.mark_consistent());
            });
        },
        seen,
        outcomes: &["told", "3"],
        ..INSIDE
    },
    Case {
        name: "mutex lock_or_repair",
        covers: &["sync::Mutex::lock_or_repair"],
        given: of_the_dead,
        victim: |world| {
            let mutex = mutex(world);
            step(|| drop(mutex.lock_or_repair(|pair| pair[1] = pair[0]).unwrap()));
        },
        seen,
        outcomes: &["told", "2"],
        ..INSIDE
    },
    Case {
        name: "mutex told and dropped",
        covers: &["sync::Inconsistent::drop"],
        given: of_the_dead,
        peers: &[],
        victim: |world| {
            let mutex = mutex(world);
            let inconsistent = broken(&mutex);
            step(|| drop(inconsistent));
        },
        seen,
        outcomes: &["told"],
        ..INSIDE
    },
    Case {
        name: "mutex give_up",
        covers: &["sync::Inconsistent::give_up"],
        given: of_the_dead,
        victim: |world| {
            let mutex = mutex(world);
            let inconsistent = broken(&mutex);
            step(|| inconsistent.give_up());
        },
        seen,
        outcomes: &["told", "lost"],
        ..INSIDE
    },
    Case {
        name: "mutex swept",
        covers: &["segment::Segment::sweep"],
        given: of_the_dead,
        victim: |world| {
            let segment = world.attach();
            step(|| segment.sweep().unwrap());
        },
        seen,
        outcomes: &["told"],
        ..INSIDE
    },
    Case {
        name: "mutex leaked, and closed",
        covers: &["sync::Mutex::drop"],
        given,
        victim: |world| {
            let segment = world.attach();
            let mutex = Mutex::<Pair>::open(&segment, "m").unwrap();
            forget(mutex.lock().unwrap());
            step(|| drop(mutex));
        },
        seen,
        outcomes: &["told"],
        ..INSIDE
    },
];
