//! The bars: what a release has to reach, each with the value of this run.

use std::env;
use std::io;
use std::process::Command;

use crate::Result;
use crate::callgrind;
use crate::case::{Case, Id, Table, measure};
use crate::groups::{limits, segment, spsc, streams};
use crate::harness::Setup;
use crate::report::{aligned, quoted};
use crate::stats::{Summary, figure, float};

/// What a topic can be.
pub(crate) const TOPICS: [&str; 4] = ["spsc", "segment", "streams", "crates"];

#[derive(Clone, Copy, Debug)]
enum Sense {
    AtMost,
    AtLeast,
}

/// Where the value of a bar comes from.
#[derive(Clone, Copy, Debug)]
enum Source {
    /// The median of the ratios of the rounds.
    Ratio(Id, Id),
    /// The same, by a peer that not every build has.
    PeerRatio(Id, Id),
    /// The median of the rounds.
    Value(Id),
    /// Instructions of a send and a receive, ours by rtrb's.
    Instructions,
    /// Crates in a plain build.
    Crates,
}

struct Bar {
    topic: &'static str,
    name: &'static str,
    sense: Sense,
    limit: f64,
    source: Source,
}

/// A bar and what this run makes of it.
pub(crate) struct Row {
    bar: Bar,
    /// `None` if it cannot be measured here.
    value: Option<f64>,
}

impl Row {
    fn met(&self) -> Option<bool> {
        let value = self.value?;
        Some(match self.bar.sense {
            Sense::AtMost => value <= self.bar.limit,
            Sense::AtLeast => value >= self.bar.limit,
        })
    }

    fn verdict(&self) -> &'static str {
        match (self.met(), self.bar.source) {
            (Some(true), _) => "met",
            (Some(false), _) => "missed",
            (None, Source::PeerRatio(..)) => "not measured: needs --features peers",
            (None, _) => "not measured: the tool is not installed",
        }
    }

    fn sign(&self) -> &'static str {
        match self.bar.sense {
            Sense::AtMost => "<=",
            Sense::AtLeast => ">=",
        }
    }
}

fn bar(topic: &'static str, name: &'static str, sense: Sense, limit: f64, source: Source) -> Bar {
    Bar { topic, name, sense, limit, source }
}

fn all() -> Vec<Bar> {
    use Sense::{AtLeast, AtMost};
    let ratio = Source::Ratio;
    let mut bars = vec![
        bar(
            "spsc",
            "round trip of 8 B / cache-line round trip",
            AtMost,
            1.10,
            ratio(spsc::TRIP, limits::LINE_TRIP),
        ),
        bar("spsc", "one at a time, 8 B / rtrb", AtLeast, 1.0, ratio(spsc::SINGLE, spsc::SINGLE_RTRB)),
        bar(
            "spsc",
            "one at a time, 8 B / plain reference ring",
            AtLeast,
            0.95,
            ratio(spsc::SINGLE, spsc::SINGLE_PLAIN),
        ),
        bar(
            "spsc",
            "batch of 64, 8 B, in place / rtrb",
            AtLeast,
            1.0,
            ratio(spsc::BATCH_64, spsc::BATCH_64_RTRB),
        ),
        bar(
            "spsc",
            "batch of 256, 8 B, in place / stream, ring of 8 KiB",
            AtLeast,
            0.8,
            ratio(spsc::BATCH_256, limits::STREAM_8K),
        ),
        bar(
            "spsc",
            "batch of 256, 8 B, in place / stream, ring of 256 KiB",
            AtLeast,
            0.8,
            ratio(spsc::BATCH_256_LARGE, limits::STREAM_256K),
        ),
        bar("spsc", "instructions of a send and a receive / rtrb", AtMost, 1.1, Source::Instructions),
        bar(
            "spsc",
            "blocked round trip / futex round trip",
            AtMost,
            1.1,
            ratio(spsc::BLOCKED, limits::FUTEX_TRIP),
        ),
        bar(
            "segment",
            "attach and detach / open, fstat, mmap, munmap",
            AtMost,
            4.0,
            ratio(segment::ATTACH, segment::ATTACH_PLAIN),
        ),
        bar(
            "segment",
            "bytes of a segment with 64 rows, empty directory",
            AtMost,
            65536.0,
            Source::Value(segment::MEMORY),
        ),
        bar("crates", "crates in a plain build", AtMost, 12.0, Source::Crates),
    ];
    bars.extend(of_streams());
    bars
}

fn of_streams() -> Vec<Bar> {
    use Sense::{AtLeast, AtMost};
    let ratio = Source::Ratio;
    vec![
        bar(
            "streams",
            "file of 2 GiB, send to recv into /dev/null, wall time / cat to cat",
            AtMost,
            0.33,
            ratio(streams::FILE, streams::FILE_CATS),
        ),
        bar(
            "streams",
            "record round trip, 64 B / 8-byte ring",
            AtMost,
            1.5,
            ratio(streams::TRIP_64, spsc::TRIP),
        ),
        bar(
            "streams",
            "record round trip, 1 KiB / 8-byte ring",
            AtMost,
            2.0,
            ratio(streams::TRIP_1K, spsc::TRIP),
        ),
        bar(
            "streams",
            "records of 64 B one way / ringfire blobs",
            AtLeast,
            2.0,
            Source::PeerRatio(streams::RECORDS, streams::RECORDS_BLOBS),
        ),
        bar(
            "streams",
            "records of 64 B one way / UNIX seqpacket",
            AtLeast,
            20.0,
            ratio(streams::RECORDS, streams::RECORDS_PACKETS),
        ),
        bar(
            "streams",
            "stream, 64 KiB writes / pipe",
            AtLeast,
            8.0,
            ratio(streams::STREAM, streams::STREAM_PIPE),
        ),
        bar(
            "streams",
            "stream, 64 KiB writes / UNIX stream socket",
            AtLeast,
            2.0,
            ratio(streams::STREAM, streams::STREAM_SOCKET),
        ),
        bar(
            "streams",
            "record of 1 MiB, Trusted, in place / memcpy",
            AtLeast,
            0.4,
            ratio(streams::IN_PLACE, limits::MEMCPY),
        ),
    ]
}

impl Source {
    fn ids(self) -> Vec<Id> {
        match self {
            Self::Ratio(this, that) | Self::PeerRatio(this, that) => vec![this, that],
            Self::Value(this) => vec![this],
            Self::Instructions | Self::Crates => Vec::new(),
        }
    }
}

/// Each once: the limits stand with what is compared with them.
fn all_cases() -> impl Iterator<Item = Case> {
    let memcpy = limits::cases().into_iter().filter(|case| case.id == limits::MEMCPY);
    spsc::cases().into_iter().chain(segment::cases()).chain(memcpy).chain(streams::cases())
}

/// Measures what the bars of the topic, or all of them, need.
pub(crate) fn check(setup: &Setup, rounds: usize, topic: Option<&str>) -> Result<Vec<Row>> {
    let bars: Vec<Bar> =
        all().into_iter().filter(|bar| topic.is_none_or(|topic| topic == bar.topic)).collect();
    let needed: Vec<Id> = bars.iter().flat_map(|bar| bar.source.ids()).collect();
    let cases: Vec<Case> = all_cases().filter(|case| needed.contains(&case.id)).collect();
    let rounds = if cases.is_empty() { 0 } else { rounds };
    let table = measure(setup, rounds, cases)?;
    bars.into_iter().map(|bar| Ok(Row { value: value(setup, &table, bar.source)?, bar })).collect()
}

fn value(setup: &Setup, table: &Table, source: Source) -> Result<Option<f64>> {
    let median = |summary: Option<Summary>| summary.map(|found| found.median).ok_or("a case is missing");
    let ratio = |this, that| {
        let values = table.values_of(this).zip(table.values_of(that));
        values.and_then(|(these, those)| Summary::of_ratios(these, those))
    };
    Ok(match source {
        Source::PeerRatio(_, that) if table.case(that).is_none() => None,
        Source::Ratio(this, that) | Source::PeerRatio(this, that) => Some(median(ratio(this, that))?),
        Source::Value(this) => Some(median(table.values_of(this).and_then(Summary::of))?),
        Source::Instructions => callgrind::ratio(setup, "outlive", "rtrb")?,
        Source::Crates => crates()?,
    })
}

/// How many crates a user of the library compiles, it and its optional derive not counted.
fn crates() -> Result<Option<f64>> {
    let manifest = concat!(env!("CARGO_MANIFEST_DIR"), "/../Cargo.toml");
    let cargo = env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    let output = Command::new(cargo)
        .args(["tree", "--edges", "normal", "--package", "outlive", "--prefix", "none", "--format", "{p}"])
        .args(["--manifest-path", manifest])
        .output();
    let output = match output {
        Ok(output) => output,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    if !output.status.success() {
        return Err(format!("cargo tree: {}", String::from_utf8_lossy(&output.stderr)).into());
    }
    Ok(Some(float(count_crates(&String::from_utf8_lossy(&output.stdout)))))
}

/// Lines as `name v1.2.3 (*)`: two versions of one crate count twice, repetitions do not.
fn count_crates(tree: &str) -> u64 {
    let mut found: Vec<(&str, &str)> = tree
        .lines()
        .filter_map(|line| {
            let mut words = line.split_whitespace();
            Some((words.next()?, words.next()?))
        })
        .filter(|(name, _)| !matches!(*name, "outlive" | "outlive-derive"))
        .collect();
    found.sort_unstable();
    found.dedup();
    found.len().try_into().expect("64 bits hold every length")
}

/// Whether the run fails.
pub(crate) fn missed(rows: &[Row]) -> bool {
    rows.iter().any(|row| row.met() == Some(false))
}

pub(crate) fn human(rows: &[Row]) -> Vec<String> {
    let mut lines = vec![["topic", "bar", "value", "wanted", "verdict"].map(str::to_owned).to_vec()];
    for row in rows {
        lines.push(vec![
            row.bar.topic.to_owned(),
            row.bar.name.to_owned(),
            row.value.map_or("-".to_owned(), figure),
            format!("{} {}", row.sign(), row.bar.limit),
            row.verdict().to_owned(),
        ]);
    }
    aligned(&lines)
}

pub(crate) fn json(rows: &[Row]) -> Vec<String> {
    let line = |row: &Row| {
        let value = row.value.map_or("null".to_owned(), |value| format!("{value:.4}"));
        format!(
            "{{\"topic\":{},\"bar\":{},\"value\":{value},\"wanted\":{},\"verdict\":{}}}",
            quoted(row.bar.topic),
            quoted(row.bar.name),
            quoted(&format!("{} {}", row.sign(), row.bar.limit)),
            quoted(row.verdict()),
        )
    };
    rows.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(sense: Sense, limit: f64, value: Option<f64>) -> Row {
        Row { bar: Bar { topic: "spsc", name: "it", sense, limit, source: Source::Crates }, value }
    }

    #[test]
    fn a_bar_is_met_on_its_line() {
        assert_eq!(row(Sense::AtMost, 1.1, Some(1.1)).verdict(), "met");
        assert_eq!(row(Sense::AtMost, 1.1, Some(1.11)).verdict(), "missed");
        assert_eq!(row(Sense::AtLeast, 0.8, Some(0.8)).verdict(), "met");
        assert_eq!(row(Sense::AtLeast, 0.8, Some(0.79)).verdict(), "missed");
    }

    #[test]
    fn what_was_not_measured_is_not_missed() {
        let rows = [row(Sense::AtMost, 1.0, None), row(Sense::AtMost, 1.0, Some(0.5))];
        assert!(!missed(&rows));
        assert!(human(&rows)[1].contains("not measured"), "{:?}", human(&rows));
        assert!(missed(&[row(Sense::AtMost, 1.0, Some(1.5))]));
    }

    #[test]
    fn each_bar_has_its_cases() {
        let cases: Vec<Id> = all_cases().map(|case| case.id).collect();
        for bar in all() {
            assert!(TOPICS.contains(&bar.topic), "{}", bar.topic);
            let wanted = match bar.source {
                Source::PeerRatio(this, _) if cfg!(not(feature = "peers")) => vec![this],
                source => source.ids(),
            };
            for id in wanted {
                assert_eq!(cases.iter().filter(|case| **case == id).count(), 1, "{}: {id}", bar.name);
            }
        }
    }

    #[test]
    fn crates_are_counted_once() {
        let tree = "outlive v0.1.0 (/x)\nlibc v0.2.1\nnix v0.30.1\nlibc v0.2.1 (*)\noutlive-derive v0.1.0 (proc-macro)\nsyn v1.0\nsyn v2.0\n";
        assert_eq!(count_crates(tree), 4);
    }
}
