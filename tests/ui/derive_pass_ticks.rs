//! The first program of the documentation, with not a word of `unsafe`.

#![forbid(unsafe_code)]
#![deny(warnings)]

use bytemuck::{Pod, Zeroable};
use outlive::{Segment, Shared, ring::spsc};

#[repr(C)]
#[derive(Clone, Copy, Debug, Pod, Zeroable, Shared)]
struct Tick {
    number: u64,
    price: f64,
}

fn ticks() -> outlive::Result<()> {
    let segment = Segment::open_or_create("shm:market", 1 << 20)?;
    let ring = spsc::Ring::<Tick>::open_or_create(&segment, "ticks", 4096)?;
    if std::env::args().any(|arg| arg == "send") {
        let mut ticks = ring.try_sender()?;
        ticks.wait_for_successor(true);
        for number in ticks.position()..1_000_000 {
            ticks.send(Tick { number, price: 100.0 })?;
        }
    } else {
        let mut ticks = ring.try_receiver()?;
        ticks.wait_for_successor(true);
        for tick in ticks.iter() {
            println!("{:?}", tick?)
        }
    }
    Ok(())
}

fn main() {
    let _compiled_not_run: fn() -> outlive::Result<()> = ticks;
}
