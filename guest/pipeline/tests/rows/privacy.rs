//! Privacy mode: no text leaves, all the rest does.

use super::lines::*;
use serde_json::{Value, json};

const MARKER: &str = "Bo'ness";

/// A session with the marker in every text.
fn session_with_texts() -> Case {
    session_with(MARKER)
}

/// A session with this in every text.
pub fn session_with(marker: &str) -> Case {
    let m = |words: &str| format!("{marker} {words}");
    let image = json!({"type": "image", "source": {"media_type": m("type"), "data": m("data")}});
    let search = json!({"type": "server_tool_use", "id": "s", "name": "web_search", "input": {"query": m("query")}});
    let found = json!({"type": "web_search_tool_result", "tool_use_id": "s", "content": [{"title": m("title"), "url": m("url")}]});
    let lines = vec![
        other("summary").with(json!({"summary": m("summary")})),
        other("last-prompt").with(json!({"lastPrompt": m("prompt")})),
        other("ai-title").with(json!({"aiTitle": m("title")})),
        user(0, m("prompt")).with(json!({"promptId": "p"})),
        user(1, json!([text(&m("block")), image, {"type": m("kind")}])),
        reply(2, "m1", json!([
            text(&m("text")), {"type": "thinking", "thinking": m("thought"), "signature": m("signature")},
            {"type": "redacted_thinking", "data": m("data")}, {"type": "hologram", "data": m("data")},
            call_of("Bash", "t", json!({"command": m("command"), "description": m("description")})), task("u", &m("task")), search, found,
        ])).with(json!({"gitBranch": "main", "effort": "high"})),
        error(3, "t", m("output")).with(json!({"toolUseResult": {"stdout": m("stdout"), "file": m("file")}})),
        result(4, "u", json!([text(&m("output"))])).with(json!({"toolUseResult": m("result")})),
        other("system").with(json!({"subtype": "local_command", "content": m("content")})),
        other("progress").with(json!({"data": {"type": "agent_progress", "agentId": "lost", "message": user(5, m("prompt")).0}})),
        failed(5, "e", &m("failed")).with(json!({"error": "rate_limit", "apiErrorStatus": 429, "errorDetails": m("details")})),
        failed(6, "f", &m("failed")).with(json!({"error": m("type"), "apiErrorType": m("type")})),
    ];
    let agent = vec![user(3, m("task")), reply(4, "n", json!([text(&m("answer"))]))];
    session(lines).agent("a", Some(json!({"agentType": "Explore", "description": m("description")})), agent)
}

#[test]
fn no_byte_of_any_text_leaves() {
    for by_prompt in [false, true] {
        let case = session_with_texts().options(|o| o.privacy_mode = true);
        let converted = if by_prompt { case.by_prompt().run() } else { case.run() };
        let bytes = String::from_utf8(converted.bytes).unwrap();
        assert!(!bytes.contains(MARKER), "{bytes}");
        assert_eq!(converted.counts.generations, 4);
    }
}

#[test]
fn without_it_the_texts_are_sent() {
    let bytes = String::from_utf8(session_with_texts().run().bytes).unwrap();
    for words in
        ["prompt", "block", "text", "thought", "command", "task", "query", "title", "output", "failed", "answer"]
    {
        assert!(bytes.contains(&format!("{MARKER} {words}")), "{words}");
    }
    // These are never sent.
    for words in ["signature", "stdout", "summary", "details", "description", "data"] {
        assert!(!bytes.contains(&format!("{MARKER} {words}")) || words == "description", "{words}");
    }
}

const TEXTS: [&str; 7] = [
    "$ai_input",
    "$ai_output_choices",
    "$ai_input_state",
    "$ai_output_state",
    "$ai_user_prompt",
    "$ai_trace_name",
    "$ai_error",
];

#[test]
fn exactly_the_texts_are_missing_and_not_empty() {
    let open = session_with_texts().run();
    let private = session_with_texts().options(|o| o.privacy_mode = true).run();
    assert_eq!(open.events.len(), private.events.len());
    for (open, private) in open.events.iter().zip(&private.events) {
        let mut expected = open.clone();
        let properties = expected["properties"].as_object_mut().unwrap();
        properties.retain(|name, _| !TEXTS.contains(&name.as_str()));
        // Of a trace it is the name; of a tool call it is the tool's.
        if open["event"] == "$ai_trace" {
            properties.remove("$ai_span_name");
        }
        assert_eq!(&expected, private);
    }
    let there: Vec<_> =
        TEXTS.iter().filter(|name| open.events.iter().any(|e| e["properties"].get(name).is_some())).collect();
    assert_eq!(there.len(), TEXTS.len());
}

#[test]
fn counts_names_and_flags_are_sent() {
    let converted = session_with_texts().options(|o| o.privacy_mode = true).run();
    let p = converted.generations()[0];
    for (name, value) in [
        ("$ai_model", json!("claude-x")),
        ("$ai_output_tokens", json!(20)),
        ("$ai_tools_called", json!("Bash,Task,web_search")),
        ("$ai_git_branch", json!("main")),
        ("$ai_project_name", json!("shop")),
        ("$ai_effort", json!("high")),
        ("$ai_latency", json!(0.001)),
    ] {
        assert_eq!(p[name], value, "{name}");
    }
    let failures: Vec<_> = converted.generations().into_iter().filter(|p| p["$ai_is_error"] == true).collect();
    assert_eq!((&failures[0]["$ai_error_type"], &failures[0]["$ai_http_status"]), (&json!("rate_limit"), &json!(429)));
    let error = converted.spans().into_iter().find(|p| p["$ai_span_name"] == "Bash").unwrap().clone();
    assert_eq!((&error["$ai_is_error"], error.get("$ai_error")), (&json!(true), None::<&Value>));
}

#[test]
fn a_sentence_in_the_place_of_a_name_does_not_leave() {
    let m = |words: &str| format!("{MARKER} {words}");
    let mut response = reply(1, "m1", json!([call_of(&m("tool"), "t", json!({}))]));
    response.0["message"]["model"] = json!(m("model"));
    response.0["message"]["stop_reason"] = json!(m("reason"));
    response.0["message"]["usage"] =
        json!({"input_tokens": 1, "output_tokens": 2, "service_tier": m("tier"), "speed": m("speed")});
    let response = response.with(json!({
        "effort": m("effort"), "attributionSkill": m("skill"), "version": m("version"), "entrypoint": m("entry")
    }));
    let lines = vec![user(0, "go"), response, result(2, "t", json!("done"))];
    let agent = vec![user(3, "task"), reply(4, "n", json!([text("answer")]))];
    let case = session(lines).agent("a", Some(json!({"agentType": m("agent")})), agent);
    let open = String::from_utf8(case.clone().run().bytes).unwrap();
    assert!(open.contains(&m("tool")) && open.contains(&m("model")) && open.contains(&m("reason")), "{open}");
    let private = String::from_utf8(case.options(|o| o.privacy_mode = true).run().bytes).unwrap();
    assert!(!private.contains(MARKER), "{private}");
    assert!(private.contains(r#""$ai_span_name":"other""#) && private.contains(r#""$ai_model":"other""#), "{private}");
}
