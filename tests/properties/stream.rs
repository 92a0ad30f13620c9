//! A stream against a queue of bytes: two ends, each in a process of its own, that come, go, panic and are killed.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{ErrorKind, Read, Seek, SeekFrom, Write};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::time::Duration;

use outlive::error::{Fault, RecvError, SendError};
use outlive::ring::stream::{Reader, Ring, Writer};
use outlive::{Error, Owner, Segment, testing};
use proptest::prelude::*;

use super::config;

/// What can be done to a stream.
#[derive(Clone, Debug)]
enum Deed {
    Write(usize),
    /// By `io::Write`, without waiting.
    WriteIo(usize),
    /// Reserve so many, fill so many, and commit or not.
    Grant(usize, usize, bool),
    /// From a file that has so many bytes more.
    Fill(usize),
    Read(usize),
    /// By `io::Read`, without waiting.
    ReadIo(usize),
    /// Peek at so many, and release so many; all, if `None`.
    Peek(usize, Option<usize>),
    /// Into a file.
    Drain,
    End(Side, Ending),
    Take(Side),
    WaitForSuccessor(Side, bool),
    Sweep,
    Reopen,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    Writing,
    Reading,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ending {
    Drop,
    Close,
    Resign,
    Panic,
    Kill,
}

fn deed() -> impl Strategy<Value = Deed> {
    let side = prop_oneof![Just(Side::Writing), Just(Side::Reading)];
    let ending = prop_oneof![
        1 => Just(Ending::Drop),
        1 => Just(Ending::Close),
        1 => Just(Ending::Resign),
        1 => Just(Ending::Panic),
        3 => Just(Ending::Kill),
    ];
    prop_oneof![
        6 => (0..12_usize).prop_map(Deed::Write),
        3 => (0..12_usize).prop_map(Deed::WriteIo),
        4 => (0..12_usize, 0..13_usize, any::<bool>()).prop_map(|(n, filled, commit)| Deed::Grant(n, filled, commit)),
        3 => (0..12_usize).prop_map(Deed::Fill),
        6 => (0..12_usize).prop_map(Deed::Read),
        3 => (0..12_usize).prop_map(Deed::ReadIo),
        5 => (0..12_usize, prop::option::of(0..12_usize)).prop_map(|(n, released)| Deed::Peek(n, released)),
        3 => Just(Deed::Drain),
        2 => (side.clone(), ending).prop_map(|(side, ending)| Deed::End(side, ending)),
        4 => side.clone().prop_map(Deed::Take),
        1 => (side, any::<bool>()).prop_map(|(side, yes)| Deed::WaitForSuccessor(side, yes)),
        1 => Just(Deed::Sweep),
        1 => Just(Deed::Reopen),
    ]
}

/// What a role is, as its peer has to see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    Vacant,
    Open(Owner),
    Closed,
    Died(Owner),
}

/// The byte at a position of the stream; 251 is a prime.
fn byte(position: u64) -> u8 {
    u8::try_from(position % 251).unwrap()
}

fn bytes(from: u64, len: usize) -> Vec<u8> {
    (from..from + len as u64).map(byte).collect()
}

/// A stream, the queue that it has to be, and the two ends, each in a process of its own.
struct World {
    base: Segment,
    ring: Ring,
    capacity: usize,
    queue: VecDeque<u8>,
    written: u64,
    read: u64,
    writer: Option<(Segment, Writer, bool)>,
    reader: Option<(Segment, Reader, bool)>,
    writing: Role,
    reading: Role,
    /// The reader has closed, and the writer may not have noticed: one more may get through.
    may_miss_closing: bool,
    file: File,
}

impl World {
    fn new(capacity: usize) -> Self {
        let base = Segment::options().size(16 << 10).rows(8).heap().unwrap();
        let ring = Ring::create(&base, "ring", capacity).unwrap();
        let file = nix::sys::memfd::memfd_create(c"outlive-test", nix::sys::memfd::MFdFlags::MFD_CLOEXEC);
        Self {
            base,
            capacity: ring.capacity(),
            ring,
            queue: VecDeque::new(),
            written: 0,
            read: 0,
            writer: None,
            reader: None,
            writing: Role::Vacant,
            reading: Role::Vacant,
            may_miss_closing: false,
            file: File::from(file.unwrap()),
        }
    }

    fn until_wrap(&self, position: u64) -> usize {
        self.capacity - usize::try_from(position).unwrap() % self.capacity
    }

    fn room(&self) -> usize {
        self.capacity - self.queue.len()
    }

    /// The file has these bytes, and is at its beginning.
    fn refill(&mut self, bytes: &[u8]) {
        self.file.set_len(0).unwrap();
        self.file.seek(SeekFrom::Start(0)).unwrap();
        self.file.write_all(bytes).unwrap();
        self.file.seek(SeekFrom::Start(0)).unwrap();
    }

    /// Why nothing can be written at the moment, if so; `patient`: a dead reader will have a successor.
    fn refusal(&self, patient: bool) -> Option<SendError> {
        match self.reading {
            Role::Closed => Some(SendError::Closed(())),
            _ if self.room() > 0 => None,
            Role::Died(owner) if !patient => Some(SendError::PeerDied((), owner)),
            _ => Some(SendError::Full(())),
        }
    }

    /// Checks the outcome of an attempt to write up to `wanted` bytes, and notes what was written.
    fn writes(&mut self, wanted: usize, expected: usize, patient: bool, outcome: Result<usize, SendError>) {
        let noticed_late = self.may_miss_closing && outcome.is_ok();
        let refusal = self.refusal(patient).filter(|_| wanted > 0 && !noticed_late);
        assert_eq!(outcome.err(), refusal, "{wanted} into {} of {}", self.queue.len(), self.capacity);
        let Ok(n) = outcome else { return };
        assert_eq!(n, expected);
        self.queue.extend(bytes(self.written, n));
        self.written += n as u64;
        self.may_miss_closing &= n == 0;
    }

    fn write(&mut self, deed: &Deed) {
        let Some((segment, mut writer, patient)) = self.writer.take() else { return };
        let (next, room) = (self.written, self.room());
        match *deed {
            Deed::Grant(n, filled, commit) => {
                let granted = n.min(room.max(1)).min(self.until_wrap(next));
                let outcome = writer.try_reserve(n).map(|mut grant| {
                    assert_eq!(grant.capacity(), granted);
                    let bytes = bytes(next, filled);
                    let some = grant.extend_from_slice(&bytes[..filled / 2]);
                    let more = grant.extend_from_slice(&bytes[some..]);
                    assert_eq!(some + more, filled.min(granted));
                    if commit { grant.commit() } else { 0 }
                });
                let committed = if commit { filled.min(granted) } else { 0 };
                self.writes(n, committed, patient, outcome);
            }
            Deed::Fill(n) => {
                self.refill(&bytes(next, n));
                writer.set_timeout(Some(Duration::ZERO));
                let outcome = writer.fill_from(&self.file).map_err(|error| refused(&error));
                let expected = n.min(room.max(1)).min(self.until_wrap(next));
                self.writes(1, expected, patient, outcome);
            }
            Deed::WriteIo(n) => {
                writer.set_timeout(Some(Duration::ZERO));
                let outcome = writer.write(&bytes(next, n)).map_err(|error| refused(&error));
                self.writes(n, n.min(room.max(1)), patient, outcome);
            }
            Deed::Write(n) => {
                self.writes(n, n.min(room.max(1)), patient, writer.try_write(&bytes(next, n)));
            }
            _ => unreachable!("not a write: {deed:?}"),
        }
        assert_eq!(writer.position(), self.written);
        self.writer = Some((segment, writer, patient));
    }

    fn read(&mut self, deed: &Deed) {
        let Some((segment, mut reader, patient)) = self.reader.take() else { return };
        let refusal = match self.writing {
            _ if !self.queue.is_empty() => None,
            Role::Closed => Some(RecvError::Closed),
            Role::Died(owner) if !patient => Some(RecvError::PeerDied(owner)),
            _ => Some(RecvError::Empty),
        };
        let there: Vec<u8> = self.queue.iter().copied().collect();
        let row = there.len().min(self.until_wrap(self.read));
        let mut into = [0; 16];
        reader.set_timeout(Some(Duration::ZERO));
        let outcome = match *deed {
            Deed::Peek(n, released) => {
                let given = n.min(row);
                reader.try_peek(n).map(|bytes| {
                    assert_eq!(bytes.copy_to(&mut into), given);
                    assert_eq!((&into[..given], bytes.len()), (&there[..given], given));
                    let gone = match released {
                        None => bytes.release(),
                        Some(0) => 0, // dropped
                        Some(k) => bytes.release_first(k),
                    };
                    assert_eq!(gone, released.unwrap_or(given).min(given));
                    gone
                })
            }
            Deed::Drain => {
                self.refill(&[]);
                reader.drain_to(&self.file).map_err(|error| ended(&error)).and_then(|n| {
                    let mut taken = Vec::new();
                    self.file.seek(SeekFrom::Start(0)).unwrap();
                    self.file.read_to_end(&mut taken).unwrap();
                    assert_eq!(taken, there[..row]);
                    if n == 0 { Err(RecvError::Closed) } else { Ok(n) }
                })
            }
            Deed::ReadIo(n) => match reader.read(&mut into[..n]) {
                Ok(0) if n > 0 => Err(RecvError::Closed),
                other => other.map_err(|error| ended(&error)).inspect(|&k| assert_eq!(into[..k], there[..k])),
            },
            Deed::Read(n) => reader.try_read(&mut into[..n]).inspect(|&k| {
                assert_eq!(k, n.min(there.len()));
                assert_eq!(into[..k], there[..k]);
            }),
            _ => unreachable!("not a read: {deed:?}"),
        };
        let asks_for_none = matches!(deed, Deed::Peek(0, _) | Deed::ReadIo(0) | Deed::Read(0));
        assert_eq!(outcome.err(), refusal.filter(|_| !asks_for_none), "{deed:?}");
        let gone = outcome.unwrap_or(0);
        self.queue.drain(..gone);
        self.read += gone as u64;
        assert_eq!(reader.position(), self.read);
        self.reader = Some((segment, reader, patient));
    }

    fn end(&mut self, side: Side, ending: Ending) {
        match side {
            Side::Writing => {
                let Some((segment, mut writer, _)) = self.writer.take() else { return };
                self.writing = after(ending, &segment);
                match ending {
                    Ending::Drop => drop(writer),
                    Ending::Close => writer.close(),
                    Ending::Resign => writer.resign(),
                    Ending::Panic => panic_with(writer),
                    Ending::Kill => {
                        assert_eq!(writer.try_write(b"x"), Err(SendError::Fault((), Fault::Killed)));
                        assert!(writer.write(b"x").is_err() && writer.fill_from(&self.file).is_err());
                        assert!(writer.try_reserve(1).is_err());
                    }
                }
            }
            Side::Reading => {
                let Some((segment, mut reader, _)) = self.reader.take() else { return };
                self.reading = after(ending, &segment);
                self.may_miss_closing = self.reading == Role::Closed;
                match ending {
                    Ending::Drop => drop(reader),
                    Ending::Close => reader.close(),
                    Ending::Resign => reader.resign(),
                    Ending::Panic => panic_with(reader),
                    Ending::Kill => {
                        let mut into = [0];
                        assert_eq!(reader.try_read(&mut into), Err(RecvError::Fault(Fault::Killed)));
                        assert!(reader.read(&mut into).is_err() && reader.drain_to(&self.file).is_err());
                        assert!(reader.try_peek(1).is_err());
                    }
                }
            }
        }
    }

    /// A new process takes the role, if it is free; it goes on where the last one stopped.
    fn take(&mut self, side: Side) {
        let segment = self.base.attach().unwrap();
        let ring = Ring::open(&segment, "ring").unwrap();
        let busy = |role: Role, error: &Error| {
            assert!(matches!(error, Error::Busy { owner } if Role::Open(*owner) == role), "{error} {role:?}");
        };
        match side {
            Side::Writing => match ring.try_writer() {
                Ok(writer) => {
                    assert!(self.writer.is_none());
                    assert_eq!(writer.position(), self.written);
                    self.writing = Role::Open(segment.owner());
                    self.writer = Some((segment, writer, false));
                }
                Err(error) => busy(self.writing, &error),
            },
            Side::Reading => match ring.try_reader() {
                Ok(reader) => {
                    assert!(self.reader.is_none());
                    assert_eq!(reader.position(), self.read);
                    self.reading = Role::Open(segment.owner());
                    self.may_miss_closing = false;
                    self.reader = Some((segment, reader, false));
                }
                Err(error) => busy(self.reading, &error),
            },
        }
    }

    fn does(&mut self, deed: &Deed) {
        match *deed {
            Deed::Write(_) | Deed::WriteIo(_) | Deed::Grant(..) | Deed::Fill(_) => self.write(deed),
            Deed::Read(_) | Deed::ReadIo(_) | Deed::Peek(..) | Deed::Drain => self.read(deed),
            Deed::End(side, ending) => self.end(side, ending),
            Deed::Take(side) => self.take(side),
            Deed::WaitForSuccessor(Side::Writing, yes) => {
                if let Some((_, writer, patient)) = &mut self.writer {
                    writer.wait_for_successor(yes);
                    *patient = yes;
                }
            }
            Deed::WaitForSuccessor(Side::Reading, yes) => {
                if let Some((_, reader, patient)) = &mut self.reader {
                    reader.wait_for_successor(yes);
                    *patient = yes;
                }
            }
            Deed::Sweep => drop(self.base.sweep().unwrap()),
            Deed::Reopen => self.ring = Ring::open(&self.base, "ring").unwrap(),
        }
        let stats = self.ring.stats();
        let depth = self.queue.len() as u64;
        assert_eq!((stats.sent, stats.received, stats.depth), (self.written, self.read, depth));
    }
}

/// What the error of an `io::Write` stands for.
fn refused(error: &std::io::Error) -> SendError {
    match error.get_ref().and_then(|inner| inner.downcast_ref()) {
        Some(Error::Full) if error.kind() == ErrorKind::WouldBlock => SendError::Full(()),
        Some(Error::Closed) if error.kind() == ErrorKind::BrokenPipe => SendError::Closed(()),
        Some(Error::PeerDied { owner }) if error.kind() == ErrorKind::BrokenPipe => {
            SendError::PeerDied((), *owner)
        }
        _ => panic!("{error:?}"),
    }
}

/// What the error of an `io::Read` stands for.
fn ended(error: &std::io::Error) -> RecvError {
    match error.get_ref().and_then(|inner| inner.downcast_ref()) {
        Some(Error::Empty) if error.kind() == ErrorKind::WouldBlock => RecvError::Empty,
        Some(Error::PeerDied { owner }) if error.kind() == ErrorKind::BrokenPipe => {
            RecvError::PeerDied(*owner)
        }
        _ => panic!("{error:?}"),
    }
}

/// What a role is afterwards; a kill happens here.
fn after(ending: Ending, segment: &Segment) -> Role {
    match ending {
        Ending::Drop | Ending::Close => Role::Closed,
        Ending::Resign => Role::Vacant,
        Ending::Panic => Role::Died(segment.owner()),
        Ending::Kill => {
            testing::kill(segment).unwrap();
            Role::Died(segment.owner())
        }
    }
}

fn panic_with<T>(held: T) {
    let panicked = catch_unwind(AssertUnwindSafe(move || {
        let _held = held;
        resume_unwind(Box::new(()))
    }));
    assert!(panicked.is_err());
}

proptest! {
    #![proptest_config(config(400))]

    #[test]
    fn a_stream_is_a_queue_of_bytes(capacity in 1..20_usize, deeds in prop::collection::vec(deed(), 1..100)) {
        let mut world = World::new(capacity);
        for deed in [Deed::Take(Side::Writing), Deed::Take(Side::Reading)].iter().chain(&deeds) {
            world.does(deed);
        }
    }
}
