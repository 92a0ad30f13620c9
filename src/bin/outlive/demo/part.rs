//! What a part runs: the sender, the receiver, and what they have in common.
//!
//! Invariants of the unsafe code:
//!
//! * I1: the segment is created for this demo under a name of its own, with mode 0600. Every process that maps it is this same
//!   program, which writes it through this crate alone, with these payload types, and never truncates it.

use core::time::Duration;
use std::io::Read as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::thread;

use outlive::error::RecvError;
use outlive::ring::spsc;
use outlive::{Address, Segment, Trusted};

use super::ledger::{Ledger, Notes};
use super::payload::{self, CHUNK, Chunk, checksum, length_of};
use super::source::Source;
use super::{Side, latency};
use crate::Outcome;

/// The name of the ring in the segment.
pub(crate) const RING: &str = "stream";

/// More than the segment needs besides the slots of its rings.
pub(crate) const FIXED_BYTES: usize = 256 << 10;

/// Messages that are committed, or released, at once.
const BATCH: usize = 8;

/// How long a sender sleeps at a closed gate.
const AT_THE_GATE: Duration = Duration::from_micros(100);

/// How often a part looks for another address before it gives up.
const ATTEMPTS: usize = 16;

#[derive(Debug, clap::Args)]
pub(crate) struct PartArguments {
    role: Role,
    #[arg(long)]
    on: Address,
    #[arg(long)]
    source: PathBuf,
    /// How long the stream is.
    #[arg(long)]
    bytes: u64,
    /// How many kills are planned: the ledger is laid out by it.
    #[arg(long)]
    kills: u32,
    /// Which process in this role it is, counted from 1.
    #[arg(long)]
    life: u64,
    /// The address that the segment is not to be mapped at; 0 for none.
    #[arg(long)]
    avoid: u64,
    /// Seconds to wait for the role.
    #[arg(long)]
    timeout: u64,
}

/// What a part does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Role {
    Sender,
    Receiver,
    PingSender,
    PingReceiver,
}

impl Role {
    /// As the command line spells it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Sender => "sender",
            Self::Receiver => "receiver",
            Self::PingSender => "ping-sender",
            Self::PingReceiver => "ping-receiver",
        }
    }
}

impl From<Side> for Role {
    fn from(side: Side) -> Self {
        match side {
            Side::Sender => Self::Sender,
            Side::Receiver => Self::Receiver,
        }
    }
}

/// Runs a part to its end.
pub(crate) fn run(arguments: &PartArguments) -> Outcome {
    clear_up_after(arguments.on.clone());
    match arguments.role {
        Role::Sender => send(arguments)?,
        Role::Receiver => receive(arguments)?,
        Role::PingSender => latency::send(&Segment::open(arguments.on.clone())?)?,
        Role::PingReceiver => latency::receive(&Segment::open(arguments.on.clone())?)?,
    }
    Ok(ExitCode::SUCCESS)
}

/// If the demo dies, the pipe at our standard input ends: then nobody else is left to remove the segment.
fn clear_up_after(on: Address) {
    thread::spawn(move || {
        let _ = std::io::stdin().read(&mut [0]);
        let _ = Segment::unlink(on);
        std::process::exit(1);
    });
}

/// Opens the segment at another address than that of the other side, and says where. Without randomised addresses both sides would
/// get the same: a first mapping then keeps the place occupied.
fn open_elsewhere(arguments: &PartArguments, ledger: &Ledger, side: Side) -> Outcome<Segment<Trusted>> {
    let mut placeholders = Vec::new();
    for _ in 0..ATTEMPTS {
        let segment = Segment::open(arguments.on.clone())?;
        let address = u64::try_from(segment.address())?;
        if address != arguments.avoid {
            ledger.place(side, arguments.life, address)?;
            // SAFETY: I1.
            return Ok(unsafe { segment.trust() });
        }
        placeholders.push(segment);
    }
    Err(format!("the kernel maps the segment at {:#x} again and again", arguments.avoid).into())
}

/// Sends what is not sent yet.
fn send(arguments: &PartArguments) -> Outcome<()> {
    let ledger = Ledger::inherited(arguments.kills)?;
    let source = Source::open(&arguments.source)?;
    let segment = open_elsewhere(arguments, &ledger, Side::Sender)?;
    let ring = spsc::Ring::<Chunk, Trusted>::open(&segment, RING)?;
    let mut sender = ring.sender_timeout(Duration::from_secs(arguments.timeout))?;
    sender.wait_for_successor(true);
    let messages = payload::messages(arguments.bytes);
    let mut gate = 0;
    while sender.position() < messages {
        let position = sender.position();
        if position >= gate {
            gate = ledger.gate()?;
            if position >= gate {
                thread::sleep(AT_THE_GATE);
            }
            continue;
        }
        let most = usize::try_from(gate - position).map_or(BATCH, |room| room.min(BATCH));
        let mut grant = sender.reserve(most)?;
        for (number, slot) in (position..).zip(grant.as_mut_slice()) {
            let length = length_of(number, arguments.bytes);
            source.read(&mut slot.bytes[..length], number * CHUNK as u64)?;
            slot.number = number;
            slot.length = u32::try_from(length)?;
            slot.checksum = checksum(number, &slot.bytes[..length]);
        }
        grant.commit();
    }
    sender.close();
    Ok(())
}

/// Receives what is not received yet: into the output first, then into the ledger, then `release`.
fn receive(arguments: &PartArguments) -> Outcome<()> {
    let ledger = Ledger::inherited(arguments.kills)?;
    let mut notes = Notes::continued(&ledger, arguments.life)?;
    let segment = open_elsewhere(arguments, &ledger, Side::Receiver)?;
    let ring = spsc::Ring::<Chunk, Trusted>::open(&segment, RING)?;
    let mut receiver = ring.receiver_timeout(Duration::from_secs(arguments.timeout))?;
    receiver.wait_for_successor(true);
    let messages = payload::messages(arguments.bytes);
    loop {
        let items = match receiver.read(BATCH) {
            Ok(items) => items,
            Err(RecvError::Closed) => break,
            Err(error) => return Err(error.into()),
        };
        let Some(first) = items.first().map(|chunk| chunk.number) else { continue };
        // A jump in the numbers ends the batch: the next one begins behind it, as another run in the ledger.
        let straight = items.iter().zip(first..).take_while(|(chunk, number)| chunk.number == *number);
        let mut next = first;
        for (chunk, number) in straight {
            if number >= messages {
                return Err(format!("message {number} of {messages} arrived").into());
            }
            let bytes = chunk.verified(number, arguments.bytes)?;
            ledger.put_output(bytes, number * CHUNK as u64)?;
            next = number + 1;
        }
        notes.intend(first..next)?;
        items.release_first(usize::try_from(next - first)?);
    }
    notes.finish(receiver.position())?;
    Ok(())
}
