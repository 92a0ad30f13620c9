//! Slots, blocks, and whoever sends and receives.

use outlive_models::{Invariant, Model, Steps, index, small};

pub(crate) const KEPT: Invariant = "a slot or a block is its owner's";
pub(crate) const FLIGHT: Invariant = "what a message refers to is on its way";
pub(crate) const ONCE: Invariant = "what was committed is consumed once";

pub(crate) const SLOTS: usize = 2;
pub(crate) const BLOCKS: usize = 2;
pub(crate) const PROCESSES: usize = 4;
pub(crate) const CAPACITY: u8 = 2;
pub(crate) const NONE: u8 = 9;

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

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Block {
    Free,
    Owned(u8),
    Moving(u8),
    Recv(u8),
    Shared,
}

/// Where a process is: what it does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum At {
    Idle,
    Dead,
    Swept,

    Allocate {
        block: u8,
    },
    Fill,
    Find {
        at: u8,
    },
    Claim {
        at: u8,
    },
    IsTailBehind {
        at: u8,
    },
    MoveTail {
        at: u8,
    },
    Link {
        at: u8,
    },
    Move {
        at: u8,
    },
    Refer {
        at: u8,
    },
    Commit {
        at: u8,
    },

    Begin,
    Search {
        at: u8,
    },
    Take {
        slot: u8,
        seen: Word,
    },
    IsHeadBehind {
        at: u8,
    },
    MoveHead {
        at: u8,
    },
    Payload {
        at: u8,
    },
    Look {
        at: u8,
    },
    Receive {
        at: u8,
        seen: Block,
    },
    Contents {
        at: u8,
    },
    Consume {
        at: u8,
        message: u8,
    },
    Own {
        at: u8,
    },
    Free,
    Scan {
        slot: u8,
    },

    /// A slot of a dead one; then on with that.
    Recover {
        slot: u8,
        seen: Word,
        dead: u8,
    },
    Count {
        dead: u8,
    },
    SweepSlot {
        slot: u8,
        dead: u8,
    },
    SweepBlock {
        block: u8,
        dead: u8,
    },
    IsInRing {
        block: u8,
        dead: u8,
        seen: Block,
    },
    Correct {
        block: u8,
        dead: u8,
        seen: Block,
        to: Block,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Process {
    pub(crate) at: At,
    pub(crate) sent: u8,
    pub(crate) block: u8,
    /// The counter is the one that it has scanned for, or scans for.
    pub(crate) seen: bool,
    pub(crate) want: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct State {
    pub(crate) slots: [Word; SLOTS],
    pub(crate) payload: [u8; SLOTS],
    pub(crate) blocks: [Block; BLOCKS],
    pub(crate) links: [u8; BLOCKS],
    pub(crate) contents: [u8; BLOCKS],
    pub(crate) tail: u8,
    pub(crate) head: u8,
    pub(crate) processes: [Process; PROCESSES],
    pub(crate) deaths: u8,
    pub(crate) committed: u8,
    pub(crate) consumed: u8,
}

impl State {
    fn is_dead(&self, who: u8) -> bool {
        matches!(self.processes[index(who)].at, At::Dead | At::Swept)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bug {
    /// Blocks of the dead are freed without a look at the slot.
    BlocksAreFreed,
    /// Blocks of the dead are left to the ring without a look at the slot.
    BlocksAreShared,
    SweepForgetsBlocks,
    /// No bug, as it turns out: the other order.
    BlocksBeforeSlots,
    LinkBehindMoving,
    OwnedBeforeConsumed,
    /// What a dead receiver had is dropped: at most once.
    Dropped,
    CorrectByStore,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Pool {
    pub(crate) senders: usize,
    pub(crate) receivers: usize,
    pub(crate) messages: u8,
    pub(crate) deaths: u8,
    pub(crate) bug: Option<Bug>,
}

/// No row is that of nobody: who recovers on his way, and does not sweep.
pub(crate) const ON_THE_WAY: u8 = 8;

pub(crate) fn free(lap: u8) -> Word {
    Word { lap, tag: Tag::Free }
}

pub(crate) fn slot(at: u8) -> usize {
    index(at % CAPACITY)
}

pub(crate) fn lap(at: u8) -> u8 {
    at / CAPACITY
}

impl Pool {
    pub(crate) fn is(&self, bug: Bug) -> bool {
        self.bug == Some(bug)
    }

    fn processes(&self) -> usize {
        self.senders + self.receivers
    }

    pub(crate) fn recovered(&self, state: &State, seen: Word) -> Option<Word> {
        match seen.tag {
            Tag::Writing(owner) if state.is_dead(owner) => Some(free(seen.lap + 1)),
            Tag::Taken(owner) if state.is_dead(owner) && self.is(Bug::Dropped) => Some(free(seen.lap + 1)),
            Tag::Taken(owner) if state.is_dead(owner) => {
                Some(Word { lap: seen.lap, tag: Tag::Ready { again: true } })
            }
            _ => None,
        }
    }

    fn send(&self, next: &mut State, who: usize) -> Result<(&'static str, At), Invariant> {
        let me = next.processes[who];
        let owner = small(who);
        Ok(match me.at {
            At::Idle if me.block == NONE => {
                let free = (0_u8..).zip(&next.blocks).find(|(_, block)| **block == Block::Free);
                ("looks for a block", free.map_or(At::Idle, |(block, _)| At::Allocate { block }))
            }
            At::Idle => ("looks at the tail hint", At::Find { at: next.tail }),
            At::Allocate { block } => {
                let ours = next.blocks[index(block)] == Block::Free;
                if ours {
                    next.blocks[index(block)] = Block::Owned(owner);
                    next.processes[who].block = block;
                }
                ("allocates a block", if ours { At::Fill } else { At::Idle })
            }
            At::Fill => {
                next.contents[index(me.block)] = owner * self.messages + me.sent;
                ("fills the block", At::Idle)
            }
            At::Find { at } => {
                let seen = next.slots[slot(at)];
                let at = if seen == free(lap(at)) {
                    At::Claim { at }
                } else if seen.lap >= lap(at) {
                    At::Find { at: at + 1 }
                } else if self.recovered(next, seen).is_some() {
                    At::Recover { slot: at % CAPACITY, seen, dead: ON_THE_WAY }
                } else if matches!(seen.tag, Tag::Ready { .. }) && next.head + CAPACITY > at {
                    At::Count { dead: ON_THE_WAY }
                } else {
                    At::Idle
                };
                ("looks at a slot", at)
            }
            At::Claim { at } => {
                let ours = next.slots[slot(at)] == free(lap(at));
                if ours {
                    next.slots[slot(at)].tag = Tag::Writing(owner);
                }
                ("claims a slot", if ours { At::IsTailBehind { at } } else { At::Find { at } })
            }
            At::IsTailBehind { at } if next.tail > at => ("looks at the tail hint", self.linked(at)),
            At::IsTailBehind { at } => ("looks at the tail hint", At::MoveTail { at }),
            At::MoveTail { at } => {
                next.tail = at + 1;
                ("moves the tail hint", self.linked(at))
            }
            At::Link { at } => {
                next.links[index(me.block)] = at;
                (
                    "links the block",
                    if self.is(Bug::LinkBehindMoving) { At::Refer { at } } else { At::Move { at } },
                )
            }
            At::Move { at } => {
                next.blocks[index(me.block)] = Block::Moving(owner);
                let late = self.is(Bug::LinkBehindMoving);
                ("makes the block MOVING", if late { At::Link { at } } else { At::Refer { at } })
            }
            At::Refer { at } => {
                next.payload[slot(at)] = me.block;
                ("refers to the block", At::Commit { at })
            }
            At::Commit { at } => {
                if next.slots[slot(at)] != (Word { lap: lap(at), tag: Tag::Writing(owner) }) {
                    return Err(KEPT);
                }
                next.slots[slot(at)].tag = Tag::Ready { again: false };
                next.committed |= 1 << (owner * self.messages + me.sent);
                next.processes[who].sent += 1;
                next.processes[who].block = NONE;
                ("commits", At::Idle)
            }
            _ => return self.sweep(next, who),
        })
    }

    fn linked(&self, at: u8) -> At {
        if self.is(Bug::LinkBehindMoving) { At::Move { at } } else { At::Link { at } }
    }

    #[expect(clippy::too_many_lines, reason = "a table of steps")]
    fn receive(&self, next: &mut State, who: usize) -> Result<(&'static str, At), Invariant> {
        let me = next.processes[who];
        let owner = small(who);
        Ok(match me.at {
            At::Idle if me.seen => ("sees that nobody has counted", At::Begin),
            At::Idle => {
                next.processes[who].want = true;
                ("sees that somebody has counted", At::Scan { slot: 0 })
            }
            At::Scan { slot } => {
                let seen = next.slots[index(slot)];
                if seen.tag == (Tag::Ready { again: true }) {
                    return Ok(("finds a message to be delivered again", At::Take { slot, seen }));
                }
                if slot + 1 < CAPACITY {
                    return Ok(("scans a slot", At::Scan { slot: slot + 1 }));
                }
                next.processes[who].seen = me.want;
                next.processes[who].want = false;
                ("scans the last slot", At::Begin)
            }
            At::Begin => ("looks at the head hint", At::Search { at: next.head }),
            At::Search { at } => {
                let (seen, number) = (next.slots[slot(at)], at % CAPACITY);
                let dead = self.recovered(next, seen).is_some();
                let at = match seen.tag {
                    _ if seen.lap > lap(at) => At::Search { at: at + 1 },
                    Tag::Ready { .. } => At::Take { slot: number, seen },
                    Tag::Taken(_) if dead && !self.is(Bug::Dropped) => At::Take { slot: number, seen },
                    Tag::Writing(_) | Tag::Taken(_) if dead => {
                        At::Recover { slot: number, seen, dead: ON_THE_WAY }
                    }
                    Tag::Taken(_) if seen.lap == lap(at) => At::Search { at: at + 1 },
                    _ => At::Idle,
                };
                ("looks at a slot", at)
            }
            At::Take { slot, seen } => {
                let ours = next.slots[index(slot)] == seen;
                if ours {
                    next.slots[index(slot)].tag = Tag::Taken(owner);
                }
                let at = seen.lap * CAPACITY + slot;
                ("takes a message", if ours { At::IsHeadBehind { at } } else { At::Idle })
            }
            At::IsHeadBehind { at } if next.head > at => ("looks at the head hint", At::Payload { at }),
            At::IsHeadBehind { at } => ("looks at the head hint", At::MoveHead { at }),
            At::MoveHead { at } => {
                next.head = at + 1;
                ("moves the head hint", At::Payload { at })
            }
            At::Payload { at } => {
                next.processes[who].block = next.payload[slot(at)];
                ("reads which block it is", At::Look { at })
            }
            At::Look { at } => {
                let seen = next.blocks[index(me.block)];
                match seen {
                    Block::Moving(_) | Block::Shared => {}
                    Block::Recv(owner) if next.is_dead(owner) => {}
                    _ => return Err(FLIGHT),
                }
                ("looks at the block", At::Receive { at, seen })
            }
            At::Receive { at, seen } => {
                let ours = next.blocks[index(me.block)] == seen;
                if ours {
                    next.blocks[index(me.block)] = Block::Recv(owner);
                }
                ("receives the block", if ours { At::Contents { at } } else { At::Look { at } })
            }
            At::Contents { at } => {
                let message = next.contents[index(me.block)];
                let early = self.is(Bug::OwnedBeforeConsumed);
                if early {
                    next.blocks[index(me.block)] = Block::Owned(owner);
                }
                ("reads the block", At::Consume { at, message })
            }
            At::Consume { at, message } => {
                if next.slots[slot(at)] != (Word { lap: lap(at), tag: Tag::Taken(owner) }) {
                    return Err(KEPT);
                }
                if next.committed & !next.consumed & 1 << message == 0 {
                    return Err(ONCE);
                }
                next.slots[slot(at)] = free(lap(at) + 1);
                next.consumed |= 1 << message;
                ("consumes the message", At::Own { at })
            }
            At::Own { .. } => {
                let held = [Block::Recv(owner), Block::Owned(owner)];
                if !held.contains(&next.blocks[index(me.block)]) {
                    return Err(KEPT);
                }
                next.blocks[index(me.block)] = Block::Owned(owner);
                ("owns the block", At::Free)
            }
            At::Free => {
                next.blocks[index(me.block)] = Block::Free;
                next.processes[who].block = NONE;
                ("frees the block", At::Idle)
            }
            _ => return self.sweep(next, who),
        })
    }
}

impl Model for Pool {
    type State = State;

    fn start(&self) -> State {
        let mut processes =
            [Process { at: At::Swept, sent: 0, block: NONE, seen: false, want: false }; PROCESSES];
        for (who, process) in processes.iter_mut().enumerate().take(self.processes()) {
            process.at = At::Idle;
            process.seen = who >= self.senders;
        }
        State {
            slots: [free(0); SLOTS],
            payload: [0; SLOTS],
            blocks: [Block::Free; BLOCKS],
            links: [0; BLOCKS],
            contents: [0; BLOCKS],
            tail: 0,
            head: 0,
            processes,
            deaths: self.deaths,
            committed: 0,
            consumed: 0,
        }
    }

    fn steps(&self, state: &State, steps: &mut Steps<State>) {
        for who in 0..self.processes() {
            let me = state.processes[who];
            if matches!(me.at, At::Dead | At::Swept) {
                continue;
            }
            let is_sender = who < self.senders;
            let is_done = is_sender && me.at == At::Idle && me.sent == self.messages;
            if !is_done {
                let mut next = state.clone();
                let found = if is_sender { self.send(&mut next, who) } else { self.receive(&mut next, who) };
                match found {
                    Ok((what, at)) => {
                        next.processes[who].at = at;
                        steps.to(who, what, next);
                    }
                    Err(invariant) => steps.breach(who, "goes on", invariant),
                }
            }
            if state.deaths > 0 && who + 1 < self.processes() {
                let mut next = state.clone();
                next.processes[who] =
                    Process { at: At::Dead, sent: 0, block: NONE, seen: false, want: false };
                next.deaths -= 1;
                steps.to(who, "dies", next);
            }
            for dead in 0..small(self.processes()) {
                if me.at == At::Idle && state.processes[index(dead)].at == At::Dead {
                    let mut next = state.clone();
                    let first = self.is(Bug::BlocksBeforeSlots);
                    next.processes[who].at = if first {
                        At::SweepBlock { block: 0, dead }
                    } else {
                        At::SweepSlot { slot: 0, dead }
                    };
                    steps.to(who, "begins to sweep", next);
                }
            }
        }
    }

    fn check(&self, state: &State) -> Result<(), Invariant> {
        if state.consumed & !state.committed == 0 { Ok(()) } else { Err(ONCE) }
    }

    fn is_good(&self, state: &State) -> bool {
        let idle = |(who, process): (usize, &Process)| match process.at {
            At::Idle => who >= self.senders || process.sent == self.messages,
            at => at == At::Swept,
        };
        state.processes.iter().enumerate().all(idle)
            && state.slots.iter().all(|word| word.tag == Tag::Free)
            && state.blocks.iter().all(|block| *block == Block::Free)
            && state.committed == state.consumed
    }

    fn name(&self, who: usize) -> String {
        if who < self.senders { format!("sender {who}") } else { format!("receiver {}", who - self.senders) }
    }
}
