//! `$ai_generation`: one for each response, its tokens, its times and its flags.

use super::lines::*;
use serde_json::{Value, json};

fn with(message: Value) -> Value {
    session([user(0, "go"), reply(1000, "m", json!([text("a")])).with(json!({"message": message}))]).generation()
}

#[test]
fn all_lines_of_a_message_are_one_generation() {
    let line = |time, words| reply(time, "m", json!([text(words)]));
    let converted = session([user(0, "go"), line(1, "a"), line(2, "b"), line(3, "c")]).run();
    assert_eq!(converted.generations().len(), 1);
    assert_eq!(converted.counts.generations, 1);
    assert_eq!(converted.traces()[0]["claude_code_generations"], 1);
}

#[test]
fn the_model_and_its_provider() {
    let p = with(json!({}));
    assert_eq!((&p["$ai_model"], &p["$ai_provider"]), (&json!("claude-x"), &json!("anthropic")));
}

#[test]
fn the_span_id_is_the_event_s_own_id() {
    assert_eq!(with(json!({}))["$ai_span_id"], generation_id("m"));
}

#[test]
fn on_the_main_thread_the_parent_is_the_trace_and_there_is_no_agent() {
    let p = with(json!({}));
    assert_eq!(p["$ai_parent_id"], SESSION);
    assert_eq!(p.get("$ai_agent_name"), None);
}

#[test]
fn the_four_counts_of_tokens() {
    let p = with(json!({}));
    let counts =
        ["$ai_input_tokens", "$ai_output_tokens", "$ai_cache_read_input_tokens", "$ai_cache_creation_input_tokens"]
            .map(|name| p[name].as_u64().unwrap());
    assert_eq!(counts, [10, 20, 30, 40]);
}

#[test]
fn the_total_is_input_and_output() {
    assert_eq!(with(json!({}))["$ai_total_tokens"], 30);
}

#[test]
fn posthog_is_told_that_the_input_excludes_the_cache() {
    assert_eq!(with(json!({}))["$ai_cache_reporting_exclusive"], true);
}

#[test]
fn the_usage_is_that_of_the_last_line() {
    let line = |time, words, output| {
        reply(time, "m", json!([text(words)])).with(json!({"message": {"usage": {"output_tokens": output}}}))
    };
    let case = session([user(0, "go"), line(1, "a", 2), line(2, "b", 2), line(3, "c", 90)]);
    assert_eq!(case.generation()["$ai_output_tokens"], 90);
}

#[test]
fn a_copy_of_an_earlier_line_does_not_take_the_usage_back() {
    let first = || {
        reply(1, "m", json!([text("a")])).with(json!({"message": {"stop_reason": null, "usage": {"output_tokens": 2}}}))
    };
    let copy = first().with(json!({"uuid": "copy", "timestamp": at(9000)}));
    let p = session([user(0, "go"), first(), reply(2, "m", json!([text("b")])), copy]).generation();
    assert_eq!((&p["$ai_output_tokens"], &p["$ai_latency"]), (&json!(20), &json!(0.002)));
    assert_eq!((&p["$ai_stop_reason"], p.get("claude_code_output_tokens_partial")), (&json!("stop"), None));
}

#[test]
fn a_count_that_is_missing_or_no_number_is_left_out_and_is_not_0() {
    for bad in [json!(null), json!("12"), json!(-1), json!(1.5), json!({}), json!([1]), json!(true)] {
        for (name, property) in [
            ("input_tokens", "$ai_input_tokens"),
            ("output_tokens", "$ai_output_tokens"),
            ("cache_read_input_tokens", "$ai_cache_read_input_tokens"),
            ("cache_creation_input_tokens", "$ai_cache_creation_input_tokens"),
        ] {
            let p = with(json!({"usage": {name: bad}}));
            assert_eq!(p.get(property), None, "{name}: {bad}");
            assert_eq!(p.get("$ai_total_tokens").is_none(), name == "input_tokens" || name == "output_tokens");
        }
    }
    assert_eq!(with(json!({"usage": null})).get("$ai_input_tokens"), None);
    assert_eq!(with(json!({"usage": {"input_tokens": 0}}))["$ai_input_tokens"], 0);
}

#[test]
fn a_count_that_the_last_line_lacks_is_that_of_an_earlier_one() {
    let last = reply(2, "m", json!([text("b")])).with(json!({"message": {"usage": {"output_tokens": "many"}}}));
    let p = session([user(0, "go"), reply(1, "m", json!([text("a")])), last]).generation();
    assert_eq!((&p["$ai_output_tokens"], &p["$ai_input_tokens"]), (&json!(20), &json!(10)));
}

#[test]
fn the_two_kinds_of_cache_writes_are_sent_together_or_not_at_all() {
    let usage = |creation: Value| with(json!({"usage": {"cache_creation": creation}}));
    let (five, hour) = ("$ai_cache_creation_5m_input_tokens", "$ai_cache_creation_1h_input_tokens");
    let both = usage(json!({"ephemeral_5m_input_tokens": 40, "ephemeral_1h_input_tokens": 0}));
    assert_eq!((&both[five], &both[hour]), (&json!(40), &json!(0)));
    for one in [json!({"ephemeral_5m_input_tokens": 40}), json!({"ephemeral_1h_input_tokens": 40}), json!(null)] {
        let p = usage(one);
        assert_eq!((p.get(five), p.get(hour)), (None, None));
    }
}

#[test]
fn what_is_there_now_and_then_is_sent_where_it_is() {
    let p = with(json!({"usage": {
        "output_tokens_details": {"thinking_tokens": 7}, "server_tool_use": {"web_search_requests": 2},
        "service_tier": "priority", "speed": "standard",
    }}));
    for (name, value) in [
        ("$ai_reasoning_tokens", json!(7)),
        ("$ai_web_search_count", json!(2)),
        ("$ai_service_tier", json!("priority")),
        ("claude_code_speed", json!("standard")),
    ] {
        assert_eq!(p[name], value);
        assert_eq!(with(json!({})).get(name), None);
    }
}

#[test]
fn effort_and_skill_are_sent_where_they_are() {
    let line = reply(1, "m", json!([])).with(json!({"effort": "medium", "attributionSkill": "review"}));
    let p = session([line]).generation();
    assert_eq!((&p["$ai_effort"], &p["claude_code_skill"]), (&json!("medium"), &json!("review")));
    let p = with(json!({}));
    assert_eq!((p.get("$ai_effort"), p.get("claude_code_skill")), (None, None));
}

#[test]
fn stop_reasons_in_posthog_s_words() {
    for (reason, sent) in [
        ("end_turn", "stop"),
        ("tool_use", "tool_calls"),
        ("max_tokens", "length"),
        ("refusal", "refusal"),
        ("stop_sequence", "stop_sequence"),
        ("pause_turn", "pause_turn"),
        ("something_new", "something_new"),
    ] {
        let p = with(json!({"stop_reason": reason}));
        assert_eq!(p["$ai_stop_reason"], sent);
        assert_eq!(p.get("claude_code_output_tokens_partial"), None);
    }
}

#[test]
fn without_a_stop_reason_on_the_last_line_the_output_tokens_are_partial() {
    let p = with(json!({"stop_reason": null}));
    assert_eq!((&p["claude_code_output_tokens_partial"], p.get("$ai_stop_reason")), (&json!(true), None));
    let first = reply(1, "m", json!([text("a")])).with(json!({"message": {"stop_reason": null}}));
    let p = session([first, reply(2, "m", json!([text("b")]))]).generation();
    assert_eq!(p.get("claude_code_output_tokens_partial"), None);
    let last = reply(2, "m", json!([text("b")])).with(json!({"message": {"stop_reason": null}}));
    let p = session([reply(1, "m", json!([text("a")])), last]).generation();
    assert_eq!(p["claude_code_output_tokens_partial"], true);
}

#[test]
fn the_latency_is_from_the_line_that_is_answered_to_the_last_line() {
    let line = |time, words| reply(time, "m", json!([text(words)]));
    let case = session([user(1000, "go"), line(2000, "a"), line(4500, "b")]);
    assert_eq!(case.generation()["$ai_latency"], 3.5);
}

#[test]
fn a_tool_s_result_is_answered_too_and_so_is_the_client_s_own_request() {
    let lines =
        [user(0, "go"), reply(1000, "m1", json!([call("t")])), result(5000, "t", "x"), reply(5500, "m2", json!([]))];
    assert_eq!(session(lines).run().generations()[1]["$ai_latency"], 0.5);
    let again = user(2000, "Your response above was cut off. Go on.").with(json!({"isMeta": true}));
    let lines = [user(0, "go"), reply(1000, "m1", json!([])), again, reply(2500, "m2", json!([]))];
    assert_eq!(session(lines).run().generations()[1]["$ai_latency"], 0.5);
}

#[test]
fn results_between_the_lines_of_a_response_do_not_change_its_start() {
    let lines = [
        user(0, "go"),
        reply(1000, "m", json!([call("t1")])),
        result(1500, "t1", "x"),
        reply(2000, "m", json!([call("t2")])),
        result(2500, "t2", "x"),
    ];
    assert_eq!(session(lines).generation()["$ai_latency"], 2.0);
}

fn request(time: i64, id: &str) -> Line {
    other("api-request").with(json!({"id": id, "timestamp": at(time)}))
}

#[test]
fn the_api_request_line_is_the_true_start() {
    let line = reply(3000, "m", json!([])).with(json!({"requestRef": "r"}));
    assert_eq!(session([user(0, "go"), request(2800, "r"), line.clone()]).generation()["$ai_latency"], 0.2);
    assert_eq!(session([user(0, "go"), request(2800, "another"), line.clone()]).generation()["$ai_latency"], 3.0);
    // One without a time says nothing.
    let timeless = request(2800, "r").without("/timestamp");
    assert_eq!(session([user(0, "go"), timeless, line]).generation()["$ai_latency"], 3.0);
}

#[test]
fn a_request_of_another_file_is_not_meant() {
    let line = reply(3000, "m", json!([])).with(json!({"requestRef": "r"}));
    let case = session([request(2800, "r")]).agent("a", None, [user(0, "go"), line]);
    assert_eq!(case.generation()["$ai_latency"], 3.0);
}

#[test]
fn without_a_line_to_answer_the_latency_is_unknown() {
    assert_eq!(session([reply(3000, "m", json!([]))]).generation().get("$ai_latency"), None);
}

#[test]
fn a_latency_is_never_negative() {
    let p = session([user(5000, "go"), reply(1000, "m", json!([]))]).generation();
    assert_eq!(p["$ai_latency"], 0.0);
}

#[test]
fn the_called_tools_are_named_and_counted() {
    let blocks = json!([text("a"), call("t1"), call_of("Read", "t2", json!({})), call("t3")]);
    let p = session([reply(0, "m", blocks)]).generation();
    assert_eq!((&p["$ai_tools_called"], &p["$ai_tool_call_count"]), (&json!("Bash,Read,Bash"), &json!(3)));
    let p = with(json!({}));
    assert_eq!((p.get("$ai_tools_called"), &p["$ai_tool_call_count"]), (None, &json!(0)));
}

#[test]
fn a_comma_in_a_tool_s_name_makes_no_two_tools() {
    let p = session([reply(0, "m", json!([call_of("a,b", "t", json!({}))]))]).generation();
    assert_eq!(p["$ai_tools_called"], "a_b");
}

#[test]
fn a_copied_call_is_counted_once() {
    let copy = reply(2, "m", json!([call("t")])).with(json!({"uuid": "copy"}));
    let converted = session([reply(1, "m", json!([call("t")])), copy]).run();
    assert_eq!(converted.generations()[0]["$ai_tool_call_count"], 1);
    assert_eq!(converted.spans().len(), 1);
}

#[test]
fn lines_of_two_messages_may_interleave() {
    let converted = session([
        user(0, "go"),
        reply(1, "m1", json!([text("a")])),
        reply(2, "m2", json!([text("x")])),
        reply(3, "m1", json!([text("b")])),
        reply(4, "m2", json!([text("y")])),
    ])
    .run();
    let said: Vec<_> = converted.generations().iter().map(|p| p["$ai_output_choices"][0]["content"].clone()).collect();
    assert_eq!(said, [json!([text("a"), text("b")]), json!([text("x"), text("y")])]);
}

#[test]
fn a_response_without_a_block_is_one_too() {
    let p = session([user(0, "go"), reply(1, "m", json!([]))]).generation();
    assert_eq!(p["$ai_output_choices"], json!([{"role": "assistant", "content": ""}]));
}

#[test]
fn the_prompt_of_the_turn_is_on_each_of_its_generations() {
    let converted = session([
        user(0, "go"),
        reply(1, "m1", json!([call("t")])),
        result(2, "t", "x"),
        reply(3, "m2", json!([])),
        user(4, "then this"),
        reply(5, "m3", json!([])),
    ])
    .run();
    let prompts: Vec<_> = converted.generations().iter().map(|p| p["$ai_user_prompt"].clone()).collect();
    assert_eq!(prompts, ["go", "go", "then this"]);
}

#[test]
fn the_prompt_is_cut_at_the_limit() {
    let case = session([user(0, "x".repeat(100)), reply(1, "m", json!([]))]).options(|o| o.max_attribute_length = 40);
    assert_eq!(case.generation()["$ai_user_prompt"], "xxxxxxxxxxxxx… [truncated 87 characters]");
}
