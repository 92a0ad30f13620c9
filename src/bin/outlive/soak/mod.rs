//! `outlive soak`: processes work on everything that there is, and are killed with `SIGKILL` at random.
//!
//! ```text
//!                  starts, kills, replaces             notes before and after, counts
//!   supervisor -------------------------> workers -------------------------------------> ledger (a segment of its own)
//!       |                                    |                                              |
//!       |  judges who is blocked, audits     |  random operations                           |  lost, duplicated
//!       +----------------------------------> segment: rings, objects, a lock, rows  <-------+
//! ```
//!
//! * [`supervisor`]: who is killed when. [`worker`]: what a process runs. [`hand`]: one thread of it, which notes what it does.
//! * [`subject`]: what they work on. A structure plugs in by one file and a line there; rings share [`ring`].
//! * [`ledger`]: what *lost* and *duplicated* are counted by. [`judge`]: what *blocked* means. [`leaks`]: what *leaked* means.
//! * [`report`].
//!
//! A thread has one role at a time, and looks for rings at which somebody waits alone: so that nobody waits for ever for a
//! peer that nobody is.
//!
//! All random numbers follow from the seed: those by which the supervisor kills, and those of each worker. When they are
//! asked for, and what for, depends on what happened so far, and that is up to the scheduler: a seed brings back the same
//! mixture, and not the same run.
//!
//! All segments are temporary, and no worker outlives the supervisor. If that is itself killed by SIGKILL, segments with
//! names stay until `outlive reap` removes them.

mod attachments;
mod hand;
mod judge;
mod leaks;
mod ledger;
mod lock;
mod objects;
mod operation;
mod process;
mod records;
mod report;
mod ring;
mod segment;
mod segments;
mod spsc;
mod stream;
mod subject;
mod supervisor;
mod worker;

use core::time::Duration;
use std::io::IsTerminal as _;
use std::process::ExitCode;

use indicatif::{ProgressBar, ProgressStyle};

use crate::{Outcome, complain, interrupt, print, random, time};
use leaks::Belongings;
use report::Report;
use segment::Segments;
use supervisor::{Order, Supervisor};
pub(crate) use worker::{WorkerArguments, run as run_worker};

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// How long
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..))]
    seconds: u32,
    /// How many processes work at a time, each with two threads
    #[arg(long, value_name = "P", default_value_t = 8, value_parser = clap::value_parser!(u16).range(2..=32))]
    processes: u16,
    /// Use the random numbers of the run that printed this seed; who meets whom is up to the scheduler
    #[arg(long, value_name = "S")]
    seed: Option<u64>,
    /// How long one lives, on average, until the next is killed: `20ms`, `0.5`
    #[arg(long, value_name = "TIME", default_value = "20ms", value_parser = time::parse)]
    kill_every: Duration,
    /// Which kind of segment they work in [default: shm, memfd or file, as the seed says]
    #[arg(long, value_name = "KIND")]
    segment: Option<Segments>,
    /// Print one JSON object instead of the table
    #[arg(long)]
    json: bool,
}

/// Success only if nothing was lost, duplicated or leaked, nobody was blocked, and nothing else went wrong.
pub(crate) fn run(arguments: &Arguments) -> Outcome {
    interrupt::watch();
    let seed = arguments.seed.unwrap_or_else(random::fresh_seed);
    let usual = Segments::USUAL[random::Random::new(seed).index(Segments::USUAL.len())];
    let order = Order {
        time: Duration::from_secs(arguments.seconds.into()),
        processes: arguments.processes,
        seed,
        // No run is longer than that.
        kill_every: arguments
            .kill_every
            .clamp(Duration::from_micros(100), Duration::from_secs(u32::MAX.into())),
        segments: arguments.segment.unwrap_or(usual),
        prefix: format!("outlive-soak-{}-{:x}", std::process::id(), random::fresh_seed()),
    };
    let report = perform(&order)?;
    print(&if arguments.json { report.json()? + "\n" } else { report.table() })?;
    if let Some(signal) = interrupt::caught() {
        complain(&format_args!("stopped by signal {signal}"));
        return Ok(ExitCode::from(u8::try_from(128 + signal).unwrap_or(u8::MAX)));
    }
    Ok(if report.is_good() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn perform(order: &Order) -> Outcome<Report> {
    let bar = bar(order.time);
    let before = Belongings::now(&order.prefix);
    let worked = Supervisor::new(order).and_then(|mut supervisor| {
        let took = supervisor.soak(|at, kills| {
            bar.set_position(u64::try_from(at.as_millis()).unwrap_or(u64::MAX));
            bar.set_message(format!("seed {}: {kills} kills survived", order.seed));
        })?;
        supervisor.close(took)
    });
    bar.finish_and_clear();
    // Also if it could not go on: then all workers are dead, and what they used is nobody's.
    let mut left = leaks::names(&order.prefix);
    let (mut report, made) = worked?;
    left.extend(made);
    let after = Belongings::now(&order.prefix);
    if after != before {
        left.push(format!("{before:?} before, {after:?} after"));
    }
    for what in &left {
        complain(&format_args!("left behind: {what}"));
    }
    report.leaked += left.len() as u64;
    Ok(report)
}

/// On a terminal only.
fn bar(time: Duration) -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new(u64::try_from(time.as_millis()).unwrap_or(u64::MAX));
    if let Ok(style) = ProgressStyle::with_template("[{bar:30}] {elapsed} {msg}") {
        bar.set_style(style.progress_chars("=> "));
    }
    bar
}
