//! Starts the workers, kills them, replaces them; looks after them; and looks at what they leave.

use core::time::Duration;
use std::fs::File;
use std::io::{Read as _, Seek as _};
use std::os::fd::AsFd as _;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::sleep;

use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::attachments::sweep_and_check;
use super::hand::Hand;
use super::judge::{self, Judge};
use super::leaks::{self, Room};
use super::ledger::{Ledger, Page, hand, total};
use super::operation::Operation;
use super::report::Report;
use super::segment::{Made, Segments};
use super::subject::{self, Place, Subject};
use super::worker::HANDS;
use crate::random::{Random, mixed};
use crate::time::now;
use crate::{OWN_EXECUTABLE, Outcome, complain, interrupt};

/// Bytes of the segment: more than all objects together need.
const SIZE: usize = 4 << 20;

/// So often is the segment swept and checked by the supervisor.
const SWEEP: Duration = Duration::from_millis(500);

/// How long everybody goes everywhere; then one subject is left alone for as long, and longer if somebody is blocked there.
const TURN: Duration = Duration::from_millis(500);

/// How long workers have to end when they are to.
const END: Duration = Duration::from_millis(500);

/// And how long if it is to be found out whether somebody is blocked.
const LONGEST_END: Duration = Duration::from_secs(5);

/// After so many workers that failed there is no need for more.
const FAILURES: u32 = 20;

/// What is to be done.
#[derive(Debug)]
pub(crate) struct Order {
    pub(crate) time: Duration,
    pub(crate) processes: u16,
    pub(crate) seed: u64,
    pub(crate) kill_every: Duration,
    pub(crate) segments: Segments,
    pub(crate) prefix: String,
}

/// A worker, or the place of one.
#[derive(Debug, Default)]
struct Worker {
    child: Option<Child>,
    /// The last one there.
    life: u64,
}

impl Drop for Worker {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Everything of a run.
#[derive(Debug)]
pub(crate) struct Supervisor<'o> {
    order: &'o Order,
    random: Random,
    workers: Vec<Worker>,
    lives: u64,
    kills: u64,
    restarts: u64,
    failures: u32,
    judge: Judge,
    subjects: Vec<Box<dyn Subject>>,
    hand: Hand,
    /// What workers say: they share its end.
    said: File,
    room: Room,
    ledger: Ledger,
    made: Made,
}

impl<'o> Supervisor<'o> {
    /// Makes everything, and starts nobody yet.
    pub(crate) fn new(order: &'o Order) -> Outcome<Self> {
        let options =
            outlive::Segment::options().size(SIZE).rows(subject::rows(order.processes)).temporary(true);
        let made = Made::new(order.segments, &order.prefix, &options)?;
        let ledger = Ledger::create(order.processes)?;
        let room = Room::measure(&made.segment)?;
        let place = Place {
            segment: made.segment.clone(),
            ledger: ledger.clone(),
            prefix: order.prefix.clone(),
            processes: order.processes,
        };
        let hands = usize::from(order.processes) * HANDS;
        let random = Random::new(mixed(order.seed));
        let hand = Hand::new(&ledger, hands, 0, Random::new(order.seed))?;
        Ok(Self {
            order,
            random,
            workers: (0..order.processes).map(|_| Worker::default()).collect(),
            lives: 0,
            kills: 0,
            restarts: 0,
            failures: 0,
            judge: Judge::new(&ledger, hands)?,
            subjects: subject::all(&place)?,
            hand,
            said: File::from(memfd_create("outlive-soak-said", MFdFlags::MFD_CLOEXEC)?),
            room,
            ledger,
            made,
        })
    }

    /// Lets them work, and kills them, until the time is over or a signal comes.
    pub(crate) fn soak(&mut self, mut tell: impl FnMut(Duration, u64)) -> Outcome<Duration> {
        let begun = now();
        let end = begun + self.order.time;
        let (mut kill_at, mut look_at, mut sweep_at, mut turn_at) =
            (begun, begun, begun + SWEEP, begun + TURN);
        let totals = self.totals()?;
        while now() < end && interrupt::caught().is_none() && self.failures < FAILURES {
            self.replace()?;
            let moment = now();
            if moment >= kill_at {
                self.harm()?;
                kill_at += self.random.gap(self.order.kill_every);
                if kill_at + self.order.kill_every < moment {
                    kill_at = moment; // who does not keep up does not catch up
                }
            }
            if moment >= look_at {
                self.judge.look(&self.subjects);
                look_at = moment + judge::EVERY;
                tell(begun.elapsed(), self.kills);
            }
            let quiet = self.hand.quiet();
            if moment >= turn_at && !self.judge.suspects(|_, subject| Some(subject) == quiet) {
                let next = quiet.map_or_else(|| 1 + self.random.index(self.subjects.len()), |_| 0);
                totals.set(total::QUIET, next as u64);
                turn_at = moment + TURN;
            }
            if moment >= sweep_at && self.hand.quiet().is_none() {
                sweep_and_check(&self.made.segment, &mut self.hand)?;
                sweep_at = moment + SWEEP;
            }
            sleep(kill_at.min(look_at).min(end).saturating_duration_since(now()));
        }
        self.stop()?;
        Ok(begun.elapsed())
    }

    /// Starts whoever is missing.
    fn replace(&mut self) -> Outcome<()> {
        for number in 0..self.workers.len() {
            self.bury(number)?;
            if self.workers[number].child.is_none() {
                self.lives += 1;
                let child = self.command(number, self.lives)?.spawn()?;
                let before = core::mem::replace(
                    &mut self.workers[number],
                    Worker { child: Some(child), life: self.lives },
                );
                self.restarts += u64::from(before.life != 0);
            }
        }
        Ok(())
    }

    /// Notices how a worker has ended, if it has.
    fn bury(&mut self, number: usize) -> Outcome<()> {
        let Some(child) = &mut self.workers[number].child else { return Ok(()) };
        if let Some(status) = child.try_wait()? {
            self.workers[number].child = None;
            self.judge.forget(number * HANDS..(number + 1) * HANDS);
            self.judge_end(status);
        }
        Ok(())
    }

    fn judge_end(&mut self, status: ExitStatus) {
        if status.signal() == Some(libc::SIGKILL) {
            self.kills += 1; // by us, or by anybody else: all the same
        } else if !status.success() || !self.hand.is_to_stop() {
            self.failures += 1;
            self.hand.wrong(&format_args!("a worker ended by itself: {status}"));
        }
    }

    /// Kills somebody, or two; or stops somebody for a moment, which is no death.
    fn harm(&mut self) -> Outcome<()> {
        let how = self.random.below(16);
        for _ in 0..if how == 0 { 2 } else { 1 } {
            let number = self.random.index(self.workers.len());
            if self.judge.suspects(|hand, _| hand / HANDS == number) {
                continue; // whether it is blocked is to be found out
            }
            let Some(child) = &mut self.workers[number].child else { continue };
            if how == 1 {
                let pid = Pid::from_raw(i32::try_from(child.id())?);
                kill(pid, Signal::SIGSTOP)?;
                sleep(self.random.pause(Duration::from_millis(3)));
                kill(pid, Signal::SIGCONT)?;
                continue;
            }
            child.kill()?;
            if self.random.once_in(2) {
                child.wait()?; // else it is a zombie until somebody is replaced
            }
        }
        Ok(())
    }

    /// Tells everybody to end, and kills who waits for somebody; whoever waits for nothing is watched until that is certain.
    fn stop(&mut self) -> Outcome<()> {
        self.totals()?.set(total::STOP, 1);
        let begun = now();
        let mut look_at = begun;
        while self.workers.iter().any(|worker| worker.child.is_some()) {
            let moment = now();
            if moment >= look_at {
                self.judge.look(&self.subjects);
                look_at = moment + judge::EVERY;
            }
            let longest = if self.judge.suspects(|_, _| true) { LONGEST_END } else { END };
            if moment - begun >= longest {
                break;
            }
            for number in 0..self.workers.len() {
                self.bury(number)?;
            }
            sleep(Duration::from_millis(1));
        }
        for number in 0..self.workers.len() {
            if let Some(mut child) = self.workers[number].child.take() {
                child.kill()?;
                let status = child.wait()?;
                self.judge_end(status);
            }
        }
        Ok(())
    }

    fn totals(&self) -> Outcome<Page> {
        self.ledger.totals()
    }

    /// Looks at what is left, and removes it.
    pub(crate) fn close(mut self, took: Duration) -> Outcome<(Report, Option<String>)> {
        let hand = &mut self.hand;
        for (number, subject) in self.subjects.iter_mut().enumerate() {
            hand.goes_to(number);
            if let Err(error) = subject.audit(hand) {
                hand.wrong(&format_args!("{}: {error}", subject.name()));
            }
        }
        drop(core::mem::take(&mut self.subjects));
        leaks::in_segment(&self.made.segment, self.room, hand)?;
        let ledger = self.ledger.segment();
        ledger.sweep()?;
        let rows = ledger.attachments()?.len();
        let report = outlive::inspect::check(ledger);
        if rows != 1 || !report.findings.is_empty() {
            hand.leaked(rows.max(2) as u64 - 1, &format_args!("the ledger has {rows} rows in use: {report}"));
        }
        let mut said = String::new();
        self.said.rewind()?;
        self.said.read_to_string(&mut said)?;
        for line in said.lines().take(100) {
            complain(&line);
        }
        let report = self.report(took)?;
        Ok((report, self.made.leave()?))
    }

    fn report(&self, took: Duration) -> Outcome<Report> {
        let totals = self.totals()?;
        let all = |what: Operation| -> Outcome<(String, u64)> {
            let mut n = 0;
            for number in 0..=self.workers.len() * HANDS {
                n += self.ledger.hand(number)?.get(hand::COUNTS + what as usize);
            }
            Ok((what.name(), n))
        };
        let by_kind = Operation::all()
            .iter()
            .copied()
            .map(all)
            .collect::<Outcome<std::collections::BTreeMap<_, _>>>()?;
        Ok(Report {
            seed: self.order.seed,
            segment: self.order.segments.name(),
            processes: self.order.processes,
            seconds: took.as_secs_f64(),
            operations: by_kind.values().sum(),
            by_kind,
            kills: self.kills,
            restarts: self.restarts,
            recovered: totals.get(total::RECOVERED),
            takeovers: totals.get(total::TAKEOVERS),
            redelivered: totals.get(total::FLAGGED),
            lost: totals.get(total::LOST),
            duplicated: totals.get(total::DUPLICATED),
            leaked: totals.get(total::LEAKED),
            blocked: self.judge.blocked,
            longest_block_at: self.judge.longest_at.clone(),
            longest_block_ms: u64::try_from(self.judge.longest.as_millis())?,
            wrong: totals.get(total::WRONG),
        })
    }

    /// The command line of a worker.
    fn command(&self, number: usize, life: u64) -> Outcome<Command> {
        let mut command = Command::new(OWN_EXECUTABLE);
        command.arg0("outlive").arg("soak-worker");
        let Order { seed, processes, prefix, .. } = self.order;
        let numbers = [
            ("--life", life),
            ("--number", number as u64),
            ("--seed", *seed),
            ("--processes", (*processes).into()),
            ("--parent", std::process::id().into()),
        ];
        for (name, number) in numbers {
            command.arg(format!("{name}={number}"));
        }
        command.arg(format!("--prefix={prefix}"));
        if let Some(address) = &self.made.address {
            command.arg(format!("--on={address}"));
        }
        let ledger = self.ledger.segment().as_fd().ok_or("the ledger's descriptor is closed")?;
        command.stdin(Stdio::from(ledger.try_clone_to_owned()?));
        command.stdout(self.made.to_inherit()?);
        command.stderr(Stdio::from(self.said.as_fd().try_clone_to_owned()?));
        // Its own process group: Ctrl-C is for the supervisor alone.
        command.process_group(0);
        Ok(command)
    }
}
