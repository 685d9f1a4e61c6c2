//! What events cost in PostHog. The only place with its prices.

use crate::delivery::counted::count;
use posthog_llma_pipeline::options::TOOL_SPANS;

/// US dollars for 100,000 AI events in the first paid tier. Later tiers cost less.
const DOLLARS_PER_100_000: f64 = 35.0;

/// Free AI events per month.
pub const FREE_A_MONTH: u64 = 100_000;

/// When the prices were looked up on PostHog's pricing page for AI Observability.
pub const AS_OF: &str = "November 2026";

/// The most that this many events can cost, in US dollars, as if none of them were free.
pub fn dollars(events: u64) -> f64 {
    events as f64 * DOLLARS_PER_100_000 / 100_000.0
}

/// `at most $0.42`
pub fn shown(events: u64) -> String {
    let dollars = dollars(events);
    if events > 0 && dollars < 0.01 { "less than $0.01".to_owned() } else { format!("at most ${dollars:.2}") }
}

/// What the option for tool calls saves or would save, as a line for people, if there is something to say. `spans` are
/// sent, `failed` of them failed, and `left_out` are only counted.
pub fn of_tool_calls(spans: u64, failed: u64, left_out: u64) -> Option<String> {
    if left_out > 0 {
        let saved = shown(left_out);
        return Some(format!("{} only counted ({TOOL_SPANS}), which saves {saved}", count(left_out, "tool call")));
    }
    (spans > 0).then(|| {
        let fine = spans.saturating_sub(failed);
        format!(
            "{} for tool calls: {TOOL_SPANS}=errors would save {}, none {}",
            count(spans, "event"),
            shown(fine),
            shown(spans)
        )
    })
}

/// The basis of the figures, as a sentence.
pub fn basis() -> String {
    format!(
        "PostHog's first paid tier, {AS_OF}: ${DOLLARS_PER_100_000} per 100,000 AI events; the first {},000 a month are free",
        FREE_A_MONTH / 1000
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_estimate_is_an_upper_bound_in_dollars() {
        assert_eq!(shown(0), "at most $0.00");
        assert_eq!(shown(1), "less than $0.01");
        assert_eq!(shown(100_000), "at most $35.00");
        assert_eq!(shown(1_234), "at most $0.43");
        assert_eq!(of_tool_calls(0, 0, 0), None);
        assert!(
            of_tool_calls(10, 2, 0)
                .unwrap()
                .ends_with("TOOL_SPANS=errors would save less than $0.01, none less than $0.01")
        );
        assert!(
            of_tool_calls(2, 2, 100_000).unwrap().ends_with("(POSTHOG_LLMA_TOOL_SPANS), which saves at most $35.00")
        );
        assert!(
            basis().contains("$35 per 100,000")
                && basis().contains("first 100,000 a month")
                && basis().contains("2026")
        );
    }
}
