//! Cases, and the interleaved rounds that measure them.

use std::fmt;

use crate::Result;
use crate::groups::limits;
use crate::harness::{Setup, disturbed};

/// What a case names itself by, for ratios and bars.
pub(crate) type Id = &'static str;

/// Gives one value.
type Measurement = Box<dyn Fn(&Setup) -> Result<f64>>;

/// One thing to measure, once a round.
pub(crate) struct Case {
    pub(crate) group: &'static str,
    pub(crate) id: Id,
    pub(crate) what: &'static str,
    pub(crate) who: &'static str,
    pub(crate) params: &'static str,
    pub(crate) unit: &'static str,
    /// The cases whose value of the same round this one's is divided by.
    pub(crate) against: Vec<Id>,
    run: Measurement,
}

impl Case {
    pub(crate) fn new(
        group: &'static str,
        id: Id,
        what: &'static str,
        who: &'static str,
        params: &'static str,
    ) -> Self {
        let run = Box::new(|_: &Setup| Err("a case without a measurement".into()));
        Self { group, id, what, who, params, unit: "", against: Vec::new(), run }
    }

    /// Measured in nanoseconds: less is better.
    pub(crate) fn ns(self, run: impl Fn(&Setup) -> Result<f64> + 'static) -> Self {
        self.measured("ns", run)
    }

    /// Measured in millions a second: more is better.
    pub(crate) fn per_second(self, run: impl Fn(&Setup) -> Result<f64> + 'static) -> Self {
        self.measured("M/s", run)
    }

    pub(crate) fn measured(
        mut self,
        unit: &'static str,
        run: impl Fn(&Setup) -> Result<f64> + 'static,
    ) -> Self {
        self.unit = unit;
        self.run = Box::new(run);
        self
    }

    pub(crate) fn against(mut self, others: &[Id]) -> Self {
        self.against.extend_from_slice(others);
        self
    }

    /// For a reader.
    pub(crate) fn title(&self) -> String {
        format!("{}, {} ({})", self.what, self.who, self.params)
    }
}

/// How near the two processors are to each other at the moment, seen by a cache line that goes to and fro.
/// On a virtual machine it changes by the second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Placement {
    /// Siblings of one core.
    Near,
    /// Two cores that share a cache or a socket.
    Far,
    /// Worse than that: sockets apart, or disturbed.
    Slow,
}

impl Placement {
    fn of(trip: f64) -> Self {
        match trip {
            ..70.0 => Self::Near,
            ..200.0 => Self::Far,
            _ => Self::Slow,
        }
    }
}

impl fmt::Display for Placement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Near => "near",
            Self::Far => "far",
            Self::Slow => "slow",
        })
    }
}

/// All values of a run: by case, then by round.
pub(crate) struct Table {
    pub(crate) cases: Vec<Case>,
    pub(crate) values: Vec<Vec<f64>>,
    pub(crate) placements: Vec<Placement>,
}

impl Table {
    pub(crate) fn values_of(&self, id: Id) -> Option<&[f64]> {
        let index = self.cases.iter().position(|case| case.id == id)?;
        Some(&self.values[index])
    }

    pub(crate) fn case(&self, id: Id) -> Option<&Case> {
        self.cases.iter().find(|case| case.id == id)
    }

    /// As in `far 13, near 2`.
    pub(crate) fn placement(&self) -> String {
        let count = |wanted| (wanted, self.placements.iter().filter(|found| **found == wanted).count());
        [Placement::Far, Placement::Near, Placement::Slow]
            .map(count)
            .iter()
            .filter(|(_, count)| *count > 0)
            .map(|(placement, count)| format!("{placement} {count}"))
            .collect::<Vec<_>>()
            .join(", ")
    }
}

/// One value; again, if another program took a processor away meanwhile, but not for ever.
fn undisturbed(setup: &Setup, case: &Case) -> Result<f64> {
    let attempts = if setup.quick { 1 } else { 3 };
    let mut value = f64::NAN;
    for _ in 0..attempts {
        let before = disturbed();
        value = (case.run)(setup).map_err(|error| format!("{}: {error}", case.title()))?;
        if disturbed() == before {
            break;
        }
    }
    Ok(value)
}

/// Every case once, then every case again: forwards and backwards in turn, so that none profits from its
/// place.
pub(crate) fn measure(setup: &Setup, rounds: usize, cases: Vec<Case>) -> Result<Table> {
    let mut values = vec![Vec::with_capacity(rounds); cases.len()];
    let mut placements = Vec::with_capacity(rounds);
    for round in 0..rounds {
        let probe = limits::line_trip(setup, 1000)?;
        let placement = Placement::of(probe);
        eprintln!(
            "round {} of {rounds}: {placement}, a cache line goes to and fro in {probe:.0} ns",
            round + 1
        );
        placements.push(placement);
        let forwards = 0..cases.len();
        let order: Vec<usize> = if round % 2 == 0 { forwards.collect() } else { forwards.rev().collect() };
        for index in order {
            values[index].push(undisturbed(setup, &cases[index])?);
        }
    }
    match disturbed() {
        0 => {}
        times => eprintln!("other programs took a processor away in {times} measurements"),
    }
    Ok(Table { cases, values, placements })
}
