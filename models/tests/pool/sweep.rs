//! Recovery: slots first, then blocks, whose words are corrected to agree with the slots.

use outlive_models::{Invariant, index};

use crate::pool::{At, BLOCKS, Block, Bug, CAPACITY, KEPT, ON_THE_WAY, Pool, State, Tag, lap, slot};

impl Pool {
    /// Recovery, in passing or of all that a dead one had.
    pub(crate) fn sweep(&self, next: &mut State, who: usize) -> Result<(&'static str, At), Invariant> {
        let blocks_first = self.is(Bug::BlocksBeforeSlots);
        let slots_done = |next: &mut State, dead: u8| {
            if blocks_first || self.is(Bug::SweepForgetsBlocks) {
                next.processes[index(dead)].at = At::Swept;
                return At::Idle;
            }
            At::SweepBlock { block: 0, dead }
        };
        Ok(match next.processes[who].at {
            At::SweepSlot { slot, dead } if slot == CAPACITY => ("has seen all slots", At::Count { dead }),
            At::SweepSlot { slot, dead } => {
                let seen = next.slots[index(slot)];
                let his = matches!(seen.tag, Tag::Writing(owner) | Tag::Taken(owner) if owner == dead);
                let other = At::SweepSlot { slot: slot + 1, dead };
                ("sweeps a slot", if his { At::Recover { slot, seen, dead } } else { other })
            }
            At::Recover { slot, seen, dead } => {
                let word = self.recovered(next, seen).ok_or(KEPT)?;
                let ours = next.slots[index(slot)] == seen;
                if ours {
                    next.slots[index(slot)] = word;
                    let dropped = matches!((seen.tag, word.tag), (Tag::Taken(_), Tag::Free));
                    let message = next.contents[index(next.payload[index(slot)])];
                    next.consumed |= if dropped { 1 << message } else { 0 };
                }
                let again = ours && word.tag == Tag::Ready { again: true };
                let at = match dead {
                    ON_THE_WAY if again => At::Count { dead },
                    ON_THE_WAY => At::Idle,
                    _ => At::SweepSlot { slot: slot + 1, dead },
                };
                ("recovers a slot", at)
            }
            At::Count { dead } => {
                for process in &mut next.processes {
                    process.seen = false;
                    process.want = false;
                }
                let at = if dead == ON_THE_WAY { At::Idle } else { slots_done(next, dead) };
                ("counts a redelivery", at)
            }
            At::SweepBlock { block, dead } if index(block) == BLOCKS => {
                if blocks_first {
                    return Ok(("has seen all blocks", At::SweepSlot { slot: 0, dead }));
                }
                next.processes[index(dead)].at = At::Swept;
                ("has seen all blocks", At::Idle)
            }
            At::SweepBlock { block, dead } => {
                let seen = next.blocks[index(block)];
                let at = match seen {
                    Block::Owned(owner) if owner == dead => {
                        At::Correct { block, dead, seen, to: Block::Free }
                    }
                    Block::Moving(owner) | Block::Recv(owner) if owner == dead => match self.bug {
                        Some(Bug::BlocksAreFreed) => At::Correct { block, dead, seen, to: Block::Free },
                        Some(Bug::BlocksAreShared) => At::Correct { block, dead, seen, to: Block::Shared },
                        _ => At::IsInRing { block, dead, seen },
                    },
                    _ => At::SweepBlock { block: block + 1, dead },
                };
                ("sweeps a block", at)
            }
            At::IsInRing { block, dead, seen } => {
                let link = next.links[index(block)];
                let word = next.slots[slot(link)];
                let there = matches!(word.tag, Tag::Ready { .. } | Tag::Taken(_)) && word.lap == lap(link);
                let to = if there { Block::Shared } else { Block::Free };
                ("looks whether a block is in the ring", At::Correct { block, dead, seen, to })
            }
            At::Correct { block, dead, seen, to } => {
                if next.blocks[index(block)] == seen || self.is(Bug::CorrectByStore) {
                    next.blocks[index(block)] = to;
                }
                ("corrects a block", At::SweepBlock { block: block + 1, dead })
            }
            at => ("does nothing", at),
        })
    }
}
