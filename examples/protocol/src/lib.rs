//! The latest value, and a bell: one publisher, any number of readers, one listener.
//!
//! The words are in an [`Object`]; the bell is one of outlive's rings. Whoever is killed, wherever: the latest value that was
//! committed can be read whole, the next publisher carries on, and the bell has been rung for it.
//!
//! | dies | left | outcome |
//! |---|---|---|
//! | publish, before the commit | half a value in the slot that nobody reads | the value before |
//! | publish, behind the commit | the value, without a bell | the next publisher rings |
//! | publisher, anywhere | its stamp | the next publisher takes it over |

use outlive::atomic::{AtomicU64, Ordering, fence};
use outlive::object::Object;
use outlive::ring::spsc::{Ring, Sender};
use outlive::{Owner, Segment};

/// Who publishes (a stamp, or 0), how often was published, and two values of two words each.
pub type Words = Object<[AtomicU64; 6]>;
/// Index of the publisher's stamp.
pub const PUBLISHER: usize = 0;
/// Index of the number of values that were published: the commit word.
pub const VERSION: usize = 1;

/// Where the words of a version are.
pub fn slot(version: u64) -> [usize; 2] {
    if version % 2 == 0 { [2, 3] } else { [4, 5] }
}

/// The latest value.
#[derive(Clone, Debug)]
pub struct Latest {
    segment: Segment,
    words: Words,
    bell: Ring<u64>,
}

/// The right to publish, until it is dropped. It is not inherited: a forked child must not publish with its copy, and gives
/// nothing up when it drops it.
#[derive(Debug)]
pub struct Publisher {
    latest: Latest,
    /// `Some`, until it is dropped.
    bell: Option<Sender<u64>>,
    /// Whose it is: nothing else tells a forked child from its parent.
    process: u32,
}

impl Latest {
    /// Opens it in a segment, or makes it.
    ///
    /// # Errors
    /// Those of outlive's objects and rings.
    pub fn open_or_create(segment: &Segment) -> outlive::Result<Self> {
        let words = Words::open_or_create(segment, "latest", Default::default)?;
        let bell = Ring::open_or_create(segment, "latest.bell", 4)?;
        Ok(Self { segment: segment.clone(), words, bell })
    }

    /// The version and the value, whole; version 0 is no value.
    pub fn read(&self) -> (u64, [u64; 2]) {
        loop {
            let version = self.words[VERSION].load(Ordering::Acquire);
            let value = slot(version).map(|word| self.words[word].load(Ordering::Relaxed));
            fence(Ordering::Acquire); // a word of the version after next shows that there is a next one
            if self.words[VERSION].load(Ordering::Relaxed) == version {
                return (version, value);
            }
        }
    }

    /// The bell: whoever receives a version from it reads that one, or a later one.
    pub fn bell(&self) -> &Ring<u64> {
        &self.bell
    }

    /// The words themselves, for tests.
    pub fn words(&self) -> &Words {
        &self.words
    }

    /// The right to publish; `None` if a living process has it. From the dead it is taken over.
    ///
    /// # Errors
    /// Those of outlive's rings.
    pub fn publisher(&self) -> outlive::Result<Option<Publisher>> {
        let stamp = u64::from(self.segment.owner().bits());
        let holder = self.words[PUBLISHER].load(Ordering::Acquire);
        let owner = Owner::from_bits((holder & 0xff_ffff) as u32);
        if owner.is_some_and(|owner| !self.segment.is_dead(owner)) {
            return Ok(None);
        }
        let taken =
            self.words[PUBLISHER].compare_exchange(holder, stamp, Ordering::Acquire, Ordering::Relaxed);
        if taken.is_err() {
            return Ok(None); // somebody else was faster
        }
        let bell = match self.bell.try_sender() {
            Ok(bell) => bell,
            Err(why) => {
                self.words[PUBLISHER].store(0, Ordering::Release);
                return Err(why);
            }
        };
        let mut publisher = Publisher { latest: self.clone(), bell: Some(bell), process: std::process::id() };
        publisher.ring(); // in the place of one who was killed before he did
        Ok(Some(publisher))
    }
}

impl Publisher {
    /// Publishes a value.
    pub fn publish(&mut self, value: [u64; 2]) {
        let words = &self.latest.words;
        let next = words[VERSION].load(Ordering::Relaxed) + 1; // only we change it
        fence(Ordering::Release); // whoever reads a word of this version sees that the last one was committed
        for (word, half) in slot(next).into_iter().zip(value) {
            words[word].store(half, Ordering::Relaxed);
        }
        words[VERSION].store(next, Ordering::Release); // the commit instruction
        self.ring();
    }

    /// Tells the listener, unless enough is in the bell for it to look up.
    fn ring(&mut self) {
        let version = self.latest.words[VERSION].load(Ordering::Relaxed); // only we change it
        if let (Some(bell), 1..) = (&mut self.bell, version) {
            let _ = bell.try_send(version);
        }
    }
}

impl Drop for Publisher {
    /// The bell first: whoever finds the stamp gone takes it at once.
    fn drop(&mut self) {
        if let Some(bell) = self.bell.take() {
            bell.resign();
        }
        if std::process::id() != self.process {
            return;
        }
        let stamp = u64::from(self.latest.segment.owner().bits());
        let mine = &self.latest.words[PUBLISHER];
        // Refused: we count as dead, and somebody has taken over.
        let _ = mine.compare_exchange(stamp, 0, Ordering::Release, Ordering::Relaxed);
    }
}
