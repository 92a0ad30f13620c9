//! Promise: whoever is killed, whenever: a record that was committed arrives once, whole, in order, and from whom sent it.

#![cfg(not(loom))]
#![expect(clippy::unwrap_used, reason = "tests")]

use std::os::unix::fs::MetadataExt;
use std::ptr::NonNull;
use std::time::Duration;

use nix::sys::mman::{ProtFlags, mprotect};
use outlive::error::{Fault, RecvError, SendError};
use outlive::ring::records::{Receiver, Ring, Sender};
use outlive::{Error, Segment};

mod common;
use common::Name;
use common::process::{self, Child, Random, fork, leave, say};

/// The children of these tests: see `common::process`.
#[test]
fn child_entry() {
    process::as_child(&[("sender", sender), ("receiver", receiver)]);
}

const CAPACITY: usize = 1 << 14;

/// Record `n`: of any length up to about the longest, every byte says which it is of.
fn record(n: u64) -> Vec<u8> {
    let mixed = n.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let len =
        usize::try_from(if mixed >> 60 == 0 { mixed >> 20 & 0x3fff } else { mixed >> 20 & 0xff }).unwrap();
    let len = len.min(CAPACITY / 2 - 16);
    let mut bytes = n.to_le_bytes().to_vec();
    bytes.extend((0..len as u64).map(|i| mixed.wrapping_add(i * 13).to_le_bytes()[1]));
    bytes
}

fn number_of(record: &[u8]) -> u64 {
    u64::from_le_bytes(*record.first_chunk().unwrap())
}

fn ring(address: &str) -> (Segment, Ring) {
    let segment = Segment::open(address).unwrap();
    let ring = Ring::open(&segment, "records").unwrap();
    (segment, ring)
}

/// Sends what comes next, for ever: by copies, and by grants that are filled piece by piece.
fn sender(args: &[String]) {
    let (_segment, ring) = ring(&args[0]);
    let mut sender: Sender = ring.sender().unwrap();
    sender.wait_for_successor(true);
    say("ready");
    for n in sender.position().. {
        let record = record(n);
        if n % 3 == 0 {
            sender.send(&record).unwrap();
        } else {
            let mut grant = sender.reserve(record.len() + 7).unwrap();
            for piece in record.chunks(100) {
                grant.extend_from_slice(piece);
            }
            assert_eq!(grant.commit(), record.len());
        }
        assert_eq!(sender.position(), n + 1);
    }
}

/// Receives for ever, and checks each record against its number, which is its position.
fn receiver(args: &[String]) {
    let (_segment, ring) = ring(&args[0]);
    let mut receiver: Receiver = ring.receiver().unwrap();
    receiver.wait_for_successor(true);
    say("ready");
    let mut copy = Vec::new();
    loop {
        let n = receiver.position();
        if n % 2 == 0 {
            receiver.recv(&mut copy).unwrap();
            assert_eq!(copy, record(n), "record {n}");
        } else {
            let found = receiver.read().unwrap();
            assert_eq!(found.to_vec(), record(n), "record {n}");
            assert!(found.release());
        }
        if n % 1000 == 0 {
            say(&format!("at {n}"));
        }
    }
}

fn create(name: &Name) -> (Segment, Ring) {
    let segment = Segment::options().size(1 << 16).rows(6).create(name.address()).unwrap();
    let ring = Ring::create(&segment, "records", CAPACITY).unwrap();
    (segment, ring)
}

#[test]
fn killed_senders_lose_and_tear_nothing() {
    let mut random = Random::announced("records");
    for name in [Name::shm("records"), Name::file("records")] {
        let (segment, ring) = create(&name);
        assert_eq!(ring.longest(), CAPACITY - 8, "it is mapped twice");
        let address = name.address().to_string();
        let mut receiver = ring.try_receiver().unwrap();
        receiver.wait_for_successor(true);
        let mut copy = Vec::new();
        for round in 0..12_u32 {
            let mut child = Child::start("sender", &[&address]);
            child.expect("ready");
            let owner =
                segment.attachments().unwrap().into_iter().find(|each| each.pid == child.id()).unwrap().owner;
            for _ in 0..random.below(3000) {
                let n = receiver.position();
                receiver.recv(&mut copy).unwrap();
                assert_eq!(copy, record(n), "round {round}");
            }
            child.kill();
            receiver.wait_for_successor(false);
            let left = loop {
                let n = receiver.position();
                match receiver.recv(&mut copy) {
                    Ok(_) => assert_eq!((number_of(&copy), receiver.last_sender()), (n, Some(owner))),
                    Err(error) => break error,
                }
            };
            assert_eq!(left, RecvError::PeerDied(owner), "when everything was received");
            assert_eq!(ring.stats().sent, receiver.position());
            receiver.wait_for_successor(true);
        }
        assert!(receiver.position() > 1000, "{}", receiver.position());
    }
}

#[test]
fn killed_receivers_consume_nothing_twice() {
    let mut random = Random::announced("records");
    let name = Name::shm("receivers");
    let (_segment, ring) = create(&name);
    let address = name.address().to_string();
    let mut sender = ring.try_sender().unwrap();
    sender.wait_for_successor(true);
    for _ in 0..12 {
        let mut child = Child::start("receiver", &[&address]);
        child.expect("ready");
        for _ in 0..random.below(3000) {
            sender.send_timeout(&record(sender.position()), process::PATIENCE).unwrap();
        }
        child.kill();
    }
    let mut successor = loop {
        match ring.receiver_timeout(Duration::from_secs(5)) {
            Ok(receiver) => break receiver,
            Err(error) => assert!(matches!(error, Error::Busy { .. }), "{error}"),
        }
    };
    let mut copy = Vec::new();
    for n in successor.position()..sender.position() {
        successor.try_recv(&mut copy).unwrap();
        assert_eq!(copy, record(n));
    }
    assert_eq!(successor.try_recv(&mut copy), Err(RecvError::Empty));
}

/// From now on a store to what this process has inherited of that segment is a SIGSEGV.
#[expect(clippy::disallowed_methods, reason = "a test that breaks a mapping on purpose")]
fn forbid_writing(name: &Name) {
    let inode = name.path().metadata().unwrap().ino().to_string();
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    let mappings: Vec<&str> = maps.lines().filter(|line| line.split(' ').nth(4) == Some(&inode)).collect();
    assert!(mappings.len() >= 3, "all of it, and twice what is mapped twice");
    for mapping in mappings {
        let (from, to) = mapping.split_once(' ').unwrap().0.split_once('-').unwrap();
        let [from, to] = [from, to].map(|address| usize::from_str_radix(address, 16).unwrap());
        let pages = NonNull::new(std::ptr::with_exposed_provenance_mut(from)).unwrap();
        // SAFETY: whoever writes there from here on ends this process: that is what is asked.
        unsafe { mprotect(pages, to - from, ProtFlags::PROT_READ) }.unwrap();
    }
}

#[test]
fn a_forked_child_has_no_end_and_changes_nothing() {
    let name = Name::shm("forked");
    let (segment, ring) = create(&name);
    let (mut sender, mut receiver) = (ring.try_sender().unwrap(), ring.try_receiver().unwrap());
    sender.send(b"first").unwrap();
    let mut grant = sender.try_reserve(8).unwrap();
    grant.extend_from_slice(b"mine");
    let Some(child) = fork() else {
        forbid_writing(&name);
        let outcome = (grant.extend_from_slice(b"more"), grant.commit());
        leave(|| {
            assert_eq!(outcome, (0, 0), "the bytes are the parent's");
            assert_eq!(sender.send(b"child's"), Err(SendError::Fault((), Fault::Forked)));
            assert_eq!(receiver.try_recv(&mut Vec::new()), Err(RecvError::Fault(Fault::Forked)));
            assert_eq!((sender.position(), receiver.position()), (0, 0));
            assert!(matches!(ring.try_sender(), Err(Error::Forked)));
            let mine = segment.attach().unwrap();
            let ring: Ring = Ring::open(&mine, "records").unwrap();
            assert!(matches!(ring.try_sender(), Err(Error::Busy { .. })));
            assert_eq!(ring.longest(), CAPACITY - 8, "mapped twice by the child itself");
        })
    };
    child.succeeds();
    assert_eq!(grant.commit(), 4);
    assert_eq!((sender.position(), ring.stats().sent), (2, 2));
    let mut copy = Vec::new();
    for expected in [&b"first"[..], b"mine"] {
        receiver.try_recv(&mut copy).unwrap();
        assert_eq!(copy, expected);
    }
    assert_eq!(receiver.try_recv(&mut copy), Err(RecvError::Empty), "nobody has closed");
}
