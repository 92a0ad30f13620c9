//! An object that this attachment has open.

use core::fmt;
use std::collections::HashMap;
use std::sync::Arc;

use super::entry::{State, Word};
use super::{Attached, Extent, Spec, clear_bit, entry_of, extent, kind_name, set_bit};
use crate::error::{Error, Fault, Result};

/// How many handles this attachment has on each entry. Private: the segment has one bit for all of them.
///
/// With their extents: what a peer writes into the entries must not make us use bytes twice that we have open.
#[derive(Debug, Default)]
pub(crate) struct Opened(HashMap<u32, Held>);

#[derive(Debug)]
struct Held {
    handles: usize,
    at: u64,
    end: u64,
}

impl Opened {
    /// Whether this attachment has the entry open.
    pub(super) fn has(&self, index: u32) -> bool {
        self.0.contains_key(&index)
    }

    /// Where what is open lies.
    pub(super) fn extents(&self) -> impl Iterator<Item = Extent> {
        self.0.values().map(|held| (held.at, held.end))
    }

    /// One more handle of an entry, unless it overlaps with what is open under another.
    fn add(&mut self, index: u32, at: u64, len: u64) -> Result<(), Fault> {
        let end = at.saturating_add(len);
        let overlaps = |(other, held): (&u32, &Held)| *other != index && at < held.end && held.at < end;
        let moved = self.0.get(&index).is_some_and(|held| (held.at, held.end) != (at, end));
        if moved || self.0.iter().any(overlaps) {
            return Err(Fault::Corrupt { what: "two objects lie in the same place", at });
        }
        self.0.entry(index).or_insert(Held { handles: 0, at, end }).handles += 1;
        Ok(())
    }
}

/// An open object. While one lives, the object's memory is not used again, even after `remove`.
#[derive(Clone)]
pub(crate) struct ObjectHandle(Arc<Inner>);

struct Inner {
    attached: Arc<Attached>,
    index: u32,
    at: u64,
    len: u64,
    shape: u64,
}

impl ObjectHandle {
    /// Where the object lies: inside the region, aligned to its lines.
    pub(crate) fn at(&self) -> u64 {
        self.0.at
    }

    /// How many bytes it has.
    pub(crate) fn len(&self) -> u64 {
        self.0.len
    }

    /// Its capacity, as the directory has it.
    pub(crate) fn shape(&self) -> u64 {
        self.0.shape
    }

    /// Through whom it is open.
    pub(crate) fn attached(&self) -> &Arc<Attached> {
        &self.0.attached
    }

    /// Its name when it was last looked at.
    pub(crate) fn name(&self) -> String {
        entry_of(&self.0.attached, self.0.index).map(super::Entry::name).unwrap_or_default()
    }

    /// Whether it is what the caller wants.
    pub(super) fn admit(&self, name: &str, spec: &Spec) -> Result<()> {
        let entry = entry_of(&self.0.attached, self.0.index)?;
        let wrong = |expected: String, found: String| {
            Err(Error::WrongType { name: name.to_owned(), expected, found })
        };
        if entry.kind() != u64::from(spec.kind.tag) {
            return wrong(spec.kind.name.to_owned(), kind_name(entry.kind()));
        }
        if entry.schema() != spec.schema.fingerprint() {
            let describe = |payload: &str, fingerprint: u64| {
                format!("{} of {payload} ({fingerprint:016x})", spec.kind.name)
            };
            return wrong(
                describe(spec.schema.name(), spec.schema.fingerprint()),
                describe(&entry.payload_name(), entry.schema()),
            );
        }
        match spec.shape {
            Some(expected) if expected != self.0.shape => {
                Err(Error::WrongShape { name: name.to_owned(), expected, found: self.0.shape })
            }
            _ => Ok(()),
        }
    }
}

/// Opens the entry that was seen LIVE. `None`: it changed meanwhile, look up again.
pub(super) fn open(
    attached: &Arc<Attached>,
    opened: &mut Opened,
    index: u32,
    seen: Word,
) -> Result<Option<ObjectHandle>> {
    debug_assert_eq!(seen.state(), State::Live);
    let held = opened.0.contains_key(&index);
    if !held {
        set_bit(attached, index)?;
    }
    if entry_of(attached, index)?.word() != seen {
        if !held {
            clear_bit(attached, index, attached.owner().row())?;
        }
        return Ok(None);
    }
    match adopt(attached, opened, index) {
        Ok(handle) => Ok(Some(handle)),
        Err(fault) => {
            if !held {
                clear_bit(attached, index, attached.owner().row())?;
            }
            Err(fault)
        }
    }
}

/// The handle of an entry that we have just made, with our bit set.
pub(super) fn adopt(attached: &Arc<Attached>, opened: &mut Opened, index: u32) -> Result<ObjectHandle> {
    let entry = entry_of(attached, index)?;
    let (at, len) = extent(attached, entry)?;
    let shape = entry.shape();
    if !attached.is_read_only() {
        opened.add(index, at, len)?; // D-I5: else two that were open one after the other may well overlap
    }
    Ok(ObjectHandle(Arc::new(Inner { attached: Arc::clone(attached), index, at, len, shape })))
}

impl Drop for Inner {
    fn drop(&mut self) {
        if self.attached.check().is_err() {
            return; // a forked child, or dead: not ours to change
        }
        let mut opened = self.attached.opened();
        let Some(held) = opened.0.get_mut(&self.index) else { return };
        held.handles -= 1;
        if held.handles == 0 {
            opened.0.remove(&self.index);
            // The offsets were checked when it was opened.
            let _ = clear_bit(&self.attached, self.index, self.attached.owner().row());
        }
    }
}

impl fmt::Debug for ObjectHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Object").field("at", &self.0.at).field("len", &self.0.len).finish_non_exhaustive()
    }
}
