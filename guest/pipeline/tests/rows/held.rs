//! What is open is held back: more of it may come, and no event is sent twice.

use super::lines::*;
use crate::conversion::{Converted, sums};
use posthog_llma_pipeline::time;
use serde_json::{Value, json};

/// A time in milliseconds since 1970.
fn since(milliseconds: i64) -> i64 {
    time::parse(&at(milliseconds)).unwrap()
}

/// A line of a response that goes on.
fn part(time: i64, id: &str, blocks: Value) -> Line {
    reply(time, id, blocks).with(json!({"message": {"stop_reason": null, "usage": {"output_tokens": 1}}}))
}

fn held(lines: impl IntoIterator<Item = Line>, after: i64) -> Converted {
    session(lines).options(|o| o.hold_after = Some(since(after))).run()
}

fn open() -> Vec<Line> {
    vec![
        user(0, "go"),
        reply(1000, "m1", json!([call("t")])),
        result(2000, "t", "x"),
        part(3000, "m2", json!([text("I am")])),
        part(4000, "m2", json!([call("u")])),
    ]
}

#[test]
fn an_open_response_is_left_out_with_its_calls_until_it_is_old() {
    for (after, sent, partial) in [(3999, 2, 0), (0, 2, 0), (4000, 4, 1), (9000, 4, 1)] {
        let converted = held(open(), after);
        assert_eq!(converted.sent().len(), sent, "{after}");
        let sorted = |mut ids: Vec<_>| {
            ids.sort();
            ids
        };
        assert_eq!(sorted(converted.identities.clone()), sorted(converted.sent()), "what is held is not announced");
        assert_eq!(converted.counts.held_events, 4 - sent as u64);
        assert_eq!(converted.counts.held_since, (sent == 2).then(|| since(4000)));
        assert_eq!(converted.sum("$ai_trace", "claude_code_partial_generations"), partial);
        assert_eq!(converted.sum("$ai_trace", "claude_code_generations"), sent as u64 / 2);
    }
    // Nobody asked for it to be held.
    assert_eq!(session(open()).run().sent().len(), 4);
    assert_eq!(session(open()).run().counts.held_events, 0);
}

#[test]
fn it_is_sent_once_and_with_its_final_count() {
    let before = held(open(), 0);
    let mut ended = open();
    ended.push(reply(5000, "m2", json!([text("ready")])));
    ended.push(result(6000, "u", "y"));
    let rest = session(ended.clone()).exclude(before.sent()).options(|o| o.hold_after = Some(since(0))).run();
    assert_eq!(rest.sent().len(), 2);
    assert_eq!(rest.generations()[0]["$ai_output_tokens"], 20);
    assert_eq!(rest.generations()[0].get("claude_code_output_tokens_partial"), None);
    assert_eq!(rest.spans()[0]["$ai_output_state"], "y");
    // Once it was sent as it was, late lines add spans and no second generation.
    let partial = held(open(), 9000);
    assert_eq!(partial.generations()[1]["claude_code_output_tokens_partial"], true);
    ended.insert(6, part(5500, "m2", json!([call("late")])));
    let rest = session(ended).exclude(partial.sent()).run();
    assert_eq!((rest.generations().len(), rest.spans().len()), (0, 1));
}

#[test]
fn what_stands_behind_a_response_or_ends_it_closes_it() {
    let stopped = reply(3000, "m", json!([text("a")]));
    let interrupted = part(3000, "m", json!([text("a")])).with(json!({"isAbortedMidStream": true}));
    let gone_on = [part(3000, "m", json!([text("a")])), user(4000, "[Request interrupted by user]")];
    let prompted = [part(3000, "m", json!([text("a")])), user(4000, "next")];
    let answered = [part(3000, "m", json!([call("t")])), result(4000, "t", "x")];
    let another = [part(3000, "m", json!([text("a")])), reply(4000, "n", json!([]))];
    let measured = other("system").with(json!({"subtype": "turn_duration", "durationMs": 9, "timestamp": at(4000)}));
    let measured = [part(3000, "m", json!([text("a")])), measured];
    let failed = [failed(3000, "m", "Overloaded")];
    for closed in [
        vec![stopped],
        vec![interrupted],
        gone_on.to_vec(),
        prompted.to_vec(),
        answered.to_vec(),
        another.to_vec(),
        measured.to_vec(),
        failed.to_vec(),
    ] {
        let lines: Vec<_> = std::iter::once(user(0, "go")).chain(closed).collect();
        let converted = held(lines.clone(), 0);
        assert_eq!(converted.counts.held_events, 0, "{lines:?}");
        assert_eq!(converted.events, session(lines).run().events);
    }
}

#[test]
fn each_thread_has_a_last_response_of_its_own() {
    let agent = [user(1500, "look"), part(5000, "n", json!([call("v")]))];
    let lines = [user(0, "go"), reply(1000, "m", json!([task("t", "look")]))];
    let case = session(lines).agent("a", Some(json!({"toolUseId": "t"})), agent);
    let converted = case.options(|o| o.hold_after = Some(since(900))).run();
    // The call that started it is open as well.
    assert_eq!((converted.generations().len(), converted.spans().len()), (1, 0));
    assert_eq!(converted.counts.held_events, 3);
    assert_eq!(converted.counts.held_since, Some(since(5000)));
}

#[test]
fn a_call_without_a_result_is_held_as_long_as_its_session_runs() {
    let lines = || [user(0, "go"), reply(1000, "m", json!([call("t"), call("u")])), result(2000, "t", "x")];
    let run = |calls: bool, after: i64| {
        session(lines()).options(|o| (o.hold_after, o.hold_calls) = (Some(since(after)), calls)).run()
    };
    for (calls, after, spans, held_since) in
        [(false, 0, 1, Some(1000)), (false, 5000, 2, None), (true, 5000, 1, None), (true, 0, 1, Some(1000))]
    {
        let converted = run(calls, after);
        assert_eq!(converted.spans().len(), spans, "{calls}, {after}");
        assert_eq!(converted.counts.held_since, held_since.map(since));
        assert_eq!(converted.sum("$ai_trace", "claude_code_tool_calls"), spans as u64);
    }
}

/// Delivers a session line by line, as if each line were the last for now: whatever is held, each event is sent once, and the
/// sums over all traces are those of the whole.
#[test]
fn delivered_at_any_line_each_event_is_sent_once_and_sums_are_right() {
    let key = ["ghp", "_", "0123456789abcdefghijklmnopqrstuvwx12"].concat();
    let lines = vec![
        user(0, "one"),
        part(1000, "m1", json!([text(&key)])),
        reply(1100, "m1", json!([call("t"), call("u")])),
        error(2000, "t", "no"),
        other("new-type"),
        result(2500, "u", "x"),
        part(3000, "m2", json!([text(&key)])),
        reply(3500, "m2", json!([text("done")])),
        user(4000, "unanswered"),
        user(5000, "two"),
        reply(6000, "m3", json!([call("v")])),
        result(7000, "v", key.clone()),
        reply(8000, "m4", json!([])),
        user(9000, "three"),
        reply(9500, "m5", json!([text("end")])),
    ];
    let whole = session(lines.clone()).run();
    for step in 1..lines.len() {
        let mut sent = Vec::new();
        let mut last = session([]);
        let mut parts = Vec::new();
        let mut ends: Vec<_> = (step..lines.len()).step_by(step).collect();
        ends.push(lines.len());
        for end in ends {
            let case = session(lines[..end].to_vec()).after(&last, sent.clone());
            let part =
                case.clone().options(|o| (o.hold_after, o.hold_calls) = (Some(since(-1)), end < lines.len())).run();
            assert!(part.traces().len() <= 1);
            // What nothing was sent of was not delivered.
            if !part.traces().is_empty() {
                last = case;
            }
            assert!(part.sent().iter().all(|id| !sent.contains(id)), "{step}, {end}");
            sent.extend(part.sent());
            parts.push(part);
        }
        sent.sort();
        let mut all = whole.sent();
        all.sort();
        assert_eq!(sent, all, "{step}");
        assert_eq!(sums(&parts), sums(std::slice::from_ref(&whole)), "every {step} lines");
    }
}

/// A session of 3 days and 500 turns, each with a tool, delivered as it goes on: by a clock of the test's own.
#[test]
fn a_session_of_days_is_delivered_live_each_event_once_and_its_sums_are_right() {
    const TURNS: i64 = 500;
    const SUMS: [&str; 4] =
        ["claude_code_turns", "claude_code_generations", "claude_code_tool_calls", "$ai_total_output_tokens"];
    let every = 3 * 86_400_000 / TURNS;
    let lines: Vec<_> = (0..TURNS)
        .flat_map(|turn| {
            let at = turn * every;
            [
                user(at, format!("prompt {turn}")),
                part(at + 1000, &format!("m{turn}"), json!([call(&format!("t{turn}"))])),
                result(at + 60_000, &format!("t{turn}"), "x"),
                reply(at + 70_000, &format!("n{turn}"), json!([text("done")])),
            ]
        })
        .collect();
    let (mut sent, mut sums, mut deliveries, mut last) = (Vec::new(), [0; 4], 0, session([]));
    // Every 25 turns a delivery comes in the middle of one: at each of its lines in turn.
    let mut ends: Vec<_> = (1..20).map(|n| n * 100 + n % 4).collect();
    ends.push(lines.len());
    for end in ends {
        let runs = end < lines.len();
        let now = time::parse(lines[end - 1].0["timestamp"].as_str().unwrap()).unwrap();
        let case = session(lines[..end].to_vec()).after(&last, sent.clone());
        let live = case.clone().options(|o| (o.hold_after, o.hold_calls) = (Some(now - 600_000), runs)).run();
        assert_eq!(live.traces().len(), 1);
        last = case;
        deliveries += live.traces().len();
        sent.extend(live.sent());
        sums = std::array::from_fn(|i| sums[i] + live.sum("$ai_trace", SUMS[i]));
    }
    let whole = session(lines).run();
    let count = sent.len();
    sent.sort();
    sent.dedup();
    assert_eq!((sent.len(), count, deliveries), (1500, 1500, 20));
    assert_eq!(sums.to_vec(), SUMS.map(|name| whole.sum("$ai_trace", name)).to_vec(), "{SUMS:?}");
}

#[test]
fn what_was_written_before_a_time_is_left_out_as_if_it_had_been_delivered() {
    let lines = [
        user(0, "one"),
        reply(1000, "m1", json!([call("t")])),
        result(2000, "t", "x"),
        user(5000, "two"),
        reply(6000, "m2", json!([call("u")])),
        error(7000, "u", "no"),
    ];
    let rest = session(lines.to_vec()).options(|o| o.since = Some(since(4000))).run();
    let before = session(lines[..3].to_vec()).run();
    let expected = session(lines).exclude(before.sent()).run();
    assert_eq!(rest.events, expected.events);
    assert_eq!(rest.sum("$ai_trace", "claude_code_turns"), 1);
}
