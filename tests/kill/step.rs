//! Steps a process through one operation, instruction by instruction.
//!
//! The process itself says where the operation begins and ends, by calling two functions of one instruction each: the
//! first stops it, and the second is never executed, for the tracer knows its address, which is the same in both.

use core::arch::global_asm;
use core::mem::ManuallyDrop;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use nix::sys::ptrace;
use nix::sys::signal::Signal;
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::Pid;

use super::common::process::{Forked, fork, leave};

global_asm!(
    ".text",
    ".globl outlive_kill_begin",
    "outlive_kill_begin:",
    "int3",
    "ret",
    ".globl outlive_kill_end",
    "outlive_kill_end:",
    "int3",
    "ret",
);

unsafe extern "C" {
    fn outlive_kill_begin();
    fn outlive_kill_end();
}

/// From here on, instruction by instruction.
#[inline(never)]
pub(crate) fn begin() {
    // SAFETY: a trap, which the tracer takes, and a return.
    unsafe { outlive_kill_begin() }
}

/// This far. Does not return.
#[inline(never)]
pub(crate) fn end() {
    // SAFETY: the tracer knows this place, and ends the process before it is executed.
    unsafe { outlive_kill_end() }
}

/// The operation that is stepped: in a victim once, after whatever prepares it.
pub(crate) fn step<R>(operation: impl FnOnce() -> R) -> R {
    begin();
    let result = operation();
    end();
    result
}

/// Keeps it until the end of the process: nobody lets go of it.
pub(crate) fn forget<T>(kept: T) {
    let _ = ManuallyDrop::new(kept);
}

/// The drop of `end`, as unwinding does it.
pub(crate) fn stepped_while_panicking<T>(end: T) {
    struct Now(fn());
    impl Drop for Now {
        fn drop(&mut self) {
            (self.0)();
        }
    }
    let unwinding = move || {
        let _last = Now(self::end);
        let _dropped = end;
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
            panic_tersely();
            ptrace::traceme().expect("these tests trace their children: ptrace must be allowed");
            leave(work)
        };
        let pid = process.pid();
        let status = waitpid(pid, None).map_err(|e| e.to_string())?;
        if status != WaitStatus::Stopped(pid, Signal::SIGTRAP) {
            return Err(format!("the victim did not come to its operation: {status:?}"));
        }
        ptrace::setoptions(pid, ptrace::Options::PTRACE_O_EXITKILL).map_err(|e| e.to_string())?;
        let next = next_of(pid)?;
        Ok(Self { process, pid, next, steps: 0 })
    }

    /// One instruction: where it lies. `None`: the operation is complete.
    pub(crate) fn step(&mut self) -> Result<Option<u64>, Refused> {
        if self.next == end_address() {
            return Ok(None);
        }
        let executed = self.next;
        ptrace::step(self.pid, None).map_err(|e| e.to_string())?;
        let status = waitpid(self.pid, None).map_err(|e| e.to_string())?;
        if status != WaitStatus::Stopped(self.pid, Signal::SIGTRAP) {
            return Err(format!(
                "the victim came to an end of its own after {} steps: {status:?}",
                self.steps
            ));
        }
        self.next = next_of(self.pid)?;
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

fn next_of(pid: Pid) -> Result<u64, Refused> {
    ptrace::getregs(pid).map(|registers| registers.rip).map_err(|e| e.to_string())
}

/// A backtrace, step by step, would never come to an end.
fn panic_tersely() {
    std::panic::set_hook(Box::new(|what| {
        use std::io::Write;
        let _ = writeln!(std::io::stderr(), "a victim: {what}");
        std::process::abort()
    }));
}

fn end_address() -> u64 {
    let place: unsafe extern "C" fn() = outlive_kill_end;
    (place as *const ()).addr() as u64
}
