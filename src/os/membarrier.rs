//! A full barrier on every processor that runs a thread of a registered process.
//!
//! [`global_expedited`] reaches those processes only that have called [`register`]: whoever relies on it has
//! to know that the other side did, from that side's own word.
//!
//! **After a fork.** The registration is a flag of the address space. `fork` copies it with the address
//! space, `exec` clears it (`membarrier_exec_mmap`). Nothing here relies on the copy: a child asks again,
//! which is one cheap call if the flag is there already.
//!
//! # Invariants
//!
//! * **I1**: `membarrier` takes numbers only, and touches no memory of ours.

use super::per_process::PerProcess;

/// Not in every C library's headers.
const QUERY: libc::c_int = 0;
const GLOBAL_EXPEDITED: libc::c_int = 1 << 1;
const REGISTER_GLOBAL_EXPEDITED: libc::c_int = 1 << 2;

/// Lets others' [`global_expedited`] reach this process. `false` if the kernel cannot, or a sandbox
/// forbids it.
/// Asks the kernel once a process.
pub(crate) fn register() -> bool {
    static REGISTERED: PerProcess<bool> = PerProcess::new();
    REGISTERED.get(|| supported() && membarrier(REGISTER_GLOBAL_EXPEDITED) == 0)
}

/// When it returns `true`, every thread of every registered process has passed a full memory barrier
/// since the call.
pub(crate) fn global_expedited() -> bool {
    membarrier(GLOBAL_EXPEDITED) == 0
}

/// Whether the kernel has both calls.
pub(crate) fn supported() -> bool {
    const BOTH: libc::c_long = (GLOBAL_EXPEDITED | REGISTER_GLOBAL_EXPEDITED) as libc::c_long;
    let known = membarrier(QUERY);
    known >= 0 && known & BOTH == BOTH
}

fn membarrier(command: libc::c_int) -> libc::c_long {
    // SAFETY: numbers only, by I1.
    unsafe { libc::syscall(libc::SYS_membarrier, command, 0_u32, 0_i32) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::os::testing::Child;

    /// What this address space is registered for, since Linux 6.3.
    const GET_REGISTRATIONS: libc::c_int = 1 << 9;

    fn registered() -> Option<bool> {
        let found = membarrier(GET_REGISTRATIONS);
        let ours = libc::c_long::from(REGISTER_GLOBAL_EXPEDITED);
        (found >= 0).then_some(found & ours == ours)
    }

    #[test]
    fn registered_where_supported_and_in_children_too() {
        assert_eq!(register(), supported());
        assert_eq!(register(), supported(), "the second answer is the first");
        assert_ne!(registered(), Some(!supported()));
        let child = Child::spawn(|| register() == supported() && registered() != Some(!supported()));
        assert!(child.succeeds());
    }

    #[test]
    fn a_barrier_happens_where_supported() {
        assert_eq!(global_expedited(), supported());
    }
}
