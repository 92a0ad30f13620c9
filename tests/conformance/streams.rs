//! A stream of bytes between two processes.

use std::fs::File;
use std::io::{ErrorKind, Read, Seek, SeekFrom, Write};

use outlive::error::{RecvError, SendError};
use outlive::ring::stream::{Reader, Ring, Writer};
use outlive::{Error, Segment};

use crate::backend::Backend;
use crate::common::Name;
use crate::common::process::soon;
use crate::peer::{Peer, Victim};

/// The byte at a position: nearly every shift or gap shows.
fn byte(position: u64) -> u8 {
    position.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes()[7]
}

fn bytes(from: u64, len: usize) -> Vec<u8> {
    (from..).take(len).map(byte).collect()
}

fn writer(segment: &Segment) -> Writer {
    Ring::open(segment, "stream").unwrap().writer().unwrap()
}

fn reader(segment: &Segment) -> Reader {
    Ring::open(segment, "stream").unwrap().reader().unwrap()
}

/// Writes from where the predecessor stopped up to `end`, in pieces of all lengths.
fn write_up_to(writer: &mut Writer, end: u64) {
    while writer.position() < end {
        let from = writer.position();
        let len = (from % 3001 + 1).min(end - from);
        writer.write_all(&bytes(from, usize::try_from(len).unwrap())).unwrap();
    }
}

/// Reads up to `end`, in pieces of all lengths, and compares. How it ended before that, if it did.
fn read_up_to(reader: &mut Reader, end: u64) -> Result<(), std::io::Error> {
    let mut buffer = [0; 2000];
    while reader.position() < end {
        let from = reader.position();
        let most = usize::try_from((from % 1999 + 1).min(end - from)).unwrap();
        let n = reader.read(&mut buffer[..most])?;
        if n == 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        assert!(buffer[..n] == bytes(from, n), "other bytes than were written, from {from} on");
        assert_eq!(reader.position(), from + n as u64);
    }
    Ok(())
}

/// The error says who has died.
fn is_broken(result: Result<(), std::io::Error>) {
    let error = result.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::BrokenPipe, "{error}");
    let source = error.get_ref().and_then(|source| source.downcast_ref());
    assert!(matches!(source, Some(Error::PeerDied { .. })), "{error:?}");
}

pub(crate) fn a_stream_arrives_in_order_and_ends(backend: &dyn Backend) {
    const END: u64 = 300_000;
    let segment = backend.segment();
    let ring = Ring::create(&segment, "stream", 4096).unwrap();
    let peer = Peer::start(backend, &segment, |segment, _| {
        let mut writer = writer(&segment);
        write_up_to(&mut writer, END);
        writer.close();
    });
    let mut reader = ring.try_reader().unwrap();
    read_up_to(&mut reader, END).unwrap();
    assert_eq!([(); 2].map(|()| reader.read(&mut [0; 10]).unwrap()), [0; 2], "the end, for all who ask");
    peer.ends();
    // The other way round: who is not read any more is told.
    let mut peer = Peer::start(backend, &segment, |segment, line| {
        let mut writer = writer(&segment);
        line.say("reopened");
        let mut error = None;
        while error.is_none() {
            error = writer.write(&bytes(writer.position(), 100)).err();
        }
        assert_eq!(error.unwrap().kind(), ErrorKind::BrokenPipe);
    });
    assert_eq!(peer.line.hear(), "reopened");
    read_up_to(&mut reader, END + 10_000).unwrap();
    reader.close();
    peer.ends();
    drop((ring, segment));
    backend.remove();
}

pub(crate) fn what_a_dead_writer_committed_is_read_and_nothing_else(backend: &dyn Backend) {
    let segment = backend.segment();
    let ring = Ring::create(&segment, "stream", 1 << 13).unwrap();
    let mut reader = ring.try_reader().unwrap();
    let victim = Victim::start(backend, &segment, |mine| {
        let mut writer = writer(mine);
        write_up_to(&mut writer, 5000);
        let mut grant = writer.try_reserve(100).unwrap();
        grant.extend_from_slice(&[0xff; 100]);
        drop(grant); // never written
        writer
    });
    assert!(matches!(ring.try_writer(), Err(Error::Busy { owner }) if owner == victim.owner));
    let owner = victim.kill();
    read_up_to(&mut reader, 5000).unwrap();
    is_broken(read_up_to(&mut reader, 5001));
    assert!(soon(|| reader.try_read(&mut [0]) == Err(RecvError::PeerDied(owner))));
    let mut successor = ring.try_writer().unwrap();
    assert_eq!(successor.position(), 5000);
    write_up_to(&mut successor, 9000);
    successor.close();
    read_up_to(&mut reader, 9000).unwrap();
    assert_eq!(reader.read(&mut [0]).unwrap(), 0);
    drop((reader, ring, segment));
    backend.remove();
}

pub(crate) fn what_a_dead_reader_had_not_released_is_read_again(backend: &dyn Backend) {
    let segment = backend.segment();
    let ring = Ring::create(&segment, "stream", 1 << 12).unwrap();
    let mut writer = ring.try_writer().unwrap();
    write_up_to(&mut writer, 3000);
    let victim = Victim::start(backend, &segment, |mine| {
        let mut reader = reader(mine);
        read_up_to(&mut reader, 1000).unwrap();
        let ahead = reader.try_peek(500).unwrap();
        assert_eq!(ahead.len(), 500);
        drop(ahead);
        reader
    });
    let owner = victim.kill();
    write_up_to(&mut writer, 1000 + 4096);
    assert!(soon(|| writer.try_write(&[0]) == Err(SendError::PeerDied((), owner))));
    is_broken(writer.write(&[0]).map(drop));
    let mut successor = ring.try_reader().unwrap();
    assert_eq!(successor.position(), 1000);
    read_up_to(&mut successor, 1000 + 4096).unwrap();
    write_up_to(&mut writer, 6000);
    read_up_to(&mut successor, 6000).unwrap();
    drop((writer, successor, ring, segment));
    backend.remove();
}

pub(crate) fn a_stream_survives_its_writers_and_readers(backend: &dyn Backend) {
    let segment = backend.segment();
    let ring = Ring::create(&segment, "stream", 1 << 12).unwrap();
    let mut end = 0;
    {
        let mut reader = ring.try_reader().unwrap();
        reader.wait_for_successor(true);
        for round in 0..5 {
            // It is killed wherever it is.
            let writing = Peer::start(backend, &segment, |segment, _| {
                write_up_to(&mut writer(&segment), u64::MAX);
            });
            end += 10_000 + 777 * round;
            read_up_to(&mut reader, end).unwrap();
            writing.kill();
        }
        reader.resign();
    }
    // Somebody has written up to there.
    let mut writer = ring.try_writer().unwrap();
    writer.wait_for_successor(true);
    for round in 0..5 {
        let reading = Peer::start(backend, &segment, |segment, _| {
            read_up_to(&mut reader(&segment), u64::MAX).unwrap();
        });
        end += 10_000 + 777 * round;
        write_up_to(&mut writer, end);
        reading.kill();
    }
    writer.close();
    let mut reader = ring.try_reader().unwrap();
    read_up_to(&mut reader, end).unwrap();
    assert_eq!((reader.read(&mut [0]).unwrap(), ring.stats().depth), (0, 0));
    drop((reader, ring, segment));
    backend.remove();
}

pub(crate) fn files_are_copied_exactly_whoever_is_killed(backend: &dyn Backend) {
    const LEN: u64 = 1_000_000;
    let (from, to) = (Name::file("from"), Name::file("to"));
    let all = bytes(0, usize::try_from(LEN).unwrap());
    std::fs::write(from.path(), &all).unwrap();
    std::fs::write(to.path(), b"").unwrap();
    let open = |name: &Name| File::options().read(true).write(true).open(name.path()).unwrap();
    let segment = backend.segment();
    let ring = Ring::create(&segment, "stream", 1 << 12).unwrap();
    let send = |segment: Segment| {
        let (mut writer, mut file) = (writer(&segment), open(&from));
        writer.wait_for_successor(true);
        file.seek(SeekFrom::Start(writer.position())).unwrap();
        while writer.position() < LEN {
            assert!(writer.fill_from(&file).unwrap() > 0);
        }
        writer.close();
    };
    let receive = |segment: Segment| {
        let (mut reader, mut file) = (reader(&segment), open(&to));
        reader.wait_for_successor(true);
        file.set_len(reader.position()).unwrap();
        file.seek(SeekFrom::End(0)).unwrap();
        while reader.drain_to(&file).unwrap() > 0 {}
        reader.close();
    };
    let start = |side: u64| {
        Peer::start(backend, &segment, |segment, _| match side {
            0 => send(segment),
            _ => receive(segment),
        })
    };
    let mut peers = [0, 1].map(start);
    for round in 1..=8 {
        assert!(soon(|| ring.stats().received >= 100_000 * round));
        let next = start(round % 2); // waits for the role
        let side = usize::try_from(round % 2).unwrap();
        std::mem::replace(&mut peers[side], next).kill();
    }
    for peer in peers {
        peer.ends();
    }
    assert!(std::fs::read(to.path()).unwrap() == all);
    assert_eq!((ring.stats().sent, ring.stats().received), (LEN, LEN));
    drop((ring, segment));
    backend.remove();
}
