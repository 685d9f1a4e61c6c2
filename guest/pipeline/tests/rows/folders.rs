//! A session with several main transcripts: its directory changed.

use super::lines::*;
use crate::conversion::Converted;
use serde_json::{Value, json};

fn first() -> Vec<Line> {
    vec![
        user(0, "go").with(json!({"promptId": "p1"})),
        reply(1000, "m1", json!([call("t"), task("s", "look")])),
        result(2000, "t", "x"),
        result(9000, "s", "y"),
        reply(9500, "m2", json!([text("done")])),
    ]
}

fn second() -> Vec<Line> {
    let there = |line: Line| line.with(json!({"cwd": "/home/dev/games"}));
    let day = 86_400_000;
    vec![
        there(user(day, "on").with(json!({"promptId": "p2"}))),
        there(reply(day + 1000, "m3", json!([call("u")]))),
        there(error(day + 2000, "u", "no")),
        other("system").with(json!({"subtype": "compact_boundary", "uuid": "b", "timestamp": at(day + 2500)})),
        there(reply(day + 3000, "m4", json!([]))),
    ]
}

/// Lines that hold nothing, as `/cd` leaves them.
fn stub() -> Vec<Line> {
    ["custom-title", "ai-title", "mode", "pr-link"].map(other).to_vec()
}

fn agent(case: Case) -> Case {
    case.agent("a", Some(json!({"toolUseId": "s"})), [user(1500, "look"), reply(1900, "n", json!([]))])
}

/// All events but for what says where it was converted.
fn whole() -> Converted {
    agent(session(first().into_iter().chain(second()))).run()
}

#[test]
fn several_main_transcripts_are_as_one() {
    let several = agent(session(first()).main(second()).main(stub())).run();
    assert_eq!(several.events, whole().events);
    assert_eq!(several.identities, whole().identities);
}

#[test]
fn a_stub_changes_nothing_wherever_it_stands() {
    let alone = agent(session(first())).run();
    for case in [session(stub()).main(first()), session(first()).main(stub())] {
        assert_eq!(agent(case).run().events, alone.events);
    }
}

#[test]
fn a_call_and_its_result_can_stand_in_two_of_them_and_copies_count_once() {
    for cut in 1..first().len() {
        let (before, after) = (first()[..cut].to_vec(), first()[cut..].to_vec());
        let alone = agent(session(first())).run();
        assert_eq!(agent(session(before.clone()).main(after)).run().events, alone.events, "{cut}");
        // The client copied what it had into the next folder.
        assert_eq!(agent(session(before).main(first())).run().events, alone.events, "{cut}");
    }
}

#[test]
fn the_project_is_that_of_the_first() {
    let several = agent(session(first()).main(second())).run();
    assert!(several.events.iter().all(|event| event["properties"]["$ai_project_name"] == "shop"));
}

#[test]
fn a_sub_agent_s_thread_is_never_the_main_one() {
    let case = session(first()).main(second());
    let converted = agent(case).run();
    let agents: Vec<&Value> =
        converted.generations().into_iter().filter(|p| p.get("$ai_agent_name").is_some()).collect();
    assert_eq!(agents.len(), 1);
    assert_eq!(agents[0]["$ai_parent_id"], span_id("s"));
    assert_eq!(converted.sum("$ai_trace", "claude_code_turns"), 2);
    assert_eq!(converted.sum("$ai_trace", "claude_code_compactions"), 1);
}

#[test]
fn what_was_delivered_before_the_directory_changed_is_not_sent_again() {
    let before = agent(session(first())).run();
    let rest = agent(session(first()).main(second())).exclude(before.sent()).run();
    assert_eq!(rest.generations().len() + rest.spans().len(), 3);
    assert_eq!(rest.sum("$ai_trace", "claude_code_turns"), 1);
    assert_eq!(rest.sum("$ai_trace", "claude_code_tool_errors"), 1);
}
