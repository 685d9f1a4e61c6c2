//! `POSTHOG_API_KEY` is in no output. (The harness checks the output of every other test for it, too.)

use super::*;
use serde_json::json;

#[test]
#[should_panic(expected = "Zq7wMu of the key is in")]
fn the_harness_finds_a_key_that_is_shown() {
    let home = Home::new();
    let session = home.session(Transcript::new().turn(KEY, "answer").text());
    home.convert(&session).run();
}

#[test]
fn the_key_is_not_shown_by_any_command_that_works() {
    let (home, posthog) = (Home::new(), posthog());
    let session = fixture(DEMO);
    home.send(&posthog, &session).run().exits_with(0);
    home.send(&posthog, &session).arg("--json").run().exits_with(0);
    home.convert(&session).env("POSTHOG_API_KEY", KEY).run().exits_with(0);
    for arguments in [&["demo"] as &[&str], &["demo", "--json"], &["--help"], &["send", "--help"], &["--version"]] {
        home.program(arguments).env("POSTHOG_API_KEY", KEY).run().exits_with(0);
    }
}

#[test]
fn the_key_is_not_shown_when_another_variable_holds_it() {
    let home = Home::new();
    let session = home.session(Transcript::new().turns(1).text());
    let names = ["HOST", "LLMA_ALLOW_CUSTOM_HOST", "LLMA_PRIVACY_MODE", "LLMA_CC_ENABLED", "LLMA_TRACE_GROUPING"];
    for name in names.into_iter().chain(["LLMA_MAX_ATTRIBUTE_LENGTH", "LLMA_CUSTOM_PROPERTIES", "LLMA_REDACT_SECRETS"])
    {
        let name = format!("POSTHOG_{name}");
        // In place of the value, in the middle of it, with the key in its own place and without.
        for value in [KEY.to_owned(), format!("https://{KEY}.example.com"), format!("https://me:{KEY}@example.com/")] {
            home.convert(&session).env(&name, &value).run().exits_with(2).says(&[&name]);
            home.convert(&session).env("POSTHOG_API_KEY", KEY).env(&name, &value).run().exits_with(2).says(&[&name]);
        }
    }
}

#[test]
fn a_key_that_cannot_be_one_is_not_shown() {
    let (home, posthog) = (Home::new(), posthog());
    let personal = KEY.replace("phc_", "phx_");
    for key in [personal, format!("{KEY}\u{e9}"), format!("{KEY}\u{1}"), KEY.repeat(3), format!("Bearer {KEY}{KEY}")] {
        home.send(&posthog, fixture(DEMO)).env("POSTHOG_API_KEY", key).run().exits_with(2).says(&["POSTHOG_API_KEY"]);
    }
    assert!(posthog.requests().is_empty());
}

#[test]
fn a_key_in_a_broken_settings_file_is_not_shown() {
    let home = Home::new();
    let session = home.session(Transcript::new().turns(1).text());
    for text in [
        format!("{{\"env\": {{\"POSTHOG_API_KEY\": \"{KEY}\""),
        format!("{{\"env\": {{\"POSTHOG_API_KEY\": {KEY}}}}}"),
        json!({"env": {"POSTHOG_API_KEY": [KEY]}}).to_string(),
        json!({"env": KEY}).to_string(),
        json!(KEY).to_string(),
        json!({"env": {"POSTHOG_API_KEY": KEY, "POSTHOG_LLMA_PRIVACY_MODE": KEY}}).to_string(),
    ] {
        home.write(".claude/settings.json", text);
        home.convert(&session).run().exits_with(2).says(&["settings"]);
    }
}

#[test]
fn a_key_that_is_given_in_place_of_a_session_is_not_shown() {
    let home = Home::new();
    for command in ["send", "convert"] {
        let outcome = home.program([command, KEY]).env("POSTHOG_API_KEY", KEY).run().exits_with(1);
        outcome.says(&["no session \"phc_…LmB8\""]);
    }
}

#[test]
fn a_server_that_repeats_the_key_does_not_make_it_shown() {
    let home = Home::new();
    for code in [400, 401, 402, 404, 413, 500] {
        // The second one is cut in the middle, where a server's words are too long.
        let body = format!("{{\"detail\": \"the key {KEY} is not known\"}} {} {KEY}", "x".repeat(500 - 92));
        let script = vec![Answer::Status { code, headers: Vec::new(), body }; 100];
        let posthog = LocalPostHog::start(Config { script, ..Config::default() }).unwrap();
        let send = || home.send(&posthog, fixture(DEMO)).args(["--retries=0", "--again"]);
        send().run().exits_with(1);
        send().arg("--json").run().exits_with(1);
    }
}
