//! What the dead have left.

use outlive_models::index;

use crate::entries::{At, Bug, Directory, Phase, Process, State};

impl Directory {
    /// What the dead have left.
    pub(crate) fn sweep(&self, next: &mut State, process: &mut Process) -> &'static str {
        match process.at {
            At::SweepWord { dead, entry, complete } => {
                let empty = next.entries.get(index(entry)).is_none_or(|e| e.word.phase == Phase::Empty);
                process.at = if empty {
                    At::SweepLock { dead, complete }
                } else {
                    At::SweepBits { dead, entry, complete }
                };
                "looks whether an entry was used"
            }
            At::SweepBits { dead, entry, complete } => {
                let bit = next.entries[index(entry)].bits & 1 << dead != 0;
                process.at = At::SweepState { dead, entry, complete, bit };
                "looks at his bit"
            }
            At::SweepState { dead, entry, complete, bit } => {
                let seen = next.entries[index(entry)].word;
                let his = seen.phase == Phase::Reserved(dead) || seen.phase == Phase::Vacating(dead);
                process.at = if his && !self.is(Bug::SweepForgetsReserved) {
                    At::SweepChange { dead, entry, complete, bit, seen }
                } else {
                    Self::judged(dead, entry, complete, bit, seen.phase)
                };
                "looks at the entry"
            }
            At::SweepChange { dead, entry, complete, bit, seen } => {
                let word = &mut next.entries[index(entry)].word;
                if *word == seen || self.is(Bug::SweepByStore) {
                    *word = seen.next(Phase::Retired);
                }
                process.at = At::SweepAgain { dead, entry, complete, bit };
                "retires what he had reserved"
            }
            At::SweepAgain { dead, entry, complete, bit } => {
                let phase = next.entries[index(entry)].word.phase;
                process.at = Self::judged(dead, entry, complete, bit, phase);
                "looks at the entry again"
            }
            At::SweepClear { dead, entry, complete } => {
                if !self.is(Bug::SweepForgetsBits) {
                    next.entries[index(entry)].bits &= !(1 << dead);
                }
                process.at = At::SweepWord { dead, entry: entry + 1, complete };
                "clears his bit"
            }
            At::SweepLock { dead, complete } => {
                let his = next.lock == Some(dead) && !self.is(Bug::SweepForgetsLock);
                process.at = if his { At::FreeLock { dead, complete } } else { At::Idle };
                if !his && complete {
                    next.processes[index(dead)].at = At::Swept;
                }
                "looks at the lock"
            }
            At::FreeLock { dead, complete } => {
                next.lock = next.lock.filter(|&holder| holder != dead);
                process.at = At::Idle;
                if complete {
                    next.processes[index(dead)].at = At::Swept;
                }
                "frees his lock"
            }
            _ => "does nothing",
        }
    }

    /// What a sweeper does about a bit, the entry being in that state.
    fn judged(dead: u8, entry: u8, complete: bool, bit: bool, phase: Phase) -> At {
        match phase {
            _ if !bit => At::SweepWord { dead, entry: entry + 1, complete },
            Phase::Vacating(_) => At::SweepWord { dead, entry: entry + 1, complete: false },
            _ => At::SweepClear { dead, entry, complete },
        }
    }
}
