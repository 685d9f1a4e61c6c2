//! The headers that the newest route requires.

use http::{HeaderMap, StatusCode};

use super::envelope;
use super::key::check_key;
use super::refusal::Refusal;

/// Maximum bytes of `PostHog-Sdk-Info`.
const SENDER_LIMIT: usize = 200;

/// All required headers besides `Authorization`.
const REQUIRED: [&str; 6] = [
    "posthog-sdk-info",
    "posthog-attempt",
    "posthog-request-id",
    "posthog-request-timestamp",
    "content-type",
    "user-agent",
];

/// Checks the headers of a request to the newest route.
pub(super) fn check(headers: &HeaderMap) -> Result<(), Refusal> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let unauthorized = |problem: &str| Refusal::new(StatusCode::UNAUTHORIZED, problem);
    let Some(_) = headers.get("authorization") else {
        return Err(unauthorized("the header authorization is missing"));
    };
    let missing: Vec<_> = REQUIRED.into_iter().filter(|name| headers.get(*name).is_none()).collect();
    if !missing.is_empty() {
        let reason = format!("required headers are missing: {}", missing.join(", "));
        return Err(Refusal::bad_request(reason).tagged("missing_required_headers"));
    }
    let invalid = |reason: &str| Err(Refusal::bad_request(reason).tagged("invalid_header_value"));
    let Some((scheme, key)) = text("authorization").split_once(' ') else {
        return invalid("the header authorization is not `Bearer KEY`");
    };
    if !scheme.eq_ignore_ascii_case("bearer") {
        return invalid("the header authorization is not `Bearer KEY`");
    }
    check_key(Some(key)).map_err(unauthorized)?;
    if text("content-type") != "application/json" {
        let status = StatusCode::UNSUPPORTED_MEDIA_TYPE;
        return Err(Refusal::new(status, "the content type is not application/json").tagged("unsupported_content_type"));
    }
    if !envelope::is_uuid(text("posthog-request-id")) {
        return invalid("posthog-request-id is not a UUID");
    }
    if !text("posthog-attempt").parse::<u32>().is_ok_and(|attempt| attempt > 0) {
        return invalid("posthog-attempt is not a number, 1 or more");
    }
    if !envelope::is_utc_timestamp(text("posthog-request-timestamp")) {
        return invalid("posthog-request-timestamp is not RFC 3339 in UTC");
    }
    let sender = text("posthog-sdk-info");
    if sender.len() > SENDER_LIMIT
        || !sender.rsplit_once('/').is_some_and(|(name, version)| {
            !name.is_empty() && version.split('.').count() == 3 && version.starts_with(|c: char| c.is_ascii_digit())
        })
    {
        return invalid("posthog-sdk-info is not NAME/VERSION");
    }
    Ok(())
}
