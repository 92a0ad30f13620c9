//! Promise: after `testing::kill` the handles of an attachment refuse, also if it fell into the middle of an operation.

#![cfg(not(loom))]
#![expect(clippy::disallowed_types, clippy::disallowed_methods, reason = "two threads of a test")]

use std::hint::spin_loop;
use std::sync::atomic::{AtomicBool, Ordering};

use outlive::ring::records;
use outlive::ring::spsc::Ring;
use outlive::{Segment, testing};

const CAPACITY: usize = 8;

#[test]
fn a_handle_stops_that_was_killed_in_the_middle_of_an_operation() {
    for round in 0..300 {
        let segment = Segment::heap(1 << 16).unwrap();
        let doomed = segment.attach().unwrap();
        let ring = Ring::<u64>::create(&doomed, "numbers", CAPACITY).unwrap();
        let (mut sender, mut receiver) = (ring.try_sender().unwrap(), ring.try_receiver().unwrap());
        let (started, killed) = (AtomicBool::new(false), AtomicBool::new(false));
        let late = std::thread::scope(|scope| {
            let worker = scope.spawn(|| {
                let (mut sent, mut late) = (0, 0);
                for looks in 0.. {
                    let after = killed.load(Ordering::SeqCst);
                    let ok = sender.try_send(sent).is_ok();
                    let _ = receiver.try_recv();
                    sent += 1;
                    started.store(looks > 10, Ordering::Relaxed);
                    if after {
                        late += usize::from(ok);
                        if sent % 1024 == 0 {
                            break;
                        }
                    }
                }
                late
            });
            while !started.load(Ordering::Relaxed) {
                spin_loop();
            }
            (0..round % 50).for_each(|_| spin_loop());
            testing::kill(&doomed).unwrap();
            killed.store(true, Ordering::SeqCst);
            worker.join().unwrap()
        });
        // What had been certain before it: at most a ring's length.
        assert!(late <= CAPACITY, "round {round}: {late} messages after the end");
    }
}

#[test]
fn an_end_of_a_ring_of_records_that_was_killed_in_the_middle_of_an_operation_counts_no_more() {
    for round in 0..100 {
        let segment = Segment::heap(1 << 16).unwrap();
        let doomed = segment.attach().unwrap();
        let ring: records::Ring = records::Ring::create(&doomed, "records", 128).unwrap();
        let (mut sender, mut receiver) = (ring.try_sender().unwrap(), ring.try_receiver().unwrap());
        let (started, killed) = (AtomicBool::new(false), AtomicBool::new(false));
        let late = std::thread::scope(|scope| {
            let worker = scope.spawn(|| {
                let (mut late, mut copy) = (0, Vec::new());
                for looks in 0..u32::MAX {
                    let after = killed.load(Ordering::SeqCst);
                    late += usize::from(sender.try_send(&[7; 11]).is_ok() && after);
                    let _ = receiver.try_recv(&mut copy);
                    started.store(looks > 10, Ordering::Relaxed);
                    if after && looks % 256 == 0 {
                        break;
                    }
                }
                late
            });
            while !started.load(Ordering::Relaxed) {
                spin_loop();
            }
            (0..round % 50).for_each(|_| spin_loop());
            testing::kill(&doomed).unwrap();
            killed.store(true, Ordering::SeqCst);
            worker.join().unwrap()
        });
        assert_eq!(late, 0, "round {round}: records after the end");
        let ring: records::Ring = records::Ring::open(&segment, "records").unwrap();
        let (sender, mut receiver) = (ring.try_sender().unwrap(), ring.try_receiver().unwrap());
        let left = core::iter::from_fn(|| receiver.try_recv(&mut Vec::new()).ok()).count() as u64;
        assert_eq!(receiver.position(), sender.position(), "round {round}: {left} were left");
    }
}
