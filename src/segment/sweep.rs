//! Recovery: what the verified dead hold is given back, by whoever comes by. And detaching, which is the same for
//! one's own row.
//!
//! Idempotent, killable at every instruction, and concurrent with everybody's work. A sweeper holds the row's sweep
//! byte, which the kernel takes back when the sweeper dies; the next one begins anew.

use core::time::Duration;
use std::collections::BTreeMap;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;

use super::attached::Kernel;
use super::directory;
use super::evidence;
use super::header::{Header, Plan, WITHDRAWN};
use super::rows::{Phase, Row, State};
use super::{Attached, Owner};
use crate::error::Result;
use crate::memory::Region;
use crate::os::{self, object};
use crate::shim::Ordering;

/// What `Segment::sweep` did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Swept {
    /// Dead attachments whose every word was repaired, and whose row is free again.
    pub recovered: u32,
    /// Dead attachments that another process is sweeping, or that used a structure unknown to this build.
    pub left: u32,
}

/// The right to sweep some rows. The kernel takes it back when we die; on the heap, unwinding does.
struct Bytes<'a> {
    rows: Vec<u32>,
    attached: &'a Attached,
    _anchor: Option<os::map::Anchor>,
}

impl<'a> Bytes<'a> {
    fn take(attached: &'a Attached, rows: &[u32]) -> Result<Self> {
        if let Some(kernel) = attached.kernel() {
            let (rows, anchor) = kernel.evidence.take_sweep(rows)?;
            return Ok(Self { rows, attached, _anchor: anchor });
        }
        let rows = rows.iter().copied().filter(|&row| attached.region().try_sweep(row)).collect();
        Ok(Self { rows, attached, _anchor: None })
    }
}

impl Drop for Bytes<'_> {
    fn drop(&mut self) {
        for &row in &self.rows {
            self.attached.region().swept(row);
        }
    }
}

/// Recovers everything that dead attachments hold, in one pass for all of them.
pub(super) fn sweep(attached: &Attached) -> Result<Swept> {
    attached.check_writable()?;
    let _one_thread = attached.sweeping();
    let mut candidates = Vec::new();
    for row in 1..=attached.plan().rows {
        let state = attached.row(row)?.state();
        let owner = Owner::new(row, state.generation());
        let dead = match state.phase() {
            Some(Phase::Dead) => true,
            Some(Phase::Active) => owner != attached.owner() && attached.is_dead(owner)?,
            Some(Phase::Free) | None => false,
        };
        if dead {
            candidates.push((row, state));
        }
    }
    let mut result = Swept::default();
    if candidates.is_empty() {
        return Ok(result);
    }
    let rows: Vec<u32> = candidates.iter().map(|&(row, _)| row).collect();
    let bytes = Bytes::take(attached, &rows)?;
    let mut owners = BTreeMap::new();
    let mut ours = Vec::new();
    for (row, state) in candidates {
        if !bytes.rows.contains(&row) {
            result.left += 1; // another process is at it
            continue;
        }
        let dead = state.with(Phase::Dead);
        let place = attached.row(row)?;
        // By a write also where it is Dead already: the byte came from somebody who may have freed the row since our look.
        if place.state.compare_exchange(state.0, dead.0, Ordering::AcqRel, Ordering::Relaxed).is_ok() {
            // [A1]
            owners.insert(row, Owner::new(row, state.generation()));
            ours.push((row, dead));
        }
    }
    if ours.is_empty() {
        return Ok(result);
    }
    let complete = directory::sweep(attached, &owners)?;
    for (row, dead) in ours {
        let free = dead.with(Phase::Free);
        let word = &attached.row(row)?.state;
        if complete && word.compare_exchange(dead.0, free.0, Ordering::AcqRel, Ordering::Relaxed).is_ok() {
            // [A1]
            result.recovered += 1;
        } else {
            result.left += 1;
        }
    }
    attached.header()?.roster.fetch_add(1, Ordering::Release); // [A9]
    Ok(result)
}

/// The end of an attachment by its own hand: what it forgot is repaired as after a death, then its row is free.
pub(super) fn detach(attached: &Attached) {
    let me = attached.owner();
    if me == Owner::NOBODY {
        return;
    }
    let active = State::new(attached.generation(), Phase::Active);
    let own = BTreeMap::from([(me.row(), me)]);
    // What cannot be repaired here stays Active, for the sweep of those who see that we are gone.
    if let (Ok(true), Ok(row)) = (directory::sweep(attached, &own), attached.row(me.row())) {
        let free = active.with(Phase::Free);
        let _ = row.state.compare_exchange(active.0, free.0, Ordering::AcqRel, Ordering::Relaxed); // [A1]
    }
    if let Ok(header) = attached.header() {
        header.roster.fetch_add(1, Ordering::Release); // [A9]
    }
}

/// Unlinks a temporary segment that nobody is attached to any more. The caller has given its own row's byte back.
///
/// While all row bytes are ours nobody can attach; whoever tries then finds `gone`, and makes a new segment.
///
/// `alone`: a segment that is withdrawn by its creator, who had this row: unlinked if no other was ever used.
pub(super) fn unlink_if_last(region: &Region, plan: &Plan, kernel: &Kernel, alone: Option<u32>) {
    let Some(path) = kernel.evidence.path() else { return };
    let Ok(header) = region.get::<Header>(0) else { return };
    if !plan.temporary && alone.is_none() {
        return;
    }
    if let Ok(segment) = kernel.evidence.fresh() {
        let states = || {
            let state = |row| region.get::<Row>(plan.row_at(row)).map(Row::state);
            (1..=plan.rows).filter_map(move |row| Some((row, state(row).ok()?)))
        };
        let attached = || states().any(|(_, state)| state.phase() != Some(Phase::Free));
        let unused = || {
            let never = State::new(0, Phase::Free);
            plan.temporary || states().all(|(row, state)| Some(row) == alone || state == never)
        };
        let gone = if plan.temporary { 1 } else { WITHDRAWN };
        let set_gone = |is: bool| header.gone.store(if is { gone } else { 0 }, Ordering::Release); // [A10]
        unlink_held(&segment, path, region.sysv_id(), attached, unused, set_gone);
    }
}

/// For an attacher that finds `gone` behind its row.
pub(super) fn detach_and_unlink(attached: Arc<Attached>) {
    let Some(kernel) = attached.kernel() else { return };
    let (segment, path) = (kernel.evidence.fresh(), kernel.evidence.path().map(Path::to_owned));
    let region = Arc::clone(attached.shared_region());
    drop(attached);
    if let (Ok(segment), Some(path)) = (segment, path) {
        unlink_gone(segment, &path, &region);
    }
}

/// Completes the work of a last detacher that died between `gone` and the unlinking.
///
/// `segment`: a description of its own. While it is mapped, a System V segment's id is no other's.
#[expect(clippy::needless_pass_by_value, reason = "the locks that it takes end with it")]
pub(super) fn unlink_gone(segment: OwnedFd, path: &Path, region: &Region) {
    unlink_held(&segment, path, region.sysv_id(), || false, || true, |_| ());
}

/// Unlinks `path` if it still names `segment`, and if it is `unused`, while we hold all its rows: so nobody else does the same, and a new
/// segment of that name cannot come between the look and the unlinking.
fn unlink_held(
    all: &OwnedFd,
    path: &Path,
    sysv: Option<os::sysv::Id>,
    attached: impl Fn() -> bool,
    unused: impl Fn() -> bool,
    gone: impl Fn(bool),
) {
    // A program that another thread is just starting has copies of all descriptors until it executes: then a byte is
    // locked for a moment although nobody is attached. Whoever is, is so for longer.
    let mut tries = 0..20;
    while !matches!(evidence::try_take_all_rows(all.as_fd(), Owner::MAX_ROW), Ok(true)) {
        if tries.next().is_none() || attached() {
            return; // somebody is attached, or at it
        }
        os::clock::pause(Duration::from_millis(1));
    }
    let is_named = || match (object::status_of(path), object::status(all.as_fd())) {
        (Ok(named), Ok(held)) => (named.dev, named.ino) == (held.dev, held.ino),
        _ => false,
    };
    let ours = match sysv {
        None => evidence::try_take_name(all.as_fd()),
        Some(_) => super::sysv::take_start(all.as_fd()),
    };
    if ours && unused() && is_named() {
        gone(true);
        let removed =
            sysv.map_or(Ok(()), |id| os::sysv::remove(id.here()?)).and_then(|()| object::unlink(path));
        if removed.is_err() && is_named() {
            gone(false); // we may not: then it stays, and can be opened
        }
    }
    if ours && sysv.is_some() {
        evidence::give_start_back(all.as_fd());
    }
    evidence::give_all_rows_back(all.as_fd(), Owner::MAX_ROW);
}
