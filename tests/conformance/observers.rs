//! Those who only look, and copies to look at.

use std::time::Duration;

use outlive::atomic::{AtomicU64, Ordering};
use outlive::error::{Fault, RecvError};
use outlive::object::Object;
use outlive::ptr::Offset;
use outlive::ring::{records, spsc, stream};
use outlive::{Checked, Error, Segment, testing};

use crate::backend::{Backend, Feature};
use crate::peer::{Peer, Victim, find};

type Words = Object<[AtomicU64; 4]>;

/// What there is to see: three messages and their sender, eight bytes, a record, four words.
struct Sights {
    sender: spsc::Sender<u64>,
    writer: stream::Writer,
    records: records::Sender,
    words: Words,
}

impl Sights {
    fn new(segment: &Segment) -> Self {
        let mut sender = spsc::Ring::<u64>::create(segment, "ring", 8).unwrap().try_sender().unwrap();
        assert_eq!(sender.try_send_slice(&[10, 11, 12]).unwrap(), 3);
        let mut writer = stream::Ring::create(segment, "stream", 64).unwrap().try_writer().unwrap();
        assert_eq!(writer.try_write(b"thebytes"), Ok(8));
        let mut records = records::Ring::create(segment, "records", 64).unwrap().try_sender().unwrap();
        records.send(b"a record").unwrap();
        let words = Words::create(segment, "words", Default::default).unwrap();
        words[1].store(41, Ordering::Relaxed);
        Self { sender, writer, records, words }
    }

    /// The second of the words.
    fn word(&self) -> Offset<u64> {
        Offset::new(self.words.offset().get() + 8)
    }
}

#[expect(clippy::needless_pass_by_value, reason = "results of calls")]
fn is_refused<T>(result: Result<T, Error>) -> bool {
    matches!(result, Err(Error::ReadOnly))
}

pub(crate) fn an_observer_sees_everything_and_changes_nothing(backend: &dyn Backend) {
    // There is no row for him, and he needs none.
    let segment = backend.create(&Segment::options().rows(2)).unwrap();
    let other = segment.attach().unwrap();
    let sights = Sights::new(&segment);
    let word = sights.word();
    let before = backend.bytes(&segment);
    let look = |observer: &Segment| {
        assert!(observer.is_read_only() && !observer.created() && !segment.is_read_only());
        assert_eq!(observer.size(), segment.size());
        let seen = spsc::Ring::<u64>::open(observer, "ring").unwrap();
        assert_eq!((seen.capacity(), seen.stats().depth, seen.stats().sent), (8, 3, 3));
        assert!(spsc::Ring::<u64>::open_or_create(observer, "ring", 8).is_ok(), "it exists");
        assert!(matches!(spsc::Ring::<f64>::open(observer, "ring"), Err(Error::WrongType { .. })));
        let stream = stream::Ring::open(observer, "stream").unwrap();
        assert_eq!((stream.stats().depth, stream.capacity()), (8, 64));
        let records: records::Ring = records::Ring::open(observer, "records").unwrap();
        assert_eq!((records.stats().sent, records.capacity()), (1, 64));
        assert_eq!(observer.resolve(word).unwrap().read(), 41);
        let rows = observer.attachments().unwrap();
        assert!(rows.len() == 2 && rows.iter().all(|row| row.alive));
        assert_eq!(seen.stats().sender, Some(segment.owner()));
        assert_eq!(observer.objects().unwrap().len(), 4);
        assert!(!observer.is_dead(rows[0].owner) && !observer.is_dead(rows[1].owner));
        observer.flush().unwrap();
    };
    let observer = backend.observe(&segment)().unwrap();
    look(&observer);
    look(&observer.attach().unwrap());
    assert_eq!(observer.attachments().unwrap(), segment.attachments().unwrap());
    assert_eq!(observer.objects().unwrap(), segment.objects().unwrap());
    let come = backend.observe(&segment);
    let elsewhere = Peer::start_at_home(|_| {
        let observer = come().unwrap();
        let seen = spsc::Ring::<u64>::open(&observer, "ring").unwrap();
        assert!(seen.stats().depth == 3 && observer.resolve(word).unwrap().read() == 41);
        assert!(observer.attachments().unwrap()[0].alive);
        assert!(is_refused(seen.try_receiver()) && is_refused(observer.sweep()));
    });
    elsewhere.ends();
    assert!(backend.bytes(&segment) == before, "somebody who only looks has changed something");
    sights.words[1].store(42, Ordering::Relaxed);
    assert_eq!(observer.resolve(word).unwrap().read(), 42, "it looks at the thing itself");
    drop((sights, segment, other));
    assert!(observer.attachments().unwrap().is_empty());
    drop(observer);
    backend.remove();
}

pub(crate) fn an_observer_is_refused_what_would_write(backend: &dyn Backend) {
    let segment = backend.segment();
    let sights = Sights::new(&segment);
    let dead = Victim::start(backend, &segment, |mine| {
        spsc::Ring::<u64>::open(mine, "ring").unwrap().try_receiver().unwrap()
    });
    dead.kill();
    let before = backend.bytes(&segment);
    let first = backend.observe(&segment)().unwrap();
    for observer in [first.attach().unwrap(), first] {
        let ring = spsc::Ring::<u64>::open(&observer, "ring").unwrap();
        let stream = stream::Ring::open(&observer, "stream").unwrap();
        let records: records::Ring = records::Ring::open(&observer, "records").unwrap();
        assert!(is_refused(records.try_sender()) && is_refused(records.try_receiver()));
        let soon = Duration::from_millis(1);
        assert!(
            is_refused(ring.try_sender())
                && is_refused(ring.sender())
                && is_refused(ring.sender_timeout(soon))
        );
        assert!(is_refused(ring.try_receiver()) && is_refused(ring.receiver()));
        assert!(is_refused(ring.receiver_timeout(soon)), "though its holder is dead");
        assert!(is_refused(stream.try_writer()) && is_refused(stream.writer_timeout(soon)));
        assert!(is_refused(stream.try_reader()) && is_refused(stream.reader()));
        for name in ["ring", "new"] {
            assert!(is_refused(spsc::Ring::<u64>::create(&observer, name, 8)));
            assert!(is_refused(stream::Ring::create(&observer, name, 64)));
            assert!(is_refused(records::Ring::<Checked>::create(&observer, name, 64)));
            assert!(is_refused(Object::<AtomicU64>::create(&observer, name, AtomicU64::default)));
            assert!(is_refused(observer.remove(name)));
        }
        assert!(is_refused(spsc::Ring::<u64>::open_or_create(&observer, "new", 8)));
        assert!(is_refused(Words::open(&observer, "words")), "atomics can be stored to");
        assert!(is_refused(observer.sweep()), "though somebody is dead");
        assert_eq!(observer.resolve(sights.word()).unwrap().write(1), Err(Fault::ReadOnly));
        assert!(matches!(testing::kill(&observer), Err(Error::Unsupported { .. })));
        assert_eq!(observer.attachments().unwrap().iter().filter(|each| !each.alive).count(), 1);
    }
    assert!(backend.bytes(&segment) == before, "what was refused has been done");
    assert_eq!(segment.sweep().unwrap().recovered, 1);
    drop((sights, segment));
    backend.remove();
}

pub(crate) fn nobody_waits_for_an_observer(backend: &dyn Backend) {
    let segment = backend.segment();
    let observer = backend.observe(&segment)().unwrap();
    let owner = segment.owner();
    drop(spsc::Ring::<u64>::create(&segment, "old", 8).unwrap());
    let old = spsc::Ring::<u64>::open(&observer, "old").unwrap();
    segment.remove("old").unwrap();
    let ring = spsc::Ring::<u64>::create(&segment, "new", 16).unwrap();
    assert_eq!(segment.objects().unwrap().len(), 1, "its memory is used again");
    assert_eq!(spsc::Ring::<u64>::open(&observer, "new").unwrap().stats(), ring.stats());
    assert!(old.stats().depth <= 8, "something, within its bounds");
    let victim = Victim::start(backend, &segment, Segment::clone);
    let dead = victim.owner;
    assert!(find(&observer, |each| each.owner == dead).unwrap().alive);
    victim.kill();
    assert!(observer.is_dead(dead) && !find(&observer, |each| each.owner == dead).unwrap().alive);
    assert_eq!(segment.sweep().unwrap().recovered, 1);
    assert!(observer.is_dead(dead) && !observer.is_dead(owner));
    if backend.has(Feature::Name) {
        Segment::unlink(backend.address()).unwrap();
        let new = backend.segment();
        assert_eq!((new.attachments().unwrap().len(), observer.attachments().unwrap().len()), (1, 1));
    }
    drop((ring, old, segment));
    assert!(observer.is_dead(owner) && observer.attachments().unwrap().is_empty());
    drop(observer);
    backend.remove();
}

/// The copy is of that moment, and everybody of that moment is dead in it.
fn is_a_copy(copy: &Segment, of: &Segment, sights: &Sights) {
    assert!(copy.created() && !copy.is_read_only() && copy.size() == of.size() && copy.as_fd().is_none());
    let names = |segment: &Segment| {
        let objects = segment.objects().unwrap();
        objects.into_iter().map(|object| (object.name, object.at, object.size)).collect::<Vec<_>>()
    };
    assert_eq!(names(copy), names(of));
    let former = of.attachments().unwrap();
    for each in &former {
        let there = find(copy, |there| there.owner == each.owner).expect("it was attached");
        assert!(!there.alive && copy.is_dead(each.owner) && !of.is_dead(each.owner));
    }
    assert_eq!(copy.attachments().unwrap().len(), former.len() + 1);
    assert_eq!(Words::open(copy, "words").unwrap()[1].load(Ordering::Relaxed), 41);
    assert_eq!(copy.resolve(sights.word()).unwrap().read(), 41);
    let ring = spsc::Ring::<u64>::open(copy, "ring").unwrap();
    let sender = ring.stats().sender.unwrap();
    let mut receiver = ring.try_receiver().unwrap();
    assert_eq!([(); 3].map(|()| receiver.recv()), [Ok(10), Ok(11), Ok(12)]);
    assert_eq!(receiver.recv(), Err(RecvError::PeerDied(sender)));
    let mut successor = ring.try_sender().unwrap();
    assert_eq!(successor.position(), 3);
    successor.send(13).unwrap();
    assert_eq!(receiver.recv(), Ok(13));
    let mut bytes = [0; 64];
    let mut reader = stream::Ring::open(copy, "stream").unwrap().try_reader().unwrap();
    assert_eq!((reader.try_read(&mut bytes), &bytes[..8]), (Ok(8), &b"thebytes"[..]));
    let mut receiver = records::Ring::<Checked>::open(copy, "records").unwrap().try_receiver().unwrap();
    let mut record = Vec::new();
    assert_eq!(receiver.recv(&mut record), Ok(8));
    assert_eq!((&record[..], receiver.last_sender()), (&b"a record"[..], Some(sender)));
    assert!(copy.sweep().unwrap().recovered >= 1);
}

pub(crate) fn a_snapshot_is_equal_and_can_be_drained(backend: &dyn Backend) {
    let segment = backend.segment();
    let mut sights = Sights::new(&segment);
    let other = backend.join(&segment).unwrap();
    let before = backend.bytes(&segment);
    let copy = segment.snapshot().unwrap();
    is_a_copy(&copy, &segment, &sights);
    is_a_copy(&segment.snapshot().unwrap(), &segment, &sights);
    if backend.has(Feature::Observers) {
        let observer = backend.observe(&segment)().unwrap();
        is_a_copy(&observer.snapshot().unwrap(), &segment, &sights);
    }
    assert!(backend.bytes(&segment) == before, "the original has noticed something");
    sights.sender.send(13).unwrap();
    assert_eq!(sights.writer.try_write(b"!"), Ok(1));
    sights.records.send(b"another").unwrap();
    let copied = spsc::Ring::<u64>::open(&copy, "ring").unwrap().stats();
    assert_eq!((copied.sent, copied.received), (4, 4), "it has a life of its own");
    let ring = spsc::Ring::<u64>::open(&segment, "ring").unwrap();
    assert_eq!((ring.stats().sent, ring.stats().received), (4, 0));
    assert_eq!(ring.try_receiver().unwrap().recv(), Ok(10), "nobody has received anything");
    drop((sights, ring, other, segment));
    backend.remove();
    assert_eq!(copy.objects().unwrap().len(), 4, "and it outlives the original");
}

pub(crate) fn flush_changes_nothing(backend: &dyn Backend) {
    let segment = backend.segment();
    let sights = Sights::new(&segment);
    let before = backend.bytes(&segment);
    segment.flush().unwrap();
    assert!(backend.bytes(&segment) == before);
    if backend.has(Feature::Content) {
        assert!(backend.content() == before, "what others read is what was written");
    }
    let child = Peer::start_at_home(|_| {
        assert!(matches!(segment.flush(), Err(Error::Forked)));
        assert!(matches!(segment.snapshot(), Err(Error::Forked)));
    });
    child.ends();
    drop((sights, segment));
    backend.remove();
}
