//! What a person reads: prompts in their words, traces with a name, a "no" that is not an error.

use super::lines::*;
use posthog_llma_pipeline::session::AgentFile;
use serde_json::{Value, json};

fn command(name: &str, arguments: &str) -> String {
    format!(
        "<command-name>{name}</command-name>\n<command-message>x</command-message>\n<command-args>{arguments}</command-args>"
    )
}

fn queued(time: i64, attachment: Value) -> Line {
    Line(json!({"type": "attachment", "timestamp": at(time), "uuid": format!("q{time}")}))
        .with(json!({"attachment": {"type": "queued_command"}}))
        .with(json!({"attachment": attachment}))
}

fn queue(time: i64, operation: Value) -> Line {
    Line(json!({"type": "queue-operation", "timestamp": at(time)})).with(operation)
}

/// A tool runs, these lines stand behind its result, and the next response ends the turn.
fn while_working(lines: impl IntoIterator<Item = Line>) -> Case {
    let before = [
        user(0, "Rename the button").with(json!({"promptId": "p1"})),
        reply(3000, "m1", json!([call("t")])),
        result(5000, "t", "src/a.ts:1").with(json!({"promptId": "p1"})),
    ];
    session(before.into_iter().chain(lines).chain([reply(9000, "m2", json!([text("Done.")]))]))
}

fn inputs(generation: &Value) -> Vec<&str> {
    generation["$ai_input"].as_array().into_iter().flatten().map(|m| m["content"].as_str().unwrap()).collect()
}

// ---- prompts

#[test]
fn a_prompt_that_was_typed_while_the_model_worked_is_in_the_next_input() {
    let words = "And make it green, please";
    let attachments = [
        json!({"prompt": words, "commandMode": "prompt"}),
        json!({"prompt": words, "commandMode": "prompt", "origin": {"kind": "human"}}),
        json!({"prompt": [{"type": "text", "text": words}], "commandMode": "prompt"}),
    ];
    for attachment in attachments {
        let enqueue = queue(4000, json!({"operation": "enqueue", "content": words}));
        let remove = queue(5100, json!({"operation": "remove", "content": words, "reason": "absorbed_mid_turn"}));
        for lines in [vec![queued(5200, attachment.clone())], vec![enqueue, remove, queued(5200, attachment.clone())]] {
            let converted = while_working(lines).run();
            let last = converted.generations()[1];
            assert_eq!(inputs(last), ["src/a.ts:1", words]);
            assert_eq!(last["$ai_user_prompt"], format!("Rename the button\n\n{words}"));
            assert_eq!(converted.generations()[0]["$ai_user_prompt"], "Rename the button");
            assert_eq!(converted.traces()[0]["claude_code_turns"], 1);
        }
    }
}

#[test]
fn what_the_client_queues_is_told_and_is_no_prompt() {
    for attachment in [
        json!({"prompt": "<task-notification>x</task-notification>", "commandMode": "task-notification"}),
        json!({"prompt": "<tick>now</tick>", "commandMode": "prompt"}),
        json!({"prompt": "The build is done.", "commandMode": "prompt", "origin": {"kind": "peer"}}),
        json!({"prompt": "The build is done.", "commandMode": "something-new"}),
    ] {
        let converted = while_working([queued(5200, attachment.clone())]).run();
        let last = converted.generations()[1];
        assert_eq!(inputs(last).len(), 2, "{attachment}");
        assert_eq!(last["$ai_user_prompt"], "Rename the button", "{attachment}");
    }
}

#[test]
fn before_there_were_attachments_the_queue_itself_tells() {
    let words = "And make it green, please";
    let enqueue = || queue(4000, json!({"operation": "enqueue", "content": words}));
    for remove in [json!({"operation": "remove"}), json!({"operation": "remove", "content": words})] {
        let converted = while_working([enqueue(), queue(5003, remove)]).run();
        let last = converted.generations()[1];
        assert_eq!(inputs(last), ["src/a.ts:1", words]);
        assert_eq!(last["$ai_user_prompt"], format!("Rename the button\n\n{words}"));
    }
    for lines in [
        vec![enqueue()],
        vec![enqueue(), queue(5003, json!({"operation": "popAll"}))],
        vec![enqueue(), queue(5003, json!({"operation": "dequeue"}))],
        vec![enqueue(), queue(5003, json!({"operation": "remove", "reason": "user_cancelled"}))],
        vec![queue(5003, json!({"operation": "remove"}))],
        vec![
            queue(
                4000,
                json!({"operation": "enqueue", "content": "{\"task_id\":\"a1\",\"task_type\":\"local_agent\"}"}),
            ),
            queue(5003, json!({"operation": "remove"})),
        ],
        vec![queue(1, json!({"operation": 5, "content": {"a": 1}}))],
    ] {
        assert_eq!(inputs(while_working(lines).run().generations()[1]), ["src/a.ts:1"]);
    }
}

#[test]
fn a_queued_prompt_with_a_line_of_its_own_is_there_once() {
    let words = "And make it green, please";
    let lines = [
        queue(4000, json!({"operation": "enqueue", "content": words})),
        queue(5003, json!({"operation": "remove"})),
        user(5100, words),
    ];
    assert_eq!(inputs(while_working(lines).run().generations()[1]), ["src/a.ts:1", words]);
}

#[test]
fn what_an_editor_puts_before_the_prompt_is_not_the_persons() {
    let contexts = [
        "<ide_opened_file>The user opened the file /home/dev/shop/todo.md.</ide_opened_file>",
        "<ide_selection>The user selected the lines 3 to 4:\nlet x</ide_selection>",
        "<ide_diagnostics>[{\"a\":1}]</ide_diagnostics>",
        "<next-months-context kind=\"x\">y</next-months-context>",
    ];
    for context in contexts {
        let blocks = json!([text(context), text("Why does checkout fail?")]);
        let converted = session([user(0, blocks), reply(1, "m", json!([]))]).run();
        assert_eq!(converted.generations()[0]["$ai_user_prompt"], "Why does checkout fail?");
        assert_eq!(converted.traces()[0]["$ai_trace_name"], "Why does checkout fail?");
    }
    let one = format!("{}\nRename this", contexts[1]);
    let converted = session([user(0, one), reply(1, "m", json!([]))]).run();
    assert_eq!(converted.generations()[0]["$ai_user_prompt"], "Rename this");
    assert_eq!(converted.traces()[0]["$ai_span_name"], "Rename this");
}

#[test]
fn a_prompt_that_shares_its_id_with_a_command_is_the_prompt() {
    let id = || json!({"promptId": "p1"});
    let lines = [
        user(0, "<local-command-caveat>Caveat: …</local-command-caveat>")
            .with(json!({"isMeta": true, "promptId": "p1"})),
        user(1, command("/model", "opus")).with(id()),
        user(2, "<local-command-stdout>Set model to opus</local-command-stdout>").with(id()),
        user(3000, json!([text("Build the importer")])).with(id()),
        reply(9000, "m", json!([])),
    ];
    for by_prompt in [false, true] {
        let case = session(lines.clone());
        let converted = if by_prompt { case.by_prompt() } else { case }.run();
        assert_eq!(converted.generations()[0]["$ai_user_prompt"], "Build the importer");
        let trace = converted.traces()[0];
        assert_eq!((&trace["$ai_trace_name"], &trace["claude_code_turns"]), (&json!("Build the importer"), &json!(1)));
        assert_eq!(trace["$ai_latency"], 6.0);
    }
}

#[test]
fn a_command_that_calls_no_model_is_no_turn_and_names_nothing() {
    let commands = [
        command("/clear", ""),
        command("/plan", ""),
        command("/release-notes", ""),
        command("/next-months-command", "x"),
        "<bash-input>git switch main</bash-input>".to_owned(),
    ];
    for local in commands {
        for printed in ["<local-command-stdout>ok</local-command-stdout>", "<bash-stdout>ok</bash-stdout>", ""] {
            let lines = [
                user(0, local.clone()).with(json!({"promptId": "p1"})),
                user(1, printed).with(json!({"promptId": "p2"})),
                user(10_000, "Why is the build red?").with(json!({"promptId": "p3"})),
                reply(14_000, "m", json!([])),
                user(20_000, local.clone()).with(json!({"promptId": "p4"})),
            ];
            let trace = session(lines).trace();
            assert_eq!(trace["$ai_trace_name"], "Why is the build red?", "{local}");
            assert_eq!((&trace["claude_code_turns"], &trace["$ai_latency"]), (&json!(1), &json!(4.0)), "{local}");
        }
    }
}

#[test]
fn a_command_that_a_model_answers_is_a_turn() {
    let lines = [
        user(0, command("/review", "pr 5")),
        user(1, json!([text("Review the pull request.")])).with(json!({"isMeta": true})),
        reply(5000, "m1", json!([])),
        user(9000, "<bash-input>ls</bash-input>"),
        user(9001, "<bash-stdout>a</bash-stdout><bash-stderr></bash-stderr>"),
        reply(9500, "m2", json!([])),
    ];
    let converted = session(lines).run();
    let prompts: Vec<_> = converted.generations().iter().map(|g| g["$ai_user_prompt"].clone()).collect();
    assert_eq!(prompts, ["/review pr 5", "!ls"]);
    let trace = converted.traces()[0];
    assert_eq!((&trace["$ai_trace_name"], &trace["claude_code_turns"]), (&json!("/review pr 5"), &json!(2)));
    assert_eq!(trace["$ai_latency"], 5.5);
}

#[test]
fn what_follows_a_local_command_without_a_prompt_belongs_to_the_turn_before() {
    let lines = [
        user(0, "Start the build").with(json!({"promptId": "p1"})),
        reply(1000, "m1", json!([])),
        user(2000, command("/cost", "")).with(json!({"promptId": "p2"})),
        user(2001, "<local-command-stdout>$1</local-command-stdout>")
            .with(json!({"promptId": "p2", "parentUuid": "u2000"})),
        user(9000, "<task-notification>done</task-notification>")
            .with(json!({"promptId": "p3", "parentUuid": "u2001"})),
        reply(10_000, "m2", json!([])).with(json!({"parentUuid": "u9000"})),
    ];
    let converted = session(lines).by_prompt().run();
    assert_eq!(converted.traces().len(), 1);
    assert_eq!(converted.generations()[1]["$ai_user_prompt"], "Start the build");
}

#[test]
fn a_wrapper_of_next_month_is_no_prompt_and_a_scripts_own_tags_are() {
    for (line, turns) in [
        (user(0, "<next-months-wrapper id=\"1\">x</next-months-wrapper>\n<another>y</another>"), 0),
        (user(0, "<tick/>"), 0),
        (user(0, "Wake up").with(json!({"rowSource": "harness"})), 0),
        (user(0, "<task>Fix it</task>").with(json!({"promptSource": "sdk"})), 1),
        (user(0, "<div> is not centered"), 1),
        (user(0, "Is <b>this</b> bold?"), 1),
    ] {
        let trace = session([line.clone(), reply(1, "m", json!([]))]).trace();
        assert_eq!(trace["claude_code_turns"], turns, "{:?}", line.0);
        assert_eq!(trace.get("$ai_trace_name").is_some(), turns == 1, "{:?}", line.0);
    }
}

#[test]
fn a_session_s_own_title_is_its_name() {
    let title = |kind: &str, name: &str, words: &str| Line(json!({"type": kind, (name): words}));
    let custom = || title("custom-title", "customTitle", "My shop");
    let by_model = || title("ai-title", "aiTitle", "Checkout for guests");
    let summary = |leaf: &str| Line(json!({"type": "summary", "summary": "A summary", "leafUuid": leaf}));
    let name = |lines: Vec<Line>| {
        let all = lines.into_iter().chain([user(0, "Fix it"), reply(1, "m", json!([]))]);
        session(all).trace()["$ai_trace_name"].clone()
    };
    assert_eq!(name(vec![title("custom-title", "customTitle", "Old"), custom(), by_model(), summary("a1")]), "My shop");
    assert_eq!(name(vec![title("ai-title", "aiTitle", "Old"), by_model(), summary("a1")]), "Checkout for guests");
    assert_eq!(name(vec![summary("elsewhere"), summary("a1")]), "A summary");
    assert_eq!(name(vec![summary("elsewhere")]), "Fix it");
    assert_eq!(
        name(vec![title("custom-title", "customTitle", " "), title("ai-title", "aiTitle", "\u{1b}[2J")]),
        "Fix it"
    );
    let lines = || [custom(), user(0, "Fix it"), reply(1, "m", json!([]))];
    assert_eq!(session(lines()).by_prompt().trace()["$ai_trace_name"], "Fix it");
    assert_eq!(session(lines()).options(|o| o.privacy_mode = true).trace().get("$ai_trace_name"), None);
}

#[test]
fn a_name_has_no_control_characters() {
    for (prompt, name) in [
        (
            "\u{1b}]0;owned\u{7}\u{1b}[31mError:\u{1b}[0m build failed\u{1b}[2J at line 3",
            "Error: build failed at line 3",
        ),
        ("\u{9b}31mred\u{202e}\u{0} alert", "red alert"),
    ] {
        let trace = session([user(0, prompt), reply(1, "m", json!([]))]).trace();
        assert_eq!((&trace["$ai_trace_name"], &trace["$ai_span_name"]), (&json!(name), &json!(name)));
    }
}

// ---- structure

#[test]
fn a_session_has_one_project_wherever_it_goes() {
    let project = |lines: Vec<Line>| {
        let converted = session(lines).run();
        let mut names: Vec<_> = converted.events.iter().map(|e| e["properties"]["$ai_project_name"].clone()).collect();
        names.dedup();
        assert_eq!(names.len(), 1, "{names:?}");
        names.remove(0)
    };
    let moved = |first: &str, then: &str| {
        vec![
            user(0, "go").with(json!({"cwd": first})),
            reply(1, "m1", json!([call("t")])).with(json!({"cwd": first})),
            result(2, "t", "x").with(json!({"cwd": then})),
            reply(3, "m2", json!([])).with(json!({"cwd": then})),
        ]
    };
    assert_eq!(project(moved("/home/dev/demo", "/home/dev/demo/src")), "demo");
    assert_eq!(project(moved("/home/dev/demo", "/tmp")), "demo");
    assert_eq!(
        project(moved(
            "/home/dev/shop/.claude/worktrees/brave-hopper",
            "/home/dev/shop/.claude/worktrees/brave-hopper/api"
        )),
        "shop"
    );
    assert_eq!(project(moved(r"C:\dev\shop\.claude\worktrees\wt", r"C:\dev\shop\.claude\worktrees\wt\api")), "shop");
    let mut lines = moved("/home/dev/shop-wt1", "/home/dev/shop-wt1/api");
    lines.push(Line(json!({"type": "worktree-state", "worktreeSession": {"originalCwd": "/home/dev/shop", "worktreePath": "/home/dev/shop-wt1"}})));
    assert_eq!(project(lines), "shop");
}

#[test]
fn a_teammate_hangs_under_the_call_that_started_it() {
    let spawn = |id: &str, name: &str| {
        call_of("Agent", id, json!({"description": "Build", "prompt": "Build it.", "name": name, "team_name": "crew"}))
    };
    let spawned = |time: i64, call: &str, name: &str| {
        result(time, call, "Spawned successfully.").with(
            json!({"toolUseResult": {"status": "teammate_spawned", "agent_id": format!("{name}@crew"), "name": name}}),
        )
    };
    let message =
        |from: &str, body: &str| format!("<teammate-message teammate_id=\"{from}\">\n{body}\n</teammate-message>");
    let main = [
        user(0, "Build the login page with a team"),
        reply(1000, "m1", json!([spawn("t1", "builder"), spawn("t2", "tester")])),
        spawned(1500, "t1", "builder"),
        spawned(1600, "t2", "tester"),
        reply(2000, "m2", json!([])),
        user(30_000, message("builder", "The form is done.")).with(json!({"promptId": "n1"})),
        reply(31_000, "m3", json!([])),
        user(32_000, message("builder", r#"{"type":"idle_notification","from":"builder"}"#))
            .with(json!({"promptId": "n2"})),
        reply(33_000, "m4", json!([])),
    ];
    let teammate = |name: &str| {
        let id = format!("n-{name}");
        [user(2000, message("team-lead", "Build it.")), reply(3000, &id, json!([]))]
            .map(|line| line.with(json!({"isSidechain": true, "agentName": name, "teamName": "crew"})))
    };
    let metadata =
        |name: &str| json!({"agentType": name, "name": name, "teamName": "crew", "taskKind": "in_process_teammate"});
    let case = session(main).agent("a2", Some(metadata("tester")), teammate("tester")).agent(
        "b1",
        Some(metadata("builder")),
        teammate("builder"),
    );
    let converted = case.run();
    for (name, call) in [("tester", "t2"), ("builder", "t1")] {
        let of = converted.generations().into_iter().find(|g| g["$ai_agent_name"] == name).unwrap();
        assert_eq!(of["$ai_parent_id"], span_id(call), "{name}");
    }
    let trace = converted.traces()[0];
    assert_eq!((&trace["claude_code_turns"], &trace["claude_code_subagents"]), (&json!(1), &json!(2)));
    assert_eq!(trace["$ai_trace_name"], "Build the login page with a team");
}

#[test]
fn without_metadata_a_teammates_first_message_tells_its_call() {
    let spawn = call_of("Agent", "t", json!({"prompt": "Write the tests.", "name": "tester"}));
    let main = [user(0, "go"), reply(1, "m", json!([spawn])), result(2, "t", "Spawned")];
    let lines = [
        user(
            3,
            "<teammate-message teammate_id=\"team-lead\" summary=\"Tests\">\nWrite the tests.\n</teammate-message>",
        ),
        reply(4, "n", json!([])),
    ];
    let file = AgentFile { agent_id: "x".into(), ..AgentFile::default() };
    let converted = session(main).file(file, lines).run();
    let of_agent = converted.generations().into_iter().find(|g| g["$ai_parent_id"] == span_id("t"));
    assert!(of_agent.is_some());
}

#[test]
fn a_teammates_own_session_is_named_after_its_instruction() {
    let long = "Read the plan, then write one test a rule. ".repeat(100);
    let lines = [
        user(
            0,
            format!("<teammate-message teammate_id=\"team-lead\">\nYou write the tests. {long}\n</teammate-message>"),
        ),
        reply(5000, "m", json!([])),
        user(
            6000,
            "<teammate-message teammate_id=\"team-lead\">\n{\"type\":\"shutdown_request\"}\n</teammate-message>",
        ),
    ];
    let trace = session(lines.map(|line| line.with(json!({"agentName": "tester", "teamName": "demo"})))).trace();
    let name = trace["$ai_trace_name"].as_str().unwrap();
    assert!(name.starts_with("You write the tests. Read the plan") && !name.contains('<'), "{name}");
    assert_eq!((&trace["claude_code_turns"], &trace["$ai_latency"]), (&json!(1), &json!(5.0)));
}

// ---- a "no" and a stop

#[test]
fn a_users_no_is_no_tool_error() {
    let no =
        "The user doesn't want to proceed with this tool use. The tool use was rejected (eg. if it was a file edit …).";
    let lines = [
        user(0, "Clean up"),
        reply(4000, "m1", json!([call("t1"), call_of("Edit", "t2", json!({"file_path": "/a"})), call("t3")])),
        error(20_000, "t1", no).with(json!({"toolUseResult": "User rejected tool use"})),
        error(20_001, "t2", format!("{no} To tell you how to proceed, the user said:\nkeep it simple")),
        error(21_000, "t3", "File does not exist."),
        user(21_001, json!([text("[Request interrupted by user for tool use]")])),
    ];
    let converted = session(lines).run();
    let flags: Vec<_> = converted
        .spans()
        .iter()
        .map(|s| (s["$ai_is_error"] == true, s["claude_code_rejected"] == true, s.get("$ai_error").is_some()))
        .collect();
    assert_eq!(flags, [(false, true, false), (false, true, false), (true, false, true)]);
    let trace = converted.traces()[0];
    let counts = ["rejected", "tool_errors", "interrupted", "edits_rejected", "edits_accepted"]
        .map(|name| trace[format!("claude_code_{name}")].as_u64().unwrap());
    assert_eq!(counts, [2, 1, 0, 1, 0]);
    assert_eq!(converted.spans()[0]["claude_code_wait_seconds"], 16.0);
}

#[test]
fn an_interruption_on_a_line_of_its_own_flags_the_response_before_it() {
    for words in ["[Request interrupted by user]", "[Response cancelled by user]"] {
        let lines = [
            user(0, "Write a long story"),
            reply(4000, "m1", json!([text("Once upon a")])).with(json!({"message": {"stop_reason": null}})),
            user(5000, json!([text(words)])),
            user(20_000, "A short one"),
            reply(24_000, "m2", json!([])),
        ];
        let converted = session(lines).run();
        let flags: Vec<_> = converted.generations().iter().map(|g| g["claude_code_interrupted"] == true).collect();
        assert_eq!(flags, [true, false]);
        let trace = converted.traces()[0];
        assert_eq!((&trace["claude_code_interrupted"], &trace["claude_code_turns"]), (&json!(1), &json!(2)));
    }
}

#[test]
fn a_response_with_a_result_behind_it_was_not_interrupted() {
    let lines = [
        user(0, "go"),
        reply(1, "m1", json!([call("t")])),
        result(2, "t", "x"),
        user(3, json!([text("[Request interrupted by user]")])),
    ];
    let converted = session(lines).run();
    assert_eq!(converted.generations()[0].get("claude_code_interrupted"), None);
}

#[test]
fn a_stopped_tool_is_interrupted_and_no_error() {
    let lines = [reply(0, "m", json!([call("t")])), error(1, "t", "[Request interrupted by user for tool use]")];
    let converted = session(lines).run();
    let (span, trace) = (converted.spans()[0], converted.traces()[0]);
    assert_eq!((&span["$ai_is_error"], &span["claude_code_interrupted"]), (&json!(false), &json!(true)));
    assert_eq!((&trace["claude_code_tool_errors"], &trace["claude_code_interrupted"]), (&json!(0), &json!(1)));
}

#[test]
fn a_frame_link_is_known() {
    let lines = [
        user(0, "Draw"),
        reply(1, "m", json!([])),
        other("frame-link").with(json!({"frameUrl": "https://x", "title": "Page"})),
    ];
    assert_eq!(session(lines).count().unknown_lines, 0);
}

#[test]
fn a_frame_link_disturbs_nothing_wherever_it_stands() {
    let link =
        || other("frame-link").with(json!({"frameUrl": "https://x", "title": "Page", "path": "/home/dev/page.html"}));
    let turn = || {
        [
            user(0, "Draw"),
            reply(1, "m", json!([text("a")])),
            reply(2, "m", json!([call("t")])),
            result(3, "t", "done"),
            reply(4, "n", json!([text("b")])),
        ]
    };
    let plain = session(turn()).run();
    for position in 0..=5 {
        let mut lines = turn().to_vec();
        lines.insert(position, link());
        let converted = session(lines).run();
        assert_eq!(converted.events, plain.events, "{position}");
        assert_eq!((converted.counts.unknown_lines, converted.counts.bad_lines), (0, 0), "{position}");
    }
    let agent = session(turn()).agent("x", None, [user(5, "look"), link(), reply(6, "k", json!([]))]).count();
    assert_eq!((agent.unknown_lines, agent.generations), (0, 3));
}

#[test]
fn what_the_client_keeps_for_itself_is_known() {
    let own = [
        "attribution-snapshot",
        "content-replacement",
        "marble-origami-commit",
        "marble-origami-snapshot",
        "bridge-session",
    ];
    let lines = own.map(|kind| other(kind).with(json!({"sessionId": SESSION, "content": "a text", "surface": "cli"})));
    let plain = session([user(0, "go"), reply(1, "m", json!([]))]).run();
    let converted = session([user(0, "go"), reply(1, "m", json!([]))].into_iter().chain(lines)).run();
    assert_eq!(converted.events, plain.events);
    assert_eq!(converted.counts.unknown_lines, 0);
}

#[test]
fn a_session_of_which_no_model_was_called_has_no_event() {
    let queued = || other("queue-operation").with(json!({"operation": "enqueue", "content": "hi", "timestamp": at(0)}));
    let local =
        "<command-name>/model</command-name>\n<command-message>model</command-message>\n<command-args></command-args>";
    for lines in [
        vec![],
        vec![queued()],
        vec![queued(), other("last-prompt").with(json!({"lastPrompt": "hi"}))],
        vec![
            user(0, local),
            user(1, "<local-command-stdout>Set model</local-command-stdout>"),
            other("custom-title").with(json!({"customTitle": "mine"})),
        ],
        vec![user(0, "never answered"), other("mode"), other("file-history-snapshot")],
    ] {
        for by_prompt in [false, true] {
            let case = session(lines.clone());
            let converted = if by_prompt { case.by_prompt() } else { case }.run();
            assert_eq!(converted.events, [] as [Value; 0], "{lines:?}");
            assert_eq!((converted.counts.generations, converted.counts.traces), (0, 0));
        }
    }
}

#[test]
fn the_first_response_after_a_compaction_says_so() {
    let lines = [
        user(0, "go"),
        reply(1, "m1", json!([])),
        other("system").with(json!({"subtype": "compact_boundary", "uuid": "b", "timestamp": at(2)})),
        user(3, "A summary").with(json!({"isCompactSummary": true})),
        user(4, "on"),
        reply(5, "m2", json!([])),
        user(6, "on"),
        reply(7, "m3", json!([])),
    ];
    let converted = session(lines).run();
    let flags: Vec<_> = converted.generations().iter().map(|g| g["claude_code_compacted"] == true).collect();
    assert_eq!(flags, [false, true, false]);
}
