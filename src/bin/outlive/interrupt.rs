//! Ctrl-C and its relatives, noted instead of obeyed: what was made is removed first.
//!
//! Invariants of the unsafe code:
//!
//! * I1: the handler does nothing but one atomic store, which may be done at any instruction.
//!
//! | tag | ordering | pairs with |
//! |---|---|---|
//! | C1 | Relaxed | nothing: the number itself is all there is to tell, and it is told within one thread or later |

use outlive::atomic::{AtomicU32, Ordering};

static CAUGHT: AtomicU32 = AtomicU32::new(0);

extern "C" fn note(signal: libc::c_int) {
    CAUGHT.store(signal.unsigned_abs(), Ordering::Relaxed); // [C1]
}

/// From here on the signals that ask a process to end are noted. One that was ignored stays ignored (`nohup`).
pub(crate) fn watch() {
    let handler: extern "C" fn(libc::c_int) = note;
    for signal in [libc::SIGINT, libc::SIGTERM, libc::SIGHUP] {
        // SAFETY: I1, the handler may run at any instruction; the signal's number is valid.
        let before = unsafe { libc::signal(signal, handler as libc::sighandler_t) };
        if before == libc::SIG_IGN {
            // SAFETY: to ignore a signal runs no code of ours.
            unsafe { libc::signal(signal, libc::SIG_IGN) };
        }
    }
}

/// The signal that came, if one did.
pub(crate) fn caught() -> Option<u32> {
    let signal = CAUGHT.load(Ordering::Relaxed); // [C1]
    (signal != 0).then_some(signal)
}
