//! The check over a segment that two attachments use and a third party scribbles over.
//!
//! As long as nobody has scribbled, nothing is broken. After that: whatever the bytes are, the check ends, and says
//! something that can be shown.

use crate::{Act, Actor, LONGEST, ObjectsAct, Scribbler, Value};
use arbitrary::Arbitrary;
use outlive::{Segment, inspect};

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
}

const SIZE: usize = 64 << 10;
/// Header, rows, directory, and where the first objects begin.
const TABLES: usize = 16 << 10;

fn look(segment: &Segment) -> bool {
    let report = inspect::check(segment);
    assert!(report.to_string().lines().count() == report.findings.len() + 1);
    assert_eq!(report.unsettled, 0, "nobody writes meanwhile");
    report.is_sound()
}

/// What happens, one after the other.
#[derive(Arbitrary, Debug)]
pub struct Input(Vec<Step>);

/// # Panics
/// If a promise is broken.
pub fn run(input: Input) {
    let segment = Segment::options().size(SIZE).rows(6).memfd("fuzz").expect("memory for a segment");
    let other = segment.attach().expect("two of six rows");
    let eyes = segment.attach().expect("three of six rows");
    let scribbler = Scribbler::new(&segment).expect("a memfd has a descriptor");
    let mut actors = [Actor::new(segment), Actor::new(other)];
    let unjam = |actors: &[Actor; 2]| {
        scribbler.unjam(&[actors[0].segment().owner(), actors[1].segment().owner(), eyes.owner()]);
    };
    let mut clean = true;
    for step in input.0.into_iter().take(LONGEST) {
        clean &= matches!(step, Step::Act { .. } | Step::Snapshot);
        match step {
            Step::Act { act: Act::Objects(ObjectsAct::Resolve { .. }), .. } => continue, // writes anywhere
            Step::Act { second, act } => {
                unjam(&actors);
                actors[usize::from(second)].act(act);
            }
            Step::Scribble { at, value } => scribbler.scribble(at.into(), value),
            Step::Tables { at, value } => scribbler.scribble(usize::from(at) % TABLES, value),
            Step::Flood { at, value } => {
                for (word, at) in (usize::from(at)..SIZE).step_by(8).enumerate() {
                    let word = u32::try_from(word % 64).expect("small");
                    scribbler.scribble(at, Value::Any(value.rotate_left(word).wrapping_mul(0x9e37_79b9)));
                }
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
}
