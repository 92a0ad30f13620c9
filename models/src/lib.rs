//! Explicit-state models: every order of the steps of a few processes, exhaustively, with deaths after every step.
//!
//! loom runs the code itself, under weak memory, but with few threads and bounded preemptions, and cannot say what stays
//! *possible*. A model here is a drawing of an algorithm: a state that can be compared and hashed, and the steps that
//! lead from it, each as long as one atomic access of the code. [`explore`] goes through all states that there are, and
//! answers three questions:
//!
//! * Does each state keep the model's invariants? If not, the shortest way to a breach is told.
//! * Is there an end that is none ([`GOOD`]), a state from which nothing leads on?
//! * Does a good state stay reachable from *every* state ([`GOOD`])? So nobody waits for ever, nothing is lost in a corner,
//!   whoever died where.
//!
//! What is not in these models: memory orderings. All see each step at once.
//!
//! ```
//! use outlive_models::{Model, Steps, explore, GOOD};
//!
//! /// Two processes, one token; whoever has it gives it back.
//! struct Tokens { gives_back: bool }
//!
//! impl Model for Tokens {
//!     type State = [bool; 2];
//!     fn start(&self) -> [bool; 2] { [false; 2] }
//!     fn steps(&self, has: &[bool; 2], steps: &mut Steps<[bool; 2]>) {
//!         for who in 0..2 {
//!             let mut next = *has;
//!             next[who] = !has[who];
//!             if has[who] {
//!                 if self.gives_back { steps.to(who, "gives it back", next) }
//!             } else if !has[1 - who] {
//!                 steps.to(who, "takes it", next);
//!             }
//!         }
//!     }
//!     fn check(&self, has: &[bool; 2]) -> Result<(), &'static str> {
//!         if *has == [true; 2] { Err("one at a time") } else { Ok(()) }
//!     }
//!     fn is_good(&self, has: &[bool; 2]) -> bool { *has == [false; 2] }
//! }
//!
//! assert_eq!(explore(&Tokens { gives_back: true }).unwrap().states, 3);
//! assert_eq!(explore(&Tokens { gives_back: false }).unwrap_err().invariant, GOOD);
//! ```

mod report;
mod table;

use core::fmt;
use core::hash::Hash;
use std::time::{Duration, Instant};

pub use report::{caught, full, holds};
use table::Table;

/// The name of an invariant.
pub type Invariant = &'static str;

/// The invariant of all models.
pub const GOOD: Invariant = "a good state stays reachable";

/// An algorithm, drawn.
pub trait Model {
    /// All there is to know at a moment.
    type State: Clone + Eq + Hash + fmt::Debug;

    /// Where it begins.
    fn start(&self) -> Self::State;

    /// All steps that are possible from `state`.
    fn steps(&self, state: &Self::State, steps: &mut Steps<Self::State>);

    /// What holds in each state.
    ///
    /// # Errors
    /// The name of what does not.
    fn check(&self, state: &Self::State) -> Result<(), Invariant>;

    /// Whether all is as it should be in the end: see [`GOOD`].
    fn is_good(&self, state: &Self::State) -> bool;

    /// What a process is called in a trace.
    fn name(&self, who: usize) -> String {
        format!("process {who}")
    }
}

/// The number of a process, a slot or a row, as a state keeps it.
///
/// # Panics
/// If there are more than 256 of them.
pub fn small(index: usize) -> u8 {
    u8::try_from(index).expect("a model has few of everything")
}

/// And back.
pub fn index(small: u8) -> usize {
    usize::from(small)
}

/// What is possible from a state.
#[derive(Debug)]
pub struct Steps<S> {
    found: Vec<Step<S>>,
}

#[derive(Debug)]
struct Step<S> {
    who: usize,
    what: &'static str,
    /// Where it leads, or which invariant it breaks.
    next: Result<S, Invariant>,
}

impl<S> Steps<S> {
    /// `who` does `what`; then all is as in `next`.
    pub fn to(&mut self, who: usize, what: &'static str, next: S) {
        self.found.push(Step { who, what, next: Ok(next) });
    }

    /// `who` does `what`, which nobody may ever be able to.
    pub fn breach(&mut self, who: usize, what: &'static str, invariant: Invariant) {
        self.found.push(Step { who, what, next: Err(invariant) });
    }

    /// One of both.
    pub fn to_or_breach(&mut self, who: usize, what: &'static str, next: Result<S, Invariant>) {
        self.found.push(Step { who, what, next });
    }
}

/// How much there was, if all is well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Explored {
    /// Different states.
    pub states: usize,
    /// Steps between them.
    pub transitions: usize,
    /// How many of the states are good.
    pub good: usize,
    /// How long it took.
    pub time: Duration,
}

/// What is wrong, and how it comes about.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Breach {
    /// Which invariant was broken.
    pub invariant: Invariant,
    /// The shortest way there, a line a step; the last one is the state before a step that breaks it, or the one that does.
    pub trace: Vec<String>,
}

impl fmt::Display for Breach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "broken: {}, after {} steps", self.invariant, self.trace.len().saturating_sub(1))?;
        self.trace.iter().try_for_each(|line| writeln!(f, "  {line}"))
    }
}

/// More than this is no model.
const MOST: usize = 60_000_000;

/// Goes through all states.
///
/// # Errors
/// The first breach, by the shortest way to it.
///
/// # Panics
/// If there are more than 60 million states.
#[expect(clippy::disallowed_methods, reason = "real time, of what is no model itself")]
pub fn explore<M: Model>(model: &M) -> Result<Explored, Breach> {
    let began = Instant::now();
    let mut search = Search { model, table: Table::new(), parents: vec![0] };
    search.table.insert(model.start());
    let mut edges = Edges::default();
    let mut good = Vec::new();
    let mut steps = Steps { found: Vec::new() };
    let mut at = 0;
    while at < search.table.len() {
        let state = search.table.get(at).clone();
        if let Err(invariant) = model.check(&state) {
            return Err(search.breach(at, None, invariant));
        }
        if model.is_good(&state) {
            good.push(at);
        }
        model.steps(&state, &mut steps);
        for step in steps.found.drain(..) {
            match step.next {
                Err(invariant) => return Err(search.breach(at, Some((step.who, step.what)), invariant)),
                Ok(next) => {
                    let (to, is_new) = search.table.insert(next);
                    if is_new {
                        search.parents.push(table::small(at));
                    }
                    edges.to.push(table::small(to));
                }
            }
        }
        edges.ends.push(edges.to.len());
        assert!(search.table.len() <= MOST, "more than {MOST} states");
        at += 1;
    }
    if let Some(lost) = edges.first_that_reaches_none(&good) {
        return Err(search.breach(lost, None, GOOD));
    }
    Ok(Explored {
        states: search.table.len(),
        transitions: edges.to.len(),
        good: good.len(),
        time: began.elapsed(),
    })
}

struct Search<'a, M: Model> {
    model: &'a M,
    table: Table<M::State>,
    /// From where each state was found first.
    parents: Vec<u32>,
}

impl<M: Model> Search<'_, M> {
    /// How state `at`, and a `last` step from there, came about.
    fn breach(&self, at: usize, last: Option<(usize, &'static str)>, invariant: Invariant) -> Breach {
        let line = |who: usize, what: &str| format!("{}: {what}", self.model.name(who));
        // From the end to the beginning.
        let mut trace = vec![format!("{:?}", self.table.get(at))];
        trace.extend(last.map(|(who, what)| line(who, what)));
        let mut to = at;
        while to != 0 {
            let from = table::large(self.parents[to]);
            let mut steps = Steps { found: Vec::new() };
            self.model.steps(self.table.get(from), &mut steps);
            let target = self.table.get(to);
            let step = steps.found.iter().find(|step| step.next.as_ref() == Ok(target));
            trace.extend(step.map(|step| line(step.who, step.what)));
            to = from;
        }
        trace.reverse();
        Breach { invariant, trace }
    }
}

/// The steps between the states: those from state `i` end at `ends[i]`, and begin where those of the one before end.
#[derive(Default)]
struct Edges {
    to: Vec<u32>,
    ends: Vec<usize>,
}

impl Edges {
    /// The first state from which no step leads to one of `targets`, if there is one.
    fn first_that_reaches_none(&self, targets: &[usize]) -> Option<usize> {
        let states = self.ends.len();
        // The same edges, backwards.
        let mut begins = vec![0_usize; states + 1];
        for &to in &self.to {
            begins[table::large(to) + 1] += 1;
        }
        for i in 0..states {
            begins[i + 1] += begins[i];
        }
        let (mut next, mut from) = (begins.clone(), vec![0_u32; self.to.len()]);
        let mut begin = 0;
        for (source, &end) in self.ends.iter().enumerate() {
            for &to in &self.to[begin..end] {
                let place = &mut next[table::large(to)];
                from[*place] = table::small(source);
                *place += 1;
            }
            begin = end;
        }
        let mut reaches = vec![false; states];
        let mut waiting = targets.to_vec();
        for &target in targets {
            reaches[target] = true;
        }
        while let Some(at) = waiting.pop() {
            for &source in &from[begins[at]..begins[at + 1]] {
                let source = table::large(source);
                if !core::mem::replace(&mut reaches[source], true) {
                    waiting.push(source);
                }
            }
        }
        reaches.iter().position(|reaches| !reaches)
    }
}
