//! The rules for an event's envelope: its name, size, `uuid`, `distinct_id` and `timestamp`.

use http::StatusCode;
use serde_json::{Map, Value};

use super::json::{Object, shown};
use super::limits::{AI_EVENT_LIMIT, BATCH_EVENT_LIMIT};
use super::properties;
use super::refusal::Refusal;

/// All members that an event may have. Any other is a mistake, or changes the event (`offset` shifts its timestamp).
const MEMBERS: [&str; 5] = ["event", "distinct_id", "uuid", "timestamp", "properties"];

/// All members that an event may have on the newest route.
const MEMBERS_WITH_OPTIONS: [&str; 6] = ["event", "distinct_id", "uuid", "timestamp", "properties", "options"];

/// The route that a batch was posted to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Route {
    /// For AI events, with a result for each.
    Events,
    /// For AI events.
    Ai,
    /// For events of any kind.
    Batch,
}

/// Values that mean "nobody", in upper or lower case: the newest route refuses events that use one of them.
const NOBODY: [&str; 20] = [
    "0",
    "00000000-0000-0000-0000-000000000000",
    "[object object]",
    "anonymous",
    "anonymous-user",
    "backend",
    "distinct_id",
    "distinctid",
    "email",
    "false",
    "guest",
    "id",
    "nan",
    "none",
    "not_authenticated",
    "null",
    "system",
    "true",
    "undefined",
    "user",
];

/// Maximum characters of a `distinct_id`; `PostHog` cuts off the rest.
const DISTINCT_ID_LIMIT: usize = 200;

/// Checks one event's text from the batch. A refusal's reason begins with the event's name and UUID.
pub(super) fn check(route: Route, text: &str) -> Result<Value, Refusal> {
    let limit = if route == Route::Batch { BATCH_EVENT_LIMIT } else { AI_EVENT_LIMIT };
    let Ok(Value::Object(mut event)) = serde_json::from_str(text) else {
        let problem = match Object::parse(text) {
            Err(problem) => problem,
            Ok(_) => "is not valid JSON: a string, a number or its depth".to_owned(),
        };
        return Err(Refusal::new(StatusCode::BAD_REQUEST, format!(" {problem}")));
    };
    let refuse = |status, problem: String| {
        let name = member_text(&event, "event");
        let uuid = member_text(&event, "uuid");
        Refusal::new(status, format!(" ({name}, {uuid}) {problem}"))
    };
    if text.len() > limit {
        let problem = format!("is {} bytes, more than {limit}", text.len());
        return Err(refuse(StatusCode::PAYLOAD_TOO_LARGE, problem));
    }
    check_members(route, text, &event).map_err(|problem| {
        let tag = if problem.contains("`distinct_id`") { "malformed_distinct_id" } else { "invalid_batch" };
        refuse(StatusCode::BAD_REQUEST, problem).tagged(tag)
    })?;
    // Options tell the server how to keep the event, and are not part of it.
    event.remove("options");
    Ok(Value::Object(event))
}

fn member_text(event: &Map<String, Value>, name: &str) -> String {
    match event.get(name).and_then(Value::as_str) {
        Some(text) => shown(text),
        None => format!("no {name}"),
    }
}

fn check_members(route: Route, text: &str, event: &Map<String, Value>) -> Result<(), String> {
    let members = Object::parse(text)?;
    let known = if route == Route::Events { &MEMBERS_WITH_OPTIONS[..] } else { &MEMBERS };
    if let Some(name) = members.other_than(known) {
        return Err(format!("has the unknown member `{}`", shown(name)));
    }
    let string = |name: &str| match event.get(name) {
        Some(Value::String(text)) => Ok(text.as_str()),
        Some(_) => Err(format!("has a `{name}` that is not a string")),
        None => Err(format!("has no `{name}`")),
    };

    let name = string("event")?;
    let is_ai = name.strip_prefix("$ai_").is_some_and(|rest| !rest.is_empty());
    if route != Route::Batch && !is_ai {
        return Err("is not an AI event: its name does not begin with `$ai_`".to_owned());
    }
    if name.trim().is_empty() {
        return Err("has an empty name".to_owned());
    }
    if !is_uuid(string("uuid")?) {
        return Err("has a `uuid` that is not a UUID".to_owned());
    }
    check_distinct_id(string("distinct_id")?)?;
    if !is_utc_timestamp(string("timestamp")?) {
        return Err("has a `timestamp` that is not RFC 3339 in UTC".to_owned());
    }

    let Some(Value::Object(found)) = event.get("properties") else {
        return Err("has no `properties` object".to_owned());
    };
    if let Some(raw) = members.get("properties") {
        Object::parse(raw.get()).map_err(|problem| format!("has `properties`, which {problem}"))?;
    }
    if route == Route::Events {
        check_options(event.get("options"), found)?;
    }
    properties::check(name, found)
}

/// Accepts only options that `PostHog` knows, of the right type. Requires those that preserve the timestamp and the
/// person profile.
fn check_options(options: Option<&Value>, properties: &Map<String, Value>) -> Result<(), String> {
    let Some(Value::Object(options)) = options else {
        return Err("has no `options` object".to_owned());
    };
    if let Some((name, _)) = options.iter().find(|(name, value)| {
        !matches!(name.as_str(), "disable_skew_correction" | "process_person_profile") || !value.is_boolean()
    }) {
        return Err(format!("has the option `{}`, which is unknown or not a boolean", shown(name)));
    }
    if options.get("disable_skew_correction") != Some(&Value::Bool(true)) {
        return Err("lacks `disable_skew_correction`: a retry would change its timestamp".to_owned());
    }
    if options.get("process_person_profile") != properties.get("$process_person_profile") {
        return Err("disagrees about its person between `options` and `properties`".to_owned());
    }
    Ok(())
}

fn check_distinct_id(id: &str) -> Result<(), String> {
    let length = id.chars().count();
    if id.trim().is_empty() {
        Err("has an empty `distinct_id`".to_owned())
    } else if length > DISTINCT_ID_LIMIT {
        Err(format!("has a `distinct_id` of {length} characters, more than {DISTINCT_ID_LIMIT}"))
    } else if NOBODY.contains(&id.trim().to_lowercase().as_str()) {
        Err(format!("has the `distinct_id` `{}`, which identifies nobody", shown(id)))
    } else {
        Ok(())
    }
}

/// 8-4-4-4-12 hexadecimal digits, the only form that every parser of a `uuid` accepts.
pub(super) fn is_uuid(text: &str) -> bool {
    text.len() == 36
        && text.bytes().enumerate().all(|(index, byte)| match index {
            8 | 13 | 18 | 23 => byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        })
}

/// `2026-01-31T23:59:59.999Z`, with 1 to 9 digits after the point, or no point; `+00:00` is accepted for `Z`.
pub(super) fn is_utc_timestamp(text: &str) -> bool {
    let Some(local) = text.strip_suffix('Z').or_else(|| text.strip_suffix("+00:00")) else {
        return false;
    };
    let Some((seconds, fraction)) = local.split_at_checked(19) else {
        return false;
    };
    let shape = seconds
        .bytes()
        .zip(*b"0000-00-00T00:00:00")
        .all(|(byte, wanted)| byte == wanted || (wanted == b'0' && byte.is_ascii_digit()));
    let number = |range: std::ops::Range<usize>| {
        seconds.get(range).and_then(|digits| digits.parse::<u32>().ok()).unwrap_or(u32::MAX)
    };
    let year = number(0..4);
    let leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let days = match number(5..7) {
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        4 | 6 | 9 | 11 => 30,
        2 if leap => 29,
        2 => 28,
        _ => 0,
    };
    let fraction_is_good = fraction.is_empty()
        || fraction
            .strip_prefix('.')
            .is_some_and(|digits| (1..=9).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit()));
    shape
        && fraction_is_good
        && (1..=days).contains(&number(8..10))
        && number(11..13) < 24
        && number(14..16) < 60
        && number(17..19) < 60
}
