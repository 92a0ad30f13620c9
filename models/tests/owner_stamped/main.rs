//! The owner-stamped ring for many senders and receivers: nack, abort, batches, redelivery by a counter, relaxed order.
//!
//! ```text
//!   slot word: lap | tag | owner        FREE(lap) -> WRITING(lap, p) -> READY(lap) -> TAKEN(lap, c) -> FREE(lap + 1)
//!   position P: slot P mod cap, lap P / cap        tail, head: hints, plain stores, may be stale
//!
//!   send      tail -> slot: FREE(L)? -> CAS WRITING(me) -> tail hint? -> tail hint = P + 1 -> payload -> READY   (commit)
//!                                                                                            or FREE(L + 1)   (abort)
//!   receive   counter: changed? scan: a slot, CAS TAKEN(me)
//!             head -> slot: READY? -> CAS TAKEN(me) -> head hint? -> head hint = P + 1 -> payload -> FREE(L + 1) (consumed)
//!                                                                            or READY, again -> counter + 1      (nack)
//!   recover   slot of a dead owner: CAS WRITING -> FREE(L + 1), TAKEN -> READY, again -> counter + 1
//!   sweep     recover each slot of the dead -> counter + 1 -> its row is free
//! ```
//! Each arrow is a step. A process can die after each, whoever recovers or sweeps included. A batch is several claims, each as
//! above, that are published, or released, one after the other.
//!
//! Of the redelivery counter a process keeps whether it is the value it has scanned for: nothing else is done with it.
//!
//! # Invariants
//! * `KEPT`: a claim is its owner's until he ends it, or is dead.
//! * `ONCE`: no message is consumed twice, and none that was not committed.
//! * `ORDER`: messages of one sender are received in order, those apart that are delivered again.
//! * `HINT`: what was not received yet lies at the head hint or beyond; what is delivered again may lie behind it.
//! * Good: all is sent, everything committed was consumed once (or dropped by a death, if at most once is wanted), all slots
//!   are FREE, the dead are swept.
//!
//! # What is easily forgotten
//! Each of these is a mutant below. A receiver that comes anew scans first: what was given back before it came may lie behind
//! the head hint, and whoever counted it may be dead. With relaxed order the slot that was passed is looked at once more
//! before the message behind it is taken, or two messages of one sender change places; after anything else than that the walk
//! begins anew; and such a claim does not move the hint, nor does one by a scan, whose message may have been taken like that.
//!
//! Not in the model: memory orderings; wake-ups; the wrap of laps and hints.

mod receiver;
mod ring;
mod sender;

use outlive_models::{GOOD, caught, full, holds};
use ring::{Bug, HINT, KEPT, ONCE, ORDER, Ring, of};

fn explored(ring: &Ring, least: usize) {
    let Ring { capacity, senders, receivers, messages, batch, deaths, nacks, aborts, .. } = ring;
    let what = format!(
        "ring of {capacity}: {senders} x {messages} to {receivers}, batch {batch}, deaths {deaths}, nacks {nacks}, \
         aborts {aborts}{}{}{}",
        if ring.relaxed { ", relaxed" } else { "" },
        if ring.at_most_once { ", at most once" } else { "" },
        if ring.late { ", late" } else { "" },
    );
    holds(&what, ring, least);
}

#[test]
fn deaths() {
    explored(&Ring { deaths: 1, ..of(2, 1, 2, 3) }, 10_000);
    explored(&Ring { deaths: 1, ..of(2, 2, 1, 2) }, 10_000);
    explored(&Ring { deaths: 1, ..of(3, 1, 2, 3) }, 10_000);
    explored(&Ring { deaths: 2, ..of(2, 1, 2, 2) }, 10_000);
    explored(&Ring { deaths: 1, ..of(2, 2, 2, 1) }, 10_000);
    if full() {
        explored(&Ring { deaths: 2, ..of(2, 1, 3, 1) }, 10_000);
        explored(&Ring { deaths: 2, ..of(3, 1, 2, 4) }, 10_000);
        explored(&Ring { deaths: 2, ..of(2, 2, 2, 1) }, 10_000);
        explored(&Ring { deaths: 2, ..of(2, 1, 3, 2) }, 10_000);
    }
}

#[test]
fn nacks() {
    explored(&Ring { nacks: 2, deaths: 1, ..of(2, 1, 2, 2) }, 10_000);
    explored(&Ring { nacks: 1, deaths: 1, ..of(3, 1, 2, 3) }, 10_000);
    explored(&Ring { nacks: 1, deaths: 1, late: true, ..of(2, 1, 2, 2) }, 10_000);
    if full() {
        explored(&Ring { nacks: 2, deaths: 2, ..of(3, 1, 2, 3) }, 10_000);
        explored(&Ring { nacks: 1, deaths: 1, ..of(2, 2, 2, 1) }, 10_000);
    }
}

#[test]
fn aborts() {
    explored(&Ring { aborts: 1, deaths: 1, ..of(2, 1, 2, 2) }, 10_000);
    explored(&Ring { aborts: 1, deaths: 1, ..of(3, 2, 1, 1) }, 10_000);
    explored(&Ring { aborts: 1, nacks: 1, ..of(3, 2, 2, 1) }, 10_000);
    if full() {
        explored(&Ring { aborts: 2, nacks: 1, deaths: 1, ..of(3, 1, 2, 3) }, 10_000);
    }
}

#[test]
fn batches() {
    explored(&Ring { batch: 2, deaths: 1, ..of(2, 1, 2, 2) }, 10_000);
    explored(&Ring { batch: 2, deaths: 1, ..of(3, 1, 2, 2) }, 10_000);
    explored(&Ring { batch: 2, deaths: 1, ..of(2, 2, 1, 2) }, 10_000);
    explored(&Ring { batch: 2, nacks: 1, aborts: 1, ..of(3, 1, 2, 2) }, 10_000);
    if full() {
        explored(&Ring { batch: 2, deaths: 1, nacks: 1, aborts: 1, ..of(3, 1, 2, 3) }, 10_000);
        explored(&Ring { batch: 2, deaths: 1, ..of(3, 2, 1, 2) }, 10_000);
    }
}

#[test]
fn relaxed_order() {
    let relaxed = |ring: Ring| Ring { relaxed: true, ..ring };
    explored(&relaxed(of(3, 2, 1, 2)), 10_000);
    explored(&relaxed(Ring { deaths: 1, ..of(3, 2, 1, 2) }), 10_000);
    explored(&relaxed(Ring { deaths: 1, nacks: 1, ..of(3, 2, 1, 1) }), 10_000);
    explored(&relaxed(Ring { batch: 2, aborts: 1, ..of(3, 2, 1, 2) }), 10_000);
    explored(&relaxed(of(3, 2, 2, 1)), 10_000);
    if full() {
        explored(&relaxed(Ring { deaths: 1, ..of(3, 2, 2, 1) }), 10_000);
        explored(&relaxed(Ring { deaths: 1, nacks: 1, ..of(2, 2, 1, 2) }), 10_000);
        explored(&relaxed(Ring { batch: 2, deaths: 1, ..of(3, 2, 1, 2) }), 10_000);
    }
}

/// Long enough for hints that are two rounds behind.
#[test]
fn stale_hints_are_jumped_over() {
    explored(&of(2, 1, 2, 5), 10_000);
    if full() {
        explored(&Ring { aborts: 1, ..of(2, 1, 2, 5) }, 10_000);
        explored(&Ring { deaths: 1, ..of(2, 1, 2, 6) }, 10_000);
    }
}

#[test]
fn at_most_once() {
    explored(&Ring { at_most_once: true, deaths: 2, ..of(2, 1, 2, 2) }, 10_000);
    explored(&Ring { at_most_once: true, deaths: 1, nacks: 1, ..of(3, 1, 2, 3) }, 10_000);
}

#[test]
fn planted_bugs_are_caught() {
    let relaxed = |ring: Ring| Ring { relaxed: true, ..ring };
    for (bug, ring, invariant) in [
        (Bug::SweepDoesNotCount, Ring { deaths: 2, ..of(2, 1, 3, 2) }, GOOD),
        (Bug::NackDoesNotCount, Ring { nacks: 1, ..of(2, 1, 1, 2) }, GOOD),
        (Bug::TakenIsConsumed, Ring { deaths: 1, ..of(2, 1, 2, 2) }, GOOD),
        (Bug::HintOfTheWalker, Ring { deaths: 1, ..of(2, 1, 2, 3) }, HINT),
        (Bug::HintPastUnsettled, relaxed(of(3, 2, 1, 1)), HINT),
        (Bug::HintOfTheScan, relaxed(Ring { nacks: 2, ..of(3, 2, 1, 1) }), HINT),
        (Bug::NoLookBack, relaxed(of(3, 2, 1, 2)), ORDER),
        (Bug::CommitBeforePayload, of(2, 1, 1, 2), ONCE),
        (Bug::ClaimByStore, of(2, 2, 1, 2), KEPT),
        (Bug::AbortInTheSameLap, Ring { aborts: 1, ..of(2, 2, 1, 2) }, KEPT),
        (Bug::ScanOfTheEnd, Ring { nacks: 2, ..of(2, 1, 2, 3) }, GOOD),
        (Bug::NoVerdict, of(2, 2, 1, 2), KEPT),
        (Bug::BatchWaits, Ring { batch: 2, ..of(2, 2, 1, 2) }, GOOD),
        (Bug::NewcomerHasScanned, Ring { nacks: 1, deaths: 1, late: true, ..of(2, 1, 2, 2) }, GOOD),
    ] {
        caught(&format!("ring of {}: {bug:?}", ring.capacity), &Ring { bug: Some(bug), ..ring }, invariant);
    }
}
