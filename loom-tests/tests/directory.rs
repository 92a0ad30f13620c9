//! The directory under races: opening against removing and creating, two creators, a creator that dies.
#![cfg(loom)]
#![expect(clippy::unwrap_used, reason = "tests")]

use outlive::atomic::{AtomicU64, Ordering};
use outlive::loom::thread;
use outlive::model::{explore, life, set_slices};
use outlive::object::Object;
use outlive::{Error, Segment};
use outlive_loom_tests::explore_deaths;

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
    let iterations = explore(2, || {
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
    assert!(iterations > 100, "{iterations}");
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
    assert!(iterations > 100, "{iterations}");
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
    assert!(executions.len() > 10 && executions.iter().sum::<usize>() > 1000, "{executions:?}");
}

/// The race: two processes attach at once. Allowed: two different rows. Forbidden: one row for both.
#[test]
fn two_attachers_get_two_rows() {
    let iterations = explore(3, || {
        let here = segment(3);
        let second = here.clone();
        let other = thread::spawn(move || second.attach().unwrap());
        let mine = here.attach().unwrap();
        let theirs = other.join().unwrap();
        assert_ne!(mine.owner(), theirs.owner());
        assert_eq!(here.attachments().unwrap().len(), 3);
    });
    assert!(iterations > 10, "{iterations}");
}
