//! Secrets in a session: nothing of one is in what is sent, printed or written down.

use super::privacy::{plant, planted_files};
use super::*;
use serde_json::json;
use std::fs;
use std::path::Path;

/// Kinds of secrets: what stands around one, and the part that must not leave. Put together here, so that no scanner takes them
/// for real ones.
fn secrets() -> [(String, String); 6] {
    let chance = "q7Zt3Lw9Xe2Rv6Ny4Kb8Hc1Jd5Mf0PsTgUaQo";
    [
        (["gh", "p_", chance].concat(), chance.to_owned()),
        (["postgres://ann:", "l3tm31n-", "q7Zt", "@db.example.com/app"].concat(), "l3tm31n-q7Zt".to_owned()),
        (["x\nDB_PASSWORD=", "l3tm31n-", "q7Zt"].concat(), "l3tm31n-q7Zt".to_owned()),
        (["Authorization: Bearer ", chance].concat(), chance.to_owned()),
        (["{\"api_key\": \"", chance, "\"}"].concat(), chance.to_owned()),
        (
            ["-----BEGIN ", "PRIVATE KEY-----\n", chance, chance, "\n", chance, "\n-----END ", "PRIVATE KEY-----"]
                .concat(),
            chance.to_owned(),
        ),
    ]
}

/// Puts this in the place of every marker of the session, and into lines of an unknown type and a damaged one.
fn plant_secret(session: &Path, text: &str) {
    let json = serde_json::to_string(text).unwrap();
    let inner = &json[1..json.len() - 1];
    for file in planted_files(session) {
        let planted = fs::read_to_string(&file).unwrap();
        let mut parts = planted.split("xyzzy-");
        let mut out = parts.next().unwrap_or_default().to_owned();
        for part in parts {
            out.extend([" ", inner, " "]);
            out += part.split_once("-plugh").map_or(part, |(_, rest)| rest);
        }
        if file == session {
            out += &json!({"type": text, "content": text}).to_string();
            out += "\n{\"type\":\"user\",\"message\":{\"content\":\"";
            out += inner;
            out += "\n";
        }
        fs::write(file, out).unwrap();
    }
}

/// Nothing of the secret, not even a part of eight characters, is in what a command printed, or in a file that it wrote.
#[track_caller]
fn assert_gone(what: &str, out: &str, secret: &str) {
    for part in secret.as_bytes().windows(8) {
        let part = std::str::from_utf8(part).unwrap();
        let found = out.find(part).map(|at| out[at.saturating_sub(120)..].chars().take(240).collect::<String>());
        assert_eq!(found, None, "{what}: {part:?}");
    }
}

/// All files below a folder, but for transcripts.
fn written(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    entries
        .flat_map(|path| if path.is_dir() { written(&path) } else { vec![path] })
        // Compiled code is large, and of the program alone.
        .filter(|path| {
            !path.to_string_lossy().contains("/projects/") && path.metadata().is_ok_and(|m| m.len() < 4 << 20)
        })
        .collect()
}

#[test]
fn nothing_of_a_secret_is_in_any_event_output_log_or_file() {
    for (text, secret) in secrets() {
        for limit in ["12000", "30"] {
            let (home, posthog) = (Home::new(), posthog());
            let session = plant(&home);
            plant_secret(&session, &text);
            let log = home.path().join("own.log");
            let id = session.file_stem().unwrap().to_owned();
            let run = |arguments: &[&str]| {
                let program = home.ready(arguments[0], &posthog).args(&arguments[1..]);
                let program =
                    if ["convert", "send", "view"].contains(&arguments[0]) { program.arg(&id) } else { program };
                let run = program.env("POSTHOG_LLMA_MAX_ATTRIBUTE_LENGTH", limit).env("POSTHOG_LLMA_LOG", &log).run();
                for out in [&run.stdout, &run.stderr] {
                    assert_gone(&format!("{arguments:?}, {limit}"), out, &secret);
                }
                run
            };
            let converted = run(&["convert"]).exits_with(0);
            assert!(limit == "30" || converted.stdout.contains("[redacted:"), "{}", converted.stdout);
            for arguments in [
                &["send", "--json"] as &[&str],
                &["send", "--again", "--log", log.to_str().unwrap()],
                &["view"],
                &["view", "--json"],
                &["ingest", "--list"],
                &["ingest", "--list", "--json"],
                &["ingest", "--dry-run", "--all"],
                &["status"],
                &["status", "--json"],
                &["doctor"],
            ] {
                run(arguments);
            }
            for request in posthog.requests() {
                // The probe of `doctor` is not compressed.
                let is_plain = request.body.first() == Some(&b'{');
                let body = || String::from_utf8_lossy(&request.body).into_owned();
                assert_gone("a request", &if is_plain { body() } else { decompressed(&request) }, &secret);
            }
            assert!(log.exists());
            for file in written(home.path()) {
                let bytes = fs::read(&file).unwrap();
                assert_gone(&file.to_string_lossy(), &String::from_utf8_lossy(&bytes), &secret);
            }
        }
    }
}

#[test]
fn the_words_of_a_server_that_repeats_what_it_got_hold_no_secret() {
    let (home, secret) = (Home::new(), secrets()[0].clone());
    let session = home.session(Transcript::new().turn(&secret.0, &secret.0).text());
    for code in [400, 401, 500] {
        let body = json!({"detail": format!("bad event: {}", secret.0)}).to_string();
        let script = vec![Answer::Status { code, headers: Vec::new(), body }; 40];
        let posthog = LocalPostHog::start(Config { script, ..Config::default() }).unwrap();
        for again in [&["--retries=0", "--again"] as &[&str], &["--retries=0", "--again", "--json"]] {
            home.send(&posthog, &session).args(again).run();
            // What was sent has no secret, so a server has none to repeat.
            let sent: String = posthog.requests().iter().map(decompressed).collect();
            assert_gone("a request", &sent, &secret.1);
        }
    }
}

#[test]
fn redact_prints_what_would_be_sent_and_where_it_was_replaced() {
    let home = Home::new();
    let (text, secret) = (["a gh", "p_q7Zt3Lw9Xe2Rv6Ny4Kb8Hc1Jd5Mf0PsTgUaQo b\n"].concat(), "q7Zt3Lw9");
    let printed = home.program(["redact"]).input(text.clone()).run().exits_with(0).says_nothing().stdout;
    assert_eq!(printed, "a [redacted:github-token] b\n");
    let report = home.program(["redact", "--json"]).input(text.clone()).run().exits_with(0);
    assert!(!report.stdout.contains(secret));
    let report = report.json();
    assert_eq!(report["found"], json!([{"rule": "github-token", "start": 2, "end": text.len() - 3}]));
    assert_eq!(report["redactions"], json!({"github-token": 1}));
    // Bytes that are no text, and nothing at all.
    for input in [b"\xff\xfe\x00".to_vec(), Vec::new()] {
        home.program(["redact"]).input(input).run().exits_with(0).says_nothing();
    }
    let off = home.program(["redact"]).env("POSTHOG_LLMA_REDACT_SECRETS", "false").input(text.clone()).run();
    assert_eq!(off.stdout, text);
}

#[test]
fn doctor_checks_the_users_patterns() {
    let (home, posthog) = (Home::new(), posthog());
    let list = |pattern: &str| json!([{"name": "own", "pattern": pattern}]).to_string();
    let file = home.write("patterns.json", list("EMP-[0-9]{6}"));
    let large = home.write("large.json", json!(vec![json!({"allow": "x".repeat(900)}); 100]).to_string());
    for good in
        [file.to_str().unwrap().to_owned(), "~/patterns.json".to_owned(), list("EMP-[0-9]{6}"), list("(a*)*(b*)*c")]
    {
        let doctor = home.ready("doctor", &posthog).env("POSTHOG_LLMA_REDACT_PATTERNS", &good).run();
        doctor.prints(&["✓ patterns: "]);
    }
    for (bad, says) in [
        (list("("), "entry 1"),
        (list(""), "entry 1"),
        (list("x{1000}{1000}"), "entry 1"),
        (list(&"x".repeat(1001)), "entry 1"),
        ("[1]".to_owned(), "is not a JSON list"),
        ("patterns.json".to_owned(), "is neither a JSON list"),
        ("/does/not/exist.json".to_owned(), "/does/not/exist.json"),
        (large.to_str().unwrap().to_owned(), "are allowed"),
        (json!(vec![json!({"allow": "x"}); 201]).to_string(), "201 entries"),
    ] {
        let doctor = home.ready("doctor", &posthog).env("POSTHOG_LLMA_REDACT_PATTERNS", &bad).run().exits_with(1);
        doctor.prints(&["✗ patterns: POSTHOG_LLMA_REDACT_PATTERNS", says]);
        // Nothing is sent with patterns that cannot be used, and nothing printed as if it were clean.
        let redact = home.program(["redact"]).env("POSTHOG_LLMA_REDACT_PATTERNS", &bad).input("x").run();
        redact.exits_with(2).says(&["POSTHOG_LLMA_REDACT_PATTERNS", says]);
    }
}

#[test]
fn a_pattern_that_backtracks_elsewhere_takes_linear_time() {
    let home = Home::new();
    let patterns = json!([{"name": "own", "pattern": "(?:a+)+(?:b+)+c"}]).to_string();
    let redact = |text: String| {
        home.program(["redact"]).env("POSTHOG_LLMA_REDACT_PATTERNS", &patterns).input(text).run().exits_with(0).stdout
    };
    assert_eq!(redact("x aabbc y".to_owned()), "x [redacted:own] y");
    // An engine that goes back would not come to an end.
    let long = "a".repeat(20_000) + &"b".repeat(20_000);
    assert_eq!(redact(long.clone()), long);
}
