//! Segments to be corrupted: each structure in states that matter.

use std::fs::File;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;

use memmap2::{MmapOptions, MmapRaw};
use nix::fcntl::{FcntlArg, SealFlag, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};
use outlive::atomic::AtomicU64;
use outlive::object::Object;
use outlive::{Owner, Segment};
use outlive_drivers::{Act, Actor, ObjectsAct, RecordsAct, Scribbler, SpscAct, StreamAct};

/// Who is attached to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Holders {
    /// Nobody: they have left.
    Gone,
    /// Those who died with everything in their hands.
    Dead,
    /// Living ones.
    Alive,
}

/// A segment to be corrupted, and to be put right again.
#[derive(Debug)]
pub struct Template {
    pub label: &'static str,
    pub image: Vec<u8>,
    pub places: Places,
    /// Whether every row is somebody's.
    pub is_full: bool,
    /// Of those who are attached, and idle.
    pub living: Vec<Owner>,
    /// The kernel's object, sealed: it holds the image, or what became of it.
    pub file: File,
    pub scribbler: Scribbler,
    map: MmapRaw,
    _holders: Vec<Actor>,
}

impl Template {
    /// Puts these bytes where the segment is.
    pub fn write(&self, bytes: &[u8]) {
        assert_eq!(bytes.len(), self.map.len());
        // SAFETY: as many bytes as are mapped; this process forms no reference to them, and attachments of it are idle.
        unsafe { self.map.as_mut_ptr().copy_from_nonoverlapping(bytes.as_ptr(), bytes.len()) };
    }
}

/// What lies where.
#[derive(Clone, Debug)]
pub struct Places {
    pub rows: usize,
    pub rows_at: usize,
    pub entries: usize,
    pub entries_at: usize,
    pub openers_at: usize,
    /// Where objects begin, and how many bytes they have.
    pub objects: Vec<(usize, usize)>,
}

impl Places {
    /// As the header of a sound segment has it.
    fn of(image: &[u8], segment: &Segment) -> Self {
        let word = |at: usize| usize::try_from(read(image, at)).expect("a small number");
        let objects = segment.objects().expect("it is sound").into_iter();
        let objects = objects.map(|object| (object.at, object.size));
        Self {
            rows: word(32),
            rows_at: word(48),
            entries: word(40),
            entries_at: word(56),
            openers_at: word(64),
            objects: objects.map(|(at, size)| (at as usize, size as usize)).collect(),
        }
    }
}

/// The word at `at`.
pub fn read(bytes: &[u8], at: usize) -> u64 {
    let mut word = [0; 8];
    word.copy_from_slice(&bytes[at..at + 8]);
    u64::from_le_bytes(word)
}

/// Stores the word at `at`.
pub fn write(bytes: &mut [u8], at: usize, value: u64) {
    bytes[at..at + 8].copy_from_slice(&value.to_le_bytes());
}

/// An object that holds these bytes.
pub fn memfd(bytes: &[u8], len: u64, seals: SealFlag) -> OwnedFd {
    let fd = memfd_create("corrupt", MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING).expect("a memfd");
    let file = File::from(fd);
    file.write_all_at(bytes, 0).and_then(|()| file.set_len(len)).expect("memory for a segment");
    fcntl(&file, FcntlArg::F_ADD_SEALS(seals)).expect("a memfd that allows it");
    file.into()
}

fn bytes_of(file: &File) -> Vec<u8> {
    let mut bytes = vec![0; file.metadata().expect("its status").len() as usize];
    file.read_exact_at(&mut bytes, 0).expect("its bytes");
    bytes
}

/// Bytes of a small segment: with the objects below it is full to the last byte.
const SMALL: usize = 3 * 4096;

/// All of them.
pub fn all() -> Vec<Template> {
    let fresh = |_: &mut [Actor; 2]| {};
    vec![
        make("fresh", SMALL, 6, Holders::Gone, fresh, |_| {}),
        make("filled", SMALL, 6, Holders::Gone, fill, |_| {}),
        make("held by the dead", SMALL, 6, Holders::Dead, wrap, |_| {}),
        make("held by the living", SMALL, 6, Holders::Alive, wrap, |_| {}),
        make("sent by the living", SMALL, 6, Holders::Alive, half, |_| {}),
        make("removed and half made", 2 * SMALL, 6, Holders::Dead, remove, half_made),
        make("no free row", 2 * SMALL, 2, Holders::Dead, wrap, |_| {}),
        make("large", 16 * 4096, 70, Holders::Dead, wrap, |_| {}),
    ]
}

fn make(
    label: &'static str,
    size: usize,
    rows: u16,
    holders: Holders,
    play: impl FnOnce(&mut [Actor; 2]),
    edit: impl FnOnce(&mut [u8]),
) -> Template {
    let segment = Segment::options().size(size).rows(rows).memfd("template").expect("memory for a segment");
    let other = segment.attach().expect("two rows");
    let owner = segment.owner();
    let fd = segment.as_fd().expect("a memfd has one").try_clone_to_owned().expect("one more descriptor");
    let mut actors = [Actor::new(segment), Actor::new(other)];
    build(&mut actors, size > 4 * SMALL);
    play(&mut actors);
    let mut file = File::from(fd);
    let mut image = bytes_of(&file);
    let places = Places::of(&image, actors[0].segment());
    let mut living = Vec::new();
    let mut kept = Vec::new();
    if holders == Holders::Alive {
        living = vec![owner, actors[1].segment().owner()];
        kept.extend(actors);
    } else {
        if holders == Holders::Gone {
            drop(actors);
            image = bytes_of(&file);
        }
        edit(&mut image);
        file = File::from(memfd(&image, image.len() as u64, SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_GROW));
    }
    let map = MmapOptions::new().map_raw(&file).expect("it can be mapped");
    let scribbler = Scribbler::of(&file).expect("it can be mapped");
    Template { label, image, places, is_full: rows == 2, living, file, scribbler, map, _holders: kept }
}

/// One of each kind, and the last one ends where a small segment does.
fn build(actors: &mut [Actor; 2], large: bool) {
    let [first, second] = actors;
    let bytes = if large { 4096 } else { 128 }; // mapped twice, from a page on
    first.act(Act::Spsc(SpscAct::Create { capacity: 4 }));
    first.act(Act::Objects(ObjectsAct::OpenOrCreate));
    first.act(Act::Objects(ObjectsAct::Link));
    first.act(Act::Objects(ObjectsAct::PointAtWord));
    first.act(Act::Records(RecordsAct::OpenOrCreate { capacity: bytes }));
    let rest = Object::<[[AtomicU64; 32]; 6]>::create(first.segment(), "rest", Default::default);
    rest.expect("room for it");
    first.act(Act::Stream(StreamAct::OpenOrCreate { capacity: 128 }));
    second.act(Act::Spsc(SpscAct::Open));
    second.act(Act::Records(RecordsAct::Open));
    second.act(Act::Stream(StreamAct::Open));
    second.act(Act::Objects(ObjectsAct::Open));
    assert!(first.segment().objects().is_ok_and(|objects| objects.len() == 6), "there was no room");
}

fn fill(actors: &mut [Actor; 2]) {
    senders(&mut actors[0]);
    for _ in 0..8 {
        send(&mut actors[0], 9);
    }
}

/// The sender lives, and there is no receiver.
fn half(actors: &mut [Actor; 2]) {
    senders(&mut actors[0]);
    for _ in 0..3 {
        send(&mut actors[0], 13);
    }
}

/// More than once around, in pieces that do not fit evenly.
fn wrap(actors: &mut [Actor; 2]) {
    let [first, second] = actors;
    senders(first);
    for act in [
        Act::Spsc(SpscAct::TryReceiver),
        Act::Records(RecordsAct::TryReceiver),
        Act::Stream(StreamAct::TryReader),
    ] {
        second.act(act);
    }
    for i in 0..40 {
        send(first, 5 + i % 23);
        if i < 38 {
            for act in [
                Act::Spsc(SpscAct::TryRecv),
                Act::Records(RecordsAct::TryRecv),
                Act::Stream(StreamAct::TryRead { len: 5 + i % 23 }),
            ] {
                second.act(act);
            }
        }
    }
}

fn remove(actors: &mut [Actor; 2]) {
    wrap(actors);
    for act in [
        Act::Objects(ObjectsAct::Create { number: 1 }),
        Act::Objects(ObjectsAct::Create { number: 2 }),
        Act::Objects(ObjectsAct::RemoveNumber { number: 1 }),
        Act::Objects(ObjectsAct::Remove),
    ] {
        actors[0].act(act);
    }
}

/// Makes the last entries in use what a dead creator leaves.
fn half_made(image: &mut [u8]) {
    let (entries, at) = (read(image, 40) as usize, read(image, 56) as usize);
    let used = (0..entries).filter(|i| read(image, at + 128 * i) != 0).count();
    let stamp = 1 << 14 | 1; // the first row's first tenant
    for (entry, state) in [(used, 1), (used + 1, 4)] {
        write(image, at + 128 * entry, 1 << 32 | state << 24 | stamp);
    }
}

fn senders(actor: &mut Actor) {
    for act in [
        Act::Spsc(SpscAct::TrySender),
        Act::Records(RecordsAct::TrySender),
        Act::Stream(StreamAct::TryWriter),
    ] {
        actor.act(act);
    }
}

fn send(actor: &mut Actor, len: u8) {
    for act in [
        Act::Spsc(SpscAct::TrySend(len.into())),
        Act::Records(RecordsAct::TrySend { len }),
        Act::Stream(StreamAct::TryWrite { len }),
    ] {
        actor.act(act);
    }
}
