//! One operation under test, and its three levels: killed after every instruction, its recoverer killed as well, and
//! killed in earnest.

use std::collections::HashMap;

use super::judge::{Survivor, judge};
use super::location;
use super::peers::{Peer, Peers};
use super::step::{Refused, Stepped, forget, step};
use super::world::{Shape, State, World};

/// An operation, and what may be left of it.
pub(crate) struct Case {
    pub(crate) name: &'static str,
    /// The public functions whose every instruction this is about: `module::Type::function`.
    pub(crate) covers: &'static [&'static str],
    pub(crate) shape: Shape,
    /// Builds what the operation works on. Whatever this process keeps open of it counts as dead later.
    pub(crate) given: fn(&World),
    /// Other processes, in the middle of something.
    pub(crate) peers: &'static [Peer],
    /// Prepares itself, and does the operation in [`step`].
    pub(crate) victim: fn(&World),
    /// What survivors find, after the sweep: they drain it, *and then use it to its full capacity*.
    pub(crate) seen: fn(&Survivor<'_>) -> String,
    /// What they may find, in this order: before the commit instruction the first, and then the next.
    pub(crate) outcomes: &'static [&'static str],
    /// It is about who is dead, which nobody can see after a sweep: then only all else has to be right.
    pub(crate) swept_away: bool,
}

/// An operation inside of a segment of 16 KiB.
pub(crate) const INSIDE: Case = Case {
    name: "",
    covers: &[],
    shape: Shape { named: false, size: 1 << 14, rows: 7 },
    given: |_| (),
    peers: &[],
    victim: |_| (),
    seen: |_| String::new(),
    outcomes: &[],
    swept_away: false,
};

/// An operation on a name in shared memory.
pub(crate) const NAMED: Case = Case { shape: Shape { named: true, size: 1 << 14, rows: 7 }, ..INSIDE };

/// How much of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tier {
    /// So many states of each operation have their recoverers killed.
    pub(crate) doubles: usize,
    /// So many states of each operation are produced by a real SIGKILL.
    pub(crate) reals: usize,
    /// Every state is told.
    pub(crate) verbose: bool,
}

/// What was done, in numbers.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counts {
    pub(crate) steps: usize,
    pub(crate) states: usize,
    pub(crate) recoveries: usize,
    pub(crate) doubles: usize,
    pub(crate) reals: usize,
}

/// A state, and the instruction that made it.
struct Change {
    at: u64,
    step: usize,
    state: State,
}

impl Case {
    /// All three levels. Failures are told, one a line.
    pub(crate) fn run(&self, tier: Tier) -> (Counts, Vec<String>) {
        let mut run =
            Run { case: self, tier, known: HashMap::new(), counts: Counts::default(), failures: Vec::new() };
        if let Err(why) = run.all() {
            run.failures.push(why);
        }
        let Run { counts, mut failures, .. } = run;
        for failure in &mut failures {
            *failure = format!("{}: {failure}", self.name);
        }
        (counts, failures)
    }
}

struct Run<'a> {
    case: &'a Case,
    tier: Tier,
    /// What survivors found in a state.
    known: HashMap<State, Result<String, String>>,
    counts: Counts,
    failures: Vec<String>,
}

impl Run<'_> {
    fn all(&mut self) -> Result<(), Refused> {
        let changes = self.victim_is_killed()?;
        let found: Vec<Option<String>> = (0..changes.len()).map(|n| self.outcome_of(&changes, n)).collect();
        self.one_switch_at_a_time(&changes, &found);
        for n in sample(&found, self.tier.doubles) {
            if let Some(outcome) = &found[n] {
                self.recoverer_is_killed(&changes, n, outcome)?;
            }
        }
        for n in sample(&found, self.tier.reals) {
            self.victim_is_killed_in_earnest(&changes[n], n)?;
        }
        Ok(())
    }

    /// Level 1: every state through which the segment goes.
    fn victim_is_killed(&mut self) -> Result<Vec<Change>, Refused> {
        let world = World::new(self.case.shape);
        let (peers, mut victim) = self.start(&world)?;
        peers.stop();
        let changes = changes_of(&world, &mut victim)?;
        self.counts.steps += victim.steps();
        self.counts.states = changes.len();
        victim.kill();
        Ok(changes)
    }

    /// Everybody at his place, and the victim at its first instruction.
    fn start(&self, world: &World) -> Result<(Peers, Stepped), Refused> {
        let (case, mut peers) = (self.case, Peers::default());
        (case.given)(world);
        peers.start(case.peers, false, world)?;
        let victim = Stepped::start(|| (case.victim)(world))?;
        peers.start(case.peers, true, world)?;
        Ok((peers, victim))
    }

    fn outcome_of(&mut self, changes: &[Change], n: usize) -> Option<String> {
        let (outcome, new) = self.outcome(&changes[n].state);
        match outcome {
            Ok(outcome) => {
                if self.tier.verbose {
                    eprintln!("{}: state {n}, {}: {outcome}", self.case.name, location::of(changes[n].at));
                }
                Some(outcome)
            }
            Err(why) => {
                if new {
                    let at = location::of(changes[n].at);
                    self.failures.push(format!("state {n} of {}, {at}: {why}", changes.len()));
                }
                None
            }
        }
    }

    /// What survivors find in a state, and whether nobody had looked yet.
    fn outcome(&mut self, state: &State) -> (Result<String, String>, bool) {
        if let Some(known) = self.known.get(state) {
            return (known.clone(), false);
        }
        self.counts.recoveries += 1;
        let outcome = judge(self.case, &World::in_state(self.case.shape, state));
        self.known.insert(state.clone(), outcome.clone());
        (outcome, true)
    }

    /// From the first outcome to the last, and never back.
    fn one_switch_at_a_time(&mut self, changes: &[Change], found: &[Option<String>]) {
        let expected = self.case.outcomes;
        let mut reached = 0;
        for (n, found) in found.iter().enumerate() {
            let Some(found) = found else { continue };
            let next =
                expected.iter().enumerate().skip(reached).take(2).find(|(_, outcome)| *outcome == found);
            let Some((next, _)) = next else {
                let at = location::of(changes[n].at);
                let told = format!("state {n} of {}, {at}: {found:?}", changes.len());
                self.failures
                    .push(format!("{told}; expected {expected:?}, in this order; {reached} was reached"));
                return;
            };
            reached = next;
        }
        let (first, last) = (found.first().cloned().flatten(), found.last().cloned().flatten());
        let complete = first.is_none_or(|first| first == expected[0]) && reached + 1 == expected.len();
        if !complete && last.is_some() {
            self.failures.push(format!("from state 0 to the last one: not all of {expected:?} were seen"));
        }
    }

    /// Level 2: whoever recovers is killed after each instruction that changed anything, and the next one finds the same.
    fn recoverer_is_killed(&mut self, changes: &[Change], n: usize, outcome: &str) -> Result<(), Refused> {
        if changes[n].state.is_none() {
            return Ok(()); // nothing is there
        }
        let world = World::in_state(self.case.shape, &changes[n].state);
        let recover = || {
            let Some(segment) = world.find() else { return step(|| ()) };
            step(|| forget(segment.sweep().unwrap()));
        };
        let mut recoverer = Stepped::start(recover)?;
        let second = changes_of(&world, &mut recoverer)?;
        self.counts.steps += recoverer.steps();
        recoverer.kill();
        for (m, change) in second.iter().enumerate() {
            let (found, new) = self.outcome(&change.state);
            self.counts.doubles += usize::from(new);
            let same = found.as_deref() == Ok(outcome) || found.is_ok() && self.case.swept_away;
            if !same {
                let places = [changes[n].at, change.at].map(location::of).join(", recoverer ");
                self.failures.push(format!(
                    "state {n} of {}, recoverer killed in its state {m} of {}, {places}: {found:?} instead of {outcome:?}",
                    changes.len(),
                    second.len()
                ));
                break;
            }
        }
        Ok(())
    }

    /// Level 3: a real death, the kernel's own evidence, and peers that wait.
    fn victim_is_killed_in_earnest(&mut self, change: &Change, n: usize) -> Result<(), Refused> {
        let world = World::new(self.case.shape);
        let (peers, mut victim) = self.start(&world)?;
        while victim.steps() < change.step && victim.step()?.is_some() {}
        victim.kill();
        self.counts.reals += 1;
        let told = || format!("killed in earnest in state {n}, {}", location::of(change.at));
        if let Err(why) = peers.return_or_are_killed() {
            self.failures.push(format!("{}: {why}", told()));
            return Ok(());
        }
        match judge(self.case, &world) {
            Ok(found) if self.case.outcomes.contains(&found.as_str()) => {}
            other => self.failures.push(format!("{}: {other:?}", told())),
        }
        Ok(())
    }
}

/// The first state, and one for each instruction that changed anything.
fn changes_of(world: &World, process: &mut Stepped) -> Result<Vec<Change>, Refused> {
    let view = world.view();
    let mut changes = vec![Change { at: 0, step: 0, state: world.state() }];
    while let Some(at) = process.step()? {
        let last = changes.last().expect("there is a first one");
        let now = match &view {
            Some(bytes) if last.state.as_deref() == Some(bytes) => continue,
            _ => world.state(),
        };
        if now != last.state {
            changes.push(Change { at, step: process.steps(), state: now });
        }
    }
    Ok(changes)
}

/// At most so many of them: those around the switches first, then the others from the beginning on, evenly.
fn sample(found: &[Option<String>], most: usize) -> Vec<usize> {
    let count = found.len();
    let mut chosen: Vec<usize> =
        (1..count).filter(|&n| found[n] != found[n - 1]).flat_map(|n| [n, n - 1]).collect();
    chosen.extend([count - 1, 0]);
    let rest = most.saturating_sub(chosen.len()).max(1);
    chosen.extend((0..count).step_by(count.div_ceil(rest).max(1)));
    chosen.extend(0..count);
    let mut unique = Vec::new();
    for n in chosen {
        if !unique.contains(&n) && unique.len() < most {
            unique.push(n);
        }
    }
    unique.sort_unstable();
    unique
}
