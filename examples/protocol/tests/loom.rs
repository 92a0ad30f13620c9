//! Promise: in every interleaving of two threads, with weak memory, and with a death at every write, whoever reads sees a
//! whole value, there is one publisher, and a bell that was rung promises a value.
//!
//! ```sh
//! RUSTFLAGS="--cfg loom" cargo test --profile loom --target-dir target/loom -p outlive-example-protocol --test loom
//! ```
#![cfg(loom)]
#![allow(clippy::unwrap_used, reason = "tests")]

use std::any::Any;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use outlive::atomic::{Ordering, fence};
use outlive::loom::thread;
use outlive::model::{explore, life};
use outlive::{Owner, Segment, testing};
use outlive_example_protocol::{Latest, PUBLISHER, Publisher, VERSION, Words, slot};

/// Two words that belong together: half a value is seen.
fn value(number: u64) -> [u64; 2] {
    [number, 10 * number]
}

#[track_caller]
fn assert_whole((version, found): (u64, [u64; 2])) {
    assert_eq!(found, value(version), "half a value");
}

/// How the next value is published: by the protocol, or with a bug.
type Publish = fn(&mut Publisher, &Words, u64);

fn right(publisher: &mut Publisher, _: &Words, next: u64) {
    publisher.publish(value(next));
}

/// The race: two values are published while somebody reads.
///
/// Allowed: any version, each whole, none older than the one before. Forbidden: halves of two.
fn reading_while_publishing(publish: Publish) -> usize {
    explore(3, move || {
        let here = Segment::options().rows(2).heap().unwrap(); // inside of the model, as all that it is about
        let there = here.attach().unwrap();
        let latest = Latest::open_or_create(&here).unwrap();
        let words = Words::open(&there, "latest").unwrap();
        let mut publisher = Latest::open_or_create(&there).unwrap().publisher().unwrap().unwrap();
        let publishing = thread::spawn(move || {
            (1..=2).for_each(|next| publish(&mut publisher, &words, next));
            publisher
        });
        let first = latest.read();
        assert_whole(first);
        let second = latest.read();
        assert_whole(second);
        assert!(first.0 <= second.0, "{first:?} {second:?}");
        drop(publishing.join().unwrap());
    })
}

#[test]
fn a_reader_sees_whole_values() {
    let iterations = reading_while_publishing(right);
    assert!(iterations > 5000, "{iterations}");
}

#[test]
#[should_panic(expected = "half a value")]
fn a_commit_that_orders_nothing_is_found() {
    let _ = reading_while_publishing(|_, words, next| {
        fence(Ordering::Release);
        for (word, half) in slot(next).into_iter().zip(value(next)) {
            words[word].store(half, Ordering::Relaxed); // the bug is below
        }
        words[VERSION].store(next, Ordering::Relaxed); // planted: Release
    });
}

#[test]
#[should_panic(expected = "half a value")]
fn a_missing_fence_is_found() {
    let _ = reading_while_publishing(|_, words, next| {
        for (word, half) in slot(next).into_iter().zip(value(next)) {
            words[word].store(half, Ordering::Relaxed); // planted: no fence before it
        }
        words[VERSION].store(next, Ordering::Release);
    });
}

/// How somebody becomes the publisher: by the protocol, or with a bug. Who does stays it to the end of the model.
type Claim = fn(&Segment, &Latest) -> Option<Box<dyn Any + Send>>;

/// The race: two take over from a dead publisher.
///
/// Allowed: one of them does. Forbidden: both do, or none.
fn taking_over(claim: Claim) -> usize {
    explore(3, move || {
        let here = Segment::options().rows(3).heap().unwrap();
        let [there, dead] = [here.attach().unwrap(), here.attach().unwrap()];
        let [ours, theirs, last] = [&here, &there, &dead].map(|each| Latest::open_or_create(each).unwrap());
        let _kept = last.publisher().unwrap().unwrap();
        testing::kill(&dead).unwrap();
        let taking = thread::spawn(move || claim(&there, &theirs));
        let we = claim(&here, &ours);
        let they = taking.join().unwrap();
        assert_eq!(usize::from(we.is_some()) + usize::from(they.is_some()), 1, "publishers");
    })
}

#[test]
fn there_is_one_successor() {
    let iterations = taking_over(|_, latest| {
        let publisher = latest.publisher().unwrap()?;
        Some(Box::new(publisher))
    });
    assert!(iterations > 150, "{iterations}");
}

#[test]
#[should_panic(expected = "publishers")]
fn a_claim_without_a_compare_exchange_is_found() {
    let _ = taking_over(|segment, _| {
        let words = Words::open(segment, "latest").unwrap();
        let holder = Owner::from_bits((words[PUBLISHER].load(Ordering::Acquire) & 0xff_ffff) as u32).unwrap();
        if !segment.is_dead(holder) {
            return None;
        }
        words[PUBLISHER].store(u64::from(segment.owner().bits()), Ordering::Release); // planted
        Some(Box::new(()))
    });
}

/// What a process does, and dies in: by the protocol, or with a bug.
type Life = fn(&Latest, &Words);

/// A publisher dies before its `k`-th write, while somebody listens and reads. Whether it came to that.
///
/// Allowed: no value or a whole one; a successor, who carries on. Forbidden: a bell without its value; a value whose bell
/// is never rung.
fn dying(k: u32, life: Life) -> bool {
    let here = Segment::options().rows(2).heap().unwrap();
    let there = here.attach().unwrap();
    let [latest, theirs] = [&here, &there].map(|each| Latest::open_or_create(each).unwrap());
    let words = Words::open(&there, "latest").unwrap();
    let mut bell = latest.bell().try_receiver().unwrap();
    let publishing = thread::spawn(move || life::mortal(&there, k, move || life(&theirs, &words)).is_none());
    let mut last = bell.try_recv().ok();
    let seen = latest.read();
    assert_whole(seen);
    assert!(last <= Some(seen.0), "a bell without a value: {last:?} {seen:?}");
    let died = publishing.join().unwrap();
    let mut successor = latest.publisher().unwrap().expect("the dead publish no more");
    let (version, found) = latest.read();
    assert_whole((version, found));
    last = std::iter::from_fn(|| bell.try_recv().ok()).last().or(last);
    assert!(last <= Some(version), "a bell without a value: {last:?} of {version}");
    assert_eq!(last.unwrap_or(0), version, "a value without a bell");
    successor.publish(value(version + 1));
    assert_eq!(latest.read(), (version + 1, value(version + 1)));
    assert_eq!(bell.try_recv(), Ok(version + 1));
    died
}

/// One model for each write, until nobody dies any more; how many executions each had.
fn dying_anywhere(life: Life) -> Vec<usize> {
    let mut executions = Vec::new();
    for k in 0.. {
        let died = Arc::new(AtomicBool::new(false));
        let count = explore(2, {
            let died = Arc::clone(&died);
            move || {
                if dying(k, life) {
                    died.store(true, Ordering::Relaxed); // a statistic, not part of the model
                }
            }
        });
        // as above
        if !died.load(Ordering::Relaxed) {
            break;
        }
        executions.push(count);
    }
    executions
}

#[test]
fn a_publisher_dies_anywhere() {
    let deaths = dying_anywhere(|latest, _| latest.publisher().unwrap().unwrap().publish(value(1)));
    assert!(deaths.len() > 14 && deaths.iter().sum::<usize>() > 2000, "{deaths:?}");
}

#[test]
#[should_panic(expected = "a bell without a value")]
fn a_bell_before_the_commit_is_found() {
    let _ = dying_anywhere(|latest, words| {
        let mut bell = latest.bell().try_sender().unwrap();
        bell.try_send(1).unwrap(); // planted: before the value
        for (word, half) in slot(1).into_iter().zip(value(1)) {
            words[word].store(half, Ordering::Relaxed);
        }
        words[VERSION].store(1, Ordering::Release);
        bell.resign();
    });
}
