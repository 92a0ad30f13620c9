//! Runs the command, for the tests of what it does.

#![allow(dead_code, unreachable_pub, clippy::unwrap_used, reason = "each test binary uses a part of it")]

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use crate::common::scratch_dir;

pub fn outlive(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_outlive"));
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Runs it to its end, which an alarm of the kernel's sees to.
pub fn run(arguments: &[&str]) -> Output {
    bounded(outlive(arguments))
}

pub fn bounded(command: Command) -> Output {
    bounded_by(command, 60)
}

/// Runs it for so many seconds at most.
pub fn bounded_by(mut command: Command, seconds: u32) -> Output {
    // SAFETY: alarm is async-signal-safe, and what it sets outlives the exec.
    unsafe {
        command.pre_exec(move || {
            nix::unistd::alarm::set(seconds);
            Ok(())
        });
    }
    command.output().unwrap()
}

#[track_caller]
pub fn ends_with(code: i32, output: &Output) -> String {
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{}: {stderr}", output.status);
    assert_eq!(stderr.is_empty(), code == 0, "{stderr}");
    assert!(stderr.lines().all(|line| line.starts_with("outlive: ") || code == 2), "{stderr}");
    String::from_utf8(output.stdout.clone()).unwrap()
}

#[track_caller]
pub fn good(arguments: &[&str]) -> String {
    ends_with(0, &run(arguments))
}

/// A directory of this test, removed at the end.
pub struct Directory(pub PathBuf);

impl Directory {
    pub fn new(label: &str) -> Self {
        let path = scratch_dir().join(format!("outlive-test-{label}-{}", std::process::id()));
        fs::create_dir(&path).unwrap();
        Self(path)
    }

    pub fn path(&self) -> &str {
        self.0.to_str().unwrap()
    }

    /// The address of a file in it.
    pub fn address(&self, name: &str) -> String {
        format!("file:{}", self.0.join(name).display())
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
