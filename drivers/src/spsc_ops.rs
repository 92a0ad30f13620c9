//! Operations of two processes on a ring of values, with deaths and successors, against a queue: nothing is lost, nothing
//! comes twice, and every answer is the one that the roles' states demand.

use std::collections::VecDeque;
use std::time::Duration;

use arbitrary::Arbitrary;
use outlive::error::{Fault, RecvError, SendError};
use outlive::ring::Stats;
use outlive::ring::spsc::{Receiver, Ring, Sender};
use outlive::{Error, Segment};

use crate::two_ends::{Fate, Script, Structure, Then, Turn, end, play, without_value};

/// A world, and what happens in it.
#[derive(Arbitrary, Debug)]
pub struct Input {
    capacity: u8,
    script: Script<Send, Receive>,
}

#[derive(Arbitrary, Clone, Copy, Debug)]
enum Send {
    One {
        wait: bool,
    },
    Slice {
        len: u8,
    },
    /// Reserve so many; fill in some at once, and others one by one.
    Grant {
        max: u8,
        some: u8,
        more: u8,
        then: Then,
    },
}

#[derive(Arbitrary, Clone, Copy, Debug)]
enum Receive {
    One {
        wait: bool,
    },
    /// Read so many; release all, or so many.
    Read {
        max: u8,
        first: Option<u8>,
        then: Then,
    },
}

/// More than any ring here has.
const MOST: u8 = 12;

/// The queue that the ring has to be, of the numbers from 0 on.
struct Queue {
    queue: VecDeque<u64>,
    capacity: usize,
    sent: u64,
    received: u64,
}

impl Queue {
    fn room(&self) -> usize {
        self.capacity - self.queue.len()
    }

    fn until_wrap(&self, position: u64) -> usize {
        self.capacity - position as usize % self.capacity
    }

    fn sends(&mut self, count: usize, turn: &mut Turn<'_>) {
        self.queue.extend(self.sent..self.sent + count as u64);
        self.sent += count as u64;
        if count > 0 {
            turn.sent();
        }
    }

    fn receives(&mut self, count: usize) {
        self.queue.drain(..count);
        self.received += count as u64;
    }
}

end!(Sender<u64>, |sender| {
    assert_eq!(sender.try_send(9), Err(SendError::Fault(9, Fault::Killed)));
    assert_eq!(sender.try_send_slice(&[9]), Err(SendError::Fault((), Fault::Killed)));
    assert_eq!(sender.try_reserve(1).err(), Some(SendError::Fault((), Fault::Killed)));
});
end!(Receiver<u64>, |receiver| {
    assert_eq!(receiver.try_recv(), Err(RecvError::Fault(Fault::Killed)));
    assert_eq!(receiver.try_read(1).err(), Some(RecvError::Fault(Fault::Killed)));
});

impl Structure for Queue {
    type Ring = Ring<u64>;
    type Sender = Sender<u64>;
    type Receiver = Receiver<u64>;
    type Send = Send;
    type Receive = Receive;

    fn open(segment: &Segment) -> Ring<u64> {
        Ring::open(segment, "ring").expect("it was created")
    }

    fn try_sender(ring: &Ring<u64>) -> Result<Sender<u64>, Error> {
        ring.try_sender()
    }

    fn try_receiver(ring: &Ring<u64>) -> Result<Receiver<u64>, Error> {
        ring.try_receiver()
    }

    fn stats(ring: &Ring<u64>) -> Stats {
        ring.stats()
    }

    fn sent(&self) -> u64 {
        self.sent
    }

    fn received(&self) -> u64 {
        self.received
    }

    fn depth(&self) -> u64 {
        self.queue.len() as u64
    }

    fn send(&mut self, sender: &mut Sender<u64>, op: Send, turn: &mut Turn<'_>) -> Fate {
        let (next, room) = (self.sent, self.room());
        match op {
            Send::One { wait } => {
                let sent =
                    if wait { sender.send_timeout(next, Duration::ZERO) } else { sender.try_send(next) };
                let given_back = sent.err().map(SendError::into_value);
                assert!(given_back.is_none_or(|value| value == next), "the refused value comes back");
                turn.admits(room > 0, sent.err().map(without_value));
                self.sends(usize::from(sent.is_ok()), turn);
            }
            Send::Slice { len } => {
                let numbers: Vec<u64> = (next..next + u64::from(len % MOST)).collect();
                let sent = sender.try_send_slice(&numbers);
                if !numbers.is_empty() {
                    turn.admits(room > 0, sent.err());
                }
                assert_eq!(sent.unwrap_or(0), if sent.is_ok() { numbers.len().min(room) } else { 0 });
                self.sends(sent.unwrap_or(0), turn);
            }
            Send::Grant { max, some, more, then } => {
                let max = usize::from(max % MOST);
                let granted = sender.try_reserve(max);
                if max > 0 {
                    turn.admits(room > 0, granted.as_ref().err().copied());
                }
                let Ok(mut grant) = granted else { return Fate::Lives };
                assert_eq!(grant.capacity(), max.min(room).min(self.until_wrap(next)));
                let mut filled = grant.extend((next..).take(usize::from(some % MOST)));
                assert_eq!(filled, grant.capacity().min(usize::from(some % MOST)));
                for _ in 0..more % MOST {
                    let pushed = grant.push(next + filled as u64);
                    assert_eq!(pushed.is_ok(), filled < grant.capacity());
                    filled += usize::from(pushed.is_ok());
                }
                assert_eq!(grant.len(), filled);
                match then {
                    Then::Commit => {
                        assert_eq!(grant.commit(), filled);
                        self.sends(filled, turn);
                    }
                    Then::Drop => drop(grant),
                    Then::Die { commit } => {
                        return turn.dies(grant, commit.then_some(outlive::ring::spsc::Grant::commit));
                    }
                }
            }
        }
        Fate::Lives
    }

    fn receive(&mut self, receiver: &mut Receiver<u64>, op: Receive, turn: &mut Turn<'_>) -> Fate {
        let something = !self.queue.is_empty();
        match op {
            Receive::One { wait } => {
                let received = if wait { receiver.recv_timeout(Duration::ZERO) } else { receiver.try_recv() };
                turn.yields(something, received.err());
                assert_eq!(received.ok(), self.queue.front().copied(), "lost, or twice");
                self.receives(usize::from(received.is_ok()));
            }
            Receive::Read { max, first, then } => {
                let max = usize::from(max % MOST);
                let read = receiver.try_read(max);
                if max > 0 {
                    turn.yields(something, read.as_ref().err().copied());
                }
                let Ok(items) = read else { return Fate::Lives };
                let given = max.min(self.queue.len()).min(self.until_wrap(self.received));
                assert_eq!((items.len(), items.get(given)), (given, None));
                assert!(items.iter().eq(self.queue.iter().take(given).copied()), "lost, or twice");
                match (then, first.map(usize::from)) {
                    (Then::Commit, None) => {
                        assert_eq!(items.release(), given);
                        self.receives(given);
                    }
                    (Then::Commit, Some(first)) => {
                        assert_eq!(items.release_first(first), first.min(given));
                        self.receives(first.min(given));
                    }
                    (Then::Drop, _) => drop(items),
                    (Then::Die { commit }, _) => {
                        return turn.dies(items, commit.then_some(outlive::ring::spsc::Items::release));
                    }
                }
            }
        }
        Fate::Lives
    }

    fn drain(&self, receiver: &mut Receiver<u64>) {
        let left: Vec<u64> = std::iter::from_fn(|| receiver.try_recv().ok()).collect();
        assert!(self.queue.iter().eq(&left), "{left:?} is left of {:?}", self.queue);
    }

    fn works(&self, mut sender: Sender<u64>, mut receiver: Receiver<u64>) {
        for round in 0..2 * self.capacity as u64 {
            sender.try_send(round).expect("the ring is empty");
            assert_eq!(receiver.try_recv(), Ok(round));
        }
    }
}

/// # Panics
/// If a promise is broken.
pub fn run(input: Input) {
    play(input.script, 16 << 10, |segment| {
        let ring =
            Ring::<u64>::create(segment, "ring", usize::from(input.capacity % 8) + 1).expect("room for it");
        Queue { queue: VecDeque::new(), capacity: ring.capacity(), sent: 0, received: 0 }
    });
}
