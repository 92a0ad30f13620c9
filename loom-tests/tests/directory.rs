//! The directory under races: opening against removing and creating, two creators, the lock, and deaths in all of it.
#![cfg(loom)]
#![expect(clippy::unwrap_used, reason = "tests")]

use outlive::atomic::{AtomicU64, Ordering};
use outlive::loom::thread;
use outlive::model::{life, set_slices};
use outlive::object::Object;
use outlive::ring::spsc::Ring;
use outlive::{Error, Owner, Segment, testing};
use outlive_loom_tests::{explore, explore_deaths, is_full, processes};

fn segment(rows: u16) -> Segment {
    Segment::options().rows(rows).heap().unwrap()
}

fn create(segment: &Segment, name: &str, value: u64) -> Result<Object<AtomicU64>, Error> {
    Object::create(segment, name, move || AtomicU64::new(value))
}

/// The race: an opener has looked the name up when the object is removed and its memory given to another.
///
/// Allowed: the opener finds nothing, or it finds the object, whose memory then stays its own.
/// Forbidden: the opener's object turns into the new one.
#[test]
fn memory_is_not_reused_under_an_opener() {
    let iterations = explore(1, || {
        let here = segment(2);
        let there = here.attach().unwrap();
        drop(create(&here, "old", 1).unwrap());
        let opener = thread::spawn(move || match Object::<AtomicU64>::open(&there, "old") {
            Ok(object) => assert_eq!(object.load(Ordering::Relaxed), 1),
            Err(error) => assert!(matches!(error, Error::NotFound { .. }), "{error}"),
        });
        here.remove("old").unwrap();
        let new = create(&here, "new", 2).unwrap();
        opener.join().unwrap();
        assert_eq!(new.load(Ordering::Relaxed), 2);
    });
    assert!(iterations > 1000, "{iterations}");
}

/// The race: two processes make an object of one name.
///
/// Allowed: one makes it, the other is told so. Forbidden: both make one, or neither.
#[test]
fn one_of_two_creators_wins() {
    let iterations = explore(2, || {
        let here = segment(2);
        let there = here.attach().unwrap();
        let other = thread::spawn(move || create(&there, "x", 2).is_ok());
        let mine = create(&here, "x", 1);
        let theirs = other.join().unwrap();
        assert_ne!(mine.is_ok(), theirs);
        if let Err(error) = mine {
            assert!(matches!(error, Error::AlreadyExists { .. }), "{error}");
        }
        let found = Object::<AtomicU64>::open(&here, "x").unwrap();
        assert_eq!(found.load(Ordering::Relaxed), if theirs { 2 } else { 1 });
    });
    assert!(iterations > 200, "{iterations}");
}

/// A creator dies at each of its writes in turn; another process then makes the same object, without a sweep and
/// without waiting.
///
/// Allowed: it finds it complete, or makes it. Forbidden: half of it, or a lock that nobody gives back.
#[test]
fn a_creator_dies_at_every_write() {
    let executions = explore_deaths(2, |k| {
        let here = segment(2);
        let there = here.attach().unwrap();
        let made = life::mortal(&there, k, || drop(create(&there, "x", 1).unwrap()));
        let object = Object::<AtomicU64>::open_or_create(&here, "x", || AtomicU64::new(1)).unwrap();
        assert_eq!(object.load(Ordering::Relaxed), 1);
        drop(object);
        here.sweep().unwrap();
        here.remove("x").unwrap();
        assert!(here.objects().unwrap().is_empty(), "nobody has anything open any more");
        made.is_none()
    });
    assert!(executions.len() > 10, "{executions:?}");
}

/// The race: two processes want the lock of the directory, and whoever comes second sleeps in slices. One of them dies before
/// each of its writes: as a holder, also between giving the lock back and the wake-up, and as a sleeper.
///
/// Allowed: the other one makes its object. Forbidden: a sleep without end, a lock that nobody gives back.
#[test]
fn who_waits_for_the_directory_outlives_whoever_dies_there() {
    let executions = explore_deaths(3, |k| {
        set_slices(true);
        let here = segment(2);
        let there = here.attach().unwrap();
        let victim = thread::spawn({
            let there = there.clone();
            move || life::mortal(&there, k, || drop(create(&there, "x", 1).unwrap()))
        });
        let mine = create(&here, "y", 2).unwrap();
        assert_eq!(mine.load(Ordering::Relaxed), 2);
        let died = victim.join().unwrap().is_none();
        let object = Object::<AtomicU64>::open_or_create(&here, "x", || AtomicU64::new(1)).unwrap();
        assert_eq!(object.load(Ordering::Relaxed), 1);
        died
    });
    assert!(executions.len() > 10 && executions.iter().sum::<usize>() > 7000, "{executions:?}");
}

/// What one more sweep and one more creation leave of a segment with two attachments, whatever has died: nothing that
/// nobody has.
fn is_sound(here: &Segment) {
    here.sweep().unwrap();
    let names: Vec<_> = here.objects().unwrap().into_iter().map(|object| object.name).collect();
    for name in &names {
        assert!(!name.is_empty(), "removed, and still open: {names:?}");
        here.remove(name).unwrap();
    }
    // All of its memory, but what tables take, for one.
    drop(create(here, "last", 1).unwrap());
    assert!(here.objects().unwrap().len() == 1);
}

/// The race: two processes open or make the object of one name.
///
/// Allowed: one of them makes it, both have it. Forbidden: two objects; that one of them gets none.
#[test]
fn both_have_what_one_of_them_makes() {
    let iterations = explore(2, || {
        let [here, there] = processes();
        let either = |segment: &Segment, value| {
            Object::<AtomicU64>::open_or_create(segment, "x", || AtomicU64::new(value)).unwrap()
        };
        let other = thread::spawn(move || {
            let object = either(&there, 2);
            object.fetch_add(10, Ordering::Relaxed);
            (there, object.offset())
        });
        let mine = either(&here, 1);
        mine.fetch_add(10, Ordering::Relaxed);
        let (_there, theirs) = other.join().unwrap();
        assert_eq!(mine.offset(), theirs);
        assert!(matches!(mine.load(Ordering::Relaxed), 21 | 22));
    });
    assert!(iterations > 350, "{iterations}");
}

/// The race: a process looks for a ring that another one is just making.
///
/// Allowed: it finds nothing, or a whole ring. Forbidden: a ring without its constants.
#[test]
fn what_is_found_is_complete() {
    let iterations = explore(3, || {
        let [here, there] = processes();
        let looking = thread::spawn(move || match Ring::<u64>::open(&there, "r") {
            Ok(ring) => assert_eq!(ring.capacity(), 2),
            Err(error) => assert!(matches!(error, Error::NotFound { .. }), "{error}"),
        });
        let _ring = Ring::<u64>::create(&here, "r", 2).unwrap();
        looking.join().unwrap();
    });
    assert!(iterations > 2000, "{iterations}");
}

/// The race: two processes want the lock (in the long tier three), each for an object of its own; some sleep.
///
/// Allowed: all of them get it, one after the other. Forbidden: a sleep without end (loom: deadlock).
#[test]
fn whoever_sleeps_for_the_lock_is_woken() {
    let rivals = if is_full() { 2 } else { 1 };
    let iterations = explore(3 - rivals, move || {
        let [here, one, two] = processes();
        let mut others = Vec::new();
        for (segment, name) in [(one, "one"), (two, "two")].into_iter().take(rivals) {
            others.push(thread::spawn(move || drop(create(&segment, name, 1).unwrap())));
        }
        drop(create(&here, "here", 1).unwrap());
        for other in others {
            other.join().unwrap();
        }
        assert_eq!(here.objects().unwrap().len(), 1 + rivals);
    });
    assert!(iterations > 2000, "{iterations}");
}

/// A process makes an object, and dies before each of its writes, while another one makes one of the same name, and sleeps
/// for the lock if it must, in slices.
///
/// Allowed: one of them makes it. Forbidden: none, a lock that stays the dead one's, memory that is lost.
#[test]
fn the_lock_of_a_dead_creator_is_taken_over() {
    let deaths = explore_deaths(1, |k| {
        set_slices(true);
        let [here, there] = processes();
        let creator = thread::spawn({
            let there = there.clone();
            move || life::mortal(&there, k, || drop(create(&there, "x", 1)))
        });
        match create(&here, "x", 2) {
            Ok(object) => assert_eq!(object.load(Ordering::Relaxed), 2),
            Err(error) => assert!(matches!(error, Error::AlreadyExists { .. }), "{error}"),
        }
        let died = creator.join().unwrap().is_none();
        assert_eq!(here.objects().unwrap().len(), 1);
        is_sound(&here);
        died
    });
    assert!(deaths.len() > 10 && deaths.iter().sum::<usize>() > 300, "{deaths:?}");
}

/// A process removes an object and makes another in its memory, which takes VACATING and VACANT, and dies before each of
/// its writes; another one opens the first object meanwhile.
///
/// Allowed: as in `memory_is_not_reused_under_an_opener`. Forbidden: that, or memory that is lost.
#[test]
fn whoever_vacates_dies_at_every_write() {
    let deaths = explore_deaths(1, |k| {
        let [here, there] = processes();
        drop(create(&here, "old", 1).unwrap());
        let victim = thread::spawn({
            let there = there.clone();
            move || {
                life::mortal(&there, k, || {
                    there.remove("old").unwrap();
                    drop(create(&there, "new", 2).unwrap());
                })
            }
        });
        match Object::<AtomicU64>::open(&here, "old") {
            Ok(object) => assert_eq!(object.load(Ordering::Relaxed), 1),
            Err(error) => assert!(matches!(error, Error::NotFound { .. }), "{error}"),
        }
        let died = victim.join().unwrap().is_none();
        drop(there);
        is_sound(&here);
        died
    });
    assert!(deaths.len() > 10 && deaths.iter().sum::<usize>() > 1500, "{deaths:?}");
}

/// A process opens and closes an object, and dies before each of its writes; another one removes it and makes another
/// meanwhile.
///
/// Allowed: the memory of the first one is kept until the dead one was swept. Forbidden: for longer.
#[test]
fn an_opener_dies_at_every_write() {
    let deaths = explore_deaths(2, |k| {
        let [here, there] = processes();
        drop(create(&here, "old", 1).unwrap());
        let victim = thread::spawn({
            let there = there.clone();
            move || {
                life::mortal(&there, k, || {
                    if let Ok(object) = Object::<AtomicU64>::open(&there, "old") {
                        assert_eq!(object.load(Ordering::Relaxed), 1);
                    }
                })
            }
        });
        here.remove("old").unwrap();
        let new = create(&here, "new", 2).unwrap();
        let died = victim.join().unwrap().is_none();
        assert_eq!(new.load(Ordering::Relaxed), 2);
        drop((new, there));
        is_sound(&here);
        died
    });
    assert!(deaths.len() >= 2 && deaths.iter().sum::<usize>() > 8000, "{deaths:?}");
}

/// A removed object that only a dead process has open; two others sweep it and vacate its memory at once. The stamp of
/// the dead.
fn only_the_dead_has_it_open() -> ([Segment; 2], Owner) {
    let [here, there, dead] = processes();
    let object = create(&dead, "old", 1).unwrap();
    testing::kill(&dead).unwrap();
    drop(object);
    here.remove("old").unwrap();
    ([here, there], dead.owner())
}

/// The race: one sweeps who was the last to have an object open, another one looks whether its memory can be used again.
///
/// Allowed: it can, or not yet. Forbidden: a sweep that is left undone for ever because of the other's VACATING; an entry that
/// stays lost.
#[test]
fn a_sweep_and_a_creation_count_the_same_openers() {
    let iterations = explore(2, || {
        let ([here, there], dead) = only_the_dead_has_it_open();
        let sweeper = thread::spawn(move || {
            there.sweep().unwrap();
            there
        });
        drop(create(&here, "new", 2).unwrap());
        let there = sweeper.join().unwrap();
        here.sweep().unwrap();
        assert!(here.is_dead(dead));
        assert_eq!(here.attachments().unwrap().len(), 2, "it was swept");
        drop(there);
        is_sound(&here);
    });
    assert!(iterations > 500, "{iterations}");
}
