//! One end of a ring, whatever its slots hold: positions, waiting, verdicts, and the way out.
//!
//! The two ends are mirror images. Each works from its own position up to its limit, publishes its position, and looks
//! at its peer's only when the limit is reached; [`Side`] says which words these are.

use core::fmt;
use core::marker::PhantomData;
use core::ptr::NonNull;
use core::time::Duration;

use crate::error::{Error, Fault, Result};
use crate::ring::lease::{Lease, State};
use crate::ring::position::{self, index, is_exhausted, is_plausible, ready, until_wrap};
use crate::ring::wait::{Spins, Wait};
use crate::segment::directory::ObjectHandle;
use crate::segment::{Attached, HotCell, Owner};
use crate::shim::clock::Deadline;
use crate::shim::{self, Ordering, PrivateU64};
use crate::sync::Seen;

use super::layout::{Header, Plan};

mod side;
mod stuck;

pub(super) use side::{Receiving, Sending, Side};
pub(super) use stuck::{Stuck, Waiting};

/// Words of the hot cell. They are wiped in this order and read in the other one: whoever sees a position that was wiped
/// sees the other words wiped, too.
///
/// 1 until it is wiped: for what has no limit to compare.
const HERE: usize = 0;
const LIMIT: usize = 1;
const POSITION: usize = 2;

/// The position that an operation works on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Turn {
    hot: NonNull<[PrivateU64; 16]>,
    pub(super) position: u64,
}

/// How long to wait for a role.
#[derive(Clone, Copy, Debug)]
pub(super) enum Patience {
    None,
    Until(Option<Duration>),
}

/// An end of a ring, and the right to it.
pub(super) struct End<S: Side> {
    /// R-I5: position and limit, in `cell`. That is memory which fork and `testing::kill` wipe: then no slot is left, and the
    /// slow path asks the attachment. The fast path pays nothing for it.
    hot: NonNull<[PrivateU64; 16]>,
    /// R-I6: in the region that `object` keeps mapped; a verified header.
    header: NonNull<Header>,
    mask: u64,
    /// Slot 0, and how far it is from the next: where to look ahead.
    slots: (NonNull<u8>, usize),
    /// How far the limit may go beyond the position without a closer look: the capacity; 0 after an alarm.
    reach: u64,
    asymmetric: bool,
    how: Wait,
    succeeded: bool,
    left: bool,
    spins: Spins,
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
    pub(super) fn take(object: &ObjectHandle, plan: &Plan, patience: Patience) -> Result<Self> {
        let attached = object.attached();
        attached.check()?;
        if attached.owner() == Owner::NOBODY {
            return Err(Error::ReadOnly);
        }
        let at = object.at();
        let cell = attached.hot_cell()?;
        let header = attached.region().get::<Header>(at)?;
        let role = S::role(header);
        let slots = plan.place_of_slots(object)?;
        let lease = match patience {
            Patience::None => role.try_take(attached, at)?.map_err(|owner| Error::Busy { owner })?,
            Patience::Until(wait) => role.take(attached, at, &Deadline::after(wait))?,
        };
        let mut end = Self {
            hot: NonNull::from(&*cell),
            header: NonNull::from(header),
            mask: plan.capacity - 1,
            slots,
            reach: 0,
            asymmetric: attached.asymmetric(),
            how: Wait::default(),
            succeeded: false,
            left: false,
            spins: Spins::new(),
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
        let position = S::own(self.header()).load(Ordering::Acquire); // [R4]
        let peers = S::peers(self.header()).load(Ordering::Acquire); // [R3]
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
    pub(super) fn capacity(&self) -> u64 {
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
    pub(super) fn position(&self) -> u64 {
        self.hot()[POSITION].get()
    }

    /// How many messages went through this end; 0 in a forked child, and after `testing::kill`.
    pub(super) fn count(&self) -> u64 {
        if self.is_here() { position::count(self.position()) } else { 0 }
    }

    /// Whether this is still the process that took the role: not a forked child, not killed.
    #[inline]
    pub(super) fn is_here(&self) -> bool {
        self.hot()[HERE].get() != 0
    }

    /// Which slot a position is.
    #[inline]
    pub(super) fn slot(&self, position: u64) -> usize {
        index(position & self.mask)
    }

    /// Done with the slot of this turn, and with those before it. This is the commit; then the peer is told.
    #[inline]
    pub(super) fn publish(&mut self, Turn { hot, position }: Turn) {
        let next = position.wrapping_add(1);
        // SAFETY: R-I5 - the turn is from this end.
        let words = unsafe { hot.as_ref() };
        words[POSITION].set(next);
        let header = self.header();
        S::own(header).store(next, Ordering::Release); // [R2]
        if let Some(seen) = S::notifies(header).look(self.asymmetric) {
            self.wake(seen);
        }
    }

    /// A guard's commit of `n` slots from `position` on. In a forked child, or after `testing::kill`, nothing: 0.
    #[inline]
    pub(super) fn publish_some(&mut self, position: u64, n: usize) -> usize {
        if n == 0 || !self.is_here() {
            return 0;
        }
        let last = position.wrapping_add(n as u64 - 1);
        self.publish(Turn { hot: self.hot, position: last });
        n
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
    pub(super) fn next(&mut self) -> Option<Turn> {
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
        let (first, size) = self.slots;
        shim::prefetch(first.as_ptr().wrapping_add(self.slot(self.position()) * size));
    }

    #[inline]
    fn peers_limit(&self) -> u64 {
        let peers = S::peers(self.header()).load(Ordering::Acquire); // [R3]
        S::limit(peers, self.capacity())
    }

    /// The next position, and how many slots there are from it: one to `max` in a row; none if `max` is 0.
    #[inline]
    pub(super) fn row(&mut self, max: usize, waiting: Waiting) -> Result<(u64, usize), Stuck> {
        let until_wrap = until_wrap(self.position(), self.capacity());
        self.some((max as u64).min(until_wrap), waiting)
    }

    /// The next position, and how many slots there are from it: one to `wanted`, never more than the ring has; none if
    /// `wanted` is 0. A look at the peer only if it could make them more.
    #[inline]
    pub(super) fn some(&mut self, wanted: u64, waiting: Waiting) -> Result<(u64, usize), Stuck> {
        let wanted = wanted.min(self.capacity());
        let position = self.position();
        let mut ready = ready(position, self.hot()[LIMIT].get());
        if ready < wanted {
            let limit = self.peers_limit();
            let room = limit.wrapping_sub(position);
            if room == 0 || room < ready || room > self.reach {
                ready = self.stuck_row(waiting)?;
            } else {
                self.hot()[LIMIT].set(limit);
                ready = room;
            }
            if !self.is_here() {
                self.hot()[LIMIT].set(0); // killed in between: this was not ours to change
            }
        }
        Ok((position, index(ready.min(wanted))))
    }

    /// As [`stuck`](Self::stuck); how many slots there are then.
    #[cold]
    #[inline(never)]
    fn stuck_row(&mut self, waiting: Waiting) -> Result<u64, Stuck> {
        let Turn { position, .. } = self.stuck(waiting)?;
        Ok(ready(position, self.hot()[LIMIT].get()))
    }

    /// Who has the other end, if its word says that somebody has, dead or alive.
    pub(super) fn peer(&self) -> Option<Owner> {
        S::peer_role(self.header()).look().holder()
    }

    pub(super) fn set_wait(&mut self, how: Wait) {
        self.how = how;
    }

    pub(super) fn wait_for_successor(&mut self, yes: bool) {
        self.succeeded = yes;
    }

    /// The end of this end, `state` being what the others see. Nothing in a forked child, or after `testing::kill`.
    pub(super) fn leave(&mut self, state: State) {
        if core::mem::replace(&mut self.left, true) || self.attached().check().is_err() {
            return;
        }
        let role = S::role(self.header());
        if role.leave(&self.lease, state) {
            alarm(self.header());
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

/// A role of the ring has changed: wakes both ends, and makes them look up at their next message.
pub(super) fn alarm(header: &Header) {
    header.items.alarm();
    header.space.alarm();
}
