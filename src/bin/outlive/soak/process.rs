//! What the kernel says about processes and their threads.

use core::fmt;
use core::time::Duration;
use std::fs;
use std::path::Path;

use crate::Outcome;

/// In the flags of a process: it is on its way out, and runs no code of its own any more (`PF_EXITING`).
const EXITING: u32 = 4;

/// Bits of a process id.
const PID_BITS: u32 = 22;

/// A process, and no other that has its id later: `start, in ticks since boot | pid:22`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stamp(u64);

impl Stamp {
    pub(crate) fn ours() -> Outcome<Self> {
        let pid = u64::from(std::process::id());
        let status = Status::of(pid).ok_or("/proc/self/stat cannot be read")?;
        Ok(Self(status.start << PID_BITS | pid))
    }

    pub(crate) fn word(self) -> u64 {
        self.0
    }

    pub(crate) fn of_word(word: u64) -> Option<Self> {
        (word != 0).then_some(Self(word))
    }

    fn pid(self) -> u64 {
        self.0 & ((1 << PID_BITS) - 1)
    }

    pub(crate) fn is_alive(self) -> bool {
        let status = Status::of(self.pid());
        status.is_some_and(|status| status.start == self.0 >> PID_BITS && !status.is_over())
    }
}

impl fmt::Display for Stamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.pid().fmt(f)
    }
}

/// Of /proc/PID/stat.
struct Status {
    state: char,
    flags: u32,
    start: u64,
}

impl Status {
    fn of(pid: u64) -> Option<Self> {
        Self::parse(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
    }

    fn parse(text: &str) -> Option<Self> {
        // The name before may have blanks and parentheses in it.
        let mut fields = text.rsplit_once(')')?.1.split_ascii_whitespace();
        let state = fields.next()?.chars().next()?;
        let flags = fields.nth(5)?.parse().ok()?;
        let start = fields.nth(12)?.parse().ok()?;
        Some(Self { state, flags, start })
    }

    /// Its memory goes a while before it is a zombie, and from then on it is dead for whoever shared that.
    fn is_over(&self) -> bool {
        matches!(self.state, 'Z' | 'X') || self.flags & EXITING != 0
    }
}

pub(crate) fn this_thread() -> u64 {
    u64::try_from(nix::unistd::gettid().as_raw()).unwrap_or(0)
}

/// How long a thread could have run, and had no processor: its own wait is something else.
pub(crate) fn starved(thread: u64) -> Duration {
    let text = fs::read_to_string(format!("/proc/{thread}/schedstat")).unwrap_or_default();
    let delay = text.split_ascii_whitespace().nth(1).and_then(|number| number.parse().ok());
    Duration::from_nanos(delay.unwrap_or(0))
}

/// How many descriptors this process has open.
pub(crate) fn descriptors() -> usize {
    // The one by which they are counted is there each time.
    fs::read_dir("/proc/self/fd").map_or(0, Iterator::count)
}

/// How many mappings of this process are of files whose path has `part` in it.
pub(crate) fn mappings(part: &str) -> usize {
    fs::read_to_string("/proc/self/maps")
        .map_or(0, |maps| maps.lines().filter(|line| line.contains(part)).count())
}

/// The files of a directory whose name begins so.
pub(crate) fn files(directory: &Path, beginning: &str) -> Vec<String> {
    let entries = fs::read_dir(directory).into_iter().flatten();
    let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    names.filter(|name| name.starts_with(beginning)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_alive_until_it_ends_and_its_id_does_not_vouch_for_another() {
        let ours = Stamp::ours().expect("it is there");
        assert!(ours.is_alive());
        assert_eq!(ours.to_string(), std::process::id().to_string());
        assert!(!Stamp(ours.0 + (1 << PID_BITS)).is_alive(), "another one that has our id");
        assert_eq!((Stamp::of_word(0), Stamp::of_word(ours.word())), (None, Some(ours)));
        let mut child = std::process::Command::new("/bin/true").spawn().expect("it starts");
        let status = loop {
            let status = Status::of(child.id().into()).expect("it is there until it is waited for");
            if status.state == 'Z' {
                break status;
            }
        };
        let stamp = Stamp(status.start << PID_BITS | u64::from(child.id()));
        assert!(!stamp.is_alive());
        child.wait().expect("it ended");
        assert!(!stamp.is_alive());
    }

    #[test]
    fn who_is_on_his_way_out_is_over() {
        let of = |state, flags| {
            Status::parse(&format!("7 (a) b) {state} 1 1 1 0 -1 {flags} 0 0 0 0 0 0 0 0 20 0 2 0 99 1"))
        };
        for (state, flags, over) in [('S', 0x40_0040, false), ('R', 0x40_0044, true), ('Z', 0x40_0044, true)]
        {
            let status = of(state, flags).expect("a line as the kernel writes it");
            assert_eq!((status.start, status.is_over()), (99, over), "{state} {flags:#x}");
        }
    }
}
