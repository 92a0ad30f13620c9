//! Operations of two attachments on a ring, with deaths and successors, against a queue: nothing is lost, nothing comes
//! twice, and every answer is the one that the roles' states demand.

use std::collections::VecDeque;
use std::time::Duration;

use crate::LONGEST;
use arbitrary::Arbitrary;
use outlive::error::{Fault, RecvError, SendError};
use outlive::ring::spsc::{Receiver, Ring, Sender};
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
    Send,
    SendTimeout,
    SendSlice {
        len: u8,
    },
    Grant {
        max: u8,
        fill: u8,
        end: GrantEnd,
    },
    Recv,
    RecvTimeout,
    Read {
        max: u8,
        end: ReadEnd,
    },
    EndSender(End),
    EndReceiver(End),
    WaitForSuccessor {
        sender: bool,
        yes: bool,
    },
    Sweep,
    /// This attachment is killed, and another comes in its place.
    Kill,
    /// The same, by detaching.
    Leave,
}

#[derive(Arbitrary, Clone, Copy, Debug)]
enum GrantEnd {
    Commit,
    Drop,
    /// Killed with the grant in its hands.
    Kill {
        commit: bool,
    },
}

#[derive(Arbitrary, Clone, Copy, Debug)]
enum ReadEnd {
    Release,
    ReleaseFirst(u8),
    Drop,
    /// Killed with the messages in its hands.
    Kill {
        release: bool,
    },
}

#[derive(Arbitrary, Clone, Copy, Debug)]
enum End {
    Close,
    Resign,
    Drop,
}

impl End {
    /// What becomes of the role.
    fn leaves(self) -> Role {
        match self {
            Self::Resign => Role::Free,
            Self::Close | Self::Drop => Role::Closed,
        }
    }
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
    ring: Ring<u64>,
    sender: Option<Sender<u64>>,
    receiver: Option<Receiver<u64>>,
    sender_waits: bool,
    receiver_waits: bool,
}

impl Process {
    fn new(segment: Segment) -> Self {
        let ring = Ring::open(&segment, "ring").expect("it was created");
        Self { segment, ring, sender: None, receiver: None, sender_waits: false, receiver_waits: false }
    }
}

/// The queue that the ring has to be.
struct Model {
    queue: VecDeque<u64>,
    capacity: usize,
    sent: u64,
    received: u64,
    sender: Role,
    receiver: Role,
}

impl Model {
    fn room(&self) -> usize {
        self.capacity - self.queue.len()
    }

    fn send(&mut self, count: usize) {
        for _ in 0..count {
            self.queue.push_back(self.sent);
            self.sent += 1;
        }
    }

    fn receive(&mut self, count: usize) {
        self.queue.drain(..count);
        self.received += count as u64;
    }

    /// What the death of `owner`, or its leaving, makes of its roles.
    fn gone(&mut self, owner: Owner, role: Role) {
        for held in [&mut self.sender, &mut self.receiver] {
            if *held == Role::Held(owner) {
                *held = role;
            }
        }
    }

    /// The answer to a sender for whom there is no room, or whose receiver has closed.
    fn check_refused<T>(&self, refused: &SendError<T>, waits: bool) {
        let expected = match (refused, self.receiver) {
            (SendError::Closed(_), Role::Closed) => true,
            (SendError::PeerDied(_, owner), Role::Died(dead)) => self.room() == 0 && *owner == dead && !waits,
            (SendError::Full(_), Role::Free | Role::Held(_)) => self.room() == 0,
            (SendError::Full(_), Role::Died(_)) => self.room() == 0 && waits,
            _ => false,
        };
        assert!(
            expected,
            "{refused:?}, but the receiver is {:?}, and there is room for {}",
            self.receiver,
            self.room()
        );
    }

    /// The answer to a receiver for whom there is nothing.
    fn check_nothing(&self, error: RecvError, waits: bool) {
        let expected = match (error, self.sender) {
            (RecvError::Closed, Role::Closed) | (RecvError::Empty, Role::Free | Role::Held(_)) => true,
            (RecvError::PeerDied(owner), Role::Died(dead)) => owner == dead && !waits,
            (RecvError::Empty, Role::Died(_)) => waits,
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
                    (process.sender, process.sender_waits) = (Some(sender), false);
                    self.model.sender = Role::Held(me);
                }
                Err(error) => check_busy(&error, self.model.sender),
            },
            Op::TakeReceiver => match process.ring.try_receiver() {
                Ok(receiver) => {
                    assert!(!matches!(self.model.receiver, Role::Held(_)), "two receivers");
                    assert_eq!(receiver.position(), self.model.received);
                    (process.receiver, process.receiver_waits) = (Some(receiver), false);
                    self.model.receiver = Role::Held(me);
                }
                Err(error) => check_busy(&error, self.model.receiver),
            },
            Op::Send | Op::SendTimeout | Op::SendSlice { .. } | Op::Grant { .. } => self.send(who, op),
            Op::Recv | Op::RecvTimeout | Op::Read { .. } => self.receive(who, op),
            Op::EndSender(end) => {
                let Some(sender) = process.sender.take() else { return };
                match end {
                    End::Close => sender.close(),
                    End::Resign => sender.resign(),
                    End::Drop => drop(sender),
                }
                self.model.sender = end.leaves();
            }
            Op::EndReceiver(end) => {
                let Some(receiver) = process.receiver.take() else { return };
                match end {
                    End::Close => receiver.close(),
                    End::Resign => receiver.resign(),
                    End::Drop => drop(receiver),
                }
                self.model.receiver = end.leaves();
            }
            Op::WaitForSuccessor { sender: true, yes } => {
                process.sender.iter_mut().for_each(|sender| sender.wait_for_successor(yes));
                process.sender_waits = yes;
            }
            Op::WaitForSuccessor { sender: false, yes } => {
                process.receiver.iter_mut().for_each(|receiver| receiver.wait_for_successor(yes));
                process.receiver_waits = yes;
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
        let Some(sender) = &mut process.sender else { return };
        let (model, waits) = (&mut self.model, process.sender_waits);
        let next = model.sent;
        match op {
            Op::Send | Op::SendTimeout => {
                let sent = match op {
                    Op::Send => sender.try_send(next),
                    _ => sender.send_timeout(next, Duration::ZERO),
                };
                match sent {
                    Ok(()) => {
                        assert!(model.room() > 0, "sent into a full ring");
                        model.send(1);
                    }
                    Err(refused) => {
                        model.check_refused(&refused, waits);
                        assert_eq!(refused.into_value(), next, "the refused value comes back");
                    }
                }
            }
            Op::SendSlice { len } => {
                let values: Vec<u64> = (next..next + u64::from(len % 16)).collect();
                match sender.try_send_slice(&values) {
                    Ok(count) => {
                        assert!(count == values.len().min(model.room()), "{count} of {}", values.len());
                        model.send(count);
                    }
                    Err(refused) => model.check_refused(&refused, waits),
                }
            }
            Op::Grant { max, fill, end } => {
                let max = usize::from(max % 16) + 1;
                match sender.try_reserve(max) {
                    Ok(mut grant) => {
                        assert!(
                            (1..=max.min(model.room())).contains(&grant.capacity()),
                            "{}",
                            grant.capacity()
                        );
                        let filled = grant.extend(next..next + u64::from(fill % 16));
                        assert_eq!(filled, grant.capacity().min(usize::from(fill % 16)));
                        match end {
                            GrantEnd::Commit => {
                                assert_eq!(grant.commit(), filled);
                                model.send(filled);
                            }
                            GrantEnd::Drop => drop(grant),
                            GrantEnd::Kill { commit } => {
                                testing::kill(&process.segment).expect("a heap segment");
                                assert_eq!(
                                    if commit { grant.commit() } else { 0 },
                                    0,
                                    "the dead send nothing"
                                );
                                self.bury(who);
                                return;
                            }
                        }
                    }
                    Err(refused) => model.check_refused(&refused, waits),
                }
            }
            _ => {}
        }
        let process = &self.processes[who];
        assert_eq!(process.sender.as_ref().map(Sender::position), Some(self.model.sent));
    }

    fn receive(&mut self, who: usize, op: Op) {
        let process = &mut self.processes[who];
        let Some(receiver) = &mut process.receiver else { return };
        let (model, waits) = (&mut self.model, process.receiver_waits);
        match op {
            Op::Recv | Op::RecvTimeout => {
                let received = match op {
                    Op::Recv => receiver.try_recv(),
                    _ => receiver.recv_timeout(Duration::ZERO),
                };
                match received {
                    Ok(value) => {
                        assert_eq!(Some(&value), model.queue.front(), "lost, or twice");
                        model.receive(1);
                    }
                    Err(error) => model.check_nothing(error, waits),
                }
            }
            Op::Read { max, end } => {
                let max = usize::from(max % 16) + 1;
                match receiver.try_read(max) {
                    Ok(items) => {
                        let seen: Vec<u64> = items.iter().collect();
                        assert!((1..=max).contains(&seen.len()), "{} of at most {max}", seen.len());
                        assert!(
                            model.queue.iter().take(seen.len()).eq(&seen),
                            "{seen:?} of {:?}",
                            model.queue
                        );
                        match end {
                            ReadEnd::Release => {
                                assert_eq!(items.release(), seen.len());
                                model.receive(seen.len());
                            }
                            ReadEnd::ReleaseFirst(n) => {
                                let n = usize::from(n) % (seen.len() + 1);
                                assert_eq!(items.release_first(n), n);
                                model.receive(n);
                            }
                            ReadEnd::Drop => drop(items),
                            ReadEnd::Kill { release } => {
                                testing::kill(&process.segment).expect("a heap segment");
                                assert_eq!(
                                    if release { items.release() } else { 0 },
                                    0,
                                    "the dead consume nothing"
                                );
                                self.bury(who);
                                return;
                            }
                        }
                    }
                    Err(error) => model.check_nothing(error, waits),
                }
            }
            _ => {}
        }
        let process = &self.processes[who];
        assert_eq!(process.receiver.as_ref().map(Receiver::position), Some(self.model.received));
    }

    /// `who` was killed: its handles refuse, and leave no trace.
    fn bury(&mut self, who: usize) {
        let process = &mut self.processes[who];
        let owner = process.segment.owner();
        if let Some(sender) = &mut process.sender {
            let refused = sender.try_send(u64::MAX);
            assert!(matches!(refused, Err(SendError::Fault(_, Fault::Killed))), "{refused:?}");
        }
        if let Some(receiver) = &mut process.receiver {
            let refused = receiver.try_recv();
            assert!(matches!(refused, Err(RecvError::Fault(Fault::Killed))), "{refused:?}");
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
        let mut receiver = self.processes[0].ring.try_receiver().expect("all holders are dead");
        let mut left = Vec::new();
        while let Ok(value) = receiver.try_recv() {
            left.push(value);
        }
        assert!(self.model.queue.iter().eq(&left), "{left:?} is left of {:?}", self.model.queue);
        let mut sender = self.processes[1].ring.try_sender().expect("all holders are dead");
        assert_eq!((sender.position(), receiver.position()), (self.model.sent, self.model.sent));
        for round in 0..2 * self.model.capacity as u64 {
            sender.try_send(round).expect("the ring is empty");
            assert_eq!(receiver.try_recv(), Ok(round));
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
    let ring =
        Ring::<u64>::create(&segment, "ring", usize::from(input.capacity % 8) + 1).expect("room for it");
    let capacity = ring.capacity();
    drop(ring);
    let other = segment.attach().expect("two of six rows");
    let model = Model {
        queue: VecDeque::new(),
        capacity,
        sent: 0,
        received: 0,
        sender: Role::Free,
        receiver: Role::Free,
    };
    let mut world = World { processes: [Process::new(segment), Process::new(other)], model };
    for (second, op) in input.steps.into_iter().take(LONGEST) {
        world.step(usize::from(second), op);
    }
    world.drain();
}
