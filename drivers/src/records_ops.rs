//! Operations of two attachments on a ring of records, with deaths and successors, against a queue: nothing is lost, torn, or
//! comes twice, each record is from whom sent it, and every answer is the one that the roles' states demand.

use std::collections::VecDeque;
use std::time::Duration;

use crate::LONGEST;
use arbitrary::Arbitrary;
use outlive::error::{Fault, RecvError, SendError};
use outlive::ring::records::{Receiver, Ring, Sender};
use outlive::{Error, Owner, Segment, testing};

/// A world, and what happens in it.
#[derive(Arbitrary, Debug)]
pub struct Input {
    capacity: u8,
    steps: Vec<(bool, Op)>,
}

#[derive(Arbitrary, Clone, Copy, Debug)]
enum Op {
    TakeSender,
    TakeReceiver,
    Send {
        len: u8,
        wait: bool,
    },
    Grant {
        len: u8,
        fill: u8,
        piece: u8,
        then: Then,
    },
    Recv {
        wait: bool,
    },
    Read {
        copy: u8,
        then: Then,
    },
    EndSender {
        resign: bool,
    },
    EndReceiver {
        resign: bool,
    },
    Sweep,
    /// This attachment is killed, and another comes in its place.
    Kill,
    /// The same, by detaching.
    Leave,
}

/// What becomes of a guard.
#[derive(Arbitrary, Clone, Copy, Debug)]
enum Then {
    Commit,
    Drop,
    /// Killed with the guard in its hands; it tries to commit, or not.
    Kill {
        commit: bool,
    },
}

/// What the other side sees of a role.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    /// Nobody has it: never, or resigned.
    Free,
    Held(Owner),
    Closed,
    Died(Owner),
}

/// One of two processes.
struct Process {
    segment: Segment,
    ring: Ring,
    sender: Option<Sender>,
    receiver: Option<Receiver>,
}

impl Process {
    fn new(segment: Segment) -> Self {
        let ring = Ring::open(&segment, "ring").expect("it was created");
        Self { segment, ring, sender: None, receiver: None }
    }
}

/// The queue that the ring has to be.
struct Model {
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
    sender: Role,
    receiver: Role,
}

fn framed(len: usize) -> u64 {
    8 + (len as u64).next_multiple_of(8)
}

impl Model {
    /// The pad before a record of `len` bytes, if it is the next one.
    fn pad(&self, len: usize) -> u64 {
        let until_wrap = self.capacity - self.tail % self.capacity;
        if framed(len) > until_wrap { until_wrap } else { 0 }
    }

    fn has_room(&self, len: usize) -> bool {
        self.tail - self.head + self.pad(len) + framed(len) <= self.capacity
    }

    fn next(&self, len: usize) -> Vec<u8> {
        (0..len).map(|i| (self.sent as u8).wrapping_mul(37).wrapping_add(i as u8)).collect()
    }

    fn sends(&mut self, record: Vec<u8>, reserved: usize, from: Owner) {
        let bytes = self.pad(reserved) + framed(record.len());
        self.tail += bytes;
        self.queue.push_back((record, from, bytes));
        self.sent += 1;
    }

    fn receives(&mut self) {
        let (_, _, bytes) = self.queue.pop_front().expect("it was compared");
        self.head += bytes;
        self.received += 1;
    }

    /// What the death of `owner`, or its leaving, makes of its roles.
    fn gone(&mut self, owner: Owner, role: Role) {
        for held in [&mut self.sender, &mut self.receiver] {
            if *held == Role::Held(owner) {
                *held = role;
            }
        }
    }

    /// The answer to a sender that asked for room for `len` bytes.
    fn check_refused(&self, refused: SendError, len: usize) {
        let expected = match (refused, self.receiver) {
            (SendError::TooLarge((), longest), _) => len > self.longest && longest == self.longest as u64,
            (SendError::Closed(()), Role::Closed) => true,
            (SendError::PeerDied((), owner), Role::Died(dead)) => !self.has_room(len) && owner == dead,
            (SendError::Full(()), Role::Free | Role::Held(_)) => !self.has_room(len),
            _ => false,
        };
        assert!(expected, "{refused:?} for {len} bytes, but the receiver is {:?}", self.receiver);
    }

    /// The answer to a receiver for whom there is nothing.
    fn check_nothing(&self, error: RecvError) {
        let expected = match (error, self.sender) {
            (RecvError::Closed, Role::Closed) | (RecvError::Empty, Role::Free | Role::Held(_)) => true,
            (RecvError::PeerDied(owner), Role::Died(dead)) => owner == dead,
            _ => false,
        };
        assert!(expected && self.queue.is_empty(), "{error:?}, but the sender is {:?}", self.sender);
    }
}

struct World {
    processes: [Process; 2],
    model: Model,
}

impl World {
    fn step(&mut self, who: usize, op: Op) {
        let process = &mut self.processes[who];
        let me = process.segment.owner();
        match op {
            Op::TakeSender => match process.ring.try_sender() {
                Ok(sender) => {
                    assert!(!matches!(self.model.sender, Role::Held(_)), "two senders");
                    assert_eq!(sender.position(), self.model.sent);
                    process.sender = Some(sender);
                    self.model.sender = Role::Held(me);
                }
                Err(error) => check_busy(&error, self.model.sender),
            },
            Op::TakeReceiver => match process.ring.try_receiver() {
                Ok(receiver) => {
                    assert!(!matches!(self.model.receiver, Role::Held(_)), "two receivers");
                    assert_eq!(receiver.position(), self.model.received);
                    process.receiver = Some(receiver);
                    self.model.receiver = Role::Held(me);
                }
                Err(error) => check_busy(&error, self.model.receiver),
            },
            Op::Send { .. } | Op::Grant { .. } => self.send(who, op),
            Op::Recv { .. } | Op::Read { .. } => self.receive(who, op),
            Op::EndSender { resign } => {
                let Some(sender) = process.sender.take() else { return };
                if resign {
                    sender.resign()
                } else {
                    sender.close()
                }
                self.model.sender = if resign { Role::Free } else { Role::Closed };
            }
            Op::EndReceiver { resign } => {
                let Some(receiver) = process.receiver.take() else { return };
                if resign {
                    receiver.resign()
                } else {
                    receiver.close()
                }
                self.model.receiver = if resign { Role::Free } else { Role::Closed };
            }
            Op::Sweep => drop(process.segment.sweep().expect("this attachment lives")),
            Op::Kill => {
                testing::kill(&process.segment).expect("a heap segment");
                self.bury(who);
            }
            Op::Leave => {
                self.model.gone(me, Role::Closed);
                self.replace(who);
            }
        }
    }

    fn send(&mut self, who: usize, op: Op) {
        let process = &mut self.processes[who];
        let (me, model) = (process.segment.owner(), &mut self.model);
        let Some(sender) = &mut process.sender else { return };
        match op {
            Op::Send { len, wait } => {
                let record = model.next(len.into());
                let sent = if wait {
                    sender.send_timeout(&record, Duration::ZERO)
                } else {
                    sender.try_send(&record)
                };
                match sent {
                    Ok(()) => {
                        assert!(model.has_room(record.len()), "sent into a full ring");
                        model.sends(record, len.into(), me);
                    }
                    Err(refused) => model.check_refused(refused, len.into()),
                }
            }
            Op::Grant { len, fill, piece, then } => {
                let record = model.next(fill.min(len).into());
                match sender.try_reserve(len.into()) {
                    Ok(mut grant) => {
                        assert!(model.has_room(len.into()) && grant.capacity() == usize::from(len));
                        for piece in record.chunks(usize::from(piece % 32) + 1) {
                            assert_eq!(grant.extend_from_slice(piece), piece.len());
                        }
                        match then {
                            Then::Commit => {
                                assert_eq!(grant.commit(), record.len());
                                model.sends(record, len.into(), me);
                            }
                            Then::Drop => drop(grant),
                            Then::Kill { commit } => {
                                testing::kill(&process.segment).expect("a heap segment");
                                assert_eq!(
                                    if commit { grant.commit() } else { 0 },
                                    0,
                                    "the dead send nothing"
                                );
                                return self.bury(who);
                            }
                        }
                    }
                    Err(refused) => model.check_refused(refused, len.into()),
                }
            }
            _ => {}
        }
        assert_eq!(self.processes[who].sender.as_ref().map(Sender::position), Some(self.model.sent));
    }

    fn receive(&mut self, who: usize, op: Op) {
        let process = &mut self.processes[who];
        let model = &mut self.model;
        let Some(receiver) = &mut process.receiver else { return };
        match op {
            Op::Recv { wait } => {
                let mut record = vec![1; 3];
                let received = if wait {
                    receiver.recv_timeout(&mut record, Duration::ZERO)
                } else {
                    receiver.try_recv(&mut record)
                };
                match received {
                    Ok(len) => {
                        let (expected, from, _) = model.queue.front().expect("lost, or twice");
                        assert_eq!((len, &record), (expected.len(), expected));
                        assert_eq!(receiver.last_sender(), Some(*from));
                        model.receives();
                    }
                    Err(error) => model.check_nothing(error),
                }
            }
            Op::Read { copy, then } => match receiver.try_read() {
                Ok(record) => {
                    let (expected, from, _) = model.queue.front().expect("lost, or twice");
                    assert_eq!((record.len(), record.sender()), (expected.len(), *from));
                    let mut part = vec![0; copy.into()];
                    let copied = record.copy_to(&mut part);
                    assert_eq!(part[..copied], expected[..part.len().min(expected.len())]);
                    assert_eq!(record.to_vec(), *expected);
                    match then {
                        Then::Commit => {
                            assert!(record.release());
                            model.receives();
                        }
                        Then::Drop => drop(record),
                        Then::Kill { commit } => {
                            testing::kill(&process.segment).expect("a heap segment");
                            assert!(!(commit && record.release()), "the dead consume nothing");
                            return self.bury(who);
                        }
                    }
                }
                Err(error) => model.check_nothing(error),
            },
            _ => {}
        }
        assert_eq!(self.processes[who].receiver.as_ref().map(Receiver::position), Some(self.model.received));
    }

    /// `who` was killed: its handles refuse, and leave no trace.
    fn bury(&mut self, who: usize) {
        let process = &mut self.processes[who];
        let owner = process.segment.owner();
        if let Some(sender) = &mut process.sender {
            assert_eq!(sender.try_send(&[]), Err(SendError::Fault((), Fault::Killed)));
        }
        if let Some(receiver) = &mut process.receiver {
            assert_eq!(receiver.try_recv(&mut Vec::new()), Err(RecvError::Fault(Fault::Killed)));
        }
        assert!(self.processes[1 - who].segment.is_dead(owner));
        self.model.gone(owner, Role::Died(owner));
        self.replace(who);
    }

    /// Another process comes in the place of `who`.
    fn replace(&mut self, who: usize) {
        let segment = self.processes[1 - who].segment.attach().expect("rows of the dead are given out again");
        self.processes[who] = Process::new(segment);
    }

    /// Whoever comes last gets what is left, in order, and no more.
    fn drain(mut self) {
        for who in [0, 1] {
            testing::kill(&self.processes[who].segment).expect("a heap segment");
            self.bury(who);
        }
        let seen = self.processes[0].ring.stats();
        let model = &self.model;
        assert_eq!(
            (seen.sent, seen.received, seen.depth),
            (model.sent, model.received, model.tail - model.head)
        );
        let mut receiver = self.processes[0].ring.try_receiver().expect("all holders are dead");
        let mut record = Vec::new();
        for (expected, from, _) in &model.queue {
            receiver.try_recv(&mut record).expect("lost");
            assert_eq!((&record, receiver.last_sender()), (expected, Some(*from)));
        }
        assert!(receiver.try_recv(&mut record).is_err(), "more than was sent");
        let mut sender = self.processes[1].ring.try_sender().expect("all holders are dead");
        assert_eq!((sender.position(), receiver.position()), (model.sent, model.sent));
        for len in (0..=model.longest).chain([model.longest; 3]) {
            let expected = model.next(len);
            sender.try_send(&expected).expect("the ring is empty");
            assert_eq!(receiver.try_recv(&mut record), Ok(len));
            assert_eq!(record, expected);
        }
    }
}

fn check_busy(error: &Error, role: Role) {
    assert!(
        matches!((error, role), (Error::Busy { owner }, Role::Held(holder)) if *owner == holder),
        "{error}: {role:?}"
    );
}

/// # Panics
/// If a promise is broken.
pub fn run(input: Input) {
    let segment = Segment::options().size(32 << 10).rows(6).heap().expect("memory for a segment");
    let ring: Ring = Ring::create(&segment, "ring", 64 << (input.capacity % 4)).expect("room for it");
    let (capacity, longest) = (ring.capacity() as u64, ring.longest());
    drop(ring);
    let other = segment.attach().expect("two of six rows");
    let model = Model {
        queue: VecDeque::new(),
        capacity,
        longest,
        sent: 0,
        received: 0,
        tail: 0,
        head: 0,
        sender: Role::Free,
        receiver: Role::Free,
    };
    let mut world = World { processes: [Process::new(segment), Process::new(other)], model };
    for (second, op) in input.steps.into_iter().take(LONGEST) {
        world.step(usize::from(second), op);
    }
    world.drain();
}
