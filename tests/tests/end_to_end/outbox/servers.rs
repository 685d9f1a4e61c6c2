//! Servers that are down, slow, or that refuse.

use super::*;
use serde_json::json;
use std::sync::Arc;

fn status(code: u16, headers: &[(&str, &str)]) -> Answer {
    let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    Answer::Status { code, headers, body: "not now".to_owned() }
}

#[test]
fn a_server_that_is_down_then_unavailable_then_asks_to_wait_gets_everything_in_the_end() {
    let home = Home::new();
    let mut script = vec![Answer::CloseBeforeAnswer; 3];
    script.extend([status(503, &[]), status(429, &[("retry-after", "3600")])]);
    let posthog = LocalPostHog::start(Config { script, ..Config::default() }).unwrap();
    let transcript = session(&home, "aaaa", &Transcript::new().turns(2));
    owe(&home, &posthog, &transcript);
    let flush = || home.ready("flush", &posthog).arg("--retries=0");
    for says in ["broke off", "broke off", "broke off", "503", "429"] {
        flush().run().exits_with(1).says(&["aaaa  not delivered: the server", says]).prints(&["1 still waiting"]);
    }
    let requests = posthog.requests().len();
    flush().run().exits_with(1).prints(&["asked to wait until", "--now"]);
    assert_eq!(posthog.requests().len(), requests, "it is not bothered");
    let report = flush().args(["--now", "--json"]).run().exits_with(0).json();
    assert_eq!(report["sessions"], json!([{"session_id": "aaaa", "outcome": "delivered", "events": 3, "rejected": 0}]));
    assert_eq!(arrivals(&posthog).len(), 3);
    let sizes: Vec<_> = posthog.requests().iter().map(|request| request.body.len()).collect();
    assert!(sizes.iter().all(|size| size.abs_diff(sizes[0]) < 20), "the same events each time: {sizes:?}");
    assert_eq!(home.status(&posthog)["last_error"], Value::Null);
}

#[test]
fn an_event_that_the_server_refuses_is_put_aside_and_the_rest_goes_on() {
    let home = Home::new();
    let refuse = |event: &Value| (event["event"] == "$ai_trace").then(|| (400, "I do not like it".to_owned()));
    let posthog = LocalPostHog::start(Config { reject_event: Some(Arc::new(refuse)), ..Config::default() }).unwrap();
    for id in ["one", "two"] {
        let transcript = session(&home, id, &Transcript::new().turns(2));
        home.hook(&posthog, "SessionEnd", &transcript).run().exits_with(0);
        until_nothing_is_owed(&home, &posthog);
    }
    assert_eq!(arrivals(&posthog).len(), 4);
    let status = home.status(&posthog);
    assert_eq!(status["quarantined_events"], 2);
    let refused = &status["quarantined"][0];
    assert_eq!((&refused["event"], &refused["status"]), (&json!("$ai_trace"), &json!(400)));
    assert_eq!(refused["message"], "I do not like it");
    let requests = posthog.requests().len();
    home.ready("flush", &posthog).run().exits_with(0);
    assert_eq!(posthog.requests().len(), requests, "it is never sent again");
}

#[test]
fn a_refused_key_needs_the_user_and_says_so() {
    let home = Home::new();
    let posthog = LocalPostHog::start(Config { script: vec![status(401, &[]); 9], ..Config::default() }).unwrap();
    let transcript = session(&home, "aaaa", &Transcript::new().turns(1));
    home.hook(&posthog, "SessionEnd", &transcript).run().exits_with(0);
    until("the first attempt fails", || home.status(&posthog)["last_error"].is_string());
    let status = home.ready("status", &posthog).run().exits_with(1);
    status.prints(&["✗ the server rejected the request with 401", "POSTHOG_API_KEY", "next try"]);
    let known = std::fs::read_to_string(home.path().join(".claude/posthog-llma-status.json")).unwrap();
    let known: Value = serde_json::from_str(&known).unwrap();
    assert_eq!((&known["status"], &known["events_sent"]), (&json!("error"), &json!(0)));
}

#[test]
fn a_server_that_fails_is_not_asked_for_every_session() {
    let home = Home::new();
    let posthog = LocalPostHog::start(Config { script: vec![status(401, &[]); 99], ..Config::default() }).unwrap();
    for id in ["one", "two", "three"] {
        let transcript = session(&home, id, &Transcript::new().turns(1));
        home.hook(&posthog, "SessionEnd", &transcript).run().exits_with(0);
    }
    until("all are written down", || home.status(&posthog)["coverage"]["owed"] == 3);
    until("the first attempt fails", || home.status(&posthog)["last_error"].is_string());
    let requests = posthog.requests().len();
    home.ready("flush", &posthog).run().exits_with(1).prints(&["0 sessions delivered", "3 still waiting"]);
    assert_eq!(posthog.requests().len(), requests + 1);
}

#[test]
fn the_status_file_of_the_python_plugin_has_its_keys() {
    let (home, posthog) = (Home::new(), posthog());
    let transcript = posthog_llma_tests::fixtures::transcripts("demo").unwrap().remove(0);
    home.hook(&posthog, "SessionEnd", &transcript).run().exits_with(0);
    until_nothing_is_owed(&home, &posthog);
    let path = home.path().join(".claude/posthog-llma-status.json");
    until("the file is written", || path.exists());
    let known: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let keys: Vec<_> = known.as_object().unwrap().keys().map(String::as_str).collect();
    let expected = [
        "distinct_id",
        "error",
        "events_sent",
        "generations",
        "host",
        "project_name",
        "session_id",
        "status",
        "timestamp",
        "tool_uses",
        "traces",
    ];
    assert_eq!(keys, expected);
    assert_eq!((&known["status"], &known["error"], &known["events_sent"]), (&json!("ok"), &Value::Null, &json!(18)));
    assert_eq!((&known["generations"], &known["tool_uses"], &known["traces"]), (&json!(9), &json!(8), &json!(1)));
}
