//! One test per rule for a request, a batch and an event's envelope.

use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;
use http::{HeaderMap, HeaderValue, Method};
use serde_json::{Value, json};

use super::rules::{AI_EVENT_LIMIT, AI_PATH, BATCH_EVENT_LIMIT, BATCH_PATH, BODY_LIMIT, Verdict, check};

pub(super) const UUID: &str = "0198c1de-0000-5000-8000-000000000001";

pub(super) fn span() -> Value {
    json!({
        "event": "$ai_span",
        "uuid": UUID,
        "distinct_id": "claude-code:s1",
        "timestamp": "2026-02-28T23:59:59.999Z",
        "properties": {"$ai_trace_id": "s1", "$ai_span_id": "toolu_1", "$ai_span_name": "Bash"},
    })
}

fn batch(events: &[Value]) -> Value {
    json!({"api_key": "phc_test", "batch": events})
}

fn post(path: &str, headers: &HeaderMap, body: &[u8]) -> Verdict {
    check(&Method::POST, path, headers, body)
}

/// Posts to the AI path without compression.
pub(super) fn post_events(events: &[Value]) -> Verdict {
    post_body(&batch(events))
}

fn post_body(body: &Value) -> Verdict {
    post(AI_PATH, &HeaderMap::new(), body.to_string().as_bytes())
}

#[track_caller]
fn refused(verdict: Verdict, status: u16, words: &str) {
    let refusal = verdict.unwrap_err();
    assert_eq!(refusal.status.as_u16(), status, "{}", refusal.reason);
    assert!(refusal.reason.contains(words), "{}", refusal.reason);
}

/// Checks that the valid span with one member replaced, or removed if there is no value, is refused with these words.
#[track_caller]
fn refused_with(member: &str, value: Option<Value>, words: &str) {
    let mut event = span();
    match value {
        Some(value) => event[member] = value,
        None => drop(event.as_object_mut().unwrap().remove(member)),
    }
    refused(post_events(&[event]), 400, words);
}

fn gzip(text: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(text).unwrap();
    encoder.finish().unwrap()
}

fn encoding(value: &'static str) -> HeaderMap {
    HeaderMap::from_iter([(http::header::CONTENT_ENCODING, HeaderValue::from_static(value))])
}

/// A valid span of exactly this many bytes.
fn span_of(bytes: usize) -> Value {
    let mut event = span();
    event["properties"]["$ai_output_state"] = json!("");
    let rest = bytes - event.to_string().len();
    event["properties"]["$ai_output_state"] = json!("x".repeat(rest));
    assert_eq!(event.to_string().len(), bytes);
    event
}

fn with_uuid(last: u8) -> Value {
    let mut event = span();
    event["uuid"] = json!(format!("0198c1de-0000-5000-8000-0000000000{last:02}"));
    event
}

#[test]
fn a_good_batch_is_accepted_whole_and_in_order() {
    let events = [with_uuid(1), with_uuid(2)];
    let accepted = post_events(&events).unwrap();
    assert_eq!(accepted.events, events);
    assert_eq!(accepted.raw_bytes, batch(&events).to_string().len() as u64);
}

#[test]
fn one_bad_event_refuses_the_whole_batch_and_is_named() {
    let mut bad = with_uuid(2);
    bad["distinct_id"] = json!("");
    let verdict = post_events(&[with_uuid(1), bad, with_uuid(3)]);
    refused(verdict, 400, "event 2 of 3 ($ai_span, 0198c1de-0000-5000-8000-000000000002) has an empty `distinct_id`");
}

#[test]
fn any_other_path_is_not_found() {
    let body = batch(&[span()]).to_string();
    for path in ["/", "/batch", "/i/v0/ai/batch", "/capture/", "/i/v0/ai/batch/x", "//batch/"] {
        refused(post(path, &HeaderMap::new(), body.as_bytes()), 404, "nothing here");
    }
}

#[test]
fn any_other_method_is_not_allowed() {
    for method in [Method::GET, Method::PUT, Method::HEAD, Method::OPTIONS] {
        for path in [AI_PATH, BATCH_PATH] {
            refused(check(&method, path, &HeaderMap::new(), b""), 405, "POST");
        }
    }
}

#[test]
fn gzip_is_known_by_its_header_by_the_query_and_by_its_first_bytes() {
    let body = batch(&[span()]).to_string();
    let compressed = gzip(body.as_bytes());
    for (path, headers) in [
        (AI_PATH, encoding("gzip")),
        (AI_PATH, encoding("GZIP")),
        ("/i/v0/ai/batch/?compression=gzip", HeaderMap::new()),
        (AI_PATH, HeaderMap::new()),
    ] {
        let accepted = post(path, &headers, &compressed).unwrap();
        assert_eq!(accepted.raw_bytes, body.len() as u64);
    }
}

#[test]
fn an_uncompressed_body_is_accepted_with_the_encoding_identity() {
    let body = batch(&[span()]).to_string();
    post(AI_PATH, &encoding("identity"), body.as_bytes()).unwrap();
}

#[test]
fn a_body_that_claims_to_be_gzip_and_is_not_is_refused() {
    let body = batch(&[span()]).to_string();
    refused(post(AI_PATH, &encoding("gzip"), body.as_bytes()), 400, "gzip");
}

#[test]
fn gzip_that_ends_early_is_refused() {
    let mut body = gzip(batch(&[span()]).to_string().as_bytes());
    body.pop();
    refused(post(AI_PATH, &encoding("gzip"), &body), 400, "gzip");
}

#[test]
fn bytes_behind_the_gzip_data_are_refused() {
    let mut body = gzip(batch(&[span()]).to_string().as_bytes());
    body.push(0);
    refused(post(AI_PATH, &encoding("gzip"), &body), 400, "behind the end");
}

#[test]
fn other_encodings_are_refused() {
    let body = batch(&[span()]).to_string();
    for name in ["br", "zstd", "deflate", "gzip, gzip"] {
        refused(post(AI_PATH, &encoding(name), body.as_bytes()), 415, name);
    }
    refused(post("/batch/?compression=lz64", &HeaderMap::new(), body.as_bytes()), 400, "lz64");
}

#[test]
fn a_body_over_20_mib_is_refused() {
    let body = vec![b' '; BODY_LIMIT + 1];
    refused(post(AI_PATH, &HeaderMap::new(), &body), 413, "the body is over");
}

#[test]
fn a_body_of_just_20_mib_is_accepted() {
    let mut body = batch(&[span()]).to_string().into_bytes();
    body.resize(BODY_LIMIT, b' ');
    post(AI_PATH, &HeaderMap::new(), &body).unwrap();
    post(AI_PATH, &encoding("gzip"), &gzip(&body)).unwrap();
}

#[test]
fn a_body_over_20_mib_after_decompression_is_refused() {
    let mut body = batch(&[span()]).to_string().into_bytes();
    body.resize(BODY_LIMIT + 1, b' ');
    refused(post(AI_PATH, &encoding("gzip"), &gzip(&body)), 413, "after decompression");
}

#[test]
fn decompression_of_a_bomb_stops_at_the_limit() {
    let bomb = gzip(&vec![b' '; 3 * BODY_LIMIT]);
    assert!(bomb.len() < BODY_LIMIT);
    refused(post(AI_PATH, &encoding("gzip"), &bomb), 413, "after decompression");
}

#[test]
fn an_event_over_8_mib_is_refused_on_the_ai_path() {
    refused(post_events(&[span_of(AI_EVENT_LIMIT + 1)]), 413, "is 8388609 bytes, more than 8388608");
    post_events(&[span_of(AI_EVENT_LIMIT)]).unwrap();
}

#[test]
fn an_event_over_900_kib_is_refused_on_the_batch_path() {
    let send = |bytes| {
        let body = batch(&[span_of(bytes)]).to_string();
        post(BATCH_PATH, &HeaderMap::new(), body.as_bytes())
    };
    refused(send(BATCH_EVENT_LIMIT + 1), 413, "more than 921600");
    send(BATCH_EVENT_LIMIT).unwrap();
}

#[test]
fn a_body_that_is_no_json_is_refused() {
    for body in [&b""[..], b"{", b"[]", b"null", b"\"{}\"", b"{}x", b"\xff\xfe", b"\x1f\x8b"] {
        refused(post(AI_PATH, &HeaderMap::new(), body), 400, "the body");
    }
}

#[test]
fn no_refusal_quotes_the_body_around_an_event() {
    for body in [
        json!("phc_secret"),
        json!({"api_key": {"phc_secret": "phc_secret"}, "batch": []}),
        json!({"api_key": "phx_secret", "batch": []}),
        json!({"api_key": "phc_secret", "batch": "phc_secret"}),
        json!({"api_key": "phc_secret ", "batch": ["phc_secret"]}),
        json!({"api_key": "phc_secret", "batch": ["phc_secret"]}),
    ] {
        let refusal = post_body(&body).unwrap_err();
        assert!(!refusal.reason.contains("secret"), "{}", refusal.reason);
    }
}

#[test]
fn sent_at_is_refused_with_the_reason() {
    let mut body = batch(&[span()]);
    body["sent_at"] = json!("2026-01-01T00:00:00Z");
    refused(post_body(&body), 400, "`sent_at` is set: the server shifts every timestamp");
    body["sent_at"] = Value::Null;
    refused(post_body(&body), 400, "`sent_at` is set");
}

#[test]
fn an_unknown_member_beside_the_batch_is_refused() {
    let mut body = batch(&[span()]);
    body["historical"] = json!(true);
    refused(post_body(&body), 400, "`historical`");
}

#[test]
fn a_member_that_stands_twice_is_refused_at_every_level() {
    let good = batch(&[span()]).to_string();
    for (once, twice) in [
        ("\"api_key\":", "\"api_key\":\"phc_a\",\"api_key\":"),
        ("\"uuid\":", "\"uuid\":1,\"uuid\":"),
        ("\"$ai_span_id\":", "\"$ai_span_id\":\"a\",\"$ai_span_id\":"),
    ] {
        let body = good.replace(once, twice);
        assert_ne!(body, good);
        refused(post(AI_PATH, &HeaderMap::new(), body.as_bytes()), 400, "two members named");
    }
}

#[test]
fn an_empty_batch_is_refused() {
    refused(post_events(&[]), 400, "`batch` is empty");
}

#[test]
fn a_batch_that_is_missing_or_no_array_is_refused() {
    refused(post_body(&json!({"api_key": "phc_test"})), 400, "`batch` is missing");
    refused(post_body(&json!({"api_key": "phc_test", "batch": {}})), 400, "`batch` is not an array");
}

#[track_caller]
fn refused_key(key: Value, words: &str) {
    let mut body = batch(&[span()]);
    body["api_key"] = key;
    refused(post_body(&body), 401, words);
}

#[test]
fn a_missing_key_is_unauthorized() {
    refused(post_body(&json!({"batch": [span()]})), 401, "`api_key` is missing");
    refused_key(Value::Null, "missing");
    refused_key(json!(5), "missing or not a string");
}

#[test]
fn an_empty_key_is_unauthorized() {
    refused_key(json!(""), "empty");
    refused_key(json!(" \n"), "empty");
}

#[test]
fn a_key_with_white_space_around_it_is_unauthorized() {
    refused_key(json!(" phc_test"), "white space");
    refused_key(json!("phc_test\n"), "white space");
}

#[test]
fn a_key_over_64_bytes_is_unauthorized() {
    refused_key(json!("x".repeat(65)), "64 bytes");
    let mut body = batch(&[span()]);
    body["api_key"] = json!("x".repeat(64));
    post_body(&body).unwrap();
}

#[test]
fn a_key_that_is_not_ascii_is_unauthorized() {
    refused_key(json!("phc_tëst"), "ASCII");
}

#[test]
fn a_personal_key_is_unauthorized() {
    refused_key(json!("phx_test"), "personal");
}

#[test]
fn an_unknown_key_is_accepted_as_the_real_server_does() {
    let mut body = batch(&[span()]);
    body["api_key"] = json!("no-such-project");
    post_body(&body).unwrap();
}

#[test]
fn an_event_that_is_no_object_is_refused() {
    for event in [json!(null), json!([]), json!("$ai_span"), json!(1)] {
        refused(post_events(&[event]), 400, "event 1 of 1 is not an object");
    }
}

#[test]
fn an_event_with_half_a_surrogate_or_nested_too_deep_is_refused() {
    let good = batch(&[span()]).to_string();
    let deep = format!("{}{}", "[".repeat(200), "]".repeat(200));
    for bad in ["\"\\ud800\"", "1e999", &deep] {
        let body = good.replace("\"Bash\"", bad);
        refused(post(AI_PATH, &HeaderMap::new(), body.as_bytes()), 400, "event 1 of 1");
    }
}

#[test]
fn an_event_without_a_name_is_refused() {
    refused_with("event", None, "has no `event`");
    refused_with("event", Some(json!(7)), "`event` that is not a string");
    let mut event = span();
    event["event"] = json!(" ");
    let body = batch(&[event]).to_string();
    let verdict = post(BATCH_PATH, &HeaderMap::new(), body.as_bytes());
    refused(verdict, 400, "an empty name");
}

#[test]
fn an_event_that_is_not_ai_is_refused_on_the_ai_path_alone() {
    for name in ["$pageview", "ai_span", "$ai_", ""] {
        refused_with("event", Some(json!(name)), "is not an AI event");
    }
    let mut event = span();
    event["event"] = json!("$pageview");
    let body = batch(&[event]).to_string();
    post(BATCH_PATH, &HeaderMap::new(), body.as_bytes()).unwrap();
}

#[test]
fn an_event_with_an_unknown_member_is_refused() {
    refused_with("offset", Some(json!(100)), "`offset`");
}

#[test]
fn an_invalid_uuid_is_refused() {
    refused_with("uuid", None, "has no `uuid`");
    refused_with("uuid", Some(Value::Null), "`uuid` that is not a string");
    for bad in [
        "",
        "0198c1de00005000800000000000001",
        "0198c1de-0000-5000-8000-00000000000",
        "0198c1de-0000-5000-8000-00000000000g",
        "0198c1de-0000-5000-80000-00000000001",
        "{198c1de-0000-5000-8000-000000000001}",
    ] {
        refused_with("uuid", Some(json!(bad)), "`uuid` that is not a UUID");
    }
}

#[test]
fn a_uuid_that_stands_twice_in_a_batch_is_refused() {
    refused(post_events(&[span(), span()]), 400, "event 2 of 2: its `uuid`");
}

#[test]
fn a_missing_distinct_id_is_refused() {
    refused_with("distinct_id", None, "has no `distinct_id`");
    refused_with("distinct_id", Some(json!(5)), "`distinct_id` that is not a string");
    refused_with("distinct_id", Some(json!(" ")), "empty `distinct_id`");
}

#[test]
fn a_distinct_id_over_200_characters_is_refused() {
    refused_with("distinct_id", Some(json!("ü".repeat(201))), "`distinct_id` of 201 characters");
    let mut event = span();
    event["distinct_id"] = json!("ü".repeat(200));
    post_events(&[event]).unwrap();
}

#[test]
fn a_distinct_id_that_stands_for_nobody_is_refused() {
    for nobody in ["anonymous", "null", "system", "user", "Anonymous", "undefined"] {
        refused_with("distinct_id", Some(json!(nobody)), "identifies nobody");
    }
    let mut event = span();
    event["distinct_id"] = json!("user@example.com");
    post_events(&[event]).unwrap();
}

#[test]
fn a_timestamp_that_is_not_rfc_3339_in_utc_is_refused() {
    refused_with("timestamp", None, "has no `timestamp`");
    refused_with("timestamp", Some(json!(1_700_000_000)), "not a string");
    for bad in [
        "",
        "Z",
        "now",
        "2026-01-31",
        "2026-01-31T10:00:00",
        "2026-01-31T10:00:00+02:00",
        "2026-01-31 10:00:00Z",
        "2026-01-31T10:00:00.Z",
        "2026-01-31T10:00:00.1234567890Z",
        "2026-01-31T10:00Z",
        "2026-13-01T10:00:00Z",
        "2026-00-01T10:00:00Z",
        "2026-02-29T10:00:00Z",
        "2026-01-00T10:00:00Z",
        "2026-01-31T24:00:00Z",
        "2026-01-31T10:60:00Z",
        "2026-01-31T10:00:61Z",
        "+026-01-31T10:00:00Z",
        "2026-01-31T10:00:0üZ",
    ] {
        refused_with("timestamp", Some(json!(bad)), "not RFC 3339");
    }
}

#[test]
fn a_timestamp_in_utc_is_accepted_in_each_form() {
    for good in ["2026-01-31T10:00:00Z", "2024-02-29T10:00:00.123Z", "2000-02-29T23:59:59.123456789+00:00"] {
        let mut event = span();
        event["timestamp"] = json!(good);
        post_events(&[event]).unwrap();
    }
}

#[test]
fn an_event_without_properties_is_refused() {
    refused_with("properties", None, "no `properties` object");
    refused_with("properties", Some(json!([])), "no `properties` object");
}

#[test]
fn a_reason_stays_short_whatever_the_event_is_called() {
    let mut event = span();
    event["event"] = json!("\n".repeat(100_000));
    event["uuid"] = json!("x".repeat(100_000));
    let refusal = post_events(&[event]).unwrap_err();
    assert!(refusal.reason.len() < 1000);
    assert!(!refusal.reason.contains('\n'));
}
