//! Tool calls that are counted and not sent.

use super::lines::*;
use crate::conversion::Converted;
use posthog_llma_pipeline::identity::EventId;
use posthog_llma_pipeline::session::{FileRole, Session, ToolSpans};
use serde_json::{Value, json};

const REFUSED: &str = "The user doesn't want to proceed with this tool use. The tool use was rejected";

/// Calls that succeed, fail, are refused, are stopped, and never end; and one that starts a sub-agent.
fn lines() -> Vec<Line> {
    let calls = json!([call("ok"), call("bad"), call("no"), call("stop"), call("open"), task("t", "look")]);
    vec![
        user(0, "go"),
        reply(1000, "m1", calls),
        result(2000, "ok", "fine"),
        error(2100, "bad", "exit code 1"),
        error(2200, "no", REFUSED),
        error(2300, "stop", "[Request interrupted by user for tool use]"),
        result(5000, "t", "done"),
        reply(6000, "m2", json!([text("done")])),
    ]
}

fn case(spans: ToolSpans) -> Case {
    let agent = [user(3000, "look"), reply(3500, "n", json!([call("u")])), error(4000, "u", "no such file")];
    session(lines()).agent("a", Some(json!({"toolUseId": "t"})), agent).options(|o| o.tool_spans = spans)
}

fn names(converted: &Converted) -> Vec<String> {
    converted.spans().iter().map(|p| p["$ai_span_id"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn errors_are_what_failed_and_no_one_s_no() {
    assert_eq!(names(&case(ToolSpans::All).run()).len(), 7);
    assert_eq!(names(&case(ToolSpans::Errors).run()), [span_id("bad"), span_id("u")]);
    assert_eq!(names(&case(ToolSpans::None).run()), [] as [&str; 0]);
}

#[test]
fn all_calls_are_counted_on_their_generation_and_on_the_trace() {
    let whole = case(ToolSpans::All).run();
    assert_eq!((whole.counts.spans, whole.counts.failed_spans, whole.counts.spans_left_out), (7, 2, 0));
    for (spans, left) in [(ToolSpans::Errors, 5), (ToolSpans::None, 7)] {
        let converted = case(spans).run();
        assert_eq!(converted.traces(), whole.traces());
        for (fewer, all) in converted.generations().iter().zip(whole.generations()) {
            for property in ["$ai_tools_called", "$ai_tool_call_count", "$ai_output_choices"] {
                assert_eq!(fewer[property], all[property], "{property}");
            }
        }
        assert_eq!((converted.counts.spans, converted.counts.spans_left_out), (7 - left, left));
        assert_eq!(converted.identities, whole.identities, "all are announced: what is left out is written down, too");
    }
}

/// Whatever something hangs under is sent.
fn assert_no_orphan(converted: &Converted) {
    let sent =
        |id: &Value| id == SESSION || converted.events.iter().any(|event| event["properties"]["$ai_span_id"] == *id);
    for event in converted.events.iter().filter(|event| event["event"] != "$ai_trace") {
        assert!(sent(&event["properties"]["$ai_parent_id"]), "{event:#}");
    }
}

#[test]
fn a_sub_agent_hangs_under_the_call_or_where_that_is_not_sent_under_its_generation() {
    for (spans, parent) in [
        (ToolSpans::All, span_id("t")),
        (ToolSpans::Errors, generation_id("m1")),
        (ToolSpans::None, generation_id("m1")),
    ] {
        let converted = case(spans).run();
        let agent = converted.generations().into_iter().find(|p| p["$ai_span_id"] == generation_id("n")).unwrap();
        assert_eq!(agent["$ai_parent_id"], parent);
        assert_no_orphan(&converted);
    }
    // A sub-agent of a sub-agent, both calls failed or fine.
    for failed in [false, true] {
        let ended = |time, id| if failed { error(time, id, "x") } else { result(time, id, "x") };
        let main = [user(0, "go"), reply(1, "m", json!([task("t", "look")])), ended(90, "t")];
        let first = [user(2, "look"), reply(3, "n", json!([task("v", "deeper")])), ended(80, "v")];
        let second = [user(4, "deeper"), reply(5, "o", json!([]))];
        let case = session(main).agent("a", Some(json!({"toolUseId": "t"})), first).agent("b", None, second);
        let converted = case.options(|o| o.tool_spans = ToolSpans::Errors).run();
        assert_eq!(converted.spans().len(), if failed { 2 } else { 0 });
        assert_no_orphan(&converted);
    }
}

#[test]
fn a_sub_agent_without_a_file_of_its_own_has_a_parent_too() {
    // It stands before the call's result, which alone says that the call failed.
    let lines = |ended: Line| {
        [
            user(0, "go"),
            reply(1, "m", json!([task("t", "look")])),
            user(2, "look").inline(None),
            reply(3, "n", json!([])).inline(Some("u2")),
            ended,
        ]
    };
    for (ended, parent) in [(error(9, "t", "x"), span_id("t")), (result(9, "t", "x"), generation_id("m"))] {
        let converted = session(lines(ended)).options(|o| o.tool_spans = ToolSpans::Errors).run();
        assert_eq!(converted.generations()[1]["$ai_parent_id"], parent);
        assert_no_orphan(&converted);
    }
}

#[test]
fn a_result_that_stands_before_its_call_says_whether_it_failed() {
    let lines = [user(0, "go"), error(1, "early", "exit code 1"), reply(2, "m", json!([call("early")]))];
    assert_eq!(session(lines).options(|o| o.tool_spans = ToolSpans::Errors).run().spans().len(), 1);
}

/// Ids of what is counted and not sent.
fn left_out(lines: &[Line], before: &[EventId], spans: ToolSpans) -> (Vec<EventId>, Vec<u8>) {
    let options = posthog_llma_pipeline::session::ConversionOptions { tool_spans: spans, ..Default::default() };
    let mut session = Session::open(SESSION, &[FileRole::Main], options).unwrap();
    let file = bytes(lines.iter().cloned());
    session.scan(0, &file).unwrap();
    session.exclude(before.iter().copied()).unwrap();
    session.convert(0, &file).unwrap();
    session.finish().unwrap();
    (session.left_out(), session.take_events(usize::MAX))
}

#[test]
fn what_was_counted_is_not_counted_again_when_the_session_goes_on() {
    let (first, events) = left_out(&lines(), &[], ToolSpans::None);
    assert_eq!(first.len(), 6);
    let sent = events.split(|b| *b == b'\n').filter(|line| !line.is_empty());
    let sent = sent.map(|line| serde_json::from_slice::<Value>(line).unwrap());
    let before: Vec<_> =
        sent.map(|event| crate::conversion::id(event["uuid"].as_str().unwrap())).chain(first).collect();
    let mut more = lines();
    more.extend([user(7000, "on"), reply(8000, "m3", json!([call("w")])), result(9000, "w", "x")]);
    // Even where all are sent from now on.
    for spans in [ToolSpans::None, ToolSpans::All] {
        let (left, events) = left_out(&more, &before, spans);
        assert_eq!(left.len(), usize::from(spans == ToolSpans::None));
        let trace = events.split(|b| *b == b'\n').rfind(|line| !line.is_empty()).unwrap();
        let trace: Value = serde_json::from_slice(trace).unwrap();
        assert_eq!(trace["properties"]["claude_code_tool_calls"], 1);
        assert_eq!(trace["properties"]["claude_code_tool_errors"], 0);
    }
}
