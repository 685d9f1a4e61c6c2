//! What the user should know although nothing failed.

use super::*;
use serde_json::json;

#[test]
fn a_key_that_is_no_project_key_is_a_warning_that_does_not_show_it() {
    let (home, posthog) = (Home::new(), posthog());
    let session = home.session(Transcript::new().turns(1).text());
    let key = KEY.strip_prefix("phc_").unwrap();
    let outcome = home.send(&posthog, &session).env("POSTHOG_API_KEY", key).run().exits_with(0);
    outcome.says(&["posthog-llma: warning: POSTHOG_API_KEY (…LmB8) does not look like a project token (phc_…)"]);
    assert_eq!(posthog.events().len(), 2);
}

#[test]
fn a_session_of_more_than_30_days_ago_shows_numbers_only() {
    let (home, posthog) = (Home::new(), posthog());
    let old = home.session(Transcript::of_days_ago(45).turns(1).text());
    home.send(&posthog, &old).run().exits_with(0).says(&["warning: the session is 45 days old", "numbers only"]);
    let young = home.session(Transcript::of_days_ago(29).turns(1).text());
    home.send(&posthog, &young).run().exits_with(0).says_nothing();
}

#[test]
fn custom_properties_that_are_left_out_are_named() {
    let (home, posthog) = (Home::new(), posthog());
    let session = home.session(Transcript::new().turns(1).text());
    let properties = r#"{"team": "search", "$ai_model": "mine", "claude_code_turns": 99}"#;
    for command in [home.send(&posthog, &session), home.convert(&session)] {
        let outcome = command.env("POSTHOG_LLMA_CUSTOM_PROPERTIES", properties).run().exits_with(0);
        outcome.says(&["warning: ", "left out: ", "$ai_model", "claude_code_turns"]);
    }
    for event in posthog.events() {
        assert_eq!(event["properties"]["team"], "search");
        assert_ne!(event["properties"]["$ai_model"], "mine");
        assert_ne!(event["properties"]["claude_code_turns"], 99);
    }
}

#[test]
fn damaged_and_unknown_lines_are_counted_and_the_good_ones_used() {
    let (home, posthog) = (Home::new(), posthog());
    let unknown = Transcript::new().line(json!({"type": "from-the-future", "content": "new"}));
    let text = format!("{{\"type\":\"user\",\"mess\nnot json\n{}", unknown.turns(2).text());
    let session = home.session(text);
    let outcome = home.send(&posthog, &session).run().exits_with(0);
    outcome.says(&[
        "warning: 2 of 7 lines damaged",
        "warning: 1 line of types unknown to this version: \"from-the-future\" (1)",
    ]);
    assert_eq!(posthog.events().len(), 3);
    let report = home.send(&posthog, &session).arg("--json").run().exits_with(0).says_nothing().json();
    let counts = (&report["lines"], &report["bad_lines"], &report["unknown_lines"]);
    assert_eq!(counts, (&json!(7), &json!(2), &json!(1)));
    assert_eq!(report["warnings"].as_array().unwrap().len(), 2);
    home.convert(&session).run().exits_with(0).says(&["2 of 7 lines damaged", "from-the-future"]);
}

#[test]
fn warnings_cannot_steer_the_terminal() {
    let home = Home::new();
    let session = home.session(Transcript::new().line(json!({"type": "new\u{1b}[2J\u{7}"})).turns(1).text());
    let outcome = home.convert(&session).run().exits_with(0).says(&["of types unknown"]);
    assert!(!outcome.stderr.trim_end().contains(char::is_control), "{:?}", outcome.stderr);
}
