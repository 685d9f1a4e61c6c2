//! Lines that stand twice count once.

use super::lines::*;
use serde_json::{Value, json};

fn turn() -> Vec<Line> {
    vec![
        user(0, "go").with(json!({"promptId": "p"})),
        reply(1, "m1", json!([text("a"), call("t")])),
        error(2, "t", "no"),
        reply(3, "m2", json!([text("b")])),
        other("system").with(json!({"subtype": "compact_boundary", "uuid": "boundary"})),
    ]
}

#[test]
fn a_file_that_repeats_its_lines_gives_the_same_events() {
    let once = session(turn()).run();
    let twice = session(turn().into_iter().chain(turn())).run();
    let three_times = session(turn().into_iter().chain(turn()).chain(turn())).by_prompt().run();
    assert_eq!(once.events, twice.events);
    assert_eq!(three_times.traces().len(), 1);
    assert_eq!(three_times.sum("$ai_trace", "claude_code_compactions"), 1);
    assert_eq!(three_times.sum("$ai_trace", "$ai_total_output_tokens"), 40);
}

#[test]
fn repeated_lines_with_new_ids_and_times_do_not_count_twice() {
    let copies = turn().into_iter().take(4).map(|line| {
        let uuid = format!("copy of {}", line.0["uuid"]);
        line.with(json!({"uuid": uuid, "timestamp": at(500_000)}))
    });
    let converted = session(turn().into_iter().chain(copies)).run();
    assert_eq!((converted.generations().len(), converted.spans().len()), (2, 1));
    let p = converted.generations()[0];
    assert_eq!((&p["$ai_latency"], &p["$ai_tool_call_count"]), (&json!(0.001), &json!(1)));
    assert_eq!(converted.traces()[0]["$ai_total_output_tokens"], 40);
}

#[test]
fn a_sub_agent_that_copies_the_main_thread_adds_only_what_is_its_own() {
    let copies = || turn().into_iter().map(|line| line.with(json!({"isSidechain": true, "agentId": "acompact-1"})));
    let own = [user(10, "Summarize this"), reply(11, "own", json!([text("A summary")]))];
    let once = session(turn()).run();
    assert_eq!(session(turn()).agent("acompact-1", None, copies()).run().events, once.events);
    let converted = session(turn()).agent("acompact-1", None, copies().chain(own)).run();
    assert_eq!(converted.generations().len(), 3);
    // What it copied was asked and answered before.
    let asked = converted.generations()[2]["$ai_input"].clone();
    assert_eq!(asked, json!([{"role": "user", "content": "Summarize this"}]));
    assert_eq!(converted.traces()[0]["$ai_total_output_tokens"], 60);
    assert_eq!(converted.traces()[0]["claude_code_tool_errors"], 1);
}

#[test]
fn the_input_of_a_sub_agent_s_own_response_is_not_what_was_copied_under_new_ids() {
    let copies = turn().into_iter().map(|line| {
        let uuid = format!("copy of {}", line.0["uuid"]);
        line.with(json!({"uuid": uuid, "isSidechain": true}))
    });
    let own = [user(10, "Summarize this"), reply(11, "own", json!([text("A summary")]))];
    let converted = session(turn()).agent("acompact-1", None, copies.chain(own)).run();
    let asked = converted.generations()[2]["$ai_input"].clone();
    assert_eq!(asked, json!([{"role": "user", "content": "Summarize this"}]));
}

#[test]
fn a_tool_id_that_stands_in_two_responses_is_two_calls_and_the_first_keeps_its_name() {
    let converted =
        session([reply(1, "m1", json!([call("t")])), reply(2, "m2", json!([call("t")])), result(3, "t", "x")]).run();
    let spans = converted.spans();
    assert_eq!(spans.len(), 2);
    let first = spans.iter().find(|p| p["$ai_parent_id"] == generation_id("m1")).unwrap();
    assert_eq!((&first["$ai_span_id"], &first["claude_code_no_result"]), (&json!(span_id("t")), &json!(true)));
    let second = spans.iter().find(|p| p["$ai_parent_id"] == generation_id("m2")).unwrap();
    assert_eq!(second["$ai_output_state"], "x");
}

#[test]
fn identical_blocks_of_one_response_are_one() {
    let line = |time| reply(time, "m", json!([text("a"), call("t")])).with(json!({"uuid": format!("x{time}")}));
    let converted = session([line(1), line(2)]).run();
    assert_eq!(converted.generations()[0]["$ai_output_choices"][0]["content"], "a");
    assert_eq!(converted.spans().len(), 1);
}

#[test]
fn a_response_without_a_message_id_is_known_by_its_uuid() {
    let line = || reply(1, "", json!([text("a")]));
    assert_eq!(session([line(), line()]).run().generations().len(), 1);
    let copied = session([line()]).agent("acompact-1", None, [line()]).run();
    assert_eq!(copied.generations().len(), 1);
}

#[test]
fn the_events_are_those_that_were_announced() {
    for case in [
        session(turn()),
        session(turn().into_iter().chain(turn())),
        session([reply(1, "", json!([call("t")])), reply(2, "", json!([])).without("/uuid")]),
        session(turn()).agent("acompact-1", None, turn()),
        session([reply(1, "m", json!([call("t")])).with(json!({"message": {"model": "<synthetic>"}}))]),
        session([reply(1, "m", json!([call("t")])).with(json!({"message": null}))]),
    ] {
        let converted = case.run();
        let (mut announced, mut sent) = (converted.identities.clone(), converted.sent());
        announced.sort();
        sent.sort();
        assert_eq!(announced, sent);
    }
}

#[test]
fn nothing_is_sent_of_a_message_that_is_none() {
    for message in [json!(null), json!("words"), json!({"0": "w", "1": "o"}), json!([]), json!(5)] {
        let converted =
            session([reply(1, "m", json!([])).with(json!({"message": null})).with(json!({"message": message}))]).run();
        assert_eq!(converted.events, Vec::<Value>::new(), "{message}");
        assert_eq!(converted.counts.bad_lines, 1, "{message}");
    }
}
