//! A ring of records against a queue of records, each of whom sent it.

use std::collections::VecDeque;
use std::time::Duration;

use arbitrary::Arbitrary;
use outlive::error::{Fault, RecvError, SendError};
use outlive::ring::Stats;
use outlive::ring::records::{Grant, Receiver, Ring, Sender};
use outlive::{Error, Owner, Segment};

use crate::two_ends::{Fate, Script, Structure, Then, Turn, end, play};

#[derive(Arbitrary, Debug)]
pub(super) struct Input {
    capacity: u8,
    script: Script<Send, Receive>,
}

#[derive(Arbitrary, Clone, Copy, Debug)]
enum Send {
    One {
        len: u8,
        wait: bool,
    },
    /// Reserve so many bytes, fill in so many, in pieces of so many.
    Grant {
        len: u8,
        fill: u8,
        piece: u8,
        then: Then,
    },
}

#[derive(Arbitrary, Clone, Copy, Debug)]
enum Receive {
    One {
        wait: bool,
    },
    /// Copy so many bytes out.
    Read {
        copy: u8,
        then: Then,
    },
}

/// The queue that the ring has to be.
struct Queue {
    /// Each with its sender, and the bytes that it takes, header and pad included.
    queue: VecDeque<(Vec<u8>, Owner, u64)>,
    capacity: u64,
    longest: usize,
    /// Records so far.
    sent: u64,
    received: u64,
    /// Bytes so far.
    tail: u64,
    head: u64,
}

fn framed(len: usize) -> u64 {
    8 + (len as u64).next_multiple_of(8)
}

/// Record `number`, of `len` bytes.
fn record(number: u64, len: usize) -> Vec<u8> {
    (0..len).map(|at| (number as u8).wrapping_mul(37).wrapping_add(at as u8)).collect()
}

impl Queue {
    /// How long that is: in a large ring sixteen times as long.
    fn len(&self, len: u8) -> usize {
        usize::from(len) * if self.capacity >= 4096 { 16 } else { 1 }
    }

    /// The pad before a frame for `len` bytes, if it is the next one. Where all map the bytes twice there is none.
    fn pad(&self, len: usize) -> u64 {
        let until_wrap = self.capacity - self.tail % self.capacity;
        let is_plain = (self.longest as u64) < self.capacity / 2;
        if is_plain && framed(len) > until_wrap { until_wrap } else { 0 }
    }

    /// Compares the answer to a sender that asked for room for `len` bytes.
    fn admits(&self, len: usize, refused: Option<SendError>, turn: &Turn<'_>) {
        if len > self.longest {
            assert_eq!(refused, Some(SendError::TooLarge((), self.longest as u64)));
        } else {
            let fits = self.tail - self.head + self.pad(len) + framed(len) <= self.capacity;
            turn.admits(fits, refused);
        }
    }

    /// Room for `reserved` bytes was asked for, and this committed.
    fn sends(&mut self, record: Vec<u8>, reserved: usize, turn: &mut Turn<'_>) {
        let bytes = self.pad(reserved) + framed(record.len());
        self.tail += bytes;
        self.queue.push_back((record, turn.me(), bytes));
        self.sent += 1;
        turn.sent();
    }

    fn receives(&mut self) {
        let (_, _, bytes) = self.queue.pop_front().expect("it was compared");
        self.head += bytes;
        self.received += 1;
    }
}

end!(Sender, |sender| {
    assert_eq!(sender.try_send(&[]), Err(SendError::Fault((), Fault::Killed)));
    assert_eq!(sender.try_reserve(1).err(), Some(SendError::Fault((), Fault::Killed)));
});
end!(Receiver, |receiver| {
    assert_eq!(receiver.try_recv(&mut Vec::new()), Err(RecvError::Fault(Fault::Killed)));
    assert_eq!(receiver.try_read().err(), Some(RecvError::Fault(Fault::Killed)));
});

impl Structure for Queue {
    type Ring = Ring;
    type Sender = Sender;
    type Receiver = Receiver;
    type Send = Send;
    type Receive = Receive;

    fn open(segment: &Segment) -> Ring {
        Ring::open(segment, "ring").expect("it was created")
    }

    fn try_sender(ring: &Ring) -> Result<Sender, Error> {
        ring.try_sender()
    }

    fn try_receiver(ring: &Ring) -> Result<Receiver, Error> {
        ring.try_receiver()
    }

    fn stats(ring: &Ring) -> Stats {
        ring.stats()
    }

    fn sent(&self) -> u64 {
        self.sent
    }

    fn received(&self) -> u64 {
        self.received
    }

    fn depth(&self) -> u64 {
        self.tail - self.head
    }

    fn send(&mut self, sender: &mut Sender, op: Send, turn: &mut Turn<'_>) -> Fate {
        match op {
            Send::One { len, wait } => {
                let record = record(self.sent, self.len(len));
                let sent = if wait {
                    sender.send_timeout(&record, Duration::ZERO)
                } else {
                    sender.try_send(&record)
                };
                self.admits(record.len(), sent.err(), turn);
                if sent.is_ok() {
                    self.sends(record, self.len(len), turn);
                }
            }
            Send::Grant { len, fill, piece, then } => {
                let (len, fill) = (self.len(len), self.len(fill));
                let granted = sender.try_reserve(len);
                self.admits(len, granted.as_ref().err().copied(), turn);
                let Ok(mut grant) = granted else { return Fate::Lives };
                let record = record(self.sent, fill);
                let pieces = record.chunks(usize::from(piece % 32) + 1);
                let filled: usize = pieces.map(|piece| grant.extend_from_slice(piece)).sum();
                assert_eq!((filled, grant.len(), grant.capacity()), (fill.min(len), fill.min(len), len));
                match then {
                    Then::Commit => {
                        assert_eq!(grant.commit(), filled);
                        self.sends(record[..filled].to_vec(), len, turn);
                    }
                    Then::Drop => drop(grant),
                    Then::Die { commit } => {
                        return turn.dies(
                            grant,
                            commit.then_some(|mut grant: Grant<'_>| {
                                assert_eq!(grant.extend_from_slice(b"more"), 0);
                                grant.commit()
                            }),
                        );
                    }
                }
            }
        }
        Fate::Lives
    }

    fn receive(&mut self, receiver: &mut Receiver, op: Receive, turn: &mut Turn<'_>) -> Fate {
        let front = self.queue.front();
        match op {
            Receive::One { wait } => {
                let mut record = b"as it was".to_vec();
                let received = if wait {
                    receiver.recv_timeout(&mut record, Duration::ZERO)
                } else {
                    receiver.try_recv(&mut record)
                };
                turn.yields(front.is_some(), received.err());
                let Some((expected, from, _)) = front else {
                    assert_eq!(record, b"as it was");
                    return Fate::Lives;
                };
                assert_eq!((received, &record), (Ok(expected.len()), expected), "torn, lost, or twice");
                assert_eq!(receiver.last_sender(), Some(*from));
                self.receives();
            }
            Receive::Read { copy, then } => {
                let read = receiver.try_read();
                turn.yields(front.is_some(), read.as_ref().err().copied());
                let (Ok(record), Some((expected, from, _))) = (read, front) else { return Fate::Lives };
                assert_eq!((record.len(), record.sender()), (expected.len(), *from));
                let mut part = vec![0x55; copy.into()];
                let copied = record.copy_to(&mut part);
                assert_eq!(copied, part.len().min(expected.len()));
                assert_eq!(part[..copied], expected[..copied]);
                assert!(part[copied..].iter().all(|byte| *byte == 0x55));
                assert_eq!(record.to_vec(), *expected, "torn, lost, or twice");
                match then {
                    Then::Commit => {
                        assert!(record.release());
                        self.receives();
                    }
                    Then::Drop => drop(record),
                    Then::Die { commit } => {
                        return turn.dies(
                            record,
                            commit.then_some(|record: outlive::ring::records::Record<'_>| {
                                assert_eq!((record.len(), record.to_vec()), (0, vec![]));
                                usize::from(record.release())
                            }),
                        );
                    }
                }
            }
        }
        Fate::Lives
    }

    fn drain(&self, receiver: &mut Receiver) {
        let mut record = Vec::new();
        for (expected, from, _) in &self.queue {
            assert_eq!(receiver.try_recv(&mut record), Ok(expected.len()), "torn, or lost");
            assert_eq!((&record, receiver.last_sender()), (expected, Some(*from)));
        }
        assert!(receiver.try_recv(&mut record).is_err(), "more than was sent");
    }

    fn works(&self, mut sender: Sender, mut receiver: Receiver) {
        let mut received = Vec::new();
        for len in (0..=self.longest).step_by(self.longest / 32 + 1).chain([self.longest; 3]) {
            let expected = record(len as u64, len);
            sender.try_send(&expected).expect("the ring is empty");
            assert_eq!(receiver.try_recv(&mut received), Ok(len));
            assert_eq!(received, expected);
        }
    }
}

pub(super) fn run(input: Input) {
    // The last one is mirrored, where it is mapped.
    let capacity = [64, 128, 256, 512, 4096][usize::from(input.capacity % 5)];
    play(input.script, 32 << 10, |segment| {
        let ring: Ring = Ring::create(segment, "ring", capacity).expect("room for it");
        let (capacity, longest) = (ring.capacity() as u64, ring.longest());
        Queue { queue: VecDeque::new(), capacity, longest, sent: 0, received: 0, tail: 0, head: 0 }
    });
}
