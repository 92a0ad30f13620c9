//! What an actor does with a ring of records.

use arbitrary::Arbitrary;
use outlive::ring::records::{Receiver, Ring, Sender, Wait};
use outlive::{Error, Segment, ring};

use crate::actor::SHORT;

/// Something that a user may do with a ring of records.
#[derive(Arbitrary, Clone, Copy, Debug)]
#[allow(missing_docs, reason = "they are named as the calls that they make")]
pub enum RecordsAct {
    Open,
    OpenOrCreate { capacity: u16 },
    Remove,
    TrySender,
    SenderTimeout,
    TryReceiver,
    ReceiverTimeout,
    TrySend { len: u8 },
    SendTimeout { len: u16 },
    Grant { len: u8, fill: u8, commit: bool },
    GrantTimeout { len: u8 },
    TryRecv,
    RecvTimeout,
    Read { copy: u8, release: bool },
    ReadTimeout,
    Spin(bool),
    WaitForSuccessor(bool),
    CloseSender,
    CloseReceiver,
    ResignSender,
    ResignReceiver,
    Look,
}

/// What an actor has of it.
#[derive(Debug, Default)]
pub(crate) struct Records {
    ring: Option<Ring>,
    sender: Option<Sender>,
    receiver: Option<Receiver>,
    buffer: Vec<u8>,
}

impl Records {
    /// Whatever the memory holds: an answer or an error, and no more bytes than the ring has.
    pub(crate) fn attempt(&mut self, segment: &Segment, act: RecordsAct) -> Result<(), Error> {
        match (act, &self.ring) {
            (RecordsAct::Open, _) => self.ring = Some(Ring::open(segment, "records")?),
            (RecordsAct::OpenOrCreate { capacity }, _) => {
                self.ring = Some(Ring::open_or_create(segment, "records", usize::from(capacity))?);
            }
            (RecordsAct::Remove, _) => segment.remove("records")?,
            (RecordsAct::TrySender, Some(ring)) => self.sender = Some(ring.try_sender()?),
            (RecordsAct::SenderTimeout, Some(ring)) => self.sender = Some(ring.sender_timeout(SHORT)?),
            (RecordsAct::TryReceiver, Some(ring)) => self.receiver = Some(ring.try_receiver()?),
            (RecordsAct::ReceiverTimeout, Some(ring)) => self.receiver = Some(ring.receiver_timeout(SHORT)?),
            (RecordsAct::Look, Some(ring)) => {
                let shown = format!("{ring:?} {:?} {:?} {}", self.sender, self.receiver, ring.longest());
                let stats = ring.stats();
                assert!(!shown.is_empty() && stats.depth <= ring.capacity() as u64);
                assert!(!format!("{stats:?} {:?}", ring::stats(segment, "records")?).is_empty());
            }
            _ => {
                self.send(act)?;
                let most = usize::try_from(segment.size()).expect("it is mapped");
                self.receive(segment, act, most)?;
            }
        }
        Ok(())
    }

    fn send(&mut self, act: RecordsAct) -> Result<(), Error> {
        let held = &mut self.sender;
        match (act, held.as_mut()) {
            (RecordsAct::TrySend { len }, Some(sender)) => {
                sender.try_send(&vec![len; usize::from(len)])?;
                let _ = (sender.position(), sender.peer());
            }
            (RecordsAct::SendTimeout { len }, Some(sender)) => {
                sender.send_timeout(&vec![1; usize::from(len)], SHORT)?;
            }
            (RecordsAct::Grant { len, fill, commit }, Some(sender)) => {
                let mut grant = sender.try_reserve(usize::from(len))?;
                let filled = grant.extend_from_slice(&vec![2; usize::from(fill)]);
                assert_eq!(filled, usize::from(fill.min(len)));
                if commit {
                    assert_eq!(grant.commit(), filled);
                }
            }
            (RecordsAct::GrantTimeout { len }, Some(sender)) => {
                let grant = sender.reserve_timeout(usize::from(len), SHORT)?;
                assert_eq!((grant.capacity(), grant.commit()), (usize::from(len), 0));
            }
            (RecordsAct::Spin(yes), Some(sender)) => {
                sender.set_wait(if yes { Wait::Spin } else { Wait::Sleep });
            }
            (RecordsAct::WaitForSuccessor(yes), Some(sender)) => sender.wait_for_successor(yes),
            (RecordsAct::CloseSender, _) => held.take().into_iter().for_each(Sender::close),
            (RecordsAct::ResignSender, _) => held.take().into_iter().for_each(Sender::resign),
            _ => {}
        }
        Ok(())
    }

    fn receive(&mut self, segment: &Segment, act: RecordsAct, most: usize) -> Result<(), Error> {
        let held = &mut self.receiver;
        match (act, held.as_mut()) {
            (RecordsAct::TryRecv, Some(receiver)) => {
                let len = receiver.try_recv(&mut self.buffer)?;
                assert!(len == self.buffer.len() && len < most && self.buffer.capacity() < 2 * most);
                let _ = (receiver.position(), receiver.peer(), receiver.last_sender());
            }
            (RecordsAct::RecvTimeout, Some(receiver)) => {
                assert!(receiver.recv_timeout(&mut self.buffer, SHORT)? < most);
            }
            (RecordsAct::Read { copy, release }, Some(receiver)) => {
                let record = receiver.try_read()?;
                let mut part = vec![0; usize::from(copy)];
                assert_eq!(record.copy_to(&mut part), part.len().min(record.len()));
                assert!(record.to_vec().len() == record.len() && record.len() < most);
                let _ = segment.is_dead(record.sender());
                if release {
                    assert!(record.release());
                }
            }
            (RecordsAct::ReadTimeout, Some(receiver)) => assert!(receiver.read_timeout(SHORT)?.len() < most),
            (RecordsAct::Spin(yes), Some(receiver)) => {
                receiver.set_wait(if yes { Wait::Spin } else { Wait::Sleep });
            }
            (RecordsAct::WaitForSuccessor(yes), Some(receiver)) => receiver.wait_for_successor(yes),
            (RecordsAct::CloseReceiver, _) => held.take().into_iter().for_each(Receiver::close),
            (RecordsAct::ResignReceiver, _) => held.take().into_iter().for_each(Receiver::resign),
            _ => {}
        }
        Ok(())
    }
}
