//! A sender: reserve, fill, commit or abort.

use outlive_models::{Steps, small};

use crate::ring::{At, Bug, KEPT, NOBODY, Process, Ring, State, Tag, Then, Word, free, ready};

impl Ring {
    /// A sender's step, or a sender's choice of several.
    /// A sender's step, or a sender's choice of several.
    pub(crate) fn sender(&self, state: &State, who: usize, steps: &mut Steps<State>) {
        let me = state.processes[who];
        let owner = small(who);
        let mut next = state.clone();
        let last = if me.holds > 0 { me.held[usize::from(me.holds) - 1].0 } else { 0 };
        // A batch that finds no more comes back short.
        let stuck = match me.holds {
            0 => At::Idle,
            _ if self.is(Bug::BatchWaits) => At::Find { at: last + 1 },
            _ => At::Fill,
        };
        let (what, at) = match me.at {
            At::Idle if me.sent < self.messages => ("looks at the tail hint", At::Find { at: state.tail }),
            At::Find { at } => {
                let (lap, slot) = (self.lap(at), self.slot(at));
                let seen = state.slots[slot];
                let at = if seen == free(lap) {
                    At::Claim { at }
                } else if seen.lap >= lap {
                    if me.holds > 0 { stuck } else { At::Find { at: self.past(at, seen) } }
                } else if self.recovered(state, seen).is_some() {
                    let slot = small(slot);
                    At::Recover { slot, seen, then: Then::Find { at } }
                } else if seen.tag == Tag::Free {
                    return steps.breach(who, "finds a slot that is free in an earlier lap", KEPT);
                } else if matches!(seen.tag, Tag::Ready { .. }) && me.holds == 0 {
                    At::IsBehindHead { at }
                } else {
                    stuck
                };
                ("looks at a slot", at)
            }
            At::IsBehindHead { at } => {
                let is = state.head > at - self.capacity;
                (
                    "is full; looks at the head hint",
                    if is { At::Count { then: Then::Idle } } else { At::Idle },
                )
            }
            At::Claim { at } => {
                let slot = self.slot(at);
                if state.slots[slot] == free(self.lap(at)) || self.is(Bug::ClaimByStore) {
                    next.slots[slot] = Word { lap: self.lap(at), tag: Tag::Writing(owner) };
                    ("claims a slot", Self::claimed(&mut next.processes[who], at))
                } else {
                    ("does not get the slot", At::Find { at })
                }
            }
            At::IsTailBehind if state.tail > last => ("looks at the tail hint", self.after_claim(&me)),
            At::IsTailBehind => ("looks at the tail hint", At::MoveTail),
            At::MoveTail => {
                next.tail = last + 1;
                ("moves the tail hint", self.after_claim(&me))
            }
            At::Fill => {
                self.fill(&mut next, who);
                ("writes payload", At::Publish { n: 0 })
            }
            At::Publish { n } => return self.publish(state, who, n, steps),
            _ => return,
        };
        next.processes[who].at = at;
        steps.to(who, what, next);
        if let At::Find { .. } = me.at {
            if me.holds > 0 && !self.is(Bug::BatchWaits) {
                let mut next = state.clone();
                next.processes[who].at = At::Fill; // a smaller batch is one, too
                steps.to(who, "has enough", next);
            }
        }
    }

    pub(crate) fn claimed(process: &mut Process, at: u8) -> At {
        process.held[usize::from(process.holds)] = (at, 0);
        process.holds += 1;
        At::IsTailBehind
    }

    /// One more, or that was it.
    pub(crate) fn after_claim(&self, me: &Process) -> At {
        let last = me.held[usize::from(me.holds) - 1].0;
        if me.holds < self.batch.min(self.messages - me.sent) { At::Find { at: last + 1 } } else { At::Fill }
    }

    pub(crate) fn message(&self, who: usize, n: u8) -> u8 {
        small(who) * self.messages + n
    }

    pub(crate) fn fill(&self, next: &mut State, who: usize) {
        let me = next.processes[who];
        for n in 0..me.holds {
            let slot = self.slot(me.held[usize::from(n)].0);
            if !self.is(Bug::CommitBeforePayload) {
                next.payload[slot] = self.message(who, me.sent + n);
            }
        }
    }

    pub(crate) fn publish(&self, state: &State, who: usize, n: u8, steps: &mut Steps<State>) {
        let me = state.processes[who];
        let (at, owner) = (me.held[usize::from(n)].0, small(who));
        let (lap, slot) = (self.lap(at), self.slot(at));
        if state.slots[slot] != (Word { lap, tag: Tag::Writing(owner) }) {
            return steps.breach(who, "commits what is not its own", KEPT);
        }
        let done = |next: &mut State| {
            let process = &mut next.processes[who];
            process.at = At::Publish { n: n + 1 };
            if n + 1 == me.holds {
                let sent = process.sent;
                *process = Process { at: At::Idle, sent, ..NOBODY };
            }
        };
        let mut next = state.clone();
        next.slots[slot] = ready(lap);
        next.committed |= 1 << self.message(who, me.sent);
        next.processes[who].sent += 1;
        done(&mut next);
        if self.is(Bug::CommitBeforePayload) {
            next.payload[slot] = u8::MAX;
        }
        steps.to(who, "commits", next);
        if state.aborts > 0 && self.is_last_of_batch(&me, n) {
            let mut next = state.clone();
            next.slots[slot] = free(if self.is(Bug::AbortInTheSameLap) { lap } else { lap + 1 });
            next.aborts -= 1;
            done(&mut next);
            steps.to(who, "aborts", next);
        }
    }

    /// The messages of a batch are numbered when it is filled: only its end can be given up.
    pub(crate) fn is_last_of_batch(&self, me: &Process, n: u8) -> bool {
        self.batch == 1 || n + 1 == me.holds
    }
}
