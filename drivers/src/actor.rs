//! One process, as far as a segment can tell.

use std::time::Duration;

use arbitrary::Arbitrary;
use outlive::atomic::{AtomicU64, Ordering};
use outlive::object::Object;
use outlive::ptr::Offset;
use outlive::ring::spsc::{Receiver, Ring, Sender};
use outlive::{Error, Segment};

use crate::records::{Records, RecordsAct};

/// Waiting is not what these targets look for.
pub(crate) const SHORT: Duration = Duration::from_micros(50);

/// Something that a user may do. Numbers that matter are small, so that they meet.
#[derive(Arbitrary, Clone, Copy, Debug)]
#[allow(missing_docs, reason = "they are named as the calls that they make")]
pub enum Act {
    OpenRing,
    OpenOrCreateRing { capacity: u8 },
    CreateRing { capacity: u8 },
    RemoveRing,
    OpenRingOfAnotherType,
    Object,
    ObjectOfAnotherType,
    RemoveObject,
    TrySender,
    SenderTimeout,
    TryReceiver,
    TrySend(u64),
    SendTimeout(u64),
    SendSlice { len: u8 },
    Grant { max: u8, fill: u8, commit: bool },
    TryRecv,
    RecvTimeout,
    Read { max: u8, release: Option<u8> },
    WaitForSuccessor(bool),
    CloseSender,
    CloseReceiver,
    ResignSender,
    ResignReceiver,
    DropSender,
    DropReceiver,
    Resolve { at: u64 },
    Look,
    Sweep,
    Attach,
    Records(RecordsAct),
}

/// An attachment, and what it has open.
#[derive(Debug)]
pub struct Actor {
    segment: Segment,
    ring: Option<Ring<u64>>,
    sender: Option<Sender<u64>>,
    receiver: Option<Receiver<u64>>,
    object: Option<Object<AtomicU64>>,
    records: Records,
}

impl Actor {
    /// An attachment that has nothing open.
    pub fn new(segment: Segment) -> Self {
        Self { segment, ring: None, sender: None, receiver: None, object: None, records: Records::default() }
    }

    /// Its attachment.
    pub fn segment(&self) -> &Segment {
        &self.segment
    }

    /// Does it. Whatever the memory holds: an answer or an error that can be shown, at once.
    pub fn act(&mut self, act: Act) {
        if let Err(error) = self.attempt(act) {
            assert!(!error.to_string().is_empty());
        }
    }

    fn attempt(&mut self, act: Act) -> Result<(), Error> {
        match act {
            Act::OpenRing => self.ring = Some(Ring::open(&self.segment, "ring")?),
            Act::OpenOrCreateRing { capacity } => {
                self.ring = Some(Ring::open_or_create(&self.segment, "ring", usize::from(capacity))?);
            }
            Act::CreateRing { capacity } => {
                self.ring = Some(Ring::create(&self.segment, "ring", usize::from(capacity))?);
            }
            Act::RemoveRing => self.segment.remove("ring")?,
            Act::OpenRingOfAnotherType => drop(Ring::<u8>::open(&self.segment, "ring")?),
            Act::Object => self.object()?,
            Act::ObjectOfAnotherType => drop(Object::<AtomicU64>::open(&self.segment, "ring")?),
            Act::RemoveObject => self.segment.remove("object")?,
            Act::Resolve { at } => {
                let place = self.segment.resolve(Offset::<u64>::new(at))?;
                place.write(place.read())?;
            }
            Act::Look => self.look()?,
            Act::Sweep => drop(self.segment.sweep()?),
            Act::Attach => *self = Self::new(self.segment.attach()?),
            Act::Records(act) => self.records.attempt(&self.segment, act)?,
            Act::TrySender
            | Act::SenderTimeout
            | Act::TrySend(_)
            | Act::SendTimeout(_)
            | Act::SendSlice { .. }
            | Act::Grant { .. }
            | Act::CloseSender
            | Act::ResignSender
            | Act::DropSender => self.send(act)?,
            _ => self.receive(act)?,
        }
        Ok(())
    }

    fn object(&mut self) -> Result<(), Error> {
        let object = Object::<AtomicU64>::open_or_create(&self.segment, "object", AtomicU64::default)?;
        object.fetch_add(1, Ordering::Relaxed);
        self.object = Some(object);
        Ok(())
    }

    fn look(&self) -> Result<(), Error> {
        let shown = format!("{:?}", (&self.ring, &self.object, self.segment.owner(), self.segment.size()));
        assert!(!shown.is_empty());
        if let Some(ring) = &self.ring {
            assert!(!format!("{} {:?}", ring.capacity(), ring.stats()).is_empty());
        }
        let (attachments, objects) = (self.segment.attachments()?, self.segment.objects()?);
        for attachment in &attachments {
            let _ = self.segment.is_dead(attachment.owner);
        }
        assert!(!format!("{attachments:?} {objects:?}").is_empty());
        Ok(())
    }

    fn send(&mut self, act: Act) -> Result<(), Error> {
        match (act, &self.ring, &mut self.sender) {
            (Act::TrySender, Some(ring), held) => *held = Some(ring.try_sender()?),
            (Act::SenderTimeout, Some(ring), held) => *held = Some(ring.sender_timeout(SHORT)?),
            (Act::TrySend(value), _, Some(sender)) => {
                sender.try_send(value)?;
                let _ = (sender.position(), sender.peer());
            }
            (Act::SendTimeout(value), _, Some(sender)) => sender.send_timeout(value, SHORT)?,
            (Act::SendSlice { len }, _, Some(sender)) => {
                let values: Vec<u64> = (0..u64::from(len)).collect();
                assert!(sender.try_send_slice(&values)? <= values.len());
            }
            (Act::Grant { max, fill, commit }, _, Some(sender)) => {
                let mut grant = sender.try_reserve(usize::from(max))?;
                assert!(grant.capacity() <= usize::from(max));
                let filled = grant.extend(0..u64::from(fill));
                assert!(filled <= usize::from(fill));
                if commit {
                    assert_eq!(grant.commit(), filled);
                }
            }
            (Act::CloseSender, _, held) => held.take().into_iter().for_each(Sender::close),
            (Act::ResignSender, _, held) => held.take().into_iter().for_each(Sender::resign),
            (Act::DropSender, _, held) => *held = None,
            _ => {}
        }
        Ok(())
    }

    fn receive(&mut self, act: Act) -> Result<(), Error> {
        match (act, &self.ring, &mut self.receiver) {
            (Act::TryReceiver, Some(ring), held) => *held = Some(ring.try_receiver()?),
            (Act::TryRecv, _, Some(receiver)) => {
                receiver.try_recv()?;
                let _ = (receiver.position(), receiver.peer());
            }
            (Act::RecvTimeout, _, Some(receiver)) => drop(receiver.recv_timeout(SHORT)?),
            (Act::Read { max, release }, _, Some(receiver)) => {
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
            (Act::WaitForSuccessor(yes), _, held) => {
                held.iter_mut().for_each(|receiver| receiver.wait_for_successor(yes));
                self.sender.iter_mut().for_each(|sender| sender.wait_for_successor(yes));
            }
            (Act::CloseReceiver, _, held) => held.take().into_iter().for_each(Receiver::close),
            (Act::ResignReceiver, _, held) => held.take().into_iter().for_each(Receiver::resign),
            (Act::DropReceiver, _, held) => *held = None,
            _ => {}
        }
        Ok(())
    }
}
