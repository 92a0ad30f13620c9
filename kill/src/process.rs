//! Processes that are forked here, and never left behind.

use std::io::Write;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use nix::libc;
use nix::sys::prctl;
use nix::sys::signal::{self, Signal};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{self, ForkResult, Pid};

/// After this long, in seconds, whatever happens, a forked process has hung: its alarm ends it.
pub(crate) const ALARM: u32 = if cfg!(debug_assertions) { 120 } else { 60 };

/// Killed and reaped when dropped.
#[derive(Debug)]
pub(crate) struct Forked {
    pid: Pid,
    reaped: bool,
}

/// Forks: `None` in the child, which has an alarm, dies with its parent, and must not return: see [`leave`].
pub(crate) fn fork() -> Option<Forked> {
    let parent = unistd::getpid();
    // SAFETY: for processes with one thread: see the limits in lib.rs.
    match unsafe { unistd::fork() }.expect("a process can be forked") {
        ForkResult::Child => {
            unistd::alarm::set(ALARM);
            // An alarm does not end who is stopped, as peers are.
            prctl::set_pdeathsig(Signal::SIGKILL).expect("a signal at the parent's death");
            if unistd::getppid() != parent {
                std::process::abort(); // it had died before
            }
            panic_tersely();
            None
        }
        ForkResult::Parent { child } => Some(Forked { pid: child, reaped: false }),
    }
}

/// # Panics
/// If there are more: what they hold in this moment would be held in a forked process for ever.
pub(crate) fn assert_one_thread() {
    let threads = std::fs::read_dir("/proc/self/task").map_or(1, Iterator::count);
    assert_eq!(threads, 1, "this process forks: no other threads (`harness = false` in Cargo.toml)");
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
    process.succeeds().expect("who is to die does his work before");
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
    pub(crate) fn succeeds(mut self) -> Result<(), String> {
        self.reaped = true;
        let status = waitpid(self.pid, None).expect("a child of ours can be waited for"); // its alarm ends it
        match status {
            WaitStatus::Exited(_, 0) => Ok(()),
            other => Err(format!("a forked process failed: {other:?}")),
        }
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
