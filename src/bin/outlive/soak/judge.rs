//! Who is blocked although nothing keeps him?
//!
//! Every 25 ms the judge looks at what each hand has noted. It counts as blocked for as long as
//!
//! * it is in one and the same operation at each look,
//! * what that operation waits for was there at each look (a message, room, a free role, the news that the peer has closed, or
//!   is dead and no successor is waited for), or the operation waits for nothing, or its time is over,
//! * less the time that its thread stood in the queue for a processor: what a busy machine does is no fault of a structure,
//! * and no more than 50 ms from one look to the next: if that was longer, the judge itself, or the whole machine, stood still
//!   (or the judge was about to let somebody go on whom it had stopped, for that matter).
//!
//! Its peers' time in that queue is not known: on a machine with many more processes than processors, a short operation of
//! a starved one keeps others waiting.
//!
//! Who is blocked is not killed: else nobody would ever be so for a second. And where everybody is busy, whoever should have
//! been woken, or should have looked by himself, is soon woken by somebody else. So every second or so the supervisor
//! has one ring left alone for a while: who is there stays, or is killed, and nobody comes to help, and nobody sweeps.

use core::time::Duration;
use std::time::Instant;

use super::hand::Waits;
use super::ledger::{Ledger, Page, hand};
use super::operation::Operation;
use super::process;
use super::subject::Subject;
use crate::Outcome;

/// So often does the judge look.
pub(crate) const EVERY: Duration = Duration::from_millis(25);

/// What counts at most from one look to the next.
const MOST: Duration = Duration::from_millis(50);

/// More is a failure.
const LIMIT: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(crate) struct Judge {
    hands: Vec<Watch>,
    /// Operations that were blocked for more than a second.
    pub(crate) blocked: u64,
    /// The longest time that anybody was.
    pub(crate) longest: Duration,
    /// And where.
    pub(crate) longest_at: String,
}

/// What is known of a hand.
#[derive(Debug)]
struct Watch {
    page: Page,
    /// Life and serial of the operation that it was in.
    operation: (u64, u64),
    since: Instant,
    /// Since when it could have gone on.
    free: Option<Free>,
    counted: bool,
}

#[derive(Debug)]
struct Free {
    /// What `Subject::may_go_on` said.
    key: u64,
    /// Where it is.
    subject: usize,
    /// When that was last seen, and how long it had been in the queue by then.
    seen: Instant,
    starved: Duration,
    /// For how long that has been so.
    blocked: Duration,
}

impl Watch {
    fn noted(&self) -> (u64, u64) {
        (self.page.get(hand::LIFE), self.page.get(hand::SERIAL))
    }

    /// How long it has been blocked.
    fn look(&mut self, now: Instant, subjects: &[Box<dyn Subject>]) -> Option<(Duration, Waits, usize)> {
        let operation = self.noted();
        if operation != self.operation {
            (self.operation, self.since, self.free, self.counted) = (operation, now, None, false);
        }
        let (waits, subject) = Waits::of_word(self.page.get(hand::WAITS))?;
        let under_way = operation.1 % 2 == 1;
        let late = waits.at_most.is_some_and(|most| now - self.since > most);
        let key = if late { Some(0) } else { subjects.get(subject)?.may_go_on(waits) };
        let starved = process::starved(self.page.get(hand::THREAD));
        let Some(key) = key.filter(|_| under_way && self.noted() == operation) else {
            self.free = None;
            return None;
        };
        let before = self.free.take().filter(|free| free.key == key);
        let blocked = before.map_or(Duration::ZERO, |Free { seen, starved: then, blocked, .. }| {
            blocked + (now - seen).saturating_sub(starved.saturating_sub(then)).min(MOST)
        });
        self.free = Some(Free { key, subject, seen: now, starved, blocked });
        Some((blocked, waits, subject))
    }
}

impl Judge {
    pub(crate) fn new(ledger: &Ledger, hands: usize) -> Outcome<Self> {
        let now = crate::time::now();
        let watch = |number| {
            let page = ledger.hand(number)?;
            Ok(Watch { page, operation: (0, 0), since: now, free: None, counted: false })
        };
        let hands = (0..hands).map(watch).collect::<Outcome<_>>()?;
        Ok(Self { hands, blocked: 0, longest: Duration::ZERO, longest_at: String::new() })
    }

    /// Looks at everybody once.
    pub(crate) fn look(&mut self, subjects: &[Box<dyn Subject>]) {
        for (number, watch) in self.hands.iter_mut().enumerate() {
            let Some((blocked, waits, subject)) = watch.look(crate::time::now(), subjects) else { continue };
            let does =
                Operation::of_number(watch.page.get(hand::DOES)).map_or_else(String::new, Operation::name);
            let at = || {
                format!(
                    "{does}, {}",
                    subjects.get(subject).map_or_else(String::new, |subject| subject.name())
                )
            };
            if blocked > self.longest {
                self.longest = blocked;
                self.longest_at = at();
            }
            if blocked > LIMIT && !watch.counted {
                watch.counted = true;
                self.blocked += 1;
                let at = at();
                crate::complain(&format_args!(
                    "hand {number}: {at}: blocked for {blocked:?}, and nothing keeps it: {waits:?}"
                ));
            }
        }
    }

    /// Nobody is at these any more: whoever comes next may take his time to begin.
    pub(crate) fn forget(&self, hands: core::ops::Range<usize>) {
        self.hands[hands].iter().for_each(|watch| watch.page.set(hand::SERIAL, 0));
    }

    /// Whether some hand could go on at the last two looks, and did not: one of those that `which` takes, by its number and
    /// that of the subject which it is at.
    pub(crate) fn suspects(&self, which: impl Fn(usize, usize) -> bool) -> bool {
        self.hands.iter().enumerate().any(|(number, watch)| {
            let free = watch.free.as_ref().filter(|_| watch.noted() == watch.operation && !watch.counted);
            free.is_some_and(|free| free.blocked > EVERY / 2 && which(number, free.subject))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::hand::{Hand, Need};
    use super::*;

    /// Something is there for whoever waits, or not.
    #[derive(Debug)]
    struct There(bool);

    impl Subject for There {
        fn name(&self) -> String {
            "it".to_owned()
        }

        fn work(&mut self, _hand: &mut Hand) -> Outcome<()> {
            Ok(())
        }

        fn may_go_on(&self, _waits: Waits) -> Option<u64> {
            self.0.then_some(1)
        }

        fn audit(&mut self, _hand: &mut Hand) -> Outcome<()> {
            Ok(())
        }
    }

    /// How long a hand is found to be blocked that is in one operation during 100 looks, which come so long apart.
    fn blocked(there: bool, at_most: Option<Duration>, apart: Duration) -> Duration {
        let ledger = Ledger::create(1).expect("a segment");
        let (page, now) = (ledger.hand(0).expect("a page"), crate::time::now());
        let mut watch = Judge::new(&ledger, 1).expect("pages").hands.remove(0);
        page.set(hand::WAITS, Waits::until(Need::Room, false, at_most).word(0));
        page.set(hand::SERIAL, 1);
        let subjects: [Box<dyn Subject>; 1] = [Box::new(There(there))];
        let looks = (0..100).map(|n| watch.look(now + apart * n, &subjects));
        let last = looks.last().flatten().map_or(Duration::ZERO, |(blocked, ..)| blocked);
        page.set(hand::SERIAL, 2);
        assert!(watch.look(now + apart * 200, &subjects).is_none(), "it has gone on");
        last
    }

    #[test]
    fn the_dead_are_not_blocked() {
        let ledger = Ledger::create(1).expect("a segment");
        let page = ledger.hand(1).expect("a page");
        let (mut judge, subjects) = (Judge::new(&ledger, 2).expect("pages"), [There(true)].map(boxed));
        page.set(hand::WAITS, Waits::NOT.word(0));
        page.set(hand::SERIAL, 5);
        let now = crate::time::now();
        assert!(judge.hands[1].look(now, &subjects).is_some(), "it was in an operation");
        judge.forget(0..2);
        assert!(judge.hands[1].look(now + LIMIT, &subjects).is_none());
    }

    fn boxed(there: There) -> Box<dyn Subject> {
        Box::new(there)
    }

    #[test]
    fn blocked_is_who_could_go_on_and_does_not() {
        let ms = Duration::from_millis;
        assert_eq!(blocked(true, None, ms(10)), ms(990));
        assert_eq!(blocked(false, None, ms(10)), ms(0), "it waits for what is not there");
        assert_eq!(blocked(false, Some(ms(500)), ms(10)), ms(480), "its time is over after that");
        assert_eq!(blocked(true, None, ms(1000)), 99 * MOST, "the machine stood still");
    }
}
