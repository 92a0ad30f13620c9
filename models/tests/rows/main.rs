//! The attachment table: rows, their bytes, the evidence of death, sweeps, and rows that are used again.
//!
//! ```text
//!   row: generation | FREE, ACTIVE, DEAD      identity: whose it is      bytes, of the kernel: ROW (he lives), SWEEP
//!   an object: a word (row, generation), held by one at a time; a bit a row: who has it open
//!
//!   attach   FREE? -> take ROW -> FREE still? -> identity -> CAS ACTIVE, generation + 1       `claim_by_byte`
//!   use      set bit -> word? -> (its owner is dead?) -> CAS word = me ... CAS word = 0 ... clear bit
//!   detach   bit? -> word = mine? CAS 0 -> clear bit -> CAS FREE -> give ROW back            `sweep::detach`, `Drop`
//!   is dead  row's state -> identity -> kernel: pidfd, or ROW free -> state unchanged?       `Attached::is_dead`
//!   sweep    row's state -> is dead -> take SWEEP -> CAS DEAD -> bit? -> word = his? CAS 0 -> clear bit
//!            -> CAS FREE -> give SWEEP back                                                  `sweep::sweep`
//! ```
//! Each arrow is a step. A process can die after each: its pidfd says so at once, its bytes are given back by the kernel
//! later, one by one. Whoever comes by sweeps, with a row or without; two at a time, and they die, too.
//!
//! # Invariants
//! * `S1`: the row of a living tenant is ACTIVE, in his generation, until he himself makes it FREE.
//! * `S2`: no word and no bit is left of a tenant when his row is FREE.
//! * `D-I3`: nobody clears the bit of a living tenant but himself.
//! * `HELD`: a word is its owner's while he lives.
//! * `NEW`: a tenant's generation is new.
//! * Good: all have detached or are dead and forgotten, all rows are FREE, no byte is held.
//!
//! Not in the model: memory orderings; generations that come round; a sweep of several rows in one pass; kinds of
//! objects that a build does not know; forks.

mod sweep;
mod table;

use outlive_models::{caught, full, holds};
use table::{Bug, DI3, NEW, S1, S2, Table};

fn of(processes: usize, rows: u8, attaches: u8, deaths: u8, pidfds: bool) -> Table {
    Table { rows, processes, attaches, deaths, pidfds, bug: None }
}

#[test]
fn rows_are_swept_and_used_again() {
    for pidfds in [true, false] {
        let explored = |table: Table, least| {
            let Table { processes, rows, attaches, deaths, .. } = table;
            let what = format!(
                "rows: {processes} x {attaches} attachments, {rows} rows, {deaths} deaths, pidfds {pidfds}"
            );
            holds(&what, &table, least);
        };
        explored(of(2, 1, 2, 1, pidfds), 1000);
        explored(of(2, 2, 2, 1, pidfds), 1000);
        explored(of(3, 1, 1, 2, pidfds), 10_000);
        explored(of(3, 1, 2, 1, pidfds), 10_000);
        if full() {
            explored(of(3, 2, 1, 2, pidfds), 10_000);
            explored(of(3, 1, 2, 2, pidfds), 10_000);
        }
    }
}

/// Behind the evidence the row is looked at once more. That matters when generations come round, which they do not here: a
/// stamp whose tenant is gone is that of a dead one, whoever the evidence was about.
#[test]
fn the_second_look_of_a_verdict_is_for_generations_that_come_round() {
    let table = Table { bug: Some(Bug::NoSecondLook), ..of(3, 1, 2, 1, true) };
    holds("rows: NoSecondLook", &table, 10_000);
}

#[test]
fn planted_bugs_are_caught() {
    for (bug, table, invariant) in [
        (Bug::FreeBeforeRepair, of(2, 1, 1, 1, true), S2),
        (Bug::ForgetsWord, of(2, 1, 1, 1, true), S2),
        (Bug::ForgetsBit, of(2, 1, 1, 1, true), S2),
        (Bug::NoSweepByte, of(3, 1, 2, 1, true), DI3),
        (Bug::NoVerdict, of(2, 2, 1, 0, true), S1),
        (Bug::GenerationKept, of(2, 1, 2, 1, true), NEW),
        (Bug::NoRowByte, of(2, 1, 1, 0, false), S1),
        (Bug::ActiveBeforeIdentity, of(3, 1, 1, 1, true), S1),
        (Bug::ActiveByStore, of(2, 1, 1, 0, true), NEW),
        (Bug::DetachBeforeRepair, of(2, 1, 1, 0, true), S2),
        (Bug::ByteBeforeDetach, of(2, 1, 1, 0, false), S1),
    ] {
        caught(&format!("rows: {bug:?}"), &Table { bug: Some(bug), ..table }, invariant);
    }
}
