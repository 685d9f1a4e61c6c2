//! One session's problems don't affect others.

use super::stage::{Own, SESSION, Stage};
use posthog_llma_tests::transcript::Transcript;

const AGENTS: usize = 1500;

/// Writes a session with very many sub-agents.
fn with_agents(stage: &Stage) {
    for number in 0..AGENTS {
        let path = format!(".claude/projects/-clone/{SESSION}/subagents/agent-{number:05}.jsonl");
        stage.home.write(path, Transcript::new().turns(1).text());
    }
}

/// A shell that limits the number of open files.
fn limited(limit: &str) -> [String; 4] {
    ["sh".to_owned(), "-c".to_owned(), format!("ulimit {limit}; \"$@\""), "sh".to_owned()]
}

#[test]
fn a_session_with_more_sub_agents_than_files_may_be_open_is_converted_and_sent_whole() {
    let stage = Stage::new(Own::Variables, false);
    with_agents(&stage);
    let soft = limited("-Sn 256");
    let soft: Vec<_> = soft.iter().map(String::as_str).collect();
    let convert = stage.program(&["convert", SESSION]).under(&soft).run().exits_with(0);
    let generations = |text: &str| text.matches("\"event\":\"$ai_generation\"").count();
    assert_eq!(generations(&convert.stdout), AGENTS + 1);
    stage.program(&["send", SESSION]).under(&soft).run().exits_with(0);
    assert_eq!(stage.mine.events().iter().filter(|event| event["event"] == "$ai_generation").count(), AGENTS + 1);
}

#[test]
fn where_no_more_files_can_be_open_that_session_fails_and_no_other() {
    let stage = Stage::new(Own::Variables, false);
    with_agents(&stage);
    let other = "5e551012-0000-4000-8000-00000000bbbb";
    stage.session(other, &stage.repository());
    let hard = limited("-n 256");
    let hard: Vec<_> = hard.iter().map(String::as_str).collect();
    // Read one after the other, they are all there.
    let convert = stage.program(&["convert", SESSION]).under(&hard).run().exits_with(0);
    assert_eq!(convert.stdout.matches("\"event\":\"$ai_generation\"").count(), AGENTS + 1);
    // Sent, they are open at the same time. What cannot be sent whole is not sent in part.
    stage.program(&["ingest", "--all"]).under(&hard).run().exits_with(1);
    let sessions: Vec<_> = stage.mine.events().iter().map(|e| e["properties"]["$ai_session_id"].clone()).collect();
    assert!(sessions.iter().all(|id| *id == other) && !sessions.is_empty(), "{sessions:?}");
    stage.program(&["ingest", "--all"]).run().exits_with(0);
    assert_eq!(stage.mine.events().iter().filter(|event| event["event"] == "$ai_generation").count(), AGENTS + 2);
}

#[test]
fn a_huge_or_odd_input_of_a_hook_disturbs_nobody() {
    let stage = Stage::new(Own::Variables, false);
    let huge = format!("{{\"prompt\": \"{}\"}}", "x".repeat(20 << 20));
    for input in [huge.as_str(), "[[[[", "\"", "{\"transcript_path\": \"/dev/stdin\", \"session_id\": \"\\u0000\"}"] {
        stage.below_client(&["hook"]).input(input).run().exits_with(0).says_nothing();
    }
    stage.hook("SessionEnd");
    assert!(!stage.mine.events().is_empty());
}
