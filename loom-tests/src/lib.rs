//! Models of outlive's structures: every interleaving of a few threads, every crash point, weak memory.
//!
//! ```sh
//! RUSTFLAGS="--cfg loom" cargo test --profile loom --target-dir target/loom -p outlive-loom-tests
//! ```
//!
//! With `OUTLIVE_MODELS=full` in the environment, as in `.ci/run full`, every model gets two preemptions at least, where
//! the quick tier makes do with one for those that look at many words or die in many places; and where three may meet, three
//! do (`is_full`).
//!
//! Without `--cfg loom` there is nothing here. The rules:
//!
//! * Two threads with 3 preemptions and 3 operations each; three threads with 2 preemptions and 1 operation each; fewer
//!   preemptions (in the quick tier) where a process dies at every write of something long.
//! * A model creates its segment inside the closure, and asserts how many executions there were *at least*: one that
//!   explores a single execution passes, and proves nothing.
//! * Each thread has an attachment of its own, as each process has: the locks inside of one are none of the model's.
//! * Whatever blocks has two models: nobody dies and only a wake-up ends a sleep; and sleeps end by themselves
//!   (`set_slices`) while the waker dies at every write.
//! * Its name is the race; its doc says what may happen ("Allowed") and what may not ("Forbidden").
//!
//! | file | race |
//! |---|---|
//! | `rows` | attach, detach, sweep and reuse of rows; generations |
//! | `directory` | create, open, remove, the reuse of memory; the lock |
//! | `roles` | take-over, resigning, closing, dying with a role |
//! | `spsc`, `records`, `stream` | the rings: positions and what they name, batches, marks, parts, successors |
//! | `event` | sleeping and waking, alarms |
//! | `event_states` | the eventcount alone, all states of it |
//! | `links` | objects that point to each other |
//! | `looks` | whoever only looks: statistics, the check |
//! | `lost` | that the hole in loom is mended |

#[cfg(loom)]
mod deaths;
#[cfg(loom)]
mod rings;

#[cfg(loom)]
pub use deaths::{explore, explore_deaths, is_full};
#[cfg(loom)]
pub use rings::{Kind, Pair, drain, pair, processes, ring};
