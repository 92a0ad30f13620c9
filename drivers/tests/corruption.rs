//! Promise: whatever bytes a segment holds, nothing here faults, panics or hangs: an answer, or a typed error.
//!
//! An execution corrupts a segment in one to eight places, opens it, and does an operation on every structure in it; see
//! `corruption/` for the segments, for what is done to their bytes, and for the ways in which they are opened. Then, live:
//! a process writes into a segment all the time while another one works with it.
//!
//! | command | what |
//! |---|---|
//! | `cargo test -p outlive-drivers --test corruption` | some seconds |
//! | `OUTLIVE_CORRUPT_SECONDS=600 cargo test --release -p outlive-drivers --test corruption` | the long run: millions of executions on two cores |
//! | `OUTLIVE_SEED=N cargo test -p outlive-drivers --test corruption` | execution N once more, and what happens in it |
//! | `ASAN_OPTIONS=detect_leaks=0 RUSTFLAGS=-Zsanitizer=address cargo +nightly test -p outlive-drivers --test corruption --target x86_64-unknown-linux-gnu` | under AddressSanitizer |
//!
//! # How an access out of range is seen
//! Every mapping lies between two pages that nothing can reach, and the last object of a small segment ends where the segment
//! does. Segments on the heap (copies of corrupted ones) have AddressSanitizer's zones around them. Whatever is returned is
//! compared with what there is: more bytes than the segment has are a panic.
//!
//! # Why nothing hangs
//! A worker whose execution takes two seconds of the processor's time, or sleeps for forty, is killed and reported. What
//! bounds each loop and wait of the library that words of the segment can prolong:
//!
//! | loop | bound |
//! |---|---|
//! | rows, entries, words of openers | 1022, 1024 and 16, read once and verified when the segment is attached to |
//! | looks for a name whose entry changes | 1000, then under the directory's lock |
//! | the directory's lock in the hands of one who lives | 10 s by the clock, then `Busy` |
//! | a free row that others are about to free | 2 s by the clock, then `NoRow` |
//! | a role that changes while it is taken | 64 times, then `Corrupt` |
//! | a role, room, messages that do not come | the caller's time-out; slices of 20 to 100 ms, and a look at everything after each |
//! | a row that changes while its tenant is judged | 4 times, then "alive" |
//! | a peer's role that changes under a verdict | 4 times, then the next look |
//! | a message's bytes | the length was compared with what was committed, which was compared with the capacity |
//! | pads before a record | one |
//! | a check that looks once more | 16 times an invariant; 8 walks; a budget of words by the segment's size for all records |
//! | the last detach of a temporary segment | 20 times a millisecond |

#![cfg(not(loom))]

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant, SystemTime};

mod corruption {
    pub mod board;
    pub mod execution;
    pub mod live;
    pub mod mutation;
    pub mod random;
    pub mod templates;
    pub mod trusted;
    pub mod watch;
}

use corruption::board::{Board, KINDS, Tally};
use corruption::execution::World;
use corruption::live::Stage;
use corruption::watch::{self, Finding, Worker};

/// More than there are cores: an execution waits now and then, for a lock or a row that a forged owner has.
const WORKERS: u64 = 8;
/// So many findings tell enough.
const ENOUGH: usize = 5;
/// Without a word from the environment: so long at least, and until there were so many executions, but no longer than that.
const QUICK: Plan = Plan { least: Duration::from_secs(5), executions: 8000, most: Duration::from_secs(60) };

/// When to end.
#[derive(Clone, Copy, Debug)]
struct Plan {
    least: Duration,
    executions: u64,
    most: Duration,
}

impl Plan {
    fn of_seconds(seconds: u64) -> Self {
        Self { least: Duration::from_secs(seconds), executions: 0, most: Duration::from_secs(seconds) }
    }

    /// Live executions are 64 operations on each of two attachments.
    fn live(self) -> Self {
        Self { least: (self.least / 8).max(Duration::from_secs(3)), executions: self.executions / 20, ..self }
    }

    fn is_over(&self, began: Instant, boards: &[&Board]) -> bool {
        let (took, done) = (began.elapsed(), || boards.iter().map(|board| board.tally().done).sum::<u64>());
        took >= self.least && (took >= self.most || done() >= self.executions)
    }
}

fn main() -> ExitCode {
    if std::env::args().any(|argument| argument == "--list") {
        println!("corruption: test");
        return ExitCode::SUCCESS;
    }
    let findings = match number("OUTLIVE_SEED") {
        Some(seed) => again(seed),
        None => all(number("OUTLIVE_CORRUPT_SECONDS").map_or(QUICK, Plan::of_seconds)),
    };
    if findings.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{variable} is to be a number")))
}

/// One execution, told.
fn again(seed: u64) -> Vec<Finding> {
    let (board, path) = (Board::new(), Scratch::new(0));
    let work = || {
        let mut world = World::new(path.0.clone(), true);
        board.begin(seed);
        world.execute(seed, &board);
        board.done();
    };
    let mut findings = Vec::new();
    let plan = Plan::of_seconds(3600);
    supervise(&[&board], vec![Worker::start(work)], |_, _| None, plan, REPEATABLE, &mut findings);
    report("again", &[&board], &findings, Duration::ZERO, Duration::ZERO);
    findings
}

fn all(plan: Plan) -> Vec<Finding> {
    // New ground each time; a finding names its execution.
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |now| now.as_nanos());
    let first = u64::try_from(now & 0xffff_ffff_ffff).unwrap_or(0) << 12;
    let mut findings = at_rest(first, plan);
    findings.extend(live(first, plan.live()));
    findings
}

/// Worker `w` does the executions `first + w`, `first + w + 2`, ...
fn at_rest(first: u64, plan: Plan) -> Vec<Finding> {
    let boards: Vec<Board> = (0..WORKERS).map(|_| Board::new()).collect();
    let boards: Vec<&Board> = boards.iter().collect();
    let paths: Vec<Scratch> = (0..WORKERS).map(Scratch::new).collect();
    let start = |w: usize, from: u64| {
        let (board, path) = (boards[w], paths[w].0.clone());
        Worker::start(move || {
            let mut world = World::new(path, false);
            let mut seed = from;
            while !board.is_stopped() {
                board.begin(seed);
                world.execute(seed, board);
                board.done();
                seed = seed.wrapping_add(WORKERS);
            }
        })
    };
    let workers = (0..boards.len()).map(|w| start(w, first + w as u64)).collect();
    let mut findings = Vec::new();
    let (began, spent) = (Instant::now(), watch::spent_by_children());
    let next = |w: usize, seed: u64| Some(start(w, seed.wrapping_add(WORKERS)));
    supervise(&boards, workers, next, plan, REPEATABLE, &mut findings);
    report("at rest", &boards, &findings, began.elapsed(), watch::spent_by_children() - spent);
    findings.extend(idle(&boards, &findings));
    findings
}

fn live(seed: u64, plan: Plan) -> Vec<Finding> {
    let (scribbles, acts) = (Board::new(), Board::new());
    let stage = Stage::new();
    let workers = vec![
        Worker::start(|| stage.work(seed, &acts)),
        Worker::start(|| stage.scribble(seed.wrapping_add(1), &scribbles)),
    ];
    let mut findings = Vec::new();
    let (began, spent) = (Instant::now(), watch::spent_by_children());
    let never_the_same = "live (what met what does not come again), seed ";
    supervise(&[&acts, &scribbles], workers, |_, _| None, plan, never_the_same, &mut findings);
    report("live", &[&acts], &findings, began.elapsed(), watch::spent_by_children() - spent);
    println!("live: {} bursts of writes", scribbles.tally().done);
    findings.extend(idle(&[&acts], &findings));
    findings
}

/// The execution of this number can be done again.
const REPEATABLE: &str = "in the execution of OUTLIVE_SEED=";

/// Whether nothing was found because nothing was looked at: a quarter of what was done got into a segment, at least.
fn idle(boards: &[&Board], findings: &[Finding]) -> Option<Finding> {
    let tallies: Vec<Tally> = boards.iter().map(|board| board.tally()).collect();
    let sum = |of: fn(&Tally) -> u64| tallies.iter().map(of).sum::<u64>();
    let (done, opened) = (sum(|tally| tally.done), sum(|tally| tally.opened));
    let idle = findings.is_empty() && (done == 0 || opened < done / 4 || sum(|tally| tally.answers) < opened);
    idle.then(|| {
        println!("{:?}: of {done} executions {opened} could open their segment", Finding::Idle);
        Finding::Idle
    })
}

/// Until all have ended, or there is enough. `next`: a worker in the place of one that was lost in that execution. `whose`:
/// before the execution's number.
fn supervise(
    boards: &[&Board],
    workers: Vec<Worker>,
    next: impl Fn(usize, u64) -> Option<Worker>,
    plan: Plan,
    whose: &str,
    findings: &mut Vec<Finding>,
) {
    let began = Instant::now();
    let mut workers: Vec<Option<Worker>> = workers.into_iter().map(Some).collect();
    while workers.iter().any(Option::is_some) {
        for (w, place) in workers.iter_mut().enumerate() {
            let Some(ended) = place.as_mut().and_then(|worker| worker.look(boards[w])) else { continue };
            *place = None;
            if let Err((finding, how)) = ended {
                let seed = boards[w].tally().seed;
                println!("{finding:?} {whose}{seed}: {how}");
                findings.push(finding);
                if findings.len() < ENOUGH && !plan.is_over(began, boards) {
                    *place = next(w, seed);
                }
            }
        }
        let lost = workers.iter().filter(|worker| worker.is_none()).count();
        if plan.is_over(began, boards) || findings.len() >= ENOUGH || lost > 0 {
            boards.iter().for_each(|board| board.stop());
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn report(tier: &str, boards: &[&Board], findings: &[Finding], took: Duration, busy: Duration) {
    let tallies: Vec<Tally> = boards.iter().map(|board| board.tally()).collect();
    let sum = |of: &dyn Fn(&Tally) -> u64| tallies.iter().map(of).sum::<u64>();
    let done = sum(&|tally| tally.done);
    let (seconds, busy) = (took.as_secs_f64().max(0.001), busy.as_secs_f64().max(0.001));
    let per = |seconds: f64| done as f64 / seconds;
    println!("{tier}: {done} executions in {seconds:.0} s, {:.0} a second", per(seconds));
    println!("{tier}: {:.0} a second of one processor's time", per(busy));
    println!(
        "{tier}: {} segments opened, {} answers",
        sum(&|tally| tally.opened),
        sum(&|tally| tally.answers)
    );
    let errors = KINDS.iter().enumerate().map(|(i, kind)| (kind, sum(&|tally| tally.errors[i])));
    let errors: Vec<String> = errors.filter(|(_, n)| *n > 0).map(|(kind, n)| format!("{n} {kind}")).collect();
    println!("{tier}: errors: {}", errors.join(", "));
    let count = |kind| findings.iter().filter(|finding| **finding == kind).count();
    let [faults, panics, hangs] = [Finding::Fault, Finding::Panic, Finding::Hang].map(count);
    println!("{tier}: {faults} faults, {panics} panics, {hangs} hangs");
}

/// A file of one worker's, removed when dropped.
struct Scratch(PathBuf);

impl Scratch {
    fn new(worker: u64) -> Self {
        Self(Path::new("/dev/shm").join(format!("outlive-test-corruption-{}-{worker}", std::process::id())))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}
