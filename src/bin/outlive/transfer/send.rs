//! `outlive send`.

use std::fs::File;
use std::io::{self, Seek as _, SeekFrom};
use std::path::PathBuf;
use std::process::ExitCode;

use indicatif::ProgressBar;
use nix::poll::PollFlags;
use outlive::Segment;
use outlive::ring::Stats;
use outlive::ring::stream::{Ring, Writer};

use super::{Common, Kept, Named, has_died, is_not_ready, progress};
use crate::exit::{Exit, Failure};
use crate::{Outcome, size};

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    common: Common,
    /// What to send [default: standard input]
    file: Option<PathBuf>,
    /// Go on where a killed sender stopped, and wait for receivers that are killed: one FILE a segment, from its beginning
    #[arg(long, requires = "file")]
    resume: bool,
    /// Wait until everything is received, then remove the segment. With --resume, a side that is killed in the instant
    /// between this and its exit begins anew when it is started again: leave --rm away where that must not be
    #[arg(long)]
    rm: bool,
}

/// Sends, and says that this is all.
pub(crate) fn run(arguments: &Arguments) -> Outcome {
    let common = &arguments.common;
    // First of all: a file that cannot be read makes no segment.
    let mut input = match &arguments.file {
        Some(path) => Named::open(path, File::open(path))?,
        None => Named::standard(io::stdin(), "standard input")?,
    };
    if arguments.resume {
        input.regular_length()?;
    }
    let (segment, ring) = common.open()?;
    common.refuse_itself(&segment, &input)?;
    let before = ring.stats();
    let sent = if arguments.resume && before.sender_closed {
        is_all(common, &input, before.sent)
    } else {
        send(arguments, &segment, &ring, &before, &mut input)
    };
    if let Err(error) = sent {
        drop(ring);
        segment.withdraw(); // nothing was sent, and nobody came: then it is as before
        return Err(error);
    }
    if arguments.rm {
        until_received(arguments, &segment, &ring)?;
        common.remove(&segment)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Takes the role, and gives it back as it deserves.
fn send(
    arguments: &Arguments,
    segment: &Segment,
    ring: &Ring,
    before: &Stats,
    input: &mut Named,
) -> Outcome<()> {
    let common = &arguments.common;
    let writer = if arguments.resume {
        let taken = common.timeout.map_or_else(|| ring.writer(), |timeout| ring.writer_timeout(timeout));
        common.role("sender", taken, true)?
    } else {
        let died = has_died(segment, before.sender, before.sender_died);
        common.refuse_remains("sender", before.sent, died)?;
        common.role("sender", ring.try_writer(), false)?
    };
    let mut writer = Kept::new(writer);
    let first = writer.0.position();
    let poured = pour(arguments, ring, before, &mut writer.0, input);
    match &poured {
        Ok(()) => writer.give().close(),
        Err(_) if writer.0.position() == first && !arguments.resume => writer.give().resign(), // nothing happened
        Err(_) => {} // what is in the ring is not all: as if this process had died
    }
    poured
}

fn pour(
    arguments: &Arguments,
    ring: &Ring,
    before: &Stats,
    writer: &mut Writer,
    input: &mut Named,
) -> Outcome<()> {
    let common = &arguments.common;
    let position = writer.position();
    writer.set_timeout(common.timeout);
    writer.wait_for_successor(arguments.resume);
    if arguments.resume {
        let length = input.regular_length()?;
        if position > length {
            return is_all(common, input, position);
        }
        input.file.seek(SeekFrom::Start(position))?;
    } else if before.receiver_closed {
        // Of an earlier stream: this one is for the next receiver.
        common.wait("receiver", || {
            let now = ring.stats();
            Ok(if now.receivers == before.receivers && now.receiver_closed { Err(0) } else { Ok(()) })
        })?;
    }
    let mut at = input.file.stream_position().ok();
    let bar = progress(input, input.length()?, at.unwrap_or(0));
    while !is_at_end(input, at)? {
        let n = part(common, writer, input, &bar)?;
        if n == 0 {
            break;
        }
        at = at.map(|at| at + n);
    }
    bar.finish_and_clear();
    if arguments.resume && input.regular_length()? < writer.position() {
        return is_all(common, input, writer.position()); // truncated meanwhile: then it is not this file
    }
    Ok(())
}

/// One read; 0: it was the last.
fn part(common: &Common, writer: &mut Writer, input: &Named, bar: &ProgressBar) -> Outcome<u64> {
    loop {
        match writer.fill_from(input) {
            Ok(n) => {
                bar.inc(n as u64);
                return Ok(n as u64);
            }
            Err(error) if is_not_ready(&error) => input.wait_for(PollFlags::POLLIN)?,
            Err(error) => return Err(common.failure("receiver", input, &error).into()),
        }
    }
}

/// Whether a regular file ends here: then no room is needed to find that out. (Files of /proc have no length.)
fn is_at_end(input: &Named, at: Option<u64>) -> io::Result<bool> {
    Ok(input.length()?.zip(at).is_some_and(|(length, at)| length > 0 && at >= length))
}

/// Whether everything was sent before, which another file of another length would not have been.
fn is_all(common: &Common, input: &Named, sent: u64) -> Outcome<()> {
    let length = input.regular_length()?;
    if sent == length {
        return Ok(());
    }
    let [sent, length] = [sent, length].map(size::show);
    let what = format!(
        "{input} has {length}, but {sent} were sent through `{}`: with --resume, one file a segment",
        common.name
    );
    Err(Failure::new(Exit::Other, what).into())
}

fn until_received(arguments: &Arguments, segment: &Segment, ring: &Ring) -> Outcome<()> {
    arguments.common.wait("receiver", || {
        let now = ring.stats();
        if now.received == now.sent && now.receiver_closed {
            return Ok(Ok(()));
        }
        if !arguments.resume && has_died(segment, now.receiver, now.receiver_died) {
            let what = format!("`{}`: the receiver died", arguments.common.name);
            return Err(Failure::new(Exit::PeerDied, what).into());
        }
        Ok(Err(now.received))
    })
}
