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
fn a_session_with_more_sub_agents_than_files_can_be_open_is_converted_and_sent_whole() {
    let stage = Stage::new(Own::Variables, false);
    with_agents(&stage);
    let hard = limited("-n 64");
    let hard: Vec<_> = hard.iter().map(String::as_str).collect();
    let convert = stage.program(&["convert", SESSION]).under(&hard).run().exits_with(0);
    assert_eq!(convert.stdout.matches("\"event\":\"$ai_generation\"").count(), AGENTS + 1);
    let generations = || stage.mine.events().iter().filter(|event| event["event"] == "$ai_generation").count();
    stage.program(&["ingest", "--all"]).under(&hard).run().exits_with(0);
    assert_eq!(generations(), AGENTS + 1);
    stage.program(&["send", SESSION, "--again"]).under(&hard).run().exits_with(0);
    assert_eq!(generations(), 2 * (AGENTS + 1));
}

/// A session of which nothing can be opened must not count as one without content.
#[test]
fn where_no_more_files_can_be_open_that_session_fails_and_is_sent_later() {
    let stage = Stage::new(Own::Variables, false);
    with_agents(&stage);
    for most in 3..16 {
        let hard = limited(&format!("-n {most}"));
        let hard: Vec<_> = hard.iter().map(String::as_str).collect();
        stage.program(&["send", SESSION]).under(&hard).run();
    }
    stage.program(&["send", SESSION]).run().exits_with(0);
    assert_eq!(stage.mine.events().iter().filter(|event| event["event"] == "$ai_generation").count(), AGENTS + 1);
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
