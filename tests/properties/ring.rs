//! A ring against a `VecDeque`: two ends, each in a process of its own, that come, go, panic and are killed.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use outlive::error::{Fault, RecvError, SendError};
use outlive::ring::spsc::{Receiver, Ring, Sender};
use outlive::{Error, Owner, Segment, testing};
use proptest::prelude::*;

use super::config;

/// What can be done to a ring.
#[derive(Clone, Debug)]
enum Deed {
    Send,
    SendSlice(usize),
    /// Reserve so many, fill so many, and commit or not.
    Grant(usize, usize, bool),
    Recv,
    /// Read so many, and release so many; all, if `None`.
    Read(usize, Option<usize>),
    End(Side, Ending),
    Take(Side),
    WaitForSuccessor(Side, bool),
    Sweep,
    Reopen,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    Sending,
    Receiving,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ending {
    Drop,
    Close,
    Resign,
    Panic,
    Kill,
}

fn deed() -> impl Strategy<Value = Deed> {
    let side = prop_oneof![Just(Side::Sending), Just(Side::Receiving)];
    let ending = prop_oneof![
        1 => Just(Ending::Drop),
        1 => Just(Ending::Close),
        1 => Just(Ending::Resign),
        1 => Just(Ending::Panic),
        3 => Just(Ending::Kill),
    ];
    prop_oneof![
        8 => Just(Deed::Send),
        4 => (0..6_usize).prop_map(Deed::SendSlice),
        4 => (0..6_usize, 0..7_usize, any::<bool>()).prop_map(|(n, filled, commit)| Deed::Grant(n, filled, commit)),
        8 => Just(Deed::Recv),
        6 => (0..6_usize, prop::option::of(0..6_usize)).prop_map(|(n, released)| Deed::Read(n, released)),
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

/// A ring, the queue that it has to be, and the two ends, each in a process of its own.
struct World {
    base: Segment,
    ring: Ring<u64>,
    capacity: usize,
    queue: VecDeque<u64>,
    sent: u64,
    received: u64,
    sender: Option<(Segment, Sender<u64>, bool)>,
    receiver: Option<(Segment, Receiver<u64>, bool)>,
    sending: Role,
    receiving: Role,
    /// The receiver has closed, and the sender may not have noticed: one more may get through.
    may_miss_closing: bool,
}

impl World {
    fn new(capacity: usize) -> Self {
        let base = Segment::options().size(16 << 10).rows(8).heap().unwrap();
        let ring = Ring::create(&base, "ring", capacity).unwrap();
        let capacity = ring.capacity();
        let (sending, receiving) = (Role::Vacant, Role::Vacant);
        let (sender, receiver, queue) = (None, None, VecDeque::new());
        Self {
            base,
            ring,
            capacity,
            queue,
            sent: 0,
            received: 0,
            sender,
            receiver,
            sending,
            receiving,
            may_miss_closing: false,
        }
    }

    fn until_wrap(&self, position: u64) -> usize {
        self.capacity - usize::try_from(position).unwrap() % self.capacity
    }

    fn room(&self) -> usize {
        self.capacity - self.queue.len()
    }

    /// Why nothing can be sent at the moment, if so; `patient`: a dead receiver will have a successor.
    fn refusal(&self, patient: bool) -> Option<SendError> {
        match self.receiving {
            Role::Closed => Some(SendError::Closed(())),
            _ if self.room() > 0 => None,
            Role::Died(owner) if !patient => Some(SendError::PeerDied((), owner)),
            _ => Some(SendError::Full(())),
        }
    }

    /// Checks the outcome of an attempt to send up to `wanted` messages, and notes what was sent.
    fn sends(&mut self, wanted: usize, patient: bool, outcome: Result<usize, SendError>) {
        let noticed_late = self.may_miss_closing && outcome.is_ok();
        let refusal = self.refusal(patient).filter(|_| wanted > 0 && !noticed_late);
        assert_eq!(outcome.err(), refusal, "{wanted} into {} of {}", self.queue.len(), self.capacity);
        let Ok(n) = outcome else { return };
        assert_eq!(n, wanted);
        self.queue.extend(self.sent..self.sent + n as u64);
        self.sent += n as u64;
        self.may_miss_closing &= n == 0;
    }

    fn send(&mut self, deed: &Deed) {
        let Some((segment, mut sender, patient)) = self.sender.take() else { return };
        let (next, room) = (self.sent, self.room());
        match *deed {
            Deed::SendSlice(n) => {
                let numbers: Vec<u64> = (next..next + n as u64).collect();
                self.sends(n.min(room.max(1)), patient, sender.try_send_slice(&numbers));
            }
            Deed::Grant(n, filled, commit) => {
                let granted = n.min(room.max(1)).min(self.until_wrap(next));
                let outcome = sender.try_reserve(n).map(|mut grant| {
                    assert_eq!(grant.capacity(), granted);
                    let some = grant.extend((next..).take(filled / 2));
                    let more = (some..filled).take_while(|&k| grant.push(next + k as u64).is_ok()).count();
                    assert_eq!(some + more, filled.min(granted));
                    if commit { grant.commit() } else { 0 }
                });
                match outcome {
                    Ok(n) => self.sends(n, patient, Ok(n)),
                    Err(error) => self.sends(granted, patient, Err(error)),
                }
            }
            _ => {
                let outcome = sender.try_send(next);
                assert!(outcome.is_ok() || outcome.unwrap_err().into_value() == next, "it comes back");
                self.sends(1, patient, outcome.map(|()| 1).map_err(without_value));
            }
        }
        assert_eq!(sender.position(), self.sent);
        self.sender = Some((segment, sender, patient));
    }

    fn receive(&mut self, deed: &Deed) {
        let Some((segment, mut receiver, patient)) = self.receiver.take() else { return };
        let refusal = match self.sending {
            _ if !self.queue.is_empty() => None,
            Role::Closed => Some(RecvError::Closed),
            Role::Died(owner) if !patient => Some(RecvError::PeerDied(owner)),
            _ => Some(RecvError::Empty),
        };
        let gone = if let Deed::Read(n, released) = *deed {
            let given = n.min(self.queue.len()).min(self.until_wrap(self.received));
            let gone = match receiver.try_read(n) {
                Ok(items) => {
                    let expected: Vec<u64> = self.queue.range(..given).copied().collect();
                    assert_eq!(items.iter().collect::<Vec<_>>(), expected);
                    assert_eq!((items.get(given), items.len()), (None, given));
                    match released {
                        None => items.release(),
                        Some(0) => 0, // dropped
                        Some(k) => items.release_first(k),
                    }
                }
                Err(error) => {
                    assert_eq!(Some(error), refusal);
                    0
                }
            };
            assert_eq!(gone, released.unwrap_or(given).min(given), "{given} of {n}");
            gone
        } else {
            let outcome = receiver.try_recv();
            assert_eq!(outcome.err(), refusal);
            assert_eq!(outcome.ok(), self.queue.front().copied());
            usize::from(outcome.is_ok())
        };
        self.queue.drain(..gone);
        self.received += gone as u64;
        assert_eq!(receiver.position(), self.received);
        self.receiver = Some((segment, receiver, patient));
    }

    fn end(&mut self, side: Side, ending: Ending) {
        match side {
            Side::Sending => {
                let Some((segment, mut sender, _)) = self.sender.take() else { return };
                self.sending = after(ending, &segment);
                match ending {
                    Ending::Drop => drop(sender),
                    Ending::Close => sender.close(),
                    Ending::Resign => sender.resign(),
                    Ending::Panic => panic_with(sender),
                    Ending::Kill => {
                        assert_eq!(sender.try_send(9), Err(SendError::Fault(9, Fault::Killed)));
                        assert_eq!(sender.try_send_slice(&[9]), Err(SendError::Fault((), Fault::Killed)));
                        assert!(sender.try_reserve(1).is_err());
                    }
                }
            }
            Side::Receiving => {
                let Some((segment, mut receiver, _)) = self.receiver.take() else { return };
                self.receiving = after(ending, &segment);
                self.may_miss_closing = self.receiving == Role::Closed;
                match ending {
                    Ending::Drop => drop(receiver),
                    Ending::Close => receiver.close(),
                    Ending::Resign => receiver.resign(),
                    Ending::Panic => panic_with(receiver),
                    Ending::Kill => {
                        assert_eq!(receiver.try_recv(), Err(RecvError::Fault(Fault::Killed)));
                        assert!(receiver.try_read(1).is_err());
                    }
                }
            }
        }
    }

    /// A new process takes the role, if it is free; it goes on where the last one stopped.
    fn take(&mut self, side: Side) {
        let segment = self.base.attach().unwrap();
        let ring = Ring::<u64>::open(&segment, "ring").unwrap();
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
            Deed::Send | Deed::SendSlice(_) | Deed::Grant(..) => self.send(deed),
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
            (self.sent, self.received, self.queue.len() as u64)
        );
    }
}

fn without_value(error: SendError<u64>) -> SendError {
    match error {
        SendError::Full(_) => SendError::Full(()),
        SendError::Closed(_) => SendError::Closed(()),
        SendError::PeerDied(_, owner) => SendError::PeerDied((), owner),
        SendError::Fault(_, fault) => SendError::Fault((), fault),
        other => panic!("{other:?}"),
    }
}

/// What a role is afterwards; a kill happens here.
fn after(ending: Ending, segment: &Segment) -> Role {
    match ending {
        Ending::Drop | Ending::Close => Role::Closed,
        Ending::Resign => Role::Vacant,
        Ending::Panic => Role::Died(segment.owner()),
        Ending::Kill => {
            testing::kill(segment).unwrap();
            Role::Died(segment.owner())
        }
    }
}

fn panic_with<T>(held: T) {
    let panicked = catch_unwind(AssertUnwindSafe(move || {
        let _held = held;
        resume_unwind(Box::new(()))
    }));
    assert!(panicked.is_err());
}

proptest! {
    #![proptest_config(config(400))]

    #[test]
    fn a_ring_is_a_queue_with_a_bound(capacity in 1..9_usize, deeds in prop::collection::vec(deed(), 1..100)) {
        let mut world = World::new(capacity);
        for deed in [Deed::Take(Side::Sending), Deed::Take(Side::Receiving)].iter().chain(&deeds) {
            world.does(deed);
        }
    }
}
