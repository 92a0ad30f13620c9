//! What a look at a ring from outside tells, whatever kind of ring it is.
//!
//! It lies here, below the rings, because the directory hands it out: [`Kind::look`](super::Kind).

use crate::segment::Owner;

/// A look at a ring from outside: true at some moments, which need not be the same for all numbers.
///
/// ```
/// use outlive::{Segment, ring::{self, spsc}};
/// let segment = Segment::heap(1 << 16)?;
/// let ring = spsc::Ring::<u64>::create(&segment, "numbers", 64)?;
/// ring.try_sender()?.send(7)?;
/// let stats = ring::stats(&segment, "numbers")?;
/// assert_eq!((stats.capacity, stats.depth, stats.sent, stats.received), (64, 1, 1, 0));
/// assert_eq!((stats.sender, stats.sender_closed), (None, true));
/// # Ok::<(), outlive::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// What the numbers below count.
    pub unit: Unit,
    /// How many fit.
    pub capacity: u64,
    /// How many are in it.
    pub depth: u64,
    /// How many were committed since the ring was created.
    pub sent: u64,
    /// How many were consumed since.
    pub received: u64,
    /// Who has the sender's role: dead or alive, see [`Segment::is_dead`](crate::Segment::is_dead), until a sweep notes
    /// the death.
    pub sender: Option<Owner>,
    /// Who has the receiver's role, dead or alive.
    pub receiver: Option<Owner>,
    /// Whether the last sender said that it is done.
    pub sender_closed: bool,
    /// Whether the last receiver said that it is done.
    pub receiver_closed: bool,
    /// Who had the sender's role last, if it is noted that it died. A name of the past: it may be another one's by now.
    pub sender_died: Option<Owner>,
    /// Who had the receiver's role last, if it is noted that it died.
    pub receiver_died: Option<Owner>,
    /// How many have had the sender's role so far; more than one: it was taken over, or reopened.
    pub senders: u32,
    /// How many have had the receiver's role so far.
    pub receivers: u32,
}

impl Stats {
    /// Of nothing.
    pub(crate) fn of_none() -> Self {
        Self {
            unit: Unit::Messages,
            capacity: 0,
            depth: 0,
            sent: 0,
            received: 0,
            sender: None,
            receiver: None,
            sender_closed: false,
            receiver_closed: false,
            sender_died: None,
            receiver_died: None,
            senders: 0,
            receivers: 0,
        }
    }
}

/// What [`Stats`] count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Unit {
    /// Messages of one type.
    Messages,
    /// Records: `sent` and `received` count them; `capacity` and `depth` are bytes, headers included.
    Records,
    /// Bytes.
    Bytes,
}
