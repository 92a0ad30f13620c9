//! Medians, and a figure for a reader.

/// Of the values of the rounds, or of their ratios.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Summary {
    pub(crate) median: f64,
    pub(crate) min: f64,
    pub(crate) max: f64,
    pub(crate) rounds: usize,
}

impl Summary {
    /// `None` without values.
    pub(crate) fn of(values: &[f64]) -> Option<Self> {
        let mut sorted = values.to_vec();
        sorted.sort_by(f64::total_cmp);
        Some(Self {
            median: median(&sorted)?,
            min: *sorted.first()?,
            max: *sorted.last()?,
            rounds: sorted.len(),
        })
    }

    /// Of the ratios of two cases, each within one round.
    pub(crate) fn of_ratios(these: &[f64], others: &[f64]) -> Option<Self> {
        let ratios: Vec<f64> = these.iter().zip(others).map(|(this, other)| this / other).collect();
        Self::of(&ratios)
    }
}

fn median(sorted: &[f64]) -> Option<f64> {
    let upper = *sorted.get(sorted.len() / 2)?;
    if sorted.len() % 2 == 1 {
        return Some(upper);
    }
    Some(f64::midpoint(sorted[sorted.len() / 2 - 1], upper))
}

/// The median of unsorted values, which must be some.
pub(crate) fn median_of(values: &[f64]) -> f64 {
    Summary::of(values).expect("a measurement has values").median
}

/// Counts and nanoseconds of a measurement lie far below 2^53.
#[expect(clippy::cast_precision_loss, reason = "counts and nanoseconds here lie far below 2^53")]
pub(crate) fn float(n: u64) -> f64 {
    n as f64
}

/// Four significant digits, without an exponent.
pub(crate) fn figure(value: f64) -> String {
    let size = value.abs();
    if size >= 1000.0 {
        format!("{value:.0}")
    } else if size >= 100.0 {
        format!("{value:.1}")
    } else if size >= 10.0 {
        format!("{value:.2}")
    } else {
        format!("{value:.3}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians() {
        assert_eq!(Summary::of(&[]), None);
        let odd = Summary::of(&[3.0, 1.0, 2.0]).unwrap();
        assert_eq!(odd, Summary { median: 2.0, min: 1.0, max: 3.0, rounds: 3 });
        let even = Summary::of(&[4.0, 1.0, 2.0, 3.0]).unwrap();
        assert!((even.median - 2.5).abs() < 1e-12, "{even:?}");
    }

    #[test]
    fn a_ratio_is_of_one_round() {
        // The machine halves its speed in the second round: the ratio does not notice.
        let ratios = Summary::of_ratios(&[10.0, 20.0, 10.0], &[5.0, 10.0, 5.0]).unwrap();
        assert_eq!(ratios, Summary { median: 2.0, min: 2.0, max: 2.0, rounds: 3 });
    }

    #[test]
    fn figures() {
        assert_eq!(figure(1234.5), "1234");
        assert_eq!(figure(105.23), "105.2");
        assert_eq!(figure(0.9512), "0.951");
    }
}
