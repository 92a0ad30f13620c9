//! Steps a process through one operation, instruction by instruction.
//!
//! The process itself says where the operation begins and ends, by calling two functions of one instruction each: the
//! first stops it, and the second is never executed, for the tracer knows its address, which is the same in both.

use core::mem::ManuallyDrop;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use nix::sys::ptrace;
use nix::sys::signal::Signal;
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::Pid;

use crate::location;
use crate::machine::{begin, end, end_address, next_of};
use crate::process::{ALARM, Forked, fork, leave};

/// The operation that is stepped: in a [victim](crate::Case::victim), once, after whatever prepares it.
///
/// Its process is killed at the latest when the operation returns; what the operation returned it then still has.
pub fn step<R>(operation: impl FnOnce() -> R) -> R {
    begin();
    let result = operation();
    end();
    result
}

/// Keeps it until the end of the process: nobody lets go of it.
pub fn forget<T>(kept: T) {
    let _ = ManuallyDrop::new(kept);
}

/// In a victim, instead of [`step`]: the operation is the drop of `dropped`, as unwinding does it.
pub fn step_unwinding<T>(dropped: T) {
    struct Now(fn());
    impl Drop for Now {
        fn drop(&mut self) {
            (self.0)();
        }
    }
    let unwinding = move || {
        let _last = Now(end);
        let _dropped = dropped;
        let _first = Now(begin);
        resume_unwind(Box::new(()))
    };
    let _ = catch_unwind(AssertUnwindSafe(unwinding));
}

/// A process that has come to the beginning of its operation.
pub(crate) struct Stepped {
    process: Forked,
    pid: Pid,
    /// The instruction that is executed next.
    next: u64,
    steps: usize,
}

/// Why a process cannot be stepped.
pub(crate) type Refused = String;

impl Stepped {
    /// Forks a process for `work`, which prepares itself at full speed, and stops where its operation begins.
    pub(crate) fn start(work: impl FnOnce()) -> Result<Self, Refused> {
        let Some(process) = fork() else {
            ptrace::traceme().expect("ptrace must be allowed here");
            leave(work)
        };
        let pid = process.pid();
        loop {
            match waitpid(pid, None).map_err(told)? {
                WaitStatus::Stopped(_, Signal::SIGTRAP) => break,
                // As if nobody traced it: of a child of its own, for example.
                WaitStatus::Stopped(_, signal) => ptrace::cont(pid, signal).map_err(told)?,
                other => return Err(format!("the victim did not come to its operation: {other:?}")),
            }
        }
        ptrace::setoptions(pid, ptrace::Options::PTRACE_O_EXITKILL).map_err(told)?;
        let next = next_of(pid).map_err(told)?;
        Ok(Self { process, pid, next, steps: 0 })
    }

    /// One instruction: where it lies. `None`: the operation is complete.
    pub(crate) fn step(&mut self) -> Result<Option<u64>, Refused> {
        if self.next == end_address() {
            return Ok(None);
        }
        let executed = self.next;
        ptrace::step(self.pid, None).map_err(told)?;
        let status = waitpid(self.pid, None).map_err(told)?;
        if status != WaitStatus::Stopped(self.pid, Signal::SIGTRAP) {
            let (steps, at) = (self.steps, location::of(executed));
            let why = match status {
                WaitStatus::Stopped(_, Signal::SIGALRM) => {
                    format!("the victim is blocked, or takes longer than {ALARM} s")
                }
                _ => format!("the victim came to an end of its own: {status:?}"),
            };
            return Err(format!("{why}: after {steps} steps, {at}"));
        }
        self.next = next_of(self.pid).map_err(told)?;
        self.steps += 1;
        Ok(Some(executed))
    }

    /// How many instructions there were.
    pub(crate) fn steps(&self) -> usize {
        self.steps
    }

    /// SIGKILL, right here; nothing of it is left.
    pub(crate) fn kill(self) {
        self.process.kill();
    }
}

fn told(why: nix::errno::Errno) -> Refused {
    format!("it cannot be traced: {why}")
}
