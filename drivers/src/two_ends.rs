//! Two processes at the ends of a ring, whatever it carries: who has which role, who dies and who succeeds. What is in
//! the ring, and whether that is right, is the structure's part: see [`Structure`].
//!
//! The model knows what every answer has to be. A ring may be on the heap, where a process is killed and leaves everything
//! as it is, or in a memfd that each process has mapped at an address of its own. There the kernel says who is dead, and it
//! will not say so of us: instead of being killed a process panics, with all that it holds.

use std::fmt::Debug;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use arbitrary::Arbitrary;
use outlive::error::{RecvError, SendError};
use outlive::inspect::{self, Severity};
use outlive::ring::Stats;
use outlive::{Error, Owner, Segment, testing};

use crate::Steps;

/// A ring, and the model that it has to follow.
pub(crate) trait Structure: Sized {
    type Ring;
    type Sender: End;
    type Receiver: End;
    /// What a sender does.
    type Send;
    /// What a receiver does.
    type Receive;

    fn open(segment: &Segment) -> Self::Ring;
    fn try_sender(ring: &Self::Ring) -> Result<Self::Sender, Error>;
    fn try_receiver(ring: &Self::Ring) -> Result<Self::Receiver, Error>;
    fn stats(ring: &Self::Ring) -> Stats;

    /// How many so far.
    fn sent(&self) -> u64;
    /// How many so far.
    fn received(&self) -> u64;
    /// How full it is.
    fn depth(&self) -> u64;

    /// Does it, and compares the answer with the model's.
    fn send(&mut self, sender: &mut Self::Sender, op: Self::Send, turn: &mut Turn<'_>) -> Fate;
    /// Does it, and compares the answer with the model's.
    fn receive(&mut self, receiver: &mut Self::Receiver, op: Self::Receive, turn: &mut Turn<'_>) -> Fate;
    /// A successor receives what is left: that, in order, and no more.
    fn drain(&self, receiver: &mut Self::Receiver);
    /// A ring that was drained works as a new one.
    fn works(&self, sender: Self::Sender, receiver: Self::Receiver);
}

/// One of the two handles.
pub(crate) trait End: Sized {
    fn position(&self) -> u64;
    fn peer(&self) -> Option<Owner>;
    fn wait_for_successor(&mut self, yes: bool);
    fn close(self);
    fn resign(self);
    /// Every operation says that this process was killed.
    fn is_dead(&mut self);
}

/// What all ends call the same.
macro_rules! end {
    ($end:ty, |$this:ident| $is_dead:expr) => {
        impl crate::two_ends::End for $end {
            fn position(&self) -> u64 {
                <$end>::position(self)
            }
            fn peer(&self) -> Option<outlive::Owner> {
                <$end>::peer(self)
            }
            fn wait_for_successor(&mut self, yes: bool) {
                <$end>::wait_for_successor(self, yes);
            }
            fn close(self) {
                <$end>::close(self);
            }
            fn resign(self) {
                <$end>::resign(self);
            }
            fn is_dead(&mut self) {
                let $this = self;
                $is_dead
            }
        }
    };
}
pub(crate) use end;

/// What happens.
#[derive(Arbitrary, Debug)]
pub(crate) struct Script<Send, Receive> {
    /// One in four is a memfd: kernel objects are slow.
    memory: u8,
    /// Nobody has a role at first.
    vacant: bool,
    steps: Steps<(bool, Op<Send, Receive>)>,
}

/// Sending and receiving is for whoever has the role. It is what most of the steps do, so that rings fill, wrap and drain
/// between two deaths.
#[derive(Arbitrary, Clone, Copy, Debug)]
enum Op<Send, Receive> {
    Send(Send),
    Receive(Receive),
    Both(Send, Receive),
    Other(Other),
}

#[derive(Arbitrary, Clone, Copy, Debug)]
enum Other {
    Take(Side),
    /// Both roles, by a process each.
    TakeBoth,
    End(Side, Ending),
    WaitForSuccessor(Side, bool),
    Rare(Rare),
}

#[derive(Arbitrary, Clone, Copy, Debug)]
enum Rare {
    Sweep,
    /// The handle of the ring is opened again.
    Reopen,
    /// This attachment is killed, and another comes in its place.
    Kill,
    /// The same, by detaching.
    Leave,
    /// A look at every invariant.
    Check,
    /// The ring is drained in a copy.
    Snapshot,
}

#[derive(Arbitrary, Clone, Copy, Debug)]
enum Side {
    Sending,
    Receiving,
}

#[derive(Arbitrary, Clone, Copy, Debug)]
enum Ending {
    Close,
    Resign,
    Drop,
    Panic,
}

/// What becomes of a guard.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub(crate) enum Then {
    Commit,
    Drop,
    /// Its process is killed, and tries to commit all the same, or does not.
    Die {
        commit: bool,
    },
}

/// Whether the process still lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub(crate) enum Fate {
    Lives,
    Died,
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

/// One role, and the handle that has it.
#[derive(Clone, Copy, Debug)]
struct Seat {
    role: Role,
    /// How many have had it.
    takers: u32,
    /// Whether a dead peer is waited for.
    patient: bool,
}

impl Seat {
    const VACANT: Self = Self { role: Role::Free, takers: 0, patient: false };

    fn take(&mut self, owner: Owner) {
        assert!(!matches!(self.role, Role::Held(_)), "two have one role: {owner:?}, and {:?}", self.role);
        *self = Self { role: Role::Held(owner), takers: self.takers + 1, patient: false };
    }

    fn is_busy(&self, error: &Error) {
        let says_who =
            matches!((error, self.role), (Error::Busy { owner }, Role::Held(holder)) if *owner == holder);
        assert!(says_who, "{error}: {:?}", self.role);
    }

    fn is_seen_as(&self, holder: Option<Owner>, closed: bool, died: Option<Owner>, takers: u32) {
        let expected = match self.role {
            Role::Free => (None, false, None),
            Role::Held(owner) => (Some(owner), false, None),
            Role::Closed => (None, true, None),
            Role::Died(owner) if holder.is_some() => (Some(owner), false, None), // nobody has noted it yet
            Role::Died(owner) => (None, false, Some(owner)),
        };
        assert_eq!(((holder, closed, died), takers), (expected, self.takers));
    }

    /// As it is when everybody is dead.
    fn of_the_dead(mut self) -> Self {
        if let Role::Held(owner) = self.role {
            self.role = Role::Died(owner);
        }
        self
    }

    /// What the death of `owner`, or its leaving, makes of the role.
    fn gone(&mut self, owner: Owner, role: Role) {
        if self.role == Role::Held(owner) {
            self.role = role;
        }
    }
}

/// Who has the roles, and what that makes of an operation.
#[derive(Clone, Copy, Debug)]
struct Roles {
    sender: Seat,
    receiver: Seat,
    /// The receiver has closed, and the sender may not have noticed: one more may get through.
    may_miss_closing: bool,
}

/// What an operation of one end may know and do.
pub(crate) struct Turn<'a> {
    segment: &'a Segment,
    roles: &'a mut Roles,
    mapped: bool,
}

impl Turn<'_> {
    /// Who is at it.
    pub(crate) fn me(&self) -> Owner {
        self.segment.owner()
    }

    /// Compares the answer to a sender that asked for room: what `fits` is what the model says.
    pub(crate) fn admits(&self, fits: bool, refused: Option<SendError>) {
        let receiver = self.roles.receiver.role;
        let expected = match receiver {
            Role::Closed if fits && self.roles.may_miss_closing && refused.is_none() => None,
            Role::Closed => Some(SendError::Closed(())),
            _ if fits => None,
            Role::Died(owner) if !self.roles.sender.patient => Some(SendError::PeerDied((), owner)),
            _ => Some(SendError::Full(())),
        };
        assert_eq!(refused, expected, "the receiver is {receiver:?}, and there is room: {fits}");
    }

    /// Something was sent.
    pub(crate) fn sent(&mut self) {
        self.roles.may_miss_closing = false;
    }

    /// Compares the answer to a receiver: whether something is there is what the model says.
    pub(crate) fn yields(&self, something: bool, refused: Option<RecvError>) {
        let sender = self.roles.sender.role;
        let expected = match sender {
            _ if something => None,
            Role::Closed => Some(RecvError::Closed),
            Role::Died(owner) if !self.roles.receiver.patient => Some(RecvError::PeerDied(owner)),
            _ => Some(RecvError::Empty),
        };
        assert_eq!(refused, expected, "the sender is {sender:?}, and there is something: {something}");
    }

    /// This process dies with a guard in its hands; `commit`, if it still comes to that, has no effect.
    pub(crate) fn dies<G>(&self, guard: G, commit: Option<impl FnOnce(G) -> usize>) -> Fate {
        if self.mapped {
            panic_with(guard);
        } else {
            testing::kill(self.segment).expect("a heap segment");
            match commit {
                Some(commit) => assert_eq!(commit(guard), 0, "the dead change nothing"),
                None => drop(guard),
            }
        }
        Fate::Died
    }
}

/// As an error that does not give the value back.
pub(crate) fn without_value<T: Debug>(refused: SendError<T>) -> SendError {
    match refused {
        SendError::Full(_) => SendError::Full(()),
        SendError::Closed(_) => SendError::Closed(()),
        SendError::PeerDied(_, owner) => SendError::PeerDied((), owner),
        SendError::TooLarge(_, longest) => SendError::TooLarge((), longest),
        SendError::Fault(_, fault) => SendError::Fault((), fault),
        other => panic!("{other:?}"),
    }
}

fn panic_with<T>(held: T) {
    let panicked = catch_unwind(AssertUnwindSafe(move || {
        let _held = held;
        resume_unwind(Box::new(())) // as a panic, but says nothing
    }));
    assert!(panicked.is_err());
}

/// One of the two processes.
struct Process<S: Structure> {
    segment: Segment,
    ring: S::Ring,
    sender: Option<S::Sender>,
    receiver: Option<S::Receiver>,
}

impl<S: Structure> Process<S> {
    fn new(segment: Segment) -> Self {
        let ring = S::open(&segment);
        Self { segment, ring, sender: None, receiver: None }
    }
}

struct World<S: Structure> {
    processes: [Process<S>; 2],
    roles: Roles,
    model: S,
    mapped: bool,
    /// So many copies more: they take longer than all the rest.
    copies: u32,
}

impl<S: Structure> World<S> {
    fn step(&mut self, who: usize, op: Op<S::Send, S::Receive>) {
        match op {
            Op::Send(op) => self.send(op),
            Op::Receive(op) => self.receive(op),
            Op::Both(send, receive) => {
                self.send(send);
                self.receive(receive);
            }
            Op::Other(Other::TakeBoth) => {
                self.other(who, Other::Take(Side::Sending));
                self.other(1 - who, Other::Take(Side::Receiving));
            }
            Op::Other(op) => self.other(who, op),
        }
    }

    fn send(&mut self, op: S::Send) {
        let Some(who) = self.processes.iter().position(|process| process.sender.is_some()) else { return };
        let Process { segment, sender: Some(sender), .. } = &mut self.processes[who] else { return };
        let turn = &mut Turn { segment, roles: &mut self.roles, mapped: self.mapped };
        if self.model.send(sender, op, turn) == Fate::Died {
            self.bury(who);
        }
    }

    fn receive(&mut self, op: S::Receive) {
        let Some(who) = self.processes.iter().position(|process| process.receiver.is_some()) else { return };
        let Process { segment, receiver: Some(receiver), .. } = &mut self.processes[who] else { return };
        let turn = &mut Turn { segment, roles: &mut self.roles, mapped: self.mapped };
        if self.model.receive(receiver, op, turn) == Fate::Died {
            self.bury(who);
        }
    }

    fn other(&mut self, who: usize, op: Other) {
        let process = &mut self.processes[who];
        let me = process.segment.owner();
        match op {
            Other::TakeBoth => {}
            Other::Take(Side::Sending) => match S::try_sender(&process.ring) {
                Ok(sender) => {
                    self.roles.sender.take(me);
                    process.sender = Some(sender);
                }
                Err(error) => self.roles.sender.is_busy(&error),
            },
            Other::Take(Side::Receiving) => match S::try_receiver(&process.ring) {
                Ok(receiver) => {
                    self.roles.receiver.take(me);
                    self.roles.may_miss_closing = false;
                    process.receiver = Some(receiver);
                }
                Err(error) => self.roles.receiver.is_busy(&error),
            },
            Other::End(Side::Sending, ending) => {
                let Some(sender) = process.sender.take() else { return };
                self.roles.sender.role = leave(sender, ending, me);
            }
            Other::End(Side::Receiving, ending) => {
                let Some(receiver) = process.receiver.take() else { return };
                self.roles.receiver.role = leave(receiver, ending, me);
                self.roles.may_miss_closing = self.roles.receiver.role == Role::Closed;
            }
            Other::WaitForSuccessor(Side::Sending, yes) => {
                let Some(sender) = &mut process.sender else { return };
                sender.wait_for_successor(yes);
                self.roles.sender.patient = yes;
            }
            Other::WaitForSuccessor(Side::Receiving, yes) => {
                let Some(receiver) = &mut process.receiver else { return };
                receiver.wait_for_successor(yes);
                self.roles.receiver.patient = yes;
            }
            Other::Rare(rare) => self.rare(who, rare),
        }
    }

    fn rare(&mut self, who: usize, rare: Rare) {
        let process = &mut self.processes[who];
        match rare {
            Rare::Sweep => {
                let swept = process.segment.sweep().expect("this attachment lives");
                assert_eq!(swept.left, 0, "nobody else sweeps");
            }
            Rare::Reopen => process.ring = S::open(&process.segment),
            Rare::Kill => {
                if !self.mapped {
                    testing::kill(&process.segment).expect("a heap segment");
                }
                self.bury(who);
            }
            Rare::Leave => {
                let owner = process.segment.owner();
                self.roles.may_miss_closing |= self.roles.receiver.role == Role::Held(owner);
                self.gone(owner, Role::Closed);
                drop(self.replace(who));
            }
            Rare::Check => {
                let report = inspect::check(&process.segment);
                assert!(report.is_sound(), "{report}");
            }
            Rare::Snapshot if self.copies == 0 => {}
            Rare::Snapshot => {
                self.copies -= 1;
                let copy = process.segment.snapshot().expect("memory for a copy");
                let ring = S::open(&copy);
                // In a copy all are dead; if the table was full, they are even swept.
                let Roles { sender, receiver, .. } = self.roles;
                self.is_shown_by(&S::stats(&ring), &sender.of_the_dead(), &receiver.of_the_dead());
                let mut receiver = S::try_receiver(&ring).expect("all holders are dead");
                self.model.drain(&mut receiver);
            }
        }
    }

    /// What holds between two operations.
    fn is_as_it_should(&self) {
        self.is_shown_by(&S::stats(&self.processes[0].ring), &self.roles.sender, &self.roles.receiver);
        for process in &self.processes {
            for (seen, peer, count) in [
                (
                    process.sender.as_ref().map(|it| (it.position(), it.peer())),
                    &self.roles.receiver,
                    self.model.sent(),
                ),
                (
                    process.receiver.as_ref().map(|it| (it.position(), it.peer())),
                    &self.roles.sender,
                    self.model.received(),
                ),
            ] {
                let Some((position, holder)) = seen else { continue };
                assert_eq!(position, count);
                match peer.role {
                    Role::Held(owner) => assert_eq!(holder, Some(owner)),
                    Role::Died(owner) => assert!(holder.is_none_or(|holder| holder == owner)),
                    Role::Free | Role::Closed => assert_eq!(holder, None),
                }
            }
        }
    }

    fn is_shown_by(&self, stats: &Stats, sender: &Seat, receiver: &Seat) {
        let counts = (self.model.sent(), self.model.received(), self.model.depth());
        assert_eq!((stats.sent, stats.received, stats.depth), counts);
        sender.is_seen_as(stats.sender, stats.sender_closed, stats.sender_died, stats.senders);
        receiver.is_seen_as(stats.receiver, stats.receiver_closed, stats.receiver_died, stats.receivers);
    }

    /// `who` was killed: its handles refuse, and leave no trace. Or it panics, and all it holds with it.
    fn bury(&mut self, who: usize) {
        let owner = self.processes[who].segment.owner();
        self.gone(owner, Role::Died(owner));
        let mut dead = self.replace(who);
        if self.mapped {
            panic_with((dead.sender.take(), dead.receiver.take()));
            drop(dead);
        } else {
            dead.sender.iter_mut().for_each(End::is_dead);
            dead.receiver.iter_mut().for_each(End::is_dead);
        }
        assert!(self.processes[1 - who].segment.is_dead(owner));
    }

    fn gone(&mut self, owner: Owner, role: Role) {
        self.roles.sender.gone(owner, role);
        self.roles.receiver.gone(owner, role);
    }

    /// Another process comes in the place of `who`.
    fn replace(&mut self, who: usize) -> Process<S> {
        let segment = self.processes[1 - who].segment.attach().expect("rows of the dead are given out again");
        std::mem::replace(&mut self.processes[who], Process::new(segment))
    }

    /// Whoever comes last gets what is left, in order, and no more. And then nothing is left of the ring.
    fn end(mut self) {
        for who in [0, 1] {
            self.rare(who, Rare::Kill);
        }
        let [first, second] = &self.processes;
        let sender = S::try_sender(&first.ring).expect("all holders are dead");
        let mut receiver = S::try_receiver(&second.ring).expect("all holders are dead");
        assert_eq!((sender.position(), receiver.position()), (self.model.sent(), self.model.received()));
        self.model.drain(&mut receiver);
        self.model.works(sender, receiver);
        let [Process { segment, ring, .. }, other] = self.processes;
        segment.remove("ring").expect("it was there");
        drop((ring, other));
        segment.sweep().expect("this attachment lives");
        let report = inspect::check(&segment);
        let worst = report.findings.iter().map(|finding| finding.severity).max();
        assert!(worst <= Some(Severity::Note) && report.dead == 0, "{report}");
        assert_eq!(segment.objects().expect("this attachment lives"), []);
    }
}

/// What the end of a handle makes of its role.
fn leave<E: End>(it: E, ending: Ending, me: Owner) -> Role {
    match ending {
        Ending::Close => it.close(),
        Ending::Resign => it.resign(),
        Ending::Drop => drop(it),
        Ending::Panic => panic_with(it),
    }
    match ending {
        Ending::Close | Ending::Drop => Role::Closed,
        Ending::Resign => Role::Free,
        Ending::Panic => Role::Died(me),
    }
}

/// Plays it, on a ring named `ring` that `create` makes.
pub(crate) fn play<S>(script: Script<S::Send, S::Receive>, size: usize, create: impl FnOnce(&Segment) -> S)
where
    S: Structure,
{
    let mapped = script.memory % 4 == 1;
    let options = Segment::options().size(size).rows(6);
    let segment = if mapped { options.memfd("fuzz") } else { options.heap() }.expect("memory for a segment");
    let model = create(&segment);
    let other = segment.attach().expect("two of six rows");
    assert_eq!(mapped, segment.address() != other.address());
    let roles = Roles { sender: Seat::VACANT, receiver: Seat::VACANT, may_miss_closing: false };
    let mut world =
        World { processes: [Process::new(segment), Process::new(other)], roles, model, mapped, copies: 2 };
    if !script.vacant {
        world.step(0, Op::Other(Other::TakeBoth));
    }
    for (second, op) in script.steps.0 {
        world.step(usize::from(second), op);
        world.is_as_it_should();
    }
    world.end();
}
