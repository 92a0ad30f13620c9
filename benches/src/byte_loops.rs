//! The loops of bytes: records and streams, the same ones for us, for every peer and for the kernel's own.
//!
//! Here ends may sleep: what the kernel offers does, and ours may.

use std::io::{Read, Write};

use crate::Result;
use crate::cpu::Spin;
use crate::harness::{Outcome, Setup, Side, run};
use crate::loops::{Link, SPAN, answer, initiate};
use crate::stats::float;

/// Records, one at a time. An end that cannot refuse waits instead.
pub(crate) trait RecordTx {
    /// `false` if there is no room.
    fn try_send(&mut self, record: &[u8]) -> bool;
}

/// Records, one at a time. An end that cannot come back empty waits instead.
pub(crate) trait RecordRx {
    /// The length of the next record, which is copied to the front of `into`.
    fn try_recv(&mut self, into: &mut [u8]) -> Option<usize>;
}

const WORD: usize = size_of::<u64>();

/// Writes the number at both ends of a block of at least a word.
#[inline]
pub(crate) fn mark(block: &mut [u8], n: u64) {
    let last = block.len() - WORD;
    block[..WORD].copy_from_slice(&n.to_le_bytes());
    block[last..].copy_from_slice(&n.to_le_bytes());
}

/// 0 if the block is marked with this number, at both ends.
#[inline]
pub(crate) fn difference(block: &[u8], n: u64) -> u64 {
    let word = |at: usize| u64::from_le_bytes(block[at..at + WORD].try_into().expect("a word"));
    (word(0) ^ n) | (word(block.len() - WORD) ^ n)
}

#[inline]
fn send(tx: &mut impl RecordTx, record: &[u8]) {
    let mut spin = Spin::default();
    while !tx.try_send(record) {
        spin.wait();
    }
}

/// The next record, which must fill the block.
#[inline]
fn recv(rx: &mut impl RecordRx, block: &mut [u8]) {
    let mut spin = Spin::default();
    loop {
        match rx.try_recv(block) {
            Some(length) => return assert_eq!(length, block.len(), "another length than was sent"),
            None => spin.wait(),
        }
    }
}

/// Nanoseconds of a round trip of a record, both sides spinning. Every byte is copied in and out, on both sides.
pub(crate) fn record_trip<L>(setup: &Setup, link: &L, length: usize, trips: u64) -> Result<f64>
where
    L: Link<[u8], Tx: RecordTx, Rx: RecordRx>,
{
    let trips = setup.count(trips);
    let outcome = run(
        setup,
        L::MODE,
        &[
            &|side| {
                let (mut there, mut back) = link.ends(0, 1);
                let (mut question, mut reply) = (vec![0; length], vec![0; length]);
                initiate(side, trips, |n| {
                    mark(&mut question, n);
                    send(&mut there, &question);
                    recv(&mut back, &mut reply);
                    difference(&reply, n) ^ n
                });
            },
            &|side| {
                let (mut back, mut there) = link.ends(1, 0);
                let mut block = vec![0; length];
                answer(side, trips, |_| {
                    recv(&mut there, &mut block);
                    send(&mut back, &block);
                });
            },
        ],
    )?;
    Ok(outcome.value(0))
}

/// Millions of records a second, one at a time, at most `most`.
pub(crate) fn records<L>(setup: &Setup, link: &L, length: usize, most: u64) -> Result<f64>
where
    L: Link<[u8], Tx: RecordTx, Rx: RecordRx>,
{
    let most = setup.count(most);
    let outcome = run(
        setup,
        L::MODE,
        &[
            &|side| {
                let mut tx = link.tx(0);
                let mut block = vec![0; length];
                paced(side, most, |count| {
                    for n in 0..count {
                        mark(&mut block, n);
                        send(&mut tx, &block);
                    }
                });
            },
            &|side| {
                let mut rx = link.rx(0);
                let mut block = vec![0; length];
                paced(side, most, |count| {
                    let mut wrong = 0;
                    for n in 0..count {
                        recv(&mut rx, &mut block);
                        wrong |= difference(&block, n);
                    }
                    assert_eq!(wrong, 0, "another sequence than was sent");
                });
            },
        ],
    )?;
    Ok(float(outcome.agreed()) * 1000.0 / outcome.elapsed())
}

/// Gigabytes a second of a stream, in writes and reads of `length` bytes, at most `most` of them.
pub(crate) fn stream<L>(setup: &Setup, link: &L, length: usize, most: u64) -> Result<f64>
where
    L: Link<[u8], Tx: Write, Rx: Read>,
{
    let most = setup.count(most);
    let outcome = run(
        setup,
        L::MODE,
        &[
            &|side| {
                let mut tx = link.tx(0);
                let mut block = vec![0; length];
                paced(side, most, |count| {
                    for n in 0..count {
                        mark(&mut block, n);
                        tx.write_all(&block).expect("the reader lives");
                    }
                });
            },
            &|side| {
                let mut rx = link.rx(0);
                let mut block = vec![0; length];
                paced(side, most, |count| {
                    let mut wrong = 0;
                    for n in 0..count {
                        rx.read_exact(&mut block).expect("the writer lives");
                        wrong |= difference(&block, n);
                    }
                    assert_eq!(wrong, 0, "other bytes than were written");
                });
            },
        ],
    )?;
    Ok(gigabytes(&outcome, length))
}

/// Gigabytes a second, of `length` bytes each time.
pub(crate) fn gigabytes(outcome: &Outcome, length: usize) -> f64 {
    let bytes = outcome.agreed() * u64::try_from(length).expect("64 bits hold every length");
    float(bytes) / outcome.elapsed()
}

/// As that of messages, for sides that may sleep, and in steps of one: a block may be large.
pub(crate) fn paced(side: &Side<'_>, most: u64, mut pass: impl FnMut(u64)) {
    let few = (most / 16).max(1);
    side.barrier();
    let start = crate::cpu::now();
    pass(few);
    let fit = few.saturating_mul(SPAN) / (crate::cpu::now() - start).max(1);
    let count = side.agree(fit.clamp(1, most));
    side.timed_asleep(|| pass(count));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_is_seen_at_both_ends() {
        let mut block = [0; 24];
        mark(&mut block, 7);
        assert_eq!(difference(&block, 7), 0);
        assert_ne!(difference(&block, 8), 0);
        block[23] ^= 1;
        assert_ne!(difference(&block, 7), 0);
    }
}
