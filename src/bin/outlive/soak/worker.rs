//! What a worker runs: two hands on one attachment, until it is killed.

use std::io;
use std::os::fd::AsFd as _;
use std::process::ExitCode;
use std::thread;

use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::Signal;
use outlive::{Address, Segment};

use super::hand::{Hand, Waits};
use super::ledger::{Ledger, total};
use super::operation::Operation;
use super::process;
use super::subject::{self, Place};
use crate::Outcome;
use crate::random::{Random, mixed};

/// Threads of a worker: they die at the same moment, with all roles that either has.
pub(crate) const HANDS: usize = 2;

/// How often a hand that could help somebody who waits does so; else it does anything at all.
const HELPFUL: u64 = 8;

#[derive(Debug, clap::Args)]
pub(crate) struct WorkerArguments {
    /// Which worker it is, of all that there ever were.
    #[arg(long)]
    pub(crate) life: u64,
    /// Which of those that there are at a time.
    #[arg(long)]
    pub(crate) number: usize,
    #[arg(long)]
    pub(crate) seed: u64,
    #[arg(long)]
    pub(crate) processes: u16,
    #[arg(long)]
    pub(crate) prefix: String,
    /// Whose child it is.
    #[arg(long)]
    pub(crate) parent: u32,
    /// The segment, unless it is standard output. Standard input is the ledger.
    #[arg(long)]
    pub(crate) on: Option<Address>,
}

/// Works until it is to stop.
pub(crate) fn run(arguments: &WorkerArguments) -> Outcome {
    // None of us outlives the one who would clear up.
    set_pdeathsig(Signal::SIGKILL)?;
    if std::os::unix::process::parent_id() != arguments.parent {
        return Ok(ExitCode::FAILURE);
    }
    let before = process::descriptors();
    let ledger = Ledger::join(io::stdin().as_fd().try_clone_to_owned()?)?;
    let join = || -> Outcome<Segment> {
        Ok(match &arguments.on {
            Some(address) => Segment::open(address.clone())?,
            None => Segment::options().from_fd(io::stdout().as_fd().try_clone_to_owned()?)?,
        })
    };
    // To attach is an operation like others, at which nobody may be blocked.
    let mut first = Hand::new(&ledger, arguments.number * HANDS, arguments.life, Random::new(0))?;
    let segment = first.does(Operation::WorkerStart, Waits::NOT, join)?;
    drop(first);
    let place = Place {
        segment,
        ledger: ledger.clone(),
        prefix: arguments.prefix.clone(),
        processes: arguments.processes,
    };
    thread::scope(|scope| {
        for n in 0..HANDS {
            let (place, number) = (&place, arguments.number * HANDS + n);
            scope.spawn(move || {
                let random = Random::new(arguments.seed ^ mixed(arguments.life * HANDS as u64 + n as u64));
                let worked = Hand::new(&place.ledger, number, arguments.life, random)
                    .and_then(|mut hand| work(place, &mut hand));
                if let Err(error) = worked {
                    crate::complain(&format_args!("worker {}: {error}", arguments.life));
                    std::process::exit(1); // the other one may wait for somebody
                }
            });
        }
    });
    drop(place);
    let totals = ledger.totals()?;
    drop(ledger);
    let after = process::descriptors();
    // The ledger's own is still there.
    if after > before + 1 {
        totals.add(total::LEAKED, (after - before - 1) as u64);
        crate::complain(&format_args!("a worker had {before} descriptors open, and at the end {after}"));
    }
    Ok(ExitCode::SUCCESS)
}

fn work(place: &Place, hand: &mut Hand) -> Outcome<()> {
    let mut subjects = hand.does(Operation::WorkerStart, Waits::NOT, || subject::all(place))?;
    while !hand.is_to_stop() {
        let quiet = hand.quiet();
        let all: Vec<usize> = (0..subjects.len()).filter(|&index| Some(index) != quiet).collect();
        let calling: Vec<usize> = all.iter().copied().filter(|&index| subjects[index].calls()).collect();
        let from = if calling.is_empty() || hand.random.once_in(HELPFUL) { all } else { calling };
        let index = from[hand.random.index(from.len())];
        hand.goes_to(index);
        subjects[index].work(hand)?;
    }
    Ok(())
}
