//! Sessions of which a part was delivered before: only the rest is sent, and the sums over `$ai_trace` stay right.

use super::lines::*;
use crate::conversion::{Converted, sums};
use serde_json::json;

fn first_run() -> Vec<Line> {
    vec![
        other("new-type"),
        user(0, "one"),
        reply(1000, "m1", json!([task("t", "look"), call("u")])),
        error(1500, "u", "no"),
        result(2000, "t", "x"),
        failed(2500, "e", "Overloaded"),
        user(3000, "/exit"),
        other("another-new-type"),
    ]
}

fn second_run() -> Vec<Line> {
    let day = 86_400_000;
    vec![
        user(day, "two"),
        reply(day + 1000, "m2", json!([call("v")])),
        result(day + 1500, "v", "x"),
        other("system").with(json!({"subtype": "compact_boundary", "uuid": "b"})),
        user(day + 2000, "/cost"),
        reply(day + 3000, "m3", json!([])),
    ]
}

fn case(lines: impl IntoIterator<Item = Line>) -> Case {
    session(lines).agent("a", Some(json!({"toolUseId": "t"})), [user(1100, "look"), reply(1900, "n", json!([]))])
}

fn both_runs() -> Case {
    case(first_run().into_iter().chain(second_run()))
}

#[test]
fn only_what_was_not_delivered_is_sent() {
    let before = case(first_run()).run();
    let rest = both_runs().exclude(before.sent()).run();
    assert_eq!(rest.sent().len(), 3);
    assert!(rest.sent().iter().all(|id| !before.sent().contains(id)));
    assert_eq!(rest.counts.excluded_events, 5);
    assert_eq!(rest.identities.len(), 8);
}

#[test]
fn the_trace_covers_just_that_so_that_sums_stay_right() {
    for by_prompt in [false, true] {
        let grouped = |case: Case| if by_prompt { case.by_prompt() } else { case };
        let whole = grouped(both_runs()).run();
        let first = grouped(case(first_run()));
        let before = first.clone().run();
        let rest = grouped(both_runs()).after(&first, before.sent()).run();
        assert_eq!(sums(&[before, rest]), sums(&[whole]));
    }
}

#[test]
fn the_work_of_the_two_runs_adds_up() {
    let latency = |c: &Converted| c.traces()[0]["$ai_latency"].as_f64().unwrap();
    let before = case(first_run()).run();
    let rest = both_runs().exclude(before.sent()).run();
    assert_eq!((latency(&before), latency(&rest), latency(&both_runs().run())), (2.5, 2.5, 5.0));
}

#[test]
fn the_trace_s_ids_differ_and_its_error_is_not_told_again() {
    let before = case(first_run()).run();
    let rest = both_runs().exclude(before.sent()).run();
    let uuid = |c: &Converted| c.named("$ai_trace").next().unwrap()["uuid"].clone();
    assert_ne!(uuid(&before), uuid(&rest));
    assert_eq!((&before.traces()[0]["$ai_is_error"], &rest.traces()[0]["$ai_is_error"]), (&json!(true), &json!(false)));
    assert_eq!(before.traces()[0]["$ai_trace_id"], rest.traces()[0]["$ai_trace_id"]);
    assert_eq!(rest.traces()[0]["$ai_trace_name"], "one");
}

#[test]
fn where_all_was_delivered_nothing_is_sent() {
    let converted = both_runs().exclude(both_runs().run().sent()).run();
    assert_eq!(converted.events, Vec::<serde_json::Value>::new());
    assert_eq!((converted.counts.traces, converted.counts.excluded_events), (0, 8));
}

#[test]
fn a_delivery_in_the_middle_of_a_turn_adds_up_too() {
    let lines = || {
        vec![
            user(0, "one"),
            other("new-type"),
            reply(1000, "m1", json!([call("t")])),
            result(4000, "t", "x"),
            other("new-type"),
            reply(6000, "m2", json!([call("u")])),
            result(7000, "u", "x"),
        ]
    };
    let before = session(lines().into_iter().take(4)).run();
    let rest = session(lines()).exclude(before.sent()).run();
    let whole = session(lines()).run();
    assert_eq!(sums(&[before.clone(), rest.clone()]), sums(std::slice::from_ref(&whole)));
    let latency = |c: &Converted| c.traces()[0]["$ai_latency"].as_f64().unwrap();
    assert_eq!((latency(&before), latency(&rest), latency(&whole)), (4.0, 3.0, 7.0));
}

#[test]
fn a_sub_agent_that_goes_on_is_counted_where_it_began() {
    let agent =
        || vec![user(1100, "look"), reply(1900, "n1", json!([])), user(2000, "on"), reply(2100, "n2", json!([]))];
    let case = |lines: Vec<Line>| {
        session([user(0, "one"), reply(1000, "m", json!([task("t", "look")]))]).agent("a", None, lines)
    };
    let before = case(agent().into_iter().take(2).collect()).run();
    let rest = case(agent()).exclude(before.sent()).run();
    assert_eq!([before, rest].map(|part| part.sum("$ai_trace", "claude_code_subagents")), [1, 0]);
}

#[test]
fn a_fork_that_gives_the_copied_prompt_a_new_id_is_right_too() {
    let turn = |id: &str| vec![user(0, "one").with(json!({"promptId": id})), reply(1000, "m1", json!([]))];
    let before = session(turn("old")).run();
    let rest = [user(50_000, "two").with(json!({"promptId": "new"})), reply(51_000, "m2", json!([]))];
    let fork = session(turn("new").into_iter().chain(rest)).exclude(before.sent()).run();
    assert_eq!(fork.sent().len(), 1);
    assert_eq!(fork.traces()[0]["$ai_latency"], 1.0);
}

#[test]
fn what_was_accepted_before_the_delivery_ended_early_is_covered_by_the_trace_and_not_sent_again() {
    for by_prompt in [false, true] {
        let grouped = |case: Case| if by_prompt { case.by_prompt() } else { case };
        let whole = grouped(both_runs()).run();
        for accepted in 0..=whole.sent().len() {
            let before = whole.sent()[..accepted].to_vec();
            let rest = grouped(both_runs()).withhold(before.clone()).run();
            assert_eq!(rest.sent(), whole.sent()[accepted..]);
            // The very same traces: one that arrived though nobody was told would be known by its id.
            let traces = |c: &Converted| c.named("$ai_trace").cloned().collect::<Vec<_>>();
            assert_eq!(traces(&rest), traces(&whole));
            assert_eq!(rest.counts.excluded_events, accepted as u64);
            assert_eq!(rest.counts.generations + rest.counts.spans, rest.sent().len() as u64);
        }
    }
}

#[test]
fn a_trace_that_was_accepted_is_withheld_too() {
    let whole = both_runs().by_prompt().run();
    let ids =
        |c: &Converted| c.events.iter().map(|e| crate::conversion::id(e["uuid"].as_str().unwrap())).collect::<Vec<_>>();
    let all = ids(&whole);
    let rest = both_runs().by_prompt().withhold(all[..all.len() - 1].to_vec()).run();
    assert_eq!(ids(&rest), all[all.len() - 1..]);
}
