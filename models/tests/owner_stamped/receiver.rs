//! A receiver: take, read, release or give back; and the scan for what is to be delivered again.

use outlive_models::{Invariant, Steps, small};

use crate::ring::{At, Bug, KEPT, NOBODY, ONCE, ORDER, Process, Ring, State, Tag, Then, Word, free};

impl Ring {
    pub(crate) fn receiver(&self, state: &State, who: usize, steps: &mut Steps<State>) {
        let me = state.processes[who];
        let mut next = state.clone();
        // Nothing is there: back, or on with what it holds.
        let empty = if me.holds > 0 { At::Release { n: 0 } } else { At::IsEmpty };
        let (what, at) = match me.at {
            At::Absent => {
                next.processes[who].seen = self.is(Bug::NewcomerHasScanned);
                ("comes", At::Idle)
            }
            At::Idle if !me.seen => {
                next.processes[who].want |= me.cursor == 0;
                ("sees that somebody has counted", At::Scan { left: self.budget, last: false })
            }
            At::Idle => ("sees that nobody has counted", At::Begin),
            At::IsEmpty if !me.seen => {
                next.processes[who].want |= me.cursor == 0;
                ("sees that somebody has counted", At::Scan { left: self.capacity, last: true })
            }
            At::IsEmpty => ("sees that nobody has counted", At::Idle),
            At::Begin => ("looks at the head hint", At::Search { at: state.head, passed: None }),
            At::Search { at, passed } => ("looks at a slot", self.search(state, at, passed, empty)),
            At::LookBack { at, passed, seen } => {
                let same = state.slots[self.slot(passed.0)] == passed.1;
                let slot = small(self.slot(at));
                let hint = self.is(Bug::HintPastUnsettled);
                ("looks back", if same { At::Take { slot, seen, walker: at, hint } } else { At::Begin })
            }
            At::Take { slot, seen, walker, hint } if state.slots[usize::from(slot)] == seen => {
                let to =
                    if self.is(Bug::HintOfTheWalker) { walker } else { seen.lap * self.capacity + slot } + 1;
                let at = if hint { At::IsHeadBehind { to } } else { At::Read };
                match self.take(&mut next, who, slot, seen) {
                    Ok(()) => ("takes a message", at),
                    Err(invariant) => return steps.breach(who, "takes a message", invariant),
                }
            }
            At::Take { walker, hint: true, .. } => {
                ("does not get the message", At::Search { at: walker, passed: None })
            }
            At::Take { .. } => ("does not get the message", At::Begin),
            At::IsHeadBehind { to } => {
                ("looks at the head hint", if state.head >= to { At::Read } else { At::MoveHead { to } })
            }
            At::MoveHead { to } => {
                next.head = to;
                ("moves the head hint", At::Read)
            }
            At::Read => {
                let (at, value) = &mut next.processes[who].held[usize::from(me.holds) - 1];
                *value = state.payload[self.slot(*at)];
                ("reads payload", if me.holds < self.batch { At::Begin } else { At::Release { n: 0 } })
            }
            At::Release { n } => return self.release(state, who, n, steps),
            At::CountNack { n } => {
                Self::count(&mut next);
                Self::released(&mut next.processes[who], n);
                next.processes[who].seen = false;
                return steps.to(who, "counts its nack", next);
            }
            At::Scan { left: 0, last } => ("has scanned enough", if last { At::Idle } else { At::Begin }),
            At::Scan { left, last } => {
                let seen = state.slots[usize::from(me.cursor)];
                let process = &mut next.processes[who];
                if seen.tag == (Tag::Ready { again: true }) {
                    ("finds a message to be delivered again", At::TakeAgain { seen })
                } else if me.cursor + 1 < self.capacity {
                    process.cursor += 1;
                    ("scans a slot", At::Scan { left: left - 1, last })
                } else {
                    process.seen = me.want || self.is(Bug::ScanOfTheEnd);
                    process.want = false;
                    process.cursor = 0;
                    ("scans the last slot", At::Scan { left: 0, last })
                }
            }
            At::TakeAgain { seen } if state.slots[usize::from(me.cursor)] == seen => {
                let to = seen.lap * self.capacity + me.cursor + 1;
                // It may have been taken past a slot that is not settled yet.
                let hint = !self.relaxed || self.is(Bug::HintOfTheScan);
                let at = if hint { At::IsHeadBehind { to } } else { At::Read };
                match self.take(&mut next, who, me.cursor, seen) {
                    Ok(()) => ("takes a message again", at),
                    Err(invariant) => return steps.breach(who, "takes a message again", invariant),
                }
            }
            At::TakeAgain { .. } => {
                ("does not get the message", At::Scan { left: self.capacity, last: false })
            }
            _ => return,
        };
        next.processes[who].at = at;
        steps.to(who, what, next);
    }

    pub(crate) fn search(&self, state: &State, at: u8, passed: Option<(u8, Word)>, empty: At) -> At {
        let (lap, slot) = (self.lap(at), self.slot(at));
        let seen = state.slots[slot];
        let slot = small(slot);
        let take = match passed {
            Some(passed) if !self.is(Bug::NoLookBack) => At::LookBack { at, passed, seen },
            passed => At::Take { slot, seen, walker: at, hint: passed.is_none() },
        };
        let dead = self.recovered(state, seen).is_some();
        let then = if passed.is_some() { Then::Begin } else { Then::Search { at } };
        match seen.tag {
            _ if seen.lap > lap => At::Search { at: self.past(at, seen), passed },
            Tag::Ready { .. } => take,
            Tag::Taken(_) if dead && (self.at_most_once || self.is(Bug::TakenIsConsumed)) => {
                At::Recover { slot, seen, then }
            }
            Tag::Taken(_) if dead => take, // adopts it
            Tag::Taken(_) if seen.lap == lap => At::Search { at: at + 1, passed },
            Tag::Writing(_) if dead => At::Recover { slot, seen, then },
            Tag::Writing(_) if self.relaxed && passed.is_none() => {
                At::Search { at: at + 1, passed: Some((at, seen)) }
            }
            _ => empty,
        }
    }

    /// The CAS that takes what was `seen`.
    pub(crate) fn take(&self, next: &mut State, who: usize, slot: u8, seen: Word) -> Result<(), Invariant> {
        let place = usize::from(slot);
        next.slots[place] = Word { lap: seen.lap, tag: Tag::Taken(small(who)) };
        let process = &mut next.processes[who];
        process.held[usize::from(process.holds)] = (seen.lap * self.capacity + slot, 0);
        process.holds += 1;
        let message = next.payload[place];
        if message == u8::MAX {
            return Err(ONCE);
        }
        let first = message - message % self.messages;
        let earlier = (first..message).map(|message| 1 << message).sum::<u16>() & next.committed;
        if seen.tag == (Tag::Ready { again: false }) && earlier & !next.taken != 0 {
            return Err(ORDER);
        }
        next.taken |= 1 << message;
        Ok(())
    }

    pub(crate) fn release(&self, state: &State, who: usize, n: u8, steps: &mut Steps<State>) {
        let me = state.processes[who];
        let (at, value) = me.held[usize::from(n)];
        let (lap, slot) = (self.lap(at), self.slot(at));
        if state.slots[slot] != (Word { lap, tag: Tag::Taken(small(who)) }) {
            return steps.breach(who, "releases what is not its own", KEPT);
        }
        let mut next = state.clone();
        next.slots[slot] = free(lap + 1);
        if value == u8::MAX || state.committed & !state.consumed & 1 << value == 0 {
            return steps.breach(who, "consumes a message", ONCE);
        }
        next.consumed |= 1 << value;
        Self::released(&mut next.processes[who], n);
        steps.to(who, "consumes a message", next);
        if state.nacks > 0 {
            let mut next = state.clone();
            next.slots[slot] = Word { lap, tag: Tag::Ready { again: true } };
            next.nacks -= 1;
            next.processes[who].at = At::CountNack { n };
            if self.is(Bug::NackDoesNotCount) {
                Self::released(&mut next.processes[who], n);
            }
            steps.to(who, "gives a message back", next);
        }
    }

    pub(crate) fn released(process: &mut Process, n: u8) {
        process.at = At::Release { n: n + 1 };
        if n + 1 == process.holds {
            let Process { seen, want, cursor, .. } = *process;
            *process = Process { at: At::Idle, seen, want, cursor, ..NOBODY };
        }
    }
}
