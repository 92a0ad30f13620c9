//! Whole segments: created, opened, unlinked and left, under names that all workers share.
//!
//! They are temporary: the last who leaves one removes it.

use outlive::atomic::AtomicU64;
use outlive::object::Object;
use outlive::segment::Options;
use outlive::{Error, Segment};

use super::hand::{Hand, Waits};
use super::ledger::{get, set};
use super::operation::Operation;
use super::subject::{Place, Subject};
use crate::Outcome;

const NAMES: usize = 3;

/// What the object in each of them has in it.
const STAMP: u64 = 0x6f75_746c_6976_6521;

#[derive(Debug)]
pub(crate) struct Segments {
    prefix: String,
    rows: u16,
}

impl Segments {
    pub(crate) fn open(place: &Place) -> Self {
        Self { prefix: place.prefix.clone(), rows: place.rows() }
    }

    fn address(&self, n: usize) -> String {
        format!("shm:{}-{n}", self.prefix)
    }

    fn options(&self) -> Options {
        Segment::options().size(1 << 16).rows(self.rows).temporary(true)
    }
}

/// Uses a segment: what is in it must be complete.
fn is_complete(segment: &Segment) -> outlive::Result<bool> {
    let made = || {
        let new = AtomicU64::default();
        set(&new, STAMP);
        new
    };
    let object = Object::open_or_create(segment, "stamp", made)?;
    Ok(get(&object) == STAMP)
}

impl Subject for Segments {
    fn name(&self) -> String {
        "segments".to_owned()
    }

    fn work(&mut self, hand: &mut Hand) -> Outcome<()> {
        for _ in 0..=hand.random.below(10) {
            let address = self.address(hand.random.index(NAMES));
            let address = address.as_str();
            let (options, how) = (self.options(), hand.random.below(6));
            let segment = match how {
                0 => hand.does(Operation::SegmentCreate, Waits::NOT, || options.create(address)),
                1 | 2 => hand.does(Operation::SegmentOpen, Waits::NOT, || Segment::open(address)),
                3 | 4 => hand.does(Operation::SegmentCreate, Waits::NOT, || options.open_or_create(address)),
                _ => {
                    let gone = hand.does(Operation::SegmentUnlink, Waits::NOT, || Segment::unlink(address));
                    match gone {
                        Ok(()) | Err(Error::NotFound { .. }) => continue,
                        Err(error) => return Err(format!("{address}: {error}").into()),
                    }
                }
            };
            match segment {
                Ok(segment) => {
                    if !is_complete(&segment)? {
                        hand.wrong(&format_args!("{address} is not complete"));
                    }
                    hand.rests(3);
                    hand.does(Operation::SegmentDetach, Waits::NOT, || drop(segment));
                }
                Err(Error::AlreadyExists { .. }) if how == 0 => {}
                Err(Error::NotFound { .. }) if how == 1 || how == 2 => {}
                Err(error) => return Err(format!("{address}: {error}").into()),
            }
            if hand.is_to_stop() {
                break;
            }
        }
        Ok(())
    }

    /// Opened and left once more, they are gone: that they are is for whoever looks for leaks.
    fn audit(&mut self, _hand: &mut Hand) -> Outcome<()> {
        for n in 0..NAMES {
            match Segment::open(self.address(n).as_str()) {
                Ok(_) | Err(Error::NotFound { .. }) => {}
                Err(error) => return Err(format!("{}: {error}", self.address(n)).into()),
            }
        }
        Ok(())
    }
}
