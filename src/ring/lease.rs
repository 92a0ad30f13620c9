//! The right to one end of a ring: a word that names its holder, and survives it.
//!
//! # Answers
//! "Who may send (or receive) here, and what has become of the last one?"
//!
//! # The word
//! ```text
//! 63            32 31        24 23                 0
//! | epoch         | state      | owner              |
//! ```
//! The epoch counts holders: it tells a word that was taken over from one that was not.
//!
//! | state  | means                              | left by                                                          |
//! |--------|------------------------------------|------------------------------------------------------------------|
//! | NONE   | nobody yet, or its holder resigned | take: OPEN                                                       |
//! | OPEN   | held by `owner`                    | holder: NONE, CLOSED, DIED; sweep: DIED; take, if dead: OPEN     |
//! | CLOSED | its holder is done                 | take: OPEN                                                       |
//! | DIED   | its holder, `owner`, is dead       | take: OPEN                                                       |
//!
//! Only OPEN means "held". DIED keeps the name of the dead for the peer's report: a role that a sweep merely freed would
//! look like one that nobody has taken yet, and the peer would wait for ever.
//!
//! # Invariants
//! L-I1  Only the holder of a role acts in it. It has the role until its own CAS, a sweep's or a successor's ends OPEN
//!       with its name and epoch; the latter two only after a verified death.
//! L-I2  Whoever ends a role changes the word first, and then raises the alarm: of the standbys here, and of the ring.
//!
//! # Orderings
//! | tag | operation            | order            | pairs    | because                                                       |
//! |-----|----------------------|------------------|----------|---------------------------------------------------------------|
//! | L1  | look at the word     | Acquire          | L2 to L4 | what a holder that is done did before is visible              |
//! | L2  | take                 | `AcqRel`, Relaxed | L1, L3   | as L1; of a dead holder: see `Attached::is_dead`              |
//! | L3  | leave                | `AcqRel`, Relaxed | L1       | everything that the holder did, before it is done             |
//! | L4  | sweep: OPEN -> DIED  | `AcqRel`, Relaxed | L1       | everything that the dead did, before the news                 |
//!
//! L1 made Relaxed fails in `loom-tests/tests/roles.rs`. No model is known to tell L2 to L4 from Relaxed: behind every
//! publication lies a barrier, a full fence in a model, which orders what a holder did before the end of its role, and a
//! death orders what the dead did. They are for holders that end without having published, and for barriers that are the
//! waiter's.
//!
//! # Crashes
//! | dies                        | left                 | outcome                                                      | held by |
//! |-----------------------------|----------------------|--------------------------------------------------------------|---------|
//! | holder, at any time         | OPEN, of the dead    | the sweep, or whoever takes the role, sees to it             | `unit ring::lease::tests::the_dead_are_succeeded_*` |
//! | whoever takes, before L2    | the old word         | nothing happened                                             | `kill "spsc try_sender, fresh"` |
//! |                             |                      |                                                              | `kill "spsc roles taken over"` |
//! | leaving, between L3 and the alarm | the new word         | sleepers see it when their slice is over                     | `loom event::a_standby_outlives_*` |
//! | sweeper, between L4 and the alarm | DIED                 | the same; the next sweep raises the alarm again              | `loom event::a_sweep_that_was_cut_short_*` |

use crate::error::{Error, Fault};
use crate::memory::Control;
use crate::segment::inspection::Look;
use crate::segment::{Attached, Owner};
use crate::shim::clock::Deadline;
use crate::shim::{AtomicU64, Ordering};
use crate::sync::{EventCount, Slices};

/// A role, in the segment.
#[derive(Debug, Default)]
#[repr(C)]
pub(super) struct Role {
    word: AtomicU64,
    /// Where those sleep who wait for the role; apart from the ring's own events, so that they never eat a wake-up.
    standbys: EventCount,
}

// SAFETY: two atomics.
unsafe impl Control for Role {}

/// What became of a role.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// Nobody has it yet, or its holder has resigned.
    Vacant,
    /// This one has it, if alive.
    Open(Owner),
    /// Its holder is done.
    Closed,
    /// Its holder died.
    Died(Owner),
}

/// A role's word, as it was seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Word(u64);

impl Word {
    fn new(epoch: u32, state: State) -> Self {
        let (code, owner) = match state {
            State::Vacant => (0, 0),
            State::Open(owner) => (1, owner.bits()),
            State::Closed => (2, 0),
            State::Died(owner) => (3, owner.bits()),
        };
        Self(u64::from(epoch) << 32 | code << Owner::BITS | u64::from(owner))
    }

    /// `None`: no holder, sweep or creator ever wrote this.
    pub(super) fn state(self) -> Option<State> {
        let owner = Owner::from_bits((self.0 & 0xff_ffff) as u32);
        match ((self.0 >> Owner::BITS) & 0xff, owner) {
            (0, None) => Some(State::Vacant),
            (1, Some(owner)) => Some(State::Open(owner)),
            (2, None) => Some(State::Closed),
            (3, Some(owner)) => Some(State::Died(owner)),
            _ => None,
        }
    }

    /// As it stands in the segment.
    pub(super) fn bits(self) -> u64 {
        self.0
    }

    /// How many holders there have been, modulo 2^32.
    pub(super) fn epoch(self) -> u32 {
        (self.0 >> 32) as u32
    }

    /// Who has the role, dead or alive.
    pub(super) fn holder(self) -> Option<Owner> {
        match self.state() {
            Some(State::Open(owner)) => Some(owner),
            _ => None,
        }
    }
}

/// The proof of having taken a role: the word that was written.
#[derive(Debug)]
pub(super) struct Lease {
    held: Word,
}

/// How often a role may change under the hands of somebody who takes it.
const ATTEMPTS: u32 = 64;

impl Role {
    /// The word at this moment.
    #[inline]
    pub(super) fn look(&self) -> Word {
        Word(self.word.load(Ordering::Acquire)) // [L1]
    }

    /// What the word is in when a check looks at it.
    pub(super) fn examine(&self, look: &mut Look<'_>) -> Word {
        Word(look.u64(&self.word))
    }

    /// Takes the role for `attached`, if nobody alive has it; else says who. `at`: where the ring lies, for reports.
    pub(super) fn try_take(&self, attached: &Attached, at: u64) -> Result<Result<Lease, Owner>, Fault> {
        attached.check_writable()?;
        for _ in 0..ATTEMPTS {
            let seen = self.look();
            match seen.state() {
                None => return Err(Fault::Corrupt { what: "the state of a role is none", at }),
                Some(State::Open(owner)) if owner == attached.owner() || !attached.is_dead(owner)? => {
                    return Ok(Err(owner));
                }
                Some(_) => {}
            }
            attached.check()?;
            let mine = Word::new(seen.epoch().wrapping_add(1), State::Open(attached.owner()));
            if self.word.compare_exchange(seen.0, mine.0, Ordering::AcqRel, Ordering::Relaxed).is_ok() {
                // [L2]
                return Ok(Ok(Lease { held: mine }));
            }
        }
        Err(Fault::Corrupt { what: "a role changes hands without end", at })
    }

    /// Takes the role, or sleeps until its holder dies, resigns or closes.
    ///
    /// `Busy` at the deadline; at once if the holder is this very attachment.
    pub(super) fn take(&self, attached: &Attached, at: u64, deadline: &Deadline) -> Result<Lease, Error> {
        let mut slices = Slices::new();
        loop {
            match self.try_take(attached, at)? {
                Ok(lease) => return Ok(lease),
                Err(owner) if owner == attached.owner() || deadline.is_over() => {
                    return Err(Error::Busy { owner });
                }
                Err(_) => {}
            }
            let key = self.standbys.announce();
            if let Ok(lease) = self.try_take(attached, at)? {
                return Ok(lease);
            }
            // Roles change with an alarm, which needs no barrier here.
            if !self.standbys.sleep(key, slices.current(deadline, true)) {
                slices.expired();
            }
        }
    }

    /// Ends the role, if it is still ours. Then the alarms are the caller's duty: [`Role::alarm`], and the ring's.
    pub(super) fn leave(&self, lease: &Lease, state: State) -> bool {
        let left = Word::new(lease.held.epoch(), state);
        self.word.compare_exchange(lease.held.0, left.0, Ordering::AcqRel, Ordering::Relaxed).is_ok() // [L3]
    }

    /// Wakes those who wait for the role.
    pub(super) fn alarm(&self) {
        self.standbys.alarm();
    }

    /// Recovery: notes the death of a dead holder. `true`: alarms are due.
    pub(super) fn sweep(&self, dead: &dyn Fn(Owner) -> bool) -> bool {
        let seen = self.look();
        match seen.state() {
            Some(State::Open(owner)) if dead(owner) => {
                let died = Word::new(seen.epoch(), State::Died(owner));
                // Lost: to another sweep, or to a successor.
                let _ = self.word.compare_exchange(seen.0, died.0, Ordering::AcqRel, Ordering::Relaxed); // [L4]
                true
            }
            // The last sweeper may have died before its alarms.
            Some(State::Died(owner)) => dead(owner),
            _ => false,
        }
    }

    /// Plants a word.
    #[cfg(test)]
    pub(super) fn plant(&self, word: u64) {
        self.word.store(word, Ordering::Relaxed);
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::{Segment, testing};
    use core::time::Duration;

    fn take(role: &Role, segment: &Segment) -> Result<Result<Lease, Owner>, Fault> {
        role.try_take(segment.attached(), 0)
    }

    #[test]
    fn a_word_says_epoch_state_and_owner() {
        let owner = Owner::from_bits(0xab_cdef).unwrap();
        for state in [State::Vacant, State::Open(owner), State::Closed, State::Died(owner)] {
            let word = Word::new(u32::MAX, state);
            assert_eq!((word.epoch(), word.state()), (u32::MAX, Some(state)));
        }
        for nonsense in [1 << 24, 4 << 24, 0xff << 24, 7, 2 << 24 | 7] {
            assert_eq!(Word(nonsense).state(), None, "{nonsense:x}");
        }
    }

    #[test]
    fn one_at_a_time_and_each_has_its_epoch() {
        let (a, role) = (Segment::heap(1 << 16).unwrap(), Role::default());
        let b = a.attach().unwrap();
        let first = take(&role, &a).unwrap().unwrap();
        assert_eq!(take(&role, &b).unwrap().unwrap_err(), a.owner());
        assert_eq!(take(&role, &a).unwrap().unwrap_err(), a.owner(), "not even its holder");
        assert!(role.leave(&first, State::Closed));
        let second = take(&role, &b).unwrap().unwrap();
        assert_eq!(second.held.epoch(), 2);
        assert!(!role.leave(&first, State::Vacant), "it is another's by now");
        assert_eq!(role.look().holder(), Some(b.owner()));
    }

    #[test]
    fn the_dead_are_succeeded_with_and_without_a_sweep() {
        let (a, role) = (Segment::heap(1 << 16).unwrap(), Role::default());
        for swept in [false, true] {
            let b = a.attach().unwrap();
            let dead = take(&role, &b).unwrap().unwrap();
            assert!(!role.sweep(&|owner| owner == a.owner()), "another one died");
            testing::kill(&b).unwrap();
            if swept {
                assert!(role.sweep(&|owner| owner == b.owner()));
                assert_eq!(role.look().state(), Some(State::Died(b.owner())));
                assert!(role.sweep(&|owner| owner == b.owner()), "the alarms are due once more");
            }
            let lease = take(&role, &a).unwrap().unwrap();
            assert!(!role.leave(&dead, State::Closed));
            assert!(role.leave(&lease, State::Vacant));
        }
    }

    #[test]
    fn a_deadline_ends_the_wait() {
        let (a, role) = (Segment::heap(1 << 16).unwrap(), Role::default());
        let b = a.attach().unwrap();
        let _held = take(&role, &a).unwrap().unwrap();
        for (segment, deadline) in [(&b, Some(Duration::from_millis(2))), (&a, None)] {
            let taken = role.take(segment.attached(), 0, &Deadline::after(deadline));
            assert!(matches!(taken, Err(Error::Busy { owner }) if owner == a.owner()));
        }
    }

    #[test]
    fn nonsense_is_corrupt() {
        let (segment, role) = (Segment::heap(1 << 16).unwrap(), Role::default());
        for word in [1 << 24, 9 << 24, 1 << 24 | 0xff_ffff, u64::MAX] {
            role.plant(word);
            assert!(matches!(take(&role, &segment), Err(Fault::Corrupt { .. })), "{word:x}");
            assert!(!role.sweep(&|_| false));
        }
    }
}
