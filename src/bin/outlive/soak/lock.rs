//! A lock as a user of this crate makes one: a word of atomics that names its holder, and is taken from the dead.
//!
//! Inside, two words are counted up, one after the other. Whoever takes the lock from somebody alive, or finds them different
//! although the last holder has left, has found that two were inside, or that a death was announced that was none.

use outlive::atomic::AtomicU64;
use outlive::object::Object;
use outlive::{Owner, Segment};

use super::hand::{Hand, Waits};
use super::ledger::{Page, exchange, get, set};
use super::operation::Operation;
use super::subject::{Place, Subject};
use crate::Outcome;

/// The words of the object: `hand:32 | row:18 | generation:14` of the holder, and the two that it guards.
const HOLDER: usize = 0;
const FIRST: usize = 1;
const SECOND: usize = 2;

/// The words of the page: who is inside, how often both were counted up.
const INSIDE: usize = 0;
const COUNTED: usize = 1;

/// How often a lock that somebody has is looked at before something else is done.
const PATIENCE: usize = 50;

#[derive(Debug)]
pub(crate) struct Lock {
    segment: Segment,
    words: Object<[AtomicU64; 4]>,
    page: Page,
}

impl Lock {
    pub(crate) fn open(place: &Place) -> Outcome<Self> {
        let words = Object::open_or_create(&place.segment, "lock", Default::default)?;
        Ok(Self { segment: place.segment.clone(), words, page: place.ledger.page("lock")? })
    }

    /// What names the holder: an attachment, and which of its threads.
    fn word(owner: Owner, hand: usize) -> u64 {
        (hand as u64) << 32 | u64::from(owner.row()) << 14 | u64::from(owner.generation())
    }

    /// Whether the attachment that a word names is dead, or has been swept.
    fn is_dead(&self, word: u64) -> outlive::Result<bool> {
        let attachments = self.segment.attachments()?;
        let named = attachments.iter().find(|other| Self::word(other.owner, 0) == word & 0xffff_ffff);
        Ok(named.is_none_or(|attachment| !attachment.alive))
    }

    /// Takes it, and says whether from the dead; `None` if somebody has it.
    fn take(&self, me: u64) -> outlive::Result<Option<bool>> {
        for _ in 0..PATIENCE {
            let seen = get(&self.words[HOLDER]);
            let from_the_dead = seen != 0 && self.is_dead(seen)?;
            if (seen == 0 || from_the_dead) && exchange(&self.words[HOLDER], seen, me) {
                return Ok(Some(from_the_dead));
            }
            std::thread::sleep(core::time::Duration::from_micros(10));
        }
        Ok(None)
    }

    /// Whether what the last holder left is as it can be; makes it whole, and notes that, before anything is counted: however
    /// many die here one after the other, no more than one of them has counted what is not noted. Gives how often both were.
    fn repair(&self, hand: &Hand, from_the_dead: bool) -> u64 {
        let [first, second] = [FIRST, SECOND].map(|word| get(&self.words[word]));
        if first != second && !from_the_dead {
            hand.wrong(&format_args!("the lock was left at {first} and {second}"));
        }
        let counted = self.page.get(COUNTED);
        if first != counted && first != counted + 1 || second != first && second + 1 != first {
            let what =
                format!("counted up {counted} times under the lock, and there are {first} and {second}");
            hand.lost(counted.abs_diff(first), &what);
        }
        set(&self.words[SECOND], first);
        self.page.set(COUNTED, first);
        first
    }

    fn inside(&self, hand: &mut Hand, me: u64, from_the_dead: bool) {
        hand.holds(&self.page, INSIDE, &"the lock");
        let first = self.repair(hand, from_the_dead);
        set(&self.words[FIRST], first + 1);
        hand.rests(100);
        set(&self.words[SECOND], first + 1);
        self.page.set(COUNTED, first + 1);
        Hand::leaves(&self.page, INSIDE);
        if !hand.does(Operation::LockRelease, Waits::NOT, || exchange(&self.words[HOLDER], me, 0)) {
            hand.wrong(&"the lock was taken from a living process");
        }
    }
}

impl Subject for Lock {
    fn name(&self) -> String {
        "the lock".to_owned()
    }

    fn work(&mut self, hand: &mut Hand) -> Outcome<()> {
        let me = Self::word(self.segment.owner(), hand.number());
        for _ in 0..=hand.random.below(200) {
            if let Some(from_the_dead) = hand.does(Operation::LockTake, Waits::NOT, || self.take(me))? {
                self.inside(hand, me, from_the_dead);
            }
            if hand.is_to_stop() {
                break;
            }
        }
        Ok(())
    }

    fn audit(&mut self, hand: &mut Hand) -> Outcome<()> {
        let me = Self::word(self.segment.owner(), hand.number());
        match self.take(me)? {
            Some(from_the_dead) => self.inside(hand, me, from_the_dead),
            None => hand.wrong(&"the lock is held by the dead, and cannot be taken"),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::ledger::{Ledger, total};
    use super::*;
    use crate::random::Random;

    #[test]
    fn holders_who_die_one_after_the_other_are_no_loss() {
        let segment = Segment::options().size(1 << 16).memfd("outlive-test-lock").expect("a segment");
        let ledger = Ledger::create(1).expect("a segment");
        let place =
            Place { segment, ledger: ledger.clone(), prefix: "outlive-test-lock".to_owned(), processes: 1 };
        let (lock, totals) = (Lock::open(&place).expect("room"), ledger.totals().expect("room"));
        let hand = Hand::new(&ledger, 0, 0, Random::new(0)).expect("room");
        for _ in 0..5 {
            let first = lock.repair(&hand, true);
            set(&lock.words[FIRST], first + 1); // and is killed
        }
        assert_eq!((totals.get(total::LOST), totals.get(total::WRONG)), (0, 0));
        set(&lock.words[FIRST], lock.repair(&hand, true) - 1); // as of one who was alive all the time
        lock.repair(&hand, true);
        assert_ne!(totals.get(total::LOST), 0, "a count went back");
    }
}
