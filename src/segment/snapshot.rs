//! A copy of a segment on the heap, in which everybody else is dead.
//!
//! # Answers
//! "What is in it, and what would a successor find?", without a role in the original, or a byte of it changed.
//!
//! A copy of a mapped segment is made from a second mapping, for reading: through the first one control words and payload
//! are accessed in their own ways, and a byte must not be accessed in two (I8 of `Region`).
//!
//! # Crashes
//! | dies           | left    | outcome                            | held by |
//! |----------------|---------|------------------------------------|---------|
//! | whoever copies | nothing | only memory of its own was written | `tests snapshot::who_may_only_look_*` |
//!
//! Tested in `tests/snapshot.rs`.

use std::os::fd::AsFd;
use std::sync::Arc;

use super::Attached;
use super::header::Plan;
use super::rows::{Phase, Row};
use super::startup::join_heap;
use crate::error::{Error, Result};
use crate::memory::Region;
use crate::os::map::Mapping;
use crate::os::{object, reserve};
use crate::shim::Ordering;

/// Copies the segment, and attaches to the copy.
pub(super) fn take(attached: &Attached) -> Result<Arc<Attached>> {
    attached.check()?;
    let plan = Plan { temporary: false, asymmetric: false, ..*attached.plan() };
    let needed = attached.region().len();
    if let Some(available) = reserve::memory_available().filter(|&available| available < needed) {
        return Err(Error::NoSpace { needed, available });
    }
    let region = match second_mapping(attached)? {
        Some(mapped) => mapped.copy_to_heap(plan.rows)?,
        None => attached.region().copy_to_heap(plan.rows)?,
    };
    for number in 1..=plan.rows {
        let row = region.get::<Row>(plan.row_at(number))?;
        let state = row.state();
        if state.phase() == Some(Phase::Active) {
            row.state.store(state.with(Phase::Dead).0, Ordering::Relaxed); // [A12]
        }
    }
    join_heap(Arc::new(region), plan)
}

/// The segment once more, for reading. `None`: it is on the heap.
pub(super) fn second_mapping(attached: &Attached) -> Result<Option<Region>> {
    let (Some(kernel), Some(mapping)) = (attached.kernel(), attached.region().mapping()) else {
        return Ok(None);
    };
    if let Some(id) = mapping.sysv_id() {
        let second = id.here().and_then(|id| Mapping::sysv(id, true)).map_err(|e| Error::os("shmat", e))?;
        let gone =
            || Error::NotFound { name: "the segment, of which there is no first page any more".to_owned() };
        return Ok(Some(Region::mapped(second.ok_or_else(gone)?)));
    }
    let len = mapping.len();
    let fresh = kernel.evidence.fresh()?;
    let status = object::status(fresh.as_fd()).map_err(|e| Error::os("fstat", e))?;
    let mapping = Mapping::shared(fresh.as_fd(), &status, len, true).map_err(|e| Error::os("mmap", e))?;
    Ok(Some(Region::mapped(mapping)))
}
