//! The three levels: killed after every instruction, its recoverer killed as well, and killed in earnest.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};

use memmap2::Mmap;

use crate::case::{Case, Counts, Report, Tier};
use crate::judge::{Sweep, hearing_panics, judge, last_words};
use crate::location;
use crate::peers::{Peer, Peers};
use crate::step::{Refused, Stepped, forget, step};
use crate::world::{State, World};

/// A state, and the instruction that made it.
struct Change {
    at: u64,
    step: usize,
    state: State,
}

struct Run<'a> {
    case: &'a Case,
    tier: Tier,
    /// What survivors found in a state.
    known: HashMap<State, Result<String, String>>,
    counts: Counts,
    failures: Vec<String>,
}

pub(crate) fn run(case: &Case, tier: Tier) -> Report {
    let mut run = Run { case, tier, known: HashMap::new(), counts: Counts::default(), failures: Vec::new() };
    hearing_panics(|| match catch_unwind(AssertUnwindSafe(|| run.all())) {
        Ok(Ok(())) => {}
        Ok(Err(why)) => run.failures.push(why),
        Err(_) => run.failures.push(format!("it cannot be prepared: {}", last_words())),
    });
    Report { counts: run.counts, failures: run.failures }
}

impl Run<'_> {
    fn all(&mut self) -> Result<(), Refused> {
        if self.case.outcomes.is_empty() {
            return Err("no outcomes are expected: it cannot be wrong".to_owned());
        }
        let changes = self.victim_is_killed()?;
        let found: Vec<Option<String>> = (0..changes.len()).map(|n| self.outcome_of(&changes, n)).collect();
        self.one_switch_at_a_time(&changes, &found);
        let least = self.case.states.max(self.case.outcomes.len());
        if changes.len() < least {
            let states = changes.len();
            self.failures.push(format!("{states} states, of at least {least}: it tests too little"));
        }
        for n in sample(&found, self.tier.doubles) {
            if let Some(outcome) = &found[n] {
                self.recoverer_is_killed(&changes, n, outcome)?;
            }
        }
        for n in sample(&found, self.tier.reals) {
            if let Some(outcome) = &found[n] {
                self.victim_is_killed_in_earnest(&changes[n], n, outcome)?;
            }
        }
        Ok(())
    }

    /// Level 1: every state through which the segment goes.
    fn victim_is_killed(&mut self) -> Result<Vec<Change>, Refused> {
        let world = World::new(self.case.shape);
        let (peers, mut victim) = self.start(&world)?;
        peers.stop();
        let changes = Watched::alone(&world).changes(&mut victim)?;
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
        let told = || format!("state {n} of {}, {}", changes.len(), location::of(changes[n].at));
        let (outcome, new) = self.outcome(&changes[n].state);
        match outcome {
            Ok(outcome) => {
                if self.tier.verbose {
                    eprintln!("{}: {}: {outcome}", self.case.name, told());
                }
                if new {
                    self.the_same_without_a_sweep(&changes[n], &outcome, told);
                }
                Some(outcome)
            }
            Err(why) => {
                if new {
                    self.failures.push(format!("{}: {why}", told()));
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
        let outcome = self.asked(state, Sweep::First);
        self.known.insert(state.clone(), outcome.clone());
        (outcome, true)
    }

    fn asked(&mut self, state: &State, sweep: Sweep) -> Result<String, String> {
        self.counts.recoveries += 1;
        judge(self.case, &World::in_state(self.case.shape, state), sweep)
    }

    /// Nobody has to sweep: whoever needs what the dead hold takes it over.
    fn the_same_without_a_sweep(&mut self, change: &Change, swept: &str, told: impl Fn() -> String) {
        let found = self.asked(&change.state, Sweep::Last);
        if found.as_deref() != Ok(swept) {
            self.failures.push(format!("{}: {found:?} without a sweep, instead of {swept:?}", told()));
        }
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
        let mut recoverer = Stepped::start(|| {
            let Some(segment) = world.find() else { return step(|| ()) };
            step(|| {
                forget(segment.sweep().expect("whoever comes can sweep"));
                (self.case.recover)(&segment);
            });
        })?;
        let second = Watched::alone(&world).changes(&mut recoverer)?;
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
    ///
    /// Without such peers all goes as before, and the same has to be found. They run, and change things when they like: the
    /// moment is then about the same, and so is what is found.
    fn victim_is_killed_in_earnest(
        &mut self,
        change: &Change,
        n: usize,
        outcome: &str,
    ) -> Result<(), Refused> {
        let world = World::new(self.case.shape);
        let (peers, mut victim) = self.start(&world)?;
        let alone = !self.case.peers.iter().any(|peer| matches!(peer, Peer::Waits(_)));
        if alone {
            let mut watched = Watched::alone(&world);
            for _ in 0..n {
                watched.change(&mut victim)?;
            }
        } else {
            while victim.steps() < change.step && victim.step()?.is_some() {}
        }
        victim.kill();
        self.counts.reals += 1;
        let told = || format!("killed in earnest in state {n}, {}", location::of(change.at));
        if let Err(why) = peers.return_or_are_killed(self.tier.patience) {
            self.failures.push(format!("{}: {why}", told()));
            return Ok(());
        }
        match judge(self.case, &world, Sweep::First) {
            Ok(found) if found == outcome => {}
            Ok(found) if !alone && self.case.outcomes.contains(&found.as_str()) => {}
            other => self.failures.push(format!("{}: {other:?} instead of {outcome:?}", told())),
        }
        let strays = world.strays();
        if !strays.is_empty() {
            self.failures.push(format!("{}: left in shared memory: {strays:?}", told()));
        }
        Ok(())
    }
}

/// A segment that somebody changes step by step, while nobody else does anything.
struct Watched<'a> {
    world: &'a World,
    view: Option<Mmap>,
    last: State,
}

impl<'a> Watched<'a> {
    fn alone(world: &'a World) -> Self {
        Self { world, view: world.view(), last: world.state() }
    }

    /// The first state, and one for each instruction that changed anything.
    fn changes(mut self, process: &mut Stepped) -> Result<Vec<Change>, Refused> {
        let mut changes = vec![Change { at: 0, step: 0, state: self.last.clone() }];
        while let Some(at) = self.change(process)? {
            changes.push(Change { at, step: process.steps(), state: self.last.clone() });
        }
        Ok(changes)
    }

    /// Steps it until something has changed: by which instruction. `None`: the operation is complete.
    fn change(&mut self, process: &mut Stepped) -> Result<Option<u64>, Refused> {
        while let Some(at) = process.step()? {
            let same = match &self.view {
                Some(bytes) => self.last.as_deref() == Some(bytes),
                None => self.last == self.world.state(),
            };
            if !same {
                self.last = self.world.state();
                return Ok(Some(at));
            }
        }
        Ok(None)
    }
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
