//! `ringfire`'s blobs: a ring of descriptors beside an arena of bytes.
//!
//! Of itself it overwrites what has not been read. It tells how many records fit before that happens, so the sender
//! here stops there and asks again: nothing is lost, as with us. Asking is a system call for each reader (whether it
//! lives), which is why it asks only when what it was told is used up.

use std::fs;

use ringfire::{BlobConsumer, BlobProducer, BlobProducerBuilder};

use super::peers::{eventually, unique};
use crate::byte_loops::{RecordRx, RecordTx};
use crate::harness::Mode;
use crate::loops::Link;

/// Two of its rings.
pub(crate) struct Blobs {
    paths: [String; 2],
    slots: usize,
    length: usize,
}

impl Blobs {
    /// Of `slots` records of at most `length` bytes; both powers of two.
    pub(crate) fn new(slots: usize, length: usize) -> Self {
        Self { paths: [0, 1].map(|_| format!("/dev/shm/{}", unique())), slots, length }
    }
}

impl Drop for Blobs {
    fn drop(&mut self) {
        for path in &self.paths {
            // Usually its producer has removed it.
            fs::remove_file(path).ok();
        }
    }
}

/// The sending end, and how many records fit for certain.
pub(crate) struct BlobTx {
    producer: BlobProducer<()>,
    room: u64,
}

impl Link<[u8]> for Blobs {
    type Tx = BlobTx;
    type Rx = BlobConsumer<()>;
    const MODE: Mode = Mode::Processes;

    fn tx(&self, channel: usize) -> BlobTx {
        let slots = self.slots.try_into().expect("64 bits hold every count");
        let producer = BlobProducerBuilder::new(slots, self.slots * self.length)
            .max_readers(1)
            .build(&self.paths[channel])
            .expect("a path of our own");
        BlobTx { producer, room: 0 }
    }

    fn rx(&self, channel: usize) -> BlobConsumer<()> {
        eventually(|| BlobConsumer::attach(&self.paths[channel]))
    }
}

impl RecordTx for BlobTx {
    #[inline]
    fn try_send(&mut self, record: &[u8]) -> bool {
        if self.room == 0 {
            self.room = self.producer.headroom();
            if self.room == 0 {
                return false;
            }
        }
        self.room -= 1;
        self.producer.push_payload(record).expect("it is not too large");
        true
    }
}

impl RecordRx for BlobConsumer<()> {
    #[inline]
    fn try_recv(&mut self, into: &mut [u8]) -> Option<usize> {
        self.recv_payload(into).expect("it is not too large")
    }
}
