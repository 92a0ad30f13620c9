//! Two attachments work while a third party scribbles over header, tables and ring.
//!
//! Nothing may panic, fault or hang: an answer or a typed error, whatever the bytes are. The scribbler aims, because
//! words spread over the whole memory find nothing in the same time.

use crate::{Act, Actor, LONGEST, RecordsAct, Scribbler, Value};
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
const CONTROL: usize = (1 << 10) + RECORDS as usize;
/// Bytes of a ring of records.
const RECORDS: u16 = 128;

/// What happens, one after the other.
#[derive(Arbitrary, Debug)]
pub struct Input(Vec<Step>);

/// # Panics
/// If a promise is broken.
pub fn run(input: Input) {
    let segment = Segment::options().size(64 << 10).rows(6).memfd("fuzz").expect("memory for a segment");
    let other = segment.attach().expect("two of six rows");
    let scribbler = Scribbler::new(&segment).expect("a memfd has a descriptor");
    let mut actors = [Actor::new(segment), Actor::new(other)];
    for actor in &mut actors {
        actor.act(Act::OpenOrCreateRing { capacity: 4 });
        actor.act(Act::Object);
        actor.act(Act::Records(RecordsAct::OpenOrCreate { capacity: RECORDS }));
    }
    for (first, second) in [
        (Act::TrySender, Act::TryReceiver),
        (Act::Records(RecordsAct::TrySender), Act::Records(RecordsAct::TryReceiver)),
    ] {
        actors[0].act(first);
        actors[1].act(second);
    }
    let objects = actors[0].segment().objects().expect("nobody has scribbled yet");
    for step in input.0.into_iter().take(LONGEST) {
        match step {
            Step::Act { second, act } => {
                scribbler.unjam([actors[0].segment().owner(), actors[1].segment().owner()]);
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
    scribbler.unjam([actors[0].segment().owner(), actors[1].segment().owner()]);
}
