//! What an input does: one operation a byte.

use outlive::{Segment, testing};
use outlive_example_protocol::{Latest, Publisher};

/// How somebody becomes the publisher: by the protocol, or with a bug.
pub(crate) type Claim = fn(&Latest) -> outlive::Result<Option<Publisher>>;

/// A process, as far as the segment can tell.
struct Actor {
    segment: Segment,
    latest: Latest,
    publisher: Option<Publisher>,
}

impl Actor {
    fn new(first: &Segment) -> Self {
        let segment = first.attach().unwrap();
        let latest = Latest::open_or_create(&segment).unwrap();
        Self { segment, latest, publisher: None }
    }
}

fn value(number: u64) -> [u64; 2] {
    [number, !number]
}

/// Does it, and compares with a plain variable.
///
/// # Panics
/// If a promise is broken.
pub(crate) fn drive(input: &[u8], claim: Claim) {
    let segment = Segment::heap(1 << 16).unwrap();
    let latest = Latest::open_or_create(&segment).unwrap();
    let mut bell = latest.bell().try_receiver().unwrap();
    let mut actors = [(); 3].map(|()| Actor::new(&segment));
    let mut dead = Vec::new(); // what they have stays as it is until the end
    let mut count = 0;
    let mut unheard = false;
    for operation in input {
        let taken = actors.iter().any(|actor| actor.publisher.is_some());
        let actor = &mut actors[usize::from(operation / 8 % 3)];
        match operation % 8 {
            0 | 1 => match claim(&actor.latest).unwrap() {
                Some(publisher) => {
                    assert!(!taken, "two publishers");
                    actor.publisher = Some(publisher);
                }
                None => assert!(taken, "nobody alive publishes, and nobody may"),
            },
            2 | 3 => {
                if let Some(publisher) = &mut actor.publisher {
                    count += 1;
                    publisher.publish(value(count));
                    unheard = true;
                }
            }
            4 => {
                testing::kill(&actor.segment).unwrap();
                dead.push(std::mem::replace(actor, Actor::new(&segment)));
            }
            5 => actor.publisher = None,
            6 => {
                segment.sweep().unwrap();
            }
            _ => {
                let heard: Vec<u64> = std::iter::from_fn(|| bell.try_recv().ok()).collect();
                assert!(heard.iter().all(|&heard| heard <= count), "{heard:?} of {count}");
                assert!(!unheard || !heard.is_empty(), "a value without a bell");
                unheard = false;
            }
        }
        let expected = if count == 0 { (0, [0; 2]) } else { (count, value(count)) };
        assert_eq!(latest.read(), expected);
    }
}
