//! What is in a segment, by name.

use outlive::atomic::{AtomicU64, Ordering};
use outlive::object::Object;
use outlive::ring::spsc::Ring;
use outlive::{Error, Segment};

use crate::backend::Backend;

pub(crate) fn objects_are_found_by_name_type_and_shape(backend: &dyn Backend) {
    let one = backend.segment();
    let other = backend.join(&one).unwrap();
    assert!(
        matches!(Object::<AtomicU64>::open(&other, "one"), Err(Error::NotFound { name }) if name == "one")
    );
    let here = Object::<AtomicU64>::create(&one, "one", || AtomicU64::new(7)).unwrap();
    let there = Object::<AtomicU64>::open_or_create(&other, "one", || AtomicU64::new(9)).unwrap();
    assert_eq!((there.load(Ordering::Relaxed), there.offset()), (7, here.offset()));
    let again = Object::<AtomicU64>::create(&other, "one", AtomicU64::default);
    assert!(matches!(again, Err(Error::AlreadyExists { .. })), "{again:?}");
    let wrong = Object::<[AtomicU64; 2]>::open(&other, "one").unwrap_err();
    assert!(matches!(&wrong, Error::WrongType { name, .. } if name == "one"), "{wrong}");
    assert!(matches!(Ring::<u64>::open(&other, "one"), Err(Error::WrongType { .. })));
    let ring = Ring::<u64>::create(&one, "ring", 60).unwrap();
    assert_eq!(ring.capacity(), 64);
    assert!(matches!(Ring::<f64>::open(&other, "ring"), Err(Error::WrongType { .. })));
    let wrong = Ring::<u64>::open_or_create(&other, "ring", 65).map(drop);
    assert!(matches!(wrong, Err(Error::WrongShape { expected: 128, found: 64, .. })), "{wrong:?}");
    assert_eq!(Ring::<u64>::open_or_create(&other, "ring", 33).unwrap().capacity(), 64);
    let longest = "\u{e9}".repeat(23) + "x";
    assert!(Object::<AtomicU64>::create(&one, &longest, AtomicU64::default).is_ok());
    assert!(Object::<AtomicU64>::open(&other, &longest).is_ok());
    for bad in ["", "a/b", "a\0", &"x".repeat(48)] {
        assert!(matches!(Object::<AtomicU64>::open(&other, bad), Err(Error::InvalidName { .. })), "{bad}");
        assert!(matches!(other.remove(bad), Err(Error::InvalidName { .. })), "{bad}");
    }
    let mut names: Vec<_> = other.objects().unwrap().into_iter().map(|object| object.name).collect();
    names.sort();
    assert_eq!(names, ["one", "ring", &longest]);
    drop((here, there, ring, one, other));
    backend.remove();
}

pub(crate) fn a_removed_object_is_kept_by_those_who_have_it_open(backend: &dyn Backend) {
    let one = backend.segment();
    let other = backend.join(&one).unwrap();
    let mine = Object::<AtomicU64>::create(&one, "one", || AtomicU64::new(1)).unwrap();
    let theirs = Object::<AtomicU64>::open(&other, "one").unwrap();
    assert_eq!(one.objects().unwrap()[0].openers, 2);
    other.remove("one").unwrap();
    assert!(matches!(one.remove("one"), Err(Error::NotFound { .. })));
    assert!(matches!(Object::<AtomicU64>::open(&one, "one"), Err(Error::NotFound { .. })));
    let new = Object::<AtomicU64>::create(&one, "one", || AtomicU64::new(2)).unwrap();
    assert_ne!(new.offset(), mine.offset(), "memory under a handle is not used again");
    mine.store(5, Ordering::Relaxed);
    assert_eq!((theirs.load(Ordering::Relaxed), new.load(Ordering::Relaxed)), (5, 2));
    let at = mine.offset();
    drop((mine, theirs));
    let third = Object::<AtomicU64>::create(&other, "two", AtomicU64::default).unwrap();
    assert_eq!(
        (third.offset(), third.load(Ordering::Relaxed)),
        (at, 0),
        "free memory is used again, and zero"
    );
    drop((new, third, one, other));
    backend.remove();
}

pub(crate) fn a_full_segment_says_so_and_can_be_emptied(backend: &dyn Backend) {
    let segment = backend.segment();
    let fill = |segment: &Segment| {
        let mut all = Vec::new();
        loop {
            match Object::<[AtomicU64; 32]>::create(segment, &format!("o{}", all.len()), Default::default) {
                Ok(object) => all.push(object),
                Err(error) => break (all, error),
            }
            assert!(segment.objects().unwrap().len() == all.len());
        }
    };
    let (all, error) = fill(&segment);
    assert!(matches!(error, Error::NoSpace { .. }), "{error}");
    let room = all.len();
    let empty = |all: Vec<_>| {
        (0..all.len()).for_each(|number| segment.remove(&format!("o{number}")).unwrap());
        drop(all);
    };
    empty(all);
    for _ in 0..300 {
        drop(Ring::<u64>::create(&segment, "again", 64).unwrap());
        segment.remove("again").unwrap();
    }
    let (all, _) = fill(&segment);
    assert_eq!(all.len(), room, "something has leaked");
    empty(all);
    drop(segment);
    backend.remove();
}
