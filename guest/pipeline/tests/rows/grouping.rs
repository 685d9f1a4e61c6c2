//! Which trace an event belongs to when each prompt is one.

use super::lines::*;
use crate::conversion::Converted;
use posthog_llma_pipeline::identity::EventId;
use serde_json::{Value, json};
use std::collections::BTreeSet;

fn prompt(time: i64, id: &str, words: &str) -> Line {
    user(time, words).with(json!({"promptId": id}))
}

fn trace_of(prompt_id: &str) -> String {
    EventId::other("prompt", prompt_id).to_string()
}

/// The traces of the generations.
fn traces(converted: &Converted) -> Vec<Value> {
    converted.generations().iter().map(|p| p["$ai_trace_id"].clone()).collect()
}

#[test]
fn a_session_is_one_trace_by_default() {
    let lines = [prompt(0, "a", "one"), reply(1, "m1", json!([])), prompt(2, "b", "two"), reply(3, "m2", json!([]))];
    let converted = session(lines).run();
    assert_eq!(traces(&converted), [SESSION, SESSION]);
    assert_eq!(converted.traces().len(), 1);
}

#[test]
fn each_prompt_is_a_trace_with_its_own_name_sums_and_times() {
    let lines = [
        prompt(0, "a", "one"),
        reply(1000, "m1", json!([call("t")])),
        error(1500, "t", "no"),
        prompt(5000, "b", "two"),
        failed(7000, "e", "Overloaded"),
    ];
    let converted = session(lines).by_prompt().run();
    assert_eq!(traces(&converted), [trace_of("a"), trace_of("b")]);
    assert_eq!(converted.spans()[0]["$ai_trace_id"], trace_of("a"));
    assert_eq!(converted.generations()[0]["$ai_parent_id"], trace_of("a"));
    let [first, second] = converted.traces()[..] else { panic!("not two traces") };
    for (name, a, b) in [
        ("$ai_trace_id", json!(trace_of("a")), json!(trace_of("b"))),
        ("$ai_trace_name", json!("one"), json!("two")),
        ("$ai_latency", json!(1.5), json!(2.0)),
        ("$ai_is_error", json!(false), json!(true)),
        ("$ai_total_input_tokens", json!(10), json!(null)),
        ("claude_code_turns", json!(1), json!(1)),
        ("claude_code_tool_errors", json!(1), json!(0)),
        ("$ai_parent_id", json!("root"), json!("root")),
        ("$ai_session_id", json!(SESSION), json!(SESSION)),
    ] {
        assert_eq!((&first[name], &second[name]), (&a, &b), "{name}");
    }
}

#[test]
fn a_follow_up_after_an_interruption_stays_in_its_trace() {
    let lines = [
        prompt(0, "a", "go"),
        reply(1, "m1", json!([])),
        prompt(2, "a", "[Request interrupted by user]"),
        prompt(3, "a", "rather this"),
        reply(4, "m2", json!([])),
    ];
    let converted = session(lines).by_prompt().run();
    assert_eq!(traces(&converted), [trace_of("a"), trace_of("a")]);
    assert_eq!(converted.traces().len(), 1);
    assert_eq!(converted.traces()[0]["claude_code_turns"], 1);
}

#[test]
fn a_response_before_any_prompt_belongs_to_the_session_s_trace() {
    let lines =
        [reply(0, "m1", json!([call("t")])), result(1, "t", "x"), prompt(2, "a", "go"), reply(3, "m2", json!([]))];
    let converted = session(lines).by_prompt().run();
    assert_eq!(traces(&converted), [SESSION.to_owned(), trace_of("a")]);
    assert_eq!(converted.spans()[0]["$ai_trace_id"], SESSION);
    let ids: BTreeSet<_> = converted.traces().iter().map(|p| p["$ai_trace_id"].as_str().unwrap().to_owned()).collect();
    assert_eq!(ids, BTreeSet::from([SESSION.to_owned(), trace_of("a")]));
}

#[test]
fn without_prompt_ids_the_parents_lead_to_the_prompt() {
    let lines = [
        user(0, "one").with(json!({"uuid": "p1"})),
        reply(1, "m1", json!([call("t")])).with(json!({"uuid": "x", "parentUuid": "p1"})),
        user(2, "two").with(json!({"uuid": "p2"})),
        other("attachment").with(json!({"uuid": "y", "parentUuid": "x"})),
        result(3, "t", "late").with(json!({"uuid": "z", "parentUuid": "y"})),
        reply(4, "m2", json!([])).with(json!({"parentUuid": "z"})),
        reply(5, "m3", json!([])).with(json!({"parentUuid": "p2"})),
    ];
    let converted = session(lines).by_prompt().run();
    let trace = |uuid| json!(EventId::other("prompt-line", uuid).to_string());
    assert_eq!(traces(&converted), [trace("p1"), trace("p1"), trace("p2")]);
}

#[test]
fn a_chain_of_any_length_leads_to_its_prompt() {
    let mut lines = vec![user(0, "one").with(json!({"uuid": "line-0"})), user(1, "two").with(json!({"uuid": "other"}))];
    for i in 1..5000 {
        let line = other("attachment");
        lines.push(line.with(json!({"uuid": format!("line-{i}"), "parentUuid": format!("line-{}", i - 1)})));
    }
    lines.push(reply(2, "m", json!([])).with(json!({"parentUuid": "line-4999"})));
    let converted = session(lines).by_prompt().run();
    assert_eq!(traces(&converted), [EventId::other("prompt-line", "line-0").to_string()]);
}

#[test]
fn a_parent_that_dangles_or_comes_later_means_the_last_prompt() {
    let lines = [
        user(0, "one"),
        user(1, "two").with(json!({"uuid": "p2"})),
        reply(2, "m1", json!([])).with(json!({"parentUuid": "nowhere"})),
        reply(3, "m2", json!([])).with(json!({"parentUuid": "later"})),
        reply(4, "m3", json!([])),
        user(5, "three").with(json!({"uuid": "later"})),
    ];
    let two = EventId::other("prompt-line", "p2").to_string();
    assert_eq!(traces(&session(lines).by_prompt().run()), [two.clone(), two.clone(), two]);
}

#[test]
fn a_notification_has_a_prompt_id_of_its_own_and_stays_in_the_turn() {
    let lines = [
        prompt(0, "a", "go").with(json!({"uuid": "p"})),
        reply(1, "m1", json!([])).with(json!({"uuid": "r", "parentUuid": "p"})),
        prompt(2, "n", "<task-notification>done</task-notification>").with(json!({"uuid": "q", "parentUuid": "r"})),
        reply(3, "m2", json!([])).with(json!({"parentUuid": "q"})),
    ];
    let converted = session(lines).by_prompt().run();
    assert_eq!(traces(&converted), [trace_of("a"), trace_of("a")]);
}

#[test]
fn a_sub_agent_is_in_the_trace_of_the_call_that_started_it() {
    let case = session([
        prompt(0, "a", "one"),
        reply(1, "m1", json!([task("t", "look")])),
        result(2, "t", "started").with(json!({"promptId": "a"})),
        prompt(3, "b", "two"),
        reply(4, "m2", json!([])),
    ])
    .agent(
        "x",
        Some(json!({"toolUseId": "t"})),
        [user(2, "look"), reply(5, "n1", json!([task("u", "deeper")])), result(9, "u", "x")],
    )
    .agent(
        "y",
        Some(json!({"toolUseId": "u"})),
        [user(6, "deeper"), reply(7, "n2", json!([call("v")])), result(8, "v", "x")],
    )
    .by_prompt();
    let converted = case.run();
    assert_eq!(traces(&converted), [trace_of("a"), trace_of("b"), trace_of("a"), trace_of("a")]);
    assert!(converted.spans().iter().all(|p| p["$ai_trace_id"] == trace_of("a")));
    assert_eq!(converted.traces()[0]["claude_code_subagents"], 2);
}

#[test]
fn the_id_of_a_prompt_s_trace_is_the_same_in_a_copy_of_the_session() {
    let case = session([prompt(0, "a", "one"), reply(1, "m", json!([]))]).by_prompt();
    let there = crate::conversion::convert("fork", &case.files, case.run.clone());
    assert_eq!(traces(&case.run()), traces(&there));
}

#[test]
fn a_prompt_without_any_id_is_a_trace_too() {
    let line = |time, words: &str| user(time, words).without("/uuid");
    let lines = [line(0, "one"), reply(1, "m1", json!([])), line(2, "two"), reply(3, "m2", json!([]))];
    let converted = session(lines).by_prompt().run();
    assert_eq!(traces(&converted).iter().map(ToString::to_string).collect::<BTreeSet<_>>().len(), 2);
    assert_eq!(converted.traces().len(), 2);
}

#[test]
fn what_was_noticed_where_nothing_follows_is_in_the_next_trace_or_the_last() {
    let lines = [
        other("new-before-any-prompt"),
        prompt(0, "a", "one"),
        reply(1, "m1", json!([])),
        prompt(2, "c", "/compact"),
        other("system").with(json!({"subtype": "compact_boundary"})),
        prompt(4, "b", "two"),
        reply(5, "m2", json!([])),
        prompt(6, "d", "/exit"),
        other("new-at-the-end"),
    ];
    let converted = session(lines).by_prompt().run();
    let counts = |name: &str| converted.traces().iter().map(|p| p[name].as_u64().unwrap()).collect::<Vec<_>>();
    assert_eq!(counts("claude_code_compactions"), [0, 1]);
    assert_eq!(counts("claude_code_unknown_lines"), [1, 1]);
}
