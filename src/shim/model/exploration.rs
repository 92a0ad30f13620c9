//! Running a model.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::{clock, futex, life};

/// Thread switches in one iteration before it counts as an endless loop; a repaired load takes two.
const BRANCHES: usize = 10_000;

/// Runs `model` once for every execution that up to `preemptions` preemptions can make different, and returns how
/// many there were. Panics with the first one that fails.
///
/// Segments, structures and atomics must be made *inside* of `model`: those of one iteration mean nothing in the
/// next. [`set_slices`](super::set_slices) is off at the start of each.
///
/// A model that explores almost nothing proves nothing: **assert a minimum number of iterations**, which is why
/// they are returned. Nothing cuts an exploration short, neither a time nor a number of iterations: loom would
/// report that as a success. To finish earlier, make the model smaller. `LOOM_MAX_PREEMPTIONS` in the environment
/// raises the bound, but does not lower it.
#[must_use = "a model that explored almost nothing proves nothing: assert a minimum"]
pub fn explore(preemptions: usize, model: impl Fn() + Sync + Send + 'static) -> usize {
    let iterations = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&iterations);
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound =
        Some(builder.preemption_bound.map_or(preemptions, |more| more.max(preemptions)));
    builder.max_branches = builder.max_branches.max(BRANCHES);
    builder.max_duration = None;
    builder.max_permutations = None;
    builder.check(move || {
        counter.fetch_add(1, Ordering::Relaxed); // a statistic
        futex::reset();
        clock::reset();
        life::reset();
        model();
    });
    iterations.load(Ordering::Relaxed) // a statistic
}
