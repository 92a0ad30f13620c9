//! What outlives every worker: a second segment, in which each notes what it is about to do, and what it has done.
//!
//! Pages of words, each an object of its own:
//!
//! ```text
//! totals      stop, lost, duplicated, ...     by everybody, added to
//! hand-N      life, thread, serial, waits     by the hand (a thread of a worker) that has number N, and the judge reads them
//!             how often it did what           kept when the hand is killed
//! SUBJECT     as the subject says             e.g. by whoever has the role of a ring's sender
//! ```
//!
//! Nothing here is counted twice or forgotten by a death: an intent is noted before the operation and its completion after
//! it, so that whoever comes next knows that it was one or the other.
//!
//! | tag | ordering | pairs with | because |
//! |---|---|---|---|
//! | L1 | Acquire | L2, L3 | what was done before the note |
//! | L2 | Release | L1 | as above |
//! | L3 | AcqRel | L1, L3 | as above |
//! | L4 | Relaxed | - | a sum, read when all is over, or by somebody who only looks |

use outlive::Segment;
use outlive::atomic::{AtomicU64, Ordering};
use outlive::object::Object;
use outlive::ptr::{AtomicOffset, Offset};

use crate::Outcome;

/// Words of a page.
const WORDS: usize = 32;

/// The number of an array's elements is limited where `Default` ends.
type Words = [[AtomicU64; WORDS]; 4];

/// Words that one writes at a time, and everybody reads.
#[derive(Clone, Debug)]
pub(crate) struct Page(Object<Words>);

impl Page {
    fn word(&self, index: usize) -> &AtomicU64 {
        &self.0[index / WORDS][index % WORDS]
    }

    pub(crate) fn get(&self, index: usize) -> u64 {
        get(self.word(index))
    }

    pub(crate) fn set(&self, index: usize, value: u64) {
        set(self.word(index), value);
    }

    pub(crate) fn swap(&self, index: usize, value: u64) -> u64 {
        self.word(index).swap(value, Ordering::AcqRel) // [L3]
    }

    /// Raises it to `value`, and gives what it was.
    pub(crate) fn raise(&self, index: usize, value: u64) -> u64 {
        self.word(index).fetch_max(value, Ordering::AcqRel) // [L3]
    }

    pub(crate) fn add(&self, index: usize, n: u64) {
        self.word(index).fetch_add(n, Ordering::Relaxed); // [L4]
    }
}

/// As workers look at atomics of the structures themselves.
pub(crate) fn get(word: &AtomicU64) -> u64 {
    word.load(Ordering::Acquire) // [L1]
}

pub(crate) fn set(word: &AtomicU64, value: u64) {
    word.store(value, Ordering::Release); // [L2]
}

/// Replaces `old` by `new`, and says whether it was `old`.
pub(crate) fn exchange(word: &AtomicU64, old: u64, new: u64) -> bool {
    word.compare_exchange(old, new, Ordering::AcqRel, Ordering::Relaxed).is_ok() // [L3]
}

pub(crate) fn follow<T>(link: &AtomicOffset<T>) -> Offset<T> {
    link.load(Ordering::Acquire) // [L1]
}

pub(crate) fn point<T>(link: &AtomicOffset<T>, to: Offset<T>) {
    link.store(to, Ordering::Release); // [L2]
}

/// The words of the totals.
pub(crate) mod total {
    /// Not zero: everybody ends.
    pub(crate) const STOP: usize = 0;
    /// What was committed and did not arrive, or not as it was sent.
    pub(crate) const LOST: usize = 1;
    /// What came again although its consumption was complete.
    pub(crate) const DUPLICATED: usize = 2;
    /// What came again because its receiver was killed before its release, or gave it back.
    pub(crate) const FLAGGED: usize = 3;
    /// Dead attachments that somebody swept.
    pub(crate) const RECOVERED: usize = 4;
    /// Roles and locks that were taken from the dead.
    pub(crate) const TAKEOVERS: usize = 5;
    /// Descriptors that a worker had at its end, and not at its beginning.
    pub(crate) const LEAKED: usize = 6;
    /// Everything else that is not as promised.
    pub(crate) const WRONG: usize = 7;
    /// The subject, counted from 1, that nobody new goes to; and nobody sweeps meanwhile. 0: none.
    pub(crate) const QUIET: usize = 8;
}

/// The words of a hand.
pub(crate) mod hand {
    /// Which worker it is: each has a number of its own.
    pub(crate) const LIFE: usize = 0;
    /// Its thread.
    pub(crate) const THREAD: usize = 1;
    /// Odd while an operation is under way.
    pub(crate) const SERIAL: usize = 2;
    /// What the operation waits for.
    pub(crate) const WAITS: usize = 3;
    /// Which operation it is.
    pub(crate) const DOES: usize = 4;
    /// From here on: how often each operation was done.
    pub(crate) const COUNTS: usize = 32;
}

/// The segment with the pages.
#[derive(Clone, Debug)]
pub(crate) struct Ledger(Segment);

impl Ledger {
    /// For so many workers at a time.
    pub(crate) fn create(processes: u16) -> Outcome<Self> {
        Ok(Self(Segment::options().size(1 << 20).rows(2 * processes + 4).memfd("outlive-soak-ledger")?))
    }

    pub(crate) fn join(fd: std::os::fd::OwnedFd) -> Outcome<Self> {
        Ok(Self(Segment::options().from_fd(fd)?))
    }

    pub(crate) fn segment(&self) -> &Segment {
        &self.0
    }

    pub(crate) fn page(&self, name: &str) -> Outcome<Page> {
        Ok(Page(Object::open_or_create(&self.0, name, Words::default)?))
    }

    pub(crate) fn totals(&self) -> Outcome<Page> {
        self.page("totals")
    }

    pub(crate) fn hand(&self, number: usize) -> Outcome<Page> {
        self.page(&format!("hand-{number}"))
    }
}
