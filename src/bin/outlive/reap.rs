//! `outlive reap`: recovers what the dead hold, and removes what nobody will use again.

use std::path::PathBuf;
use std::process::ExitCode;

use outlive::{Address, Error, Segment};

use crate::exit::Exit;
use crate::find::{Candidates, look};
use crate::table::printable;
use crate::view::{Report, Seen, View};
use crate::{Outcome, complain, ended, print};

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Only the files of these directories [default: POSIX and System V shared memory]
    #[arg(value_name = "DIR")]
    directories: Vec<PathBuf>,
    /// Say what would be done, and do nothing
    #[arg(short = 'n', long)]
    dry_run: bool,
    /// Print one JSON object: its form is described in `outlive --help`
    #[arg(long)]
    json: bool,
}

/// What was done to a segment, or would be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Done {
    recovered: u32,
    left: u32,
    removed: bool,
}

/// Sweeps every segment with dead attachments, and removes the temporary ones that nobody alive is attached to.
pub(crate) fn run(arguments: &Arguments) -> Outcome {
    let candidates = Candidates::find(&arguments.directories);
    let (mut report, mut failed) = (Report::default(), candidates.failed);
    let mut text = String::new();
    for address in &candidates.addresses {
        let Ok(plan) = look(address).and_then(|segment| plan(&segment)) else {
            continue; // not a segment, not ours to look at, or gone by now
        };
        if plan == Done::default() {
            continue;
        }
        let done = if arguments.dry_run { Ok(plan) } else { reap(address) };
        let view = match done {
            Ok(done) => {
                text += &said(address, done, arguments.dry_run);
                View {
                    address: address.to_string(),
                    recovered: Some(done.recovered),
                    left: Some(done.left),
                    removed: Some(done.removed),
                    ..View::default()
                }
            }
            Err(Error::NotFound { .. }) => continue, // another one was faster
            Err(error @ Error::Denied { .. }) => {
                text += &printable(&format!("{address}: left alone, {error}"));
                text.push('\n');
                View::of_error(address.to_string(), &error)
            }
            Err(error) => {
                complain(&format_args!("{address}: {error}"));
                failed = failed.or(Some(Exit::of(&error)));
                View::of_error(address.to_string(), &error)
            }
        };
        report.segments.push(view);
    }
    print(&if arguments.json { report.json()? } else { text })?;
    Ok(failed.map_or(ExitCode::SUCCESS, ended))
}

/// What there is to do.
fn plan(segment: &Segment) -> Result<Done, Error> {
    let seen = Seen::look(segment)?;
    let recovered = u32::try_from(seen.dead()).unwrap_or(u32::MAX);
    Ok(Done { recovered, left: 0, removed: seen.temporary && seen.alive() == 0 })
}

/// Does it. The last to detach from a temporary segment removes it: here that is this attachment, unless somebody else
/// has come meanwhile.
fn reap(address: &Address) -> Result<Done, Error> {
    let segment = Segment::open(address)?;
    let swept = segment.sweep()?;
    let temporary = segment.info()?.temporary;
    drop(segment);
    let removed = temporary && matches!(look(address), Err(Error::NotFound { .. }));
    Ok(Done { recovered: swept.recovered, left: swept.left, removed })
}

fn said(address: &Address, done: Done, dry_run: bool) -> String {
    let attachments = |n| format!("{n} dead attachment{}", if n == 1 { "" } else { "s" });
    let would = if dry_run { "would be " } else { "" };
    let mut parts = Vec::new();
    if done.recovered > 0 {
        parts.push(format!("{} {would}recovered", attachments(done.recovered)));
    }
    if done.left > 0 {
        parts.push(format!("{} left to others", attachments(done.left)));
    }
    if done.removed {
        parts.push(format!("{would}removed"));
    }
    if parts.is_empty() {
        return String::new(); // another one was faster
    }
    format!("{}: {}\n", printable(&address.to_string()), parts.join(", "))
}
