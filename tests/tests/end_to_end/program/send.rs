//! What `send` delivers and reports.

use super::*;
use serde_json::{Value, json};

#[test]
fn what_arrives_is_byte_for_byte_what_convert_prints() {
    for case in [DEMO, "1.0.31/sub", "2.0.76/sub2", "2.1.50/i_sub", "2.1.197/slowblocks", "2.1.330/workflow"] {
        let (home, posthog, session) = (Home::new(), posthog(), fixture(case));
        let converted = home.convert(&session).run().exits_with(0);
        home.send(&posthog, &session).run().exits_with(0);
        assert_eq!(sent(&posthog), converted.stdout, "{case}");
        assert_eq!(posthog.events(), converted.events(), "{case}");
    }
}

#[test]
fn what_was_sent_is_not_sent_again() {
    let (home, posthog, session) = (Home::new(), posthog(), fixture(DEMO));
    home.send(&posthog, &session).run().exits_with(0);
    home.send(&posthog, &session)
        .run()
        .exits_with(0)
        .prints(&["events    0", "17 generations and spans already delivered"]);
    let report = home.send(&posthog, &session).arg("--json").run().exits_with(0).json();
    assert_eq!((&report["delivered_before"], &report["complete"]), (&json!(17), &json!(true)));
    assert_eq!(posthog.requests().len(), 1);
}

#[test]
fn what_is_sent_again_on_purpose_is_the_same() {
    let (home, posthog, session) = (Home::new(), posthog(), fixture(DEMO));
    home.send(&posthog, &session).run().exits_with(0);
    home.send(&posthog, &session).arg("--again").run().exits_with(0);
    let requests = posthog.requests();
    assert_eq!(requests.len(), 2);
    // Only the time of the request differs.
    let batch = |request| {
        let body: Value = serde_json::from_str(&decompressed(request)).unwrap();
        body["batch"].to_string()
    };
    assert_eq!(batch(&requests[0]), batch(&requests[1]));
}

#[test]
fn a_session_of_many_events_goes_in_several_batches_of_at_most_100() {
    let (home, posthog) = (Home::new(), posthog());
    let session = home.session(Transcript::new().turns(250).text());
    let converted = home.convert(&session).run().exits_with(0);
    let report = home.send(&posthog, &session).arg("--json").run().exits_with(0).json();
    assert_eq!(report["requests"], 3);
    assert_eq!(sent(&posthog), converted.stdout);
    let sizes: Vec<_> = posthog.requests().iter().map(|r| decompressed(r).matches("{\"event\":").count()).collect();
    assert_eq!(sizes, [100, 100, 51]);
}

#[test]
fn a_request_has_the_headers_and_the_key_that_posthog_wants() {
    let (home, posthog, session) = (Home::new(), posthog(), fixture(DEMO));
    home.send(&posthog, &session).run().exits_with(0);
    let request = posthog.requests().remove(0);
    assert_eq!((request.method.as_str(), request.path.as_str()), ("POST", "/i/v1/ai/events"));
    let header = |name: &str| request.headers[name].to_str().unwrap().to_owned();
    assert_eq!(header("content-type"), "application/json");
    assert_eq!(header("content-encoding"), "gzip");
    assert_eq!(header("content-length"), request.body.len().to_string());
    assert_eq!(header("host"), posthog.address().to_string());
    assert!(header("user-agent").starts_with("posthog-llma/"));
    let body: Value = serde_json::from_str(&decompressed(&request)).unwrap();
    assert_eq!(header("authorization"), format!("Bearer {KEY}"));
    assert_eq!((header("posthog-attempt").as_str(), header("posthog-request-id").len()), ("1", 36));
    assert_eq!(body.as_object().unwrap().keys().collect::<Vec<_>>(), ["batch", "created_at"]);
}

#[test]
fn the_report_for_people_says_what_arrived_where() {
    let (home, posthog) = (Home::new(), posthog());
    let session = home.session(Transcript::new().turns(2).text());
    let outcome = home.send(&posthog, &session).run().exits_with(0).says_nothing();
    let bytes = posthog.accepted_bytes();
    let expected = format!(
        "Session {SESSION_ID} delivered to {}\n  events    3: 2 generations, 0 spans, 1 trace\n  \
         tokens    6 in, 14 out, 22 cache read, 26 cache written\n  \
         requests  1 to /i/v1/ai/events: {:.1} KiB before, {} B after compression\n  \
         cost      less than $0.01 in PostHog (PostHog's first paid tier, November 2026: $35 per 100,000 AI events; the \
         first 100,000 a month are free)\n",
        posthog.origin(),
        bytes.raw as f64 / 1024.0,
        bytes.sent
    );
    assert_eq!(outcome.stdout, expected);
}

#[test]
fn the_report_for_scripts_says_what_arrived_where() {
    let (home, posthog) = (Home::new(), posthog());
    let session = home.session(Transcript::new().turns(2).text());
    let outcome = home.send(&posthog, &session).arg("--json").run().exits_with(0).says_nothing();
    let bytes = posthog.accepted_bytes();
    let expected = json!({
        "session": SESSION_ID, "destination": posthog.origin(), "complete": true,
            "delivered_before": 0, "held_events": 0,
        "generations": 2, "spans": 0, "spans_left_out": 0, "traces": 1,
        "input_tokens": 6, "nothing_to_send": false, "output_tokens": 14, "cache_read_tokens": 22, "cache_creation_tokens": 26,
        "estimated_dollars": 0.00105, "requests": 1, "raw_bytes": bytes.raw, "sent_bytes": bytes.sent, "paths": ["/i/v1/ai/events"],
        "lines": 4, "bad_lines": 0, "unknown_lines": 0,
        "quota_limited": [], "redactions": {}, "rejected": [], "warnings": [], "error": null,
    });
    assert_eq!(outcome.json(), expected);
}

#[test]
fn the_counts_of_the_report_are_those_of_the_events() {
    let (home, posthog, session) = (Home::new(), posthog(), fixture(DEMO));
    let report = home.send(&posthog, &session).arg("--json").run().exits_with(0).json();
    let events = posthog.events();
    let count = |name: &str| events.iter().filter(|event| event["event"] == name).count();
    assert_eq!(report["generations"], count("$ai_generation"));
    assert_eq!(report["spans"], count("$ai_span"));
    assert_eq!(report["traces"], count("$ai_trace"));
    let sum = |name: &str| events.iter().filter_map(|event| event["properties"][name].as_u64()).sum::<u64>();
    assert_eq!(report["input_tokens"], sum("$ai_input_tokens"));
    assert_eq!(report["output_tokens"], sum("$ai_output_tokens"));
    assert_eq!(report["cache_read_tokens"], sum("$ai_cache_read_input_tokens"));
    assert_eq!(report["cache_creation_tokens"], sum("$ai_cache_creation_input_tokens"));
}

#[test]
fn a_session_without_a_response_sends_nothing_and_is_done() {
    let (home, posthog) = (Home::new(), posthog());
    let session = home.session("{\"type\":\"summary\",\"summary\":\"nothing\"}\n");
    home.send(&posthog, &session).run().exits_with(0).prints(&["Nothing to send"]);
    assert!(posthog.requests().is_empty());
}

#[test]
fn without_a_key_nothing_is_sent_and_the_variable_is_named() {
    let (home, posthog) = (Home::new(), posthog());
    let send = home.send(&posthog, fixture(DEMO)).env_remove("POSTHOG_API_KEY");
    send.run().exits_with(2).says(&["POSTHOG_API_KEY is not set"]);
    assert!(posthog.requests().is_empty());
}

#[test]
fn wrong_arguments_are_exit_code_2() {
    let home = Home::new();
    for arguments in [
        &["send"] as &[&str],
        &["convert"],
        &["convert", "a", "b"],
        &["nonsense"],
        &["send", "x", "--timeout", "0"],
        &["send", "x", "--timeout", "soon"],
        &["send", "x", "--retries", "21"],
        &["convert", "x", "--max-memory", "1"],
        &["demo", "x"],
    ] {
        let outcome = home.program(arguments).run().exits_with(2);
        assert!(outcome.stderr.contains("--help"), "{arguments:?}: {}", outcome.stderr);
    }
}

#[test]
fn too_little_time_for_the_component_is_an_error_that_says_so() {
    let home = Home::new();
    let session = home.session(Transcript::new().turns(3000).text());
    let convert = home.convert(&session).arg("--max-time").arg("0.01").run().exits_with(1);
    convert.says(&["posthog-llma: error: ", "stopped after 0.01 s (--max-time"]);
}

#[test]
fn too_little_memory_for_the_component_is_an_error_that_says_so() {
    let (home, posthog) = (Home::new(), posthog());
    let session = home.session(Transcript::new().turn("prompt", &"x".repeat(6_000_000)).text());
    let send = home.send(&posthog, &session).env("POSTHOG_LLMA_MAX_ATTRIBUTE_LENGTH", "6000000");
    let send = send.arg("--max-memory").arg("8").run().exits_with(1);
    send.says(&["posthog-llma: error: ", "8 MiB"]);
}
