//! Bytes: records and streams, beside what the kernel and `ringfire` offer, and whole programs.

use std::rc::Rc;

use crate::byte_loops::{records, stream};
use crate::case::{Case, Id};
use crate::commands::Programs;
use crate::groups::{limits, spsc};
use crate::links::kernel::Kernel;
use crate::links::peers;

pub(crate) const RECORDS_PACKETS: Id = "streams/64/seqpacket";
pub(crate) const STREAM_PIPE: Id = "streams/stream/pipe";
pub(crate) const STREAM_SOCKET: Id = "streams/stream/socket";
pub(crate) const FILE_CATS: Id = "streams/file/cat";
pub(crate) const FILE: Id = "streams/file/outlive";
pub(crate) const TRIP_64_BLOBS: Id = "streams/trip-64/ringfire";
pub(crate) const TRIP_1K_BLOBS: Id = "streams/trip-1k/ringfire";
pub(crate) const RECORDS_BLOBS: Id = "streams/64/ringfire";

/// Bytes of a write to a stream.
const BLOCK: usize = 64 << 10;

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
    all.extend(files());
    all
}

fn streams_of(id: Id, case: &'static str, who: &'static str, params: &'static str) -> Case {
    Case::new("streams", id, case, who, params)
}

fn trips() -> Vec<Case> {
    peers::record_trips().into_iter().map(|case| case.against(&[spsc::TRIP])).collect()
}

fn one_way() -> Vec<Case> {
    let mut cases = vec![
        streams_of(RECORDS_PACKETS, "records one way", "UNIX seqpacket", "64 B")
            .per_second(|s| records(s, &Kernel::sequenced_packets()?, 64, 1 << 20)),
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
    ]
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
