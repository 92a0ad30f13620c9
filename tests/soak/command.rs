//! `outlive soak`: every structure at once, under a ledger.

use std::collections::BTreeMap;
use std::process::{Child, Stdio};
use std::time::Duration;

use nix::unistd::Pid;
use serde_json::Value;

use super::common::process::{self, Random};
use crate::Segment;

#[path = "../common/command.rs"]
mod runs;
use runs::{bounded_by, ends_with, outlive};

fn number(report: &Value, field: &str) -> u64 {
    report[field].as_u64().unwrap_or_else(|| panic!("{field} in {report}"))
}

/// The names of a report's operations, with how often each was done.
fn operations(report: &Value) -> impl Iterator<Item = (&String, u64)> {
    report["by_kind"].as_object().unwrap().iter().map(|(name, n)| (name, n.as_u64().unwrap()))
}

/// All is well, and that after more than nothing.
fn check(report: &Value) {
    for zero in ["lost", "duplicated", "leaked", "blocked", "wrong"] {
        assert_eq!(number(report, zero), 0, "{report}");
    }
    for (what, least) in
        [("operations", 5000), ("kills", 10), ("restarts", 10), ("recovered", 3), ("takeovers", 3)]
    {
        assert!(number(report, what) >= least, "{what} are few: {report}");
    }
    assert!(number(report, "redelivered") > 0, "{report}");
    assert_eq!(operations(report).map(|(_, n)| n).sum::<u64>(), number(report, "operations"));
}

#[test]
fn nothing_is_lost_doubled_or_leaked_and_nobody_is_blocked_while_everybody_is_killed() {
    let mut random = Random::announced("soak");
    let seconds: u32 = std::env::var("OUTLIVE_SOAK_SECONDS").map_or(9, |text| text.parse().unwrap());
    let mut done: BTreeMap<String, u64> = BTreeMap::new();
    for (kind, processes) in [("shm", "8"), ("memfd", "3"), ("file", "8")] {
        let (seed, time) = (random.next() >> 11, (seconds / 3).max(1));
        let (seed_text, time_text) = (seed.to_string(), time.to_string());
        let arguments = ["soak", "--json", "--segment", kind, "--processes", processes];
        let command = outlive(&[&arguments[..], &["--seed", &seed_text, "--seconds", &time_text]].concat());
        let report: Value = serde_json::from_str(&ends_with(0, &bounded_by(command, time + 60))).unwrap();
        process::visibly(&report.to_string());
        check(&report);
        assert_eq!((number(&report, "seed"), report["segment"].as_str()), (seed, Some(kind)));
        for (name, n) in operations(&report) {
            *done.entry(name.clone()).or_default() += n;
        }
    }
    assert!(done.len() > 30 && done.values().all(|&n| n > 0), "what was never done is not tested: {done:?}");
}

/// The kernel objects of a soak that have names.
fn names_of(soak: u32) -> Vec<String> {
    let entries = std::fs::read_dir("/dev/shm").unwrap();
    let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    names.filter(|name| name.starts_with(&format!("outlive-soak-{soak}-"))).collect()
}

fn children_of(soak: u32) -> Vec<Pid> {
    let list = std::fs::read_to_string(format!("/proc/{soak}/task/{soak}/children")).unwrap_or_default();
    list.split_ascii_whitespace().map(|pid| Pid::from_raw(pid.parse().unwrap())).collect()
}

/// Starts one that would take ten minutes, and waits until it is at work.
fn endless() -> Child {
    let arguments = ["soak", "--seconds=600", "--processes=3", "--segment=shm", "--json", "--seed=1"];
    let child = outlive(&arguments).stdout(Stdio::piped()).spawn().unwrap();
    assert!(process::soon(|| !names_of(child.id()).is_empty() && children_of(child.id()).len() == 3));
    child
}

fn signal(child: &Child, signal: process::Signal) {
    nix::sys::signal::kill(Pid::from_raw(i32::try_from(child.id()).unwrap()), signal).unwrap();
}

#[test]
fn a_signal_ends_it_with_a_report_and_nothing_is_left() {
    let child = endless();
    let id = child.id();
    std::thread::sleep(Duration::from_millis(500)); // some work to look at
    signal(&child, process::Signal::SIGINT);
    let output = child.wait_with_output().unwrap();
    let report: Value = serde_json::from_str(&ends_with(130, &output)).unwrap();
    for zero in ["lost", "duplicated", "leaked", "blocked", "wrong"] {
        assert_eq!(number(&report, zero), 0, "{report}");
    }
    assert!(number(&report, "operations") > 0, "{report}");
    assert_eq!(names_of(id), Vec::<String>::new());
}

#[test]
fn killed_itself_its_workers_die_and_the_segments_are_temporary() {
    let mut child = endless();
    let (id, workers) = (child.id(), children_of(child.id()));
    child.kill().unwrap();
    child.wait().unwrap();
    for worker in workers {
        assert!(
            process::soon(|| matches!(process::state_of(worker), None | Some('Z' | 'X'))),
            "{worker} lives on"
        );
    }
    for name in names_of(id) {
        drop(Segment::open(name.as_str())); // as `outlive reap` does
    }
    assert_eq!(names_of(id), Vec::<String>::new());
}

#[test]
fn when_it_cannot_go_on_it_says_so_and_nothing_is_left() {
    let child = endless();
    let id = child.id();
    let few = libc::rlimit { rlim_cur: 4, rlim_max: 4 }; // descriptors: nobody can be started any more
    // SAFETY: a live local, and a process that nobody has waited for.
    let set = unsafe {
        libc::prlimit(i32::try_from(id).unwrap(), libc::RLIMIT_NOFILE, &raw const few, std::ptr::null_mut())
    };
    assert_eq!(set, 0);
    assert_eq!(ends_with(1, &child.wait_with_output().unwrap()), "");
    assert_eq!(names_of(id), Vec::<String>::new());
}

#[test]
fn the_longest_life_and_the_shortest_run() {
    let arguments =
        ["soak", "--seconds=1", "--processes=2", "--segment=memfd", "--kill-every=1e19", "--json"];
    let report: Value = serde_json::from_str(&ends_with(0, &bounded_by(outlive(&arguments), 60))).unwrap();
    assert!(number(&report, "operations") > 0, "{report}");
}

#[test]
fn what_it_cannot_do_is_wrong_usage() {
    for argument in ["--processes=1", "--processes=33", "--seconds=0", "--kill-every=x", "--segment=heap"] {
        assert_eq!(ends_with(2, &bounded_by(outlive(&["soak", argument]), 60)), "", "{argument}");
    }
}
