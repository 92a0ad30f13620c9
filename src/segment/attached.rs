//! One attachment: a row, a mapping, and what only this process may know.

use core::fmt;
use core::mem::ManuallyDrop;
use core::ops::Deref;
use core::ptr::NonNull;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::directory::Opened;
use super::evidence::Evidence;
use super::header::{Header, Plan};
use super::rows::{Phase, Row, State};
use super::{Owner, sweep};
use crate::error::{Error, Fault, Result};
use crate::memory::Region;
use crate::os;
use crate::os::mirror::Mirror;
use crate::shim::{Ordering, PrivateU64, fence};

/// One row of the attachment table, in the hands of this process. Detaches when dropped.
pub(crate) struct Attached {
    region: Arc<Region>,
    plan: Plan,
    owner: Owner,
    generation: u32,
    asymmetric: bool,
    /// The kernel's side; heap regions have none.
    kernel: Option<Kernel>,
    /// Word 0 is `HERE`, and word 1 the stamp, as long as this process may use the attachment: fork wipes them.
    cell: NonNull<[u64; 16]>,
    /// 1: by the call that made this attachment the segment was created.
    created: PrivateU64,
    /// 1: unlinked by the end of this attachment, if nobody else ever came.
    withdrawn: PrivateU64,
    /// Not wiped: tells a killed attachment from a forked one.
    killed: PrivateU64,
    hot_cells: Mutex<Vec<NonNull<[u64; 16]>>>,
    opened: Mutex<Opened>,
    sweeping: Mutex<()>,
}

pub(super) struct Kernel {
    pub(super) evidence: Evidence,
    /// Its unmapping frees the row's byte, or ends an observer's share of WATCH. In a forked child it is not mapped, and must not be unmapped.
    anchor: ManuallyDrop<Option<os::map::Anchor>>,
}

impl Kernel {
    pub(super) fn new(evidence: Evidence, anchor: Option<os::map::Anchor>) -> Self {
        Self { evidence, anchor: ManuallyDrop::new(anchor) }
    }
}

/// What an attachment needs that can fail, taken before its row.
pub(super) struct Cell(NonNull<[u64; 16]>);

impl Cell {
    pub(super) fn take() -> Result<Self> {
        os::wipe::cell().map(Self).map_err(|e| Error::os("mmap", e))
    }

    fn taken(self) -> NonNull<[u64; 16]> {
        let cell = ManuallyDrop::new(self);
        cell.0
    }
}

impl Drop for Cell {
    fn drop(&mut self) {
        os::wipe::give_back(self.0);
    }
}

/// What word 0 of the attachment's cell holds, in the process that attached.
const HERE: u64 = 1;

// SAFETY: I6 - the cells are only accessed as relaxed atomics; everything else is Send and Sync by itself.
unsafe impl Send for Attached {}
// SAFETY: as above.
unsafe impl Sync for Attached {}

impl Attached {
    pub(super) fn new(
        region: Arc<Region>,
        plan: Plan,
        owner: Owner,
        generation: u32,
        kernel: Option<Kernel>,
        cell: Cell,
    ) -> Arc<Self> {
        let asymmetric = plan.asymmetric;
        let cell = cell.taken();
        words(&cell)[0].set(HERE);
        words(&cell)[1].set(if owner == Owner::NOBODY { 0 } else { owner.bits().into() });
        Arc::new(Self {
            region,
            plan,
            owner,
            generation,
            asymmetric,
            kernel,
            cell,
            created: PrivateU64::new(0),
            withdrawn: PrivateU64::new(0),
            killed: PrivateU64::new(0),
            hot_cells: Mutex::new(Vec::new()),
            opened: Mutex::new(Opened::default()),
            sweeping: Mutex::new(()),
        })
    }

    /// The bytes.
    pub(crate) fn region(&self) -> &Region {
        &self.region
    }

    pub(super) fn shared_region(&self) -> &Arc<Region> {
        &self.region
    }

    pub(super) fn plan(&self) -> &Plan {
        &self.plan
    }

    /// The bytes `at..at + len` once more: twice, back to back. `None` where this memory cannot be mapped so, on the heap,
    /// or in such pages.
    pub(crate) fn mirror(&self, at: u64, len: u64) -> Option<Mirror> {
        let (evidence, mapping) = (&self.kernel.as_ref()?.evidence, self.region.mapping()?);
        match evidence.descriptor() {
            Some(kept) => mapping.mirror(kept, at, len).ok(),
            None => mapping.mirror(evidence.fresh().ok()?.as_fd(), at, len).ok(),
        }
    }

    /// Where objects begin.
    pub(crate) fn data_at(&self) -> u64 {
        self.plan.data_at
    }

    pub(super) fn kernel(&self) -> Option<&Kernel> {
        self.kernel.as_ref()
    }

    pub(super) fn header(&self) -> Result<&Header, Fault> {
        self.region.get(0)
    }

    /// A row of the table; `Corrupt` if it has no such row.
    pub(super) fn row(&self, row: u32) -> Result<&Row, Fault> {
        let at = self.plan.row_at(row);
        if row == 0 || row > self.plan.rows {
            return Err(Fault::Corrupt { what: "an owner's row is outside of the attachment table", at });
        }
        self.region.get(at)
    }

    pub(super) fn created(&self) -> bool {
        self.created.get() != 0
    }

    pub(super) fn set_created(&self, created: bool) {
        self.created.set(created.into());
    }

    /// Only for whoever created the segment: before, nobody else can have used a row.
    pub(super) fn withdraw(&self) {
        self.withdrawn.set(self.created.get());
    }

    /// Who this attachment is.
    pub(crate) fn owner(&self) -> Owner {
        self.owner
    }

    pub(crate) fn generation(&self) -> u32 {
        self.generation
    }

    /// Whether this handle may act: not in a forked child, not after `testing::kill`.
    ///
    /// Asked on slow paths and in `Drop`. Fast paths need not: what they compare is wiped together with this.
    pub(crate) fn check(&self) -> Result<(), Fault> {
        if words(&self.cell)[0].get() == HERE {
            return Ok(());
        }
        Err(if self.killed.get() == 0 { Fault::Forked } else { Fault::Killed })
    }

    /// Whether this attachment only looks: it has no row, and its mapping faults if it is written.
    pub(crate) fn is_read_only(&self) -> bool {
        self.region.is_read_only()
    }

    /// As [`check`](Self::check); and whether it may write. Asked before everything that stores to the segment.
    pub(crate) fn check_writable(&self) -> Result<(), Fault> {
        self.check()?;
        if self.is_read_only() { Err(Fault::ReadOnly) } else { Ok(()) }
    }

    /// Whether `owner` is gone, by the kernel's evidence (in a heap region: by `testing::kill`).
    ///
    /// About a microsecond. After `true` everything that it ever stored is visible.
    pub(crate) fn is_dead(&self, owner: Owner) -> Result<bool, Fault> {
        self.check()?;
        if owner == self.owner {
            return Ok(false);
        }
        let row = self.row(owner.row())?;
        for _ in 0..4 {
            let state = row.state();
            let free_or_dead = matches!(state.phase(), Some(Phase::Free | Phase::Dead));
            if !owner.is_generation(state.generation()) || free_or_dead {
                fence(Ordering::SeqCst); // [A5]
                return Ok(true);
            }
            let gone = match (&self.kernel, self.region.deaths()) {
                (Some(kernel), _) => kernel.evidence.is_gone(owner, &row.identity()),
                (None, Some(deaths)) => deaths.is_dead(owner.row(), state.generation()),
                (None, None) => false,
            };
            if !gone {
                return Ok(false);
            }
            fence(Ordering::Acquire); // [A6]
            if row.state.load(Ordering::Relaxed) == state.0 {
                // [A7]
                fence(Ordering::SeqCst); // [A5]
                return Ok(true);
            }
        }
        Ok(false) // the row changes hands again and again: look later
    }

    /// Whether a verdict costs no system call, so that it can be asked for every time.
    pub(crate) fn verdicts_are_cheap(&self) -> bool {
        self.kernel.is_none()
    }

    /// Whether this segment's notifiers leave the barrier to the waiters.
    pub(crate) fn asymmetric(&self) -> bool {
        self.asymmetric
    }

    /// Hot private state of a handle, all zero at first, and again after a fork or `testing::kill`.
    pub(crate) fn hot_cell(self: &Arc<Self>) -> Result<HotCell, Error> {
        self.check_writable()?; // whoever wants one is about to take a role
        let cell = os::wipe::cell().map_err(|e| Error::os("mmap", e))?;
        lock(&self.hot_cells).push(cell);
        Ok(HotCell { cell, attached: Arc::clone(self) })
    }

    /// Who this attachment is, for fast paths.
    pub(crate) fn stamp(&self) -> Stamp {
        Stamp(self.cell)
    }

    pub(super) fn opened(&self) -> MutexGuard<'_, Opened> {
        lock(&self.opened)
    }

    pub(super) fn sweeping(&self) -> MutexGuard<'_, ()> {
        lock(&self.sweeping)
    }

    /// This attachment is dead to all others, and its handles refuse.
    pub(super) fn kill(&self) -> Result<()> {
        let Some(deaths) = self.region.deaths() else {
            return Err(Error::Unsupported {
                what: "killing an attachment of a segment that is not on the heap",
            });
        };
        self.check()?;
        self.killed.set(1);
        words(&self.cell)[0].set(0);
        words(&self.cell)[1].set(0);
        for cell in lock(&self.hot_cells).iter() {
            for word in words(cell) {
                word.set(0);
            }
        }
        deaths.kill(self.owner.row(), self.generation);
        Ok(())
    }
}

impl Drop for Attached {
    fn drop(&mut self) {
        let check = self.check();
        let killed =
            self.region.deaths().is_some_and(|deaths| deaths.is_dead(self.owner.row(), self.generation));
        if check.is_ok() && !killed {
            sweep::detach(self);
        }
        if check != Err(Fault::Forked) {
            if let Some(kernel) = &mut self.kernel {
                // SAFETY: I7 - dropped here and nowhere else; not in a forked child, where it is not mapped.
                unsafe { ManuallyDrop::drop(&mut kernel.anchor) }
                if self.owner != Owner::NOBODY {
                    let alone = Some(self.owner.row()).filter(|_| self.withdrawn.get() != 0);
                    sweep::unlink_if_last(&self.region, &self.plan, kernel, alone);
                }
            }
            os::wipe::give_back(self.cell);
        }
    }
}

impl fmt::Debug for Attached {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Attached")
            .field("owner", &self.owner)
            .field("region", &self.region)
            .finish_non_exhaustive()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn words(cell: &NonNull<[u64; 16]>) -> &[PrivateU64; 16] {
    // SAFETY: I6 - cells stay mapped for ever, and are only accessed as relaxed atomics of this size.
    unsafe { cell.cast::<[PrivateU64; 16]>().as_ref() }
}

/// The owner's bits of an attachment for which its handles may write. 0 in a forked child, after `testing::kill`, and for
/// whoever only looks.
///
/// It means something as long as the attachment lives.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stamp(NonNull<[u64; 16]>);

// SAFETY: I6 - the words are relaxed atomics.
unsafe impl Send for Stamp {}
// SAFETY: as above.
unsafe impl Sync for Stamp {}

impl Stamp {
    #[inline]
    pub(crate) fn bits(self) -> u32 {
        (words(&self.0)[1].get() & 0xff_ffff) as u32
    }
}

/// Process-private words of one handle, in memory that fork wipes.
///
/// The handle's fast path compares two of them; after a fork both are zero, so that it finds no room (or no message)
/// and takes its slow path, which asks [`Attached::check`]. The fast path itself pays nothing.
pub(crate) struct HotCell {
    cell: NonNull<[u64; 16]>,
    attached: Arc<Attached>,
}

// SAFETY: I6 - the words are relaxed atomics.
unsafe impl Send for HotCell {}
// SAFETY: as above.
unsafe impl Sync for HotCell {}

impl Deref for HotCell {
    type Target = [PrivateU64; 16];

    #[inline]
    fn deref(&self) -> &[PrivateU64; 16] {
        words(&self.cell)
    }
}

impl Drop for HotCell {
    fn drop(&mut self) {
        if self.attached.check() != Err(Fault::Forked) {
            lock(&self.attached.hot_cells).retain(|cell| *cell != self.cell);
            os::wipe::give_back(self.cell);
        }
    }
}

impl fmt::Debug for HotCell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HotCell").finish_non_exhaustive()
    }
}

/// Claims a free row in a region without a kernel object.
pub(super) fn claim_on_heap(region: &Region, plan: &Plan) -> Result<Option<(Owner, u32)>> {
    let me = os::process::me();
    for row in rows_in_turn(region, plan)? {
        let place = region.get::<Row>(plan.row_at(row))?;
        let state = place.state();
        if state.phase() != Some(Phase::Free) {
            continue;
        }
        let mine = State::new(state.generation().wrapping_add(1), Phase::Active);
        let claim = place.state.compare_exchange(state.0, mine.0, Ordering::AcqRel, Ordering::Relaxed); // [A1]
        if claim.is_ok() {
            if let Some(deaths) = region.deaths() {
                deaths.settle(row, mine.generation());
            }
            place.introduce(&me, os::clock::realtime_ns(), 0);
            next_row(region, row)?;
            return Ok(Some((Owner::new(row, mine.generation()), mine.generation())));
        }
    }
    Ok(None)
}

/// Claims a row that reads free and whose byte can be taken; the byte then lives as long as the anchor.
///
/// `Err(true)`: there is none, but some row was about to become free.
pub(super) fn claim_by_byte(
    region: &Region,
    plan: &Plan,
    me: &os::process::Identity,
    caps: u32,
    mut description: impl FnMut() -> Result<OwnedFd>,
) -> Result<Result<(Owner, u32, os::map::Anchor), bool>> {
    use super::evidence::{give_row_back, try_take_row};
    let fcntl = |e| Error::os("fcntl(F_OFD_SETLK)", e);
    let mut own: Option<OwnedFd> = None;
    let mut contended = false;
    for row in rows_in_turn(region, plan)? {
        let place = region.get::<Row>(plan.row_at(row))?;
        if place.state().phase() != Some(Phase::Free) {
            continue;
        }
        let own_fd = match own.take() {
            Some(fd) => fd,
            None => description()?,
        };
        if !try_take_row(own_fd.as_fd(), row).map_err(fcntl)? {
            contended = true;
            own = Some(own_fd);
            continue;
        }
        let state = place.state();
        let mine = State::new(state.generation().wrapping_add(1), Phase::Active);
        if state.phase() == Some(Phase::Free) {
            let anchor = os::map::Anchor::hold(own_fd).map_err(|e| Error::os("mmap", e))?;
            place.introduce(me, os::clock::realtime_ns(), caps);
            if place.state.compare_exchange(state.0, mine.0, Ordering::AcqRel, Ordering::Relaxed).is_ok() {
                // [A1]
                next_row(region, row)?;
                return Ok(Ok((Owner::new(row, mine.generation()), mine.generation(), anchor)));
            }
            contended = true; // only a breach of the protocol comes here; the anchor goes, and the byte with it
            continue;
        }
        give_row_back(own_fd.as_fd(), row).map_err(fcntl)?;
        own = Some(own_fd);
    }
    Ok(Err(contended))
}

/// All rows, beginning behind the last one given out: generations then last as long as they can.
fn rows_in_turn(region: &Region, plan: &Plan) -> Result<impl Iterator<Item = u32> + use<>> {
    let rows = plan.rows;
    let start = region.get::<Header>(0)?.row_hint.load(Ordering::Relaxed) % rows; // [A8]
    Ok((0..rows).map(move |k| (start + k) % rows + 1))
}

fn next_row(region: &Region, row: u32) -> Result<()> {
    region.get::<Header>(0)?.row_hint.store(row, Ordering::Relaxed); // [A8]
    Ok(())
}
