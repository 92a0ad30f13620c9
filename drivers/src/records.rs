//! What an actor does with a ring of records.

use arbitrary::Arbitrary;
use outlive::ring::records::{Receiver, Ring, Sender};
use outlive::{Error, Segment};

use crate::actor::SHORT;

/// Something that a user may do with a ring of records.
#[derive(Arbitrary, Clone, Copy, Debug)]
#[allow(missing_docs, reason = "they are named as the calls that they make")]
pub enum RecordsAct {
    Open,
    OpenOrCreate { capacity: u16 },
    Remove,
    TrySender,
    TryReceiver,
    TrySend { len: u8 },
    SendTimeout { len: u16 },
    Grant { len: u8, fill: u8, commit: bool },
    TryRecv,
    RecvTimeout,
    Read { copy: u8, release: bool },
    CloseSender,
    CloseReceiver,
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
        let most = usize::try_from(segment.size()).expect("it is mapped");
        match (act, &self.ring, &mut self.sender, &mut self.receiver) {
            (RecordsAct::Open, ..) => self.ring = Some(Ring::open(segment, "records")?),
            (RecordsAct::OpenOrCreate { capacity }, ..) => {
                self.ring = Some(Ring::open_or_create(segment, "records", usize::from(capacity))?);
            }
            (RecordsAct::Remove, ..) => segment.remove("records")?,
            (RecordsAct::TrySender, Some(ring), held, _) => *held = Some(ring.try_sender()?),
            (RecordsAct::TryReceiver, Some(ring), _, held) => *held = Some(ring.try_receiver()?),
            (RecordsAct::TrySend { len }, _, Some(sender), _) => {
                sender.try_send(&vec![len; usize::from(len)])?;
                let _ = (sender.position(), sender.peer());
            }
            (RecordsAct::SendTimeout { len }, _, Some(sender), _) => {
                sender.send_timeout(&vec![1; usize::from(len)], SHORT)?;
            }
            (RecordsAct::Grant { len, fill, commit }, _, Some(sender), _) => {
                let mut grant = sender.try_reserve(usize::from(len))?;
                let filled = grant.extend_from_slice(&vec![2; usize::from(fill)]);
                assert_eq!(filled, usize::from(fill.min(len)));
                if commit {
                    assert_eq!(grant.commit(), filled);
                }
            }
            (RecordsAct::TryRecv, _, _, Some(receiver)) => {
                let len = receiver.try_recv(&mut self.buffer)?;
                assert!(len == self.buffer.len() && len < most && self.buffer.capacity() < 2 * most);
                let _ = (receiver.position(), receiver.peer(), receiver.last_sender());
            }
            (RecordsAct::RecvTimeout, _, _, Some(receiver)) => {
                assert!(receiver.recv_timeout(&mut self.buffer, SHORT)? < most);
            }
            (RecordsAct::Read { copy, release }, _, _, Some(receiver)) => {
                let record = receiver.try_read()?;
                let mut part = vec![0; usize::from(copy)];
                assert_eq!(record.copy_to(&mut part), part.len().min(record.len()));
                assert!(record.to_vec().len() == record.len() && record.len() < most);
                let _ = segment.is_dead(record.sender());
                if release {
                    assert!(record.release());
                }
            }
            (RecordsAct::CloseSender, _, held, _) => held.take().into_iter().for_each(Sender::close),
            (RecordsAct::CloseReceiver, _, _, held) => held.take().into_iter().for_each(Receiver::close),
            (RecordsAct::Look, Some(ring), sender, receiver) => {
                let shown = format!("{ring:?} {sender:?} {receiver:?} {}", ring.longest());
                assert!(!shown.is_empty() && ring.stats().depth <= ring.capacity() as u64);
            }
            _ => {}
        }
        Ok(())
    }
}
