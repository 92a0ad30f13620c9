//! Streams of bytes.

use core::mem::MaybeUninit;
use core::time::Duration;
use std::fs::File;
use std::io::{BufRead, Read, Seek, Write};

use nix::sys::memfd::{MFdFlags, memfd_create};

use outlive::error::RecvError;
use outlive::ring::stream::{Reader, Ring, Writer};
use outlive::{Checked, Trusted};
use outlive_kill::{Case, INSIDE, Peer, Shape, Survivor, World, dies, forget, keep, step, step_unwinding};

use super::told::told;

const CAPACITY: usize = 16;
/// Long enough to spin and then to fall asleep, step by step.
const LONGER: Duration = Duration::from_secs(3);
/// The states of an operation that announces its sleep, behind one that found nobody asleep and cleared what said so: one
/// more. Unoptimised, it spins all the time.
const SLEPT: usize = if cfg!(debug_assertions) { 1 } else { 2 };

fn ring(world: &World) -> Ring {
    Ring::open(&world.attach(), "r").unwrap()
}

fn writer(world: &World) -> Writer {
    ring(world).try_writer().unwrap()
}

fn reader(world: &World) -> Reader {
    ring(world).try_reader().unwrap()
}

/// A ring with these bytes, whose ends have nobody. They begin `before` bytes behind its first.
fn given_behind(world: &World, capacity: usize, before: usize, bytes: &[u8]) {
    let ring = Ring::create(&world.attach(), "r", capacity).unwrap();
    let (mut writer, mut reader) = (ring.try_writer().unwrap(), ring.try_reader().unwrap());
    writer.try_write(&vec![b'.'; before]).unwrap();
    reader.try_read(&mut vec![0; before]).unwrap();
    writer.try_write(bytes).unwrap();
    writer.resign();
    reader.resign();
}

fn around_the_end(world: &World) {
    given_behind(world, CAPACITY, 12, b"a few");
}

fn in_a_row(world: &World) {
    given_behind(world, CAPACITY, 0, b"a few");
}

fn empty(world: &World) {
    given_behind(world, CAPACITY, 12, b"");
}

fn full(world: &World) {
    given_behind(world, CAPACITY, 12, b"sixteen bytes..!");
}

fn of_the_dead(world: &World) {
    in_a_row(world);
    dies(|| forget((writer(world), reader(world))));
}

fn drained(reader: &mut Reader) -> Vec<u8> {
    let (mut seen, mut some) = (Vec::new(), [0; 7]);
    loop {
        match reader.try_read(&mut some) {
            Ok(n) => seen.extend(&some[..n]),
            Err(RecvError::Empty | RecvError::Closed | RecvError::PeerDied(_)) => return seen,
            Err(fault) => panic!("{fault}"),
        }
    }
}

/// What is in it, and at which position. Then it is filled and drained, as far as it goes.
fn seen(survivor: &Survivor<'_>) -> String {
    let ring: Ring = Ring::open(survivor, "r").unwrap();
    let (mut writer, mut reader) = (ring.try_writer().unwrap(), ring.try_reader().unwrap());
    let positions = (writer.position(), reader.position());
    let seen = drained(&mut reader);
    assert_eq!(reader.position() - positions.1, seen.len() as u64);
    for start in [1, 2, 3_u8] {
        let bytes: Vec<u8> = (0..ring.capacity()).map(|n| start.wrapping_add(n.to_le_bytes()[0])).collect();
        assert_eq!(writer.try_write(&bytes), Ok(bytes.len()));
        assert!(writer.try_write(b"x").is_err(), "more than fits");
        assert_eq!(drained(&mut reader), bytes);
    }
    writer.close();
    assert_eq!(reader.try_read(&mut [0]), Err(RecvError::Closed));
    let shown =
        if seen.len() > 99 { format!("{} bytes", seen.len()) } else { String::from_utf8(seen).unwrap() };
    format!("{shown} {} {}", positions.0, positions.1)
}

/// What the roles say.
fn roles(survivor: &Survivor<'_>) -> String {
    let roles = told(survivor, Ring::<Checked>::open(survivor, "r").unwrap().stats());
    seen(survivor);
    roles
}

/// A file with these bytes, at its beginning.
fn file(bytes: &[u8]) -> File {
    let mut file = File::from(memfd_create("kill-file", MFdFlags::MFD_CLOEXEC).unwrap());
    file.write_all(bytes).unwrap();
    file.rewind().unwrap();
    file
}

/// Waits for bytes, and leaves them there.
const READER: Peer = Peer::Waits(|world| {
    let mut reader = reader(world);
    drop(reader.peek(1));
    forget(reader);
});
/// Waits for room, and does not use it.
const WRITER: Peer = Peer::Waits(|world| {
    let mut writer = writer(world);
    drop(writer.reserve(1));
    forget(writer);
});
const NEXT_WRITER: Peer = Peer::Waits(|world| forget(ring(world).writer()));
const NEXT_READER: Peer = Peer::Waits(|world| forget(ring(world).reader()));
const HOLDS_BOTH: Peer = Peer::Keeps(|world| keep((writer(world), reader(world))));

pub(crate) const CASES: &[Case] = &[
    Case {
        name: "stream try_write",
        covers: &["stream::Writer::try_write"],
        given: empty,
        victim: |world| {
            let mut writer = writer(world);
            step(|| writer.try_write(b"around the end").unwrap());
        },
        seen,
        outcomes: &[" 12 12", "around the end 26 12"],
        ..INSIDE
    },
    Case {
        name: "stream write to a sleeper",
        covers: &["stream::Writer::write", "stream::Reader::peek"],
        given: empty,
        peers: &[READER],
        victim: |world| {
            let mut writer = writer(world);
            step(|| writer.write(b"bytes").unwrap());
        },
        seen,
        outcomes: &[" 12 12", "bytes 17 12"],
        ..INSIDE
    },
    Case {
        name: "stream write, in parts",
        covers: &["stream::Writer::write", "stream::Writer::flush"],
        given: |world| given_behind(world, 8192, 0, b""),
        victim: |world| {
            let mut writer = writer(world);
            let bytes = [b'p'; 4096 + 40];
            step(|| (writer.write(&bytes).unwrap(), writer.flush().unwrap()));
        },
        seen,
        outcomes: &[" 0 0", "4096 bytes 4096 0", "4136 bytes 4136 0"],
        shape: Shape { size: 1 << 15, ..INSIDE.shape },
        ..INSIDE
    },
    Case {
        name: "stream write, full",
        covers: &["stream::Writer::write", "stream::Writer::reserve_timeout"],
        given: full,
        victim: |world| {
            let (mut writer, mut reader) = (writer(world), reader(world));
            reader.try_read(&mut [0]).unwrap();
            writer.try_write(b"?").unwrap();
            writer.set_timeout(Some(LONGER));
            step(|| (writer.write(b"x").unwrap_err(), writer.reserve_timeout(1, LONGER / 60).is_err()));
        },
        seen,
        outcomes: &["ixteen bytes..!? 29 13"],
        states: SLEPT,
        ..INSIDE
    },
    Case {
        name: "stream fill_from",
        covers: &["stream::Writer::fill_from"],
        given: |world| given_behind(world, CAPACITY, 8, b"ab"),
        victim: |world| {
            let (mut writer, file) = (writer(world), file(b"from a file"));
            step(|| writer.fill_from(&file).unwrap());
        },
        seen,
        outcomes: &["ab 10 8", "abfrom a 16 8"],
        ..INSIDE
    },
    Case {
        name: "stream commit",
        covers: &["stream::Writer::try_reserve", "stream::Grant::extend_from_slice", "stream::Grant::commit"],
        given: in_a_row,
        victim: |world| {
            let mut writer = writer(world);
            step(|| {
                let mut grant = writer.try_reserve(10).unwrap();
                grant.extend_from_slice(b" bytes");
                grant.commit()
            });
        },
        seen,
        outcomes: &["a few 5 0", "a few bytes 11 0"],
        ..INSIDE
    },
    Case {
        name: "stream grant, dropped",
        covers: &["stream::Writer::reserve"],
        given: in_a_row,
        victim: |world| {
            let mut writer = writer(world);
            step(|| writer.reserve(10).unwrap().extend_from_slice(b"nobody"));
        },
        seen,
        outcomes: &["a few 5 0"],
        ..INSIDE
    },
    Case {
        name: "stream grant in place",
        covers: &["stream::Grant::as_mut_slice", "stream::Grant::spare", "stream::Grant::set_len"],
        given: in_a_row,
        victim: |world| {
            // SAFETY: processes of this test only, which keep the protocol.
            let segment = unsafe { world.attach().trust() };
            let mut writer = Ring::<Trusted>::open(&segment, "r").unwrap().try_writer().unwrap();
            step(|| {
                let mut grant = writer.try_reserve(6).unwrap();
                grant.spare().fill(MaybeUninit::new(b'x'));
                // SAFETY: written above.
                unsafe { grant.set_len(6) };
                grant.as_mut_slice().copy_from_slice(b" bytes");
                grant.commit()
            });
        },
        seen,
        outcomes: &["a few 5 0", "a few bytes 11 0"],
        ..INSIDE
    },
    Case {
        name: "stream try_read",
        covers: &["stream::Reader::try_read"],
        given: around_the_end,
        victim: |world| {
            let mut reader = reader(world);
            step(|| reader.try_read(&mut [0; 4]).unwrap());
        },
        seen,
        outcomes: &["a few 17 12", "w 17 16"],
        ..INSIDE
    },
    Case {
        name: "stream read from a sleeper",
        covers: &["stream::Reader::read"],
        given: full,
        peers: &[WRITER],
        victim: |world| {
            let mut reader = reader(world);
            step(|| reader.read(&mut [0; 8]).unwrap());
        },
        seen,
        outcomes: &["sixteen bytes..! 28 12", "bytes..! 28 20"],
        ..INSIDE
    },
    Case {
        name: "stream read, empty",
        covers: &["stream::Reader::read", "stream::Reader::peek_timeout"],
        given: empty,
        victim: |world| {
            let (mut writer, mut reader) = (writer(world), reader(world));
            writer.try_write(b"?").unwrap();
            reader.try_read(&mut [0]).unwrap();
            reader.set_timeout(Some(LONGER));
            step(|| (reader.read(&mut [0; 8]).unwrap_err(), reader.peek_timeout(1, LONGER / 60).is_err()));
        },
        seen,
        outcomes: &[" 13 13"],
        states: SLEPT,
        ..INSIDE
    },
    Case {
        name: "stream drain_to",
        covers: &["stream::Reader::drain_to"],
        given: in_a_row,
        victim: |world| {
            let (mut reader, file) = (reader(world), file(b""));
            step(|| reader.drain_to(&file).unwrap());
        },
        seen,
        outcomes: &["a few 5 0", " 5 5"],
        ..INSIDE
    },
    Case {
        name: "stream release_first",
        covers: &["stream::Reader::try_peek", "stream::Bytes::copy_to", "stream::Bytes::release_first"],
        given: in_a_row,
        victim: |world| {
            let mut reader = reader(world);
            step(|| {
                let bytes = reader.try_peek(9).unwrap();
                bytes.copy_to(&mut [0; 3]);
                bytes.release_first(2)
            });
        },
        seen,
        outcomes: &["a few 5 0", "few 5 2"],
        ..INSIDE
    },
    Case {
        name: "stream release",
        covers: &["stream::Bytes::release"],
        given: in_a_row,
        victim: |world| {
            let mut reader = reader(world);
            let bytes = reader.try_peek(9).unwrap();
            step(|| bytes.release());
        },
        seen,
        outcomes: &["a few 5 0", " 5 5"],
        ..INSIDE
    },
    Case {
        name: "stream consume",
        covers: &["stream::Reader::fill_buf", "stream::Reader::consume"],
        given: in_a_row,
        victim: |world| {
            // SAFETY: processes of this test only, which keep the protocol.
            let segment = unsafe { world.attach().trust() };
            let mut reader = Ring::<Trusted>::open(&segment, "r").unwrap().try_reader().unwrap();
            step(|| {
                reader.fill_buf().unwrap();
                reader.consume(2);
            });
        },
        seen,
        outcomes: &["a few 5 0", "few 5 2"],
        ..INSIDE
    },
    Case {
        name: "stream roles, fresh",
        covers: &["stream::Ring::try_writer", "stream::Ring::try_reader"],
        given: in_a_row,
        victim: |world| {
            let ring = ring(world);
            step(|| forget((ring.try_writer().unwrap(), ring.try_reader().unwrap())));
        },
        seen: roles,
        outcomes: &["vacant vacant (1, 1)", "died vacant (2, 1)", "died died (2, 2)"],
        ..INSIDE
    },
    Case {
        name: "stream roles taken over",
        covers: &["stream::Ring::writer", "stream::Ring::reader"],
        given: of_the_dead,
        victim: |world| {
            let ring = ring(world);
            step(|| forget((ring.writer().unwrap(), ring.reader().unwrap())));
        },
        seen: roles,
        outcomes: &["died died (2, 2)", "died died (3, 2)", "died died (3, 3)"],
        ..INSIDE
    },
    Case {
        name: "stream roles of the living",
        covers: &["stream::Ring::writer_timeout", "stream::Ring::reader_timeout"],
        given: in_a_row,
        peers: &[HOLDS_BOTH],
        victim: |world| {
            let ring = ring(world);
            step(|| (ring.writer_timeout(LONGER).unwrap_err(), ring.reader_timeout(LONGER).unwrap_err()));
        },
        seen: roles,
        outcomes: &["died died (2, 2)"],
        states: 1,
        ..INSIDE
    },
    Case {
        name: "stream writer closes",
        covers: &["stream::Writer::close"],
        given: empty,
        peers: &[READER],
        victim: |world| {
            let writer = writer(world);
            step(|| writer.close());
        },
        seen: roles,
        outcomes: &["died died (2, 2)", "closed died (2, 2)"],
        ..INSIDE
    },
    Case {
        name: "stream reader closes",
        covers: &["stream::Reader::close"],
        given: full,
        peers: &[WRITER],
        victim: |world| {
            let reader = reader(world);
            step(|| reader.close());
        },
        seen: roles,
        outcomes: &["died died (2, 2)", "died closed (2, 2)"],
        ..INSIDE
    },
    Case {
        name: "stream ends resign, others wait",
        covers: &["stream::Writer::resign", "stream::Reader::resign", "stream::Ring::writer"],
        given: in_a_row,
        peers: &[NEXT_WRITER, NEXT_READER],
        victim: |world| {
            let (writer, reader) = (writer(world), reader(world));
            step(|| (writer.resign(), reader.resign()));
        },
        seen,
        outcomes: &["a few 5 0"],
        ..INSIDE
    },
    Case {
        name: "stream writer panics",
        covers: &["stream::Writer::drop"],
        given: empty,
        peers: &[READER],
        victim: |world| step_unwinding(writer(world)),
        seen: roles,
        outcomes: &["died died (2, 2)"],
        ..INSIDE
    },
];
