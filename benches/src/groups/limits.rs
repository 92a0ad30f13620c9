//! What this machine can do at all, with nothing in between.
//!
//! # Invariants
//!
//! * `I1` In [`stream`], line 0 counts the words written, line 1 the words read, each with one writer; words
//!   `read..written` are the reader's, the others the writer's, as in the reference ring.

use std::hint::black_box;
use std::ptr::{NonNull, null};
use std::slice;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use crate::Result;
use crate::byte_loops;
use crate::case::Case;
use crate::cpu::Spin;
use crate::harness::{Mode, Setup, run};
use crate::loops::{answer, initiate, initiate_to_a_sleeper, paced, per_second, sum_below};
use crate::memory::SharedMemory;
use crate::stats::float;

pub(crate) const LINE_TRIP: &str = "limits/line";
pub(crate) const STREAM_8K: &str = "limits/stream-8k";
pub(crate) const STREAM_256K: &str = "limits/stream-256k";
pub(crate) const CAS: &str = "limits/cas";
pub(crate) const FUTEX_TRIP: &str = "limits/futex";
pub(crate) const MEMCPY: &str = "limits/memcpy";

/// All of them.
pub(crate) fn cases() -> Vec<Case> {
    let limit = |id, case, params| Case::new("limits", id, case, "limit", params);
    vec![
        limit(LINE_TRIP, "cache-line round trip", "two processes, spinning")
            .ns(|setup| line_trip(setup, 10_000)),
        limit(STREAM_8K, "one-way stream", "8 B words, 8 KiB ring, published each 4 KiB")
            .per_second(|setup| stream(setup, 8 << 10)),
        limit(STREAM_256K, "one-way stream", "8 B words, 256 KiB ring, published each 4 KiB")
            .per_second(|setup| stream(setup, 256 << 10)),
        limit(CAS, "CAS pair", "uncontended, one process").ns(cas_pair),
        limit(FUTEX_TRIP, "futex round trip", "two processes, the other one asleep").ns(futex_trip),
        limit(MEMCPY, "memcpy of 1 MiB", "between two buffers of 32 MiB, one process")
            .measured("GB/s", memcpy),
    ]
}

/// Two words, each written by one process and watched by the other.
pub(crate) fn line_trip(setup: &Setup, trips: u64) -> Result<f64> {
    let trips = setup.count(trips);
    let memory = SharedMemory::new(4096)?;
    let wait_for = |word: &AtomicU64, n| {
        let mut spin = Spin::default();
        while word.load(Ordering::Acquire) != n {
            spin.wait();
        }
    };
    let outcome = run(
        setup,
        Mode::Processes,
        &[
            &|side| {
                let (there, back) = (memory.line(0), memory.line(1));
                initiate(side, trips, |n| {
                    there.store(n + 1, Ordering::Release);
                    wait_for(back, n + 1);
                    n
                });
            },
            &|side| {
                let (there, back) = (memory.line(0), memory.line(1));
                answer(side, trips, |n| {
                    wait_for(there, n + 1);
                    back.store(n + 1, Ordering::Release);
                });
            },
        ],
    )?;
    Ok(outcome.value(0))
}

/// The ring of [`stream`] begins here.
const DATA: usize = 4096;
/// Words of one publication: 4 KiB.
const CHUNK: u64 = 512;
const CHUNK_LEN: usize = 512;

/// Millions of words a second, written and read in place.
fn stream(setup: &Setup, ring: usize) -> Result<f64> {
    let most = setup.count(64 << 20);
    let memory = SharedMemory::new(DATA + ring)?;
    let (written, read) = (memory.line(0), memory.line(1));
    let words = ring / size_of::<u64>();
    let capacity = u64::try_from(words)?;
    let chunk_of = |n: u64| -> NonNull<u64> {
        let index = usize::try_from(n % capacity).expect("less than the capacity");
        memory.at(DATA + index * size_of::<u64>(), CHUNK_LEN)
    };
    let write = |from: u64, to: u64| {
        let mut seen = from;
        for n in (from..to).step_by(CHUNK_LEN) {
            let mut spin = Spin::default();
            while n + CHUNK - seen > capacity {
                seen = read.load(Ordering::Acquire);
                if n + CHUNK - seen > capacity {
                    spin.wait();
                }
            }
            // SAFETY: I1: nobody reads these words before they are published.
            let chunk = unsafe { slice::from_raw_parts_mut(chunk_of(n).as_ptr(), CHUNK_LEN) };
            for (word, value) in chunk.iter_mut().zip(n..) {
                *word = value;
            }
            written.store(n + CHUNK, Ordering::Release);
        }
    };
    let read_all = |from: u64, to: u64| {
        let (mut seen, mut sum) = (from, 0_u64);
        for n in (from..to).step_by(CHUNK_LEN) {
            let mut spin = Spin::default();
            while seen < n + CHUNK {
                seen = written.load(Ordering::Acquire);
                if seen < n + CHUNK {
                    spin.wait();
                }
            }
            // SAFETY: I1: these words are published, and not yet given back.
            let chunk = unsafe { slice::from_raw_parts(chunk_of(n).as_ptr(), CHUNK_LEN) };
            sum = chunk.iter().fold(sum, |sum, word| sum.wrapping_add(*word));
            read.store(n + CHUNK, Ordering::Release);
        }
        assert_eq!(sum, sum_below(to).wrapping_sub(sum_below(from)), "another sum than was written");
    };
    let outcome = run(
        setup,
        Mode::Processes,
        &[
            &|side| {
                let mut at = 0;
                paced(side, most, |count| {
                    write(at, at + count);
                    at += count;
                });
            },
            &|side| {
                let mut at = 0;
                paced(side, most, |count| {
                    read_all(at, at + count);
                    at += count;
                });
            },
        ],
    )?;
    Ok(per_second(&outcome))
}

/// Taking and giving back a word that nobody else wants.
fn cas_pair(setup: &Setup) -> Result<f64> {
    let count = setup.count(4 << 20);
    let memory = SharedMemory::new(4096)?;
    let outcome = run(
        setup,
        Mode::Processes,
        &[&|side| {
            let word = black_box(memory.line(0));
            let swap =
                |from, to, success| word.compare_exchange(from, to, success, Ordering::Relaxed).is_ok();
            side.timed(|| {
                let mut taken = 0;
                for n in 0..count {
                    taken += u64::from(swap(0, n | 1, Ordering::Acquire));
                    taken += u64::from(swap(n | 1, 0, Ordering::Release));
                }
                assert_eq!(taken, 2 * count, "somebody else took it");
            });
        }],
    )?;
    Ok(outcome.elapsed() / float(count))
}

fn futex(word: &AtomicU32, operation: i32, value: u32) {
    // SAFETY: the word outlives the call; without a timeout no other pointer is looked at. Failures (EAGAIN,
    // EINTR) mean that the word is to be looked at again, which every caller does.
    unsafe { libc::syscall(libc::SYS_futex, word.as_ptr(), operation, value, null::<libc::timespec>()) };
}

/// The answering side is asleep, the other one falls asleep: what waking costs, at least.
fn futex_trip(setup: &Setup) -> Result<f64> {
    let trips = setup.count(30);
    let memory = SharedMemory::new(4096)?;
    let words = [0, 2048].map(|offset| {
        let place = memory.at::<AtomicU32>(offset, 1);
        // SAFETY: the memory outlives the sides, and any bytes are a valid atomic.
        unsafe { place.as_ref() }
    });
    let tell = |word: &AtomicU32, n: u32| {
        word.store(n, Ordering::Release);
        futex(word, libc::FUTEX_WAKE, 1);
    };
    let wait_for = |word: &AtomicU32, n: u32| {
        loop {
            let seen = word.load(Ordering::Acquire);
            if seen == n {
                return;
            }
            futex(word, libc::FUTEX_WAIT, seen);
        }
    };
    let number = |n: u64| u32::try_from(n + 1).expect("a few hundred trips");
    let [there, back] = words;
    let outcome = run(
        setup,
        Mode::Processes,
        &[
            &|side| {
                initiate_to_a_sleeper(side, trips, |n| {
                    tell(there, number(n));
                    wait_for(back, number(n));
                    n
                });
            },
            &|side| {
                answer(side, trips, |n| {
                    wait_for(there, number(n));
                    tell(back, number(n));
                });
            },
        ],
    )?;
    Ok(outcome.value(0))
}

/// Gigabytes a second of copies of 1 MiB between two buffers that no L2 cache holds.
fn memcpy(setup: &Setup) -> Result<f64> {
    const LENGTH: usize = 1 << 20;
    const PIECES: usize = 32;
    let most = setup.count(4000);
    let outcome = run(
        setup,
        Mode::Processes,
        &[&|side| {
            let (from, mut to) = (vec![1_u8; PIECES * LENGTH], vec![2_u8; PIECES * LENGTH]);
            let mut next = 0;
            byte_loops::paced(side, most, |count| {
                for _ in 0..count {
                    let place = next * LENGTH..(next + 1) * LENGTH;
                    to[place.clone()].copy_from_slice(black_box(&from[place]));
                    next = (next + 1) % PIECES;
                }
            });
            assert_eq!(from[..LENGTH], to[..LENGTH], "a copy that differs");
        }],
    )?;
    Ok(byte_loops::gigabytes(&outcome, LENGTH))
}
