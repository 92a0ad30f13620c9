//! The directory: entries, the bits of those who have an object open, its lock, and memory that is used again.
//!
//! ```text
//!   lock: owner      entry: version | EMPTY, RESERVED(o), LIVE, RETIRED, VACATING(o), VACANT      name, extent: at, len
//!   bits, an entry: who has it open       memory: an object, half of one, or what was left there
//!
//!   find     word: LIVE? -> its name? -> word unchanged? -> set bit -> word unchanged? -> extent     `look_up`, `open`
//!            nothing: lock -> the same once more -> create
//!   create   each entry: word -> RETIRED, or of the dead: bits? -> CAS VACATING(me) -> bits? -> len 0 -> CAS VACANT
//!                                                                        `survey`, `vacate`
//!            CAS RESERVED(me) -> name -> extent -> the object, in two halves -> bit -> LIVE -> unlock    `create`
//!   remove   lock -> find -> CAS RETIRED -> unlock                                                  `remove`
//!   close    clear bit                                                                              `Inner::drop`
//!   sweep    each entry: word -> his bit? -> word: RESERVED, VACATING(his)? CAS RETIRED -> word -> clear his bit
//!            -> lock: his? CAS free -> his row is free                                              `directory::sweep`
//! ```
//! Each arrow is a step; so is each look at an entry. A process can die after each, sweepers included. One name; all want
//! an object of it.
//!
//! # Invariants
//! * `D-I1`: only the holder of the lock changes a state, apart from the sweep; the lock is its holder's while he lives.
//! * `D-I2`: what a process has open is where it was, and is still that object.
//! * `D-I4`: the length is 0 from VACANT until the new extent is complete.
//! * `WHOLE`: what is LIVE is complete.
//! * `ONE`: a name is that of one object.
//! * `SWEPT`: nothing names a process whose row is free.
//! * Good: nobody has or does anything, the lock is free, no bit is set, no entry is RESERVED or VACATING, the dead are swept.
//!
//! Not in the model: memory orderings; several names, sizes and kinds; read-only attachments. One process sweeps a row at a
//! time: that it does is in `rows`.

mod create;
mod entries;
mod sweep;

use entries::{Bug, DI1, DI2, DI4, Directory, ONE, SWEPT, WHOLE};
use outlive_models::{caught, full, holds};

fn of(processes: usize, operations: u8, deaths: u8) -> Directory {
    Directory { processes, operations, deaths, bug: None }
}

#[test]
fn objects_come_and_go() {
    let explored = |directory: Directory, least| {
        let Directory { processes, operations, deaths, .. } = directory;
        let what = format!("directory: {processes} x {operations} operations, {deaths} deaths");
        holds(&what, &directory, least);
    };
    explored(of(2, 2, 1), 1000);
    explored(of(2, 3, 1), 10_000);
    explored(of(3, 1, 2), 10_000);
    if full() {
        explored(of(2, 4, 1), 10_000);
        explored(of(3, 2, 1), 10_000);
    }
}

/// The second look at the bits is there for weak memory, where the first one may be older than RETIRED: see D6. Among
/// those who see each step at once, the first one finds each opener that has seen LIVE behind its bit.
#[test]
fn the_second_look_of_whoever_vacates_is_for_weak_memory() {
    let directory = Directory { bug: Some(Bug::VacaterDoesNotLookAgain), ..of(2, 3, 1) };
    holds("directory: VacaterDoesNotLookAgain", &directory, 10_000);
}

#[test]
fn planted_bugs_are_caught() {
    for (bug, directory, invariant) in [
        (Bug::OpenerDoesNotLookAgain, of(2, 3, 0), DI2),
        (Bug::LiveBeforeBuilt, of(1, 1, 0), WHOLE),
        (Bug::NoLock, of(2, 1, 0), DI1),
        (Bug::LockOfTheLiving, of(2, 1, 0), DI1),
        (Bug::NoLookUnderTheLock, of(2, 1, 0), ONE),
        (Bug::ExtentKept, of(1, 3, 0), DI4),
        (Bug::SweepForgetsReserved, of(2, 1, 1), SWEPT),
        (Bug::SweepForgetsLock, of(2, 1, 1), SWEPT),
        (Bug::SweepForgetsBits, of(2, 1, 1), SWEPT),
        (Bug::SweepByStore, of(3, 1, 1), DI1),
    ] {
        caught(&format!("directory: {bug:?}"), &Directory { bug: Some(bug), ..directory }, invariant);
    }
}
