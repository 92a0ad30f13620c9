//! A ring inside a long-running program: a worker thread owns the receiver, a standby waits to become the sender, and
//! the sender of the moment dies.
//!
//! Everything runs in one process here, so that it can be tried at once; `attach` plays the other processes, and
//! `testing::kill` their deaths. With `Segment::open_or_create("shm:...", ..)` instead of `heap` the same code runs
//! across processes.

#![expect(clippy::print_stdout, reason = "it shows what arrives")]

use std::thread;

use outlive::{Segment, error::RecvError, ring::spsc, testing};

/// What the program keeps: handles own what they need, so they live in structs and go to threads.
struct Measurements {
    receiver: spsc::Receiver<u64>,
}

impl Measurements {
    fn open(segment: &Segment) -> outlive::Result<Self> {
        let ring = spsc::Ring::<u64>::open_or_create(segment, "measurements", 256)?;
        let mut receiver = ring.receiver()?;
        receiver.wait_for_successor(true); // a dead sender is replaced, not the end
        Ok(Self { receiver })
    }

    fn sum(mut self) -> Result<u64, RecvError> {
        self.receiver.iter().sum()
    }
}

fn main() -> outlive::Result<()> {
    let segment = Segment::heap(1 << 16)?;
    let measurements = Measurements::open(&segment)?;
    let worker = thread::spawn(move || measurements.sum());

    let first = segment.attach()?;
    let mut sender = spsc::Ring::<u64>::open(&first, "measurements")?.sender()?;

    let second = segment.attach()?;
    let standby = thread::spawn(move || -> outlive::Result<u64> {
        let mut sender = spsc::Ring::<u64>::open(&second, "measurements")?.sender()?; // waits for the first to die
        let carried_on_from = sender.position();
        for n in carried_on_from..=1000 {
            sender.send(n)?;
        }
        Ok(carried_on_from) // dropped: closed, the worker's loop ends
    });

    for n in 0..400 {
        sender.send(n)?;
    }
    testing::kill(&first)?; // as `kill -9` would
    assert!(sender.send(400).is_err(), "its handles refuse");

    let carried_on_from = standby.join().expect("the standby does not panic")?;
    let sum = worker.join().expect("the worker does not panic")?;
    println!("the standby carried on from {carried_on_from}; sum {sum}");
    assert_eq!((carried_on_from, sum), (400, 500_500));
    Ok(())
}
