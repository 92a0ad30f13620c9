//! What outlives every part: the received bytes, and who consumed which message.
//!
//! The ledger is a file without a name that the demo holds open; each part has it as its standard output. Everything in it is
//! written by `pwrite`, and what `pwrite` has written stays, however its caller dies. It uses nothing of this crate: the ring does
//! not keep its own accounts.
//!
//! ```text
//! 0       gate: messages that may be sent                   by the demo
//! 64      life, address of the segment                      by each sender
//! 128     life, address of the segment                      by each receiver
//! 4096    runs, 64 bytes each: life, first, done, intent    by each receiver
//! output  the bytes received, each at its place in the file by each receiver
//! ```
//!
//! # Consumed, lost, duplicated
//!
//! A message is *consumed* by the one store in `release` that passes it. What was received but not released when its receiver
//! died is delivered again to the successor, and that is not a duplicate: its bytes overwrite themselves in the output.
//! So a receiver does, for each batch: bytes into the output; *intent* into the ledger; `release`. It notes by the numbers
//! in the messages, not by the positions of the ring.
//!
//! A [`Run`] is what one receiver consumed without a gap in the numbers: `first..done` for certain, and `done..intent` perhaps, if
//! it was killed around `release`. The next delivery of all decides: were these messages consumed, it lies at or beyond
//! `intent`; were they not, it lies before, and they count there.
//!
//! * **lost**: messages of the file that lie in no run.
//! * **duplicated**: how often a message lies in a further run.

use core::ops::Range;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt as _;

use nix::errno::Errno;
use nix::fcntl::posix_fallocate;
use nix::sys::memfd::{MFdFlags, memfd_create};

use super::Side;

const RUNS: u64 = 4096;
const RUN: u64 = 64;
const PAGE: u64 = 4096;

/// Messages that one receiver consumed, in order and without a gap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Run {
    /// Which receiver, counted from 1.
    pub(crate) life: u64,
    /// The number of the first message.
    pub(crate) first: u64,
    /// Consumed up to here.
    pub(crate) done: u64,
    /// About to be consumed up to here.
    pub(crate) intent: u64,
}

/// The verdict over all runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub(crate) struct Account {
    pub(crate) lost: u64,
    pub(crate) duplicated: u64,
}

/// The file.
#[derive(Debug)]
pub(crate) struct Ledger {
    file: File,
    /// How many runs there is room for.
    runs: u64,
}

impl Ledger {
    /// A new one for an output of `size` bytes and that many kills: in memory if that leaves half of what is available, else
    /// in a file without a name in the directory for temporary files.
    pub(crate) fn create(size: u64, kills: u32) -> io::Result<Self> {
        let runs = runs_for(kills);
        let length = RUNS + runs * RUN + size;
        let in_memory = available_memory().is_none_or(|available| length <= available / 2);
        let file = if in_memory {
            File::from(memfd_create("outlive-demo-ledger", MFdFlags::MFD_CLOEXEC)?)
        } else {
            let path = std::env::temp_dir().join(format!("outlive-demo-ledger-{}", std::process::id()));
            let file = OpenOptions::new().read(true).write(true).create_new(true).open(&path)?;
            std::fs::remove_file(&path)?;
            file
        };
        // The space is reserved now: a lack of it is an error here, and not in the middle of the stream.
        let signed = i64::try_from(length).map_err(|_| io::Error::from(Errno::EFBIG))?;
        posix_fallocate(&file, 0, signed)?;
        Ok(Self { file, runs })
    }

    /// The one that a part has as its standard output.
    pub(crate) fn inherited(kills: u32) -> io::Result<Self> {
        let file = File::from(io::stdout().as_fd().try_clone_to_owned()?);
        Ok(Self { file, runs: runs_for(kills) })
    }

    /// The file, to be the standard output of a part.
    pub(crate) fn to_inherit(&self) -> io::Result<File> {
        self.file.try_clone()
    }

    /// Lets the senders send up to message `gate`.
    pub(crate) fn open_gate(&self, gate: u64) -> io::Result<()> {
        self.put(0, [gate])
    }

    /// How many messages may be sent.
    pub(crate) fn gate(&self) -> io::Result<u64> {
        let [gate] = self.get(0)?;
        Ok(gate)
    }

    /// Says where this life of a side has mapped the segment.
    pub(crate) fn place(&self, side: Side, life: u64, address: u64) -> io::Result<()> {
        self.put(place_of(side), [life, address])
    }

    /// Where this life of a side has mapped the segment, once it has said so.
    pub(crate) fn placed(&self, side: Side, life: u64) -> io::Result<Option<u64>> {
        let [found, address] = self.get(place_of(side))?;
        Ok((found == life).then_some(address))
    }

    /// Writes received bytes to their place in the output.
    pub(crate) fn put_output(&self, bytes: &[u8], at: u64) -> io::Result<()> {
        self.file.write_all_at(bytes, self.output() + at)
    }

    /// Reads them back.
    pub(crate) fn get_output(&self, bytes: &mut [u8], at: u64) -> io::Result<()> {
        self.file.read_exact_at(bytes, self.output() + at)
    }

    /// All runs so far.
    pub(crate) fn all(&self) -> io::Result<Vec<Run>> {
        let mut runs = Vec::new();
        for index in 0..self.runs {
            match self.run(index)? {
                Some(run) => runs.push(run),
                None => break,
            }
        }
        Ok(runs)
    }

    /// The run at `index`, if it has begun.
    pub(crate) fn run(&self, index: u64) -> io::Result<Option<Run>> {
        if index >= self.runs {
            return Ok(None);
        }
        let [life, first, done, intent] = self.get(RUNS + index * RUN)?;
        Ok((life != 0).then_some(Run { life, first, done, intent }))
    }

    fn begin(&self, index: u64, run: Run) -> io::Result<()> {
        if index >= self.runs {
            return Err(io::Error::other("the numbers of the messages received jump too often to be noted"));
        }
        self.put(RUNS + index * RUN, [run.life, run.first, run.done, run.intent])
    }

    fn update(&self, index: u64, run: Run) -> io::Result<()> {
        self.put(RUNS + index * RUN + 16, [run.done, run.intent])
    }

    fn output(&self) -> u64 {
        (RUNS + self.runs * RUN).next_multiple_of(PAGE)
    }

    /// Writes words that lie in one page: a `pwrite` of those is not cut short by a kill.
    fn put<const N: usize>(&self, at: u64, words: [u64; N]) -> io::Result<()> {
        let bytes = words.map(u64::to_le_bytes);
        self.file.write_all_at(bytes.as_flattened(), at)
    }

    fn get<const N: usize>(&self, at: u64) -> io::Result<[u64; N]> {
        let mut bytes = [[0; 8]; N];
        self.file.read_exact_at(bytes.as_flattened_mut(), at)?;
        Ok(bytes.map(u64::from_le_bytes))
    }
}

/// Where a side says where it is.
fn place_of(side: Side) -> u64 {
    64 + 64 * side.index() as u64
}

/// Each receiver begins a run and each jump in the numbers another one. Many jumps mean that the ring is broken; the first thousand
/// are enough to say so.
fn runs_for(kills: u32) -> u64 {
    (u64::from(kills) + 1024).next_multiple_of(PAGE / RUN)
}

/// What the kernel says could be had without swapping.
fn available_memory() -> Option<u64> {
    let info = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = info.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kilobytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kilobytes.checked_mul(1024)
}

/// The hand of one receiver in the ledger.
#[derive(Debug)]
pub(crate) struct Notes<'l> {
    ledger: &'l Ledger,
    life: u64,
    index: u64,
    run: Option<Run>,
}

impl<'l> Notes<'l> {
    /// Goes on below what earlier receivers have noted.
    pub(crate) fn continued(ledger: &'l Ledger, life: u64) -> io::Result<Self> {
        let mut index = 0;
        while ledger.run(index)?.is_some() {
            index += 1;
        }
        Ok(Self { ledger, life, index, run: None })
    }

    /// Notes that `numbers` are about to be consumed, and that everything noted before has been.
    pub(crate) fn intend(&mut self, numbers: Range<u64>) -> io::Result<()> {
        let mut run = match self.run {
            Some(run) if run.intent == numbers.start => run,
            _ => self.begin(numbers.start)?,
        };
        run.done = numbers.start;
        run.intent = numbers.end;
        self.run = Some(run);
        self.ledger.update(self.index, run)
    }

    /// Notes that everything intended has been consumed, and that the next message would be number `end`.
    pub(crate) fn finish(&mut self, end: u64) -> io::Result<()> {
        if self.run.is_none() {
            self.begin(end)?;
        }
        self.settle()
    }

    /// Starts a run at `first`; the one before it, of the same receiver, has ended well.
    fn begin(&mut self, first: u64) -> io::Result<Run> {
        if self.run.is_some() {
            self.settle()?;
            self.index += 1;
        }
        let run = Run { life: self.life, first, done: first, intent: first };
        self.ledger.begin(self.index, run)?;
        self.run = Some(run);
        Ok(run)
    }

    fn settle(&mut self) -> io::Result<()> {
        if let Some(run) = &mut self.run {
            run.done = run.intent;
            self.ledger.update(self.index, *run)?;
        }
        Ok(())
    }
}

/// How far the receivers are, read while they run.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    index: u64,
}

impl Progress {
    /// Messages received so far.
    pub(crate) fn messages(&mut self, ledger: &Ledger) -> io::Result<u64> {
        while ledger.run(self.index + 1)?.is_some() {
            self.index += 1;
        }
        Ok(ledger.run(self.index)?.map_or(0, |run| run.intent))
    }
}

/// Counts, for a file of `total` messages, what the runs leave out and what they have more than once.
pub(crate) fn account(runs: &[Run], total: u64) -> Account {
    // Where coverage changes: +1 where consumed messages begin, -1 where they end.
    let mut edges: Vec<(u64, i64)> = vec![(0, 0), (total, 0)];
    for (index, run) in runs.iter().enumerate() {
        let next = runs.get(index + 1);
        let end = if next.is_some_and(|next| next.first >= run.intent) { run.intent } else { run.done };
        if run.first < end {
            edges.extend([(run.first, 1), (end, -1)]);
        }
    }
    edges.sort_unstable();
    let mut account = Account::default();
    let mut coverage = 0_i64;
    for pair in edges.windows(2) {
        coverage += pair[0].1;
        let length = pair[1].0 - pair[0].0;
        if coverage == 0 && pair[1].0 <= total {
            account.lost += length;
        }
        account.duplicated += length * u64::try_from(coverage - 1).unwrap_or(0);
    }
    account
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(life: u64, first: u64, done: u64, intent: u64) -> Run {
        Run { life, first, done, intent }
    }

    #[test]
    fn one_receiver_that_took_everything() {
        assert_eq!(account(&[run(1, 0, 10, 10)], 10), Account::default());
    }

    #[test]
    fn nothing_received_is_all_lost() {
        assert_eq!(account(&[], 10), Account { lost: 10, duplicated: 0 });
    }

    #[test]
    fn killed_before_release_and_delivered_again() {
        assert_eq!(account(&[run(1, 0, 4, 6), run(2, 4, 10, 10)], 10), Account::default());
    }

    #[test]
    fn killed_after_release_and_not_delivered_again() {
        assert_eq!(account(&[run(1, 0, 4, 6), run(2, 6, 10, 10)], 10), Account::default());
    }

    #[test]
    fn delivered_again_although_it_was_consumed() {
        assert_eq!(account(&[run(1, 0, 4, 6), run(2, 3, 10, 10)], 10), Account { lost: 0, duplicated: 1 });
        assert_eq!(account(&[run(1, 0, 10, 10), run(2, 0, 10, 10)], 10), Account { lost: 0, duplicated: 10 });
        let thrice = [run(1, 0, 10, 10), run(1, 8, 9, 9), run(2, 8, 9, 9)];
        assert_eq!(account(&thrice, 10), Account { lost: 0, duplicated: 2 });
    }

    #[test]
    fn a_gap_is_lost() {
        assert_eq!(account(&[run(1, 0, 4, 6), run(2, 7, 10, 10)], 10), Account { lost: 1, duplicated: 0 });
        assert_eq!(account(&[run(1, 0, 4, 4), run(1, 6, 10, 10)], 10), Account { lost: 2, duplicated: 0 });
        assert_eq!(account(&[run(1, 2, 9, 9)], 10), Account { lost: 3, duplicated: 0 });
    }

    #[test]
    fn half_a_release_is_a_loss() {
        // 4..7 was to be consumed by one store; a successor that is given 5 shows that it was not one.
        assert_eq!(account(&[run(1, 0, 4, 7), run(2, 5, 10, 10)], 10), Account { lost: 1, duplicated: 0 });
    }

    #[test]
    fn the_last_intent_counts_once_the_end_is_seen() {
        assert_eq!(account(&[run(1, 0, 4, 10)], 10), Account { lost: 6, duplicated: 0 });
        assert_eq!(account(&[run(1, 0, 4, 10), run(2, 10, 10, 10)], 10), Account::default());
    }

    #[test]
    fn killed_before_any_message() {
        assert_eq!(account(&[run(1, 0, 0, 3), run(2, 0, 0, 3), run(3, 3, 10, 10)], 10), Account::default());
    }

    #[test]
    fn notes_of_several_receivers_become_runs() {
        let ledger = Ledger::create(100, 3).expect("a ledger");
        let mut progress = Progress::default();
        assert_eq!(progress.messages(&ledger).expect("read"), 0);

        let mut first = Notes::continued(&ledger, 1).expect("notes");
        first.intend(0..4).expect("noted");
        first.intend(4..8).expect("noted");
        assert_eq!(progress.messages(&ledger).expect("read"), 8);

        let mut second = Notes::continued(&ledger, 2).expect("notes");
        second.intend(4..6).expect("noted");
        second.intend(9..10).expect("a jump is noted as another run");
        second.finish(10).expect("noted");
        assert_eq!(progress.messages(&ledger).expect("read"), 10);

        let mut third = Notes::continued(&ledger, 3).expect("notes");
        third.finish(10).expect("noted");

        let expected = [run(1, 0, 4, 8), run(2, 4, 6, 6), run(2, 9, 10, 10), run(3, 10, 10, 10)];
        assert_eq!(ledger.all().expect("read"), expected);
        assert_eq!(account(&expected, 10), Account { lost: 3, duplicated: 0 });
    }

    #[test]
    fn too_many_jumps_are_an_error_and_leave_the_output_alone() {
        let ledger = Ledger::create(8, 0).expect("a ledger");
        ledger.put_output(b"received", 0).expect("written");
        let mut notes = Notes::continued(&ledger, 1).expect("notes");
        let refused = (0..10_000_u64).find(|n| notes.intend(2 * n..2 * n + 1).is_err());
        assert!(refused.is_some());
        let mut output = [0; 8];
        ledger.get_output(&mut output, 0).expect("read");
        assert_eq!(&output, b"received");
    }

    #[test]
    fn places_and_gate_are_kept() {
        let ledger = Ledger::create(1, 0).expect("a ledger");
        ledger.open_gate(9).expect("written");
        ledger.place(Side::Receiver, 2, 0x7f00).expect("written");
        assert_eq!(ledger.gate().expect("read"), 9);
        assert_eq!(ledger.placed(Side::Receiver, 2).expect("read"), Some(0x7f00));
        assert_eq!(ledger.placed(Side::Receiver, 3).expect("read"), None, "an earlier life said so");
        assert_eq!(ledger.placed(Side::Sender, 2).expect("read"), None);
    }
}
