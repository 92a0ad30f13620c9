//! Looking at a System V segment, with the right to read it and no more: without START, which takes the right to write.

use std::os::fd::AsFd;
use std::sync::Arc;

use super::look::Look;
use super::sidecar::Seen;
use super::{LOOKS, PAUSE, STOPPED, Startup, stuck};
use crate::error::Result;
use crate::os;
use crate::segment::header::Plan;
use crate::segment::startup::make_present;
use crate::segment::{Attached, evidence, observer};
use crate::shim::clock::Deadline;

/// Attaches for reading. What does not fit may be somebody's work in progress: it is looked at again while START is held,
/// and a while longer.
pub(super) fn open(start: &Startup<'_>) -> Result<Arc<Attached>> {
    let patience = Deadline::after(Some(STOPPED));
    let mut looks = 0;
    loop {
        let Some((id, found)) = start.target.find()? else { return Err(start.not_found()) };
        let seen = Seen::at(&start.path, found.creator)?;
        let free = seen.as_ref().is_none_or(|seen| evidence::start_is_free(seen.fd.as_fd()));
        let trouble = match (Look::at(id, true)?, seen) {
            (Some(look), Some(seen)) if look.complete => {
                if seen.record.id == Some(id) && seen.record.cookie == look.cookie()? {
                    let plan = Plan::read(&look.region)?;
                    make_present(start.options, &look.region)?;
                    let path = Some(start.path.clone());
                    let attached = observer::join(seen.fd, &seen.status, path, look.region, plan)?;
                    return attached.ok_or_else(|| start.not_found());
                }
                start.misfit()
            }
            (Some(look), None) if look.complete => start.misfit(),
            (Some(look), Some(seen)) if seen.is_of(id, &found) && look.is_half_made()? => start.not_found(),
            _ => start.foreign(),
        };
        looks += u32::from(free);
        if looks > LOOKS {
            return Err(trouble);
        }
        if patience.is_over() {
            return Err(stuck());
        }
        os::clock::pause(PAUSE);
    }
}
