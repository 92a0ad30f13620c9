//! The stream without waiting: orderings, deaths at every write and between the parts of one write, roles, the kernel.
//!
//! In a model a part is a quarter of the ring: with the capacities here, a byte.
#![cfg(loom)]
#![expect(clippy::unwrap_used, reason = "tests")]

use std::fs::File;
use std::io::{ErrorKind, Read, Seek, SeekFrom, Write};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use outlive::error::{RecvError, SendError};
use outlive::loom::thread;
use outlive::model::life;
use outlive::ring::stream::{Reader, Ring, Writer};
use outlive::{Error, Segment, Trusted};
use outlive_loom_tests::{self as fixture, Kind, Pair, explore, explore_deaths};

/// The ring of bytes.
enum Bytes {}

impl Kind for Bytes {
    type Ring = Ring;
    type Sender = Writer;
    type Receiver = Reader;

    fn create(segment: &Segment, capacity: usize) -> Result<Ring, Error> {
        Ring::create(segment, "r", capacity)
    }

    fn open(segment: &Segment) -> Result<Ring, Error> {
        Ring::open(segment, "r")
    }

    fn sender(ring: &Ring) -> Result<Writer, Error> {
        ring.try_writer()
    }

    fn receiver(ring: &Ring) -> Result<Reader, Error> {
        ring.try_reader()
    }
}

fn processes(capacity: usize) -> ([Segment; 2], Ring) {
    fixture::ring::<Bytes, 2>(capacity)
}

fn pair(capacity: usize) -> Pair<Bytes> {
    fixture::pair::<Bytes>(capacity)
}

fn ring_of(segment: &Segment) -> Ring {
    Bytes::open(segment).unwrap()
}

/// The bytes of the stream: each is its position.
fn bytes<const N: usize>(from: u64) -> [u8; N] {
    let from = u8::try_from(from).unwrap();
    std::array::from_fn(|i| from + u8::try_from(i).unwrap())
}

/// Takes over what was read from `from` on.
fn follows(from: u64, read: &[u8]) -> u64 {
    for (byte, position) in read.iter().zip(from..) {
        assert_eq!(u64::from(*byte), position, "in order, each once");
    }
    from + read.len() as u64
}

/// Everything that is in the ring, from `from` on.
fn drain(reader: &mut Reader, from: u64) -> u64 {
    let mut buffer = [0; 4];
    let read = || reader.try_read(&mut buffer).map(|n| (n, buffer));
    fixture::drain(read, from, |from, (n, bytes)| follows(from, &bytes[..n]))
}

/// The race: the writer copies the parts of two writes and publishes each, across the end of the ring, while the reader
/// reads and frees them for the next lap.
///
/// Allowed: a prefix of what was written, also of one write. Forbidden: a byte that both touch, a byte that was not
/// written.
#[test]
fn bytes_are_behind_the_position_that_names_them() {
    let iterations = explore(3, || {
        let (_segments, _ring, mut writer, mut reader) = pair(2);
        assert_eq!(writer.try_write(&[0]), Ok(1));
        let writing = thread::spawn(move || {
            let mut written = 1;
            for _ in 0..2 {
                written += writer.try_write(&bytes::<2>(written)).unwrap_or(0) as u64;
            }
            (writer, written)
        });
        let mut next = 0;
        for _ in 0..2 {
            let mut buffer = [0; 2];
            match reader.try_read(&mut buffer) {
                Ok(n) => next = follows(next, &buffer[..n]),
                Err(error) => assert_eq!(error, RecvError::Empty),
            }
        }
        let (writer, written) = writing.join().unwrap();
        assert_eq!(drain(&mut reader, next), written);
        drop(writer);
    });
    assert!(iterations > 240, "{iterations}");
}

/// The same race, by grants on one side and guards on the other, in place.
///
/// Allowed: a prefix of what was committed. Forbidden: a byte that both touch, a byte that was not committed.
#[test]
fn bytes_in_place_are_behind_the_position_that_names_them() {
    let iterations = explore(3, || {
        let here = Segment::options().rows(2).heap().unwrap();
        // SAFETY: two attachments to heap memory that only this model writes, through this crate.
        let there = unsafe { here.attach().unwrap().trust() };
        // SAFETY: as above.
        let here = unsafe { here.trust() };
        let ring = Ring::<Trusted>::create(&here, "r", 2).unwrap();
        let mut writer = Ring::<Trusted>::open(&there, "r").unwrap().try_writer().unwrap();
        let mut reader = ring.try_reader().unwrap();
        let writing = thread::spawn(move || {
            let mut written = 0;
            for _ in 0..2 {
                if let Ok(mut grant) = writer.try_reserve(2) {
                    let n = grant.capacity();
                    grant.as_mut_slice().copy_from_slice(&bytes::<2>(written)[..n]);
                    written += grant.commit() as u64;
                }
            }
            (writer, written)
        });
        let mut next = 0;
        for _ in 0..2 {
            if let Ok(bytes) = reader.try_peek(2) {
                next = follows(next, &bytes);
                bytes.release();
            }
        }
        let (writer, written) = writing.join().unwrap();
        assert!(next <= written);
        assert_eq!(ring.stats().depth, written - next);
        drop(writer);
    });
    assert!(iterations > 90, "{iterations}");
}

/// The race: the writer writes its last two bytes and closes, the reader reads.
///
/// Allowed: nothing yet, some bytes, then the end. Forbidden: the end while a byte lies there.
#[test]
fn the_end_comes_after_the_last_byte() {
    let iterations = explore(3, || {
        let (_segments, _ring, mut writer, mut reader) = pair(4);
        let writing = thread::spawn(move || {
            writer.write_all(&[0, 1]).unwrap();
            writer.close();
        });
        reader.set_timeout(Some(Duration::ZERO));
        let mut next = 0;
        for _ in 0..3 {
            let mut buffer = [0; 4];
            match reader.read(&mut buffer) {
                Ok(0) => assert_eq!(next, 2, "the end before the last byte"),
                Ok(n) => next = follows(next, &buffer[..n]),
                Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
            }
        }
        writing.join().unwrap();
        assert_eq!(drain(&mut reader, next), 2);
        assert_eq!(reader.read(&mut [0]).unwrap(), 0);
    });
    assert!(iterations > 3000, "{iterations}");
}

/// The race: the reader closes while a writer, who has room and looks at nothing, writes.
///
/// Allowed: what was written before is in the ring, for a successor. Forbidden: more than one write that begins after the
/// reader has closed.
#[test]
fn a_writer_with_room_is_told_soon() {
    let iterations = explore(3, || {
        let (_segments, ring, mut writer, reader) = pair(16);
        let closing = thread::spawn(move || reader.close());
        let mut written = 0;
        for _ in 0..2 {
            match writer.try_write(&bytes::<2>(written)) {
                Ok(n) => written += n as u64,
                Err(error) => assert_eq!(error, SendError::Closed(())),
            }
        }
        closing.join().unwrap();
        written += writer.try_write(&bytes::<1>(written)).unwrap_or(0) as u64;
        assert_eq!(writer.try_write(&bytes::<1>(written)), Err(SendError::Closed(())));
        assert_eq!(drain(&mut ring.try_reader().unwrap(), 0), written);
    });
    assert!(iterations > 40, "{iterations}");
}

/// A writer dies before each of its writes, also between the parts of one write; the reader reads meanwhile; then a
/// successor carries on at the byte.
///
/// Allowed: a write of which only the first part is there. Forbidden: a byte lost, or told twice; death reported while a
/// byte lies there.
#[test]
fn a_successor_of_the_writer_carries_on_at_the_byte() {
    let deaths = explore_deaths(2, |k| {
        let ([_here, there], ring) = processes(4);
        let mut reader = ring.try_reader().unwrap();
        let victim = thread::spawn({
            let there = there.clone();
            move || {
                life::mortal(&there, k, || {
                    let mut writer = ring_of(&there).try_writer().unwrap();
                    assert_eq!(writer.try_write(&bytes::<2>(0)), Ok(2));
                    assert_eq!(writer.try_write(&bytes::<1>(2)), Ok(1));
                })
            }
        });
        let mut next = 0;
        for _ in 0..2 {
            let mut buffer = [0; 4];
            match reader.try_read(&mut buffer) {
                Ok(n) => next = follows(next, &buffer[..n]),
                Err(RecvError::PeerDied(owner)) => {
                    assert_eq!(owner, there.owner());
                    assert_eq!(ring.stats().sent, next, "its last byte was not looked for after the verdict");
                }
                Err(error) => assert!(matches!(error, RecvError::Empty | RecvError::Closed)),
            }
        }
        let died = victim.join().unwrap().is_none();
        let mut successor = ring.try_writer().unwrap();
        while successor.position() < 6 {
            if successor.try_write(&bytes::<1>(successor.position())).is_err() {
                next = drain(&mut reader, next);
            }
        }
        assert_eq!(drain(&mut reader, next), 6);
        died
    });
    assert!(deaths.len() >= 8 && deaths.iter().sum::<usize>() > 5000, "{deaths:?}");
}

/// A reader dies before each of its writes, by `read` in parts and by a guard; the writer writes meanwhile.
///
/// Allowed: its successor gets everything that was not released. Forbidden: a byte lost that was not consumed, one that was
/// consumed and comes again.
#[test]
fn a_successor_of_the_reader_gets_what_is_left() {
    let deaths = explore_deaths(2, |k| {
        let ([_here, there], ring) = processes(4);
        let mut writer = ring.try_writer().unwrap();
        assert_eq!(writer.try_write(&bytes::<3>(0)), Ok(3));
        let consumed = Arc::new(Mutex::new(0)); // what its user knows to be done; not part of the model
        let victim = thread::spawn({
            let (there, consumed) = (there.clone(), Arc::clone(&consumed));
            move || {
                life::mortal(&there, k, || {
                    let mut reader = ring_of(&there).try_reader().unwrap();
                    let mut buffer = [0; 4];
                    assert_eq!(reader.try_read(&mut buffer[..2]), Ok(2));
                    *consumed.lock().unwrap() = follows(0, &buffer[..2]);
                    let bytes = reader.try_peek(4).unwrap();
                    let n = bytes.copy_to(&mut buffer);
                    assert_eq!(bytes.release(), n);
                    *consumed.lock().unwrap() = follows(2, &buffer[..n]);
                })
            }
        });
        let mut written = 3;
        for _ in 0..2 {
            match writer.try_write(&bytes::<2>(written)) {
                Ok(n) => written += n as u64,
                Err(SendError::PeerDied((), owner)) => assert_eq!(owner, there.owner()),
                Err(error) => assert!(matches!(error, SendError::Full(()) | SendError::Closed(()))),
            }
        }
        let died = victim.join().unwrap().is_none();
        let mut successor = ring.try_reader().unwrap();
        let (position, consumed) = (successor.position(), *consumed.lock().unwrap());
        assert!(consumed <= position, "consumed, and comes again");
        assert!(position <= written && (died || position == consumed), "lost");
        assert_eq!(drain(&mut successor, position), written);
        died
    });
    assert!(deaths.len() >= 5 && deaths.iter().sum::<usize>() > 4000, "{deaths:?}");
}

/// The kernel fills the ring from a file, and whoever asked it to dies before each write, those of the kernel included; a
/// successor seeks to the position.
///
/// Allowed: as for any writer. Forbidden: bytes of the dead one's `fill_from` that count although it did not return.
#[test]
fn what_the_kernel_copied_counts_when_it_is_published() {
    /// A file that everybody has, and its first bytes.
    const PATH: &str = "/proc/self/exe";
    const BEGINNING: &[u8] = b"\x7fELF\x02\x01\x01";
    let deaths = explore_deaths(2, |k| {
        let ([_here, there], ring) = processes(4);
        let mut reader = ring.try_reader().unwrap();
        let victim = thread::spawn({
            let there = there.clone();
            move || {
                life::mortal(&there, k, || {
                    let (file, mut writer) =
                        (File::open(PATH).unwrap(), ring_of(&there).try_writer().unwrap());
                    assert_eq!(writer.fill_from(&file).unwrap(), 1);
                    assert_eq!(writer.fill_from(&file).unwrap(), 1);
                })
            }
        });
        let (mut read, mut buffer) = (Vec::new(), [0; 4]);
        if let Ok(n) = reader.try_read(&mut buffer) {
            read.extend_from_slice(&buffer[..n]);
        }
        let died = victim.join().unwrap().is_none();
        let (mut file, mut successor) = (File::open(PATH).unwrap(), ring.try_writer().unwrap());
        file.seek(SeekFrom::Start(successor.position())).unwrap();
        successor.set_timeout(Some(Duration::ZERO));
        while read.len() < BEGINNING.len() {
            match successor.fill_from(&file) {
                Ok(n) => assert_eq!(n, 1),
                Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
            }
            while let Ok(n) = reader.try_read(&mut buffer) {
                read.extend_from_slice(&buffer[..n]);
            }
        }
        assert_eq!(read, BEGINNING);
        died
    });
    assert!(deaths.len() >= 5 && deaths.iter().sum::<usize>() > 600, "{deaths:?}");
}
