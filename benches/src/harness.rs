//! Sides of a measurement: forked, pinned, started together, watched, and killed when they hang.
//!
//! The process that forks never has a second thread, so its children may do anything. Threads are for peers
//! that work between threads only: both then live in one child.

use std::cell::Cell;
use std::os::fd::{AsFd, OwnedFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use nix::fcntl::OFlag;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, kill, sigaction};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{ForkResult, Pid, fork, getpid, getppid, pipe2};

use crate::Result;
use crate::cpu::{self, Cores, Spin};
use crate::memory::{LINE, SharedMemory};
use crate::stats::float;

/// A measurement that takes longer than this hangs.
const LIMIT: Duration = Duration::from_secs(30);

/// What all measurements of a run share.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Setup {
    pub(crate) cores: Cores,
    /// Everything a thousand times shorter: to see that it works, not how fast.
    pub(crate) quick: bool,
}

impl Setup {
    /// How often to do what is done `full` times in a real measurement; a multiple of 8192 stays one.
    pub(crate) fn count(&self, full: u64) -> u64 {
        match (self.quick, full % 8192) {
            (false, _) => full,
            (true, 0) => 8192,
            (true, _) => full.div_ceil(1000),
        }
    }
}

/// What one side does.
pub(crate) type Worker<'a> = &'a (dyn Fn(&Side<'_>) + Sync);

/// How the workers run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    Processes,
    Threads,
}

// Lines of the control memory: two for all, then those of each side.
const ARRIVED: usize = 0;
const AGREED: usize = 1;
const FOR_ALL: usize = 2;
const START: usize = 0;
const END: usize = 1;
const VALUE: usize = 2;
const NOTE: usize = 3;
const LOST: usize = 4;
const PER_SIDE: usize = 5;

fn line_of(field: usize, side: usize) -> usize {
    FOR_ALL + field + PER_SIDE * side
}

/// One side's view of the measurement.
pub(crate) struct Side<'a> {
    control: &'a SharedMemory,
    index: usize,
    parties: u64,
    barriers: Cell<u64>,
}

impl Side<'_> {
    fn word(&self, field: usize) -> &AtomicU64 {
        self.control.line(line_of(field, self.index))
    }

    /// Returns when every side has come here.
    pub(crate) fn barrier(&self) {
        let all = self.barriers.get() + self.parties;
        self.barriers.set(all);
        let arrived = self.control.line(ARRIVED);
        arrived.fetch_add(1, Ordering::AcqRel);
        let mut spin = Spin::default();
        while arrived.load(Ordering::Acquire) < all {
            spin.wait();
        }
    }

    /// What the first side says, to all of them.
    pub(crate) fn agree(&self, proposal: u64) -> u64 {
        if self.index == 0 {
            self.control.line(AGREED).store(proposal, Ordering::Relaxed);
        }
        self.barrier();
        self.control.line(AGREED).load(Ordering::Relaxed)
    }

    /// Starts together with the other side and takes the time, of work that does not sleep.
    pub(crate) fn timed(&self, work: impl FnOnce()) {
        self.barrier();
        let ran_before = cpu::ran();
        let took = self.time(work);
        self.lost(took.saturating_sub(cpu::ran() - ran_before));
    }

    /// As [`Side::timed`], of work that may sleep: lost is only what it waited for a processor.
    pub(crate) fn timed_asleep(&self, work: impl FnOnce()) {
        self.barrier();
        let waited_before = cpu::waited();
        self.time(work);
        self.lost(cpu::waited() - waited_before);
    }

    fn time(&self, work: impl FnOnce()) -> u64 {
        let start = cpu::now();
        work();
        let end = cpu::now();
        self.word(START).store(start, Ordering::Relaxed);
        self.word(END).store(end, Ordering::Relaxed);
        end - start
    }

    fn lost(&self, nanos: u64) {
        self.word(LOST).store(nanos, Ordering::Relaxed);
    }

    /// Hands a figure to [`Outcome::value`].
    pub(crate) fn put(&self, value: f64) {
        self.word(VALUE).store(value.to_bits(), Ordering::Relaxed);
    }

    /// Hands a count to [`Outcome::noted`].
    pub(crate) fn note(&self, count: u64) {
        self.word(NOTE).store(count, Ordering::Relaxed);
    }
}

/// What the sides left behind.
pub(crate) struct Outcome {
    control: SharedMemory,
    parties: usize,
}

impl Outcome {
    /// Nanoseconds from the first start to the last end.
    pub(crate) fn elapsed(&self) -> f64 {
        let start = self.of_each(START).min().unwrap_or(0);
        let end = self.of_each(END).max().unwrap_or(0);
        float(end - start)
    }

    /// What the side has noted.
    pub(crate) fn noted(&self, side: usize) -> u64 {
        self.control.line(line_of(NOTE, side)).load(Ordering::Relaxed)
    }

    fn of_each(&self, field: usize) -> impl Iterator<Item = u64> {
        (0..self.parties).map(move |side| self.control.line(line_of(field, side)).load(Ordering::Relaxed))
    }

    /// What the sides have agreed upon.
    pub(crate) fn agreed(&self) -> u64 {
        self.control.line(AGREED).load(Ordering::Relaxed)
    }

    /// What the side has `put`.
    pub(crate) fn value(&self, side: usize) -> f64 {
        f64::from_bits(self.control.line(line_of(VALUE, side)).load(Ordering::Relaxed))
    }
}

/// Runs one worker on each core, at most two.
pub(crate) fn run(setup: &Setup, mode: Mode, workers: &[Worker<'_>]) -> Result<Outcome> {
    let parties = workers.len();
    assert!(parties <= setup.cores.len());
    let control = SharedMemory::new((FOR_ALL + PER_SIDE * parties) * LINE)?;
    let side = |index| Side {
        control: &control,
        index,
        parties: workers.len().try_into().expect("two at most"),
        barriers: Cell::new(0),
    };
    let work = |index: usize| {
        cpu::pin(setup.cores[index]).expect("a processor that we may use");
        workers[index](&side(index));
    };

    let (ended, alive) = pipe2(OFlag::O_CLOEXEC)?;
    let mut children = Children(Vec::new());
    if mode == Mode::Threads {
        let all = || {
            thread::scope(|scope| {
                for index in 0..parties {
                    let work = &work;
                    scope.spawn(move || work(index));
                }
            });
        };
        children.start(&all)?;
    } else {
        for index in 0..parties {
            children.start(&|| work(index))?;
        }
    }
    drop(alive);
    children.wait(&ended)?;
    let outcome = Outcome { control, parties };
    if outcome.of_each(LOST).any(|lost| float(lost) > LOSS * outcome.elapsed()) {
        DISTURBED.fetch_add(1, Ordering::Relaxed);
    }
    Ok(outcome)
}

static DISTURBED: AtomicU64 = AtomicU64::new(0);

/// A side that did not run for more than this part of the time was disturbed.
const LOSS: f64 = 0.03;

/// How many measurements so far were disturbed by programs that took a processor away.
pub(crate) fn disturbed() -> u64 {
    DISTURBED.load(Ordering::Relaxed)
}

/// Killed when dropped, if they still run.
struct Children(Vec<Pid>);

impl Children {
    fn start(&mut self, body: &dyn Fn()) -> Result<()> {
        let parent = getpid();
        // SAFETY: this process has one thread, so the child may do whatever the parent might.
        match unsafe { fork() }? {
            ForkResult::Child => become_child(parent, body),
            ForkResult::Parent { child } => self.0.push(child),
        }
        Ok(())
    }

    /// Until all have ended well, or one has not: its end closes the last writer of the pipe, or its status
    /// tells, within a tenth of a second.
    fn wait(mut self, ended: &OwnedFd) -> Result<()> {
        let deadline = Instant::now() + LIMIT;
        while !self.0.is_empty() {
            let mut watched = [PollFd::new(ended.as_fd(), PollFlags::empty())];
            // EINTR: a signal that the flag below tells about, or that does not concern us.
            poll(&mut watched, PollTimeout::from(100_u8)).ok();
            let mut index = 0;
            while let Some(&child) = self.0.get(index) {
                match waitpid(child, Some(WaitPidFlag::WNOHANG))? {
                    WaitStatus::StillAlive => index += 1,
                    WaitStatus::Exited(_, 0) => drop(self.0.swap_remove(index)),
                    other => {
                        self.0.swap_remove(index);
                        return Err(format!("a side failed: {other:?}").into());
                    }
                }
            }
            if INTERRUPTED.load(Ordering::Relaxed) {
                return Err("interrupted".into());
            }
            if Instant::now() > deadline {
                return Err(format!("hung for {} seconds, and was killed", LIMIT.as_secs()).into());
            }
        }
        Ok(())
    }
}

impl Drop for Children {
    fn drop(&mut self) {
        for child in &self.0 {
            // Both can fail only if somebody else has reaped our child, which is then no concern of ours.
            kill(*child, Signal::SIGKILL).ok();
            waitpid(*child, None).ok();
        }
    }
}

fn become_child(parent: Pid, body: &dyn Fn()) -> ! {
    let worked = catch_unwind(AssertUnwindSafe(|| {
        set_pdeathsig(Signal::SIGKILL).expect("SIGKILL is a signal");
        assert_eq!(getppid(), parent, "the parent died at once");
        body();
    }))
    .is_ok();
    // SAFETY: ends the process; nothing of the parent's is flushed, unlinked or dropped twice.
    unsafe { libc::_exit(i32::from(!worked)) }
}

static INTERRUPTED: AtomicBool = AtomicBool::new(false);

extern "C" fn note(_: libc::c_int) {
    INTERRUPTED.store(true, Ordering::Relaxed);
}

/// From now on SIGINT and SIGTERM end the run by an error, so that what was created is removed.
pub(crate) fn watch_signals() {
    let action = SigAction::new(SigHandler::Handler(note), SaFlags::empty(), SigSet::empty());
    for signal in [Signal::SIGINT, Signal::SIGTERM] {
        // SAFETY: the handler does nothing but an atomic store.
        let set = unsafe { sigaction(signal, &action) };
        set.expect("these signals can be caught");
    }
}
