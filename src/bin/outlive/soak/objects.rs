//! Named objects: made, opened, used and removed, under names that all workers share and under names of one's own.
//!
//! An object of the shared names begins with any number but 0, and what follows is made from it: whoever opens one sees
//! whether it was half made, or whether its memory was used for another while it was open. Of an object under a hand's own
//! name the ledger knows whether it is there: `number:62 | ABSENT, CREATING, PRESENT or REMOVING`.
//!
//! Links: words that point to cells which are never removed; everybody follows them and turns them.

use core::fmt::Debug;

use outlive::atomic::AtomicU64;
use outlive::object::Object;
use outlive::payload::Concurrent;
use outlive::ptr::{AtomicOffset, Offset};
use outlive::{Error, Segment};

use super::hand::{Hand, Waits};
use super::ledger::{Page, follow, get, point, set};
use super::operation::Operation;
use super::subject::{Place, Subject};
use crate::Outcome;
use crate::random::mixed;

/// Names that all share: four of each size.
const NAMES: usize = 12;

/// How many objects a hand has open at a time.
const OPEN: usize = 3;

const CELLS: usize = 8;

const ABSENT: u64 = 0;
const CREATING: u64 = 1;
const PRESENT: u64 = 2;
const REMOVING: u64 = 3;

/// Objects of several sizes.
trait Words: Concurrent + 'static {
    fn words(&self) -> Vec<&AtomicU64>;

    fn made_from(number: u64) -> Self {
        let new = Self::default();
        for (n, word) in (0..).zip(new.words()) {
            set(word, if n == 0 { number } else { mixed(number ^ n) });
        }
        new
    }

    /// The number, if the rest is made from it.
    fn whole(&self) -> Option<u64> {
        let words = self.words();
        let number = get(words.first()?);
        let right = (1..).zip(words.iter().skip(1)).all(|(n, word)| get(word) == mixed(number ^ n));
        (number != 0 && right).then_some(number)
    }
}

impl Words for [AtomicU64; 8] {
    fn words(&self) -> Vec<&AtomicU64> {
        self.iter().collect()
    }
}

impl<const N: usize> Words for [[AtomicU64; 32]; N]
where
    Self: Concurrent,
{
    fn words(&self) -> Vec<&AtomicU64> {
        self.as_flattened().iter().collect()
    }
}

type Small = [AtomicU64; 8];
type Medium = [[AtomicU64; 32]; 4];
type Large = [[AtomicU64; 32]; 32];
type Cell = [u64; 2];

/// An open object.
trait Open: Debug {
    fn whole(&self) -> Option<u64>;
}

impl<T: Words> Open for Object<T> {
    fn whole(&self) -> Option<u64> {
        Words::whole(&**self)
    }
}

#[derive(Debug)]
pub(crate) struct Objects {
    segment: Segment,
    page: Page,
    links: Object<[AtomicOffset<Cell>; CELLS]>,
    cells: Vec<Object<[AtomicU64; 2]>>,
    /// With the numbers that they were made from.
    open: Vec<(u64, Box<dyn Open>)>,
}

impl Objects {
    pub(crate) fn open(place: &Place) -> Outcome<Self> {
        let segment = place.segment.clone();
        let cell = |n: u64| {
            Object::open_or_create(&segment, &format!("cell-{n}"), || {
                let cell = <[AtomicU64; 2]>::default();
                set(&cell[0], n);
                set(&cell[1], mixed(n));
                cell
            })
        };
        let cells = (0..CELLS as u64).map(cell).collect::<outlive::Result<_>>()?;
        let links = Object::open_or_create(&segment, "links", Default::default)?;
        let page = place.ledger.page("objects")?;
        Ok(Self { segment, page, links, cells, open: Vec::new() })
    }

    /// One thing with one of the shared names.
    fn shared<T: Words>(&mut self, hand: &mut Hand, name: &str) -> Outcome<()> {
        let number = hand.random.next() | 1;
        let how = hand.random.below(4);
        let segment = &self.segment;
        let object = match how {
            0 => hand.does(Operation::ObjectCreate, Waits::NOT, || {
                Object::<T>::create(segment, name, || T::made_from(number))
            }),
            1 => hand.does(Operation::ObjectOpen, Waits::NOT, || Object::<T>::open(segment, name)),
            2 => hand.does(Operation::ObjectCreate, Waits::NOT, || {
                Object::<T>::open_or_create(segment, name, || T::made_from(number))
            }),
            _ => {
                let removed = hand.does(Operation::ObjectRemove, Waits::NOT, || segment.remove(name));
                return match removed {
                    Ok(()) | Err(Error::NotFound { .. }) => Ok(()),
                    Err(error) => Err(error.into()),
                };
            }
        };
        match object {
            Ok(object) => self.keep(hand, name, object),
            Err(Error::AlreadyExists { .. }) if how == 0 => {}
            Err(Error::NotFound { .. }) if how == 1 => {}
            Err(error) => return Err(format!("{name}: {error}").into()),
        }
        Ok(())
    }

    /// Keeps an object open, and closes the oldest.
    fn keep<T: Words>(&mut self, hand: &mut Hand, name: &str, object: Object<T>) {
        match Open::whole(&object) {
            Some(number) => self.open.push((number, Box::new(object))),
            None => hand.wrong(&format_args!("{name} was found half made")),
        }
        if self.open.len() > OPEN {
            let (number, oldest) = self.open.remove(0);
            if oldest.whole() != Some(number) {
                hand.wrong(&format_args!("{oldest:?} has changed while it was open"));
            }
        }
    }

    /// One thing with the name that is this hand's own.
    fn own(&self, hand: &mut Hand) -> Outcome<()> {
        let (index, name) = (hand.number(), format!("own-{}", hand.number()));
        let note = |number: u64, state| self.page.set(index, number << 2 | state);
        let noted = self.page.get(index);
        let (number, state) = (noted >> 2, noted & 3);
        let segment = &self.segment;
        let object = hand.does(Operation::ObjectOpen, Waits::NOT, || Object::<Small>::open(segment, &name));
        match object {
            Ok(object) => {
                if Open::whole(&object) != Some(number) || state == ABSENT {
                    hand.wrong(&format_args!("{name} is there, and should not be, or be another"));
                }
                if hand.random.once_in(2) {
                    note(number, REMOVING);
                    hand.does(Operation::ObjectRemove, Waits::NOT, || segment.remove(&name))?;
                    note(0, ABSENT);
                } else {
                    note(number, PRESENT);
                }
            }
            Err(Error::NotFound { .. }) => {
                if state == PRESENT {
                    hand.lost(1, &format_args!("{name} was made, and is not there"));
                }
                let number = 1 + (hand.random.next() >> 3);
                note(number, CREATING);
                let make = || Object::<Small>::create(segment, &name, || Small::made_from(number));
                hand.does(Operation::ObjectCreate, Waits::NOT, make)?;
                note(number, PRESENT);
            }
            Err(error) => return Err(format!("{name}: {error}").into()),
        }
        Ok(())
    }

    /// Follows a link, and turns it.
    fn link(&self, hand: &mut Hand) -> Outcome<()> {
        let (link, to) = (&self.links[hand.random.index(CELLS)], &self.cells[hand.random.index(CELLS)]);
        let segment = &self.segment;
        let read = || {
            let offset = follow(link);
            if offset.is_null() { Ok(None) } else { segment.resolve(offset).map(|place| Some(place.read())) }
        };
        let cell = hand.does(Operation::ObjectLink, Waits::NOT, read)?;
        if cell.is_some_and(|[number, rest]| rest != mixed(number)) {
            hand.wrong(&format_args!("a link leads to {cell:x?}, which is no cell"));
        }
        point(link, Offset::new(to.offset().get()));
        Ok(())
    }
}

impl Subject for Objects {
    fn name(&self) -> String {
        "objects".to_owned()
    }

    fn work(&mut self, hand: &mut Hand) -> Outcome<()> {
        for _ in 0..=hand.random.below(60) {
            let n = hand.random.index(NAMES);
            let name = format!("object-{n}");
            match (hand.random.below(6), n % 3) {
                (0, _) => self.own(hand)?,
                (1, _) => self.link(hand)?,
                (_, 0) => self.shared::<Small>(hand, &name)?,
                (_, 1) => self.shared::<Medium>(hand, &name)?,
                _ => self.shared::<Large>(hand, &name)?,
            }
            if hand.is_to_stop() {
                break;
            }
            hand.rests(50);
        }
        self.open.clear();
        Ok(())
    }

    fn audit(&mut self, hand: &mut Hand) -> Outcome<()> {
        let objects = self.segment.objects()?;
        for index in 0..hand.number() {
            let noted = self.page.get(index);
            let there = objects.iter().any(|object| object.name == format!("own-{index}"));
            if noted & 3 == PRESENT && !there || noted & 3 == ABSENT && there {
                hand.lost(1, &format_args!("own-{index}: noted {noted:#x}, and there: {there}"));
            }
        }
        self.open.clear();
        Ok(())
    }
}
