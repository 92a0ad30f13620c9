//! The first page of a segment, and where everything else lies.

use core::alloc::Layout;

use super::Owner;
use super::directory::Entry;
use super::rows::Row;
use crate::error::{Error, Result};
use crate::memory::{CacheLine, Control, Region};
use crate::shim::{AtomicU32, AtomicU64, Ordering};

/// "OUTLIVE", and a byte that no text has: stored last, when all the rest is there.
pub(super) const MAGIC: u64 = u64::from_le_bytes(*b"OUTLIVE\xf1");
/// Raised with every change of the layout: another version is `Error::Foreign`.
pub(super) const LAYOUT_VERSION: u64 = 1;
/// Header, and what later versions of the same layout may put into it.
const HEADER_SIZE: u64 = 4096;
/// Objects begin on lines of this size.
pub(super) const DATA_ALIGN: u64 = 128;

/// Unlinked by the last detach.
pub(super) const FLAG_TEMPORARY: u64 = 1;
/// Waiters call membarrier, notifiers do without a fence. Fixed at creation, because both sides must agree.
pub(super) const FLAG_ASYMMETRIC: u64 = 2;
pub(super) const KNOWN_FLAGS: u64 = FLAG_TEMPORARY | FLAG_ASYMMETRIC;
/// In `gone` of a segment that is not temporary: its creator has withdrawn it.
pub(super) const WITHDRAWN: u32 = u32::from_le_bytes(*b"gone");

/// The header. All of it is atomics, so that a reference to it is sound whatever others write.
///
/// |   at | field          | written by            | meaning                                                      |
/// |------|----------------|-----------------------|--------------------------------------------------------------|
/// |    0 | magic          | creator, last         | it is a segment, and complete                                |
/// |    8 | version        | creator               | of the layout                                                |
/// |   16 | `max_size`     | creator               | bytes that it may grow to (= size in this version)           |
/// |   24 | flags          | creator               | 1 temporary, 2 asymmetric barriers                           |
/// |   32 | rows           | creator               | of the attachment table, 1..=1022                            |
/// |   40 | entries        | creator               | of the directory, a power of two up to 1024                  |
/// |   48 | `rows_at`      | creator               | rows of 128 bytes                                            |
/// |   56 | `entries_at`   | creator               | entries of 128 bytes                                         |
/// |   64 | `openers_at`   | creator               | per entry a bit a row                                        |
/// |   72 | `data_at`      | creator               | objects                                                      |
/// |   80 | boot           | creator; first opener after a reboot | boot id, two words                            |
/// |   96 | created        | creator               | nanoseconds since 1970                                       |
/// |  104 | cookie         | creator               | random, two words                                            |
/// |  120 | page           | creator               | its page size; nothing depends on it                         |
/// |  128 | size           | creator, later growth | bytes that exist                                             |
/// |  256 | `row_hint`     | attachers             | where to look for a free row: rows are used in turn          |
/// |  384 | `directory_lock` | creators of objects | who changes the directory                                    |
/// |  512 | gone           | last detacher         | 1: temporary, and being unlinked; `WITHDRAWN`: so is it      |
/// |  640 | bell           | later                 | suspected deaths (guardian)                                  |
/// |  768 | roster         | attachers, detachers  | counts attachments that came and went (guardian)             |
/// |  896 | `growth_lock`  | later                 | who makes the segment grow                                   |
/// | 1024 |                |                       | zero: chunk table of growth                                  |
#[derive(Debug, Default)]
#[repr(C)]
pub(super) struct Header {
    pub(super) magic: AtomicU64,
    pub(super) version: AtomicU64,
    pub(super) max_size: AtomicU64,
    pub(super) flags: AtomicU64,
    pub(super) rows: AtomicU64,
    pub(super) entries: AtomicU64,
    pub(super) rows_at: AtomicU64,
    pub(super) entries_at: AtomicU64,
    pub(super) openers_at: AtomicU64,
    pub(super) data_at: AtomicU64,
    pub(super) boot: [AtomicU64; 2],
    pub(super) created: AtomicU64,
    pub(super) cookie: [AtomicU64; 2],
    pub(super) page: AtomicU64,
    pub(super) size: CacheLine<AtomicU64>,
    pub(super) row_hint: CacheLine<AtomicU32>,
    pub(super) directory_lock: CacheLine<AtomicU32>,
    pub(super) gone: CacheLine<AtomicU32>,
    pub(super) bell: CacheLine<AtomicU32>,
    pub(super) roster: CacheLine<AtomicU32>,
    pub(super) growth_lock: CacheLine<AtomicU32>,
}

// SAFETY: atomics, arrays and cache lines of atomics.
unsafe impl Control for Header {}

impl Header {
    /// Whether it is being unlinked. A segment that was to stay is so by one value only: a stray word in `gone` must not
    /// take it away.
    pub(super) fn is_gone(&self, plan: &Plan) -> bool {
        let gone = self.gone.load(Ordering::Acquire); // [A10]
        gone == WITHDRAWN || plan.temporary && gone != 0
    }

    /// In which boot of the kernel the identities in the rows were written.
    pub(super) fn boot_id(&self) -> [u64; 2] {
        [&self.boot[0], &self.boot[1]].map(|word| word.load(Ordering::Relaxed)) // [H4]
    }

    /// What tells this segment from others.
    pub(super) fn cookie(&self) -> [u64; 2] {
        [&self.cookie[0], &self.cookie[1]].map(|word| word.load(Ordering::Relaxed)) // [H4]
    }
}

#[cfg(not(loom))]
mod layout {
    use super::Header;
    use core::mem::offset_of;
    use static_assertions::const_assert_eq;

    const_assert_eq!(offset_of!(Header, magic), 0);
    const_assert_eq!(offset_of!(Header, rows), 32);
    const_assert_eq!(offset_of!(Header, data_at), 72);
    const_assert_eq!(offset_of!(Header, boot), 80);
    const_assert_eq!(offset_of!(Header, page), 120);
    const_assert_eq!(offset_of!(Header, size), 128);
    const_assert_eq!(offset_of!(Header, directory_lock), 384);
    const_assert_eq!(offset_of!(Header, growth_lock), 896);
    const_assert_eq!(size_of::<Header>(), 1024);
}

/// Whether what begins with that word is a segment.
pub(super) fn check_magic(word: u64) -> Result<()> {
    if word == MAGIC {
        return Ok(());
    }
    let (expected, found) = (MAGIC.to_le_bytes(), word.to_le_bytes());
    Err(Error::Foreign {
        expected: format!("a segment, which begins with {}", expected.escape_ascii()),
        found: format!("a file that begins with {}", found.escape_ascii()),
    })
}

/// Where things are. A private copy: nothing that indexes memory is ever read twice from the segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Plan {
    pub(super) rows: u32,
    pub(super) entries: u32,
    pub(super) rows_at: u64,
    pub(super) entries_at: u64,
    pub(super) openers_at: u64,
    /// Words of 64 rows that an entry has in the table of openers.
    pub(super) opener_words: u32,
    pub(super) data_at: u64,
    /// Bytes of the segment; what lies behind them is nobody's.
    pub(super) size: u64,
    /// Unlinked by the last detach.
    pub(super) temporary: bool,
    /// Notifiers leave the barrier to the waiters.
    pub(super) asymmetric: bool,
}

impl Plan {
    pub(super) const MAX_ENTRIES: u32 = 1024;

    /// For tables of `rows` and `entries`.
    pub(super) fn new(rows: u32, entries: u32) -> Option<Self> {
        if !(1..=Owner::MAX_ROW).contains(&rows) || !entries.is_power_of_two() || entries > Self::MAX_ENTRIES
        {
            return None;
        }
        let size = |layout: Layout| layout.pad_to_align().size() as u64;
        let opener_words = rows / 64 + 1; // rows count from 1
        let rows_at = size(Layout::new::<Header>()).max(HEADER_SIZE);
        let entries_at = rows_at + size(Layout::new::<Row>()) * u64::from(rows);
        let openers_at = entries_at + size(Layout::new::<Entry>()) * u64::from(entries);
        let openers = size(Layout::new::<AtomicU64>()) * u64::from(opener_words) * u64::from(entries);
        let data_at = (openers_at + openers).next_multiple_of(DATA_ALIGN);
        let (size, temporary, asymmetric) = (0, false, false); // as it is created
        Some(Self {
            rows,
            entries,
            rows_at,
            entries_at,
            openers_at,
            opener_words,
            data_at,
            size,
            temporary,
            asymmetric,
        })
    }

    /// The directory of a segment of this size: an entry for each 16 KiB, from 16 to 1024.
    pub(super) fn entries_for(size: u64) -> u32 {
        let wanted = u32::try_from(size >> 14).unwrap_or(Self::MAX_ENTRIES);
        let least = if cfg!(loom) { 2 } else { 16 };
        wanted.clamp(least, Self::MAX_ENTRIES).next_power_of_two().min(Self::MAX_ENTRIES)
    }

    /// Offset of a row.
    pub(super) fn row_at(&self, row: u32) -> u64 {
        self.rows_at + size_of::<Row>() as u64 * u64::from(row.saturating_sub(1))
    }

    /// Offset of an entry.
    pub(super) fn entry_at(&self, entry: u32) -> u64 {
        self.entries_at + size_of::<Entry>() as u64 * u64::from(entry)
    }

    /// Offset of the word with the bit of `row` among the openers of `entry`.
    pub(super) fn opener_word_at(&self, entry: u32, word: u32) -> u64 {
        let index = u64::from(entry) * u64::from(self.opener_words) + u64::from(word);
        self.openers_at + size_of::<AtomicU64>() as u64 * index
    }

    /// Writes header, rows, directory, and the magic last.
    pub(super) fn build(&self, region: &Region, boot: [u64; 2], cookie: [u64; 2]) -> Result<()> {
        let header = region.build::<Header>(0)?;
        let set = |word: &AtomicU64, value: u64| word.store(value, Ordering::Relaxed); // [H1]
        set(&header.version, LAYOUT_VERSION);
        set(&header.max_size, region.len());
        let flag = |set: bool, flag: u64| if set { flag } else { 0 };
        set(&header.flags, flag(self.temporary, FLAG_TEMPORARY) | flag(self.asymmetric, FLAG_ASYMMETRIC));
        set(&header.rows, self.rows.into());
        set(&header.entries, self.entries.into());
        set(&header.rows_at, self.rows_at);
        set(&header.entries_at, self.entries_at);
        set(&header.openers_at, self.openers_at);
        set(&header.data_at, self.data_at);
        for (word, value) in header.boot.iter().zip(boot).chain(header.cookie.iter().zip(cookie)) {
            set(word, value);
        }
        set(&header.created, crate::os::clock::realtime_ns());
        set(&header.page, crate::os::map::page_size() as u64);
        set(&header.size, region.len());
        for row in 1..=self.rows {
            region.build::<Row>(self.row_at(row))?;
        }
        for entry in 0..self.entries {
            region.build::<Entry>(self.entry_at(entry))?;
            for word in 0..self.opener_words {
                region.build::<AtomicU64>(self.opener_word_at(entry, word))?;
            }
        }
        header.magic.store(MAGIC, Ordering::Release); // [H2]
        Ok(())
    }

    /// Reads the header of a mapped object of `len` bytes, and believes nothing of it.
    pub(super) fn read(region: &Region) -> Result<Self> {
        let foreign = |what: &str, expected: u64, found: u64| {
            Err(Error::Foreign { expected: format!("{what} {expected}"), found: found.to_string() })
        };
        if region.len() < HEADER_SIZE {
            return foreign("a header of bytes:", HEADER_SIZE, region.len());
        }
        let header = region.get::<Header>(0)?;
        check_magic(header.magic.load(Ordering::Acquire))?; // [H3]
        let get = |word: &AtomicU64| word.load(Ordering::Relaxed); // [H4]
        let version = get(&header.version);
        if version != LAYOUT_VERSION {
            return foreign("layout version", LAYOUT_VERSION, version);
        }
        let flags = get(&header.flags);
        if flags & !KNOWN_FLAGS != 0 {
            return foreign("flags within", KNOWN_FLAGS, flags);
        }
        let (rows, entries) = (get(&header.rows), get(&header.entries));
        let plan = u32::try_from(rows).ok().zip(u32::try_from(entries).ok());
        let Some(plan) = plan.and_then(|(rows, entries)| Self::new(rows, entries)) else {
            return Err(Error::Foreign {
                expected: "1 to 1022 rows, and a power of two up to 1024 entries".to_owned(),
                found: format!("{rows} rows and {entries} entries"),
            });
        };
        for (what, word, expected) in [
            ("rows at", &header.rows_at, plan.rows_at),
            ("directory at", &header.entries_at, plan.entries_at),
            ("openers at", &header.openers_at, plan.openers_at),
            ("objects at", &header.data_at, plan.data_at),
        ] {
            if get(word) != expected {
                return foreign(what, expected, get(word));
            }
        }
        let (size, max_size) = (get(&header.size), get(&header.max_size));
        if size < plan.data_at || size > region.len() || max_size < size {
            return Err(Error::Foreign {
                expected: format!("a size from {} to the {} bytes of the object", plan.data_at, region.len()),
                found: format!("{size} (at most {max_size})"),
            });
        }
        let (temporary, asymmetric) = (flags & FLAG_TEMPORARY != 0, flags & FLAG_ASYMMETRIC != 0);
        Ok(Self { size, temporary, asymmetric, ..plan })
    }
}
