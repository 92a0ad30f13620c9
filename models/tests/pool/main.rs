//! A pool of blocks, sent through an owner-stamped ring of references: no block leaks, none is given away twice.
//!
//! ```text
//!   block: FREE, OWNED(p), MOVING(p), RECV(c), SHARED     link: the position that it goes to     slots: as in `owner_stamped`
//!
//!   allocate  block FREE? -> CAS OWNED(me) -> contents
//!   send      claim a slot -> link = position -> MOVING(me) -> slot's payload = block -> READY             (commit)
//!   receive   take a slot -> its payload -> block: MOVING, SHARED, or RECV of a dead one? -> CAS RECV(me) -> contents
//!             -> FREE(L + 1) (consumed) -> OWNED(me) -> FREE
//!   sweep     recover each slot of the dead -> count -> each of his blocks: OWNED: CAS FREE
//!             MOVING, RECV: slot of the link: there still, READY or TAKEN? -> CAS SHARED, else CAS FREE
//! ```
//! Each arrow is a step. A process can die after each, sweepers included. The slot's word decides whether a block is in the
//! ring; the block's word is corrected to agree with it.
//!
//! # Invariants
//! * `KEPT`: a slot or block is its owner's until he ends that, or is dead.
//! * `FLIGHT`: the block that a message refers to is on its way.
//! * `ONCE`: no message is consumed twice, and none that was not committed.
//! * Good: all was sent and consumed, all slots and all blocks are FREE, the dead are swept.
//!
//! Not in the model: memory orderings; wake-ups; nack, abort, batches and relaxed order, which are in `owner_stamped`;
//! several holders of a block; magazines.

mod pool;
mod sweep;

use outlive_models::{GOOD, caught, full, holds};
use pool::{Bug, FLIGHT, KEPT, Pool};

fn of(senders: usize, receivers: usize, messages: u8, deaths: u8) -> Pool {
    Pool { senders, receivers, messages, deaths, bug: None }
}

#[test]
fn blocks_do_not_leak() {
    let explored = |pool: Pool, least| {
        let Pool { senders, receivers, messages, deaths, .. } = pool;
        holds(&format!("pool: {senders} x {messages} to {receivers}, {deaths} deaths"), &pool, least);
    };
    explored(of(1, 2, 2, 1), 10_000);
    explored(of(2, 1, 1, 1), 10_000);
    explored(of(1, 2, 1, 2), 5000);
    if full() {
        explored(of(1, 2, 2, 2), 10_000);
        explored(of(1, 2, 3, 1), 10_000);
        explored(of(2, 2, 1, 1), 10_000);
    }
}

/// The slots first is how it is specified; the blocks first would do as well.
#[test]
fn the_order_of_a_sweep_does_not_matter() {
    let pool = Pool { bug: Some(Bug::BlocksBeforeSlots), ..of(1, 2, 2, 1) };
    holds("pool: BlocksBeforeSlots", &pool, 10_000);
}

#[test]
fn planted_bugs_are_caught() {
    for (bug, pool, invariant) in [
        (Bug::BlocksAreFreed, of(1, 2, 1, 1), FLIGHT),
        (Bug::BlocksAreShared, of(1, 2, 1, 1), GOOD),
        (Bug::SweepForgetsBlocks, of(1, 1, 1, 1), GOOD),
        (Bug::LinkBehindMoving, of(1, 2, 2, 1), GOOD),
        (Bug::OwnedBeforeConsumed, of(1, 2, 1, 1), FLIGHT),
        (Bug::Dropped, of(1, 2, 2, 1), GOOD),
        (Bug::CorrectByStore, of(1, 2, 1, 2), KEPT),
    ] {
        caught(&format!("pool: {bug:?}"), &Pool { bug: Some(bug), ..pool }, invariant);
    }
}
