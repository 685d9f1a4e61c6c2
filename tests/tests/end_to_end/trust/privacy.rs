//! A project may be stricter than the person, and remains so in every command that sends.

use super::stage::{CONTENT, Own, SESSION, Stage};
use serde_json::json;

const PRIVATE: &str = r#"{"env": {"POSTHOG_LLMA_PRIVACY_MODE": "true"}}"#;

/// Commands that send, run from another folder.
const COMMANDS: &[&[&str]] = &[
    &["send", SESSION],
    &["send", "--again", SESSION],
    &["ingest", "--all"],
    &["ingest", SESSION],
    &["ingest", "--force", SESSION],
    &["ingest", "--project", "clone"],
    &["ingest", "--all", "--force"],
    &["flush"],
];

#[test]
fn a_projects_privacy_is_kept_on_every_way_from_wherever_it_is_called() {
    for file in [".claude/settings.json", ".claude/settings.local.json"] {
        for arguments in COMMANDS {
            let stage = Stage::new(Own::Variables, false);
            stage.plant(file, PRIVATE);
            let elsewhere = stage.home.path().join("work");
            stage.program(arguments).current_dir(&elsewhere).run().exits_with(0);
            assert!(!stage.arrived().contains(CONTENT), "{file} {arguments:?}");
            assert_eq!(stage.arrived().contains("$ai_generation"), *arguments != ["flush"], "{file} {arguments:?}");
        }
    }
}

#[test]
fn what_a_hook_saw_is_kept_after_the_file_is_gone() {
    for arguments in COMMANDS {
        let mut stage = Stage::new(Own::Variables, false);
        stage.give("POSTHOG_LLMA_PRIVACY_MODE", "true");
        stage.hook("SessionEnd");
        assert!(stage.arrived().contains("$ai_generation") && !stage.arrived().contains(CONTENT));
        stage.program(arguments).current_dir(stage.home.path()).run();
        assert!(!stage.arrived().contains(CONTENT), "{arguments:?}");
    }
}

#[test]
fn a_project_that_cannot_be_read_is_private() {
    for contents in ["{", "{\"x\": \"{pad}\"}", "fifo", "-> /dev/zero", "{\"a\": \"\\xff\"}"] {
        for arguments in [&["send", SESSION][..], &["ingest", "--all"]] {
            let stage = Stage::new(Own::Variables, false);
            stage.plant(".claude/settings.json", contents);
            let outcome = stage.program(arguments).current_dir(stage.home.path()).run().exits_with(0);
            assert!(!stage.arrived().contains(CONTENT), "{contents}: {outcome:?}");
        }
    }
}

#[test]
fn a_project_that_turns_sending_off_is_sent_only_by_name() {
    let stage = Stage::new(Own::Variables, false);
    stage.plant(".claude/settings.json", r#"{"env": {"POSTHOG_LLMA_CC_ENABLED": "false"}}"#);
    stage.hook("SessionEnd");
    let all = stage.program(&["ingest", "--all"]).current_dir(stage.home.path()).run().exits_with(0);
    all.says(&["not sent", "turned sending off", "settings.json"]);
    stage.program(&["flush"]).run().exits_with(0);
    assert!(stage.mine.requests().is_empty());
    stage.program(&["send", SESSION]).run().exits_with(0);
    assert!(stage.arrived().contains(CONTENT));
}

#[test]
fn a_person_with_variables_and_no_file_sends_the_first_session_without_a_step_more() {
    for harmless in [None, Some(r#"{"permissions": {"allow": ["Bash(ls:*)"]}, "env": {"FOO": "bar"}}"#)] {
        let stage = Stage::new(Own::Variables, false);
        if let Some(text) = harmless {
            stage.plant(".claude/settings.json", text);
        }
        stage.hook("SessionStart");
        stage.hook("SessionEnd");
        assert!(stage.arrived().contains(CONTENT), "{harmless:?}");
        let status = stage.program(&["status", "--json"]).run().exits_with(0).json();
        assert_eq!(status["asked"], json!([]));
    }
}

#[test]
fn a_job_that_sets_host_and_key_sends_in_any_repository() {
    let stage = Stage::new(Own::Variables, false);
    stage.plant(".claude/settings.json", r#"{"env": {"POSTHOG_LLMA_PRIVACY_MODE": "false"}}"#);
    stage.program(&["ingest", "--all"]).run().exits_with(0);
    assert!(stage.arrived().contains(CONTENT));
}
