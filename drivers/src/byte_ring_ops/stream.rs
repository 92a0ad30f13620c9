//! A stream against a queue of bytes.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{ErrorKind, Read, Seek, SeekFrom, Write};
use std::time::Duration;

use arbitrary::Arbitrary;
use nix::sys::memfd::{MFdFlags, memfd_create};
use outlive::error::{Fault, RecvError, SendError};
use outlive::ring::Stats;
use outlive::ring::stream::{Bytes, Grant, Reader, Ring, Writer};
use outlive::{Error, Segment};

use crate::two_ends::{Fate, Script, Structure, Then, Turn, end, play};

#[derive(Arbitrary, Debug)]
pub(super) struct Input {
    capacity: u8,
    script: Script<Put, Get>,
}

/// Lengths are counted in eighths of the ring, and a bit.
#[derive(Arbitrary, Clone, Copy, Debug)]
enum Put {
    Write {
        len: u8,
    },
    /// By `io::Write`, without waiting.
    WriteIo {
        len: u8,
    },
    /// Reserve so many, and fill in some in two pieces.
    Grant {
        max: u8,
        some: u8,
        more: u8,
        then: Then,
    },
    /// From a file that has so many bytes more.
    FillFrom {
        len: u8,
    },
}

#[derive(Arbitrary, Clone, Copy, Debug)]
enum Get {
    Read {
        len: u8,
    },
    /// By `io::Read`, without waiting.
    ReadIo {
        len: u8,
    },
    /// Peek at so many; release all, or so many.
    Peek {
        max: u8,
        first: Option<u8>,
        then: Then,
    },
    /// Into a file.
    DrainTo,
}

/// The byte at a position; 251 is a prime.
fn bytes(from: u64, len: usize) -> Vec<u8> {
    (from..from + len as u64).map(|at| (at % 251) as u8).collect()
}

/// A file with these bytes, at its beginning.
fn file_with(bytes: &[u8]) -> File {
    let mut file = File::from(memfd_create(c"fuzz", MFdFlags::MFD_CLOEXEC).expect("memory for a file"));
    file.write_all(bytes).expect("memory for a file");
    file.seek(SeekFrom::Start(0)).expect("it has a beginning");
    file
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

/// What the outcome of an `io::Read` of something stands for.
fn ended(outcome: std::io::Result<usize>) -> Result<usize, RecvError> {
    let error = match outcome {
        Ok(0) => return Err(RecvError::Closed),
        Ok(n) => return Ok(n),
        Err(error) => error,
    };
    Err(match error.get_ref().and_then(|inner| inner.downcast_ref()) {
        Some(Error::Empty) if error.kind() == ErrorKind::WouldBlock => RecvError::Empty,
        Some(Error::PeerDied { owner }) if error.kind() == ErrorKind::BrokenPipe => {
            RecvError::PeerDied(*owner)
        }
        _ => panic!("{error:?}"),
    })
}

/// The queue that the stream has to be.
struct Queue {
    queue: VecDeque<u8>,
    capacity: usize,
    written: u64,
    read: u64,
}

impl Queue {
    fn len(&self, eighths: u8) -> usize {
        usize::from(eighths % 10) * self.capacity / 8 + usize::from(eighths / 10 % 3)
    }

    /// How many bytes the kernel is asked to copy at once.
    fn part(&self) -> usize {
        (self.capacity / 4).clamp(4 << 10, 64 << 10)
    }

    fn room(&self) -> usize {
        self.capacity - self.queue.len()
    }

    fn until_wrap(&self, position: u64) -> usize {
        self.capacity - position as usize % self.capacity
    }

    /// Compares the outcome of an attempt to write `wanted` bytes, of which `most` could be, and notes what was written.
    fn writes(&mut self, wanted: usize, most: usize, outcome: Result<usize, SendError>, turn: &mut Turn<'_>) {
        if wanted > 0 {
            turn.admits(self.room() > 0, outcome.err());
        }
        let n = outcome.unwrap_or(0);
        assert_eq!(n, if outcome.is_ok() { wanted.min(most) } else { 0 });
        self.commits(n, turn);
    }

    fn commits(&mut self, n: usize, turn: &mut Turn<'_>) {
        self.queue.extend(bytes(self.written, n));
        self.written += n as u64;
        if n > 0 {
            turn.sent();
        }
    }

    /// Compares the outcome of an attempt to read `wanted` bytes, of which `most` could be, and notes what was read.
    fn reads(
        &mut self,
        wanted: usize,
        most: usize,
        outcome: Result<usize, RecvError>,
        into: &[u8],
        turn: &Turn<'_>,
    ) {
        if wanted > 0 {
            turn.yields(!self.queue.is_empty(), outcome.err());
        }
        let n = outcome.unwrap_or(0);
        assert_eq!(n, if outcome.is_ok() { wanted.min(most) } else { 0 });
        assert!(self.queue.iter().take(n).eq(&into[..n]), "lost, or twice");
        self.consumes(n);
    }

    fn consumes(&mut self, n: usize) {
        self.queue.drain(..n);
        self.read += n as u64;
    }
}

end!(Writer, |writer| {
    let killed = Some(SendError::Fault((), Fault::Killed));
    assert_eq!(writer.try_write(b"x").err(), killed);
    assert_eq!(writer.try_reserve(1).err(), killed);
    assert!(writer.write(b"x").is_err() && writer.fill_from(file_with(b"x")).is_err());
});
end!(Reader, |reader| {
    let killed = Some(RecvError::Fault(Fault::Killed));
    assert_eq!(reader.try_read(&mut [0]).err(), killed);
    assert_eq!(reader.try_peek(1).err(), killed);
    assert!(reader.read(&mut [0]).is_err() && reader.drain_to(file_with(&[])).is_err());
});

impl Structure for Queue {
    type Ring = Ring;
    type Sender = Writer;
    type Receiver = Reader;
    type Send = Put;
    type Receive = Get;

    fn open(segment: &Segment) -> Ring {
        Ring::open(segment, "ring").expect("it was created")
    }

    fn try_sender(ring: &Ring) -> Result<Writer, Error> {
        let mut writer = ring.try_writer()?;
        writer.set_timeout(Some(Duration::ZERO));
        Ok(writer)
    }

    fn try_receiver(ring: &Ring) -> Result<Reader, Error> {
        let mut reader = ring.try_reader()?;
        reader.set_timeout(Some(Duration::ZERO));
        Ok(reader)
    }

    fn stats(ring: &Ring) -> Stats {
        ring.stats()
    }

    fn sent(&self) -> u64 {
        self.written
    }

    fn received(&self) -> u64 {
        self.read
    }

    fn depth(&self) -> u64 {
        self.queue.len() as u64
    }

    fn send(&mut self, writer: &mut Writer, op: Put, turn: &mut Turn<'_>) -> Fate {
        let (next, room) = (self.written, self.room());
        let row = room.min(self.until_wrap(next));
        match op {
            Put::Write { len } => {
                let bytes = bytes(next, self.len(len));
                self.writes(bytes.len(), room, writer.try_write(&bytes), turn);
            }
            Put::WriteIo { len } => {
                let bytes = bytes(next, self.len(len));
                let outcome = writer.write(&bytes).map_err(|error| refused(&error));
                self.writes(bytes.len(), room, outcome, turn);
            }
            Put::FillFrom { len } => {
                let len = self.len(len);
                let file = file_with(&bytes(next, len));
                let outcome = writer.fill_from(&file).map_err(|error| refused(&error));
                turn.admits(room > 0, outcome.err()); // a file that has nothing more is asked all the same
                self.writes(len, row.min(self.part()), outcome, turn);
            }
            Put::Grant { max, some, more, then } => {
                let (max, some, more) = (self.len(max), self.len(some), self.len(more));
                let granted = writer.try_reserve(max);
                if max > 0 {
                    turn.admits(room > 0, granted.as_ref().err().copied());
                }
                let Ok(mut grant) = granted else { return Fate::Lives };
                assert_eq!(grant.capacity(), max.min(row));
                let bytes = bytes(next, some + more);
                let filled = grant.extend_from_slice(&bytes[..some]);
                let filled = filled + grant.extend_from_slice(&bytes[filled..]);
                assert_eq!((filled, grant.len()), (grant.capacity().min(some + more), filled));
                match then {
                    Then::Commit => {
                        assert_eq!(grant.commit(), filled);
                        self.commits(filled, turn);
                    }
                    Then::Drop => drop(grant),
                    Then::Die { commit } => return turn.dies(grant, commit.then_some(Grant::commit)),
                }
            }
        }
        Fate::Lives
    }

    fn receive(&mut self, reader: &mut Reader, op: Get, turn: &mut Turn<'_>) -> Fate {
        let there = self.queue.len();
        let row = there.min(self.until_wrap(self.read));
        match op {
            Get::Read { len } => {
                let mut into = vec![0; self.len(len)];
                let outcome = reader.try_read(&mut into);
                self.reads(into.len(), there, outcome, &into, turn);
            }
            Get::ReadIo { len } => {
                let mut into = vec![0; self.len(len)];
                let outcome = reader.read(&mut into);
                let outcome = if into.is_empty() {
                    Ok(outcome.expect("nothing is always there"))
                } else {
                    ended(outcome)
                };
                self.reads(into.len(), there, outcome, &into, turn);
            }
            Get::DrainTo => {
                let mut file = file_with(&[]);
                let outcome = ended(reader.drain_to(&file));
                let mut into = Vec::new();
                file.seek(SeekFrom::Start(0)).expect("it has a beginning");
                file.read_to_end(&mut into).expect("it was written");
                assert_eq!(into.len(), outcome.unwrap_or(0));
                self.reads(self.capacity, row.min(self.part()), outcome, &into, turn);
            }
            Get::Peek { max, first, then } => {
                let (max, first) = (self.len(max), first.map(|first| self.len(first)));
                let peeked = reader.try_peek(max);
                if max > 0 {
                    turn.yields(there > 0, peeked.as_ref().err().copied());
                }
                let Ok(bytes) = peeked else { return Fate::Lives };
                let given = max.min(row);
                let mut into = vec![0; bytes.len()];
                assert_eq!((bytes.copy_to(&mut into), bytes.len()), (given, given));
                assert!(self.queue.iter().take(given).eq(&into), "lost, or twice");
                match (then, first) {
                    (Then::Commit, None) => {
                        assert_eq!(bytes.release(), given);
                        self.consumes(given);
                    }
                    (Then::Commit, Some(first)) => {
                        assert_eq!(bytes.release_first(first), first.min(given));
                        self.consumes(first.min(given));
                    }
                    (Then::Drop, _) => drop(bytes),
                    (Then::Die { commit }, _) => {
                        return turn.dies(bytes, commit.then_some(Bytes::release));
                    }
                }
            }
        }
        Fate::Lives
    }

    fn drain(&self, reader: &mut Reader) {
        let mut left = vec![0; self.capacity];
        let n = reader.try_read(&mut left).unwrap_or(0);
        assert!(self.queue.iter().eq(&left[..n]), "{:?} is left of {:?}", &left[..n], self.queue);
        assert!(reader.try_read(&mut left).is_err(), "more than was written");
    }

    fn works(&self, mut writer: Writer, mut reader: Reader) {
        let bytes = bytes(7, self.capacity);
        assert_eq!(writer.try_write(&bytes), Ok(self.capacity));
        writer.close();
        let mut all = Vec::new();
        reader.read_to_end(&mut all).expect("closed");
        assert_eq!(all, bytes);
    }
}

pub(super) fn run(input: Input) {
    // Small ones, and one that takes several parts.
    let capacity = if input.capacity == 255 { 16 << 10 } else { usize::from(input.capacity % 32) + 1 };
    play(input.script, 64 << 10, |segment| {
        let ring: Ring = Ring::create(segment, "ring", capacity).expect("room for it");
        Queue { queue: VecDeque::new(), capacity: ring.capacity(), written: 0, read: 0 }
    });
}
