//! Named objects: who finds what under which name, and whose memory is whose.
//!
//! # Answers
//! "Where is the object of this name, is it of the type I think it is, and may its memory be used again?"
//!
//! The entries are the only truth: there is no allocation pointer and no free list. Memory that no entry accounts for
//! is free, so a crash can leak none.
//!
//! # States of an entry
//! | state               | means                                       | left by                                             |
//! |---------------------|---------------------------------------------|-----------------------------------------------------|
//! | EMPTY               | never used; so are all behind it            | create                                              |
//! | `RESERVED(creator)` | being made, by the holder of the lock       | create: LIVE (the commit). Creator dead: sweep, create |
//! | LIVE                | found by name                               | remove: RETIRED (the commit)                        |
//! | RETIRED             | has no name; memory kept while it is open   | create: VACATING                                    |
//! | `VACATING(creator)` | its openers are being counted               | create: VACANT, or RETIRED again. Creator dead: sweep, create |
//! | VACANT              | owns no memory                              | create: RESERVED                                    |
//!
//! # Invariants
//! D-I1  Only the holder of the directory lock changes a state; the sweep changes `RESERVED(dead)` and `VACATING(dead)` only.
//! D-I2  An entry with the bit of some row set, and not VACANT, keeps its memory. An opener sets its bit, then looks at
//!       the word once more; whoever vacates writes VACATING, then looks at the bits: one of them sees the other.
//! D-I3  The bit of a row is set and cleared by its tenant, and cleared by the sweep of that row, by nobody else.
//! D-I5  An attachment that only looks sets no bit: nothing keeps an object's memory for it. It forms no reference to
//!       payload, stores nothing, and believes nothing that it reads.
//! D-I4  `len` is 0 from VACANT until the new extent is complete.
//!
//! # Orderings
//! | tag | operation                                | order           | pairs  | because                                                |
//! |-----|------------------------------------------|-----------------|--------|--------------------------------------------------------|
//! | D1  | look at an entry's word                  | Acquire         | D2, D3 | name and extent, before the state that names them      |
//! | D2  | change of an entry's word                | AcqRel          | D1     | taking over what a dead creator left                   |
//! | D3  | LIVE, and undoing a reservation          | Release         | D1     | the object is complete before it is found              |
//! | D4  | second look at the word behind the name, or behind a list's look | fence Acquire + Relaxed | D2 | what was replaced meanwhile is not believed |
//! | D5  | setting, clearing, reading bits          | AcqRel, Acquire | D5     | the last use of the memory before its reuse            |
//! | D8  | counting openers for a list              | Relaxed         | -      | a look, not a promise                                  |
//! | D6  | between bit and word, word and bit       | fence SeqCst    | D6     | D-I2: store, then load of another word                 |
//! | D9  | before the fields of a new object        | fence Release   | D4     | who reads one of them sees that the word has changed   |
//! | D7  | fields of an entry                       | Relaxed         | D1     | ordered by the word                                    |
//!
//! # Crashes
//! | dies                                  | left                       | outcome                                        | held by |
//! |---------------------------------------|----------------------------|------------------------------------------------|---------|
//! | create, before RESERVED               | lock of a dead owner       | the next one takes it                          | `tests death::the_directory_is_kept_*` |
//! |                                       |                            |                                                | `loom directory::a_creator_dies_at_*` |
//! | create, while it vacates              | `VACATING(dead)`           | RETIRED again by the sweep, or VACANT by the next create | `kill "object create, behind a removed one"` |
//! |                                       |                            |                                                | `tests startup_race::what_a_dead_creator_was_*` |
//! | create, RESERVED, anything half built | `RESERVED(dead)`           | memory and entry are free to the next create   | `kill "object create"` |
//! |                                       |                            |                                                | `loom directory::a_creator_dies_at_*` |
//! |                                       |                            |                                                | `tests startup_race::the_creator_of_an_object_*` |
//! | create, complete, its bit set         | `RESERVED(dead)`, bit      | free once the creator is swept: create sweeps when it finds no room | `tests startup_race::what_a_dead_creator_took_*` |
//! | create, after LIVE                    | LIVE                       | it exists                                      | `kill "object create"` |
//! | open, bit set, state not looked at    | bit of a dead row          | cleared by the sweep                           | `kill "object open"` |
//! | remove, before / after RETIRED        | LIVE / RETIRED             | is there / is gone                             | `kill "segment remove"` |
//! | any holder of the object              | bit of a dead row          | sweep repairs the object, then clears the bit  | `kill "segment sweep"` |
//! |                                       |                            |                                                | `kill "segment remove, others have it open"` |

use core::fmt;
use std::collections::BTreeMap;
use std::sync::Arc;

use super::inspection::{Inspection, Place};
use super::owner_lock;
use super::{Attached, Owner};
use crate::error::{Error, Fault, Result};
use crate::memory::{Control, Region};
use crate::payload::Schema;
use crate::shim::{AtomicU64, Ordering, fence};

mod check;
mod entry;
mod handle;
mod stats;

pub(super) use check::check;
pub(super) use entry::Entry;
use entry::{Name, State, Word};
pub(crate) use handle::ObjectHandle;
pub(super) use handle::Opened;
pub use stats::{Stats, Unit};

/// What `find` may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// The name must be free.
    Create,
    /// The object must be there.
    Open,
    /// Either.
    OpenOrCreate,
}

/// What an object of `len` bytes at `at` shows to somebody who looks from outside, and believes nothing.
pub(crate) type Look = fn(region: &Region, at: u64, len: u64) -> Option<Stats>;

/// How the invariants of an object are compared with its words.
pub(crate) type Check = fn(&mut Inspection<'_>, &Place);

/// What kind of structure an object is, and how the sweep repairs it.
pub(crate) struct Kind {
    /// Its number in the layout.
    pub(crate) tag: u32,
    /// For messages.
    pub(crate) name: &'static str,
    /// Repairs every word of the object (at, len) that a dead owner holds, and wakes every sleeper.
    /// Idempotent, itself killable; believes nothing that it reads.
    pub(crate) sweep: fn(&Region, u64, u64, &dyn Fn(Owner) -> bool),
    /// For rings: how the one (at, len) looks from outside. Changes nothing, believes nothing that it reads, and gives
    /// `None` for what cannot be one. What it read may have been another object's by then: whoever calls it looks again.
    pub(crate) look: Option<Look>,
    /// States the invariants of an object that says it is of this kind: see `segment::inspection`.
    pub(crate) check: Check,
}

impl fmt::Debug for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

/// What the caller wants to find, or to make.
pub(crate) struct Spec {
    pub(crate) kind: &'static Kind,
    pub(crate) schema: Schema,
    /// The capacity; `None` takes what is there.
    pub(crate) shape: Option<u64>,
    /// Bytes to make.
    pub(crate) size: u64,
    /// At most a page.
    pub(crate) align: u64,
}

/// How often an entry may change under the eyes of somebody who looks for it.
const LOOKS: u32 = 1000;

/// Finds the object `name`, or makes it; `build` initialises its bytes, which hold garbage before.
///
/// Looking up takes no lock. Creating does, and is killable at every instruction: see the module.
pub(crate) fn find(
    attached: &Arc<Attached>,
    name: &str,
    mode: Mode,
    spec: &Spec,
    build: impl FnOnce(&Region, u64) -> Result<(), Fault>,
) -> Result<ObjectHandle> {
    attached.check()?;
    if mode == Mode::Create {
        attached.check_writable()?;
    }
    let packed = Name::pack(name)?;
    let mut opened = attached.opened();
    for locked in [false, true] {
        let lock = || owner_lock::lock(&attached.header()?.directory_lock, attached);
        let _lock = if locked { Some(lock()?) } else { None };
        for _ in 0..LOOKS {
            let Some((index, seen)) = look_up(attached, &packed)? else { break };
            if mode == Mode::Create {
                return Err(Error::AlreadyExists { name: name.to_owned() });
            }
            if let Some(handle) = handle::open(attached, &mut opened, index, seen)? {
                let checked = handle.admit(name, spec);
                drop(opened); // dropping a refused handle takes this lock
                return checked.map(|()| handle);
            }
        }
        if mode == Mode::Open {
            return Err(Error::NotFound { name: name.to_owned() });
        }
        if locked {
            return create(attached, &mut opened, &packed, spec, build);
        }
    }
    Err(Error::NotFound { name: name.to_owned() })
}

/// Frees the name at once; the memory when the last attachment that has the object open is gone.
pub(super) fn remove(attached: &Arc<Attached>, name: &str) -> Result<()> {
    attached.check_writable()?;
    let packed = Name::pack(name)?;
    let _opened = attached.opened();
    let _lock = owner_lock::lock(&attached.header()?.directory_lock, attached)?;
    let Some((index, seen)) = look_up(attached, &packed)? else {
        return Err(Error::NotFound { name: name.to_owned() });
    };
    let retired = seen.next(State::Retired);
    let entry = entry_of(attached, index)?;
    if entry.change(seen, retired) { Ok(()) } else { Err(Error::NotFound { name: name.to_owned() }) }
}

/// The live entry of this name. The word that was seen proves the name only as long as it does not change.
fn look_up(attached: &Attached, name: &Name) -> Result<Option<(u32, Word)>, Fault> {
    for index in 0..attached.plan().entries {
        let entry = entry_of(attached, index)?;
        let seen = entry.word();
        match seen.state() {
            State::Empty => break, // entries are used from the front
            State::Live if entry.has_name(name) => {
                fence(Ordering::Acquire); // [D4]
                if entry.word.load(Ordering::Relaxed) == seen.0 {
                    // [D4]
                    return Ok(Some((index, seen)));
                }
            }
            _ => {}
        }
    }
    Ok(None)
}

fn create(
    attached: &Arc<Attached>,
    opened: &mut Opened,
    name: &Name,
    spec: &Spec,
    build: impl FnOnce(&Region, u64) -> Result<(), Fault>,
) -> Result<ObjectHandle> {
    let size = spec.size.max(1).checked_next_multiple_of(super::header::DATA_ALIGN);
    let Some(size) = size else {
        return Err(Error::InvalidConfig { why: "the object is larger than any segment" });
    };
    let (index, at) = match room(attached, opened, size, spec.align) {
        Err(Error::NoSpace { .. }) => {
            super::sweep::sweep(attached)?; // the dead may have things open that have no name any more
            room(attached, opened, size, spec.align)?
        }
        other => other?,
    };
    attached.region().hand_out(at, spec.size.max(1)); // not what it is rounded up by: that lies between two objects
    let entry = entry_of(attached, index)?;
    let old = entry.word();
    let mine = old.next(State::Reserved(attached.owner()));
    if !entry.change(old, mine) {
        let what = "an entry changed although the directory was locked";
        return Err(Fault::Corrupt { what, at: attached.plan().entry_at(index) }.into());
    }
    let mut undo = Undo { entry, mine, armed: true };
    entry.describe(name, spec, at, size);
    build(attached.region(), at)?;
    set_bit(attached, index)?;
    let live = mine.next(State::Live);
    entry.word.store(live.0, Ordering::Release); // [D3]
    undo.armed = false;
    handle::adopt(attached, opened, index)
}

/// An entry, and memory for its object.
fn room(attached: &Attached, opened: &Opened, size: u64, align: u64) -> Result<(u32, u64)> {
    let (index, used) = survey(attached, opened)?;
    let at = place(attached, &used, size, align)?;
    match index {
        Some(index) => Ok((index, at)),
        None => Err(Error::NoSpace { needed: size, available: 0 }), // the directory is full
    }
}

/// Puts a reserved entry back if its construction fails or panics.
struct Undo<'a> {
    entry: &'a Entry,
    mine: Word,
    armed: bool,
}

impl Drop for Undo<'_> {
    fn drop(&mut self) {
        if self.armed {
            self.entry.word.store(self.mine.next(State::Retired).0, Ordering::Release); // [D3]
        }
    }
}

/// Where something begins and ends.
type Extent = (u64, u64);

/// An entry that can be used, and the memory that is in use, sorted. Under the lock.
fn survey(attached: &Attached, opened: &Opened) -> Result<(Option<u32>, Vec<Extent>), Fault> {
    let mut usable = None;
    let mut used: Vec<Extent> = opened.extents().collect(); // whatever the entries say
    for index in 0..attached.plan().entries {
        let entry = entry_of(attached, index)?;
        let (word, (was_at, was_len)) = (entry.word(), entry.extent());
        if word.state() == State::Empty && !opened.has(index) {
            usable = usable.or(Some(index));
            break;
        }
        let in_use = match word.state() {
            State::Live => true,
            State::Empty | State::Vacant => false,
            // Under our lock these are the remains of dead or failed creators, or of removed objects.
            State::Retired | State::Reserved(_) | State::Vacating(_) => {
                !vacate(attached, index, entry, word)?
            }
        };
        if in_use || opened.has(index) {
            let (at, len) = entry.extent();
            used.push((at, at.saturating_add(len)));
        } else {
            attached.region().lock_away(was_at, was_len);
            usable = usable.or(Some(index));
        }
    }
    used.sort_unstable();
    Ok((usable, used))
}

/// Gives up the memory of an entry without a name, unless somebody has it open.
fn vacate(attached: &Attached, index: u32, entry: &Entry, word: Word) -> Result<bool, Fault> {
    if is_open(attached, index)? {
        return Ok(false);
    }
    let vacating = word.next(State::Vacating(attached.owner()));
    if !entry.change(word, vacating) {
        return Ok(false); // a sweep was faster
    }
    fence(Ordering::SeqCst); // [D6]
    if is_open(attached, index)? {
        entry.change(vacating, vacating.next(State::Retired));
        return Ok(false);
    }
    entry.forget_extent();
    Ok(entry.change(vacating, vacating.next(State::Vacant)))
}

/// The first gap that fits.
fn place(attached: &Attached, used: &[Extent], size: u64, align: u64) -> Result<u64> {
    let align = align.max(super::header::DATA_ALIGN);
    let end_of_segment = attached.region().len();
    let mut free_from = attached.plan().data_at;
    let mut largest = 0;
    for &(at, end) in used.iter().chain(core::iter::once(&(end_of_segment, end_of_segment))) {
        let start = free_from.checked_next_multiple_of(align).unwrap_or(u64::MAX);
        let room = at.min(end_of_segment).saturating_sub(start);
        if room >= size {
            return Ok(start);
        }
        largest = largest.max(room);
        free_from = free_from.max(end);
    }
    Err(Error::NoSpace { needed: size, available: largest })
}

/// Where the object lies: among the objects, inside the segment, on a line.
fn extent(attached: &Attached, entry: &Entry) -> Result<Extent, Fault> {
    let (at, len) = entry.extent();
    if at < attached.plan().data_at {
        return Err(Fault::Corrupt { what: "an object lies among the tables", at });
    }
    attached.region().bytes(at, len, super::header::DATA_ALIGN)?;
    Ok((at, len))
}

pub(super) fn entry_of(attached: &Attached, index: u32) -> Result<&Entry, Fault> {
    attached.region().get(attached.plan().entry_at(index))
}

fn bit_word(attached: &Attached, index: u32, row: u32) -> Result<(&AtomicU64, u64), Fault> {
    let at = attached.plan().opener_word_at(index, row / 64);
    Ok((attached.region().get(at)?, 1 << (row % 64)))
}

/// Marks the entry as open by this attachment; the caller then looks at the entry once more.
fn set_bit(attached: &Attached, index: u32) -> Result<(), Fault> {
    if attached.is_read_only() {
        return Ok(()); // D-I5
    }
    let (word, bit) = bit_word(attached, index, attached.owner().row())?;
    word.fetch_or(bit, Ordering::AcqRel); // [D5]
    fence(Ordering::SeqCst); // [D6]
    Ok(())
}

fn clear_bit(attached: &Attached, index: u32, row: u32) -> Result<(), Fault> {
    if attached.is_read_only() {
        return Ok(()); // D-I5
    }
    let (word, bit) = bit_word(attached, index, row)?;
    word.fetch_and(!bit, Ordering::AcqRel); // [D5]
    Ok(())
}

fn is_open(attached: &Attached, index: u32) -> Result<bool, Fault> {
    for word in 0..attached.plan().opener_words {
        let at = attached.plan().opener_word_at(index, word);
        if attached.region().get::<AtomicU64>(at)?.load(Ordering::Acquire) != 0 {
            // [D5]
            return Ok(true);
        }
    }
    Ok(false)
}

/// Repairs everything that the dead `rows` had open. `false`: something is of a kind that this build does not know.
pub(super) fn sweep(attached: &Attached, rows: &BTreeMap<u32, Owner>) -> Result<bool, Fault> {
    let dead = |owner: Owner| rows.get(&owner.row()) == Some(&owner);
    let mut complete = true;
    for index in 0..attached.plan().entries {
        let entry = entry_of(attached, index)?;
        if entry.word().state() == State::Empty {
            break;
        }
        let mut opened_by = Vec::new();
        for &row in rows.keys() {
            let (bits, bit) = bit_word(attached, index, row)?;
            if bits.load(Ordering::Acquire) & bit != 0 {
                // [D5]
                opened_by.push(row);
            }
        }
        fence(Ordering::SeqCst); // [D6]
        let mut word = entry.word();
        if matches!(word.state(), State::Reserved(creator) | State::Vacating(creator) if dead(creator)) {
            entry.change(word, word.next(State::Retired)); // lost to another sweep: the same has been done
            word = entry.word();
        }
        if opened_by.is_empty() {
            continue;
        }
        match word.state() {
            // Bits that were set too late for an object that was there before: nothing was used.
            State::Empty | State::Vacant | State::Reserved(_) => {}
            State::Vacating(_) => {
                complete = false; // in a moment it is vacant, or retired again
                continue;
            }
            State::Live | State::Retired => {
                let Ok((at, len)) = extent(attached, entry) else { continue };
                let Some(kind) = kind_of(entry.kind()) else {
                    complete = false;
                    continue;
                };
                (kind.sweep)(attached.region(), at, len, &dead);
            }
        }
        for row in opened_by {
            clear_bit(attached, index, row)?;
        }
    }
    owner_lock::recover(&attached.header()?.directory_lock, &dead);
    Ok(complete)
}

/// An object, as `Segment::objects` lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ObjectInfo {
    /// Its name; empty if it was removed and is still open somewhere.
    pub name: String,
    /// Its kind: `spsc ring`, `object`, ...
    pub kind: String,
    /// Its payload type, cut at 16 bytes.
    pub payload: String,
    /// Its capacity.
    pub shape: u64,
    /// Where it lies in the segment.
    pub at: u64,
    /// How many bytes it occupies.
    pub size: u64,
    /// How many attachments have it open.
    pub openers: u32,
    /// How full it is and who uses it, if it is a ring of a kind that this build knows.
    pub stats: Option<Stats>,
}

/// What there is, removed objects that are still open included. A look, not a promise.
pub(super) fn list(attached: &Attached) -> Result<Vec<ObjectInfo>> {
    attached.check()?;
    let mut objects = Vec::new();
    for index in 0..attached.plan().entries {
        let entry = entry_of(attached, index)?;
        let mut openers = 0;
        for word in 0..attached.plan().opener_words {
            let at = attached.plan().opener_word_at(index, word);
            openers += attached.region().get::<AtomicU64>(at)?.load(Ordering::Relaxed).count_ones(); // [D8]
        }
        let word = entry.word();
        let named = match word.state() {
            State::Empty => break,
            State::Live => true,
            State::Retired if openers > 0 => false,
            State::Retired | State::Vacant | State::Reserved(_) | State::Vacating(_) => continue,
        };
        let (at, size) = entry.extent();
        let name = if named { entry.name() } else { String::new() };
        let (payload, shape, tag) = (entry.payload_name(), entry.shape(), entry.kind());
        let look = kind_of(tag).and_then(|kind| kind.look);
        let place = extent(attached, entry).ok();
        let stats = look.zip(place).and_then(|(look, (at, len))| look(attached.region(), at, len));
        fence(Ordering::Acquire); // [D4]
        if entry.word.load(Ordering::Relaxed) != word.0 {
            // [D4]
            continue; // it is changing: what was read may be of two objects
        }
        objects.push(ObjectInfo { name, kind: kind_name(tag), payload, shape, at, size, openers, stats });
    }
    Ok(objects)
}

fn kind_of(tag: u64) -> Option<&'static Kind> {
    crate::KINDS.iter().copied().find(|kind| u64::from(kind.tag) == tag)
}

fn kind_name(tag: u64) -> String {
    kind_of(tag).map_or_else(|| format!("kind {tag}"), |kind| kind.name.to_owned())
}

/// Asserts that entries are control words.
const _: fn() = || {
    fn control<T: Control>() {}
    control::<Entry>();
};
