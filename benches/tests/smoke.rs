//! Every group runs once, with tiny counts: each measurement checks what it receives, so this tells that the
//! benches work, on any machine. How fast says nothing here.

use std::process::{Command, Output};

fn benches(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_outlive-benches")).args(args).output().expect("the program starts")
}

/// The lines of JSON of one round of a group.
fn one_round(group: &str) -> Vec<String> {
    let output = benches(&[group, "--rounds", "1", "--quick", "--json"]);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{group}: {errors}");
    String::from_utf8(output.stdout).expect("JSON is UTF-8").lines().map(str::to_owned).collect()
}

fn has(lines: &[String], text: &str) -> bool {
    lines.iter().any(|line| line.contains(text))
}

#[test]
fn limits() {
    let lines = one_round("limits");
    for line in &lines {
        for field in [
            "group",
            "case",
            "who",
            "params",
            "unit",
            "median",
            "min",
            "max",
            "rounds",
            "ratio_to",
            "placement",
        ] {
            assert!(line.contains(&format!("\"{field}\":")), "no {field} in {line}");
        }
    }
    for case in ["cache-line round trip", "one-way stream", "CAS pair", "futex round trip"] {
        assert!(has(&lines, &format!("\"case\":\"{case}\"")), "no {case} in {lines:?}");
    }
}

#[test]
fn spsc() {
    let lines = one_round("spsc");
    for who in ["outlive", "reference", "rtrb, threads"] {
        for case in ["round trip", "one at a time", "batch of 64", "batch of 256"] {
            let wanted = format!("\"case\":\"{case}\",\"who\":\"{who}\"");
            assert!(has(&lines, &wanted), "no {wanted} in {lines:?}");
        }
    }
    assert!(has(&lines, "\"case\":\"blocked round trip\""), "{lines:?}");
    assert!(has(&lines, "\"ratio_to\":[{\"to\":\"cache-line round trip"), "{lines:?}");
}

#[test]
fn segment() {
    let lines = one_round("segment");
    for case in ["attach and detach", "create and unlink", "fixed memory"] {
        assert!(has(&lines, &format!("\"case\":\"{case}\",\"who\":\"outlive\"")), "no {case} in {lines:?}");
    }
}

#[test]
fn streams() {
    let lines = one_round("streams");
    for (case, whos) in [
        ("record round trip", &["outlive"][..]),
        ("records one way", &["outlive", "UNIX seqpacket"]),
        ("stream", &["outlive", "pipe", "UNIX stream socket"]),
        ("record of 1 MiB in place", &["outlive, Trusted"]),
        ("file of 2 GiB to /dev/null", &["outlive send, outlive recv", "cat FILE | cat"]),
    ] {
        for who in whos {
            let wanted = format!("\"case\":\"{case}\",\"who\":\"{who}\"");
            assert!(has(&lines, &wanted), "no {wanted} in {lines:?}");
        }
    }
    if cfg!(feature = "peers") {
        assert!(has(&lines, "\"who\":\"ringfire blobs"), "{lines:?}");
    }
}

#[test]
fn a_table_without_json() {
    let output = benches(&["limits", "--rounds", "1", "--quick", "--only", "CAS"]);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{text}");
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 2, "a heading and one case: {text}");
    assert!(lines[0].starts_with("case") && lines[1].starts_with("CAS pair"), "{text}");
}

#[test]
fn the_bars_that_need_no_time() {
    let output = benches(&["bars", "crates"]);
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.contains("crates in a plain build"), "{text}{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn unknown_words_are_refused() {
    let output = benches(&["nothing"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("usage"));
}
