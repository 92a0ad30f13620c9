//! The invariants of the header and of the attachment table, for a check from outside.
//!
//! The words and what they mean: `header`, `rows`. How they are looked at: `inspection`.

use core::mem::offset_of;
use std::os::fd::AsFd;

use super::header::{FLAG_ASYMMETRIC, FLAG_TEMPORARY, Header, KNOWN_FLAGS, LAYOUT_VERSION, MAGIC, WITHDRAWN};
use super::inspection::{Breach, Inspection, Standing, reserved};
use super::owner_lock;
use super::rows::{CAP_MEMBARRIER, Phase, Row, State};
use super::{Attached, Owner, directory, snapshot};
use crate::error::Fault;
use crate::memory::Region;
use crate::os;

/// What the header keeps for later versions: bytes up to which it is zero. In a model bytes are none.
const SPARE: u64 = if cfg!(loom) { 0 } else { 4096 };
/// The largest pid that the kernel can be configured for.
const PID_MAX: u32 = 1 << 22;

/// Looks at everything.
///
/// Through a mapping of its own, where there is one: in the attachment's, control words and payload are accessed in ways of
/// their own, and what a scribbler claims to be a control word may be payload that another thread has borrowed.
pub(crate) fn check<R>(attached: &Attached, report: impl FnOnce(Inspection<'_>) -> R) -> R {
    let own = snapshot::second_mapping(attached).ok().flatten();
    let own = own.filter(|own| own.len() >= attached.region().len());
    let region: &Region = own.as_ref().map_or(attached.region(), |own| own);
    let mut inspection = Inspection::new(attached, region);
    match left_of(attached) {
        Some(left) if left < region.len() => {
            let what =
                "the segment was truncated: nothing else was looked at, for what is missing would fault";
            inspection.report(Breach::corrupt(what, left, region.len()));
        }
        _ => {
            if let Err(fault) = everything(&mut inspection) {
                inspection.report(fault.into());
            }
        }
    }
    report(inspection)
}

/// How many bytes the object has by now, if it is one that can be truncated, and if we can say.
fn left_of(attached: &Attached) -> Option<u64> {
    if attached.region().mapping()?.sysv_id().is_some() {
        return None;
    }
    let fresh = attached.kernel()?.evidence.fresh().ok()?;
    Some(os::object::status(fresh.as_fd()).ok()?.size)
}

fn everything(inspection: &mut Inspection<'_>) -> Result<(), Fault> {
    let header = inspection.region().get::<Header>(0)?;
    constants(inspection, header);
    words(inspection, header);
    for row in 1..=inspection.attached().plan().rows {
        check_row(inspection, row)?;
    }
    directory::check(inspection, &header.directory_lock)
}

fn constants(inspection: &mut Inspection<'_>, header: &Header) {
    let plan = *inspection.attached().plan();
    for (at, word, expected) in [
        (offset_of!(Header, magic), &header.magic, MAGIC),
        (offset_of!(Header, version), &header.version, LAYOUT_VERSION),
        (offset_of!(Header, rows), &header.rows, plan.rows.into()),
        (offset_of!(Header, entries), &header.entries, plan.entries.into()),
        (offset_of!(Header, rows_at), &header.rows_at, plan.rows_at),
        (offset_of!(Header, entries_at), &header.entries_at, plan.entries_at),
        (offset_of!(Header, openers_at), &header.openers_at, plan.openers_at),
        (offset_of!(Header, data_at), &header.data_at, plan.data_at),
        (offset_of!(Header, size), &*header.size, plan.size),
    ] {
        inspection.require(|look| match look.u64(word) {
            found if found == expected => Ok(()),
            found => Err(Breach::corrupt("a constant of the header is wrong", at as u64, found)),
        });
    }
    inspection.require(|look| {
        let (at, found) = (offset_of!(Header, max_size) as u64, look.u64(&header.max_size));
        match found.cmp(&plan.size) {
            core::cmp::Ordering::Less => {
                Err(Breach::corrupt("the segment is larger than it may be", at, found))
            }
            core::cmp::Ordering::Equal => Ok(()),
            core::cmp::Ordering::Greater => {
                Err(Breach::note("it may grow, which this version cannot", at, found))
            }
        }
    });
    let is_mapped = inspection.attached().kernel().is_some();
    inspection.require(|look| {
        let found = look.u64(&header.flags);
        let flag = |set: bool, flag| if set { flag } else { 0 };
        let ours = flag(plan.temporary, FLAG_TEMPORARY) | flag(plan.asymmetric, FLAG_ASYMMETRIC);
        // A copy on the heap is neither, whatever the original was.
        let theirs = if is_mapped { found } else { found & !KNOWN_FLAGS | ours };
        if theirs == ours {
            return Ok(());
        }
        let at = offset_of!(Header, flags) as u64;
        Err(Breach::corrupt("the flags of the segment are not what they were, or unknown", at, found))
    });
    inspection.require(|look| {
        let (at, found) = (offset_of!(Header, page) as u64, look.u64(&header.page));
        if found.is_power_of_two() && found >= 4096 {
            return Ok(());
        }
        Err(Breach::corrupt("the size of a page is none", at, found))
    });
    let boot = os::process::boot_id();
    if is_mapped && boot != [0; 2] {
        inspection.require(|look| {
            let found = [look.u64(&header.boot[0]), look.u64(&header.boot[1])];
            if found == boot {
                return Ok(());
            }
            let what = "its processes were of another boot of the kernel, or saw another boot id";
            Err(Breach::note(what, offset_of!(Header, boot) as u64, found[0]))
        });
    }
}

/// The words of the header that change.
fn words(inspection: &mut Inspection<'_>, header: &Header) {
    let attached = inspection.attached();
    let plan = *attached.plan();
    inspection.require(|look| match look.u32(&header.row_hint) {
        hint if hint <= plan.rows => Ok(()),
        hint => {
            let at = offset_of!(Header, row_hint) as u64;
            Err(Breach::corrupt("the row that was given out last does not exist", at, hint.into()))
        }
    });
    inspection.require(|look| {
        let (at, found) = (offset_of!(Header, gone) as u64, look.u32(&header.gone));
        let gone = if plan.temporary { 1 } else { WITHDRAWN };
        match found {
            0 => Ok(()),
            1 | WITHDRAWN if attached.kernel().is_none() => Ok(()), // a copy of one that is being unlinked
            _ if found == gone && attached.owner() == Owner::NOBODY => {
                Err(Breach::note("the segment is being unlinked", at, found.into()))
            }
            _ => Err(Breach::corrupt("it is gone, although somebody is attached", at, found.into())),
        }
    });
    for (at, word) in
        [(offset_of!(Header, bell), &header.bell), (offset_of!(Header, growth_lock), &header.growth_lock)]
    {
        inspection.require(|look| match look.u32(word) {
            0 => Ok(()),
            found => Err(reserved(at as u64, found.into())),
        });
    }
    inspection.require_zeros(size_of::<Header>() as u64, SPARE);
    inspection.require(|look| {
        let (at, word) = (offset_of!(Header, directory_lock) as u64, look.u32(&header.directory_lock));
        let corrupt = |what| Err(Breach::corrupt(what, at, word.into()));
        if !owner_lock::is_legal(word) {
            return corrupt("the lock of the directory has bits that mean nothing");
        }
        match owner_lock::holder(word).map(|holder| look.standing(holder)) {
            None | Some(Standing::Alive) => Ok(()),
            Some(Standing::Dead) => {
                let what = "the lock of the directory is held by a dead attachment";
                Err(Breach::needs_sweep(what, at, word.into()))
            }
            Some(Standing::Gone) => {
                corrupt("the lock of the directory is held by an attachment that was swept")
            }
            Some(Standing::Nobody) => corrupt("the lock of the directory is held by no attachment"),
        }
    });
}

/// A row: its state, and whether its tenant can be who it says it is.
fn check_row(inspection: &mut Inspection<'_>, number: u32) -> Result<(), Fault> {
    let attached = inspection.attached();
    let at = attached.plan().row_at(number);
    let row = inspection.region().get::<Row>(at)?;
    let mut standing = None;
    inspection.require(|look| {
        let state = State(look.u64(&row.state));
        standing = None;
        let corrupt = |what| Err(Breach::corrupt(what, at, state.0));
        let Some(phase) = state.phase().filter(|phase| state.with(*phase) == state) else {
            return corrupt("the state of an attachment is none");
        };
        let own = number == attached.owner().row() && attached.check().is_ok();
        if own && state != State::new(attached.generation(), Phase::Active) {
            return corrupt("the row of this very attachment is not its own any more");
        }
        match phase {
            Phase::Free => Ok(()),
            Phase::Dead => {
                standing = Some(Standing::Dead);
                Err(Breach::needs_sweep("a dead attachment is being swept, or its sweeper died", at, state.0))
            }
            Phase::Active => {
                let found = look.standing(Owner::new(number, state.generation()));
                standing = Some(found);
                if found != Standing::Dead {
                    return Ok(());
                }
                Err(Breach::note("an attachment is dead, and nobody has swept it yet", at, state.0))
            }
        }
    });
    match standing {
        Some(Standing::Alive) => inspection.alive += 1,
        Some(_) => inspection.dead += 1,
        None => {}
    }
    if attached.kernel().is_some() {
        identity(inspection, row, at); // on the heap a row is Active before its tenant introduces itself
    }
    reserved_words(inspection, row, at);
    Ok(())
}

fn identity(inspection: &mut Inspection<'_>, row: &Row, at: u64) {
    inspection.require(|look| {
        let state = State(look.u64(&row.state));
        if !matches!(state.phase(), Some(Phase::Active | Phase::Dead)) {
            return Ok(()); // what its last tenant left, or its next one has begun to write
        }
        let pid = look.u32(&row.pid);
        if !(1..=PID_MAX).contains(&pid) {
            let at = at + offset_of!(Row, pid) as u64;
            return Err(Breach::corrupt("no process has such a pid", at, pid.into()));
        }
        for (offset, word) in
            [(offset_of!(Row, pid_ns), &row.pid_ns), (offset_of!(Row, time_ns), &row.time_ns)]
        {
            let found = look.u64(word);
            if found > u32::MAX.into() {
                return Err(Breach::corrupt("no namespace has such a number", at + offset as u64, found));
            }
        }
        let caps = look.u32(&row.caps);
        if caps & !CAP_MEMBARRIER != 0 {
            let at = at + offset_of!(Row, caps) as u64;
            return Err(Breach::note("a process can do what this version does not know", at, caps.into()));
        }
        Ok(())
    });
}

fn reserved_words(inspection: &mut Inspection<'_>, row: &Row, at: u64) {
    inspection.require(|look| {
        for (offset, word) in [
            (offset_of!(Row, doorbell), &row.doorbell),
            (offset_of!(Row, life_w), &row.life_w),
            (offset_of!(Row, reserved), &row.reserved),
            (offset_of!(Row, life_g), &row.life_g),
        ] {
            let found = look.u32(word);
            if found != 0 {
                return Err(reserved(at + offset as u64, found.into()));
            }
        }
        Ok(())
    });
}
