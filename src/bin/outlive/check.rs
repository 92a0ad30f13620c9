//! `outlive check`: is a segment sound?

use std::process::ExitCode;

use outlive::{Address, inspect};

use crate::exit::Exit;
use crate::find::look;
use crate::table::printable;
use crate::view::{Checked, Report, View};
use crate::{Outcome, complain, ended, print};

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The segments: `shm:NAME`, `file:PATH`, `sysv:KEY`
    #[arg(value_name = "NAME", required = true)]
    names: Vec<Address>,
    /// Print one JSON object: its form is described in `outlive --help`
    #[arg(long)]
    json: bool,
}

/// Checks them all; a line a finding, and one a segment. What the dead hold is no failure; what is broken is status 1,
/// and goes before whatever else went wrong.
pub(crate) fn run(arguments: &Arguments) -> Outcome {
    let (mut views, mut text) = (Report::default(), String::new());
    let (mut corrupt, mut failed) = (false, None);
    for address in &arguments.names {
        let name = printable(&address.to_string());
        match look(address) {
            Ok(segment) => {
                let report = inspect::check(&segment);
                if !report.is_sound() {
                    corrupt = true;
                    complain(&format_args!("{name}: corrupt"));
                }
                text.extend(report.to_string().lines().map(|line| format!("{name}: {}\n", printable(line))));
                let check = Some(Checked::new(&report));
                views.segments.push(View { address: address.to_string(), check, ..View::default() });
            }
            Err(error) => {
                complain(&format_args!("{name}: {error}"));
                failed = failed.or(Some(Exit::of(&error)));
                views.segments.push(View::of_error(address.to_string(), &error));
            }
        }
    }
    print(&if arguments.json { views.json()? } else { text })?;
    let exit = if corrupt { Some(Exit::Other) } else { failed };
    Ok(exit.map_or(ExitCode::SUCCESS, ended))
}
