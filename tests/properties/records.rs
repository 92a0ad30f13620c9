//! A ring of records against a `VecDeque`: two ends, each in a process of its own, that come, go and are killed, also while
//! they hold a guard.

use std::collections::VecDeque;

use outlive::error::{Fault, RecvError, SendError};
use outlive::ring::records::{Receiver, Ring, Sender};
use outlive::{Error, Owner, Segment, testing};
use proptest::prelude::*;

use super::config;

/// What can be done to a ring.
#[derive(Clone, Debug)]
enum Deed {
    Send(usize),
    /// Reserve so many bytes, fill in so many, in pieces of so many; and then.
    Grant(usize, usize, usize, Then),
    Recv,
    /// Copy so many bytes out; and then.
    Read(usize, Then),
    End(Side, Ending),
    Take(Side),
    WaitForSuccessor(Side, bool),
    Sweep,
    Reopen,
}

/// What becomes of a guard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Then {
    Commit,
    Drop,
    Die,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    Sending,
    Receiving,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ending {
    Close,
    Resign,
    Kill,
}

fn deed() -> impl Strategy<Value = Deed> {
    let side = prop_oneof![Just(Side::Sending), Just(Side::Receiving)];
    let ending = prop_oneof![1 => Just(Ending::Close), 1 => Just(Ending::Resign), 3 => Just(Ending::Kill)];
    let then = prop_oneof![6 => Just(Then::Commit), 2 => Just(Then::Drop), 1 => Just(Then::Die)];
    let len = prop_oneof![4 => 0..30_usize, 1 => 0..140_usize];
    prop_oneof![
        8 => len.clone().prop_map(Deed::Send),
        6 => (len, 0..40_usize, 1..20_usize, then.clone())
            .prop_map(|(len, filled, piece, then)| Deed::Grant(len, filled, piece, then)),
        8 => Just(Deed::Recv),
        6 => (0..140_usize, then).prop_map(|(n, then)| Deed::Read(n, then)),
        2 => (side.clone(), ending).prop_map(|(side, ending)| Deed::End(side, ending)),
        4 => side.clone().prop_map(Deed::Take),
        1 => (side, any::<bool>()).prop_map(|(side, yes)| Deed::WaitForSuccessor(side, yes)),
        1 => Just(Deed::Sweep),
        1 => Just(Deed::Reopen),
    ]
}

/// What a role is, as its peer has to see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    Vacant,
    Open(Owner),
    Closed,
    Died(Owner),
}

/// Record `n`, of `len` bytes.
fn record(n: u64, len: usize) -> Vec<u8> {
    (0..len).map(|i| n.wrapping_mul(0x9e37_79b9).wrapping_add(i as u64).to_le_bytes()[0]).collect()
}

/// A ring, the queue that it has to be, and the two ends, each in a process of its own.
struct World {
    base: Segment,
    ring: Ring,
    /// With its sender, and the bytes that it takes, header and pad included.
    queue: VecDeque<(Vec<u8>, Owner, u64)>,
    /// Records so far.
    sent: u64,
    received: u64,
    /// Bytes so far, headers and pads included.
    tail: u64,
    head: u64,
    sender: Option<(Segment, Sender, bool)>,
    receiver: Option<(Segment, Receiver, bool)>,
    sending: Role,
    receiving: Role,
    /// The receiver has closed, and the sender may not have noticed: one more may get through.
    may_miss_closing: bool,
}

impl World {
    fn new(capacity: usize) -> Self {
        let base = Segment::options().size(16 << 10).rows(8).heap().unwrap();
        let ring = Ring::create(&base, "ring", capacity).unwrap();
        Self {
            base,
            ring,
            queue: VecDeque::new(),
            sent: 0,
            received: 0,
            tail: 0,
            head: 0,
            sender: None,
            receiver: None,
            sending: Role::Vacant,
            receiving: Role::Vacant,
            may_miss_closing: false,
        }
    }

    /// Bytes that a frame of a record of `len` bytes takes at `position`, and those of the pad before it.
    fn frame(&self, position: u64, len: usize) -> (u64, u64) {
        let (capacity, framed) = (self.ring.capacity() as u64, 8 + (len as u64).next_multiple_of(8));
        let until_wrap = capacity - position % capacity;
        (framed, if framed > until_wrap { until_wrap } else { 0 })
    }

    /// Checks the outcome of an attempt to get room for `len` bytes. `true`: there is room, as it says.
    fn admits(&mut self, len: usize, patient: bool, outcome: Option<SendError>) -> bool {
        let (framed, pad) = self.frame(self.tail, len);
        let fits = self.tail - self.head + framed + pad <= self.ring.capacity() as u64;
        let noticed_late = self.may_miss_closing && outcome.is_none();
        let expected = match self.receiving {
            _ if len > self.ring.longest() => Some(SendError::TooLarge((), self.ring.longest() as u64)),
            Role::Closed if !(noticed_late && fits) => Some(SendError::Closed(())),
            _ if fits => None,
            Role::Died(owner) if !patient => Some(SendError::PeerDied((), owner)),
            _ => Some(SendError::Full(())),
        };
        assert_eq!(outcome, expected, "{len} bytes at {} behind {}", self.tail, self.head);
        outcome.is_none()
    }

    /// Room for `reserved` bytes was asked for, and a record committed.
    fn sends(&mut self, record: Vec<u8>, reserved: usize, from: Owner) {
        let (_, pad) = self.frame(self.tail, reserved);
        let bytes = pad + 8 + (record.len() as u64).next_multiple_of(8);
        self.tail += bytes;
        self.queue.push_back((record, from, bytes));
        self.sent += 1;
        self.may_miss_closing = false;
    }

    fn send(&mut self, deed: &Deed) {
        let Some((segment, mut sender, patient)) = self.sender.take() else { return };
        match *deed {
            Deed::Grant(len, filled, piece, then) => {
                let record = record(self.sent, filled.min(len));
                match sender.try_reserve(len) {
                    Ok(mut grant) => {
                        assert!(self.admits(len, patient, None));
                        let mut all = record.clone();
                        all.resize(filled.max(all.len()), 0xee);
                        let taken: usize =
                            all.chunks(piece).map(|piece| grant.extend_from_slice(piece)).sum();
                        assert_eq!((taken, grant.len(), grant.capacity()), (record.len(), record.len(), len));
                        match then {
                            Then::Commit => {
                                assert_eq!(grant.commit(), record.len());
                                self.sends(record, len, segment.owner());
                            }
                            Then::Drop => drop(grant),
                            Then::Die => {
                                testing::kill(&segment).unwrap();
                                assert_eq!(grant.extend_from_slice(b"more"), 0);
                                assert_eq!(grant.commit(), 0, "the dead send nothing");
                                self.sending = Role::Died(segment.owner());
                                return;
                            }
                        }
                    }
                    Err(error) => assert!(!self.admits(len, patient, Some(error))),
                }
            }
            Deed::Send(len) => {
                let record = record(self.sent, len);
                let outcome = sender.try_send(&record).err();
                if self.admits(len, patient, outcome) {
                    self.sends(record, len, segment.owner());
                }
            }
            _ => {}
        }
        assert_eq!(sender.position(), self.sent);
        self.sender = Some((segment, sender, patient));
    }

    /// The oldest record is consumed.
    fn receives(&mut self) {
        let (_, _, bytes) = self.queue.pop_front().unwrap();
        self.received += 1;
        self.head += bytes;
    }

    fn receive(&mut self, deed: &Deed) {
        let Some((segment, mut receiver, patient)) = self.receiver.take() else { return };
        let refusal = match self.sending {
            _ if !self.queue.is_empty() => None,
            Role::Closed => Some(RecvError::Closed),
            Role::Died(owner) if !patient => Some(RecvError::PeerDied(owner)),
            _ => Some(RecvError::Empty),
        };
        let front = self.queue.front().cloned();
        if let Deed::Read(n, then) = *deed {
            match receiver.try_read() {
                Ok(found) => {
                    let (expected, from, _) = front.unwrap();
                    assert_eq!((found.sender(), found.len()), (from, expected.len()));
                    let mut part = vec![0x55; n];
                    let copied = found.copy_to(&mut part);
                    assert_eq!(part[..copied], expected[..n.min(expected.len())]);
                    assert!(part[copied..].iter().all(|byte| *byte == 0x55));
                    assert_eq!(found.to_vec(), expected);
                    match then {
                        Then::Commit => {
                            assert!(found.release());
                            self.receives();
                        }
                        Then::Drop => drop(found),
                        Then::Die => {
                            testing::kill(&segment).unwrap();
                            assert_eq!((found.len(), found.to_vec()), (0, vec![]));
                            assert!(!found.release(), "the dead consume nothing");
                            self.receiving = Role::Died(segment.owner());
                            return;
                        }
                    }
                }
                Err(error) => assert_eq!(Some(error), refusal),
            }
        } else {
            let mut record = b"as it was".to_vec();
            match receiver.try_recv(&mut record) {
                Ok(len) => {
                    let (expected, from, _) = front.unwrap();
                    assert_eq!((len, &record), (expected.len(), &expected));
                    assert_eq!(receiver.last_sender(), Some(from));
                    self.receives();
                }
                Err(error) => {
                    assert_eq!(Some(error), refusal);
                    assert_eq!(record, b"as it was");
                }
            }
        }
        assert_eq!(receiver.position(), self.received);
        self.receiver = Some((segment, receiver, patient));
    }

    fn end(&mut self, side: Side, ending: Ending) {
        match side {
            Side::Sending => {
                let Some((segment, mut sender, _)) = self.sender.take() else { return };
                self.sending = after(ending, &segment);
                match ending {
                    Ending::Close => sender.close(),
                    Ending::Resign => sender.resign(),
                    Ending::Kill => {
                        assert_eq!(sender.try_send(b"9"), Err(SendError::Fault((), Fault::Killed)));
                        assert!(sender.try_reserve(1).is_err());
                    }
                }
            }
            Side::Receiving => {
                let Some((segment, mut receiver, _)) = self.receiver.take() else { return };
                self.receiving = after(ending, &segment);
                self.may_miss_closing = self.receiving == Role::Closed;
                match ending {
                    Ending::Close => receiver.close(),
                    Ending::Resign => receiver.resign(),
                    Ending::Kill => {
                        let refused = receiver.try_recv(&mut Vec::new());
                        assert_eq!(refused, Err(RecvError::Fault(Fault::Killed)));
                        assert!(receiver.try_read().is_err());
                    }
                }
            }
        }
    }

    /// A new process takes the role, if it is free; it goes on where the last one stopped.
    fn take(&mut self, side: Side) {
        let segment = self.base.attach().unwrap();
        let ring = Ring::open(&segment, "ring").unwrap();
        let busy = |role: Role, error: &Error| {
            assert!(matches!(error, Error::Busy { owner } if Role::Open(*owner) == role), "{error} {role:?}");
        };
        match side {
            Side::Sending => match ring.try_sender() {
                Ok(sender) => {
                    assert!(self.sender.is_none());
                    assert_eq!(sender.position(), self.sent);
                    self.sending = Role::Open(segment.owner());
                    self.sender = Some((segment, sender, false));
                }
                Err(error) => busy(self.sending, &error),
            },
            Side::Receiving => match ring.try_receiver() {
                Ok(receiver) => {
                    assert!(self.receiver.is_none());
                    assert_eq!(receiver.position(), self.received);
                    self.receiving = Role::Open(segment.owner());
                    self.may_miss_closing = false;
                    self.receiver = Some((segment, receiver, false));
                }
                Err(error) => busy(self.receiving, &error),
            },
        }
    }

    fn does(&mut self, deed: &Deed) {
        match *deed {
            Deed::Send(_) | Deed::Grant(..) => self.send(deed),
            Deed::Recv | Deed::Read(..) => self.receive(deed),
            Deed::End(side, ending) => self.end(side, ending),
            Deed::Take(side) => self.take(side),
            Deed::WaitForSuccessor(Side::Sending, yes) => {
                if let Some((_, sender, patient)) = &mut self.sender {
                    sender.wait_for_successor(yes);
                    *patient = yes;
                }
            }
            Deed::WaitForSuccessor(Side::Receiving, yes) => {
                if let Some((_, receiver, patient)) = &mut self.receiver {
                    receiver.wait_for_successor(yes);
                    *patient = yes;
                }
            }
            Deed::Sweep => drop(self.base.sweep().unwrap()),
            Deed::Reopen => self.ring = Ring::open(&self.base, "ring").unwrap(),
        }
        let stats = self.ring.stats();
        assert_eq!(
            (stats.sent, stats.received, stats.depth),
            (self.sent, self.received, self.tail - self.head)
        );
    }
}

/// What a role is afterwards; a kill happens here.
fn after(ending: Ending, segment: &Segment) -> Role {
    match ending {
        Ending::Close => Role::Closed,
        Ending::Resign => Role::Vacant,
        Ending::Kill => {
            testing::kill(segment).unwrap();
            Role::Died(segment.owner())
        }
    }
}

proptest! {
    #![proptest_config(config(250))]

    #[test]
    fn a_ring_of_records_is_a_queue_with_a_bound(
        capacity in prop_oneof![Just(64_usize), Just(128), Just(256)],
        deeds in prop::collection::vec(deed(), 1..120),
    ) {
        let mut world = World::new(capacity);
        for deed in [Deed::Take(Side::Sending), Deed::Take(Side::Receiving)].iter().chain(&deeds) {
            world.does(deed);
        }
    }
}
