//! The directory against a map: who finds what under which name, whose memory is whose, and that none is lost.

use std::collections::BTreeMap;

use outlive::atomic::{AtomicU64, Ordering};
use outlive::object::Object;
use outlive::payload::Concurrent;
use outlive::{Error, Segment, testing};
use proptest::prelude::*;

use super::config;

/// What can be done to a directory. Processes, names, sizes and handles are numbers.
#[derive(Clone, Debug)]
enum Act {
    Create(usize, usize, usize),
    Open(usize, usize, usize),
    OpenOrCreate(usize, usize, usize),
    Remove(usize, usize),
    /// The handle with this number, modulo as many as there are.
    Drop(usize),
    Kill(usize),
    Detach(usize),
    Sweep(usize),
}

const PROCESSES: usize = 3;
const NAMES: usize = 5;
/// Words of an object of each size.
const WORDS: [usize; 4] = [1, 17, 24, 32];

fn act() -> impl Strategy<Value = Act> {
    let triple = (0..PROCESSES, 0..NAMES, 0..WORDS.len());
    prop_oneof![
        6 => triple.clone().prop_map(|(process, name, size)| Act::Create(process, name, size)),
        4 => triple.clone().prop_map(|(process, name, size)| Act::Open(process, name, size)),
        4 => triple.prop_map(|(process, name, size)| Act::OpenOrCreate(process, name, size)),
        5 => (0..PROCESSES, 0..NAMES).prop_map(|(process, name)| Act::Remove(process, name)),
        6 => (0..64_usize).prop_map(Act::Drop),
        2 => (0..PROCESSES).prop_map(Act::Kill),
        1 => (0..PROCESSES).prop_map(Act::Detach),
        1 => (0..PROCESSES).prop_map(Act::Sweep),
    ]
}

/// An object of one of the sizes, as a slice of words.
trait Words {
    fn words(&self) -> &[AtomicU64];
    fn at(&self) -> u64;
}

impl<const N: usize> Words for Object<[AtomicU64; N]>
where
    [AtomicU64; N]: Concurrent,
{
    fn words(&self) -> &[AtomicU64] {
        &**self
    }

    fn at(&self) -> u64 {
        self.offset().get()
    }
}

#[derive(Clone, Copy, Debug)]
enum How {
    Create,
    Open,
    OpenOrCreate,
}

fn find(segment: &Segment, name: &str, how: How, size: usize, mark: u64) -> outlive::Result<Box<dyn Words>> {
    fn sized<const N: usize>(
        segment: &Segment,
        name: &str,
        how: How,
        mark: u64,
    ) -> outlive::Result<Box<dyn Words>>
    where
        [AtomicU64; N]: Concurrent,
    {
        let init = || core::array::from_fn(|_| AtomicU64::new(mark));
        let object = match how {
            How::Create => Object::<[AtomicU64; N]>::create(segment, name, init)?,
            How::Open => Object::open(segment, name)?,
            How::OpenOrCreate => Object::open_or_create(segment, name, init)?,
        };
        Ok(Box::new(object))
    }
    match size {
        0 => sized::<{ WORDS[0] }>(segment, name, how, mark),
        1 => sized::<{ WORDS[1] }>(segment, name, how, mark),
        2 => sized::<{ WORDS[2] }>(segment, name, how, mark),
        _ => sized::<{ WORDS[3] }>(segment, name, how, mark),
    }
}

fn bytes(size: usize) -> u64 {
    (WORDS[size] as u64 * 8).next_multiple_of(128)
}

/// The directory that it has to be.
struct Registry {
    base: Segment,
    processes: Vec<Segment>,
    names: BTreeMap<usize, u64>,
    /// By the mark in their words: size, place.
    objects: BTreeMap<u64, (usize, u64)>,
    /// Whose, of which object.
    handles: Vec<(usize, u64, Box<dyn Words>)>,
    next: u64,
    begin: u64,
}

impl Registry {
    fn new() -> Self {
        let base = Segment::options().size(8 << 10).rows(8).heap().unwrap();
        let begin = Object::<AtomicU64>::create(&base, "first", AtomicU64::default).unwrap().offset().get();
        base.remove("first").unwrap();
        let processes = (0..PROCESSES).map(|_| base.attach().unwrap()).collect();
        Self {
            base,
            processes,
            names: BTreeMap::new(),
            objects: BTreeMap::new(),
            handles: Vec::new(),
            next: 1,
            begin,
        }
    }

    /// The pieces of memory that something lives in, in order.
    fn used(&self) -> Vec<(u64, u64)> {
        let lives = |mark: u64| {
            self.names.values().any(|&named| named == mark)
                || self.handles.iter().any(|(_, held, _)| *held == mark)
        };
        let living = self.objects.iter().filter(|&(&mark, _)| lives(mark));
        let mut used: Vec<_> = living.map(|(_, &(size, at))| (at, at + bytes(size))).collect();
        used.sort_unstable();
        used
    }

    fn would_fit(&self, size: usize) -> bool {
        let mut from = self.begin;
        let mut gaps = Vec::new();
        for (at, end) in self.used().into_iter().chain([(self.base.size(), 0)]) {
            gaps.push(at - from);
            from = end;
        }
        gaps.into_iter().any(|gap| gap >= bytes(size)) && self.used().len() < 16
    }

    fn finds(&mut self, process: usize, name: usize, how: How, size: usize) {
        let (mark, text) = (self.next, format!("name {name}"));
        self.next += 1;
        let there = self.names.get(&name).copied();
        let found = find(&self.processes[process], &text, how, size, mark);
        let creates = match (how, there) {
            (How::Create, Some(_)) => return assert!(matches!(found, Err(Error::AlreadyExists { .. }))),
            (How::Open, None) => return assert!(matches!(found, Err(Error::NotFound { .. }))),
            (How::Open | How::OpenOrCreate, Some(_)) => false,
            (How::Create | How::OpenOrCreate, None) => true,
        };
        if let Some(mark) = there {
            if self.objects[&mark].0 != size {
                return assert!(matches!(found, Err(Error::WrongType { .. })));
            }
            let object = found.unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!(object.at(), self.objects[&mark].1);
            return self.handles.push((process, mark, object));
        }
        assert!(creates);
        match found {
            Err(error) => {
                assert!(matches!(error, Error::NoSpace { .. }), "{error}");
                assert!(!self.would_fit(size), "{error}, but there is room: {:?}", self.used());
            }
            Ok(object) => {
                let (at, end) = (object.at(), object.at() + bytes(size));
                assert!(
                    self.used().iter().all(|&(from, to)| end <= from || to <= at),
                    "{at}: {:?}",
                    self.used()
                );
                self.objects.insert(mark, (size, at));
                self.names.insert(name, mark);
                self.handles.push((process, mark, object));
            }
        }
    }

    fn does(&mut self, act: &Act) {
        match *act {
            Act::Create(process, name, size) => self.finds(process, name, How::Create, size),
            Act::Open(process, name, size) => self.finds(process, name, How::Open, size),
            Act::OpenOrCreate(process, name, size) => self.finds(process, name, How::OpenOrCreate, size),
            Act::Remove(process, name) => {
                let removed = self.processes[process].remove(&format!("name {name}"));
                match self.names.remove(&name) {
                    Some(_) => removed.unwrap(),
                    None => assert!(matches!(removed, Err(Error::NotFound { .. }))),
                }
            }
            Act::Drop(number) if !self.handles.is_empty() => {
                self.handles.swap_remove(number % self.handles.len());
            }
            Act::Drop(_) => {}
            Act::Kill(process) => {
                testing::kill(&self.processes[process]).unwrap();
                self.handles.retain(|(whose, ..)| *whose != process);
                self.processes[process] = self.base.attach().unwrap();
            }
            Act::Detach(process) => {
                self.handles.retain(|(whose, ..)| *whose != process);
                self.processes[process] = self.base.attach().unwrap();
            }
            Act::Sweep(process) => drop(self.processes[process].sweep().unwrap()),
        }
        for (_, mark, object) in &self.handles {
            let marks = object.words().iter().map(|word| word.load(Ordering::Relaxed));
            assert!(marks.into_iter().all(|found| found == *mark), "memory under a handle was used again");
        }
        let mut listed: Vec<String> =
            self.base.objects().unwrap().into_iter().map(|object| object.name).collect();
        listed.retain(|name| !name.is_empty());
        listed.sort();
        assert_eq!(listed, self.names.keys().map(|name| format!("name {name}")).collect::<Vec<_>>());
    }
}

/// How many of the largest objects fit.
fn room(segment: &Segment) -> usize {
    let create = |number| find(segment, &format!("room {number}"), How::Create, WORDS.len() - 1, 0);
    let count = (0..).map_while(|number| create(number).ok()).count();
    (0..count).for_each(|number| segment.remove(&format!("room {number}")).unwrap());
    count
}

proptest! {
    #![proptest_config(config(400))]

    #[test]
    fn the_directory_is_a_map_of_names_and_leaks_nothing(acts in prop::collection::vec(act(), 1..80)) {
        let mut registry = Registry::new();
        let all = room(&registry.base);
        for act in &acts {
            registry.does(act);
        }
        registry.handles.clear();
        for name in registry.names.keys() {
            registry.base.remove(&format!("name {name}")).unwrap();
        }
        registry.base.sweep().unwrap();
        let report = outlive::inspect::check(&registry.base);
        prop_assert!(report.is_sound(), "{}", report);
        prop_assert_eq!(registry.base.objects().unwrap(), []);
        prop_assert_eq!(room(&registry.base), all);
    }
}
