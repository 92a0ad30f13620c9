//! What is there before the work must be there after it, and nothing else.

use std::path::Path;

use outlive::atomic::AtomicU64;
use outlive::object::Object;
use outlive::ring::stream;
use outlive::{Error, Segment, inspect};

use super::hand::Hand;
use super::process;
use crate::Outcome;

/// More than any segment here has.
const HUGE: usize = 1 << 31;

/// What an empty segment has room for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Room {
    /// How many objects.
    entries: usize,
    /// The longest row of bytes.
    bytes: u64,
}

impl Room {
    /// Fills the directory, and empties it again.
    pub(crate) fn measure(segment: &Segment) -> Outcome<Self> {
        let bytes = match stream::Ring::create(segment, "huge", HUGE) {
            Err(Error::NoSpace { available, .. }) => available,
            Err(error) => return Err(error.into()),
            Ok(_) => return Err("a segment has room for a gigabyte".into()),
        };
        let mut open = Vec::new();
        loop {
            match Object::<AtomicU64>::create(segment, &format!("fill-{}", open.len()), AtomicU64::default) {
                Ok(object) => open.push(object),
                Err(Error::NoSpace { .. }) => break,
                Err(error) => return Err(error.into()),
            }
        }
        for n in 0..open.len() {
            segment.remove(&format!("fill-{n}"))?;
        }
        Ok(Self { entries: open.len(), bytes })
    }
}

/// Removes all objects, when all workers are gone and nothing of ours is open; what stays, or is missing, was leaked.
pub(crate) fn in_segment(segment: &Segment, before: Room, hand: &mut Hand) -> Outcome<()> {
    let report = inspect::check(segment);
    if !report.findings.is_empty() {
        hand.leaked(report.findings.len() as u64, &format_args!("after the last sweep: {report}"));
    }
    for object in segment.objects()? {
        if object.openers > 0 {
            let what = format!(
                "{:?}, {}, is open {} times, and nobody is there",
                object.name, object.kind, object.openers
            );
            hand.leaked(object.openers.into(), &what);
        }
        if !object.name.is_empty() {
            segment.remove(&object.name)?;
        }
    }
    let after = Room::measure(segment)?;
    if after != before {
        let entries = before.entries.saturating_sub(after.entries) as u64;
        hand.leaked(entries.max(1), &format_args!("there was room for {before:?}, and now for {after:?}"));
    }
    Ok(())
}

/// What of the kernel's this process has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Belongings {
    descriptors: usize,
    mappings: usize,
}

impl Belongings {
    pub(crate) fn now(prefix: &str) -> Self {
        Self { descriptors: process::descriptors(), mappings: process::mappings(prefix) }
    }
}

/// The names that are still there; they are not afterwards.
pub(crate) fn names(prefix: &str) -> Vec<String> {
    let mut left = Vec::new();
    for directory in [Path::new("/dev/shm"), &std::env::temp_dir()] {
        for name in process::files(directory, prefix) {
            let path = directory.join(name);
            left.push(path.display().to_string());
            let _ = std::fs::remove_file(path); // it was said
        }
    }
    left
}
