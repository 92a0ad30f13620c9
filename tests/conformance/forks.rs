//! What a forked child may do with its parent's handles: nothing; and what it may do for itself.

use outlive::atomic::{AtomicU64, Ordering};
use outlive::error::{Fault, RecvError, SendError};
use outlive::object::Object;
use outlive::ring::spsc::Ring;
use outlive::{Error, Segment};

use crate::backend::Backend;
use crate::peer::{Peer, find};

pub(crate) fn in_a_forked_child_every_handle_refuses(backend: &dyn Backend) {
    let segment = backend.segment();
    let ring = Ring::<u64>::create(&segment, "numbers", 16).unwrap();
    let (mut sender, mut receiver) = (ring.try_sender().unwrap(), ring.try_receiver().unwrap());
    assert_eq!(sender.try_send_slice(&[0, 1, 2, 3]).unwrap(), 4);
    assert_eq!(receiver.recv(), Ok(0));
    let child = Peer::start_at_home(|_| {
        assert!(matches!(segment.attachments(), Err(Error::Forked)));
        assert!(matches!(segment.objects(), Err(Error::Forked)));
        assert!(matches!(segment.sweep(), Err(Error::Forked)));
        assert!(matches!(segment.remove("numbers"), Err(Error::Forked)));
        assert!(matches!(Ring::<u64>::open(&segment, "numbers"), Err(Error::Forked)));
        assert!(matches!(ring.try_sender(), Err(Error::Forked)));
        assert_eq!(sender.try_send(9), Err(SendError::Fault(9, Fault::Forked)));
        assert_eq!(sender.send(9), Err(SendError::Fault(9, Fault::Forked)));
        assert_eq!(receiver.try_recv(), Err(RecvError::Fault(Fault::Forked)));
        assert_eq!(receiver.recv(), Err(RecvError::Fault(Fault::Forked)));
    });
    child.ends();
    let other = backend.join(&segment).unwrap();
    let ring = Ring::<u64>::open(&other, "numbers").unwrap();
    let me = segment.owner();
    assert!(matches!(ring.try_sender(), Err(Error::Busy { owner }) if owner == me));
    assert!(matches!(ring.try_receiver(), Err(Error::Busy { owner }) if owner == me));
    assert_eq!(other.sweep().unwrap().recovered, 0);
    assert!(find(&other, |each| each.owner == me).unwrap().alive);
    sender.send(4).unwrap();
    assert_eq!([(); 4].map(|()| receiver.recv().unwrap()), [1, 2, 3, 4]);
    drop((ring, other, sender, receiver, segment));
    backend.remove();
}

pub(crate) fn a_forked_child_attaches_for_itself(backend: &dyn Backend) {
    let segment = backend.segment();
    let before = segment.owner();
    let words = Object::<AtomicU64>::create(&segment, "words", AtomicU64::default).unwrap();
    let ring = Ring::<u64>::create(&segment, "numbers", 64).unwrap();
    let (sender, mut receiver) = (ring.try_sender().unwrap(), ring.try_receiver().unwrap());
    let mut child = Peer::start_at_home(|line| {
        let mine: Segment = segment.attach().unwrap();
        assert!(mine.owner() != before && !mine.is_dead(before));
        let ring = Ring::<u64>::open(&mine, "numbers").unwrap();
        assert!(matches!(ring.try_sender(), Err(Error::Busy { owner }) if owner == before));
        Object::<AtomicU64>::open(&mine, "words").unwrap().store(1, Ordering::Release);
        line.say(mine.owner().row());
        let mut sender = ring.sender().unwrap();
        (0..100).for_each(|number| sender.send(number).unwrap());
        sender.close();
    });
    let row = child.line.hear_number();
    let them = find(&segment, |each| u64::from(each.owner.row()) == row).unwrap();
    assert!(them.alive && i64::from(them.pid) == i64::from(child.pid().as_raw()));
    assert_eq!(words.load(Ordering::Acquire), 1);
    sender.resign();
    let arrived: Result<Vec<u64>, _> = receiver.iter().collect();
    assert_eq!(arrived.unwrap(), (0..100).collect::<Vec<_>>());
    child.ends();
    segment.sweep().unwrap();
    assert_eq!(segment.attachments().unwrap().len(), 1);
    drop((words, ring, receiver, segment));
    backend.remove();
}
