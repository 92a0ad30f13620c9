//! Replacing a pipe. Before, between two processes that one of them has started:
//!
//! ```text
//! let (mut reader, mut writer) = std::io::pipe()?;           // inherited by the child; gone with whoever dies
//! io::copy(&mut input, &mut writer)?;                        // here:  two copies, and two system calls for 64 KiB
//! io::copy(&mut reader, &mut output)?;                       // there: two more
//! ```
//!
//! After, between any two processes that know a name, as in `main` below: start it with `write FILE`, and with
//! `read FILE`, in any order. Kill either with `kill -9` and start it again: the copy is exact nevertheless, because both
//! go on at the position where the ring says that the last one stopped. Without arguments it shows that in one process.

#![expect(clippy::print_stdout, reason = "it shows what arrives")]

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};

use outlive::{Segment, ring::stream, testing};

fn open(segment: &Segment) -> outlive::Result<stream::Ring> {
    stream::Ring::open_or_create(segment, "pipe", 256 << 10)
}

/// The kernel copies from the file straight into the ring.
fn write(ring: &stream::Ring, mut file: File) -> io::Result<u64> {
    let mut writer = ring.writer()?; // waits until the last one is done, or dead
    writer.wait_for_successor(true); // a killed reader will be back
    file.seek(SeekFrom::Start(writer.position()))?;
    while writer.fill_from(&file)? > 0 {}
    Ok(writer.position()) // dropped: the reader finds the end
}

/// And straight out of it.
fn read(ring: &stream::Ring, mut file: File) -> io::Result<u64> {
    let mut reader = ring.reader()?;
    reader.wait_for_successor(true);
    file.set_len(reader.position())?; // what a killed one wrote beyond it is in the ring still
    file.seek(SeekFrom::End(0))?;
    while reader.drain_to(&file)? > 0 {}
    Ok(reader.position())
}

fn main() -> io::Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let of_two_processes = || Segment::open_or_create("shm:outlive-example-pipe", 1 << 20);
    let bytes = match args.as_slice() {
        [role, path] if role == "write" => write(&open(&of_two_processes()?)?, File::open(path)?)?,
        [role, path] if role == "read" => {
            let file = File::options().create(true).truncate(false).write(true).open(path)?;
            let bytes = read(&open(&of_two_processes()?)?, file)?;
            Segment::unlink("shm:outlive-example-pipe")?;
            bytes
        }
        _ => in_one_process()?,
    };
    println!("{bytes} bytes");
    Ok(())
}

/// A writer that dies, its successor, and a reader that takes whatever comes.
fn in_one_process() -> io::Result<u64> {
    let segment = Segment::heap(1 << 20)?;
    let ring = open(&segment)?;
    let reading = std::thread::spawn({
        let ring = open(&segment.attach()?)?;
        move || -> io::Result<String> {
            let mut reader = ring.reader()?;
            reader.wait_for_successor(true);
            let mut all = String::new();
            reader.read_to_string(&mut all)?;
            Ok(all)
        }
    });

    let text = "whoever is killed, whenever: the stream goes on at the very byte\n".repeat(10_000);
    let doomed = segment.attach()?;
    let mut writer = open(&doomed)?.writer()?;
    writer.write_all(&text.as_bytes()[..300_000])?;
    testing::kill(&doomed)?; // as `kill -9` would
    assert!(writer.write(b"x").is_err(), "its handles refuse");

    let mut successor = ring.writer()?;
    let position = usize::try_from(successor.position()).expect("less than the text");
    println!("the successor carries on at byte {position}");
    successor.write_all(&text.as_bytes()[position..])?;
    let bytes = successor.position();
    successor.close();
    let arrived = reading.join().expect("the reader does not panic")?;
    assert!(arrived == text, "every byte once, in order");
    Ok(bytes)
}
