//! `$ai_trace`: name, times, sums and counts.

use super::lines::*;
use serde_json::{Value, json};

/// The name of the trace of these prompts.
fn name(prompts: &[&str]) -> Value {
    let lines = (0..).zip(prompts).map(|(time, prompt)| user(time, *prompt));
    let p = session(lines.chain([reply(100, "m", json!([]))])).trace();
    p.get("$ai_trace_name").cloned().unwrap_or_default()
}

#[test]
fn the_name_is_the_first_prompt_on_one_line() {
    assert_eq!(name(&["  Fix\n\n the   test ", "then this"]), "Fix the test");
}

#[test]
fn the_name_has_at_most_100_characters() {
    let long = "é".repeat(101);
    assert_eq!(name(&[&long]).as_str().unwrap().chars().count(), 100);
    assert_eq!(name(&[&"é".repeat(100)]), "é".repeat(100));
}

#[test]
fn the_name_keeps_to_the_attribute_limit_too() {
    let case = session([user(0, "x".repeat(3000)), reply(1, "m", json!([]))]).options(|o| o.max_attribute_length = 10);
    assert_eq!(case.trace()["$ai_trace_name"], "xxxxxxxxx…");
}

#[test]
fn tags_are_taken_out_of_the_name_and_comparisons_are_not() {
    assert_eq!(name(&["<b>Why</b> is a < b && c > d?"]), "Why is a < b && c > d?");
    assert_eq!(name(&["Use Vec<u8> here"]), "Use Vec<u8> here");
}

#[test]
fn housekeeping_commands_give_no_name_if_there_is_a_better_one() {
    let command = |name: &str| format!("<command-name>{name}</command-name>\n<command-args></command-args>");
    assert_eq!(name(&[&command("/clear"), &command("/model"), "Fix it"]), "Fix it");
    assert_eq!(name(&["/clear", "Fix it"]), "Fix it");
    assert_eq!(name(&["/clearance sale page", "Fix it"]), "/clearance sale page");
    assert_eq!(name(&[&command("/review")]), "/review");
    assert_eq!(name(&["/cost"]), "/cost");
}

#[test]
fn what_is_no_prompt_gives_no_name() {
    let lines = [
        user(0, "Caveat").with(json!({"isMeta": true})),
        user(1, "A summary").with(json!({"isCompactSummary": true})),
        user(2, "Shown").with(json!({"isVisibleInTranscriptOnly": true})),
        user(3, "<local-command-stdout>out</local-command-stdout>"),
        user(4, "<task-notification>done</task-notification>"),
        user(5, "<bash-stdout>out</bash-stdout>"),
        user(6, json!([text("[Request interrupted by user]")])),
        user(7, "A sub-agent's").inline(None),
        user(8, "Fix it"),
        reply(9, "m", json!([])),
    ];
    let p = session(lines).trace();
    assert_eq!((&p["$ai_trace_name"], &p["claude_code_turns"]), (&json!("Fix it"), &json!(1)));
}

#[test]
fn a_slash_command_and_a_picture_are_prompts() {
    let image = json!({"type": "image", "source": {"media_type": "image/png", "data": ""}});
    let lines = [
        user(
            0,
            "<command-message>review</command-message>\n<command-name>/review</command-name>\n<command-args>pr 5</command-args>",
        ),
        reply(1, "m1", json!([])),
        user(2, json!([image])),
        reply(3, "m2", json!([])),
    ];
    let converted = session(lines).run();
    assert_eq!(converted.generations()[0]["$ai_user_prompt"], "/review pr 5");
    assert_eq!(converted.traces()[0]["claude_code_turns"], 2);
}

#[test]
fn the_parent_is_neither_missing_nor_the_trace() {
    assert_eq!(session([reply(0, "m", json!([]))]).trace()["$ai_parent_id"], "root");
}

#[test]
fn a_session_without_events_has_no_trace() {
    assert_eq!(session([user(0, "go"), other("summary")]).run().events, Vec::<Value>::new());
    assert_eq!(raw("").run().events, Vec::<Value>::new());
}

#[test]
fn the_latency_is_work_and_not_the_nights_between() {
    let day = 86_400_000;
    let lines = [
        user(0, "go"),
        reply(1000, "m1", json!([call("t")])),
        result(2500, "t", "x"),
        reply(3000, "m2", json!([])),
        user(day, "good morning"),
        reply(day + 500, "m3", json!([])),
    ];
    assert_eq!(session(lines).trace()["$ai_latency"], 3.5);
}

#[test]
fn what_the_client_writes_before_the_next_prompt_does_not_stretch_the_turn() {
    let night = 43_200_000;
    let between = [
        user(night, "Caveat").with(json!({"isMeta": true})),
        user(night, "A summary").with(json!({"isCompactSummary": true, "isVisibleInTranscriptOnly": true})),
        user(night, "A summary").with(json!({"promptId": "next", "isVisibleInTranscriptOnly": true})),
        other("system").with(json!({"subtype": "away_summary", "timestamp": at(night)})),
    ];
    for line in between {
        let lines = [
            user(0, "go").with(json!({"promptId": "first"})),
            reply(1000, "m1", json!([])),
            line,
            user(night + 1, "morning").with(json!({"promptId": "next"})),
            reply(night + 2001, "m2", json!([])),
        ];
        assert_eq!(session(lines).trace()["$ai_latency"], 3.0);
    }
}

#[test]
fn a_pause_before_a_follow_up_of_the_same_prompt_does_not_count() {
    let lines = [
        user(0, "go").with(json!({"promptId": "p"})),
        reply(1000, "m1", json!([])),
        user(2000, json!([text("[Request interrupted by user]")])).with(json!({"promptId": "p"})),
        user(40_000_000, "rather this").with(json!({"promptId": "p"})),
        reply(40_000_500, "m2", json!([])),
    ];
    let p = session(lines).trace();
    assert_eq!((&p["$ai_latency"], &p["claude_code_turns"]), (&json!(2.5), &json!(1)));
}

#[test]
fn a_turn_is_not_negative_when_the_clock_goes_back() {
    let lines = [user(9000, "go"), reply(1000, "m1", json!([])), user(9500, "on"), reply(9700, "m2", json!([]))];
    assert_eq!(session(lines).trace()["$ai_latency"], 0.2);
}

#[test]
fn without_a_prompt_there_is_no_latency() {
    assert_eq!(session([reply(0, "m", json!([]))]).trace().get("$ai_latency"), None);
}

#[test]
fn the_timestamp_is_the_last_event_s() {
    let case = session([user(0, "go"), reply(1, "m", json!([task("t", "look")])), result(10, "t", "x")]).agent(
        "a",
        None,
        [user(2, "look"), reply(5000, "n", json!([]))],
    );
    assert_eq!(case.run().named("$ai_trace").next().unwrap()["timestamp"], at(5000));
}

#[test]
fn the_totals_are_those_of_all_generations_sub_agents_included() {
    let case = session([
        user(0, "go"),
        reply(1, "m1", json!([task("t", "look")])),
        result(9, "t", "x"),
        reply(10, "m2", json!([])),
    ])
    .agent("a", None, [user(2, "look"), reply(3, "n", json!([]))]);
    let converted = case.run();
    let p = converted.traces()[0];
    let totals = ["input", "output", "cache_read_input", "cache_creation_input"]
        .map(|kind| p[format!("$ai_total_{kind}_tokens")].as_u64().unwrap());
    assert_eq!(totals, [30, 60, 90, 120]);
    let counts = &converted.counts;
    let report = [counts.input_tokens, counts.output_tokens, counts.cache_read_tokens, counts.cache_creation_tokens];
    assert_eq!(report, totals);
}

#[test]
fn a_total_of_nothing_known_is_left_out() {
    let p = session([reply(0, "m", json!([])).without("/message/usage")]).trace();
    assert_eq!(p.get("$ai_total_input_tokens"), None);
}

#[test]
fn the_last_error_is_the_trace_s() {
    let case = session([
        user(0, "go"),
        failed(1, "e1", "first"),
        failed(50, "e2", "last"),
        reply(60, "m", json!([task("t", "look")])),
    ])
    .agent("a", None, [user(2, "look"), failed(20, "e3", "between")]);
    let p = case.trace();
    assert_eq!((&p["$ai_is_error"], &p["$ai_error"]), (&json!(true), &json!("last")));
}

#[test]
fn a_failed_tool_is_no_error_of_the_trace() {
    let p = session([reply(0, "m", json!([call("t")])), error(1, "t", "no")]).trace();
    assert_eq!((&p["$ai_is_error"], p.get("$ai_error")), (&json!(false), None));
}

#[test]
fn the_counts() {
    let case = session([
        user(0, "go"),
        reply(1, "m1", json!([task("t1", "look"), call("t2"), call("t3")])),
        error(2, "t2", "no"),
        result(3, "t3", "x"),
        result(4, "t1", "x"),
        failed(5, "e", "no"),
        other("system").with(json!({"subtype": "compact_boundary", "uuid": "b"})),
        user(6, "on"),
        other("brand-new"),
        other("brand-new"),
        other("newer-still"),
        reply(7, "m2", json!([])),
    ])
    .agent("a", None, [user(2, "look"), reply(3, "n", json!([]))])
    .agent("b", None, [user(2, "nobody asked"), reply(3, "o", json!([]))]);
    let converted = case.run();
    let p = converted.traces()[0];
    for (name, count) in [
        ("turns", 2),
        ("generations", 5),
        ("tool_calls", 3),
        ("tool_errors", 1),
        ("subagents", 2),
        ("compactions", 1),
        ("unknown_lines", 3),
        ("bad_lines", 0),
    ] {
        assert_eq!(p[format!("claude_code_{name}")], count, "{name}");
    }
    let unknown: Vec<_> = converted.counts.unknown_types.into_iter().collect();
    assert_eq!(unknown, [("brand-new".to_owned(), 2), ("newer-still".to_owned(), 1)]);
}

#[test]
fn what_the_client_warms_up_costs_but_is_no_sub_agent() {
    let case = session([user(0, "go"), reply(1, "m", json!([]))]).agent(
        "w",
        None,
        [user(2, "Warmup"), reply(3, "n", json!([]))],
    );
    let p = case.trace();
    assert_eq!((&p["claude_code_subagents"], &p["claude_code_generations"]), (&json!(0), &json!(2)));
    let case = session([reply(1, "m", json!([task("t", "Warmup")]))]).agent(
        "w",
        None,
        [user(2, "Warmup"), reply(3, "n", json!([]))],
    );
    assert_eq!(case.trace()["claude_code_subagents"], 1);
}

#[test]
fn types_of_lines_that_are_known_are_not_counted_as_unknown() {
    let known = [
        "agent-color",
        "agent-name",
        "agent-setting",
        "ai-title",
        "api-request-blob",
        "api-request-shape",
        "atis-latch",
        "attachment",
        "bridge-session",
        "continued-in",
        "cost-state",
        "custom-title",
        "file-history-delta",
        "file-history-snapshot",
        "last-prompt",
        "mode",
        "permission-mode",
        "pr-link",
        "progress",
        "queue-operation",
        "saved_hook_context",
        "speculation-accept",
        "summary",
        "tag",
        "task-summary",
        "tools-used",
        "worktree-state",
        "system",
        "api-request",
    ];
    let converted = session(known.map(other)).run();
    assert_eq!((converted.counts.unknown_lines, converted.counts.lines), (0, 29));
}

#[test]
fn of_many_unknown_types_32_are_named_and_all_are_counted() {
    let converted = session((0..100).map(|i| other(&format!("new-{i}{}", "x".repeat(100))))).run();
    assert_eq!((converted.counts.unknown_lines, converted.counts.unknown_types.len()), (100, 32));
    assert!(converted.counts.unknown_types.keys().all(|name| name.len() <= 64));
}

#[test]
fn a_prompt_counts_in_the_delivery_that_reads_it_answered_or_not() {
    let answered = || vec![user(0, "one"), reply(1, "m1", json!([])), user(2, "unanswered"), user(3, "two")];
    let more = || answered().into_iter().chain([reply(4, "m2", json!([])), user(5, "three")]);
    let turns = |case: Case| case.run().sum("$ai_trace", "claude_code_turns");
    assert_eq!((turns(session(answered())), turns(session(more()))), (3, 4));
    let first = session(answered());
    assert_eq!(turns(session(more()).after(&first, first.clone().run().sent())), 1);
    // A prompt's own trace is sent with its first event, wherever the prompt was read.
    let (by_prompt, grown) = (session(answered()).by_prompt(), session(more()).by_prompt());
    assert_eq!((turns(by_prompt.clone()), turns(grown.clone())), (1, 2));
    assert_eq!(turns(grown.after(&by_prompt, by_prompt.clone().run().sent())), 1);
}

#[test]
fn a_command_counts_in_the_delivery_that_reads_its_answer() {
    let command = || vec![user(0, "go"), reply(1, "m1", json!([])), user(2, "<command-name>/review</command-name>")];
    let answer = || command().into_iter().chain([reply(3, "m2", json!([]))]);
    let turns = |case: Case| case.run().sum("$ai_trace", "claude_code_turns");
    let first = session(command());
    assert_eq!((turns(first.clone()), turns(session(answer()))), (1, 2));
    assert_eq!(turns(session(answer()).after(&first, first.clone().run().sent())), 1);
}

#[test]
fn what_a_copied_conversation_asked_is_no_turn_of_the_fork() {
    let origin = || vec![user(0, "one"), user(1, "unanswered"), user(2, "two"), reply(3, "m1", json!([]))];
    let fork = origin().into_iter().chain([user(4, "three"), reply(5, "m2", json!([]))]);
    let rest = session(fork).exclude(session(origin()).run().sent());
    assert_eq!(rest.run().sum("$ai_trace", "claude_code_turns"), 1);
}

#[test]
fn work_is_the_value_at_this_end_without_that_at_the_last() {
    let measured = |time: i64, milliseconds: i64| {
        other("system").with(json!({"subtype": "turn_duration", "durationMs": milliseconds, "timestamp": at(time)}))
    };
    let begun = || {
        vec![
            user(0, "go"),
            reply(1000, "m1", json!([call("t")])),
            user(4000, json!([{"type": "text", "text": "<x>y</x>"}])),
        ]
    };
    let end = || [result(3_600_000, "t", "x"), reply(3_605_000, "m2", json!([])), measured(3_605_100, 9000)];
    let seconds = |case: &Case| {
        let trace = case.clone().trace();
        ["$ai_latency", "claude_code_wait_seconds"].map(|name| trace[name].to_string()).join(" ")
    };
    let first = session(begun());
    let whole = session(begun().into_iter().chain(end()));
    let rest = whole.clone().after(&first, first.clone().run().sent());
    assert_eq!((seconds(&first), seconds(&whole)), ("4.0 0.0".to_owned(), "9.0 3596.0".to_owned()));
    assert_eq!(seconds(&rest), "5.0 3596.0");
    // The client measured less than was counted already: never below 0, and what it did not measure was waiting.
    let measured_less = session(begun().into_iter().chain([measured(4100, 1000), reply(4200, "m2", json!([]))]));
    assert_eq!(seconds(&measured_less.after(&first, first.clone().run().sent())), "0.0 3.0");
}
