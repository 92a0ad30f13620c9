//! The invariants of a ring, for a check from outside. Messages are what their type says: nothing is to be checked in them.

use crate::ring::end::{Expected, check_constants, check_positions, check_roles, header_of};
use crate::segment::inspection::{Inspection, Place};

use super::layout::Plan;

pub(super) fn check(inspection: &mut Inspection<'_>, place: &Place) {
    let Some(header) = header_of(inspection, place) else { return };
    let expected = |found: &[u64; 8]| {
        let [_, _, _, size, align, ..] = *found;
        let plan = Plan::of_payload(place.shape, size, align, place.schema)?;
        Some(Expected { constants: plan.values(), total: plan.total, align: plan.object_align() })
    };
    check_constants(inspection, header, place, expected);
    check_roles(inspection, header, place);
    check_positions(inspection, header, place, 1);
}
