//! `outlive demo`: a file crosses from one process to another through a ring in shared memory, while both are killed.
//!
//! ```text
//!            file --pread--> | sender | --slots of the ring--> | receiver | --pwrite--> ledger
//!                                ^                                  ^                      |
//! demo (this process)            +---- SIGKILL, start successor ----+                      +--> SHA-256, lost, duplicated
//! ```
//!
//! The demo itself touches the ring only to create it. Its parts are this same program, started again with a hidden subcommand;
//! they map the segment at different addresses. A successor takes the dead one's role and goes on at the ring's position.
//!
//! * [`plan`]: who is killed when. * [`stage`]: starts, kills, replaces. * [`part`]: what they run. * [`ledger`]: the output, and
//!   what *lost* and *duplicated* mean. * [`latency`]: measured afterwards, without load and without kills. * [`report`].
//!
//! The segment is removed in every case: at the end, on an error, on Ctrl-C. If the demo itself is killed by SIGKILL, its parts
//! notice and remove it.

mod latency;
mod ledger;
mod part;
mod payload;
mod plan;
mod report;
mod source;
mod stage;

use core::time::Duration;
use std::io::{IsTerminal as _, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;

use indicatif::{ProgressBar, ProgressStyle};
use outlive::Address;

use crate::{OWN_EXECUTABLE, Outcome, complain, interrupt, random, size};
use ledger::Ledger;
pub(crate) use part::{PartArguments, run as run_part};
use report::{Report, Told};
use source::Source;
use stage::Stage;

/// Shorter files are repeated up to this size, unless `--size` says otherwise.
const LEAST_SIZE: u64 = 1 << 30;

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The file to stream [default: this program's own executable]
    file: Option<PathBuf>,
    /// How many times to kill: sender and receiver take turns
    #[arg(long, value_name = "N", default_value_t = 6)]
    kills: u32,
    /// How many bytes to stream (64M, 1G): a shorter file is repeated [default: the file, or 1G if it is shorter]
    #[arg(long, value_name = "BYTES", value_parser = size::parse)]
    size: Option<u64>,
    /// Kill the same sides at the same places of the stream as the run that printed this seed
    #[arg(long, value_name = "S")]
    seed: Option<u64>,
    /// Print one JSON object instead of the table
    #[arg(long)]
    json: bool,
    /// Where to create the segment, as `shm:NAME` or `file:PATH` [default: a new name in shared memory]
    #[arg(long, value_name = "ADDRESS")]
    on: Option<Address>,
    /// Give up after so many seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 120)]
    timeout: u64,
}

/// Which end of the ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Side {
    Sender,
    Receiver,
}

impl Side {
    const BOTH: [Self; 2] = [Self::Sender, Self::Receiver];

    fn other(self) -> Self {
        match self {
            Self::Sender => Self::Receiver,
            Self::Receiver => Self::Sender,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Sender => "sender",
            Self::Receiver => "receiver",
        }
    }

    fn index(self) -> usize {
        match self {
            Self::Sender => 0,
            Self::Receiver => 1,
        }
    }
}

/// Why the demo stopped before its end.
#[derive(Debug)]
enum Stop {
    Interrupted(u32),
    Failed(Box<dyn std::error::Error + Send + Sync>),
}

impl<E: Into<Box<dyn std::error::Error + Send + Sync>>> From<E> for Stop {
    fn from(error: E) -> Self {
        Self::Failed(error.into())
    }
}

/// Runs the demo: success only if nothing was lost, duplicated or changed.
pub(crate) fn run(arguments: &Arguments) -> Outcome {
    interrupt::watch();
    let report = match perform(arguments) {
        Ok(report) => report,
        Err(Stop::Failed(error)) => return Err(error),
        Err(Stop::Interrupted(signal)) => {
            complain(&format_args!("stopped by signal {signal}"));
            // As a shell reports it.
            return Ok(ExitCode::from(u8::try_from(128 + signal).unwrap_or(u8::MAX)));
        }
    };
    let text = if arguments.json { report.json()? + "\n" } else { report.table() };
    std::io::stdout().write_all(text.as_bytes())?;
    let failures = report.failures();
    for failure in &failures {
        complain(failure);
    }
    Ok(if failures.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn perform(arguments: &Arguments) -> Result<Report, Stop> {
    let (path, file) = match &arguments.file {
        Some(path) => (path.clone(), path.display().to_string()),
        None => (PathBuf::from(OWN_EXECUTABLE), std::env::current_exe()?.display().to_string()),
    };
    let source = Source::open(&path)?;
    let bytes = arguments.size.unwrap_or_else(|| source.length().max(LEAST_SIZE));
    if bytes == 0 {
        return Err("--size 0: there is nothing to stream".into());
    }
    let seed = arguments.seed.unwrap_or_else(random::fresh_seed);
    let on = arguments.on.clone().unwrap_or_else(fresh_address);

    // First of all: if there is no room for the output, nothing else needs to be done.
    let ledger = Ledger::create(bytes, arguments.kills)
        .map_err(|error| format!("no room for an output of {}: {error}", size::show(bytes)))?;

    let bar = Bar::new(bytes);
    bar.phase("SHA-256 of the file");
    let sha256_sent = report::sha256(bytes, |into, at| source.read(into, at), |at| bar.at(at))?;

    bar.phase("streaming");
    let order = stage::Order {
        path: path.clone(),
        bytes,
        kills: plan::kills(seed, arguments.kills, payload::messages(bytes)),
        on: on.clone(),
        timeout: Duration::from_secs(arguments.timeout),
    };
    let mut stage = Stage::set(&order, &ledger)?;
    let streamed = stage.stream(&bar)?;
    bar.phase("latency");
    let latency = stage.latency()?;
    drop(stage);

    bar.phase("SHA-256 of what was received");
    let sha256_received = report::sha256(bytes, |into, at| ledger.get_output(into, at), |at| bar.at(at))?;
    bar.end();
    let messages = payload::messages(bytes);
    Ok(Report {
        bytes,
        messages,
        gb_per_s: report::gb_per_s(bytes, streamed.took),
        latency,
        kills: streamed.kills,
        account: ledger::account(&ledger.all()?, messages),
        sha256_sent,
        sha256_received,
        addresses: streamed.addresses,
        seed,
        on: on.to_string(),
        told: Told { file, file_bytes: source.length(), took: streamed.took, kills_wanted: arguments.kills },
    })
}

/// A name that nobody has: of this process, and of this moment.
fn fresh_address() -> Address {
    format!("shm:outlive-demo-{}-{:x}", std::process::id(), random::fresh_seed()).as_str().into()
}

/// The progress bar, on a terminal only; and the place where a signal that came is noticed.
#[derive(Debug)]
struct Bar(ProgressBar);

impl Bar {
    fn new(bytes: u64) -> Self {
        if !std::io::stderr().is_terminal() {
            return Self(ProgressBar::hidden());
        }
        let bar = ProgressBar::new(bytes);
        let template = "{msg:30} [{bar:30}] {bytes:>10} {bytes_per_sec:>14}";
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style.progress_chars("=> "));
        }
        Self(bar)
    }

    fn phase(&self, what: &str) {
        self.0.reset();
        self.say(what.to_owned());
    }

    fn say(&self, what: String) {
        self.0.set_message(what);
    }

    fn at(&self, bytes: u64) -> Result<(), Stop> {
        self.0.set_position(bytes);
        interrupt::caught().map_or(Ok(()), |signal| Err(Stop::Interrupted(signal)))
    }

    fn end(&self) {
        self.0.finish_and_clear();
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.end();
    }
}
