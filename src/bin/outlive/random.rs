//! Numbers that one seed makes, the same everywhere.

use core::hash::{BuildHasher as _, Hasher as _};
use core::time::Duration;
use std::hash::RandomState;

/// A seed that nobody chose. It fits into a double, so that every reader of JSON keeps it.
pub(crate) fn fresh_seed() -> u64 {
    RandomState::new().build_hasher().finish() >> 11
}

/// A number that has nothing to do with its neighbours (the last step of splitmix64).
pub(crate) fn mixed(number: u64) -> u64 {
    let mut word = number.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    word = (word ^ (word >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    word = (word ^ (word >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    word ^ (word >> 31)
}

/// splitmix64, begun at a place that its seed does not show.
#[derive(Debug)]
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(mixed(seed))
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(1);
        mixed(self.0)
    }

    /// A number below `bound`; 0 if that is 0.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        let scaled = (u128::from(self.next()) * u128::from(bound)) >> 64;
        u64::try_from(scaled).unwrap_or(0) // it is below `bound`
    }

    /// An index below `bound`; 0 if that is 0.
    pub(crate) fn index(&mut self, bound: usize) -> usize {
        usize::try_from(self.below(bound as u64)).unwrap_or(0) // it is below `bound`
    }

    /// Whether something happens that does once in `n` times.
    pub(crate) fn once_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    /// A fraction of 1, below 1.
    pub(crate) fn fraction(&mut self) -> f64 {
        let [a, b, c, d, ..] = self.next().to_le_bytes();
        f64::from(u32::from_le_bytes([a, b, c, d])) / (f64::from(u32::MAX) + 1.0)
    }

    /// A time up to `longest`: short ones as often as long ones of ten times that.
    pub(crate) fn pause(&mut self, longest: Duration) -> Duration {
        longest.mul_f64(0.001_f64.powf(self.fraction()))
    }

    /// The time until the next of events that come `mean` apart on average, whenever the last one was.
    pub(crate) fn gap(&mut self, mean: Duration) -> Duration {
        mean.mul_f64(-(1.0 - self.fraction()).ln())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_those_of_splitmix64_and_neighbouring_seeds_have_nothing_in_common() {
        assert_eq!([mixed(1), mixed(2)], [0xe220_a839_7b1d_cdaf, 0x6e78_9e6a_a1b9_65f4]);
        let of = |seed| {
            let mut random = Random::new(seed);
            [(); 100].map(|()| random.next())
        };
        assert_eq!(of(1), of(1));
        assert!(of(1).iter().all(|number| !of(2).contains(number)));
    }

    #[test]
    fn gaps_have_their_mean_and_pauses_their_bounds() {
        let (mut random, mean, n) = (Random::new(7), Duration::from_millis(20), 20_000);
        let sum: Duration = (0..n).map(|_| random.gap(mean)).sum();
        assert!((sum / n).abs_diff(mean) < mean / 20, "{sum:?}");
        assert!((0..n).all(|_| (mean / 1001..=mean).contains(&random.pause(mean))));
    }

    #[test]
    fn numbers_stay_below_their_bound() {
        let mut random = Random::new(3);
        assert_eq!((random.below(0), random.index(1)), (0, 0));
        assert!((0..1000).all(|_| random.below(5) < 5 && random.fraction() < 1.0));
        assert!((9_500..10_500).contains(&(0..40_000).filter(|_| random.once_in(4)).count()));
    }
}
