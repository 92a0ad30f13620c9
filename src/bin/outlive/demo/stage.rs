//! Starts the parts, kills them as planned, replaces them, and clears up.
#![expect(clippy::disallowed_methods, reason = "real processes in real time: no model runs them")]

use core::time::Duration;
use std::ffi::OsString;
use std::io::Read as _;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::sleep;
use std::time::Instant;

use outlive::ring::spsc;
use outlive::{Address, Error, Segment, Trusted};

use super::latency::{self, Ping};
use super::ledger::{Ledger, Progress};
use super::part::{self, Role};
use super::payload::{self, CHUNK, Chunk};
use super::plan::Kill;
use super::report::Latency;
use super::{Bar, Side, Stop};
use crate::OWN_EXECUTABLE;

/// How often the parts are looked after.
const TICK: Duration = Duration::from_micros(300);

/// Messages that the ring holds: 2 MiB, which stay in the cache, and last while the other side is not running for a moment.
const SLOTS: usize = 128;

/// What is to be played.
#[derive(Debug)]
pub(crate) struct Order {
    pub(crate) path: PathBuf,
    pub(crate) bytes: u64,
    pub(crate) kills: Vec<Kill>,
    pub(crate) on: Address,
    pub(crate) timeout: Duration,
}

/// How the stream went.
#[derive(Debug)]
pub(crate) struct Streamed {
    pub(crate) took: Duration,
    pub(crate) kills: u32,
    /// Of the last sender's and the last receiver's mapping.
    pub(crate) addresses: [u64; 2],
}

/// The segment and the running parts. Dropped, it kills the parts and removes the segment.
#[derive(Debug)]
pub(crate) struct Stage<'o> {
    order: &'o Order,
    ledger: &'o Ledger,
    cast: [Cast; 2],
    kills: u32,
    deadline: Instant,
    /// Last: the parts are dead when it is dropped.
    _segment: Segment,
}

/// One side: who plays it now.
#[derive(Debug, Default)]
struct Cast {
    /// How many there have been.
    life: u64,
    running: Option<Child>,
    finished: bool,
}

impl<'o> Stage<'o> {
    /// Creates the segment and its rings.
    pub(crate) fn set(order: &'o Order, ledger: &'o Ledger) -> Result<Self, Stop> {
        let size = SLOTS * size_of::<Chunk>() + latency::RING_BYTES + part::FIXED_BYTES;
        // Exclusive: whatever else is at this address is not ours to write to and to remove.
        let segment = Segment::options().size(size).temporary(true).create(order.on.clone())?;
        let stage = Self {
            order,
            ledger,
            cast: Default::default(),
            kills: 0,
            deadline: Instant::now() + order.timeout,
            _segment: segment.clone(),
        };
        // SAFETY: I1 of `part`.
        let trusted = unsafe { segment.trust() };
        spsc::Ring::<Chunk, Trusted>::create(&trusted, part::RING, SLOTS)?;
        spsc::Ring::<Ping>::create(&trusted, latency::RING, latency::SLOTS)?;
        Ok(stage)
    }

    /// Plays the stream to its end.
    pub(crate) fn stream(&mut self, bar: &Bar) -> Result<Streamed, Stop> {
        let begun = Instant::now();
        let mut kills = self.order.kills.iter();
        let mut next = kills.next();
        self.open_gate(next)?;
        let mut progress = Progress::default();
        loop {
            self.look_after()?;
            if self.cast.iter().all(|cast| cast.finished) {
                break;
            }
            self.fill()?;
            let messages = progress.messages(self.ledger)?;
            bar.at((messages * CHUNK as u64).min(self.order.bytes))?;
            match next {
                Some(kill) if kill.at <= messages => {
                    if self.kill(*kill)? {
                        bar.say(format!("streaming, {} kills survived", self.kills));
                        next = kills.next();
                        self.open_gate(next)?;
                    }
                }
                _ => sleep(TICK),
            }
            self.check_deadline("the stream did not end")?;
        }
        let took = begun.elapsed();
        let address = |side| self.address(side).map(Option::unwrap_or_default);
        let addresses = [address(Side::Sender)?, address(Side::Receiver)?];
        Ok(Streamed { took, kills: self.kills, addresses })
    }

    /// Measures the latency with two parts that nobody kills.
    pub(crate) fn latency(&mut self) -> Result<Latency, Stop> {
        let mut receiver = Running::start(self.command(Role::PingReceiver, 1, 0).stdout(Stdio::piped()))?;
        let mut sender = Running::start(self.command(Role::PingSender, 1, 0).stdout(Stdio::null()))?;
        loop {
            let ended = [receiver.ended("latency receiver")?, sender.ended("latency sender")?];
            if ended == [true, true] {
                break;
            }
            if let Some(signal) = crate::interrupt::caught() {
                return Err(Stop::Interrupted(signal));
            }
            self.check_deadline("the measurement of the latency did not end")?;
            sleep(Duration::from_millis(2));
        }
        let mut result = String::new();
        if let Some(mut stdout) = receiver.0.stdout.take() {
            stdout.read_to_string(&mut result)?;
        }
        Ok(serde_json::from_str(&result)?)
    }

    /// The sender may go as far as the next kill's gate, or to the end.
    fn open_gate(&self, next: Option<&Kill>) -> Result<(), Stop> {
        let gate = next.map_or(payload::messages(self.order.bytes), |kill| kill.gate);
        Ok(self.ledger.open_gate(gate)?)
    }

    /// Notices who has ended, and how.
    fn look_after(&mut self) -> Result<(), Stop> {
        for side in Side::BOTH {
            let cast = &mut self.cast[side.index()];
            let Some(child) = &mut cast.running else { continue };
            let Some(status) = child.try_wait()? else { continue };
            self.bury(side, status)?;
        }
        Ok(())
    }

    /// Of a part that has ended: it was killed, or is done, or has failed.
    fn bury(&mut self, side: Side, status: ExitStatus) -> Result<(), Stop> {
        let cast = &mut self.cast[side.index()];
        let Some(mut child) = cast.running.take() else { return Ok(()) };
        if status.signal() == Some(libc::SIGKILL) {
            // By us, or by anybody else: all the same.
            self.kills += 1;
            return Ok(());
        }
        if !status.success() {
            return Err(failure(side.name(), status, &mut child));
        }
        cast.finished = true;
        Ok(())
    }

    /// Starts whoever is missing. A part must know where the living part of the other side has mapped the segment, so as not
    /// to map it there: it waits until that one has said so.
    fn fill(&mut self) -> Result<(), Stop> {
        for side in Side::BOTH {
            let cast = &self.cast[side.index()];
            if cast.finished || cast.running.is_some() {
                continue;
            }
            let other = &self.cast[side.other().index()];
            let avoid = match (self.address(side.other())?, &other.running) {
                (Some(address), _) => address,
                (None, None) => 0,
                (None, Some(_)) => continue,
            };
            let life = cast.life + 1;
            let child = self.command(side.into(), life, avoid).stdout(self.ledger.to_inherit()?).spawn()?;
            let cast = &mut self.cast[side.index()];
            cast.running = Some(child);
            cast.life = life;
        }
        Ok(())
    }

    /// Where the present part of this side has mapped the segment, once it has said so.
    fn address(&self, side: Side) -> Result<Option<u64>, Stop> {
        let life = self.cast[side.index()].life;
        Ok(if life == 0 { None } else { self.ledger.placed(side, life)? })
    }

    /// Kills as planned, and tells whether there was somebody to kill.
    fn kill(&mut self, kill: Kill) -> Result<bool, Stop> {
        sleep(kill.delay);
        let before = self.kills;
        if let Some(child) = &mut self.cast[kill.side.index()].running {
            child.kill()?;
            let status = child.wait()?;
            self.bury(kill.side, status)?;
        }
        Ok(self.kills > before)
    }

    fn check_deadline(&self, what: &str) -> Result<(), Stop> {
        if Instant::now() < self.deadline {
            return Ok(());
        }
        let seconds = self.order.timeout.as_secs();
        Err(format!("{what} within {seconds} s (--timeout sets another limit)").into())
    }

    /// The command line of a part.
    fn command(&self, role: Role, life: u64, avoid: u64) -> Command {
        let mut command = Command::new(OWN_EXECUTABLE);
        command.arg0("outlive").arg("demo-part").arg(role.name());
        let mut source = OsString::from("--source=");
        source.push(&self.order.path);
        command.arg(source).arg(format!("--on={}", self.order.on));
        let numbers = [
            ("--bytes", self.order.bytes),
            ("--kills", self.order.kills.len() as u64),
            ("--life", life),
            ("--avoid", avoid),
            ("--timeout", self.order.timeout.as_secs()),
        ];
        for (name, number) in numbers {
            command.arg(format!("{name}={number}"));
        }
        // The pipe at its standard input ends when this process does. Its own process group: Ctrl-C is for the demo alone, which
        // then ends its parts.
        command.stdin(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
        command
    }
}

impl Drop for Stage<'_> {
    fn drop(&mut self) {
        for cast in &mut self.cast {
            if let Some(child) = &mut cast.running {
                let _ = child.kill();
                let _ = child.wait();
            }
        }
        // `temporary` does this too, but only once nobody seems to be attached.
        match Segment::unlink(self.order.on.clone()) {
            Ok(()) | Err(Error::NotFound { .. }) => {}
            Err(error) => crate::complain(&format_args!("{} remains: {error}", self.order.on)),
        }
    }
}

/// A part of the latency measurement, ended when dropped.
struct Running(Child);

impl Running {
    fn start(command: &mut Command) -> Result<Self, Stop> {
        Ok(Self(command.spawn()?))
    }

    fn ended(&mut self, name: &str) -> Result<bool, Stop> {
        match self.0.try_wait()? {
            None => Ok(false),
            Some(status) if status.success() => Ok(true),
            Some(status) => Err(failure(name, status, &mut self.0)),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What a part that failed had to say.
fn failure(name: &str, status: ExitStatus, child: &mut Child) -> Stop {
    let mut said = String::new();
    if let Some(stderr) = &mut child.stderr {
        // What cannot be read is missing from the message, no more.
        let _ = stderr.read_to_string(&mut said);
    }
    format!("the {name} failed ({status}): {}", said.trim()).into()
}
