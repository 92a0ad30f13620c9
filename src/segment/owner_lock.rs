//! The lock of cold paths inside a segment: one word that names its holder.
//!
//! The state word is the only truth: `WAITERS:1 | 0:7 | owner:24`. Whoever finds a dead holder takes the lock from it;
//! what the holder was changing is repaired from its own state words, so nothing has to be told about the death.
//!
//! # Orderings
//! | tag | operation                   | order   | pairs  | because                                                   |
//! |-----|-----------------------------|---------|--------|-----------------------------------------------------------|
//! | K1  | look at the word            | Relaxed | -      | a hint for the CAS that follows                           |
//! | K2  | take, or recover            | AcqRel  | K4, K2 | what the last holder did; dead ones: see `is_dead`        |
//! | K3  | announce a sleeper          | Relaxed | -      | the futex compares the word itself                        |
//! | K4  | release                     | Release | K2     | what we did, before the next holder                       |
//!
//! # Crashes
//! | dies                             | left      | outcome                                                    | held by |
//! |----------------------------------|-----------|------------------------------------------------------------|---------|
//! | holder, at any time              | its stamp | the next one takes it from the dead; or the sweep frees it | `tests death::the_directory_is_kept_*` |
//! |                                  |           |                                                            | `loom directory::a_creator_dies_at_*` |
//! | holder, between release and wake | sleepers  | they look when their slice is over                         | `loom directory::who_waits_for_the_directory_*` |
//! | sleeper, announced               | WAITERS   | one vain wake                                              | `loom directory::who_waits_for_the_directory_*` |

use core::time::Duration;

use super::{Attached, Owner};
use crate::error::{Error, Result};
use crate::shim::clock::Deadline;
use crate::shim::{AtomicU32, Ordering, futex};

const WAITERS: u32 = 1 << 31;
/// A sleeper looks after its holder this often.
const SLICE: Duration = Duration::from_millis(100);
/// And reports it after so many seconds, by the clock: whatever others do to the word. A model has no clock.
const SECONDS: u64 = if cfg!(loom) { 0 } else { 10 };

/// The lock, held. Dropped, it is free.
pub(super) struct Held<'a> {
    word: &'a AtomicU32,
}

/// Takes the lock. `Busy` if a living process holds it for ten seconds (it is stopped, or hostile).
///
/// The threads of one attachment share an owner: they must hold a private lock around this.
pub(super) fn lock<'a>(word: &'a AtomicU32, attached: &Attached) -> Result<Held<'a>> {
    attached.check_writable()?;
    let me = attached.owner();
    let deadline = Deadline::after((SECONDS != 0).then(|| Duration::from_secs(SECONDS)));
    let mut sleepers = 0;
    loop {
        let seen = word.load(Ordering::Relaxed); // [K1]
        let holder = Owner::from_bits(seen);
        let free = match holder {
            None => true,
            Some(holder) => holder == me || attached.is_dead(holder)?, // mine: forgotten, or scribbled
        };
        if free && !deadline.is_over() {
            let mine = me.bits() | seen & WAITERS | sleepers;
            if word.compare_exchange(seen, mine, Ordering::AcqRel, Ordering::Relaxed).is_ok() {
                // [K2]
                return Ok(Held { word });
            }
            continue;
        }
        if deadline.is_over() {
            return Err(Error::Busy { owner: holder.unwrap_or(me) });
        }
        let waiting = seen | WAITERS;
        // [K3]
        let announced = word.compare_exchange(seen, waiting, Ordering::Relaxed, Ordering::Relaxed).is_ok();
        if !announced {
            continue;
        }
        futex::wait(word, waiting, SLICE.min(deadline.left()));
        sleepers = WAITERS; // others may sleep still
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        let old = self.word.swap(0, Ordering::Release); // [K4]
        if old & WAITERS != 0 {
            futex::wake(self.word, 1);
        }
    }
}

/// Whom the word of a lock names, if anybody.
pub(super) fn holder(word: u32) -> Option<Owner> {
    Owner::from_bits(word)
}

/// Whether the protocol writes such a word: waiters are announced to a holder only.
pub(super) fn is_legal(word: u32) -> bool {
    let known = holder(word).map_or(0, |holder| WAITERS | holder.bits());
    word & !known == 0
}

/// Frees the lock of a dead holder.
pub(super) fn recover(word: &AtomicU32, dead: &dyn Fn(Owner) -> bool) {
    let seen = word.load(Ordering::Relaxed); // [K1]
    let recovered = Owner::from_bits(seen).is_some_and(dead)
        && word.compare_exchange(seen, 0, Ordering::AcqRel, Ordering::Relaxed).is_ok(); // [K2]
    if recovered && seen & WAITERS != 0 {
        futex::wake(word, u32::MAX >> 1);
    }
}
