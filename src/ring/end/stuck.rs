//! The slow path: the limit is reached, or something is wrong. Verdicts, and waiting.

use core::time::Duration;

use crate::error::{Fault, RecvError, SendError};
use crate::ring::lease::State;
use crate::ring::position::is_plausible;
use crate::ring::wait::Wait;
use crate::segment::Owner;
use crate::shim::clock::{self, Deadline};
use crate::shim::{Ordering, barrier, spin_hint, yield_now};
use crate::sync::{Slices, Spins};

use super::{End, LIMIT, Side, Turn};

/// Why an end has no slot for itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::ring) enum Stuck {
    /// Its peer has not come that far.
    Yet,
    Closed,
    Died(Owner),
    Fault(Fault),
}

impl Stuck {
    /// To a sender, who gets its value back.
    pub(in crate::ring) fn refuse<T>(self, value: T) -> SendError<T> {
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

/// How often a role may change under a look at it, before the next look is left to the next operation, or slice.
const CHANGES: u32 = 4;

/// Whether to wait for the first slot, and how long.
#[derive(Clone, Copy, Debug)]
pub(in crate::ring) enum Waiting {
    No,
    For(Option<Duration>),
}

impl<S: Side> End<S> {
    /// The next position, when as much as is needed is ours from there; or why not.
    pub(in crate::ring) fn stuck(&mut self, waiting: Waiting) -> Result<Turn, Stuck> {
        let (hot, position) = (self.hot, self.position());
        match waiting {
            Waiting::No => self.refresh(Ask::Later).map(|_| ())?,
            Waiting::For(wait) => self.wait(&Deadline::after(wait))?,
        }
        Ok(Turn { hot, position })
    }

    /// Looks at everything: how many units there are now, as many as are needed; or why not.
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
        if ready >= self.need {
            self.since = None;
            return Ok(ready);
        }
        // First the verdict, then the position once more: what the peer did before it ended is not lost.
        let Some(verdict) = self.verdict(ask)? else { return Err(Stuck::Yet) };
        match self.reload()? {
            ready if ready >= self.need => Ok(ready),
            _ => Err(verdict),
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
    fn verdict(&mut self, ask: Ask) -> Result<Option<Stuck>, Fault> {
        let mut role = S::peer_role(self.header()).look();
        for _ in 0..CHANGES {
            let owner = match role.state() {
                None => {
                    let what = "the state of a role is none";
                    return Err(Fault::Corrupt { what, at: self.object.at() });
                }
                Some(State::Closed) => return Ok(Some(Stuck::Closed)),
                Some(State::Open(_) | State::Died(_)) if self.succeeded => return Ok(None),
                Some(State::Died(owner)) => return Ok(Some(Stuck::Died(owner))),
                Some(State::Open(owner)) => owner,
                Some(State::Vacant) => return Ok(None),
            };
            if !self.may_ask(ask) || !self.attached().is_dead(owner)? {
                return Ok(None);
            }
            // All that it did is visible now: it may have closed, or resigned, before it went; or it has a successor.
            let then = core::mem::replace(&mut role, S::peer_role(self.header()).look());
            if role == then {
                return Ok(Some(Stuck::Died(owner)));
            }
        }
        Ok(None)
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

    /// Whether the peer's position is another than at the last look, and far enough. Only a hint: what it is says `reload`.
    #[inline]
    fn moved(&self) -> bool {
        self.look_ahead();
        let peers = S::peers(self.header()).position().load(Ordering::Relaxed); // [R5]
        let limit = S::limit(peers, self.capacity());
        limit != self.hot()[LIMIT].get() && limit.wrapping_sub(self.position()) >= self.need
    }

    /// Whether there is enough now, without a look at anything else.
    fn has_come(&mut self) -> bool {
        let (position, limit) = (self.position(), self.peers_limit());
        let room = limit.wrapping_sub(position);
        if room < self.need || room > self.reach {
            return false;
        }
        self.hot()[LIMIT].set(limit);
        if !self.is_here() {
            self.hot()[LIMIT].set(0); // killed in between: this was not ours to change
            return false;
        }
        true
    }

    fn wait(&mut self, deadline: &Deadline) -> Result<(), Stuck> {
        match self.how {
            Wait::Sleep => self.sleep(deadline),
            Wait::Spin => self.poll(deadline, spin_hint),
            Wait::Yield => self.poll(deadline, yield_now),
        }
    }

    fn sleep(&mut self, deadline: &Deadline) -> Result<(), Stuck> {
        match self.refresh(Ask::Later) {
            Err(Stuck::Yet) if !deadline.is_over() => {}
            done => return done.map(|_| ()),
        }
        let mut spins = core::mem::replace(&mut self.spins, Spins::new());
        let moved = spins.spin(|| self.moved());
        self.spins = spins;
        if moved && self.has_come() {
            self.since = None;
            return Ok(());
        }
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
                    if self.has_come() {
                        self.since = None;
                        return Ok(());
                    }
                    break;
                }
                pause();
            }
        }
    }
}
