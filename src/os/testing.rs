//! Children for the tests of this floor.
//!
//! The test process has many threads, so a forked child does little: system calls, and what these tests are
//! about. It leaves by `_exit`, and a timer ends it if it hangs.
//!
//! # Invariants
//!
//! * **I1**: a pointer handed to a system call is to a live local, with its size.

use std::os::fd::{AsRawFd, OwnedFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use nix::sys::signal::{self, Signal};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{self, ForkResult, Pid};

/// Seconds after which anything here has hung.
const PATIENCE: u32 = 30;

/// A forked process of ours; killed and reaped when dropped.
pub(super) struct Child {
    pid: Pid,
    reaped: bool,
}

impl Child {
    /// Forks. The child does that and leaves; `true` is success.
    pub(super) fn spawn(work: impl FnOnce() -> bool) -> Self {
        // SAFETY: the child does what the module says.
        match unsafe { unistd::fork() }.expect("fork") {
            ForkResult::Parent { child } => Self { pid: child, reaped: false },
            ForkResult::Child => {
                unistd::alarm::set(PATIENCE);
                let code = catch_unwind(AssertUnwindSafe(work)).map_or(2, |well| i32::from(!well));
                // SAFETY: never returns, and runs nothing of the parent's.
                unsafe { libc::_exit(code) }
            }
        }
    }

    pub(super) fn pid(&self) -> Pid {
        self.pid
    }

    /// Waits for its end.
    pub(super) fn succeeds(self) -> bool {
        matches!(self.wait(), WaitStatus::Exited(_, 0))
    }

    pub(super) fn signal(&self, signal: Signal) {
        signal::kill(self.pid, signal).expect("kill");
    }

    /// Waits for its end, and says what that was.
    pub(super) fn wait(mut self) -> WaitStatus {
        self.reaped = true;
        waitpid(self.pid, None).expect("waitpid")
    }

    /// Kills and reaps it.
    pub(super) fn kill(mut self, signal: Signal) {
        self.signal(signal);
        self.reaped = true;
        waitpid(self.pid, None).expect("waitpid");
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        if !self.reaped && signal::kill(self.pid, Signal::SIGKILL).is_ok() {
            let _ = waitpid(self.pid, None);
        }
    }
}

/// A process that somebody else started.
pub(super) struct KillOnDrop(pub(super) i32);

impl KillOnDrop {
    pub(super) fn lives(&self) -> bool {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.0));
        stat.is_ok_and(|stat| stat.rsplit(") ").next().is_some_and(|rest| !rest.starts_with(['Z', 'X'])))
    }
}

impl Drop for KillOnDrop {
    fn drop(&mut self) {
        let _ = signal::kill(Pid::from_raw(self.0), Signal::SIGKILL);
    }
}

/// Numbers from a child.
pub(super) struct Pipe {
    reader: OwnedFd,
    writer: OwnedFd,
}

impl Pipe {
    pub(super) fn new() -> Self {
        let (reader, writer) = unistd::pipe().expect("pipe");
        Self { reader, writer }
    }

    pub(super) fn say(&self, number: i32) {
        let _ = unistd::write(&self.writer, &number.to_le_bytes());
    }

    /// `None` if nobody says anything.
    pub(super) fn hear(&self) -> Option<i32> {
        let mut question = libc::pollfd { fd: self.reader.as_raw_fd(), events: libc::POLLIN, revents: 0 };
        // SAFETY: one live local, by I1.
        if unsafe { libc::poll(&raw mut question, 1, 1000 * i32::try_from(PATIENCE).ok()?) } != 1 {
            return None;
        }
        let mut bytes = [0; 4];
        (unistd::read(&self.reader, &mut bytes) == Ok(4)).then(|| i32::from_le_bytes(bytes))
    }

    /// So that it stays when everything from 3 on is closed.
    pub(super) fn move_writer_to_stdin(&self) {
        // SAFETY: descriptors only; the child does not read its input.
        unsafe { libc::dup2(self.writer.as_raw_fd(), 0) };
    }

    pub(super) fn say_on_stdin(number: i32) {
        let bytes = number.to_le_bytes();
        // SAFETY: a live local and its size, by I1.
        unsafe { libc::write(0, bytes.as_ptr().cast(), bytes.len()) };
    }
}

/// Closes every descriptor from `first` on, as `closefrom` does. Nothing that owns one may be dropped after.
pub(super) fn close_all_from(first: u32) {
    // SAFETY: numbers only; the caller sleeps for ever then.
    unsafe { libc::syscall(libc::SYS_close_range, first, u32::MAX, 0_u32) };
}

pub(super) fn sleep_for_ever() -> bool {
    loop {
        unistd::pause();
    }
}

/// Whether it becomes true before anybody would call it hanging.
pub(super) fn soon(mut is_so: impl FnMut() -> bool) -> bool {
    let start = Instant::now();
    while !is_so() {
        if start.elapsed() > Duration::from_secs(PATIENCE.into()) {
            return false;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    true
}

/// A path of which nobody else thinks.
pub(super) fn scratch_name(dir: &Path) -> PathBuf {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let next = NEXT.fetch_add(1, Ordering::Relaxed);
    dir.join(format!("outlive-test-os-{}-{next}", std::process::id()))
}

/// Such a path; what stands there is removed at the end.
pub(super) struct Scratch {
    pub(super) path: PathBuf,
}

impl Scratch {
    pub(super) fn in_dir(dir: &Path) -> Self {
        Self { path: scratch_name(dir) }
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}
