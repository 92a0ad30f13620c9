//! Objects that point to each other by `AtomicOffset`: a user's own structure, published by one word.
#![cfg(loom)]
#![expect(clippy::unwrap_used, reason = "tests")]

use outlive::atomic::{AtomicU64, Ordering};
use outlive::loom::thread;
use outlive::object::Object;
use outlive::ptr::{AtomicOffset, Offset};
use outlive_loom_tests::{explore, processes};

/// The race: one process makes an object and publishes where it is, another one follows the link.
///
/// Allowed: no link, or a link to an object that is complete. Forbidden: a link to what is not written yet.
#[test]
fn what_a_link_points_to_is_there() {
    let iterations = explore(3, || {
        let [here, there] = processes();
        let link = Object::<AtomicOffset<AtomicU64>>::create(&here, "link", AtomicOffset::default).unwrap();
        let node = Object::create(&here, "node", || AtomicU64::new(0)).unwrap();
        let following = thread::spawn(move || {
            let link = Object::<AtomicOffset<AtomicU64>>::open(&there, "link").unwrap();
            let node = Object::<AtomicU64>::open(&there, "node").unwrap();
            let found = link.load(Ordering::Acquire); // pairs with the store below
            if !found.is_null() {
                assert_eq!((found, node.load(Ordering::Relaxed)), (node.offset(), 7)); // ordered by the link
            }
        });
        node.store(7, Ordering::Relaxed); // published by the link
        link.store(node.offset(), Ordering::Release); // pairs with the load above
        following.join().unwrap();
    });
    assert!(iterations > 2, "{iterations}");
}

/// The race: two processes put their own node into an empty link.
///
/// Allowed: one of them; the other is told what is there. Forbidden: both, neither, or something else.
#[test]
fn one_of_two_links_is_set() {
    let iterations = explore(3, || {
        let [here, there] = processes();
        let link = Object::<AtomicOffset<AtomicU64>>::create(&here, "link", AtomicOffset::default).unwrap();
        let set = |link: &Object<AtomicOffset<AtomicU64>>, at: u64| {
            let order = Ordering::AcqRel; // it publishes the node
            link.compare_exchange(Offset::null(), Offset::new(at), order, Ordering::Acquire) // and shows the other
        };
        let other = thread::spawn(move || set(&Object::open(&there, "link").unwrap(), 256));
        let mine = set(&link, 128);
        let theirs = other.join().unwrap();
        let found = link.load(Ordering::Relaxed).get(); // both are done
        match (mine, theirs) {
            (Ok(_), Err(seen)) => assert_eq!((seen.get(), found), (128, 128)),
            (Err(seen), Ok(_)) => assert_eq!((seen.get(), found), (256, 256)),
            both => panic!("{both:?}"),
        }
    });
    assert!(iterations > 2, "{iterations}");
}
