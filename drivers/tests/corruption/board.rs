//! What a worker does, where its parent sees it also when the worker is dead.

use std::fs::File;
use std::sync::atomic::{AtomicU64, Ordering};

use memmap2::{MmapOptions, MmapRaw};
use nix::sys::memfd::{MFdFlags, memfd_create};
use outlive::Error;

/// Errors by kind, as their variants are named; the last one is for those of later versions.
pub const KINDS: [&str; 25] = [
    "NotFound",
    "AlreadyExists",
    "InvalidAddress",
    "InvalidName",
    "InvalidConfig",
    "WrongType",
    "WrongShape",
    "Foreign",
    "NoSpace",
    "NoRow",
    "Busy",
    "Denied",
    "Unsupported",
    "Os",
    "Full",
    "TooLarge",
    "Empty",
    "Closed",
    "PeerDied",
    "Missed",
    "Corrupt",
    "ReadOnly",
    "Forked",
    "Killed",
    "other",
];

#[derive(Debug)]
#[repr(C)]
struct Words {
    /// Of the execution under way.
    seed: AtomicU64,
    under_way: AtomicU64,
    begun: AtomicU64,
    done: AtomicU64,
    /// Segments that could be opened.
    opened: AtomicU64,
    /// Operations that answered.
    answers: AtomicU64,
    errors: [AtomicU64; KINDS.len()],
    /// The worker is to end.
    stop: AtomicU64,
}

/// Shared by a worker and its parent. Nothing here orders anything else.
#[derive(Debug)]
pub struct Board(MmapRaw);

/// Read at a moment.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    pub seed: u64,
    pub under_way: bool,
    pub begun: u64,
    pub done: u64,
    pub opened: u64,
    pub answers: u64,
    pub errors: Vec<u64>,
}

impl Board {
    pub fn new() -> Self {
        let file = File::from(memfd_create("board", MFdFlags::MFD_CLOEXEC).expect("a memfd"));
        file.set_len(size_of::<Words>() as u64).expect("memory for it");
        Self(MmapOptions::new().map_raw(&file).expect("it can be mapped"))
    }

    fn words(&self) -> &Words {
        // SAFETY: mapped as long as this lives, aligned to a page, and atomics all through, for which zeros are values.
        unsafe { &*self.0.as_ptr().cast() }
    }

    pub fn begin(&self, seed: u64) {
        self.words().seed.store(seed, Ordering::Relaxed);
        self.words().under_way.store(1, Ordering::Relaxed);
        add(&self.words().begun);
    }

    pub fn done(&self) {
        add(&self.words().done);
        self.words().under_way.store(0, Ordering::Relaxed);
    }

    pub fn opened(&self) {
        add(&self.words().opened);
    }

    /// Counts what an operation said.
    pub fn count(&self, said: &Result<(), Error>) {
        let Err(error) = said else { return add(&self.words().answers) };
        let shown = format!("{error:?}");
        let name = shown.split(|c: char| !c.is_alphanumeric()).next().unwrap_or_default();
        let kind = KINDS.iter().position(|kind| *kind == name).unwrap_or(KINDS.len() - 1);
        add(&self.words().errors[kind]);
    }

    pub fn stop(&self) {
        self.words().stop.store(1, Ordering::Relaxed);
    }

    pub fn is_stopped(&self) -> bool {
        self.words().stop.load(Ordering::Relaxed) != 0
    }

    pub fn tally(&self) -> Tally {
        let words = self.words();
        let get = |word: &AtomicU64| word.load(Ordering::Relaxed);
        Tally {
            seed: get(&words.seed),
            under_way: get(&words.under_way) != 0,
            begun: get(&words.begun),
            done: get(&words.done),
            opened: get(&words.opened),
            answers: get(&words.answers),
            errors: words.errors.iter().map(get).collect(),
        }
    }
}

fn add(word: &AtomicU64) {
    word.fetch_add(1, Ordering::Relaxed);
}
