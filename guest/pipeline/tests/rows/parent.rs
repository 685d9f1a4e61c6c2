//! A session that is attached to a trace of somebody else.

use super::lines::*;
use crate::conversion::Converted;
use posthog_llma_pipeline::identity::EventId;
use posthog_llma_pipeline::session::{ConversionOptions, FileRole, Session};
use serde_json::{Value, json};

/// Two turns, a tool and a sub-agent.
fn lines() -> Vec<Line> {
    vec![
        user(0, "go").with(json!({"promptId": "a"})),
        reply(1000, "m", json!([call("t"), task("s", "look")])),
        result(3000, "t", "done"),
        result(4000, "s", "found"),
        user(5000, "and on").with(json!({"promptId": "b"})),
        reply(6000, "n", json!([text("done")])),
    ]
}

fn case() -> Case {
    session(lines()).agent("x", None, [user(1500, "look"), reply(2000, "k", json!([text("found")]))])
}

fn attached(case: Case, span: Option<&str>) -> Case {
    case.options(|o| (o.parent_trace_id, o.parent_span_id) = (Some("job-17".into()), span.map(str::to_owned)))
}

/// The span that the session is.
fn sessions(converted: &Converted) -> Vec<&Value> {
    converted.spans().into_iter().filter(|span| span["$ai_span_type"] == "agent").collect()
}

/// `$ai_span_id` of the session.
fn session_span() -> String {
    EventId::other("session-span", SESSION).to_string()
}

#[test]
fn there_is_no_trace_and_every_event_belongs_to_the_owner_s() {
    for case in [case(), case().by_prompt()] {
        let converted = attached(case, Some("step-2")).run();
        assert_eq!(converted.traces().len(), 0);
        for event in &converted.events {
            assert_eq!(event["properties"]["$ai_trace_id"], "job-17");
            assert_eq!(event["properties"]["$ai_session_id"], SESSION);
            assert_eq!(event["properties"]["$ai_trace_name"], Value::Null);
        }
        assert_eq!(sessions(&converted).len(), 1, "also with a trace for each prompt");
    }
}

#[test]
fn the_session_is_a_span_with_the_trace_s_properties() {
    let alone = case().trace();
    let converted = attached(case(), Some("step-2")).run();
    let span = sessions(&converted)[0];
    let own = ["$ai_trace_id", "$ai_trace_name", "$ai_parent_id", "$ai_span_id", "$ai_span_type"];
    for (name, value) in alone.as_object().unwrap().iter().filter(|(name, _)| !own.contains(&name.as_str())) {
        assert_eq!(span[name], *value, "{name}");
    }
    assert_eq!((&span["$ai_span_name"], &span["$ai_parent_id"]), (&json!("go"), &json!("step-2")));
    assert_eq!(span["$ai_span_id"], session_span());
    // Generations, spans and the session: what is in a trace otherwise.
    assert_eq!(converted.events.len(), case().run().events.len());
    assert_eq!(converted.counts.traces, 0);
}

#[test]
fn without_a_span_the_session_is_below_the_trace() {
    let converted = attached(case(), None).run();
    assert_eq!(sessions(&converted)[0]["$ai_parent_id"], "job-17");
}

#[test]
fn what_was_at_the_top_is_below_the_session_and_sub_agents_stay_below_their_call() {
    let (alone, converted) = (case().run(), attached(case(), Some("step-2")).run());
    for (before, after) in alone.generations().iter().zip(converted.generations()) {
        let at_top = before["$ai_parent_id"] == SESSION;
        let expected = if at_top { json!(session_span()) } else { before["$ai_parent_id"].clone() };
        assert_eq!(after["$ai_parent_id"], expected);
    }
    assert_eq!(alone.generations().iter().filter(|p| p["$ai_parent_id"] == span_id("s")).count(), 1);
    // What an event is does not depend on where it hangs.
    let ids = |c: &Converted| c.sent().into_iter().take(5).collect::<Vec<_>>();
    assert_eq!(ids(&alone), ids(&converted));
}

#[test]
fn each_delivery_has_a_session_span_of_its_own_and_the_sums_over_them_are_those_of_one() {
    let first = attached(session(lines().into_iter().take(4)), None).run();
    let second = attached(session(lines()), None).exclude(first.identities.clone()).run();
    let whole = attached(session(lines()), None).run();
    assert_eq!((sessions(&first).len(), sessions(&second).len()), (1, 1));
    let uuid = |converted: &Converted| converted.events.last().unwrap()["uuid"].clone();
    assert_ne!(uuid(&first), uuid(&second));
    assert_eq!(uuid(&first), uuid(&whole), "all at once is the first delivery");
    for name in ["$ai_total_input_tokens", "claude_code_turns", "claude_code_generations", "claude_code_tool_calls"] {
        let number = |converted: &Converted| sessions(converted)[0][name].as_u64().unwrap();
        assert_eq!(number(&first) + number(&second), number(&whole), "{name}");
    }
    let seconds = |converted: &Converted| sessions(converted)[0]["$ai_latency"].as_f64().unwrap();
    assert!((seconds(&first) + seconds(&second) - seconds(&whole)).abs() < 1e-9);
    // One session, one place in the tree: whatever delivery an event came with, it hangs there.
    for converted in [&first, &second] {
        assert_eq!(sessions(converted)[0]["$ai_span_id"], session_span());
        assert_eq!(converted.generations()[0]["$ai_parent_id"], session_span());
    }
}

#[test]
fn what_was_sent_without_its_session_span_is_covered_by_the_one_to_come() {
    let all = attached(case(), None).run();
    let retry = attached(case(), None).withhold(all.identities.clone()).run();
    assert_eq!(retry.events, all.events[all.events.len() - 1..]);
    // And that one is not sent twice.
    let id = crate::conversion::id(all.events.last().unwrap()["uuid"].as_str().unwrap());
    assert_eq!(attached(case(), None).withhold(all.identities.clone()).withhold([id]).run().events, [] as [Value; 0]);
}

#[test]
fn two_sessions_of_one_job_are_two_spans() {
    let case = attached(case(), None);
    let other = crate::conversion::convert("another-session", &case.files, case.run.clone());
    let here = case.run();
    assert_ne!(sessions(&here)[0]["$ai_span_id"], sessions(&other)[0]["$ai_span_id"]);
    assert_ne!(here.events.last().unwrap()["uuid"], other.events.last().unwrap()["uuid"]);
}

#[test]
fn privacy_mode_keeps_the_ids_and_no_text() {
    let id = "a~b@c(d)!e':|";
    let converted = attached(case(), Some(id)).options(|o| o.privacy_mode = true).run();
    let span = sessions(&converted)[0];
    assert_eq!((&span["$ai_trace_id"], &span["$ai_parent_id"]), (&json!("job-17"), &json!(id)));
    assert_eq!((&span["$ai_span_name"], &span["$ai_trace_name"]), (&Value::Null, &Value::Null));
    assert!(!String::from_utf8(converted.bytes).unwrap().contains("and on"));
}

#[test]
fn ids_that_posthog_does_not_take_are_refused() {
    let open = |trace: Option<&str>, span: Option<&str>| {
        let (parent_trace_id, parent_span_id) = (trace.map(str::to_owned), span.map(str::to_owned));
        let options = ConversionOptions { parent_trace_id, parent_span_id, ..ConversionOptions::default() };
        Session::open(SESSION, &[FileRole::Main], options).err().map(|error| error.name)
    };
    for bad in ["", " ", "a b", "é", "a\n", &"x".repeat(201)] {
        assert_eq!(open(Some(bad), None), Some("parent-trace-id"), "{bad:?}");
        assert_eq!(open(Some("t"), Some(bad)), Some("parent-span-id"), "{bad:?}");
    }
    assert_eq!(open(None, Some("s")), Some("parent-span-id"));
    assert_eq!(open(Some("t"), Some("s")), None);
}

#[test]
fn a_session_with_no_event_has_no_span() {
    assert_eq!(attached(session([user(0, "hello")]), None).run().events, [] as [Value; 0]);
}
