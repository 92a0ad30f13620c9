//! One process, as far as a segment can tell: it does whatever the public interface offers.

use std::time::Duration;

use arbitrary::Arbitrary;
use outlive::{Error, Segment};

use crate::objects::{Objects, ObjectsAct};
use crate::records::{Records, RecordsAct};
use crate::spsc::{Spsc, SpscAct};
use crate::stream::{Stream, StreamAct};
use crate::whole::{WholeAct, attempt};

/// Waiting is not what these targets look for.
pub(crate) const SHORT: Duration = Duration::from_micros(50);

/// Something that a user may do. Numbers that matter are small, so that they meet.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub enum Act {
    /// With the ring `ring`.
    Spsc(SpscAct),
    /// With the ring of records `records`.
    Records(RecordsAct),
    /// With the stream `stream`.
    Stream(StreamAct),
    /// With the objects of atomics, and with what they point to.
    Objects(ObjectsAct),
    /// With the segment as a whole.
    Whole(WholeAct),
    /// Begins anew, as another attachment.
    Attach,
}

/// An attachment, and what it has open.
#[derive(Debug)]
pub struct Actor {
    segment: Segment,
    spsc: Spsc,
    records: Records,
    stream: Stream,
    objects: Objects,
    /// No row was free, which took two seconds to tell: once is enough.
    no_row: bool,
}

impl Actor {
    /// An attachment that has nothing open.
    pub fn new(segment: Segment) -> Self {
        let (spsc, records, stream, objects) = Default::default();
        Self { segment, spsc, records, stream, objects, no_row: false }
    }

    /// Its attachment.
    pub fn segment(&self) -> &Segment {
        &self.segment
    }

    /// Does it. Whatever the memory holds: an answer or an error that can be shown, at once.
    pub fn act(&mut self, act: Act) {
        let _ = self.try_act(act);
    }

    /// The same, and tells the error.
    ///
    /// # Errors
    /// What the operation says.
    pub fn try_act(&mut self, act: Act) -> Result<(), Error> {
        let done = match act {
            Act::Spsc(act) => self.spsc.attempt(&self.segment, act),
            Act::Records(act) => self.records.attempt(&self.segment, act),
            Act::Stream(act) => self.stream.attempt(&self.segment, act),
            Act::Objects(act) => self.objects.attempt(&self.segment, act),
            Act::Whole(act) => attempt(&self.segment, act),
            Act::Attach if self.no_row => Ok(()),
            Act::Attach => self.segment.attach().map(|other| *self = Self::new(other)),
        };
        if let Err(error) = &done {
            assert!(!error.to_string().is_empty());
            self.no_row |= matches!(error, Error::NoRow { .. });
        }
        done
    }
}
