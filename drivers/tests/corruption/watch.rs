//! The parent: starts workers, sees how they end, and that none hangs.

use std::time::{Duration, Instant};

use nix::sys::prctl::set_pdeathsig;
use nix::sys::resource::{Resource, UsageWho, getrusage, setrlimit};
use nix::sys::signal::{Signal, kill};
use nix::sys::time::TimeValLike;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::time::ClockId;
use nix::unistd::{ForkResult, Pid, fork};

use super::board::Board;

/// An execution takes microseconds. What takes so much of the processor's time has no end.
const BUSY: Duration = Duration::from_secs(2);
/// The longest that any operation waits is ten seconds, for the directory.
const ASLEEP: Duration = Duration::from_secs(40);
/// What counts at most from one look to the next: after more, the parent, or the whole machine, stood still.
const MOST: Duration = Duration::from_millis(200);

/// A process that does executions.
#[derive(Debug)]
pub struct Worker {
    pid: Pid,
    /// Of the execution under way: which one, how long it has been seen, and how much of the processor it has had by then.
    begun: u64,
    seen: Duration,
    looked: Instant,
    spent: Duration,
}

/// What must not happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Finding {
    Fault,
    Panic,
    Hang,
    /// Nothing went wrong, for nothing was done.
    Idle,
}

impl Worker {
    /// Forks. This process has one thread: so the child may do anything.
    pub fn start(work: impl FnOnce()) -> Self {
        // SAFETY: this process has one thread.
        match unsafe { fork() }.expect("one more process") {
            ForkResult::Parent { child } => {
                let (seen, spent) = (Duration::ZERO, Duration::ZERO);
                Self { pid: child, begun: 0, seen, looked: Instant::now(), spent }
            }
            ForkResult::Child => {
                set_pdeathsig(Signal::SIGKILL).expect("a signal that there is");
                limit_memory();
                let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work)).is_err();
                // SAFETY: never returns, and runs nothing of the parent's.
                unsafe { nix::libc::_exit(if panicked { PANICKED } else { 0 }) }
            }
        }
    }

    /// `None`: it works. `Some(Ok)`: it has ended well.
    pub fn look(&mut self, board: &Board) -> Option<Result<(), (Finding, String)>> {
        match waitpid(self.pid, Some(WaitPidFlag::WNOHANG)).expect("it is ours") {
            WaitStatus::StillAlive => {}
            WaitStatus::Exited(_, 0) => {
                let left = || (Finding::Fault, "it left in the middle, as if all were well".to_owned());
                return Some(if board.tally().under_way { Err(left()) } else { Ok(()) });
            }
            WaitStatus::Exited(_, PANICKED) => return Some(Err((Finding::Panic, "it panicked".to_owned()))),
            other => return Some(Err((Finding::Fault, format!("it ended by {other:?}")))),
        }
        let (begun, spent) = (board.tally().begun, self.spent());
        let passed = self.looked.elapsed().min(MOST);
        self.looked = Instant::now();
        if begun != self.begun {
            (self.begun, self.seen, self.spent) = (begun, Duration::ZERO, spent);
            return None;
        }
        self.seen += passed;
        let busy = spent.saturating_sub(self.spent);
        if busy < BUSY && self.seen < ASLEEP {
            return None;
        }
        self.end();
        Some(Err((Finding::Hang, format!("it went on for {:?}, {busy:?} of them busy", self.seen))))
    }

    fn spent(&self) -> Duration {
        let clock = ClockId::pid_cpu_clock_id(self.pid).and_then(ClockId::now);
        let spent = clock.map_or(0, |spent| spent.num_nanoseconds());
        Duration::from_nanos(spent.unsigned_abs())
    }

    /// Kills it.
    pub fn end(&self) {
        let _ = kill(self.pid, Signal::SIGKILL);
        let _ = waitpid(self.pid, None);
    }
}

/// A length that is believed must not take the machine's memory: the allocation fails, and the worker aborts.
fn limit_memory() {
    const MOST: u64 = 1 << 30;
    let pages = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages: Option<u64> = pages.split(' ').nth(5).and_then(|pages| pages.parse().ok());
    // A sanitizer has mapped more than that already.
    if pages.is_some_and(|pages| pages < MOST >> 14) {
        setrlimit(Resource::RLIMIT_DATA, MOST, MOST).expect("less than before");
    }
}

/// As libtest has it.
const PANICKED: i32 = 101;

/// The processor's time of all workers that have ended.
pub fn spent_by_children() -> Duration {
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN).expect("it is always told");
    let micros = (usage.user_time() + usage.system_time()).num_microseconds();
    Duration::from_micros(micros.unsigned_abs())
}
