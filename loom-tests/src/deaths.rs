//! Exploring: how deeply, and one model for each write that the victim may die before.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use outlive::model;

/// Whether the long tier runs: `OUTLIVE_MODELS=full`.
///
/// # Panics
/// If the variable says something else.
#[must_use]
pub fn is_full() -> bool {
    match std::env::var("OUTLIVE_MODELS") {
        Err(_) => false,
        Ok(tier) => {
            assert!(tier == "full", "OUTLIVE_MODELS is {tier:?}; there is only \"full\"");
            true
        }
    }
}

/// How many preemptions the long tier gives every model at least.
const FULL: usize = 2;

/// As [`model::explore`]; in the long tier with two preemptions at least. The name of the model and the number of
/// executions go to the output of the test.
#[must_use = "a model that explored almost nothing proves nothing: assert a minimum"]
pub fn explore(preemptions: usize, model: impl Fn() + Sync + Send + 'static) -> usize {
    let least = if is_full() { FULL } else { 0 };
    let count = model::explore(preemptions.max(least), model);
    let thread = std::thread::current();
    eprintln!("{}: {count} executions", thread.name().unwrap_or("a model"));
    count
}

/// Explores `model(k)` for `k` from 0 on, until nobody dies any more, and returns the number of executions, for each
/// `k` that killed somebody. The model has its victim die before its `k`-th write, and returns whether it did.
///
/// The output of a failing test ends with the `k` that failed.
///
/// # Panics
/// If nobody ever dies: such a model tests no death.
#[must_use = "a model that explored almost nothing proves nothing: assert a minimum"]
pub fn explore_deaths(
    preemptions: usize,
    model: impl Fn(u32) -> bool + Clone + Send + Sync + 'static,
) -> Vec<usize> {
    let mut executions = Vec::new();
    for k in 0.. {
        eprintln!("the victim dies before write {k}");
        let died = Arc::new(AtomicBool::new(false));
        let count = explore(preemptions, {
            let (model, died) = (model.clone(), Arc::clone(&died));
            move || {
                if model(k) {
                    died.store(true, Ordering::Relaxed); // a statistic, not part of the model
                }
            }
        });
        // a statistic, not part of the model
        if !died.load(Ordering::Relaxed) {
            break;
        }
        executions.push(count);
    }
    assert!(!executions.is_empty(), "the victim never died");
    executions
}
