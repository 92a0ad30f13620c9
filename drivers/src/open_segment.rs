//! Arbitrary bytes as a segment: a valid one with changes, or something else altogether.
//!
//! Attaching to it, and everything that can be done with it then, answers or errs; nothing panics, faults or hangs.

use std::fs::File;
use std::io::{Read, Seek, Write};
use std::os::fd::OwnedFd;
use std::sync::OnceLock;

use crate::{
    Act, Actor, LONGEST, ObjectsAct, RecordsAct, Scribbler, SpscAct, Steps, StreamAct, Value, WholeAct, words,
};
use arbitrary::Arbitrary;
use nix::fcntl::{FcntlArg, SealFlag, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};
use outlive::Segment;

/// A world, and what happens in it.
#[derive(Arbitrary, Debug)]
pub struct Input {
    start: Start,
    /// Words to change: where, into what.
    changes: Vec<(u16, Value)>,
    /// How many bytes to keep.
    cut: Option<u16>,
    sealed: bool,
    acts: Steps<Act>,
}

#[derive(Arbitrary, Debug)]
enum Start {
    /// A segment whose processes are gone.
    Left,
    /// A copy of one whose processes live and hold its roles.
    Held,
    /// Nothing that ever was a segment.
    Bytes(Vec<u8>),
}

/// The two valid segments: left, held.
fn templates() -> &'static [Vec<u8>; 2] {
    static TEMPLATES: OnceLock<[Vec<u8>; 2]> = OnceLock::new();
    TEMPLATES.get_or_init(|| {
        let segment =
            Segment::options().size(32 << 10).rows(6).memfd("template").expect("memory for a segment");
        let fd =
            segment.as_fd().expect("a memfd has a descriptor").try_clone_to_owned().expect("a descriptor");
        let mut actor = Actor::new(segment);
        for act in [
            Act::Spsc(SpscAct::Create { capacity: 4 }),
            Act::Objects(ObjectsAct::OpenOrCreate),
            Act::Spsc(SpscAct::TrySender),
            Act::Spsc(SpscAct::TryReceiver),
            Act::Spsc(SpscAct::TrySend(1)),
            Act::Spsc(SpscAct::TrySend(2)),
            Act::Spsc(SpscAct::TryRecv),
            Act::Records(RecordsAct::OpenOrCreate { capacity: 128 }),
            Act::Records(RecordsAct::TrySender),
            Act::Records(RecordsAct::TrySend { len: 20 }),
            Act::Stream(StreamAct::OpenOrCreate { capacity: 128 }),
            Act::Stream(StreamAct::TryWriter),
            Act::Stream(StreamAct::TryWrite { len: 20 }),
        ] {
            actor.act(act);
        }
        let mut file = File::from(fd);
        let held = read(&mut file);
        drop(actor);
        [read(&mut file), held]
    })
}

fn read(file: &mut File) -> Vec<u8> {
    let mut bytes = Vec::new();
    file.rewind().and_then(|()| file.read_to_end(&mut bytes)).expect("a memfd can be read");
    bytes
}

fn memfd(bytes: &[u8], sealed: bool) -> OwnedFd {
    let fd = memfd_create("fuzz", MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING).expect("a memfd");
    let mut file = File::from(fd);
    file.write_all(bytes).expect("memory for a segment");
    if sealed {
        let seals = SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_GROW;
        fcntl(&file, FcntlArg::F_ADD_SEALS(seals)).expect("a memfd that allows it");
    }
    file.into()
}

/// # Panics
/// If a promise is broken.
pub fn run(input: Input) {
    let mut bytes = match input.start {
        Start::Left => templates()[0].clone(),
        Start::Held => templates()[1].clone(),
        Start::Bytes(bytes) => bytes,
    };
    for (at, value) in input.changes.into_iter().take(LONGEST) {
        words(&mut bytes, usize::from(at), value);
    }
    bytes.truncate(input.cut.map_or(usize::MAX, usize::from));
    match Segment::options().from_fd(memfd(&bytes, input.sealed)) {
        Ok(segment) => {
            let scribbler = Scribbler::new(&segment).expect("a memfd has a descriptor");
            let mut actor = Actor::new(segment);
            for act in [WholeAct::Attachments, WholeAct::Objects] {
                actor.act(Act::Whole(act));
            }
            actor.act(Act::Spsc(SpscAct::Open));
            actor.act(Act::Records(RecordsAct::Open));
            actor.act(Act::Stream(StreamAct::Open));
            for act in input.acts.0 {
                scribbler.unjam(&[actor.segment().owner()]);
                actor.act(act);
            }
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}
