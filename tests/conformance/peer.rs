//! Other processes, and others who are to die.

use std::any::Any;
use std::io::{BufRead, BufReader, Write};
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::net::UnixStream;

use nix::sys::prctl;
use nix::unistd::Pid;
use outlive::segment::Attachment;
use outlive::{Owner, Segment, testing};

use crate::backend::{Backend, Feature};
use crate::common::process;
use crate::common::process::{Forked, PATIENCE, Signal, fork, leave, sleep_for_ever, stop_to_be_traced};

/// One end of a conversation, in lines.
pub(crate) struct Line(BufReader<UnixStream>);

impl Line {
    fn pair() -> (Self, Self) {
        let (one, other) = UnixStream::pair().unwrap();
        (Self::new(one), Self::new(other))
    }

    fn new(stream: UnixStream) -> Self {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Self(BufReader::new(stream))
    }

    /// Of its descriptor.
    pub(crate) fn number(&self) -> RawFd {
        self.0.get_ref().as_raw_fd()
    }

    pub(crate) fn say(&mut self, what: impl std::fmt::Display) {
        writeln!(self.0.get_mut(), "{what}").unwrap();
    }

    pub(crate) fn hear(&mut self) -> String {
        let mut line = String::new();
        assert_ne!(self.0.read_line(&mut line).unwrap(), 0, "the other process has ended");
        line.trim().to_owned()
    }

    pub(crate) fn hear_number(&mut self) -> u64 {
        self.hear().parse().unwrap()
    }
}

/// A process that has come to the segment. Killed when dropped.
pub(crate) struct Peer {
    process: Forked,
    pub(crate) line: Line,
}

impl Peer {
    /// Starts one, and has it come and play; then it ends, content.
    pub(crate) fn start(
        backend: &dyn Backend,
        segment: &Segment,
        play: impl FnOnce(Segment, &mut Line),
    ) -> Self {
        let come = backend.invite(segment);
        Self::start_at_home(move |line| play(come().unwrap(), line))
    }

    /// The same for one who may inherit a segment, but comes to none.
    pub(crate) fn start_at_home(play: impl FnOnce(&mut Line)) -> Self {
        let (ours, mut theirs) = Line::pair();
        let Some(process) = fork() else {
            drop(ours);
            prctl::set_pdeathsig(Signal::SIGKILL).unwrap();
            leave(move || play(&mut theirs))
        };
        Self { process, line: ours }
    }

    pub(crate) fn pid(&self) -> Pid {
        self.process.pid()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        self.process.signal(signal);
    }

    /// By itself, and content.
    pub(crate) fn ends(self) {
        self.process.succeeds();
    }

    pub(crate) fn kill(self) {
        self.process.kill();
    }
}

/// Forks a process, and has it killed at its `n`-th stop at a system call of `work`, whose result it keeps. `false`: it
/// has fewer.
pub(crate) fn killed_at_system_call<T>(n: usize, before: impl FnOnce(), work: impl FnOnce() -> T) -> bool {
    let Some(victim) = fork() else {
        leave(|| {
            before();
            stop_to_be_traced();
            let kept = work();
            process::end_of_trace();
            drop(kept);
        })
    };
    victim.kill_at_system_call(n)
}

/// Somebody who is attached, has something in his hands, and will be killed: a process, if there can be others.
pub(crate) struct Victim {
    pub(crate) owner: Owner,
    life: Life,
}

enum Life {
    Process(Peer),
    Attachment(Segment, Box<dyn Any>),
}

impl Victim {
    /// Has somebody come and do this.
    pub(crate) fn start<T: 'static>(
        backend: &dyn Backend,
        segment: &Segment,
        work: impl FnOnce(&Segment) -> T,
    ) -> Self {
        if !backend.has(Feature::Processes) {
            let mine = backend.join(segment).unwrap();
            let kept = Box::new(work(&mine));
            return Self { owner: mine.owner(), life: Life::Attachment(mine, kept) };
        }
        let mut peer = Peer::start(backend, segment, |segment, line| {
            let kept = work(&segment);
            line.say(segment.owner().row());
            process::sleep_for_ever_with(kept)
        });
        let row = peer.line.hear_number();
        let owner = find(segment, |each| u64::from(each.owner.row()) == row).unwrap().owner;
        Self { owner, life: Life::Process(peer) }
    }

    /// In the middle of it.
    pub(crate) fn kill(self) -> Owner {
        match self.life {
            Life::Process(peer) => peer.kill(),
            Life::Attachment(segment, kept) => {
                testing::kill(&segment).unwrap();
                drop((kept, segment));
            }
        }
        self.owner
    }
}

/// Who sleeps until he is killed.
pub(crate) fn sleeper(segment: Segment, line: &mut Line) {
    line.say("ready");
    let _kept = segment;
    sleep_for_ever()
}

/// The first row of this description.
pub(crate) fn find(segment: &Segment, is_it: impl Fn(&Attachment) -> bool) -> Option<Attachment> {
    segment.attachments().unwrap().into_iter().find(is_it)
}
