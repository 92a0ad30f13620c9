//! Promise: in a forked child every handle refuses, and drops without a trace; the child attaches for itself. And closed
//! descriptors take nobody's life.

#![cfg(not(loom))]
#![expect(clippy::unwrap_used, reason = "tests")]

use std::path::Path;

use outlive::atomic::{AtomicU64, Ordering};
use outlive::error::{Fault, RecvError, SendError};
use outlive::object::Object;
use outlive::ring::spsc::{Receiver, Ring, Sender};
use outlive::{Error, Segment};

#[path = "fork/closed.rs"]
mod closed;
mod common;
use common::Name;
use common::process::{self, Child, fork, leave, say, soon};

/// The children of these tests: see `common::process`.
#[test]
fn child_entry() {
    process::as_child(&[
        ("handles", handles),
        ("guards", guards),
        ("exits", exits),
        ("heir", heir),
        ("orphan", orphan),
        ("generations", generations),
        ("busy", busy),
        ("heap", heap),
        ("closer", closed::closer),
        ("memfd closer", closed::memfd_closer),
        ("judge", closed::judge),
        ("bystander", closed::bystander),
        ("tidy closer", closed::tidy_closer),
    ]);
}

/// Lets a process of its own play it: one that may fork.
fn play(role: &str, name: &Name) {
    Child::start(role, &[&name.address().to_string()]).succeeds();
}

/// What a process has in its hands when it forks.
struct Hands {
    segment: Segment,
    words: Object<AtomicU64>,
    ring: Ring<u64>,
    sender: Sender<u64>,
    receiver: Receiver<u64>,
}

impl Hands {
    /// With room and messages that are known already, so that the next operations would look at nothing else.
    fn full(address: &str) -> Self {
        let segment = Segment::options().temporary(true).create(address).unwrap();
        let words = Object::<AtomicU64>::create(&segment, "words", AtomicU64::default).unwrap();
        let ring = Ring::create(&segment, "numbers", 16).unwrap();
        let (mut sender, mut receiver) = (ring.try_sender().unwrap(), ring.try_receiver().unwrap());
        assert_eq!(sender.try_send_slice(&[0, 1, 2, 3, 4]).unwrap(), 5);
        assert_eq!(receiver.recv(), Ok(0));
        Self { segment, words, ring, sender, receiver }
    }

    /// Nobody has touched anything: roles, messages, row and name are there.
    fn are_untouched(&mut self, address: &str) {
        let other = self.segment.attach().unwrap();
        let me = self.segment.owner();
        let ring = Ring::<u64>::open(&other, "numbers").unwrap();
        assert!(matches!(ring.try_sender(), Err(Error::Busy { owner }) if owner == me));
        assert!(matches!(ring.try_receiver(), Err(Error::Busy { owner }) if owner == me));
        let stats = ring.stats();
        assert_eq!((stats.sent, stats.received, stats.senders, stats.receivers), (5, 1, 1, 1));
        assert_eq!(other.sweep().unwrap().recovered, 0);
        let rows = other.attachments().unwrap();
        assert!(
            rows.len() == 2 && rows.iter().all(|row| row.alive && row.pid == std::process::id()),
            "{rows:?}"
        );
        let openers: Vec<u32> = other.objects().unwrap().iter().map(|object| object.openers).collect();
        assert_eq!(openers, [1, 2]);
        assert!(Path::new("/dev/shm").join(address.trim_start_matches("shm:")).exists(), "still linked");
        self.sender.send(5).unwrap();
        let received: Result<Vec<u64>, _> = (1..=5).map(|_| self.receiver.recv()).collect();
        assert_eq!(received.unwrap(), [1, 2, 3, 4, 5]);
        assert_eq!(self.words.load(Ordering::Relaxed), 0);
    }
}

#[expect(clippy::needless_pass_by_value, reason = "so it is asked of what a call returned")]
fn forked<T>(result: Result<T, Error>) -> bool {
    matches!(result, Err(Error::Forked))
}

fn every_handle_refuses(hands: &mut Hands) {
    let Hands { segment, ring, sender, receiver, .. } = hands;
    assert!(forked(segment.attachments()) && forked(segment.objects()) && forked(segment.sweep()));
    assert!(forked(segment.remove("numbers")) && !segment.is_dead(segment.owner()));
    assert!(forked(Object::<AtomicU64>::open(segment, "words")));
    assert!(forked(Object::<AtomicU64>::create(segment, "new", AtomicU64::default)));
    assert!(forked(Ring::<u64>::open(segment, "numbers")) && forked(Ring::<u64>::create(segment, "new", 8)));
    assert!(
        forked(ring.try_sender())
            && forked(ring.sender())
            && forked(ring.try_receiver())
            && forked(ring.receiver())
    );
    assert!(forked(segment.clone().attachments()) && forked(ring.clone().try_sender()));
    assert!(matches!(segment.resolve(outlive::ptr::Offset::<u64>::new(1 << 15)), Err(Fault::Forked)));
    for _ in 0..2 {
        assert_eq!(sender.try_send(9), Err(SendError::Fault(9, Fault::Forked)));
        assert_eq!(sender.send(9), Err(SendError::Fault(9, Fault::Forked)));
        assert_eq!(sender.try_send_slice(&[9, 9]), Err(SendError::Fault((), Fault::Forked)));
        assert!(matches!(sender.try_reserve(2), Err(SendError::Fault((), Fault::Forked))));
        assert!(matches!(sender.reserve(2), Err(SendError::Fault((), Fault::Forked))));
        assert_eq!(receiver.try_recv(), Err(RecvError::Fault(Fault::Forked)));
        assert_eq!(receiver.recv(), Err(RecvError::Fault(Fault::Forked)));
        assert!(matches!(receiver.try_read(2), Err(RecvError::Fault(Fault::Forked))));
        assert!(matches!(receiver.read(2), Err(RecvError::Fault(Fault::Forked))));
        assert_eq!(receiver.iter().count(), 1, "one error and the end");
    }
}

fn handles(args: &[String]) {
    let mut hands = Hands::full(&args[0]);
    for how in ["drop", "close", "resign"] {
        let Some(child) = fork() else {
            leave(move || {
                every_handle_refuses(&mut hands);
                let Hands { segment, words, ring, sender, receiver } = hands;
                match how {
                    "drop" => drop((sender, receiver)),
                    "close" => {
                        sender.close();
                        receiver.close();
                    }
                    _ => {
                        sender.resign();
                        receiver.resign();
                    }
                }
                drop((ring, words, segment));
            })
        };
        child.succeeds();
    }
    hands.are_untouched(&args[0]);
}

#[test]
fn every_handle_refuses_in_a_child_and_drops_without_a_trace() {
    let name = Name::shm("handles");
    play("handles", &name);
    assert!(!name.path().exists(), "it was temporary");
}

fn guards(args: &[String]) {
    let mut hands = Hands::full(&args[0]);
    let mut grant = hands.sender.try_reserve(3).unwrap();
    grant.push(50).unwrap();
    let items = hands.receiver.try_read(3).unwrap();
    let Some(child) = fork() else {
        assert_eq!(grant.push(99), Err(99));
        assert_eq!(grant.extend([97, 98]), 0);
        assert_eq!(grant.commit(), 0);
        assert_eq!(items.release_first(1), 0);
        assert!(matches!(hands.receiver.try_read(1), Err(RecvError::Fault(Fault::Forked))));
        panicking_with(hands.sender);
        leave(|| ())
    };
    child.succeeds();
    assert_eq!(items.iter().collect::<Vec<_>>(), [1, 2, 3]);
    drop((grant, items));
    hands.are_untouched(&args[0]);
    let mut grant = hands.sender.reserve(1).unwrap();
    grant.push(6).unwrap();
    let Some(child) = fork() else { leave(|| ()) };
    child.succeeds();
    assert_eq!(grant.commit(), 1, "in the parent it is what it was");
    assert_eq!(hands.receiver.try_recv(), Ok(6));
}

/// A sender that is dropped by a panic notes its death; in a child it does not.
fn panicking_with(sender: Sender<u64>) {
    let thread = std::thread::spawn(move || {
        let _sender = sender;
        std::panic::set_hook(Box::new(|_| ()));
        panic!("on purpose");
    });
    assert!(thread.join().is_err());
    let _ = std::panic::take_hook();
}

#[test]
fn a_guard_of_the_parent_commits_nothing_in_a_child() {
    play("guards", &Name::shm("guards"));
}

fn exits(args: &[String]) {
    let mut hands = Hands::full(&args[0]);
    let Some(child) = fork() else { std::process::exit(0) };
    child.succeeds();
    hands.are_untouched(&args[0]);
}

#[test]
fn a_child_that_exits_as_programs_do_leaves_no_trace() {
    play("exits", &Name::shm("exits"));
}

/// The child attaches for itself, and takes the sender's role when its parent gives it up.
fn heir(args: &[String]) {
    let Hands { segment, words, ring, sender, mut receiver } = Hands::full(&args[0]);
    let before = segment.owner();
    let Some(child) = fork() else {
        leave(move || {
            let mine = segment.attach().unwrap();
            assert_ne!(mine.owner(), before);
            assert!(!mine.is_dead(before), "its parent");
            let ring = Ring::<u64>::open(&mine, "numbers").unwrap();
            assert!(matches!(ring.try_sender(), Err(Error::Busy { owner }) if owner == before));
            Object::<AtomicU64>::open(&mine, "words").unwrap().store(1, Ordering::Release);
            drop((sender, receiver, segment)); // what was inherited; the new ones are not concerned
            let mut sender = ring.sender().unwrap();
            assert_eq!(sender.position(), 5);
            for number in 5..100 {
                sender.send(number).unwrap();
            }
            sender.close();
        })
    };
    assert!(soon(|| words.load(Ordering::Acquire) == 1));
    let rows = segment.attachments().unwrap();
    assert!(rows.len() == 2 && rows.iter().all(|row| row.alive), "{rows:?}");
    sender.resign();
    let received: Result<Vec<u64>, _> = receiver.iter().collect();
    assert_eq!(received.unwrap(), (1..100).collect::<Vec<_>>());
    child.succeeds();
    assert_eq!(segment.attachments().unwrap().len(), 1);
    assert_eq!(ring.stats().senders, 2);
}

#[test]
fn a_child_attaches_for_itself_and_succeeds_its_parent() {
    play("heir", &Name::shm("heir"));
}

/// Killed by the test; its child attaches when it is dead.
fn orphan(args: &[String]) {
    let Hands { segment, mut sender, receiver, .. } = Hands::full(&args[0]);
    let parent = std::process::id();
    let before = segment.owner();
    let Some(child) = fork() else {
        leave(|| {
            assert!(soon(|| std::os::unix::process::parent_id() != parent));
            let mine = segment.attach().unwrap();
            assert!(soon(|| mine.is_dead(before)));
            let ring = Ring::<u64>::open(&mine, "numbers").unwrap();
            assert_eq!(ring.try_sender().unwrap().position(), 5);
            let mut numbers = ring.try_receiver().unwrap();
            let received: Result<Vec<u64>, _> = numbers.iter().collect();
            assert_eq!(received.unwrap(), [1, 2, 3, 4], "the sender was dropped, so closed");
            assert_eq!(sender.try_send(9), Err(SendError::Fault(9, Fault::Forked)), "the parent's, still");
            assert_eq!(mine.sweep().unwrap().recovered, 1);
            drop((sender, receiver, segment, numbers, ring));
            drop(mine);
            say("succeeded");
        })
    };
    child.abandon();
    say("forked");
    process::sleep_for_ever()
}

#[test]
fn a_child_succeeds_its_killed_parent() {
    process::Stranger::adopt_orphans();
    let name = Name::shm("orphan");
    let mut child = Child::start("orphan", &[&name.address().to_string()]);
    child.expect("forked");
    assert!(name.path().exists());
    child.kill();
    child.expect("succeeded");
    assert!(!name.path().exists(), "the child was the last one of a temporary segment");
}

fn generations(args: &[String]) {
    let mut hands = Hands::full(&args[0]);
    let Some(child) = fork() else {
        leave(move || {
            let mine = hands.segment.attach().unwrap();
            let ring = Ring::<u64>::create(&mine, "mine", 8).unwrap();
            let mut sender = ring.try_sender().unwrap();
            sender.send(1).unwrap();
            let Some(grandchild) = fork() else {
                leave(move || {
                    every_handle_refuses(&mut hands);
                    assert_eq!(sender.try_send(2), Err(SendError::Fault(2, Fault::Forked)));
                    assert!(forked(mine.attachments()));
                    let own = mine.attach().unwrap();
                    let third = hands.segment.attach().unwrap();
                    assert_eq!(own.attachments().unwrap().len(), 4);
                    drop((hands, sender, ring, mine, own, third));
                })
            };
            grandchild.succeeds();
            sender.send(2).unwrap();
            assert_eq!(mine.attachments().unwrap().len(), 2);
            mine.remove("mine").unwrap();
        })
    };
    child.succeeds();
    hands.are_untouched(&args[0]);
}

#[test]
fn a_childs_child_is_somebody_else_again() {
    play("generations", &Name::shm("generations"));
}

/// Forks while its threads are in the middle of everything.
fn busy(args: &[String]) {
    let segment = Segment::create(&args[0], 1 << 16).unwrap();
    let done = AtomicU64::new(0);
    std::thread::scope(|scope| {
        let work = || {
            while done.load(Ordering::Relaxed) == 0 {
                let other = segment.attach().unwrap();
                assert!(!segment.is_dead(other.owner()) && !other.is_dead(segment.owner()));
                let words =
                    Object::<AtomicU64>::open_or_create(&segment, "words", AtomicU64::default).unwrap();
                words.fetch_add(1, Ordering::Relaxed);
                segment.sweep().unwrap();
            }
        };
        scope.spawn(work);
        scope.spawn(work);
        for _ in 0..40 {
            let Some(child) = fork() else {
                leave(|| {
                    assert!(forked(segment.attachments()));
                    let mine = segment.attach().unwrap();
                    assert!(!mine.is_dead(segment.owner()));
                    assert!(mine.attachments().unwrap().iter().any(|row| row.owner == mine.owner()));
                })
            };
            child.succeeds();
        }
        done.store(1, Ordering::Relaxed);
    });
    segment.sweep().unwrap();
    assert_eq!(segment.attachments().unwrap().len(), 1);
}

#[test]
fn a_fork_in_the_middle_of_everything_hangs_nobody() {
    play("busy", &Name::shm("busy"));
}

fn heap(_: &[String]) {
    let segment = Segment::heap(1 << 16).unwrap();
    let mut sender = Ring::<u64>::create(&segment, "numbers", 8).unwrap().try_sender().unwrap();
    sender.send(1).unwrap();
    let Some(child) = fork() else {
        leave(move || {
            assert_eq!(sender.try_send(2), Err(SendError::Fault(2, Fault::Forked)));
            assert!(forked(segment.attachments()));
            assert!(matches!(segment.attach(), Err(Error::Unsupported { .. })), "the child has a copy only");
            drop((sender, segment));
        })
    };
    child.succeeds();
    sender.send(2).unwrap();
}

#[test]
fn a_segment_on_the_heap_is_not_shared_with_a_child() {
    play("heap", &Name::shm("heap"));
}
