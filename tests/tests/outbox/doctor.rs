//! What `doctor` checks.

use super::*;
use serde_json::json;

/// A home in which all is well.
fn well(home: &Home) {
    home.write(".gitconfig", "[user]\n\temail = me@example.com\n");
    home.write(
        ".claude/plugins/installed_plugins.json",
        json!({"plugins": {"posthog@posthog-llma": [{}]}}).to_string(),
    );
    session(home, "aaaa", &Transcript::new().turns(1));
}

#[test]
fn when_all_is_well_every_check_is_good() {
    let (home, posthog) = (Home::new(), posthog());
    well(&home);
    let report = home.ready("doctor", &posthog).arg("--json").run().exits_with(0).json();
    assert_eq!(report["ok"], true);
    let names: Vec<_> = report["checks"].as_array().unwrap().iter().map(|c| c["name"].as_str().unwrap()).collect();
    let expected = [
        "settings",
        "key",
        "host",
        "DNS",
        "TLS",
        "request",
        "state directory",
        "git e-mail",
        "plugin",
        "hooks",
        "transcripts",
    ];
    assert_eq!(names, expected);
    assert!(posthog.events().is_empty(), "the request is harmless");
    home.ready("doctor", &posthog).run().exits_with(0).prints(&["✓ request: the server answers as PostHog does"]);
}

#[test]
fn each_thing_that_is_wrong_is_named_with_what_to_do() {
    let (home, posthog) = (Home::new(), posthog());
    well(&home);
    let doctor = || home.ready("doctor", &posthog);
    for (program, says) in [
        (doctor().env("POSTHOG_LLMA_CC_ENABLED", "no"), &["✗ settings", "Set it to true"][..]),
        (doctor().env("POSTHOG_LLMA_TRACE_GROUPING", "x"), &["✗ settings", "POSTHOG_LLMA_TRACE_GROUPING"]),
        (doctor().env_remove("POSTHOG_API_KEY"), &["✗ key: POSTHOG_API_KEY is not set"]),
        (doctor().env("POSTHOG_API_KEY", "phx_x"), &["✗ key", "personal"]),
        (doctor().env("POSTHOG_API_KEY", "some-other-key-000000"), &["✗ key", "does not look like"]),
        (doctor().env("POSTHOG_HOST", "http://example.com"), &["✗ host", "POSTHOG_HOST"]),
        (doctor().env("POSTHOG_HOST", "http://127.0.0.1:1"), &["✗ connection", "refused"]),
        (
            doctor().env("POSTHOG_HOST", "https://nowhere.invalid").env("POSTHOG_LLMA_ALLOW_CUSTOM_HOST", "true"),
            &["✗ DNS: nowhere.invalid has no address"],
        ),
        (doctor().env("POSTHOG_HOST", posthog.origin().replace("http:", "https:")), &["✗ TLS"]),
        (doctor().env("CLAUDE_CONFIG_DIR", "/nowhere"), &["✗ plugin: it is not installed", "✗ transcripts"]),
    ] {
        program.run().exits_with(1).prints(says);
    }
}

#[test]
fn a_server_that_is_not_posthog_is_told_from_one_that_refuses_the_key() {
    for (code, says) in [(401, "refuses the key"), (200, "answers 200"), (500, "answers 500")] {
        let home = Home::new();
        well(&home);
        let answer = Answer::Status { code, headers: Vec::new(), body: "hello".to_owned() };
        let posthog = LocalPostHog::start(Config { script: vec![answer], ..Config::default() }).unwrap();
        home.ready("doctor", &posthog).run().exits_with(1).prints(&["✗ request", says]);
    }
}

#[test]
fn a_disabled_plugin_and_disabled_hooks_are_found() {
    let (home, posthog) = (Home::new(), posthog());
    well(&home);
    home.write(
        ".claude/settings.json",
        json!({"enabledPlugins": {"posthog@posthog-llma": false}, "disableAllHooks": true}).to_string(),
    );
    let outcome = home.ready("doctor", &posthog).run().exits_with(1);
    outcome.prints(&["✗ plugin: posthog@posthog-llma is disabled", "claude plugin enable", "✗ hooks"]);
}
