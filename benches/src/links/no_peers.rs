//! Without feature `peers` there are none beside `rtrb`.

use crate::case::Case;

pub(crate) fn trips() -> Vec<Case> {
    Vec::new()
}

pub(crate) fn singles() -> Vec<Case> {
    Vec::new()
}

pub(crate) fn record_trips() -> Vec<Case> {
    Vec::new()
}

pub(crate) fn records() -> Vec<Case> {
    Vec::new()
}
