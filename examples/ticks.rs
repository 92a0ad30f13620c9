//! Run it once with `send`, once without; `kill -9` and restart either at will.

#![expect(clippy::print_stdout, reason = "it shows what arrives")]

use bytemuck::{Pod, Zeroable};
use outlive::{Segment, Shared, ring::spsc};

#[repr(C)]
#[derive(Clone, Copy, Debug, Pod, Zeroable, Shared)]
struct Tick {
    number: u64,
    price: f64,
}

fn main() -> outlive::Result<()> {
    let segment = Segment::open_or_create("shm:market", 1 << 20)?;
    let ring = spsc::Ring::<Tick>::open_or_create(&segment, "ticks", 4096)?;
    if std::env::args().any(|arg| arg == "send") {
        let mut ticks = ring.try_sender()?; // Busy only while another sender lives
        ticks.wait_for_successor(true); // a killed receiver will be back
        for number in ticks.position()..1_000_000 {
            ticks.send(Tick { number, price: 100.0 })?; // a successor carries on
        }
    } else {
        let mut ticks = ring.try_receiver()?;
        ticks.wait_for_successor(true);
        for tick in ticks.iter() {
            println!("{:?}", tick?); // ends when the sender is done
        }
    }
    Ok(())
}
