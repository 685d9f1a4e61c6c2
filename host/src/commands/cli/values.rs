//! Values of arguments, read from text.

use crate::claude_code::client::Process;
use crate::outbox::now;
use posthog_llma_pipeline::time;
use std::time::Duration;

/// A day, a time, or a time ago, in milliseconds since 1970.
pub(super) fn point_in_time(text: &str) -> Result<i64, String> {
    let ago = [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000)].into_iter().find_map(|(unit, milliseconds)| {
        let number: i64 = text.strip_suffix(unit)?.parse().ok().filter(|number| *number >= 0)?;
        Some(now().saturating_sub(number.saturating_mul(milliseconds)))
    });
    ago.or_else(|| time::parse(text))
        .or_else(|| time::parse(&format!("{text}T00:00:00Z")))
        .ok_or_else(|| "is not a time; write 2026-11-01, 2026-11-01T09:30:00Z, 7d, 12h or 30m".to_owned())
}

pub(super) fn process(text: &str) -> Result<Process, String> {
    let (process, started) = text.split_once(':').ok_or("is not a process")?;
    let number = |error: std::num::ParseIntError| error.to_string();
    Ok((process.parse().map_err(number)?, started.parse().map_err(number)?))
}

pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let units = [("d", 86_400), ("h", 3600), ("m", 60), ("s", 1)];
    let found = units.into_iter().find_map(|(unit, seconds)| {
        let number: u32 = text.strip_suffix(unit)?.parse().ok().filter(|number| *number > 0)?;
        Some(Duration::from_secs(u64::from(number) * seconds))
    });
    found.ok_or_else(|| "is not a length of time; write 30m, 2h or 7d".to_owned())
}

pub(super) fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| "is not a number of seconds".to_owned())?;
    if !(0.01..=86_400.0).contains(&seconds) {
        return Err("must be between 0.01 and 86400 seconds".to_owned());
    }
    Ok(Duration::from_secs_f64(seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_days_times_or_times_ago() {
        assert_eq!(point_in_time("2026-11-01"), point_in_time("2026-11-01T00:00:00Z"));
        assert_eq!(point_in_time("2026-11-01T01:00:00+01:00"), point_in_time("2026-11-01"));
        for (ago, milliseconds) in [("7d", 604_800_000), ("12h", 43_200_000), ("30m", 1_800_000), ("0d", 0)] {
            let difference = now() - milliseconds - point_in_time(ago).unwrap();
            assert!((0..1000).contains(&difference), "{ago}: {difference}");
        }
        for bad in ["", "d", "-1d", "yesterday", "2026-13-01", "7w", "99999999999999999999d"] {
            assert!(point_in_time(bad).is_err(), "{bad}");
        }
        assert!(point_in_time("9000000000000000000d").is_ok(), "long ago, and no overflow");
    }

    #[test]
    fn seconds_are_bounded() {
        assert_eq!(seconds("0.5"), Ok(Duration::from_millis(500)));
        for bad in ["", "x", "-1", "0", "NaN", "inf", "1e99"] {
            assert!(seconds(bad).is_err(), "{bad}");
        }
    }
}
