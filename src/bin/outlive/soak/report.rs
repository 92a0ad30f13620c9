//! How it went: a table for people, an object for programs, and what is not as it should be.

use core::fmt::Write as _;
use std::collections::BTreeMap;

use serde::Serialize;

/// Serialized, it is what `--json` prints.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    pub(crate) seed: u64,
    pub(crate) segment: &'static str,
    pub(crate) processes: u16,
    /// From the first worker's start to the last one's end.
    pub(crate) seconds: f64,
    /// All together.
    pub(crate) operations: u64,
    pub(crate) by_kind: BTreeMap<String, u64>,
    /// Workers that SIGKILL ended.
    pub(crate) kills: u64,
    /// Workers that were started in place of others.
    pub(crate) restarts: u64,
    /// Dead attachments that somebody swept.
    pub(crate) recovered: u64,
    /// Roles and locks that were taken from the dead.
    pub(crate) takeovers: u64,
    /// What was read again, because it had not been released.
    pub(crate) redelivered: u64,
    pub(crate) lost: u64,
    pub(crate) duplicated: u64,
    pub(crate) leaked: u64,
    /// For more than a second, and nothing kept them.
    pub(crate) blocked: u64,
    pub(crate) longest_block_ms: u64,
    /// Where that was, and what it needed.
    pub(crate) longest_block_at: String,
    /// Everything else that went wrong; what it was is on standard error.
    pub(crate) wrong: u64,
}

impl Report {
    pub(crate) fn is_good(&self) -> bool {
        [self.lost, self.duplicated, self.leaked, self.blocked, self.wrong] == [0; 5]
    }

    pub(crate) fn json(&self) -> serde_json::Result<String> {
        serde_json::to_string(self)
    }

    pub(crate) fn table(&self) -> String {
        let mut rows: Vec<(&str, String)> =
            self.by_kind.iter().map(|(name, n)| (name.as_str(), n.to_string())).collect();
        let blocked =
            format!("{} (longest {} ms, {})", self.blocked, self.longest_block_ms, self.longest_block_at);
        let Self { processes, seconds, segment, seed, .. } = self;
        rows.extend([
            ("operations", format!("{} in {seconds:.1} s", self.operations)),
            ("processes", format!("{processes}, in a segment of kind {segment} (--seed {seed})")),
            ("kills", format!("{} (SIGKILL), {} restarts", self.kills, self.restarts)),
            (
                "recoveries",
                format!(
                    "{} attachments swept, {} takeovers, {} read again",
                    self.recovered, self.takeovers, self.redelivered
                ),
            ),
            ("lost", self.lost.to_string()),
            ("duplicated, unflagged", self.duplicated.to_string()),
            ("leaked", self.leaked.to_string()),
            ("blocked > 1 s", blocked),
        ]);
        if self.wrong > 0 {
            rows.push(("otherwise wrong", self.wrong.to_string()));
        }
        let width = rows.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
        rows.iter().fold(String::new(), |mut table, (name, value)| {
            // A `String` takes everything.
            let _ = writeln!(table, "{name:width$}  {value}");
            table
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn good() -> Report {
        Report {
            seed: 7,
            segment: "shm",
            processes: 8,
            seconds: 1.5,
            operations: 3,
            by_kind: BTreeMap::from([("spsc-send".to_owned(), 3)]),
            kills: 2,
            restarts: 2,
            recovered: 1,
            takeovers: 1,
            redelivered: 1,
            lost: 0,
            duplicated: 0,
            leaked: 0,
            blocked: 0,
            longest_block_ms: 30,
            longest_block_at: "spsc-1: Room".to_owned(),
            wrong: 0,
        }
    }

    #[test]
    fn each_defect_is_one() {
        assert!(good().is_good());
        let defects: [fn(&mut Report); 5] = [
            |report| report.lost = 1,
            |report| report.duplicated = 1,
            |report| report.leaked = 1,
            |report| report.blocked = 1,
            |report| report.wrong = 1,
        ];
        for defect in defects {
            let mut report = good();
            defect(&mut report);
            assert!(!report.is_good(), "{report:?}");
        }
    }

    #[test]
    fn the_table_has_the_four_zeros() {
        let table = good().table();
        for line in ["lost                   0", "duplicated, unflagged  0", "leaked                 0"] {
            assert!(table.lines().any(|found| found == line), "{line} is missing in\n{table}");
        }
        assert!(table.contains("blocked > 1 s          0 (longest 30 ms, spsc-1: Room)"), "{table}");
    }
}
