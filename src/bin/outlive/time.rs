//! Durations and moments as people write and read them.

use core::time::Duration;
use std::time::{Instant, UNIX_EPOCH};

/// A duration: `90` seconds, `0.5`, `500ms`, `1min 30s`.
pub(crate) fn parse(text: &str) -> Result<Duration, String> {
    let seconds = text.parse().ok().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    let refusal = |_| format!("`{text}` is not a duration: write 90, 0.5, 500ms or 1min");
    seconds.map_or_else(|| humantime::parse_duration(text).map_err(refusal), Ok)
}

/// A moment, from nanoseconds since 1970: `2025-03-01T12:30:00Z`.
pub(crate) fn show(nanoseconds: u64) -> String {
    // Clocks of 64 bits end in 2554, and calendars later.
    humantime::format_rfc3339_seconds(UNIX_EPOCH + Duration::from_nanos(nanoseconds)).to_string()
}

#[expect(clippy::disallowed_methods, reason = "the command runs in real time")]
pub(crate) fn now() -> Instant {
    Instant::now()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_with_and_without_units() {
        for (text, milliseconds) in
            [("2", 2000), ("0.25", 250), ("500ms", 500), ("1min 1s", 61_000), ("0", 0)]
        {
            assert_eq!(parse(text), Ok(Duration::from_millis(milliseconds)), "{text}");
        }
        for text in ["", "-1", "x", "1 parsec", "NaN", "inf", "1e300"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn moments_are_dates() {
        assert_eq!(show(0), "1970-01-01T00:00:00Z");
        assert_eq!(show(1_740_832_200_000_000_000), "2025-03-01T12:30:00Z");
        assert_eq!(show(u64::MAX), "2554-07-21T23:34:33Z");
    }
}
