//! Points in time, in milliseconds since 1970 in UTC.

use jiff::Timestamp;

/// Reads an RFC 3339 timestamp. Nothing before 1970 is a time of a session, and years before 0 cannot be sent.
pub fn parse(text: &str) -> Option<i64> {
    text.parse::<Timestamp>().ok().map(Timestamp::as_millisecond).filter(|at| *at >= 0)
}

/// Writes RFC 3339 in UTC with milliseconds: `2026-11-23T08:25:35.042Z`.
pub fn format(milliseconds: i64) -> String {
    let timestamp = Timestamp::from_millisecond(milliseconds).unwrap_or(Timestamp::UNIX_EPOCH);
    format!("{timestamp:.3}")
}

/// Seconds from `start` to `end`, never negative: timestamps in a transcript sometimes go backwards.
pub fn seconds(start: i64, end: i64) -> f64 {
    end.saturating_sub(start).max(0) as f64 / 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timestamps_keep_their_milliseconds() {
        let text = "2026-11-23T08:25:35.042Z";
        assert_eq!(format(parse(text).unwrap()), text);
        assert_eq!(format(parse("2026-11-23T08:25:35Z").unwrap()), "2026-11-23T08:25:35.000Z");
        assert_eq!(format(parse("2026-11-23T09:25:35.5+01:00").unwrap()), "2026-11-23T08:25:35.500Z");
    }

    #[test]
    fn rubbish_is_no_time() {
        for text in [
            "",
            "yesterday",
            "2026-13-01T00:00:00Z",
            "99999999999999-01-01T00:00:00Z",
            "2026-11-23",
            "-000001-01-01T00:00:00Z",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    #[test]
    fn a_duration_is_never_negative() {
        assert_eq!(format!("{} {}", seconds(5000, 1000), seconds(1000, 2500)), "0 1.5");
    }
}
