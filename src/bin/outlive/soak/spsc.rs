//! Rings of messages of one type.

use core::time::Duration;

use outlive::ring::Stats;
use outlive::ring::spsc::{Receiver, Ring, Sender};
use outlive::{Error, Segment};

use super::operation::Operation;
use super::ring::{Bout, Kind};
use crate::random::mixed;

/// Its number, and three words by which a part of another message would be noticed.
pub(crate) type Message = [u64; 4];

fn message(number: u64) -> Message {
    [number, mixed(number), !number, number.rotate_left(32)]
}

/// The most messages at once.
const BATCH: u64 = 6;

#[derive(Debug)]
pub(crate) struct Spsc;

impl Kind for Spsc {
    type Ring = Ring<Message>;
    type Sender = Sender<Message>;
    type Receiver = Receiver<Message>;
    const ROLE: Operation = Operation::SpscRole;
    const LEAVE: Operation = Operation::SpscLeave;
    const WHOLE: bool = true;

    fn new(_capacity: usize) -> Self {
        Self
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
        let most = 1 + bout.hand.random.below(BATCH);
        let first = message(bout.next);
        let all: Vec<Message> = (0..most).map(|n| message(bout.next.wrapping_add(n))).collect();
        let how = bout.hand.random.below(7);
        bout.may_send(if how < 3 { 1 } else { most });
        let one =
            |result: Result<(), outlive::error::SendError<Message>>| result.map(|()| 1).map_err(Error::from);
        match how {
            0 => one(bout.does_at_once(Operation::SpscSend, || sender.try_send(first))),
            1 => one(bout.does(Operation::SpscSend, Some(time), || sender.send_timeout(first, time))),
            2 => one(bout.does(Operation::SpscSend, None, || sender.send(first))),
            3 => Ok(bout.does_at_once(Operation::SpscSendSlice, || sender.try_send_slice(&all))? as u64),
            4 | 5 => {
                let max = all.len();
                let commit = || {
                    let mut grant = sender.reserve(max)?;
                    grant.extend(all);
                    Ok(grant.commit() as u64)
                };
                bout.does(Operation::SpscCommit, None, commit)
            }
            _ => {
                let fill = || {
                    let mut grant = sender.try_reserve(all.len())?;
                    grant.extend([message(u64::MAX)]); // and nothing of it is sent
                    Ok(0)
                };
                bout.does_at_once(Operation::SpscDropGrant, fill)
            }
        }
    }

    fn receive(&mut self, receiver: &mut Self::Receiver, bout: &mut Bout<'_>) -> outlive::Result<u64> {
        let time = bout.hand.random.pause(Duration::from_millis(2));
        let next = bout.next;
        let how = bout.hand.random.below(6);
        if how < 3 {
            bout.may_consume(1);
            let found = match how {
                0 => bout.does_at_once(Operation::SpscRecv, || receiver.try_recv())?,
                1 => bout.does(Operation::SpscRecv, Some(time), || receiver.recv_timeout(time))?,
                _ => bout.does(Operation::SpscRecv, None, || receiver.recv())?,
            };
            bout.arrived(next, found == message(next));
            return Ok(1);
        }
        let most = 1 + bout.hand.random.index(usize::try_from(BATCH).unwrap_or(1));
        let keep = bout.hand.random.index(3);
        let (what, timeout) = match how {
            3 => (Operation::SpscRelease, None),
            4 => (Operation::SpscRelease, Some(time)),
            _ => (Operation::SpscReleaseSome, None),
        };
        bout.may_consume(0);
        let items = bout.does(what, timeout, || match timeout {
            None => receiver.read(most),
            Some(time) => receiver.read_timeout(most, time),
        })?;
        for (n, found) in (0..).zip(items.iter()) {
            let number = next.wrapping_add(n);
            bout.arrived(number, found == message(number));
        }
        let n = if how == 5 { keep.min(items.len()) } else { items.len() };
        bout.may_consume(n as u64);
        // The others come again.
        Ok(bout.does_at_once(what, || if how == 5 { items.release_first(n) } else { items.release() }) as u64)
    }
}
