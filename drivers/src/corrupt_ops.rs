//! Two attachments work while a third party scribbles over header, tables and every kind of ring.
//!
//! Nothing may panic, fault or hang: an answer or a typed error, whatever the bytes are. The scribbler aims, because
//! words spread over the whole memory find nothing in the same time.

use crate::{Act, Actor, ObjectsAct, RecordsAct, Scribbler, SpscAct, Steps, StreamAct, Value};
use arbitrary::Arbitrary;
use outlive::Segment;

#[derive(Arbitrary, Debug)]
enum Step {
    Act {
        second: bool,
        act: Act,
    },
    /// Into header, rows and directory.
    Tables {
        at: u16,
        value: Value,
    },
    /// Into the control words of an object.
    Object {
        which: u8,
        at: u16,
        value: Value,
    },
}

/// Header, rows, directory, and where the first objects begin.
const TABLES: usize = 16 << 10;
/// What a ring keeps in front of its slots, and the headers of some records.
const CONTROL: usize = (1 << 10) + BYTES as usize;
/// Of a ring of records, and of a stream.
const BYTES: u16 = 128;

/// What happens, one after the other.
#[derive(Arbitrary, Debug)]
pub struct Input(Steps<Step>);

/// # Panics
/// If a promise is broken.
pub fn run(input: Input) {
    let segment = Segment::options().size(64 << 10).rows(6).memfd("fuzz").expect("memory for a segment");
    let other = segment.attach().expect("two of six rows");
    let scribbler = Scribbler::new(&segment).expect("a memfd has a descriptor");
    let mut actors = [Actor::new(segment), Actor::new(other)];
    for actor in &mut actors {
        actor.act(Act::Spsc(SpscAct::OpenOrCreate { capacity: 4 }));
        actor.act(Act::Objects(ObjectsAct::OpenOrCreate));
        actor.act(Act::Objects(ObjectsAct::Link));
        actor.act(Act::Records(RecordsAct::OpenOrCreate { capacity: BYTES }));
        actor.act(Act::Stream(StreamAct::OpenOrCreate { capacity: BYTES }));
    }
    for (first, second) in [
        (Act::Spsc(SpscAct::TrySender), Act::Spsc(SpscAct::TryReceiver)),
        (Act::Records(RecordsAct::TrySender), Act::Records(RecordsAct::TryReceiver)),
        (Act::Stream(StreamAct::TryWriter), Act::Stream(StreamAct::TryReader)),
    ] {
        actors[0].act(first);
        actors[1].act(second);
    }
    let objects = actors[0].segment().objects().expect("nobody has scribbled yet");
    for step in input.0.0 {
        match step {
            Step::Act { second, act } => {
                scribbler.unjam(&[actors[0].segment().owner(), actors[1].segment().owner()]);
                actors[usize::from(second)].act(act);
            }
            Step::Tables { at, value } => scribbler.scribble(usize::from(at) % TABLES, value),
            Step::Object { which, at, value } => {
                let object = &objects[usize::from(which) % objects.len()];
                let start = usize::try_from(object.at).expect("inside of the segment");
                scribbler.scribble(start + usize::from(at) % CONTROL, value);
            }
        }
    }
    scribbler.unjam(&[actors[0].segment().owner(), actors[1].segment().owner()]);
}
