//! `outlive send` and `outlive recv`: a stream of bytes through a segment, as through a pipe that has a name.
//!
//! ```text
//!   FILE or standard input --read(2)--> | ring "stream" of the segment | --write(2)--> FILE or standard output
//! ```
//! The kernel copies straight between file and ring. Whoever comes first makes the segment. The stream's end, and a side that
//! failed or died before it, are told apart: a sender says that it is done only if it is ([`Kept`]).
//!
//! With `--resume` a killed side is started again with the same arguments: the sender seeks to the byte after the last
//! committed one, the receiver truncates its file to the last consumed one, and the other side waits for it meanwhile.

mod recv;
mod send;

use core::fmt;
use core::mem::ManuallyDrop;
use core::time::Duration;
use std::fs::File;
use std::io::{self, IsTerminal as _};
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;
use std::thread::sleep;

use indicatif::{ProgressBar, ProgressStyle};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::stat::fstat;
use outlive::ring::stream;
use outlive::{Address, Error, Owner, Segment};

use crate::exit::{Exit, Failure};
use crate::find::look;
use crate::{Outcome, size, time};

pub(crate) use recv::{Arguments as RecvArguments, run as run_recv};
pub(crate) use send::{Arguments as SendArguments, run as run_send};

/// Under this name the ring is found in its segment.
const RING: &str = "stream";
/// The most that a ring can hold.
const LARGEST: u64 = 1 << 31;

/// What both sides want to know.
#[derive(Debug, clap::Args)]
struct Common {
    /// The segment: `shm:NAME`, `file:PATH`, `sysv:KEY`. Whoever comes first makes it
    name: Address,
    /// How much of the stream fits into the segment, if this makes it
    #[arg(long, value_name = "BYTES", value_parser = ring_size, default_value = "1M")]
    size: usize,
    /// How long to wait for the other side to come or to go on [default: for ever]
    #[arg(long, value_name = "DURATION", value_parser = time::parse)]
    timeout: Option<Duration>,
}

fn ring_size(text: &str) -> Result<usize, String> {
    let bytes = size::parse(text)?;
    let fits = (1..=LARGEST).contains(&bytes);
    let bytes = usize::try_from(bytes).ok().filter(|_| fits);
    bytes.ok_or_else(|| format!("a ring holds 1 byte to {}", size::show(LARGEST)))
}

impl Common {
    /// The segment and its ring, whoever makes them; the size counts for that one only.
    fn open(&self) -> Outcome<(Segment, stream::Ring)> {
        let ring = self.size.next_power_of_two();
        // Header, rows, and a directory that grows with the segment.
        let around = (ring / 64) + (32 << 10);
        let segment = match Segment::open_or_create(&self.name, ring + around) {
            Err(Error::WrongShape { .. }) => Segment::open(&self.name)?,
            other => other?,
        };
        let ring = match stream::Ring::open_or_create(&segment, RING, ring) {
            Err(Error::WrongShape { .. }) => stream::Ring::open(&segment, RING)?,
            other => other?,
        };
        Ok((segment, ring))
    }

    /// Nothing goes through itself: the receiver would cut the memory off under both sides.
    fn refuse_itself(&self, segment: &Segment, file: &Named) -> Outcome<()> {
        let Some(memory) = segment.as_fd() else { return Ok(()) };
        let [memory, found] = [fstat(memory)?, fstat(file.as_fd())?];
        if (memory.st_dev, memory.st_ino) != (found.st_dev, found.st_ino) {
            return Ok(());
        }
        Err(Failure::new(Exit::Usage, format!("{file}: it is the segment `{}` itself", self.name)).into())
    }

    /// Waits until `is_so`, which is asked how far the other side has come: as long as that changes, time is not up.
    fn wait(&self, other: &str, mut is_so: impl FnMut() -> Outcome<Result<(), u64>>) -> Outcome<()> {
        let (mut since, mut before) = (time::now(), None);
        let mut pause = Duration::from_millis(1);
        loop {
            let Err(progress) = is_so()? else { return Ok(()) };
            if before != Some(progress) {
                (since, before) = (time::now(), Some(progress));
            }
            if self.timeout.is_some_and(|timeout| since.elapsed() >= timeout) {
                return Err(self.late(other).into());
            }
            sleep(pause);
            pause = (pause * 2).min(Duration::from_millis(20));
        }
    }

    fn late(&self, other: &str) -> Failure {
        let waited = humantime::format_duration(self.timeout.unwrap_or_default());
        Failure::new(Exit::TimedOut, format!("`{}`: no {other} has come or gone on for {waited}", self.name))
    }

    /// The role, where somebody alive may have it.
    fn role<T>(&self, own: &str, taken: outlive::Result<T>, waited: bool) -> Outcome<T> {
        taken.map_err(|error| match error {
            Error::Busy { owner } => {
                let exit = if waited { Exit::TimedOut } else { Exit::Busy };
                Failure::new(exit, format!("`{}` has a {own} that is alive: {owner}", self.name)).into()
            }
            other => other.into(),
        })
    }

    /// Without `--resume`: a stream of which a part is missing is not to be taken for a whole one.
    fn refuse_remains(&self, own: &str, count: u64, stopped: bool) -> Outcome<()> {
        if count == 0 || !stopped {
            return Ok(());
        }
        let (name, count) = (&self.name, size::show(count));
        let what = format!(
            "the last {own} of `{name}` stopped after {count}: go on with --resume, or remove it with `outlive rm {name}`"
        );
        Err(Failure::new(Exit::PeerDied, what).into())
    }

    /// What an error of a transfer means. Those of the ring carry one of ours, those of the descriptor a number.
    fn failure(&self, other: &str, file: &Named, error: &io::Error) -> Failure {
        if error.raw_os_error().is_some()
            || error.get_ref().is_none() && error.kind() == io::ErrorKind::WriteZero
        {
            let unread = file.is_standard() && error.kind() == io::ErrorKind::BrokenPipe;
            let exit = if unread { Exit::Unread } else { Exit::of(error) };
            return Failure::new(exit, format!("{file}: {error}"));
        }
        match error.get_ref().and_then(|inner| inner.downcast_ref::<Error>()) {
            Some(Error::Full | Error::Empty) => self.late(other),
            Some(Error::PeerDied { owner }) => {
                Failure::new(Exit::PeerDied, format!("`{}`: the {other}, {owner}, died", self.name))
            }
            Some(Error::Closed) => Failure::new(
                Exit::PeerDied,
                format!("`{}`: the {other} has closed before the end", self.name),
            ),
            _ => Failure::new(Exit::of(error), format!("`{}`: {error}", self.name)),
        }
    }

    /// Takes the name away; it is no error if the other side was faster, and by now it is another segment's.
    fn remove(&self, segment: &Segment) -> Outcome<()> {
        let created = segment.info()?.created;
        let removed = match look(&self.name).and_then(|named| named.info()) {
            Ok(named) if named.created == created => Segment::unlink(&self.name),
            Ok(_) => Ok(()),
            Err(error) => Err(error),
        };
        match removed {
            Err(Error::NotFound { .. }) => Ok(()),
            other => Ok(other?),
        }
    }
}

/// A role that is not given back unless somebody says so. As long as that is not said, this process counts as dead in it
/// when it ends, by whatever way: the other side is not told of an end of the stream that is none.
struct Kept<T>(ManuallyDrop<T>);

impl<T> Kept<T> {
    fn new(role: T) -> Self {
        Self(ManuallyDrop::new(role))
    }

    fn give(self) -> T {
        ManuallyDrop::into_inner(self.0)
    }
}

/// A file, or a standard stream, with its name for messages.
#[derive(Debug)]
struct Named {
    file: File,
    /// None: a standard stream.
    path: Option<String>,
    what: &'static str,
}

impl Named {
    fn standard(stream: impl AsFd, what: &'static str) -> Outcome<Self> {
        Ok(Self { file: stream.as_fd().try_clone_to_owned()?.into(), path: None, what })
    }

    fn open(path: &Path, opened: io::Result<File>) -> Outcome<Self> {
        let shown = crate::table::printable(&path.display().to_string());
        let explain = |error: io::Error| Failure::new(Exit::of(&error), format!("{shown}: {error}"));
        let file = opened.map_err(explain)?;
        if file.metadata().map_err(explain)?.is_dir() {
            return Err(Failure::new(Exit::Other, format!("{shown}: it is a directory")).into());
        }
        Ok(Self { file, path: Some(shown), what: "" })
    }

    fn is_standard(&self) -> bool {
        self.path.is_none()
    }

    /// Bytes of a regular file.
    fn length(&self) -> io::Result<Option<u64>> {
        let found = self.file.metadata()?;
        Ok(found.is_file().then_some(found.len()))
    }

    /// For `--resume`.
    fn regular_length(&self) -> Outcome<u64> {
        let refusal = || Failure::new(Exit::Usage, format!("{self}: --resume needs a regular file"));
        Ok(self.length()?.ok_or_else(refusal)?)
    }

    /// A standard stream that somebody has made non-blocking.
    fn wait_for(&self, what: PollFlags) -> Outcome<()> {
        match poll(&mut [PollFd::new(self.file.as_fd(), what)], PollTimeout::NONE) {
            Err(nix::errno::Errno::EINTR) | Ok(_) => Ok(()),
            Err(errno) => Err(io::Error::from(errno).into()),
        }
    }
}

impl fmt::Display for Named {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.path.as_deref().unwrap_or(self.what))
    }
}

impl AsFd for Named {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

/// Whether the last holder of a role is dead: it has the role still, or somebody has noted the death.
fn has_died(segment: &Segment, holder: Option<Owner>, noted: Option<Owner>) -> bool {
    noted.is_some() || holder.is_some_and(|owner| segment.is_dead(owner))
}

/// Whether a descriptor has nothing, or takes nothing, at this moment.
fn is_not_ready(error: &io::Error) -> bool {
    error.raw_os_error() == Some(nix::libc::EAGAIN)
}

/// How far the stream is: on a terminal, unless the stream itself goes there.
fn progress(stream: &Named, length: Option<u64>, position: u64) -> ProgressBar {
    if !io::stderr().is_terminal() || stream.file.is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = length.map_or_else(ProgressBar::no_length, ProgressBar::new);
    let template = if length.is_some() {
        "[{bar:30}] {bytes:>10} {bytes_per_sec:>14} {eta:>4}"
    } else {
        "{spinner} {bytes:>10} {bytes_per_sec:>14}"
    };
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style.progress_chars("=> "));
    }
    bar.set_position(position);
    bar.reset_eta();
    bar
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rings_have_a_size_that_fits() {
        assert_eq!(ring_size("64K"), Ok(64 << 10));
        assert_eq!(ring_size("2G"), Ok(2 << 30));
        for text in ["0", "2049M", "x"] {
            assert!(ring_size(text).is_err(), "{text}");
        }
    }

    #[test]
    fn the_segment_has_room_for_the_ring() {
        for size in [1, 4096, 1 << 16, 1 << 20, 3 << 20, 1 << 24] {
            let name = format!("shm:outlive-test-transfer-{}-{size}", std::process::id());
            let common = Common { name: Address::from(&name), size, timeout: None };
            let (segment, ring) = common.open().expect("there is room");
            assert_eq!(ring.capacity(), size.next_power_of_two());
            assert!(segment.size() <= ring.capacity() as u64 * 65 / 64 + (64 << 10), "not much is wasted");
            let other = Common { size: 1 << 14, ..common };
            assert_eq!(
                other.open().expect("it is there").1.capacity(),
                ring.capacity(),
                "the first one counts"
            );
            other.remove(&segment).expect("removed");
            other.remove(&segment).expect("gone");
            let (successor, _) = other.open().expect("there is room");
            other.remove(&segment).expect("gone");
            assert!(!other.open().expect("it is there").0.created(), "what came afterwards stays");
            other.remove(&successor).expect("removed");
        }
    }
}
