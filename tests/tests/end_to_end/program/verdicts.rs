//! The outcome of each event on the route that returns a result for each.

use super::*;
use posthog_llma_local_posthog::EventResult;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

/// A server that gives the n-th request for an event the result that `judge` returns, or else `ok`.
fn judging(
    judge: impl Fn(&Value, u32) -> Option<(&'static str, &'static str)> + Send + Sync + 'static,
) -> LocalPostHog {
    let seen: Mutex<BTreeMap<String, u32>> = Mutex::default();
    let judge = move |event: &Value| {
        let mut seen = seen.lock().unwrap();
        let times = seen.entry(event["uuid"].as_str().unwrap().to_owned()).or_default();
        *times += 1;
        let (result, details) = judge(event, *times).unwrap_or(("ok", ""));
        Some(EventResult::new(result, details))
    };
    LocalPostHog::start(Config { judge_event: Some(Arc::new(judge)), ..Config::default() }).unwrap()
}

fn is(event: &Value, name: &str) -> bool {
    event["event"] == name
}

#[test]
fn an_event_that_was_not_kept_is_sent_again_alone() {
    let home = Home::new();
    let posthog = judging(|event, times| (is(event, "$ai_trace") && times == 1).then_some(("retry", "not_persisted")));
    let session = home.session(Transcript::new().turns(5).text());
    home.send(&posthog, &session).run().exits_with(0).prints(&["events    6: 5 generations, 0 spans, 1 trace"]);
    assert_eq!(posthog.events(), home.convert(&session).run().events());
    let requests = posthog.requests();
    assert_eq!(requests.len(), 2);
    let id = |index: usize| requests[index].headers["posthog-request-id"].clone();
    assert_ne!(id(0), id(1));
}

#[test]
fn what_is_dropped_is_reported_with_the_servers_word_and_not_sent_again() {
    for (result, details, word) in
        [("drop", "event_restriction_drop", "event_restriction_drop"), ("limited", "", "limited")]
    {
        let home = Home::new();
        let posthog = judging(move |event, _| is(event, "$ai_trace").then_some((result, details)));
        let session = home.session(Transcript::new().turns(2).text());
        let report = home.send(&posthog, &session).arg("--json").run().exits_with(1).json();
        assert_eq!(report["rejected"][0]["message"], word, "{report}");
        assert_eq!(report["generations"], 2);
        home.send(&posthog, &session).run().exits_with(1);
        assert_eq!(posthog.requests().len(), 1);
    }
}

#[test]
fn the_billing_limit_stops_delivery_and_says_so() {
    let home = Home::new();
    let posthog = judging(|event, _| is(event, "$ai_trace").then_some(("drop", "billing_limit_exceeded")));
    let session = home.session(Transcript::new().turns(2).text());
    let outcome = home.send(&posthog, &session).run().exits_with(1);
    outcome.says(&["billing_limit_exceeded", "see Billing in PostHog"]).prints(&["2 generations, 0 spans, 0 traces"]);
    assert_eq!(posthog.requests().len(), 1);
}

#[test]
fn over_the_byte_budget_the_rest_comes_later() {
    let home = Home::new();
    let posthog =
        judging(|event, times| (is(event, "$ai_trace") && times < 3).then_some(("drop", "ai_byte_rate_limited")));
    let session = home.session(Transcript::new().turns(2).text());
    home.send(&posthog, &session).run().exits_with(0);
    assert_eq!(posthog.requests().len(), 3);
    assert_eq!(posthog.events().len(), 3);
}

#[test]
fn a_random_third_with_each_detail_ends_accepted_or_put_aside_and_none_twice() {
    let details = [
        ("retry", "not_persisted"),
        ("drop", "ai_byte_rate_limited"),
        ("drop", "ai_event_too_big"),
        ("drop", "misrouted_event"),
        ("warning", "person_processing_disabled"),
    ];
    let home = Home::new();
    // By its id, so that the test is the same each time.
    let posthog = judging(move |event, times| {
        let id: u64 = event["uuid"].as_str().unwrap().bytes().map(u64::from).sum();
        (times == 1 && id.is_multiple_of(3)).then(|| details[(id / 3 % 5) as usize])
    });
    let session = home.session(Transcript::new().turns(120).text());
    let report = home.send(&posthog, &session).arg("--json").run().json();
    let rejected = report["rejected"].as_array().unwrap().len();
    assert!(rejected > 0);
    assert_eq!(posthog.events().len() + rejected, 121);
    let mut ids: Vec<_> = posthog.events().iter().map(|event| event["uuid"].to_string()).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len() + rejected, 121);
    assert_eq!(report["error"], json!(null));
}
