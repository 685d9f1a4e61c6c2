//! A failed call is a generation with `$ai_is_error`.

use super::lines::*;
use serde_json::{Value, json};

fn fails(members: Value) -> Value {
    let lines = [
        user(0, "go"),
        reply(1, "m1", json!([call("t")])).with(json!({"message": {"model": "claude-real"}})),
        result(2, "t", "x"),
        failed(500, "e", "API Error: 529 Overloaded.").with(members),
    ];
    session(lines).run().generations()[1].clone()
}

#[test]
fn a_failed_call_is_a_generation_without_tokens() {
    let p = fails(json!({}));
    assert_eq!((&p["$ai_is_error"], &p["$ai_error"]), (&json!(true), &json!("API Error: 529 Overloaded.")));
    assert_eq!((&p["$ai_span_id"], &p["$ai_latency"]), (&json!(generation_id("e")), &json!(0.498)));
    let counts: Vec<_> = p.as_object().unwrap().keys().filter(|name| name.contains("tokens")).collect();
    assert_eq!(counts, Vec::<&String>::new());
    assert_eq!(p.get("$ai_stop_reason"), None);
}

#[test]
fn one_that_did_not_fail_has_no_error() {
    let p = session([reply(0, "m", json!([]))]).generation();
    for name in ["$ai_is_error", "$ai_error", "$ai_error_type", "$ai_http_status"] {
        assert_eq!(p.get(name), None);
    }
}

#[test]
fn its_model_is_the_last_real_one_of_its_thread() {
    assert_eq!(fails(json!({}))["$ai_model"], "claude-real");
    assert_eq!(fails(json!({"requestedModel": "claude-asked"}))["$ai_model"], "claude-real");
    let first = |members: Value| session([user(0, "go"), failed(1, "e", "no").with(members)]).generation();
    assert_eq!(first(json!({"requestedModel": "claude-asked"}))["$ai_model"], "claude-asked");
    assert_eq!(first(json!({})).get("$ai_model"), None);
}

#[test]
fn the_model_of_another_thread_is_not_its_own() {
    let case = session([user(0, "go"), reply(1, "m1", json!([task("t", "look")])), result(9, "t", "x")]).agent(
        "a",
        None,
        [user(2, "look"), failed(3, "e", "no")],
    );
    assert_eq!(case.run().generations()[1].get("$ai_model"), None);
}

#[test]
fn type_and_status_stand_in_fields_of_the_line() {
    let p = fails(json!({"error": "rate_limit", "apiErrorStatus": 429}));
    assert_eq!((&p["$ai_error_type"], &p["$ai_http_status"]), (&json!("rate_limit"), &json!(429)));
    let p = fails(json!({"error": "server_error", "apiErrorType": "overloaded_error", "apiErrorStatus": 529}));
    assert_eq!((&p["$ai_error_type"], &p["$ai_http_status"]), (&json!("overloaded_error"), &json!(529)));
}

#[test]
fn the_error_can_be_a_status() {
    for error in [json!(503), json!("503")] {
        let p = fails(json!({"error": error}));
        assert_eq!((p.get("$ai_error_type"), &p["$ai_http_status"]), (None, &json!(503)));
    }
}

#[test]
fn an_error_that_is_no_word_is_no_type() {
    for error in [json!("no such model: x"), json!({"type": "x"}), json!(null), json!("x".repeat(100)), json!("")] {
        assert_eq!(fails(json!({"error": error})).get("$ai_error_type"), None, "{error}");
    }
}

#[test]
fn older_clients_write_the_status_into_the_text() {
    for (words, status) in [
        (r#"API Error: 429 {"type":"error"}"#, json!(429)),
        ("API Error: Request rejected (429) · slow down", json!(429)),
        ("API Error: Connection error.", json!(null)),
    ] {
        let p = session([failed(1, "e", words)]).generation();
        assert_eq!(p.get("$ai_http_status").unwrap_or(&Value::Null), &status, "{words}");
    }
}

#[test]
fn an_error_has_at_most_500_characters() {
    let p = session([failed(1, "e", &"é".repeat(501))]).generation();
    let error = p["$ai_error"].as_str().unwrap();
    assert_eq!(error.chars().count(), 500);
    assert!(error.ends_with(" characters]"));
    let p = session([failed(1, "e", &"é".repeat(500))]).generation();
    assert_eq!(p["$ai_error"], "é".repeat(500));
}

#[test]
fn other_lines_of_the_client_in_the_model_s_place_are_no_generations() {
    let line =
        reply(1, "m", json!([text("No response requested.")])).with(json!({"message": {"model": "<synthetic>"}}));
    let converted = session([user(0, "go"), line]).run();
    assert_eq!(converted.events, Vec::<Value>::new());
    assert_eq!(converted.identities, []);
    assert_eq!(converted.counts.bad_lines, 0);
}

#[test]
fn what_the_failed_call_was_asked_is_its_input() {
    assert_eq!(fails(json!({}))["$ai_input"], json!([{"role": "tool", "tool_call_id": tool_id("t"), "content": "x"}]));
}
