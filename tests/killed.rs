//! Promise: after `testing::kill` the handles of an attachment refuse, also if it fell into the middle of an operation.

#![cfg(not(loom))]
#![expect(clippy::disallowed_types, clippy::disallowed_methods, reason = "two threads of a test")]

use std::hint::spin_loop;
use std::sync::atomic::{AtomicBool, Ordering};

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
