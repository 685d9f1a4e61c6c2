//! `$ai_input` and `$ai_output_choices`: OpenAI's chat format.

use super::lines::*;
use serde_json::{Value, json};

fn output(blocks: Value) -> Value {
    session([reply(0, "m", blocks)]).generation()["$ai_output_choices"].clone()
}

fn thinking(words: &str) -> Value {
    json!({"type": "thinking", "thinking": words, "signature": "c2ln"})
}

#[test]
fn a_text_is_one_message_of_the_assistant() {
    assert_eq!(output(json!([text("a")])), json!([{"role": "assistant", "content": "a"}]));
}

#[test]
fn texts_on_several_lines_are_all_there_in_file_order() {
    let line = |time, words| reply(time, "m", json!([text(words)]));
    let p = session([line(1, "a"), line(2, "b"), line(3, "c")]).generation();
    let parts = json!([text("a"), text("b"), text("c")]);
    assert_eq!(p["$ai_output_choices"], json!([{"role": "assistant", "content": parts}]));
}

#[test]
fn thinking_comes_first_as_a_message_of_its_own() {
    let said = output(json!([text("a"), thinking("hm")]));
    let thought = json!({"role": "assistant", "content": [{"type": "thinking", "thinking": "hm"}]});
    assert_eq!(said, json!([thought, {"role": "assistant", "content": "a"}]));
}

#[test]
fn thinking_alone_is_all_there_is() {
    let thought = json!({"role": "assistant", "content": [{"type": "thinking", "thinking": "hm"}]});
    assert_eq!(output(json!([thinking("hm")])), json!([thought]));
}

#[test]
fn thinking_without_a_text_is_left_out() {
    assert_eq!(output(json!([thinking(""), text("a")])), json!([{"role": "assistant", "content": "a"}]));
}

#[test]
fn redacted_thinking_is_named_and_its_data_is_not_sent() {
    let said = output(json!([{"type": "redacted_thinking", "data": "c2VjcmV0"}, text("a")]));
    assert_eq!(said[0]["content"], json!([{"type": "thinking", "thinking": "[redacted thinking]"}]));
    assert!(!said.to_string().contains("c2VjcmV0"));
}

#[test]
fn calls_are_tool_calls_of_the_same_message() {
    let said = output(json!([text("a"), call("t1"), call("t2")]));
    let tool_call = |id| json!({"id": tool_id(id), "type": "function", "function": {"name": "Bash", "arguments": r#"{"command":"ls"}"#}});
    assert_eq!(said, json!([{"role": "assistant", "content": "a", "tool_calls": [tool_call("t1"), tool_call("t2")]}]));
}

#[test]
fn a_call_without_a_text_has_no_content() {
    let said = output(json!([call("t")]));
    assert_eq!((said.as_array().unwrap().len(), &said[0]["content"]), (1, &Value::Null));
}

#[test]
fn a_block_of_a_new_kind_is_named() {
    assert_eq!(output(json!([{"type": "hologram", "data": "xyz"}]))[0]["content"], "[hologram]");
}

#[test]
fn content_that_is_a_text_is_one() {
    let line = reply(0, "m", json!([])).with(json!({"message": {"content": "just words"}}));
    assert_eq!(session([line]).generation()["$ai_output_choices"][0]["content"], "just words");
}

#[test]
fn each_text_is_cut_at_the_limit() {
    let long = "x".repeat(100);
    let lines = [
        user(0, long.clone()),
        reply(1, "m", json!([text(&long), thinking(&long), call_of("Bash", "t", json!(long))])),
    ];
    let p = session(lines).options(|o| o.max_attribute_length = 40).generation();
    let cut = "xxxxxxxxxxxxx… [truncated 87 characters]";
    assert_eq!(p["$ai_input"][0]["content"], cut);
    assert_eq!(p["$ai_output_choices"][0]["content"][0]["thinking"], cut);
    assert_eq!(p["$ai_output_choices"][1]["content"], cut);
    assert_eq!(p["$ai_output_choices"][1]["tool_calls"][0]["function"]["arguments"], cut);
}

#[test]
fn the_default_limit_is_12000_characters() {
    let p = session([user(0, "é".repeat(12_000)), reply(1, "m", json!([text(&"é".repeat(12_001))]))]).generation();
    assert_eq!(p["$ai_input"][0]["content"], "é".repeat(12_000));
    let said = p["$ai_output_choices"][0]["content"].as_str().unwrap();
    assert_eq!(said.chars().count(), 12_000);
    assert!(said.ends_with(" characters]"));
}

#[test]
fn a_limit_of_0_keeps_no_text() {
    let lines = [user(0, "abc"), reply(1, "m", json!([text("abc"), call("t")])), result(2, "t", "abc")];
    let converted = session(lines).options(|o| o.max_attribute_length = 0).run();
    for event in &converted.events {
        assert!(!event.to_string().contains("abc"), "{event}");
    }
    assert_eq!(converted.events.len(), 3);
}

fn inputs(lines: impl IntoIterator<Item = Line>) -> Vec<Value> {
    session(lines).run().generations().iter().map(|p| p["$ai_input"].clone()).collect()
}

#[test]
fn the_input_is_what_is_new_since_the_response_before() {
    let inputs = inputs([
        user(0, "go"),
        reply(1, "m1", json!([call("t1"), call("t2")])),
        result(2, "t2", "second"),
        result(3, "t1", "first"),
        reply(4, "m2", json!([])),
        user(5, "and"),
        user(6, "more"),
        reply(7, "m3", json!([])),
        reply(8, "m4", json!([])),
    ]);
    let tool = |id, content| json!({"role": "tool", "tool_call_id": tool_id(id), "content": content});
    assert_eq!(inputs[0], json!([{"role": "user", "content": "go"}]));
    assert_eq!(inputs[1], json!([tool("t2", "second"), tool("t1", "first")]));
    assert_eq!(inputs[2], json!([{"role": "user", "content": "and"}, {"role": "user", "content": "more"}]));
    assert_eq!(inputs[3], Value::Null);
}

#[test]
fn a_result_between_the_lines_of_a_response_is_new_for_the_next_one() {
    let inputs = inputs([
        user(0, "go"),
        reply(1, "m1", json!([call("t")])),
        result(2, "t", "x"),
        reply(3, "m1", json!([text("b")])),
        reply(4, "m2", json!([])),
    ]);
    assert_eq!(inputs[0], json!([{"role": "user", "content": "go"}]));
    assert_eq!(inputs[1], json!([{"role": "tool", "tool_call_id": tool_id("t"), "content": "x"}]));
}

#[test]
fn each_block_of_a_prompt_is_a_message() {
    let inputs = inputs([user(0, json!([text("look"), text("here")])), reply(1, "m", json!([]))]);
    assert_eq!(inputs[0], json!([{"role": "user", "content": "look"}, {"role": "user", "content": "here"}]));
}

#[test]
fn an_image_becomes_a_placeholder_with_its_type_and_size() {
    let image = json!({"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "aGVsbG8="}});
    let inputs = inputs([user(0, json!([text("look"), image])), reply(1, "m", json!([]))]);
    assert_eq!(inputs[0][1], json!({"role": "user", "content": "[image: image/png, 5 bytes]"}));
}

#[test]
fn a_huge_image_becomes_a_placeholder_with_its_real_size() {
    let image = json!({"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "A".repeat(4_000_000)}});
    let converted = session([user(0, json!([text("look"), image])), reply(1, "m", json!([]))]).run();
    let content = converted.generations()[0]["$ai_input"][1]["content"].clone();
    assert_eq!(content, "[image: image/png, 3000000 bytes]");
    assert_eq!(converted.counts.bad_lines, 0);
}

#[test]
fn an_image_in_a_result_becomes_a_placeholder() {
    let image = json!({"type": "image", "source": {"media_type": "image/jpeg", "data": "aGVsbG8h"}});
    let lines =
        [reply(0, "m1", json!([call("t")])), result(1, "t", json!([text("done"), image])), reply(2, "m2", json!([]))];
    let converted = session(lines).run();
    assert_eq!(converted.generations()[1]["$ai_input"][0]["content"], "done\n[image: image/jpeg, 6 bytes]");
    assert_eq!(converted.spans()[0]["$ai_output_state"], "done\n[image: image/jpeg, 6 bytes]");
}

#[test]
fn the_client_s_own_words_are_not_sent() {
    let lines = [
        user(0, "caveat: these were local commands").with(json!({"isMeta": true})),
        user(1, "go"),
        other("attachment").with(json!({"attachment": {"type": "prompt_snapshot", "systemPrompt": ["caveat"]}})),
        other("api-request-shape").with(json!({"shape": {"system": [{"type": "text", "text": "caveat"}]}})),
        other("api-request-blob").with(json!({"message": {"role": "user", "content": "caveat"}})),
        reply(2, "m", json!([])),
    ];
    let converted = session(lines).run();
    assert_eq!(converted.generations()[0]["$ai_input"], json!([{"role": "user", "content": "go"}]));
    assert!(!String::from_utf8(converted.bytes).unwrap().contains("caveat"));
}

#[test]
fn an_event_that_would_be_too_large_is_made_to_fit() {
    let words = "x".repeat(100_000);
    let lines = (0..200).map(|i| user(i, format!("{i}{words}"))).chain([reply(300, "m", json!([text("a")]))]);
    let converted = session(lines).options(|o| o.max_attribute_length = 100_000).run();
    let longest = converted.bytes.split(|b| *b == b'\n').map(<[u8]>::len).max().unwrap();
    assert!(longest <= 8 * 1024 * 1024, "{longest}");
    assert_eq!(converted.counts.shortened_events, 1);
    assert_eq!(converted.generations()[0]["$ai_output_tokens"], 20);
}
