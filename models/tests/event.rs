//! The eventcount: notifiers, waiters, somebody who raises an alarm, and deaths of all of them.
//!
//! ```text
//!   word: sequence | W                 items: published elsewhere          closed: a state that is told by an alarm
//!
//!   notifier   item + 1 -> W? no: done -> CAS sequence + 1 -> wake 1 -> nobody: CAS W = 0 -> wake all
//!              publish      look          `wake`                                 `wake`
//!   waiter     item? -> set W, keep the word -> item? -> the kernel compares the word -> asleep -> (slice over)
//!                       `announce`                       `sleep`
//!   alarm      closed -> sequence + 1 -> set W -> wake all, if W was set before
//! ```
//! Each arrow is a step; a futex call is two: the kernel's comparison or wake is one step by itself. A process can die
//! after each step. The kernel takes a dead sleeper from its queue.
//!
//! # Invariants
//! * Good: live notifiers and the alarm are done, and no item lies beside a living waiter, nor a waiter sleeps when closed.
//! * `NEWS`: a single notifier that publishes after an alarm is over has gone to wake somebody, and looks up then. (With
//!   several notifiers only one of them need find W: rings of this kind have one.)
//!
//! Without deaths no slice is needed for that: sleeps have no end in that model. With deaths slices are: a wake dies with its
//! notifier or with whoever it woke. That they are is among the mutants.
//!
//! Not in the model: memory orderings, hence the barriers; the sequence does not come round.

use outlive_models::{GOOD, Invariant, Model, Steps, caught, full, holds};

const NEWS: Invariant = "who notifies after an alarm looks up";

/// The word: how many wake-ups there were, and whether somebody may sleep.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
struct Word {
    sequence: u8,
    waiting: bool,
}

impl Word {
    fn bumped(self) -> Self {
        Self { sequence: self.sequence + 1, ..self }
    }

    fn cleared(self) -> Self {
        Self { waiting: false, ..self }
    }
}

/// Where a process is: what it does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum At {
    /// Notifier: publishes an item, if it has one left.
    Publish {
        left: u8,
        told: bool,
    },
    /// Looks whether anybody waits. `late`: the alarm was over when it published.
    Look {
        left: u8,
        told: bool,
        late: bool,
    },
    /// Changes the sequence, unless another one did.
    Bump {
        left: u8,
        seen: Word,
    },
    Wake {
        left: u8,
        seen: Word,
    },
    /// Nobody slept: clears the bit, unless the word was changed.
    Clear {
        left: u8,
        seen: Word,
    },
    /// Wakes all who came in between.
    WakeAll {
        left: u8,
    },

    /// Waiter: looks for an item.
    First,
    Announce,
    Second {
        key: Word,
    },
    /// The kernel compares the word.
    Sleep {
        key: Word,
    },
    Asleep,

    /// Whoever raises the alarm.
    Close,
    Step,
    SetWaiting {
        wake: bool,
    },
    Rouse {
        wake: bool,
    },

    Done,
    Dead,
}

/// What can be wrong with an eventcount.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Bug {
    /// The notifier clears the bit, and that is all.
    NoLastWake,
    /// The notifier looks for waiters, and then publishes.
    LookBeforePublish,
    /// The waiter sleeps right after its announcement.
    NoSecondLook,
    /// The kernel does not compare the word: the sleep is not tied to the announcement.
    SleepWithoutKey,
    /// The alarm is raised, and then the state is changed.
    AlarmBeforeState,
    /// The alarm wakes nobody.
    AlarmWithoutWake,
    /// The alarm changes the sequence only.
    AlarmWithoutBit,
    /// It sets W, and then changes the sequence: in between the word is the key of somebody whose W was cleared before it
    /// slept, and who sleeps now. W was not set before, so nobody is woken.
    AlarmSetsBitFirst,
}

#[derive(Clone, Copy, Debug)]
struct EventCount {
    notifiers: usize,
    items: u8,
    waiters: usize,
    alarm: bool,
    deaths: u8,
    /// Whether a sleep ends by itself.
    slices: bool,
    bug: Option<Bug>,
}

/// How many processes there are at most.
const MOST: usize = 6;

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct State {
    items: u8,
    closed: bool,
    /// The alarm has been raised completely.
    told: bool,
    word: Word,
    at: [At; MOST],
    deaths: u8,
}

impl State {
    fn sleepers(&self) -> impl Iterator<Item = usize> + '_ {
        (0..MOST).filter(|&w| self.at[w] == At::Asleep)
    }

    fn wake_all(&mut self) {
        for at in &mut self.at {
            if *at == At::Asleep {
                *at = At::First;
            }
        }
    }
}

impl EventCount {
    fn is(&self, bug: Bug) -> bool {
        self.bug == Some(bug)
    }

    fn notifier(&self, state: &State, who: usize, steps: &mut Steps<State>) {
        let mut next = state.clone();
        let early = self.is(Bug::LookBeforePublish);
        let (what, at) = match state.at[who] {
            At::Publish { left: 0, .. } => return,
            At::Publish { left, told } => {
                let late = state.told;
                if early {
                    let at = At::Look { left: left - 1, told, late };
                    (
                        "sees to the waiters",
                        if state.word.waiting { at } else { At::WakeAll { left: left - 1 } },
                    )
                } else {
                    next.items += 1;
                    ("publishes", At::Look { left: left - 1, told, late })
                }
            }
            At::Look { left, told, late } => {
                if !state.word.waiting && late && !told && self.notifiers == 1 && !early {
                    return steps.breach(who, "sees no W", NEWS);
                }
                let seen = state.word;
                let at = if seen.waiting { At::Bump { left, seen } } else { At::Publish { left, told } };
                ("looks for W", at)
            }
            At::Bump { left, seen } => {
                if state.word == seen {
                    next.word = seen.bumped();
                }
                ("changes the sequence", At::Wake { left, seen })
            }
            At::Wake { left, seen } => {
                if state.sleepers().next().is_some() {
                    for sleeper in state.sleepers() {
                        let mut next = state.clone();
                        next.at[sleeper] = At::First; // the kernel may choose any
                        next.at[who] = self.after(&mut next, left);
                        steps.to(who, "wakes one", next);
                    }
                    return;
                }
                ("wakes nobody", At::Clear { left, seen })
            }
            At::Clear { left, seen } => {
                let ours = state.word == seen.bumped();
                if ours {
                    next.word = state.word.cleared();
                }
                let wakes = ours && !self.is(Bug::NoLastWake);
                let at = if wakes { At::WakeAll { left } } else { self.after(&mut next, left) };
                ("clears W, if it is still that", at)
            }
            At::WakeAll { left } => {
                if !early {
                    next.wake_all();
                }
                ("wakes all", self.after(&mut next, left))
            }
            _ => return,
        };
        next.at[who] = at;
        steps.to(who, what, next);
    }

    /// Where a notifier is when it has seen to the waiters. It looks up at its next message: then it sees what is so by now.
    fn after(&self, next: &mut State, left: u8) -> At {
        if self.is(Bug::LookBeforePublish) {
            next.items += 1;
        }
        At::Publish { left, told: next.closed }
    }

    fn waiter(&self, state: &State, who: usize, steps: &mut Steps<State>) {
        let mut next = state.clone();
        let (what, at) = match state.at[who] {
            At::First | At::Second { .. } if state.items > 0 => {
                next.items -= 1;
                ("takes an item", At::First)
            }
            At::First | At::Second { .. } if state.closed => ("sees that it is closed", At::Done),
            At::First => ("finds nothing", At::Announce),
            At::Announce => {
                next.word.waiting = true;
                let key = next.word;
                let blind = self.is(Bug::NoSecondLook);
                ("announces itself", if blind { At::Sleep { key } } else { At::Second { key } })
            }
            At::Second { key } => ("finds nothing", At::Sleep { key }),
            At::Sleep { key } if state.word == key || self.is(Bug::SleepWithoutKey) => {
                ("falls asleep", At::Asleep)
            }
            At::Sleep { .. } => ("may not sleep", At::First),
            At::Asleep if self.slices => ("has slept for a slice", At::First),
            _ => return,
        };
        next.at[who] = at;
        steps.to(who, what, next);
    }

    fn closer(&self, state: &State, who: usize, steps: &mut Steps<State>) {
        let mut next = state.clone();
        let (what, at) = match state.at[who] {
            At::Close => {
                next.closed = !self.is(Bug::AlarmBeforeState);
                let first = self.is(Bug::AlarmSetsBitFirst);
                ("closes", if first { At::SetWaiting { wake: state.word.waiting } } else { At::Step })
            }
            At::Step => {
                next.word = state.word.bumped();
                let wake = state.word.waiting && !self.is(Bug::AlarmWithoutWake);
                let only = self.is(Bug::AlarmWithoutBit);
                ("changes the sequence", if only { At::Rouse { wake } } else { At::SetWaiting { wake } })
            }
            At::SetWaiting { wake } => {
                next.word.waiting = true;
                let before = if self.is(Bug::AlarmSetsBitFirst) { state.word.waiting } else { wake };
                ("sets W", At::Rouse { wake: before })
            }
            At::Rouse { wake } => {
                if wake {
                    next.wake_all();
                }
                next.closed = true;
                next.told = true;
                ("wakes all who sleep, if W was set", At::Done)
            }
            _ => return,
        };
        next.at[who] = at;
        steps.to(who, what, next);
    }
}

impl Model for EventCount {
    type State = State;

    fn start(&self) -> State {
        let mut at = [At::Done; MOST];
        let (notifiers, others) = at.split_at_mut(self.notifiers);
        notifiers.fill(At::Publish { left: self.items, told: false });
        others[..self.waiters].fill(At::First);
        if self.alarm {
            others[self.waiters] = At::Close;
        }
        State { items: 0, closed: false, told: false, word: Word::default(), at, deaths: self.deaths }
    }

    fn steps(&self, state: &State, steps: &mut Steps<State>) {
        for (who, at) in state.at.iter().enumerate() {
            self.notifier(state, who, steps);
            self.waiter(state, who, steps);
            self.closer(state, who, steps);
            let mortal = who != self.notifiers; // one waiter is left over
            if mortal && state.deaths > 0 && !matches!(at, At::Done | At::Dead) {
                let mut next = state.clone();
                next.at[who] = At::Dead;
                next.deaths -= 1;
                steps.to(who, "dies", next);
            }
        }
    }

    fn check(&self, _state: &State) -> Result<(), Invariant> {
        Ok(())
    }

    fn is_good(&self, state: &State) -> bool {
        let waits = |at: &At| match at {
            At::First | At::Announce | At::Second { .. } | At::Sleep { .. } | At::Asleep => {
                state.items > 0 || state.closed
            }
            At::Publish { left: 0, .. } | At::Done | At::Dead => false,
            _ => true,
        };
        !state.at.iter().any(waits)
    }

    fn name(&self, who: usize) -> String {
        match who {
            who if who < self.notifiers => format!("notifier {who}"),
            who if who < self.notifiers + self.waiters => format!("waiter {}", who - self.notifiers),
            _ => "closer".to_owned(),
        }
    }
}

/// Of that many notifiers with that many items each, and waiters.
fn of(notifiers: usize, items: u8, waiters: usize) -> EventCount {
    EventCount { notifiers, items, waiters, alarm: false, deaths: 0, slices: false, bug: None }
}

/// Notifiers, items of each, waiters.
const CONFIGURATIONS: [(usize, u8, usize); 4] = [(1, 3, 1), (2, 2, 1), (1, 3, 2), (2, 2, 2)];

/// And those that take longer.
fn configurations() -> Vec<(usize, u8, usize)> {
    let large: &[_] = if full() { &[(2, 3, 2), (1, 3, 3)] } else { &[] };
    [&CONFIGURATIONS, large].concat()
}

#[test]
fn nobody_sleeps_beside_an_item() {
    for (notifiers, items, waiters) in configurations() {
        let what = format!("event: {notifiers} x {items} items, {waiters} waiters, no slices");
        holds(&what, &of(notifiers, items, waiters), 200);
    }
}

#[test]
fn nobody_sleeps_through_an_alarm() {
    for (notifiers, items, waiters) in configurations() {
        if notifiers == 2 && waiters == 2 && (items == 3 || !full()) {
            continue;
        }
        let what = format!("event: {notifiers} x {items} items, {waiters} waiters, alarm");
        holds(&what, &EventCount { alarm: true, ..of(notifiers, items, waiters) }, 500);
    }
}

#[test]
fn deaths_delay_by_a_slice_and_no_longer() {
    for (notifiers, items, waiters) in configurations() {
        for alarm in [false, true] {
            let is_huge = notifiers * waiters > 2;
            if alarm && (is_huge || notifiers == 2 && !full()) {
                continue;
            }
            let what =
                format!("event: {notifiers} x {items} items, {waiters} waiters, 2 deaths, alarm {alarm}");
            let model = EventCount { alarm, deaths: 2, slices: true, ..of(notifiers, items, waiters) };
            holds(&what, &model, 500);
        }
    }
}

/// Why there are slices.
#[test]
fn without_slices_a_death_is_slept_through() {
    caught("event: a death, no slices", &EventCount { deaths: 1, ..of(1, 3, 2) }, GOOD);
    caught("event: alarm, a death, no slices", &EventCount { deaths: 1, alarm: true, ..of(1, 1, 1) }, GOOD);
}

#[test]
fn planted_bugs_are_caught() {
    for (notifiers, items, waiters) in CONFIGURATIONS {
        let model = of(notifiers, items, waiters);
        for bug in [Bug::NoLastWake, Bug::LookBeforePublish, Bug::NoSecondLook, Bug::SleepWithoutKey] {
            let what = format!("event: {bug:?}, {notifiers} x {items} items, {waiters} waiters");
            caught(&what, &EventCount { bug: Some(bug), ..model }, GOOD);
        }
    }
    let model = EventCount { alarm: true, ..of(1, 2, 1) };
    for (bug, notifiers, invariant) in [
        (Bug::AlarmBeforeState, 2, GOOD),
        (Bug::AlarmBeforeState, 1, NEWS),
        (Bug::AlarmWithoutWake, 1, GOOD),
        (Bug::AlarmWithoutBit, 1, NEWS),
    ] {
        let what = format!("event: {bug:?}, {notifiers} notifiers");
        caught(&what, &EventCount { bug: Some(bug), notifiers, ..model }, invariant);
    }
}
