//! A session that grows and is delivered each time: the sums over all `$ai_trace`s are those of the whole.

use super::lines::*;
use crate::conversion::{self, Converted, Sums};
use serde_json::json;

const SECONDS: [&str; 2] = ["$ai_latency", "claude_code_wait_seconds"];

fn sums(parts: &[Converted]) -> (Sums, [i64; 2]) {
    let seconds = |name: &str| {
        let traces = parts.iter().flat_map(Converted::traces);
        traces.filter_map(|trace| trace[name].as_f64()).map(|seconds| (seconds * 1000.0).round() as i64).sum()
    };
    (conversion::sums(parts), SECONDS.map(seconds))
}

/// Delivers the session as it was at each of these times, of which the last is its end.
fn deliver(times: &[Case]) -> Vec<Converted> {
    let (mut parts, mut sent, mut last) = (Vec::new(), Vec::new(), session([]));
    for (n, now) in times.iter().enumerate() {
        let runs = n + 1 < times.len();
        let case = now.clone().after(&last, sent.clone());
        let part = case.options(|o| (o.hold_after, o.hold_calls) = (runs.then_some(i64::MIN), runs)).run();
        assert!(part.sent().iter().all(|id| !sent.contains(id)), "an event came twice");
        sent.extend(part.sent());
        // A delivery that sent nothing told nothing.
        if !part.traces().is_empty() {
            last = now.clone();
        }
        parts.push(part);
    }
    parts
}

/// Each way to deliver at some of these times, and in the end, adds up to the whole. Returns the whole's turns.
fn add_up(times: &[Case]) -> u64 {
    let (end, before) = times.split_last().unwrap();
    let undivided = end.clone().run();
    let turns = undivided.sum("$ai_trace", "claude_code_turns");
    let whole = sums(&[undivided]);
    let by_prompt = sums(&[end.clone().by_prompt().run()]).0;
    for chosen in 0..1_u32 << before.len() {
        let some = before.iter().enumerate().filter(|(n, _)| chosen >> n & 1 == 1).map(|(_, case)| case);
        let some: Vec<Case> = some.chain([end]).cloned().collect();
        assert_eq!(sums(&deliver(&some)), whole, "{chosen:b}: {SECONDS:?}");
        let some: Vec<Case> = some.into_iter().map(Case::by_prompt).collect();
        assert_eq!(sums(&deliver(&some)).0, by_prompt, "by prompt, {chosen:b}");
    }
    turns
}

/// A session as it was after each of its lines.
fn line_by_line(lines: &[Line], rest: impl Fn(Case) -> Case) -> Vec<Case> {
    (1..=lines.len()).map(|end| rest(session(lines[..end].to_vec()))).collect()
}

#[test]
fn a_cut_within_a_turn_or_between_a_prompt_and_its_answer() {
    let lines = [
        user(0, "one"),
        reply(1000, "m1", json!([call("t")])),
        error(2000, "t", "no"),
        reply(3000, "m2", json!([])),
        user(60_000, "two"),
        reply(61_000, "m3", json!([])),
    ];
    assert_eq!(add_up(&line_by_line(&lines, |case| case)), 2);
}

#[test]
fn a_prompt_that_is_answered_late_or_never() {
    let lines = [
        user(0, "one"),
        reply(1000, "m1", json!([])),
        user(60_000, "never answered"),
        other("new-type"),
        user(120_000, "two"),
        reply(121_000, "m2", json!([])),
    ];
    assert_eq!(add_up(&line_by_line(&lines, |case| case)), 3);
}

#[test]
fn a_command_and_its_answer() {
    let lines = [
        user(0, "one"),
        reply(1000, "m1", json!([])),
        user(60_000, "<command-name>/review</command-name>"),
        reply(61_000, "m2", json!([])),
        user(120_000, "<command-name>/clear</command-name>"),
        reply(121_000, "m3", json!([])),
    ];
    assert_eq!(add_up(&line_by_line(&lines, |case| case)), 3);
}

#[test]
fn a_prompt_that_is_queued_in_one_delivery_and_told_or_taken_out_in_the_next() {
    let queue = |time: i64, operation: &str, words: Option<&str>| {
        other("queue-operation").with(json!({"operation": operation, "content": words, "timestamp": at(time)}))
    };
    let words = ["use ghp", "_", "0123456789abcdefghijklmnopqrstuvwx12"].concat();
    let begin = || vec![user(0, "one"), reply(1000, "m1", json!([call("t")])), queue(1500, "enqueue", Some(&words))];
    let told = [result(2000, "t", "x"), queue(2100, "remove", None), reply(3000, "m2", json!([]))];
    let asked = [
        result(2000, "t", "x"),
        reply(3000, "m2", json!([])),
        queue(3100, "dequeue", None),
        user(3200, words.as_str()),
        reply(4000, "m3", json!([])),
    ];
    for (end, turns) in [(told.to_vec(), 1), (asked.to_vec(), 2)] {
        let lines: Vec<_> = begin().into_iter().chain(end).collect();
        assert_eq!(add_up(&line_by_line(&lines, |case| case)), turns);
    }
}

#[test]
fn a_session_that_goes_on_in_another_folder_or_home() {
    let first = vec![user(0, "one"), reply(1000, "m1", json!([])), user(2000, "unanswered")];
    let second = |end: usize| {
        let lines = [
            other("mode"),
            user(60_000, "two"),
            reply(61_000, "m2", json!([call("t")])),
            error(62_000, "t", "no"),
            other("system").with(json!({"subtype": "compact_boundary", "uuid": "b", "timestamp": at(63_000)})),
            reply(64_000, "m3", json!([])),
        ];
        lines[..end].to_vec()
    };
    let mut times = vec![session(first.clone())];
    times.extend((1..=6).map(|end| session(first.clone()).main(second(end))));
    assert_eq!(add_up(&times), 3);
    // What it has elsewhere began before: its place in the order changes.
    let mut times: Vec<_> = (1..=6).map(|end| session(second(end))).collect();
    times.push(session(first.clone()).main(second(6)));
    assert_eq!(add_up(&times), 3);
    // The client copied what it had into the next folder.
    let copied = |end: usize| first.iter().cloned().chain(second(end)).collect::<Vec<_>>();
    let mut times = vec![session(first.clone())];
    times.extend((1..=6).map(|end| session(first.clone()).main(copied(end))));
    assert_eq!(add_up(&times), 3);
}

#[test]
fn sub_agents_files_that_come_and_grow_in_between() {
    let lines = [
        user(0, "one"),
        reply(1000, "m1", json!([task("s", "look")])),
        user(60_000, "two"),
        reply(61_000, "m2", json!([])),
        result(90_000, "s", "y"),
        reply(91_000, "m3", json!([])),
    ];
    let agent = [
        user(1500, "look"),
        reply(2000, "n1", json!([call("u")])),
        error(70_000, "u", "no"),
        other("new-type"),
        reply(80_000, "n2", json!([])),
    ];
    let at = |main: usize, its: usize| {
        let case = session(lines[..main].to_vec());
        if its == 0 { case } else { case.agent("a", Some(json!({"toolUseId": "s"})), agent[..its].to_vec()) }
    };
    let times = [(2, 0), (2, 2), (4, 2), (4, 3), (4, 4), (4, 5), (6, 5)];
    assert_eq!(add_up(&times.map(|(main, its)| at(main, its))), 2);
    let late = [(2, 1), (6, 1), (6, 3), (6, 5)];
    assert_eq!(add_up(&late.map(|(main, its)| at(main, its))), 2);
}
