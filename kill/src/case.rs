//! One operation under test, and what was found out about it.

use std::time::Duration;

use nix::unistd::alarm;
use outlive::Segment;

use crate::levels;
use crate::peers::Peer;
use crate::process::assert_one_thread;
use crate::world::{Shape, World};
use crate::{Survivor, machine};

/// An operation, and what may be left of it when its process is killed anywhere in it.
///
/// Made from [`INSIDE`] or [`NAMED`], so that it says what matters only, and still compiles when there are more fields.
#[derive(Clone, Copy, Debug)]
pub struct Case {
    /// Told with what fails, and chosen by.
    pub name: &'static str,
    /// What this is about, for a list of what is tested: not looked at here.
    pub covers: &'static [&'static str],
    /// How the segment is made.
    pub shape: Shape,
    /// Builds what the operation works on, and keeps nothing of it open: it would be dead in the copies, and alive in level 3.
    /// Who is to be dead already has [died](crate::dies).
    pub given: fn(&World),
    /// Other processes, in the middle of something. They have no turn while the victim is stepped, and live on when it is
    /// killed in earnest.
    pub peers: &'static [Peer],
    /// Prepares itself, and does the operation in [`step`](crate::step). It must not depend on time or chance.
    pub victim: fn(&World),
    /// What survivors do about a death beside [`Segment::sweep`], which repairs outlive's own structures: they take over what
    /// the dead hold of yours. It is killed at every instruction, too, and must then work a second time.
    pub recover: fn(&Segment),
    /// What survivors find: they drain it, *and then use it to its full capacity*, for a leak or a wedge shows there and
    /// nowhere else. Whatever is wrong is a panic; the rest is told in a word, which is one of the `outcomes`.
    ///
    /// It is asked about each state twice: once after a sweep, and once [before](Survivor::is_swept), since nobody has to
    /// sweep. Both must find the same.
    pub seen: fn(&Survivor<'_>) -> String,
    /// What they may find, in this order: at the beginning of the operation the first, and at its end the last. From one to
    /// the next there is one commit instruction, and no way back.
    pub outcomes: &'static [&'static str],
    /// At least so many different states have to be there: a case that changes nothing tests nothing. The first counts:
    /// 1 for an operation that is to change nothing.
    pub states: usize,
    /// It is about who is dead, which nobody can see after a sweep: then whoever comes second may find another of the
    /// `outcomes`, as long as all else is right.
    pub swept_away: bool,
}

/// An operation inside of a segment of 16 KiB.
pub const INSIDE: Case = Case {
    name: "",
    covers: &[],
    shape: Shape { named: false, size: 1 << 14, rows: 7 },
    given: |_| (),
    peers: &[],
    victim: |_| (),
    recover: |_| (),
    seen: |_| String::new(),
    outcomes: &[],
    states: 2,
    swept_away: false,
};

/// An operation on a name in shared memory.
pub const NAMED: Case = Case { shape: Shape { named: true, size: 1 << 14, rows: 7 }, ..INSIDE };

/// After so many seconds a case has hung, and its process is ended.
const PATIENCE: u32 = if cfg!(debug_assertions) { 240 } else { 120 };

/// How much of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tier {
    /// So many states of each operation have their recoverers killed.
    pub doubles: usize,
    /// So many states of each operation are produced by a real SIGKILL.
    pub reals: usize,
    /// After this long a peer that waits has hung.
    pub patience: Duration,
    /// Every state is told.
    pub verbose: bool,
}

impl Default for Tier {
    fn default() -> Self {
        Self { doubles: 12, reals: 4, patience: Duration::from_secs(60), verbose: false }
    }
}

impl Tier {
    /// What `OUTLIVE_KILL` asks for: `full` samples nothing, `verbose` tells every state. Without optimisation an
    /// operation has nine times the steps, and fewer states are sampled.
    pub fn from_environment() -> Self {
        let asked = std::env::var("OUTLIVE_KILL").unwrap_or_default();
        let most = match () {
            () if asked.contains("full") => (usize::MAX, usize::MAX),
            () if cfg!(debug_assertions) => (1, 1),
            () => (Self::default().doubles, Self::default().reals),
        };
        Self { doubles: most.0, reals: most.1, verbose: asked.contains("verbose"), ..Self::default() }
    }
}

/// What was done, in numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Instructions after which somebody was killed.
    pub steps: usize,
    /// Different states through which the segment went, one after the other.
    pub states: usize,
    /// Times that survivors came, and were asked.
    pub recoveries: usize,
    /// Those of them that came to a state in which the victim and its recoverer had been killed.
    pub doubles: usize,
    /// Processes that were really killed.
    pub reals: usize,
}

/// What became of a case.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[must_use = "failures are told here, and nowhere else"]
pub struct Report {
    /// What was done.
    pub counts: Counts,
    /// What went wrong, one a line. Empty: all is right.
    pub failures: Vec<String>,
}

impl Case {
    /// All three levels, in this process, which must have one thread.
    ///
    /// For a case that is *to fail*, because its protocol has a bug that was planted: an oracle that never fails is none.
    /// For all others there is [`run`](crate::run).
    ///
    /// # Panics
    /// If this process has more threads; on processors other than x86-64.
    pub fn explore(&self, tier: Tier) -> Report {
        assert!(machine::is_supported(), "kills at every instruction need x86-64");
        assert_one_thread();
        alarm::set(PATIENCE);
        let Report { counts, mut failures } = levels::run(self, tier);
        alarm::cancel();
        for failure in &mut failures {
            *failure = format!("{}: {failure}", self.name);
        }
        Report { counts, failures }
    }
}
