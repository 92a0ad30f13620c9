//! Child processes: told what to do, heard with a limit, killed by their own pid, never left behind.
//!
//! A child is this very test binary once more, running the one test `child_entry`, which plays the role that the
//! environment names. It says lines that begin with `@`, on its standard output, and hears lines on its standard input.
//! Whatever happens, an alarm ends it.

#![allow(clippy::disallowed_methods, reason = "real processes in real time: no model runs them")]

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::FileExt;
use std::os::unix::process::ExitStatusExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::sys::ptrace;
use nix::sys::signal;
pub use nix::sys::signal::Signal;
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid, waitpid};
use nix::unistd::{self, ForkResult, Pid};

/// After this long anything here has hung.
pub const PATIENCE: Duration = Duration::from_secs(60);

const ROLE: &str = "OUTLIVE_CHILD";
const ARGS: &str = "OUTLIVE_CHILD_ARGS";
const SEPARATOR: char = '\u{1f}';

/// What a child can play.
pub type Role<'a> = (&'a str, fn(&[String]));

/// The body of `child_entry`: returns at once unless this process is somebody's child.
pub fn as_child(roles: &[Role<'_>]) {
    let Ok(name) = std::env::var(ROLE) else { return };
    unistd::alarm::set(2 * u32::try_from(PATIENCE.as_secs()).unwrap());
    let args = std::env::var(ARGS).unwrap_or_default();
    let args: Vec<String> = args.split(SEPARATOR).map(str::to_owned).collect();
    let (_, play) = roles.iter().find(|(role, _)| *role == name).unwrap_or_else(|| panic!("no role {name}"));
    leave(|| play(&args));
}

/// Does the work, and ends this process without running anything else; a panic is exit status 1.
pub fn leave(work: impl FnOnce()) -> ! {
    let panicked = catch_unwind(AssertUnwindSafe(work)).is_err();
    // SAFETY: never returns; what would run at exit is not ours, or our parent's.
    unsafe { nix::libc::_exit(i32::from(panicked)) }
}

/// From the child to whoever started it: one line, written at once.
pub fn say(what: &str) {
    unistd::write(std::io::stdout(), format!("\n@{what}\n").as_bytes()).unwrap();
}

/// What the parent told; a child that is told nothing more ends.
pub fn hear() -> String {
    let mut line = String::new();
    if std::io::stdin().read_line(&mut line).unwrap() == 0 {
        leave(|| ());
    }
    line.trim().to_owned()
}

/// Until killed, by somebody or by the alarm.
pub fn sleep_for_ever() -> ! {
    loop {
        unistd::pause();
    }
}

/// The same, and keeps this.
pub fn sleep_for_ever_with<T>(_kept: T) -> ! {
    sleep_for_ever()
}

/// A child, or the child of a tool that prepares its world. Killed and reaped when dropped.
#[derive(Debug)]
pub struct Child {
    process: std::process::Child,
    told: std::process::ChildStdin,
    heard: mpsc::Receiver<String>,
}

impl Child {
    /// Starts one.
    pub fn start(role: &str, args: &[&str]) -> Self {
        Self::start_by(&[], role, args)
    }

    /// Starts one in a pid namespace of its own. `None`, and a visible word, where that is not allowed.
    pub fn start_in_a_pid_namespace(role: &str, args: &[&str]) -> Option<Self> {
        Self::start_in("pid namespace", &["--pid", "--fork", "--kill-child"], &[], role, args)
    }

    /// Starts one that finds no shared memory of others, POSIX or System V. `None`, and a visible word, where that is
    /// not allowed.
    pub fn start_with_memory_of_its_own(role: &str, args: &[&str]) -> Option<Self> {
        let mounted = ["sh", "-c", r#"mount -t tmpfs tmpfs /dev/shm && exec "$0" "$@""#];
        Self::start_in("ipc and mount namespace", &["--ipc", "--mount"], &mounted, role, args)
    }

    fn start_in(what: &str, namespaces: &[&str], then: &[&str], role: &str, args: &[&str]) -> Option<Self> {
        for user in [&[][..], &["--user", "--map-root-user"]] {
            let tool = [&["unshare"], user, namespaces, then].concat();
            let mut probe = Command::new(tool[0]);
            probe
                .args(&tool[1..])
                .arg("true")
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::null());
            if probe.status().is_ok_and(|status| status.success()) {
                return Some(Self::start_by(&tool, role, args));
            }
        }
        visibly(&format!("NOT TESTED: no new {what} is allowed here"));
        None
    }

    fn start_by(tool: &[&str], role: &str, args: &[&str]) -> Self {
        let this = std::env::current_exe().unwrap();
        let mut command = match tool.split_first() {
            Some((program, rest)) => {
                let mut command = Command::new(program);
                command.args(rest).arg(this);
                command
            }
            None => Command::new(this),
        };
        command.args(["--exact", "child_entry", "--nocapture", "--test-threads=1"]);
        command.env(ROLE, role).env(ARGS, args.join(&SEPARATOR.to_string()));
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = command.spawn().unwrap();
        let told = process.stdin.take().unwrap();
        let words = BufReader::new(process.stdout.take().unwrap());
        let (listener, heard) = mpsc::channel();
        std::thread::spawn(move || {
            for line in words.lines().map_while(Result::ok) {
                let Some(word) = line.strip_prefix('@') else { continue };
                if listener.send(word.to_owned()).is_err() {
                    break;
                }
            }
        });
        Self { process, told, heard }
    }

    /// The process that was started (the tool, if there is one).
    pub fn pid(&self) -> Pid {
        Pid::from_raw(i32::try_from(self.process.id()).unwrap())
    }

    /// The same, as `Attachment` has it.
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    pub fn tell(&mut self, what: &str) {
        writeln!(self.told, "{what}").unwrap();
    }

    /// The next thing that it says.
    pub fn hear(&self) -> String {
        self.hear_within(PATIENCE)
    }

    pub fn hear_within(&self, patience: Duration) -> String {
        match self.heard.recv_timeout(patience) {
            Ok(word) => word,
            Err(why) => panic!("child {} said nothing: {why}", self.id()),
        }
    }

    /// The next thing that it says is `what`, and this.
    pub fn expect(&self, what: &str) -> String {
        let word = self.hear();
        let rest = word.strip_prefix(what);
        rest.unwrap_or_else(|| panic!("expected `{what}`, heard `{word}`")).trim().to_owned()
    }

    /// What it has said and nobody has heard.
    pub fn overheard(&self) -> Option<String> {
        self.heard.try_recv().ok()
    }

    pub fn signal(&self, signal: Signal) {
        signal::kill(self.pid(), signal).unwrap();
    }

    /// SIGKILL; nothing of it is left.
    pub fn kill(&mut self) {
        let _ = signal::kill(self.pid(), Signal::SIGKILL);
        let status = self.wait();
        assert!(status.signal() == Some(9) || status.code().is_some(), "{status}");
    }

    /// SIGKILL; dead, but not waited for.
    pub fn make_zombie(&self) {
        self.signal(Signal::SIGKILL);
        let left = WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT;
        assert!(soon(|| {
            let status = waitid(Id::Pid(self.pid()), left | WaitPidFlag::WNOHANG).unwrap();
            !matches!(status, WaitStatus::StillAlive)
        }));
    }

    /// SIGSTOP; it does nothing any more, and lives.
    pub fn stop(&self) {
        self.signal(Signal::SIGSTOP);
        assert!(soon(|| state_of(self.pid()) == Some('T')));
    }

    /// Its end, by whatever it is.
    pub fn wait(&mut self) -> ExitStatus {
        let mut status = None;
        assert!(
            soon(|| {
                status = self.process.try_wait().unwrap();
                status.is_some()
            }),
            "child {} does not end",
            self.process.id()
        );
        status.unwrap()
    }

    /// It ends by itself, and content.
    pub fn succeeds(&mut self) {
        let status = self.wait();
        assert!(status.success(), "child {}: {status}", self.id());
    }

    /// Lets a child that [is traced](be_traced) go on, and kills it at its `n`-th stop at the beginning or end of a
    /// system call of that thread. `false`: it had [finished](end_of_trace) before.
    pub fn kill_at_system_call(&mut self, n: usize) -> bool {
        let mut stops = 0;
        self.kill_when(ptrace::syscall, |status| {
            stops += usize::from(matches!(status, WaitStatus::PtraceSyscall(_)));
            stops == n
        })
    }

    /// Lets a child that [is traced](be_traced) go on, and calls `look` at each of its stops at the beginning or end of a
    /// system call. When it has [finished](end_of_trace), it is killed.
    pub fn at_each_system_call(&mut self, mut look: impl FnMut()) {
        self.kill_when(ptrace::syscall, |status| {
            if matches!(status, WaitStatus::PtraceSyscall(_)) {
                look();
            }
            false
        });
    }

    /// Every state through which a file goes while a child that [is traced](be_traced) works on it: the first one, and
    /// one for each instruction that has changed a byte. Then the child is killed.
    ///
    /// To find such a state in a segment is to have its process killed right there.
    pub fn states_of(mut self, path: &Path) -> Vec<Vec<u8>> {
        let file = File::open(path).unwrap();
        let mut now = vec![0; usize::try_from(file.metadata().unwrap().len()).unwrap()];
        file.read_exact_at(&mut now, 0).unwrap();
        let mut states = vec![now.clone()];
        self.kill_when(ptrace::step, |_| {
            file.read_exact_at(&mut now, 0).unwrap();
            if states.last() != Some(&now) {
                states.push(now.clone());
            }
            false
        });
        states
    }

    /// Works between the instructions of a child that [is traced](be_traced), until it has [finished](end_of_trace). Then
    /// the child is killed.
    pub fn between_its_steps(&mut self, mut work: impl FnMut()) {
        let killed = self.kill_when(ptrace::step, |_| {
            work();
            false
        });
        assert!(!killed);
    }

    fn kill_when(
        &mut self,
        proceed: fn(Pid, Option<Signal>) -> nix::Result<()>,
        mut is_time: impl FnMut(WaitStatus) -> bool,
    ) -> bool {
        stay_on_one_processor();
        let thread = Pid::from_raw(self.expect("traced").parse().unwrap());
        let options = ptrace::Options::PTRACE_O_TRACESYSGOOD | ptrace::Options::PTRACE_O_EXITKILL;
        ptrace::seize(thread, options).expect("these tests trace their children: ptrace must be allowed");
        ptrace::interrupt(thread).unwrap();
        self.tell("go");
        let start = Instant::now();
        // The alarm of the child ends this at the latest.
        let (status, killed) = loop {
            let status = waitpid(thread, Some(WaitPidFlag::__WALL)).unwrap();
            let is_over = matches!(
                status,
                WaitStatus::Exited(..) | WaitStatus::Signaled(..) | WaitStatus::Stopped(_, Signal::SIGSTOP)
            );
            let killed = !is_over && is_time(status);
            if is_over || killed || start.elapsed() > PATIENCE {
                break (status, killed);
            }
            let _ = proceed(thread, None); // it may have been killed meanwhile
        };
        if status.pid() == Some(thread)
            && !matches!(status, WaitStatus::Exited(..) | WaitStatus::Signaled(..))
        {
            self.signal(Signal::SIGKILL);
            let _ = waitpid(thread, Some(WaitPidFlag::__WALL));
        }
        assert!(soon(|| !matches!(self.process.try_wait(), Ok(None)))); // the first thread may have been waited for above
        let finished = matches!(status, WaitStatus::Stopped(_, Signal::SIGSTOP));
        assert!(killed || finished, "a traced child came to no end, or to one of its own: {status:?}");
        killed
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        if matches!(self.process.try_wait(), Ok(None)) {
            let _ = self.process.kill();
            let _ = self.process.wait();
        }
    }
}

/// In a child that will be traced: call it right before what is to be interrupted.
pub fn be_traced() {
    stay_on_one_processor();
    panic_without_backtrace();
    say(&format!("traced {}", unistd::gettid()));
    assert_eq!(hear(), "go");
}

/// The same in a process that was forked, for the one that forked it: see `Forked::kill_at_system_call`.
pub fn stop_to_be_traced() {
    stay_on_one_processor();
    panic_without_backtrace();
    ptrace::traceme().expect("these tests trace their children: ptrace must be allowed");
    end_of_trace();
}

/// The traced child is done: from here on nothing is looked at.
pub fn end_of_trace() {
    signal::raise(Signal::SIGSTOP).unwrap();
}

/// A backtrace, step by step, would never come to an end.
fn panic_without_backtrace() {
    std::panic::set_hook(Box::new(|what| {
        let _ = writeln!(std::io::stderr(), "{what}");
        std::process::abort()
    }));
}

/// Tracer and traced take turns: on one processor nobody has to be woken elsewhere.
fn stay_on_one_processor() {
    let this = Pid::from_raw(0);
    let allowed = sched_getaffinity(this).unwrap();
    let first = (0..CpuSet::count()).find(|&cpu| allowed.is_set(cpu) == Ok(true));
    let mut one = CpuSet::new();
    one.set(first.unwrap()).unwrap();
    let _ = sched_setaffinity(this, &one); // or it is slow
}

/// A process that was forked here. Killed and reaped when dropped.
#[derive(Debug)]
pub struct Forked {
    pid: Pid,
    reaped: bool,
}

/// Forks: `None` in the child, which has an alarm, and must not return: see [`leave`].
///
/// For processes with one thread that runs; children that were started here are such.
pub fn fork() -> Option<Forked> {
    // SAFETY: the other threads of a child hold no lock that the forked one would want: they wait for this one.
    match unsafe { unistd::fork() }.unwrap() {
        ForkResult::Child => {
            unistd::alarm::set(u32::try_from(PATIENCE.as_secs()).unwrap());
            panic_without_backtrace(); // outside of `leave` it would end the only thread, and so the process: content
            None
        }
        ForkResult::Parent { child } => Some(Forked { pid: child, reaped: false }),
    }
}

impl Forked {
    pub fn pid(&self) -> Pid {
        self.pid
    }

    /// It ends by itself, and content.
    pub fn succeeds(mut self) {
        let mut status = WaitStatus::StillAlive;
        let ended = soon(|| {
            status = waitpid(self.pid, Some(WaitPidFlag::WNOHANG)).unwrap();
            status != WaitStatus::StillAlive
        });
        assert!(ended, "a forked process does not end");
        self.reaped = true;
        assert_eq!(status, WaitStatus::Exited(self.pid, 0));
    }

    pub fn signal(&self, signal: Signal) {
        signal::kill(self.pid, signal).unwrap();
    }

    pub fn kill(mut self) {
        self.end();
    }

    /// It was killed, and by nobody else: a panic would be an exit.
    pub fn was_killed(mut self) {
        self.reaped = true;
        assert_eq!(waitpid(self.pid, None).unwrap(), WaitStatus::Signaled(self.pid, Signal::SIGKILL, false));
    }

    /// Lets a forked process that [stopped to be traced](stop_to_be_traced) go on, and kills it at its `n`-th stop at the
    /// beginning or end of a system call. `false`: it had [finished](end_of_trace) before.
    ///
    /// For the thread that forked it.
    pub fn kill_at_system_call(mut self, n: usize) -> bool {
        let stopped = WaitStatus::Stopped(self.pid, Signal::SIGSTOP);
        assert_eq!(waitpid(self.pid, None).unwrap(), stopped, "it has not stopped to be traced");
        let options = ptrace::Options::PTRACE_O_TRACESYSGOOD | ptrace::Options::PTRACE_O_EXITKILL;
        ptrace::setoptions(self.pid, options).unwrap();
        let mut stops = 0;
        loop {
            ptrace::syscall(self.pid, None).unwrap();
            // Its alarm ends this at the latest.
            let status = waitpid(self.pid, None).unwrap();
            stops += usize::from(matches!(status, WaitStatus::PtraceSyscall(_)));
            if stops == n || status == stopped {
                self.end();
                return status != stopped;
            }
            let goes_on = matches!(status, WaitStatus::PtraceSyscall(_));
            self.reaped = matches!(status, WaitStatus::Exited(..) | WaitStatus::Signaled(..));
            assert!(goes_on, "a traced process came to an end of its own: {status:?}");
        }
    }

    /// Left to itself and its alarm.
    pub fn abandon(mut self) -> Pid {
        self.reaped = true;
        self.pid
    }

    fn end(&mut self) {
        if !self.reaped {
            self.reaped = true;
            let _ = signal::kill(self.pid, Signal::SIGKILL);
            let _ = waitpid(self.pid, None);
        }
    }
}

impl Drop for Forked {
    fn drop(&mut self) {
        self.end();
    }
}

/// A process that a child of ours left behind: we know its pid only. Killed when dropped.
#[derive(Debug)]
pub struct Stranger(Pid);

impl Stranger {
    /// Before the child that leaves it behind is started.
    pub fn adopt_orphans() {
        nix::sys::prctl::set_child_subreaper(true).unwrap();
    }

    pub fn new(pid: &str) -> Self {
        Self(Pid::from_raw(pid.parse().unwrap()))
    }

    pub fn lives(&self) -> bool {
        state_of(self.0).is_some_and(|state| state != 'Z' && state != 'X')
    }
}

impl Drop for Stranger {
    fn drop(&mut self) {
        if signal::kill(self.0, Signal::SIGKILL).is_ok() {
            let _ =
                soon(|| !matches!(waitpid(self.0, Some(WaitPidFlag::WNOHANG)), Ok(WaitStatus::StillAlive)));
        }
    }
}

/// `R`, `S`, `T`, `Z` ... `None`: there is no such process.
pub fn state_of(pid: Pid) -> Option<char> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit(") ").next()?.chars().next()
}

/// Whether it becomes true before anybody would call it hanging.
pub fn soon(mut is_so: impl FnMut() -> bool) -> bool {
    let start = Instant::now();
    while !is_so() {
        if start.elapsed() > PATIENCE {
            return false;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    true
}

/// For what a reader of the log must not miss, whether output is captured or not.
pub fn visibly(what: &str) {
    let _ = writeln!(std::io::stderr(), "\n*** {what} ***");
}

/// Numbers that look random and come again with the same seed: `SplitMix64`.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// From `OUTLIVE_SEED`, or another one each time; it is said aloud.
    pub fn announced(what: &str) -> Self {
        let given = std::env::var("OUTLIVE_SEED").ok().and_then(|seed| seed.parse().ok());
        let now = || std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
        let seed = given.unwrap_or_else(|| u64::try_from(now().as_nanos() % (1 << 48)).unwrap());
        visibly(&format!("{what}: OUTLIVE_SEED={seed}"));
        Self(seed)
    }

    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let bits = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^ (bits >> 31)
    }

    /// From 0 to `end`, without `end`.
    pub fn below(&mut self, end: u64) -> u64 {
        self.next() % end.max(1)
    }

    /// One of `out_of` times.
    pub fn once_in(&mut self, out_of: u64) -> bool {
        self.below(out_of) == 0
    }
}
