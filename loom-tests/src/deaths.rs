//! One model for each write that the victim may die before.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use outlive::model;

/// Explores `model(k)` for `k` from 0 on, until nobody dies any more, and returns the number of executions, for each
/// `k` that killed somebody. The model has its victim die before its `k`-th write, and returns whether it did.
///
/// The output of a failing test ends with the `k` that failed.
///
/// # Panics
/// If nobody ever dies: such a model tests no death.
pub fn explore_deaths(
    preemptions: usize,
    model: impl Fn(u32) -> bool + Clone + Send + Sync + 'static,
) -> Vec<usize> {
    let mut executions = Vec::new();
    for k in 0.. {
        eprintln!("the victim dies before write {k}");
        let died = Arc::new(AtomicBool::new(false));
        let count = model::explore(preemptions, {
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
