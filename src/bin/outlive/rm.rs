//! `outlive rm`: takes names away.

use std::process::ExitCode;

use outlive::{Address, Segment};

use crate::exit::Exit;
use crate::view::{Report, View};
use crate::{Outcome, complain, ended, print};

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The segments: `shm:NAME`, `file:PATH`, `sysv:KEY`. Processes that are attached keep theirs
    #[arg(value_name = "NAME", required = true)]
    names: Vec<Address>,
    /// Print one JSON object: its form is described in `outlive --help`
    #[arg(long)]
    json: bool,
}

/// Removes all that can be removed; the exit code is that of the first that cannot.
pub(crate) fn run(arguments: &Arguments) -> Outcome {
    let mut report = Report::default();
    let mut failed = None;
    for address in &arguments.names {
        let removed = Segment::unlink(address);
        let view = match &removed {
            Ok(()) => View { address: address.to_string(), ..View::default() },
            Err(error) => {
                complain(error);
                failed = failed.or(Some(Exit::of(error)));
                View::of_error(address.to_string(), error)
            }
        };
        report.segments.push(View { removed: Some(removed.is_ok()), ..view });
    }
    if arguments.json {
        print(&report.json()?)?;
    }
    Ok(failed.map_or(ExitCode::SUCCESS, ended))
}
