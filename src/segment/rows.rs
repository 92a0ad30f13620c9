//! The attachment table: one row a living process.

use crate::memory::Control;
use crate::os::process::Identity;
use crate::shim::{AtomicU32, AtomicU64, Ordering, fence};

/// What a row is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Nobody's.
    Free,
    /// A process's, dead or alive.
    Active,
    /// Of a verified dead process; its words are being repaired.
    Dead,
}

/// The word of a row: `generation:32 | phase:8`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct State(pub(super) u64);

impl State {
    pub(super) fn new(generation: u32, phase: Phase) -> Self {
        let phase = match phase {
            Phase::Free => 0,
            Phase::Active => 1,
            Phase::Dead => 2,
        };
        Self(u64::from(generation) << 8 | phase)
    }

    /// The full generation; owners carry its low 14 bits.
    pub(super) fn generation(self) -> u32 {
        u32::try_from(self.0 >> 8 & u64::from(u32::MAX)).unwrap_or_default()
    }

    /// `None`: no value that the protocol writes.
    pub(super) fn phase(self) -> Option<Phase> {
        match self.0 & 0xff {
            0 => Some(Phase::Free),
            1 => Some(Phase::Active),
            2 => Some(Phase::Dead),
            _ => None,
        }
    }

    pub(super) fn with(self, phase: Phase) -> Self {
        Self::new(self.generation(), phase)
    }
}

/// A row. 128 bytes, so that no two processes write one line.
///
/// | at  | field       | written by             | meaning                                                    |
/// |-----|-------------|------------------------|------------------------------------------------------------|
/// |   0 | state       | tenant, sweeper        | `generation:32 \| phase:8`: the truth                      |
/// |   8 | pid         | tenant, before Active  | in its own pid namespace                                   |
/// |  12 | uid         | tenant, before Active  |                                                            |
/// |  16 | `pid_ns`    | tenant, before Active  | inode of its pid namespace, 0 = unknown                    |
/// |  24 | `time_ns`   | tenant, before Active  | inode of its time namespace, 0 = unknown                   |
/// |  32 | `start_time`| tenant, before Active  | as in `/proc/pid/stat`                                     |
/// |  40 | `pidfs_ino` | tenant, before Active  | unique for the boot, 0 = the kernel has none               |
/// |  48 | since       | tenant, before Active  | nanoseconds since 1970                                     |
/// |  56 | caps        | tenant, before Active  | 1: registered for membarrier                               |
/// |  60 | doorbell    | later                  | async wakers                                               |
/// |  64 | `life_w`    | later                  | guardian: slept on by waiters                              |
/// |  72 | `life_g`    | later                  | guardian: slept on by guardians                            |
#[derive(Debug, Default)]
#[repr(C, align(128))]
pub(super) struct Row {
    pub(super) state: AtomicU64,
    pub(super) pid: AtomicU32,
    pub(super) uid: AtomicU32,
    pub(super) pid_ns: AtomicU64,
    pub(super) time_ns: AtomicU64,
    pub(super) start_time: AtomicU64,
    pub(super) pidfs_ino: AtomicU64,
    pub(super) since: AtomicU64,
    pub(super) caps: AtomicU32,
    pub(super) doorbell: AtomicU32,
    pub(super) life_w: AtomicU32,
    pub(super) reserved: AtomicU32,
    pub(super) life_g: AtomicU32,
}

// SAFETY: atomics only.
unsafe impl Control for Row {}

#[cfg(not(loom))]
static_assertions::assert_eq_size!(Row, [u8; 128]);

/// `caps`: this process answers membarrier.
pub(super) const CAP_MEMBARRIER: u32 = 1;

impl Row {
    pub(super) fn state(&self) -> State {
        State(self.state.load(Ordering::Acquire)) // [A2]
    }

    /// Fills in who the tenant is; the caller then makes the row Active.
    pub(super) fn introduce(&self, me: &Identity, now: u64, caps: u32) {
        fence(Ordering::Release); // [A11]
        let order = Ordering::Relaxed; // [A3]
        self.pid.store(me.pid, order);
        self.uid.store(me.uid, order);
        self.pid_ns.store(me.pid_ns, order);
        self.time_ns.store(me.time_ns, order);
        self.start_time.store(me.start_time, order);
        self.pidfs_ino.store(me.pidfs_ino, order);
        self.since.store(now, order);
        self.caps.store(caps, order);
    }

    /// When the tenant came.
    pub(super) fn since(&self) -> u64 {
        self.since.load(Ordering::Relaxed) // [A4]
    }

    /// Who the tenant says it is.
    pub(super) fn identity(&self) -> Identity {
        let order = Ordering::Relaxed; // [A4]
        Identity {
            pid: self.pid.load(order),
            pid_ns: self.pid_ns.load(order),
            time_ns: self.time_ns.load(order),
            start_time: self.start_time.load(order),
            pidfs_ino: self.pidfs_ino.load(order),
            uid: self.uid.load(order),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_keeps_its_generation_through_its_phases() {
        for generation in [0, 1, 16384, u32::MAX] {
            for phase in [Phase::Free, Phase::Active, Phase::Dead] {
                let state = State::new(generation, phase);
                assert_eq!((state.generation(), state.phase()), (generation, Some(phase)));
                assert_eq!(state.with(Phase::Free), State::new(generation, Phase::Free));
            }
        }
        assert_eq!(State(3).phase(), None);
    }
}

#[cfg(all(test, loom))]
mod models {
    use std::sync::Arc;

    use super::*;
    use crate::model::explore;

    fn tenant(generation: u32) -> Identity {
        let n = u64::from(generation);
        Identity { pid: generation, pid_ns: n, time_ns: n, start_time: n, pidfs_ino: n, uid: generation }
    }

    fn change(row: &Row, old: State, new: State) {
        let order = Ordering::AcqRel; // as [A1]
        row.state.compare_exchange(old.0, new.0, order, Ordering::Relaxed).unwrap();
    }

    /// The race: a row gets its next tenant, who introduces itself, while somebody reads who the tenant is.
    ///
    /// Allowed: the one or the other, or that it is changing. Forbidden: a mixture of both, or a tenant with the other's
    /// identity.
    #[test]
    fn an_identity_is_one_tenant_s() {
        let iterations = explore(3, || {
            let row = Arc::new(Row::default());
            let [first, second] = [1, 2].map(|generation| State::new(generation, Phase::Active));
            row.introduce(&tenant(1), 1, 0);
            change(&row, State(0), first);
            let next = loom::thread::spawn({
                let row = Arc::clone(&row);
                move || {
                    let free = first.with(Phase::Free);
                    change(&row, first, free);
                    row.introduce(&tenant(2), 2, 0);
                    change(&row, free, second);
                }
            });
            let state = row.state();
            let (them, since) = (row.identity(), row.since());
            fence(Ordering::Acquire); // as [A6]
            let again = row.state.load(Ordering::Relaxed); // as [A7]
            if state.phase() == Some(Phase::Active) && again == state.0 {
                let n = state.generation();
                assert_eq!((them, since), (tenant(n), n.into()));
            }
            next.join().unwrap();
        });
        assert!(iterations > 100, "{iterations}");
    }
}
