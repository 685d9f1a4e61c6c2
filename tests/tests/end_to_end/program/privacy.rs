//! Privacy mode: every text of a session has a marker, and no byte of a marker leaves.

use super::*;
use serde_json::{Value, json};
use std::path::Path;

/// Encloses every marker. What is sent must not contain either half.
const BEFORE: &str = "xyzzy";
const AFTER: &str = "plugh";

/// The texts that are sent when privacy mode is off.
const SENT: [&str; 17] = [
    "custom title",
    "prompt",
    "second prompt",
    "answer",
    "thinking",
    "tool input",
    "tool output",
    "tool error",
    "tool list",
    "mcp input",
    "search query",
    "search title",
    "command arguments",
    "api error",
    "agent prompt",
    "agent answer",
    "agent output",
];

/// The texts that are never sent.
const NEVER_SENT: [&str; 24] = [
    "cwd",
    "image",
    "signature",
    "tool use result",
    "tool error result",
    "hook command",
    "hook output",
    "attachment",
    "system",
    "retry",
    "summary",
    "ai title",
    "last prompt",
    "queue",
    "snapshot",
    "system prompt",
    "tool schema",
    "meta",
    "unknown",
    "branch url",
    "encrypted",
    "agent description",
    "agent result",
    "unknown member",
];

fn marker(field: &str) -> String {
    format!("{BEFORE}-{}-{AFTER}", field.replace(' ', "-"))
}

/// Writes a session with all of the markers, and its sub-agent.
pub(super) fn plant(home: &Home) -> PathBuf {
    let m = marker;
    let image = json!({"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": m("image")}});
    let user =
        |content: Value| json!({"type": "user", "promptId": "p1", "message": {"role": "user", "content": content}});
    let response = |id: &str, block: Value| {
        json!({"type": "assistant", "unknownMember": m("unknown member"), "message": {
            "id": id, "role": "assistant", "model": "claude-opus-5-5", "content": [block], "stop_reason": "tool_use",
            "usage": {"input_tokens": 3, "output_tokens": 7, "secret": m("unknown member")}}})
    };
    let result = |id: &str, content: Value, is_error: bool, beside: Value| {
        let mut line =
            user(json!([{"type": "tool_result", "tool_use_id": id, "content": content, "is_error": is_error}]));
        line["toolUseResult"] = beside;
        line
    };
    let call = |id: &str, name: &str, input: Value| json!({"type": "tool_use", "id": id, "name": name, "input": input});
    let prompt = [json!({"type": "text", "text": m("prompt")}), image.clone()];

    let lines = [
        json!({"type": "file-history-snapshot", "snapshot": {"trackedFileBackups": {m("snapshot"): {}}}}),
        json!({"type": "prompt_snapshot", "systemPrompt": m("system prompt")}),
        json!({"type": "api-request-shape", "tools": [m("tool schema")]}),
        json!({"type": "queue-operation", "operation": "enqueue", "content": m("queue")}),
        user(json!(prompt)),
        json!({"type": "attachment", "attachment": {"type": "hook_success", "content": m("attachment"), "stdout": m("hook output")}}),
        response("msg_1", json!({"type": "thinking", "thinking": m("thinking"), "signature": m("signature")})),
        response("msg_1", json!({"type": "redacted_thinking", "data": m("encrypted")})),
        response("msg_1", json!({"type": "text", "text": m("answer")})),
        response("msg_1", call("t1", "Bash", json!({"command": m("tool input")}))),
        response("msg_1", call("t2", "Read", json!({"file_path": m("tool input")}))),
        json!({"type": "progress", "data": {"type": "hook_progress", "command": m("hook command")}}),
        result("t1", json!(m("tool output")), false, json!({"stdout": m("tool use result"), "interrupted": false})),
        result("t2", json!(m("tool error")), true, json!(format!("Error: {}", m("tool error result")))),
        response(
            "msg_2",
            call("t3", "Task", json!({"description": "d", "prompt": m("agent prompt"), "subagent_type": "Explore"})),
        ),
        result(
            "t3",
            json!([{"type": "text", "text": m("tool list")}, image]),
            false,
            json!({"agentId": "a1", "content": m("agent result")}),
        ),
        response("msg_3", call("t4", "mcp__shop__find", json!({m("mcp input"): 1}))),
        response(
            "msg_3",
            json!({"type": "server_tool_use", "id": "t5", "name": "web_search", "input": {"query": m("search query")}}),
        ),
        response(
            "msg_3",
            json!({"type": "web_search_tool_result", "tool_use_id": "t5", "content": [
            {"type": "web_search_result", "title": m("search title"), "url": "https://example.com", "encrypted_content": m("encrypted")}]}),
        ),
        user(json!("[Request interrupted by user]")),
        json!({"type": "system", "subtype": "stop_hook_summary", "hookInfos": [{"command": m("hook command")}], "hookErrors": [m("hook output")]}),
        json!({"type": "system", "subtype": "local_command", "content": m("system")}),
        json!({"type": "system", "subtype": "api_error", "error": {"message": m("retry")}, "retryInMs": 500}),
        json!({"type": "user", "promptId": "p2", "isMeta": true, "message": {"role": "user", "content": m("meta")}}),
        json!({"type": "user", "promptId": "p2", "message": {"role": "user", "content": m("second prompt")}}),
        json!({"type": "assistant", "isApiErrorMessage": true, "error": "server_error", "apiErrorStatus": 529, "message": {
            "id": "msg_4", "role": "assistant", "model": "<synthetic>", "content": [{"type": "text", "text": m("api error")}]}}),
        json!({"type": "user", "promptId": "p3", "message": {"role": "user", "content": format!(
            "<command-message>deploy</command-message>\n<command-name>/deploy</command-name>\n<command-args>{}</command-args>",
            m("command arguments"))}}),
        response("msg_5", json!({"type": "text", "text": m("answer")})),
        json!({"type": "user", "isCompactSummary": true, "message": {"role": "user", "content": m("summary")}}),
        json!({"type": "summary", "summary": m("summary"), "leafUuid": "x"}),
        json!({"type": "ai-title", "aiTitle": m("ai title")}),
        json!({"type": "custom-title", "customTitle": m("custom title")}),
        json!({"type": "last-prompt", "lastPrompt": m("last prompt")}),
        json!({"type": "pr-link", "prUrl": m("branch url")}),
        json!({"type": "from-the-future", "content": m("unknown"), "message": {"content": m("unknown")}}),
    ];
    let agent_lines = [
        user(json!(m("agent prompt"))),
        response("msg_a1", json!({"type": "thinking", "thinking": m("thinking")})),
        response("msg_a1", call("a1t1", "Grep", json!({"pattern": m("tool input")}))),
        result("a1t1", json!(m("agent output")), false, json!({"content": m("tool use result")})),
        response("msg_a2", json!({"type": "text", "text": m("agent answer")})),
    ];
    let transcript = |lines: Vec<Value>| {
        lines.into_iter().fold(Transcript::new(), |transcript, mut line| {
            line["cwd"] = json!(format!("/home/{}/shop", m("cwd")));
            line["gitBranch"] = json!("main");
            transcript.line(line)
        })
    };
    let session = home.session(transcript(lines.to_vec()).text());
    let agents = session.with_extension("").join("subagents");
    std::fs::create_dir_all(&agents).unwrap();
    std::fs::write(agents.join("agent-a1.jsonl"), transcript(agent_lines.to_vec()).text()).unwrap();
    let metadata = json!({"agentType": "Explore", "toolUseId": "t3", "description": m("agent description")});
    std::fs::write(agents.join("agent-a1.meta.json"), metadata.to_string()).unwrap();
    session
}

/// Everything that leaves the machine: the requests' heads and bodies, and the output of `convert`.
fn leaves(home: &Home, session: &Path, privacy: &str, grouping: &str) -> (String, Vec<Value>) {
    let posthog = posthog();
    let send = home.send(&posthog, session).env("POSTHOG_LLMA_PRIVACY_MODE", privacy);
    send.env("POSTHOG_LLMA_TRACE_GROUPING", grouping).run().exits_with(0);
    let convert = home.convert(session).env("POSTHOG_LLMA_PRIVACY_MODE", privacy);
    let converted = convert.env("POSTHOG_LLMA_TRACE_GROUPING", grouping).run().exits_with(0);
    assert_eq!(converted.stdout, sent(&posthog));
    let requests = posthog.requests();
    let requests = requests.iter().map(|r| format!("{} {:?} {}", r.path, r.headers, decompressed(r)));
    (requests.chain([converted.stdout.clone()]).collect(), converted.events())
}

#[test]
fn no_text_of_a_session_leaves_in_privacy_mode() {
    let home = Home::new();
    let session = plant(&home);
    for grouping in ["session", "message"] {
        let (left, events) = leaves(&home, &session, "true", grouping);
        for part in [BEFORE, AFTER] {
            let found = left.find(part).map(|at| &left[at.saturating_sub(200)..(at + 100).min(left.len())]);
            assert_eq!(found, None, "{grouping}");
        }
        // It is the session with the markers, and it was converted.
        let count = |name: &str| events.iter().filter(|event| event["event"] == name).count();
        assert_eq!((count("$ai_generation"), count("$ai_span")), (7, 6));
    }
}

#[test]
fn the_same_texts_are_found_without_privacy_mode() {
    let home = Home::new();
    let (left, _) = leaves(&home, &plant(&home), "false", "session");
    for field in SENT {
        assert!(left.contains(&marker(field)), "{field} is not sent: its marker proves nothing");
    }
    for field in NEVER_SENT {
        assert!(!left.contains(&marker(field)), "{field} is sent");
    }
}

/// The files of a session that [`plant`] wrote.
pub(super) fn planted_files(session: &Path) -> [PathBuf; 3] {
    let folder = session.with_extension("").join("subagents");
    [session.to_owned(), folder.join("agent-a1.jsonl"), folder.join("agent-a1.meta.json")]
}

#[test]
fn every_marker_is_planted() {
    let home = Home::new();
    let files = planted_files(&plant(&home));
    let planted: String = files.iter().map(|file| std::fs::read_to_string(file).unwrap()).collect();
    for field in SENT.iter().chain(&NEVER_SENT) {
        assert!(planted.contains(&marker(field)), "{field}");
    }
}

#[test]
fn privacy_mode_keeps_the_numbers_names_and_ids() {
    let home = Home::new();
    let session = plant(&home);
    let (_, open) = leaves(&home, &session, "false", "session");
    let (_, private) = leaves(&home, &session, "true", "session");
    let texts =
        ["$ai_input", "$ai_output_choices", "$ai_input_state", "$ai_output_state", "$ai_user_prompt", "$ai_trace_name"];
    // A trace's name is a text; a span's is its tool's.
    let is_name = |event: &Value, name: &str| event["event"] == "$ai_trace" && name == "$ai_span_name";
    assert_eq!(open.len(), private.len());
    for (open, private) in open.iter().zip(&private) {
        let mut expected = open.clone();
        let properties = expected["properties"].as_object_mut().unwrap();
        properties.retain(|name, _| !texts.contains(&name.as_str()) && name != "$ai_error" && !is_name(open, name));
        let mut left = private.clone();
        left["properties"].as_object_mut().unwrap().remove("$ai_error");
        assert_eq!(left, expected);
    }
    let errors: Vec<_> = private.iter().filter(|event| event["properties"]["$ai_is_error"] == true).collect();
    assert!(errors.iter().any(|event| event["properties"]["$ai_error_type"] == "server_error"), "{errors:?}");
}
