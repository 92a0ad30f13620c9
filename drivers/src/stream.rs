//! What an actor does with a stream.

use std::fs::File;
use std::io::{self, Read, Write};
use std::sync::OnceLock;

use arbitrary::Arbitrary;
use outlive::ring::stream::{Reader, Ring, Wait, Writer};
use outlive::{Error, Segment, ring};

use crate::actor::SHORT;

/// Something that a user may do with a stream.
#[derive(Arbitrary, Clone, Copy, Debug)]
#[allow(missing_docs, reason = "they are named as the calls that they make")]
pub enum StreamAct {
    Open,
    OpenOrCreate { capacity: u16 },
    Remove,
    TryWriter,
    WriterTimeout,
    TryReader,
    ReaderTimeout,
    TryWrite { len: u8 },
    Write { len: u8 },
    Grant { max: u8, fill: u8, commit: bool },
    GrantTimeout { max: u8 },
    Fill,
    TryRead { len: u8 },
    Read { len: u8 },
    Peek { max: u8, release: Option<u8> },
    PeekTimeout { max: u8 },
    Drain,
    Spin(bool),
    WaitForSuccessor(bool),
    CloseWriter,
    CloseReader,
    ResignWriter,
    ResignReader,
    Look,
}

/// What an actor has of it.
#[derive(Debug, Default)]
pub(crate) struct Stream {
    ring: Option<Ring>,
    writer: Option<Writer>,
    reader: Option<Reader>,
}

/// Where bytes for a stream come from, and where they go.
fn devices() -> &'static [File; 2] {
    static DEVICES: OnceLock<[File; 2]> = OnceLock::new();
    DEVICES.get_or_init(|| {
        let zeros = File::open("/dev/zero").expect("there is one");
        [zeros, File::options().write(true).open("/dev/null").expect("there is one")]
    })
}

/// What the operation really said.
fn of_io(error: io::Error) -> Error {
    match error.downcast::<Error>() {
        Ok(error) => error,
        Err(source) => Error::Os { call: "a stream", source },
    }
}

impl Stream {
    /// Whatever the memory holds: an answer or an error, and no more bytes than the ring has.
    pub(crate) fn attempt(&mut self, segment: &Segment, act: StreamAct) -> Result<(), Error> {
        let timely = |mut writer: Writer| {
            writer.set_timeout(Some(SHORT));
            writer
        };
        let soon = |mut reader: Reader| {
            reader.set_timeout(Some(SHORT));
            reader
        };
        match (act, &self.ring) {
            (StreamAct::Open, _) => self.ring = Some(Ring::open(segment, "stream")?),
            (StreamAct::OpenOrCreate { capacity }, _) => {
                self.ring = Some(Ring::open_or_create(segment, "stream", usize::from(capacity))?);
            }
            (StreamAct::Remove, _) => segment.remove("stream")?,
            (StreamAct::TryWriter, Some(ring)) => self.writer = Some(timely(ring.try_writer()?)),
            (StreamAct::WriterTimeout, Some(ring)) => self.writer = Some(timely(ring.writer_timeout(SHORT)?)),
            (StreamAct::TryReader, Some(ring)) => self.reader = Some(soon(ring.try_reader()?)),
            (StreamAct::ReaderTimeout, Some(ring)) => self.reader = Some(soon(ring.reader_timeout(SHORT)?)),
            (StreamAct::Look, Some(ring)) => {
                let shown = format!("{ring:?} {:?} {:?}", self.writer, self.reader);
                let stats = ring.stats();
                assert!(!shown.is_empty() && stats.depth <= ring.capacity() as u64);
                assert!(!format!("{stats:?} {:?}", ring::stats(segment, "stream")?).is_empty());
            }
            (_, Some(ring)) => {
                let most = ring.capacity();
                self.write(act, most)?;
                self.read(act, most)?;
            }
            _ => {}
        }
        Ok(())
    }

    /// `most`: what the ring has.
    fn write(&mut self, act: StreamAct, most: usize) -> Result<(), Error> {
        let held = &mut self.writer;
        match (act, held.as_mut()) {
            (StreamAct::TryWrite { len }, Some(writer)) => {
                let bytes = vec![7; usize::from(len)];
                assert!(writer.try_write(&bytes)? <= bytes.len().min(most));
                let _ = (writer.position(), writer.peer());
            }
            (StreamAct::Write { len }, Some(writer)) => {
                let bytes = vec![8; usize::from(len)];
                assert!(writer.write(&bytes).map_err(of_io)? <= bytes.len().min(most));
            }
            (StreamAct::Grant { max, fill, commit }, Some(writer)) => {
                let mut grant = writer.try_reserve(usize::from(max))?;
                assert!(grant.capacity() <= usize::from(max).min(most));
                let filled = grant.extend_from_slice(&vec![9; usize::from(fill)]);
                if commit {
                    assert_eq!(grant.commit(), filled);
                }
            }
            (StreamAct::GrantTimeout { max }, Some(writer)) => {
                let grant = writer.reserve_timeout(usize::from(max), SHORT)?;
                assert!(grant.capacity() <= usize::from(max).min(most));
            }
            (StreamAct::Fill, Some(writer)) => {
                assert!(writer.fill_from(&devices()[0]).map_err(of_io)? <= most);
            }
            (StreamAct::Spin(yes), Some(writer)) => {
                writer.set_wait(if yes { Wait::Spin } else { Wait::Sleep })
            }
            (StreamAct::WaitForSuccessor(yes), Some(writer)) => writer.wait_for_successor(yes),
            (StreamAct::CloseWriter, _) => held.take().into_iter().for_each(Writer::close),
            (StreamAct::ResignWriter, _) => held.take().into_iter().for_each(Writer::resign),
            _ => {}
        }
        Ok(())
    }

    fn read(&mut self, act: StreamAct, most: usize) -> Result<(), Error> {
        let held = &mut self.reader;
        match (act, held.as_mut()) {
            (StreamAct::TryRead { len }, Some(reader)) => {
                let mut into = vec![0; usize::from(len)];
                assert!(reader.try_read(&mut into)? <= into.len().min(most));
                let _ = (reader.position(), reader.peer());
            }
            (StreamAct::Read { len }, Some(reader)) => {
                let mut into = vec![0; usize::from(len)];
                assert!(reader.read(&mut into).map_err(of_io)? <= into.len().min(most));
            }
            (StreamAct::Peek { max, release }, Some(reader)) => {
                let bytes = reader.try_peek(usize::from(max))?;
                let mut into = vec![0; usize::from(max)];
                let n = bytes.copy_to(&mut into);
                assert!(n == bytes.len() && n <= usize::from(max).min(most));
                if let Some(release) = release.map(usize::from) {
                    assert_eq!(bytes.release_first(release), n.min(release));
                }
            }
            (StreamAct::PeekTimeout { max }, Some(reader)) => {
                let bytes = reader.peek_timeout(usize::from(max), SHORT)?;
                assert!(bytes.len() <= usize::from(max).min(most));
            }
            (StreamAct::Drain, Some(reader)) => {
                assert!(reader.drain_to(&devices()[1]).map_err(of_io)? <= most);
            }
            (StreamAct::Spin(yes), Some(reader)) => {
                reader.set_wait(if yes { Wait::Spin } else { Wait::Sleep })
            }
            (StreamAct::WaitForSuccessor(yes), Some(reader)) => reader.wait_for_successor(yes),
            (StreamAct::CloseReader, _) => held.take().into_iter().for_each(Reader::close),
            (StreamAct::ResignReader, _) => held.take().into_iter().for_each(Reader::resign),
            _ => {}
        }
        Ok(())
    }
}
