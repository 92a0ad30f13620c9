//! What an actor does with objects of atomics, and with offsets that lie in them.

use arbitrary::Arbitrary;
use outlive::atomic::{AtomicU64, Ordering};
use outlive::object::Object;
use outlive::ptr::{AtomicOffset, Offset};
use outlive::{Error, Segment};

/// Something that a user may do with objects of his own.
#[derive(Arbitrary, Clone, Copy, Debug)]
#[allow(missing_docs, reason = "they are named as the calls that they make")]
pub enum ObjectsAct {
    Open,
    OpenOrCreate,
    Create {
        number: u8,
    },
    OpenAsAnotherType,
    OpenAsALargerType,
    Remove,
    RemoveNumber {
        number: u8,
    },
    Add,
    Link,
    PointAtWord,
    Follow,
    /// Reads and writes there, wherever that is.
    Resolve {
        at: u64,
    },
    Look,
}

/// What an actor has of them.
#[derive(Debug, Default)]
pub(crate) struct Objects {
    word: Option<Object<AtomicU64>>,
    link: Option<Object<AtomicOffset<u64>>>,
    created: Option<Object<[AtomicU64; 16]>>,
}

/// One of a few names.
fn numbered(number: u8) -> String {
    format!("object {}", number % 4)
}

impl Objects {
    /// Whatever the memory holds: an answer or an error.
    pub(crate) fn attempt(&mut self, segment: &Segment, act: ObjectsAct) -> Result<(), Error> {
        let relaxed = Ordering::Relaxed;
        match act {
            ObjectsAct::Open => self.word = Some(Object::open(segment, "object")?),
            ObjectsAct::OpenOrCreate => {
                self.word = Some(Object::open_or_create(segment, "object", AtomicU64::default)?);
            }
            ObjectsAct::Create { number } => {
                self.created = Some(Object::create(segment, &numbered(number), Default::default)?);
            }
            ObjectsAct::OpenAsAnotherType => drop(Object::<AtomicU64>::open(segment, "ring")?),
            ObjectsAct::OpenAsALargerType => drop(Object::<[AtomicU64; 32]>::open(segment, "object")?),
            ObjectsAct::Remove => segment.remove("object")?,
            ObjectsAct::RemoveNumber { number } => segment.remove(&numbered(number))?,
            ObjectsAct::Add => {
                let old = self.word.as_ref().map(|word| word.fetch_add(1, relaxed));
                self.created.iter().for_each(|words| words[15].store(old.unwrap_or(0), relaxed));
            }
            ObjectsAct::Link => {
                self.link = Some(Object::open_or_create(segment, "link", AtomicOffset::default)?);
            }
            ObjectsAct::PointAtWord => {
                if let (Some(link), Some(word)) = (&self.link, &self.word) {
                    link.store(Offset::new(word.offset().get()), relaxed);
                }
            }
            ObjectsAct::Follow => {
                if let Some(link) = &self.link {
                    let target = link.load(relaxed);
                    let _ = segment.resolve(target)?.read();
                }
            }
            ObjectsAct::Resolve { at } => {
                let place = segment.resolve(Offset::<u64>::new(at))?;
                place.write(place.read())?;
            }
            ObjectsAct::Look => {
                let shown = format!("{:?} {:?} {:?}", self.word, self.link, self.created);
                assert!(!shown.is_empty());
            }
        }
        Ok(())
    }
}
