//! Kills a process after **each instruction** of an operation on an [outlive](https://docs.rs/outlive) segment, and asks
//! survivors what they find. It tests outlive's own operations, and whatever you build on top of it.
//!
//! # Three levels
//! 1. A *victim* is forked and stepped through the operation by `ptrace`, one instruction at a time. After each one that has
//!    changed a byte of the segment, the bytes are copied to a memory object to which nobody is attached, so that by the
//!    kernel's own evidence everybody in it is dead. Survivors come, and find what was there before the operation, or after
//!    it; from one to the other there is one commit instruction, and no way back.
//! 2. For a sample of these states, whoever *recovers* is stepped and killed in the same way, and the next one must find
//!    what the first would have found.
//! 3. For a smaller sample the victim is killed in earnest: SIGKILL, the kernel's evidence, and peers that wait in blocking
//!    operations, which must return.
//!
//! # A case
//! A test of its own with `harness = false`, so that there is one thread to fork:
//!
//! ```toml
//! [dev-dependencies]
//! outlive-kill = "0.1"
//!
//! [[test]]
//! name = "kill"
//! harness = false
//! ```
//!
//! `tests/kill.rs`, about a counter whose two halves have to agree (the one that counts is stored last):
//!
//! ```no_run
//! use outlive::atomic::{AtomicU64, Ordering};
//! use outlive::object::Object;
//! use outlive_kill::{Case, INSIDE, Survivor, World, run, step};
//!
//! type Halves = Object<[AtomicU64; 2]>;
//!
//! fn count(halves: &Halves) {
//!     let next = halves[1].load(Ordering::Acquire) + 1;
//!     halves[0].store(next, Ordering::Relaxed); // the copy first,
//!     halves[1].store(next, Ordering::Release); // then what counts: the commit instruction
//! }
//!
//! fn seen(survivor: &Survivor<'_>) -> String {
//!     let halves = Halves::open(survivor, "halves").unwrap();
//!     let found = halves[1].load(Ordering::Acquire);
//!     count(&halves); // it can be used as if nobody had died
//!     assert_eq!(halves.each_ref().map(|half| half.load(Ordering::Acquire)), [found + 1; 2]);
//!     found.to_string()
//! }
//!
//! const CASES: &[Case] = &[Case {
//!     name: "count",
//!     given: |world: &World| drop(Halves::create(&world.attach(), "halves", Default::default).unwrap()),
//!     victim: |world| {
//!         let halves = Halves::open(&world.attach(), "halves").unwrap();
//!         step(|| count(&halves));
//!     },
//!     seen,
//!     outcomes: &["0", "1"],
//!     states: 3, // before, between, after
//!     ..INSIDE
//! }];
//!
//! fn main() -> std::process::ExitCode {
//!     run(&[CASES])
//! }
//! ```
//!
//! # What is asked of each state
//! Beside the case's own [`seen`](Case::seen): [`inspect::check`](outlive::inspect::check) finds nothing broken before the
//! sweep, nothing at all after it, and nothing when all is over; the sweep is complete; what is seen is the same with a sweep
//! and without one; in the end, everything removed, as many objects and attachments fit as into a fresh segment; a name can
//! be used again, and nothing else was left in shared memory.
//!
//! And of each case: at least [so many](Case::states) states; every outcome, in order; a victim that comes to its operation,
//! and to its end.
//!
//! # Rules for cases
//! * **A phase is a case of its own.** Who receives and releases in one step cannot tell a message that was consumed from one
//!   that was lost: claim alone, and nothing may be lost; then release alone.
//! * **Drain, and use it to its full capacity.** A leak or a wedge shows there only.
//! * **Plant a bug** once for each oracle, and see it fail: [`Case::explore`].
//! * Attach, allocate and warm up before [`step`]; what the operation returns can be [kept](forget).
//! * A blocking operation is stepped until it has slept; give it a time limit, at 20 to 40 microseconds an instruction.
//!
//! # Output and cost
//! A table: operations with instructions stepped, states, recoveries, double kills, real kills, failures; then a line for each
//! failure, with the state, the instruction and its place in the source (if `addr2line` is installed). An instruction takes
//! 20 to 40 microseconds, a state 100; an operation of 1000 instructions is done in a tenth of a second. Use a release build with
//! debug information (`[profile.release] debug = 1`): it is the one that your users run, reordered by the compiler, and a debug
//! build takes nine times as long for the same states. See [`run`] for arguments and environment.
//!
//! # Limits
//! * Linux on x86-64; elsewhere [`run`] says that nothing was tested. `ptrace` must be allowed: otherwise every case fails.
//! * The process that calls it has one thread; so has the victim.
//! * A case has 120 seconds, and its victim 60; in a debug build twice as long.
//! * Whoever ends a test from outside while it runs (`Ctrl-C`) may leave names `outlive-kill-*` in `/dev/shm`.
//! * The victim runs alone. What needs another process *running at the same moment*, or weak memory, is for loom:
//!   `outlive::model`.
//! * A system call is one instruction: a death halfway through its writes to the segment is not tried.
//! * States of one segment: what else the operation changes (files, other segments) is not looked at. A segment is of the size
//!   that the [`Shape`] says, from the beginning to the end.
//! * Peers are dead in the copies, and those that keep something are ended before the survivors come in level 3: what the living
//!   hold meanwhile is not looked at.
#![cfg(all(target_os = "linux", not(loom)))]

mod arguments;
mod case;
mod judge;
mod levels;
mod location;
mod machine;
mod peers;
mod process;
mod run;
mod step;
mod world;

pub use case::{Case, Counts, INSIDE, NAMED, Report, Tier};
pub use judge::Survivor;
pub use peers::{Peer, keep};
pub use process::dies;
pub use run::run;
pub use step::{forget, step, step_unwinding};
pub use world::{Shape, World};
