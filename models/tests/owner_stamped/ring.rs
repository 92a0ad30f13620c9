//! The words, the processes, and what everybody does who comes by a dead one.

use outlive_models::{Invariant, Model, Steps, small};

pub(crate) const KEPT: Invariant = "a claim is its owner's";
pub(crate) const ONCE: Invariant = "what was committed is consumed once";
pub(crate) const HINT: Invariant = "nothing that is new lies behind the head hint";
pub(crate) const ORDER: Invariant = "messages of one sender keep their order";

/// How many slots there are at most, and processes.
pub(crate) const SLOTS: usize = 3;
pub(crate) const PROCESSES: usize = 4;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Tag {
    Free,
    Writing(u8),
    Ready { again: bool },
    Taken(u8),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Word {
    pub(crate) lap: u8,
    pub(crate) tag: Tag,
}

/// What a repair interrupted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Then {
    Find {
        at: u8,
    },
    Search {
        at: u8,
    },
    /// A walk that has looked past a slot, of which it knows no more.
    Begin,
    Sweep {
        dead: u8,
        slot: u8,
    },
    Idle,
}

/// Where a process is: what it does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum At {
    /// A receiver that has not come yet.
    Absent,
    Idle,
    Dead,
    Swept,

    /// Sender: looks at the slot of a position.
    Find {
        at: u8,
    },
    Claim {
        at: u8,
    },
    /// Full, by a message that lies there: perhaps nobody looks for it.
    IsBehindHead {
        at: u8,
    },
    IsTailBehind,
    MoveTail,
    Fill,
    Publish {
        n: u8,
    },

    /// Receiver.
    Begin,
    /// `passed`: it looks past that position, which was being written, by that word.
    Search {
        at: u8,
        passed: Option<(u8, Word)>,
    },
    /// The slot that was passed once more, before the message behind it is taken.
    LookBack {
        at: u8,
        passed: (u8, Word),
        seen: Word,
    },
    Take {
        slot: u8,
        seen: Word,
        walker: u8,
        hint: bool,
    },
    IsHeadBehind {
        to: u8,
    },
    MoveHead {
        to: u8,
    },
    Read,
    Release {
        n: u8,
    },
    CountNack {
        n: u8,
    },
    /// Looks for messages to be delivered again; so many slots more. `last`: nothing else is there.
    Scan {
        left: u8,
        last: bool,
    },
    TakeAgain {
        seen: Word,
    },
    IsEmpty,

    Recover {
        slot: u8,
        seen: Word,
        then: Then,
    },
    Count {
        then: Then,
    },
    Sweep {
        dead: u8,
        slot: u8,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Process {
    pub(crate) at: At,
    /// Sender: messages so far.
    pub(crate) sent: u8,
    /// Positions that it has claimed, and (receiver) what is there.
    pub(crate) held: [(u8, u8); 2],
    pub(crate) holds: u8,
    /// Receiver: the counter is the one it has scanned for, or scans for; where the scan is.
    pub(crate) seen: bool,
    pub(crate) want: bool,
    pub(crate) cursor: u8,
}

pub(crate) const NOBODY: Process =
    Process { at: At::Swept, sent: 0, held: [(0, 0); 2], holds: 0, seen: false, want: false, cursor: 0 };

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct State {
    pub(crate) slots: [Word; SLOTS],
    pub(crate) payload: [u8; SLOTS],
    pub(crate) tail: u8,
    pub(crate) head: u8,
    pub(crate) processes: [Process; PROCESSES],
    pub(crate) deaths: u8,
    pub(crate) nacks: u8,
    pub(crate) aborts: u8,
    /// What has become of the messages: a bit each.
    pub(crate) committed: u16,
    pub(crate) taken: u16,
    pub(crate) consumed: u16,
}

/// What can be wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bug {
    /// A sweep repairs slots, and does not count.
    SweepDoesNotCount,
    /// A nack does not count.
    NackDoesNotCount,
    /// What a dead receiver had is taken for consumed.
    TakenIsConsumed,
    /// The head hint is moved behind the walker's position, not behind that of the slot.
    HintOfTheWalker,
    /// Relaxed: the head hint is moved past a slot that is not settled.
    HintPastUnsettled,
    /// Relaxed: the head hint is moved by whoever finds a message in a scan.
    HintOfTheScan,
    /// Relaxed: no second look at the slot that was passed.
    NoLookBack,
    /// The payload after READY.
    CommitBeforePayload,
    /// A slot that was seen FREE is claimed without a CAS.
    ClaimByStore,
    /// An aborted position is free once more, in the same lap.
    AbortInTheSameLap,
    /// A scan is taken for one of what the counter is when it ends.
    ScanOfTheEnd,
    /// Slots of the living are recovered.
    NoVerdict,
    /// A batch waits until it is complete.
    BatchWaits,
    /// A receiver that comes believes that there is nothing to scan for.
    NewcomerHasScanned,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Ring {
    pub(crate) capacity: u8,
    pub(crate) senders: usize,
    pub(crate) receivers: usize,
    /// Of each sender.
    pub(crate) messages: u8,
    /// Most claims of a sender, and of a receiver, at a time.
    pub(crate) batch: u8,
    pub(crate) deaths: u8,
    pub(crate) nacks: u8,
    pub(crate) aborts: u8,
    pub(crate) relaxed: bool,
    pub(crate) at_most_once: bool,
    /// The last receiver comes late.
    pub(crate) late: bool,
    /// Slots that are scanned beside the usual way, at a time.
    pub(crate) budget: u8,
    pub(crate) bug: Option<Bug>,
}

/// No batches, no deaths, nothing.
pub(crate) fn of(capacity: u8, senders: usize, receivers: usize, messages: u8) -> Ring {
    Ring {
        capacity,
        senders,
        receivers,
        messages,
        batch: 1,
        deaths: 0,
        nacks: 0,
        aborts: 0,
        relaxed: false,
        at_most_once: false,
        late: false,
        budget: 1,
        bug: None,
    }
}

pub(crate) fn ready(lap: u8) -> Word {
    Word { lap, tag: Tag::Ready { again: false } }
}

pub(crate) fn free(lap: u8) -> Word {
    Word { lap, tag: Tag::Free }
}

impl Ring {
    pub(crate) fn is(&self, bug: Bug) -> bool {
        self.bug == Some(bug)
    }

    pub(crate) fn processes(&self) -> usize {
        self.senders + self.receivers
    }

    pub(crate) fn lap(&self, at: u8) -> u8 {
        at / self.capacity
    }

    pub(crate) fn slot(&self, at: u8) -> usize {
        usize::from(at % self.capacity)
    }

    /// Where a walker goes on who was at `at`, and found a later lap there: everything that is two rounds behind is settled.
    pub(crate) fn past(&self, at: u8, seen: Word) -> u8 {
        let newest = seen.lap * self.capacity + at % self.capacity;
        (at + 1).max((newest + 1).saturating_sub(2 * self.capacity))
    }

    pub(crate) fn is_dead(&self, state: &State, who: u8) -> bool {
        self.is(Bug::NoVerdict) || matches!(state.processes[usize::from(who)].at, At::Dead | At::Swept)
    }

    /// The word that recovery makes of `seen`, if its owner is dead; and whether a message is to be delivered again.
    pub(crate) fn recovered(&self, state: &State, seen: Word) -> Option<(Word, bool)> {
        match seen.tag {
            Tag::Writing(owner) if self.is_dead(state, owner) => Some((free(seen.lap + 1), false)),
            Tag::Taken(owner) if self.is_dead(state, owner) => {
                if self.at_most_once || self.is(Bug::TakenIsConsumed) {
                    return Some((free(seen.lap + 1), false));
                }
                Some((Word { lap: seen.lap, tag: Tag::Ready { again: true } }, true))
            }
            _ => None,
        }
    }

    /// Somebody has counted: nobody has scanned for that.
    pub(crate) fn count(next: &mut State) {
        for process in &mut next.processes {
            process.seen = false;
            process.want = false;
        }
    }

    pub(crate) fn resumed(&self, next: &mut State, then: Then) -> At {
        match then {
            Then::Find { at } => At::Find { at },
            Then::Search { at } => At::Search { at, passed: None },
            Then::Sweep { dead, slot } if slot < self.capacity => At::Sweep { dead, slot },
            Then::Sweep { dead, .. } => {
                next.processes[usize::from(dead)].at = At::Swept;
                At::Idle
            }
            Then::Begin => At::Begin,
            Then::Idle => At::Idle,
        }
    }

    /// After a slot has been seen to.
    pub(crate) fn swept(&self, dead: u8, slot: u8, next: &mut State) -> At {
        let then = Then::Sweep { dead, slot: slot + 1 };
        if slot + 1 < self.capacity || self.is(Bug::SweepDoesNotCount) {
            self.resumed(next, then)
        } else {
            At::Count { then }
        }
    }

    /// What everybody does who comes by a dead one.
    pub(crate) fn repair(&self, state: &State, who: usize) -> Option<(&'static str, State)> {
        let mut next = state.clone();
        let (what, at) = match state.processes[who].at {
            At::Recover { slot, seen, then } => {
                let (word, again) = self.recovered(state, seen)?;
                if state.slots[usize::from(slot)] != seen {
                    let at = match then {
                        Then::Sweep { dead, slot } => self.swept(dead, slot - 1, &mut next),
                        then => self.resumed(&mut next, then),
                    };
                    next.processes[who].at = at;
                    return Some(("recovers nothing: it has changed", next));
                }
                next.slots[usize::from(slot)] = word;
                if let (Tag::Taken(_), Tag::Free) = (seen.tag, word.tag) {
                    // At most once: dropped. It counts as consumed, and must not have been.
                    next.consumed |=
                        if self.at_most_once { 1 << state.payload[usize::from(slot)] } else { 0 };
                }
                let then = match then {
                    Then::Sweep { dead, slot } if again => Then::Sweep { dead, slot },
                    Then::Sweep { dead, slot } => {
                        next.processes[who].at = self.swept(dead, slot - 1, &mut next);
                        return Some(("recovers a slot", next));
                    }
                    other => other,
                };
                let at = if again { At::Count { then } } else { self.resumed(&mut next, then) };
                ("recovers a slot", at)
            }
            At::Count { then } => {
                Self::count(&mut next);
                ("counts a redelivery", self.resumed(&mut next, then))
            }
            At::Sweep { dead, slot } => {
                let seen = state.slots[usize::from(slot)];
                let is_his = matches!(seen.tag, Tag::Writing(owner) | Tag::Taken(owner) if owner == dead);
                let then = Then::Sweep { dead, slot: slot + 1 };
                let at =
                    if is_his { At::Recover { slot, seen, then } } else { self.swept(dead, slot, &mut next) };
                ("sweeps a slot", at)
            }
            _ => return None,
        };
        next.processes[who].at = at;
        Some((what, next))
    }
}

impl Model for Ring {
    type State = State;

    fn start(&self) -> State {
        let mut processes = [NOBODY; PROCESSES];
        processes[..self.processes()].fill(Process { at: At::Idle, ..NOBODY });
        for process in &mut processes[self.senders..self.processes()] {
            process.seen = true; // it came first
        }
        if self.late {
            processes[self.processes() - 1].at = At::Absent;
        }
        State {
            slots: [free(0); SLOTS],
            payload: [0; SLOTS],
            tail: 0,
            head: 0,
            processes,
            deaths: self.deaths,
            nacks: self.nacks,
            aborts: self.aborts,
            committed: 0,
            taken: 0,
            consumed: 0,
        }
    }

    fn steps(&self, state: &State, steps: &mut Steps<State>) {
        for who in 0..self.processes() {
            let at = state.processes[who].at;
            if matches!(at, At::Dead | At::Swept) {
                continue;
            }
            if let Some((what, next)) = self.repair(state, who) {
                steps.to(who, what, next);
            } else if who < self.senders {
                self.sender(state, who, steps);
            } else {
                self.receiver(state, who, steps);
            }
            if state.deaths > 0 && who + 1 < self.processes() {
                let mut next = state.clone();
                next.processes[who] = Process { at: At::Dead, ..NOBODY };
                next.deaths -= 1;
                steps.to(who, "dies", next);
            }
            for dead in 0..self.processes() {
                if at == At::Idle && state.processes[dead].at == At::Dead {
                    let mut next = state.clone();
                    next.processes[who].at = At::Sweep { dead: small(dead), slot: 0 };
                    steps.to(who, "begins to sweep", next);
                }
            }
        }
    }

    fn check(&self, state: &State) -> Result<(), Invariant> {
        if state.consumed & !state.committed != 0 {
            return Err(ONCE);
        }
        let is_behind = |(slot, word): (u8, &Word)| {
            let is_new = matches!(word.tag, Tag::Writing(_) | Tag::Ready { again: false });
            is_new && word.lap * self.capacity + slot < state.head
        };
        if (0..self.capacity).zip(&state.slots).any(is_behind) { Err(HINT) } else { Ok(()) }
    }

    fn is_good(&self, state: &State) -> bool {
        let idle = |who: usize| match state.processes[who].at {
            At::Idle => who >= self.senders || state.processes[who].sent == self.messages,
            at => at == At::Swept,
        };
        (0..self.processes()).all(idle)
            && state.slots.iter().all(|slot| slot.tag == Tag::Free)
            && state.committed == state.consumed
    }

    fn name(&self, who: usize) -> String {
        if who < self.senders { format!("sender {who}") } else { format!("receiver {}", who - self.senders) }
    }
}
