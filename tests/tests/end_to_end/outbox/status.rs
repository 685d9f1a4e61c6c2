//! The output of `status`.

use super::*;
use posthog_llma_tests::program::KEY;
use serde_json::json;

#[test]
fn it_says_what_was_delivered_what_is_owed_and_what_was_never_seen() {
    let home = Home::new();
    let script = vec![Answer::CloseBeforeAnswer; 4];
    let posthog = LocalPostHog::start(Config { script, ..Config::default() }).unwrap();
    let owed = session(&home, "owed", &Transcript::new().turns(1));
    home.hook(&posthog, "SessionEnd", &owed).run().exits_with(0);
    until("the first attempt fails", || home.status(&posthog)["last_error"].is_string());
    let delivered = session(&home, "delivered", &Transcript::new().turns(1));
    home.send(&posthog, &delivered).run().exits_with(0);
    session(&home, "unseen", &Transcript::new().turns(1));

    let status = home.status(&posthog);
    let coverage = json!({
        "on_disk": 3, "delivered": 1, "owed": 1, "failed": 0, "running": 0, "never_seen": 1, "owed_elsewhere": 0, "in_part": 0,
    });
    // The owed one may have been delivered meanwhile: its worker stays for a while.
    let after = json!({
        "on_disk": 3, "delivered": 2, "owed": 0, "failed": 0, "running": 0, "never_seen": 1, "owed_elsewhere": 0, "in_part": 0,
    });
    assert!(status["coverage"] == coverage || status["coverage"] == after, "{status:#}");
    assert_eq!(status["destination"], posthog.origin());
    assert_eq!(status["last_hook"]["event"], "SessionEnd");
    assert!(status["last_delivery"].is_string());
    assert_eq!(status["on"], true);
}

#[test]
fn a_first_delivery_without_a_failure_before_it_has_a_time() {
    let (home, posthog) = (Home::new(), posthog());
    let transcript = session(&home, "aaaa", &Transcript::new().turns(1));
    home.send(&posthog, &transcript).run().exits_with(0);
    assert!(home.status(&posthog)["last_delivery"].is_string());
}

#[test]
fn it_says_where_each_setting_comes_from_and_never_the_key() {
    let home = Home::new();
    home.write(
        ".claude/settings.json",
        json!({"env": {"POSTHOG_API_KEY": KEY, "POSTHOG_LLMA_PRIVACY_MODE": "true", "POSTHOG_LLMA_CC_ENABLED": "yes"}})
            .to_string(),
    );
    home.write(
        ".claude/plugins/installed_plugins.json",
        json!({"plugins": {"posthog@posthog-llma": [{}]}}).to_string(),
    );
    let status = home.program(["status", "--json"]).env("POSTHOG_AI_PURPOSE", "work").run().exits_with(0).json();
    let settings = &status["settings"];
    let source = |name: &str| settings[name]["source"].as_str().unwrap().to_owned();
    assert_eq!(source("POSTHOG_AI_PURPOSE"), "the environment");
    assert!(source("POSTHOG_LLMA_PRIVACY_MODE").ends_with(".claude/settings.json"));
    assert!(source("POSTHOG_LLMA_CC_ENABLED").ends_with(".claude/settings.json"));
    assert_eq!(settings["POSTHOG_API_KEY"]["value"], format!("phc_…{}", &KEY[KEY.len() - 4..]));
    home.program(["status"]).run().exits_with(0).prints(&["On: ", "Healthy"]);
}

#[test]
fn it_is_not_healthy_when_no_hook_will_come() {
    let home = Home::new();
    home.write(
        ".claude/settings.json",
        json!({"env": {"POSTHOG_API_KEY": KEY, "POSTHOG_LLMA_CC_ENABLED": "true"}}).to_string(),
    );
    let says = |what: &[&str]| home.program(["status"]).run().exits_with(1).prints(what);
    says(&["plugin: not installed"]);
    let plugins = ".claude/plugins/installed_plugins.json";
    home.write(plugins, json!({"plugins": {"posthog@posthog-llma": [{"installPath": "/gone/with/it"}]}}).to_string());
    says(&["/gone/with/it, which no longer exists"]);
    home.write(plugins, json!({"plugins": {"posthog@posthog-llma": [{}]}}).to_string());
    home.program(["status"]).run().exits_with(0).prints(&["Healthy"]);
    home.program(["status"])
        .env("POSTHOG_API_KEY", "some-key-of-another-kind")
        .run()
        .exits_with(1)
        .prints(&["does not look like"]);
    home.write(plugins, json!({"plugins": {"posthog@posthog-llma": [{}], "posthog-telemetry@x": [{}]}}).to_string());
    says(&["the plugin posthog-telemetry@x also sends these sessions", "claude plugin disable posthog-telemetry@x"]);
    home.write(plugins, json!({"plugins": {"posthog@posthog-llma": [{}]}}).to_string());
    let mut settings = json!({"env": {"POSTHOG_API_KEY": KEY, "POSTHOG_LLMA_CC_ENABLED": "true"}});
    settings["disableAllHooks"] = json!(true);
    home.write(".claude/settings.json", settings.to_string());
    says(&["`disableAllHooks` is true"]);
}

#[test]
fn a_terminal_without_the_settings_knows_what_hooks_are_given() {
    let (home, posthog) = (Home::new(), posthog());
    let transcript = session(&home, "aaaa", &Transcript::new().turns(1));
    home.hook(&posthog, "SessionEnd", &transcript).run().exits_with(0);
    until_nothing_is_owed(&home, &posthog);
    let outcome = home.program(["status"]).run().exits_with(0);
    let outcome = outcome.prints(&[
        "On: ",
        "hooks what this terminal lacks",
        "POSTHOG_API_KEY",
        &posthog.origin(),
        "delivered      1",
    ]);
    assert!(!outcome.stdout.contains(KEY));
}

#[test]
fn it_says_why_it_is_off() {
    let home = Home::new();
    for (variables, why) in [
        (&[][..], "POSTHOG_LLMA_CC_ENABLED is not set"),
        (&[("POSTHOG_LLMA_CC_ENABLED", "no")], "POSTHOG_LLMA_CC_ENABLED is false"),
        (&[("POSTHOG_LLMA_CC_ENABLED", "on")], "POSTHOG_API_KEY is not set"),
        (&[("POSTHOG_LLMA_CC_ENABLED", "maybe")], "is neither true"),
        (&[("POSTHOG_HOST", "ftp://x")], "POSTHOG_HOST"),
    ] {
        let program =
            variables.iter().fold(home.program(["status"]), |program, (name, value)| program.env(name, value));
        let outcome = program.run().exits_with(1);
        assert!(outcome.stdout.starts_with("Off: ") && outcome.stdout.contains(why), "{outcome:?}");
    }
    assert!(!home.path().join(".local").exists(), "to look is not to write");
}

#[test]
fn it_says_which_lines_are_of_unknown_types() {
    let (home, posthog) = (Home::new(), posthog());
    let text = Transcript::new().turns(1).text() + "{\"type\":\"brand-new\"}\n{\"type\":\"brand-new\"}\n";
    let transcript = home.write(".claude/projects/-work/aaaa.jsonl", text);
    home.hook(&posthog, "SessionEnd", &transcript).run().exits_with(0);
    until_nothing_is_owed(&home, &posthog);
    until("it is noted", || home.status(&posthog)["unknown_line_types"] == json!({"brand-new": 2}));
}

#[test]
fn what_was_delivered_is_counted_and_priced_and_what_was_replaced_too() {
    let (home, posthog) = (Home::new(), posthog());
    let secret = "AKIAIOSFODNN7EXAMPLA";
    let transcript = session(&home, "aaaa", &Transcript::new().turn(&format!("the key is {secret}"), "no").turns(2));
    home.hook(&posthog, "SessionEnd", &transcript).run().exits_with(0);
    until_nothing_is_owed(&home, &posthog);
    let status = home.status(&posthog);
    assert_eq!(status["events"], posthog.events().len());
    assert!((status["estimated_dollars"].as_f64().unwrap() - 4.0 * 35.0 / 100_000.0).abs() < 1e-9, "{status}");
    let sent: u64 = sum(&posthog.events(), "$ai_trace", "claude_code_redactions");
    let counted = status["redactions"].as_object().unwrap();
    let total: u64 = counted.values().filter_map(Value::as_u64).sum();
    assert!(sent > 0 && total == sent, "{sent}: {counted:?}");
    home.ready("status", &posthog).run().prints(&["events         4, less than $0.01 in PostHog", "redacted"]);
    // By `ingest`, too, each delivery once.
    let other = LocalPostHog::start(Config::default()).unwrap();
    let report = home.ready("ingest", &other).args(["--all", "--json"]).run().exits_with(0).json();
    assert_eq!(report["redactions"], status["redactions"]);
    home.ready("ingest", &other).args(["--all"]).run().exits_with(0);
    let twice: u64 = home.status(&other)["redactions"].as_object().unwrap().values().filter_map(Value::as_u64).sum();
    assert_eq!(twice, 2 * sent);
    let dry = home.ready("ingest", &other).args(["--all", "--force", "--dry-run"]).run().exits_with(0);
    dry.prints(&["redacted  "]);
    home.program(["view"]).arg(&transcript).run().exits_with(0).prints(&[" redacted  "]);
}
