//! What is done to rings with two ends, whatever they carry: roles are taken, used for a while, and left or lost by death.
//!
//! # What the ledger proves
//! Everything has a number: messages and records count from 0, so do the bytes of a stream. What number `n` is follows from
//! `n`, so that whatever arrives shows whether it is what is due.
//!
//! A sender notes up to which number it may commit, then commits, then notes how far it has come. Its successor is told by
//! the ring where it carries on: that lies between the two notes. Before: what was committed is *lost*. A receiver does the
//! same when it consumes; there, a position before the first note means that something which was consumed comes again,
//! *duplicated*; beyond the second, that something is *lost*. What comes again because its reader died before it released it,
//! or gave it back, is *flagged*: the ledger knows how far anybody has looked.
//!
//! At the end the ring is drained, and what arrived must be as much as was sent.

use core::fmt::Debug;
use core::time::Duration;

use outlive::ring::spsc::Wait;
use outlive::ring::{Stats, records, spsc, stream};
use outlive::{Error, Owner, Segment};

use super::hand::{Hand, Need, Waits};
use super::ledger::Page;
use super::operation::Operation;
use super::subject::{Place, Subject};
use crate::Outcome;

/// The words of a ring's page: up to where a sender may have committed, and has; the same for receivers; how far anybody has
/// looked; who has the roles.
const SENDING: usize = 0;
const SENT: usize = 1;
const RECEIVING: usize = 2;
const RECEIVED: usize = 3;
const SEEN: usize = 4;
const SENDER: usize = 5;
const RECEIVER: usize = 6;

/// A kind of ring.
pub(crate) trait Kind: Sized + Debug {
    type Ring: Debug;
    type Sender: End;
    type Receiver: End;
    /// Of taking a role.
    const ROLE: Operation;
    /// Of leaving it.
    const LEAVE: Operation;
    /// Whether what is consumed at once goes at once, as the ledger has it noted; else in parts, of which some may be gone.
    const WHOLE: bool;

    /// What is needed besides the ring.
    fn new(capacity: usize) -> Self;
    fn open(segment: &Segment, name: &str, capacity: usize) -> outlive::Result<Self::Ring>;
    fn stats(ring: &Self::Ring) -> Stats;
    /// At once, or waiting so long.
    fn sender(ring: &Self::Ring, timeout: Option<Duration>) -> outlive::Result<Self::Sender>;
    fn receiver(ring: &Self::Ring, timeout: Option<Duration>) -> outlive::Result<Self::Receiver>;
    /// Commits something, and says how much.
    fn send(&mut self, sender: &mut Self::Sender, bout: &mut Bout<'_>) -> outlive::Result<u64>;
    /// Consumes something, and says how much.
    fn receive(&mut self, receiver: &mut Self::Receiver, bout: &mut Bout<'_>) -> outlive::Result<u64>;
    /// Whether there is room for whatever somebody may be waiting to send.
    fn has_room(stats: &Stats) -> bool {
        stats.depth < stats.capacity
    }
}

/// What all ends have.
pub(crate) trait End {
    fn position(&self) -> u64;
    fn wait_for_successor(&mut self, yes: bool);
    fn set_wait(&mut self, how: Wait);
    fn close(self);
    fn resign(self);
}

macro_rules! ends {
    ($($end:ty),*) => { $(
        impl End for $end {
            fn position(&self) -> u64 {
                self.position()
            }
            fn wait_for_successor(&mut self, yes: bool) {
                self.wait_for_successor(yes);
            }
            fn set_wait(&mut self, how: Wait) {
                self.set_wait(how);
            }
            fn close(self) {
                self.close();
            }
            fn resign(self) {
                self.resign();
            }
        }
    )* };
}

ends!(spsc::Sender<super::spsc::Message>, spsc::Receiver<super::spsc::Message>);
ends!(records::Sender, records::Receiver, stream::Writer, stream::Reader);

/// A role, used for a while. Numbers come from the ring, which may be broken: they may be any.
#[derive(Debug)]
pub(crate) struct Bout<'a> {
    pub(crate) hand: &'a mut Hand,
    page: &'a Page,
    name: &'a str,
    /// What is next, by the ledger.
    pub(crate) next: u64,
    patient: bool,
}

impl Bout<'_> {
    /// Notes that `n` more may be committed.
    pub(crate) fn may_send(&self, n: u64) {
        self.page.set(SENDING, self.next.wrapping_add(n));
    }

    /// Notes that `n` more may be consumed.
    pub(crate) fn may_consume(&self, n: u64) {
        self.page.set(RECEIVING, self.next.wrapping_add(n));
    }

    /// One operation that waits for room or messages: no longer than this, if at all.
    pub(crate) fn does<R>(
        &mut self,
        what: Operation,
        at_most: Option<Duration>,
        operation: impl FnOnce() -> R,
    ) -> R {
        let need = if is_sending(what) { Need::Room } else { Need::Message };
        self.hand.does(what, Waits::until(need, self.patient, at_most), operation)
    }

    /// One that does not.
    pub(crate) fn does_at_once<R>(&mut self, what: Operation, operation: impl FnOnce() -> R) -> R {
        self.hand.does(what, Waits::NOT, operation)
    }

    /// What has arrived is what was sent under that number, or it is not.
    pub(crate) fn arrived(&self, number: u64, is_right: bool) {
        if !is_right {
            self.hand.lost(
                1,
                &format_args!("{}: what arrived as number {number} is not what was sent", self.name),
            );
        }
        if self.page.raise(SEEN, number.wrapping_add(1)) > number {
            self.hand.flagged();
        }
    }
}

fn is_sending(what: Operation) -> bool {
    use Operation::{
        RecordsCommit, RecordsDropGrant, RecordsSend, SpscCommit, SpscDropGrant, SpscSend, SpscSendSlice,
        StreamCommit, StreamFillFrom, StreamWrite,
    };
    matches!(
        what,
        SpscSend
            | SpscSendSlice
            | SpscCommit
            | SpscDropGrant
            | RecordsSend
            | RecordsCommit
            | RecordsDropGrant
            | StreamWrite
            | StreamCommit
            | StreamFillFrom
    )
}

/// A ring of some kind.
#[derive(Debug)]
pub(crate) struct RingSubject<K: Kind> {
    kind: K,
    ring: K::Ring,
    segment: Segment,
    page: Page,
    name: String,
}

/// Whose turn it is to do what: the words of the ledger and the names that go with a side.
struct Side {
    doing: usize,
    done: usize,
    holder: usize,
    need: Need,
}

const SENDS: Side = Side { doing: SENDING, done: SENT, holder: SENDER, need: Need::SenderRole };
const RECEIVES: Side = Side { doing: RECEIVING, done: RECEIVED, holder: RECEIVER, need: Need::ReceiverRole };

impl<K: Kind> RingSubject<K> {
    pub(crate) fn open(place: &Place, name: &str, capacity: usize) -> Outcome<Self> {
        Ok(Self {
            kind: K::new(capacity),
            ring: K::open(&place.segment, name, capacity)?,
            segment: place.segment.clone(),
            page: place.ledger.page(name)?,
            name: name.to_owned(),
        })
    }

    fn is_held(&self, by: Option<Owner>) -> bool {
        by.is_some_and(|owner| !self.segment.is_dead(owner))
    }

    /// Whether a living process has the sender's role, and the receiver's.
    fn held(&self) -> [bool; 2] {
        let stats = K::stats(&self.ring);
        [self.is_held(stats.sender), self.is_held(stats.receiver)]
    }

    /// Takes a role, if it is to be had, and uses it.
    fn bout<E: End>(
        &mut self,
        hand: &mut Hand,
        side: &Side,
        take: impl FnOnce(&K::Ring, Option<Duration>) -> outlive::Result<E>,
        step: impl Fn(&mut K, &mut E, &mut Bout<'_>) -> outlive::Result<u64>,
    ) -> Outcome<()> {
        let timeout = (!hand.random.once_in(3)).then(|| hand.random.pause(Duration::from_millis(300)));
        let waits = timeout.map_or(Waits::NOT, |time| Waits::until(side.need, false, Some(time)));
        let mut end = match hand.does(K::ROLE, waits, || take(&self.ring, timeout)) {
            Ok(end) => end,
            Err(Error::Busy { .. }) => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        hand.holds(&self.page, side.holder, &format_args!("{}: the role", self.name));
        let next = self.succeed(hand, side, end.position());
        let patient = hand.random.once_in(2);
        end.wait_for_successor(patient);
        end.set_wait(
            [Wait::Sleep, Wait::Sleep, Wait::Sleep, Wait::Sleep, Wait::Yield, Wait::Spin]
                [hand.random.index(6)],
        );
        let most = [4, 100, 3000][hand.random.index(3)];
        let steps = 1 + hand.random.below(most);
        let mut bout = Bout { hand, page: &self.page, name: &self.name, next, patient };
        let mut vain = 0;
        for _ in 0..steps {
            let result = step(&mut self.kind, &mut end, &mut bout);
            let n = *result.as_ref().unwrap_or(&0);
            bout.next = bout.next.wrapping_add(n);
            if end.position() != bout.next {
                let (found, expected) = (end.position(), bout.next);
                let what = format!("{}: it is at {found}, and should be at {expected}", self.name);
                bout.hand.lost(found.abs_diff(expected), &what);
                bout.next = found;
            }
            self.page.set(side.done, bout.next);
            match result {
                Ok(_) => vain = 0,
                Err(Error::Full | Error::Empty) => vain += 1,
                // Somebody may come and open it again.
                Err(Error::Closed | Error::PeerDied { .. }) => {
                    vain += 20;
                    std::thread::sleep(Duration::from_micros(300));
                }
                Err(error) => return Err(format!("{}: {error}", self.name).into()),
            }
            if vain > 200 || bout.hand.is_to_stop() {
                break;
            }
            bout.hand.rests(500);
        }
        // From here on it may be another's, as far as the ledger is concerned.
        Hand::leaves(&self.page, side.holder);
        let how = bout.hand.random.below(5);
        bout.does_at_once(K::LEAVE, || match how {
            0 => end.close(),
            1 => drop(end),
            _ => end.resign(),
        });
        Ok(())
    }

    /// Compares where the ring says that the last holder stopped with what that one has noted.
    fn succeed(&self, hand: &Hand, side: &Side, position: u64) -> u64 {
        let done = self.page.get(side.done);
        let doing = self.page.get(side.doing).max(done);
        let receives = side.doing == RECEIVING;
        let what = format!("{}: succeeded at {position}, left between {done} and {doing}", self.name);
        if position < done && receives {
            hand.duplicated(done - position, &what);
        } else if position < done {
            hand.lost(done - position, &what);
        } else if position > doing && receives {
            hand.lost(position - doing, &what);
        } else if position > doing {
            hand.duplicated(position - doing, &what);
        } else if receives && K::WHOLE && position != done && position != doing {
            hand.lost(position - done, &what);
        }
        self.page.set(side.doing, position);
        self.page.set(side.done, position);
        position
    }

    fn sends(&mut self, hand: &mut Hand) -> Outcome<()> {
        self.bout(hand, &SENDS, K::sender, K::send)
    }

    fn receives(&mut self, hand: &mut Hand) -> Outcome<()> {
        self.bout(hand, &RECEIVES, K::receiver, K::receive)
    }
}

impl<K: Kind> Subject for RingSubject<K> {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn work(&mut self, hand: &mut Hand) -> Outcome<()> {
        let sends = match self.held() {
            [true, false] => false,
            [false, true] => true,
            _ => hand.random.once_in(2),
        };
        if sends { self.sends(hand) } else { self.receives(hand) }
    }

    fn calls(&self) -> bool {
        matches!(self.held(), [true, false] | [false, true])
    }

    fn may_go_on(&self, waits: Waits) -> Option<u64> {
        let stats = K::stats(&self.ring);
        let turns = u64::from(stats.senders) << 32 | u64::from(stats.receivers);
        let gone = |peer: Option<Owner>, closed, died: Option<Owner>| {
            let dead = peer.map_or(died.is_some(), |owner| self.segment.is_dead(owner));
            closed || dead && !waits.patient
        };
        // Only who waits can change this.
        let always = |there: bool| there.then_some(u64::MAX);
        let now = |there: bool| there.then_some(turns);
        match waits.need {
            Need::Nothing => always(true),
            Need::Room => always(K::has_room(&stats))
                .or_else(|| now(gone(stats.receiver, stats.receiver_closed, stats.receiver_died))),
            Need::Message => always(stats.depth > 0)
                .or_else(|| now(gone(stats.sender, stats.sender_closed, stats.sender_died))),
            Need::SenderRole => now(!self.is_held(stats.sender)),
            Need::ReceiverRole => now(!self.is_held(stats.receiver)),
        }
    }

    fn audit(&mut self, hand: &mut Hand) -> Outcome<()> {
        let mut sender = K::sender(&self.ring, None)?;
        let mut receiver = K::receiver(&self.ring, None)?;
        let sent = self.succeed(hand, &SENDS, sender.position());
        let next = self.succeed(hand, &RECEIVES, receiver.position());
        sender.wait_for_successor(true);
        let Self { kind, ring, page, name, .. } = self;
        let mut bout = Bout { hand, page, name, next, patient: true };
        while K::stats(ring).depth > 0 {
            let n = kind.receive(&mut receiver, &mut bout)?;
            bout.next = bout.next.wrapping_add(n);
        }
        let end = receiver.position();
        if (end, bout.next) != (sent, sent) {
            let what = format!("{name}: {sent} were sent, {} arrived, and the ring says {end}", bout.next);
            bout.hand.lost(sent.abs_diff(bout.next).max(1), &what);
        }
        sender.resign();
        receiver.resign();
        Ok(())
    }
}
