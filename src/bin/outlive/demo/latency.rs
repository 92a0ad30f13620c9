//! The latency of one message, one way: small messages at a steady pace through a ring that is empty, from clock to clock.
//!
//! In the stream a message waits in a full ring, which tells how long the ring is and nothing else. Here the receiver waits for
//! the message, in the way that a ring waits unless told otherwise; the pace is within the time that it spins before it sleeps.
//!
//! Invariants of the unsafe code:
//!
//! * I1: `clock_gettime` writes one `timespec`, which is a local variable.

use core::time::Duration;
use std::io::Write as _;

use hdrhistogram::Histogram;
use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;
use outlive::Segment;
use outlive::error::RecvError;
use outlive::ring::spsc;

use super::report::Latency;
use crate::Outcome;

/// The number, and when it was sent, in nanoseconds of the monotonic clock.
pub(crate) type Ping = [u64; 2];

/// The name of the ring in the segment.
pub(crate) const RING: &str = "ping";
/// Its capacity: nothing ever waits behind another message.
pub(crate) const SLOTS: usize = 1;
/// What it takes, generously.
pub(crate) const RING_BYTES: usize = 16 << 10;

/// Not counted: the other side may still be starting.
const WARM_UP: u64 = 2_000;
const COUNTED: u64 = 50_000;
const PACE: Duration = Duration::from_micros(5);

/// Gives each side a processor of its own, where there are two: else the time is the scheduler's.
fn settle(side: usize) {
    let Ok(allowed) = sched_getaffinity(Pid::this()) else { return };
    let mut processors = (0..CpuSet::count()).filter(|&cpu| allowed.is_set(cpu) == Ok(true));
    let (first, second) = (processors.next(), processors.next());
    if let (Some(first), Some(second)) = (first, second) {
        let mut mine = CpuSet::new();
        if mine.set([first, second][side]).is_ok() {
            let _ = sched_setaffinity(Pid::this(), &mine); // refused: the figure is the worse for it
        }
    }
}

/// Sends a message every [`PACE`].
pub(crate) fn send(segment: &Segment) -> Outcome<()> {
    settle(0);
    let mut sender = spsc::Ring::<Ping>::open(segment, RING)?.try_sender()?;
    let pace = u64::try_from(PACE.as_nanos())?;
    let mut due = now()?;
    for number in 0..WARM_UP + COUNTED {
        // A sleep would be longer than the pace.
        while now()? < due {}
        // Once the one before is received; the wait for that is no part of this one's way.
        let mut grant = sender.reserve(1)?;
        let time = now()?;
        if grant.push([number, time]).is_ok() {
            grant.commit();
        }
        due = time + pace;
    }
    sender.close();
    Ok(())
}

/// Receives them, and prints the percentiles.
pub(crate) fn receive(segment: &Segment) -> Outcome<()> {
    settle(1);
    let mut receiver = spsc::Ring::<Ping>::open(segment, RING)?.try_receiver()?;
    let mut histogram = Histogram::<u64>::new(3)?;
    loop {
        match receiver.recv() {
            Ok([number, sent]) => {
                let latency = now()?.saturating_sub(sent);
                if number >= WARM_UP {
                    histogram.record(latency)?;
                }
            }
            Err(RecvError::Closed) => break,
            Err(error) => return Err(error.into()),
        }
    }
    let at = |quantile| histogram.value_at_quantile(quantile);
    let latency = Latency { p50: at(0.5), p99: at(0.99), p999: at(0.999) };
    std::io::stdout().write_all(serde_json::to_string(&latency)?.as_bytes())?;
    Ok(())
}

/// The monotonic clock, which is the same in all processes.
fn now() -> Outcome<u64> {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: I1.
    if unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut time) } != 0 {
        return Err(std::io::Error::last_os_error().into());
    }
    Ok(u64::try_from(time.tv_sec)? * 1_000_000_000 + u64::try_from(time.tv_nsec)?)
}
