//! One sender, one receiver: ours beside the plain reference ring, `rtrb`, and the limits.

use outlive::ring::spsc::{Receiver, Sender};

use crate::Result;
use crate::case::Case;
use crate::cpu;
use crate::groups::limits;
use crate::harness::{Mode, Setup, run};
use crate::links::outlive_ring::{Grants, Outlive, Slices, Vouched};
use crate::links::peers;
use crate::links::reference::Reference;
use crate::links::rtrb_ring::Rtrb;
use crate::loops::{all_trips, answer, batch, count_pairs, initiate_to_a_sleeper, pair, round_trip, single};

pub(crate) const TRIP: &str = "spsc/trip/outlive";
pub(crate) const SINGLE: &str = "spsc/single/outlive";
pub(crate) const SINGLE_RTRB: &str = "spsc/single/rtrb";
pub(crate) const SINGLE_PLAIN: &str = "spsc/single/plain";
/// In place on both sides, as rtrb's chunks and the stream are: the mode that trusts its peers, as threads do.
pub(crate) const BATCH_64: &str = "spsc/64/trusted";
pub(crate) const BATCH_64_RTRB: &str = "spsc/64/rtrb";
pub(crate) const BATCH_256: &str = "spsc/256/trusted";
pub(crate) const BATCH_256_LARGE: &str = "spsc/256l/trusted";
pub(crate) const BLOCKED: &str = "spsc/blocked/outlive";

/// Slots of all rings here, if nothing else is said: 8 KiB of 8-byte messages.
const SLOTS: usize = 1024;
/// Slots of a ring of 256 KiB.
const LARGE: usize = 32 << 10;

const TRIPS: u64 = 10_000;
const SINGLES: u64 = 16 << 20;
const WIDE: u64 = 4 << 20;
const BATCHED: u64 = 64 << 20;

/// The limits that the cases below refer to, each followed by them.
pub(crate) fn cases() -> Vec<Case> {
    let mut limits = limits::cases();
    let mut all = Vec::new();
    let mut limit = |id| {
        let found = limits.iter().position(|case| case.id == id);
        limits.swap_remove(found.expect("every limit is asked for once"))
    };
    all.push(limit(limits::LINE_TRIP));
    all.extend(trips());
    all.extend(singles());
    all.extend(wide());
    all.extend(batches_of_64());
    all.push(limit(limits::STREAM_8K));
    all.extend(batches_of_256());
    all.push(limit(limits::STREAM_256K));
    all.extend(large_batches());
    all.push(limit(limits::FUTEX_TRIP));
    all.extend(blocked());
    all.extend(in_one_thread());
    all
}

fn spsc(id: &'static str, case: &'static str, who: &'static str, params: &'static str) -> Case {
    Case::new("spsc", id, case, who, params)
}

fn trips() -> Vec<Case> {
    let trip = |id, who| spsc(id, "round trip", who, "8 B, 1024 slots");
    let mut cases = vec![
        trip(TRIP, "outlive").ns(|s| round_trip(s, &Outlive::new(SLOTS, 8)?, TRIPS)),
        trip("spsc/trip/trusted", "outlive, Trusted").ns(|s| {
            let link = Vouched(Outlive::new(SLOTS, 8)?);
            round_trip(s, &link, TRIPS)
        }),
        trip("spsc/trip/plain", "reference").ns(|s| round_trip(s, &Reference::new(SLOTS)?, TRIPS)),
        trip("spsc/trip/rtrb", "rtrb, threads").ns(|s| round_trip(s, &Rtrb::new(SLOTS), TRIPS)),
    ];
    cases.extend(peers::trips());
    cases.into_iter().map(|case| case.against(&[limits::LINE_TRIP])).collect()
}

fn singles() -> Vec<Case> {
    let single_of = |id, who| spsc(id, "one at a time", who, "8 B, 1024 slots");
    let mut cases = vec![
        single_of(SINGLE_RTRB, "rtrb, threads")
            .per_second(|s| single::<u64, _>(s, &Rtrb::new(SLOTS), SINGLES)),
        single_of(SINGLE, "outlive")
            .per_second(|s| single::<u64, _>(s, &Outlive::new(SLOTS, 8)?, SINGLES))
            .against(&[SINGLE_RTRB, SINGLE_PLAIN]),
        single_of(SINGLE_PLAIN, "reference")
            .per_second(|s| single::<u64, _>(s, &Reference::new(SLOTS)?, SINGLES))
            .against(&[SINGLE_RTRB]),
        single_of("spsc/single/trusted", "outlive, Trusted")
            .per_second(|s| single::<u64, _>(s, &Vouched(Outlive::new(SLOTS, 8)?), SINGLES))
            .against(&[SINGLE_RTRB, SINGLE_PLAIN]),
    ];
    cases.extend(peers::singles());
    cases
}

fn wide() -> Vec<Case> {
    const RTRB: &str = "spsc/wide/rtrb";
    const PLAIN: &str = "spsc/wide/plain";
    let wide_of = |id, who| spsc(id, "one at a time", who, "64 B, 1024 slots");
    vec![
        wide_of(RTRB, "rtrb, threads").per_second(|s| single::<[u64; 8], _>(s, &Rtrb::new(SLOTS), WIDE)),
        wide_of("spsc/wide/outlive", "outlive")
            .per_second(|s| single::<[u64; 8], _>(s, &Outlive::new(SLOTS, 64)?, WIDE))
            .against(&[RTRB, PLAIN]),
        wide_of(PLAIN, "reference")
            .per_second(|s| single::<[u64; 8], _>(s, &Reference::new(SLOTS)?, WIDE))
            .against(&[RTRB]),
    ]
}

fn batches_of_64() -> Vec<Case> {
    const PLAIN: &str = "spsc/64/plain";
    let of = |id, who| spsc(id, "batch of 64", who, "8 B, 1024 slots");
    vec![
        of(BATCH_64_RTRB, "rtrb, threads").per_second(|s| batch(s, &Rtrb::new(SLOTS), BATCHED, 64)),
        of("spsc/64/checked", "outlive")
            .per_second(|s| batch(s, &Grants(Outlive::new(SLOTS, 8)?), BATCHED, 64))
            .against(&[BATCH_64_RTRB, PLAIN]),
        of(PLAIN, "reference")
            .per_second(|s| batch(s, &Reference::new(SLOTS)?, BATCHED, 64))
            .against(&[BATCH_64_RTRB]),
        of("spsc/64/slices", "outlive, slices")
            .per_second(|s| batch(s, &Slices(Outlive::new(SLOTS, 8)?), BATCHED, 64))
            .against(&[BATCH_64_RTRB, PLAIN]),
        of(BATCH_64, "outlive, Trusted")
            .per_second(|s| batch(s, &Vouched(Outlive::new(SLOTS, 8)?), BATCHED, 64))
            .against(&[BATCH_64_RTRB, PLAIN]),
    ]
}

fn batches_of_256() -> Vec<Case> {
    const RTRB: &str = "spsc/256/rtrb";
    const PLAIN: &str = "spsc/256/plain";
    let of = |id, who| spsc(id, "batch of 256", who, "8 B, 1024 slots");
    vec![
        of("spsc/256/checked", "outlive")
            .per_second(|s| batch(s, &Grants(Outlive::new(SLOTS, 8)?), BATCHED, 256))
            .against(&[limits::STREAM_8K, RTRB, PLAIN]),
        of(PLAIN, "reference")
            .per_second(|s| batch(s, &Reference::new(SLOTS)?, BATCHED, 256))
            .against(&[limits::STREAM_8K, RTRB]),
        of(RTRB, "rtrb, threads")
            .per_second(|s| batch(s, &Rtrb::new(SLOTS), BATCHED, 256))
            .against(&[limits::STREAM_8K]),
        of("spsc/256/slices", "outlive, slices")
            .per_second(|s| batch(s, &Slices(Outlive::new(SLOTS, 8)?), BATCHED, 256))
            .against(&[limits::STREAM_8K, RTRB, PLAIN]),
        of(BATCH_256, "outlive, Trusted")
            .per_second(|s| batch(s, &Vouched(Outlive::new(SLOTS, 8)?), BATCHED, 256))
            .against(&[limits::STREAM_8K, RTRB, PLAIN]),
    ]
}

fn large_batches() -> Vec<Case> {
    const RTRB: &str = "spsc/256l/rtrb";
    const PLAIN: &str = "spsc/256l/plain";
    let of = |id, who| spsc(id, "batch of 256", who, "8 B, 32768 slots");
    vec![
        of("spsc/256l/checked", "outlive")
            .per_second(|s| batch(s, &Grants(Outlive::new(LARGE, 8)?), BATCHED, 256))
            .against(&[limits::STREAM_256K, RTRB, PLAIN]),
        of(PLAIN, "reference")
            .per_second(|s| batch(s, &Reference::new(LARGE)?, BATCHED, 256))
            .against(&[limits::STREAM_256K, RTRB]),
        of(RTRB, "rtrb, threads")
            .per_second(|s| batch(s, &Rtrb::new(LARGE), BATCHED, 256))
            .against(&[limits::STREAM_256K]),
        of(BATCH_256_LARGE, "outlive, Trusted")
            .per_second(|s| batch(s, &Vouched(Outlive::new(LARGE, 8)?), BATCHED, 256))
            .against(&[limits::STREAM_256K, RTRB, PLAIN]),
    ]
}

fn blocked() -> Vec<Case> {
    vec![
        spsc(BLOCKED, "blocked round trip", "outlive", "8 B, 1024 slots, the other one asleep")
            .ns(blocked_trip)
            .against(&[limits::FUTEX_TRIP]),
    ]
}

/// Through `send` and `recv` as they are.
fn blocked_trip(setup: &Setup) -> Result<f64> {
    let trips = setup.count(30);
    let link = Outlive::new(SLOTS, 8)?;
    let send = |tx: &mut Sender<u64>, n| tx.send(n).expect("there is room");
    let recv = |rx: &mut Receiver<u64>| rx.recv().expect("a message comes");
    let outcome = run(
        setup,
        Mode::Processes,
        &[
            &|side| {
                let (mut there, mut back) = link.checked_ends(0, 1);
                initiate_to_a_sleeper(side, trips, |n| {
                    send(&mut there, n);
                    recv(&mut back)
                });
            },
            &|side| {
                let (mut back, mut there) = link.checked_ends(1, 0);
                let before = cpu::sleeps();
                answer(side, trips, |_| {
                    let n = recv(&mut there);
                    send(&mut back, n);
                });
                side.note(cpu::sleeps() - before);
            },
        ],
    )?;
    let (slept, trips) = (outcome.noted(1), all_trips(trips));
    if slept < trips / 2 {
        return Err(format!("the receiver slept {slept} times in {trips} trips: it was not blocked").into());
    }
    Ok(outcome.value(0))
}

fn in_one_thread() -> Vec<Case> {
    const RTRB: &str = "spsc/pair/rtrb";
    const PLAIN: &str = "spsc/pair/plain";
    const COUNT: u64 = 2 << 20;
    let of = |id, who| spsc(id, "send and receive in one thread", who, "8 B, 1024 slots");
    vec![
        of(RTRB, "rtrb").ns(|s| pair(s, &Rtrb::new(SLOTS), COUNT)),
        of("spsc/pair/outlive", "outlive")
            .ns(|s| pair(s, &Outlive::new(SLOTS, 8)?, COUNT))
            .against(&[RTRB, PLAIN]),
        of(PLAIN, "reference").ns(|s| pair(s, &Reference::new(SLOTS)?, COUNT)).against(&[RTRB]),
    ]
}

/// What callgrind counts: `count` messages through one ring in this thread.
pub(crate) fn count_for(who: &str, count: u64) -> Result<()> {
    match who {
        "outlive" => count_pairs(&Outlive::new(SLOTS, 8)?, count),
        "rtrb" => count_pairs(&Rtrb::new(SLOTS), count),
        "reference" => count_pairs(&Reference::new(SLOTS)?, count),
        _ => return Err(format!("nobody is called {who}").into()),
    }
    Ok(())
}
