//! How a segment comes to its name and loses it: creators and openers at the same time, the last one who detaches.
//!
//! ```text
//!   name -> file, or none        file: half, complete; gone; a row an attachment: FREE, ACTIVE; bytes: ROW each, NAME
//!
//!   open    name? -> magic -> row FREE? -> take its ROW -> FREE still? -> ACTIVE -> gone? no: attached   `open`, `join`
//!   create  unnamed file -> half -> complete -> ROW -> ACTIVE -> link, if there is no such name          `create`
//!   detach  row FREE -> give ROW back -> take all ROW bytes at once -> take NAME -> is it named still?
//!           -> gone -> unlink -> give all back                                   `detach`, `unlink_if_last`, `unlink_held`
//!   gone?   yes: detach; then the same, to complete what somebody has begun       `detach_and_unlink`, `unlink_gone`
//!   unlink  name? -> take NAME -> is it named still? -> unlink                    `unlink`
//! ```
//! Each arrow is a step. A process can die after each; the kernel gives its bytes back later. The segment is temporary: the
//! last one who detaches unlinks it. Whoever finds it gone, or loses the race for the name, begins anew.
//!
//! # Invariants
//! * `WHOLE`: what has the name is complete.
//! * `KEEPS`: a segment that somebody is attached to has the name, unless somebody has unlinked it on purpose.
//! * `OWN`: nobody takes the name away from another segment than he means.
//! * Good: nobody is attached, no byte is held, and the name is free. One process lives on and may attach as often as it
//!   likes, so whatever others have left by their deaths can be removed.
//!
//! Not in the model: memory orderings; System V segments, whose start-up is another one; rows of the dead, which are in
//! `rows`; who has no right to unlink.

use outlive_models::{GOOD, Invariant, Model, Steps, caught, full, holds, index, small};

const WHOLE: Invariant = "what has the name is complete";
const KEEPS: Invariant = "what is attached to has the name";
const OWN: Invariant = "the name of another segment is not taken away";

const FILES: usize = 3;
const PROCESSES: usize = 3;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Contents {
    Nothing,
    Half,
    Complete,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct File {
    contents: Contents,
    gone: bool,
    /// Which rows are ACTIVE.
    active: [bool; PROCESSES],
    /// Who has the ROW bytes, dead or alive, and NAME.
    bytes: [Option<u8>; PROCESSES],
    name: Option<u8>,
}

/// Where a process is: what it does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum At {
    Idle,
    Dead,
    Open,
    Magic {
        file: u8,
    },
    Find {
        file: u8,
        row: u8,
    },
    TakeRow {
        file: u8,
        row: u8,
    },
    StillFree {
        file: u8,
        row: u8,
    },
    Activate {
        file: u8,
        row: u8,
        is_new: bool,
    },
    IsGone {
        file: u8,
        row: u8,
    },
    In {
        file: u8,
        row: u8,
    },

    Make,
    Build {
        file: u8,
        half: bool,
    },
    Link {
        file: u8,
        row: u8,
    },

    /// `again`: then it begins anew. `complete`: what another has begun.
    Free {
        file: u8,
        row: u8,
        again: bool,
        complete: bool,
    },
    GiveRow {
        file: u8,
        row: u8,
        again: bool,
        complete: bool,
    },
    TakeAll {
        file: u8,
        again: bool,
    },
    TakeName {
        file: u8,
        again: bool,
    },
    IsNamed {
        file: u8,
        again: bool,
    },
    Gone {
        file: u8,
        again: bool,
    },
    Remove {
        file: u8,
        again: bool,
    },
    GiveAll {
        file: u8,
        again: bool,
    },

    Unlink,
    UnlinkName {
        file: u8,
    },
    UnlinkIsNamed {
        file: u8,
    },
    UnlinkRemove {
        file: u8,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Process {
    at: At,
    /// How often it may yet come.
    left: u8,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct State {
    name: Option<u8>,
    files: [File; FILES],
    /// How many there are.
    made: u8,
    processes: [Process; PROCESSES],
    unlinks: u8,
    unlinked: bool,
    deaths: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Bug {
    LinkBeforeComplete,
    LinkReplaces,
    GoneNotLookedAt,
    GoneBeforeRow,
    RowsNotHeld,
    NameNotCompared,
    NameNotHeld,
    UnlinkBeforeGone,
    GoneNotCompleted,
}

#[derive(Clone, Copy, Debug)]
struct Segment {
    processes: usize,
    /// How often each comes, apart from the last, which may come as often as it likes.
    sessions: u8,
    /// How often somebody unlinks it on purpose.
    unlinks: u8,
    deaths: u8,
    bug: Option<Bug>,
}

impl Segment {
    fn is(&self, bug: Bug) -> bool {
        self.bug == Some(bug)
    }

    /// Where somebody is who has given everything back.
    fn after(again: bool) -> At {
        if again { At::Open } else { At::Idle }
    }

    fn attach(&self, next: &mut State, who: usize) -> Result<(&'static str, At), Invariant> {
        let me = small(who);
        Ok(match next.processes[who].at {
            At::Open => ("opens the name", next.name.map_or(At::Make, |file| At::Magic { file })),
            At::Magic { file } => {
                if next.files[index(file)].contents != Contents::Complete {
                    return Err(WHOLE);
                }
                let skip = self.is(Bug::GoneBeforeRow) && next.files[index(file)].gone;
                let again = At::TakeAll { file, again: true };
                ("reads the magic", if skip { again } else { At::Find { file, row: 0 } })
            }
            At::Find { file, row } => {
                let free = !next.files[index(file)].active[index(row)];
                let other = At::Find { file, row: (row + 1) % small(PROCESSES) };
                ("looks whether a row is FREE", if free { At::TakeRow { file, row } } else { other })
            }
            At::TakeRow { file, row } => {
                let byte = &mut next.files[index(file)].bytes[index(row)];
                let ours = byte.is_none();
                byte.get_or_insert(me);
                let other = At::Find { file, row: (row + 1) % small(PROCESSES) };
                ("tries to take the row's byte", if ours { At::StillFree { file, row } } else { other })
            }
            At::StillFree { file, row } => {
                let place = &mut next.files[index(file)];
                if place.active[index(row)] {
                    place.bytes[index(row)] = None;
                    return Ok(("gives a row's byte back", At::Find { file, row }));
                }
                ("looks whether it is FREE still", At::Activate { file, row, is_new: false })
            }
            At::Activate { file, row, is_new } => {
                next.files[index(file)].active[index(row)] = true;
                let early = self.is(Bug::LinkBeforeComplete);
                let at = match is_new {
                    true if early => At::In { file, row },
                    true => At::Link { file, row },
                    false if self.is(Bug::GoneNotLookedAt) || self.is(Bug::GoneBeforeRow) => {
                        At::In { file, row }
                    }
                    false => At::IsGone { file, row },
                };
                ("makes its row ACTIVE", at)
            }
            At::IsGone { file, row } => {
                let gone = next.files[index(file)].gone;
                let complete = !self.is(Bug::GoneNotCompleted);
                let leave = At::Free { file, row, again: true, complete };
                ("looks whether it is gone", if gone { leave } else { At::In { file, row } })
            }
            At::Make if index(next.made) == FILES => ("gives up", At::Idle),
            At::Make => {
                let file = next.made;
                next.made += 1;
                if self.is(Bug::LinkBeforeComplete) {
                    if next.name.is_some() {
                        return Ok(("does not get the name", At::Open));
                    }
                    next.name = Some(file);
                }
                ("makes a file without a name", At::Build { file, half: true })
            }
            At::Build { file, half } => {
                let place = &mut next.files[index(file)];
                place.contents = if half { Contents::Half } else { Contents::Complete };
                if half {
                    ("builds half of it", At::Build { file, half: false })
                } else {
                    place.bytes[0] = Some(me); // nobody else knows the file
                    ("completes it, and takes a row's byte", At::Activate { file, row: 0, is_new: true })
                }
            }
            At::Link { file, row } => {
                if next.name.is_none() || self.is(Bug::LinkReplaces) {
                    next.name = Some(file);
                    next.unlinked = false;
                    ("links it to the name", At::In { file, row })
                } else {
                    let complete = true;
                    ("finds the name taken", At::Free { file, row, again: true, complete })
                }
            }
            _ => return self.leave(next, who),
        })
    }

    fn leave(&self, next: &mut State, who: usize) -> Result<(&'static str, At), Invariant> {
        let me = small(who);
        let named = next.name;
        Ok(match next.processes[who].at {
            At::Free { file, row, again, complete } => {
                next.files[index(file)].active[index(row)] = false;
                ("makes its row FREE", At::GiveRow { file, row, again, complete })
            }
            At::GiveRow { file, row, again, complete } => {
                next.files[index(file)].bytes[index(row)] = None;
                let at = if complete { At::TakeAll { file, again } } else { Self::after(again) };
                ("gives its row's byte back", at)
            }
            At::TakeAll { file, again } => {
                let place = &mut next.files[index(file)];
                if self.is(Bug::RowsNotHeld) {
                    let attached = place.active.contains(&true);
                    let at = if attached { Self::after(again) } else { At::TakeName { file, again } };
                    return Ok(("looks whether anybody is attached", at));
                }
                if place.bytes.iter().all(Option::is_none) {
                    place.bytes = [Some(me); PROCESSES];
                    ("takes the bytes of all rows", At::TakeName { file, again })
                } else {
                    ("does not get the bytes of all rows", Self::after(again))
                }
            }
            At::TakeName { file, again } => {
                let name = &mut next.files[index(file)].name;
                let ours = name.is_none() || self.is(Bug::NameNotHeld);
                name.get_or_insert(me);
                (
                    "tries to take NAME",
                    if ours { At::IsNamed { file, again } } else { At::GiveAll { file, again } },
                )
            }
            At::IsNamed { file, again } => {
                let is = named == Some(file) || self.is(Bug::NameNotCompared);
                let at = match is {
                    true if self.is(Bug::UnlinkBeforeGone) => At::Remove { file, again },
                    true => At::Gone { file, again },
                    false => At::GiveAll { file, again },
                };
                ("looks whether it is named", at)
            }
            At::Gone { file, again } => {
                next.files[index(file)].gone = true;
                let late = self.is(Bug::UnlinkBeforeGone);
                (
                    "says that it is gone",
                    if late { At::GiveAll { file, again } } else { At::Remove { file, again } },
                )
            }
            At::Remove { file, again } => {
                if named.is_some_and(|other| other != file) {
                    return Err(OWN);
                }
                next.name = None;
                let late = self.is(Bug::UnlinkBeforeGone);
                ("unlinks it", if late { At::Gone { file, again } } else { At::GiveAll { file, again } })
            }
            At::GiveAll { file, again } => {
                Self::forget(&mut next.files[index(file)], me);
                ("gives all bytes back", Self::after(again))
            }
            At::Unlink => ("opens the name", named.map_or(At::Idle, |file| At::UnlinkName { file })),
            At::UnlinkName { file } => {
                let name = &mut next.files[index(file)].name;
                let ours = name.is_none() || self.is(Bug::NameNotHeld);
                name.get_or_insert(me);
                let at = if ours { At::UnlinkIsNamed { file } } else { At::UnlinkName { file } };
                ("tries to take NAME", at)
            }
            At::UnlinkIsNamed { file } if named == Some(file) => ("is named", At::UnlinkRemove { file }),
            At::UnlinkIsNamed { file } => {
                Self::forget(&mut next.files[index(file)], me);
                ("is not named", At::Idle)
            }
            At::UnlinkRemove { file } => {
                if named.is_some_and(|other| other != file) {
                    return Err(OWN);
                }
                next.name = None;
                next.unlinked = true;
                Self::forget(&mut next.files[index(file)], me);
                ("unlinks it", At::Idle)
            }
            at => ("does nothing", at),
        })
    }

    /// Whatever bytes one has: they are given back, by itself or by the kernel.
    fn forget(file: &mut File, who: u8) {
        file.bytes = file.bytes.map(|holder| holder.filter(|&holder| holder != who));
        file.name = file.name.filter(|&holder| holder != who);
    }
}

impl Model for Segment {
    type State = State;

    fn start(&self) -> State {
        let file = File {
            contents: Contents::Nothing,
            gone: false,
            active: [false; PROCESSES],
            bytes: [None; PROCESSES],
            name: None,
        };
        State {
            name: None,
            files: [file; FILES],
            made: 0,
            processes: [Process { at: At::Idle, left: self.sessions }; PROCESSES],
            unlinks: self.unlinks,
            unlinked: false,
            deaths: self.deaths,
        }
    }

    fn steps(&self, state: &State, steps: &mut Steps<State>) {
        for who in 0..self.processes {
            let me = state.processes[who];
            let stays = who + 1 == self.processes;
            let mut to = |what, change: &dyn Fn(&mut State)| {
                let mut next = state.clone();
                change(&mut next);
                steps.to(who, what, next);
            };
            match me.at {
                At::Dead => {
                    for file in 0..FILES {
                        let number = small(who);
                        let mut freed = state.files[file];
                        Self::forget(&mut freed, number);
                        if freed != state.files[file] {
                            to("is dead: the kernel gives its bytes back", &|next| next.files[file] = freed);
                        }
                    }
                    continue;
                }
                At::Idle => {
                    if stays || me.left > 0 {
                        let left = me.left - u8::from(!stays);
                        let at = At::Open;
                        to("comes", &|next| next.processes[who] = Process { at, left });
                    }
                    if state.unlinks > 0 {
                        to("wants to unlink", &|next| {
                            next.unlinks -= 1;
                            next.processes[who].at = At::Unlink;
                        });
                    }
                }
                At::In { file, row } => {
                    let at = At::Free { file, row, again: false, complete: true };
                    to("detaches", &|next| next.processes[who].at = at);
                }
                _ => {
                    let mut next = state.clone();
                    match self.attach(&mut next, who) {
                        Ok((what, at)) => {
                            next.processes[who].at = at;
                            steps.to(who, what, next);
                        }
                        Err(invariant) => steps.breach(who, "goes on", invariant),
                    }
                    if let At::TakeAll { .. } = me.at {
                        steps.to(who, "tries once more", state.clone());
                    }
                }
            }
            if state.deaths > 0 && !stays {
                let mut next = state.clone();
                next.processes[who] = Process { at: At::Dead, left: 0 };
                next.deaths -= 1;
                steps.to(who, "dies", next);
            }
        }
    }

    fn check(&self, state: &State) -> Result<(), Invariant> {
        if state.name.is_some_and(|file| state.files[index(file)].contents != Contents::Complete) {
            return Err(WHOLE);
        }
        let nameless = |process: &Process| match process.at {
            At::In { file, .. } => state.name != Some(file),
            _ => false,
        };
        if self.unlinks == 0 && state.processes.iter().any(nameless) { Err(KEEPS) } else { Ok(()) }
    }

    fn is_good(&self, state: &State) -> bool {
        let at_rest = |process: &Process| matches!(process.at, At::Idle | At::Dead);
        let held = |file: &File| file.name.is_some() || file.bytes.iter().any(Option::is_some);
        state.name.is_none() && state.processes.iter().all(at_rest) && !state.files.iter().any(held)
    }
}

fn of(processes: usize, sessions: u8, deaths: u8) -> Segment {
    Segment { processes, sessions, unlinks: 0, deaths, bug: None }
}

#[test]
fn a_segment_comes_and_goes() {
    let explored = |segment: Segment, least| {
        let Segment { processes, sessions, unlinks, deaths, .. } = segment;
        let what = format!("start-up: {processes} x {sessions} sessions, {unlinks} unlinks, {deaths} deaths");
        holds(&what, &segment, least);
    };
    explored(of(2, 2, 1), 1000);
    explored(Segment { unlinks: 1, ..of(2, 1, 1) }, 1000);
    explored(of(3, 1, 0), 10_000);
    if full() {
        explored(of(3, 1, 1), 10_000);
        explored(of(3, 1, 2), 10_000);
        explored(Segment { unlinks: 1, ..of(3, 1, 1) }, 10_000);
    }
}

#[test]
fn planted_bugs_are_caught() {
    for (bug, segment, invariant) in [
        (Bug::LinkBeforeComplete, of(2, 1, 0), WHOLE),
        (Bug::LinkReplaces, of(2, 1, 0), KEEPS),
        (Bug::GoneNotLookedAt, of(2, 1, 0), KEEPS),
        (Bug::GoneBeforeRow, of(2, 1, 0), KEEPS),
        (Bug::RowsNotHeld, of(2, 1, 0), KEEPS),
        (Bug::NameNotCompared, of(2, 1, 0), OWN),
        (Bug::NameNotHeld, Segment { unlinks: 1, ..of(2, 2, 0) }, OWN),
        (Bug::UnlinkBeforeGone, of(2, 1, 1), KEEPS),
        (Bug::GoneNotCompleted, of(2, 1, 1), GOOD),
    ] {
        caught(&format!("start-up: {bug:?}"), &Segment { bug: Some(bug), ..segment }, invariant);
    }
}
