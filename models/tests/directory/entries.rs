//! The entries, and whoever finds, removes or closes an object.

use outlive_models::{Invariant, Model, Steps, index, small};

pub(crate) const DI1: Invariant = "D-I1: only the holder of the lock changes a state";
pub(crate) const DI2: Invariant = "D-I2: what is open stays where it is";
pub(crate) const DI4: Invariant = "D-I4: what is VACANT has no extent";
pub(crate) const WHOLE: Invariant = "what is LIVE is complete";
pub(crate) const ONE: Invariant = "a name is that of one object";
pub(crate) const SWEPT: Invariant = "nothing names a process whose row is free";

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Phase {
    Empty,
    Reserved(u8),
    Live,
    Retired,
    Vacating(u8),
    Vacant,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Word {
    pub(crate) version: u8,
    pub(crate) phase: Phase,
}

impl Word {
    pub(crate) fn next(self, phase: Phase) -> Self {
        Self { version: self.version + 1, phase }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Entry {
    pub(crate) word: Word,
    pub(crate) named: bool,
    pub(crate) at: u8,
    pub(crate) len: bool,
    pub(crate) bits: u8,
}

/// What lies in a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Memory {
    Garbage,
    Half,
    Object(u8),
}

/// Where a process is: what it does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum At {
    Idle,
    Dead,
    Swept,

    Lock {
        remove: bool,
    },
    TakeLock {
        remove: bool,
        seen: Option<u8>,
    },
    Unlock,

    LookUp {
        entry: u8,
        locked: bool,
        remove: bool,
    },
    Name {
        entry: u8,
        locked: bool,
        remove: bool,
        seen: Word,
    },
    WordAgain {
        entry: u8,
        locked: bool,
        remove: bool,
        seen: Word,
    },
    SetBit {
        entry: u8,
        locked: bool,
        seen: Word,
    },
    WordBehindBit {
        entry: u8,
        locked: bool,
        seen: Word,
    },
    Extent {
        entry: u8,
        locked: bool,
    },
    ClearBit {
        entry: u8,
        locked: bool,
    },
    Retire {
        entry: u8,
        seen: Word,
    },

    /// Creating: an entry that can be used, and the places that are (a bit each).
    Survey {
        entry: u8,
        usable: Option<u8>,
        used: u8,
    },
    IsOpen {
        entry: u8,
        usable: Option<u8>,
        used: u8,
        seen: Word,
    },
    Vacate {
        entry: u8,
        usable: Option<u8>,
        used: u8,
        seen: Word,
    },
    IsOpenStill {
        entry: u8,
        usable: Option<u8>,
        used: u8,
        seen: Word,
    },
    RetireAgain {
        entry: u8,
        usable: Option<u8>,
        used: u8,
        seen: Word,
    },
    ForgetExtent {
        entry: u8,
        usable: Option<u8>,
        used: u8,
        seen: Word,
    },
    MakeVacant {
        entry: u8,
        usable: Option<u8>,
        used: u8,
        seen: Word,
    },
    Reserve {
        entry: u8,
        place: u8,
    },
    WriteName {
        entry: u8,
        place: u8,
        mine: Word,
    },
    WriteExtent {
        entry: u8,
        place: u8,
        mine: Word,
    },
    Build {
        entry: u8,
        place: u8,
        mine: Word,
        half: bool,
    },
    OwnBit {
        entry: u8,
        mine: Word,
    },
    MakeLive {
        entry: u8,
        mine: Word,
    },
    GiveUp {
        entry: u8,
        mine: Word,
    },

    SweepWord {
        dead: u8,
        entry: u8,
        complete: bool,
    },
    SweepBits {
        dead: u8,
        entry: u8,
        complete: bool,
    },
    SweepState {
        dead: u8,
        entry: u8,
        complete: bool,
        bit: bool,
    },
    SweepChange {
        dead: u8,
        entry: u8,
        complete: bool,
        bit: bool,
        seen: Word,
    },
    SweepAgain {
        dead: u8,
        entry: u8,
        complete: bool,
        bit: bool,
    },
    SweepClear {
        dead: u8,
        entry: u8,
        complete: bool,
    },
    SweepLock {
        dead: u8,
        complete: bool,
    },
    FreeLock {
        dead: u8,
        complete: bool,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Process {
    pub(crate) at: At,
    /// How much it may yet do.
    pub(crate) left: u8,
    /// What it has open: entry, place, object.
    pub(crate) handle: Option<(u8, u8, u8)>,
}

pub(crate) const ENTRIES: usize = 2;
pub(crate) const PLACES: usize = 2;
pub(crate) const PROCESSES: usize = 3;

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct State {
    pub(crate) lock: Option<u8>,
    pub(crate) entries: [Entry; ENTRIES],
    pub(crate) memory: [Memory; PLACES],
    /// How many objects there have been.
    pub(crate) objects: u8,
    pub(crate) processes: [Process; PROCESSES],
    pub(crate) deaths: u8,
}

impl State {
    fn is_dead(&self, who: u8) -> bool {
        matches!(self.processes[index(who)].at, At::Dead | At::Swept)
    }

    /// Whether somebody is sweeping that row.
    fn is_swept(&self, row: u8) -> bool {
        self.processes.iter().any(|process| match process.at {
            At::SweepWord { dead, .. }
            | At::SweepBits { dead, .. }
            | At::SweepState { dead, .. }
            | At::SweepChange { dead, .. }
            | At::SweepAgain { dead, .. }
            | At::SweepClear { dead, .. }
            | At::SweepLock { dead, .. }
            | At::FreeLock { dead, .. } => dead == row,
            _ => false,
        })
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bug {
    OpenerDoesNotLookAgain,
    VacaterDoesNotLookAgain,
    LiveBeforeBuilt,
    NoLock,
    LockOfTheLiving,
    NoLookUnderTheLock,
    ExtentKept,
    SweepForgetsReserved,
    SweepForgetsLock,
    SweepForgetsBits,
    SweepByStore,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Directory {
    pub(crate) processes: usize,
    /// What each may do: find or remove.
    pub(crate) operations: u8,
    pub(crate) deaths: u8,
    pub(crate) bug: Option<Bug>,
}

impl Directory {
    pub(crate) fn is(&self, bug: Bug) -> bool {
        self.bug == Some(bug)
    }

    /// The CAS of an entry's word by somebody who has the lock.
    pub(crate) fn change(
        &self,
        next: &mut State,
        who: usize,
        entry: u8,
        old: Word,
        new: Phase,
    ) -> Result<bool, Invariant> {
        if next.lock != Some(small(who)) && !self.is(Bug::NoLock) {
            return Err(DI1);
        }
        let word = &mut next.entries[index(entry)].word;
        let ours = *word == old;
        if ours {
            *word = old.next(new);
        }
        Ok(ours)
    }

    pub(crate) fn find(
        &self,
        next: &mut State,
        who: usize,
        process: &mut Process,
    ) -> Result<&'static str, Invariant> {
        let me = small(who);
        let none = |locked, remove| match (locked, remove) {
            (false, _) => At::Lock { remove: false },
            (true, true) => At::Unlock,
            (true, false) => At::Survey { entry: 0, usable: None, used: 0 },
        };
        Ok(match process.at {
            At::Lock { remove } => {
                let seen = next.lock;
                let free = match seen {
                    None => true,
                    Some(holder) => next.is_dead(holder) || self.is(Bug::LockOfTheLiving),
                };
                process.at =
                    if free || self.is(Bug::NoLock) { At::TakeLock { remove, seen } } else { process.at };
                "looks at the lock"
            }
            At::TakeLock { remove, seen } => {
                let ours = next.lock == seen || self.is(Bug::NoLock);
                if ours {
                    next.lock = Some(me);
                }
                process.at = match (ours, self.is(Bug::NoLookUnderTheLock) && !remove) {
                    (false, _) => At::Lock { remove },
                    (true, false) => At::LookUp { entry: 0, locked: true, remove },
                    (true, true) => none(true, false),
                };
                "takes the lock"
            }
            At::Unlock => {
                if next.lock != Some(me) && !self.is(Bug::NoLock) {
                    return Err(DI1);
                }
                next.lock = None;
                process.at = At::Idle;
                "unlocks"
            }
            At::LookUp { entry, locked, remove } => {
                let seen = next.entries.get(index(entry)).map(|entry| entry.word);
                process.at = match seen {
                    Some(seen) if seen.phase == Phase::Live => At::Name { entry, locked, remove, seen },
                    Some(seen) if seen.phase != Phase::Empty => {
                        At::LookUp { entry: entry + 1, locked, remove }
                    }
                    _ => none(locked, remove),
                };
                "looks at an entry"
            }
            At::Name { entry, locked, remove, seen } => {
                let named = next.entries[index(entry)].named;
                process.at = if named {
                    At::WordAgain { entry, locked, remove, seen }
                } else {
                    At::LookUp { entry: entry + 1, locked, remove }
                };
                "compares the name"
            }
            At::WordAgain { entry, locked, remove, seen } => {
                process.at = match (next.entries[index(entry)].word == seen, remove) {
                    (false, _) => At::LookUp { entry: entry + 1, locked, remove },
                    (true, true) => At::Retire { entry, seen },
                    (true, false) => At::SetBit { entry, locked, seen },
                };
                "looks at the entry once more"
            }
            At::SetBit { entry, locked, seen } => {
                next.entries[index(entry)].bits |= 1 << who;
                process.at = if self.is(Bug::OpenerDoesNotLookAgain) {
                    At::Extent { entry, locked }
                } else {
                    At::WordBehindBit { entry, locked, seen }
                };
                "sets its bit"
            }
            At::WordBehindBit { entry, locked, seen } => {
                let same = next.entries[index(entry)].word == seen;
                process.at = if same { At::Extent { entry, locked } } else { At::ClearBit { entry, locked } };
                "looks at the entry behind its bit"
            }
            At::ClearBit { entry, locked } => {
                next.entries[index(entry)].bits &= !(1 << who);
                process.at = At::LookUp { entry: 0, locked, remove: false };
                "clears its bit"
            }
            At::Extent { entry, locked } => {
                let place = next.entries[index(entry)].at;
                let Memory::Object(object) = next.memory[index(place)] else { return Err(DI2) };
                process.handle = Some((entry, place, object));
                process.at = if locked { At::Unlock } else { At::Idle };
                "has it open"
            }
            At::Retire { entry, seen } => {
                self.change(next, who, entry, seen, Phase::Retired)?;
                process.at = At::Unlock;
                "removes it"
            }
            _ => return self.survey(next, who, process),
        })
    }

    fn idle(&self, state: &State, who: usize, steps: &mut Steps<State>) {
        let me = state.processes[who];
        let mut to = |what, at, cost| {
            let mut next = state.clone();
            next.processes[who] = Process { at, left: me.left - cost, ..me };
            steps.to(who, what, next);
        };
        if me.left > 0 && me.handle.is_none() {
            to("wants the object", At::LookUp { entry: 0, locked: false, remove: false }, 1);
        }
        if me.left > 0 {
            to("wants to remove it", At::Lock { remove: true }, 1);
        }
        for dead in 0..small(self.processes) {
            if state.processes[index(dead)].at == At::Dead && !state.is_swept(dead) {
                to("begins to sweep", At::SweepWord { dead, entry: 0, complete: true }, 0);
            }
        }
        if let Some((entry, _, _)) = me.handle {
            let mut next = state.clone();
            next.entries[index(entry)].bits &= !(1 << who);
            next.processes[who].handle = None;
            steps.to(who, "closes it", next);
        }
    }
}

impl Model for Directory {
    type State = State;

    fn start(&self) -> State {
        let word = Word { version: 0, phase: Phase::Empty };
        let entry = Entry { word, named: false, at: 0, len: false, bits: 0 };
        State {
            lock: None,
            entries: [entry; ENTRIES],
            memory: [Memory::Garbage; PLACES],
            objects: 0,
            processes: [Process { at: At::Idle, left: self.operations, handle: None }; PROCESSES],
            deaths: self.deaths,
        }
    }

    fn steps(&self, state: &State, steps: &mut Steps<State>) {
        for who in 0..self.processes {
            let me = state.processes[who];
            match me.at {
                At::Dead | At::Swept => continue,
                At::Idle => self.idle(state, who, steps),
                at => {
                    let (mut next, mut process) = (state.clone(), me);
                    let found = self.find(&mut next, who, &mut process);
                    next.processes[who] = process;
                    match found {
                        Ok(what) => steps.to(who, what, next),
                        Err(invariant) => steps.breach(who, "goes on", invariant),
                    }
                    let mut next = state.clone();
                    if let At::Build { entry, mine, half: false, .. } = at {
                        next.processes[who].at = At::GiveUp { entry, mine };
                        steps.to(who, "cannot build it", next);
                    } else if let At::Lock { .. } = at {
                        next.processes[who].at = At::Idle;
                        steps.to(who, "does not find it", next);
                    }
                }
            }
            if state.deaths > 0 && who + 1 < self.processes {
                let mut next = state.clone();
                next.processes[who] = Process { at: At::Dead, left: 0, handle: None };
                next.deaths -= 1;
                steps.to(who, "dies", next);
            }
        }
    }

    fn check(&self, state: &State) -> Result<(), Invariant> {
        let live = |entry: &&Entry| entry.word.phase == Phase::Live;
        for (who, process) in state.processes.iter().enumerate() {
            if let Some((entry, place, object)) = process.handle {
                let there = state.entries[index(entry)];
                let bit = there.bits & 1 << who != 0;
                if !bit || there.at != place || state.memory[index(place)] != Memory::Object(object) {
                    return Err(DI2);
                }
            }
            let me = small(who);
            let names = |word: Word| word.phase == Phase::Reserved(me) || word.phase == Phase::Vacating(me);
            let left = |entry: &Entry| names(entry.word) || entry.bits & 1 << who != 0;
            if process.at == At::Swept && (state.lock == Some(me) || state.entries.iter().any(left)) {
                return Err(SWEPT);
            }
        }
        let whole = |entry: &Entry| {
            entry.named && entry.len && matches!(state.memory[index(entry.at)], Memory::Object(_))
        };
        if !state.entries.iter().filter(live).all(whole) {
            return Err(WHOLE);
        }
        if state.entries.iter().filter(live).count() > 1 {
            return Err(ONE);
        }
        if state.entries.iter().any(|entry| entry.word.phase == Phase::Vacant && entry.len) {
            return Err(DI4);
        }
        Ok(())
    }

    fn is_good(&self, state: &State) -> bool {
        let idle =
            |process: &Process| process.at == At::Swept || process.at == At::Idle && process.handle.is_none();
        let settled = |entry: &Entry| {
            let being_made = matches!(entry.word.phase, Phase::Reserved(_) | Phase::Vacating(_));
            entry.bits == 0 && !being_made
        };
        state.lock.is_none() && state.entries.iter().all(settled) && state.processes.iter().all(idle)
    }
}
