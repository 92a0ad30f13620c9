//! Instructions of a send and a receive in one thread, counted by valgrind: a figure without noise.

use std::env;
use std::io;
use std::process::Command;

use crate::Result;
use crate::harness::Setup;
use crate::stats::float;

/// Instructions a pair, of one by another. `None` where valgrind is not installed.
pub(crate) fn ratio(setup: &Setup, this: &str, that: &str) -> Result<Option<f64>> {
    let Some(ours) = instructions_per_pair(setup, this)? else { return Ok(None) };
    let Some(theirs) = instructions_per_pair(setup, that)? else { return Ok(None) };
    eprintln!("instructions of a send and a receive: {this} {ours:.1}, {that} {theirs:.1}");
    Ok(Some(ours / theirs))
}

/// The difference of two runs, so that start and end do not count.
fn instructions_per_pair(setup: &Setup, who: &str) -> Result<Option<f64>> {
    let few = setup.count(10 << 10);
    let many = 3 * few;
    let Some(at_few) = count(who, few)? else { return Ok(None) };
    let Some(at_many) = count(who, many)? else { return Ok(None) };
    Ok(Some(float(at_many - at_few) / float(many - few)))
}

/// Instructions of `count` pairs, and of everything around them.
fn count(who: &str, count: u64) -> Result<Option<u64>> {
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(env::current_exe()?)
        .args(["count-pairs", who, &count.to_string()])
        .output();
    let output = match output {
        Ok(output) => output,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let text = String::from_utf8_lossy(&output.stderr);
    match collected(&text) {
        Some(collected) if output.status.success() => Ok(Some(collected)),
        _ => Err(format!("valgrind could not run {who}:\n{text}").into()),
    }
}

/// From a line as `==12345== Collected : 1234567`.
fn collected(text: &str) -> Option<u64> {
    let (_, rest) = text.lines().find_map(|line| line.split_once("Collected :"))?;
    rest.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_count_is_found() {
        let text = "==7== Callgrind\n==7== Events    : Ir\n==7== Collected : 424242\n";
        assert_eq!(collected(text), Some(424_242));
        assert_eq!(collected("==7== nothing"), None);
    }
}
