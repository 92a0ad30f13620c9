//! Two attachments write and read a stream while a third party scribbles over its control words and its bytes.
//!
//! Nothing may panic, fault or hang: bytes, whichever, or a typed error. What comes never exceeds what was asked for.

use std::fs::File;
use std::io::{Read, Write};
use std::time::Duration;

use crate::{LONGEST, Scribbler, Value};
use arbitrary::Arbitrary;
use outlive::Segment;
use outlive::ring::stream::{Reader, Ring, Writer};

/// Waiting is not what this looks for.
const SHORT: Duration = Duration::from_micros(50);
/// What a ring keeps in front of its bytes, and some of these.
const CONTROL: usize = (1 << 10) + 64;
const CAPACITY: usize = 64;

#[derive(Arbitrary, Debug)]
enum Step {
    Scribble { at: u16, value: Value },
    Open,
    TakeWriter,
    TakeReader,
    Write { len: u8 },
    Grant { max: u8, fill: u8 },
    Fill,
    Read { len: u8 },
    Peek { max: u8, release: u8 },
    Drain,
    Look,
    WaitForSuccessor(bool),
    DropWriter,
    DropReader,
    Sweep,
}

struct World {
    segments: [Segment; 2],
    rings: [Ring; 2],
    writer: Option<Writer>,
    reader: Option<Reader>,
    zeros: File,
    nowhere: File,
}

impl World {
    fn does(&mut self, step: &Step) -> std::io::Result<()> {
        match (step, &mut self.writer, &mut self.reader) {
            (Step::Open, ..) => drop(Ring::open(&self.segments[1].attach()?, "ring")?.try_reader()?),
            (Step::TakeWriter, writer, _) => {
                let mut taken = self.rings[0].writer_timeout(SHORT)?;
                taken.set_timeout(Some(SHORT));
                *writer = Some(taken);
            }
            (Step::TakeReader, _, reader) => {
                let mut taken = self.rings[1].reader_timeout(SHORT)?;
                taken.set_timeout(Some(SHORT));
                *reader = Some(taken);
            }
            (Step::Write { len }, Some(writer), _) => {
                let bytes = vec![7; usize::from(*len)];
                assert!(writer.write(&bytes)? <= bytes.len().min(CAPACITY));
            }
            (Step::Grant { max, fill }, Some(writer), _) => {
                let mut grant = writer.try_reserve(usize::from(*max)).map_err(outlive::Error::from)?;
                assert!(grant.capacity() <= usize::from(*max).min(CAPACITY));
                let filled = grant.extend_from_slice(&vec![8; usize::from(*fill)]);
                assert_eq!(grant.commit(), filled);
            }
            (Step::Fill, Some(writer), _) => assert!(writer.fill_from(&self.zeros)? <= CAPACITY),
            (Step::Read { len }, _, Some(reader)) => {
                let mut into = vec![0; usize::from(*len)];
                assert!(reader.read(&mut into)? <= into.len().min(CAPACITY));
            }
            (Step::Peek { max, release }, _, Some(reader)) => {
                let bytes = reader.try_peek(usize::from(*max)).map_err(outlive::Error::from)?;
                let mut into = [0; 2 * CAPACITY];
                let n = bytes.copy_to(&mut into);
                assert!(n == bytes.len() && n <= CAPACITY);
                assert!(bytes.release_first(usize::from(*release)) <= n);
            }
            (Step::Drain, _, Some(reader)) => assert!(reader.drain_to(&self.nowhere)? <= CAPACITY),
            (Step::Look, writer, reader) => {
                let shown = format!("{writer:?} {reader:?} {:?}", self.rings);
                let peers = (writer.as_ref().map(Writer::peer), reader.as_ref().map(Reader::peer));
                assert!(!shown.is_empty() && !format!("{peers:?}").is_empty());
            }
            (Step::WaitForSuccessor(yes), writer, reader) => {
                writer.iter_mut().for_each(|writer| writer.wait_for_successor(*yes));
                reader.iter_mut().for_each(|reader| reader.wait_for_successor(*yes));
            }
            (Step::DropWriter, writer, _) => *writer = None,
            (Step::DropReader, _, reader) => *reader = None,
            (Step::Sweep, ..) => drop(self.segments[0].sweep()?),
            _ => {}
        }
        Ok(())
    }
}

/// What happens, one after the other.
#[derive(Arbitrary, Debug)]
pub struct Input(Vec<Step>);

/// # Panics
/// If a promise is broken.
pub fn run(input: Input) {
    let segment = Segment::options().size(32 << 10).rows(6).memfd("fuzz").expect("memory for a segment");
    let other = segment.attach().expect("two of six rows");
    let scribbler = Scribbler::new(&segment).expect("a memfd has a descriptor");
    let ring = Ring::create(&segment, "ring", CAPACITY).expect("room for it");
    let theirs = Ring::open(&other, "ring").expect("it was created");
    let start = segment.objects().expect("nobody has scribbled yet")[0].at;
    let start = usize::try_from(start).expect("inside of the segment");
    let mut world = World {
        segments: [segment, other],
        rings: [ring, theirs],
        writer: None,
        reader: None,
        zeros: File::open("/dev/zero").expect("there is one"),
        nowhere: File::options().write(true).open("/dev/null").expect("there is one"),
    };
    for step in [Step::TakeWriter, Step::TakeReader].into_iter().chain(input.0).take(LONGEST) {
        if let Step::Scribble { at, value } = step {
            scribbler.scribble(start + usize::from(at) % CONTROL, value);
        } else if let Err(error) = world.does(&step) {
            assert!(!error.to_string().is_empty());
        }
    }
}
