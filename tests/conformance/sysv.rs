//! System V segments: by key, by path and number, and private ones.

use std::cell::{Cell, RefCell};
use std::fs;
use std::os::unix::fs::MetadataExt;

use nix::sched::{CloneFlags, unshare};
use outlive::segment::Options;
use outlive::{Address, Result, Segment};

use crate::backend::{Backend, Feature, Invitation};
use crate::common::Name;
use crate::common::sysv::{Entry, Key, Raw, entries, make, remove, sidecars};

/// Where these segments are: in a namespace of this process alone, where everything that is left is seen, or among
/// those of everybody.
#[derive(Default)]
struct Place {
    is_ours: Cell<bool>,
}

impl Place {
    fn enter(&self) {
        self.is_ours.set(unshare(CloneFlags::CLONE_NEWIPC).is_ok());
    }

    /// Those of ours. What was removed is there as long as somebody is attached, and marked.
    fn entries(&self, are_known: impl Fn(&Entry) -> bool) -> Vec<Entry> {
        const REMOVED: u32 = 0o1000;
        let is_ours = |entry: &Entry| self.is_ours.get() || are_known(entry);
        entries().into_iter().filter(|entry| is_ours(entry) && entry.mode & REMOVED == 0).collect()
    }

    /// The lock files that belong to none of these segments.
    fn strays(&self, entries: &[Entry]) -> Vec<String> {
        let names = if self.is_ours.get() { sidecars() } else { Vec::new() };
        let of = |entry: &Entry| match entry.key {
            0 => format!("-i{}", entry.id),
            key => format!("-k{key:08x}"),
        };
        let is_stray = |name: &String| !entries.iter().any(|entry| name.ends_with(&of(entry)));
        names.into_iter().filter(is_stray).collect()
    }

    fn remains(&self, are_known: impl Fn(&Entry) -> bool) -> Vec<String> {
        let entries = self.entries(are_known);
        let mut remains = self.strays(&entries);
        remains.extend(entries.iter().map(|entry| format!("{entry:?}")));
        remains
    }

    fn remove(&self, are_known: impl Fn(&Entry) -> bool) {
        for entry in self.entries(are_known) {
            remove(entry.id);
        }
        for name in self.strays(&[]) {
            let _ = fs::remove_file(format!("/dev/shm/{name}"));
        }
    }
}

/// One with a key.
pub(crate) struct Keyed {
    place: Place,
    address: Address,
    key: Key,
    /// What gives it its key.
    _file: Option<Name>,
}

impl Keyed {
    pub(crate) fn by_number() -> Self {
        let key = Key::new();
        Self { place: Place::default(), address: key.address(), key, _file: None }
    }

    pub(crate) fn by_path() -> Self {
        let name = Name::file("ftok");
        fs::write(name.path(), b"").unwrap();
        let found = fs::metadata(name.path()).unwrap();
        let low = |value: u64, mask: u64| u32::try_from(value & mask).unwrap();
        let key = Key::known(77 << 24 | low(found.dev(), 0xff) << 16 | low(found.ino(), 0xffff));
        let address = format!("sysv:{}:77", name.path().display()).into();
        Self { place: Place::default(), address, key, _file: Some(name) }
    }

    fn entry(&self) -> Option<Entry> {
        entries().into_iter().find(|entry| entry.key == self.key.number())
    }
}

impl Backend for Keyed {
    fn features(&self) -> &'static [Feature] {
        use Feature::{Content, Creates, Mode, Name, Observers, Processes, Temporary};
        &[Creates, Name, Processes, Observers, Temporary, Mode, Content]
    }

    fn set_up(&self) -> std::result::Result<(), &'static str> {
        self.place.enter();
        Ok(())
    }

    fn create(&self, options: &Options) -> Result<Segment> {
        options.create(&self.address)
    }

    fn invite_with(&self, _: &Segment, options: Options) -> Invitation {
        let address = self.address.clone();
        Box::new(move || options.open(address))
    }

    fn bytes(&self, segment: &Segment) -> Vec<u8> {
        bytes(segment)
    }

    fn address(&self) -> Address {
        self.address.clone()
    }

    fn content(&self) -> Vec<u8> {
        let entry = self.entry().unwrap();
        Raw::attach(entry.id, entry.size).read()
    }

    fn replace_content(&self, bytes: &[u8]) {
        let there = self.entry().filter(|entry| entry.size == bytes.len()).map(|entry| entry.id);
        let id = there.unwrap_or_else(|| {
            self.remove();
            make(&self.key, bytes.len())
        });
        Raw::attach(id, bytes.len()).write(0, bytes);
    }

    fn mode(&self) -> u32 {
        self.entry().unwrap().mode & 0o777
    }

    fn remains(&self) -> Vec<String> {
        self.place.remains(|entry| entry.key == self.key.number())
    }

    fn remove(&self) {
        self.place.remove(|entry| entry.key == self.key.number());
        let _ = fs::remove_file(self.key.sidecar());
    }
}

/// One that no key finds. Others find it by its number.
#[derive(Default)]
pub(crate) struct Private {
    place: Place,
    made: RefCell<Vec<i32>>,
}

impl Backend for Private {
    fn features(&self) -> &'static [Feature] {
        &[Feature::Creates, Feature::Processes, Feature::Observers, Feature::Temporary]
    }

    fn set_up(&self) -> std::result::Result<(), &'static str> {
        self.place.enter();
        Ok(())
    }

    fn create(&self, options: &Options) -> Result<Segment> {
        let segment = options.sysv_private()?;
        self.made.borrow_mut().push(id_of(&segment));
        Ok(segment)
    }

    fn invite_with(&self, segment: &Segment, options: Options) -> Invitation {
        let address = segment.sysv_address().unwrap();
        Box::new(move || options.open(address))
    }

    fn bytes(&self, segment: &Segment) -> Vec<u8> {
        bytes(segment)
    }

    fn remains(&self) -> Vec<String> {
        self.place.remains(|entry| self.made.borrow().contains(&entry.id))
    }

    fn remove(&self) {
        self.place.remove(|entry| self.made.borrow().contains(&entry.id));
    }
}

impl Drop for Keyed {
    fn drop(&mut self) {
        self.remove();
    }
}

impl Drop for Private {
    fn drop(&mut self) {
        self.remove();
    }
}

fn id_of(segment: &Segment) -> i32 {
    let mapped = entries_mapped_at(segment.address());
    mapped.unwrap_or_else(|| panic!("{:#x} is not mapped", segment.address()))
}

/// The number of what is attached at an address, as the kernel shows it: also of one that was removed.
fn entries_mapped_at(address: usize) -> Option<i32> {
    let maps = fs::read_to_string("/proc/self/maps").unwrap();
    let line = maps.lines().find(|line| line.starts_with(&format!("{address:x}-")))?;
    line.split_whitespace().nth(4)?.parse().ok()
}

fn bytes(segment: &Segment) -> Vec<u8> {
    Raw::attach(id_of(segment), usize::try_from(segment.size()).unwrap()).read()
}
