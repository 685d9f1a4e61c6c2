//! Where settings come from, and settings that cannot be used: every command names them, with the reason, before
//! anything is sent.

use super::*;
use posthog_llma_tests::program::Program;
use serde_json::json;

/// Both commands that read settings, on a valid session.
fn commands(home: &Home, posthog: &LocalPostHog) -> [Program; 2] {
    let session = home.session(Transcript::new().turns(1).text());
    [home.send(posthog, &session), home.convert(&session).env("POSTHOG_HOST", posthog.origin())]
}

/// Asserts that every command refuses this value of a variable, and gives its name and this reason.
#[track_caller]
fn refused(name: &str, value: &str, reason: &str) {
    let (home, posthog) = (Home::new(), posthog());
    for command in commands(&home, &posthog) {
        let outcome = command.env(name, value).run().exits_with(2);
        let outcome = outcome.says(&["posthog-llma: error: ", name, reason, "(set in the environment)"]);
        assert_eq!(outcome.stdout, "", "{value:?}");
    }
    assert!(posthog.requests().is_empty(), "{value:?}");
}

#[test]
fn a_host_that_is_not_encrypted_is_refused() {
    refused("POSTHOG_HOST", "http://us.i.posthog.com", "is http, which is not encrypted");
}

#[test]
fn a_host_that_only_looks_like_posthog_is_refused() {
    for host in ["https://us.i.posthog.com.evil.net", "https://evilposthog.com", "https://posthog.com.evil.net"] {
        refused("POSTHOG_HOST", host, "neither in posthog.com nor this machine");
    }
}

#[test]
fn a_host_with_a_path_is_refused() {
    refused("POSTHOG_HOST", "https://us.i.posthog.com/batch/", "has a path");
}

#[test]
fn a_host_with_user_info_is_refused_without_showing_it() {
    let (home, posthog) = (Home::new(), posthog());
    for command in commands(&home, &posthog) {
        let command = command.env("POSTHOG_HOST", "https://me:hunter2@us.i.posthog.com");
        let outcome = command.run().exits_with(2).says(&["POSTHOG_HOST", "contains user info (an @)"]);
        assert!(!outcome.stderr.contains("hunter2"), "{}", outcome.stderr);
    }
}

#[test]
fn a_host_with_an_odd_port_is_refused() {
    for port in ["", "0", "00443", "65536", "+443", "0x1bb"] {
        let host = format!("https://us.i.posthog.com:{port}");
        refused("POSTHOG_HOST", &host, "a port that is not a plain number");
    }
}

#[test]
fn a_host_that_does_not_parse_is_refused() {
    refused("POSTHOG_HOST", "us.i.posthog.com", "does not start with https://");
    refused("POSTHOG_HOST", "https://", "has no host");
    refused("POSTHOG_HOST", "https://us.i.posthog.com\\@evil.net", "contains a backslash");
    refused("POSTHOG_HOST", "https://127.1", "an IP address in an unusual form");
}

#[test]
fn another_host_needs_permission() {
    let home = Home::new();
    let session = home.session(Transcript::new().turns(1).text());
    let host = "https://posthog.example.invalid";
    let convert = || home.convert(&session).env("POSTHOG_HOST", host);
    convert().run().exits_with(2).says(&["POSTHOG_HOST", "POSTHOG_LLMA_ALLOW_CUSTOM_HOST=true"]);
    convert().env("POSTHOG_LLMA_ALLOW_CUSTOM_HOST", "true").run().exits_with(0);
}

#[test]
fn permission_for_another_host_is_none_for_plain_http() {
    let home = Home::new();
    let session = home.session(Transcript::new().turns(1).text());
    let convert = home.convert(&session).env("POSTHOG_HOST", "http://posthog.example.invalid");
    convert.env("POSTHOG_LLMA_ALLOW_CUSTOM_HOST", "true").run().exits_with(2).says(&["POSTHOG_HOST", "is http"]);
}

#[test]
fn every_other_variable_is_refused_by_name_when_it_cannot_be_used() {
    refused("POSTHOG_LLMA_PRIVACY_MODE", "maybe", "is neither true");
    refused("POSTHOG_LLMA_ALLOW_CUSTOM_HOST", "2", "is neither true");
    refused("POSTHOG_LLMA_CC_ENABLED", "ja", "is neither true");
    refused("POSTHOG_LLMA_REDACT_SECRETS", "nope", "is neither true");
    refused("POSTHOG_LLMA_TRACE_GROUPING", "day", "is neither session nor message");
    refused("POSTHOG_LLMA_MAX_ATTRIBUTE_LENGTH", "-1", "is not a whole number");
    refused("POSTHOG_LLMA_CUSTOM_PROPERTIES", "[1]", "is JSON, but not an object");
    refused("POSTHOG_LLMA_DISTINCT_ID", &"x".repeat(201), "has 201 characters");
    refused("POSTHOG_LLMA_DISTINCT_ID", "Anonymous", "identifies nobody");
}

/// A name that is nearly one of ours must be refused, by every command, wherever it is set.
#[test]
fn a_misspelt_name_is_refused_with_what_was_meant() {
    let (home, posthog) = (Home::new(), posthog());
    for (name, meant) in [
        ("POSTHOG_LLMA_PRIVACY", "POSTHOG_LLMA_PRIVACY_MODE"),
        ("POSTHOG_LLMA_PRIVCY_MODE", "POSTHOG_LLMA_PRIVACY_MODE"),
        ("posthog_llma_privacy_mode", "POSTHOG_LLMA_PRIVACY_MODE"),
        ("POSTHOG_LLMA_REDACT", "POSTHOG_LLMA_REDACT_SECRETS"),
        ("POSTHOG_HSOT", "POSTHOG_HOST"),
        ("CLAUDE_PLUGIN_OPTION_POSTHOG_LLMA_PRIVACY", "POSTHOG_LLMA_PRIVACY_MODE"),
    ] {
        let parts = [name.trim_start_matches("CLAUDE_PLUGIN_OPTION_"), &format!("did you mean {meant}?"), "set in the"];
        for command in commands(&home, &posthog) {
            command.env(name, "true").run().exits_with(2).says(&parts);
        }
        let outcome = home.ready("status", &posthog).env(name, "true").run().exits_with(1);
        outcome.prints(&["Off: ", &format!("did you mean {meant}?")]);
    }
    for file in [".claude/settings.json", "work/.claude/settings.local.json"] {
        let path = home.write(file, settings_file(&json!({"POSTHOG_LLMA_PRIVACY": true})));
        let parts =
            ["\"POSTHOG_LLMA_PRIVACY\"", "POSTHOG_LLMA_PRIVACY_MODE?", path.file_name().unwrap().to_str().unwrap()];
        for command in commands(&home, &posthog) {
            command.run().exits_with(2).says(&parts);
        }
        std::fs::remove_file(path).unwrap();
    }
    assert!(posthog.requests().is_empty());
}

#[test]
fn an_empty_misspelt_name_counts_as_not_set() {
    let (home, posthog) = (Home::new(), posthog());
    for command in commands(&home, &posthog) {
        command.env("POSTHOG_LLMA_PRIVACY", "").run().exits_with(0).says_nothing();
    }
}

#[test]
fn an_unknown_name_of_ours_is_warned_of_and_another_s_is_not() {
    let (home, posthog) = (Home::new(), posthog());
    for command in commands(&home, &posthog) {
        let command = command.env("POSTHOG_LLMA_DEBUG", "1").env("POSTHOG_PROJECT_ID", "1");
        let outcome = command.run().exits_with(0).says(&["warning: \"POSTHOG_LLMA_DEBUG\" is not a setting"]);
        assert!(!outcome.stderr.contains("POSTHOG_PROJECT_ID"), "{}", outcome.stderr);
    }
    let status = home.ready("status", &posthog).env("POSTHOG_LLMA_DEBUG", "1").run();
    status.prints(&["warning: \"POSTHOG_LLMA_DEBUG\" is not a setting"]);
}

#[test]
fn a_misspelt_name_stops_the_hook_and_status_says_so() {
    let (home, posthog) = (Home::new(), posthog());
    let session = home.session(Transcript::new().turns(1).text());
    home.hook(&posthog, "SessionEnd", &session).env("POSTHOG_LLMA_PRIVACY", "true").run().exits_with(0).says_nothing();
    home.until_quiet();
    assert!(posthog.requests().is_empty());
    home.ready("status", &posthog).run().exits_with(1).prints(&["did you mean POSTHOG_LLMA_PRIVACY_MODE?"]);
}

#[test]
fn a_personal_key_is_refused() {
    refused("POSTHOG_API_KEY", "phx_0123456789", "personal API key");
}

#[test]
fn the_demo_needs_no_settings_and_is_not_disturbed_by_bad_ones() {
    let home = Home::new();
    let demo = home.program(["demo"]).env("POSTHOG_HOST", "http://evil.example").env("POSTHOG_API_KEY", "phx_personal");
    demo.env("POSTHOG_LLMA_PRIVACY_MODE", "maybe").run().exits_with(0).says_nothing();
}

fn settings_file(variables: &serde_json::Value) -> String {
    json!({ "env": variables }).to_string()
}

/// `$ai_purpose` of the session's events, according to `convert`.
fn purpose(convert: Program) -> serde_json::Value {
    convert.run().exits_with(0).events()[0]["properties"]["$ai_purpose"].clone()
}

#[test]
fn the_environment_wins_over_the_users_settings_and_a_project_has_no_say() {
    let home = Home::new();
    let session = home.session(Transcript::new().turns(1).text());
    assert_eq!(purpose(home.convert(&session)), json!(null));
    home.write(".claude/settings.json", settings_file(&json!({"POSTHOG_AI_PURPOSE": "user"})));
    assert_eq!(purpose(home.convert(&session)), "user");
    home.write("work/.claude/settings.local.json", settings_file(&json!({"POSTHOG_AI_PURPOSE": "local"})));
    assert_eq!(purpose(home.convert(&session)), "user");
    assert_eq!(purpose(home.convert(&session).env("POSTHOG_AI_PURPOSE", "environment")), "environment");
}

#[test]
fn settings_files_are_enough_to_send() {
    let (home, posthog) = (Home::new(), posthog());
    home.write(
        ".claude/settings.json",
        settings_file(&json!({"POSTHOG_API_KEY": KEY, "POSTHOG_HOST": posthog.origin()})),
    );
    home.session(Transcript::new().turns(1).text());
    home.program(["send", SESSION_ID]).run().exits_with(0);
    assert_eq!(posthog.events().len(), 2);
    assert_eq!(posthog.requests()[0].headers["authorization"], format!("Bearer {KEY}"));
}

#[test]
fn a_projects_privacy_holds_in_its_sub_folders() {
    let home = Home::new();
    let session = home.session(Transcript::new().turns(1).text());
    home.write("work/.claude/settings.local.json", settings_file(&json!({"POSTHOG_LLMA_PRIVACY_MODE": "true"})));
    let folder = home.write("work/src/deep/file", "").with_file_name("");
    let events = home.convert(&session).current_dir(folder).run().exits_with(0).events();
    assert!(events.iter().all(|event| event["properties"].get("$ai_input").is_none()));
}

#[test]
fn what_a_repository_checks_in_does_not_steer_where_sessions_go() {
    let (home, elsewhere) = (Home::new(), posthog());
    let session = home.session(Transcript::new().turns(1).text());
    let hostile = settings_file(&json!({"POSTHOG_HOST": elsewhere.origin(), "POSTHOG_AI_PURPOSE": "theirs"}));
    home.write("work/.claude/settings.json", &hostile);
    assert_eq!(purpose(home.convert(&session)), json!(null));

    home.write("work/.claude/settings.local.json", &hostile);
    let send = home.send(&elsewhere, &session).env_remove("POSTHOG_HOST");
    send.run().exits_with(2).says(&["settings.local.json", "posthog-llma trust"]);
    assert!(elsewhere.requests().is_empty());
}

#[test]
fn a_broken_settings_file_is_named_with_its_line() {
    let (home, posthog) = (Home::new(), posthog());
    for file in [".claude/settings.json", "work/.claude/settings.local.json"] {
        let path = home.write(file, "{\n  \"env\": {\n    \"POSTHOG_AI_PURPOSE\": oops\n");
        for command in commands(&home, &posthog) {
            command.run().exits_with(2).says(&[
                path.file_name().unwrap().to_str().unwrap(),
                "are not valid JSON",
                "line 3",
            ]);
        }
        std::fs::remove_file(path).unwrap();
    }
    assert!(posthog.requests().is_empty());
}

#[test]
fn a_bad_value_in_a_settings_file_names_the_file() {
    let (home, posthog) = (Home::new(), posthog());
    let path = home.write(".claude/settings.json", settings_file(&json!({"POSTHOG_LLMA_PRIVACY_MODE": "ture"})));
    for command in commands(&home, &posthog) {
        command.run().exits_with(2).says(&["POSTHOG_LLMA_PRIVACY_MODE", "\"ture\"", path.to_str().unwrap()]);
    }
    assert!(posthog.requests().is_empty());
}

#[test]
fn events_belong_to_gits_user_and_a_session_with_none_to_itself() {
    let home = Home::new();
    let session = home.session(Transcript::new().turns(1).text());
    let event = home.convert(&session).run().exits_with(0).events().remove(0);
    assert_eq!(event["distinct_id"], format!("claude-code:{SESSION_ID}"));
    assert_eq!(event["properties"]["$process_person_profile"], false);

    home.write(".gitconfig", "[user]\n\temail = me@example.com\n");
    let event = home.convert(&session).run().exits_with(0).events().remove(0);
    assert_eq!(event["distinct_id"], "me@example.com");
    assert_eq!(event["properties"].get("$process_person_profile"), None);

    let event = home.convert(&session).env("POSTHOG_LLMA_DISTINCT_ID", "me").run().exits_with(0).events().remove(0);
    assert_eq!(event["distinct_id"], "me");
}
