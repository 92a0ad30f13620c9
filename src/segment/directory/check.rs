//! The invariants of the directory, for a check from outside: of each entry, and of all of them together.
//!
//! Whatever its state: an entry with a length accounts for that memory, and for nobody else's (D-I2, D-I4). Only what a
//! creator has completed has a length.

use std::collections::BTreeMap;

use super::entry::{Entry, Name, State, Word};
use super::kind_of;
use crate::error::Fault;
use crate::segment::header::DATA_ALIGN;
use crate::segment::inspection::{Breach, Inspection, Look, Place, Standing, reserved};
use crate::segment::owner_lock;
use crate::segment::rows::{Phase, State as RowState};
use crate::shim::{AtomicU32, AtomicU64};

/// What is to be looked into, from the look at its entry.
struct Chosen<'a> {
    entry: &'a Entry,
    word: Word,
    name: String,
    kind: u64,
    place: Place,
}

/// Looks at the directory, and into every object.
pub(in crate::segment) fn check<'a>(
    inspection: &mut Inspection<'a>,
    lock: &'a AtomicU32,
) -> Result<(), Fault> {
    let plan = *inspection.attached().plan();
    let entries: Vec<&Entry> = (0..plan.entries)
        .map(|index| inspection.region().get(plan.entry_at(index)))
        .collect::<Result<_, _>>()?;
    let mut before = None;
    for (index, entry) in (0..).zip(&entries) {
        let at = plan.entry_at(index);
        check_word(inspection, entry, at, before, lock);
        check_fields(inspection, entry, at);
        check_openers(inspection, entry, index);
        before = Some(&entry.word);
    }
    let overlapping = check_extents(inspection, &entries);
    check_names(inspection, &entries);
    for (index, entry) in (0..).zip(&entries) {
        if overlapping.contains(&index) {
            continue; // whose words they are cannot be said
        }
        if let Some(chosen) = choose(inspection, entry, index) {
            look_into(inspection, chosen);
        }
    }
    Ok(())
}

/// The state, who holds it, and that entries are used from the front.
fn check_word(
    inspection: &mut Inspection<'_>,
    entry: &Entry,
    at: u64,
    before: Option<&AtomicU64>,
    lock: &AtomicU32,
) {
    inspection.require(|look| {
        let front = before.map(|word| Word(look.u64(word)).state());
        let word = Word(look.u64(&entry.word));
        let corrupt = |what| Err(Breach::corrupt(what, at, word.0));
        let state = word.state();
        if !word.is_of(state) || state == State::Empty && word.0 != 0 {
            return corrupt("the state of an entry is none");
        }
        if front == Some(State::Empty) && state != State::Empty {
            return corrupt("an entry behind an empty one was used");
        }
        let (State::Reserved(creator) | State::Vacating(creator)) = state else { return Ok(()) };
        let holder = owner_lock::holder(look.u32(lock));
        match look.standing(creator) {
            Standing::Alive if holder == Some(creator) => Ok(()),
            Standing::Alive => {
                corrupt("an entry is being changed by somebody who has not locked the directory")
            }
            Standing::Dead => Err(Breach::needs_sweep("a dead attachment was changing an entry", at, word.0)),
            Standing::Gone => corrupt("an entry is being changed by an attachment that was swept"),
            Standing::Nobody => corrupt("an entry is being changed by no attachment"),
        }
    });
}

/// What an entry says about its object.
fn check_fields(inspection: &mut Inspection<'_>, entry: &Entry, at: u64) {
    let (data_at, size) = (inspection.attached().plan().data_at, inspection.region().len());
    inspection.require(|look| {
        let word = Word(look.u64(&entry.word));
        let (start, len) = (look.u64(&entry.at), look.u64(&entry.len));
        let state = word.state();
        if matches!(state, State::Empty | State::Vacant) && len != 0 {
            return Err(Breach::corrupt("an entry without an object has a length", at + 40, len));
        }
        if len == 0 {
            if state == State::Live {
                return Err(Breach::corrupt("an object has no length", at + 40, len));
            }
            return Ok(());
        }
        if len % DATA_ALIGN != 0 {
            return Err(Breach::corrupt("the length of an object is not in whole lines", at + 40, len));
        }
        if start % DATA_ALIGN != 0 || start < data_at {
            return Err(Breach::corrupt(
                "an object does not begin on a line behind the tables",
                at + 32,
                start,
            ));
        }
        if start.checked_add(len).is_none_or(|end| end > size) {
            return Err(Breach::corrupt("an object does not end inside of the segment", at + 40, len));
        }
        Ok(())
    });
    inspection.require(|look| {
        let state = Word(look.u64(&entry.word)).state();
        if state == State::Empty {
            let words = [&entry.kind, &entry.schema, &entry.shape, &entry.at];
            let words = words.into_iter().chain(&entry.name).chain(&entry.payload);
            let found = words.map(|word| look.u64(word)).find(|&word| word != 0);
            return found.map_or(Ok(()), |found| {
                Err(Breach::corrupt("an entry that was never used is not empty", at, found))
            });
        }
        if state != State::Live {
            return Ok(()); // what a creator that failed, or died, has or has not written
        }
        let kind = look.u64(&entry.kind);
        if u32::try_from(kind).is_err() {
            return Err(Breach::corrupt("the kind of an object is none", at + 8, kind));
        }
        if kind_of(kind).is_none() {
            return Err(Breach::note("an object of a kind that this version does not know", at + 8, kind));
        }
        Ok(())
    });
    inspection.require(|look| {
        if Word(look.u64(&entry.word)).state() != State::Live {
            return Ok(());
        }
        let name = entry.name.each_ref().map(|word| look.u64(word));
        let payload = entry.payload.each_ref().map(|word| look.u64(word));
        if Name::unpack(&name).is_none() {
            return Err(Breach::corrupt("the name of an object is none", at + 64, name[0]));
        }
        let bytes: Vec<u8> = payload.iter().flat_map(|word| word.to_le_bytes()).collect();
        if bytes.iter().skip_while(|byte| **byte != 0).any(|byte| *byte != 0) {
            return Err(Breach::corrupt(
                "the name of a payload goes on behind its end",
                at + 112,
                payload[1],
            ));
        }
        Ok(())
    });
    inspection.require(|look| {
        for (at, word) in [at + 48, at + 56].into_iter().zip(&entry.reserved) {
            let found = look.u64(word);
            if found != 0 {
                return Err(reserved(at, found));
            }
        }
        Ok(())
    });
}

/// Who has it open: attachments only.
fn check_openers(inspection: &mut Inspection<'_>, entry: &Entry, index: u32) {
    let plan = *inspection.attached().plan();
    for number in 0..plan.opener_words {
        let at = plan.opener_word_at(index, number);
        inspection.require(|look| {
            let bits = look.u64(look.region().get::<AtomicU64>(at)?);
            let state = Word(look.u64(&entry.word)).state();
            if bits != 0 && state == State::Empty {
                return Err(Breach::corrupt("an entry that was never used is open", at, bits));
            }
            for row in (0..64).filter(|bit| bits >> bit & 1 != 0).map(|bit| number * 64 + bit) {
                if row == 0 || row > plan.rows {
                    return Err(Breach::corrupt("an object is open for a row that does not exist", at, bits));
                }
                let state = RowState(look.u64(&look.row(row)?.state));
                if state.phase() == Some(Phase::Free) {
                    return Err(Breach::corrupt("an object is open for a row that is nobody's", at, bits));
                }
            }
            Ok(())
        });
    }
}

/// Where an entry's memory is, if it has some.
fn memory(look: &mut Look<'_>, entry: &Entry) -> Option<(u64, u64)> {
    let state = Word(look.u64(&entry.word)).state();
    let (at, len) = (look.u64(&entry.at), look.u64(&entry.len));
    (len != 0 && !matches!(state, State::Empty | State::Vacant)).then(|| (at, at.saturating_add(len)))
}

/// That no two objects lie in the same place. Gives those that seem to, be it only for a moment.
fn check_extents(inspection: &mut Inspection<'_>, entries: &[&Entry]) -> Vec<u32> {
    let mut extents = Vec::new();
    inspection.require(|look| {
        extents = { (0_u32..).zip(entries) }
            .filter_map(|(index, entry)| memory(look, entry).map(|(at, end)| (at, end, index, *entry)))
            .collect();
        Ok(())
    });
    extents.sort_unstable_by_key(|&(at, end, index, _)| (at, end, index));
    let mut overlapping = Vec::new();
    let mut reaches: Option<(u64, u32, &Entry)> = None;
    for (at, end, index, entry) in extents {
        if let Some((_, other, first)) = reaches.filter(|&(reached, ..)| at < reached) {
            overlapping.extend([other, index]);
            let place = inspection.attached().plan().entry_at(index);
            inspection.require(|look| match memory(look, first).zip(memory(look, entry)) {
                Some(((at, end), (other_at, other_end))) if at < other_end && other_at < end => {
                    Err(Breach::corrupt("two objects lie in the same place", place, other_at))
                }
                _ => Ok(()),
            });
        }
        if reaches.is_none_or(|(reached, ..)| end > reached) {
            reaches = Some((end, index, entry));
        }
    }
    overlapping
}

/// That a name belongs to one object.
fn check_names(inspection: &mut Inspection<'_>, entries: &[&Entry]) {
    let name_of = |look: &mut Look<'_>, entry: &Entry| {
        let is_live = Word(look.u64(&entry.word)).state() == State::Live;
        let name = entry.name.each_ref().map(|word| look.u64(word));
        is_live.then_some(name)
    };
    let mut first_of = BTreeMap::new();
    for (index, &entry) in (0..).zip(entries) {
        let mut name = None;
        inspection.require(|look| {
            name = name_of(look, entry);
            Ok(())
        });
        let Some(found) = name else { continue };
        let Some(first) = first_of.insert(found, entry) else { continue };
        let place = inspection.attached().plan().entry_at(index) + 64;
        inspection.require(|look| match name_of(look, first).zip(name_of(look, entry)) {
            Some((one, other)) if one == other => {
                Err(Breach::corrupt("two objects have the same name", place, one[0]))
            }
            _ => Ok(()),
        });
    }
}

/// What the entry says, all of it about one object, and if it says so about one whose place can be believed.
fn choose<'a>(inspection: &mut Inspection<'a>, entry: &'a Entry, index: u32) -> Option<Chosen<'a>> {
    let (mut chosen, mut replaced) = (None, false);
    let data_at = inspection.attached().plan().data_at;
    inspection.require(|look| {
        let word = Word(look.u64(&entry.word));
        let named = word.state() == State::Live;
        let (at, len) = (look.u64(&entry.at), look.u64(&entry.len));
        if !named && word.state() != State::Retired || at < data_at || len == 0 {
            return Ok(());
        }
        if look.region().bytes(at, len, DATA_ALIGN).is_err() {
            return Ok(()); // that was said already
        }
        let (kind, shape, schema) = (look.u64(&entry.kind), look.u64(&entry.shape), look.u64(&entry.schema));
        let name = if named { entry.name() } else { String::new() };
        look.settle();
        replaced = look.u64(&entry.word) != word.0;
        if !replaced {
            let place = Place { at, len, shape, schema, named, entry: index };
            chosen = Some(Chosen { entry, word, name, kind, place });
        }
        Ok(())
    });
    inspection.changed |= replaced;
    chosen
}

fn look_into<'a>(inspection: &mut Inspection<'a>, chosen: Chosen<'a>) {
    let Chosen { entry, word, name, kind, place } = chosen;
    inspection.objects += u32::from(place.named);
    inspection.enter(name, &entry.word, word.0);
    if let Some(kind) = kind_of(kind) {
        (kind.check)(inspection, &place);
    }
    inspection.leave();
}

impl Word {
    /// Whether the word is what the protocol writes for that state: no bit more.
    fn is_of(self, state: State) -> bool {
        Self(self.0.wrapping_sub(1 << 32)).next(state) == self
    }
}
