//! The table, its tenants, and the kernel.

use outlive_models::{Invariant, Model, Steps, index, small};

pub(crate) const S1: Invariant = "S1: only its tenant, or his death, ends that a row is ACTIVE";
pub(crate) const S2: Invariant = "S2: nothing is left of the last tenant of a row that is FREE";
pub(crate) const DI3: Invariant = "D-I3: the bit of a tenant is his";
pub(crate) const HELD: Invariant = "a word is its owner's";
pub(crate) const NEW: Invariant = "a tenant's generation is new";

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Phase {
    Free,
    Active,
    Dead,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct RowState {
    pub(crate) generation: u8,
    pub(crate) phase: Phase,
}

impl RowState {
    pub(crate) fn with(self, phase: Phase) -> Self {
        Self { phase, ..self }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Row {
    pub(crate) state: RowState,
    pub(crate) identity: u8,
    /// Who has the byte, dead or alive.
    pub(crate) byte: Option<u8>,
    pub(crate) sweep: Option<u8>,
    /// Whether the object is open by this row.
    pub(crate) bit: bool,
    /// How many tenants there were.
    pub(crate) tenants: u8,
}

/// An owner: row and generation.
pub(crate) type Owner = (u8, u8);

/// What a verdict is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum For {
    Word,
    Sweep,
}

/// Where a process is: what it does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum At {
    /// Without a row, or with one, and at nothing.
    Idle,
    Dead,

    LookFree {
        row: u8,
    },
    TakeByte {
        row: u8,
        seen: RowState,
    },
    LookAgain {
        row: u8,
        seen: RowState,
    },
    Introduce {
        row: u8,
        seen: RowState,
    },
    Activate {
        row: u8,
        seen: RowState,
    },
    /// With one bug: after ACTIVE.
    IntroduceLate,
    ReturnByte {
        row: u8,
    },

    TakeWord {
        seen: Option<Owner>,
    },
    OwnBit,
    OwnWord,
    OwnClear,
    OwnFree,

    AskState {
        owner: Owner,
        why: For,
    },
    AskIdentity {
        owner: Owner,
        why: For,
        seen: RowState,
    },
    AskKernel {
        owner: Owner,
        why: For,
        seen: RowState,
        identity: u8,
    },
    AskAgain {
        owner: Owner,
        why: For,
        seen: RowState,
    },

    SweepRow {
        row: u8,
    },
    SweepByte {
        row: u8,
        seen: RowState,
    },
    Mark {
        row: u8,
        seen: RowState,
    },
    SweepBit {
        row: u8,
        dead: RowState,
    },
    SweepWord {
        row: u8,
        dead: RowState,
    },
    SweepClear {
        row: u8,
        dead: RowState,
    },
    SweepFree {
        row: u8,
        dead: RowState,
    },
    SweepReturn {
        row: u8,
    },
    /// With one bug: the repair after FREE.
    Late {
        row: u8,
        dead: RowState,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Process {
    pub(crate) at: At,
    /// How often it may yet attach.
    pub(crate) left: u8,
    pub(crate) owner: Option<Owner>,
    pub(crate) open: bool,
    pub(crate) holds: bool,
}

pub(crate) const ROWS: usize = 2;
pub(crate) const PROCESSES: usize = 3;

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct State {
    pub(crate) rows: [Row; ROWS],
    pub(crate) word: Option<Owner>,
    pub(crate) processes: [Process; PROCESSES],
    pub(crate) deaths: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bug {
    /// FREE, and then the repairs.
    FreeBeforeRepair,
    ForgetsWord,
    ForgetsBit,
    /// Two may sweep one row.
    NoSweepByte,
    /// The row is not looked at once more behind the evidence.
    NoSecondLook,
    /// Nobody is asked whether the tenant of an ACTIVE row is dead.
    NoVerdict,
    /// The next tenant has the generation of the last.
    GenerationKept,
    /// The row is claimed, and its byte left alone.
    NoRowByte,
    /// ACTIVE, and then the identity.
    ActiveBeforeIdentity,
    /// Made ACTIVE from the state that was seen before the byte was taken, without a CAS.
    ActiveByStore,
    /// Who detaches makes his row FREE, and then repairs.
    DetachBeforeRepair,
    /// Who detaches gives his byte back first.
    ByteBeforeDetach,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Table {
    pub(crate) rows: u8,
    pub(crate) processes: usize,
    /// How often each may attach.
    pub(crate) attaches: u8,
    pub(crate) deaths: u8,
    /// The evidence: pidfds, which say it at once, or bytes only.
    pub(crate) pidfds: bool,
    pub(crate) bug: Option<Bug>,
}

impl Table {
    pub(crate) fn is(&self, bug: Bug) -> bool {
        self.bug == Some(bug)
    }

    fn idle(&self, state: &State, who: usize, steps: &mut Steps<State>) {
        let me = state.processes[who];
        let mut to = |what, change: &dyn Fn(&mut State, &mut Process)| {
            let mut next = state.clone();
            let mut process = me;
            change(&mut next, &mut process);
            next.processes[who] = process;
            steps.to(who, what, next);
        };
        for row in 0..self.rows {
            if state.rows[index(row)].state.phase != Phase::Free {
                to("looks for the dead", &|_, process| process.at = At::SweepRow { row });
            }
            if me.owner.is_none() && me.left > 0 {
                to("looks for a row", &|_, process| process.at = At::LookFree { row });
            }
        }
        let Some(owner) = me.owner else { return };
        to("detaches", &|_, process| {
            process.at = if self.is(Bug::ByteBeforeDetach) {
                At::ReturnByte { row: owner.0 }
            } else if self.is(Bug::DetachBeforeRepair) {
                At::OwnFree
            } else {
                At::OwnBit
            };
        });
        let row = index(owner.0);
        if !me.open {
            to("opens the object", &|next, process| {
                next.rows[row].bit = true;
                process.open = true;
            });
        } else if me.holds {
            to("ends its hold", &|next, process| {
                next.word = None;
                process.holds = false;
            });
        } else {
            to("closes the object", &|next, process| {
                next.rows[row].bit = false;
                process.open = false;
            });
            to("looks at the word", &|next, process| {
                process.at = match next.word {
                    Some(owner) => At::AskState { owner, why: For::Word },
                    None => At::TakeWord { seen: None },
                };
            });
        }
    }

    fn attach(&self, next: &mut State, who: usize, process: &mut Process) -> &'static str {
        let me = small(who);
        match process.at {
            At::LookFree { row } => {
                let seen = next.rows[index(row)].state;
                process.at = match seen.phase {
                    Phase::Free if self.is(Bug::NoRowByte) => At::Introduce { row, seen },
                    Phase::Free => At::TakeByte { row, seen },
                    _ => At::Idle,
                };
                "looks whether it is FREE"
            }
            At::TakeByte { row, seen } => {
                let byte = &mut next.rows[index(row)].byte;
                process.at = if byte.is_some() {
                    At::Idle
                } else if self.is(Bug::ActiveByStore) {
                    At::Introduce { row, seen }
                } else {
                    At::LookAgain { row, seen }
                };
                byte.get_or_insert(me);
                "tries to take the row's byte"
            }
            At::LookAgain { row, .. } => {
                let seen = next.rows[index(row)].state;
                process.at = if seen.phase == Phase::Free {
                    At::Introduce { row, seen }
                } else {
                    At::ReturnByte { row }
                };
                "looks whether it is FREE still"
            }
            At::Introduce { row, seen } => {
                if !self.is(Bug::ActiveBeforeIdentity) {
                    next.rows[index(row)].identity = me;
                }
                process.at = At::Activate { row, seen };
                "writes its identity"
            }
            At::Activate { row, seen } => {
                let place = &mut next.rows[index(row)];
                let generation = seen.generation + u8::from(!self.is(Bug::GenerationKept));
                if place.state == seen || self.is(Bug::ActiveByStore) {
                    place.state = RowState { generation, phase: Phase::Active };
                    place.tenants += 1;
                    process.owner = Some((row, generation));
                    process.left -= 1;
                    process.at =
                        if self.is(Bug::ActiveBeforeIdentity) { At::IntroduceLate } else { At::Idle };
                } else {
                    process.at = At::ReturnByte { row };
                }
                "makes the row ACTIVE"
            }
            _ => {
                let row = process.owner.map_or(0, |(row, _)| row);
                next.rows[index(row)].identity = me;
                process.at = At::Idle;
                "writes its identity"
            }
        }
    }

    /// The end of an attachment by its own hand.
    fn detach(&self, next: &mut State, process: &mut Process) -> &'static str {
        let owner = process.owner.unwrap_or_default();
        let row = &mut next.rows[index(owner.0)];
        let freed = process.owner.is_none();
        let after = if self.is(Bug::DetachBeforeRepair) { At::ReturnByte { row: 0 } } else { At::OwnFree };
        match process.at {
            At::OwnBit => {
                process.at = if row.bit { At::OwnWord } else { after };
                "looks at its bit"
            }
            At::OwnWord => {
                if next.word == Some(owner) {
                    next.word = None;
                }
                process.holds = false;
                process.at = At::OwnClear;
                "frees the word, if it is its own"
            }
            At::OwnClear => {
                row.bit = false;
                process.open = false;
                process.at = after;
                "clears its bit"
            }
            At::OwnFree => {
                let active = RowState { generation: owner.1, phase: Phase::Active };
                if row.state == active {
                    row.state = active.with(Phase::Free);
                }
                process.owner = None;
                process.at = At::ReturnByte { row: owner.0 };
                "makes its row FREE"
            }
            At::ReturnByte { row } => {
                next.rows[index(row)].byte = None;
                process.at = if freed { At::Idle } else { At::OwnBit };
                "gives the row's byte back"
            }
            _ => "does nothing",
        }
    }

    fn step(&self, state: &State, who: usize) -> (&'static str, State) {
        let (mut next, mut process) = (state.clone(), state.processes[who]);
        let what = match process.at {
            At::OwnBit | At::OwnWord | At::OwnClear | At::OwnFree | At::ReturnByte { .. } => {
                self.detach(&mut next, &mut process)
            }
            At::TakeWord { .. }
            | At::AskState { .. }
            | At::AskIdentity { .. }
            | At::AskKernel { .. }
            | At::AskAgain { .. } => self.ask(&mut next, who, &mut process),
            At::SweepRow { .. }
            | At::SweepByte { .. }
            | At::Mark { .. }
            | At::SweepBit { .. }
            | At::SweepWord { .. }
            | At::SweepClear { .. }
            | At::SweepFree { .. }
            | At::SweepReturn { .. }
            | At::Late { .. } => self.sweep(&mut next, who, &mut process),
            _ => self.attach(&mut next, who, &mut process),
        };
        next.processes[who] = process;
        (what, next)
    }
}

impl Model for Table {
    type State = State;

    fn start(&self) -> State {
        let state = RowState { generation: 0, phase: Phase::Free };
        let row = Row { state, identity: 0, byte: None, sweep: None, bit: false, tenants: 0 };
        let process = Process { at: At::Idle, left: self.attaches, owner: None, open: false, holds: false };
        State { rows: [row; ROWS], word: None, processes: [process; PROCESSES], deaths: self.deaths }
    }

    fn steps(&self, state: &State, steps: &mut Steps<State>) {
        for who in 0..self.processes {
            let process = state.processes[who];
            match process.at {
                At::Dead => {
                    let me = small(who);
                    for row in 0..ROWS {
                        let mut next = state.clone();
                        if state.rows[row].byte == Some(me) {
                            next.rows[row].byte = None;
                            steps.to(who, "is dead: the kernel gives its row's byte back", next);
                        } else if state.rows[row].sweep == Some(me) {
                            next.rows[row].sweep = None;
                            steps.to(who, "is dead: the kernel gives its sweep byte back", next);
                        }
                    }
                    continue;
                }
                At::Idle => self.idle(state, who, steps),
                _ => {
                    let (what, next) = self.step(state, who);
                    steps.to(who, what, next);
                }
            }
            if state.deaths > 0 && who + 1 < self.processes {
                let mut next = state.clone();
                let dead = Process { at: At::Dead, left: 0, owner: None, open: false, holds: false };
                next.processes[who] = dead;
                next.deaths -= 1;
                steps.to(who, "dies", next);
            }
        }
    }

    fn check(&self, state: &State) -> Result<(), Invariant> {
        for process in &state.processes {
            let Some(owner) = process.owner else { continue };
            let row = &state.rows[index(owner.0)];
            if row.state != (RowState { generation: owner.1, phase: Phase::Active }) {
                return Err(S1);
            }
            if process.open && !row.bit {
                return Err(DI3);
            }
            if process.holds && state.word != Some(owner) {
                return Err(HELD);
            }
        }
        for (i, row) in (0_u8..).zip(&state.rows) {
            let word = state.word.filter(|&(row, _)| row == i);
            if word.is_some_and(|(_, generation)| generation != row.state.generation) {
                return Err(S2);
            }
            if row.state.phase == Phase::Free && (row.bit || word.is_some()) {
                return Err(S2);
            }
            if row.tenants != row.state.generation {
                return Err(NEW);
            }
        }
        Ok(())
    }

    fn is_good(&self, state: &State) -> bool {
        let rows = state
            .rows
            .iter()
            .all(|row| row.state.phase == Phase::Free && row.byte.is_none() && row.sweep.is_none());
        let gone =
            |process: &Process| process.at == At::Dead || process.at == At::Idle && process.owner.is_none();
        rows && state.processes[..self.processes].iter().all(gone)
    }
}
