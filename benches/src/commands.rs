//! Whole programs: a file through `outlive send` and `outlive recv`, and through two `cat`s and a pipe.

use std::cell::OnceCell;
use std::env;
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::fd::AsRawFd;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{self, Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::Signal;

use crate::Result;
use crate::cpu;
use crate::harness::{Mode, Setup, run};

/// Bytes of the file.
const SIZE: u64 = 2 << 30;

/// The file, in the page cache because it has just been written, and the command. Both are made when they are first
/// needed. The file has no name any more, so that it is gone when this process is, however it ends.
#[derive(Default)]
pub(crate) struct Programs {
    file: OnceCell<File>,
    outlive: OnceCell<PathBuf>,
}

impl Programs {
    fn file(&self, setup: &Setup) -> Result<PathBuf> {
        if self.file.get().is_none() {
            self.file.set(scratch(setup.count(SIZE))?).expect("this is the only thread");
        }
        let fd = self.file.get().expect("just set").as_raw_fd();
        Ok(format!("/proc/{}/fd/{fd}", process::id()).into())
    }

    fn outlive(&self, setup: &Setup) -> Result<&Path> {
        if self.outlive.get().is_none() {
            self.outlive.set(find(setup)?).expect("this is the only thread");
        }
        Ok(self.outlive.get().expect("just set"))
    }

    /// Nanoseconds of `cat FILE | cat > /dev/null`.
    pub(crate) fn cats(&self, setup: &Setup) -> Result<f64> {
        let file = self.file(setup)?;
        wall_time(setup, &|start| {
            let mut first = start(0, Command::new("cat").arg(&file).stdout(Stdio::piped()));
            let pipe = first.stdout.take().expect("it was asked for");
            let second = start(1, Command::new("cat").stdin(pipe).stdout(Stdio::null()));
            [first, second]
        })
    }

    /// Nanoseconds of `outlive send NAME FILE` beside `outlive recv NAME > /dev/null`.
    pub(crate) fn ours(&self, setup: &Setup) -> Result<f64> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let file = self.file(setup)?;
        let outlive = self.outlive(setup)?;
        let name = format!("shm:outlive-bench-{}-{}", process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        wall_time(setup, &|start| {
            let first = start(0, Command::new(outlive).arg("send").arg(&name).arg(&file));
            let second = start(1, Command::new(outlive).args(["recv", "--rm", &name]).stdout(Stdio::null()));
            [first, second]
        })
    }
}

/// Starts a program on the core of that index.
type Start<'a> = &'a dyn Fn(usize, &mut Command) -> Child;

/// From before the first of two programs starts until both have ended well.
fn wall_time(setup: &Setup, programs: &(dyn Fn(Start<'_>) -> [Child; 2] + Sync)) -> Result<f64> {
    let start = |index: usize, command: &mut Command| {
        cpu::pin(setup.cores[index]).expect("a processor that we may use");
        // SAFETY: the call after the fork is one system call and allocates nothing.
        unsafe { command.pre_exec(|| Ok(set_pdeathsig(Signal::SIGKILL)?)) };
        command.spawn().expect("the program is there")
    };
    let outcome = run(
        setup,
        Mode::Processes,
        &[&|side| {
            side.timed_asleep(|| {
                for mut child in programs(&start) {
                    let status = child.wait().expect("our own child");
                    assert!(status.success(), "a program failed: {status}");
                }
            });
        }],
    )?;
    Ok(outcome.elapsed())
}

/// A file without a name, where temporary files are.
fn scratch(size: u64) -> Result<File> {
    let path = env::temp_dir().join(format!("outlive-bench-{}", process::id()));
    let mut file = File::options().read(true).write(true).create_new(true).open(&path)?;
    fs::remove_file(&path)?;
    // Not zeros only: nothing on the way may find a hole.
    let block: Vec<u8> = (0..=250).cycle().take(1 << 20).collect();
    let mut left = usize::try_from(size)?;
    while left > 0 {
        let written = left.min(block.len());
        file.write_all(&block[..written])?;
        left -= written;
    }
    // Written back now, and not while it is read.
    file.sync_all()?;
    Ok(file)
}

/// The command: what `OUTLIVE_BIN` says, or the one beside this program, which is brought up to date where there is
/// a cargo to do it.
fn find(setup: &Setup) -> Result<PathBuf> {
    if let Some(path) = env::var_os("OUTLIVE_BIN") {
        return Ok(path.into());
    }
    let this = env::current_exe()?;
    let folder = this.parent().ok_or("a program lies in a folder")?;
    let target = folder.parent().ok_or("which lies in another")?;
    let beside = target.join(if setup.quick { "debug" } else { "release" }).join("outlive");
    if setup.quick && beside.is_file() {
        return Ok(beside); // how old it is does not matter where nothing is measured
    }
    let mut cargo = Command::new(env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned()));
    cargo.args(["build", "--package", "outlive", "--bin", "outlive", "--features", "cli"]);
    cargo.args(["--manifest-path", concat!(env!("CARGO_MANIFEST_DIR"), "/../Cargo.toml")]);
    cargo.arg("--target-dir").arg(target);
    if !setup.quick {
        cargo.arg("--release");
    }
    match cargo.output() {
        Ok(output) if output.status.success() => {}
        Ok(output) => return Err(format!("cargo build: {}", String::from_utf8_lossy(&output.stderr)).into()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error.into()),
    }
    if beside.is_file() { Ok(beside) } else { Err(format!("there is no {}", beside.display()).into()) }
}
