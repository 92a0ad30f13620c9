//! The ring of records without waiting: orderings, deaths at every write, counts.
#![cfg(loom)]
#![expect(clippy::unwrap_used, reason = "tests")]

use std::sync::{Arc, Mutex};

use outlive::error::{RecvError, SendError};
use outlive::loom::thread;
use outlive::model::life;
use outlive::ring::records::{Receiver, Ring, Sender};
use outlive::{Error, Segment, Trusted};
use outlive_loom_tests::{self as fixture, Kind, Pair, explore, explore_deaths};

/// The ring of records.
enum Records {}

impl Kind for Records {
    type Ring = Ring;
    type Sender = Sender;
    type Receiver = Receiver;

    fn create(segment: &Segment, capacity: usize) -> Result<Ring, Error> {
        Ring::create(segment, "r", capacity)
    }

    fn open(segment: &Segment) -> Result<Ring, Error> {
        Ring::open(segment, "r")
    }

    fn sender(ring: &Ring) -> Result<Sender, Error> {
        ring.try_sender()
    }

    fn receiver(ring: &Ring) -> Result<Receiver, Error> {
        ring.try_receiver()
    }
}

/// 64 bytes, eight words.
const CAPACITY: usize = 64;

fn processes<const N: usize>() -> ([Segment; N], Ring) {
    fixture::ring::<Records, N>(CAPACITY)
}

fn pair() -> Pair<Records> {
    fixture::pair::<Records>(CAPACITY)
}

fn ring_of(segment: &Segment) -> Ring {
    Records::open(segment).unwrap()
}

/// Record `n`: of 17 to 19 bytes, 32 with its header. Every other one begins in the middle of the ring.
fn record(n: u64) -> Vec<u8> {
    let mut bytes = n.to_le_bytes().to_vec();
    bytes.extend_from_slice(&(!n).to_le_bytes());
    bytes.extend(std::iter::repeat_n(0xaa, 1 + usize::try_from(n % 3).unwrap()));
    bytes
}

/// One record of 8 bytes, 16 with its header.
fn short(n: u64) -> [u8; 8] {
    n.to_le_bytes()
}

fn try_recv(receiver: &mut Receiver) -> Result<Vec<u8>, RecvError> {
    let mut record = Vec::new();
    receiver.try_recv(&mut record).map(|_| record)
}

/// Everything that is in the ring, from record `from` on.
fn drain(receiver: &mut Receiver, from: u64) -> u64 {
    let drained = fixture::drain(
        || try_recv(receiver),
        from,
        |n, found| {
            assert_eq!(found, record(n), "in order, each once, whole");
            n + 1
        },
    );
    assert_eq!(receiver.position(), drained);
    drained
}

/// The race: the sender writes a record and publishes it, while the receiver looks, reads and frees it for the next lap.
///
/// Allowed: a prefix of what was sent, in order, each whole, from whom sent it. Forbidden: a word that both touch, a byte
/// that was not sent, a header that is not the record's.
#[test]
fn bytes_are_behind_the_position_that_names_them() {
    let iterations = explore(3, || {
        let ([_here, there], _ring, mut sender, mut receiver) = pair();
        let sending = thread::spawn(move || {
            let mut sent = 0;
            for _ in 0..3 {
                sent += u64::from(sender.try_send(&record(sent)).is_ok());
            }
            assert_eq!(sender.position(), sent);
            (sender, sent)
        });
        let mut next = 0;
        for _ in 0..3 {
            match try_recv(&mut receiver) {
                Ok(found) => {
                    assert_eq!(found, record(next));
                    assert_eq!(receiver.last_sender(), Some(there.owner()));
                    next += 1;
                }
                Err(error) => assert_eq!(error, RecvError::Empty),
            }
        }
        let (sender, sent) = sending.join().unwrap();
        assert!(sent >= 2);
        assert_eq!(drain(&mut receiver, next), sent);
        drop(sender);
    });
    assert!(iterations > 600, "{iterations}");
}

/// The same race around pads: records of 16 and 24 bytes, framed, which do not fit before the end every third time. By
/// grants that shrink on one side, by records in place on the other.
///
/// Allowed: as above. Forbidden: as above; a pad without its record, a pad that is told.
#[test]
fn a_pad_and_what_is_behind_it_are_one() {
    let iterations = explore(3, || {
        let (_segments, _ring, mut sender, mut receiver) = pair();
        for n in 0..2 {
            sender.try_send(&[1; 16]).unwrap(); // 48 of 64 bytes
            assert_eq!(try_recv(&mut receiver).unwrap(), [1; 16], "{n}");
        }
        let sending = thread::spawn(move || {
            let mut sent = 0;
            for _ in 0..2 {
                if let Ok(mut grant) = sender.try_reserve(16) {
                    grant.extend_from_slice(&short(sent));
                    assert_eq!(grant.commit(), 8);
                    sent += 1;
                }
            }
            (sender, sent)
        });
        let mut next = 0;
        for _ in 0..3 {
            match receiver.try_read() {
                Ok(found) => {
                    assert_eq!(found.to_vec(), short(next));
                    assert!(found.release());
                    next += 1;
                }
                Err(error) => assert_eq!(error, RecvError::Empty),
            }
        }
        let (sender, sent) = sending.join().unwrap();
        assert_eq!(sent, 2, "64 bytes are enough for 16 of a pad, and two of 16");
        while let Ok(found) = try_recv(&mut receiver) {
            assert_eq!(found, short(next));
            next += 1;
        }
        assert_eq!((next, receiver.position(), sender.position()), (2, 4, 4));
    });
    assert!(iterations > 180, "{iterations}");
}

/// The same race, in place on both sides.
///
/// Allowed: a prefix of what was committed. Forbidden: a word that both touch, a byte that was not committed.
#[test]
fn bytes_in_place_are_behind_the_position_that_names_them() {
    let iterations = explore(3, || {
        let here = Segment::options().rows(2).heap().unwrap();
        // SAFETY: two attachments to heap memory that only this model writes, through this crate.
        let there = unsafe { here.attach().unwrap().trust() };
        // SAFETY: as above.
        let here = unsafe { here.trust() };
        let ring = Ring::<Trusted>::create(&here, "r", 64).unwrap();
        let mut sender = Ring::<Trusted>::open(&there, "r").unwrap().try_sender().unwrap();
        let mut receiver = ring.try_receiver().unwrap();
        let sending = thread::spawn(move || {
            let mut sent = 0;
            for _ in 0..3 {
                if let Ok(mut grant) = sender.try_reserve(16) {
                    grant.as_mut_slice().fill(sent);
                    assert_eq!(grant.commit(), 16);
                    sent += 1;
                }
            }
            (sender, sent)
        });
        let mut next = 0;
        for _ in 0..2 {
            if let Ok(found) = receiver.try_read() {
                assert_eq!(*found, [next; 16]);
                found.release();
                next += 1;
            }
        }
        let (sender, sent) = sending.join().unwrap();
        assert!(next <= sent);
        assert_eq!(ring.stats().sent, sent.into());
        drop(sender);
    });
    assert!(iterations > 180, "{iterations}");
}

/// A sender dies before each of its writes; the receiver receives meanwhile; then a successor carries on.
///
/// Allowed: the successor begins where the dead one stopped, with its count. Forbidden: a record lost, torn, or told
/// twice; a count that is not the number of records; death reported while a record lies there.
#[test]
fn a_successor_of_the_sender_carries_on() {
    let deaths = explore_deaths(2, |k| {
        let ([_here, there], ring) = processes::<2>();
        let mut receiver = ring.try_receiver().unwrap();
        let victim = thread::spawn({
            let there = there.clone();
            move || {
                life::mortal(&there, k, || {
                    let mut sender = ring_of(&there).try_sender().unwrap();
                    sender.try_send(&record(0)).unwrap();
                    let mut grant = sender.try_reserve(19).unwrap();
                    grant.extend_from_slice(&record(1));
                    grant.commit();
                })
            }
        });
        let mut next = 0;
        for _ in 0..2 {
            match try_recv(&mut receiver) {
                Ok(found) => {
                    assert_eq!(found, record(next));
                    next += 1;
                }
                Err(RecvError::PeerDied(owner)) => {
                    assert_eq!(owner, there.owner());
                    assert_eq!(
                        ring.stats().sent,
                        next,
                        "its last record was not looked for after the verdict"
                    );
                }
                Err(error) => assert!(matches!(error, RecvError::Empty | RecvError::Closed)),
            }
        }
        let died = victim.join().unwrap().is_none();
        let mut successor = ring.try_sender().unwrap();
        for n in successor.position()..3 {
            if successor.try_send(&record(n)).is_err() {
                next = drain(&mut receiver, next);
                successor.try_send(&record(n)).unwrap();
            }
        }
        assert_eq!(successor.position(), 3);
        assert_eq!(drain(&mut receiver, next), 3);
        died
    });
    assert!(deaths.len() >= 10 && deaths.iter().sum::<usize>() > 3000, "{deaths:?}");
}

/// A receiver dies before each of its writes, by `recv` and by `read` and `release`; the sender sends meanwhile.
///
/// Allowed: its successor gets everything that was not released, and knows how much was. Forbidden: a record lost that was
/// not consumed, one that was consumed and comes again.
#[test]
fn a_successor_of_the_receiver_gets_what_is_left() {
    let deaths = explore_deaths(2, |k| {
        let ([_here, there], ring) = processes::<2>();
        let mut sender = ring.try_sender().unwrap();
        sender.try_send(&record(0)).unwrap();
        let consumed = Arc::new(Mutex::new(0)); // what its user knows to be done; not part of the model
        let victim = thread::spawn({
            let (there, consumed) = (there.clone(), Arc::clone(&consumed));
            move || {
                life::mortal(&there, k, || {
                    let mut receiver = ring_of(&there).try_receiver().unwrap();
                    assert_eq!(try_recv(&mut receiver).unwrap(), record(0));
                    *consumed.lock().unwrap() = 1;
                    if let Ok(found) = receiver.try_read() {
                        assert_eq!(found.to_vec(), record(1));
                        assert!(found.release());
                        *consumed.lock().unwrap() = 2;
                    }
                })
            }
        });
        let mut sent = 1;
        for _ in 0..2 {
            match sender.try_send(&record(sent)) {
                Ok(()) => sent += 1,
                Err(error) => assert!(matches!(
                    error,
                    SendError::Full(()) | SendError::Closed(()) | SendError::PeerDied((), _)
                )),
            }
        }
        let died = victim.join().unwrap().is_none();
        let mut successor = ring.try_receiver().unwrap();
        let (position, consumed) = (successor.position(), *consumed.lock().unwrap());
        assert!(consumed <= position, "consumed, and comes again");
        assert!(position <= sent && (died || position == consumed), "lost");
        assert_eq!(drain(&mut successor, position), sent);
        died
    });
    assert!(deaths.len() >= 6 && deaths.iter().sum::<usize>() > 2000, "{deaths:?}");
}

/// The race: two processes want the role of one that died between mark and position, a third sweeps it.
///
/// Allowed: one gets it, with the count of what was published; the other is told who. Forbidden: both, or neither; the
/// count of what was not published.
#[test]
fn one_of_two_claimants_gets_the_role_and_the_count() {
    let iterations = explore(2, || {
        let ([here, there, dead], ring) = processes::<3>();
        let mut sender = ring_of(&dead).try_sender().unwrap();
        // Its writes: a word, the header, a mark (two), the tail; and the first four of these again.
        let died = life::mortal(&dead, 9, move || {
            sender.try_send(&short(0)).unwrap();
            sender.try_send(&short(1)).unwrap();
        });
        assert!(died.is_none());
        let claimant = thread::spawn({
            let there = there.clone();
            move || ring_of(&there).try_sender()
        });
        let mine = ring.try_sender();
        here.sweep().unwrap();
        let theirs = claimant.join().unwrap();
        match (&mine, &theirs) {
            (Ok(sender), Err(Error::Busy { owner })) => {
                assert_eq!((sender.position(), *owner), (1, here.owner()));
            }
            (Err(Error::Busy { owner }), Ok(sender)) => {
                assert_eq!((sender.position(), *owner), (1, there.owner()));
            }
            other => panic!("{other:?}"),
        }
        assert_eq!((ring.stats().senders, ring.stats().sent), (2, 1));
        drop((mine, theirs));
    });
    assert!(iterations > 200, "{iterations}");
}
