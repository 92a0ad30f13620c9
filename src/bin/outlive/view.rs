//! What is shown of a segment, and what `--json` prints.
//!
//! Every subcommand with `--json` prints one object of one form, [`Report`]; `show --watch` prints one a line. Fields
//! that a subcommand has nothing to say about are left out. Moments are RFC 3339, sizes are bytes.

use outlive::ring::{Stats, Unit};
use outlive::segment::{Attachment, ObjectInfo, SegmentInfo};
use outlive::{Owner, Segment, inspect};
use serde::Serialize;

use crate::exit::Exit;
use crate::{Outcome, time};

/// What `--json` looks like, for the help.
pub(crate) const SCHEMA: &str = r#"--json prints one object; what does not apply is left out:
  {"segments": [{
    "address": "shm:market",
    "version": 1, "size": 1048576, "objects_at": 20480, "rows": 64, "entries": 64,
    "temporary": false, "created": "2025-03-01T12:30:00Z",
    "attachments": [{"owner": "1.1", "pid": 4711, "uid": 1000, "since": "2025-03-01T12:30:00Z", "alive": true}],
    "objects": [{
      "name": "prices" (null: removed, and still open somewhere), "kind": "spsc ring", "payload": "f64",
      "shape": 4096, "at": 20480, "size": 33792, "openers": 1,
      "ring": {
        "unit": "messages" | "records" | "bytes", "capacity": 4096, "depth": 0, "sent": 9, "received": 9,
        "sent_per_second": 0.0, "received_per_second": 0.0 (with --watch),
        "sender": {"state": "held" | "died" | "closed" | "free", "owner": "1.1", "pid": 4711, "holders": 1},
        "receiver": (likewise)
      }
    }],
    "check": {"sound": true, "live": false, "invariants": 812, "unsettled": 0, "objects": 1, "alive": 1, "dead": 0, "findings": [{
      "severity": "note" | "needs sweep" | "corrupt", "what": "...", "at": 4096, "found": 1,
      "object": "prices" (if it is in one; "": it was removed, and is still open somewhere)
    }]} (check),
    "removed": true, "recovered": 1, "left": 0 (rm and reap),
    "error": {"code": 6, "message": "..."} (code: as the exit code)
  }]}"#;

/// What `--json` prints.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Report {
    pub(crate) segments: Vec<View>,
}

impl Report {
    pub(crate) fn json(&self) -> Outcome<String> {
        Ok(serde_json::to_string(self)? + "\n")
    }
}

/// A segment: what was found, or done.
#[derive(Debug, Default, Serialize)]
pub(crate) struct View {
    pub(crate) address: String,
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub(crate) seen: Option<Seen>,
    /// What a check found.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) check: Option<Checked>,
    /// Whether its name was taken away.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) removed: Option<bool>,
    /// Dead attachments that were recovered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) recovered: Option<u32>,
    /// Dead attachments that somebody else has to recover.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) left: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) error: Option<Trouble>,
}

/// Why there is nothing to show, or why nothing was done.
#[derive(Debug, Serialize)]
pub(crate) struct Trouble {
    pub(crate) code: u8,
    pub(crate) message: String,
}

impl View {
    pub(crate) fn of_error(address: String, error: &outlive::Error) -> Self {
        let trouble = Trouble { code: Exit::of(error).code(), message: error.to_string() };
        Self { address, error: Some(trouble), ..Self::default() }
    }
}

/// What a check finds.
#[derive(Debug, Serialize)]
pub(crate) struct Checked {
    sound: bool,
    live: bool,
    invariants: u64,
    unsettled: u64,
    objects: u32,
    alive: u32,
    dead: u32,
    findings: Vec<Finding>,
}

/// One finding.
#[derive(Debug, Serialize)]
struct Finding {
    severity: String,
    what: &'static str,
    at: u64,
    found: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    object: Option<String>,
}

impl Checked {
    pub(crate) fn new(report: &inspect::Report) -> Self {
        let found = |finding: &inspect::Finding| Finding {
            severity: finding.severity.to_string(),
            what: finding.what,
            at: finding.at,
            found: finding.found,
            object: finding.object.clone(),
        };
        Self {
            sound: report.is_sound(),
            live: report.live,
            invariants: report.invariants,
            unsettled: report.unsettled,
            objects: report.objects,
            alive: report.alive,
            dead: report.dead,
            findings: report.findings.iter().map(found).collect(),
        }
    }
}

/// What a look finds.
#[derive(Debug, Serialize)]
pub(crate) struct Seen {
    version: u64,
    pub(crate) size: u64,
    pub(crate) objects_at: u64,
    pub(crate) rows: u32,
    entries: u32,
    pub(crate) temporary: bool,
    pub(crate) created: String,
    pub(crate) attachments: Vec<Attached>,
    pub(crate) objects: Vec<Object>,
}

/// An attachment, dead or alive.
#[derive(Debug, Serialize)]
pub(crate) struct Attached {
    pub(crate) owner: String,
    pub(crate) pid: u32,
    pub(crate) uid: u32,
    pub(crate) since: String,
    pub(crate) alive: bool,
}

/// An object.
#[derive(Debug, Serialize)]
pub(crate) struct Object {
    /// None: removed, and still open somewhere.
    pub(crate) name: Option<String>,
    pub(crate) kind: String,
    pub(crate) payload: String,
    shape: u64,
    at: u64,
    pub(crate) size: u64,
    pub(crate) openers: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) ring: Option<Ring>,
}

/// A ring.
#[derive(Debug, Serialize)]
pub(crate) struct Ring {
    pub(crate) unit: &'static str,
    pub(crate) capacity: u64,
    pub(crate) depth: u64,
    pub(crate) sent: u64,
    pub(crate) received: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) sent_per_second: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) received_per_second: Option<f64>,
    pub(crate) sender: Role,
    pub(crate) receiver: Role,
}

/// One end of a ring.
#[derive(Debug, Serialize)]
pub(crate) struct Role {
    pub(crate) state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) owner: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) pid: Option<u32>,
    pub(crate) holders: u32,
}

impl Seen {
    pub(crate) fn look(segment: &Segment) -> outlive::Result<Self> {
        let SegmentInfo { version, size, objects_at, rows, entries, temporary, created, .. } =
            segment.info()?;
        let attachments = segment.attachments()?;
        let object = |info| Object::new(info, segment, &attachments);
        let objects = segment.objects()?.into_iter().map(object).collect();
        let attachments = attachments.iter().map(Attached::new).collect();
        let created = time::show(created);
        Ok(Self { version, size, objects_at, rows, entries, temporary, created, attachments, objects })
    }

    pub(crate) fn alive(&self) -> usize {
        self.attachments.iter().filter(|one| one.alive).count()
    }

    pub(crate) fn dead(&self) -> usize {
        self.attachments.len() - self.alive()
    }
}

impl Attached {
    fn new(one: &Attachment) -> Self {
        Self {
            owner: number(one.owner),
            pid: one.pid,
            uid: one.uid,
            since: time::show(one.since),
            alive: one.alive,
        }
    }
}

/// `row.generation`
fn number(owner: Owner) -> String {
    format!("{}.{}", owner.row(), owner.generation())
}

impl Object {
    fn new(info: ObjectInfo, segment: &Segment, attached: &[Attachment]) -> Self {
        let ring = info.stats.map(|stats| Ring::new(&stats, segment, attached));
        Self {
            name: Some(info.name).filter(|name| !name.is_empty()),
            kind: info.kind,
            payload: info.payload,
            shape: info.shape,
            at: info.at,
            size: info.size,
            openers: info.openers,
            ring,
        }
    }
}

impl Ring {
    fn new(stats: &Stats, segment: &Segment, attached: &[Attachment]) -> Self {
        let role = |holder: Option<Owner>, closed: bool, died: Option<Owner>, holders| Role {
            state: match holder {
                Some(owner) if segment.is_dead(owner) => "died",
                Some(_) => "held",
                None if closed => "closed",
                None if died.is_some() => "died",
                None => "free",
            },
            owner: holder.or(died).map(number),
            pid: { attached.iter() }.find(|one| Some(one.owner) == holder).map(|one| one.pid),
            holders,
        };
        Self {
            unit: match stats.unit {
                Unit::Records => "records",
                Unit::Bytes => "bytes",
                _ => "messages",
            },
            capacity: stats.capacity,
            depth: stats.depth,
            sent: stats.sent,
            received: stats.received,
            sent_per_second: None,
            received_per_second: None,
            sender: role(stats.sender, stats.sender_closed, stats.sender_died, stats.senders),
            receiver: role(stats.receiver, stats.receiver_closed, stats.receiver_died, stats.receivers),
        }
    }
}
