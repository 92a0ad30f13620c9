//! The invariants of a mutex, for a check from outside. Its value is what its type says: nothing is to be checked in it.

use core::mem::offset_of;

use crate::segment::inspection::{Breach, Inspection, Place, Standing, reserved};
use crate::sync::{LockWord, State};

use super::layout::{Header, LINE, Plan};

pub(super) fn check(inspection: &mut Inspection<'_>, place: &Place) {
    if !place.named {
        return; // maybe half built
    }
    let header = match inspection.region().get::<Header>(place.at) {
        Ok(header) if place.len >= size_of::<Header>() as u64 => header,
        _ => {
            inspection.report(Breach::corrupt("a mutex is smaller than its header", place.at, place.len));
            return;
        }
    };
    check_constants(inspection, header, place);
    check_lock(inspection, &header.lock, place.at + offset_of!(Header, lock) as u64);
    inspection.require(|look| match look.u64(&header.reserved) {
        0 => Ok(()),
        found => Err(reserved(place.at + offset_of!(Header, reserved) as u64, found)),
    });
}

fn check_constants(inspection: &mut Inspection<'_>, header: &Header, place: &Place) {
    inspection.require(|look| {
        let found: [u64; 8] = core::array::from_fn(|i| look.u64(&header.constants[i]));
        let [_, _, size, align, ..] = found;
        let wrong = |what, value| Err(Breach::corrupt(what, place.at, value));
        let Some(plan) = Plan::of_payload(size, align, place.schema) else {
            return wrong("the value of a mutex is impossible", size);
        };
        for (i, (found, value)) in found.into_iter().zip(plan.values()).enumerate() {
            if found != value {
                let at = place.at + 8 * i as u64;
                return Err(Breach::corrupt("a constant of a mutex is wrong", at, found));
            }
        }
        if plan.total > place.len || place.len - plan.total >= LINE {
            return wrong("a mutex is not as large as its object", place.len);
        }
        if place.at % plan.object_align() != 0 {
            return wrong("a mutex is not aligned", align);
        }
        Ok(())
    });
}

/// Compares who has a lock with who is attached.
fn check_lock(inspection: &mut Inspection<'_>, lock: &LockWord, at: u64) {
    inspection.require(|look| {
        let word = lock.examine(look);
        let corrupt = |what| Err(Breach::corrupt(what, at, word.bits().into()));
        match word.state() {
            None => corrupt("the state of a lock is none"),
            Some(State::Free | State::NotRecoverable) => Ok(()),
            Some(State::Held(owner)) => match look.standing(owner) {
                Standing::Nobody => corrupt("a lock is held by no attachment"),
                Standing::Gone => corrupt("a lock is held by an attachment that was swept"),
                Standing::Dead => {
                    Err(Breach::needs_sweep("a lock is held by a dead attachment", at, word.bits().into()))
                }
                Standing::Alive => Ok(()),
            },
        }
    });
}
