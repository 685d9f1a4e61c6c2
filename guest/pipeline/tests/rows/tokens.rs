//! Tokens: all of them, each once, and none that are not known.

use super::lines::*;
use serde_json::{Value, json};

fn with_usage(usage: Value) -> Line {
    reply(1000, "m", json!([text("An answer.")])).without("/message/usage").with(json!({"message": {"usage": usage}}))
}

fn iteration(kind: &str, model: &str, tokens: [u64; 4]) -> Value {
    let [input, output, read, write] = tokens;
    json!({"type": kind, "model": model, "input_tokens": input, "output_tokens": output,
        "cache_read_input_tokens": read, "cache_creation_input_tokens": write})
}

#[test]
fn an_adviser_s_tokens_are_a_generation_of_its_model() {
    let converted = session([with_usage(json!({
        "input_tokens": 2, "output_tokens": 491, "cache_read_input_tokens": 226_584, "cache_creation_input_tokens": 7853,
        "iterations": [
            iteration("message", "claude-x", [1, 45, 109_696, 7192]),
            iteration("advisor_message", "claude-opus-4-7", [159_419, 7805, 0, 0]),
            iteration("message", "claude-x", [1, 446, 116_888, 661]),
        ],
    }))])
    .run();
    let [own, adviser] = converted.generations()[..] else { panic!("{:#?}", converted.events) };
    assert_eq!((&adviser["$ai_model"], &adviser["$ai_provider"]), (&json!("claude-opus-4-7"), &json!("anthropic")));
    assert_eq!((&adviser["$ai_input_tokens"], &adviser["$ai_output_tokens"]), (&json!(159_419), &json!(7805)));
    assert_eq!(
        (&adviser["$ai_parent_id"], &adviser["claude_code_iteration"]),
        (&own["$ai_span_id"], &json!("advisor_message"))
    );
    let trace = converted.traces()[0];
    assert_eq!((&trace["$ai_total_output_tokens"], &trace["claude_code_generations"]), (&json!(8296), &json!(2)));
    assert_eq!(converted.sent().len(), converted.identities.len());
}

#[test]
fn a_compaction_within_a_call_is_a_generation_of_the_call_s_model() {
    let mut compaction = iteration("compaction", "", [90_000, 1200, 0, 0]);
    compaction.as_object_mut().unwrap().remove("model");
    let usage = json!({"input_tokens": 3, "output_tokens": 5, "iterations": [compaction, iteration("message", "claude-x", [3, 5, 0, 0])]});
    let converted = session([with_usage(usage)]).run();
    assert_eq!(converted.generations()[1]["$ai_model"], "claude-x");
    assert_eq!(converted.sum("$ai_generation", "$ai_input_tokens"), 90_003);
}

#[test]
fn a_refused_attempt_is_a_generation_below_the_one_that_answered() {
    let usage = json!({
        "input_tokens": 2, "output_tokens": 90, "cache_read_input_tokens": 5000, "cache_creation_input_tokens": 0,
        "iterations": [
            iteration("message", "claude-fable-5", [2, 2, 3000, 2000]),
            iteration("fallback_message", "claude-opus-4-8", [2, 90, 5000, 0]),
        ],
    });
    let line = |time, block: Value| {
        reply(time, "m", json!([block])).with(json!({"message": {"model": "claude-opus-4-8", "usage": usage.clone()}}))
    };
    let fallback = json!({"type": "fallback", "from": {"model": "claude-fable-5"}, "to": {"model": "claude-opus-4-8"}});
    let converted = session([user(0, "Look"), line(1, fallback), line(2, text("It is fine."))]).run();
    let [own, refused] = converted.generations()[..] else { panic!("{:#?}", converted.events) };
    assert_eq!(own["$ai_output_choices"], json!([{"role": "assistant", "content": "It is fine."}]));
    assert_eq!((&refused["$ai_model"], &refused["$ai_parent_id"]), (&json!("claude-fable-5"), &own["$ai_span_id"]));
    let tokens =
        ["$ai_input_tokens", "$ai_output_tokens", "$ai_cache_read_input_tokens", "$ai_cache_creation_input_tokens"];
    assert_eq!(tokens.map(|name| refused[name].as_u64().unwrap()), [2, 2, 3000, 2000]);
    assert_eq!(tokens.map(|name| own[name].as_u64().unwrap()), [2, 90, 5000, 0]);
}

#[test]
fn what_was_delivered_without_its_adviser_is_not_sent_again_with_it() {
    let usage = json!({"input_tokens": 2, "output_tokens": 4, "iterations": [iteration("advisor_message", "claude-y", [7, 8, 0, 0])]});
    let first = session([with_usage(usage.clone())]).run();
    let again = session([with_usage(usage)]).exclude([first.sent()[0]]).run();
    assert_eq!(again.sent(), first.sent()[1..]);
    assert_eq!(again.traces()[0]["$ai_total_input_tokens"], 7);
}

#[test]
fn a_split_of_cache_writes_is_sent_only_where_it_adds_up() {
    let split = |total: Value, five: Value, hour: Value| {
        let p =
            session([with_usage(json!({"input_tokens": 12, "output_tokens": 3, "cache_creation_input_tokens": total,
            "cache_creation": {"ephemeral_5m_input_tokens": five, "ephemeral_1h_input_tokens": hour}}))])
            .generation();
        (p["$ai_cache_creation_5m_input_tokens"].clone(), p["$ai_cache_creation_1h_input_tokens"].clone())
    };
    let none = (Value::Null, Value::Null);
    assert_eq!(split(json!(25_000), json!(0), json!(0)), none);
    assert_eq!(split(json!(9000), json!(0), json!(4000)), none);
    assert_eq!(split(json!(9000), json!(null), json!(9000)), none);
    assert_eq!(split(json!(null), json!(0), json!(4000)), none);
    assert_eq!(split(json!(9000), json!(5000), json!(4000)), (json!(5000), json!(4000)));
    assert_eq!(split(json!(0), json!(0), json!(0)), (json!(0), json!(0)));
}

#[test]
fn counts_of_zero_with_content_are_unknown() {
    let zero = json!({"input_tokens": 0, "output_tokens": 0});
    for usage in [zero.clone(), json!({"output_tokens": 0}), json!({}), json!({"input_tokens": "many"})] {
        let converted = session([with_usage(usage)]).run();
        let p = converted.generations()[0];
        assert_eq!(p["claude_code_usage_unknown"], true);
        assert_eq!(
            (&p["$ai_input_tokens"], &p["$ai_output_tokens"], &p["$ai_total_tokens"]),
            (&Value::Null, &Value::Null, &Value::Null)
        );
        assert_eq!(converted.traces()[0]["$ai_total_input_tokens"], Value::Null);
    }
    for known in
        [json!({"input_tokens": 0, "output_tokens": 4}), json!({"cache_read_input_tokens": 1, "output_tokens": 0})]
    {
        assert_eq!(session([with_usage(known)]).generation()["claude_code_usage_unknown"], Value::Null);
    }
    let empty = session([reply(1, "m", json!([])).with(json!({"message": {"usage": zero}}))]);
    assert_eq!(empty.generation()["claude_code_usage_unknown"], Value::Null);
}

#[test]
fn of_each_count_the_largest_is_the_call_s() {
    let line = |time, usage: Value| {
        reply(time, "m", json!([text(&time.to_string())]))
            .without("/message/usage")
            .with(json!({"message": {"usage": usage}}))
    };
    let p = session([
        line(1, json!({"input_tokens": 9, "output_tokens": 1, "cache_read_input_tokens": 70})),
        line(2, json!({"input_tokens": 9, "output_tokens": 44})),
        line(3, json!({"input_tokens": 0, "output_tokens": 0, "cache_read_input_tokens": 0})),
    ])
    .generation();
    assert_eq!(
        (&p["$ai_input_tokens"], &p["$ai_output_tokens"], &p["$ai_cache_read_input_tokens"]),
        (&json!(9), &json!(44), &json!(70))
    );
}

#[test]
fn a_partial_count_is_flagged_and_counted_on_the_trace() {
    let open = |id: &str, time| reply(time, id, json!([text("a")])).with(json!({"message": {"stop_reason": null}}));
    let converted =
        session([user(0, "go"), open("m1", 1), user(2, "on"), open("m2", 3), reply(4, "m3", json!([]))]).run();
    assert_eq!(converted.generations().iter().filter(|p| p["claude_code_output_tokens_partial"] == true).count(), 2);
    assert_eq!(converted.traces()[0]["claude_code_partial_generations"], 2);
}

#[test]
fn the_provider_is_anthropic_only_for_its_models() {
    for (model, provider, sent) in [
        ("deepseek-v4-pro", Value::Null, "deepseek-v4-pro"),
        (
            "us.anthropic.claude-sonnet-4-5-20250929-v1:0",
            json!("anthropic"),
            "us.anthropic.claude-sonnet-4-5-20250929-v1:0",
        ),
        ("openrouter,anthropic/claude-sonnet-4", json!("anthropic"), "openrouter,anthropic/claude-sonnet-4"),
        (
            "arn:aws:bedrock:eu-west-1:123456789012:application-inference-profile/4jqtkehs0zy3",
            Value::Null,
            "arn:aws:bedrock:eu-west-1::application-inference-profile/4jqtkehs0zy3",
        ),
        ("z-ai/glm-5", json!("z-ai"), "z-ai/glm-5"),
        ("eu.mistral.pixtral-large-2502-v1:0", json!("mistral"), "eu.mistral.pixtral-large-2502-v1:0"),
    ] {
        let p = session([reply(1, "m", json!([])).with(json!({"message": {"model": model}}))]).generation();
        assert_eq!((&p["$ai_provider"], &p["$ai_model"]), (&provider, &json!(sent)));
    }
}

#[test]
fn a_fast_answer_is_not_served_in_the_standard_tier() {
    let tier = |usage: Value| {
        let p = session([reply(1, "m", json!([])).with(json!({"message": {"usage": usage}}))]).generation();
        (p["$ai_service_tier"].clone(), p["claude_code_speed"].clone())
    };
    assert_eq!(tier(json!({"service_tier": "standard", "speed": "fast"})), (json!("fast"), json!("fast")));
    assert_eq!(tier(json!({"speed": "fast"})), (json!("fast"), json!("fast")));
    assert_eq!(tier(json!({"service_tier": "standard", "speed": "standard"})), (json!("standard"), json!("standard")));
    assert_eq!(tier(json!({"service_tier": "priority"})), (json!("priority"), Value::Null));
}

fn retry(time: i64, wait: Value) -> Line {
    other("system").with(json!({"subtype": "api_error", "uuid": format!("e{time}"), "timestamp": at(time),
        "error": {"status": 529}, "retryInMs": wait}))
}

#[test]
fn attempts_that_failed_before_an_answer_are_counted_with_it() {
    let lines = [
        user(0, "Hello"),
        retry(10, json!(5000)),
        retry(20, json!(5000)),
        retry(30, json!(5000)),
        reply(44, "m", json!([text("Hi")])),
    ];
    let converted = session(lines.clone()).run();
    let p = converted.generations()[0];
    assert_eq!((&p["claude_code_retries"], &p["claude_code_retry_seconds"]), (&json!(3), &json!(15.0)));
    assert_eq!(converted.traces()[0]["claude_code_retries"], 3);
    // A copy of the file's lines adds none; the next answer has none.
    let twice = session(lines.clone().into_iter().chain(lines).chain([reply(90, "n", json!([text("Ho")]))])).run();
    let retries: Vec<_> = twice.generations().iter().map(|p| p["claude_code_retries"].clone()).collect();
    assert_eq!(retries, [json!(3), Value::Null]);
    // Half milliseconds, and a wait that is not said; a call that failed after all.
    let p = session([user(0, "x"), retry(1, json!(612.5)), retry(2, json!(null)), failed(3, "e", "Overloaded")])
        .generation();
    assert_eq!((&p["claude_code_retries"], &p["claude_code_retry_seconds"]), (&json!(2), &json!(0.612)));
}

#[test]
fn a_sub_agent_s_attempts_are_its_own() {
    let agent = [user(10, "look"), retry(11, json!(100)), reply(12, "n", json!([text("b")]))];
    let case = session([user(0, "go"), reply(1, "m", json!([task("t", "look")]))]).agent(
        "a",
        Some(json!({"toolUseId": "t"})),
        agent,
    );
    let retries: Vec<_> = case.run().generations().iter().map(|p| p["claude_code_retries"].clone()).collect();
    assert_eq!(retries, [Value::Null, json!(1)]);
}

fn cost_state(tokens: [u64; 4]) -> Line {
    let [input, output, read, write] = tokens;
    other("cost-state").with(json!({"modelUsage": {"claude-x": {"inputTokens": input, "outputTokens": output,
        "cacheReadInputTokens": read, "cacheCreationInputTokens": write}, "of another kind": 5}}))
}

#[test]
fn what_the_client_counted_and_no_line_has_is_told_on_the_trace() {
    // A reply has 10, 20, 30 and 40.
    let turn = |time, id: &str| [user(time, "go"), reply(time + 1, id, json!([text(id)]))];
    let trace = |state: [u64; 4]| session(turn(0, "m").into_iter().chain([cost_state(state)])).trace();
    let t = trace([13, 58, 30, 40]);
    assert_eq!(
        (&t["claude_code_unaccounted_input_tokens"], &t["claude_code_unaccounted_output_tokens"]),
        (&json!(3), &json!(38))
    );
    assert_eq!(
        (&t["claude_code_unaccounted_tokens"], &t["claude_code_unaccounted_cache_read_tokens"]),
        (&json!(41), &Value::Null)
    );
    // One hundredth or less is noise; less than the events is nothing.
    assert_eq!(trace([11, 20, 30, 40])["claude_code_unaccounted_tokens"], Value::Null);
    assert_eq!(trace([1, 2, 3, 4])["claude_code_unaccounted_input_tokens"], Value::Null);
    // The next delivery tells what came since.
    let (first, second) = (turn(0, "m"), turn(10, "n"));
    let both = first
        .clone()
        .into_iter()
        .chain([cost_state([13, 58, 30, 40])])
        .chain(second)
        .chain([cost_state([25, 78, 60, 80])]);
    let sent = session(first).run().sent();
    let t = session(both).exclude(sent).trace();
    assert_eq!(
        (&t["claude_code_unaccounted_input_tokens"], &t["claude_code_unaccounted_output_tokens"]),
        (&json!(2), &Value::Null)
    );
}

#[test]
fn a_server_s_name_may_hold_two_underscores() {
    let server = |name: &str| {
        session([reply(1, "m", json!([call_of(name, "t", json!({}))]))]).span()["claude_code_mcp_server"].clone()
    };
    assert_eq!(server("mcp__my__server__do_thing"), "my__server");
    assert_eq!(server("mcp__claude_ai_Google_Drive__search_files"), "claude_ai_Google_Drive");
    assert_eq!(server("mcp__ide__getDiagnostics"), "ide");
}

#[test]
fn a_byte_order_mark_and_windows_line_ends_damage_nothing() {
    let lines = [user(0, "go"), reply(1, "m", json!([text("a")]))];
    let plain = session(lines.clone()).run();
    let windows = String::from_utf8(bytes(lines)).unwrap().replace('\n', "\r\n");
    let marked = raw(format!("\u{feff}{windows}")).run();
    assert_eq!((&marked.events, marked.counts.bad_lines), (&plain.events, 0));
    let (first, second) = windows.split_at(windows.find('\n').unwrap() + 1);
    let joined = raw(format!("\u{feff}{first}\u{feff}{second}")).run();
    assert_eq!((&joined.events, joined.counts.bad_lines), (&plain.events, 0));
}
