//! `outlive ls`: the segments of this machine.

use std::path::PathBuf;
use std::process::ExitCode;

use crate::find::{Candidates, look};
use crate::table::Table;
use crate::view::{Report, Seen, View};
use crate::{Outcome, ended, print, size};

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Look at the files of these directories only [default: POSIX and System V shared memory]
    #[arg(value_name = "DIR")]
    directories: Vec<PathBuf>,
    /// Also list what is not a segment or may not be looked at, and say why
    #[arg(short, long)]
    all: bool,
    /// Print one JSON object: its form is described in `outlive --help`
    #[arg(long)]
    json: bool,
}

/// Lists them. What vanishes meanwhile, or is no segment, is none.
pub(crate) fn run(arguments: &Arguments) -> Outcome {
    let candidates = Candidates::find(&arguments.directories);
    let mut report = Report::default();
    for address in &candidates.addresses {
        let view = match look(address).and_then(|segment| Seen::look(&segment)) {
            Ok(seen) => View { address: address.to_string(), seen: Some(seen), ..View::default() },
            Err(error) if arguments.all => View::of_error(address.to_string(), &error),
            Err(_) => continue,
        };
        report.segments.push(view);
    }
    print(&if arguments.json { report.json()? } else { table(&report) })?;
    Ok(candidates.failed.map_or(ExitCode::SUCCESS, ended))
}

fn table(report: &Report) -> String {
    let headings = ["ADDRESS", ">SIZE", ">ALIVE", ">DEAD", ">OBJECTS", "CREATED", "FLAGS"];
    let mut table = Table::new(&headings);
    for View { address, seen, error, .. } in &report.segments {
        let address = address.clone();
        if let Some(seen) = seen {
            table.row([
                address,
                size::show(seen.size),
                seen.alive().to_string(),
                seen.dead().to_string(),
                seen.objects.len().to_string(),
                seen.created.clone(),
                if seen.temporary { "temporary" } else { "" }.to_owned(),
            ]);
        } else if let Some(error) = error {
            let dash = || "-".to_owned();
            table.row([address, dash(), dash(), dash(), dash(), dash(), error.message.clone()]);
        }
    }
    if table.is_empty() { String::new() } else { table.print() }
}
