//! The invariants of a ring of records, for a check from outside: from head to tail there are frames, and nothing else.
//!
//! The walk through them need not keep up with a receiver: whenever something looks wrong, the head is looked at once
//! more, and if it has moved, the walk begins anew there. What lies behind it then belongs to the sender.

use core::cell::Cell;

use crate::payload::Shared as _;
use crate::ring::end::{
    Expected, Header, check_constants, check_marks, check_positions, check_roles, header_of,
};
use crate::ring::position::until_wrap;
use crate::segment::inspection::{Breach, Inspection, Look, Place};

use super::area::Area;
use super::layout::{FrameHeader, Plan, WORD};

/// Words of a frame that are looked at, at most.
const FRAME: u64 = 2;
/// How often a walk begins anew.
const WALKS: u32 = 8;

pub(super) fn check(inspection: &mut Inspection<'_>, place: &Place) {
    let Some(header) = header_of(inspection, place) else { return };
    let expected = |found: &[u64; 8]| {
        let plan = Plan::new(place.shape, found[3] != 0);
        Some(Expected { constants: plan.values(), total: plan.total, align: plan.object_align() })
    };
    let is_whole = check_constants(inspection, header, place, expected);
    if place.schema != u8::SCHEMA.fingerprint() {
        inspection.report(Breach::corrupt("the payload of a ring is not bytes", place.at, place.schema));
    }
    check_roles(inspection, header, place);
    let is_counted = check_marks(inspection, header, place);
    if !check_positions(inspection, header, place, WORD) || !is_whole {
        return;
    }
    let plan = Plan::new(place.shape, header.constant(3) != 0);
    let data_at = place.at.saturating_add(plan.data_at);
    let Ok(area) = Area::seen(inspection.region(), data_at, plan.capacity) else { return };
    let allowance = Cell::new(inspection.allowance());
    let granted = allowance.get();
    let walk = Walk { header, area, plan, data_at, is_counted, allowance: &allowance };
    inspection.require(|look| walk.through(look));
    inspection.spend(granted - allowance.get());
}

struct Walk<'a> {
    header: &'a Header,
    area: Area,
    plan: Plan,
    data_at: u64,
    is_counted: bool,
    /// Words that may still be read.
    allowance: &'a Cell<u64>,
}

/// What is wrong at a position.
struct Wrong {
    what: &'static str,
    position: u64,
    found: u64,
}

impl Walk<'_> {
    /// From head to tail. What the sender appends meanwhile is left to the next look.
    fn through(&self, look: &mut Look<'_>) -> Result<(), Breach> {
        let head = |look: &Look<'_>| look.glance(self.header.head.position());
        for _ in 0..WALKS {
            let from = head(look);
            let tail = look.glance(self.header.tail.position());
            let length = tail.wrapping_sub(from);
            if length > self.plan.capacity || from % WORD != 0 || tail % WORD != 0 {
                continue; // it has moved between the looks, or that was said already
            }
            let wrong = match self.walk(look, from, length) {
                Err(wrong) => wrong,
                Ok(records) => match self.counted(from, tail) {
                    Some(counted) if self.is_counted && counted != records => {
                        let what = "there are not as many records in a ring as were counted";
                        look.remember(tail);
                        Wrong { what, position: from, found: counted }
                    }
                    _ => return Ok(()),
                },
            };
            if self.allowance.get() < FRAME {
                let at = self.data_at + (wrong.position & (self.plan.capacity - 1));
                return Err(Breach::note(
                    "not all records were looked at: there are too many",
                    at,
                    wrong.found,
                ));
            }
            look.settle();
            if head(look) == from {
                look.remember(from);
                look.remember(wrong.position);
                let at = self.data_at + (wrong.position & (self.plan.capacity - 1));
                return Err(Breach::corrupt(wrong.what, at, wrong.found));
            }
        }
        Ok(())
    }

    /// How many records there are in `length` bytes from `at` on.
    fn walk(&self, look: &Look<'_>, mut at: u64, length: u64) -> Result<u64, Wrong> {
        let (mut left, mut records, mut behind_pad) = (length, 0, false);
        while left > 0 {
            let header = self.area.header(at);
            let wrong =
                |what| Err(Wrong { what, position: at, found: u64::from_le_bytes(header.to_bytes()) });
            let Some(rest) = self.allowance.get().checked_sub(FRAME) else {
                return wrong("too many records");
            };
            self.allowance.set(rest);
            let is_pad = header.is_pad(at, self.plan.capacity);
            if is_pad && (behind_pad || header.framed() + WORD > left) {
                return wrong("a pad is followed by no record");
            }
            if !is_pad {
                let Some(sender) = header.sender() else {
                    return wrong("the header of a record is impossible");
                };
                if sender.row() > look.rows() {
                    return wrong("a record was sent by no attachment");
                }
                let row =
                    if self.plan.mirrored { left } else { left.min(until_wrap(at, self.plan.capacity)) };
                if header.framed() > row {
                    return wrong("a record is longer than the ring has bytes for it");
                }
                if !self.ends_with_zeros(at, header) {
                    return wrong("behind the end of a record there are bytes");
                }
                records += 1;
            }
            behind_pad = is_pad;
            at = at.wrapping_add(header.framed());
            left -= header.framed();
        }
        Ok(records)
    }

    /// Whether the rest of its last word is zero.
    fn ends_with_zeros(&self, at: u64, header: FrameHeader) -> bool {
        let used = header.len() % WORD;
        let last = at.wrapping_add(header.framed() - WORD);
        used == 0 || u64::from_le_bytes(self.area.load(last)) >> (8 * used) == 0
    }

    /// How many records there are between these two, by the marks.
    fn counted(&self, head: u64, tail: u64) -> Option<u64> {
        let sent = self.header.tail.count_at(tail)?;
        Some(sent.wrapping_sub(self.header.head.count_at(head)?))
    }
}
