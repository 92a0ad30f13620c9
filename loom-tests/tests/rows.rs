//! Rows of the attachment table: attaching, detaching, sweeping, and giving a row out again.
//!
//! A process of these models dies with all its attachments, at every write of any of that. What the kernel has to do with
//! it, its byte locks, is not modelled: the right to sweep a row is one step, and so is its return.
#![cfg(loom)]
#![expect(clippy::unwrap_used, reason = "tests")]

use outlive::atomic::AtomicU64;
use outlive::loom::thread;
use outlive::model::life;
use outlive::object::Object;
use outlive::ring::spsc::{Ring, Sender};
use outlive::{Owner, Segment, testing};
use outlive_loom_tests::{explore, explore_deaths, processes};

fn sender(segment: &Segment) -> Sender<u64> {
    Ring::open(segment, "r").unwrap().try_sender().unwrap()
}

/// Three processes, the last of which sends and has sent one message when it dies. Its owner stamp, too.
fn one_is_dead() -> ([Segment; 2], Ring<u64>, Owner) {
    let [here, there, dead] = processes();
    let ring = Ring::create(&here, "r", 2).unwrap();
    let mut sends = sender(&dead);
    sends.try_send(0).unwrap();
    testing::kill(&dead).unwrap();
    drop(sends);
    ([here, there], ring, dead.owner())
}

/// How many attachments have the ring open.
fn openers(segment: &Segment) -> u32 {
    segment.objects().unwrap()[0].openers
}

/// The race: two processes attach at once.
///
/// Allowed: two different rows. Forbidden: one row for both.
#[test]
fn two_attachers_get_two_rows() {
    let iterations = explore(3, || {
        let here = Segment::options().rows(3).heap().unwrap();
        let second = here.clone();
        let other = thread::spawn(move || second.attach().unwrap());
        let mine = here.attach().unwrap();
        let theirs = other.join().unwrap();
        assert_ne!(mine.owner(), theirs.owner());
        assert_eq!(here.attachments().unwrap().len(), 3);
    });
    assert!(iterations > 40, "{iterations}");
}

/// The race: one row is left, and two processes want it; a third one detaches.
///
/// Allowed: one of them is refused, or, when the third one is gone, neither. Forbidden: one row for both; both refused.
#[test]
fn the_last_row_is_one_process_s() {
    let iterations = explore(2, || {
        let here = Segment::options().rows(3).heap().unwrap();
        let leaving = here.attach().unwrap();
        let second = here.clone();
        let other = thread::spawn(move || second.attach());
        let detaching = thread::spawn(move || drop(leaving));
        let mine = here.attach();
        let theirs = other.join().unwrap();
        detaching.join().unwrap();
        assert!(mine.is_ok() || theirs.is_ok(), "{mine:?} {theirs:?}");
        if let (Ok(mine), Ok(theirs)) = (&mine, &theirs) {
            assert_ne!(mine.owner(), theirs.owner());
        }
        let attached = 1 + usize::from(mine.is_ok()) + usize::from(theirs.is_ok());
        assert_eq!(here.attachments().unwrap().len(), attached);
    });
    assert!(iterations > 1000, "{iterations}");
}

/// A process attaches, opens and closes something, detaches, and dies before each of its writes; another one attaches
/// meanwhile.
///
/// Allowed: the row is free, or the sweep makes it so. Forbidden: a row, a bit or a lock that nobody gives back; the row of
/// a living process.
#[test]
fn an_attachment_ends_wherever_it_is_cut_short() {
    let deaths = explore_deaths(2, |k| {
        let here = Segment::options().rows(4).heap().unwrap();
        let there = here.attach().unwrap();
        drop(Object::create(&here, "x", || AtomicU64::new(1)).unwrap());
        let victim = thread::spawn({
            let there = there.clone();
            move || {
                life::mortal(&there, k, || {
                    let more = there.attach().unwrap();
                    drop(Object::<AtomicU64>::open(&more, "x").unwrap());
                    drop(more);
                })
            }
        });
        let mine = here.attach().unwrap();
        let died = victim.join().unwrap().is_none();
        drop(there);
        here.sweep().unwrap();
        let all: Vec<Owner> = here.attachments().unwrap().iter().map(|one| one.owner).collect();
        assert_eq!(all.len(), 2, "{all:?}");
        assert!(all.contains(&here.owner()) && all.contains(&mine.owner()), "{all:?}");
        assert_eq!(openers(&here), 0);
        drop([here.attach().unwrap(), here.attach().unwrap()]);
        here.remove("x").unwrap();
        died
    });
    assert!(deaths.len() >= 14 && deaths.iter().sum::<usize>() > 300, "{deaths:?}");
}

/// The race: two sweep the same dead one, and a third looks whether it is dead.
///
/// Allowed: one of them recovers it, the other leaves it or finds nothing. Forbidden: both, or neither; a verdict that the
/// dead one lives.
#[test]
fn one_of_two_sweepers_recovers() {
    let iterations = explore(2, || {
        let ([here, there], ring, dead) = one_is_dead();
        let other = thread::spawn(move || {
            let swept = there.sweep().unwrap();
            assert!(there.is_dead(dead));
            swept
        });
        let mine = here.sweep().unwrap();
        assert!(here.is_dead(dead));
        let theirs = other.join().unwrap();
        assert_eq!(mine.recovered + theirs.recovered, 1, "{mine:?} {theirs:?}");
        assert_eq!(here.sweep().unwrap(), outlive::segment::Swept::default(), "all is done");
        assert_eq!((ring.stats().sender, ring.stats().sender_died), (None, Some(dead)));
        assert_eq!(openers(&here), 1);
    });
    assert!(iterations > 600, "{iterations}");
}

/// The race: a sweep is under way while somebody attaches, who needs the row of the dead, opens the ring and takes its role.
///
/// Allowed: the attacher gets the row, in the next generation, or is refused while another one sweeps it. Forbidden: that
/// what is left of the sweep takes the new tenant's bit or role; that the dead one lives again in its successor, or the
/// other way round.
#[test]
fn a_row_is_given_out_again_when_all_is_repaired() {
    let iterations = explore(2, || {
        let ([here, there], ring, dead) = one_is_dead();
        let sweeper = thread::spawn(move || {
            there.sweep().unwrap();
            assert!(there.is_dead(dead));
            there
        });
        let next = match here.attach() {
            Ok(next) => next,
            Err(_) => {
                sweeper.join().unwrap();
                return;
            }
        };
        assert_eq!((next.owner().row(), next.owner().generation()), (dead.row(), dead.generation() + 1));
        let sends = sender(&next);
        assert_eq!(sends.position(), 1);
        let there = sweeper.join().unwrap();
        for segment in [&here, &there, &next] {
            assert!(segment.is_dead(dead) && !segment.is_dead(next.owner()));
        }
        there.sweep().unwrap();
        assert_eq!((ring.stats().sender, openers(&here)), (Some(next.owner()), 2));
        drop(sends);
    });
    assert!(iterations > 1000, "{iterations}");
}

/// A sweeper dies before each of its writes while another process attaches, for which the dead have to make room.
///
/// Allowed: it gets one of the two rows, or is refused while the sweeper lives. Forbidden: a row that stays lost, a row that
/// is given out before its last tenant's words are repaired.
#[test]
fn a_sweeper_dies_and_the_rows_come_back() {
    let deaths = explore_deaths(1, |k| {
        let ([here, there], ring, dead) = one_is_dead();
        let sweeper = thread::spawn({
            let there = there.clone();
            move || life::mortal(&there, k, || there.sweep().unwrap())
        });
        let early = here.attach();
        if early.is_ok() {
            assert_eq!(ring.stats().sender_died, Some(dead), "given out before it was repaired");
        }
        let died = sweeper.join().unwrap().is_none();
        drop(early);
        drop(there);
        here.sweep().unwrap();
        let both = [here.attach().unwrap(), here.attach().unwrap()];
        assert!(both.iter().all(|one| !here.is_dead(one.owner())) && here.is_dead(dead));
        assert_eq!(sender(&both[0]).position(), 1);
        died
    });
    assert!(deaths.len() >= 5 && deaths.iter().sum::<usize>() > 800, "{deaths:?}");
}

/// The race: one detaches who still has everything (a process that leaks its handles), one sweeps, one attaches.
///
/// Allowed: any order. Forbidden: a role that stays held by somebody who is gone, a bit of the row's next tenant that is
/// cleared.
#[test]
fn detaching_sweeping_and_attaching_meet() {
    let iterations = explore(2, || {
        let [here, there] = processes();
        let ring = Ring::<u64>::create(&here, "r", 2).unwrap();
        let leaving = there.owner();
        let detaching = thread::spawn(move || {
            let mut sends = sender(&there);
            sends.try_send(0).unwrap();
            sends.resign();
            drop(there);
        });
        let next = here.attach();
        here.sweep().unwrap();
        detaching.join().unwrap();
        assert!(here.is_dead(leaving));
        let next = next.or_else(|_| here.attach()).unwrap();
        assert_eq!(next.owner().generation(), leaving.generation() + 1);
        let sends = sender(&next);
        here.sweep().unwrap();
        assert_eq!((ring.stats().sender, openers(&here)), (Some(next.owner()), 2));
        drop(sends);
    });
    assert!(iterations > 60, "{iterations}");
}
