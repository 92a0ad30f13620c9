//! The check over a segment that two attachments use and a third party scribbles over.
//!
//! As long as nobody has scribbled, nothing is broken, whoever was killed. After that: whatever the bytes are, the check
//! ends, and says something that can be shown. On the heap there is nobody who scribbles.

use crate::{Act, Actor, ObjectsAct, RecordsAct, Scribbler, SpscAct, Steps, StreamAct, Value};
use arbitrary::Arbitrary;
use outlive::inspect::{self, Severity};
use outlive::{Segment, testing};

#[derive(Arbitrary, Debug)]
enum Step {
    Act {
        second: bool,
        act: Act,
    },
    /// Anywhere.
    Scribble {
        at: u16,
        value: Value,
    },
    /// Into header, rows and directory.
    Tables {
        at: u16,
        value: Value,
    },
    /// All of it, from there on.
    Flood {
        at: u16,
        value: u64,
    },
    Snapshot,
    /// An attachment is killed, or leaves if it cannot be; another comes in its place.
    Kill {
        second: bool,
    },
}

const SIZE: usize = 64 << 10;
/// Header, rows, directory, and where the first objects begin.
const TABLES: usize = 16 << 10;
/// So many invariants does no segment of this size have.
const MANY: u64 = 4000;

fn look(segment: &Segment) -> bool {
    let report = inspect::check(segment);
    assert!(report.to_string().lines().count() == report.findings.len() + 1);
    assert!(report.invariants < MANY, "{report}");
    assert_eq!(report.unsettled, 0, "nobody writes meanwhile");
    report.is_sound()
}

/// What happens, one after the other.
#[derive(Arbitrary, Debug)]
pub struct Input {
    on_heap: bool,
    /// Nothing is there at first.
    bare: bool,
    steps: Steps<Step>,
}

/// # Panics
/// If a promise is broken.
pub fn run(input: Input) {
    let options = Segment::options().size(SIZE).rows(6);
    let segment = if input.on_heap { options.heap() } else { options.memfd("fuzz") };
    let segment = segment.expect("memory for a segment");
    let other = segment.attach().expect("two of six rows");
    let eyes = segment.attach().expect("three of six rows");
    let scribbler = Scribbler::new(&segment);
    let mut actors = [Actor::new(segment), Actor::new(other)];
    let unjam = |actors: &[Actor; 2]| {
        if let Some(scribbler) = &scribbler {
            scribbler.unjam(&[actors[0].segment().owner(), actors[1].segment().owner(), eyes.owner()]);
        }
    };
    if !input.bare {
        for actor in &mut actors {
            actor.act(Act::Spsc(SpscAct::OpenOrCreate { capacity: 4 }));
            actor.act(Act::Records(RecordsAct::OpenOrCreate { capacity: 64 }));
            actor.act(Act::Stream(StreamAct::OpenOrCreate { capacity: 16 }));
        }
        for (first, second) in [
            (Act::Spsc(SpscAct::TrySender), Act::Spsc(SpscAct::TryReceiver)),
            (Act::Records(RecordsAct::TrySender), Act::Records(RecordsAct::TryReceiver)),
            (Act::Stream(StreamAct::TryWriter), Act::Stream(StreamAct::TryReader)),
        ] {
            actors[0].act(first);
            actors[1].act(second);
        }
        for number in 0..4 {
            actors[0].act(Act::Spsc(SpscAct::TrySend(number)));
            actors[0].act(Act::Records(RecordsAct::TrySend { len: 8 }));
            actors[0].act(Act::Stream(StreamAct::TryWrite { len: 4 }));
        }
    }
    let mut clean = true;
    for step in input.steps.0 {
        clean &= scribbler.is_none() || matches!(step, Step::Act { .. } | Step::Snapshot | Step::Kill { .. });
        match step {
            Step::Act { act: Act::Objects(ObjectsAct::Resolve { .. }), .. } => continue, // writes anywhere
            // If the rows are scribbled over, none may be free, and that takes two seconds each time.
            Step::Act { act: Act::Attach, .. } | Step::Kill { .. } if !clean => continue,
            Step::Act { second, act } => {
                unjam(&actors);
                actors[usize::from(second)].act(act);
            }
            Step::Scribble { at, value } => scribble(&scribbler, at.into(), value),
            Step::Tables { at, value } => scribble(&scribbler, usize::from(at) % TABLES, value),
            Step::Flood { at, value } => {
                for (word, at) in (usize::from(at)..SIZE).step_by(8).enumerate() {
                    let word = u32::try_from(word % 64).expect("small");
                    let value = value.rotate_left(word).wrapping_mul(0x9e37_79b9);
                    scribble(&scribbler, at, Value::Any(value));
                }
            }
            Step::Kill { second } => {
                unjam(&actors);
                let actor = &mut actors[usize::from(second)];
                let killed = testing::kill(actor.segment());
                assert_eq!(killed.is_ok(), scribbler.is_none());
                *actor = Actor::new(eyes.attach().expect("rows of the dead are given out again"));
            }
            Step::Snapshot => {
                if let Ok(copy) = eyes.snapshot() {
                    assert!(look(&copy) || !clean);
                }
            }
        }
        let sound = look(&eyes);
        assert!(sound || !clean, "{}", inspect::check(&eyes));
    }
    unjam(&actors);
    drop(actors);
    if clean {
        eyes.sweep().expect("this attachment lives");
        let report = inspect::check(&eyes);
        let worst = report.findings.iter().map(|finding| finding.severity).max();
        assert!(worst <= Some(Severity::Note) && report.dead == 0, "{report}");
    }
}

fn scribble(scribbler: &Option<Scribbler>, at: usize, value: Value) {
    if let Some(scribbler) = scribbler {
        scribbler.scribble(at, value);
    }
}
