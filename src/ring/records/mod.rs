//! Bytes with boundaries, one sender, one receiver: each record of any length is there as a whole or not at all.
//!
//! # Answers
//! "What is the oldest record that was not consumed yet, and who has sent it?" without a read-modify-write, without a
//! system call while both sides keep up, and whoever was killed where. It is what a pipe gives for writes of up to
//! `PIPE_BUF` bytes, and a `SOCK_SEQPACKET` socket at the price of two copies by the kernel.
//!
//! ```
//! use outlive::{Segment, ring::records};
//!
//! let segment = Segment::heap(1 << 16)?; // or Segment::open_or_create("shm:lines", 1 << 16)?
//! let ring: records::Ring = records::Ring::open_or_create(&segment, "lines", 4096)?;
//! let mut sender = ring.try_sender()?;
//! let worker = std::thread::spawn(move || {
//!     let mut receiver = ring.try_receiver()?;
//!     let mut words = 0;
//!     let mut line = Vec::new();
//!     while receiver.recv(&mut line).is_ok() {
//!         words += line.split(|byte| *byte == b' ').count();
//!     }
//!     Ok::<_, outlive::Error>(words)
//! });
//! sender.send(b"it was the best of times,")?;
//! sender.send(b"it was the worst of times")?;
//! sender.close();
//! assert_eq!(worker.join().unwrap()?, 12);
//! # Ok::<(), outlive::Error>(())
//! ```
//!
//! # Guarantees
//! * A record is in the ring from one store on (`send`, `commit`), and leaves it by one store (`recv`, `release`). Before
//!   the store nothing happened, whoever dies. A record is never torn, whatever its length.
//! * A dead end is succeeded: the successor goes on where the dead one stopped, and knows how many records there were.
//!   Nothing that was committed is lost; nothing that was released comes again.
//! * `recv` commits before it returns: a death afterwards loses the record with the process. `read` and `release` commit
//!   when you say so: a death before it means that the successor gets the record again.
//! * Whatever a peer writes into the words and bytes below, operations return an error or wrong bytes, and never fault,
//!   hang or panic; a length that cannot be is `Corrupt`, and makes nobody read or allocate more than the ring has.
//! * Bytes behind the end of a record are zero: what was there before is not sent along.
//!
//! # Layout
//! ```text
//!    0          128     256     384           512             640      768      896        1024, or 4096
//!    | constants | tail  | head  | sender's    | receiver's    | items   | space  | reserved | frames ...
//!    |           |       |       | role        | role          |         |        |          |
//!      creator     sender  recv.   who may send  who may recv.   receiver  sender   zero       head .. tail, mod capacity
//!                                                                sleeps    sleeps
//!
//!    constants:  magic, version, capacity, whether it is mirrored, offset of the frames, bytes in all, 0, 0
//!    tail, head: positions in bytes, which begin at 2^62, and two marks: see the table of crashes
//!    role:       0 epoch:32 | state:8 | owner:24      8 eventcount of those who wait for the role
//!
//!    frame:      0                                    8                                        a multiple of 8
//!                | length:32 | kind:8 | owner:24      | bytes of the record                    zeros |
//!    kind:       1 record, of the attachment `owner`
//!                2 pad: nothing, up to the end of the area; owner 0
//! ```
//! A frame begins at a multiple of 8. What becomes of one that does not fit before the end of the area is the creator's
//! choice:
//!
//! | ring     | where                                    | at the end of the area                          | longest record        |
//! |----------|------------------------------------------|-------------------------------------------------|-----------------------|
//! | mirrored | files and memfds in pages of 4096 bytes, capacity of a page or more | frames go on at its beginning, and lie in one piece for whoever maps the area twice, back to back | capacity - 8 |
//! | plain    | everywhere else                          | a pad, and the frame at the beginning; both are published by one store | capacity / 2 - 8 |
//!
//! An attachment that cannot map a mirrored ring twice (a copy on the heap) sends pads as well, and reads in two pieces.
//!
//! # Invariants
//! B-I1  The bytes of the area are copied as words of 8 bytes whose alignment is that of a byte, through `Slots`; in place
//!       they are used in mode `Trusted` only. Checked and trusted handles on one ring meet only where somebody has
//!       vouched, by `Segment::trust`, that all keep the protocol, which keeps their accesses apart.
//! B-I2  A word's index is taken modulo the capacity, and so many words in a row follow it as are mapped: no argument,
//!       whatever a peer made of it, leads out of the area.
//! B-I3  `head <= tail <= head + capacity`, modulo 2^64, in bytes. Frames at positions head..tail are the receiver's; the rest
//!       is the sender's. An end works on positions from its own to its limit only.
//! B-I4  An end's position is a multiple of 8: checked when the role is taken, and kept by every frame.
//! B-I5  The header of a frame is read once. Its length is used only if the frame lies within what the sender has
//!       published, and, in a plain ring, before the end of the area.
//! B-I6  What is copied to is the caller's, has room for so many words, and only bytes are written there.
//!
//! # Algorithm
//! ```text
//! send:  room for pad and frame? else slow path -> bytes, header, header of the pad -> mark -> tail -> W in `items`? wake
//! recv:  a word ready? else slow path -> header, once: plausible, or a pad and then plausible, or `Corrupt` for good
//!        -> bytes -> mark -> head -> W in `space`? wake
//! ```
//! The slow path, and everything about roles, closing, waiting and forks, is that of all rings with two ends: see
//! [`spsc`](super::spsc). A grant that is committed with fewer bytes than it has room for is a shorter frame.
//!
//! **Progress.** In a plain ring a frame has at most half the capacity. A pad is shorter than the frame that did not fit;
//! both together are less than the capacity, so that there is room for them once the ring is empty.
//!
//! # Orderings
//! Own position: stored with Release, after the last use of what it gives away; the peer's: loaded with Acquire. Headers are
//! payload: they have no order of their own. The tables of orderings stand in the private modules `end` and `lease`, which
//! all rings with two ends share.
//!
//! # Crashes
//! | dies                                       | left                  | seen by            | outcome                                | held by |
//! |--------------------------------------------|-----------------------|--------------------|----------------------------------------|---------|
//! | sender, before its position is published   | bytes, headers and a mark where nobody looks | nobody             | never sent; the successor writes over them | `kill "records try_send"` |
//! |                                            |                       |                    |                                        | `kill "records send, behind a pad"` |
//! | sender, after it, before the wake          | a record              | receiver           | received, after a slice at the latest  | `kill "records send, empty, to a sleeper"` |
//! |                                            |                       |                    |                                        | `loom event::a_sleeping_receiver_outlives_*` |
//! | sender, in a grant                         | bytes where nobody looks | nobody             | never sent                             | `kill "records grant, dropped"` |
//! |                                            |                       |                    |                                        | `kill "records commit, shrunk"` |
//! | receiver, before its position is published | the record            | its successor      | received again                         | `kill "records try_recv"` |
//! |                                            |                       |                    |                                        | `kill "records release, crossing"` |
//! | receiver, after it, before the wake        | room                  | sender             | used, after a slice at the latest      | `kill "records recv from a sleeper"` |
//! |                                            |                       |                    |                                        | `loom event::a_sleeping_sender_outlives_*` |
//! | either, between mark and position          | a mark of a position that is not published | its successor      | takes the count from the other mark    | `loom records::one_of_two_claimants_*` |
//! | either, with its role                      | OPEN, of the dead     | peer, successor, sweep | `PeerDied`, or taken over              | `kill "records roles taken over"` |
//! |                                            |                       |                    |                                        | `unit ring::records::tests::ends::a_dead_sender_*` |
//!
//! # Limits
//! 64 to 2^31 bytes. The sender of a record is a stamp that the sender itself has written: true of whom you trust.
//!
//! # Where it is tested
//! `loom-tests/tests/records.rs` (orderings, deaths at every write, counts), `models/tests/records.rs` (every order of steps,
//! what a successor finds), `fuzz/fuzz_targets/byte_ring_ops.rs` (against a queue, with deaths), the tests of this module
//! (corrupt words and headers, pads and crossings at every offset, the wrap of positions).

mod area;
mod check;
mod guards;
mod layout;
mod receiver;
mod ring;
mod sender;
#[cfg(all(test, not(loom)))]
mod tests;

pub use super::Stats;
pub use super::wait::Wait;
pub use guards::{Grant, Record};
pub use receiver::Receiver;
pub(crate) use ring::KIND;
pub use ring::{Config, Ring};
pub use sender::Sender;
