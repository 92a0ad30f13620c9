//! The loops of the measurements: the same ones for us, for every peer and for the limits, so that the
//! figures differ only by what is measured.

use std::hint::{self, black_box};

use crate::Result;
use crate::cpu::{self, Spin};
use crate::harness::{Mode, Outcome, Setup, Side, run};
use crate::stats::{float, median_of};

/// A message whose content is its number.
pub(crate) trait Message: Copy + Send + 'static {
    fn numbered(n: u64) -> Self;
    /// 0 if this is the message of that number.
    fn difference(&self, n: u64) -> u64;
}

impl Message for u64 {
    #[inline]
    fn numbered(n: u64) -> Self {
        n
    }
    #[inline]
    fn difference(&self, n: u64) -> u64 {
        self ^ n
    }
}

impl Message for [u64; 8] {
    #[inline]
    fn numbered(n: u64) -> Self {
        [n; 8]
    }
    #[inline]
    fn difference(&self, n: u64) -> u64 {
        self.iter().fold(0, |difference, word| difference | (word ^ n))
    }
}

/// One at a time, never waiting.
pub(crate) trait Tx<T> {
    fn try_send(&mut self, message: T) -> bool;
}

/// One at a time, never waiting.
pub(crate) trait Rx<T> {
    fn try_recv(&mut self) -> Option<T>;
}

/// Many at a time: one publication a call.
pub(crate) trait BatchTx {
    /// Sends some of `first..first + max`, and tells how many; 0 if there is no room.
    fn send_some(&mut self, first: u64, max: u64) -> u64;
}

/// Many at a time: one release a call.
pub(crate) trait BatchRx {
    /// Receives at most `max`: how many, and their sum; `(0, 0)` if there are none.
    fn recv_some(&mut self, max: u64) -> (u64, u64);
}

/// Something to send through: made by the parent, its ends taken by the sides. Channels 0 and 1 are
/// independent of each other.
pub(crate) trait Link<T: ?Sized>: Sync {
    type Tx;
    type Rx;
    const MODE: Mode;
    fn tx(&self, channel: usize) -> Self::Tx;
    fn rx(&self, channel: usize) -> Self::Rx;
    /// The sending end of one channel and the receiving one of another, for one side.
    fn ends(&self, tx: usize, rx: usize) -> (Self::Tx, Self::Rx) {
        (self.tx(tx), self.rx(rx))
    }
}

#[inline]
fn send<T: Copy>(tx: &mut impl Tx<T>, message: T) {
    let mut spin = Spin::default();
    while !tx.try_send(message) {
        spin.wait();
    }
}

#[inline]
fn recv<T>(rx: &mut impl Rx<T>) -> T {
    let mut spin = Spin::default();
    loop {
        match rx.try_recv() {
            Some(message) => return message,
            None => spin.wait(),
        }
    }
}

/// A round trip is the median of so many short loops: an interruption spoils one of them.
const LOOPS: u64 = 15;

/// Round trips in all, when each loop has `trips` and is warmed up by one more.
pub(crate) const fn all_trips(trips: u64) -> u64 {
    (LOOPS + 1) * trips
}

/// The side that begins: puts the nanoseconds of one round trip. `ping` sends the number and returns what
/// came back.
pub(crate) fn initiate(side: &Side<'_>, trips: u64, mut ping: impl FnMut(u64) -> u64) {
    side.barrier();
    let mut wrong = 0;
    let mut means = Vec::new();
    for lap in 0..=LOOPS {
        let start = cpu::now();
        for n in lap * trips..(lap + 1) * trips {
            wrong |= ping(n) ^ n;
        }
        if lap > 0 {
            means.push(float(cpu::now() - start) / float(trips));
        }
    }
    assert_eq!(wrong, 0, "another answer than what was sent");
    side.put(median_of(&means));
}

/// How long a side must have heard nothing to be asleep for certain: no waiting here spins for so long, unoptimised code
/// included.
const REST: u64 = if cfg!(debug_assertions) { 2_000_000 } else { 60_000 };

/// As [`initiate`], but each trip begins when the other side has had the time to fall asleep. That time does not
/// count, nor do trips of the first loop.
pub(crate) fn initiate_to_a_sleeper(side: &Side<'_>, trips: u64, mut ping: impl FnMut(u64) -> u64) {
    side.barrier();
    let mut wrong = 0;
    let mut times = Vec::new();
    for n in 0..all_trips(trips) {
        let rested = cpu::now() + REST;
        while cpu::now() < rested {
            hint::spin_loop();
        }
        let start = cpu::now();
        wrong |= ping(n) ^ n;
        if n >= trips {
            times.push(float(cpu::now() - start));
        }
    }
    assert_eq!(wrong, 0, "another answer than what was sent");
    side.put(median_of(&times));
}

/// The side that answers.
pub(crate) fn answer(side: &Side<'_>, trips: u64, mut pong: impl FnMut(u64)) {
    side.barrier();
    for n in 0..all_trips(trips) {
        pong(n);
    }
}

/// Nanoseconds of a round trip of 8 bytes, both sides spinning.
pub(crate) fn round_trip<L>(setup: &Setup, link: &L, trips: u64) -> Result<f64>
where
    L: Link<u64, Tx: Tx<u64>, Rx: Rx<u64>>,
{
    let trips = setup.count(trips);
    let outcome = run(
        setup,
        L::MODE,
        &[
            &|side| {
                let (mut there, mut back) = link.ends(0, 1);
                initiate(side, trips, |n| {
                    send(&mut there, n);
                    recv(&mut back)
                });
            },
            &|side| {
                let (mut back, mut there) = link.ends(1, 0);
                answer(side, trips, |_| {
                    let n = recv(&mut there);
                    send(&mut back, n);
                });
            },
        ],
    )?;
    Ok(outcome.value(0))
}

/// One side alone: puts the nanoseconds of one `work`, the median of short loops like those of a round trip.
pub(crate) fn repeat(setup: &Setup, times: u64, work: &(dyn Fn() + Sync)) -> Result<f64> {
    let times = setup.count(times);
    let outcome = run(
        setup,
        Mode::Processes,
        &[&|side| {
            initiate(side, times, |n| {
                work();
                n
            });
        }],
    )?;
    Ok(outcome.value(0))
}

/// How long a measurement of throughput takes, at most: about 30 ms.
pub(crate) const SPAN: u64 = 30_000_000;

/// A side of a measurement of throughput: `pass` moves so many messages. What a first, short pass needed tells how
/// many fit into the time, so that a machine in a bad state is not slow as well.
pub(crate) fn paced(side: &Side<'_>, most: u64, mut pass: impl FnMut(u64)) {
    let few = most / 16;
    side.barrier();
    let start = cpu::now();
    pass(few);
    let fit = few.saturating_mul(SPAN) / (cpu::now() - start).max(1);
    let count = side.agree((fit / 8192).clamp(1, most / 8192) * 8192);
    side.timed(|| pass(count));
}

/// Millions a second, of what was paced.
pub(crate) fn per_second(outcome: &Outcome) -> f64 {
    float(outcome.agreed()) * 1000.0 / outcome.elapsed()
}

/// Millions of messages a second, one at a time.
pub(crate) fn single<T: Message, L>(setup: &Setup, link: &L, most: u64) -> Result<f64>
where
    L: Link<T, Tx: Tx<T>, Rx: Rx<T>>,
{
    let most = setup.count(most);
    let outcome = run(
        setup,
        L::MODE,
        &[
            &|side| {
                let mut tx = link.tx(0);
                paced(side, most, |count| {
                    for n in 0..count {
                        send(&mut tx, T::numbered(n));
                    }
                });
            },
            &|side| {
                let mut rx = link.rx(0);
                paced(side, most, |count| {
                    let mut wrong = 0;
                    for n in 0..count {
                        wrong |= recv(&mut rx).difference(n);
                    }
                    assert_eq!(wrong, 0, "another sequence than was sent");
                });
            },
        ],
    )?;
    Ok(per_second(&outcome))
}

/// Millions of messages a second, at most `batch` in one publication and one release.
pub(crate) fn batch<L>(setup: &Setup, link: &L, most: u64, batch: u64) -> Result<f64>
where
    L: Link<u64, Tx: BatchTx, Rx: BatchRx>,
{
    let most = setup.count(most);
    assert_eq!(most / 16 % batch, 0, "whole batches only");
    let outcome = run(
        setup,
        L::MODE,
        &[
            &|side| {
                let mut tx = link.tx(0);
                paced(side, most, |count| {
                    for first in (0..count).step_by(usize::try_from(batch).expect("a small number")) {
                        let mut sent = 0;
                        let mut spin = Spin::default();
                        while sent < batch {
                            match tx.send_some(first + sent, batch - sent) {
                                0 => spin.wait(),
                                some => sent += some,
                            }
                        }
                    }
                });
            },
            &|side| {
                let mut rx = link.rx(0);
                paced(side, most, |count| {
                    let (mut received, mut sum) = (0, 0_u64);
                    let mut spin = Spin::default();
                    while received < count {
                        match rx.recv_some(batch.min(count - received)) {
                            (0, _) => spin.wait(),
                            (some, part) => {
                                received += some;
                                sum = sum.wrapping_add(part);
                            }
                        }
                    }
                    assert_eq!(sum, sum_below(count), "another sum than was sent");
                });
            },
        ],
    )?;
    Ok(per_second(&outcome))
}

/// 0 + 1 + ... + (n - 1).
pub(crate) fn sum_below(n: u64) -> u64 {
    n.wrapping_mul(n.wrapping_sub(1)) / 2
}

/// `count` messages, each sent and received before the next, in one thread: what callgrind counts.
#[inline]
fn pairs(tx: &mut impl Tx<u64>, rx: &mut impl Rx<u64>, count: u64) {
    let mut wrong = 0;
    for n in 0..count {
        wrong |= u64::from(!tx.try_send(black_box(n)));
        wrong |= rx.try_recv().map_or(1, |got| got ^ n);
    }
    assert_eq!(wrong, 0, "another sequence than was sent");
}

/// Sends and receives `count` messages in this thread.
pub(crate) fn count_pairs<L>(link: &L, count: u64)
where
    L: Link<u64, Tx: Tx<u64>, Rx: Rx<u64>>,
{
    let (mut tx, mut rx) = link.ends(0, 0);
    pairs(&mut tx, &mut rx, count);
}

/// Nanoseconds of a send and a receive in one thread.
pub(crate) fn pair<L>(setup: &Setup, link: &L, count: u64) -> Result<f64>
where
    L: Link<u64, Tx: Tx<u64>, Rx: Rx<u64>>,
{
    let count = setup.count(count);
    let outcome = run(
        setup,
        Mode::Processes,
        &[&|side| {
            let (mut tx, mut rx) = link.ends(0, 0);
            pairs(&mut tx, &mut rx, count / 8);
            side.timed(|| pairs(&mut tx, &mut rx, count));
        }],
    )?;
    Ok(outcome.elapsed() / float(count))
}
