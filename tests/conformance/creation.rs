//! How a segment comes to be.

use std::os::unix::fs::FileExt;

use nix::fcntl::{FcntlArg, SealFlag, fcntl};
use outlive::atomic::{AtomicU64, Ordering};
use outlive::object::Object;
use outlive::{Error, Segment};

use crate::backend::{Backend, Feature};
use crate::peer::Peer;

/// So that no kind gets away with what it does not admit to have.
pub(crate) fn features_tell_the_truth(backend: &dyn Backend) {
    let segment = backend.segment();
    assert_eq!(segment.as_fd().is_some(), backend.has(Feature::Descriptor));
    if !backend.has(Feature::Processes) {
        let alone = Peer::start_at_home(|_| {
            assert!(matches!(segment.attach(), Err(Error::Unsupported { .. })), "others can attach");
        });
        alone.ends();
    }
    assert!(!(backend.has(Feature::Sealed) && backend.has(Feature::Truncation)));
    // Without the seal, an attempt would succeed, and the next access fault.
    let seals = segment.as_fd().map(|fd| fcntl(fd, FcntlArg::F_GET_SEALS).map(SealFlag::from_bits_truncate));
    let sealed = seals.is_some_and(|seals| seals.is_ok_and(|seals| seals.contains(SealFlag::F_SEAL_SHRINK)));
    assert_eq!(sealed, backend.has(Feature::Sealed));
    if sealed {
        let file = std::fs::File::from(segment.as_fd().unwrap().try_clone_to_owned().unwrap());
        assert!(file.set_len(4096).is_err());
    }
    let stays = backend.has(Feature::Name) || backend.has(Feature::Temporary);
    assert_eq!(!backend.remains().is_empty(), stays, "{:?}", backend.remains());
    for feature in [Feature::Mode, Feature::Content] {
        assert!(!backend.has(feature) || backend.has(Feature::Name), "{feature:?}, of what has no name");
    }
    drop(segment);
    backend.remove();
}

pub(crate) fn create_is_exclusive(backend: &dyn Backend) {
    let segment = backend.segment();
    assert_eq!(segment.created(), backend.has(Feature::Creates));
    let counter = Object::<AtomicU64>::create(&segment, "counter", AtomicU64::default).unwrap();
    counter.store(7, Ordering::Relaxed);
    for size in [1 << 16, 1 << 20] {
        let second = backend.create(&Segment::options().size(size));
        assert!(matches!(second, Err(Error::AlreadyExists { .. })), "{second:?}");
    }
    assert_eq!(counter.load(Ordering::Relaxed), 7);
    assert_eq!(segment.attachments().unwrap().len(), 1);
    drop((counter, segment));
    // Nobody is attached, and still it is there.
    assert!(matches!(backend.create(&Segment::options()), Err(Error::AlreadyExists { .. })));
    Segment::unlink(backend.address()).unwrap();
    assert_eq!(backend.segment().created(), backend.has(Feature::Creates));
    backend.remove();
}

pub(crate) fn open_finds_what_open_or_create_has_made(backend: &dyn Backend) {
    let address = backend.address();
    let not_found = |error| matches!(error, Err(Error::NotFound { .. }));
    assert!(not_found(Segment::open(&address).map(drop)));
    assert!(not_found(Segment::unlink(&address)));
    let first = Segment::open_or_create(&address, 1 << 16).unwrap();
    assert!(first.created());
    let second = Segment::options().size(1 << 12).rows(1).open_or_create(&address).unwrap();
    let third = Segment::open(&address).unwrap();
    assert!(!second.created() && !third.created());
    assert_eq!((second.size(), third.size()), (1 << 16, 1 << 16));
    assert_eq!(first.attachments().unwrap().len(), 3);
    let larger = Segment::open_or_create(&address, 1 << 20);
    assert!(
        matches!(larger, Err(Error::WrongShape { expected: 1_048_576, found: 65_536, .. })),
        "{larger:?}"
    );
    assert_eq!(first.attachments().unwrap().len(), 3, "who was refused is not attached");
    Object::<AtomicU64>::create(&first, "counter", AtomicU64::default).unwrap().store(7, Ordering::Relaxed);
    assert_eq!(Object::<AtomicU64>::open(&third, "counter").unwrap().load(Ordering::Relaxed), 7);
    drop((first, second, third));
    // Contents stay when nobody is attached.
    let fourth = Segment::open(&address).unwrap();
    assert_eq!(Object::<AtomicU64>::open(&fourth, "counter").unwrap().load(Ordering::Relaxed), 7);
    drop(fourth);
    Segment::unlink(&address).unwrap();
    assert!(not_found(Segment::open(&address).map(drop)));
    assert!(not_found(Segment::unlink(&address)));
}

pub(crate) fn of_many_that_come_at_once_one_creates(backend: &dyn Backend) {
    const MANY: usize = 8;
    for round in 0..6 {
        let mut many: Vec<Peer> = (0..MANY)
            .map(|_| {
                Peer::start_at_home(|line| {
                    line.hear();
                    let segment = Segment::open_or_create(backend.address(), 1 << 16).unwrap();
                    let counter =
                        Object::<AtomicU64>::open_or_create(&segment, "counter", AtomicU64::default).unwrap();
                    counter.fetch_add(1, Ordering::Relaxed);
                    line.say(segment.created());
                    line.hear();
                })
            })
            .collect();
        for peer in &mut many {
            peer.line.say("go");
        }
        // In every other round one of them is killed meanwhile.
        if round % 2 == 1 {
            many.remove(round % MANY).kill();
        }
        let created = many.iter_mut().filter_map(|peer| peer.line.hear().parse::<bool>().ok());
        let created = created.filter(|created| *created).count();
        assert!(created == 1 || created == 0 && many.len() < MANY, "{created} have created it");
        let segment = Segment::open(backend.address()).unwrap();
        let counter = Object::<AtomicU64>::open(&segment, "counter").unwrap().load(Ordering::Relaxed);
        assert!((many.len() as u64..=MANY as u64).contains(&counter), "{counter} are in");
        assert_eq!(segment.attachments().unwrap().iter().filter(|each| each.alive).count(), many.len() + 1);
        for mut peer in many {
            peer.line.say("leave");
            peer.ends();
        }
        segment.sweep().unwrap();
        assert_eq!(segment.attachments().unwrap().len(), 1);
        drop(segment);
        backend.remove();
    }
}

pub(crate) fn sizes_are_rounded_up_and_refused_with_a_reason(backend: &dyn Backend) {
    let options = Segment::options;
    let invalid = [
        options().size(0),
        options().size(usize::MAX),
        options().rows(0),
        options().rows(1023),
        options().mode(0o7777),
    ];
    for wrong in invalid {
        let refused = backend.create(&wrong);
        assert!(matches!(refused, Err(Error::InvalidConfig { .. })), "{wrong:?}: {refused:?}");
    }
    for size in [1 << 16, (1 << 16) + 1, (1 << 17) - 1] {
        let segment = backend.create(&options().size(size)).unwrap();
        assert_eq!(segment.size(), size.next_multiple_of(backend.granule()) as u64);
        assert!(segment.address() % 4096 == 0);
        let mut block = Vec::new();
        // All of it can be used: what is not there would be SIGBUS.
        while let Ok(object) =
            Object::<[AtomicU64; 32]>::create(&segment, &format!("o{}", block.len()), || {
                std::array::from_fn(|_| AtomicU64::new(u64::MAX))
            })
        {
            block.push(object);
        }
        assert!(!block.is_empty());
        drop((block, segment));
        backend.remove();
    }
    let most = backend.create(&options().rows(1022).size(1 << 20)).unwrap();
    assert_eq!(most.attachments().unwrap().len(), 1);
    drop(most);
    backend.remove();
}

pub(crate) fn what_does_not_fit_leaves_nothing_behind(backend: &dyn Backend) {
    if backend.granule() == 4096 {
        let refused = backend.create(&Segment::options().size(4096));
        assert!(
            matches!(refused, Err(Error::NoSpace { available: 4096, needed }) if needed > 4096),
            "header and tables: {refused:?}"
        );
    }
    let refused = backend.create(&Segment::options().size(1 << 50)).unwrap_err();
    let Error::NoSpace { needed, available } = refused else { panic!("{refused}") };
    assert!(needed >= 1 << 50 && available < needed, "{needed} {available}");
    assert_eq!(backend.remains(), [] as [String; 0]);
    let segment = backend.segment();
    assert_eq!(segment.created(), backend.has(Feature::Creates));
    drop(segment);
    backend.remove();
}

pub(crate) fn a_new_segment_introduces_itself(backend: &dyn Backend) {
    let segment = backend.create(&Segment::options().rows(5)).unwrap();
    let rows = segment.attachments().unwrap();
    let [me] = &rows[..] else { panic!("{rows:?}") };
    assert!(me.alive && me.owner == segment.owner() && !segment.is_dead(me.owner));
    assert_eq!((me.pid, me.uid), (std::process::id(), nix::unistd::getuid().as_raw()));
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let age = u64::try_from(now.as_nanos()).unwrap().abs_diff(me.since);
    assert!(age < 3_600_000_000_000, "attached {age} ns ago?");
    assert!(segment.objects().unwrap().is_empty());
    let swept = segment.sweep().unwrap();
    assert_eq!((swept.recovered, swept.left), (0, 0));
    let other = backend.join(&segment).unwrap();
    assert!(!other.created() && other.size() == segment.size() && other.owner() != segment.owner());
    assert_eq!(other.attachments().unwrap(), segment.attachments().unwrap());
    drop((other, segment));
    backend.remove();
}

pub(crate) fn its_header_can_be_read_from_outside(backend: &dyn Backend) {
    let segment = backend.create(&Segment::options().rows(5)).unwrap();
    let file = std::fs::File::from(segment.as_fd().unwrap().try_clone_to_owned().unwrap());
    let mut words = [[0; 8]; 8];
    file.read_exact_at(words.as_flattened_mut(), 0).unwrap();
    let numbers = words.map(u64::from_le_bytes);
    assert_eq!(&words[0], b"OUTLIVE\xf1");
    assert_eq!(numbers[1], 1, "layout version");
    assert!(numbers.contains(&5), "rows: {numbers:?}");
    assert!(file.metadata().unwrap().len() >= segment.size());
    // The last byte is there, and zero as everything that is not used.
    let mut last = [1];
    file.read_exact_at(&mut last, segment.size() - 1).unwrap();
    assert_eq!(last, [0]);
    drop(segment);
    backend.remove();
}
