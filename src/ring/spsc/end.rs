//! One end of a ring, whatever its slots hold: positions, waiting, verdicts, and the way out.
//!
//! The two ends are mirror images. Each works from its own position up to its limit, publishes its position, and looks
//! at its peer's only when the limit is reached; [`Side`] says which words these are.

use core::fmt;
use core::marker::PhantomData;
use core::ptr::NonNull;
use core::time::Duration;

use crate::error::{Error, Fault, RecvError, Result, SendError};
use crate::ring::lease::{Lease, Role, State, Word};
use crate::ring::position::{self, index, is_exhausted, is_plausible, ready, until_wrap};
use crate::ring::wait::{Slices, Spins, Wait};
use crate::segment::directory::ObjectHandle;
use crate::segment::{Attached, HotCell, Owner};
use crate::shim::clock::{self, Deadline};
use crate::shim::{AtomicU64, Ordering, PrivateU64, barrier, spin_hint, yield_now};
use crate::sync::{EventCount, Seen};

use super::layout::{Header, Plan};

/// Which of the two ends.
pub(super) trait Side {
    /// Whether a peer that has closed ends this end at once (as a pipe without readers), or when it is drained.
    const ENDS_WITH_PEER: bool;
    fn own(header: &Header) -> &AtomicU64;
    fn peers(header: &Header) -> &AtomicU64;
    fn role(header: &Header) -> &Role;
    fn peer_role(header: &Header) -> &Role;
    /// Where this end sleeps.
    fn sleeps_on(header: &Header) -> &EventCount;
    /// Where its peer does.
    fn notifies(header: &Header) -> &EventCount;
    /// How far this end may go, as its peer is there.
    fn limit(peers: u64, capacity: u64) -> u64;
}

/// Writes `tail`.
#[derive(Debug)]
pub(super) enum Sending {}

/// Writes `head`.
#[derive(Debug)]
pub(super) enum Receiving {}

impl Side for Sending {
    const ENDS_WITH_PEER: bool = true;
    #[inline]
    fn own(header: &Header) -> &AtomicU64 {
        &header.tail
    }
    #[inline]
    fn peers(header: &Header) -> &AtomicU64 {
        &header.head
    }
    #[inline]
    fn role(header: &Header) -> &Role {
        &header.sender
    }
    #[inline]
    fn peer_role(header: &Header) -> &Role {
        &header.receiver
    }
    #[inline]
    fn sleeps_on(header: &Header) -> &EventCount {
        &header.space
    }
    #[inline]
    fn notifies(header: &Header) -> &EventCount {
        &header.items
    }
    #[inline]
    fn limit(peers: u64, capacity: u64) -> u64 {
        peers.wrapping_add(capacity)
    }
}

impl Side for Receiving {
    const ENDS_WITH_PEER: bool = false;
    #[inline]
    fn own(header: &Header) -> &AtomicU64 {
        &header.head
    }
    #[inline]
    fn peers(header: &Header) -> &AtomicU64 {
        &header.tail
    }
    #[inline]
    fn role(header: &Header) -> &Role {
        &header.receiver
    }
    #[inline]
    fn peer_role(header: &Header) -> &Role {
        &header.sender
    }
    #[inline]
    fn sleeps_on(header: &Header) -> &EventCount {
        &header.items
    }
    #[inline]
    fn notifies(header: &Header) -> &EventCount {
        &header.space
    }
    #[inline]
    fn limit(peers: u64, _capacity: u64) -> u64 {
        peers
    }
}

/// Why an end has no slot for itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stuck {
    /// Its peer has not come that far.
    Yet,
    Closed,
    Died(Owner),
    Fault(Fault),
}

impl Stuck {
    /// To a sender, who gets its value back.
    pub(super) fn refuse<T>(self, value: T) -> SendError<T> {
        SendError::from(self).map(|()| value)
    }
}

impl From<Stuck> for SendError {
    fn from(stuck: Stuck) -> Self {
        match stuck {
            Stuck::Yet => Self::Full(()),
            Stuck::Closed => Self::Closed(()),
            Stuck::Died(owner) => Self::PeerDied((), owner),
            Stuck::Fault(fault) => Self::Fault((), fault),
        }
    }
}

impl From<Stuck> for RecvError {
    fn from(stuck: Stuck) -> Self {
        match stuck {
            Stuck::Yet => Self::Empty,
            Stuck::Closed => Self::Closed,
            Stuck::Died(owner) => Self::PeerDied(owner),
            Stuck::Fault(fault) => Self::Fault(fault),
        }
    }
}

impl From<Fault> for Stuck {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

/// When to ask whether the peer is alive, which costs a system call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ask {
    Never,
    /// If nothing has happened for [`PATIENCE`], or if it costs nothing.
    Later,
    Now,
}

/// How long an operation that does not wait may see the same before it asks for a verdict.
const PATIENCE: Duration = Duration::from_millis(10);

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
    /// E1: position and limit, in `cell`. That is memory which fork and `testing::kill` wipe: then no slot is left, and the
    /// slow path asks the attachment. The fast path pays nothing for it.
    hot: NonNull<[PrivateU64; 16]>,
    /// E2: in the region that `object` keeps mapped; a verified header.
    header: NonNull<Header>,
    mask: u64,
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

// SAFETY: E1, E2 - both are atomics, which may be used from any thread; all else is `Send`. Not `Sync`:
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
        let lease = match patience {
            Patience::None => role.try_take(attached, at)?.map_err(|owner| Error::Busy { owner })?,
            Patience::Until(wait) => role.take(attached, at, &Deadline::after(wait))?,
        };
        let mut end = Self {
            hot: NonNull::from(&*cell),
            header: NonNull::from(header),
            mask: plan.capacity - 1,
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
                end.leave(State::Vacant);
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
        // SAFETY: E1 - `cell` lives as long as this.
        unsafe { self.hot.as_ref() }
    }

    #[inline]
    fn header(&self) -> &Header {
        // SAFETY: E2 - mapped while `object` lives, and atomics all through.
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
        // SAFETY: E1 - the turn is from this end.
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
        // SAFETY: E1 - `cell` lives as long as this.
        let words = unsafe { hot.as_ref() };
        let position = words[POSITION].get();
        if is_exhausted(position, words[LIMIT].get()) {
            let limit = self.peers_limit();
            // Nothing, too much, or an alarm: one comparison.
            if limit.wrapping_sub(position).wrapping_sub(1) >= self.reach {
                return None;
            }
            words[LIMIT].set(limit);
        }
        Some(Turn { hot, position })
    }

    /// The next position, whose slot is ours, when there was none; or why not.
    pub(super) fn stuck(&mut self, waiting: Waiting) -> Result<Turn, Stuck> {
        let (hot, position) = (self.hot, self.position());
        match waiting {
            Waiting::No => self.refresh(Ask::Later).map(|_| ())?,
            Waiting::For(wait) => self.wait(&Deadline::after(wait))?,
        }
        Ok(Turn { hot, position })
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

    /// Looks at everything: how many slots there are now, at least one; or why not.
    fn refresh(&mut self, ask: Ask) -> Result<u64, Stuck> {
        self.attached().check()?;
        if let Some(fault) = self.fault {
            return Err(fault.into());
        }
        self.reach = self.capacity();
        let seen = self.look(ask);
        match seen {
            Err(Stuck::Fault(fault @ Fault::Corrupt { .. })) => {
                self.fault = Some(fault);
                self.expect_alarm();
            }
            Err(Stuck::Closed) => self.expect_alarm(),
            _ => {}
        }
        seen
    }

    fn look(&mut self, ask: Ask) -> Result<u64, Stuck> {
        if S::ENDS_WITH_PEER && S::peer_role(self.header()).look().state() == Some(State::Closed) {
            return Err(Stuck::Closed);
        }
        let ready = self.reload()?;
        if ready > 0 {
            self.since = None;
            return Ok(ready);
        }
        // First the verdict, then the position once more: what the peer did before it ended is not lost.
        let role = S::peer_role(self.header()).look();
        let Some(verdict) = self.verdict(role, ask)? else { return Err(Stuck::Yet) };
        match self.reload()? {
            0 => Err(verdict),
            ready => Ok(ready),
        }
    }

    /// The limit, as the peer's position has it now.
    fn reload(&self) -> Result<u64, Fault> {
        let limit = self.peers_limit();
        let (position, old) = (self.position(), self.hot()[LIMIT].get());
        if !is_plausible(position, old, limit, self.capacity()) {
            // Wiped since the check: then the position is not ours.
            return Err(self.attached().check().err().unwrap_or_else(|| self.impossible()));
        }
        self.hot()[LIMIT].set(limit);
        Ok(limit.wrapping_sub(position))
    }

    /// What there is to say about a peer that does not go on. `None`: nothing, it may yet.
    fn verdict(&mut self, role: Word, ask: Ask) -> Result<Option<Stuck>, Fault> {
        Ok(match role.state() {
            None => return Err(Fault::Corrupt { what: "the state of a role is none", at: self.object.at() }),
            Some(State::Closed) => Some(Stuck::Closed),
            Some(State::Vacant) => None,
            Some(State::Open(_) | State::Died(_)) if self.succeeded => None,
            Some(State::Died(owner)) => Some(Stuck::Died(owner)),
            Some(State::Open(owner)) if self.may_ask(ask) && self.attached().is_dead(owner)? => {
                Some(Stuck::Died(owner))
            }
            Some(State::Open(_)) => None,
        })
    }

    fn may_ask(&mut self, ask: Ask) -> bool {
        match ask {
            Ask::Never => false,
            Ask::Now => true,
            Ask::Later if self.attached().verdicts_are_cheap() => true,
            Ask::Later => {
                let now = clock::coarse_now();
                let due = self.since.is_some_and(|since| now.saturating_sub(since) >= PATIENCE);
                if due || self.since.is_none() {
                    self.since = Some(now);
                }
                due
            }
        }
    }

    /// Whether the peer's position is another than at the last look. Only a hint: what it is says `reload`.
    #[inline]
    fn moved(&self) -> bool {
        let peers = S::peers(self.header()).load(Ordering::Relaxed); // [R5]
        S::limit(peers, self.capacity()) != self.hot()[LIMIT].get()
    }

    fn wait(&mut self, deadline: &Deadline) -> Result<(), Stuck> {
        match self.how {
            Wait::Sleep => self.sleep(deadline),
            Wait::Spin => self.poll(deadline, spin_hint),
            Wait::Yield => self.poll(deadline, yield_now),
        }
    }

    fn sleep(&mut self, deadline: &Deadline) -> Result<(), Stuck> {
        match self.refresh(Ask::Never) {
            Err(Stuck::Yet) if !deadline.is_over() => {}
            done => return done.map(|_| ()),
        }
        let mut spins = core::mem::replace(&mut self.spins, Spins::new());
        spins.spin(|| self.moved());
        self.spins = spins;
        let mut slices = Slices::new();
        let mut ask = Ask::Now;
        loop {
            match self.refresh(ask) {
                Err(Stuck::Yet) if !deadline.is_over() => {}
                done => return done.map(|_| ()),
            }
            let key = S::sleeps_on(self.header()).announce();
            let ordered = barrier::heavy(self.asymmetric);
            match self.refresh(Ask::Never) {
                Err(Stuck::Yet) => {}
                done => return done.map(|_| ()),
            }
            let woken = S::sleeps_on(self.header()).sleep(key, slices.current(deadline, ordered));
            // Woken in vain for long, the peer is asked after as well.
            ask = if woken { Ask::Later } else { Ask::Now };
            if !woken {
                slices.expired();
            }
        }
    }

    /// Never sleeps in the kernel.
    fn poll(&mut self, deadline: &Deadline, pause: fn()) -> Result<(), Stuck> {
        const LOOKS: u32 = 64;
        loop {
            match self.refresh(Ask::Later) {
                Err(Stuck::Yet) if !deadline.is_over() => {}
                done => return done.map(|_| ()),
            }
            for _ in 0..LOOKS {
                if self.moved() {
                    break;
                }
                pause();
            }
        }
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

/// Whether to wait for the first slot, and how long.
#[derive(Clone, Copy, Debug)]
pub(super) enum Waiting {
    No,
    For(Option<Duration>),
}

/// A role of the ring has changed: wakes both ends, and makes them look up at their next message.
pub(super) fn alarm(header: &Header) {
    header.items.alarm();
    header.space.alarm();
}
