//! What is one call, whatever a gateway writes as an id, and which result is whose.

use super::lines::*;
use posthog_llma_pipeline::identity::EventId;
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// A line of a call with these IDs and counts.
fn line(time: i64, id: &str, input: u64, output: u64, blocks: Value) -> Line {
    reply(time, id, blocks).with(json!({"message": {"model": "qwen3-coder", "usage": {
        "input_tokens": input, "output_tokens": output, "cache_read_input_tokens": 0, "cache_creation_input_tokens": 0,
    }}}))
}

fn request(id: &str) -> Value {
    json!({"requestId": id})
}

fn outputs(lines: impl IntoIterator<Item = Line>) -> Vec<u64> {
    session(lines).run().generations().iter().filter_map(|p| p["$ai_output_tokens"].as_u64()).collect()
}

#[test]
fn calls_in_a_row_with_one_id_are_told_apart_by_their_request() {
    let mut lines = vec![user(0, "go")];
    for i in 0..6 {
        let tool = format!("s{i}");
        lines.push(
            line(i * 10 + 1, "msg_same", 3, 200 + i as u64, json!([call(&tool)])).with(request(&format!("req_{i}"))),
        );
        lines.push(result(i * 10 + 2, &tool, format!("body {i}")));
    }
    lines.push(line(100, "msg_last", 3, 50, json!([text("done")])));
    let converted = session(lines).run();
    assert_eq!((converted.generations().len(), converted.spans().len()), (7, 6));
    assert_eq!(converted.sum("$ai_generation", "$ai_output_tokens"), 1265);
    let parents: BTreeSet<_> = converted.spans().iter().map(|p| p["$ai_parent_id"].to_string()).collect();
    assert_eq!(parents.len(), 6);
}

#[test]
fn a_constant_id_is_a_new_call_after_each_prompt_in_two_sessions() {
    let of = |session_number: i64| {
        (0..3).flat_map(move |i| {
            let at = session_number * 1_000_000 + i * 10;
            let input = (session_number * 1000 + i) as u64;
            let question = format!("Question {session_number}.{i}");
            let answer = format!("Answer {session_number}.{i}");
            [user(at, question), line(at + 1, "msg_proxy_stream", input, 100, json!([text(&answer)]))]
        })
    };
    let (first, second) = (session(of(1)).run(), session(of(2)).run());
    assert_eq!(
        first.sum("$ai_generation", "$ai_input_tokens") + second.sum("$ai_generation", "$ai_input_tokens"),
        9006
    );
    let ids: BTreeSet<EventId> = first.sent().into_iter().chain(second.sent()).collect();
    assert_eq!(ids.len(), 6);
    // A copy in a fork has the same IDs, whatever its lines' `uuid`s are.
    let copies = of(1).map(|line| {
        let uuid = format!("copy of {}", line.0["uuid"]);
        line.with(json!({"uuid": uuid}))
    });
    assert_eq!(session(copies).run().sent(), first.sent());
}

#[test]
fn the_first_rule_that_applies_decides() {
    let lines = |second: Line, between: Option<Line>| {
        let first = line(1, "gen", 100, 5, json!([text("a"), call_of("Bash", "call_0", json!({}))]));
        [Some(user(0, "go")), Some(first), between, Some(second)].into_iter().flatten().collect::<Vec<_>>()
    };
    let next = |input| line(3, "gen", input, 9, json!([text("b")]));
    let tool = || Some(result(2, "call_0", "x"));
    let unstopped = |line: Line| line.with(json!({"message": {"stop_reason": null}}));
    let with = |members: [Value; 2], between: Option<Line>| {
        let mut lines = lines(next(100), between);
        let last = lines.len() - 1;
        let [first, second] = members;
        lines[1] = lines[1].clone().with(first);
        lines[last] = lines[last].clone().with(second);
        outputs(lines)
    };
    // 1: the request.
    assert_eq!(with([request("r"), request("r")], Some(user(2, "and?"))), [9]);
    assert_eq!(with([request("r"), request("q")], None), [5, 9]);
    // 2: the block's place.
    assert_eq!(with([json!({"apiBlockIndex": 1}), json!({"apiBlockIndex": 2})], Some(user(2, "and?"))), [9]);
    assert_eq!(with([json!({"apiBlockIndex": 1}), json!({"apiBlockIndex": 0})], None), [5, 9]);
    // 3: a prompt.
    assert_eq!(outputs(lines(next(100), Some(user(2, "and?")))), [5, 9]);
    assert_eq!(outputs(lines(next(100), Some(user(2, "client's own").with(json!({"isMeta": true}))))), [9]);
    // 4: other counts, and a result or a stop reason.
    assert_eq!(outputs(lines(next(101), None)), [5, 9]);
    assert_eq!(outputs(lines(next(101), tool())), [5, 9]);
    let mut open = lines(next(101), None);
    open[1] = unstopped(open[1].clone());
    assert_eq!(outputs(open), [9]);
    let mut answered = lines(next(101), tool());
    answered[1] = unstopped(answered[1].clone());
    assert_eq!(outputs(answered), [5, 9]);
    // 5: no counts, a result and a stop reason.
    assert_eq!(outputs(lines(next(0), tool())), [5, 9]);
    assert_eq!(outputs(lines(next(0), None)), [9]);
    // 6: the same call. A stop reason alone proves nothing.
    assert_eq!(outputs(lines(next(100), tool())), [9]);
    assert_eq!(outputs(lines(next(100), None)), [9]);
}

#[test]
fn lines_of_two_calls_may_take_turns() {
    let part = |time, id: &str, words: &str| line(time, "msg_same", 7, 10, json!([text(words)])).with(request(id));
    let lines = [user(0, "go"), part(1, "a", "a1"), part(2, "b", "b1"), part(3, "a", "a2"), part(4, "b", "b2")];
    assert_eq!(outputs(lines), [10, 10]);
}

#[test]
fn a_line_without_an_id_is_a_call_unless_its_request_or_its_block_joins_it() {
    let part = |time, words: &str| line(time, "", 7, 10, json!([text(words)]));
    assert_eq!(outputs([user(0, "go"), part(1, "a"), part(2, "b")]), [10, 10]);
    assert_eq!(outputs([user(0, "go"), part(1, "a").with(request("r")), part(2, "b").with(request("r"))]), [10]);
    let block = |line: Line, at: u64| line.with(json!({"apiBlockIndex": at}));
    assert_eq!(outputs([user(0, "go"), block(part(1, "a"), 0), block(part(2, "b"), 1)]), [10]);
    assert_eq!(outputs([user(0, "go"), block(part(1, "a"), 0), block(part(2, "b"), 0)]), [10, 10]);
}

#[test]
fn the_id_alone_names_a_call_only_if_it_is_anthropics() {
    let id = |message_id: &str| session([reply(1, message_id, json!([text("a")]))]).generation()["$ai_span_id"].clone();
    for anthropics in
        ["msg_01f0851ac56ba844a6ae25689a", "msg_bdrk_01f0851ac56ba844a6ae25", "msg_vrtx_01f0851ac56ba844a6ae25"]
    {
        assert_eq!(id(anthropics), EventId::generation(anthropics).to_string());
    }
    for other in ["chatcmpl-10", "msg_proxy_stream", "msg_short01", "gen_01aaa", "msg_01f0851ac56ba844a6ae-25689a"] {
        assert_ne!(id(other), EventId::generation(other).to_string(), "{other}");
    }
}

/// Call and result of each, as spans' inputs and outputs.
fn pairs(lines: impl IntoIterator<Item = Line>) -> Vec<(String, String)> {
    let converted = session(lines).run();
    let text = |value: &Value| value.as_str().unwrap_or("none").to_owned();
    let mut pairs: Vec<_> =
        converted.spans().iter().map(|p| (text(&p["$ai_input_state"]), text(&p["$ai_output_state"]))).collect();
    pairs.sort();
    pairs
}

fn numbered(time: i64, id: &str, tool: &str, n: u64) -> Line {
    line(time, id, 100 + n, 10, json!([call_of("Bash", tool, json!(n))]))
}

#[test]
fn tool_ids_that_begin_anew_are_calls_of_their_own() {
    let lines = || {
        [
            user(0, "Task"),
            numbered(1, "chatcmpl-10", "functions.Bash:0", 10),
            result(2, "functions.Bash:0", "ten"),
            numbered(3, "chatcmpl-11", "functions.Bash:1", 11),
            result(4, "functions.Bash:1", "eleven"),
            other("system").with(json!({"subtype": "compact_boundary", "uuid": "b"})),
            numbered(6, "chatcmpl-19", "functions.Bash:0", 19),
            result(7, "functions.Bash:0", "nineteen"),
        ]
    };
    let expected = [("10", "ten"), ("11", "eleven"), ("19", "nineteen")].map(|(a, b)| (a.to_owned(), b.to_owned()));
    assert_eq!(pairs(lines()), expected);
    // Another session: the IDs are others.
    let later = lines().into_iter().map(|l| {
        let time = format!("2026-02{}", &l.0["timestamp"].as_str().unwrap_or("2026-01-01T00:00:00Z")[7..]);
        l.with(json!({"timestamp": time}))
    });
    let (first, second) = (session(lines()).run().sent(), session(later).run().sent());
    assert!(first.iter().all(|id| !second.contains(id)));
}

#[test]
fn a_result_is_the_latest_open_call_s_or_the_one_that_its_line_names() {
    let two = || [numbered(1, "a", "t0_", 1), numbered(2, "b", "t0_", 2)];
    let named = |time, source: &str| {
        result(time, "t0_", format!("of {source}")).with(json!({"sourceToolAssistantUUID": source}))
    };
    let of = |a: &str, b: &str| vec![("1".to_owned(), a.to_owned()), ("2".to_owned(), b.to_owned())];
    assert_eq!(pairs(two().into_iter().chain([result(3, "t0_", "x")])), of("none", "x"));
    assert_eq!(pairs(two().into_iter().chain([result(3, "t0_", "x"), result(4, "t0_", "y")])), of("y", "x"));
    assert_eq!(pairs(two().into_iter().chain([named(3, "a1"), named(4, "a2")])), of("of a1", "of a2"));
    // A second result of the same call adds nothing.
    assert_eq!(pairs(two().into_iter().chain([named(3, "a1"), named(4, "a1")])), of("of a1", "none"));
    // A result that stands before its call.
    assert_eq!(pairs([result(0, "t0_", "early")].into_iter().chain(two())), of("early", "none"));
}

#[test]
fn one_response_that_calls_twice_under_one_id_has_two_spans() {
    let blocks = json!([call_of("Bash", "call_0", json!(1)), call_of("Bash", "call_0", json!(2))]);
    assert_eq!(session([reply(1, "m", blocks)]).run().spans().len(), 2);
    let same = json!([call_of("Bash", "call_0", json!(1)), call_of("Bash", "call_0", json!(1))]);
    assert_eq!(session([reply(1, "m", same)]).run().spans().len(), 1);
}

#[test]
fn a_sub_agent_of_a_gateway_hangs_below_its_call() {
    let start = |time, n: u64, prompt: &str| line(time, "msg_proxy", 100 + n, 10, json!([task("call_0", prompt)]));
    let agent = |time, prompt: &str| [user(time, prompt), line(time + 1, "msg_proxy", 500, 20, json!([text("done")]))];
    let main =
        [user(0, "go"), start(1, 1, "one"), result(2, "call_0", "x"), start(3, 2, "two"), result(4, "call_0", "y")];
    let metadata = || Some(json!({"toolUseId": "call_0"}));
    let case = session(main).agent("a", metadata(), agent(10, "two")).agent("b", metadata(), agent(20, "one"));
    let converted = case.run();
    let parents: BTreeSet<_> = converted.generations()[2..].iter().map(|p| p["$ai_parent_id"].to_string()).collect();
    let calls: BTreeSet<_> = converted.spans().iter().map(|p| p["$ai_span_id"].to_string()).collect();
    assert_eq!((converted.generations().len(), parents), (4, calls));
}
