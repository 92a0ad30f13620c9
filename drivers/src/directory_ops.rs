//! Some processes create, open and remove objects of all kinds, under good and bad names, and die, against a map: who finds
//! what under which name, whose memory is whose, and that none is lost.

use std::collections::{BTreeMap, BTreeSet};

use arbitrary::Arbitrary;
use outlive::atomic::{AtomicU64, Ordering};
use outlive::inspect;
use outlive::object::Object;
use outlive::payload::Concurrent;
use outlive::ring::{records, spsc, stream};
use outlive::segment::ObjectInfo;
use outlive::{Error, Result, Segment, testing};

use crate::Steps;

/// What happens, one after the other; the first number of an act is the process.
#[derive(Arbitrary, Debug)]
pub struct Input {
    /// One in four is a memfd: kernel objects are slow.
    memory: u8,
    acts: Steps<(u8, Act)>,
}

#[derive(Arbitrary, Debug)]
enum Act {
    Find(How, Name, What),
    Remove(Name),
    /// One of the handles.
    Drop(u8),
    Rare(Rare),
}

#[derive(Arbitrary, Clone, Copy, Debug)]
enum Rare {
    /// The process is killed, and another comes in its place.
    Kill,
    /// The same, by detaching.
    Leave,
    Sweep,
    /// A look at every invariant, here and in a copy.
    Check,
}

#[derive(Arbitrary, Clone, Copy, Debug, PartialEq, Eq)]
enum How {
    Create,
    Open,
    OpenOrCreate,
}

#[derive(Arbitrary, Debug)]
enum Name {
    /// One of few, so that they meet.
    Good(u8),
    Odd(Odd),
}

#[derive(Arbitrary, Debug)]
enum Odd {
    /// A letter, so often.
    Long(u8),
    Any(char, char),
}

impl Name {
    fn text(&self) -> String {
        match *self {
            Self::Good(number) => format!("name {}", number % 5),
            Self::Odd(Odd::Long(len)) => "x".repeat(usize::from(len % 64)),
            Self::Odd(Odd::Any(first, second)) => [first, second].iter().collect(),
        }
    }
}

fn is_good(name: &str) -> bool {
    (1..=47).contains(&name.len()) && !name.contains(['/', '\0'])
}

#[derive(Arbitrary, Clone, Copy, Debug)]
enum What {
    /// Atomics, of one of four sizes.
    Words(u8),
    Messages(Capacity),
    Records(Capacity),
    Bytes(Capacity),
}

#[derive(Arbitrary, Clone, Copy, Debug)]
enum Capacity {
    Small(u8),
    Power(u8),
    Any(u64),
}

impl Capacity {
    fn number(self) -> usize {
        match self {
            Self::Small(number) => number.into(),
            Self::Power(bit) => 1 << (bit % 13),
            Self::Any(number) => number as usize,
        }
    }

    /// What a ring makes of it, if it can.
    fn rounded(self, least: u64) -> Option<u64> {
        let rounded = self.number().checked_next_power_of_two().filter(|_| self.number() > 0)? as u64;
        (rounded <= 1 << 31).then_some(rounded.max(least))
    }
}

/// Words of an object of each size.
const WORDS: [usize; 4] = [1, 17, 24, 32];

impl What {
    /// How a list describes it: kind, payload, capacity; `None` if the capacity is impossible.
    fn described(self) -> Option<(&'static str, usize, u64)> {
        Some(match self {
            Self::Words(size) => ("object", usize::from(size) % WORDS.len(), 0),
            Self::Messages(capacity) => ("spsc ring", 0, capacity.rounded(1)?),
            Self::Records(capacity) => ("records ring", 0, capacity.rounded(64)?),
            Self::Bytes(capacity) => ("stream ring", 0, capacity.rounded(1)?),
        })
    }

    fn find(self, segment: &Segment, name: &str, how: How, mark: u64) -> Result<Handle> {
        macro_rules! ring {
            ($ring:ty, $capacity:expr) => {
                match how {
                    How::Create => <$ring>::create(segment, name, $capacity.number())?,
                    How::Open => <$ring>::open(segment, name)?,
                    How::OpenOrCreate => <$ring>::open_or_create(segment, name, $capacity.number())?,
                }
            };
        }
        Ok(match self {
            Self::Words(size) => Handle::Words(match usize::from(size) % WORDS.len() {
                0 => words::<{ WORDS[0] }>(segment, name, how, mark)?,
                1 => words::<{ WORDS[1] }>(segment, name, how, mark)?,
                2 => words::<{ WORDS[2] }>(segment, name, how, mark)?,
                _ => words::<{ WORDS[3] }>(segment, name, how, mark)?,
            }),
            Self::Messages(capacity) => Handle::Messages(ring!(spsc::Ring<u64>, capacity)),
            Self::Records(capacity) => Handle::Records(ring!(records::Ring, capacity)),
            Self::Bytes(capacity) => Handle::Bytes(ring!(stream::Ring, capacity)),
        })
    }
}

fn words<const N: usize>(segment: &Segment, name: &str, how: How, mark: u64) -> Result<Box<dyn Words>>
where
    [AtomicU64; N]: Concurrent,
{
    let init = || core::array::from_fn(|_| AtomicU64::new(mark));
    Ok(Box::new(match how {
        How::Create => Object::<[AtomicU64; N]>::create(segment, name, init)?,
        How::Open => Object::open(segment, name)?,
        How::OpenOrCreate => Object::open_or_create(segment, name, init)?,
    }))
}

/// An object of one of the sizes, as a slice of words.
trait Words {
    fn words(&self) -> &[AtomicU64];
}

impl<const N: usize> Words for Object<[AtomicU64; N]>
where
    [AtomicU64; N]: Concurrent,
{
    fn words(&self) -> &[AtomicU64] {
        &**self
    }
}

enum Handle {
    Words(Box<dyn Words>),
    Messages(spsc::Ring<u64>),
    Records(records::Ring),
    Bytes(stream::Ring),
}

impl Handle {
    /// Leaves something in a new ring by which it is known again.
    fn stamp(&self, mark: u64) {
        let sent = match self {
            Self::Words(_) => return,
            Self::Messages(ring) => ring.try_sender().and_then(|mut sender| Ok(sender.try_send(mark)?)),
            Self::Records(ring) => ring.try_sender().and_then(|mut sender| Ok(sender.try_send(&[])?)),
            Self::Bytes(ring) => {
                ring.try_writer().and_then(|mut writer| Ok(writer.try_write(&[1]).map(drop)?))
            }
        };
        sent.expect("a new ring has room");
    }

    /// Whether its memory is still its own.
    fn is_intact(&self, mark: u64) -> bool {
        let stats = match self {
            Self::Words(object) => {
                return object.words().iter().all(|word| word.load(Ordering::Relaxed) == mark);
            }
            Self::Messages(ring) => ring.stats(),
            Self::Records(ring) => ring.stats(),
            Self::Bytes(ring) => ring.stats(),
        };
        (stats.sent, stats.received, stats.sender_closed) == (1, 0, true)
    }
}

/// What there is, or was.
struct Thing {
    described: (&'static str, usize, u64),
    at: u64,
    end: u64,
}

const PROCESSES: usize = 3;
/// Little, so that it is full now and then.
const SIZE: usize = 12 << 10;
const ENTRIES: usize = 16;

/// The directory that it has to be.
struct Registry {
    base: Segment,
    processes: Vec<Segment>,
    names: BTreeMap<String, u64>,
    /// By their marks.
    things: BTreeMap<u64, Thing>,
    /// Whose, of which thing.
    handles: Vec<(usize, u64, Handle)>,
    next: u64,
    /// So many copies more: they take longer than all the rest.
    copies: u32,
    /// Where objects begin.
    begin: u64,
    mapped: bool,
}

impl Registry {
    fn new(mapped: bool) -> Self {
        let options = Segment::options().size(SIZE).rows(8);
        let base = if mapped { options.memfd("fuzz") } else { options.heap() }.expect("memory for a segment");
        let begin =
            Object::<AtomicU64>::create(&base, "first", AtomicU64::default).expect("it is empty").offset();
        base.remove("first").expect("it is there");
        let processes = (0..PROCESSES).map(|_| base.attach().expect("four of eight rows")).collect();
        Self {
            base,
            processes,
            names: BTreeMap::new(),
            things: BTreeMap::new(),
            handles: Vec::new(),
            next: 1,
            copies: 2,
            begin: begin.get(),
            mapped,
        }
    }

    /// The pieces of memory that something lives in, in order.
    fn used(&self) -> Vec<(u64, u64)> {
        let named: BTreeSet<u64> = self.names.values().copied().collect();
        let lives = |mark: &u64| named.contains(mark) || self.handles.iter().any(|(_, held, _)| held == mark);
        let living = self.things.iter().filter(|(mark, _)| lives(mark));
        let mut used: Vec<_> = living.map(|(_, thing)| (thing.at, thing.end)).collect();
        used.sort_unstable();
        used
    }

    fn largest_gap(&self) -> u64 {
        let ends = std::iter::once(self.begin).chain(self.used().into_iter().map(|(_, end)| end));
        let begins = self.used().into_iter().map(|(at, _)| at).chain([self.base.size()]);
        begins.zip(ends).map(|(at, end)| at - end).max().expect("there is one at the end")
    }

    fn is_listed_as(&self, name: &str) -> ObjectInfo {
        let mut listed = self.base.objects().expect("this attachment lives");
        listed.retain(|object| object.name == name);
        assert_eq!(listed.len(), 1, "{name:?}");
        listed.remove(0)
    }

    fn find(&mut self, process: usize, name: String, how: How, what: What) {
        let mark = self.next;
        self.next += 1;
        let found = what.find(&self.processes[process], &name, how, mark);
        let there = self.names.get(&name).copied();
        let wanted = match what.described() {
            None if how != How::Open => {
                let refused = found.err();
                return assert!(matches!(refused, Some(Error::InvalidConfig { .. })), "{refused:?}");
            }
            None => ("", 0, 0),
            Some(described) => described,
        };
        let refused = found.as_ref().err();
        if !is_good(&name) {
            return assert!(matches!(refused, Some(Error::InvalidName { .. })), "{name:?}: {refused:?}");
        }
        match (how, there) {
            (How::Create, Some(_)) => {
                assert!(matches!(refused, Some(Error::AlreadyExists { .. })), "{refused:?}")
            }
            (How::Open, None) => assert!(matches!(refused, Some(Error::NotFound { .. })), "{refused:?}"),
            (How::Open | How::OpenOrCreate, Some(mark)) => self.opens(process, mark, how, what, found),
            (How::Create | How::OpenOrCreate, None) => self.creates(process, name, mark, wanted, found),
        }
    }

    fn opens(&mut self, process: usize, mark: u64, how: How, what: What, found: Result<Handle>) {
        let (kind, payload, shape) = self.things[&mark].described;
        let is_of_type = match what {
            What::Words(size) => (kind, payload) == ("object", usize::from(size) % WORDS.len()),
            What::Messages(_) => kind == "spsc ring",
            What::Records(_) => kind == "records ring",
            What::Bytes(_) => kind == "stream ring",
        };
        let is_of_shape = how == How::Open || what.described().is_some_and(|(.., wanted)| wanted == shape);
        match found {
            Err(Error::WrongType { .. }) => assert!(!is_of_type),
            Err(Error::WrongShape { found, .. }) => assert!(is_of_type && !is_of_shape && found == shape),
            Err(error) => panic!("{error}"),
            Ok(handle) => {
                assert!(is_of_type && is_of_shape);
                self.handles.push((process, mark, handle));
            }
        }
    }

    fn creates(
        &mut self,
        process: usize,
        name: String,
        mark: u64,
        described: (&'static str, usize, u64),
        found: Result<Handle>,
    ) {
        let handle = match found {
            Ok(handle) => handle,
            Err(Error::NoSpace { needed, available }) => {
                let (gap, used) = (self.largest_gap(), self.used().len());
                let (kind, _, shape) = described;
                let on_pages = self.mapped && kind == "records ring" && shape >= 4096;
                assert!(gap < needed || used == ENTRIES || on_pages, "{needed} into {gap}, {used} entries");
                return assert!(available <= gap || needed == u64::MAX, "{available} of {gap}");
            }
            Err(error) => panic!("{error}"),
        };
        let listed = self.is_listed_as(&name);
        let (at, end) = (listed.at, listed.at + listed.size);
        assert_eq!((listed.kind.as_str(), listed.shape), (described.0, described.2));
        assert!(self.begin <= at && end <= self.base.size());
        let used = self.used();
        assert!(used.iter().all(|&(from, to)| end <= from || to <= at), "{at} to {end} of {used:?}");
        handle.stamp(mark);
        self.things.insert(mark, Thing { described, at, end });
        self.names.insert(name, mark);
        self.handles.push((process, mark, handle));
    }

    fn does(&mut self, process: usize, act: Act) {
        match act {
            Act::Find(how, name, what) => self.find(process, name.text(), how, what),
            Act::Remove(name) => {
                let name = name.text();
                let refused = self.processes[process].remove(&name).err();
                match self.names.remove(&name) {
                    Some(_) => assert!(refused.is_none(), "{refused:?}"),
                    None if is_good(&name) => assert!(matches!(refused, Some(Error::NotFound { .. }))),
                    None => assert!(matches!(refused, Some(Error::InvalidName { .. }))),
                }
            }
            Act::Drop(_) if self.handles.is_empty() => {}
            Act::Drop(number) => drop(self.handles.swap_remove(usize::from(number) % self.handles.len())),
            Act::Rare(Rare::Kill | Rare::Leave) => {
                if matches!(act, Act::Rare(Rare::Kill)) && !self.mapped {
                    testing::kill(&self.processes[process]).expect("a heap segment");
                }
                self.handles.retain(|(whose, ..)| *whose != process);
                self.processes[process] = self.base.attach().expect("rows of the dead are given out again");
            }
            Act::Rare(Rare::Sweep) => {
                let swept = self.processes[process].sweep().expect("this attachment lives");
                assert_eq!(swept.left, 0, "nobody else sweeps");
            }
            Act::Rare(Rare::Check) => {
                let report = inspect::check(&self.base);
                assert!(report.is_sound(), "{report}");
                if self.copies > 0 {
                    self.copies -= 1;
                    let copy = self.processes[process].snapshot().expect("memory for a copy");
                    let report = inspect::check(&copy);
                    assert!(report.is_sound(), "{report}");
                }
            }
        }
    }

    /// What holds between two acts.
    fn is_as_it_should(&self) {
        for (_, mark, handle) in &self.handles {
            assert!(handle.is_intact(*mark), "memory under a handle was used again");
        }
        let listed = self.base.objects().expect("this attachment lives");
        let (named, nameless): (Vec<_>, Vec<_>) = listed.iter().partition(|object| !object.name.is_empty());
        assert!(nameless.iter().all(|object| object.openers > 0));
        assert_eq!(named.len(), self.names.len());
        for object in named {
            let mark = self.names[&object.name];
            let thing = &self.things[&mark];
            assert_eq!((object.at, object.at + object.size), (thing.at, thing.end));
            let holders: BTreeSet<_> =
                self.handles.iter().filter(|(_, held, _)| *held == mark).map(|(whose, ..)| whose).collect();
            assert!(object.openers as usize >= holders.len());
        }
    }
}

/// How many fit, of large ones and then of small ones.
fn room(segment: &Segment) -> [usize; 2] {
    let mut names = Vec::new();
    let counts = [WORDS.len() as u8 - 1, 0].map(|size| {
        let before = names.len();
        loop {
            let name = format!("room {}", names.len());
            match What::Words(size).find(segment, &name, How::Create, 0) {
                Ok(_) => names.push(name),
                Err(_) => break names.len() - before,
            }
        }
    });
    names.iter().for_each(|name| segment.remove(name).expect("it is there"));
    counts
}

/// # Panics
/// If a promise is broken.
pub fn run(input: Input) {
    let mut registry = Registry::new(input.memory % 4 == 1);
    let all = room(&registry.base);
    for (process, act) in input.acts.0 {
        registry.does(usize::from(process) % PROCESSES, act);
        registry.is_as_it_should();
    }
    let Registry { base, names, handles, .. } = registry; // the processes leave
    drop(handles);
    names.keys().for_each(|name| base.remove(name).expect("it is there"));
    base.sweep().expect("this attachment lives");
    let report = inspect::check(&base);
    assert!(report.is_sound() && report.dead == 0, "{report}");
    assert_eq!(base.objects().expect("this attachment lives"), []);
    assert_eq!(room(&base), all, "memory was lost");
}
