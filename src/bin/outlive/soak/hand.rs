//! A hand: one thread of a worker, which notes what it does.

use core::fmt::Display;
use core::time::Duration;
use std::thread::sleep;

use super::ledger::{Ledger, Page, hand, total};
use super::operation::Operation;
use super::process::{self, Stamp};
use crate::Outcome;
use crate::random::Random;

/// What an operation needs before it can end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Need {
    /// Nothing: it never waits, unless somebody who is alive is at the same word.
    Nothing,
    Room,
    Message,
    SenderRole,
    ReceiverRole,
}

impl Need {
    const ALL: [Self; 5] = [Self::Nothing, Self::Room, Self::Message, Self::SenderRole, Self::ReceiverRole];
}

/// What an operation waits for, as it is noted before it begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Waits {
    pub(crate) need: Need,
    /// Whether a dead peer's successor is waited for.
    pub(crate) patient: bool,
    /// After so long it ends in any case.
    pub(crate) at_most: Option<Duration>,
}

impl Waits {
    /// It does not.
    pub(crate) const NOT: Self = Self { need: Need::Nothing, patient: false, at_most: None };

    pub(crate) fn until(need: Need, patient: bool, at_most: Option<Duration>) -> Self {
        Self { need, patient, at_most }
    }

    /// `0 need:8 | 8 patient | 16 subject:16 | 32 at_most + 1 in ms, 0 for none`
    pub(crate) fn word(self, subject: usize) -> u64 {
        let at_most = self.at_most.map_or(0, |time| 1 + u64::try_from(time.as_millis()).unwrap_or(0));
        self.need as u64 | u64::from(self.patient) << 8 | (subject as u64) << 16 | at_most << 32
    }

    /// And the number of the subject.
    pub(crate) fn of_word(word: u64) -> Option<(Self, usize)> {
        let need = *Need::ALL.get(usize::from(word.to_le_bytes()[0]))?;
        let at_most = (word >> 32).checked_sub(1).map(Duration::from_millis);
        let subject = usize::try_from(word >> 16 & 0xffff).ok()?;
        Some((Self { need, patient: word >> 8 & 1 != 0, at_most }, subject))
    }
}

/// Who works, and notes it.
#[derive(Debug)]
pub(crate) struct Hand {
    page: Page,
    totals: Page,
    stamp: Stamp,
    number: usize,
    /// Which subject it is at.
    subject: usize,
    pub(crate) random: Random,
}

impl Hand {
    /// The hand of this number, for worker number `life`.
    pub(crate) fn new(ledger: &Ledger, number: usize, life: u64, random: Random) -> Outcome<Self> {
        let page = ledger.hand(number)?;
        // What the last one was doing is of no interest any more.
        page.set(hand::SERIAL, 0);
        page.set(hand::THREAD, process::this_thread());
        page.set(hand::LIFE, life);
        Ok(Self { page, totals: ledger.totals()?, stamp: Stamp::ours()?, number, subject: 0, random })
    }

    /// Which hand it is: no other that lives has this number.
    pub(crate) fn number(&self) -> usize {
        self.number
    }

    /// From here on it works at subject number `subject`.
    pub(crate) fn goes_to(&mut self, subject: usize) {
        self.subject = subject;
    }

    /// Does one operation, with a note before and after it.
    pub(crate) fn does<R>(&mut self, what: Operation, waits: Waits, operation: impl FnOnce() -> R) -> R {
        self.page.set(hand::WAITS, waits.word(self.subject));
        self.page.set(hand::DOES, what as u64);
        let serial = self.page.get(hand::SERIAL) | 1;
        self.page.set(hand::SERIAL, serial);
        let result = operation();
        self.page.set(hand::SERIAL, serial + 1);
        self.page.add(hand::COUNTS + what as usize, 1);
        result
    }

    pub(crate) fn is_to_stop(&self) -> bool {
        self.totals.get(total::STOP) != 0
    }

    /// The subject that is to be left alone.
    pub(crate) fn quiet(&self) -> Option<usize> {
        usize::try_from(self.totals.get(total::QUIET)).ok()?.checked_sub(1)
    }

    /// Does nothing for a while, now and then: so that others fall asleep.
    pub(crate) fn rests(&mut self, once_in: u64) {
        if self.random.once_in(once_in) {
            sleep(self.random.pause(Duration::from_millis(3)));
        }
    }

    pub(crate) fn lost(&self, n: u64, what: &dyn Display) {
        self.complain(total::LOST, n, what);
    }

    pub(crate) fn duplicated(&self, n: u64, what: &dyn Display) {
        self.complain(total::DUPLICATED, n, what);
    }

    pub(crate) fn leaked(&self, n: u64, what: &dyn Display) {
        self.complain(total::LEAKED, n, what);
    }

    pub(crate) fn wrong(&self, what: &dyn Display) {
        self.complain(total::WRONG, 1, what);
    }

    fn complain(&self, which: usize, n: u64, what: &dyn Display) {
        self.totals.add(which, n.min(1 << 32)); // a sum of nonsense is to remain a sum
        crate::complain(what);
    }

    pub(crate) fn flagged(&self) {
        self.totals.add(total::FLAGGED, 1);
    }

    pub(crate) fn recovered(&self, n: u32) {
        self.totals.add(total::RECOVERED, n.into());
    }

    /// Notes in a word that it has what only one can have; whoever had it before has left, or is dead.
    pub(crate) fn holds(&self, page: &Page, word: usize, what: &dyn Display) {
        if let Some(before) = Stamp::of_word(page.swap(word, self.stamp.word())) {
            self.totals.add(total::TAKEOVERS, 1);
            if before.is_alive() {
                self.wrong(&format_args!("{what} was taken from process {before}, which is alive"));
            }
        }
    }

    /// Notes that it is about to leave it.
    pub(crate) fn leaves(page: &Page, word: usize) {
        page.set(word, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_keeps_what_is_waited_for() {
        for need in Need::ALL {
            for (patient, at_most) in [(false, None), (true, Some(0)), (false, Some(500))] {
                let waits = Waits::until(need, patient, at_most.map(Duration::from_millis));
                assert_eq!(Waits::of_word(waits.word(13)), Some((waits, 13)));
            }
        }
        assert_eq!(Waits::of_word(0xff), None);
    }
}
