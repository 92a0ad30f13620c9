//! Promise: nothing depends on where a segment is mapped.

#![cfg(not(loom))]
#![expect(clippy::unwrap_used, reason = "tests")]

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;

use outlive::atomic::{AtomicU64, Ordering};
use outlive::object::Object;
use outlive::ptr::{AtomicOffset, Offset};
use outlive::ring::records;
use outlive::ring::spsc::Ring;
use outlive::ring::stream;
use outlive::{Segment, Trusted};

mod common;
use common::Name;
use common::process::{self, Child, say};

/// The children of these tests: see `common::process`.
#[test]
fn child_entry() {
    process::as_child(&[("doubler", doubler)]);
}

/// So far must the second mapping lie away, that no page of one is in the other.
fn are_apart(one: &Segment, other: &Segment) {
    let (a, b) = (one.address(), other.address());
    eprintln!("mapped at {a:#x} and {b:#x}");
    assert!(u64::try_from(a.abs_diff(b)).unwrap() >= one.size(), "{a:#x} {b:#x}");
}

#[test]
fn one_ring_mapped_twice_in_a_process_is_one_ring() {
    let file = Name::file("twice");
    for one in [
        Segment::create(Name::shm("twice").address(), 1 << 16).unwrap(),
        Segment::create(file.address(), 1 << 16).unwrap(),
        Segment::options().memfd("twice").unwrap(),
    ] {
        let other = one.attach().unwrap();
        are_apart(&one, &other);
        let mut sender = Ring::<[u64; 3]>::create(&one, "triples", 8).unwrap().try_sender().unwrap();
        let mut receiver = Ring::<[u64; 3]>::open(&other, "triples").unwrap().try_receiver().unwrap();
        for number in 0..100 {
            // Batches that cross the end of the slots, each time elsewhere.
            let batch = [[number; 3], [number + 1, 0, 0], [0, 0, number + 2]];
            assert_eq!(sender.try_send_slice(&batch).unwrap(), 3);
            let arrived = [receiver.recv().unwrap(), receiver.recv().unwrap(), receiver.recv().unwrap()];
            assert_eq!(arrived, batch);
        }
        // The other way round, through the same two mappings.
        let mut back = Ring::<u64>::create(&other, "back", 4).unwrap().try_sender().unwrap();
        back.send(17).unwrap();
        assert_eq!(Ring::<u64>::open(&one, "back").unwrap().try_receiver().unwrap().recv(), Ok(17));
        let _ = std::fs::remove_file(file.path());
    }
}

#[test]
fn one_object_mapped_twice_in_a_process_is_one_object() {
    let one = Segment::options().memfd("twice").unwrap();
    let other = one.attach().unwrap();
    are_apart(&one, &other);
    let here = Object::<[AtomicU64; 4]>::create(&one, "words", Default::default).unwrap();
    let there = Object::<[AtomicU64; 4]>::open(&other, "words").unwrap();
    assert_ne!(std::ptr::from_ref(&*here).addr(), std::ptr::from_ref(&*there).addr());
    assert_eq!(here.offset(), there.offset());
    here[3].store(7, Ordering::Relaxed);
    assert_eq!(there[3].fetch_add(1, Ordering::Relaxed), 7);
    assert_eq!(here[3].load(Ordering::Relaxed), 8);
    // A link that is stored through one mapping and followed through the other.
    let link = Object::<AtomicOffset<u64>>::create(&one, "link", AtomicOffset::default).unwrap();
    link.store(Offset::new(here.offset().get() + 24), Ordering::Release);
    let followed = Object::<AtomicOffset<u64>>::open(&other, "link").unwrap().load(Ordering::Acquire);
    let place = other.resolve(followed).unwrap();
    assert_eq!(place.read(), 8);
    place.write(9).unwrap();
    assert_eq!(here[3].load(Ordering::Relaxed), 9);
}

#[test]
fn what_is_written_in_place_through_one_mapping_is_read_in_place_through_the_other() {
    let one = Segment::options().memfd("trusted").unwrap();
    let other = one.attach().unwrap();
    are_apart(&one, &other);
    // SAFETY: a memfd of this process, which only this test writes, through this crate, as the same type.
    let one = unsafe { one.trust() };
    // SAFETY: as above.
    let other = unsafe { other.trust() };
    let mut sender = Ring::<[u8; 100], Trusted>::create(&one, "blocks", 4).unwrap().try_sender().unwrap();
    let mut receiver = Ring::<[u8; 100], Trusted>::open(&other, "blocks").unwrap().try_receiver().unwrap();
    for round in 0..20 {
        let mut grant = sender.try_reserve(1).unwrap();
        grant.as_mut_slice()[0].fill(round);
        let written = grant.as_mut_slice().as_ptr().addr();
        assert_eq!(grant.commit(), 1);
        let items = receiver.try_read(1).unwrap();
        assert_ne!(items.as_ptr().addr(), written);
        assert_eq!(items[0], [round; 100]);
        items.release();
    }
}

#[test]
fn one_stream_mapped_twice_in_a_process_is_one_stream() {
    let one = Segment::options().memfd("stream").unwrap();
    let other = one.attach().unwrap();
    are_apart(&one, &other);
    let mut writer = stream::Ring::create(&one, "bytes", 8192).unwrap().try_writer().unwrap();
    let mut reader = stream::Ring::open(&other, "bytes").unwrap().try_reader().unwrap();
    let (mut from, mut to) = UnixStream::pair().unwrap();
    for round in 0..20_u8 {
        // Across the end of the ring, each time elsewhere; by our copies one time, by the kernel's the other.
        let bytes: Vec<u8> = (0..5000_u32).map(|i| (i % 251) as u8 ^ round).collect();
        let mut arrived = vec![0; bytes.len()];
        if round % 2 == 0 {
            assert_eq!(writer.try_write(&bytes), Ok(bytes.len()));
            assert_eq!(reader.try_read(&mut arrived), Ok(bytes.len()));
        } else {
            from.write_all(&bytes).unwrap();
            let (mut filled, mut drained) = (0, 0);
            while filled < bytes.len() {
                filled += writer.fill_from(&to).unwrap();
            }
            while drained < bytes.len() {
                drained += reader.drain_to(&from).unwrap();
            }
            to.read_exact(&mut arrived).unwrap();
        }
        assert_eq!(arrived, bytes);
    }
}

#[test]
fn one_ring_of_records_mapped_four_times_in_a_process_is_one_ring() {
    let file = Name::file("records");
    for one in [
        Segment::create(Name::shm("records").address(), 1 << 16).unwrap(),
        Segment::create(file.address(), 1 << 16).unwrap(),
        Segment::options().memfd("records").unwrap(),
    ] {
        let other = one.attach().unwrap();
        are_apart(&one, &other);
        let ring: records::Ring = records::Ring::create(&one, "records", 4096).unwrap();
        let mut sender = ring.try_sender().unwrap();
        let mut receiver = records::Ring::open(&other, "records").unwrap().try_receiver().unwrap();
        let mut arrived = Vec::new();
        for number in 0..200_u8 {
            // Of nearly the whole ring: they cross its end, each time elsewhere.
            let record = vec![number; 4000 + usize::from(number % 89)];
            sender.send(&record).unwrap();
            assert_eq!(receiver.recv(&mut arrived).unwrap(), record.len());
            assert_eq!(arrived, record);
        }
        let _ = std::fs::remove_file(file.path());
    }
}

/// Sends back twice what it receives.
fn doubler(args: &[String]) {
    let segment = Segment::open(&args[0]).unwrap();
    say(&format!("mapped at {}", segment.address()));
    let mut numbers = Ring::<u64>::open(&segment, "numbers").unwrap().try_receiver().unwrap();
    let mut doubled = Ring::<u64>::open(&segment, "doubled").unwrap().try_sender().unwrap();
    let counter = Object::<AtomicU64>::open(&segment, "counter").unwrap();
    for number in numbers.iter() {
        counter.fetch_add(1, Ordering::Relaxed);
        doubled.send(2 * number.unwrap()).unwrap();
    }
}

#[test]
fn two_processes_at_different_addresses_understand_each_other() {
    for name in [Name::shm("two"), Name::file("two")] {
        let segment = Segment::create(name.address(), 1 << 20).unwrap();
        // So that the child's mapping does not come to lie at the same address by chance.
        let _more: Vec<Segment> = (0..3).map(|_| segment.attach().unwrap()).collect();
        let mut numbers = Ring::<u64>::create(&segment, "numbers", 64).unwrap().try_sender().unwrap();
        let mut doubled = Ring::<u64>::create(&segment, "doubled", 64).unwrap().try_receiver().unwrap();
        let counter = Object::<AtomicU64>::create(&segment, "counter", AtomicU64::default).unwrap();
        let mut child = Child::start("doubler", &[&name.address().to_string()]);
        let theirs: usize = child.expect("mapped at").parse().unwrap();
        println!("mapped at {:#x} here and at {theirs:#x} there", segment.address());
        assert_ne!(segment.address(), theirs);
        let worker = std::thread::spawn(move || {
            for number in 0..10_000 {
                numbers.send(number).unwrap();
            }
        });
        for number in 0..10_000 {
            // A child that has failed before it took its role never comes.
            assert_eq!(doubled.recv_timeout(process::PATIENCE), Ok(2 * number));
        }
        worker.join().unwrap();
        child.succeeds();
        assert_eq!(counter.load(Ordering::Relaxed), 10_000);
        assert!(doubled.recv().is_err(), "closed");
    }
}
