//! One execution: a segment is corrupted and opened, and one operation done on every structure in it.

use std::fs::File;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use nix::fcntl::SealFlag;
use outlive::segment::Options;
use outlive::{Error, Owner, Segment};
use outlive_drivers::{Act, Actor, ObjectsAct, RecordsAct, SpscAct, StreamAct, WholeAct};

use super::board::Board;
use super::mutation;
use super::random::Random;
use super::templates::{self, Template, memfd, write};
use super::trusted;

/// How the corrupted bytes come to be a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// A sealed object, as it is.
    Sealed,
    /// The same, for an attachment that only looks.
    Observed,
    /// The same, in mode `Trusted`.
    Trusted,
    /// A copy of it on the heap.
    Copied,
    /// An object that has more bytes, or fewer.
    Resized,
    /// A file with a name, as long as it may be.
    Named,
    /// Bytes that never were a segment.
    Foreign,
    /// An object that its maker could truncate.
    Unsealed,
}

const WAYS: [Way; 40] = {
    let mut ways = [Way::Sealed; 40];
    let others = [
        (Way::Observed, 3),
        (Way::Trusted, 3),
        (Way::Copied, 3),
        (Way::Resized, 2),
        (Way::Named, 2),
        (Way::Foreign, 1),
        (Way::Unsealed, 1),
    ];
    let (mut i, mut way) = (0, 0);
    while way < others.len() {
        let mut n = 0;
        while n < others[way].1 {
            ways[i] = others[way].0;
            (i, n) = (i + 1, n + 1);
        }
        way += 1;
    }
    ways
};

/// What a worker uses again for each execution.
#[derive(Debug)]
pub struct World {
    templates: Vec<Template>,
    strangers: Vec<Vec<u8>>,
    bytes: Vec<u8>,
    /// For files with a name: removed by whoever made it up.
    path: PathBuf,
    /// To be told what happens.
    verbose: bool,
}

impl World {
    pub fn new(path: PathBuf, verbose: bool) -> Self {
        let templates = templates::all();
        let strangers = strangers(&templates[0].image);
        Self { templates, strangers, bytes: Vec::new(), path, verbose }
    }

    /// Does what the seed says.
    ///
    /// # Panics
    /// If a promise is broken. If it is broken worse, this process does not return.
    pub fn execute(&mut self, seed: u64, board: &Board) {
        let mut random = Random::new(seed);
        let way = random.one_of(&WAYS);
        let template = choose(&mut random, &self.templates);
        self.bytes.clone_from(&template.image);
        mutation::some(&mut random, &mut self.bytes, &template.places);
        if self.verbose {
            tell(way, template, &self.bytes);
        }
        let here = Here { template, board, verbose: self.verbose };
        let options = Segment::options().prefault(random.once_in(32));
        match way {
            Way::Sealed => {
                here.template.write(&self.bytes);
                here.attach(options, here.file(), |segment| here.use_all(&mut random, segment));
            }
            Way::Observed => {
                here.template.write(&self.bytes);
                here.attach(options.read_only(true), here.file(), |segment| {
                    here.use_all(&mut random, segment)
                });
            }
            Way::Trusted => {
                here.template.write(&self.bytes);
                here.attach(options, here.file(), |segment| {
                    here.template.scribbler.unjam(&here.template.living);
                    trusted::use_all(segment, |said| here.note("trusted", &said));
                });
            }
            Way::Copied => {
                here.template.write(&self.bytes);
                here.attach(options, here.file(), |segment| match segment.snapshot() {
                    Ok(copy) => here.use_all(&mut random, copy),
                    Err(error) => here.note("snapshot", &Err(error)),
                });
            }
            Way::Resized => {
                let len = resized(&mut random, &mut self.bytes);
                let fd = memfd(&self.bytes, len, SealFlag::F_SEAL_SHRINK);
                here.attach(options.prefault(false), fd, |segment| here.use_all(&mut random, segment));
            }
            Way::Named => {
                let len = resized(&mut random, &mut self.bytes);
                let file = File::options().write(true).create(true).truncate(true).open(&self.path);
                let file = file.expect("a file in shared memory");
                file.write_all_at(&self.bytes, 0).and_then(|()| file.set_len(len)).expect("memory for it");
                here.opened(options.prefault(false).open(&self.path), |segment| {
                    here.use_all(&mut random, segment)
                });
            }
            Way::Foreign => {
                let stranger = &self.strangers[random.below(self.strangers.len())];
                let fd = memfd(stranger, stranger.len() as u64, SealFlag::F_SEAL_SHRINK);
                let opened = options.from_fd(fd);
                assert!(matches!(opened, Err(Error::Foreign { .. })), "{opened:?}");
                here.opened(opened, |_| ());
            }
            Way::Unsealed => {
                let fd = memfd(&self.bytes, self.bytes.len() as u64, SealFlag::F_SEAL_GROW);
                let opened = options.from_fd(fd);
                assert!(matches!(opened, Err(Error::Denied { .. })), "{opened:?}");
                here.opened(opened, |_| ());
            }
        }
    }
}

fn choose<'a>(random: &mut Random, templates: &'a [Template]) -> &'a Template {
    loop {
        let template = &templates[random.below(templates.len())];
        // Attaching may take two seconds where the rows of the dead cannot be given out again: seldom, then.
        if !template.is_full || random.once_in(64) {
            return template;
        }
    }
}

/// An execution under way.
struct Here<'a> {
    template: &'a Template,
    board: &'a Board,
    verbose: bool,
}

impl Here<'_> {
    fn file(&self) -> OwnedFd {
        self.template.file.try_clone().expect("one more descriptor").into()
    }

    fn attach(&self, options: Options, fd: OwnedFd, then: impl FnOnce(Segment)) {
        self.template.scribbler.unjam(&self.template.living);
        self.opened(options.from_fd(fd), then);
    }

    fn opened(&self, opened: Result<Segment, Error>, then: impl FnOnce(Segment)) {
        match opened {
            Ok(segment) => {
                self.board.opened();
                then(segment);
            }
            Err(error) => {
                assert!(!error.to_string().is_empty());
                self.note("open", &Err(error));
            }
        }
    }

    fn note(&self, what: &str, said: &Result<(), Error>) {
        if self.verbose {
            eprintln!("  {what}: {said:?}");
        }
        self.board.count(said);
    }

    /// One operation on every structure, and what it takes to get there.
    fn use_all(&self, random: &mut Random, segment: Segment) {
        let (owner, size) = (segment.owner(), segment.size());
        let mut actor = Actor::new(segment);
        // About the end, and about the beginning of the next mapping.
        let beyond = random.one_of(&[0_u64, 4096, 1 << 32]);
        let edge = size.wrapping_add(beyond + 32).wrapping_sub(8 * random.below(8) as u64);
        let mut acts = vec![
            Act::Spsc(SpscAct::Open),
            Act::Spsc(random.one_of(&[SpscAct::TrySender, SpscAct::SenderTimeout])),
            Act::Spsc(random.one_of(&[SpscAct::TryReceiver, SpscAct::ReceiverTimeout])),
            Act::Spsc(random.arbitrary()),
            Act::Spsc(random.arbitrary()),
            Act::Records(RecordsAct::Open),
            Act::Records(random.one_of(&[RecordsAct::TryReceiver, RecordsAct::ReceiverTimeout])),
            Act::Records(random.one_of(&[RecordsAct::TryRecv, RecordsAct::Read { copy: 9, release: true }])),
            Act::Records(random.one_of(&[RecordsAct::TrySender, RecordsAct::SenderTimeout])),
            Act::Records(random.arbitrary()),
            Act::Stream(StreamAct::Open),
            Act::Stream(random.one_of(&[StreamAct::TryWriter, StreamAct::WriterTimeout])),
            Act::Stream(random.one_of(&[StreamAct::TryReader, StreamAct::ReaderTimeout])),
            Act::Stream(random.arbitrary()),
            Act::Stream(random.arbitrary()),
            Act::Objects(ObjectsAct::OpenOrCreate),
            Act::Objects(ObjectsAct::Link),
            Act::Objects(ObjectsAct::Follow),
            Act::Objects(ObjectsAct::Resolve { at: edge }),
            Act::Objects(random.arbitrary()),
            Act::Whole(random.arbitrary()),
        ];
        if random.once_in(8) {
            acts.push(Act::Attach);
            acts.push(random.arbitrary());
        }
        // As it was left, or after what was done.
        let check = Act::Whole(WholeAct::Check);
        acts.insert(random.one_of(&[0, acts.len()]), check);
        for act in acts {
            self.act(&mut actor, owner, act);
        }
    }

    fn act(&self, actor: &mut Actor, owner: Owner, act: Act) {
        // The words may name one who lives, and never gives the directory back: that ends in `Busy`, after seconds.
        self.template.scribbler.unjam(&self.template.living);
        if actor.segment().owner() != owner {
            self.template.scribbler.unjam(&[owner]);
        }
        if self.verbose {
            eprintln!("  {act:?}"); // before: it may be the last word
        }
        self.note("  says", &actor.try_act(act));
    }
}

/// A length for the object: page by page, byte by byte, or far more than there is.
fn resized(random: &mut Random, bytes: &mut Vec<u8>) -> u64 {
    let len = bytes.len();
    let shorter = random.below(len + 1);
    let length = match random.below(8) {
        0 => shorter,
        1 => shorter / 4096 * 4096,
        2 => (shorter / 4096 * 4096 + 1).min(len),
        3 => len - 1,
        4 => len + 1,
        5 => len + 4096 * (1 + random.below(8)),
        6 => len + random.below(1 << 16),
        _ => 1 << 45, // more than any machine has memory for
    };
    bytes.truncate(length);
    if random.once_in(2) && bytes.len() >= 4096 {
        let claimed = length as u64 + random.one_of(&[0, 1, 4096, 1 << 20]);
        write(bytes, 128, claimed); // and its header knows, or claims more
        write(bytes, 16, claimed);
    }
    length as u64
}

/// What is no segment: other programs' files, and those of another version.
fn strangers(image: &[u8]) -> Vec<Vec<u8>> {
    let mut program = vec![0; 1 << 16];
    let read = File::open("/proc/self/exe").and_then(|mut file| file.read(&mut program));
    program.truncate(read.expect("a program can be read"));
    let mut random = Random::new(1);
    let noise = (0..1 << 12).flat_map(|_| random.next().to_le_bytes()).collect();
    let mut later = image.to_vec();
    write(&mut later, 8, 2);
    let mut flagged = image.to_vec();
    write(&mut flagged, 24, 1 << 63);
    let mut unfinished = image.to_vec();
    write(&mut unfinished, 0, 0);
    vec![
        program,
        noise,
        later,
        flagged,
        unfinished,
        vec![0; 1 << 15],
        vec![0xff; 1 << 15],
        Vec::new(),
        image[..8].to_vec(),
        image[..1024].to_vec(),
        b"#!/bin/sh\n".repeat(1000),
    ]
}

fn tell(way: Way, template: &Template, bytes: &[u8]) {
    eprintln!("{way:?}, {:?}", template.label);
    for (at, (old, new)) in template.image.chunks(8).zip(bytes.chunks(8)).enumerate() {
        if old != new {
            eprintln!("  at {}: {old:02x?} -> {new:02x?}", 8 * at);
        }
    }
}
