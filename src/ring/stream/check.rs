//! The invariants of a stream, for a check from outside. Its bytes are anybody's.

use crate::payload::Shared as _;
use crate::ring::end::{Expected, check_constants, check_positions, check_roles, header_of};
use crate::segment::inspection::{Breach, Inspection, Place};

use super::layout::{LINE, Plan};

pub(super) fn check(inspection: &mut Inspection<'_>, place: &Place) {
    let Some(header) = header_of(inspection, place) else { return };
    check_constants(inspection, header, place, |_| {
        let plan = Plan::new(place.shape);
        Some(Expected { constants: plan.values(), total: plan.total, align: LINE })
    });
    if place.schema != u8::SCHEMA.fingerprint() {
        inspection.report(Breach::corrupt("the payload of a stream is not bytes", place.at, place.schema));
    }
    check_roles(inspection, header, place);
    check_positions(inspection, header, place, 1);
}
