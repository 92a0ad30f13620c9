//! Our rings of bytes.

use outlive::error::{RecvError, SendError};
use outlive::ring::{records, stream};
use outlive::{Segment, Trusted};

use crate::Result;
use crate::byte_loops::{RecordRx, RecordTx};
use crate::harness::Mode;
use crate::loops::Link;

use super::outlive_ring::{NAMES, refused};

/// A sealed memory object that the sides attach to, each for itself: at different addresses.
struct Shared {
    segment: Segment,
    capacity: usize,
}

impl Shared {
    /// Room for `rings` rings of `capacity` bytes.
    fn new(rings: usize, capacity: usize) -> Result<Self> {
        let bytes = (256 << 10) + rings * capacity;
        let segment = Segment::options().size(bytes).rows(8).prefault(true).memfd("outlive-bench")?;
        Ok(Self { segment, capacity })
    }

    fn attach(&self) -> Segment {
        self.segment.attach().expect("a row is free")
    }
}

/// A stream.
pub(crate) struct Stream(Shared);

impl Stream {
    pub(crate) fn new(capacity: usize) -> Result<Self> {
        Ok(Self(Shared::new(1, capacity)?))
    }

    fn ring(&self, channel: usize) -> stream::Ring {
        let ring = stream::Ring::open_or_create(&self.0.attach(), NAMES[channel], self.0.capacity);
        ring.expect("there is room for one ring")
    }
}

impl Link<[u8]> for Stream {
    type Tx = stream::Writer;
    type Rx = stream::Reader;
    const MODE: Mode = Mode::Processes;

    fn tx(&self, channel: usize) -> stream::Writer {
        self.ring(channel).try_writer().expect("nobody else writes here")
    }

    fn rx(&self, channel: usize) -> stream::Reader {
        self.ring(channel).try_reader().expect("nobody else reads here")
    }
}

/// Two rings of records.
pub(crate) struct Records(Shared);

impl Records {
    pub(crate) fn new(capacity: usize) -> Result<Self> {
        Ok(Self(Shared::new(2, capacity)?))
    }

    fn ring(&self, channel: usize) -> records::Ring {
        let ring = records::Ring::open_or_create(&self.0.attach(), NAMES[channel], self.0.capacity);
        ring.expect("there is room for two rings")
    }

    /// The first of them, vouched for.
    pub(crate) fn trusted(&self) -> records::Ring<Trusted> {
        // SAFETY: the parent made this memory object, only its two children write to it, through this crate,
        // and nobody calls `testing::kill`.
        let segment = unsafe { self.0.attach().trust() };
        let ring = records::Ring::open_or_create(&segment, NAMES[0], self.0.capacity);
        ring.expect("there is room for two rings")
    }
}

impl Link<[u8]> for Records {
    type Tx = records::Sender;
    type Rx = records::Receiver;
    const MODE: Mode = Mode::Processes;

    fn tx(&self, channel: usize) -> records::Sender {
        self.ring(channel).try_sender().expect("nobody else sends here")
    }

    fn rx(&self, channel: usize) -> records::Receiver {
        self.ring(channel).try_receiver().expect("nobody else receives here")
    }
}

impl RecordTx for records::Sender {
    #[inline]
    fn try_send(&mut self, record: &[u8]) -> bool {
        match records::Sender::try_send(self, record) {
            Ok(()) => true,
            Err(SendError::Full(())) => false,
            Err(error) => refused(error),
        }
    }
}

impl RecordRx for records::Receiver {
    #[inline]
    fn try_recv(&mut self, into: &mut [u8]) -> Option<usize> {
        match self.try_read() {
            Ok(record) => {
                let length = record.copy_to(into);
                record.release();
                Some(length)
            }
            Err(RecvError::Empty) => None,
            Err(error) => refused(error),
        }
    }
}
