//! How a check looks at words that others write, and what it finds.
//!
//! It lies here, below the structures, because each of them states its own invariants with it: `Kind::check`. The whole
//! check is `crate::inspect`'s.
//!
//! # Answers
//! "Is this invariant broken?", about several words that others may be writing, without stopping anybody.
//!
//! # Invariants
//! V-I1  Nothing is stored, nothing that was read leads anywhere without a check of its range, and every loop has a bound
//!       that is not read from the segment: how many rows and entries there are was verified by whoever attached.
//! V-I2  A breach is reported only if it was seen twice, with the same words. The words of the first look were all read
//!       before those of the second. A word that held the same value in both held it in between, for what
//!       the invariants are about does not come back: positions and epochs, versions and generations count. So there was
//!       a moment at which all the words were as they were seen, and an invariant holds at every moment.
//! V-I3  What is found in an object is believed only if its entry in the directory has not changed since it was chosen:
//!       else the words may have been another object's.
//!
//! # Orderings
//! | tag | operation                 | order   | pairs        | because                                                |
//! |-----|---------------------------|---------|--------------|--------------------------------------------------------|
//! | V1  | look at any word          | Acquire | every release | V-I2: words are read in the order of the program      |
//! | V2  | behind what has no order of its own | fence Acquire | V1 | V-I2: frames, counts and names too, before the next word |
//!
//! # Crashes
//! | dies          | left    | outcome                   | held by |
//! |---------------|---------|---------------------------|---------|
//! | whoever looks | nothing | nothing was written: V-I1 | `tests check::sound::a_look_changes_not_a_byte` |

use core::fmt;

use super::rows::{Phase, Row, State};
use super::{Attached, Owner};
use crate::error::Fault;
use crate::memory::Region;
use crate::shim::{AtomicU32, AtomicU64, Ordering, fence};

/// How often words that change all the time are looked at before they are left alone.
const ATTEMPTS: u32 = 16;

/// How bad a [`Finding`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Severity {
    /// Worth knowing, and nothing is wrong: a dead attachment that nobody has swept yet, a structure of a later version.
    Note,
    /// A dead process holds it: [`Segment::sweep`](crate::Segment::sweep) recovers it, and so does whoever needs it.
    NeedsSweep,
    /// An invariant is broken. No process that runs this protocol leaves it so, whenever it is killed.
    Corrupt,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Note => "note",
            Self::NeedsSweep => "needs sweep",
            Self::Corrupt => "corrupt",
        })
    }
}

/// Something that a check found.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// What is the matter.
    pub what: &'static str,
    /// Where in the segment, in bytes from its beginning.
    pub at: u64,
    /// What was found there.
    pub found: u64,
    /// The object that it belongs to: its name, or empty if it has none any more.
    pub object: Option<String>,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { severity, what, at, found, object } = self;
        write!(f, "{severity}: at {at}")?;
        if let Some(name) = object {
            write!(f, " in {:?}", name.as_str())?;
        }
        write!(f, ": {what} ({found:#x})")
    }
}

/// A broken invariant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Breach {
    severity: Severity,
    what: &'static str,
    at: u64,
    found: u64,
}

impl Breach {
    pub(crate) fn corrupt(what: &'static str, at: u64, found: u64) -> Self {
        Self { severity: Severity::Corrupt, what, at, found }
    }

    pub(crate) fn needs_sweep(what: &'static str, at: u64, found: u64) -> Self {
        Self { severity: Severity::NeedsSweep, what, at, found }
    }

    pub(crate) fn note(what: &'static str, at: u64, found: u64) -> Self {
        Self { severity: Severity::Note, what, at, found }
    }
}

impl From<Fault> for Breach {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Corrupt { what, at } => Self::corrupt(what, at, at),
            Fault::ReadOnly | Fault::Forked | Fault::Killed => {
                Self::note("this attachment cannot look here", 0, 0)
            }
        }
    }
}

/// What is known about somebody whose stamp was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// It lives, or nobody can tell.
    Alive,
    /// It is dead, and was not swept yet: what it holds, it may hold.
    Dead,
    /// Its row is another one's, or nobody's: it can hold nothing any more.
    Gone,
    /// No attachment of this segment can have that stamp.
    Nobody,
}

/// One look at the words of an invariant. It remembers them, so that two looks can be compared.
#[derive(Debug)]
pub(crate) struct Look<'a> {
    attached: &'a Attached,
    region: &'a Region,
    /// A digest of what was read.
    seen: u64,
}

impl<'a> Look<'a> {
    pub(crate) fn region(&self) -> &'a Region {
        self.region
    }

    /// The word at this moment.
    pub(crate) fn u64(&mut self, word: &AtomicU64) -> u64 {
        let value = self.glance(word);
        self.remember(value)
    }

    /// The word at this moment.
    pub(crate) fn u32(&mut self, word: &AtomicU32) -> u32 {
        let value = word.load(Ordering::Acquire); // [V1]
        self.remember(value.into());
        value
    }

    /// The word at this moment; it may be another one in the next look.
    #[expect(clippy::unused_self, reason = "a word is looked at through a look")]
    pub(crate) fn glance(&self, word: &AtomicU64) -> u64 {
        word.load(Ordering::Acquire) // [V1]
    }

    /// What was read without an order, payload or relaxed words, was read before whatever is looked at from here on.
    #[expect(clippy::unused_self, reason = "it orders looks")]
    pub(crate) fn settle(&self) {
        fence(Ordering::Acquire); // [V2]
    }

    /// What was read has to be read again before anybody is accused.
    pub(crate) fn remember(&mut self, value: u64) -> u64 {
        self.seen = (self.seen.rotate_left(23) ^ value).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        value
    }

    pub(super) fn row(&self, row: u32) -> Result<&'a Row, Fault> {
        self.region.get(self.attached.plan().row_at(row))
    }

    /// Of whoever has this stamp.
    pub(crate) fn standing(&mut self, owner: Owner) -> Standing {
        if owner.row() == 0 || owner.row() > self.attached.plan().rows {
            return Standing::Nobody;
        }
        let Ok(row) = self.row(owner.row()) else { return Standing::Nobody };
        let state = State(self.u64(&row.state));
        match state.phase() {
            _ if !owner.is_generation(state.generation()) => Standing::Gone,
            Some(Phase::Free) => Standing::Gone,
            Some(Phase::Dead) => Standing::Dead,
            Some(Phase::Active) if matches!(self.attached.is_dead(owner), Ok(true)) => Standing::Dead,
            Some(Phase::Active) | None => Standing::Alive,
        }
    }

    /// Whether the attachment of this stamp has the object open.
    pub(crate) fn has_open(&mut self, place: &Place, owner: Owner) -> bool {
        let (word, bit) = (owner.row() / 64, owner.row() % 64);
        let at = self.attached.plan().opener_word_at(place.entry, word);
        let Ok(bits) = self.region.get::<AtomicU64>(at) else { return false };
        let has = self.glance(bits) >> bit & 1;
        self.remember(has) != 0
    }

    pub(crate) fn rows(&self) -> u32 {
        self.attached.plan().rows
    }
}

/// Where an object is, and what the directory says about it.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    /// Inside the segment, and aligned to a line.
    pub(crate) at: u64,
    pub(crate) len: u64,
    pub(crate) shape: u64,
    pub(crate) schema: u64,
    /// Whether it can be found by its name. If not, it may be what a dead creator left behind, half built.
    pub(crate) named: bool,
    pub(super) entry: u32,
}

/// A check under way.
#[derive(Debug)]
pub(crate) struct Inspection<'a> {
    attached: &'a Attached,
    region: &'a Region,
    /// What is being looked at: its name, and its entry's word, where it is and as it was.
    object: Option<(String, &'a AtomicU64, u64)>,
    budget: u64,
    pub(crate) findings: Vec<Finding>,
    /// How many times an invariant was compared with the words.
    pub(crate) invariants: u64,
    /// How many of these could not be judged, because the words changed whenever they were looked at.
    pub(crate) unsettled: u64,
    /// Whether anything changed meanwhile.
    pub(crate) changed: bool,
    pub(crate) objects: u32,
    /// Attachments that live, and those that are dead and were not swept.
    pub(crate) alive: u32,
    pub(crate) dead: u32,
}

impl<'a> Inspection<'a> {
    /// `region`: the segment's bytes, in this attachment's mapping or in another one.
    pub(super) fn new(attached: &'a Attached, region: &'a Region) -> Self {
        let budget = (region.len() / 8).saturating_mul(8).saturating_add(1 << 16);
        let (findings, invariants, unsettled, objects, alive, dead) = (Vec::new(), 0, 0, 0, 0, 0);
        let (object, changed) = (None, false);
        Self {
            attached,
            region,
            object,
            budget,
            findings,
            invariants,
            unsettled,
            changed,
            objects,
            alive,
            dead,
        }
    }

    pub(super) fn attached(&self) -> &'a Attached {
        self.attached
    }

    pub(crate) fn region(&self) -> &'a Region {
        self.region
    }

    /// From here on, until [`leave`](Self::leave): the words of the object whose entry's `word` was `seen`.
    pub(super) fn enter(&mut self, name: String, word: &'a AtomicU64, seen: u64) {
        self.object = Some((name, word, seen));
    }

    pub(super) fn leave(&mut self) {
        self.object = None;
    }

    /// How many words more may be read: so that no claim of a scribbler's about how much there is keeps us for ever.
    pub(crate) fn allowance(&self) -> u64 {
        self.budget
    }

    pub(crate) fn spend(&mut self, words: u64) {
        self.budget = self.budget.saturating_sub(words);
    }

    fn look(&self) -> Look<'a> {
        Look { attached: self.attached, region: self.region, seen: 0 }
    }

    /// Something that is judged without looking twice: it does not change, or it is no accusation.
    pub(crate) fn report(&mut self, breach: Breach) {
        let Breach { severity, what, at, found } = breach;
        let object = self.object.as_ref().map(|(name, ..)| name.clone());
        self.findings.push(Finding { severity, what, at, found, object });
    }

    /// Compares an invariant with the words, and reports a breach that was seen twice: V-I2. `true`: it holds.
    pub(crate) fn require(&mut self, mut invariant: impl FnMut(&mut Look<'a>) -> Result<(), Breach>) -> bool {
        self.invariants += 1;
        for _ in 0..ATTEMPTS {
            let mut first = self.look();
            let Err(breach) = invariant(&mut first) else { return true };
            let mut second = self.look();
            let again = invariant(&mut second);
            if self.is_replaced() {
                return true; // V-I3
            }
            if again == Err(breach) && first.seen == second.seen {
                self.report(breach);
                return false;
            }
            self.changed = true;
        }
        self.unsettled += 1;
        false
    }

    /// Whether the object's entry has changed since it was chosen.
    fn is_replaced(&mut self) -> bool {
        let Some((_, word, seen)) = self.object else { return false };
        let replaced = self.look().u64(word) != seen;
        self.changed |= replaced;
        replaced
    }

    /// The words at `at..end` are kept zero by this version.
    pub(super) fn require_zeros(&mut self, at: u64, end: u64) {
        self.require(|look| {
            for place in (at..end).step_by(8) {
                let found = look.region().get::<AtomicU64>(place)?;
                let found = look.glance(found);
                if found != 0 {
                    look.remember(found);
                    return Err(reserved(place, found));
                }
            }
            Ok(())
        });
    }
}

/// A word that this version of the crate keeps zero. A later one may give it a meaning within the same layout.
pub(crate) fn reserved(at: u64, found: u64) -> Breach {
    Breach::note("a word that this version keeps zero is not", at, found)
}
