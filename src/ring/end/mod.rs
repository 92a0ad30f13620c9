//! One end of a ring that has two, whatever it carries: positions, waiting, verdicts, and the way out.
//!
//! # Answers
//! "How far may I go, and if no farther: why not?" for a sender and a receiver who share a few words, and for whoever comes
//! after one of them. What a position counts is the ring's: messages ([`spsc`](super::spsc)), or bytes.
//!
//! # Layout
//! ```text
//!    0          128     256     384           512             640      768      896        1024
//!    | constants | tail  | head  | sender's    | receiver's    | items   | space  | reserved | what the ring carries ...
//!    |           |       |       | role        | role          |         |        |          |
//!      creator     sender  recv.   who may send  who may recv.   receiver  sender   zero
//!                                                                sleeps    sleeps
//!
//!    tail, head: 0 position   8 mark { position, count }   24 mark { position, count }
//!    role:       0 epoch:32 | state:8 | owner:24      8 eventcount of those who wait for the role
//! ```
//! The two ends are mirror images. Each works from its own position up to its limit, publishes its position, and looks
//! at its peer's only when the limit is reached; [`Side`] says which words these are.
//!
//! # Invariants
//! R-I2  `head <= tail <= head + capacity`, modulo 2^64. What lies at positions head..tail is the receiver's; the rest is
//!       the sender's. An end works on positions from its own to its limit only.
//! R-I3  Only the sender's role writes `tail`, only the receiver's `head`, and neither goes back.
//! R-I4  What an end has computed its limit from was plausible: not behind, not farther than the ring is long.
//! R-I5  An end's hot words lie in its hot cell, which lives as long as the end, and are atomics.
//! R-I6  An end's header lies in the region that its object keeps mapped, was verified, and is atomics.
//! R-I8  Of the two marks of an end that uses them, one belongs to the published position; the other one is written
//!       before the next position is published, and then belongs to that.
//!
//! # Algorithm
//! ```text
//! send:     position == limit? slow path -> store the value -> tail = position + 1 -> W in `items`? wake
//! recv:     position == limit? slow path -> load the value  -> head = position + 1 -> W in `space`? wake
//! slow:     may I act (not forked, not killed)? -> limit anew from the peer's position -> enough now: go on
//!           peer's role, verdict (is it dead?), then its position once more: what it did before it ended is not lost
//! ```
//! **Marks.** Where positions are bytes, users want to know how many records there were. The count stands beside the
//! position, twice: the sender of record n writes mark n mod 2, and then publishes. Whoever takes over looks for the mark
//! of the position that is published: the last holder died before the publication, and the older mark is it; or after it.
//!
//! **Closing.** A receiver that closes is to be noticed by a sender that has room (`EPIPE`), which looks at nothing but its
//! private limit and `items`. So the alarm sets W there: the sender's next message finds W, goes to wake a receiver, and
//! forgets its limit; the message after that takes the slow path, and finds the role CLOSED. No instruction was added.
//!
//! **Forks.** Position and limit lie in memory that `fork` wipes. In a child both are 0, there is no slot, and the slow
//! path asks the attachment. A guard commits only what lies within the limit: in a child nothing.
//!
//! # Orderings
//! | tag | operation                        | order            | pairs  | because                                                |
//! |-----|----------------------------------|------------------|--------|--------------------------------------------------------|
//! | R1  | constants, first positions       | Relaxed          | -      | ordered by the directory's entry, Release to Acquire   |
//! | R2  | publish own position             | Release          | R3     | sender: the bytes before the tail that names them; receiver: the last use of a slot before it is free |
//! | R3  | read the peer's position         | Acquire          | R2     | see R2                                                 |
//! | R4  | read own position at take-over   | Acquire          | R2     | the last holder's. Its role, or its death, orders it already: this is for readers |
//! | R5  | look whether the peer has moved  | Relaxed          | -      | a hint: R3 follows                                     |
//! | R6  | positions of marks               | Relaxed          | R2, R4, R7 | ordered by the position that they belong to; for who only looks, by the count |
//! | R7  | counts of marks                  | Release, Acquire | R7     | who only looks, and reads a newer count, finds the mark's position changed, and what was received was sent |
//!
//! R2, R3 and the Acquire of R7 made Relaxed fail in `loom-tests` (`spsc`, `looks`). No model is known to tell R4, R3 at a
//! take-over, and the Release of R7 from Relaxed: see R4; what a take-over reads of its peer is only compared, and read again
//! before it is used; and a barrier lies between one publication and the next mark.
//!
//! Between R2 and the look for sleepers, and between announcing a sleeper and R3, lie the eventcount's barriers. Roles
//! have a table of their own, in `lease`.
//!
//! # Crashes
//! | dies                                       | left                  | seen by            | outcome                                | held by |
//! |--------------------------------------------|-----------------------|--------------------|----------------------------------------|---------|
//! | sender, before R2                          | bytes where nobody looks, a mark of a position that is not published | nobody             | never sent; the successor writes over both | `loom spsc::a_successor_of_the_sender_*` |
//! |                                            |                       |                    |                                        | `loom records::one_of_two_claimants_*` |
//! | sender, after R2, before the wake          | a message             | receiver           | received, after a slice at the latest  | `loom event::a_sleeping_receiver_outlives_*` |
//! | receiver, before R2                        | the messages, a mark as above | its successor      | received again                         | `loom spsc::a_successor_of_the_receiver_*` |
//! |                                            |                       |                    |                                        | `loom records::a_successor_of_the_receiver_*` |
//! | receiver, after R2, before the wake        | room                  | sender             | used, after a slice at the latest      | `loom event::a_sleeping_sender_outlives_*` |
//! | sender, between the receiver's look at `tail` and its verdict | a message             | receiver           | found by the look after the verdict    | `loom spsc::a_successor_of_the_sender_*` |
//! | either, with its role                      | OPEN, of the dead     | peer, successor, sweep | `PeerDied`, or taken over              | `kill "spsc roles taken over"` |
//! |                                            |                       |                    |                                        | `unit ring::spsc::tests::ends::a_death_is_told_*` |
//! | either, while it sleeps                    | W                     | its peer           | one vain wake                          | `kill "spsc recv_timeout, empty"` |
//! |                                            |                       |                    |                                        | `kill "spsc send_timeout, full"` |
//! |                                            |                       |                    |                                        | `unit sync::event::tests::a_left_over_is_cleared_*` |
//! | whoever closes, before its alarm           | CLOSED                | peer               | seen when it is stuck, or after a slice | `loom event::a_sleeping_receiver_outlives_*` |
//! |                                            |                       |                    |                                        | `loom event::a_sleeping_sender_outlives_*` |

use core::fmt;
use core::marker::PhantomData;
use core::ptr::NonNull;
use core::time::Duration;

use crate::error::{Error, Fault, Result};
use crate::ring::lease::{Lease, State};
use crate::ring::position::{self, index, is_exhausted, is_plausible, ready, until_wrap};
use crate::ring::wait::Wait;
use crate::segment::directory::ObjectHandle;
use crate::segment::{Attached, HotCell, Owner};
use crate::shim::clock::Deadline;
use crate::shim::{self, Ordering, PrivateU64};
use crate::sync::Seen;
use crate::sync::Spins;

mod check;
mod header;
mod side;
mod stuck;

pub(super) use check::{Expected, check_constants, check_marks, check_positions, check_roles, header_of};
pub(super) use header::{Header, Track, sweep};
pub(super) use side::{Receiving, Sending, Side};
pub(super) use stuck::{Stuck, Waiting};

/// Words of the hot cell. They are wiped in this order and read in the other one: whoever sees a position that was wiped
/// sees the other words wiped, too.
///
/// 1 until it is wiped: for what has no limit to compare.
const HERE: usize = 0;
const LIMIT: usize = 1;
const POSITION: usize = 2;

/// How many bytes ahead of its position a sender fetches what it is going to write: as far as small messages come while a
/// line is on its way.
const AHEAD: u64 = 1024;

/// The position that an operation works on.
#[derive(Clone, Copy, Debug)]
pub(in crate::ring) struct Turn {
    hot: NonNull<[PrivateU64; 16]>,
    pub(in crate::ring) position: u64,
}

/// How long to wait for a role.
#[derive(Clone, Copy, Debug)]
pub(in crate::ring) enum Patience {
    None,
    Until(Option<Duration>),
}

/// Who fetches the lines of the next message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ahead {
    WhileWaiting,
    BySender,
}

/// An end of a ring, and the right to it.
pub(in crate::ring) struct End<S: Side> {
    /// R-I5: position and limit, in `cell`. That is memory which fork and `testing::kill` wipe: then no slot is left, and the
    /// slow path asks the attachment. The fast path pays nothing for it.
    hot: NonNull<[PrivateU64; 16]>,
    /// R-I6: in the region that `object` keeps mapped; a verified header.
    header: NonNull<Header>,
    mask: u64,
    /// Slot 0, and how far it is from the next: where to look ahead.
    slots: (NonNull<u8>, usize),
    ahead: Ahead,
    /// How far the limit may go beyond the position without a closer look: the capacity; 0 after an alarm.
    reach: u64,
    asymmetric: bool,
    how: Wait,
    succeeded: bool,
    left: bool,
    spins: Spins,
    /// How many units the operation under way cannot do without.
    need: u64,
    /// Since when nothing has happened.
    since: Option<Duration>,
    /// Final.
    fault: Option<Fault>,
    lease: Lease,
    object: ObjectHandle,
    cell: HotCell,
    side: PhantomData<S>,
}

// SAFETY: R-I5, R-I6 - both are atomics, which may be used from any thread; slots are only prefetched through
// their address; all else is `Send`. Not `Sync`:
// the hot words have one user at a time.
unsafe impl<S: Side> Send for End<S> {}

impl<S: Side> End<S> {
    /// Takes the role, and goes on where its last holder stopped.
    ///
    /// `capacity`: a power of two. `slots`: where the first position's unit lies, and bytes from each to the next.
    pub(in crate::ring) fn take(
        object: &ObjectHandle,
        capacity: u64,
        slots: (NonNull<u8>, usize),
        patience: Patience,
    ) -> Result<Self> {
        let attached = object.attached();
        attached.check_writable()?;
        let at = object.at();
        let cell = attached.hot_cell()?;
        let header = attached.region().get::<Header>(at)?;
        let role = S::role(header);
        let lease = match patience {
            Patience::None => role.try_take(attached, at)?.map_err(|owner| Error::Busy { owner })?,
            Patience::Until(wait) => role.take(attached, at, &Deadline::after(wait))?,
        };
        let mut end = Self {
            hot: NonNull::from(&*cell),
            header: NonNull::from(header),
            mask: capacity - 1,
            slots,
            ahead: Ahead::WhileWaiting,
            reach: 0,
            asymmetric: attached.asymmetric(),
            how: Wait::default(),
            succeeded: false,
            left: false,
            spins: Spins::new(),
            need: 1,
            since: None,
            fault: None,
            lease,
            object: object.clone(),
            cell,
            side: PhantomData,
        };
        match end.resume() {
            Ok(()) => Ok(end),
            Err(fault) => {
                // Not vacant: then the peer would wait for somebody to come, instead of hearing that nobody will.
                end.leave(State::Died(attached.owner()));
                Err(fault.into())
            }
        }
    }

    /// The positions as the last holder left them. The first operation looks at everything.
    fn resume(&self) -> Result<(), Fault> {
        let position = S::own(self.header()).position().load(Ordering::Acquire); // [R4]
        let peers = S::peers(self.header()).position().load(Ordering::Acquire); // [R3]
        if !is_plausible(position, position, S::limit(peers, self.capacity()), self.capacity()) {
            return Err(self.impossible());
        }
        self.hot()[HERE].set(1);
        self.hot()[LIMIT].set(position);
        self.hot()[POSITION].set(position);
        self.attached().check()
    }

    /// No slot is certain any more: the next operation looks at everything.
    fn expect_alarm(&mut self) {
        self.reach = 0;
        self.hot()[LIMIT].set(self.position());
    }

    #[inline]
    fn hot(&self) -> &[PrivateU64; 16] {
        // SAFETY: R-I5 - `cell` lives as long as this.
        unsafe { self.hot.as_ref() }
    }

    #[inline]
    fn header(&self) -> &Header {
        // SAFETY: R-I6 - mapped while `object` lives, and atomics all through.
        unsafe { self.header.as_ref() }
    }

    #[inline]
    pub(in crate::ring) fn capacity(&self) -> u64 {
        self.mask + 1
    }

    fn attached(&self) -> &Attached {
        self.object.attached()
    }

    fn impossible(&self) -> Fault {
        Fault::Corrupt { what: "the positions of a ring contradict each other", at: self.object.at() }
    }

    /// The next position.
    #[inline]
    pub(in crate::ring) fn position(&self) -> u64 {
        self.hot()[POSITION].get()
    }

    /// How many messages went through this end; 0 in a forked child, and after `testing::kill`.
    pub(in crate::ring) fn count(&self) -> u64 {
        if self.is_here() { position::count(self.position()) } else { 0 }
    }

    /// Whether this is still the process that took the role: not a forked child, not killed.
    #[inline]
    pub(in crate::ring) fn is_here(&self) -> bool {
        self.hot()[HERE].get() != 0
    }

    /// Which slot a position is.
    #[inline]
    pub(in crate::ring) fn slot(&self, position: u64) -> usize {
        index(position & self.mask)
    }

    /// Done with the slot of this turn, and with those before it. This is the commit; then the peer is told.
    #[inline]
    pub(in crate::ring) fn publish(&mut self, Turn { hot, position }: Turn) {
        let next = position.wrapping_add(1);
        // SAFETY: R-I5 - the turn is from this end.
        let words = unsafe { hot.as_ref() };
        words[POSITION].set(next);
        let header = self.header();
        S::own(header).position().store(next, Ordering::Release); // [R2]
        if let Some(seen) = S::notifies(header).look(self.asymmetric) {
            self.wake(seen);
        }
    }

    /// A guard's commit of `n` slots from `position` on. In a forked child, or after `testing::kill`, nothing: 0.
    #[inline]
    pub(in crate::ring) fn publish_some(&mut self, position: u64, n: usize) -> usize {
        if n == 0 || !self.is_here() {
            return 0;
        }
        let last = position.wrapping_add(n as u64 - 1);
        self.publish(Turn { hot: self.hot, position: last });
        n
    }

    /// A guard's commit of `n` units from `position` on, one at least, which are the `count`th of their kind. Counts go up by
    /// one. `false`: as in [`publish_some`](Self::publish_some).
    #[inline]
    pub(in crate::ring) fn publish_counted(&mut self, position: u64, n: u64, count: u64) -> bool {
        if !self.is_here() {
            return false; // the mark is the parent's
        }
        let next = position.wrapping_add(n);
        S::own(self.header()).mark(next, count);
        self.publish(Turn { hot: self.hot, position: next.wrapping_sub(1) });
        true
    }

    /// This end, and the count that belongs to the position that it goes on from, which has to be a multiple of `unit`.
    pub(in crate::ring) fn resume_count(mut self, unit: u64) -> Result<(Self, u64)> {
        let position = self.position();
        match S::own(self.header()).count_at(position) {
            Some(count) if position % unit == 0 => Ok((self, count)),
            _ => {
                let fault = self.corrupt("the position of a ring is not a record's");
                self.leave(State::Died(self.attached().owner())); // as in `take`
                Err(fault.into())
            }
        }
    }

    /// Final: nothing more is to be done through this end. `what` a peer has written cannot be.
    #[cold]
    pub(in crate::ring) fn corrupt(&mut self, what: &'static str) -> Fault {
        if let Err(fault) = self.attached().check() {
            return fault; // wiped meanwhile: then what was read was not ours
        }
        let fault = Fault::Corrupt { what, at: self.object.at() };
        self.fault = Some(fault);
        self.expect_alarm();
        fault
    }

    /// Wakes the peer. It may have raised an alarm instead of sleeping: so the next operation is to look at its role.
    #[cold]
    #[inline(never)]
    fn wake(&mut self, seen: Seen) {
        S::notifies(self.header()).wake(seen, 1);
        self.expect_alarm();
    }

    /// The next position, if its slot is ours.
    #[inline]
    pub(in crate::ring) fn next(&mut self) -> Option<Turn> {
        let hot = self.hot;
        // SAFETY: R-I5 - `cell` lives as long as this.
        let words = unsafe { hot.as_ref() };
        let position = words[POSITION].get();
        if is_exhausted(position, words[LIMIT].get()) {
            let limit = self.peers_limit();
            // Nothing, too much, or an alarm: one comparison.
            if limit.wrapping_sub(position).wrapping_sub(1) >= self.reach {
                return None;
            }
            words[LIMIT].set(limit);
            if words[HERE].get() == 0 {
                words[LIMIT].set(0); // killed while an operation was under way, which has left a position behind the wipe
                return None;
            }
        }
        Some(Turn { hot, position })
    }

    /// Fetches the line of the next slot, so that it comes together with the peer's position and not after it: a round
    /// trip is then one miss each way and not two.
    #[inline]
    fn look_ahead(&self) {
        if self.ahead == Ahead::WhileWaiting {
            let (first, size) = self.slots;
            shim::prefetch(first.as_ptr().wrapping_add(self.slot(self.position()) * size));
        }
    }

    /// For a ring whose senders [look ahead to store](Self::look_ahead_to_store): a receiver that looks ahead while it waits
    /// takes the line away again.
    pub(in crate::ring) fn without_look_ahead(mut self) -> Self {
        self.ahead = Ahead::BySender;
        self
    }

    /// Fetches lines that are written [`AHEAD`] from now, as many as the `n` units of `size` bytes just published took: they
    /// are the peer's too, and a store that waits for its line makes all later ones wait, and the next message with them.
    /// Only where there is room already: else the peer may not have read them yet.
    ///
    /// One way, 64 bytes at a time between two processors: 4 times as many records a second, 8 times as many messages.
    #[inline]
    pub(in crate::ring) fn look_ahead_to_store(&self, n: u64, size: usize) {
        const LINE: usize = 64;
        let (position, ahead) = (self.position(), AHEAD / size as u64);
        if ready(position, self.hot()[LIMIT].get()) < ahead {
            return;
        }
        let n = n.min(ahead);
        let first = self.slot(position.wrapping_add(ahead - n)) * size;
        for at in (0..index(n) * size).step_by(LINE) {
            shim::prefetch_for_store(self.slots.0.as_ptr().wrapping_add(first + at));
        }
    }

    #[inline]
    fn peers_limit(&self) -> u64 {
        let peers = S::peers(self.header()).position().load(Ordering::Acquire); // [R3]
        S::limit(peers, self.capacity())
    }

    /// The next position, and how many slots there are from it: one to `max` in a row; none if `max` is 0.
    #[inline]
    pub(in crate::ring) fn row(&mut self, max: usize, waiting: Waiting) -> Result<(u64, usize), Stuck> {
        let until_wrap = until_wrap(self.position(), self.capacity());
        self.some((max as u64).min(until_wrap), waiting)
    }

    /// The next position, and how many slots there are from it: one to `wanted`, never more than the ring has; none if
    /// `wanted` is 0. A look at the peer only if it could make them more.
    #[inline]
    pub(in crate::ring) fn some(&mut self, wanted: u64, waiting: Waiting) -> Result<(u64, usize), Stuck> {
        let wanted = wanted.min(self.capacity());
        let position = self.position();
        let mut ready = ready(position, self.hot()[LIMIT].get());
        if ready < wanted {
            let limit = self.peers_limit();
            let room = limit.wrapping_sub(position);
            if room == 0 || room < ready || room > self.reach {
                ready = self.stuck_for(1, waiting)?;
            } else {
                self.hot()[LIMIT].set(limit);
                ready = room;
            }
            if !self.is_here() {
                self.hot()[LIMIT].set(0); // killed in between: this was not ours to change
                return Err(self.gone());
            }
        }
        Ok((position, index(ready.min(wanted))))
    }

    /// The next position, and how many units there are from it: `need` (1 to the capacity) or more.
    #[inline]
    pub(in crate::ring) fn at_least(&mut self, need: u64, waiting: Waiting) -> Result<(u64, u64), Stuck> {
        let position = self.position();
        let mut ready = ready(position, self.hot()[LIMIT].get());
        if ready < need {
            let limit = self.peers_limit();
            let room = limit.wrapping_sub(position);
            if room < need || room < ready || room > self.reach {
                ready = self.stuck_for(need, waiting)?;
            } else {
                self.hot()[LIMIT].set(limit);
                ready = room;
            }
            if !self.is_here() {
                self.hot()[LIMIT].set(0); // killed in between: this was not ours to change
                return Err(self.gone());
            }
        }
        Ok((position, ready))
    }

    /// Why an operation that had begun is not to go on: this is not the process that took the role, or it was killed.
    #[cold]
    pub(in crate::ring) fn gone(&self) -> Stuck {
        self.attached().check().err().unwrap_or_else(|| self.impossible()).into()
    }

    /// As [`stuck`](Self::stuck); how many units there are then, at least `need`.
    #[cold]
    #[inline(never)]
    fn stuck_for(&mut self, need: u64, waiting: Waiting) -> Result<u64, Stuck> {
        self.need = need;
        let stuck = self.stuck(waiting);
        self.need = 1;
        let Turn { position, .. } = stuck?;
        Ok(ready(position, self.hot()[LIMIT].get()))
    }

    /// Who has the other end, if its word says that somebody has, dead or alive.
    pub(in crate::ring) fn peer(&self) -> Option<Owner> {
        S::peer_role(self.header()).look().holder()
    }

    pub(in crate::ring) fn set_wait(&mut self, how: Wait) {
        self.how = how;
    }

    pub(in crate::ring) fn wait_for_successor(&mut self, yes: bool) {
        self.succeeded = yes;
    }

    /// The end of this end, `state` being what the others see. Nothing in a forked child, or after `testing::kill`.
    pub(in crate::ring) fn leave(&mut self, state: State) {
        if core::mem::replace(&mut self.left, true) || self.attached().check().is_err() {
            return;
        }
        let role = S::role(self.header());
        if role.leave(&self.lease, state) {
            self.header().alarm();
            role.alarm();
        }
    }
}

impl<S: Side> Drop for End<S> {
    /// Closes, like a pipe; a thread that panics has died.
    fn drop(&mut self) {
        let panicked = std::thread::panicking();
        self.leave(if panicked { State::Died(self.attached().owner()) } else { State::Closed });
    }
}

impl<S: Side> fmt::Debug for End<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("End")
            .field("position", &self.count())
            .field("hot", &self.cell)
            .field("capacity", &self.capacity())
            .field("object", &self.object)
            .finish_non_exhaustive()
    }
}
