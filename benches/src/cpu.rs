//! Where the sides run, what time it is, and how to wait for the other one.

use std::fs;
use std::hint;
use std::thread;

use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::sys::resource::{UsageWho, getrusage};
use nix::time::{ClockId, clock_gettime};
use nix::unistd::Pid;

use crate::Result;

/// The processors of the two sides: different cores, unless only one may be used.
pub(crate) type Cores = [usize; 2];

/// Two processors of those that this process may use, not siblings of one core if that can be had.
pub(crate) fn pick_cores() -> Result<Cores> {
    let allowed = sched_getaffinity(Pid::from_raw(0))?;
    let mut usable = Vec::new();
    for cpu in 0..CpuSet::count() {
        if allowed.is_set(cpu)? {
            usable.push(cpu);
        }
    }
    let first = *usable.first().ok_or("no processor may be used")?;
    let siblings = siblings_of(first);
    let second = usable
        .iter()
        .skip(1)
        .find(|cpu| !siblings.contains(cpu))
        .or_else(|| usable.get(1))
        .copied()
        .unwrap_or(first);
    Ok([first, second])
}

/// The processors that share a core with this one, as the kernel lists them: `0,8` or `0-1`.
fn siblings_of(cpu: usize) -> Vec<usize> {
    let path = format!("/sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list");
    let list = fs::read_to_string(path).unwrap_or_default();
    list.trim()
        .split(',')
        .filter_map(|part| {
            let (from, to) = part.split_once('-').unwrap_or((part, part));
            Some(from.parse::<usize>().ok()?..=to.parse().ok()?)
        })
        .flatten()
        .collect()
}

/// Binds the calling thread to one processor.
pub(crate) fn pin(cpu: usize) -> Result<()> {
    let mut set = CpuSet::new();
    set.set(cpu)?;
    Ok(sched_setaffinity(Pid::from_raw(0), &set)?)
}

/// Nanoseconds of the monotonic clock, which all processes share.
pub(crate) fn now() -> u64 {
    read(ClockId::CLOCK_MONOTONIC)
}

fn read(clock: ClockId) -> u64 {
    let time = clock_gettime(clock).expect("every system has this clock");
    let seconds = u64::try_from(time.tv_sec()).expect("it began at 0");
    let nanos = u64::try_from(time.tv_nsec()).expect("less than a second");
    seconds * 1_000_000_000 + nanos
}

/// For how many nanoseconds the calling thread has had a processor.
pub(crate) fn ran() -> u64 {
    read(ClockId::CLOCK_THREAD_CPUTIME_ID)
}

/// For how many nanoseconds the calling thread was ready to run while a processor ran something else. 0 where the
/// kernel does not count it.
pub(crate) fn waited() -> u64 {
    let counts = fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    counts.split_whitespace().nth(1).and_then(|nanos| nanos.parse().ok()).unwrap_or(0)
}

/// How often this process has slept.
pub(crate) fn sleeps() -> u64 {
    let usage = getrusage(UsageWho::RUSAGE_SELF).expect("about ourselves");
    usage.voluntary_context_switches().try_into().expect("a count")
}

/// Waiting by spinning with PAUSE. After about a millisecond it gives the processor away now and then: that
/// never happens while both sides run, and lets them take turns where they share one processor.
#[derive(Default)]
pub(crate) struct Spin(u32);

impl Spin {
    const PATIENCE: u32 = 1 << 15;

    #[inline]
    pub(crate) fn wait(&mut self) {
        hint::spin_loop();
        self.0 += 1;
        if self.0 == Self::PATIENCE {
            self.0 = 0;
            thread::yield_now();
        }
    }
}
