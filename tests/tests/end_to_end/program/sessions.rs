//! How to name a session: by a path, an ID, or the beginning of one.

use super::*;
use posthog_llma_tests::program::Ended;
use std::fs;

/// Runs both commands on something that is not a session: each must fail, send nothing, and say what is wrong.
#[track_caller]
fn refused(home: &Home, session: impl AsRef<std::ffi::OsStr>, says: &[&str]) -> Ended {
    let posthog = posthog();
    let sent = home.send(&posthog, &session).run().exits_with(1).says(says);
    assert!(posthog.requests().is_empty());
    let converted = home.convert(&session).run().exits_with(1).says(says);
    assert_eq!(converted.stdout, "");
    assert_eq!(sent.stderr, converted.stderr);
    converted
}

fn two_sessions(home: &Home) {
    for (id, prompt) in [("aaaa1111-0000", "first"), ("aaaa2222-0000", "second")] {
        home.write(format!(".claude/projects/-work/{id}.jsonl"), Transcript::new().turn(prompt, "answer").text());
    }
}

#[test]
fn a_session_is_found_by_its_id_in_any_project() {
    let home = Home::new();
    let path = home.session(Transcript::new().turns(1).text());
    let by_path = home.convert(&path).run().exits_with(0);
    let by_id = home.convert(SESSION_ID).run().exits_with(0);
    assert_eq!(by_id.stdout, by_path.stdout);
    assert_eq!(by_id.events().len(), 2);
    assert_eq!(by_id.events()[0]["properties"]["$ai_session_id"], SESSION_ID);
}

#[test]
fn a_session_is_found_by_a_unique_beginning_of_its_id_in_any_case() {
    let home = Home::new();
    two_sessions(&home);
    for prefix in ["aaaa1", "AAAA1", "aaaa1111-0000.jsonl"] {
        let converted = home.convert(prefix).run().exits_with(0);
        converted.prints(&["\"$ai_trace_name\":\"first\""]);
    }
}

#[test]
fn claude_config_dir_names_another_place() {
    let home = Home::new();
    home.write("elsewhere/projects/-work/bbbb.jsonl", Transcript::new().turns(1).text());
    refused(&home, "bbbb", &["no session \"bbbb\" among the 0"]);
    let convert = home.convert("bbbb").env("CLAUDE_CONFIG_DIR", home.path().join("elsewhere"));
    convert.run().exits_with(0);
}

#[test]
fn an_ambiguous_beginning_lists_the_sessions_it_could_mean() {
    let home = Home::new();
    two_sessions(&home);
    let outcome = refused(&home, "aaaa", &["2 sessions have an ID that starts with \"aaaa\""]);
    outcome.says(&["aaaa1111-0000", "aaaa2222-0000"]);
}

#[test]
fn a_session_that_is_not_there_says_where_was_looked_and_how_to_list_them() {
    let home = Home::new();
    two_sessions(&home);
    let projects = home.path().join(".claude/projects");
    let says = ["no session \"cccc\" among the 2", projects.to_str().unwrap(), "ingest --list --all"];
    refused(&home, "cccc", &says);
}

#[test]
fn without_a_projects_folder_the_message_names_it_and_the_variable() {
    let home = Home::new();
    fs::remove_dir(home.path().join(".claude/projects")).unwrap();
    refused(&home, "cccc", &["no session \"cccc\"", ".claude/projects", "CLAUDE_CONFIG_DIR"]);
}

#[test]
fn an_empty_session_id_says_what_to_give() {
    refused(&Home::new(), "", &["no session given", "its ID", "path of its transcript"]);
}

#[test]
fn a_sub_agents_transcript_is_refused_and_its_session_asked_for() {
    let agent = fixture(DEMO).with_extension("").join("subagents/agent-adf2f65eb37a4eb17.jsonl");
    assert!(agent.is_file());
    refused(&Home::new(), &agent, &[agent.to_str().unwrap(), "transcript of a sub-agent", "name its session"]);
}

#[test]
fn a_directory_is_refused_by_name() {
    let home = Home::new();
    let directory = home.path().join(".claude/");
    refused(&home, &directory, &[directory.to_str().unwrap(), "is a directory, not a transcript"]);
}

#[test]
fn a_missing_file_is_refused_by_name() {
    let home = Home::new();
    let missing = home.path().join("missing.jsonl");
    refused(&home, &missing, &["cannot read the transcript", missing.to_str().unwrap()]);
}

#[test]
#[cfg(unix)]
fn a_pipe_is_refused_and_not_waited_for() {
    let home = Home::new();
    let pipe = home.path().join("pipe.jsonl");
    let made = std::process::Command::new("mkfifo").arg(&pipe).status().unwrap();
    assert!(made.success());
    refused(&home, &pipe, &[pipe.to_str().unwrap(), "is a pipe, socket or device, not a transcript"]);
}

#[test]
fn an_empty_file_has_no_events_and_is_no_error() {
    let (home, posthog) = (Home::new(), posthog());
    let session = home.session("");
    let converted = home.convert(&session).run().exits_with(0).says(&["Nothing to send"]);
    assert_eq!(converted.stdout, "");
    home.send(&posthog, &session).run().exits_with(0).prints(&["Nothing to send"]);
    assert!(posthog.requests().is_empty());
}

#[test]
fn a_file_of_random_bytes_has_no_events_and_says_that_no_line_is_json() {
    let (home, posthog) = (Home::new(), posthog());
    // xorshift: the same bytes in every run.
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let bytes: Vec<u8> = std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[0]
    })
    .take(300_000)
    .collect();
    let session = home.session(bytes);
    let converted = home
        .convert(&session)
        .run()
        .exits_with(0)
        .says(&["posthog-llma: warning: no line can be read as JSON", "is this file a Claude Code transcript?"]);
    assert_eq!(converted.stdout, "");
    let report = home.send(&posthog, &session).arg("--json").run().exits_with(0).json();
    assert!(report["bad_lines"].as_u64().unwrap() > 100, "{report}");
    assert_eq!(report["lines"], report["bad_lines"]);
    assert!(posthog.requests().is_empty());
}

#[test]
fn a_transcript_whose_name_is_no_id_that_posthog_takes_gets_one() {
    let (home, posthog) = (Home::new(), posthog());
    let path = home.write("work/my notes, old.txt", Transcript::new().turns(1).text());
    home.send(&posthog, &path).run().exits_with(0);
    let events = posthog.events();
    assert_eq!(events.len(), 2);
    let id = events[0]["properties"]["$ai_session_id"].as_str().unwrap();
    assert!(id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-'), "{id}");
}

#[test]
#[cfg(unix)]
fn a_sub_agent_that_cannot_be_read_is_a_warning_that_names_it() {
    let home = Home::new();
    let session = home.session(Transcript::new().turns(1).text());
    // A link to itself leads nowhere, for root too.
    let link = session.with_extension("").join("subagents");
    fs::create_dir_all(link.parent().unwrap()).unwrap();
    std::os::unix::fs::symlink("subagents", &link).unwrap();
    let outcome = home.convert(&session).run().exits_with(0).says(&["posthog-llma: warning: ", "subagents"]);
    assert_eq!(outcome.events().len(), 2);
}
