//! When the system gives nothing more, or somebody takes away what it gave.

use std::fs;
use std::os::fd::RawFd;

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use outlive::ring::spsc::Ring;
use outlive::{Error, Result, Segment};

use crate::backend::{Backend, Feature, Invitation};
use crate::peer::{Peer, Victim, find};

/// The descriptors of this process, but for the one through which it looks.
fn descriptors() -> Vec<RawFd> {
    let names = fs::read_dir("/proc/self/fd").unwrap().map(|entry| entry.unwrap().file_name());
    let mut numbers: Vec<RawFd> = names.map(|name| name.to_str().unwrap().parse().unwrap()).collect();
    numbers.sort_unstable();
    numbers.retain(|number| fs::read_link(format!("/proc/self/fd/{number}")).is_ok());
    numbers
}

/// Bytes of address space.
fn address_space() -> u64 {
    let pages = fs::read_to_string("/proc/self/statm").unwrap();
    pages.split(' ').next().unwrap().parse::<u64>().unwrap() * 4096
}

/// Does it under limits that begin at `from` and are relaxed step by step, until it succeeds. How often it was refused.
fn until_enough<T>(resource: Resource, from: u64, step: u64, mut work: impl FnMut() -> Result<T>) -> u32 {
    let (soft, hard) = getrlimit(resource).unwrap();
    for refused in 0..2000 {
        setrlimit(resource, from + u64::from(refused) * step, hard).unwrap();
        let result = work();
        setrlimit(resource, soft, hard).unwrap();
        match result {
            Ok(_) => return refused,
            Err(error) => assert!(matches!(error, Error::Os { .. } | Error::NoSpace { .. }), "{error:?}"),
        }
    }
    panic!("it is never enough");
}

/// Of a limit of address space: some of them make a mapping.
fn step(backend: &dyn Backend) -> u64 {
    (backend.granule() as u64 / 16).max(64 << 10)
}

fn invitations(backend: &dyn Backend, segment: &Segment, count: usize) -> Vec<Invitation> {
    (0..count).map(|_| backend.invite(segment)).collect()
}

pub(crate) fn without_descriptors_nothing_is_half_done(backend: &dyn Backend) {
    let segment = backend.create(&Segment::options().rows(2)).unwrap();
    let mut come = invitations(backend, &segment, 20);
    let peer = Peer::start_at_home(|_| {
        let before = descriptors();
        let first = before.last().unwrap() + 1;
        // From none on. (Free numbers in between are used first: a limit counts numbers, not descriptors.)
        let gaps: Vec<fs::File> = (before.len()..usize::try_from(first).unwrap())
            .map(|_| fs::File::open("/dev/null").unwrap())
            .collect();
        let refused = until_enough(Resource::RLIMIT_NOFILE, u64::try_from(first).unwrap(), 1, || {
            let come = come.pop().expect("so many descriptors are enough");
            come().map(|mine| assert_eq!(mine.attachments().unwrap().len(), 2))
        });
        assert!(refused > 0);
        drop(gaps);
        drop(come);
        assert!(descriptors().len() <= before.len(), "descriptors have leaked");
    });
    peer.ends();
    assert_eq!(segment.attachments().unwrap().len(), 1);
    drop(backend.join(&segment).unwrap());
    drop(segment);
    backend.remove();
}

pub(crate) fn without_address_space_nothing_is_half_done(backend: &dyn Backend) {
    let segment = backend.create(&Segment::options().rows(2)).unwrap();
    let mut come = invitations(backend, &segment, 60);
    let peer = Peer::start_at_home(|_| {
        // What the allocator has already, it need not ask for.
        drop((0..1000).map(|_| vec![0_u8; 100]).collect::<Vec<_>>());
        let refused = until_enough(Resource::RLIMIT_AS, address_space(), step(backend), || {
            let come = come.pop().expect("so much address space is enough");
            come().map(|mine| assert_eq!(mine.attachments().unwrap().len(), 2))
        });
        assert!(refused > 0);
    });
    peer.ends();
    assert_eq!(segment.attachments().unwrap().len(), 1);
    drop(backend.join(&segment).unwrap());
    drop(segment);
    backend.remove();
}

pub(crate) fn a_creation_that_fails_half_way_leaves_nothing(backend: &dyn Backend) {
    let options = Segment::options();
    let peer = Peer::start_at_home(|_| {
        let open = descriptors();
        let first = u64::try_from(open.last().unwrap() + 1).unwrap();
        let gaps: Vec<fs::File> = (open.len()..usize::try_from(first).unwrap())
            .map(|_| fs::File::open("/dev/null").unwrap())
            .collect();
        let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
        let mut last = Vec::new();
        let refused = until_enough(Resource::RLIMIT_NOFILE, first, 1, || {
            let result = backend.create(&options);
            setrlimit(Resource::RLIMIT_NOFILE, soft, hard).unwrap(); // looking takes some, too
            last = if result.is_ok() { Vec::new() } else { backend.remains() };
            assert_eq!(last, [] as [String; 0], "{result:?}");
            result
        });
        drop(gaps);
        assert!(refused > 0);
        drop((0..1000).map(|_| vec![0_u8; 100]).collect::<Vec<_>>());
        backend.remove();
        let (soft, hard) = getrlimit(Resource::RLIMIT_AS).unwrap();
        let refused = until_enough(Resource::RLIMIT_AS, address_space(), step(backend), || {
            let result = backend.create(&options);
            setrlimit(Resource::RLIMIT_AS, soft, hard).unwrap();
            if result.is_err() {
                assert_eq!(backend.remains(), [] as [String; 0], "{result:?}");
            }
            result
        });
        assert!(refused > 0);
    });
    peer.ends();
    backend.remove();
}

pub(crate) fn closed_descriptors_take_nobodys_life(backend: &dyn Backend) {
    let segment = backend.segment();
    let (me, ring) = (segment.owner(), Ring::<u64>::create(&segment, "numbers", 8).unwrap());
    let victim = Victim::start(backend, &segment, Segment::clone);
    let doomed = victim.owner;
    let mut peer = Peer::start(backend, &segment, |mine, line| {
        let mut sender = Ring::<u64>::open(&mine, "numbers").unwrap().try_sender().unwrap();
        assert!(mine.attachments().unwrap().iter().all(|each| each.alive));
        for number in descriptors() {
            if number > 2 && number != line.number() {
                let _ = nix::unistd::close(number);
            }
        }
        line.say(mine.owner().row());
        line.hear();
        sender.send(1).unwrap();
        assert!(!mine.is_dead(me) && !mine.is_dead(doomed));
        assert_eq!(mine.sweep().unwrap().recovered, 0);
        match mine.attach() {
            Ok(again) => assert!(!again.is_dead(me) && !mine.is_dead(again.owner())),
            // Without name and descriptor there is no way back.
            Err(error) => assert!(matches!(error, Error::NotFound { .. }), "{error}"),
        }
        line.say("attached again, or not");
        line.hear();
        drop(sender);
        drop(mine);
        line.say("left");
        line.hear();
    });
    let row = peer.line.hear_number();
    let theirs = || find(&segment, |each| u64::from(each.owner.row()) == row);
    let owner = theirs().unwrap().owner;
    assert!(theirs().unwrap().alive && !segment.is_dead(owner));
    assert_eq!(segment.sweep().unwrap().recovered, 0);
    peer.line.say("go on");
    assert_eq!(peer.line.hear(), "attached again, or not");
    assert_eq!(ring.try_receiver().unwrap().recv(), Ok(1));
    assert!(theirs().unwrap().alive);
    victim.kill();
    assert!(!segment.is_dead(owner));
    peer.line.say("leave");
    assert_eq!(peer.line.hear(), "left");
    assert!(segment.is_dead(owner));
    segment.sweep().unwrap();
    assert_eq!(segment.attachments().unwrap().len(), 1);
    peer.line.say("end");
    peer.ends();
    assert!(!backend.has(Feature::Name) || Segment::open(backend.address()).is_ok());
    drop((ring, segment));
    backend.remove();
}
