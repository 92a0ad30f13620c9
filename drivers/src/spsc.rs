//! What an actor does with a ring of values.

use arbitrary::Arbitrary;
use outlive::ring::spsc::{Receiver, Ring, Sender, Wait};
use outlive::{Error, Segment, ring};

use crate::actor::SHORT;

/// Something that a user may do with a ring of values.
#[derive(Arbitrary, Clone, Copy, Debug)]
#[allow(missing_docs, reason = "they are named as the calls that they make")]
pub enum SpscAct {
    Open,
    OpenOrCreate { capacity: u8 },
    Create { capacity: u8 },
    OpenAsAnotherType,
    Remove,
    TrySender,
    SenderTimeout,
    TryReceiver,
    ReceiverTimeout,
    TrySend(u64),
    SendTimeout(u64),
    SendSlice { len: u8 },
    Grant { max: u8, fill: u8, commit: bool },
    GrantTimeout { max: u8 },
    TryRecv,
    RecvTimeout,
    Read { max: u8, release: Option<u8> },
    ReadTimeout { max: u8 },
    Spin(bool),
    WaitForSuccessor(bool),
    CloseSender,
    CloseReceiver,
    ResignSender,
    ResignReceiver,
    DropSender,
    DropReceiver,
    Look,
}

/// What an actor has of it.
#[derive(Debug, Default)]
pub(crate) struct Spsc {
    ring: Option<Ring<u64>>,
    sender: Option<Sender<u64>>,
    receiver: Option<Receiver<u64>>,
}

impl Spsc {
    /// Whatever the memory holds: an answer or an error, and no more values than the ring has.
    pub(crate) fn attempt(&mut self, segment: &Segment, act: SpscAct) -> Result<(), Error> {
        match (act, &self.ring) {
            (SpscAct::Open, _) => self.ring = Some(Ring::open(segment, "ring")?),
            (SpscAct::OpenOrCreate { capacity }, _) => {
                self.ring = Some(Ring::open_or_create(segment, "ring", usize::from(capacity))?);
            }
            (SpscAct::Create { capacity }, _) => {
                self.ring = Some(Ring::create(segment, "ring", usize::from(capacity))?);
            }
            (SpscAct::OpenAsAnotherType, _) => drop(Ring::<u8>::open(segment, "ring")?),
            (SpscAct::Remove, _) => segment.remove("ring")?,
            (SpscAct::TrySender, Some(ring)) => self.sender = Some(ring.try_sender()?),
            (SpscAct::SenderTimeout, Some(ring)) => self.sender = Some(ring.sender_timeout(SHORT)?),
            (SpscAct::TryReceiver, Some(ring)) => self.receiver = Some(ring.try_receiver()?),
            (SpscAct::ReceiverTimeout, Some(ring)) => self.receiver = Some(ring.receiver_timeout(SHORT)?),
            (SpscAct::Look, Some(ring)) => {
                let shown = format!("{ring:?} {:?} {:?}", self.sender, self.receiver);
                let stats = ring.stats();
                assert!(!shown.is_empty() && stats.depth <= ring.capacity() as u64);
                assert!(!format!("{stats:?} {:?}", ring::stats(segment, "ring")?).is_empty());
            }
            _ => {
                self.send(act)?;
                self.receive(act)?;
            }
        }
        Ok(())
    }

    fn send(&mut self, act: SpscAct) -> Result<(), Error> {
        let held = &mut self.sender;
        match (act, held.as_mut()) {
            (SpscAct::TrySend(value), Some(sender)) => {
                sender.try_send(value)?;
                let _ = (sender.position(), sender.peer());
            }
            (SpscAct::SendTimeout(value), Some(sender)) => sender.send_timeout(value, SHORT)?,
            (SpscAct::SendSlice { len }, Some(sender)) => {
                let values: Vec<u64> = (0..u64::from(len)).collect();
                assert!(sender.try_send_slice(&values)? <= values.len());
            }
            (SpscAct::Grant { max, fill, commit }, Some(sender)) => {
                let mut grant = sender.try_reserve(usize::from(max))?;
                assert!(grant.capacity() <= usize::from(max));
                let filled = grant.extend(0..u64::from(fill));
                assert!(filled <= usize::from(fill));
                if commit {
                    assert_eq!(grant.commit(), filled);
                }
            }
            (SpscAct::GrantTimeout { max }, Some(sender)) => {
                let mut grant = sender.reserve_timeout(usize::from(max), SHORT)?;
                let pushed = usize::from(grant.push(7).is_ok());
                assert_eq!((grant.len(), grant.commit()), (pushed, pushed));
            }
            (SpscAct::Spin(yes), Some(sender)) => sender.set_wait(if yes { Wait::Spin } else { Wait::Sleep }),
            (SpscAct::WaitForSuccessor(yes), Some(sender)) => sender.wait_for_successor(yes),
            (SpscAct::CloseSender, _) => held.take().into_iter().for_each(Sender::close),
            (SpscAct::ResignSender, _) => held.take().into_iter().for_each(Sender::resign),
            (SpscAct::DropSender, _) => *held = None,
            _ => {}
        }
        Ok(())
    }

    fn receive(&mut self, act: SpscAct) -> Result<(), Error> {
        let held = &mut self.receiver;
        match (act, held.as_mut()) {
            (SpscAct::TryRecv, Some(receiver)) => {
                receiver.try_recv()?;
                let _ = (receiver.position(), receiver.peer());
            }
            (SpscAct::RecvTimeout, Some(receiver)) => drop(receiver.recv_timeout(SHORT)?),
            (SpscAct::Read { max, release }, Some(receiver)) => {
                let items = receiver.try_read(usize::from(max))?;
                let mut into = [0; 4];
                let (seen, copied) = (items.iter().count(), items.copy_to(&mut into));
                assert!(seen <= usize::from(max) && copied == seen.min(into.len()));
                assert_eq!(items.get(seen), None);
                if let Some(n) = release.map(usize::from) {
                    let released = if n < seen { items.release_first(n) } else { items.release() };
                    assert_eq!(released, n.min(seen));
                }
            }
            (SpscAct::ReadTimeout { max }, Some(receiver)) => {
                let items = receiver.read_timeout(usize::from(max), SHORT)?;
                assert!(items.len() <= usize::from(max));
            }
            (SpscAct::Spin(yes), Some(receiver)) => {
                receiver.set_wait(if yes { Wait::Spin } else { Wait::Sleep });
            }
            (SpscAct::WaitForSuccessor(yes), Some(receiver)) => receiver.wait_for_successor(yes),
            (SpscAct::CloseReceiver, _) => held.take().into_iter().for_each(Receiver::close),
            (SpscAct::ResignReceiver, _) => held.take().into_iter().for_each(Receiver::resign),
            (SpscAct::DropReceiver, _) => *held = None,
            _ => {}
        }
        Ok(())
    }
}
