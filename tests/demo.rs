//! `outlive demo`: a file crosses, both sides are killed, nothing is lost or doubled, and nothing is left behind.
#![cfg(feature = "cli")]
#![expect(clippy::disallowed_methods, reason = "real processes in real time: no model runs them")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

/// So many kills that the demo is busy with them until somebody stops it.
const ENDLESS: &str = "--kills=100000";

fn demo(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_outlive"));
    command.arg("demo").args(arguments).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Runs a demo that must succeed, and gives its object.
fn good(arguments: &[&str]) -> Value {
    let output = demo(arguments).arg("--json").output().expect("the demo starts");
    assert!(output.status.success(), "{}: {}", output.status, stderr(&output));
    assert_eq!(stderr(&output), "", "nothing on standard error: it is no terminal");
    serde_json::from_slice(&output.stdout).expect("one object")
}

/// A file of this test, removed at the end.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        Self(std::env::temp_dir().join(format!("outlive-test-{}-{name}", std::process::id())))
    }

    fn path(&self) -> &str {
        self.0.to_str().expect("UTF-8")
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

/// The segments in shared memory that the demo with this process id has named.
fn left_by(demo: u32) -> Vec<String> {
    let ours = format!("outlive-demo-{demo}-");
    let entries = fs::read_dir("/dev/shm").expect("shared memory");
    let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    names.filter(|name| name.starts_with(&ours)).collect()
}

fn wait_until(what: &str, mut true_at_last: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !true_at_last() {
        assert!(begun.elapsed() < Duration::from_secs(60), "{what}: not within a minute");
        sleep(Duration::from_millis(5));
    }
}

/// Starts a demo that does not end, and waits until it streams.
fn endless() -> Child {
    let child = demo(&["--size=4M", ENDLESS]).spawn().expect("the demo starts");
    wait_until("the segment exists", || !left_by(child.id()).is_empty());
    sleep(Duration::from_millis(300));
    child
}

fn check(object: &Value, kills: u64) {
    let number = |field: &str| object[field].as_u64().unwrap_or_else(|| panic!("{field} in {object}"));
    assert_eq!(number("bytes"), 8 << 20);
    assert!(number("messages") > 0);
    assert!(object["gb_per_s"].as_f64().is_some_and(|speed| speed > 0.0), "{object}");
    assert!(number("p50_ns") <= number("p99_ns"));
    assert_eq!((number("kills"), number("lost"), number("duplicated")), (kills, 0, 0));
    assert_eq!(object["sha256_sent"].as_str().map(str::len), Some(64), "{object}");
    assert_eq!(object["sha256_sent"], object["sha256_received"]);
    let addresses = object["addresses"].as_array().expect("addresses");
    assert_eq!(addresses.len(), 2);
    assert_ne!(addresses[0], addresses[1], "the two processes map the segment at different addresses");
}

#[test]
fn survives_kills_in_shared_memory() {
    let name = format!("outlive-test-{}-demo", std::process::id());
    let object = good(&["--size=8M", "--kills=4", "--on", &format!("shm:{name}")]);
    check(&object, 4);
    assert!(!Path::new("/dev/shm").join(name).exists(), "the segment was left behind");
}

#[test]
fn survives_kills_in_a_file() {
    let file = Scratch::new("segment");
    let object = good(&["--size=8M", "--kills=4", "--on", &format!("file:{}", file.path())]);
    check(&object, 4);
    assert!(!file.0.exists(), "the segment was left behind");
}

#[test]
fn survives_more_kills_than_there_are_messages() {
    let object = good(&["--size=20", "--kills=9"]);
    assert_eq!((object["messages"].as_u64(), object["kills"].as_u64()), (Some(1), Some(9)));
    assert_eq!(object["sha256_sent"], object["sha256_received"]);
}

#[test]
fn the_sum_is_that_of_the_file_and_a_given_seed_is_reported() {
    let file = Scratch::new("source");
    let bytes: Vec<u8> = (0..3_000_017_u32).map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()[3]).collect();
    fs::write(&file.0, &bytes).expect("written");
    let object = good(&[file.path(), "--size=3000017", "--kills=2", "--seed=12345"]);
    let expected = format!("{:x}", Sha256::digest(&bytes));
    assert_eq!(object["sha256_received"], Value::String(expected));
    assert_eq!(object["seed"].as_u64(), Some(12345));
}

#[test]
fn the_table_says_that_all_is_well() {
    let output = demo(&["--size=1M", "--kills=1"]).output().expect("the demo starts");
    assert!(output.status.success(), "{}", stderr(&output));
    let table = String::from_utf8(output.stdout).expect("UTF-8");
    for line in ["kills survived", "messages lost", "messages duplicated", "SHA-256 sent", "SHA-256 received"]
    {
        assert!(table.lines().any(|found| found.starts_with(line)), "{line} is missing in\n{table}");
    }
}

#[test]
fn an_address_that_is_taken_is_refused_and_left_alone() {
    let file = Scratch::new("taken");
    fs::write(&file.0, "precious").expect("written");
    let output =
        demo(&["--size=1M", "--on", &format!("file:{}", file.path())]).output().expect("the demo starts");
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains(file.path()), "{}", stderr(&output));
    assert_eq!(fs::read_to_string(&file.0).expect("still there"), "precious");
}

#[test]
fn what_cannot_be_streamed_is_an_error() {
    for (code, argument) in [(3, "/nowhere/at-all"), (1, "/dev/null"), (1, "--size=0")] {
        let output = demo(&[argument]).output().expect("the demo starts");
        assert_eq!(output.status.code(), Some(code), "{argument}: {}", stderr(&output));
        assert!(stderr(&output).starts_with("outlive: "), "{}", stderr(&output));
    }
}

#[test]
fn gives_up_in_time_and_leaves_nothing() {
    let child = demo(&["--size=4M", ENDLESS, "--timeout=1"]).spawn().expect("the demo starts");
    let id = child.id();
    let output = child.wait_with_output().expect("it ends");
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("--timeout"), "{}", stderr(&output));
    assert_eq!(left_by(id), Vec::<String>::new());
}

#[test]
fn a_signal_stops_it_and_nothing_is_left() {
    for (signal, code) in [(Signal::SIGINT, 130), (Signal::SIGTERM, 143)] {
        let child = endless();
        let id = child.id();
        kill(Pid::from_raw(i32::try_from(id).expect("a pid")), signal).expect("sent");
        let output = child.wait_with_output().expect("it ends");
        assert_eq!(output.status.code(), Some(code), "{}", stderr(&output));
        assert_eq!(left_by(id), Vec::<String>::new());
    }
}

#[test]
fn killed_itself_its_parts_remove_the_segment() {
    // Between two phases there are no parts for a moment; a kill that falls into it leaves the segment.
    let removed = (0..3).any(|_| {
        let mut child = endless();
        let id = child.id();
        child.kill().expect("sent");
        child.wait().expect("it ends");
        let removed = (0..1000).any(|_| {
            sleep(Duration::from_millis(5));
            left_by(id).is_empty()
        });
        for name in left_by(id) {
            let _ = fs::remove_file(Path::new("/dev/shm").join(name));
        }
        removed
    });
    assert!(removed, "three demos were killed, and all left their segment");
}
