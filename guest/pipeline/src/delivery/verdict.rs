//! What an answer means: one table for the status, and one for each event's result.

use crate::delivery::batch::Batch;
use crate::delivery::lane::Lane;
use crate::delivery::transport::Answer;
use crate::identity::{FixedMap, FixedSet};
use crate::transcript::text;
use serde::Deserialize;

/// Maximum characters kept of a server's words.
const WORDS: usize = 500;

/// Maximum characters kept of one event's result or its details.
const DETAIL: usize = 100;

/// Maximum number of `quota_limited` names kept.
const QUOTAS: usize = 20;

/// The result of an event that the server did not name.
const NO_RESULT: &str = "the answer has no result for it";

/// What happens to a batch.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Each event, in the order of the batch.
    Each(Vec<Fate>),
    /// Delivered as a whole, with what the quota does not cover.
    Accepted(Vec<String>),
    /// A 200 that is not from PostHog.
    NotPostHog,
    /// Try the same bytes again.
    Later,
    /// The project has reached its plan's limit.
    BillingLimit,
    /// Some event in it is too large.
    TooLarge,
    /// Some event in it is bad.
    Bad,
    /// This server does not have the lane.
    NoSuchLane,
    /// Do not try again.
    Refused,
}

/// What happens to one event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Fate {
    /// Delivered, perhaps with a warning.
    Accepted(Option<String>),
    /// Not kept: send it again, alone.
    Again(String),
    /// Over the project's byte budget: send it again, later and more slowly.
    Slower(String),
    /// Too large: shorten it, once.
    TooBig(String),
    /// The plan does not cover it: stop.
    Unpaid(String),
    /// Dropped permanently, and why.
    Dropped(String),
}

/// The newest lane's answer to a batch that it could read.
#[derive(Deserialize)]
struct Results {
    results: FixedMap<String, EventResult>,
}

#[derive(Deserialize)]
struct EventResult {
    result: String,
    #[serde(default)]
    details: Option<serde_json::Value>,
}

/// The newest lane's answer to a batch that it could not read.
#[derive(Deserialize)]
struct Failure {
    error: String,
    #[serde(default)]
    error_description: String,
}

pub(super) fn judge(answer: &Answer, lane: Lane, batch: &Batch) -> Verdict {
    match (answer.status, lane) {
        (200, Lane::Events) => match serde_json::from_slice::<Results>(&answer.body) {
            Ok(said) => Verdict::Each(fates(&said, batch)),
            Err(_) => Verdict::NoSuchLane,
        },
        (200, _) => match serde_json::from_slice::<serde_json::Map<String, serde_json::Value>>(&answer.body) {
            Ok(said) => Verdict::Accepted(quota_limited(&said)),
            Err(_) => Verdict::NotPostHog,
        },
        (status, Lane::Events) => match failure(&answer.body).as_deref() {
            Some("billing_limit_exceeded") => Verdict::BillingLimit,
            // This concerns the whole request or every event in it: halving the batch would discard good events.
            Some(
                "missing_required_headers"
                | "invalid_header_value"
                | "request_decoding_error"
                | "empty_body"
                | "empty_batch"
                | "malformed_distinct_id"
                | "distinct_id_too_large"
                | "missing_distinct_id",
            ) if status == 400 => Verdict::Refused,
            _ => of_status(status),
        },
        (status, _) => of_status(status),
    }
}

fn of_status(status: u16) -> Verdict {
    match status {
        400 => Verdict::Bad,
        404 | 405 => Verdict::NoSuchLane,
        413 => Verdict::TooLarge,
        408 | 429 | 500 | 502..=504 => Verdict::Later,
        _ => Verdict::Refused,
    }
}

fn failure(body: &[u8]) -> Option<String> {
    serde_json::from_slice::<Failure>(body).ok().map(|failure| failure.error)
}

fn fates(said: &Results, batch: &Batch) -> Vec<Fate> {
    let fate = |id: String| said.results.get(&id).map_or_else(|| Fate::Again(NO_RESULT.to_owned()), fate);
    batch.events.iter().map(|event| fate(event.id.to_string())).collect()
}

fn fate(result: &EventResult) -> Fate {
    let details = result.details.as_ref().map(|details| match details {
        serde_json::Value::String(text) => text.clone(),
        other => other.to_string(),
    });
    let word = |otherwise: &str| short(details.as_deref().filter(|text| !text.is_empty()).unwrap_or(otherwise));
    match (result.result.as_str(), details.as_deref()) {
        ("ok", _) => Fate::Accepted(None),
        ("warning", _) => Fate::Accepted(Some(word("warning"))),
        ("retry", _) => Fate::Again(word("retry")),
        ("drop", Some("ai_byte_rate_limited")) => Fate::Slower(word("drop")),
        ("drop", Some("ai_event_too_big" | "event_too_big")) => Fate::TooBig(word("drop")),
        ("drop", Some("billing_limit_exceeded")) => Fate::Unpaid(word("drop")),
        // An unknown result is as final as a drop: sending the event again could count it twice.
        (other, _) => Fate::Dropped(word(other)),
    }
}

fn quota_limited(said: &serde_json::Map<String, serde_json::Value>) -> Vec<String> {
    let limited = said.get("quota_limited").and_then(|q| q.as_array()).into_iter().flatten();
    limited.filter_map(|q| q.as_str()).map(short).take(QUOTAS).collect()
}

fn short(word: &str) -> String {
    let visible: String = word.chars().filter(|c| !c.is_control()).collect();
    text::prefix(&visible, DETAIL).to_owned()
}

/// The beginning of what a server said, on one line: the newest lane's own description, otherwise its whole answer.
pub(super) fn words(body: &[u8]) -> String {
    let failure = serde_json::from_slice::<Failure>(body).ok();
    let said = failure.map(|said| if said.error_description.is_empty() { said.error } else { said.error_description });
    let body = said.as_deref().map_or(body, str::as_bytes);
    let text = String::from_utf8_lossy(&body[..body.len().min(4 * WORDS)]);
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let text: String = text.chars().filter(|c| !c.is_control()).take(WORDS).collect();
    if text.is_empty() { "(an empty body)".to_owned() } else { text }
}

/// The distinct messages, on one line.
pub(super) fn listed<'a>(words: impl Iterator<Item = &'a String>) -> String {
    let mut seen = FixedSet::default();
    let different: Vec<_> = words.filter(|word| seen.insert(word.as_str())).map(String::as_str).take(10).collect();
    different.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(result: &str, details: Option<&str>) -> Fate {
        fate(&EventResult { result: result.to_owned(), details: details.map(Into::into) })
    }

    #[test]
    fn every_result_has_its_fate() {
        assert_eq!(of("ok", None), Fate::Accepted(None));
        let warned = Fate::Accepted(Some("person_processing_disabled".into()));
        assert_eq!(of("warning", Some("person_processing_disabled")), warned);
        assert_eq!(of("retry", Some("not_persisted")), Fate::Again("not_persisted".into()));
        assert_eq!(of("retry", None), Fate::Again("retry".into()));
        assert_eq!(of("drop", Some("ai_byte_rate_limited")), Fate::Slower("ai_byte_rate_limited".into()));
        for big in ["ai_event_too_big", "event_too_big"] {
            assert_eq!(of("drop", Some(big)), Fate::TooBig(big.into()));
        }
        assert_eq!(of("drop", Some("billing_limit_exceeded")), Fate::Unpaid("billing_limit_exceeded".into()));
        for detail in [
            "event_restriction_drop",
            "misrouted_event",
            "invalid_options",
            "rejected",
            "serialization_failed",
            "a word of next year",
        ] {
            assert_eq!(of("drop", Some(detail)), Fate::Dropped(detail.into()));
        }
        assert_eq!(of("drop", None), Fate::Dropped("drop".into()));
    }

    #[test]
    fn a_result_that_nobody_knows_is_final_with_its_word() {
        assert_eq!(of("limited", None), Fate::Dropped("limited".into()));
        assert_eq!(of("limited", Some("too many")), Fate::Dropped("too many".into()));
        assert_eq!(of("", None), Fate::Dropped(String::new()));
        let long = of(&"x\u{1b}".repeat(1000), None);
        assert_eq!(long, Fate::Dropped("x".repeat(DETAIL)));
    }

    #[test]
    fn the_words_of_a_refusal_are_its_description() {
        assert_eq!(words(br#"{"error":"invalid_batch","error_description":"I do not like it"}"#), "I do not like it");
        assert_eq!(words(br#"{"error":"rate_limited"}"#), "rate_limited");
        assert_eq!(words(b"no\r\nway"), "no way");
        assert_eq!(words(b""), "(an empty body)");
    }

    #[test]
    fn details_of_any_kind_are_words() {
        let odd = EventResult { result: "drop".into(), details: Some(serde_json::json!({"why": 1})) };
        assert_eq!(fate(&odd), Fate::Dropped(r#"{"why":1}"#.into()));
    }

    #[test]
    fn an_error_of_the_whole_request_is_not_looked_for_in_its_events() {
        let batch = Batch::default();
        let said = |status, tag: &str| {
            let body = format!(r#"{{"error":"{tag}","error_description":"no"}}"#).into_bytes();
            judge(&Answer { status, body, retry_after: None }, Lane::Events, &batch)
        };
        for tag in ["missing_required_headers", "invalid_header_value", "malformed_distinct_id", "empty_batch"] {
            assert_eq!(said(400, tag), Verdict::Refused, "{tag}");
        }
        for tag in ["duplicate_event_uuid", "invalid_event_timestamp", "malformed_event_properties", "next_year"] {
            assert_eq!(said(400, tag), Verdict::Bad, "{tag}");
        }
        assert_eq!(said(401, "invalid_api_token"), Verdict::Refused);
        assert_eq!(said(413, "payload_too_large"), Verdict::TooLarge);
        assert_eq!(said(415, "unsupported_encoding"), Verdict::Refused);
        assert_eq!(said(429, "rate_limited"), Verdict::Later);
        assert_eq!(said(429, "billing_limit_exceeded"), Verdict::BillingLimit);
        assert_eq!(said(402, "billing_limit_exceeded"), Verdict::BillingLimit);
        for status in [408, 500, 502, 503, 504] {
            assert_eq!(said(status, "whatever"), Verdict::Later, "{status}");
        }
        for status in [404, 405] {
            assert_eq!(said(status, "whatever"), Verdict::NoSuchLane, "{status}");
        }
    }

    #[test]
    fn a_200_without_results_is_no_events_lane() {
        let batch = Batch::default();
        for body in ["", "{}", "[]", r#"{"status":"Ok"}"#, "<html>", r#"{"results":[]}"#, r#"{"results":{"u":"ok"}}"#] {
            let answer = Answer { status: 200, body: body.into(), retry_after: None };
            assert_eq!(judge(&answer, Lane::Events, &batch), Verdict::NoSuchLane, "{body}");
        }
    }
}
