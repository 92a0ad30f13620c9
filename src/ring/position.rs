//! Positions: how many messages went through an end since the ring was created.
//!
//! They run free, in 64 bits, and wrap around at the end of them (after 580 years at a billion messages a second, or at
//! once, if a peer writes `u64::MAX`). All arithmetic here is modulo 2^64; capacities are powers of two up to 2^31, so
//! that the slot of a position is its low bits on both sides of the wrap.
//!
//! They begin at [`START`] and not at 0, so that a private copy that was wiped is no position for 2^62 messages: no room,
//! and nothing that a peer's position could make plausible.
//!
//! An end may work from its own position up to its *limit*: the sender up to `head + capacity`, the receiver up to
//! `tail`. Either way `limit - position` is the number of slots that it has for itself, 0 to capacity.

/// The position of the first message.
pub(super) const START: u64 = 1 << 62;

/// Largest capacity of a ring.
pub(super) const MAX_CAPACITY: u64 = 1 << 31;

/// How many slots there are from `position` to `limit`; 0 if the limit is behind.
///
/// Behind is the limit of a killed attachment whose death fell into an operation: zero, and the position is not.
#[inline]
pub(super) const fn ready(position: u64, limit: u64) -> u64 {
    if is_exhausted(position, limit) { 0 } else { limit.wrapping_sub(position) }
}

/// Whether there is no slot from `position` to `limit`: one comparison.
#[inline]
pub(super) const fn is_exhausted(position: u64, limit: u64) -> bool {
    position.wrapping_sub(limit) >> 63 == 0
}

/// Whether a limit, as computed from what a peer wrote, can be true: not behind the old one, and not farther away than
/// the ring is long.
#[inline]
pub(super) const fn is_plausible(position: u64, old: u64, new: u64, capacity: u64) -> bool {
    let room = new.wrapping_sub(position);
    room <= capacity && room >= ready(position, old)
}

/// How many positions from `index` until the slots begin anew.
#[inline]
pub(super) const fn until_wrap(position: u64, capacity: u64) -> u64 {
    capacity - (position & (capacity - 1))
}

/// How many messages went through an end that is at `position`.
#[inline]
pub(super) const fn count(position: u64) -> u64 {
    position.wrapping_sub(START)
}

/// A number of slots as an index: never more than the capacity, which fits.
#[inline]
#[expect(clippy::cast_possible_truncation, reason = "usize has 64 bits here: the crate root refuses others")]
pub(super) const fn index(n: u64) -> usize {
    n as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    const LATE: u64 = u64::MAX - 2;

    #[test]
    fn slots_are_counted_across_the_wrap() {
        assert_eq!(ready(5, 8), 3);
        assert_eq!(ready(8, 8), 0);
        assert_eq!(ready(LATE, LATE.wrapping_add(8)), 8);
        assert_eq!(ready(2, 2_u64.wrapping_add(8)), 8);
        assert!(is_exhausted(LATE, LATE) && !is_exhausted(LATE, 1));
    }

    #[test]
    fn what_was_wiped_leaves_nothing() {
        assert_eq!(ready(0, 0), 0);
        assert_eq!(ready(START + 7, 0), 0, "a position that was stored behind the wipe");
        for peers in [START, START + 7, START + MAX_CAPACITY, START - 1 + START] {
            assert!(!is_plausible(0, 0, peers, MAX_CAPACITY));
            assert!(!is_plausible(0, 0, peers.wrapping_add(MAX_CAPACITY), MAX_CAPACITY));
        }
    }

    #[test]
    fn limits_move_forward_and_not_too_far() {
        assert!(is_plausible(10, 12, 12, 8));
        assert!(is_plausible(10, 12, 18, 8));
        assert!(!is_plausible(10, 12, 19, 8), "farther than the ring is long");
        assert!(!is_plausible(10, 12, 11, 8), "backwards");
        assert!(!is_plausible(10, 10, 9, 8), "behind the position");
        assert!(!is_plausible(10, 10, u64::MAX, 8) && !is_plausible(10, 10, 0, 8));
        assert!(is_plausible(LATE, LATE, 3, 8) && !is_plausible(LATE, LATE, 6, 8));
    }

    #[test]
    fn slots_begin_anew_after_the_last_one() {
        assert_eq!(until_wrap(0, 8), 8);
        assert_eq!(until_wrap(7, 8), 1);
        assert_eq!(until_wrap(LATE, 8), 3);
        assert_eq!(until_wrap(3, 1), 1);
    }
}
