//! The eventcount as an explicit-state model: every order of the steps of a few notifiers and waiters, exhaustively.
//!
//! loom explores the code with weak memory, but few threads and bounded preemptions. This is a drawing of the algorithm,
//! in which each step is atomic and seen by all at once; for that it goes through *all* states of two notifiers and two
//! waiters, and shows why the notifier's last wake is there: without it a waiter sleeps beside its items.
//!
//! Not in the model: memory orderings, deaths and slices. A state without successors is what would last for ever.

use std::collections::HashSet;

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

/// Where a notifier is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
enum Notifier {
    /// Publishes an item, if it has one left.
    #[default]
    Publish,
    /// Looks whether anybody waits.
    Look,
    /// Changes the sequence, unless another one did.
    Bump { seen: Word },
    /// Wakes one.
    Wake { seen: Word },
    /// Nobody slept: clears the bit, unless the word was changed.
    Clear { seen: Word },
    /// Wakes all who came in between.
    WakeAll,
}

/// Where a waiter is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
enum Waiter {
    /// Looks for an item.
    #[default]
    First,
    /// Sets the bit.
    Announce,
    /// Looks for an item once more.
    Second {
        key: Word,
    },
    /// The kernel compares the word.
    Sleep {
        key: Word,
    },
    Asleep,
}

/// What a notifier does after it has cleared the bit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum AfterClearing {
    /// As specified.
    WakeAll,
    /// The mutant.
    Nothing,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct State {
    items: u8,
    word: Word,
    notifiers: Vec<(Notifier, u8)>,
    waiters: Vec<Waiter>,
}

impl State {
    fn new(notifiers: usize, items_each: u8, waiters: usize) -> Self {
        Self {
            items: 0,
            word: Word::default(),
            notifiers: vec![(Notifier::default(), items_each); notifiers],
            waiters: vec![Waiter::default(); waiters],
        }
    }

    fn sleepers(&self) -> impl Iterator<Item = usize> + '_ {
        (0..self.waiters.len()).filter(|&w| self.waiters[w] == Waiter::Asleep)
    }

    /// The states that one step of notifier `n` can lead to.
    fn notifier_steps(&self, n: usize, after: AfterClearing) -> Vec<Self> {
        let mut next = self.clone();
        let (at, left) = &mut next.notifiers[n];
        *at = match *at {
            Notifier::Publish if *left == 0 => return Vec::new(),
            Notifier::Publish => {
                *left -= 1;
                next.items += 1;
                Notifier::Look
            }
            Notifier::Look if next.word.waiting => Notifier::Bump { seen: next.word },
            Notifier::Look => Notifier::Publish,
            Notifier::Bump { seen } => {
                if next.word == seen {
                    next.word = seen.bumped();
                }
                Notifier::Wake { seen }
            }
            Notifier::Wake { seen } => {
                if self.sleepers().next().is_some() {
                    return self.sleepers().map(|sleeper| self.woken(n, sleeper)).collect();
                }
                Notifier::Clear { seen }
            }
            Notifier::Clear { seen } => {
                if next.word == seen.bumped() {
                    next.word = next.word.cleared();
                }
                match after {
                    AfterClearing::WakeAll => Notifier::WakeAll,
                    AfterClearing::Nothing => Notifier::Publish,
                }
            }
            Notifier::WakeAll => {
                for sleeper in self.sleepers() {
                    next.waiters[sleeper] = Waiter::First;
                }
                Notifier::Publish
            }
        };
        vec![next]
    }

    /// Notifier `n` wakes this one; the kernel may choose any.
    fn woken(&self, n: usize, sleeper: usize) -> Self {
        let mut next = self.clone();
        next.waiters[sleeper] = Waiter::First;
        next.notifiers[n].0 = Notifier::Publish;
        next
    }

    /// The state that a step of waiter `w` leads to.
    fn waiter_step(&self, w: usize) -> Option<Self> {
        let mut next = self.clone();
        let found = self.items > 0;
        next.waiters[w] = match self.waiters[w] {
            Waiter::First | Waiter::Second { .. } if found => {
                next.items -= 1;
                Waiter::First
            }
            Waiter::First => Waiter::Announce,
            Waiter::Announce => {
                next.word.waiting = true;
                Waiter::Second { key: next.word }
            }
            Waiter::Second { key } => Waiter::Sleep { key },
            Waiter::Sleep { key } if self.word == key => Waiter::Asleep,
            Waiter::Sleep { .. } => Waiter::First,
            Waiter::Asleep => return None,
        };
        Some(next)
    }

    fn steps(&self, after: AfterClearing) -> Vec<Self> {
        let notifiers = (0..self.notifiers.len()).flat_map(|n| self.notifier_steps(n, after));
        notifiers.chain((0..self.waiters.len()).filter_map(|w| self.waiter_step(w))).collect()
    }
}

/// Goes through all states: how many there are, and how many of them are the end although items lie there.
fn explore(start: State, after: AfterClearing) -> (usize, usize) {
    let (mut seen, mut waiting) = (HashSet::from([start.clone()]), vec![start]);
    let mut asleep_with_items = 0;
    while let Some(state) = waiting.pop() {
        let next = state.steps(after);
        asleep_with_items += usize::from(next.is_empty() && state.items > 0);
        waiting.extend(next.into_iter().filter(|next| seen.insert(next.clone())));
    }
    (seen.len(), asleep_with_items)
}

/// Notifiers, items of each, waiters.
const CONFIGURATIONS: [(usize, u8, usize); 5] = [(1, 3, 1), (2, 2, 1), (1, 3, 2), (2, 2, 2), (2, 3, 2)];

/// Forbidden: a state in which everybody sleeps or is done, and an item lies there.
#[test]
fn nobody_sleeps_beside_an_item() {
    for (notifiers, items, waiters) in CONFIGURATIONS {
        let (states, bad) = explore(State::new(notifiers, items, waiters), AfterClearing::WakeAll);
        assert_eq!(
            bad, 0,
            "{notifiers} notifiers of {items} items, {waiters} waiters: {bad} of {states} states"
        );
        assert!(states > 200, "{states}");
    }
}

/// The mutant that the model must catch, in every configuration: the notifier clears the bit and wakes nobody.
#[test]
fn without_the_last_wake_somebody_does() {
    for (notifiers, items, waiters) in CONFIGURATIONS {
        let (_, bad) = explore(State::new(notifiers, items, waiters), AfterClearing::Nothing);
        assert!(bad > 0, "{notifiers} notifiers of {items} items, {waiters} waiters");
    }
}

/// The story of the mutant, as the documentation of the eventcount tells it.
#[test]
fn the_shortest_story_of_a_lost_wake_up() {
    let after = AfterClearing::Nothing;
    let mut state = State::new(1, 3, 1);
    let mut step = |who: &str| {
        state = match who {
            "notifier" => state.notifier_steps(0, after).pop().unwrap(),
            _ => state.waiter_step(0).unwrap(),
        };
        state.clone()
    };
    for who in ["waiter", "waiter"] {
        step(who); // found nothing, announced itself
    }
    for who in ["notifier", "notifier", "notifier"] {
        step(who); // an item; saw the bit; changed the sequence
    }
    step("waiter"); // found the item
    step("notifier"); // wakes nobody
    for who in ["waiter", "waiter", "waiter", "waiter"] {
        step(who); // found nothing, announced itself again, found nothing, sleeps
    }
    step("notifier"); // clears the bit
    step("notifier"); // the next item
    let end = step("notifier"); // sees no bit
    assert_eq!((end.items, end.waiters[0], end.word.waiting), (1, Waiter::Asleep, false));
}
