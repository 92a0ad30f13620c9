//! What a check says.

use core::fmt;

use super::{Finding, Severity};
use crate::Segment;
use crate::segment::inspection::Inspection;

/// What [`check`](super::check) found. Displayed: a line a finding, and one that sums up.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Report {
    /// What was found, in the order of the segment: header, attachments, directory, objects.
    pub findings: Vec<Finding>,
    /// How many invariants were compared with the memory.
    pub invariants: u64,
    /// How many of them were left open, because their words changed whenever they were looked at.
    pub unsettled: u64,
    /// How many objects with a name were looked into.
    pub objects: u32,
    /// Attachments that live, this one included.
    pub alive: u32,
    /// Attachments that are dead and were not swept.
    pub dead: u32,
    /// Whether somebody else is attached, or something changed meanwhile: then this is a report of no single moment.
    pub live: bool,
}

impl Report {
    pub(super) fn new(inspection: Inspection<'_>, segment: &Segment) -> Self {
        let Inspection { findings, invariants, unsettled, objects, alive, dead, changed, .. } = inspection;
        let live = changed || alive > u32::from(!segment.is_read_only());
        Self { findings, invariants, unsettled, objects, alive, dead, live }
    }

    /// Whether no invariant is broken. What the dead have left is no damage: see [`Severity::NeedsSweep`].
    pub fn is_sound(&self) -> bool {
        self.of(Severity::Corrupt).next().is_none()
    }

    /// The findings of one severity.
    pub fn of(&self, severity: Severity) -> impl Iterator<Item = &Finding> {
        self.findings.iter().filter(move |finding| finding.severity == severity)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for finding in &self.findings {
            writeln!(f, "{finding}")?;
        }
        let verdict = if self.is_sound() { "sound" } else { "corrupt" };
        let live = if self.live { ", live" } else { "" };
        let Self { invariants, unsettled, objects, alive, dead, .. } = self;
        write!(f, "{verdict}{live}: {invariants} invariants, {unsettled} unsettled, {objects} objects, ")?;
        write!(f, "{alive} alive, {dead} dead")
    }
}
