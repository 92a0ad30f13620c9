//! One sender, one receiver: the fastest way from one process to another, and it survives both.
//!
//! # Answers
//! "What is the oldest message that was not consumed yet?" without a read-modify-write, without a system call while both
//! sides keep up, and whoever was killed where.
//!
//! ```
//! use outlive::{Segment, ring::spsc};
//!
//! let segment = Segment::heap(1 << 16)?; // or Segment::open_or_create("shm:numbers", 1 << 16)?
//! let ring = spsc::Ring::<u64>::open_or_create(&segment, "numbers", 64)?;
//! let mut sender = ring.try_sender()?;
//! let worker = std::thread::spawn(move || {
//!     let mut receiver = ring.try_receiver()?;
//!     receiver.iter().sum::<Result<u64, _>>().map_err(outlive::Error::from)
//! });
//! for number in 1..=100 {
//!     sender.send(number)?;
//! }
//! sender.close();
//! assert_eq!(worker.join().unwrap()?, 5050);
//! # Ok::<(), outlive::Error>(())
//! ```
//!
//! # Guarantees
//! * A message is in the ring from one store on (`send`, `commit`), and leaves it by one store (`recv`, `release`). Before
//!   the store nothing happened, whoever dies.
//! * A dead end is succeeded: the successor goes on where the dead one stopped. Nothing that was committed is lost;
//!   nothing that was released comes again.
//! * `recv` commits before it returns: a death afterwards loses the value with the process. `read` and `release` commit
//!   when you say so: a death before it means that the successor gets the messages again.
//! * Whatever a peer writes into the words below, operations return an error or wrong values, and never fault, hang or
//!   panic.
//!
//! # Layout
//! ```text
//!    0          128     256     384           512             640      768      896        1024
//!    | constants | tail  | head  | sender's    | receiver's    | items   | space  | reserved | slots ...
//!    |           |       |       | role        | role          |         |        |          |
//!      creator     sender  recv.   who may send  who may recv.   receiver  sender   zero       head .. tail, mod capacity
//!                                                                sleeps    sleeps
//!
//!    constants:  magic, version, capacity, size and align of a message, its schema, offset of slot 0, bytes in all
//!    role:       0 epoch:32 | state:8 | owner:24      8 eventcount of those who wait for the role
//!    tail, head: positions, which begin at 2^62
//! ```
//! A line is 128 bytes: what one side writes, the other side's lines are not. The slots begin at 1024, or at the next
//! multiple of the payload's alignment. Each side keeps its position and limit in private memory: nothing that indexes a
//! slot is read from the ring.
//!
//! # Invariants
//! R-I1  The slots of a ring are used by rings of one payload type: the directory compares schemas. Checked and trusted
//!       handles on one ring meet only where somebody has vouched, by `Segment::trust`, that all keep the protocol, which
//!       keeps their accesses apart.
//! R-I2  `head <= tail <= head + capacity`, modulo 2^64. Slots at positions head..tail hold messages, which are the
//!       receiver's; the others are the sender's. An end works on positions from its own to its limit only.
//! R-I7  What a guard copies to is the caller's, and only values are written there.
//!
//! # Algorithm
//! ```text
//! send:     position == limit? slow path -> store the value -> tail = position + 1 -> W in `items`? wake
//! recv:     position == limit? slow path -> load the value  -> head = position + 1 -> W in `space`? wake
//! slow:     may I act (not forked, not killed)? -> limit anew from the peer's position -> enough now: go on
//!           peer's role, verdict (is it dead?), then its position once more: what it did before it ended is not lost
//! ```
//! **Closing.** A receiver that closes is to be noticed by a sender that has room (`EPIPE`), which looks at nothing but its
//! private limit and `items`. So the alarm sets W there: the sender's next message finds W, goes to wake a receiver, and
//! forgets its limit; the message after that takes the slow path, and finds the role CLOSED. No instruction was added.
//!
//! **Forks.** Position and limit lie in memory that `fork` wipes. In a child both are 0, there is no slot, and the slow
//! path asks the attachment. A guard commits only what lies within the limit: in a child nothing.
//!
//! # Orderings
//! Own position: stored with Release, after the last use of what it gives away; the peer's: loaded with Acquire. The tables of
//! orderings stand in the private modules `end` and `lease`, which all rings with two ends share.
//!
//! # Crashes
//! | dies                                       | left                  | seen by            | outcome                                | held by |
//! |--------------------------------------------|-----------------------|--------------------|----------------------------------------|---------|
//! | sender, before R2                          | bytes in a free slot  | nobody             | never sent; the successor uses the slot | `kill "spsc try_send"` |
//! |                                            |                       |                    |                                        | `kill "spsc try_send_slice"` |
//! | sender, after R2, before the wake          | a message             | receiver           | received, after a slice at the latest  | `kill "spsc send to a sleeper"` |
//! |                                            |                       |                    |                                        | `loom event::a_sleeping_receiver_outlives_*` |
//! | receiver, before R2                        | the messages          | its successor      | received again                         | `kill "spsc try_recv"` |
//! |                                            |                       |                    |                                        | `kill "spsc release"` |
//! | receiver, after R2, before the wake        | room                  | sender             | used, after a slice at the latest      | `kill "spsc recv from a sleeper"` |
//! |                                            |                       |                    |                                        | `loom event::a_sleeping_sender_outlives_*` |
//! | sender, between the receiver's look at `tail` and its verdict | a message             | receiver           | found by the look after the verdict    | `loom spsc::a_successor_of_the_sender_*` |
//! | either, with its role                      | OPEN, of the dead     | peer, successor, sweep | `PeerDied`, or taken over              | `kill "spsc roles taken over"` |
//! |                                            |                       |                    |                                        | `unit ring::spsc::tests::ends::a_death_is_told_*` |
//! | either, while it sleeps                    | W                     | its peer           | one vain wake                          | `kill "spsc recv_timeout, empty"` |
//! |                                            |                       |                    |                                        | `kill "spsc send_timeout, full"` |
//! |                                            |                       |                    |                                        | `unit sync::event::tests::a_left_over_is_cleared_*` |
//! | whoever closes, before its alarm           | CLOSED                | peer               | seen when it is stuck, or after a slice | `kill "spsc sender closes"` |
//! |                                            |                       |                    |                                        | `kill "spsc receiver closes"` |
//! |                                            |                       |                    |                                        | `loom event::a_sleeping_receiver_outlives_*` |
//! |                                            |                       |                    |                                        | `loom event::a_sleeping_sender_outlives_*` |
//!
//! # Limits
//! Values are never dropped. No more than 2^31 slots. Sleeping needs the futex; where membarrier is refused, sleepers look
//! once a millisecond.
//!
//! # Where it is tested
//! `loom-tests/tests/spsc.rs` (orderings, deaths at every write, roles), `loom-tests/tests/event.rs` (sleeping),
//! `models/tests/ends.rs` (every order of the steps of several candidates), `fuzz/fuzz_targets/spsc_ops.rs` (against a
//! queue, with deaths), the tests of this module (corrupt words, the wrap of positions).

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
pub use guards::{Grant, Items};
pub use receiver::Receiver;
pub(crate) use ring::KIND;
pub use ring::{Config, Ring};
pub use sender::Sender;
