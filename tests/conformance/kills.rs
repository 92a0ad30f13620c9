//! Killed at every system call.

use outlive::Segment;
use outlive::atomic::{AtomicU64, Ordering};
use outlive::object::Object;
use outlive::ring::spsc::Ring;
use outlive::segment::Options;

use crate::backend::{Backend, Feature};
use crate::peer::killed_at_system_call;

/// No work here takes so many stops.
const LIMIT: usize = 2000;

/// Attaches in any case, finds what belongs there, and leaves it.
fn is_in_order(backend: &dyn Backend, segment: &Segment, stop: usize) {
    let next = backend.join(segment).unwrap_or_else(|error| panic!("stop {stop}: {error}"));
    segment.sweep().unwrap();
    let rows = segment.attachments().unwrap();
    assert!(rows.len() == 2 && rows.iter().all(|row| row.alive), "stop {stop}: {rows:?}");
    let words = Object::<AtomicU64>::open(&next, "words").unwrap();
    assert_eq!(words.load(Ordering::Relaxed), 7, "stop {stop}");
    let openers: Vec<u32> = segment.objects().unwrap().iter().map(|object| object.openers).collect();
    assert_eq!(openers, [1], "stop {stop}");
}

/// With as many rows as it takes here: one that leaks is missed at once.
fn prepared(backend: &dyn Backend) -> Segment {
    let segment = backend.create(&Segment::options().rows(2)).unwrap();
    Object::<AtomicU64>::create(&segment, "words", || AtomicU64::new(7)).unwrap();
    segment
}

pub(crate) fn a_creator_killed_at_any_system_call_leaves_nothing_or_a_segment(backend: &dyn Backend) {
    let options = Segment::options();
    let next = |stop: usize| {
        let made = if backend.has(Feature::Name) {
            options.open_or_create(backend.address())
        } else {
            backend.create(&options)
        };
        made.unwrap_or_else(|error| panic!("stop {stop}: {error}"))
    };
    let mut killed = 0;
    while killed < LIMIT
        && killed_at_system_call(killed + 1, || (), || drop(backend.create(&options).unwrap()))
    {
        killed += 1;
        let left = backend.remains();
        assert!(left.len() <= 1, "stop {killed}: {left:?}");
        let segment = next(killed);
        assert_eq!(segment.size(), 1 << 16);
        segment.sweep().unwrap();
        assert_eq!(segment.attachments().unwrap().len(), 1, "stop {killed}");
        assert!(segment.objects().unwrap().is_empty(), "stop {killed}");
        drop(Ring::<u64>::create(&segment, "ring", 8).unwrap());
        drop(segment);
        backend.remove();
    }
    eprintln!("killed at {killed} stops");
    assert!((10..LIMIT).contains(&killed), "{killed}");
    backend.remove();
}

pub(crate) fn who_attaches_and_is_killed_at_any_system_call_leaves_a_row_at_most(backend: &dyn Backend) {
    let segment = prepared(backend);
    let mut killed = 0;
    loop {
        let come = backend.invite(&segment);
        let attach = || come().unwrap();
        if killed == LIMIT || !killed_at_system_call(killed + 1, || (), attach) {
            break;
        }
        killed += 1;
        is_in_order(backend, &segment, killed);
    }
    eprintln!("killed at {killed} stops");
    assert!((10..LIMIT).contains(&killed), "{killed}");
    is_in_order(backend, &segment, LIMIT);
    drop(segment);
    backend.remove();
}

pub(crate) fn who_detaches_and_is_killed_at_any_system_call_leaves_a_row_at_most(backend: &dyn Backend) {
    let segment = prepared(backend);
    let mut killed = 0;
    loop {
        let come = backend.invite(&segment);
        let mine = std::cell::RefCell::new(None);
        let attach = || {
            let segment = come().unwrap();
            let words = Object::<AtomicU64>::open(&segment, "words").unwrap();
            *mine.borrow_mut() = Some((words, segment));
        };
        if killed == LIMIT || !killed_at_system_call(killed + 1, attach, || drop(mine.take())) {
            break;
        }
        killed += 1;
        is_in_order(backend, &segment, killed);
    }
    eprintln!("killed at {killed} stops");
    assert!((2..LIMIT).contains(&killed), "{killed}");
    is_in_order(backend, &segment, LIMIT);
    drop(segment);
    backend.remove();
}

pub(crate) fn the_last_one_of_a_temporary_segment_killed_at_any_system_call_is_completed(
    backend: &dyn Backend,
) {
    let options: Options = Segment::options().temporary(true);
    let mut killed = 0;
    loop {
        let mine = std::cell::RefCell::new(None);
        let attach = || *mine.borrow_mut() = Some(backend.create(&options).unwrap());
        if killed == LIMIT || !killed_at_system_call(killed + 1, attach, || drop(mine.take())) {
            break;
        }
        killed += 1;
        assert!(backend.remains().len() <= 1);
        let next = options
            .open_or_create(backend.address())
            .unwrap_or_else(|error| panic!("stop {killed}: {error}"));
        assert_eq!(next.attachments().unwrap().iter().filter(|each| each.alive).count(), 1, "stop {killed}");
        drop(next);
        assert_eq!(backend.remains(), [] as [String; 0], "stop {killed}");
    }
    eprintln!("killed at {killed} stops");
    assert!((5..LIMIT).contains(&killed), "{killed}");
}
