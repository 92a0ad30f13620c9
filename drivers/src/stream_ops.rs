//! Operations of two attachments on a stream, with deaths and successors, against a queue of bytes: nothing is lost, nothing
//! comes twice, and every answer is the one that the roles' states demand.

use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::time::Duration;

use crate::LONGEST;
use arbitrary::Arbitrary;
use outlive::error::{Fault, RecvError, SendError};
use outlive::ring::stream::{Reader, Ring, Writer};
use outlive::{Error, Owner, Segment, testing};

/// A world, and what happens in it.
#[derive(Arbitrary, Debug)]
pub struct Input {
    capacity: u8,
    steps: Vec<(bool, Op)>,
}

/// Lengths are counted in eighths of the ring, and a bit.
#[derive(Arbitrary, Clone, Copy, Debug)]
enum Op {
    TakeWriter,
    TakeReader,
    Write {
        len: u8,
        io: bool,
    },
    Grant {
        max: u8,
        fill: u8,
        end: GuardEnd,
    },
    Read {
        len: u8,
        io: bool,
    },
    Peek {
        max: u8,
        some: u8,
        end: GuardEnd,
    },
    EndWriter(End),
    EndReader(End),
    WaitForSuccessor {
        writer: bool,
        yes: bool,
    },
    Sweep,
    /// This attachment is killed, and another comes in its place.
    Kill,
    /// The same, by detaching.
    Leave,
}

#[derive(Arbitrary, Clone, Copy, Debug)]
enum GuardEnd {
    Commit,
    Drop,
    /// Killed with the guard in its hands, which then does nothing.
    Kill,
}

#[derive(Arbitrary, Clone, Copy, Debug)]
enum End {
    Close,
    Resign,
    Drop,
}

/// What the other side sees of a role.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    /// Nobody has it: never, or resigned.
    Free,
    Held(Owner),
    Closed,
    Died(Owner),
}

/// One of two processes.
struct Process {
    segment: Segment,
    ring: Ring,
    writer: Option<Writer>,
    reader: Option<Reader>,
    writer_waits: bool,
    reader_waits: bool,
}

impl Process {
    fn new(segment: Segment) -> Self {
        let ring = Ring::open(&segment, "ring").expect("it was created");
        Self { segment, ring, writer: None, reader: None, writer_waits: false, reader_waits: false }
    }
}

/// The byte at a position; 251 is a prime.
fn bytes(from: u64, len: usize) -> Vec<u8> {
    (from..from + len as u64).map(|at| (at % 251) as u8).collect()
}

/// The queue that the stream has to be.
struct Model {
    queue: VecDeque<u8>,
    capacity: usize,
    written: u64,
    read: u64,
    writer: Role,
    reader: Role,
}

impl Model {
    fn room(&self) -> usize {
        self.capacity - self.queue.len()
    }

    fn len(&self, eighths: u8) -> usize {
        usize::from(eighths % 10) * self.capacity / 8 + usize::from(eighths / 10 % 3)
    }

    fn until_wrap(&self, position: u64) -> usize {
        self.capacity - position as usize % self.capacity
    }

    fn write(&mut self, n: usize) {
        self.queue.extend(bytes(self.written, n));
        self.written += n as u64;
    }

    fn read(&mut self, n: usize) {
        self.queue.drain(..n);
        self.read += n as u64;
    }

    fn begins_with(&self, read: &[u8]) -> bool {
        self.queue.iter().take(read.len()).eq(read)
    }

    /// What the death of `owner`, or its leaving, makes of its roles.
    fn gone(&mut self, owner: Owner, role: Role) {
        for held in [&mut self.writer, &mut self.reader] {
            if *held == Role::Held(owner) {
                *held = role;
            }
        }
    }

    /// The answer to a writer for whom there is no room, or whose reader has closed.
    fn check_refused(&self, refused: SendError, waits: bool) {
        let expected = match (refused, self.reader) {
            (SendError::Closed(()), Role::Closed) => true,
            (SendError::PeerDied((), owner), Role::Died(dead)) => self.room() == 0 && owner == dead && !waits,
            (SendError::Full(()), Role::Free | Role::Held(_)) => self.room() == 0,
            (SendError::Full(()), Role::Died(_)) => self.room() == 0 && waits,
            _ => false,
        };
        assert!(expected, "{refused:?}, the reader is {:?}, room for {}", self.reader, self.room());
    }

    /// The answer to a reader for whom there is nothing.
    fn check_nothing(&self, error: RecvError, waits: bool) {
        let expected = match (error, self.writer) {
            (RecvError::Closed, Role::Closed) | (RecvError::Empty, Role::Free | Role::Held(_)) => true,
            (RecvError::PeerDied(owner), Role::Died(dead)) => owner == dead && !waits,
            (RecvError::Empty, Role::Died(_)) => waits,
            _ => false,
        };
        assert!(expected && self.queue.is_empty(), "{error:?}, but the writer is {:?}", self.writer);
    }
}

/// What the error of an `io::Write` or an `io::Read` stands for.
fn meaning(error: &std::io::Error) -> &Error {
    let meaning = error.get_ref().and_then(|inner| inner.downcast_ref()).expect("an error of the ring");
    let kind = match meaning {
        Error::Full | Error::Empty => ErrorKind::WouldBlock,
        _ => ErrorKind::BrokenPipe,
    };
    assert_eq!(error.kind(), kind, "{meaning:?}");
    meaning
}

struct World {
    processes: [Process; 2],
    model: Model,
}

impl World {
    fn step(&mut self, who: usize, op: Op) {
        let process = &mut self.processes[who];
        let me = process.segment.owner();
        match op {
            Op::TakeWriter => match process.ring.try_writer() {
                Ok(mut writer) => {
                    assert!(!matches!(self.model.writer, Role::Held(_)), "two writers");
                    assert_eq!(writer.position(), self.model.written);
                    writer.set_timeout(Some(Duration::ZERO));
                    (process.writer, process.writer_waits) = (Some(writer), false);
                    self.model.writer = Role::Held(me);
                }
                Err(error) => check_busy(&error, self.model.writer),
            },
            Op::TakeReader => match process.ring.try_reader() {
                Ok(mut reader) => {
                    assert!(!matches!(self.model.reader, Role::Held(_)), "two readers");
                    assert_eq!(reader.position(), self.model.read);
                    reader.set_timeout(Some(Duration::ZERO));
                    (process.reader, process.reader_waits) = (Some(reader), false);
                    self.model.reader = Role::Held(me);
                }
                Err(error) => check_busy(&error, self.model.reader),
            },
            Op::Write { .. } | Op::Grant { .. } => self.write(who, op),
            Op::Read { .. } | Op::Peek { .. } => self.read(who, op),
            Op::EndWriter(end) => {
                let Some(writer) = process.writer.take() else { return };
                match end {
                    End::Close => writer.close(),
                    End::Resign => writer.resign(),
                    End::Drop => drop(writer),
                }
                self.model.writer = if matches!(end, End::Resign) { Role::Free } else { Role::Closed };
            }
            Op::EndReader(end) => {
                let Some(reader) = process.reader.take() else { return };
                match end {
                    End::Close => reader.close(),
                    End::Resign => reader.resign(),
                    End::Drop => drop(reader),
                }
                self.model.reader = if matches!(end, End::Resign) { Role::Free } else { Role::Closed };
            }
            Op::WaitForSuccessor { writer: true, yes } => {
                process.writer.iter_mut().for_each(|writer| writer.wait_for_successor(yes));
                process.writer_waits = yes;
            }
            Op::WaitForSuccessor { writer: false, yes } => {
                process.reader.iter_mut().for_each(|reader| reader.wait_for_successor(yes));
                process.reader_waits = yes;
            }
            Op::Sweep => drop(process.segment.sweep().expect("this attachment lives")),
            Op::Kill => self.kill(who),
            Op::Leave => {
                self.model.gone(me, Role::Closed);
                self.replace(who);
            }
        }
    }

    fn write(&mut self, who: usize, op: Op) {
        let process = &mut self.processes[who];
        let Some(writer) = &mut process.writer else { return };
        let (model, waits) = (&mut self.model, process.writer_waits);
        let next = model.written;
        match op {
            Op::Write { len, io } => {
                let bytes = bytes(next, model.len(len));
                let written = if io {
                    writer.write(&bytes).map_err(|error| match meaning(&error) {
                        Error::Full => SendError::Full(()),
                        Error::Closed => SendError::Closed(()),
                        Error::PeerDied { owner } => SendError::PeerDied((), *owner),
                        other => panic!("{other}"),
                    })
                } else {
                    writer.try_write(&bytes)
                };
                match written {
                    Ok(n) => {
                        assert_eq!(n, bytes.len().min(model.room()));
                        assert!(n > 0 || bytes.is_empty(), "nothing into no room");
                        model.write(n);
                    }
                    Err(refused) => model.check_refused(refused, waits),
                }
            }
            Op::Grant { max, fill, end } => {
                let (max, fill) = (model.len(max) + 1, model.len(fill));
                match writer.try_reserve(max) {
                    Ok(mut grant) => {
                        assert_eq!(grant.capacity(), max.min(model.room()).min(model.until_wrap(next)));
                        let filled = grant.extend_from_slice(&bytes(next, fill));
                        assert_eq!(filled, grant.capacity().min(fill));
                        match end {
                            GuardEnd::Commit => {
                                assert_eq!(grant.commit(), filled);
                                model.write(filled);
                            }
                            GuardEnd::Drop => drop(grant),
                            GuardEnd::Kill => {
                                testing::kill(&process.segment).expect("a heap segment");
                                assert_eq!(grant.commit(), 0, "the dead write nothing");
                                return self.bury(who);
                            }
                        }
                    }
                    Err(refused) => model.check_refused(refused, waits),
                }
            }
            _ => {}
        }
        let process = &self.processes[who];
        assert_eq!(process.writer.as_ref().map(Writer::position), Some(self.model.written));
    }

    fn read(&mut self, who: usize, op: Op) {
        let process = &mut self.processes[who];
        let Some(reader) = &mut process.reader else { return };
        let (model, waits) = (&mut self.model, process.reader_waits);
        match op {
            Op::Read { len, io } => {
                let mut into = vec![0; model.len(len)];
                let wanted = into.len();
                let read = if io {
                    match reader.read(&mut into) {
                        Ok(0) if wanted > 0 => Err(RecvError::Closed),
                        other => other.map_err(|error| match meaning(&error) {
                            Error::Empty => RecvError::Empty,
                            Error::PeerDied { owner } => RecvError::PeerDied(*owner),
                            other => panic!("{other}"),
                        }),
                    }
                } else {
                    reader.try_read(&mut into)
                };
                match read {
                    Ok(n) => {
                        assert_eq!(n, wanted.min(model.queue.len()));
                        assert!(n > 0 || wanted == 0, "nothing of nothing");
                        assert!(model.begins_with(&into[..n]), "lost, or twice");
                        model.read(n);
                    }
                    Err(error) => model.check_nothing(error, waits),
                }
            }
            Op::Peek { max, some, end } => {
                let max = model.len(max) + 1;
                match reader.try_peek(max) {
                    Ok(bytes) => {
                        let mut into = vec![0; bytes.len()];
                        assert_eq!(bytes.copy_to(&mut into), into.len());
                        let expected = max.min(model.queue.len()).min(model.until_wrap(model.read));
                        assert_eq!(into.len(), expected);
                        assert!(model.begins_with(&into), "lost, or twice");
                        match end {
                            GuardEnd::Commit => {
                                let n = model.len(some).min(expected);
                                assert_eq!(bytes.release_first(model.len(some)), n);
                                model.read(n);
                            }
                            GuardEnd::Drop => drop(bytes),
                            GuardEnd::Kill => {
                                testing::kill(&process.segment).expect("a heap segment");
                                assert_eq!(bytes.release(), 0, "the dead consume nothing");
                                return self.bury(who);
                            }
                        }
                    }
                    Err(error) => model.check_nothing(error, waits),
                }
            }
            _ => {}
        }
        let process = &self.processes[who];
        assert_eq!(process.reader.as_ref().map(Reader::position), Some(self.model.read));
    }

    fn kill(&mut self, who: usize) {
        testing::kill(&self.processes[who].segment).expect("a heap segment");
        self.bury(who);
    }

    /// `who` was killed: its handles refuse, and leave no trace.
    fn bury(&mut self, who: usize) {
        let process = &mut self.processes[who];
        let owner = process.segment.owner();
        if let Some(writer) = &mut process.writer {
            assert_eq!(writer.try_write(b"x"), Err(SendError::Fault((), Fault::Killed)));
        }
        if let Some(reader) = &mut process.reader {
            assert_eq!(reader.try_read(&mut [0]), Err(RecvError::Fault(Fault::Killed)));
        }
        assert!(self.processes[1 - who].segment.is_dead(owner));
        self.model.gone(owner, Role::Died(owner));
        self.replace(who);
    }

    /// Another process comes in the place of `who`.
    fn replace(&mut self, who: usize) {
        let segment = self.processes[1 - who].segment.attach().expect("rows of the dead are given out again");
        self.processes[who] = Process::new(segment);
    }

    /// Whoever comes last gets what is left, in order, and then the end.
    fn drain(mut self) {
        for who in [0, 1] {
            self.kill(who);
        }
        let mut reader = self.processes[0].ring.try_reader().expect("all holders are dead");
        let writer = self.processes[1].ring.try_writer().expect("all holders are dead");
        assert_eq!((writer.position(), reader.position()), (self.model.written, self.model.read));
        writer.close();
        let mut left = Vec::new();
        reader.read_to_end(&mut left).expect("closed");
        assert!(self.model.queue.iter().eq(&left), "{left:?} is left of {:?}", self.model.queue);
    }
}

fn check_busy(error: &Error, role: Role) {
    assert!(
        matches!((error, role), (Error::Busy { owner }, Role::Held(holder)) if *owner == holder),
        "{error}: {role:?}"
    );
}

/// # Panics
/// If a promise is broken.
pub fn run(input: Input) {
    let segment = Segment::options().size(64 << 10).rows(6).heap().expect("memory for a segment");
    // Small ones, and one that takes several parts.
    let capacity = if input.capacity == 255 { 16 << 10 } else { usize::from(input.capacity % 32) + 1 };
    let ring = Ring::create(&segment, "ring", capacity).expect("room for it");
    let capacity = ring.capacity();
    drop(ring);
    let other = segment.attach().expect("two of six rows");
    let (queue, writer, reader) = (VecDeque::new(), Role::Free, Role::Free);
    let model = Model { queue, capacity, written: 0, read: 0, writer, reader };
    let mut world = World { processes: [Process::new(segment), Process::new(other)], model };
    for (second, op) in input.steps.into_iter().take(LONGEST) {
        world.step(usize::from(second), op);
    }
    world.drain();
}
