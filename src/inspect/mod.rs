//! Floor 10: is everything as it has to be?
//!
//! # Answers
//! "Is this segment sound?", for whoever is about to trust one, wants to know what a crash has left, or tests a structure of
//! his own on top. It looks, and changes nothing: a [read-only](crate::segment::Options::read_only) attachment is enough.
//!
//! Each structure states its own invariants, in its own module, next to the code that keeps them; [`check`] goes through
//! header, attachments, directory, and every object.
//!
//! | what | its invariants | where they are numbered |
//! |---|---|---|
//! | header | the constants fit together; flags and words of this version; the directory's lock has a holder that exists | `segment`: layout |
//! | attachment | its state is one; who is alive can be who it says it is; dead and not swept: a note | `segment`: S1, S2 |
//! | entry | its state is one, held by somebody who may; name valid, and its own; memory inside, aligned, nobody else's; open for attachments only | `directory`: D-I1 to D-I4 |
//! | ring | constants as the directory says; `head <= tail <= head + capacity`; whoever has a role has it open, and was not swept | `spsc`: R-I1, R-I2; `lease`: L-I1 |
//! | ring of records | its marks belong to its positions; from head to tail there are whole frames, as many as were counted | `end`: R-I8; `records`: B-I3, B-I4 |
//! | object of atomics | nothing: its words are yours | |
//!
//! The other invariants are about what code does, or about private memory: no word shows whether they hold.
//!
//! # What is believed
//! Nothing: whatever the bytes are, the check neither faults nor panics, and ends after a time that the segment's size
//! bounds. (A file that is truncated *while* it is checked faults, as with any mapping; before, it is a finding.)
//!
//! # While others work
//! An invariant holds at every moment, whoever is killed. So nobody need be stopped: what looks broken is looked at
//! twice, and reported if all the words that it is about were the same again, for then they were so at one moment. What changed
//! whenever it was looked at is counted as [`unsettled`](Report::unsettled), and nobody is accused. A report on a
//! [`live`](Report::live) segment is of no single moment, though. One on a [`snapshot`](crate::Segment::snapshot) is only if
//! nobody wrote while it was made: a copy that is torn is reported as broken, which the segment itself is not.
//!
//! # Crashes
//! | dies           | left    | outcome             | held by |
//! |----------------|---------|---------------------|---------|
//! | whoever checks | nothing | nothing was written | `tests check::sound::a_look_changes_not_a_byte` |
//!
//! Tested in `tests/check.rs`, `fuzz/fuzz_targets/check.rs`.

mod report;

pub use crate::segment::inspection::{Finding, Severity};
pub use report::Report;

use crate::Segment;
use crate::segment::check as segment_check;

/// Compares everything in a segment with what it has to be. Read-only; safe at any time, whatever others do.
///
/// Time: a few microseconds an attachment and an object, and the time to walk through the records that nobody has
/// received yet. On the heap, let other threads be idle that use the segment [trusted](crate::Trusted): elsewhere the
/// check has a mapping of its own.
///
/// ```
/// use outlive::{Segment, inspect, ring::spsc, testing};
/// let segment = Segment::heap(1 << 16)?;
/// let other = segment.attach()?;
/// let sender = spsc::Ring::<u64>::create(&other, "numbers", 64)?.try_sender()?;
/// assert!(inspect::check(&segment).findings.is_empty());
///
/// testing::kill(&other)?;
/// let report = inspect::check(&segment);
/// assert!(report.is_sound()); // a death is no damage
/// assert_eq!(report.of(inspect::Severity::NeedsSweep).count(), 1); // but somebody has to see to the role
/// println!("{report}");
/// segment.sweep()?;
/// assert!(inspect::check(&segment).findings.is_empty());
/// # Ok::<(), outlive::Error>(())
/// ```
pub fn check(segment: &Segment) -> Report {
    segment_check::check(segment.attached(), |inspection| Report::new(inspection, segment))
}
