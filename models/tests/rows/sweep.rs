//! Verdicts about others, and what is done to the dead.

use outlive_models::{index, small};

use crate::table::{At, Bug, For, Owner, Phase, Process, RowState, State, Table};

impl Table {
    /// A verdict, and what follows.
    pub(crate) fn ask(&self, next: &mut State, who: usize, process: &mut Process) -> &'static str {
        let verdict = |dead: bool, owner: Owner, why: For| match (dead, why) {
            (false, _) => At::Idle,
            (true, For::Word) => At::TakeWord { seen: Some(owner) },
            (true, For::Sweep) => {
                let seen = RowState { generation: owner.1, phase: Phase::Active };
                At::SweepByte { row: owner.0, seen }
            }
        };
        match process.at {
            At::AskState { owner, why } => {
                let seen = next.rows[index(owner.0)].state;
                process.at = if process.owner == Some(owner) {
                    verdict(false, owner, why)
                } else if seen.generation != owner.1 || seen.phase != Phase::Active || self.is(Bug::NoVerdict)
                {
                    verdict(true, owner, why)
                } else {
                    At::AskIdentity { owner, why, seen }
                };
                "asks: the row"
            }
            At::AskIdentity { owner, why, seen } => {
                let identity = next.rows[index(owner.0)].identity;
                process.at = At::AskKernel { owner, why, seen, identity };
                "asks: the identity"
            }
            At::AskKernel { owner, why, seen, identity } => {
                let says = if self.pidfds {
                    next.processes[index(identity)].at == At::Dead && index(identity) != who
                } else {
                    next.rows[index(owner.0)].byte.is_none()
                };
                process.at = match (says, self.is(Bug::NoSecondLook)) {
                    (true, false) => At::AskAgain { owner, why, seen },
                    (says, _) => verdict(says, owner, why),
                };
                "asks: the kernel"
            }
            At::AskAgain { owner, why, seen } => {
                let same = next.rows[index(owner.0)].state == seen;
                process.at = if same { verdict(true, owner, why) } else { At::AskState { owner, why } };
                "asks: the row once more"
            }
            At::TakeWord { seen } => {
                if next.word == seen {
                    next.word = process.owner;
                    process.holds = true;
                }
                process.at = At::Idle;
                "takes the word, if it is that still"
            }
            _ => "does nothing",
        }
    }

    pub(crate) fn sweep(&self, next: &mut State, who: usize, process: &mut Process) -> &'static str {
        let me = small(who);
        match process.at {
            At::SweepRow { row } => {
                let seen = next.rows[index(row)].state;
                process.at = match seen.phase {
                    Phase::Free => At::Idle,
                    Phase::Active => At::AskState { owner: (row, seen.generation), why: For::Sweep },
                    Phase::Dead => At::SweepByte { row, seen },
                };
                "looks at a row"
            }
            At::SweepByte { row, seen } => {
                let byte = &mut next.rows[index(row)].sweep;
                let ours = byte.is_none() || self.is(Bug::NoSweepByte);
                if ours && !self.is(Bug::NoSweepByte) {
                    *byte = Some(me);
                }
                process.at = if ours { At::Mark { row, seen } } else { At::Idle };
                "tries to take the sweep byte"
            }
            At::Mark { row, seen } => {
                let (place, dead) = (&mut next.rows[index(row)], seen.with(Phase::Dead));
                process.at = At::SweepReturn { row };
                if place.state == seen {
                    place.state = dead;
                    let late = self.is(Bug::FreeBeforeRepair);
                    process.at = if late { At::SweepFree { row, dead } } else { At::SweepBit { row, dead } };
                }
                "marks the row DEAD"
            }
            At::SweepBit { row, dead } => {
                let bit = next.rows[index(row)].bit;
                process.at = if bit { At::SweepWord { row, dead } } else { At::SweepFree { row, dead } };
                "looks at his bit"
            }
            At::SweepWord { row, dead } | At::Late { row, dead } => {
                if next.word == Some((row, dead.generation)) && !self.is(Bug::ForgetsWord) {
                    next.word = None;
                }
                process.at = At::SweepClear { row, dead };
                "frees the word, if it is his"
            }
            At::SweepClear { row, dead } => {
                next.rows[index(row)].bit &= self.is(Bug::ForgetsBit);
                let late = self.is(Bug::FreeBeforeRepair);
                process.at = if late { At::SweepReturn { row } } else { At::SweepFree { row, dead } };
                "clears his bit"
            }
            At::SweepFree { row, dead } => {
                let place = &mut next.rows[index(row)];
                if place.state == dead {
                    place.state = dead.with(Phase::Free);
                }
                let late = self.is(Bug::FreeBeforeRepair);
                process.at = if late { At::Late { row, dead } } else { At::SweepReturn { row } };
                "makes the row FREE"
            }
            At::SweepReturn { row } => {
                let byte = &mut next.rows[index(row)].sweep;
                *byte = byte.filter(|&holder| holder != me);
                process.at = At::Idle;
                "gives the sweep byte back"
            }
            _ => "does nothing",
        }
    }
}
