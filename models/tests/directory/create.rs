//! Room for an object, and the object.

use outlive_models::{Invariant, index, small};

use crate::entries::{At, Bug, DI1, Directory, Memory, PLACES, Phase, Process, State};

impl Directory {
    pub(crate) fn survey(
        &self,
        next: &mut State,
        who: usize,
        process: &mut Process,
    ) -> Result<&'static str, Invariant> {
        let me = small(who);
        let in_use = |next: &State, entry: u8, usable, used| At::Survey {
            entry: entry + 1,
            usable,
            used: used | 1 << next.entries[index(entry)].at,
        };
        let free = |entry: u8, usable: Option<u8>, used| At::Survey {
            entry: entry + 1,
            usable: usable.or(Some(entry)),
            used,
        };
        Ok(match process.at {
            At::Survey { entry, usable, used } => {
                let seen = next.entries.get(index(entry)).map(|entry| entry.word);
                process.at = match seen.map(|word| (word, word.phase)) {
                    None | Some((_, Phase::Empty)) => {
                        let usable = usable.or(seen.map(|_| entry));
                        let place = (0..small(PLACES)).find(|place| used & 1 << place == 0);
                        match usable.zip(place) {
                            Some((entry, place)) => At::Reserve { entry, place },
                            None => At::Unlock, // no room
                        }
                    }
                    Some((_, Phase::Live)) => in_use(next, entry, usable, used),
                    Some((_, Phase::Vacant)) => free(entry, usable, used),
                    Some((seen, _)) => At::IsOpen { entry, usable, used, seen },
                };
                "looks whether an entry can be used"
            }
            At::IsOpen { entry, usable, used, seen } => {
                let open = next.entries[index(entry)].bits != 0;
                process.at = if open {
                    in_use(next, entry, usable, used)
                } else {
                    At::Vacate { entry, usable, used, seen }
                };
                "looks whether it is open"
            }
            At::Vacate { entry, usable, used, seen } => {
                let ours = self.change(next, who, entry, seen, Phase::Vacating(me))?;
                let seen = seen.next(Phase::Vacating(me));
                process.at = match (ours, self.is(Bug::VacaterDoesNotLookAgain)) {
                    (false, _) => in_use(next, entry, usable, used),
                    (true, false) => At::IsOpenStill { entry, usable, used, seen },
                    (true, true) => At::ForgetExtent { entry, usable, used, seen },
                };
                "makes it VACATING"
            }
            At::IsOpenStill { entry, usable, used, seen } => {
                let open = next.entries[index(entry)].bits != 0;
                process.at = if open {
                    At::RetireAgain { entry, usable, used, seen }
                } else {
                    At::ForgetExtent { entry, usable, used, seen }
                };
                "looks whether it is open still"
            }
            At::RetireAgain { entry, usable, used, seen } => {
                self.change(next, who, entry, seen, Phase::Retired)?;
                process.at = in_use(next, entry, usable, used);
                "makes it RETIRED again"
            }
            At::ForgetExtent { entry, usable, used, seen } => {
                next.entries[index(entry)].len &= self.is(Bug::ExtentKept);
                process.at = At::MakeVacant { entry, usable, used, seen };
                "forgets its extent"
            }
            At::MakeVacant { entry, usable, used, seen } => {
                let ours = self.change(next, who, entry, seen, Phase::Vacant)?;
                process.at = if ours { free(entry, usable, used) } else { in_use(next, entry, usable, used) };
                "makes it VACANT"
            }
            _ => return self.create(next, who, process),
        })
    }

    fn create(&self, next: &mut State, who: usize, process: &mut Process) -> Result<&'static str, Invariant> {
        let me = small(who);
        Ok(match process.at {
            At::Reserve { entry, place } => {
                let old = next.entries[index(entry)].word;
                if !self.change(next, who, entry, old, Phase::Reserved(me))? {
                    return Err(DI1);
                }
                let mine = old.next(Phase::Reserved(me));
                process.at = At::WriteName { entry, place, mine };
                "reserves an entry"
            }
            At::WriteName { entry, place, mine } => {
                next.entries[index(entry)].named = true;
                process.at = At::WriteExtent { entry, place, mine };
                "writes the name"
            }
            At::WriteExtent { entry, place, mine } => {
                next.entries[index(entry)].at = place;
                next.entries[index(entry)].len = true;
                let early = self.is(Bug::LiveBeforeBuilt);
                process.at = if early {
                    At::MakeLive { entry, mine }
                } else {
                    At::Build { entry, place, mine, half: true }
                };
                "writes the extent"
            }
            At::Build { entry, place, mine, half: true } => {
                next.memory[index(place)] = Memory::Half;
                process.at = At::Build { entry, place, mine, half: false };
                "builds half the object"
            }
            At::Build { entry, place, mine, .. } => {
                next.objects += 1;
                next.memory[index(place)] = Memory::Object(next.objects);
                process.at = At::OwnBit { entry, mine };
                "completes the object"
            }
            At::OwnBit { entry, mine } => {
                next.entries[index(entry)].bits |= 1 << who;
                process.at = At::MakeLive { entry, mine };
                "sets its bit"
            }
            At::MakeLive { entry, mine } | At::GiveUp { entry, mine } => {
                let live = process.at == At::MakeLive { entry, mine };
                let word = &mut next.entries[index(entry)].word;
                if *word != mine {
                    return Err(DI1);
                }
                *word = mine.next(if live { Phase::Live } else { Phase::Retired });
                process.at = if live { At::Extent { entry, locked: true } } else { At::Unlock };
                if live { "makes it LIVE" } else { "gives it up" }
            }
            _ => return Ok(self.sweep(next, process)),
        })
    }
}
