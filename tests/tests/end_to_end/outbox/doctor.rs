//! The checks of `doctor`.

use super::*;
use posthog_llma_tests::program::KEY;
use serde_json::json;
use std::os::unix::fs::PermissionsExt as _;

/// Makes everything in a home healthy.
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
        "git email",
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
            &["✗ DNS: nowhere.invalid does not resolve"],
        ),
        (doctor().env("POSTHOG_HOST", posthog.origin().replace("http:", "https:")), &["✗ TLS"]),
        (doctor().env("CLAUDE_CONFIG_DIR", "/nowhere"), &["✗ plugin: not installed", "✗ transcripts"]),
    ] {
        program.run().exits_with(1).prints(says);
    }
}

#[test]
fn a_server_that_is_not_posthog_is_told_from_one_that_refuses_the_key() {
    for (code, says) in [(401, "rejects the token"), (200, "answers 200"), (500, "answers 500")] {
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

#[test]
fn a_bundle_has_what_support_needs_and_nothing_of_anybody() {
    let content = "clandestine";
    let home = Home::new();
    let words = format!("{content} {KEY}");
    let script = vec![Answer::Status { code: 401, headers: Vec::new(), body: words }; 2];
    let posthog = LocalPostHog::start(Config { script, ..Config::default() }).unwrap();
    well(&home);
    home.write(".gitconfig", format!("[user]\n\temail = {content}@example.com\n"));
    let odd = json!({"type": content, "message": {"content": content}});
    let sentence = json!({"type": format!("a {content} sentence")});
    let lines = Transcript::new().turn(content, content).text().replace("/home/dev", &format!("/home/{content}"));
    let transcript =
        home.write(format!(".claude/projects/-{content}/aaaa.jsonl"), format!("{lines}{odd}\n{sentence}\n{content}\n"));
    let settings = json!({"env": {"POSTHOG_LLMA_CUSTOM_PROPERTIES": json!({content: content}).to_string()}});
    home.write(".claude/settings.json", settings.to_string());
    home.hook(&posthog, "SessionEnd", &transcript).run().exits_with(0);
    home.until_quiet();
    home.ready("hook", &posthog).input(format!("{content} is no JSON")).run().exits_with(0);

    let file = home.path().join("work/bundle.json");
    let doctor = home.ready("doctor", &posthog).env("POSTHOG_LLMA_DISTINCT_ID", format!("{content}@example.com"));
    let outcome = doctor.arg("--bundle").arg(&file).env("POSTHOG_AI_PURPOSE", content).run();
    outcome.says(&["bundle.json", "It contains no content"]);
    let text = std::fs::read_to_string(&file).unwrap();
    for secret in [&KEY[4..12], "example.com", home.path().to_str().unwrap(), "127.0.0.1"] {
        assert!(!text.contains(secret), "{secret}: {text}");
    }
    let bundle: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(bundle["program"]["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(bundle["platform"]["system"], "linux");
    let names: Vec<_> = bundle["settings"].as_array().unwrap().iter().map(|s| s["name"].as_str().unwrap()).collect();
    assert!(names.contains(&"POSTHOG_API_KEY") && names.contains(&"POSTHOG_LLMA_CUSTOM_PROPERTIES"), "{names:?}");
    assert_eq!(bundle["outbox"]["needs_the_user"], true);
    assert_eq!(bundle["outbox"]["sessions"]["owed"], 1);
    assert!(bundle["log"].to_string().contains("status=401"), "{}", bundle["log"]);
    assert!(bundle["last_hook_that_failed"].is_string());
    assert!(bundle["checks"].as_array().unwrap().iter().any(|check| check["name"] == "transcripts"));
    // A word that names a type of lines is told; nothing else of a transcript is.
    assert_eq!(
        text.matches(content).count(),
        usize::from(text.contains(&format!("\"name\": \"{content}\""))),
        "{text}"
    );
    assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    // Without a name it is written where one is.
    home.ready("doctor", &posthog).arg("--bundle").run();
    assert!(home.path().join("work/posthog-llma-support.json").is_file());
}
