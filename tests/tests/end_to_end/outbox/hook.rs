//! What the hook does, and what it never does.

use super::*;
use posthog_llma_tests::program::KEY;
use std::fs;
use std::io::Write as _;
use std::process::Stdio;
use std::time::Duration;

#[test]
fn a_session_that_ends_is_delivered_after_the_hook() {
    let (home, posthog) = (Home::new(), posthog());
    let transcript = session(&home, "aaaa", &Transcript::new().turns(3));
    let outcome = home.hook(&posthog, "SessionEnd", &transcript).run().exits_with(0).says_nothing();
    assert_eq!(outcome.stdout, "");
    until_nothing_is_owed(&home, &posthog);
    let arrived: BTreeMap<_, _> =
        posthog.events().into_iter().map(|event| (event["uuid"].as_str().unwrap().to_owned(), event)).collect();
    assert_eq!(arrived, expected(&home, &transcript));
    assert_eq!(posthog.requests().len(), 1);
}

#[test]
fn the_hook_is_quick_however_long_the_session() {
    let (home, posthog) = (Home::new(), posthog());
    let transcript = session(&home, "aaaa", &Transcript::new().turns(800));
    // The best of many: other tests run at the same time. `cargo run --release -p posthog-llma-tests --example hook` measures.
    let best = |run: &dyn Fn() -> Duration| (0..10).map(|_| run()).min().unwrap();
    let hook = best(&|| home.hook(&posthog, "SessionEnd", &transcript).run().exits_with(0).time);
    // It does not read the session. Whoever does needs much longer.
    let convert = best(&|| home.convert(&transcript).run().exits_with(0).time);
    assert!(hook < convert / 2, "{hook:?}, and a conversion takes {convert:?}");
}

#[test]
fn when_it_is_off_nothing_is_sent_and_nothing_is_written() {
    for off in ["", "false", "0", "no", "OFF"] {
        let (home, posthog) = (Home::new(), posthog());
        let transcript = session(&home, "aaaa", &Transcript::new().turns(1));
        let hook = home.hook(&posthog, "SessionEnd", &transcript).env("POSTHOG_LLMA_CC_ENABLED", off);
        hook.run().exits_with(0).says_nothing();
        home.hook(&posthog, "SessionEnd", &transcript).env_remove("POSTHOG_LLMA_CC_ENABLED").run().exits_with(0);
        std::thread::sleep(Duration::from_millis(300));
        assert!(!home.path().join(".local").exists(), "{off:?}");
        assert!(!home.path().join(".claude/posthog-llma-status.json").exists());
        assert!(posthog.requests().is_empty());
    }
}

#[test]
fn no_input_disturbs_the_user() {
    let (home, posthog) = (Home::new(), posthog());
    let deep = "[".repeat(100_000);
    let inputs: [&[u8]; 12] = [
        b"",
        b"null",
        b"[]",
        b"{}",
        b"{\"transcript_path\": 5}",
        b"{\"transcript_path\": \"relative.jsonl\", \"session_id\": \"x\"}",
        b"{\"transcript_path\": \"/\", \"hook_event_name\": \"SessionEnd\"}",
        b"{\"transcript_path\": \"/no/such/place/x.jsonl\", \"hook_event_name\": \"SessionEnd\", \"session_id\": \"x\"}",
        b"{\"transcript_path\": \"/dev/zero\", \"hook_event_name\": \"SessionEnd\", \"session_id\": \"x\"}",
        b"\xff\xfe\x00 not text",
        b"{\"session_id\": \"cut",
        deep.as_bytes(),
    ];
    for input in inputs {
        let outcome = home.ready("hook", &posthog).input(input).run().exits_with(0).says_nothing();
        assert_eq!(outcome.stdout, "");
    }
    home.ready("hook", &posthog).run().exits_with(0).says_nothing();
    assert!(posthog.requests().is_empty());
}

#[test]
fn what_the_hook_could_not_read_is_told_by_status() {
    let (home, posthog) = (Home::new(), posthog());
    home.ready("hook", &posthog).input("nonsense").run().exits_with(0);
    let status = home.ready("status", &posthog).run().exits_with(1);
    status.prints(&["the last hook failed", "not a JSON object"]);
    // The next one that works is the last word.
    let transcript = session(&home, "aaaa", &Transcript::new().turns(1));
    home.hook(&posthog, "SessionEnd", &transcript).run().exits_with(0);
    until_nothing_is_owed(&home, &posthog);
    home.ready("status", &posthog).run().exits_with(0).prints(&["Healthy", "(SessionEnd)"]);
}

#[test]
fn the_hook_does_not_wait_for_the_end_of_its_input() {
    let (home, posthog) = (Home::new(), posthog());
    let transcript = session(&home, "aaaa", &Transcript::new().turns(1));
    let input =
        serde_json::json!({"hook_event_name": "SessionEnd", "session_id": "aaaa", "transcript_path": transcript});
    for input in [input.to_string(), String::new()] {
        let mut command = std::process::Command::new(posthog_llma_tests::program::binary());
        command.arg("hook").env_clear().env("HOME", home.path());
        command
            .env("POSTHOG_LLMA_CC_ENABLED", "true")
            .env("POSTHOG_API_KEY", KEY)
            .env("POSTHOG_HOST", posthog.origin());
        let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        stdin.write_all(input.as_bytes()).unwrap();
        // The input does not end before this does.
        let hook = std::thread::spawn(move || child.wait().unwrap().success());
        until("the hook ends", || hook.is_finished());
        assert!(hook.join().unwrap());
        drop(stdin);
    }
    until("the session arrives", || !posthog.events().is_empty());
    until_nothing_is_owed(&home, &posthog);
}

#[test]
fn settings_that_cannot_be_used_send_nothing_and_are_told() {
    for (name, value, says) in [
        ("POSTHOG_HOST", "http://example.com", "POSTHOG_HOST"),
        ("POSTHOG_API_KEY", "", "POSTHOG_API_KEY is not set"),
        ("POSTHOG_API_KEY", "phx_personal", "personal API key"),
        ("POSTHOG_LLMA_CC_ENABLED", "flase", "POSTHOG_LLMA_CC_ENABLED"),
        ("POSTHOG_LLMA_PRIVACY_MODE", "perhaps", "POSTHOG_LLMA_PRIVACY_MODE"),
        ("POSTHOG_LLMA_CUSTOM_PROPERTIES", "{", "POSTHOG_LLMA_CUSTOM_PROPERTIES"),
    ] {
        let (home, posthog) = (Home::new(), posthog());
        let transcript = session(&home, "aaaa", &Transcript::new().turns(1));
        home.hook(&posthog, "SessionEnd", &transcript).env(name, value).run().exits_with(0).says_nothing();
        let failure = &home.status(&posthog)["hook_failure"]["error"];
        assert!(failure.as_str().unwrap().contains(says), "{failure}");
        let known = fs::read_to_string(home.path().join(".claude/posthog-llma-status.json")).unwrap();
        let known: Value = serde_json::from_str(&known).unwrap();
        assert_eq!((&known["status"], &known["session_id"]), (&"error".into(), &"aaaa".into()));
        assert!(known["error"].as_str().unwrap().contains(says));
        assert!(posthog.requests().is_empty());
    }
}

#[test]
fn a_session_without_a_transcript_owes_nothing() {
    let (home, posthog) = (Home::new(), posthog());
    let transcript = home.path().join(".claude/projects/-work/none.jsonl");
    home.hook(&posthog, "SessionStart", &transcript).run().exits_with(0);
    home.until_quiet();
    home.hook(&posthog, "SessionEnd", &transcript).run().exits_with(0);
    home.until_quiet();
    let coverage = &home.status(&posthog)["coverage"];
    assert_eq!((&coverage["owed"], &coverage["failed"], &coverage["running"]), (&0.into(), &0.into(), &0.into()));
}

#[test]
fn an_id_that_looks_like_a_flag_is_an_id() {
    let (home, posthog) = (Home::new(), posthog());
    let transcript = session(&home, "--help", &Transcript::new().turns(1));
    home.hook(&posthog, "SessionEnd", &transcript).run().exits_with(0);
    until("it arrives", || posthog.events().len() == 2);
    until_nothing_is_owed(&home, &posthog);
}

#[test]
fn the_record_holds_no_content_and_no_key() {
    let (home, posthog) = (Home::new(), posthog());
    let transcript = session(&home, "aaaa", &Transcript::new().turn("the clandestine plan", "the clandestine answer"));
    home.hook(&posthog, "SessionEnd", &transcript).run().exits_with(0);
    until_nothing_is_owed(&home, &posthog);
    let folder = record(&home).parent().unwrap().to_owned();
    for file in fs::read_dir(folder).unwrap() {
        let bytes = fs::read(file.unwrap().path()).unwrap();
        let text = String::from_utf8_lossy(&bytes);
        assert!(!text.contains("clandestine") && !text.contains(&KEY[4..]));
    }
}

#[test]
fn two_hundred_hooks_at_once_lose_nothing_and_send_nothing_twice() {
    let (home, posthog) = (Home::new(), posthog());
    let transcripts: Vec<_> =
        (0..100).map(|i| session(&home, &format!("session-{i:03}"), &Transcript::new().turns(2))).collect();
    // Each session ends twice, all at the same time.
    let hooks: Vec<_> = transcripts
        .iter()
        .chain(&transcripts)
        .map(|transcript| home.hook(&posthog, "SessionEnd", transcript).start())
        .collect();
    for hook in hooks {
        hook.wait().exits_with(0).says_nothing();
    }
    until("all sessions arrive", || posthog.events().len() >= 300);
    until_nothing_is_owed(&home, &posthog);
    let arrivals = arrivals(&posthog);
    assert_eq!(arrivals.len(), 300);
    assert!(arrivals.values().all(|times| *times == 1));
    assert_eq!(home.status(&posthog)["coverage"]["delivered"], 100);
}
