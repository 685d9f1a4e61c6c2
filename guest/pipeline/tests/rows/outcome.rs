//! What came of a session: lines, files, edits, commits.

use super::lines::*;
use serde_json::{Value, json};

#[test]
fn lines_files_and_edits_are_counted() {
    let edit =
        |id: &str, path: &str| call_of("Edit", id, json!({"file_path": path, "old_string": "a", "new_string": "b"}));
    let patched = |time: i64, id: &str, path: &str, lines: Value, by_user: bool| {
        result(time, id, "updated").with(json!({"toolUseResult": {
            "filePath": path, "structuredPatch": [{"oldStart": 1, "lines": lines}], "userModified": by_user,
        }}))
    };
    let lines = [
        user(0, "go"),
        reply(
            1,
            "m",
            json!([
                edit("t1", "/a"),
                edit("t2", "/a"),
                call_of("Write", "t3", json!({"file_path": "/b", "content": "x\ny\n"})),
                edit("t4", "/c")
            ]),
        ),
        patched(2, "t1", "/a", json!([" a", "-b", "+c", "+d"]), false),
        patched(3, "t2", "/a", json!(["-e"]), true),
        result(4, "t3", "created").with(
            json!({"toolUseResult": {"type": "create", "filePath": "/b", "content": "x\ny\n", "structuredPatch": []}}),
        ),
        error(5, "t4", "String to replace not found"),
    ];
    let case = session(lines).agent(
        "x",
        None,
        [user(6, "look"), reply(7, "n", json!([edit("t5", "/d")])), result(8, "t5", "updated")],
    );
    for privacy in [false, true] {
        let converted = case.clone().options(|o| o.privacy_mode = privacy).run();
        let trace = converted.traces()[0];
        let counts = [
            "lines_added",
            "lines_removed",
            "files_changed",
            "edits_accepted",
            "edits_user_modified",
            "edits_rejected",
        ]
        .map(|name| trace[format!("claude_code_{name}")].as_u64().unwrap());
        assert_eq!(counts, [5, 3, 3, 4, 1, 0]);
        assert_eq!(converted.spans()[1]["claude_code_user_modified"], true);
    }
}

#[test]
fn lines_of_a_file_too_long_to_keep_are_counted_all_the_same() {
    let content = "line\n".repeat(100_000);
    let lines = [
        reply(0, "m", json!([call_of("Write", "t", json!({"file_path": "/b", "content": content}))])),
        result(1, "t", "created")
            .with(json!({"toolUseResult": {"type": "create", "filePath": "/b", "content": content}})),
    ];
    let trace = session(lines).options(|o| o.max_attribute_length = 0).trace();
    assert_eq!(trace["claude_code_lines_added"], 100_000);
}

#[test]
fn a_file_counts_with_its_first_change_also_over_deliveries() {
    let edit = |id: &str, path: &str| call_of("Write", id, json!({"file_path": path, "content": "a"}));
    let lines = [
        user(0, "one"),
        reply(1, "m1", json!([edit("t1", "/a")])),
        result(2, "t1", "ok"),
        user(3, "two"),
        reply(4, "m2", json!([edit("t2", "/a"), edit("t3", "/b")])),
        result(5, "t2", "ok"),
        result(6, "t3", "ok"),
    ];
    let sent = session(lines.clone()).run().sent();
    let later = session(lines.clone()).exclude(sent[..2].iter().copied()).trace();
    assert_eq!(later["claude_code_files_changed"], 1);
    let by_prompt = session(lines).by_prompt().run();
    let counts: Vec<_> = by_prompt.traces().iter().map(|t| t["claude_code_files_changed"].clone()).collect();
    assert_eq!(counts, [1, 1]);
}

#[test]
fn commits_and_the_pull_request_are_told() {
    let bash = |id: &str, command: &str| call_of("Bash", id, json!({"command": command}));
    let lines = [
        user(0, "go"),
        reply(
            1,
            "m",
            json!([bash("t1", "git commit -m x"), bash("t2", "npm test"), bash("t3", "git log && git commit --amend")]),
        ),
        result(2, "t1", "[main 1a2b3c4] Rename the button\n 1 file changed, 1 insertion(+)"),
        result(3, "t2", "[suite 1a2b3c5] passed"),
        result(4, "t3", json!([text("warning: x\n[main 2b3c4d5] Rename the button")])),
        Line(
            json!({"type": "pr-link", "prNumber": 12, "prUrl": "https://github.com/dev/shop/pull/12", "prRepository": "dev/shop"}),
        ),
        Line(json!({"type": "pr-link", "prNumber": 13, "prUrl": "our secret plan"})),
    ];
    let trace = session(lines).options(|o| o.privacy_mode = true).trace();
    assert_eq!(trace["claude_code_commits"], 2);
    assert_eq!(
        (&trace["claude_code_pr_url"], &trace["claude_code_pr_number"]),
        (&json!("https://github.com/dev/shop/pull/12"), &json!(12))
    );
}
