//! The log: what the program did, and nothing that anyone said.

use super::*;
use posthog_llma_tests::program::KEY;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;

/// Put everywhere a text can be; the log must never contain it.
const CONTENT: &str = "clandestine";

fn log(home: &Home) -> PathBuf {
    home.path().join(".local/state/posthog-llma/worker.log")
}

/// A session with this text in prompts, answers, line types and folders.
fn full_of_content(home: &Home, id: &str) -> PathBuf {
    let lines = Transcript::new().turn(&format!("the {CONTENT} plan"), &format!("a {CONTENT} answer")).text();
    let lines = lines.replace("/home/dev/shop", &format!("/home/dev/{CONTENT}"));
    let odd = serde_json::json!({"type": CONTENT, "cwd": format!("/home/{CONTENT}"), "message": {"content": CONTENT}});
    let broken = format!("{{\"type\":\"user\",\"message\":{{\"content\":\"{CONTENT}");
    home.write(format!(".claude/projects/-{CONTENT}/{id}.jsonl"), format!("{lines}{odd}\n{broken}\n"))
}

#[track_caller]
fn is_clean(home: &Home) {
    for file in [log(home), log(home).with_extension("log.1"), home.path().join("named.log")] {
        let text = fs::read_to_string(&file).unwrap_or_default();
        for secret in [CONTENT, &KEY[4..12], "ada@example.org", "POSTHOG_", home.path().to_str().unwrap()] {
            assert!(!text.contains(secret), "{secret} is in {}: {text}", file.display());
        }
    }
}

#[test]
fn a_hook_s_worker_writes_what_it_does_and_nobody_s_words() {
    let words = format!("{CONTENT}: your key {KEY} and your event {CONTENT}");
    for (answer, says) in [
        (None, "delivered"),
        (Some(401), "kind=\"refused\" status=401"),
        (Some(400), "refused=2"),
        (Some(503), "kind=\"unavailable\" status=503"),
        (Some(200), "kind=\"not-posthog\""),
    ] {
        let home = Home::new();
        let answer = answer.map(|code| Answer::Status { code, headers: Vec::new(), body: words.clone() });
        let script = answer.into_iter().cycle().take(50).collect();
        let posthog = LocalPostHog::start(Config { script, ..Config::default() }).unwrap();
        let transcript = full_of_content(&home, "aaaa");
        for event in ["SessionStart", "SessionEnd"] {
            let hook = home.hook(&posthog, event, &transcript).env("POSTHOG_LLMA_DISTINCT_ID", "ada@example.org");
            hook.run().exits_with(0).says_nothing();
            home.until_quiet();
        }
        let text = fs::read_to_string(log(&home)).unwrap();
        for said in ["a hook came", "event=\"SessionEnd\"", "session=\"aaaa\"", "delivering", says] {
            assert!(text.contains(said), "{said:?} is not in {text}");
        }
        assert!(text.lines().all(|line| line.contains(" INFO ") || line.contains(" WARN ")), "{text}");
        is_clean(&home);
        assert_eq!(log(&home).metadata().unwrap().permissions().mode() & 0o777, 0o600);
    }
}

#[test]
fn a_setting_that_cannot_be_used_is_not_quoted() {
    let (home, posthog) = (Home::new(), posthog());
    let transcript = full_of_content(&home, "aaaa");
    for (name, value) in [
        ("POSTHOG_LLMA_CUSTOM_PROPERTIES", format!("{{\"{CONTENT}\": ")),
        ("POSTHOG_LLMA_DISTINCT_ID", format!("{CONTENT}\n")),
        ("POSTHOG_HOST", format!("https://{CONTENT}")),
    ] {
        let worker =
            home.ready("worker", &posthog).args(["--event=SessionEnd", "--session=aaaa", "--at=1", "--transcript"]);
        worker.arg(&transcript).env(name, value).run();
        assert!(fs::read_to_string(log(&home)).unwrap().contains("posthog-llma status"));
        is_clean(&home);
    }
}

#[test]
fn a_named_log_has_each_step_of_hooks_and_commands() {
    let (home, posthog) = (Home::new(), posthog());
    let transcript = full_of_content(&home, "aaaa");
    let named = home.path().join("named.log");
    home.hook(&posthog, "SessionEnd", &transcript).env("POSTHOG_LLMA_LOG", &named).run().exits_with(0);
    until_nothing_is_owed(&home, &posthog);
    let text = fs::read_to_string(&named).unwrap();
    assert!(
        text.contains("DEBUG") && text.contains("a batch was decided") && text.contains("path=\"/i/v1/ai/events\""),
        "{text}"
    );
    assert!(!log(&home).exists(), "one log is enough");
    // A flag, a file below the home directory, and the settings file.
    fs::remove_file(&named).unwrap();
    home.send(&posthog, &transcript).arg("--again").arg("--log").arg(&named).run().exits_with(0);
    assert!(fs::read_to_string(&named).unwrap().contains("delivered"));
    fs::remove_file(&named).unwrap();
    let settings = serde_json::json!({"env": {"POSTHOG_LLMA_LOG": "~/named.log"}});
    home.write(".claude/settings.json", settings.to_string());
    home.ready("ingest", &posthog).args(["--all", "--force"]).run().exits_with(0);
    assert!(fs::read_to_string(&named).unwrap().contains("delivered"));
    is_clean(&home);
}

#[test]
fn a_log_that_cannot_be_written_stops_nothing() {
    let (home, posthog) = (Home::new(), posthog());
    let transcript = session(&home, "aaaa", &Transcript::new().turns(1));
    let bad = home.path().join("work");
    home.hook(&posthog, "SessionEnd", &transcript).env("POSTHOG_LLMA_LOG", &bad).run().exits_with(0).says_nothing();
    until_nothing_is_owed(&home, &posthog);
    assert!(!posthog.events().is_empty());
    let outcome = home.send(&posthog, &transcript).arg("--log").arg(&bad).run().exits_with(0);
    outcome.says(&["cannot write the log", "is a directory"]);
    home.send(&posthog, &transcript)
        .env("POSTHOG_LLMA_LOG", "relative.log")
        .run()
        .exits_with(2)
        .says(&["POSTHOG_LLMA_LOG"]);
}
