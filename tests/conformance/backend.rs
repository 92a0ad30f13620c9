//! The kinds of segments: how one is made, and how others come to it.

use std::fs;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use outlive::segment::Options;
use outlive::{Address, Result, Segment};

use crate::common::Name;
use crate::common::sysv::{self, Key};
use crate::peer::Peer;

/// What not every kind of segment has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Feature {
    /// This process creates it.
    Creates,
    /// An address: whoever knows it finds the segment, and only one can be created there.
    Name,
    /// Other processes can attach.
    Processes,
    /// `as_fd`: all its bytes can be read through it.
    Descriptor,
    /// It can be unlinked by its last detach.
    Temporary,
    /// Permission bits, which decide who may attach.
    Mode,
    /// There can be something else at its address, with any bytes: see [`Backend::content`].
    Content,
    /// Nobody can make it smaller, whatever he may do with it otherwise.
    Sealed,
}

/// How somebody comes to a segment, in this process or in a forked one: once.
pub(crate) type Invitation = Box<dyn FnOnce() -> Result<Segment>>;

/// One kind of segment, and a place where nobody else makes one.
pub(crate) trait Backend {
    /// What it has.
    fn features(&self) -> &'static [Feature];

    /// Makes one here.
    fn create(&self, options: &Options) -> Result<Segment>;

    /// For somebody who is to come to it.
    fn invite(&self, segment: &Segment) -> Invitation;

    /// Where it is, with [`Feature::Name`].
    fn address(&self) -> Address {
        unreachable!("a promise that takes a name says so")
    }

    /// What lies at its address, whatever it is, with [`Feature::Content`].
    fn content(&self) -> Vec<u8> {
        unreachable!("a promise that takes contents says so")
    }

    /// Puts something else there.
    fn replace_content(&self, _bytes: &[u8]) {
        unreachable!("a promise that takes contents says so")
    }

    /// What lies at its address has so many bytes from now on.
    fn truncate(&self, _len: u64) {
        unreachable!("a promise that takes contents says so")
    }

    /// Its permission bits, with [`Feature::Mode`].
    fn mode(&self) -> u32 {
        unreachable!("a promise that takes permissions says so")
    }

    /// Whether the way to it is open to this process, be it denied itself.
    fn can_be_reached(&self) -> bool {
        true
    }

    /// What of it is left in this system when nobody is attached any more.
    fn remains(&self) -> Vec<String> {
        Vec::new()
    }

    /// Takes away what [remains](Self::remains).
    fn remove(&self) {}

    /// Its sizes are multiples of this.
    fn granule(&self) -> usize {
        4096
    }

    fn has(&self, feature: Feature) -> bool {
        self.features().contains(&feature)
    }

    /// One of the usual size.
    fn segment(&self) -> Segment {
        self.create(&Segment::options().size(1 << 16)).unwrap()
    }

    /// A further attachment, as another one's who comes.
    fn join(&self, segment: &Segment) -> Result<Segment> {
        self.invite(segment)()
    }
}

/// In this process alone: `testing::kill` plays death, a further attachment another process.
pub(crate) struct Heap;

impl Backend for Heap {
    fn features(&self) -> &'static [Feature] {
        &[Feature::Creates]
    }

    fn create(&self, options: &Options) -> Result<Segment> {
        options.heap()
    }

    fn invite(&self, segment: &Segment) -> Invitation {
        let segment = segment.clone();
        Box::new(move || segment.attach())
    }
}

/// A file, in shared memory or elsewhere.
pub(crate) struct Named(Name);

impl Named {
    pub(crate) fn shm() -> Self {
        Self(Name::shm("conformance"))
    }

    pub(crate) fn file() -> Self {
        Self(Name::file("conformance"))
    }
}

impl Backend for Named {
    fn features(&self) -> &'static [Feature] {
        use Feature::{Content, Creates, Descriptor, Mode, Name, Processes, Temporary};
        &[Creates, Name, Processes, Descriptor, Temporary, Mode, Content]
    }

    fn create(&self, options: &Options) -> Result<Segment> {
        options.create(self.0.address())
    }

    fn invite(&self, _: &Segment) -> Invitation {
        let address = self.0.address();
        Box::new(move || Segment::open(address))
    }

    fn address(&self) -> Address {
        self.0.address()
    }

    fn content(&self) -> Vec<u8> {
        fs::read(self.0.path()).unwrap()
    }

    fn replace_content(&self, bytes: &[u8]) {
        fs::write(self.0.path(), bytes).unwrap();
    }

    fn truncate(&self, len: u64) {
        fs::File::options().write(true).open(self.0.path()).unwrap().set_len(len).unwrap();
    }

    fn mode(&self) -> u32 {
        use std::os::unix::fs::PermissionsExt;
        fs::metadata(self.0.path()).unwrap().permissions().mode() & 0o7777
    }

    fn can_be_reached(&self) -> bool {
        self.0.path().exists()
    }

    fn remains(&self) -> Vec<String> {
        names_like(&self.0.path()).iter().map(|path| path.display().to_string()).collect()
    }

    fn remove(&self) {
        for path in names_like(&self.0.path()) {
            fs::remove_file(path).unwrap();
        }
    }
}

/// Everything in its folder that begins like it.
fn names_like(path: &Path) -> Vec<PathBuf> {
    let prefix = path.file_name().unwrap().to_str().unwrap();
    let entries = fs::read_dir(path.parent().unwrap()).unwrap();
    let paths = entries.map(|entry| entry.unwrap().path());
    paths
        .filter(|path| path.file_name().unwrap().to_str().is_some_and(|name| name.starts_with(prefix)))
        .collect()
}

/// System V shared memory.
pub(crate) struct Sysv(Key);

impl Sysv {
    pub(crate) fn new() -> Self {
        Self(Key::new())
    }
}

impl Backend for Sysv {
    fn features(&self) -> &'static [Feature] {
        &[Feature::Creates, Feature::Name, Feature::Processes, Feature::Temporary, Feature::Mode]
    }

    fn create(&self, options: &Options) -> Result<Segment> {
        options.create(self.0.address())
    }

    fn invite(&self, _: &Segment) -> Invitation {
        let address = self.0.address();
        Box::new(move || Segment::open(address))
    }

    fn address(&self) -> Address {
        self.0.address()
    }

    fn mode(&self) -> u32 {
        let entries = sysv::entries();
        entries.iter().find(|entry| entry.key == self.0.number()).unwrap().mode
    }

    fn remains(&self) -> Vec<String> {
        // A lock file alone is something, too.
        let what = format!("id {:?}, lock file {}", self.0.id(), self.0.sidecar().exists());
        if self.0.is_clean() { Vec::new() } else { vec![what] }
    }

    fn remove(&self) {
        if let Some(id) = self.0.id() {
            sysv::remove(id);
        }
        let _ = fs::remove_file(self.0.sidecar());
    }
}

/// A descriptor, which others inherit.
pub(crate) struct Memfd;

impl Backend for Memfd {
    fn features(&self) -> &'static [Feature] {
        &[Feature::Creates, Feature::Processes, Feature::Descriptor, Feature::Sealed]
    }

    fn create(&self, options: &Options) -> Result<Segment> {
        options.memfd("conformance")
    }

    fn invite(&self, segment: &Segment) -> Invitation {
        let fd = descriptor(segment);
        Box::new(move || Segment::options().from_fd(fd))
    }
}

fn descriptor(segment: &Segment) -> OwnedFd {
    segment.as_fd().unwrap().as_fd().try_clone_to_owned().unwrap()
}

/// One with a name that another process creates and leaves to this one.
pub(crate) struct OfAnother(pub(crate) Named);

impl Backend for OfAnother {
    fn features(&self) -> &'static [Feature] {
        let (first, others) = self.0.features().split_first().unwrap();
        assert_eq!(*first, Feature::Creates);
        others
    }

    fn create(&self, options: &Options) -> Result<Segment> {
        let mut creator = Peer::start_at_home(|line| {
            let made = self.0.create(options);
            line.say(if made.is_ok() { "made" } else { "refused" });
            line.hear();
        });
        let result = match creator.line.hear().as_str() {
            "made" => options.open(self.address()),
            _ => self.0.create(options), // as another one who tries
        };
        creator.line.say("leave");
        creator.ends();
        result
    }

    fn invite(&self, segment: &Segment) -> Invitation {
        self.0.invite(segment)
    }

    fn address(&self) -> Address {
        self.0.address()
    }

    fn content(&self) -> Vec<u8> {
        self.0.content()
    }

    fn replace_content(&self, bytes: &[u8]) {
        self.0.replace_content(bytes);
    }

    fn truncate(&self, len: u64) {
        self.0.truncate(len);
    }

    fn mode(&self) -> u32 {
        self.0.mode()
    }

    fn can_be_reached(&self) -> bool {
        self.0.can_be_reached()
    }

    fn remains(&self) -> Vec<String> {
        self.0.remains()
    }

    fn remove(&self) {
        self.0.remove();
    }
}
