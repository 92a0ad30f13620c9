//! `outlive recv`.

use std::fs::File;
use std::io::{self, Seek as _, SeekFrom};
use std::path::PathBuf;
use std::process::ExitCode;

use nix::poll::PollFlags;
use outlive::Segment;
use outlive::ring::Stats;
use outlive::ring::stream::{Reader, Ring};

use super::{Common, Kept, Named, has_died, is_not_ready, progress};
use crate::exit::{Exit, Failure};
use crate::{Outcome, size};

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    common: Common,
    /// Where to write it [default: standard output]
    file: Option<PathBuf>,
    /// Go on where a killed receiver stopped, and wait for senders that are killed: one FILE a segment, from its beginning
    #[arg(long, requires = "file")]
    resume: bool,
    /// Remove the segment at the end of the stream. With --resume, a side that is killed in the instant between this and
    /// its exit begins anew when it is started again: leave --rm away where that must not be
    #[arg(long)]
    rm: bool,
}

/// Receives up to the end of the stream.
pub(crate) fn run(arguments: &Arguments) -> Outcome {
    let common = &arguments.common;
    let mut output = match &arguments.file {
        // Truncated when this is certain to be the receiver.
        Some(path) => Named::open(path, File::options().write(true).create(true).truncate(false).open(path))?,
        None => Named::standard(io::stdout(), "standard output")?,
    };
    if arguments.resume {
        output.regular_length()?;
    }
    let (segment, ring) = common.open()?;
    common.refuse_itself(&segment, &output)?;
    if let Err(error) = receive(arguments, &segment, &ring, &mut output) {
        drop(ring);
        segment.withdraw(); // nobody came: then it is as before
        return Err(error);
    }
    if arguments.rm {
        common.remove(&segment)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Takes the role, and gives it back as it deserves.
fn receive(arguments: &Arguments, segment: &Segment, ring: &Ring, output: &mut Named) -> Outcome<()> {
    let common = &arguments.common;
    let before = ring.stats();
    let reader = if arguments.resume {
        let taken = common.timeout.map_or_else(|| ring.reader(), |timeout| ring.reader_timeout(timeout));
        common.role("receiver", taken, true)?
    } else {
        let sender_died = has_died(segment, before.sender, before.sender_died);
        let receiver_died = has_died(segment, before.receiver, before.receiver_died);
        let gave_up = before.receiver_closed && (before.depth > 0 || sender_died);
        common.refuse_remains("receiver", before.received, receiver_died || gave_up)?;
        common.role("receiver", ring.try_reader(), false)?
    };
    let mut reader = Kept::new(reader);
    let first = reader.0.position();
    let drained = drain(arguments, ring, &before, &mut reader.0, output);
    match &drained {
        // As if this process had died: the sender waits for a successor.
        Err(_) if arguments.resume && reader.0.position() > 0 => {}
        Err(_) if reader.0.position() == first => reader.give().resign(), // nothing happened
        _ => reader.give().close(),
    }
    drained
}

fn drain(
    arguments: &Arguments,
    ring: &Ring,
    before: &Stats,
    reader: &mut Reader,
    output: &mut Named,
) -> Outcome<()> {
    let common = &arguments.common;
    let position = reader.position();
    reader.set_timeout(common.timeout);
    reader.wait_for_successor(arguments.resume);
    if arguments.resume {
        cut(output, position)?;
    } else {
        if !output.is_standard() && output.length()?.is_some() {
            output.file.set_len(0)?;
        }
        if before.sender_closed && before.receiver_closed && before.depth == 0 {
            // That stream was received: this is for the next one.
            common.wait("sender", || {
                let now = ring.stats();
                Ok(if now.senders == before.senders { Err(0) } else { Ok(()) })
            })?;
        }
    }
    let bar = progress(output, None, if arguments.resume { position } else { 0 });
    loop {
        match reader.drain_to(&*output) {
            Ok(0) => break,
            Ok(n) => bar.inc(n as u64),
            Err(error) if is_not_ready(&error) => output.wait_for(PollFlags::POLLOUT)?,
            Err(error) => return Err(common.failure("sender", output, &error).into()),
        }
    }
    bar.finish_and_clear();
    Ok(())
}

/// Forgets what the last receiver wrote and did not consume: that comes again.
fn cut(output: &mut Named, position: u64) -> Outcome<()> {
    let length = output.regular_length()?;
    if length < position {
        let [length, position] = [length, position].map(size::show);
        let what = format!("{output} has {length}, but {position} were received: is it another file?");
        return Err(Failure::new(Exit::Other, what).into());
    }
    output.file.set_len(position)?;
    output.file.seek(SeekFrom::Start(position))?;
    Ok(())
}
