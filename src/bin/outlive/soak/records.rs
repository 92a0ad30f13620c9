//! Rings of records: bytes with boundaries.

use core::time::Duration;

use outlive::ring::Stats;
use outlive::ring::records::{Receiver, Ring, Sender};
use outlive::{Error, Segment};

use super::operation::Operation;
use super::ring::{Bout, Kind};
use crate::random::mixed;

#[derive(Debug)]
pub(crate) struct Records {
    /// The longest record.
    longest: u64,
    buffer: Vec<u8>,
}

impl Records {
    /// The record of that number: some are empty, some as long as possible.
    fn record(&self, number: u64) -> Vec<u8> {
        let word = mixed(number);
        let len = match word % 16 {
            0 => 0,
            1 => self.longest,
            _ => (word >> 32) % (self.longest + 1),
        };
        (0..).flat_map(|n| mixed(word ^ n).to_le_bytes()).take(usize::try_from(len).unwrap_or(0)).collect()
    }
}

impl Kind for Records {
    type Ring = Ring;
    type Sender = Sender;
    type Receiver = Receiver;
    const ROLE: Operation = Operation::RecordsRole;
    const LEAVE: Operation = Operation::RecordsLeave;
    const WHOLE: bool = true;

    fn new(capacity: usize) -> Self {
        // So much fits into any ring of that capacity, whether it is mapped twice or not.
        Self { longest: capacity as u64 / 2 - 8, buffer: Vec::new() }
    }

    fn open(segment: &Segment, name: &str, capacity: usize) -> outlive::Result<Self::Ring> {
        Ring::open_or_create(segment, name, capacity)
    }

    fn stats(ring: &Self::Ring) -> Stats {
        ring.stats()
    }

    fn sender(ring: &Self::Ring, timeout: Option<Duration>) -> outlive::Result<Self::Sender> {
        timeout.map_or_else(|| ring.try_sender(), |time| ring.sender_timeout(time))
    }

    fn receiver(ring: &Self::Ring, timeout: Option<Duration>) -> outlive::Result<Self::Receiver> {
        timeout.map_or_else(|| ring.try_receiver(), |time| ring.receiver_timeout(time))
    }

    fn send(&mut self, sender: &mut Self::Sender, bout: &mut Bout<'_>) -> outlive::Result<u64> {
        let time = bout.hand.random.pause(Duration::from_millis(2));
        let record = self.record(bout.next);
        bout.may_send(1);
        match bout.hand.random.below(6) {
            0 => bout.does_at_once(Operation::RecordsSend, || sender.try_send(&record))?,
            1 => bout.does(Operation::RecordsSend, Some(time), || sender.send_timeout(&record, time))?,
            2 => bout.does(Operation::RecordsSend, None, || sender.send(&record))?,
            3 | 4 => {
                let spare = bout.hand.random.index(9); // more room than is used
                let longest = usize::try_from(self.longest).unwrap_or(0);
                let commit = || {
                    let mut grant = sender.reserve((record.len() + spare).min(longest))?;
                    let (begin, end) = record.split_at(record.len() / 3);
                    grant.extend_from_slice(begin);
                    grant.extend_from_slice(end);
                    Ok::<_, Error>(grant.commit())
                };
                bout.does(Operation::RecordsCommit, None, commit)?;
            }
            _ => {
                let fill =
                    || sender.try_reserve(record.len()).map(|mut grant| grant.extend_from_slice(b"no"));
                bout.does_at_once(Operation::RecordsDropGrant, fill)?;
                return Ok(0);
            }
        }
        Ok(1)
    }

    fn receive(&mut self, receiver: &mut Self::Receiver, bout: &mut Bout<'_>) -> outlive::Result<u64> {
        let time = bout.hand.random.pause(Duration::from_millis(2));
        let (next, expected) = (bout.next, self.record(bout.next));
        let buffer = &mut self.buffer;
        let how = bout.hand.random.below(6);
        if how < 3 {
            bout.may_consume(1);
            match how {
                0 => bout.does_at_once(Operation::RecordsRecv, || receiver.try_recv(buffer))?,
                1 => bout.does(Operation::RecordsRecv, Some(time), || receiver.recv_timeout(buffer, time))?,
                _ => bout.does(Operation::RecordsRecv, None, || receiver.recv(buffer))?,
            };
            bout.arrived(next, *buffer == expected);
            return Ok(1);
        }
        bout.may_consume(0);
        let (what, timeout) = match how {
            3 => (Operation::RecordsRelease, None),
            4 => (Operation::RecordsRelease, Some(time)),
            _ => (Operation::RecordsPutBack, None),
        };
        let record = bout.does(what, timeout, || match timeout {
            None => receiver.read(),
            Some(time) => receiver.read_timeout(time),
        })?;
        bout.arrived(next, record.to_vec() == expected);
        if how == 5 {
            drop(record); // it comes again
            return Ok(0);
        }
        bout.may_consume(1);
        Ok(u64::from(bout.does_at_once(what, || record.release())))
    }

    /// Into an empty ring goes any of them.
    fn has_room(stats: &Stats) -> bool {
        stats.depth == 0
    }
}
