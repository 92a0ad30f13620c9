//! The ring of records: frames, pads, marks; commit, and what a successor makes of what a dead one left.
//!
//! ```text
//!   area: words; a frame: header(words, number), the record's words        pad: to the end of the area, no frame
//!   tail, head: position | mark 0: position, count | mark 1: position, count
//!
//!   send     head (if the limit is near) -> each word of the record -> its header -> header of the pad
//!            -> mark (count mod 2): position -> count -> tail                   `send_one`, `set_headers`, `publish_counted`
//!   receive  tail -> header -> pad? the header behind it -> each word -> mark: position -> count -> head
//!                                                                        `frame`, `frame_behind_pad`, `release`
//!   succeed  position -> the mark of that position -> peer's position           `End::resume`, `resume_count`
//! ```
//! Each arrow is a step, and so is each word. Either end dies after each step, and has a successor: that there is one at a
//! time is in `ends`. Records have any of the lengths that are given, so that a successor writes other frames over those
//! which its predecessor did not commit.
//!
//! # Invariants
//! * `B-I3`: `head <= tail <= head + capacity`.
//! * `R-I8`: of the two marks of an end one belongs to the published position, and has its count.
//! * `WHOLE`: what is received is the next record that was committed, whole.
//! * Good: all was sent, and received.
//!
//! Not in the model: memory orderings; grants that are committed with fewer bytes; positions that come round; corruption.

use outlive_models::{Invariant, Model, Steps, caught, full, holds};

const BI3: Invariant = "B-I3: head <= tail <= head + capacity";
const RI8: Invariant = "R-I8: one mark belongs to the published position";
const WHOLE: Invariant = "what is received is what was committed, whole";

const WORDS: usize = 8;
const MOST: usize = 5;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Word {
    Junk,
    /// Of so many words, this one included; of that record.
    Header {
        words: u8,
        record: u8,
    },
    Pad {
        words: u8,
    },
    /// Which word of which record, and in the writing of which holder.
    Data {
        record: u8,
        n: u8,
        writer: u8,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Mark {
    position: u8,
    count: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Track {
    position: u8,
    marks: [Mark; 2],
}

/// Where an end is: what its holder does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum At {
    Position,
    Count,
    Limit,
    Ready,

    /// Sender: room for a record of so many words, which begins there.
    Room {
        words: u8,
        frame: u8,
    },
    Data {
        words: u8,
        frame: u8,
        n: u8,
    },
    Header {
        words: u8,
        frame: u8,
    },
    Pad {
        words: u8,
        frame: u8,
    },
    MarkPosition {
        next: u8,
    },
    MarkCount {
        next: u8,
    },
    Publish {
        next: u8,
    },

    /// Receiver.
    Look,
    First,
    Behind {
        at: u8,
    },
    Read {
        at: u8,
        words: u8,
        n: u8,
        writer: Option<u8>,
    },
}

/// One end, and its holder.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct End {
    at: At,
    position: u8,
    count: u8,
    limit: u8,
    /// How many holders there were.
    holder: u8,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct State {
    area: [Word; WORDS],
    tracks: [Track; 2],
    ends: [End; 2],
    /// Words of each record that was committed, and who wrote it.
    committed: [(u8, u8); MOST],
    /// How many of them were published: known to nobody but the model.
    sent: u8,
    received: u8,
    deaths: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Bug {
    PublishBeforeData,
    HeaderForgotten,
    PadForgotten,
    /// The pad is published, and then the frame behind it.
    PadPublishedAlone,
    /// Room is asked for without the pad.
    RoomWithoutPad,
    ReleaseBeforeRead,
    /// Both counts are written to one mark.
    OneMark,
    MarkBehindPublish,
    /// The successor takes the greater mark, published or not.
    NewestMark,
}

#[derive(Clone, Copy, Debug)]
struct Ring {
    capacity: u8,
    mirrored: bool,
    records: u8,
    /// Lengths of frames, in words.
    lengths: &'static [u8],
    deaths: u8,
    bug: Option<Bug>,
}

const SENDER: usize = 0;
const RECEIVER: usize = 1;

impl Ring {
    fn is(&self, bug: Bug) -> bool {
        self.bug == Some(bug)
    }

    fn slot(&self, position: u8) -> usize {
        usize::from(position % self.capacity)
    }

    fn until_wrap(&self, position: u8) -> u8 {
        self.capacity - position % self.capacity
    }

    fn publish(next: &mut State, end: usize, to: u8) -> Result<(), Invariant> {
        next.tracks[end].position = to;
        let count = next.ends[end].count + 1;
        if end == SENDER {
            next.sent += 1;
        } else {
            next.received += 1;
        }
        next.ends[end].position = to;
        next.ends[end].count = count;
        if next.sent != next.ends[SENDER].count && end == SENDER { Err(RI8) } else { Ok(()) }
    }

    /// The next record of a sender, in each length that it may have.
    fn begin(&self, state: &State, steps: &mut Steps<State>) {
        let end = state.ends[SENDER];
        for &words in self.lengths {
            let crosses = !self.mirrored && words > self.until_wrap(end.position);
            let pad = if crosses { self.until_wrap(end.position) } else { 0 };
            let need = if self.is(Bug::RoomWithoutPad) { words } else { words + pad };
            let mut next = state.clone();
            let enough = end.limit >= end.position + need;
            next.ends[SENDER].at =
                if enough { At::Room { words, frame: end.position + pad } } else { At::Limit };
            steps.to(SENDER, "wants to send a record", next);
        }
    }

    fn send(&self, next: &mut State) -> Result<&'static str, Invariant> {
        let me = next.ends[SENDER];
        let (what, at) = match me.at {
            At::Room { words, frame } => {
                let early = self.is(Bug::PublishBeforeData);
                next.committed[usize::from(me.count)] = (words, me.holder);
                let at = match words {
                    _ if early => At::MarkPosition { next: frame + words },
                    1 => At::Header { words, frame },
                    _ => At::Data { words, frame, n: 1 },
                };
                ("has room", at)
            }
            At::Data { words, frame, n } => {
                let record = me.count - u8::from(self.is(Bug::PublishBeforeData));
                next.area[self.slot(frame + n)] = Word::Data { record, n, writer: me.holder };
                let more = n + 1 < words;
                let at = if more { At::Data { words, frame, n: n + 1 } } else { At::Header { words, frame } };
                ("writes a word", at)
            }
            At::Header { words, frame } => {
                let record = me.count - u8::from(self.is(Bug::PublishBeforeData));
                if !self.is(Bug::HeaderForgotten) {
                    next.area[self.slot(frame)] = Word::Header { words, record };
                }
                let late = self.is(Bug::PublishBeforeData);
                let at = match frame == me.position || self.is(Bug::PadForgotten) {
                    _ if late => At::Ready,
                    true => At::MarkPosition { next: frame + words },
                    false => At::Pad { words, frame },
                };
                ("writes the header", at)
            }
            At::Pad { words, frame } => {
                next.area[self.slot(me.position)] = Word::Pad { words: frame - me.position };
                if self.is(Bug::PadPublishedAlone) {
                    next.tracks[SENDER].position = frame;
                    next.tracks[SENDER].marks[usize::from(me.count % 2)].position = frame;
                }
                ("writes the header of a pad", At::MarkPosition { next: frame + words })
            }
            _ => return self.commit(next, SENDER),
        };
        next.ends[SENDER].at = at;
        Ok(what)
    }

    /// Mark and position, of either end.
    fn commit(&self, next: &mut State, end: usize) -> Result<&'static str, Invariant> {
        let me = next.ends[end];
        let count = me.count + 1;
        let mark = if self.is(Bug::OneMark) { 0 } else { usize::from(count % 2) };
        let late = self.is(Bug::MarkBehindPublish);
        let (what, at) = match me.at {
            At::MarkPosition { next: to } if late && me.position != to => {
                Self::publish(next, end, to)?;
                ("publishes", At::MarkPosition { next: to })
            }
            At::MarkPosition { next: to } => {
                let mark = if late { usize::from(me.count % 2) } else { mark };
                next.tracks[end].marks[mark].position = to;
                ("marks the position", At::MarkCount { next: to })
            }
            At::MarkCount { next: to } => {
                let (mark, count) = if late { (usize::from(me.count % 2), me.count) } else { (mark, count) };
                next.tracks[end].marks[mark].count = count;
                ("marks the count", if late { At::Ready } else { At::Publish { next: to } })
            }
            At::Publish { next: to } => {
                Self::publish(next, end, to)?;
                let (words, _) = next.committed[usize::from(me.count)];
                let rest = At::Data { words, frame: to - words, n: 1 };
                let header = At::Header { words, frame: to - words };
                let read = At::Read { at: me.position, words, n: 1, writer: None };
                let at = match end {
                    SENDER if self.is(Bug::PublishBeforeData) && words == 1 => header,
                    SENDER if self.is(Bug::PublishBeforeData) => rest,
                    RECEIVER if self.is(Bug::ReleaseBeforeRead) && words > 1 => read,
                    _ => At::Ready,
                };
                ("publishes", at)
            }
            at => ("does nothing", at),
        };
        next.ends[end].at = at;
        Ok(what)
    }

    /// The frame of the next record, at `at`.
    fn frame(&self, state: &State, at: u8) -> Result<At, Invariant> {
        let me = state.ends[RECEIVER];
        let wanted = state.committed[usize::from(me.count)];
        match state.area[self.slot(at)] {
            Word::Header { words, record } if record == me.count && words == wanted.0 => {
                let in_one_piece = self.mirrored || words <= self.until_wrap(at);
                if at + words > me.limit || !in_one_piece {
                    return Err(WHOLE);
                }
                if words == 1 || self.is(Bug::ReleaseBeforeRead) {
                    return Ok(At::MarkPosition { next: at + words });
                }
                Ok(At::Read { at, words, n: 1, writer: None })
            }
            Word::Pad { words }
                if at == me.position && words == self.until_wrap(at) && at + words < me.limit =>
            {
                Ok(At::Behind { at: at + words })
            }
            _ => Err(WHOLE),
        }
    }

    fn receive(&self, next: &mut State) -> Result<&'static str, Invariant> {
        let me = next.ends[RECEIVER];
        let (what, at) = match me.at {
            At::Ready if me.limit > me.position => ("looks at a header", At::First),
            At::Ready => ("has nothing", At::Look),
            At::Look => {
                next.ends[RECEIVER].limit = next.tracks[SENDER].position;
                ("looks at the tail", At::Ready)
            }
            At::First => ("reads a header", self.frame(next, me.position)?),
            At::Behind { at } => ("reads the header behind a pad", self.frame(next, at)?),
            At::Read { at, words, n, .. } => {
                let late = self.is(Bug::ReleaseBeforeRead);
                let record = me.count - u8::from(late);
                let (_, writer) = next.committed[usize::from(record)];
                if next.area[self.slot(at + n)] != (Word::Data { record, n, writer }) {
                    return Err(WHOLE);
                }
                let more = n + 1 < words;
                let then = if late { At::Ready } else { At::MarkPosition { next: at + words } };
                ("reads a word", if more { At::Read { at, words, n: n + 1, writer: None } } else { then })
            }
            _ => return self.commit(next, RECEIVER),
        };
        next.ends[RECEIVER].at = at;
        Ok(what)
    }

    /// A successor's first steps; and the limit, which a sender looks at whenever it is near.
    fn resume(&self, next: &mut State, end: usize) -> Result<&'static str, Invariant> {
        let track = next.tracks[end];
        let me = &mut next.ends[end];
        Ok(match me.at {
            At::Position => {
                me.position = track.position;
                me.at = At::Count;
                "looks where the last one stopped"
            }
            At::Count => {
                let newest = track.marks.iter().max_by_key(|mark| mark.count);
                let mark = track.marks.iter().find(|mark| mark.position == me.position);
                let mark = if self.is(Bug::NewestMark) { newest } else { mark };
                me.count = mark.ok_or(RI8)?.count;
                me.at = At::Limit;
                let truth = if end == SENDER { next.sent } else { next.received };
                if next.ends[end].count != truth {
                    return Err(RI8);
                }
                "looks for the mark of that position"
            }
            _ => {
                let peer = next.tracks[1 - end].position;
                me.limit = if end == SENDER { peer + self.capacity } else { peer };
                me.at = At::Ready;
                "looks at its peer's position"
            }
        })
    }
}

impl Model for Ring {
    type State = State;

    fn start(&self) -> State {
        // As a creator leaves it: mark 0 is that of the first position, mark 1 that of none.
        let none = Mark { position: u8::MAX, count: 0 };
        let track = Track { position: 0, marks: [Mark { position: 0, count: 0 }, none] };
        let end = End { at: At::Position, position: 0, count: 0, limit: 0, holder: 0 };
        State {
            area: [Word::Junk; WORDS],
            tracks: [track; 2],
            ends: [end; 2],
            committed: [(0, 0); MOST],
            sent: 0,
            received: 0,
            deaths: self.deaths,
        }
    }

    fn steps(&self, state: &State, steps: &mut Steps<State>) {
        for end in [SENDER, RECEIVER] {
            let me = state.ends[end];
            let count = if end == SENDER { state.sent } else { state.received };
            let begins = me.at == At::Ready && end == SENDER;
            let mut next = state.clone();
            if me.at == At::Ready && count == self.records {
                continue;
            }
            if begins {
                self.begin(state, steps);
            } else {
                let found = match me.at {
                    At::Position | At::Count | At::Limit => self.resume(&mut next, end),
                    _ if end == SENDER => self.send(&mut next),
                    _ => self.receive(&mut next),
                };
                steps.to_or_breach(end, found.unwrap_or("goes on"), found.map(|_| next));
            }
            if state.deaths > 0 {
                let mut next = state.clone();
                let holder = me.holder + 1;
                next.ends[end] = End { at: At::Position, position: 0, count: 0, limit: 0, holder };
                next.deaths -= 1;
                steps.to(end, "dies, and has a successor", next);
            }
        }
    }

    fn check(&self, state: &State) -> Result<(), Invariant> {
        let [tail, head] = state.tracks.map(|track| track.position);
        if head > tail || tail > head + self.capacity {
            return Err(BI3);
        }
        for (track, count) in state.tracks.iter().zip([state.sent, state.received]) {
            let is_it = |mark: &Mark| mark.position == track.position && mark.count == count;
            if !track.marks.iter().any(is_it) {
                return Err(RI8);
            }
        }
        Ok(())
    }

    fn is_good(&self, state: &State) -> bool {
        [state.sent, state.received] == [self.records; 2]
    }

    fn name(&self, who: usize) -> String {
        if who == SENDER { "sender".to_owned() } else { "receiver".to_owned() }
    }
}

fn of(records: u8, deaths: u8) -> Ring {
    Ring { capacity: 8, mirrored: false, records, lengths: &[1, 3, 4], deaths, bug: None }
}

#[test]
fn records_are_there_as_a_whole_or_not_at_all() {
    let explored = |ring: Ring, least| {
        let Ring { mirrored, records, deaths, lengths, .. } = ring;
        let kind = if mirrored { "mirrored" } else { "plain" };
        let what = format!("records: {kind}, {records} of {lengths:?} words, {deaths} deaths");
        holds(&what, &ring, least);
    };
    explored(of(3, 1), 1000);
    explored(of(4, 1), 10_000);
    explored(of(3, 2), 10_000);
    explored(Ring { mirrored: true, lengths: &[2, 7], ..of(3, 2) }, 10_000);
    if full() {
        explored(of(5, 1), 10_000);
        explored(of(4, 2), 10_000);
    }
}

#[test]
fn planted_bugs_are_caught() {
    for (bug, ring, invariant) in [
        (Bug::PublishBeforeData, of(2, 0), WHOLE),
        (Bug::HeaderForgotten, of(1, 0), WHOLE),
        (Bug::PadForgotten, of(3, 0), WHOLE),
        (Bug::PadPublishedAlone, of(3, 0), WHOLE),
        (Bug::RoomWithoutPad, of(4, 0), WHOLE),
        (Bug::ReleaseBeforeRead, of(4, 0), WHOLE),
        (Bug::OneMark, of(2, 0), RI8),
        (Bug::MarkBehindPublish, of(2, 0), RI8),
        (Bug::NewestMark, of(2, 1), RI8),
    ] {
        caught(&format!("records: {bug:?}"), &Ring { bug: Some(bug), ..ring }, invariant);
    }
}
