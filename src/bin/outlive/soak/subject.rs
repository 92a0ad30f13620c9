//! What workers work on: each structure plugs in by one file and a line below.

use core::fmt::Debug;

use outlive::Segment;

use super::attachments::Attachments;
use super::hand::{Hand, Need, Waits};
use super::ledger::Ledger;
use super::lock::Lock;
use super::objects::Objects;
use super::records::Records;
use super::ring::RingSubject;
use super::segments::Segments;
use super::spsc::Spsc;
use super::stream::Stream;
use crate::Outcome;

/// Where the work is.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    /// Where the structures are.
    pub(crate) segment: Segment,
    pub(crate) ledger: Ledger,
    /// Every kernel object that is made has a name that begins so.
    pub(crate) prefix: String,
    /// How many workers there are at a time.
    pub(crate) processes: u16,
}

impl Place {
    /// Rows for a segment that all workers use, each with an attachment more for each of its hands. Those of the dead are needed
    /// when nobody has swept for a second.
    pub(crate) fn rows(&self) -> u16 {
        rows(self.processes)
    }
}

pub(crate) fn rows(processes: u16) -> u16 {
    processes * 4 + 72
}

/// One structure, or several that belong together, as one hand sees them.
pub(crate) trait Subject: Debug {
    /// For messages.
    fn name(&self) -> String;

    /// Works at it for a while; over when [`Hand::is_to_stop`]. An error is one that must not happen.
    fn work(&mut self, hand: &mut Hand) -> Outcome<()>;

    /// Whether somebody waits there for somebody else to come.
    fn calls(&self) -> bool {
        false
    }

    /// Whether somebody who waits there for this can go on. If so, a number that stays the same as long as that is true.
    fn may_go_on(&self, waits: Waits) -> Option<u64> {
        (waits.need == Need::Nothing).then_some(0)
    }

    /// Looks at it and empties it, when all workers are gone.
    fn audit(&mut self, hand: &mut Hand) -> Outcome<()>;
}

/// All of them, in the same order for everybody; made by whoever comes first.
pub(crate) fn all(place: &Place) -> Outcome<Vec<Box<dyn Subject>>> {
    Ok(vec![
        Box::new(RingSubject::<Spsc>::open(place, "spsc-1", 1)?),
        Box::new(RingSubject::<Spsc>::open(place, "spsc-4", 4)?),
        Box::new(RingSubject::<Spsc>::open(place, "spsc-64", 64)?),
        Box::new(RingSubject::<Records>::open(place, "records-64", 64)?),
        Box::new(RingSubject::<Records>::open(place, "records-4096", 4096)?),
        Box::new(RingSubject::<Stream>::open(place, "stream-64", 64)?),
        Box::new(RingSubject::<Stream>::open(place, "stream-65536", 1 << 16)?),
        Box::new(Objects::open(place)?),
        Box::new(Lock::open(place)?),
        Box::new(Attachments::open(place)),
        Box::new(Segments::open(place)),
    ])
}
