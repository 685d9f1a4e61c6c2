//! `$ai_span`: one for each tool call.

use super::lines::*;
use serde_json::{Value, json};

fn run(result: Line) -> Value {
    session([user(0, "go"), reply(1000, "m", json!([call("t")])), result]).span()
}

#[test]
fn a_tool_call_is_a_span_below_its_generation() {
    let p = run(result(3500, "t", "done"));
    for (name, value) in [
        ("$ai_span_id", json!(span_id("t"))),
        ("$ai_parent_id", json!(generation_id("m"))),
        ("$ai_trace_id", json!(SESSION)),
        ("$ai_span_name", json!("Bash")),
        ("$ai_span_type", json!("tool")),
        ("$ai_input_state", json!(r#"{"command":"ls"}"#)),
        ("$ai_output_state", json!("done")),
        ("$ai_latency", json!(2.5)),
        ("$ai_is_error", json!(false)),
    ] {
        assert_eq!(p[name], value, "{name}");
    }
    for name in
        ["$ai_error", "claude_code_no_result", "claude_code_mcp_server", "claude_code_interrupted", "$ai_agent_name"]
    {
        assert_eq!(p.get(name), None, "{name}");
    }
}

#[test]
fn parallel_calls_get_their_own_results_in_any_order() {
    let converted = session([
        reply(1000, "m", json!([call("t1"), call("t2")])),
        reply(1100, "m", json!([call("t3")])),
        result(2000, "t3", "third"),
        user(
            3000,
            json!([
                {"type": "tool_result", "tool_use_id": "t1", "content": "first"},
                {"type": "tool_result", "tool_use_id": "t2", "content": "second", "is_error": true},
            ]),
        ),
    ])
    .run();
    let said = |id| {
        let spans = converted.spans();
        let p = spans.iter().find(|p| p["$ai_span_id"] == span_id(id)).unwrap();
        (p["$ai_output_state"].clone(), p["$ai_latency"].clone(), p["$ai_is_error"].clone())
    };
    assert_eq!(said("t1"), (json!("first"), json!(2.0), json!(false)));
    assert_eq!(said("t2"), (json!("second"), json!(2.0), json!(true)));
    assert_eq!(said("t3"), (json!("third"), json!(0.9), json!(false)));
    assert_eq!(converted.spans().len(), 3);
}

#[test]
fn a_call_without_a_result_is_no_error_and_says_so() {
    let converted = session([user(0, "go"), reply(1000, "m", json!([call("t")]))]).run();
    let p = converted.spans()[0];
    assert_eq!((&p["$ai_is_error"], &p["claude_code_no_result"]), (&json!(false), &json!(true)));
    assert_eq!((p.get("$ai_latency"), p.get("$ai_output_state")), (None, None));
    assert_eq!(converted.named("$ai_span").next().unwrap()["timestamp"], at(1000));
}

#[test]
fn the_timestamp_is_the_result_s() {
    let converted = session([reply(1000, "m", json!([call("t")])), result(3500, "t", "done")]).run();
    assert_eq!(converted.named("$ai_span").next().unwrap()["timestamp"], at(3500));
}

#[test]
fn a_result_that_stands_before_its_call_belongs_to_it() {
    let converted = session([result(900, "t", "early"), reply(1000, "m", json!([call("t")]))]).run();
    assert_eq!(converted.spans()[0]["$ai_output_state"], "early");
    assert_eq!(converted.spans()[0]["$ai_latency"], 0.0);
    assert_eq!(converted.named("$ai_span").next().unwrap()["timestamp"], at(900));
}

#[test]
fn a_result_without_a_call_is_no_span() {
    assert_eq!(session([user(0, "go"), reply(1, "m", json!([])), result(2, "x", "lost")]).run().spans().len(), 0);
}

#[test]
fn of_two_results_the_first_counts() {
    let converted =
        session([reply(0, "m", json!([call("t")])), result(1000, "t", "one"), result(2000, "t", "two")]).run();
    assert_eq!(converted.spans().len(), 1);
    assert_eq!(converted.spans()[0]["$ai_output_state"], "one");
}

#[test]
fn the_result_s_parent_does_not_matter() {
    let p = run(result(2000, "t", "done").with(json!({"parentUuid": "nowhere"})));
    assert_eq!(p["$ai_output_state"], "done");
}

#[test]
fn a_failed_tool_says_what_failed_in_500_characters() {
    let p = run(error(2000, "t", "é".repeat(501)));
    assert_eq!(p["$ai_is_error"], true);
    assert_eq!(p["$ai_error"].as_str().unwrap().chars().count(), 500);
    assert_eq!(p["$ai_output_state"], "é".repeat(501));
    assert_eq!(run(error(2000, "t", "no"))["$ai_error"], "no");
}

#[test]
fn only_true_is_an_error() {
    for flag in [json!(null), json!(false), json!("true"), json!(1)] {
        let line = user(2000, json!([{"type": "tool_result", "tool_use_id": "t", "content": "x", "is_error": flag}]));
        assert_eq!(run(line)["$ai_is_error"], false, "{flag}");
    }
}

#[test]
fn input_and_output_are_texts_within_the_limit() {
    let lines = [
        reply(0, "m", json!([call_of("Bash", "t", json!({"command": "x".repeat(100)}))])),
        result(1, "t", json!([text(&"y".repeat(100)), text("z")])),
    ];
    let p = session(lines).options(|o| o.max_attribute_length = 40).span();
    for name in ["$ai_input_state", "$ai_output_state"] {
        let state = p[name].as_str().unwrap();
        assert_eq!(state.chars().count(), 40, "{state}");
        assert!(state.ends_with(" characters]"), "{state}");
    }
}

#[test]
fn a_result_of_any_shape_becomes_a_text() {
    for (content, output) in [
        (json!("words"), "words"),
        (json!([text("a"), text("b")]), "a\nb"),
        (json!([]), ""),
        (json!(null), ""),
        (json!({"a": [1, "b"]}), r#"{"a":[1,"b"]}"#),
        (json!(5), "5"),
        (json!([{"type": "tool_reference", "tool_name": "WebSearch"}]), "[tool_reference]"),
    ] {
        assert_eq!(run(result(2000, "t", content.clone()))["$ai_output_state"], output, "{content}");
    }
}

#[test]
fn the_server_of_an_mcp_tool() {
    let server = |name: &str| session([reply(0, "m", json!([call_of(name, "t", json!({}))]))]).span();
    assert_eq!(server("mcp__github__create_issue")["claude_code_mcp_server"], "github");
    assert_eq!(server("mcp__my__server__do_it")["claude_code_mcp_server"], "my__server");
    for name in ["Bash", "mcp__broken", "mcp____tool", "xmcp__a__b"] {
        assert_eq!(server(name).get("claude_code_mcp_server"), None, "{name}");
    }
}

#[test]
fn a_call_without_a_name_is_one_too() {
    let p = session([reply(0, "m", json!([{"type": "tool_use", "id": "t", "input": {}}]))]).span();
    assert_eq!(p["$ai_span_name"], "unknown");
}

#[test]
fn a_tool_that_the_provider_ran_is_a_span_with_its_result() {
    let search = json!({"type": "server_tool_use", "id": "s", "name": "web_search", "input": {"query": "x"}});
    let found = json!({"type": "web_search_tool_result", "tool_use_id": "s", "content": [
        {"type": "web_search_result", "title": "A page", "url": "https://example.com", "encrypted_content": "b3BhcXVl"},
    ]});
    let case = session([reply(1000, "m", json!([search])), reply(1500, "m", json!([found, text("It says")]))]);
    let converted = case.run();
    let p = converted.spans()[0];
    assert_eq!((&p["$ai_span_name"], &p["$ai_input_state"]), (&json!("web_search"), &json!(r#"{"query":"x"}"#)));
    assert_eq!((&p["$ai_output_state"], &p["$ai_latency"]), (&json!("A page <https://example.com>"), &json!(0.5)));
    assert_eq!((&p["$ai_parent_id"], &p["$ai_is_error"]), (&json!(generation_id("m")), &json!(false)));
    assert_eq!(converted.generations()[0]["$ai_tools_called"], "web_search");
    assert_eq!(converted.generations()[0]["$ai_output_choices"][0]["content"], "It says");
}

#[test]
fn a_search_that_failed_is_an_error() {
    let search = json!({"type": "server_tool_use", "id": "s", "name": "web_search", "input": {}});
    let content = json!({"type": "web_search_tool_result_error", "error_code": "max_uses_exceeded"});
    let failed = json!({"type": "web_search_tool_result", "tool_use_id": "s", "content": content});
    let p = session([reply(0, "m", json!([search, failed]))]).span();
    assert_eq!(p["$ai_is_error"], true);
    assert!(p["$ai_error"].as_str().unwrap().contains("max_uses_exceeded"));
}

#[test]
fn a_call_in_a_response_without_a_message_id_is_a_span_below_it() {
    let case = session([reply(0, "", json!([call("t")])), result(1, "t", "x")]);
    let converted = case.run();
    assert_eq!(converted.spans()[0]["$ai_parent_id"], converted.generations()[0]["$ai_span_id"]);
}
