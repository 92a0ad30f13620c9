//! When everything happens at once, or bytes are not what they were.

use outlive::atomic::{AtomicU64, Ordering};
use outlive::error::RecvError;
use outlive::object::Object;
use outlive::ring::{records, spsc, stream};
use outlive::{Checked, Error, Result, Segment};

use crate::backend::Backend;
use crate::peer::{Line, Peer};

/// Attaches, opens, takes roles, and goes, without end.
#[expect(clippy::needless_pass_by_value, reason = "what a peer plays")]
fn commuter(segment: Segment, line: &mut Line) {
    line.say("ready");
    let counter = Object::<AtomicU64>::open(&segment, "counter").unwrap();
    loop {
        let again = segment.attach().unwrap();
        let ring = spsc::Ring::<u64>::open_or_create(&again, "ring", 8).unwrap();
        if let Ok(mut sender) = ring.try_sender() {
            sender.wait_for_successor(true);
            let _ = sender.try_send(sender.position());
            sender.resign();
        }
        assert!(!again.is_dead(segment.owner()));
        counter.fetch_add(1, Ordering::Relaxed);
    }
}

pub(crate) fn those_who_come_and_go_are_not_disturbed_by_the_killed(backend: &dyn Backend) {
    // Each of them has two rows at most.
    let segment = backend.create(&Segment::options().rows(7)).unwrap();
    let counter = Object::<AtomicU64>::create(&segment, "counter", AtomicU64::default).unwrap();
    let ring = spsc::Ring::<u64>::create(&segment, "ring", 8).unwrap();
    let mut receiver = ring.try_receiver().unwrap();
    receiver.wait_for_successor(true);
    let mut commuters: Vec<Peer> = (0..3).map(|_| Peer::start(backend, &segment, commuter)).collect();
    for commuter in &mut commuters {
        assert_eq!(commuter.line.hear(), "ready");
    }
    let mut expected = 0;
    for round in 0..6 {
        let goal = counter.load(Ordering::Relaxed) + 20 + round;
        while counter.load(Ordering::Relaxed) < goal {
            match receiver.recv_timeout(std::time::Duration::from_millis(1)) {
                Ok(number) => {
                    assert_eq!(number, expected);
                    expected += 1;
                }
                Err(error) => assert!(matches!(error, RecvError::Empty | RecvError::PeerDied(_)), "{error}"),
            }
        }
        commuters.remove(0).kill();
        let mut next = Peer::start(backend, &segment, commuter);
        assert_eq!(next.line.hear(), "ready");
        commuters.push(next);
    }
    drop(commuters);
    segment.sweep().unwrap();
    assert_eq!(segment.attachments().unwrap().len(), 1);
    let openers: Vec<u32> = segment.objects().unwrap().iter().map(|object| object.openers).collect();
    assert_eq!(openers, [1, 1]);
    drop((counter, ring, receiver, segment));
    backend.remove();
}

pub(crate) fn a_busy_segment_can_be_copied_and_disturbs_nobody(backend: &dyn Backend) {
    let segment = backend.segment();
    Object::<AtomicU64>::create(&segment, "counter", AtomicU64::default).unwrap();
    let mut peer = Peer::start(backend, &segment, commuter);
    assert_eq!(peer.line.hear(), "ready");
    for _ in 0..30 {
        // Its words may be of different moments: then wrong values or errors, and nothing else.
        let copy = segment.snapshot().unwrap();
        let _ = (copy.attachments(), copy.objects());
        let _ = everything(&copy);
    }
    peer.kill();
    assert_eq!(segment.sweep().unwrap().left, 0);
    drop(segment);
    backend.remove();
}

/// All that can be done with it, whatever comes of it.
fn everything(segment: &Segment) -> Result<()> {
    segment.attachments()?;
    segment.objects()?;
    let again = segment.attach()?;
    let _ = again.sweep();
    if let Ok(ring) = spsc::Ring::<u64>::open_or_create(&again, "ring", 8) {
        let (sender, receiver) = (ring.try_sender(), ring.try_receiver());
        let _ = (sender.map(|mut end| end.try_send(1)), receiver.map(|mut end| end.try_recv()));
    }
    if let Ok(ring) = records::Ring::<Checked>::open_or_create(&again, "records", 64) {
        let (sender, receiver) = (ring.try_sender(), ring.try_receiver());
        let _ = sender.map(|mut end| end.try_send(b"a record"));
        let _ = receiver.map(|mut end| end.try_recv(&mut Vec::new()));
    }
    if let Ok(ring) = stream::Ring::<Checked>::open_or_create(&again, "stream", 64) {
        let (writer, reader) = (ring.try_writer(), ring.try_reader());
        let _ = writer.map(|mut end| end.try_write(b"bytes"));
        let _ = reader.map(|mut end| end.try_read(&mut [0; 16]));
    }
    let _ = Object::<AtomicU64>::open(&again, "counter").map(|counter| counter.load(Ordering::Relaxed));
    let _ = again.remove("ring");
    Object::<AtomicU64>::create(&again, "new", AtomicU64::default).map(drop)
}

pub(crate) fn whatever_word_is_overwritten_nobody_faults(backend: &dyn Backend) {
    let options = Segment::options().size(20 << 10).rows(2);
    let segment = backend.create(&options).unwrap();
    Object::<AtomicU64>::create(&segment, "counter", AtomicU64::default).unwrap();
    // In order: a clean copy of this is what each round begins with.
    everything(&segment).unwrap();
    segment.remove("new").unwrap();
    let last = segment.objects().unwrap().iter().map(|object| object.at + object.size).max().unwrap();
    drop(segment);
    let good = backend.content();
    let mut refused = 0;
    for at in (0..usize::try_from(last).unwrap()).step_by(8) {
        // Most of the header is reserved, and zero.
        if (512..4096).contains(&at) && at % 256 != 0 {
            continue;
        }
        // In turn what cannot be, and the stamp of somebody.
        let bad: u64 = if at % 16 == 0 { u64::MAX } else { 1 << 14 | 1 };
        let mut content = good.clone();
        content[at..at + 8].copy_from_slice(&bad.to_le_bytes());
        backend.replace_content(&content);
        match Segment::open(backend.address()) {
            Ok(segment) => drop(everything(&segment)),
            Err(error) => {
                let is_told =
                    matches!(error, Error::Foreign { .. } | Error::Corrupt { .. } | Error::NoRow { .. });
                assert!(is_told, "{at}: {error}");
                refused += 1;
            }
        }
        let _ = Segment::options().read_only(true).open(backend.address()).map(|observer| {
            let _ = (observer.attachments(), observer.objects(), observer.snapshot());
        });
    }
    assert!(refused > 5, "{refused}");
    backend.replace_content(&good);
    everything(&Segment::open(backend.address()).unwrap()).unwrap();
    backend.remove();
}
