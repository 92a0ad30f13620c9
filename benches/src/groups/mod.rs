//! The groups of cases.

pub(crate) mod limits;
pub(crate) mod segment;
pub(crate) mod spsc;
pub(crate) mod streams;

use crate::case::Case;

/// Names of all groups.
pub(crate) const NAMES: [&str; 4] = ["limits", "spsc", "segment", "streams"];

/// The cases of one group, with the limits that they are compared with. `None` if there is no such group.
pub(crate) fn cases(name: &str) -> Option<Vec<Case>> {
    match name {
        "limits" => Some(limits::cases()),
        "spsc" => Some(spsc::cases()),
        "segment" => Some(segment::cases()),
        "streams" => Some(streams::group()),
        _ => None,
    }
}
