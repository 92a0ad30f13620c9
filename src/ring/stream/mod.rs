//! Bytes without boundaries, from one process to another: a pipe in shared memory, which survives both.
//!
//! # Answers
//! "Which byte comes next?" by position since the ring was created, whoever was killed where; without a system call while
//! both sides keep up.
//!
//! ```
//! use outlive::{Segment, ring::stream};
//! use std::io::{Read, Write};
//!
//! let segment = Segment::heap(1 << 20)?; // or Segment::open_or_create("shm:log", 1 << 20)?
//! let ring = stream::Ring::open_or_create(&segment, "log", 1 << 16)?;
//! let mut writer = ring.try_writer()?;
//! let worker = std::thread::spawn(move || {
//!     let mut text = String::new();
//!     ring.try_reader()?.read_to_string(&mut text)?;
//!     Ok::<_, std::io::Error>(text)
//! });
//! for number in 1..=3 {
//!     writeln!(writer, "line {number}")?;
//! }
//! writer.close();
//! assert_eq!(worker.join().unwrap()?, "line 1\nline 2\nline 3\n");
//! # Ok::<(), std::io::Error>(())
//! ```
//!
//! # Guarantees
//! * A byte is in the ring from one store on, which commits a part of up to 64 KiB, and leaves it by one store. Before the
//!   store nothing happened, whoever dies.
//! * A dead end is succeeded: the successor goes on at the very byte where the dead one stopped, and
//!   [`Writer::position`], [`Reader::position`] say which one this is. Nothing that was committed is lost; nothing that
//!   was released comes again.
//! * The end of the stream and a death are told apart: `read` gives 0 only if the writer has closed.
//! * Whatever a peer writes into the words below, operations return an error or wrong bytes, and never fault, hang or
//!   panic.
//!
//! # Layout
//! ```text
//!    0          128     256     384       512       640      768      896        1024
//!    | constants | tail  | head  | writer's | reader's | items   | space  | reserved | bytes ...
//!    |           |       |       | role     | role     |         |        |          |
//!      creator    writer  reader             reader     writer   zero       head .. tail, mod capacity
//!                                            sleeps     sleeps
//!
//!    constants:  magic, version, capacity, offset of the first byte, bytes in all
//!    role:       0 epoch:32 | state:8 | owner:24      8 eventcount of those who wait for the role
//!    tail, head: positions, which count bytes and begin at 2^62
//! ```
//! A line is 128 bytes: what one side writes, the other side's lines are not. Each side keeps its position and limit in
//! private memory: nothing that indexes a byte is read from the ring.
//!
//! # Invariants
//! R-I1  The bytes of a stream are used by streams: the directory compares kinds. Checked and trusted handles on one ring
//!       meet only where somebody has vouched, by `Segment::trust`, that all keep the protocol, which keeps their
//!       accesses apart.
//! R-I2  `head <= tail <= head + capacity`, modulo 2^64. Bytes at positions head..tail are committed, and the reader's; the
//!       others are the writer's. An end works on positions from its own to its limit only.
//! R-I7  What a reader copies to is its caller's, and only bytes are written there.
//! R-I9  What the kernel copies into the ring or out of it, in `fill_from` and `drain_to`, are accesses of another process,
//!       as far as the language is concerned: no access of our program stands for them, so that nothing that others do to
//!       these bytes meanwhile can race with one. The call gets an address and a length of R-I2, in memory that is mapped
//!       as long as the end lives; when it returns, the kernel is through. In mode `Trusted` nobody else uses the bytes
//!       meanwhile, by the protocol, and no reference to them exists, since the guards borrow the end.
//!
//! # Algorithm
//! ```text
//! write:      position == limit? slow path -> for each part: copy it, tail += its length, W in `items`? wake
//! read:       position == limit? slow path -> for each part: copy it, head += its length, W in `space`? wake
//! fill_from:  position == limit? slow path -> read(2) up to the end of the ring or of a part -> tail += what it gave
//! drain_to:   position == limit? slow path -> write(2), likewise -> head += what it took
//! slow:       may I act (not forked, not killed)? -> limit anew from the peer's position -> enough now: go on
//!             peer's role, verdict (is it dead?), then its position once more: what it did before it ended is not lost
//! ```
//! **Parts.** One commit of all that fits would make the two sides take turns: one copies while the other waits. In parts
//! of a quarter of the ring, 4 KiB to 64 KiB, they work at the same time, a part apart. The first part wakes a peer that
//! sleeps, and the later ones find nobody to wake. A peer that is much faster sleeps again after each part: one wake-up for
//! 64 KiB at most. To wake it later, when half of the ring is free, would save some of them, and keep it asleep for
//! a slice whenever this end stops to read in between.
//!
//! **Closing, forks.** As in [`spsc`](super::spsc).
//!
//! # Orderings
//! Own position: stored with Release, after the last use of what it gives away; the peer's: loaded with Acquire. The tables of
//! orderings stand in the private modules `end` and `lease`, which all rings with two ends share. A system call orders what
//! the kernel copies before what follows it, and after what precedes it.
//!
//! # Crashes
//! | dies                                       | left                  | seen by            | outcome                                | held by |
//! |--------------------------------------------|-----------------------|--------------------|----------------------------------------|---------|
//! | writer, before R2 of a part                | bytes in free room    | nobody             | never written; the successor writes over them | `kill "stream try_write"` |
//! | writer, between two parts                  | the first of them     | reader, successor  | read; `position` tells the successor   | `kill "stream write, in parts"` |
//! | writer in `fill_from`, before R2           | bytes in free room; the descriptor has moved on | nobody             | never written; the successor seeks to `position` | `kill "stream fill_from"` |
//! |                                            |                       |                    |                                        | `conformance streams::files_are_copied_*` |
//! | writer, after R2, before the wake          | bytes                 | reader             | read, after a slice at the latest      | `kill "stream write to a sleeper"` |
//! | reader, before R2                          | the bytes             | its successor      | read again                             | `kill "stream try_read"` |
//! |                                            |                       |                    |                                        | `kill "stream release_first"` |
//! | reader in `drain_to`, before R2            | the bytes; and some at the descriptor | its successor      | truncates to `position`, and writes them again | `kill "stream drain_to"` |
//! |                                            |                       |                    |                                        | `conformance streams::files_are_copied_*` |
//! | reader, after R2, before the wake          | room                  | writer             | used, after a slice at the latest      | `kill "stream read from a sleeper"` |
//! | writer, between the reader's look at `tail` and its verdict | bytes                 | reader             | found by the look after the verdict    | `loom stream::a_successor_of_the_writer_*` |
//! | either, with its role                      | OPEN, of the dead     | peer, successor, sweep | `BrokenPipe`, or taken over            | `kill "stream roles taken over"` |
//! |                                            |                       |                    |                                        | `unit ring::stream::tests::ends::a_death_is_no_end_*` |
//! |                                            |                       |                    |                                        | `unit ring::stream::tests::ends::a_dead_reader_*` |
//! | either, while it sleeps                    | W                     | its peer           | one vain wake                          | `kill "stream read, empty"` |
//! |                                            |                       |                    |                                        | `kill "stream write, full"` |
//! | whoever closes, before its alarm           | CLOSED                | peer               | seen when it is stuck, or after a slice | `kill "stream writer closes"` |
//! |                                            |                       |                    |                                        | `kill "stream reader closes"` |
//!
//! # Speed
//! Two processes on two processors with 2 MiB of second-level cache each, 64 KiB a call, GB/s in one run: a pipe 1.8, a
//! UNIX stream socket 4.3; this through 64 KiB 6.9, 256 KiB 11, 1 MiB 12, 4 MiB 14, 8 MiB 17, 32 MiB 14. So bytes go fastest
//! when they have left the writer's cache before the reader comes. Parts of 8 to 128 KiB differ by less than runs do.
//! `fill_from` a cached file and `drain_to` /dev/null take 0.22 to 0.25 of `cat FILE | cat > /dev/null` through 256 KiB,
//! 0.3 through 1 MiB, 0.35 through 4 MiB: there is one copy only, and it stays in the cache.
//!
//! # Limits
//! No more than 2^31 bytes at a time. No asynchronous transfer: when a call returns, nobody is under way in the ring. No
//! descriptor to poll: a ring has none. Sleeping needs the futex; where membarrier is refused, sleepers look once a
//! millisecond.
//!
//! # Where it is tested
//! `loom-tests/tests/stream.rs` (orderings, deaths at every write, roles), `fuzz/fuzz_targets/byte_ring_ops.rs` (against
//! a queue of bytes, with deaths), `tests/stream.rs` (processes that are killed), the tests of this module (corrupt words, the wrap of positions,
//! descriptors of all kinds).

use core::time::Duration;
use std::io;

use crate::error::Error;
use crate::ring::end::Waiting;

mod check;
mod data;
mod guards;
mod layout;
mod reader;
mod ring;
#[cfg(all(test, not(loom)))]
mod tests;
mod writer;

pub use super::Stats;
pub use super::wait::Wait;
pub use guards::{Bytes, Grant};
pub use reader::Reader;
pub(crate) use ring::KIND;
pub use ring::{Config, Ring};
pub use writer::Writer;

/// What a time-out of `set_timeout` means to the ends.
fn waiting(timeout: Option<Duration>) -> Waiting {
    match timeout {
        Some(Duration::ZERO) => Waiting::No,
        other => Waiting::For(other),
    }
}

/// Nothing to be had within the time given.
fn late(waiting: Waiting, error: Error) -> io::Error {
    match waiting {
        Waiting::No => error.into(),
        Waiting::For(_) => io::Error::new(io::ErrorKind::TimedOut, error),
    }
}
