//! The invariants of the words that two ends share, for a check from outside.
//!
//! Any value of an eventcount is legal, and so is any epoch of a role: both count, and come round.

use core::mem::offset_of;

use super::header::Header;
use crate::ring::lease::{Role, State};
use crate::ring::position::MAX_CAPACITY;
use crate::segment::inspection::{Breach, Inspection, Place, Standing, reserved};

/// What the constants of a ring have to be, all of it worked out from the directory and from those of its constants that
/// its creator has chosen.
pub(in crate::ring) struct Expected {
    pub(in crate::ring) constants: [u64; 8],
    /// Bytes of the ring, less than a line shorter than its object.
    pub(in crate::ring) total: u64,
    pub(in crate::ring) align: u64,
}

/// The header of the ring, if it was ever complete.
pub(in crate::ring) fn header_of<'a>(inspection: &mut Inspection<'a>, place: &Place) -> Option<&'a Header> {
    if place.len < size_of::<Header>() as u64 {
        if place.named {
            inspection.report(Breach::corrupt("a ring is larger than its object", place.at, place.len));
        }
        return None;
    }
    let header = inspection.region().get::<Header>(place.at).ok()?;
    let mut is_complete = place.named;
    inspection.require(|look| {
        // Whoever has a role has found the ring by its name. One that nobody has may be half a ring.
        let roles = [&header.sender, &header.receiver].map(|role| role.examine(look).holder());
        is_complete |= roles.into_iter().flatten().any(|holder| look.has_open(place, holder));
        Ok(())
    });
    is_complete.then_some(header)
}

/// Compares the constants. `expected`: what they have to be; `None` if what the creator has chosen cannot be.
pub(in crate::ring) fn check_constants(
    inspection: &mut Inspection<'_>,
    header: &Header,
    place: &Place,
    expected: impl Fn(&[u64; 8]) -> Option<Expected>,
) -> bool {
    inspection.require(|look| {
        let found = header.constants.0.0.each_ref().map(|word| look.u64(word));
        let capacity = place.shape;
        if !capacity.is_power_of_two() || capacity > MAX_CAPACITY {
            return Err(Breach::corrupt("the capacity of a ring is impossible", place.at, capacity));
        }
        let Some(Expected { constants, total, align }) = expected(&found) else {
            return Err(Breach::corrupt("the constants of a ring are impossible", place.at, found[2]));
        };
        for (i, (found, expected)) in (0..).zip(found.iter().zip(constants)) {
            if *found != expected {
                return Err(Breach::corrupt("a constant of a ring is wrong", place.at + 8 * i, *found));
            }
        }
        if total > place.len || place.len - total >= 128 {
            return Err(Breach::corrupt("a ring is not as large as its object", place.at, place.len));
        }
        if place.at % align != 0 {
            return Err(Breach::corrupt("a ring is not aligned", place.at, align));
        }
        Ok(())
    })
}

/// Compares who has the roles with who is attached.
pub(in crate::ring) fn check_roles(inspection: &mut Inspection<'_>, header: &Header, place: &Place) {
    check_role(inspection, &header.sender, place, offset_of!(Header, sender));
    check_role(inspection, &header.receiver, place, offset_of!(Header, receiver));
    inspection.require(|look| match look.u64(&header.reserved.waiting) {
        0 => Ok(()),
        found => Err(reserved(place.at + offset_of!(Header, reserved) as u64, found)),
    });
}

fn check_role(inspection: &mut Inspection<'_>, role: &Role, place: &Place, offset: usize) {
    let at = place.at + offset as u64;
    inspection.require(|look| {
        let word = role.examine(look);
        let corrupt = |what| Err(Breach::corrupt(what, at, word.bits()));
        let holder = match word.state() {
            None => return corrupt("the state of a role is none"),
            Some(State::Open(owner)) => owner,
            Some(State::Died(owner)) if owner.row() == 0 || owner.row() > look.rows() => {
                return corrupt("a role was held by no attachment");
            }
            Some(State::Vacant | State::Closed | State::Died(_)) => return Ok(()),
        };
        let standing = look.standing(holder);
        match standing {
            Standing::Nobody => return corrupt("a role is held by no attachment"),
            Standing::Gone => return corrupt("a role is held by an attachment that was swept"),
            Standing::Alive | Standing::Dead => {}
        }
        if !look.has_open(place, holder) {
            return corrupt("a role is held by an attachment that has not opened the ring");
        }
        if standing == Standing::Dead {
            return Err(Breach::needs_sweep("a role is held by a dead attachment", at, word.bits()));
        }
        Ok(())
    });
}

/// Compares the positions with each other. `unit`: what they are multiples of.
pub(in crate::ring) fn check_positions(
    inspection: &mut Inspection<'_>,
    header: &Header,
    place: &Place,
    unit: u64,
) -> bool {
    let (tail_at, head_at) = places(place);
    inspection.require(|look| {
        let head = look.u64(header.head.position());
        let tail = look.u64(header.tail.position());
        if tail.wrapping_sub(head) > place.shape {
            return Err(Breach::corrupt("the positions of a ring contradict each other", tail_at, tail));
        }
        for (at, position) in [(tail_at, tail), (head_at, head)] {
            if position % unit != 0 {
                return Err(Breach::corrupt("a position of a ring is between two", at, position));
            }
        }
        Ok(())
    })
}

/// Compares the marks with the positions: R-I8.
pub(in crate::ring) fn check_marks(inspection: &mut Inspection<'_>, header: &Header, place: &Place) -> bool {
    let (tail_at, head_at) = places(place);
    [(tail_at, &header.tail), (head_at, &header.head)].into_iter().fold(true, |sound, (at, track)| {
        sound
            & inspection.require(|look| {
                let position = look.u64(track.position());
                let marks =
                    track.marks.each_ref().map(|mark| (look.u64(&mark.position), look.u64(&mark.count)));
                let Some(i) = marks.iter().position(|&(marked, _)| marked == position) else {
                    return Err(Breach::corrupt("no mark belongs to a position of a ring", at, position));
                };
                let count = marks[i].1;
                if count % 2 != i as u64 {
                    return Err(Breach::corrupt("the count of a position is another mark's", at + 8, count));
                }
                Ok(())
            })
    })
}

/// Where tail and head lie.
fn places(place: &Place) -> (u64, u64) {
    let at = |offset: usize| place.at + offset as u64;
    (at(offset_of!(Header, tail)), at(offset_of!(Header, head)))
}
