//! What tests say of models: a line of a table each, shown by `cargo test -p outlive-models -- --nocapture`.

use crate::{Explored, Invariant, Model, explore};

/// Whether large instances are to be explored, too: `OUTLIVE_MODELS=full`.
pub fn full() -> bool {
    std::env::var_os("OUTLIVE_MODELS").is_some_and(|tier| tier == "full")
}

/// Asserts that a model keeps its invariants, in no fewer states than `least`: a model in which nothing happens proves nothing.
///
/// # Panics
/// With the shortest way to a breach.
#[track_caller]
pub fn holds<M: Model>(what: &str, model: &M, least: usize) -> Explored {
    match explore(model) {
        Ok(explored) => {
            let Explored { states, transitions, good, time } = explored;
            let seconds = time.as_secs_f64();
            say(&format!(
                "{what:60} {states:9} states {transitions:10} transitions {good:8} good {seconds:6.1} s"
            ));
            assert!(states >= least, "{what}: {states} states only, {least} were expected");
            explored
        }
        Err(breach) => panic!("{what}: {breach}"),
    }
}

/// Asserts that a planted bug breaks this invariant, and no other one before.
///
/// # Panics
/// If it breaks another one, with the shortest way there; or none.
#[track_caller]
pub fn caught<M: Model>(what: &str, model: &M, invariant: Invariant) {
    match explore(model) {
        Ok(Explored { states, .. }) => panic!("{what}: survived in {states} states"),
        Err(breach) if breach.invariant == invariant => {
            say(&format!("{what:60} caught after {:3} steps: {invariant}", breach.trace.len() - 1));
        }
        Err(breach) => panic!("{what}: caught, but not by {invariant:?}: {breach}"),
    }
}

#[expect(clippy::print_stdout, reason = "what tests print is captured, unless it is asked for")]
fn say(line: &str) {
    println!("{line}");
}
