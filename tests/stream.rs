//! Promise: a stream is exact to the byte, whoever of its ends is killed, how often, and in the middle of what: successors
//! go on by position. And in a forked child both ends refuse.
//!
//! `OUTLIVE_SEED` repeats a run.

#![cfg(not(loom))]
#![expect(clippy::unwrap_used, reason = "tests")]

use std::fs::File;
use std::io::{ErrorKind, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::FileExt;

use outlive::error::{Fault, RecvError, SendError};
use outlive::ring::stream::{Reader, Ring, Writer};
use outlive::{Error, Segment};

mod common;
use common::Name;
use common::process::{self, Child, Random, fork, leave, soon};

/// The children of these tests: see `common::process`.
#[test]
fn child_entry() {
    process::as_child(&[("writer", writer), ("reader", reader), ("forker", forker)]);
}

/// How long the stream is.
const TOTAL: u64 = 8 << 20;
/// How much of it fits.
const CAPACITY: usize = 64 << 10;
/// How often somebody is killed.
const KILLS: u64 = 40;

/// The bytes from a position on: no two places look alike.
fn bytes(position: u64, len: usize) -> Vec<u8> {
    let byte = |at: u64| (at.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8;
    (position..position + len as u64).map(byte).collect()
}

/// Goes on where the last one stopped: with its own bytes, in place, or those of a file, which the kernel copies.
fn writer(args: &[String]) {
    let mut random = Random::new(args[2].parse().unwrap());
    let mut source = File::open(&args[1]).unwrap();
    let segment = Segment::open(&args[0]).unwrap();
    let mut writer = Ring::open(&segment, "stream").unwrap().writer().unwrap();
    writer.wait_for_successor(true);
    while writer.position() < TOTAL {
        let (position, some) = (writer.position(), random.below(3 * CAPACITY as u64 / 2));
        let bytes = bytes(position, usize::try_from(some.min(TOTAL - position)).unwrap());
        match random.below(3) {
            0 => {
                source.seek(SeekFrom::Start(position)).unwrap();
                assert!(writer.fill_from(&source).unwrap() > 0);
            }
            1 => writer.write_all(&bytes).unwrap(),
            _ => {
                let mut grant = writer.reserve(bytes.len()).unwrap();
                let filled = grant.extend_from_slice(&bytes);
                if random.once_in(4) {
                    drop(grant);
                } else {
                    assert_eq!(grant.commit(), filled);
                }
            }
        }
    }
}

/// Goes on where the last one stopped: what is consumed is in the file.
fn reader(args: &[String]) {
    let mut random = Random::new(args[2].parse().unwrap());
    let mut file = File::options().write(true).open(&args[1]).unwrap();
    let segment = Segment::open(&args[0]).unwrap();
    let mut reader = Ring::open(&segment, "stream").unwrap().reader().unwrap();
    reader.wait_for_successor(true);
    let mut buffer = vec![0; CAPACITY];
    loop {
        let position = reader.position();
        if random.once_in(2) {
            file.seek(SeekFrom::Start(position)).unwrap();
            if reader.drain_to(&file).unwrap() == 0 {
                return;
            }
        } else {
            let max = usize::try_from(1 + random.below(CAPACITY as u64)).unwrap();
            let bytes = match reader.peek(max) {
                Ok(bytes) => bytes,
                Err(RecvError::Closed) => return,
                Err(error) => panic!("{error}"),
            };
            let n = bytes.copy_to(&mut buffer);
            file.write_all_at(&buffer[..n], position).unwrap();
            match random.below(4) {
                0 => assert_eq!(bytes.release_first(n / 2), n / 2),
                1 => {} // dropped, and so read again
                _ => assert_eq!(bytes.release(), n),
            }
        }
    }
}

#[test]
fn a_stream_is_exact_whoever_is_killed() {
    let mut random = Random::announced("stream");
    let (name, source, sink) = (Name::shm("stream"), Name::file("source"), Name::file("sink"));
    std::fs::write(source.path(), bytes(0, usize::try_from(TOTAL).unwrap())).unwrap();
    File::create(sink.path()).unwrap();
    // Few rows: who comes has to sweep the dead to find one.
    let segment = Segment::options().rows(6).size(1 << 18).create(name.address()).unwrap();
    let ring = Ring::create(&segment, "stream", CAPACITY).unwrap();
    let address = name.address().to_string();
    let paths = [source.path(), sink.path()].map(|path| path.to_str().unwrap().to_owned());
    let mut start = |side: usize| {
        let seed = random.next().to_string();
        Child::start(["writer", "reader"][side], &[&address, &paths[side], &seed])
    };
    let mut ends = [start(0), start(1)];
    let mut choice = Random::new(start(0).id().into()); // a third one is killed while it starts, or waits
    for kill in 1..=KILLS {
        let goal = TOTAL * kill / (KILLS + 1);
        assert!(soon(|| ring.stats().received >= goal), "{:?}", ring.stats());
        let side = usize::from(choice.once_in(2));
        if choice.once_in(3) {
            let standby = start(side);
            ends[side].kill();
            ends[side] = standby;
        } else {
            ends[side].kill();
            ends[side] = start(side);
        }
    }
    for end in &mut ends {
        end.succeeds();
    }
    let stats = ring.stats();
    assert_eq!((stats.sent, stats.received, stats.depth), (TOTAL, TOTAL, 0));
    assert!(u64::from(stats.senders + stats.receivers) >= KILLS / 2, "{stats:?}");
    let mut arrived = Vec::new();
    File::open(sink.path()).unwrap().read_to_end(&mut arrived).unwrap();
    assert!(arrived == std::fs::read(source.path()).unwrap(), "the bytes differ");
}

/// With room and bytes that are known already, so that the next operations would look at nothing else.
fn forker(args: &[String]) {
    let segment = Segment::options().temporary(true).create(&args[0]).unwrap();
    let ring = Ring::create(&segment, "stream", 16).unwrap();
    let (mut writer, mut reader) = (ring.try_writer().unwrap(), ring.try_reader().unwrap());
    writer.write_all(b"abcd").unwrap();
    assert_eq!(reader.try_read(&mut [0]), Ok(1));
    let mut grant = writer.try_reserve(3).unwrap();
    assert_eq!(grant.extend_from_slice(b"ef"), 2);
    let Some(child) = fork() else {
        let refused = (grant.extend_from_slice(b"g"), grant.commit());
        leave(|| {
            assert_eq!(refused, (0, 0));
            refuses(&ring, &mut writer, &mut reader);
            drop((writer, reader, ring, segment));
        })
    };
    child.succeeds();
    assert_eq!(grant.commit(), 2);
    let bytes = reader.try_peek(16).unwrap();
    let Some(child) = fork() else {
        leave(|| assert_eq!((bytes.len(), bytes.copy_to(&mut [0]), bytes.release()), (0, 0, 0)))
    };
    child.succeeds();
    assert_eq!(bytes.release_first(4), 4);
    writer.close();
    let mut rest = String::new();
    assert_eq!(reader.read_to_string(&mut rest).unwrap(), 1);
    assert_eq!(rest, "f");
}

fn refuses(ring: &Ring, writer: &mut Writer, reader: &mut Reader) {
    let (zeros, mut nowhere) = (File::open("/dev/zero").unwrap(), tempfile());
    assert_eq!(writer.try_write(b"x"), Err(SendError::Fault((), Fault::Forked)));
    assert!(matches!(writer.try_reserve(1), Err(SendError::Fault((), Fault::Forked))));
    assert_eq!(reader.try_read(&mut [0]), Err(RecvError::Fault(Fault::Forked)));
    assert!(matches!(reader.try_peek(1), Err(RecvError::Fault(Fault::Forked))));
    for error in [
        writer.write(b"x").unwrap_err(),
        writer.fill_from(&zeros).unwrap_err(),
        reader.read(&mut [0]).unwrap_err(),
        reader.drain_to(&nowhere).unwrap_err(),
    ] {
        assert_eq!(error.kind(), ErrorKind::Other);
        assert!(matches!(error.get_ref().unwrap().downcast_ref(), Some(Error::Forked)));
    }
    assert_eq!(nowhere.stream_position().unwrap(), 0, "nothing was written there");
    assert_eq!((writer.position(), reader.position()), (0, 0));
    assert!(matches!(ring.try_writer(), Err(Error::Forked)));
    assert!(matches!(ring.try_reader(), Err(Error::Forked)));
}

fn tempfile() -> File {
    let flags = nix::sys::memfd::MFdFlags::MFD_CLOEXEC;
    File::from(nix::sys::memfd::memfd_create(c"outlive-test", flags).unwrap())
}

#[test]
fn a_forked_child_refuses_and_changes_nothing() {
    let name = Name::shm("forked");
    Child::start("forker", &[&name.address().to_string()]).succeeds();
}
