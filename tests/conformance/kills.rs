//! Killed at every system call.

use outlive::atomic::{AtomicU64, Ordering};
use outlive::object::Object;
use outlive::ring::spsc::Ring;
use outlive::segment::Options;
use outlive::{Error, Segment};

use crate::backend::{Backend, Feature};
use crate::peer::{Victim, killed_at_system_call};

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
        assert_eq!(segment.size(), (1_usize << 16).next_multiple_of(backend.granule()) as u64);
        segment.sweep().unwrap();
        assert_eq!(segment.attachments().unwrap().len(), 1, "stop {killed}");
        assert!(segment.objects().unwrap().is_empty(), "stop {killed}");
        drop(Ring::<u64>::create(&segment, "ring", 8).unwrap());
        drop(segment);
        backend.remove();
    }
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
    assert!((2..LIMIT).contains(&killed), "{killed}");
    is_in_order(backend, &segment, LIMIT);
    drop(segment);
    backend.remove();
}

pub(crate) fn who_sweeps_and_is_killed_at_any_system_call_leaves_work_not_damage(backend: &dyn Backend) {
    let segment = backend.create(&Segment::options().rows(3)).unwrap();
    Object::<AtomicU64>::create(&segment, "words", || AtomicU64::new(7)).unwrap();
    let mut killed = 0;
    loop {
        let victim =
            Victim::start(backend, &segment, |mine| Object::<AtomicU64>::open(mine, "words").unwrap());
        victim.kill();
        let come = backend.invite(&segment);
        let mine = std::cell::RefCell::new(None);
        let attach = || *mine.borrow_mut() = Some(come().unwrap());
        let sweep = || assert_eq!(mine.borrow().as_ref().unwrap().sweep().unwrap().recovered, 1);
        if killed == LIMIT || !killed_at_system_call(killed + 1, attach, sweep) {
            break;
        }
        killed += 1;
        assert_eq!(segment.sweep().unwrap().left, 0, "stop {killed}");
        is_in_order(backend, &segment, killed);
    }
    assert!((2..LIMIT).contains(&killed), "{killed}");
    drop(segment);
    backend.remove();
}

pub(crate) fn who_only_looks_and_is_killed_at_any_system_call_leaves_no_trace(backend: &dyn Backend) {
    let segment = prepared(backend);
    let before = backend.bytes(&segment);
    let mut killed = 0;
    loop {
        let come = backend.observe(&segment);
        let look = || {
            let observer = come().unwrap();
            assert_eq!(observer.attachments().unwrap().len(), 1);
            drop(observer);
        };
        if killed == LIMIT || !killed_at_system_call(killed + 1, || (), look) {
            break;
        }
        killed += 1;
        assert!(backend.bytes(&segment) == before, "stop {killed}");
    }
    assert!((5..LIMIT).contains(&killed), "{killed}");
    is_in_order(backend, &segment, LIMIT);
    drop(segment);
    backend.remove();
}

pub(crate) fn who_unlinks_and_is_killed_at_any_system_call_has_done_it_or_not(backend: &dyn Backend) {
    let mut killed = 0;
    let mut was_there = true;
    loop {
        let segment = prepared(backend);
        if killed == LIMIT
            || !killed_at_system_call(killed + 1, || (), || Segment::unlink(backend.address()).unwrap())
        {
            break;
        }
        killed += 1;
        let there = Segment::open(backend.address());
        match &there {
            Ok(other) => assert!(was_there && other.attachments().unwrap().len() == 2, "stop {killed}"),
            Err(error) => assert!(matches!(error, Error::NotFound { .. }), "stop {killed}: {error}"),
        }
        was_there = there.is_ok();
        drop(there);
        assert_eq!(
            segment.attach().unwrap().attachments().unwrap().len(),
            2,
            "those who are attached keep it"
        );
        let next = Segment::open_or_create(backend.address(), 1 << 16).unwrap();
        assert_eq!((next.created(), backend.remains().len()), (!was_there, 1), "stop {killed}");
        drop((next, segment));
        Segment::unlink(backend.address()).unwrap();
        assert_eq!(backend.remains(), [] as [String; 0], "stop {killed}");
    }
    assert!((5..LIMIT).contains(&killed) && !was_there, "{killed}");
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
    assert!((5..LIMIT).contains(&killed), "{killed}");
}
