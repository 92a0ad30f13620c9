//! Rings of bytes without boundaries.

use core::time::Duration;
use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::FileExt as _;

use nix::sys::memfd::{MFdFlags, memfd_create};
use outlive::ring::Stats;
use outlive::ring::stream::{Reader, Ring, Writer};
use outlive::{Error, Segment};

use super::operation::Operation;
use super::ring::{Bout, Kind};
use crate::random::mixed;

/// The bytes repeat after so many: no multiple of it is the size of anything.
const PERIOD: usize = 65_521;

#[derive(Debug)]
pub(crate) struct Stream {
    capacity: u64,
    /// The bytes of two periods.
    bytes: Vec<u8>,
    buffer: Vec<u8>,
    /// The same bytes, for the kernel to copy from; made when it is needed.
    source: Option<File>,
    /// What the kernel copied to.
    target: Option<File>,
}

impl Stream {
    /// `n` bytes of the stream.
    fn at(&self, position: u64, n: usize) -> &[u8] {
        let begin = usize::try_from(position % PERIOD as u64).unwrap_or(0);
        &self.bytes[begin..begin + n]
    }

    /// The file with the bytes, to be read from where the stream is.
    fn source(&mut self, position: u64) -> io::Result<&File> {
        let file = if let Some(file) = self.source.take() {
            file
        } else {
            let mut file = scratch()?;
            file.write_all(&self.bytes)?;
            file
        };
        let file = self.source.insert(file);
        file.seek(SeekFrom::Start(position % PERIOD as u64))?;
        Ok(file)
    }

    /// An empty file.
    fn target(&mut self) -> io::Result<&File> {
        let file = match self.target.take() {
            Some(mut file) => {
                file.set_len(0)?;
                file.rewind()?;
                file
            }
            None => scratch()?,
        };
        Ok(self.target.insert(file))
    }
}

fn scratch() -> io::Result<File> {
    Ok(File::from(memfd_create("outlive-soak-scratch", MFdFlags::MFD_CLOEXEC)?))
}

/// The ring's errors as of other rings; others are the kernel's.
fn ours(error: io::Error) -> Error {
    match error.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => Error::Full,
        io::ErrorKind::BrokenPipe => Error::Closed,
        _ => Error::Os { call: "a stream's", source: error },
    }
}

impl Kind for Stream {
    type Ring = Ring;
    type Sender = Writer;
    type Receiver = Reader;
    const ROLE: Operation = Operation::StreamRole;
    const LEAVE: Operation = Operation::StreamLeave;
    const WHOLE: bool = false;

    fn new(capacity: usize) -> Self {
        let words = (0..PERIOD as u64).flat_map(|n| mixed(n).to_le_bytes());
        let bytes: Vec<u8> = words.take(PERIOD).collect();
        let bytes = bytes.repeat(2);
        Self { capacity: capacity as u64, bytes, buffer: Vec::new(), source: None, target: None }
    }

    fn open(segment: &Segment, name: &str, capacity: usize) -> outlive::Result<Self::Ring> {
        Ring::open_or_create(segment, name, capacity)
    }

    fn stats(ring: &Self::Ring) -> Stats {
        ring.stats()
    }

    fn sender(ring: &Self::Ring, timeout: Option<Duration>) -> outlive::Result<Self::Sender> {
        timeout.map_or_else(|| ring.try_writer(), |time| ring.writer_timeout(time))
    }

    fn receiver(ring: &Self::Ring, timeout: Option<Duration>) -> outlive::Result<Self::Receiver> {
        timeout.map_or_else(|| ring.try_reader(), |time| ring.reader_timeout(time))
    }

    fn send(&mut self, writer: &mut Self::Sender, bout: &mut Bout<'_>) -> outlive::Result<u64> {
        let longest = [8, 1000, PERIOD][bout.hand.random.index(3)];
        let n = 1 + bout.hand.random.index(longest);
        let time = bout.hand.random.once_in(2).then(|| bout.hand.random.pause(Duration::from_millis(2)));
        writer.set_timeout(time);
        let how = bout.hand.random.below(5);
        bout.may_send(if how < 4 { n as u64 } else { self.capacity });
        let sent = match how {
            0 => {
                let bytes = self.at(bout.next, n);
                bout.does_at_once(Operation::StreamWrite, || writer.try_write(bytes))?
            }
            1 | 2 => {
                let bytes = self.at(bout.next, n);
                bout.does(Operation::StreamWrite, time, || writer.write(bytes)).map_err(ours)?
            }
            3 => {
                let bytes = self.at(bout.next, n);
                let commit = || {
                    let mut grant = writer.reserve(n)?;
                    grant.extend_from_slice(bytes);
                    Ok::<_, Error>(grant.commit())
                };
                bout.does(Operation::StreamCommit, None, commit)?
            }
            _ => {
                let file = self.source(bout.next).map_err(ours)?;
                bout.does(Operation::StreamFillFrom, time, || writer.fill_from(file)).map_err(ours)?
            }
        };
        Ok(sent as u64)
    }

    fn receive(&mut self, reader: &mut Self::Receiver, bout: &mut Bout<'_>) -> outlive::Result<u64> {
        let longest = [8, 1000, PERIOD][bout.hand.random.index(3)];
        let mut buffer = core::mem::take(&mut self.buffer);
        buffer.resize(1 + bout.hand.random.index(longest), 0);
        let time = bout.hand.random.once_in(2).then(|| bout.hand.random.pause(Duration::from_millis(2)));
        reader.set_timeout(time);
        let how = bout.hand.random.below(5);
        bout.may_consume(match how {
            0..3 => buffer.len() as u64,
            3 => 0,
            _ => self.capacity,
        });
        let (seen, consumed) = match how {
            0 => {
                let n = bout.does_at_once(Operation::StreamRead, || reader.try_read(&mut buffer))?;
                (n, n)
            }
            1 | 2 => {
                let n = bout.does(Operation::StreamRead, time, || reader.read(&mut buffer)).map_err(ours)?;
                (n, n)
            }
            3 => {
                let bytes = bout.does(Operation::StreamRelease, None, || reader.peek(buffer.len()))?;
                let seen = bytes.copy_to(&mut buffer);
                let n = bout.hand.random.index(seen + 1);
                bout.may_consume(n as u64);
                (seen, bout.does_at_once(Operation::StreamRelease, || bytes.release_first(n)))
            }
            _ => {
                let file = self.target().map_err(ours)?;
                let n = bout.does(Operation::StreamDrainTo, time, || reader.drain_to(file)).map_err(ours)?;
                buffer.resize(n, 0);
                file.read_exact_at(&mut buffer, 0).map_err(ours)?;
                (n, n)
            }
        };
        if seen == 0 {
            return Err(Error::Closed); // as a reader says it
        }
        bout.arrived(bout.next.wrapping_add(seen as u64 - 1), buffer[..seen] == *self.at(bout.next, seen));
        self.buffer = buffer;
        Ok(consumed as u64)
    }
}
