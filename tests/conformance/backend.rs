//! The kinds of segments: how one is made, and how others come to it.

use std::fs;
use std::os::unix::fs::FileExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use outlive::ptr::Offset;
use outlive::segment::{HugePages, Options};
use outlive::{Address, Result, Segment};

use crate::common::Name;
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
    /// Others can attach who only look.
    Observers,
    /// `as_fd`: all its bytes can be read through it.
    Descriptor,
    /// It can be unlinked by its last detach.
    Temporary,
    /// Permission bits, which decide who may attach.
    Mode,
    /// There can be something else at its address, with any bytes: see [`Backend::content`].
    Content,
    /// Whoever may write it may also make it smaller.
    Truncation,
    /// Nobody can make it smaller, whatever he may do with it otherwise.
    Sealed,
}

/// How somebody comes to a segment, in this process or in a forked one: once.
pub(crate) type Invitation = Box<dyn FnOnce() -> Result<Segment>>;

/// One kind of segment, and a place where nobody else makes one.
pub(crate) trait Backend {
    /// What it has.
    fn features(&self) -> &'static [Feature];

    /// Before the process is forked in which it is to be used. An error says why this machine has none.
    fn set_up(&self) -> std::result::Result<(), &'static str> {
        Ok(())
    }

    /// Makes one here.
    fn create(&self, options: &Options) -> Result<Segment>;

    /// For somebody who is to come to it, with these options.
    fn invite_with(&self, segment: &Segment, options: Options) -> Invitation;

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

    /// What lies at its address has so many bytes from now on, with [`Feature::Truncation`].
    fn truncate(&self, _len: u64) {
        unreachable!("a promise that takes a truncation says so")
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

    /// For somebody who is to come to it.
    fn invite(&self, segment: &Segment) -> Invitation {
        self.invite_with(segment, Segment::options())
    }

    /// For somebody who only looks, with [`Feature::Observers`].
    fn observe(&self, segment: &Segment) -> Invitation {
        self.invite_with(segment, Segment::options().read_only(true))
    }

    /// All of its bytes, as far as others see them.
    fn bytes(&self, segment: &Segment) -> Vec<u8> {
        let Some(fd) = segment.as_fd() else {
            // Without the tables, in which offsets do not end.
            let first = segment.objects().unwrap().iter().map(|object| object.at).min().unwrap();
            let places = (first..segment.size()).step_by(8).map(Offset::<u64>::new);
            return places.flat_map(|at| segment.resolve(at).unwrap().read().to_le_bytes()).collect();
        };
        let mut bytes = vec![0; usize::try_from(segment.size()).unwrap()];
        fs::File::from(fd.try_clone_to_owned().unwrap()).read_exact_at(&mut bytes, 0).unwrap();
        bytes
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

    fn invite_with(&self, segment: &Segment, _: Options) -> Invitation {
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
        use Feature::{
            Content, Creates, Descriptor, Mode, Name, Observers, Processes, Temporary, Truncation,
        };
        &[Creates, Name, Processes, Observers, Descriptor, Temporary, Mode, Content, Truncation]
    }

    fn create(&self, options: &Options) -> Result<Segment> {
        options.create(self.0.address())
    }

    fn invite_with(&self, _: &Segment, options: Options) -> Invitation {
        let address = self.0.address();
        Box::new(move || options.open(address))
    }

    fn address(&self) -> Address {
        self.0.address()
    }

    fn content(&self) -> Vec<u8> {
        fs::read(self.0.path()).unwrap()
    }

    fn replace_content(&self, bytes: &[u8]) {
        // In place, where it has that length.
        let file = fs::File::options().write(true).create(true).truncate(false).open(self.0.path()).unwrap();
        file.set_len(bytes.len() as u64).unwrap();
        file.write_all_at(bytes, 0).unwrap();
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

/// What each memfd has.
const MEMFD: &[Feature] =
    &[Feature::Creates, Feature::Processes, Feature::Observers, Feature::Descriptor, Feature::Sealed];

/// A descriptor, which others inherit.
#[derive(Default)]
pub(crate) struct Memfd {
    pages: HugePages,
}

impl Memfd {
    pub(crate) fn of_huge_pages() -> Self {
        Self { pages: HugePages::Mb2 }
    }
}

impl Backend for Memfd {
    fn features(&self) -> &'static [Feature] {
        MEMFD
    }

    fn set_up(&self) -> std::result::Result<(), &'static str> {
        let free = || fs::read_to_string("/sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages").ok();
        // As many as the tests take that run at once.
        if self.pages == HugePages::No || free().is_some_and(|free| free.trim().parse::<u32>().unwrap() >= 32)
        {
            return Ok(());
        }
        Err("fewer than 32 huge pages are free (vm.nr_hugepages)")
    }

    fn granule(&self) -> usize {
        if self.pages == HugePages::No { 4096 } else { 2 << 20 }
    }

    fn create(&self, options: &Options) -> Result<Segment> {
        options.clone().huge_pages(self.pages).memfd("conformance")
    }

    fn invite_with(&self, segment: &Segment, options: Options) -> Invitation {
        let fd = segment.as_fd().unwrap().try_clone_to_owned().unwrap();
        Box::new(move || options.from_fd(fd))
    }
}

/// The same, handed over through a UNIX socket.
pub(crate) struct OverSocket;

impl Backend for OverSocket {
    fn features(&self) -> &'static [Feature] {
        MEMFD
    }

    fn create(&self, options: &Options) -> Result<Segment> {
        Memfd::default().create(options)
    }

    fn invite_with(&self, segment: &Segment, options: Options) -> Invitation {
        let (ours, theirs) = UnixStream::pair().unwrap();
        segment.send_over(&ours).unwrap();
        Box::new(move || options.receive_over(&theirs))
    }
}

/// For forked children, who know their parent's handle.
pub(crate) struct Anonymous;

impl Backend for Anonymous {
    fn features(&self) -> &'static [Feature] {
        &[Feature::Creates, Feature::Processes, Feature::Descriptor, Feature::Sealed]
    }

    fn create(&self, options: &Options) -> Result<Segment> {
        options.anonymous()
    }

    fn invite_with(&self, segment: &Segment, _: Options) -> Invitation {
        let segment = segment.clone();
        Box::new(move || segment.attach())
    }
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

    fn invite_with(&self, segment: &Segment, options: Options) -> Invitation {
        self.0.invite_with(segment, options)
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
