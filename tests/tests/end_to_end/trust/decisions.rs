//! The person's decisions: approvals, refusals, and the ways to say no.

use super::stage::{Own, SESSION, Stage, THEIRS};
use posthog_llma_tests::program::KEY;
use std::process::Command;

const PAIR: &str = r#"{"env": {"POSTHOG_HOST": "{theirs}", "POSTHOG_API_KEY": "{key}"}}"#;
const LOCAL: &str = ".claude/settings.local.json";

/// Runs the program on a terminal and types this.
fn on_a_terminal(stage: &Stage, arguments: &str, typed: &str) -> String {
    let binary = posthog_llma_tests::program::binary();
    let mut script = Command::new("script");
    script.args(["-qec", &format!("{} {arguments}", binary.display()), "/dev/null"]).current_dir(stage.repository());
    script.env_clear().env("HOME", stage.home.path()).env("PATH", std::env::var_os("PATH").unwrap_or_default());
    script.env("POSTHOG_API_KEY", KEY).env("POSTHOG_HOST", stage.mine.origin()).env("POSTHOG_LLMA_CC_ENABLED", "true");
    let mut child = script
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    // The end of the input would be taken for the end of the terminal.
    let mut stdin = child.stdin.take().unwrap();
    std::io::Write::write_all(&mut stdin, format!("{typed}\n").as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    drop(stdin);
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn what_a_project_asks_for_is_kept_told_and_sent_after_a_typed_yes() {
    let mut stage = Stage::new(Own::Variables, false);
    stage.plant(LOCAL, PAIR);
    stage.give("POSTHOG_HOST", "{theirs}");
    stage.give("POSTHOG_API_KEY", "{key}");
    let start = stage.hook("SessionStart");
    let message: serde_json::Value = serde_json::from_str(start.stdout.trim()).unwrap();
    let message = message["systemMessage"].as_str().unwrap();
    assert!(
        message.contains(&stage.theirs.origin()) && message.contains("0000") && message.contains("posthog-llma trust")
    );
    assert!(!message.contains(&THEIRS[..20]));
    stage.hook("SessionEnd");
    assert!(stage.theirs.requests().is_empty() && stage.mine.requests().is_empty());
    let status = stage.program(&["status"]).run().exits_with(1);
    status.prints(&[stage.repository().to_str().unwrap(), &stage.theirs.origin(), "posthog-llma trust"]);
    // From elsewhere, too.
    let elsewhere = stage.program(&["status"]).current_dir(stage.home.path()).run().exits_with(1);
    elsewhere.prints(&[stage.repository().to_str().unwrap(), &stage.theirs.origin()]);

    for command in [&["trust"][..], &["send", SESSION], &["flush"], &["ingest", SESSION]] {
        stage.program(command).run().exits_with(2).says(&["posthog-llma trust", &stage.theirs.origin()]);
    }
    let said = on_a_terminal(&stage, "trust", "no");
    assert!(said.contains(&stage.theirs.origin()) && said.contains("settings.local.json"), "{said}");
    stage.program(&["flush"]).run().exits_with(2);
    on_a_terminal(&stage, "trust", "yes");
    stage.program(&["flush"]).run().exits_with(0);
    assert!(!stage.theirs.events().is_empty() && stage.mine.requests().is_empty());
    stage.program(&["trust", "--list"]).run().exits_with(0).prints(&["approved", &stage.theirs.origin(), "0000"]);

    stage.program(&["untrust"]).run().exits_with(0);
    stage.program(&["send", "--again", SESSION]).run().exits_with(2);
}

#[test]
fn an_approved_destination_takes_the_sessions_of_its_project_alone() {
    let stage = Stage::new(Own::Variables, false);
    stage.plant(LOCAL, PAIR);
    on_a_terminal(&stage, "trust", "yes");
    let other = "5e551012-0000-4000-8000-00000000bbbb";
    stage.session(other, &stage.home.path().join("work"));
    stage.program(&["ingest", "--all"]).run().exits_with(0).says(&["not sent", "approved only for"]);
    let sessions: Vec<_> = stage.theirs.events().iter().map(|e| e["properties"]["$ai_session_id"].clone()).collect();
    assert!(!sessions.is_empty() && sessions.iter().all(|id| *id == SESSION), "{sessions:?}");
    stage.program(&["send", other]).run().exits_with(2).says(&["approved only for"]);
}

#[test]
fn what_is_refused_does_not_count_and_the_persons_own_does() {
    let stage = Stage::new(Own::File, false);
    stage.plant(LOCAL, PAIR);
    stage.program(&["untrust", "--refuse"]).run().exits_with(0);
    stage.program(&["send", SESSION]).run().exits_with(0);
    assert!(!stage.mine.events().is_empty() && stage.theirs.requests().is_empty());
}

#[test]
fn another_key_needs_another_yes() {
    let stage = Stage::new(Own::Variables, false);
    stage.plant(LOCAL, PAIR);
    on_a_terminal(&stage, "trust", "yes");
    stage.program(&["send", SESSION]).run().exits_with(0);
    stage.plant(LOCAL, &PAIR.replace("{key}", "phc_anotherKeyOfTheStrangers00000001"));
    stage.program(&["send", "--again", SESSION]).run().exits_with(2);
    stage.plant(".claude/settings.local.json", r#"{"env": {"POSTHOG_HOST": "https://eve.example"}}"#);
    stage.program(&["send", "--again", SESSION]).run().exits_with(2).says(&["eve.example"]);
}

#[test]
fn setup_approves_what_it_writes_for_a_project() {
    let stage = Stage::new(Own::File, false);
    let host = stage.theirs.origin();
    let setup = ["setup", "--scope", "project-local", "--key-stdin", "--host", &host, "--no-check", "--yes"];
    stage.program(&setup).input(THEIRS).run().exits_with(0);
    stage.program(&["send", SESSION]).run().exits_with(0);
    assert!(!stage.theirs.events().is_empty() && stage.mine.requests().is_empty());
    // A part that stood there before was not given by whoever runs it.
    let stage = Stage::new(Own::File, false);
    stage.plant(LOCAL, r#"{"env": {"POSTHOG_HOST": "{theirs}"}}"#);
    let setup = ["setup", "--scope", "project-local", "--key-stdin", "--no-check", "--yes"];
    stage.program(&setup).input(THEIRS).run().exits_with(2).says(&["posthog-llma trust"]);
    stage.program(&["send", SESSION]).run().exits_with(2);
}

#[test]
fn nothing_is_sent_while_sending_is_paused_and_later_only_by_name() {
    let stage = Stage::new(Own::Variables, false);
    stage.program(&["pause"]).run().exits_with(0).prints(&["Paused"]);
    stage.hook("SessionStart");
    stage.hook("SessionEnd");
    for command in [&["send", SESSION][..], &["flush"], &["ingest", "--all"]] {
        stage.program(command).run().exits_with(2).says(&["paused", "posthog-llma resume"]);
    }
    stage.program(&["resume"]).run().exits_with(0);
    stage.program(&["flush"]).run().exits_with(0);
    stage.program(&["ingest", "--all"]).run().exits_with(0).says(&["not sent", "paused"]);
    assert!(stage.mine.requests().is_empty());
    stage.program(&["send", SESSION]).run().exits_with(0);
    assert!(!stage.mine.events().is_empty());
}

#[test]
fn what_is_on_the_list_is_never_sent_by_any_way() {
    let stage = Stage::new(Own::Variables, false);
    stage.program(&["never", "."]).run().exits_with(0);
    stage.hook("SessionEnd");
    stage.program(&["send", SESSION]).current_dir(stage.home.path()).run().exits_with(2).says(&["never"]);
    stage.program(&["ingest", SESSION]).run().exits_with(2).says(&["not sent", "never"]);
    stage.program(&["ingest", "--all", "--force"]).run().exits_with(0);
    stage.program(&["flush"]).run().exits_with(0);
    assert!(stage.mine.requests().is_empty());
    stage.program(&["never"]).run().prints(&[stage.repository().to_str().unwrap()]);
    stage.program(&["never", "--remove", "."]).run().exits_with(0);
    stage.program(&["send", SESSION]).run().exits_with(0);
    assert!(!stage.mine.events().is_empty());
}

#[test]
fn a_file_of_decisions_that_cannot_be_read_sends_nothing() {
    for contents in ["{", "{\"never\": 5}"] {
        let stage = Stage::new(Own::Variables, false);
        stage.home.write(".local/state/posthog-llma/decisions.json", contents);
        stage.hook("SessionEnd");
        for command in [&["send", SESSION][..], &["flush"], &["ingest", "--all"]] {
            stage.program(command).run().exits_with(2).says(&["decisions.json"]);
        }
        assert!(stage.mine.requests().is_empty());
    }
}

#[test]
fn a_pipe_in_the_state_directory_is_an_error_and_does_not_block() {
    for name in ["outbox.sqlite", "outbox.sqlite-wal", "decisions.json", "decisions.lock", "delivery-1.lock"] {
        let stage = Stage::new(Own::Variables, false);
        let folder = stage.home.path().join(".local/state/posthog-llma");
        std::fs::create_dir_all(&folder).unwrap();
        assert!(Command::new("mkfifo").arg(folder.join(name)).status().unwrap().success());
        stage.hook("SessionEnd");
        stage.program(&["status"]).run();
        if name != "decisions.lock" {
            stage.program(&["flush"]).run().says(&[name]);
        }
    }
}
