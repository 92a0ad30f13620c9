//! The check over arbitrary bytes: it ends, and says something. And over what was done by the rules, in any order, with deaths:
//! it finds nothing broken.

use std::os::fd::AsFd;

use nix::sys::uio::pwrite;
use outlive::atomic::AtomicU64;
use outlive::inspect::{self, Severity};
use outlive::object::Object;
use outlive::ring::{records, spsc, stream};
use outlive::{Error, Segment, testing};
use proptest::prelude::*;

use super::config;

const SIZE: usize = 32 << 10;

/// Everything that there is, in use by two attachments.
fn scene(segment: &Segment) -> Box<dyn std::any::Any> {
    let other = segment.attach().unwrap();
    let messages = spsc::Ring::<u64>::create(segment, "messages", 8).unwrap();
    let plain: records::Ring = records::Ring::create(segment, "plain", 256).unwrap();
    let mirrored: records::Ring = records::Ring::create(&other, "mirrored", 4096).unwrap();
    let bytes: stream::Ring = stream::Ring::create(segment, "bytes", 64).unwrap();
    let object = Object::<AtomicU64>::create(&other, "object", AtomicU64::default).unwrap();
    let mut sender = messages.try_sender().unwrap();
    (0..5).for_each(|number| sender.send(number).unwrap());
    let mut senders = [plain.try_sender().unwrap(), mirrored.try_sender().unwrap()];
    for sender in &mut senders {
        (0..4).for_each(|length| sender.send(&vec![1; 7 * length]).unwrap());
    }
    let mut writer = bytes.try_writer().unwrap();
    writer.try_write(&[1; 40]).unwrap();
    Box::new((other, sender, senders, writer, object, plain.try_receiver().unwrap()))
}

/// What a scribbler writes, and where.
#[derive(Clone, Debug)]
struct Scribble {
    at: usize,
    bytes: Vec<u8>,
}

/// Control words, more often than anything else; single ones, and many.
fn scribble() -> impl Strategy<Value = Scribble> {
    let at = prop_oneof![0..SIZE, 0..7000_usize, 7000..16_384_usize];
    let word = prop_oneof![
        any::<u64>(),
        (0..64_u32).prop_map(|bit| 1 << bit),
        0..300_u64,
        (0..300_u64).prop_map(|less| u64::MAX - less),
        Just(7040),
    ];
    let bytes = prop_oneof![
        8 => word.prop_map(|word| word.to_le_bytes().to_vec()),
        1 => prop::collection::vec(any::<u8>(), 1..SIZE),
    ];
    (at, bytes).prop_map(|(at, mut bytes)| {
        let at = at / 8 * 8;
        bytes.truncate(SIZE - at);
        Scribble { at, bytes }
    })
}

fn write(segment: &Segment, Scribble { at, bytes }: &Scribble) {
    let fd = segment.as_fd().unwrap();
    assert_eq!(pwrite(fd.as_fd(), bytes, (*at).try_into().unwrap()), Ok(bytes.len()));
}

/// So many invariants does no segment of this size have.
const MANY: u64 = 2000;

proptest! {
    #![proptest_config(config(300))]

    #[test]
    fn it_reads_whatever_the_bytes_are(scribbles in prop::collection::vec(scribble(), 1..30)) {
        let segment = Segment::options().size(SIZE).rows(6).memfd("scribbled").unwrap();
        let _kept = scene(&segment);
        prop_assert!(inspect::check(&segment).findings.is_empty());
        for scribble in &scribbles {
            write(&segment, scribble);
            let report = inspect::check(&segment);
            prop_assert!(report.invariants < MANY, "{}", report);
            prop_assert_eq!(report.unsettled, 0, "nobody writes: {}", report);
            prop_assert_eq!(report.to_string().lines().count(), report.findings.len() + 1);
        }
        if let Ok(copy) = segment.snapshot() {
            prop_assert!(inspect::check(&copy).invariants < MANY);
        }
    }
}

/// What can be done by the rules. Processes and names are numbers.
#[derive(Clone, Debug)]
enum Act {
    Messages(usize, u64, bool),
    Records(usize, usize, usize),
    Stream(usize, usize),
    Object(usize),
    Remove(usize, usize),
    /// What this process keeps is dropped.
    Drop(usize),
    Kill(usize),
    Sweep(usize),
}

const PROCESSES: usize = 3;
const NAMES: [&str; 4] = ["messages", "records", "bytes", "object"];

fn act() -> impl Strategy<Value = Act> {
    let process = 0..PROCESSES;
    prop_oneof![
        4 => (process.clone(), 0..20_u64, any::<bool>()).prop_map(|(p, n, close)| Act::Messages(p, n, close)),
        4 => (process.clone(), 0..6_usize, 0..60_usize).prop_map(|(p, n, len)| Act::Records(p, n, len)),
        2 => (process.clone(), 0..200_usize).prop_map(|(p, len)| Act::Stream(p, len)),
        1 => process.clone().prop_map(Act::Object),
        2 => (process.clone(), 0..NAMES.len()).prop_map(|(p, name)| Act::Remove(p, name)),
        1 => process.clone().prop_map(Act::Drop),
        2 => process.clone().prop_map(Act::Kill),
        1 => process.prop_map(Act::Sweep),
    ]
}

struct Process {
    segment: Segment,
    kept: Vec<Box<dyn std::any::Any>>,
}

impl Process {
    /// Does it; the handles are kept, as those of a process that is killed are.
    fn act(&mut self, act: &Act) -> Result<(), Error> {
        match *act {
            Act::Messages(_, n, close) => {
                let ring = spsc::Ring::<u64>::open_or_create(&self.segment, "messages", 8)?;
                let mut receiver = ring.try_receiver().ok();
                let mut sender = ring.try_sender()?;
                for number in 0..n {
                    let _ = sender.try_send(number);
                    if let (Some(receiver), 1..) = (&mut receiver, number % 3) {
                        let _ = receiver.try_recv();
                    }
                }
                if close {
                    sender.close();
                } else {
                    self.kept.push(Box::new((sender, receiver)));
                }
            }
            Act::Records(_, n, len) => {
                let ring: records::Ring = records::Ring::open_or_create(&self.segment, "records", 256)?;
                let mut receiver = ring.try_receiver().ok();
                let mut sender = ring.try_sender()?;
                for i in 0..n {
                    let _ = sender.try_send(&vec![0xff; len + i]);
                }
                let _ = receiver.as_mut().map(|receiver| receiver.try_recv(&mut Vec::new()));
                self.kept.push(Box::new((sender, receiver)));
            }
            Act::Stream(_, len) => {
                let ring: stream::Ring = stream::Ring::open_or_create(&self.segment, "bytes", 64)?;
                let _ = ring.try_writer()?.try_write(&vec![1; len]);
                let _ = ring.try_reader()?.try_read(&mut vec![0; len / 2]);
            }
            Act::Object(_) => {
                let object =
                    Object::<AtomicU64>::open_or_create(&self.segment, "object", AtomicU64::default)?;
                self.kept.push(Box::new(object));
            }
            Act::Remove(_, name) => self.segment.remove(NAMES[name])?,
            Act::Drop(_) => self.kept.clear(),
            Act::Sweep(_) => drop(self.segment.sweep()?),
            Act::Kill(_) => testing::kill(&self.segment)?,
        }
        Ok(())
    }
}

proptest! {
    #![proptest_config(config(200))]

    #[test]
    fn what_keeps_the_rules_is_sound(acts in prop::collection::vec(act(), 1..60)) {
        let eyes = Segment::options().size(SIZE).rows(6).heap().unwrap();
        let process = || Process { segment: eyes.attach().unwrap(), kept: Vec::new() };
        let mut processes: Vec<Process> = (0..PROCESSES).map(|_| process()).collect();
        for act in &acts {
            let (Act::Messages(number, ..) | Act::Records(number, ..) | Act::Stream(number, _)
                | Act::Object(number) | Act::Remove(number, _) | Act::Drop(number) | Act::Kill(number)
                | Act::Sweep(number)) = *act;
            let done = processes[number].act(act);
            let is_expected = matches!(done, Ok(()) | Err(Error::Busy { .. } | Error::NotFound { .. }));
            prop_assert!(is_expected, "{:?}", done);
            if matches!(act, Act::Kill(_)) {
                processes[number] = process();
            }
            let report = inspect::check(&eyes);
            prop_assert!(report.is_sound(), "{}", report);
            prop_assert_eq!(report.unsettled, 0);
        }
        drop(processes);
        eyes.sweep().unwrap();
        let report = inspect::check(&eyes);
        let worst = report.findings.iter().map(|finding| finding.severity).max();
        prop_assert!(worst <= Some(Severity::Note) && report.dead == 0, "{}", report);
    }
}
