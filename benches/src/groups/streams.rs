//! Bytes: records and streams, beside what the kernel and `ringfire` offer, and whole programs.

use std::rc::Rc;

use outlive::Trusted;
use outlive::ring::records::{Receiver, Sender};

use crate::Result;
use crate::byte_loops::{gigabytes, paced, record_trip, records, stream};
use crate::case::{Case, Id};
use crate::commands::Programs;
use crate::groups::{limits, spsc};
use crate::harness::{Mode, Setup, run};
use crate::links::kernel::Kernel;
use crate::links::outlive_bytes::{Records, Stream};
use crate::links::peers;

pub(crate) const TRIP_64: Id = "streams/trip-64/outlive";
pub(crate) const TRIP_1K: Id = "streams/trip-1k/outlive";
pub(crate) const RECORDS: Id = "streams/64/outlive";
pub(crate) const RECORDS_BLOBS: Id = "streams/64/ringfire";
pub(crate) const RECORDS_PACKETS: Id = "streams/64/seqpacket";
pub(crate) const STREAM: Id = "streams/stream/outlive";
pub(crate) const STREAM_PIPE: Id = "streams/stream/pipe";
pub(crate) const STREAM_SOCKET: Id = "streams/stream/socket";
pub(crate) const FILE_CATS: Id = "streams/file/cat";
pub(crate) const FILE: Id = "streams/file/outlive";
pub(crate) const IN_PLACE: Id = "streams/in-place/outlive";

/// Bytes of a write to a stream.
const BLOCK: usize = 64 << 10;
/// Bytes of the rings of small records.
const RING: usize = 64 << 10;
/// Bytes of the rings of large blocks: more than the L2 cache, so that what was written is on its way to the other core.
const LARGE_RING: usize = 4 << 20;
const TRIPS: u64 = 10_000;

/// With the limits and the ring of 8 bytes that they are compared with.
pub(crate) fn group() -> Vec<Case> {
    let limits =
        limits::cases().into_iter().filter(|case| [limits::LINE_TRIP, limits::MEMCPY].contains(&case.id));
    let mut all: Vec<Case> =
        limits.chain(spsc::cases().into_iter().filter(|case| case.id == spsc::TRIP)).collect();
    all.extend(cases());
    all
}

pub(crate) fn cases() -> Vec<Case> {
    let mut all = trips();
    all.extend(one_way());
    all.extend(streams());
    all.extend(in_place());
    all.extend(files());
    all
}

fn streams_of(id: Id, case: &'static str, who: &'static str, params: &'static str) -> Case {
    Case::new("streams", id, case, who, params)
}

fn trips() -> Vec<Case> {
    let of = |id, params| streams_of(id, "record round trip", "outlive", params);
    let mut cases = vec![
        of(TRIP_64, "64 B").ns(|s| record_trip(s, &Records::new(RING)?, 64, TRIPS)),
        of(TRIP_1K, "1 KiB").ns(|s| record_trip(s, &Records::new(RING)?, 1024, TRIPS)),
    ];
    cases.extend(peers::record_trips());
    cases.into_iter().map(|case| case.against(&[spsc::TRIP])).collect()
}

fn one_way() -> Vec<Case> {
    let of = |id, who| streams_of(id, "records one way", who, "64 B");
    let mut cases = vec![
        of(RECORDS_PACKETS, "UNIX seqpacket")
            .per_second(|s| records(s, &Kernel::sequenced_packets()?, 64, 1 << 20)),
        of(RECORDS, "outlive")
            .per_second(|s| records(s, &Records::new(RING)?, 64, 4 << 20))
            .against(&[RECORDS_PACKETS, RECORDS_BLOBS]),
    ];
    cases.extend(peers::records());
    cases
}

fn streams() -> Vec<Case> {
    let of = |id, who| streams_of(id, "stream", who, "64 KiB writes");
    vec![
        of(STREAM_PIPE, "pipe").measured("GB/s", |s| stream(s, &Kernel::pipe()?, BLOCK, 8000)),
        of(STREAM_SOCKET, "UNIX stream socket")
            .measured("GB/s", |s| stream(s, &Kernel::stream_socket()?, BLOCK, 8000)),
        of(STREAM, "outlive")
            .measured("GB/s", |s| stream(s, &Stream::new(LARGE_RING)?, BLOCK, 8000))
            .against(&[STREAM_PIPE, STREAM_SOCKET]),
    ]
}

fn in_place() -> Vec<Case> {
    vec![
        streams_of(IN_PLACE, "record of 1 MiB in place", "outlive, Trusted", "filled, then summed")
            .measured("GB/s", written_and_read_in_place)
            .against(&[limits::MEMCPY]),
    ]
}

/// Gigabytes a second; every byte is written by one side and read by the other, where it is.
fn written_and_read_in_place(setup: &Setup) -> Result<f64> {
    const LENGTH: usize = 1 << 20;
    let most = setup.count(4000);
    let link = Records::new(LARGE_RING)?;
    let write = |tx: &mut Sender<Trusted>, n: u8| {
        let mut grant = tx.reserve(LENGTH).expect("the receiver lives");
        grant.as_mut_slice().fill(n);
        assert_eq!(grant.commit(), LENGTH, "a part of the record");
    };
    let sum = |rx: &mut Receiver<Trusted>| {
        let record = rx.read().expect("the sender lives");
        assert_eq!(record.len(), LENGTH, "another length than was sent");
        let words = record.chunks_exact(8);
        let sum = words
            .fold(0_u64, |sum, word| sum.wrapping_add(u64::from_le_bytes(word.try_into().expect("8 bytes"))));
        record.release();
        sum
    };
    let outcome = run(
        setup,
        Mode::Processes,
        &[
            &|side| {
                let mut tx = link.trusted().try_sender().expect("nobody else sends here");
                paced(side, most, |count| (0..count).for_each(|n| write(&mut tx, byte(n))));
            },
            &|side| {
                let mut rx = link.trusted().try_receiver().expect("nobody else receives here");
                paced(side, most, |count| {
                    for n in 0..count {
                        let wanted = u64::from_le_bytes([byte(n); 8]).wrapping_mul(1 << 17);
                        assert_eq!(sum(&mut rx), wanted, "another record than was sent");
                    }
                });
            },
        ],
    )?;
    Ok(gigabytes(&outcome, LENGTH))
}

/// The lowest byte, which is never 0: what memory is filled with at first.
fn byte(n: u64) -> u8 {
    n.to_le_bytes()[0] | 1
}

fn files() -> Vec<Case> {
    let programs = Rc::new(Programs::default());
    let of = |id, who| streams_of(id, "file of 2 GiB to /dev/null", who, "programs, from start to end");
    let (cats, ours) = (Rc::clone(&programs), programs);
    vec![
        of(FILE_CATS, "cat FILE | cat").measured("ms", move |s| Ok(cats.cats(s)? / 1e6)),
        of(FILE, "outlive send, outlive recv")
            .measured("ms", move |s| Ok(ours.ours(s)? / 1e6))
            .against(&[FILE_CATS]),
    ]
}
