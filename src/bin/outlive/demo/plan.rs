//! Who is killed, and when: all of it from one seed.
//!
//! With `n` kills the stream falls into `n + 1` slices of equal length. Kill `k` comes at a random place of slice `k`; the last
//! slice has none, so that whoever is killed has work left. Sender and receiver alternate, the seed says who is first.
//!
//! The end of slice `k` is also the *gate* of kill `k`: the sender does not send beyond it before that kill has happened.
//! A stream of some size never gets there, because the kill is due before; only a tiny one would be over before its killer woke up.

use core::time::Duration;

use super::Side;
use crate::random::Random;

/// One SIGKILL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Kill {
    /// Who dies.
    pub(crate) side: Side,
    /// When this many messages have been received,
    pub(crate) at: u64,
    /// and this much later: so that the moment has nothing to do with message boundaries.
    pub(crate) delay: Duration,
    /// How many messages may be sent before the kill has happened.
    pub(crate) gate: u64,
}

/// The longest delay of a kill after its place in the stream.
const LONGEST_DELAY: Duration = Duration::from_micros(500);

/// The kills of a stream, in order.
pub(crate) fn kills(seed: u64, kills: u32, messages: u64) -> Vec<Kill> {
    let mut random = Random::new(seed);
    let slice = |k: u32| {
        let place = u128::from(messages) * u128::from(k) / (u128::from(kills) + 1);
        u64::try_from(place).unwrap_or(messages) // it is at most `messages`
    };
    let mut side = if random.below(2) == 0 { Side::Sender } else { Side::Receiver };
    (0..kills)
        .map(|k| {
            let (from, to) = (slice(k), slice(k + 1));
            let at = from + random.below(to - from);
            let delay = LONGEST_DELAY.mul_f64(random.fraction());
            let kill = Kill { side, at, delay, gate: to };
            side = side.other();
            kill
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_kills_the_same_way() {
        assert_eq!(kills(7, 30, 65_536), kills(7, 30, 65_536));
        assert_ne!(kills(7, 30, 65_536), kills(8, 30, 65_536));
    }

    #[test]
    fn sides_alternate_and_moments_come_in_order_before_their_gates() {
        for seed in 0..50 {
            for (n, messages) in [(1, 1), (6, 3), (30, 65_536), (4, 1 << 40)] {
                let kills = kills(seed, n, messages);
                assert_eq!(kills.len(), usize::try_from(n).expect("few"));
                for pair in kills.windows(2) {
                    assert_eq!(pair[0].side, pair[1].side.other());
                    assert!(pair[0].at <= pair[1].at && pair[0].gate <= pair[1].gate, "{pair:?}");
                }
                for kill in &kills {
                    assert!(kill.at <= kill.gate && kill.gate <= messages, "{kill:?} of {messages}");
                    assert!(kill.delay < LONGEST_DELAY);
                }
                assert!(kills.iter().all(|kill| kill.gate < messages), "work is left after every kill");
            }
        }
    }

    #[test]
    fn either_side_may_be_first() {
        let first = |seed| kills(seed, 1, 100)[0].side;
        assert!((0..20).any(|seed| first(seed) == Side::Sender));
        assert!((0..20).any(|seed| first(seed) == Side::Receiver));
    }

    #[test]
    fn no_kills_is_a_plan_too() {
        assert_eq!(kills(1, 0, 100), []);
    }
}
