//! `claude_code_interrupted`: the user stopped a response or a tool.

use super::lines::*;
use serde_json::{Value, json};

fn partial() -> Line {
    reply(1000, "m", json!([text("I think")])).with(json!({"message": {"stop_reason": null}}))
}

fn flag(p: Value) -> bool {
    let flag = p.get("claude_code_interrupted").cloned();
    assert!(flag.is_none() || flag == Some(json!(true)), "{flag:?}");
    flag.is_some()
}

#[test]
fn a_response_that_says_so() {
    assert!(flag(session([user(0, "go"), partial().with(json!({"isAbortedMidStream": true}))]).generation()));
    assert!(!flag(session([user(0, "go"), partial()]).generation()));
    assert!(!flag(session([user(0, "go"), partial().with(json!({"isAbortedMidStream": false}))]).generation()));
}

#[test]
fn a_response_of_which_the_interruption_says_so() {
    let stop =
        |id: &str| user(2000, json!([text("[Request interrupted by user]")])).with(json!({"interruptedMessageId": id}));
    assert!(flag(session([user(0, "go"), partial(), stop("m")]).generation()));
    assert!(!flag(session([user(0, "go"), partial(), stop("another")]).generation()));
}

#[test]
fn a_response_that_the_client_ended() {
    let end = reply(2000, "m", json!([text("[interrupted]")])).with(json!({"message": {"model": "<synthetic>"}}));
    let p = session([user(0, "go"), partial(), end]).generation();
    assert_eq!((&p["$ai_model"], &p["$ai_output_tokens"]), (&json!("claude-x"), &json!(20)));
    assert!(flag(p));
}

fn tool(result: Line) -> bool {
    flag(session([reply(0, "m", json!([call("t")])), result]).span())
}

#[test]
fn a_tool_whose_result_says_so() {
    assert!(tool(result(1, "t", "x").with(json!({"toolUseResult": {"stdout": "", "interrupted": true}}))));
    assert!(!tool(result(1, "t", "x").with(json!({"toolUseResult": {"stdout": "", "interrupted": false}}))));
    assert!(!tool(result(1, "t", "x").with(json!({"toolUseResult": {"file": {"interrupted": true}}}))));
    assert!(!tool(result(1, "t", "x").with(json!({"toolUseResult": "Error: \"interrupted\":true"}))));
}

#[test]
fn a_tool_whose_result_ends_in_the_client_s_words() {
    let words = "[Request interrupted by user for tool use]";
    assert!(tool(error(1, "t", words)));
    assert!(tool(error(1, "t", format!("Exit code 137\n{words}"))));
    assert!(tool(error(1, "t", json!([text(words)]))));
    assert!(!tool(error(1, "t", "Exit code 1")));
}

#[test]
fn a_tool_that_only_read_these_words_was_not_interrupted() {
    assert!(!tool(result(1, "t", "[Request interrupted by user for tool use]")));
    assert!(!tool(error(1, "t", "grep: [Request interrupted by user for tool use] in a file")));
}
