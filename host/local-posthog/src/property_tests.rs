//! One test per rule of an AI event's properties.

use serde_json::{Value, json};

use super::rule_tests::{UUID, post_events, span};

/// Checks that a valid span with this property added is refused, and that the reason names the event and the property.
#[track_caller]
fn refused(property: &str, value: Value, words: &str) {
    let mut event = span();
    event["properties"][property] = value;
    refused_event(event, property, words);
}

#[track_caller]
fn refused_event(event: Value, property: &str, words: &str) {
    let name = event["event"].as_str().unwrap().to_owned();
    let refusal = post_events(&[event]).unwrap_err();
    assert_eq!(refusal.status.as_u16(), 400);
    for words in [&name, UUID, property, words] {
        assert!(refusal.reason.contains(words), "{}", refusal.reason);
    }
}

#[track_caller]
fn accepted(property: &str, value: Value) {
    let mut event = span();
    event["properties"][property] = value;
    post_events(&[event]).unwrap();
}

fn trace() -> Value {
    let mut event = span();
    event["event"] = json!("$ai_trace");
    event["properties"] = json!({"$ai_trace_id": "s1", "$ai_parent_id": "root"});
    event
}

#[test]
fn an_error_that_is_no_string_is_refused() {
    for bad in [json!({"message": "no"}), json!(null), json!(["no"]), json!(true)] {
        refused("$ai_error", bad, "not a string");
    }
    accepted("$ai_error", json!("command not found"));
}

#[test]
fn names_and_texts_that_are_no_strings_are_refused() {
    for property in ["$ai_model", "$ai_span_name", "$ai_tools_called", "$ai_git_branch"] {
        refused(property, json!(["Bash"]), "not a string");
    }
}

#[test]
fn an_id_with_a_letter_outside_the_alphabet_is_refused() {
    for property in ["$ai_trace_id", "$ai_session_id", "$ai_span_id", "$ai_parent_id", "$ai_generation_id"] {
        for bad in ["a b", "a/b", "a#b", "é", "a\n", "a%20", "a,b"] {
            refused(property, json!(bad), "contains");
        }
        refused(property, json!(""), "is empty");
        refused(property, json!(5), "not a string");
    }
}

#[test]
fn an_id_of_every_allowed_letter_is_accepted() {
    accepted("$ai_span_id", json!("azAZ09-_~.@()!':|"));
}

#[test]
fn an_event_without_a_trace_is_refused() {
    let mut event = span();
    event["properties"].as_object_mut().unwrap().remove("$ai_trace_id");
    refused_event(event, "$ai_trace_id", "has no");
}

#[test]
fn a_web_session_is_refused() {
    refused("$session_id", json!("s1"), "web sessions");
}

#[test]
fn token_counts_that_are_no_integers_from_0_up_are_refused() {
    for property in [
        "$ai_input_tokens",
        "$ai_output_tokens",
        "$ai_cache_read_input_tokens",
        "$ai_total_tokens",
        "$ai_reasoning_tokens",
    ] {
        for bad in [json!(-1), json!(1.5), json!("7"), json!(null), json!(1e30)] {
            refused(property, bad, "not an integer");
        }
        accepted(property, json!(0));
    }
}

#[test]
fn other_counts_that_are_no_integers_from_0_up_are_refused() {
    refused("$ai_tool_call_count", json!(-1), "not an integer");
    refused("$ai_web_search_count", json!("1"), "not an integer");
}

#[test]
fn one_half_of_the_cache_split_is_refused() {
    let both = "$ai_cache_creation_5m_input_tokens` and `$ai_cache_creation_1h_input_tokens";
    refused("$ai_cache_creation_5m_input_tokens", json!(1), both);
    refused("$ai_cache_creation_1h_input_tokens", json!(1), both);
    let mut event = span();
    event["properties"]["$ai_cache_creation_5m_input_tokens"] = json!(1);
    event["properties"]["$ai_cache_creation_1h_input_tokens"] = json!(0);
    post_events(&[event]).unwrap();
}

#[test]
fn a_latency_that_is_negative_or_no_number_is_refused() {
    for bad in [json!(-0.001), json!("1"), json!(null)] {
        refused("$ai_latency", bad, "number of seconds");
    }
    accepted("$ai_latency", json!(0));
    accepted("$ai_latency", json!(1.25));
}

#[test]
fn an_error_flag_that_is_no_boolean_is_refused() {
    refused("$ai_is_error", json!("true"), "neither true nor false");
    accepted("$ai_is_error", json!(false));
}

#[test]
fn costs_are_refused() {
    refused("$ai_total_cost_usd", json!(0.1), "left to the server");
}

#[test]
fn a_trace_whose_parent_is_not_root_is_refused() {
    post_events(&[trace()]).unwrap();
    let mut event = trace();
    event["properties"]["$ai_parent_id"] = json!("s1");
    refused_event(event, "$ai_parent_id", "not \"root\"");
    let mut event = trace();
    event["properties"].as_object_mut().unwrap().remove("$ai_parent_id");
    refused_event(event, "$ai_parent_id", "not \"root\"");
}

#[test]
fn messages_in_every_documented_form_are_accepted() {
    let messages = json!([
        {"role": "user", "content": "list the files"},
        {"role": "assistant", "content": [{"type": "thinking", "thinking": "ls"}]},
        {"role": "assistant", "content": null, "tool_calls": [
            {"id": "toolu_1", "type": "function", "function": {"name": "Bash", "arguments": "{\"command\":\"ls\"}"}},
            {"id": "toolu_2", "type": "function", "function": {"name": "Bash", "arguments": {"command": "ls"}}},
        ]},
        {"role": "tool", "tool_call_id": "toolu_1", "content": "a.txt"},
        {"role": "user", "content": [
            {"type": "text", "text": "and this?"},
            {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AA=="}},
        ]},
    ]);
    accepted("$ai_input", messages.clone());
    accepted("$ai_output_choices", messages);
    accepted("$ai_input", json!([]));
}

#[test]
fn messages_that_are_not_in_the_chat_format_are_refused() {
    let call = |function: Value| json!([{"role": "assistant", "content": null, "tool_calls": [function]}]);
    for (bad, words) in [
        (json!("list the files"), "not an array"),
        (json!({"role": "user", "content": "a"}), "not an array"),
        (json!(["list the files"]), "message 1 is not an object"),
        (json!([{"role": "user", "content": "a"}, {"content": "a"}]), "message 2 has no `role`"),
        (json!([{"role": "robot", "content": "a"}]), "unknown role `robot`"),
        (json!([{"role": "user"}]), "neither `content` nor"),
        (json!([{"role": "user", "content": 5}]), "`content` that is not text"),
        (json!([{"role": "user", "content": ["a"]}]), "part of `content` that is not an object"),
        (json!([{"role": "user", "content": [{"type": "text"}]}]), "has no `text`"),
        (json!([{"role": "assistant", "content": [{"type": "thinking", "text": "a"}]}]), "has no `thinking`"),
        (json!([{"role": "assistant", "content": [{"type": "redacted_thinking", "data": "a"}]}]), "raw JSON"),
        (json!([{"role": "user", "content": [{"type": "tool_result", "content": "a"}]}]), "raw JSON"),
        (json!([{"role": "user", "content": [{"type": "image"}]}]), "image without `source`"),
        (
            json!([{"role": "user", "content": [{"type": "image", "source": {"type": "url", "media_type": "a", "data": "a"}}]}]),
            "not base64",
        ),
        (json!([{"role": "tool", "content": "a"}]), "has no `tool_call_id`"),
        (json!([{"role": "user", "content": "a", "tool_call_id": "t"}]), "not a tool's"),
        (json!([{"role": "user", "content": "a", "tool_calls": []}]), "not the assistant's"),
        (json!([{"role": "assistant", "content": "a", "tool_calls": {}}]), "not an array"),
        (call(json!("Bash")), "tool call that is not an object"),
        (call(json!({"type": "function", "function": {"name": "a", "arguments": "{}"}})), "has no `id`"),
        (call(json!({"id": "t", "type": "tool_use", "function": {"name": "a", "arguments": "{}"}})), "not a function"),
        (call(json!({"id": "t", "type": "function", "name": "a"})), "without `function`"),
        (call(json!({"id": "t", "type": "function", "function": {"arguments": "{}"}})), "has no `name`"),
        (call(json!({"id": "t", "type": "function", "function": {"name": "a", "arguments": 5}})), "`arguments`"),
    ] {
        for property in ["$ai_input", "$ai_output_choices"] {
            refused(property, bad.clone(), words);
            refused(property, bad.clone(), "not in the chat format");
        }
    }
}

#[test]
fn custom_properties_of_any_form_are_accepted() {
    accepted("team", json!({"name": ["a", 1, null]}));
    accepted("claude_code_turns", json!(3));
}
