//! The table of attachments: joined, left, swept and looked at while others die.

use outlive::{Segment, inspect};

use super::hand::{Hand, Waits};
use super::operation::Operation;
use super::subject::{Place, Subject};
use crate::Outcome;

#[derive(Debug)]
pub(crate) struct Attachments {
    segment: Segment,
}

impl Attachments {
    pub(crate) fn open(place: &Place) -> Self {
        Self { segment: place.segment.clone() }
    }

    /// One more attachment of this process, for a moment.
    fn attach(&self, hand: &mut Hand) -> Outcome<()> {
        let other = hand.does(Operation::SegmentAttach, Waits::NOT, || self.segment.attach())?;
        if other.owner() == self.segment.owner() || self.segment.is_dead(other.owner()) {
            hand.wrong(&format_args!(
                "a new attachment is called {}, which is dead, or this one",
                other.owner()
            ));
        }
        hand.rests(3);
        hand.does(Operation::SegmentDetach, Waits::NOT, || drop(other));
        Ok(())
    }
}

/// Recovers what the dead hold, and looks whether everything is as it should be.
pub(crate) fn sweep_and_check(segment: &Segment, hand: &mut Hand) -> Outcome<()> {
    let swept = hand.does(Operation::SegmentSweep, Waits::NOT, || segment.sweep())?;
    hand.recovered(swept.recovered);
    let report = hand.does(Operation::SegmentCheck, Waits::NOT, || inspect::check(segment));
    if !report.is_sound() {
        hand.wrong(&format_args!("the segment is not sound: {report}"));
    }
    Ok(())
}

impl Subject for Attachments {
    fn name(&self) -> String {
        "attachments".to_owned()
    }

    fn work(&mut self, hand: &mut Hand) -> Outcome<()> {
        for _ in 0..=hand.random.below(10) {
            match hand.random.below(4) {
                0 | 1 => self.attach(hand)?,
                2 if hand.quiet().is_none() => sweep_and_check(&self.segment, hand)?,
                _ => {
                    let list =
                        hand.does(Operation::SegmentList, Waits::NOT, || self.segment.attachments())?;
                    let us = list.iter().find(|attachment| attachment.owner == self.segment.owner());
                    if us.is_none_or(|us| !us.alive) {
                        hand.wrong(&"this attachment is not in the list, or is called dead");
                    }
                }
            }
            if hand.is_to_stop() {
                break;
            }
        }
        Ok(())
    }

    fn audit(&mut self, hand: &mut Hand) -> Outcome<()> {
        // One sweep is enough: nobody else is at it, and there is no structure of another version.
        sweep_and_check(&self.segment, hand)?;
        let rows = self.segment.attachments()?.len();
        if rows != 1 {
            hand.leaked(
                rows.abs_diff(1) as u64,
                &format_args!("{rows} rows are in use, and one process is left"),
            );
        }
        Ok(())
    }
}
