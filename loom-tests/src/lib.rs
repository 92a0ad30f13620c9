//! Models of outlive's structures: every interleaving of a few threads, every crash point, weak memory.
//!
//! ```sh
//! RUSTFLAGS="--cfg loom" cargo test --profile loom --target-dir target/loom -p outlive-loom-tests
//! ```
//!
//! Without `--cfg loom` there is nothing here. The rules:
//!
//! * Two threads with 3 preemptions and 3 operations each; three threads with 2 preemptions and 1 operation each.
//! * A model creates its segment inside the closure, and asserts how many executions there were *at least*: one that
//!   explores a single execution passes, and proves nothing.
//! * Whatever blocks has two models: nobody dies and only a wake-up ends a sleep; and sleeps end by themselves
//!   (`set_slices`) while the waker dies at every write.
//! * Its name is the race; its doc says what may happen and what may not.

#[cfg(loom)]
mod deaths;
#[cfg(loom)]
pub use deaths::explore_deaths;
