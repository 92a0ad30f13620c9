//! A ring with two ends: leases, positions, take-over, closing, verdicts, sweeps.
//!
//! ```text
//!   role, one an end: epoch | NONE, OPEN(owner), CLOSED, DIED(owner)         slots: value of a position, or half of it
//!   tail: written by the sender's role     head: by the receiver's
//!
//!   take     role: OPEN? is its owner dead? -> CAS OPEN(me), epoch + 1 -> own position -> peer's position
//!                                                                           `Role::try_take`, `End::resume`
//!   send     limit reached? peer's position -> value, in two halves -> tail + 1             `End::publish`
//!   receive  limit reached? peer's position -> value                -> head + 1
//!   stuck    (sender: peer CLOSED?) -> peer's position -> peer's role -> OPEN? is he dead? -> role unchanged?
//!            -> peer's position once more: nothing? then the verdict        `End::look`, `verdict`, `reload`
//!   leave    CAS OPEN(me) -> CLOSED, or NONE                                `Role::leave`
//!   sweep    role: OPEN(dead)? -> CAS DIED(dead)                            `end::sweep`, `Role::sweep`
//! ```
//! Each arrow is a step. A process can die after each; whoever takes over or sweeps dies, too. Several processes want each
//! end; who is told that its peer has closed or died waits for a successor, and goes on.
//!
//! # Invariants
//! * `L-I1`: who has a role has it until he leaves, or is dead.
//! * `R-I2`: `head <= tail <= head + capacity`.
//! * `R-I3`: only the holder writes a position, and it does not go back.
//! * `WHOLE`: what is received is what was sent at that position, whole.
//! * `LAST`: nobody is told of an end or a death while messages from before it lie there, or of a death of somebody who
//!   lives, or who had closed.
//! * Good: all was sent and received, or nobody is left to do so and whoever waits was told; no role is held by the dead.
//!
//! Not in the model: memory orderings; sleeping, which is `event.rs`; a process that takes a role twice; positions that come
//! round; forks.

use outlive_models::{GOOD, Invariant, Model, Steps, caught, full, holds, small};

const LI1: Invariant = "L-I1: a role is its holder's";
const RI2: Invariant = "R-I2: head <= tail <= head + capacity";
const RI3: Invariant = "R-I3: positions are written by their holder, and do not go back";
const WHOLE: Invariant = "what is received is what was sent, whole";
const LAST: Invariant = "an end comes after the last message, a death is one";

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Role {
    Vacant,
    Open(u8),
    Closed,
    Died(u8),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Word {
    epoch: u8,
    role: Role,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Slot {
    Empty,
    Half(u8),
    Whole(u8),
}

/// What there is to say about a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Verdict {
    Closed,
    Died(u8),
}

/// Where a process is: what it does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum At {
    Out,
    Ask {
        seen: Word,
    },
    Take {
        seen: Word,
    },
    Resume,
    ResumeLimit,
    /// Holds the role, and is at nothing.
    In,
    Write {
        half: bool,
    },
    Publish,
    /// Receiver: has this value.
    Release {
        value: Slot,
    },
    IsClosed,
    Reload,
    Peer,
    AskPeer {
        seen: Word,
    },
    PeerAgain {
        seen: Word,
    },
    ReloadAgain {
        verdict: Verdict,
    },
    Leave {
        role: Role,
    },
    Sweep {
        end: u8,
    },
    Note {
        end: u8,
        seen: Word,
    },
    /// Has left.
    Done,
    Dead,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Process {
    at: At,
    /// The word that it has written when it took the role.
    held: Option<Word>,
    position: u8,
    limit: u8,
    /// It was told of an end or a death, and has not looked since.
    told: bool,
    /// It has left its end, and is there still.
    done: bool,
}

/// An end: 0 sends, 1 receives.
const SENDER: usize = 0;
const RECEIVER: usize = 1;
const SLOTS: usize = 2;
const PROCESSES: usize = 4;

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct State {
    roles: [Word; 2],
    /// Tail and head.
    positions: [u8; 2],
    slots: [Slot; SLOTS],
    processes: [Process; PROCESSES],
    /// Who has closed, a bit each: a death of one of these is no news.
    closed: u8,
    /// The last holder of a role died with it.
    widowed: [bool; 2],
    deaths: u8,
}

impl State {
    fn is_dead(&self, who: u8) -> bool {
        self.processes[usize::from(who)].at == At::Dead
    }

    /// Whether one may be told that.
    fn is_true(&self, end: usize, verdict: Verdict, position: u8) -> bool {
        let drained = end == SENDER || position == self.positions[SENDER];
        drained
            && match verdict {
                Verdict::Closed => true,
                Verdict::Died(who) => self.is_dead(who) && self.closed & 1 << who == 0,
            }
    }

    /// Where somebody is after a sweep: where it was.
    fn swept(&self, who: usize) -> At {
        match self.processes[who] {
            Process { done: true, .. } => At::Done,
            Process { held: Some(_), .. } => At::In,
            _ => At::Out,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Bug {
    PublishBeforeStore,
    ReleaseBeforeRead,
    /// The verdict is told without a last look at the position.
    NoLastLook,
    /// The role is not looked at once more behind "he is dead".
    NoSecondLookAtRole,
    /// Nobody is asked whether the holder is dead.
    NoVerdict,
    TakeByStore,
    SweepByStore,
    /// The sweep makes the role NONE.
    SweepFrees,
    /// The successor begins at the beginning.
    BeginsAnew,
    /// The successor begins where its peer is.
    BeginsAtPeer,
    /// The limit is one more than the room there is.
    OneTooFar,
}

#[derive(Clone, Copy, Debug)]
struct Ring {
    capacity: u8,
    senders: usize,
    receivers: usize,
    /// How many messages are to be sent.
    messages: u8,
    deaths: u8,
    /// Of which end the last one does not die, and leaves only when all is done.
    stay: [bool; 2],
    bug: Option<Bug>,
}

impl Ring {
    fn is(&self, bug: Bug) -> bool {
        self.bug == Some(bug)
    }

    fn processes(&self) -> usize {
        self.senders + self.receivers
    }

    fn end_of(&self, who: usize) -> usize {
        if who < self.senders { SENDER } else { RECEIVER }
    }

    /// Whether it stays to the end.
    fn stays(&self, who: usize) -> bool {
        let last = [self.senders, self.processes()];
        (0..2).any(|end| self.stay[end] && who + 1 == last[end])
    }

    fn slot(&self, position: u8) -> usize {
        usize::from(position % self.capacity)
    }

    fn limit(&self, state: &State, end: usize) -> u8 {
        let far = u8::from(self.is(Bug::OneTooFar));
        if end == SENDER { state.positions[RECEIVER] + self.capacity + far } else { state.positions[SENDER] }
    }

    /// What the holder of a role, who is at nothing, may do.
    fn choices(&self, state: &State, who: usize, steps: &mut Steps<State>) {
        let (me, end) = (state.processes[who], self.end_of(who));
        let mut to = |what, at| {
            let mut next = state.clone();
            next.processes[who] = Process { at, told: false, ..me };
            steps.to(who, what, next);
        };
        if me.position < self.messages {
            let work =
                if end == SENDER { At::Write { half: true } } else { At::Release { value: Slot::Empty } };
            let publish = self.is(Bug::PublishBeforeStore) && end == SENDER;
            let stuck = if end == SENDER { At::IsClosed } else { At::Reload };
            if me.position < me.limit {
                to("begins", if publish { At::Publish } else { work });
            } else {
                to("reaches its limit", stuck);
            }
        }
        if !self.stays(who) || me.position == self.messages {
            to("is about to close", At::Leave { role: Role::Closed });
        }
        if !self.stays(who) {
            to("is about to resign", At::Leave { role: Role::Vacant });
        }
    }

    #[expect(clippy::too_many_lines, reason = "a table of steps")]
    fn step(&self, state: &State, who: usize, steps: &mut Steps<State>) {
        let (mut me, end) = (state.processes[who], self.end_of(who));
        let (peer, number) = (1 - end, small(who));
        let mut next = state.clone();
        let what = match me.at {
            At::Out => {
                let seen = state.roles[end];
                me.at = if let Role::Open(_) = seen.role { At::Ask { seen } } else { At::Take { seen } };
                "looks at the role"
            }
            At::Ask { seen } => {
                let Role::Open(holder) = seen.role else { return };
                let dead = state.is_dead(holder) || self.is(Bug::NoVerdict);
                me.at = if dead { At::Take { seen } } else { At::Out };
                "asks whether its holder is dead"
            }
            At::Take { seen } => {
                let mine = Word { epoch: seen.epoch + 1, role: Role::Open(number) };
                me.at = At::Out;
                if state.roles[end] == seen || self.is(Bug::TakeByStore) {
                    next.roles[end] = mine;
                    next.widowed[end] = false;
                    me.held = Some(mine);
                    me.at = At::Resume;
                }
                "takes the role"
            }
            At::Resume => {
                me.position = match self.bug {
                    Some(Bug::BeginsAnew) => 0,
                    Some(Bug::BeginsAtPeer) => state.positions[peer],
                    _ => state.positions[end],
                };
                me.at = At::ResumeLimit;
                "looks where the last one stopped"
            }
            At::ResumeLimit => {
                // The peer's position is compared, and asked for again by the first operation.
                me.limit = me.position;
                me.at = At::In;
                "looks whether that can be"
            }
            At::Write { half } => {
                let slot = &mut next.slots[self.slot(me.position)];
                *slot = if half { Slot::Half(me.position) } else { Slot::Whole(me.position) };
                let late = self.is(Bug::PublishBeforeStore);
                me.at = match (half, late) {
                    (true, _) => At::Write { half: false },
                    (false, false) => At::Publish,
                    (false, true) => At::In,
                };
                me.position += u8::from(!half && late);
                "writes half a value"
            }
            At::Publish => {
                next.positions[SENDER] = me.position + 1;
                if next.positions[SENDER] <= state.positions[SENDER] {
                    return steps.breach(who, "sends", RI3);
                }
                let late = self.is(Bug::PublishBeforeStore);
                me.at = if late { At::Write { half: true } } else { At::In };
                me.position += u8::from(!late);
                "sends"
            }
            At::Release { value: Slot::Empty } if !self.is(Bug::ReleaseBeforeRead) => {
                me.at = At::Release { value: state.slots[self.slot(me.position)] };
                "reads a value"
            }
            At::Release { value } => {
                let late = self.is(Bug::ReleaseBeforeRead);
                if late && state.positions[RECEIVER] > me.position {
                    let value = state.slots[self.slot(me.position)];
                    if value != Slot::Whole(me.position) {
                        return steps.breach(who, "reads a value", WHOLE);
                    }
                    me.position += 1;
                    me.at = At::In;
                    next.processes[who] = me;
                    return steps.to(who, "reads a value", next);
                }
                if !late && value != Slot::Whole(me.position) {
                    return steps.breach(who, "receives", WHOLE);
                }
                next.positions[RECEIVER] = me.position + 1;
                if next.positions[RECEIVER] <= state.positions[RECEIVER] {
                    return steps.breach(who, "receives", RI3);
                }
                me.position += u8::from(!late);
                me.at = if late { At::Release { value } } else { At::In };
                "receives"
            }
            At::IsClosed => {
                let closed = state.roles[peer].role == Role::Closed;
                me.told = closed;
                me.at = if closed { At::In } else { At::Reload };
                "looks whether its peer has closed"
            }
            At::Reload => {
                me.limit = self.limit(state, end);
                me.at = if me.position < me.limit { At::In } else { At::Peer };
                "looks at its peer's position"
            }
            At::Peer => {
                let seen = state.roles[peer];
                me.at = match seen.role {
                    Role::Vacant => At::In,
                    Role::Open(_) => At::AskPeer { seen },
                    Role::Closed => At::ReloadAgain { verdict: Verdict::Closed },
                    Role::Died(owner) => At::ReloadAgain { verdict: Verdict::Died(owner) },
                };
                "looks at its peer's role"
            }
            At::AskPeer { seen } => {
                let Role::Open(owner) = seen.role else { return };
                let certain = self.is(Bug::NoSecondLookAtRole);
                me.at = match state.is_dead(owner) {
                    false => At::In,
                    true if certain => At::ReloadAgain { verdict: Verdict::Died(owner) },
                    true => At::PeerAgain { seen },
                };
                "asks whether its peer is dead"
            }
            At::PeerAgain { seen } => {
                let Role::Open(owner) = seen.role else { return };
                let same = state.roles[peer] == seen;
                me.at = if same { At::ReloadAgain { verdict: Verdict::Died(owner) } } else { At::Peer };
                "looks at its peer's role once more"
            }
            At::ReloadAgain { verdict } => {
                if !self.is(Bug::NoLastLook) {
                    me.limit = self.limit(state, end);
                }
                if me.position >= me.limit {
                    if !state.is_true(end, verdict, me.position) {
                        return steps.breach(who, "is told of an end", LAST);
                    }
                    me.told = true;
                }
                me.at = At::In;
                "looks at its peer's position once more"
            }
            At::Leave { role } => {
                if Some(state.roles[end]) != me.held {
                    return steps.breach(who, "leaves", LI1);
                }
                next.roles[end].role = role;
                next.closed |= u8::from(role == Role::Closed) << who;
                me = Process { at: At::Done, held: None, position: 0, limit: 0, told: false, done: true };
                "leaves"
            }
            At::Sweep { end } => {
                let seen = state.roles[usize::from(end)];
                me.at = match seen.role {
                    Role::Open(owner) if state.is_dead(owner) => At::Note { end, seen },
                    _ => state.swept(who),
                };
                "looks for the dead in a role"
            }
            At::Note { end, seen } => {
                let Role::Open(owner) = seen.role else { return };
                let word = &mut next.roles[usize::from(end)];
                if *word == seen || self.is(Bug::SweepByStore) {
                    let role = if self.is(Bug::SweepFrees) { Role::Vacant } else { Role::Died(owner) };
                    *word = Word { epoch: seen.epoch, role };
                }
                me.at = state.swept(who);
                "notes a death"
            }
            At::In | At::Done | At::Dead => return,
        };
        next.processes[who] = me;
        steps.to(who, what, next);
    }
}

impl Model for Ring {
    type State = State;

    fn start(&self) -> State {
        let vacant = Word { epoch: 0, role: Role::Vacant };
        let process = Process { at: At::Out, held: None, position: 0, limit: 0, told: false, done: false };
        State {
            roles: [vacant; 2],
            positions: [0; 2],
            slots: [Slot::Empty; SLOTS],
            processes: [process; PROCESSES],
            closed: 0,
            widowed: [false; 2],
            deaths: self.deaths,
        }
    }

    fn steps(&self, state: &State, steps: &mut Steps<State>) {
        for who in 0..self.processes() {
            let me = state.processes[who];
            if me.at == At::In {
                self.choices(state, who, steps);
            } else {
                self.step(state, who, steps);
            }
            let someone_died = state.processes.iter().any(|process| process.at == At::Dead);
            if matches!(me.at, At::In | At::Out | At::Done) && someone_died {
                for end in 0..2 {
                    let mut next = state.clone();
                    next.processes[who].at = At::Sweep { end };
                    steps.to(who, "begins to sweep", next);
                }
            }
            if state.deaths > 0 && !self.stays(who) && me.at != At::Dead {
                let mut next = state.clone();
                next.widowed[self.end_of(who)] |= me.held.is_some();
                next.processes[who] =
                    Process { at: At::Dead, held: None, position: 0, limit: 0, told: false, done: false };
                next.deaths -= 1;
                steps.to(who, "dies", next);
            }
        }
    }

    fn check(&self, state: &State) -> Result<(), Invariant> {
        let [tail, head] = state.positions;
        if head > tail || tail > head + self.capacity {
            return Err(RI2);
        }
        for (who, process) in state.processes.iter().enumerate() {
            let end = self.end_of(who);
            if process.held.is_some_and(|held| held != state.roles[end]) {
                return Err(LI1);
            }
            let ready = !matches!(process.at, At::Resume | At::ResumeLimit);
            let late = self.is(Bug::PublishBeforeStore) || self.is(Bug::ReleaseBeforeRead);
            if process.held.is_some() && ready && !late && process.position != state.positions[end] {
                return Err(RI3);
            }
        }
        Ok(())
    }

    fn is_good(&self, state: &State) -> bool {
        let dead = |word: &Word| matches!(word.role, Role::Open(owner) if state.is_dead(owner));
        let [senders, receivers] = [&state.processes[..self.senders], &state.processes[self.senders..]];
        let receivers = &receivers[..self.receivers];
        let all_gone =
            |processes: &[Process]| processes.iter().all(|process| process.done || process.at == At::Dead);
        // Who waits for an end where nobody is left knows it, or there is nothing to know: it was given back.
        let knows = |waiting: &[Process], end: usize| {
            waiting.iter().any(|process| process.told)
                || state.roles[end].role == Role::Vacant && !state.widowed[end]
        };
        let [tail, head] = state.positions;
        let done = [tail, head] == [self.messages; 2]
            || all_gone(senders) && all_gone(receivers)
            || all_gone(senders) && tail == head && knows(receivers, SENDER)
            || all_gone(receivers) && knows(senders, RECEIVER);
        done && !state.roles.iter().any(dead)
    }

    fn name(&self, who: usize) -> String {
        if who < self.senders { format!("sender {who}") } else { format!("receiver {}", who - self.senders) }
    }
}

/// Senders, receivers, capacity and messages.
fn of(senders: usize, receivers: usize, capacity: u8, messages: u8) -> Ring {
    Ring { capacity, senders, receivers, messages, deaths: 1, stay: [true; 2], bug: None }
}

fn explored(ring: &Ring, least: usize) {
    let Ring { capacity, senders, receivers, messages, deaths, stay, .. } = ring;
    let who = match stay {
        [true, true] => "both stay",
        [true, false] => "senders stay",
        _ => "receivers stay",
    };
    let what = format!(
        "ends: {senders} to {receivers}, {messages} messages, {capacity} slots, {deaths} deaths, {who}"
    );
    holds(&what, ring, least);
}

#[test]
fn successors_carry_on() {
    explored(&of(2, 1, 1, 2), 1000);
    explored(&of(1, 2, 1, 2), 1000);
    explored(&of(2, 1, 2, 3), 1000);
    explored(&of(1, 2, 2, 3), 1000);
    explored(&of(2, 2, 1, 2), 10_000);
    if full() {
        explored(&Ring { deaths: 2, ..of(3, 1, 1, 2) }, 10_000);
        explored(&Ring { deaths: 2, ..of(2, 2, 1, 2) }, 10_000);
        explored(&Ring { deaths: 2, ..of(2, 2, 2, 3) }, 10_000);
    }
}

#[test]
fn who_waits_for_the_dead_is_told() {
    for stay in [[true, false], [false, true]] {
        explored(&Ring { stay, ..of(1, 1, 1, 2) }, 100);
        explored(&Ring { stay, ..of(1, 1, 2, 3) }, 100);
        explored(&Ring { stay, deaths: 2, ..of(2, 1, 1, 2) }, 1000);
        explored(&Ring { stay, deaths: 2, ..of(1, 2, 1, 2) }, 1000);
    }
}

#[test]
fn planted_bugs_are_caught() {
    let alone = |ring: Ring| Ring { stay: [false, true], ..ring };
    for (bug, ring, invariant) in [
        (Bug::PublishBeforeStore, of(1, 1, 2, 2), WHOLE),
        (Bug::ReleaseBeforeRead, of(1, 1, 1, 2), WHOLE),
        (Bug::NoLastLook, alone(of(1, 1, 2, 2)), LAST),
        (Bug::NoSecondLookAtRole, alone(of(1, 1, 2, 2)), LAST),
        (Bug::NoVerdict, of(2, 1, 1, 2), LI1),
        (Bug::TakeByStore, of(2, 1, 1, 2), LI1),
        (Bug::SweepByStore, of(2, 1, 1, 2), LI1),
        (Bug::SweepFrees, alone(of(1, 1, 1, 2)), GOOD),
        (Bug::BeginsAnew, of(2, 1, 2, 2), RI3),
        (Bug::BeginsAtPeer, of(2, 1, 2, 2), RI3),
        (Bug::OneTooFar, of(1, 1, 1, 2), RI2),
    ] {
        caught(&format!("ends: {bug:?}"), &Ring { bug: Some(bug), ..ring }, invariant);
    }
}
