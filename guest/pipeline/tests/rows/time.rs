//! Time that was work, and time that was waited.

use super::lines::*;
use serde_json::{Value, json};

const HOUR: i64 = 3_600_000;

fn turn_duration(time: i64, milliseconds: Value) -> Line {
    Line(
        json!({"type": "system", "subtype": "turn_duration", "durationMs": milliseconds, "timestamp": at(time), "uuid": format!("d{time}")}),
    )
}

#[test]
fn a_night_at_a_permission_prompt_is_no_work() {
    let lines = [
        user(0, "Fix the typo"),
        reply(4000, "m1", json!([call_of("Edit", "t", json!({"file_path": "/a"}))])),
        result(8 * HOUR, "t", "updated"),
        reply(8 * HOUR + 6000, "m2", json!([])),
        turn_duration(8 * HOUR + 6100, json!(11_000)),
    ];
    let converted = session(lines).run();
    let (span, trace) = (converted.spans()[0], converted.traces()[0]);
    assert_eq!(trace["$ai_latency"], 11.0);
    assert_eq!(trace["claude_code_wait_seconds"], 28_795.0);
    assert_eq!((&span["claude_code_wait_seconds"], &span["$ai_latency"]), (&json!(28_795.0), &json!(1.0)));
}

#[test]
fn a_question_waits_for_its_answer_with_and_without_the_clients_measure() {
    for measure in [Some(json!(5000)), None, Some(json!("odd"))] {
        let lines = [
            user(0, "Plan the release"),
            reply(2000, "m1", json!([call_of("AskUserQuestion", "t", json!({}))])),
            result(9 * HOUR, "t", "main"),
            reply(9 * HOUR + 2000, "m2", json!([])),
        ];
        let lines = lines.into_iter().chain(measure.clone().map(|m| turn_duration(9 * HOUR + 2200, m)));
        let converted = session(lines).run();
        let latency = converted.traces()[0]["$ai_latency"].as_f64().unwrap();
        assert!(latency <= 5.0, "{measure:?}: {latency}");
        assert!(converted.spans()[0]["claude_code_wait_seconds"].as_f64().unwrap() > 32_000.0);
    }
}

#[test]
fn of_two_calls_the_one_that_a_person_was_asked_for_waited() {
    let asked = json!({"permissionDecision": {"decision": "accept", "source": "user_temporary"}});
    let lines = [
        user(0, "go"),
        reply(1000, "m1", json!([call("long")])),
        result(601_000, "long", "built"),
        reply(602_000, "m2", json!([call("asked")])),
        result(902_000, "asked", "x").with(asked),
        reply(903_000, "m3", json!([])),
        turn_duration(903_100, json!(604_000)),
    ];
    let converted = session(lines).run();
    let waits: Vec<_> = converted.spans().iter().map(|s| s["claude_code_wait_seconds"].as_f64()).collect();
    assert_eq!(waits, [None, Some(299.0)]);
}

#[test]
fn a_session_that_is_moved_to_the_background_waits_for_nobody() {
    let (before, after) = (json!({"session_id": "s1"}), json!({"session_id": "s2"}));
    let lines = [
        user(0, "go"),
        reply(1000, "m1", json!([call("a")])).with(before.clone()),
        result(11_000, "a", "x").with(before),
        reply(17_000, "m2", json!([call("b")])).with(after.clone()),
        result(27_000, "b", "x").with(after.clone()),
        reply(28_000, "m3", json!([])).with(after),
        turn_duration(28_100, json!(11_500)),
    ];
    let converted = session(lines).run();
    let trace = converted.traces()[0];
    assert_eq!((&trace["$ai_latency"], &trace["claude_code_wait_seconds"]), (&json!(28.0), &json!(0.0)));
    assert!(converted.spans().iter().all(|span| span.get("claude_code_wait_seconds").is_none()));
}

#[test]
fn hours_until_a_background_job_ends_are_no_work() {
    let notification = "<task-notification>\n<task-id>b1</task-id>\n</task-notification>";
    let wakes = [
        user(4 * HOUR, notification).with(json!({"promptId": "p2", "origin": {"kind": "task-notification"}})),
        user(4 * HOUR, "<next-months-news>done</next-months-news>"),
        user(4 * HOUR, "The build is done.").with(json!({"promptSource": "system"})),
        Line(json!({"type": "system", "subtype": "scheduled_task_fire", "timestamp": at(4 * HOUR), "uuid": "s"})),
    ];
    for wake in wakes {
        for measured in [true, false] {
            let lines = [
                user(0, "Build it").with(json!({"promptId": "p1"})),
                reply(8000, "m1", json!([])),
                turn_duration(8100, json!(8100)),
                wake.clone(),
                reply(4 * HOUR + 6000, "m2", json!([])),
                turn_duration(4 * HOUR + 6100, json!(6100)),
            ];
            let lines = lines.into_iter().filter(|line| measured || line.0["subtype"] != "turn_duration");
            let trace = session(lines).trace();
            assert_eq!(trace["$ai_latency"], 14.0, "{:?}", wake.0);
            assert_eq!(trace["claude_code_wait_seconds"], 14_392.0);
            assert_eq!(trace["claude_code_turns"], 1);
        }
    }
}

#[test]
fn a_measure_that_covers_earlier_ones_counts_no_time_twice() {
    let lines = [
        user(0, "one"),
        reply(929_000, "m1", json!([])),
        turn_duration(929_000, json!(929_000)),
        user(1_000_000, "two"),
        reply(1_126_000, "m2", json!([])),
        turn_duration(1_126_000, json!(126_000)),
        user(1_600_000, "three"),
        reply(1_690_000, "m3", json!([])),
        turn_duration(1_690_000, json!(1_690_000)),
    ];
    assert_eq!(session(lines).trace()["$ai_latency"], 929.0 + 126.0 + 90.0);
}

#[test]
fn a_later_delivery_tells_only_the_work_since() {
    let lines = [
        user(0, "go"),
        reply(1000, "m1", json!([call("t")])),
        result(2000, "t", "x"),
        reply(5000, "m2", json!([])),
        turn_duration(5000, json!(4000)),
    ];
    let all = session(lines.clone()).run().sent();
    let later = session(lines).exclude(all[..1].iter().copied()).trace();
    assert_eq!(later["$ai_latency"], 3.0);
}
