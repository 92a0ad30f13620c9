//! A lock that outlives its holders: one word that names whoever has it.
//!
//! # Answers
//! "Is it mine now, and is what it protects in order?"
//!
//! libc's robust locks are not used: they keep absolute addresses of their owner *inside* of the lock, and follow them.
//! Whoever can write the lock then has its owner write to an address of his choice.
//!
//! # The word
//! ```text
//! 31  30  29   24 23                 0
//! | W | I | zero  | owner            |      owner 0: free; all ones: not recoverable
//! ```
//! `W`: somebody sleeps, is about to, or did. `I`: the last holder died, or panicked, while it had the lock; what it protects
//! may be half done. A second word says who that was; it is for reports, and decides nothing.
//!
//! # Algorithm
//! ```text
//! take:    word 0 -> me, by one CAS; else
//!          free:        CAS: me, with I as it was, with W if anybody may sleep
//!          of the dead: CAS: me | I | W                       -> inconsistent
//!          held:        set W -> sleep while the word is that, for a slice -> once more, and W stays
//! leave:   swap: 0 (or I) -> it had W? wake one
//! sweep:   of the dead? CAS: I | W as it was -> wake one
//! ```
//! Whoever has slept keeps W when it takes the lock: it cannot know whether it was the last one. So every sleeper is
//! followed by a wake, until one comes that never slept. (What forgets W here loses wake-ups: a defect that glibc had for years.)
//!
//! # Invariants
//! M-I1  What the lock protects is accessed by its holder only. It has the lock from its CAS on until its own swap, or until another's CAS
//!       after a verified death of its.
//! M-I2  After a death or a panic inside, `I` is set until a holder says that all is in order. No way leads from an owner
//!       that died to a word without `I`.
//! M-I3  No sleep is without end: every sleeper sleeps in slices, and looks at holder and liveness after each.
//!
//! # Orderings
//! | tag | operation              | order             | pairs  | because                                                        |
//! |-----|------------------------|-------------------|--------|----------------------------------------------------------------|
//! | M1  | take a free lock       | Acquire, Relaxed  | M3, M5 | what the last holder did is visible, or what it had done when it died |
//! | M2  | take from the dead     | Acquire, Relaxed  | -      | `Attached::is_dead` has made visible what the dead did          |
//! | M3  | leave                  | Release           | M1     | what the holder did, before the lock is free                   |
//! | M4  | look, announce W, mark | Relaxed           | -      | nothing is read on the strength of it                          |
//! | M5  | sweep                  | Release, Relaxed  | M1     | what the dead did was visible to the sweeper: so it is to whoever takes it |
//! | M6  | who died               | Relaxed           | -      | for reports                                                    |
//!
//! # Crashes
//! | dies                            | left                  | outcome                                                      | held by |
//! |---------------------------------|-----------------------|--------------------------------------------------------------|---------|
//! | before M1, M2                   | the word as it was    | nothing happened                                             | `kill "mutex try_lock"` |
//! | holder, anywhere                | its name in the word  | the next locker, or a sweep, finds it dead: inconsistent     | `kill "mutex set"` |
//! | holder, between M3 and the wake | free, sleepers        | they look when their slice is over                           | `kill "mutex unlock"` |
//! | sweeper, between M5 and the wake | free, `I`, sleepers  | the next sweep wakes one, or they look when their slice is over | `kill "mutex swept"` |
//! | sleeper                         | W                     | one vain wake                                                | `kill "mutex lock_timeout"` |
//! | whoever was woken, before M1    | free, sleepers        | they look when their slice is over                           | `kill "mutex lock_timeout"` |
//!
//! # Progress
//! `leave`, `mark_consistent`, `give_up` and `sweep` are wait-free. A `take` that does not wait ends after a bounded number of looks.

use crate::error::Fault;
use crate::memory::Control;
use crate::segment::inspection::Look;
use crate::segment::{Attached, Owner};
use crate::shim::clock::Deadline;
use crate::shim::{AtomicU32, Ordering, futex, spin_hint};

use super::Slices;

/// The lock, wherever it lies.
#[derive(Debug, Default)]
#[repr(C)]
pub(crate) struct LockWord {
    word: AtomicU32,
    died: AtomicU32,
}

// SAFETY: two atomics.
unsafe impl Control for LockWord {}

const WAITERS: u32 = 1 << 31;
const INCONSISTENT: u32 = 1 << 30;
const OWNER: u32 = (1 << Owner::BITS) - 1;
/// The owner of a lock that was given up: no row has it.
const NOT_RECOVERABLE: u32 = OWNER;

/// The lock is ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Taken {
    /// And what it protects is as its last holder left it.
    Consistent,
    /// And somebody died or panicked inside.
    Inconsistent,
}

/// It is not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// This one has it, and lives.
    Held(Owner),
    /// Whoever asks has it.
    Deadlock,
    /// It was given up.
    NotRecoverable,
    /// The handle cannot go on.
    Fault(Fault),
}

impl From<Fault> for Refused {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

/// What a word says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// Nobody has it.
    Free,
    /// This one has it, dead or alive.
    Held(Owner),
    /// It was given up.
    NotRecoverable,
}

/// A word as it was seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Word(u32);

impl Word {
    /// `None`: nobody ever wrote this.
    pub(crate) fn state(self) -> Option<State> {
        let owner = self.0 & OWNER;
        if self.0 & !(WAITERS | INCONSISTENT | OWNER) != 0 {
            return None;
        }
        match owner {
            0 => Some(State::Free),
            NOT_RECOVERABLE => Some(State::NotRecoverable),
            stamp => Owner::of_stamp(stamp).map(State::Held),
        }
    }

    /// As it stands in the segment.
    pub(crate) fn bits(self) -> u32 {
        self.0
    }
}

/// Who wants the lock.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Claimant<'a> {
    pub(crate) attached: &'a Attached,
    /// Where the lock lies, for reports.
    pub(crate) at: u64,
    /// The thread that asks is known to be the one that has it, if its attachment has it.
    pub(crate) has_it: bool,
}

/// So many looks at a lock that is held before the first sleep: about as long as a short section.
const SPINS: u32 = if cfg!(loom) { 0 } else { 100 };
/// How often a lock may change hands under somebody who does not want to wait.
const ATTEMPTS: u32 = 64;

impl LockWord {
    /// Takes the lock for `stamp`, if it is free and nobody waits.
    #[inline]
    pub(crate) fn take_free(&self, stamp: u32) -> bool {
        self.word.compare_exchange(0, stamp, Ordering::Acquire, Ordering::Relaxed).is_ok() // [M1]
    }

    /// Takes the lock, or says who has it. Does not wait.
    pub(crate) fn try_take(&self, claimant: &Claimant<'_>) -> Result<Taken, Refused> {
        for _ in 0..ATTEMPTS {
            if let Some(outcome) = self.attempt(claimant, 0, true)? {
                return outcome.map_err(|(holder, _)| Refused::Held(holder));
            }
        }
        Err(Fault::Corrupt { what: "a lock changes hands without end", at: claimant.at }.into())
    }

    /// Takes the lock, or sleeps until it is free, its holder is dead, or `deadline` over.
    pub(crate) fn take(&self, claimant: &Claimant<'_>, deadline: &Deadline) -> Result<Taken, Refused> {
        self.spin();
        let mut slices = Slices::new();
        let (mut waiters, mut judge) = (0, true);
        loop {
            let (holder, seen) = match self.attempt(claimant, waiters, judge)? {
                Some(Ok(taken)) => return Ok(taken),
                Some(Err(held)) => held,
                None if deadline.is_over() => return self.try_take(claimant),
                None => continue,
            };
            if deadline.is_over() {
                return Err(Refused::Held(holder));
            }
            let announced = seen.0 | WAITERS;
            if seen.0 != announced && !self.announce(seen) {
                continue;
            }
            // Woken, there is news: whoever woke us lives. Else it is time to ask.
            judge = !futex::wait(&self.word, announced, slices.current(deadline, true));
            waiters = WAITERS;
            if judge {
                slices.expired();
            }
        }
    }

    /// Says that somebody is about to sleep. `false`: the word has changed.
    fn announce(&self, Word(seen): Word) -> bool {
        self.word.compare_exchange(seen, seen | WAITERS, Ordering::Relaxed, Ordering::Relaxed).is_ok() // [M4]
    }

    /// Waits a little for a lock that is soon free.
    fn spin(&self) {
        for _ in 0..SPINS {
            if self.look().0 & OWNER == 0 {
                return;
            }
            spin_hint();
        }
    }

    /// One look: the lock is ours, somebody has it, or (`None`) it has just changed. `judge`: asks whether a holder lives.
    #[expect(clippy::type_complexity, reason = "ours, another's, neither; or it cannot be")]
    fn attempt(
        &self,
        claimant: &Claimant<'_>,
        waiters: u32,
        judge: bool,
    ) -> Result<Option<Result<Taken, (Owner, Word)>>, Refused> {
        let &Claimant { attached, at, has_it } = claimant;
        attached.check_writable()?;
        let me = attached.owner();
        let seen = self.look();
        let holder = match seen.state() {
            None => return Err(Fault::Corrupt { what: "the state of a lock is none", at }.into()),
            Some(State::NotRecoverable) => return Err(Refused::NotRecoverable),
            Some(State::Free) => {
                let mine = me.bits() | seen.0 | waiters;
                let taken = self.word.compare_exchange(seen.0, mine, Ordering::Acquire, Ordering::Relaxed); // [M1]
                let state = if seen.0 & INCONSISTENT == 0 { Taken::Consistent } else { Taken::Inconsistent };
                return Ok(taken.is_ok().then_some(Ok(state)));
            }
            Some(State::Held(holder)) => holder,
        };
        if holder == me && has_it {
            return Err(Refused::Deadlock);
        }
        if holder == me || !judge || !attached.is_dead(holder)? {
            return Ok(Some(Err((holder, seen))));
        }
        let mine = me.bits() | INCONSISTENT | WAITERS;
        if self.word.compare_exchange(seen.0, mine, Ordering::Acquire, Ordering::Relaxed).is_err() {
            // [M2]
            return Ok(None);
        }
        self.died.store(holder.bits(), Ordering::Relaxed); // [M6]
        Ok(Some(Ok(Taken::Inconsistent)))
    }

    /// The holder is done, and all is in order.
    #[inline]
    pub(crate) fn leave(&self) {
        let left = self.word.swap(0, Ordering::Release); // [M3]
        if left & WAITERS != 0 {
            self.wake(1);
        }
    }

    /// The holder is done, and what the lock protects may be half done.
    #[cold]
    pub(crate) fn leave_inconsistent(&self) {
        let left = self.word.swap(INCONSISTENT, Ordering::Release); // [M3]
        if left & WAITERS != 0 {
            self.wake(1);
        }
    }

    /// Holder: it was this one, who did not finish.
    pub(crate) fn blame(&self, owner: Owner) {
        self.died.store(owner.bits(), Ordering::Relaxed); // [M6]
    }

    /// Holder: all is in order again.
    pub(crate) fn mark_consistent(&self) {
        self.word.fetch_and(!INCONSISTENT, Ordering::Relaxed); // [M4]
    }

    /// Holder: nobody shall have the lock again.
    pub(crate) fn give_up(&self) {
        self.word.swap(NOT_RECOVERABLE, Ordering::Release); // [M3]
        self.wake(u32::MAX);
    }

    #[cold]
    fn wake(&self, n: u32) {
        futex::wake(&self.word, n);
    }

    /// Recovery: a lock of the dead becomes free, and is inconsistent.
    pub(crate) fn sweep(&self, dead: &dyn Fn(Owner) -> bool) {
        let seen = self.look();
        let holder = match seen.state() {
            Some(State::Held(holder)) if dead(holder) => holder,
            // The last sweeper, or the last one to panic, may have died before its wake.
            Some(State::Free) if seen.0 == INCONSISTENT | WAITERS => return self.wake(1),
            _ => return,
        };
        self.died.store(holder.bits(), Ordering::Relaxed); // [M6]
        let freed = seen.0 & WAITERS | INCONSISTENT;
        // Lost: to another sweep, or to whoever took it from the dead.
        let swept = self.word.compare_exchange(seen.0, freed, Ordering::Release, Ordering::Relaxed); // [M5]
        if swept.is_ok() {
            self.wake(1);
        }
    }

    /// The word at this moment.
    pub(crate) fn look(&self) -> Word {
        Word(self.word.load(Ordering::Relaxed)) // [M4]
    }

    /// Who has it, dead or alive.
    pub(crate) fn holder(&self) -> Option<Owner> {
        match self.look().state() {
            Some(State::Held(owner)) => Some(owner),
            _ => None,
        }
    }

    /// Who was the last to die, or to panic, inside.
    pub(crate) fn last_died(&self) -> Option<Owner> {
        Owner::of_stamp(self.died.load(Ordering::Relaxed)) // [M6]
    }

    /// What the word is in when a check looks at it.
    pub(crate) fn examine(&self, look: &mut Look<'_>) -> Word {
        Word(look.u32(&self.word))
    }

    /// Plants a word.
    #[cfg(all(test, not(loom)))]
    pub(crate) fn plant(&self, word: u32) {
        self.word.store(word, Ordering::Relaxed); // one thread
    }
}

#[cfg(not(loom))]
static_assertions::assert_eq_size!(LockWord, [u32; 2]);

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::{Segment, testing};
    use core::time::Duration;

    fn claimant(segment: &Segment) -> Claimant<'_> {
        Claimant { attached: segment.attached(), at: 0, has_it: false }
    }

    fn two() -> (Segment, Segment, LockWord) {
        let first = Segment::heap(1 << 16).unwrap();
        let second = first.attach().unwrap();
        (first, second, LockWord::default())
    }

    #[test]
    fn a_word_says_who_has_it() {
        let owner = Owner::new(7, 3);
        for flags in [0, WAITERS, INCONSISTENT, WAITERS | INCONSISTENT] {
            assert_eq!(Word(flags).state(), Some(State::Free));
            assert_eq!(Word(flags | owner.bits()).state(), Some(State::Held(owner)));
            assert_eq!(Word(flags | NOT_RECOVERABLE).state(), Some(State::NotRecoverable));
        }
        for nonsense in [1 << 24, 1 << 29, 1, 0x3fff, Owner::NOBODY.bits(), u32::MAX] {
            assert_eq!(Word(nonsense).state(), None, "{nonsense:x}");
        }
    }

    #[test]
    fn one_at_a_time() {
        let (a, b, lock) = two();
        assert!(lock.take_free(a.owner().bits()));
        assert_eq!(lock.try_take(&claimant(&b)), Err(Refused::Held(a.owner())));
        assert_eq!(lock.try_take(&claimant(&a)), Err(Refused::Held(a.owner())), "another thread may have it");
        assert_eq!(lock.try_take(&Claimant { has_it: true, ..claimant(&a) }), Err(Refused::Deadlock));
        lock.leave();
        assert_eq!(lock.try_take(&claimant(&b)), Ok(Taken::Consistent));
        lock.leave();
        assert_eq!(lock.look().bits(), 0);
    }

    #[test]
    fn the_dead_leave_an_inconsistent_lock_with_and_without_a_sweep() {
        for swept in [false, true] {
            let (a, b, lock) = two();
            assert!(lock.take_free(b.owner().bits()));
            lock.sweep(&|owner| owner == a.owner());
            assert_eq!(lock.holder(), Some(b.owner()), "another one died");
            testing::kill(&b).unwrap();
            if swept {
                lock.sweep(&|owner| owner == b.owner());
                assert_eq!(lock.look().bits(), INCONSISTENT);
            }
            assert!(!lock.take_free(a.owner().bits()), "the fast path never takes an inconsistent lock");
            assert_eq!(lock.try_take(&claimant(&a)), Ok(Taken::Inconsistent));
            assert_eq!(lock.last_died(), Some(b.owner()));
            lock.leave_inconsistent();
            assert_eq!(lock.try_take(&claimant(&a)), Ok(Taken::Inconsistent), "told again");
            lock.mark_consistent();
            lock.leave();
            assert_eq!(lock.look().bits() & !WAITERS, 0);
            assert_eq!(lock.try_take(&claimant(&a)), Ok(Taken::Consistent));
        }
    }

    #[test]
    fn a_lock_that_was_given_up_is_nobodys_for_ever() {
        let (a, b, lock) = two();
        assert!(lock.take_free(a.owner().bits()));
        lock.give_up();
        for segment in [&a, &b] {
            assert_eq!(lock.try_take(&claimant(segment)), Err(Refused::NotRecoverable));
            let never = Deadline::after(None);
            assert_eq!(lock.take(&claimant(segment), &never), Err(Refused::NotRecoverable));
        }
        lock.sweep(&|_| true);
        assert_eq!(lock.look().state(), Some(State::NotRecoverable));
    }

    #[test]
    fn a_deadline_ends_the_wait() {
        let (a, b, lock) = two();
        assert!(lock.take_free(a.owner().bits()));
        for wait in [Duration::ZERO, Duration::from_millis(2)] {
            let taken = lock.take(&claimant(&b), &Deadline::after(Some(wait)));
            assert_eq!(taken, Err(Refused::Held(a.owner())));
        }
        assert_eq!(lock.look().bits() & WAITERS, WAITERS, "it had announced itself");
        lock.leave();
        assert_eq!(lock.look().bits(), 0);
    }

    #[test]
    fn nonsense_is_corrupt_and_stays() {
        let (a, _b, lock) = two();
        for word in [1 << 24, 1 << 29, 1, u32::MAX] {
            lock.plant(word);
            assert!(matches!(lock.try_take(&claimant(&a)), Err(Refused::Fault(Fault::Corrupt { .. }))));
            lock.sweep(&|_| true);
            assert_eq!(lock.look().bits(), word);
        }
        lock.plant(Owner::new(1000, 1).bits());
        assert!(
            matches!(lock.try_take(&claimant(&a)), Err(Refused::Fault(Fault::Corrupt { .. }))),
            "no such row"
        );
    }

    #[test]
    fn whoever_sleeps_is_woken() {
        let (a, b, lock) = two();
        assert!(lock.take_free(a.owner().bits()));
        std::thread::scope(|scope| {
            let waiter = scope.spawn(|| lock.take(&claimant(&b), &Deadline::after(None)));
            while lock.look().bits() & WAITERS == 0 {
                crate::shim::yield_now();
            }
            lock.leave();
            assert_eq!(waiter.join().unwrap(), Ok(Taken::Consistent));
        });
        lock.leave();
    }
}
