//! Live: a process writes into a segment while two attachments of another one work with it.

use outlive::Segment;
use outlive_drivers::{Act, Actor, ObjectsAct, RecordsAct, Scribbler, SpscAct, StreamAct};

use super::board::Board;
use super::mutation;
use super::random::Random;
use super::templates::{self, Template};

/// What both processes use.
#[derive(Debug)]
pub struct Stage(Template);

/// Operations between one sound segment and the next.
const ACTS: usize = 64;

impl Stage {
    pub fn new() -> Self {
        Self(templates::all().swap_remove(0))
    }

    /// Writes until it is stopped. Most of what it breaks it puts right in a moment, so that there is always something that
    /// a user can get on with, and so that words change between two looks.
    pub fn scribble(&self, seed: u64, board: &Board) {
        let mut random = Random::new(seed);
        while !board.is_stopped() {
            board.begin(seed);
            for _ in 0..=random.below(4) {
                self.disturb(&mut random);
            }
            spin(random.below(2000));
            board.done();
        }
    }

    fn disturb(&self, random: &mut Random) {
        let Template { places, scribbler, image, .. } = &self.0;
        let next = random.once_in(2).then(|| self.next_record(random)).flatten();
        let at = next.unwrap_or_else(|| mutation::aim(random, places, image.len()));
        let old = scribbler.look(at);
        let new = mutation::value(random, image, places, old);
        if at == Scribbler::DIRECTORY_LOCK {
            // One who lives and is made to hold the directory never gives it back: that is no fault, but takes seconds.
            return scribbler.scribble_to(at, 0);
        }
        // Again and again: so that two looks at one word see two values.
        for _ in 0..random.one_of(&[0, 100, 1000]) {
            scribbler.scribble_to(at, new);
            scribbler.scribble_to(at, old);
        }
        scribbler.scribble_to(at, new);
        spin(random.below(400));
        if !random.once_in(8) {
            scribbler.scribble_to(at, old);
        }
    }

    /// Where the receiver of some ring looks next.
    fn next_record(&self, random: &mut Random) -> Option<usize> {
        const HEAD: usize = 256;
        let Template { places, scribbler, image, .. } = &self.0;
        let capacity = |&at: &usize| templates::read(image, at + 16);
        let begins = places.objects.iter().map(|&(at, _)| at);
        let rings: Vec<usize> = begins.filter(|at| capacity(at).is_power_of_two()).collect();
        let at = random.one_of(&rings);
        let slot = scribbler.look(at + HEAD) & (capacity(&at) - 1);
        let place = at + 1024 + usize::try_from(slot).ok()?;
        (place + 8 <= image.len()).then_some(place)
    }

    /// Uses it until it is stopped.
    ///
    /// # Panics
    /// If a promise is broken.
    pub fn work(&self, seed: u64, board: &Board) {
        let mut random = Random::new(seed);
        while !board.is_stopped() {
            board.begin(seed);
            self.0.write(&self.0.image);
            let attach = || Segment::options().from_fd(self.0.file.try_clone().expect("a descriptor").into());
            match (attach(), attach()) {
                (Ok(first), Ok(second)) => {
                    board.opened();
                    self.play(&mut random, [Actor::new(first), Actor::new(second)], board);
                }
                (first, second) => [first, second].into_iter().for_each(|one| board.count(&one.map(drop))),
            }
            board.done();
        }
    }

    fn play(&self, random: &mut Random, mut actors: [Actor; 2], board: &Board) {
        let mut act = |who: usize, act| board.count(&actors[who].try_act(act));
        for who in [0, 1] {
            act(who, Act::Spsc(SpscAct::Open));
            act(who, Act::Records(RecordsAct::Open));
            act(who, Act::Stream(StreamAct::Open));
            act(who, Act::Objects(ObjectsAct::OpenOrCreate));
        }
        act(0, Act::Spsc(SpscAct::TrySender));
        act(1, Act::Spsc(SpscAct::TryReceiver));
        act(0, Act::Records(RecordsAct::TrySender));
        act(1, Act::Records(RecordsAct::TryReceiver));
        act(0, Act::Stream(StreamAct::TryWriter));
        act(1, Act::Stream(StreamAct::TryReader));
        for _ in 0..ACTS {
            // Messages mostly: everything else takes longer.
            match random.below(8) {
                0 => act(random.below(2), random.arbitrary()),
                1 | 2 => {
                    act(0, Act::Spsc(SpscAct::SendSlice { len: 3 }));
                    act(1, Act::Spsc(SpscAct::Read { max: 4, release: Some(4) }));
                }
                3 | 4 => {
                    act(0, Act::Stream(StreamAct::TryWrite { len: 100 }));
                    act(1, Act::Stream(StreamAct::TryRead { len: 100 }));
                }
                _ => {
                    act(0, Act::Records(RecordsAct::TrySend { len: 30 }));
                    act(
                        1,
                        Act::Records(
                            random
                                .one_of(&[RecordsAct::TryRecv, RecordsAct::Read { copy: 40, release: true }]),
                        ),
                    );
                }
            }
        }
    }
}

/// For some nanoseconds, roughly.
fn spin(steps: usize) {
    for _ in 0..steps {
        std::hint::spin_loop();
    }
}
