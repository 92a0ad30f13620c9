//! Processes that are forked here, and never left behind.

use std::io::Write;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use nix::libc;
use nix::sys::signal::{self, Signal};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{self, ForkResult, Pid};

/// After this long, in seconds, whatever happens, a forked process has hung: its alarm ends it.
const ALARM: u32 = 60;

/// Killed and reaped when dropped.
#[derive(Debug)]
pub(crate) struct Forked {
    pid: Pid,
    reaped: bool,
}

/// Forks: `None` in the child, which has an alarm, and must not return: see [`leave`].
pub(crate) fn fork() -> Option<Forked> {
    // SAFETY: for processes with one thread: see the limits in lib.rs.
    match unsafe { unistd::fork() }.expect("a process can be forked") {
        ForkResult::Child => {
            unistd::alarm::set(ALARM);
            panic_tersely();
            None
        }
        ForkResult::Parent { child } => Some(Forked { pid: child, reaped: false }),
    }
}

/// Does the work, and ends this process without running anything else; a panic is exit status 1.
pub(crate) fn leave(work: impl FnOnce()) -> ! {
    let panicked = catch_unwind(AssertUnwindSafe(work)).is_err();
    // SAFETY: never returns; what would run at exit is our parent's.
    unsafe { libc::_exit(i32::from(panicked)) }
}

/// A process that does `work` and dies at its end, with all that it has: nothing of it is let go of, whatever was not
/// dropped before.
///
/// For what is [given](crate::Case::given): words that name somebody who is dead.
///
/// # Panics
/// If the work panics.
pub fn dies(work: impl FnOnce()) {
    let Some(process) = fork() else { leave(work) };
    process.succeeds();
}

/// A backtrace, step by step, would never come to an end; and unwinding is no death.
fn panic_tersely() {
    std::panic::set_hook(Box::new(|what| {
        let _ = writeln!(std::io::stderr(), "a forked process: {what}");
        std::process::abort()
    }));
}

impl Forked {
    pub(crate) fn pid(&self) -> Pid {
        self.pid
    }

    /// It ends by itself, and content.
    pub(crate) fn succeeds(mut self) {
        self.reaped = true;
        let status = waitpid(self.pid, None).expect("a child of ours can be waited for"); // its alarm ends it
        assert_eq!(status, WaitStatus::Exited(self.pid, 0), "a forked process failed");
    }

    pub(crate) fn signal(&self, signal: Signal) {
        signal::kill(self.pid, signal).expect("a child of ours, not reaped");
    }

    /// SIGKILL; nothing of it is left.
    pub(crate) fn kill(mut self) {
        self.end();
    }

    fn end(&mut self) {
        if !self.reaped {
            self.reaped = true;
            let _ = signal::kill(self.pid, Signal::SIGKILL);
            let _ = waitpid(self.pid, Some(WaitPidFlag::__WALL));
        }
    }
}

impl Drop for Forked {
    fn drop(&mut self) {
        self.end();
    }
}

/// `R`, `S`, `T`, `Z` ... `None`: there is no such process.
pub(crate) fn state_of(pid: Pid) -> Option<char> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit(") ").next()?.chars().next()
}

/// Whether it becomes true in so long.
pub(crate) fn within(patience: Duration, mut is_so: impl FnMut() -> bool) -> bool {
    let start = Instant::now();
    while !is_so() {
        if start.elapsed() > patience {
            return false;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    true
}
