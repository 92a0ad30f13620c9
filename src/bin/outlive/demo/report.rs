//! What the demo found: a table for people, an object for programs, and what is not as it should be.

use core::fmt::{self, Write as _};
use core::time::Duration;
use std::io;

use serde::Serialize;
use sha2::{Digest as _, Sha256};

use super::ledger::Account;
use crate::size;

/// Everything that was measured. Serialized, it is what `--json` prints.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    pub(crate) bytes: u64,
    pub(crate) messages: u64,
    pub(crate) gb_per_s: f64,
    #[serde(flatten)]
    pub(crate) latency: Latency,
    /// Parts that SIGKILL ended in the middle of the stream.
    pub(crate) kills: u32,
    #[serde(flatten)]
    pub(crate) account: Account,
    pub(crate) sha256_sent: String,
    pub(crate) sha256_received: String,
    /// Of the sender's and of the receiver's mapping, at the end.
    #[serde(serialize_with = "in_hexadecimal")]
    pub(crate) addresses: [u64; 2],
    pub(crate) seed: u64,
    pub(crate) on: String,
    /// For the table only.
    #[serde(skip)]
    pub(crate) told: Told,
}

/// What the table says besides.
#[derive(Debug)]
pub(crate) struct Told {
    /// The streamed file, as it was named.
    pub(crate) file: String,
    /// Its own length: less than `bytes` if it was repeated.
    pub(crate) file_bytes: u64,
    /// From the first sender's start to the last receiver's end.
    pub(crate) took: Duration,
    /// How many kills were asked for.
    pub(crate) kills_wanted: u32,
}

/// One way, in nanoseconds.
#[derive(Clone, Copy, Debug, Serialize, serde::Deserialize)]
pub(crate) struct Latency {
    #[serde(rename = "p50_ns")]
    pub(crate) p50: u64,
    #[serde(rename = "p99_ns")]
    pub(crate) p99: u64,
    #[serde(rename = "p999_ns")]
    pub(crate) p999: u64,
}

impl Report {
    /// What is not as promised; empty if all is well.
    pub(crate) fn failures(&self) -> Vec<String> {
        let mut failures = Vec::new();
        if self.account.lost > 0 {
            failures.push(format!("{} of {} messages were lost", self.account.lost, self.messages));
        }
        if self.account.duplicated > 0 {
            failures.push(format!("{} messages were consumed twice", self.account.duplicated));
        }
        if self.sha256_sent != self.sha256_received {
            failures.push("what was received is not what was sent: the SHA-256 sums differ".to_owned());
        }
        if self.kills < self.told.kills_wanted {
            failures.push(format!("{} kills of {} hit a living process", self.kills, self.told.kills_wanted));
        }
        if self.addresses[0] == self.addresses[1] {
            failures.push("both processes mapped the segment at the same address".to_owned());
        }
        failures
    }

    /// The object that `--json` prints.
    pub(crate) fn json(&self) -> serde_json::Result<String> {
        serde_json::to_string(self)
    }

    /// The table.
    pub(crate) fn table(&self) -> String {
        let Told { file, file_bytes, took, .. } = &self.told;
        let size = |bytes| format!("{bytes} ({})", size::show(bytes));
        let repeated = match self.bytes {
            bytes if bytes > *file_bytes => format!(", repeated: it has {}", size::show(*file_bytes)),
            bytes if bytes < *file_bytes => format!(", the beginning: it has {}", size::show(*file_bytes)),
            _ => String::new(),
        };
        let Latency { p50, p99, p999 } = self.latency;
        let rows = [
            ("file", format!("{file}{repeated}")),
            ("segment", self.on.clone()),
            ("address, sender", format!("{:#x}", self.addresses[0])),
            ("address, receiver", format!("{:#x}", self.addresses[1])),
            ("bytes", size(self.bytes)),
            ("messages", self.messages.to_string()),
            ("GB/s, takeovers included", format!("{:.2} (in {:.2} s)", self.gb_per_s, took.as_secs_f64())),
            ("latency, one way, unloaded", format!("p50 {p50} ns, p99 {p99} ns, p99.9 {p999} ns")),
            ("kills survived", format!("{} (SIGKILL; --seed {})", self.kills, self.seed)),
            ("messages lost", self.account.lost.to_string()),
            ("messages duplicated", self.account.duplicated.to_string()),
            ("SHA-256 sent", self.sha256_sent.clone()),
            ("SHA-256 received", self.sha256_received.clone()),
        ];
        let width = rows.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
        rows.iter().fold(String::new(), |mut table, (name, value)| {
            // A `String` takes everything.
            let _ = writeln!(table, "{name:width$}  {value}");
            table
        })
    }
}

fn in_hexadecimal<S: serde::Serializer>(addresses: &[u64; 2], serializer: S) -> Result<S::Ok, S::Error> {
    addresses.map(|address| format!("{address:#x}")).serialize(serializer)
}

/// Billions of bytes a second, to six digits.
pub(crate) fn gb_per_s(bytes: u64, took: Duration) -> f64 {
    let kb_per_s = u128::from(bytes) * 1000 / took.as_micros().max(1);
    f64::from(u32::try_from(kb_per_s).unwrap_or(u32::MAX)) / 1e6
}

/// The SHA-256 of `size` bytes that come in pieces, each filled by `read` from its position; `between` may call it off.
pub(crate) fn sha256<E: From<io::Error>>(
    size: u64,
    mut read: impl FnMut(&mut [u8], u64) -> io::Result<()>,
    mut between: impl FnMut(u64) -> Result<(), E>,
) -> Result<String, E> {
    let mut hasher = Sha256::new();
    let mut piece = vec![0; 1 << 20];
    let mut at = 0;
    while at < size {
        between(at)?;
        let length = usize::try_from(size - at).map_or(piece.len(), |rest| rest.min(piece.len()));
        read(&mut piece[..length], at)?;
        hasher.update(&piece[..length]);
        at += length as u64;
    }
    Ok(Hexadecimal(&hasher.finalize()).to_string())
}

struct Hexadecimal<'b>(&'b [u8]);

impl fmt::Display for Hexadecimal<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn good() -> Report {
        Report {
            bytes: 1 << 20,
            messages: 64,
            gb_per_s: 1.5,
            latency: Latency { p50: 100, p99: 200, p999: 300 },
            kills: 6,
            account: Account::default(),
            sha256_sent: "ab".to_owned(),
            sha256_received: "ab".to_owned(),
            addresses: [0x7000, 0x8000],
            seed: 7,
            on: "shm:x".to_owned(),
            told: Told {
                file: "f".to_owned(),
                file_bytes: 1000,
                took: Duration::from_secs(1),
                kills_wanted: 6,
            },
        }
    }

    #[test]
    fn a_good_run_has_no_failures_and_each_defect_is_one() {
        assert_eq!(good().failures(), Vec::<String>::new());
        let defects: [fn(&mut Report); 5] = [
            |report| report.account.lost = 1,
            |report| report.account.duplicated = 1,
            |report| report.sha256_received.push('0'),
            |report| report.kills = 5,
            |report| report.addresses[1] = report.addresses[0],
        ];
        for defect in defects {
            let mut report = good();
            defect(&mut report);
            assert_eq!(report.failures().len(), 1, "{report:?}");
        }
    }

    #[test]
    fn the_object_has_these_fields() {
        let object: serde_json::Value =
            serde_json::from_str(&good().json().expect("serialized")).expect("parsed");
        let expected = serde_json::json!({
            "bytes": 1 << 20, "messages": 64, "gb_per_s": 1.5, "p50_ns": 100, "p99_ns": 200, "p999_ns": 300,
            "kills": 6, "lost": 0, "duplicated": 0, "sha256_sent": "ab", "sha256_received": "ab",
            "addresses": ["0x7000", "0x8000"], "seed": 7, "on": "shm:x",
        });
        assert_eq!(object, expected);
    }

    #[test]
    fn the_table_shows_both_addresses_and_both_sums() {
        let table = good().table();
        for part in ["0x7000", "0x8000", "SHA-256 sent", "SHA-256 received", "repeated", "p99.9 300 ns"] {
            assert!(table.contains(part), "{part} is missing in\n{table}");
        }
    }

    #[test]
    fn the_sum_is_that_of_the_standard() {
        let abc = |into: &mut [u8], at: u64| {
            let at = usize::try_from(at).expect("small");
            into.copy_from_slice(&b"abc"[at..at + into.len()]);
            Ok(())
        };
        let sum = sha256::<io::Error>(3, abc, |_| Ok(())).expect("nothing fails");
        assert_eq!(sum, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    }

    #[test]
    fn throughput_in_billions() {
        assert!((gb_per_s(3_000_000_000, Duration::from_secs(2)) - 1.5).abs() < 1e-9);
        assert!(gb_per_s(u64::MAX, Duration::ZERO) > 0.0);
    }
}
