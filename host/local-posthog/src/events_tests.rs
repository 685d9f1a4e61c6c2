//! The newest route: its headers, body and results.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue, Method};
use serde_json::{Value, json};

use super::rule_tests::{UUID, span};
use super::rules::{EVENTS_PATH, Verdict, check};
use super::{Config, EventResult, LocalPostHog};

const HEADERS: [(&str, &str); 7] = [
    ("authorization", "Bearer phc_test"),
    ("content-type", "application/json"),
    ("user-agent", "test/1.0"),
    ("posthog-sdk-info", "test/1.0.0"),
    ("posthog-attempt", "1"),
    ("posthog-request-id", "b5d5c1c4-9f3e-4a59-a1c2-0d6b1a4f1c11"),
    ("posthog-request-timestamp", "2026-11-26T10:00:00.000Z"),
];

fn event() -> Value {
    let mut event = span();
    event["options"] = json!({"disable_skew_correction": true});
    event
}

fn body(events: &[Value]) -> Value {
    json!({"created_at": "2026-11-26T10:00:00.000Z", "batch": events})
}

/// Posts with one header replaced, or removed if there is no value.
fn post_with(header: &str, value: Option<&str>, body: &Value) -> Verdict {
    let mut headers = HeaderMap::new();
    for (name, value) in HEADERS {
        headers.insert(name, HeaderValue::from_static(value));
    }
    match value {
        Some(value) => {
            headers.insert(HeaderName::try_from(header).unwrap(), HeaderValue::from_str(value).unwrap());
        }
        None => {
            headers.remove(header);
        }
    }
    check(&Method::POST, EVENTS_PATH, &headers, body.to_string().as_bytes())
}

fn post(body: &Value) -> Verdict {
    post_with("none-of-them", None, body)
}

#[track_caller]
fn refused(verdict: Verdict, status: u16, tag: &str) {
    let refusal = verdict.unwrap_err();
    assert_eq!((refusal.status.as_u16(), refusal.tag), (status, tag), "{}", refusal.reason);
}

#[test]
fn a_good_batch_is_taken_and_its_options_are_no_part_of_the_event() {
    assert_eq!(post(&body(&[event()])).unwrap().events, [span()]);
}

#[test]
fn every_header_is_required() {
    let good = body(&[event()]);
    refused(post_with("authorization", None, &good), 401, "invalid_api_token");
    for (header, _) in &HEADERS[1..] {
        refused(post_with(header, None, &good), 400, "missing_required_headers");
    }
}

#[test]
fn every_header_has_its_form() {
    let good = body(&[event()]);
    for (header, value, status, tag) in [
        ("authorization", "Basic phc_test", 400, "invalid_header_value"),
        ("authorization", "phc_test", 400, "invalid_header_value"),
        ("authorization", "Bearer phx_personal", 401, "invalid_api_token"),
        ("authorization", "Bearer  ", 401, "invalid_api_token"),
        ("content-type", "text/plain", 415, "unsupported_content_type"),
        ("content-encoding", "lz4", 415, "unsupported_encoding"),
        ("posthog-sdk-info", "test", 400, "invalid_header_value"),
        ("posthog-sdk-info", "/1.0.0", 400, "invalid_header_value"),
        ("posthog-attempt", "0", 400, "invalid_header_value"),
        ("posthog-attempt", "one", 400, "invalid_header_value"),
        ("posthog-request-id", "7", 400, "invalid_header_value"),
        ("posthog-request-timestamp", "yesterday", 400, "invalid_header_value"),
        ("posthog-request-timestamp", "2026-11-26T10:00:00+02:00", 400, "invalid_header_value"),
    ] {
        refused(post_with(header, Some(value), &good), status, tag);
    }
    post_with("authorization", Some("bearer phc_test"), &good).unwrap();
    post_with("posthog-attempt", Some("12"), &good).unwrap();
}

#[test]
fn the_body_has_its_time_and_no_key() {
    for bad in [
        json!({"batch": [event()]}),
        json!({"created_at": "today", "batch": [event()]}),
        json!({"created_at": "2026-11-26T10:00:00Z", "api_key": "phc_test", "batch": [event()]}),
        json!({"created_at": "2026-11-26T10:00:00Z", "sent_at": "2026-11-26T10:00:00Z", "batch": [event()]}),
        json!({"created_at": "2026-11-26T10:00:00Z", "batch": []}),
    ] {
        refused(post(&bad), 400, "invalid_batch");
    }
    refused(post(&body(&[event(), event()])), 400, "duplicate_event_uuid");
}

#[test]
fn an_event_says_that_its_timestamp_is_not_to_be_corrected() {
    for options in [
        json!(null),
        json!([]),
        json!({}),
        json!({"disable_skew_correction": false}),
        json!({"disable_skew_correction": "true"}),
        json!({"disable_skew_correction": true, "cookieless": true}),
        json!({"disable_skew_correction": true, "process_person_profile": false}),
    ] {
        let mut bad = event();
        bad["options"] = options;
        refused(post(&body(&[bad])), 400, "invalid_batch");
    }
}

#[test]
fn a_distinct_id_that_stands_for_nobody_has_a_tag_of_its_own() {
    for id in ["0", "Anonymous", "EMAIL", "00000000-0000-0000-0000-000000000000", "[Object Object]", " user "] {
        let mut bad = event();
        bad["distinct_id"] = json!(id);
        refused(post(&body(&[bad])), 400, "malformed_distinct_id");
    }
}

/// Posts over a socket and returns the response's head and body.
fn answer(server: &LocalPostHog, events: &[Value]) -> (String, Value) {
    let body = body(events).to_string();
    let headers: Vec<_> = HEADERS.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let request = format!(
        "POST {EVENTS_PATH} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n{}content-length: {}\r\n\r\n{body}",
        headers.concat(),
        body.len()
    );
    let mut stream = TcpStream::connect(server.address()).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.to_lowercase(), serde_json::from_str(body).unwrap())
}

#[test]
fn every_event_has_a_result_and_only_what_is_accepted_is_kept() {
    let judge = |event: &Value| match event["uuid"].as_str()?.chars().last()? {
        '1' => Some(EventResult::new("ok", "")),
        '2' => Some(EventResult::new("warning", "person_processing_disabled")),
        '3' => Some(EventResult::new("drop", "ai_event_too_big")),
        '4' => Some(EventResult::new("retry", "not_persisted")),
        _ => None,
    };
    let server = LocalPostHog::start(Config { judge_event: Some(Arc::new(judge)), ..Config::default() }).unwrap();
    let events: Vec<_> = (1..=5)
        .map(|last| {
            let mut event = event();
            event["uuid"] = json!(format!("{}{last}", &UUID[..35]));
            event
        })
        .collect();
    let (head, body) = answer(&server, &events);
    assert!(head.starts_with("http/1.1 200") && head.contains("retry-after: 1"), "{head}");
    assert!(head.contains("posthog-request-id: b5d5c1c4-"), "{head}");
    let results = body["results"].as_object().unwrap();
    assert_eq!(results.len(), 4);
    assert_eq!(results[UUID], json!({"result": "ok"}));
    assert_eq!(results[&format!("{}3", &UUID[..35])], json!({"result": "drop", "details": "ai_event_too_big"}));
    assert_eq!(server.events().len(), 2);
}

#[test]
fn a_refusal_has_its_tag_as_json() {
    let server = LocalPostHog::start(Config::default()).unwrap();
    let (head, body) = answer(&server, &[]);
    assert!(head.starts_with("http/1.1 400"), "{head}");
    assert_eq!(
        (body["error"].as_str(), body["error_description"].as_str()),
        (Some("invalid_batch"), Some("`batch` is empty"))
    );
}

#[test]
fn a_server_without_the_route_does_not_know_it() {
    let server = LocalPostHog::start(Config { missing_events_path: Some(404), ..Config::default() }).unwrap();
    let mut stream = TcpStream::connect(server.address()).unwrap();
    write!(stream, "POST {EVENTS_PATH} HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-length: 0\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 404"), "{answer}");
}
