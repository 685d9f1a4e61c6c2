//! Secrets do not leave, whatever text they stand in.

use super::lines::*;
use super::privacy::session_with;
use serde_json::{Value, json};

/// Kinds of secrets: what stands around one, and the part that must not leave. Put together here, so that no scanner takes
/// them for real ones.
fn secrets() -> Vec<(String, String)> {
    let chance = "q7Zt3Lw9Xe2Rv6Ny4Kb8Hc1Jd5Mf0PsTgUaQo";
    let whole = |parts: &[&str]| (parts.concat(), parts[1..].concat());
    vec![
        whole(&["gh", "p_", chance]),
        whole(&["AK", "IAQ7ZT3LW9XE2RV6NY"]),
        whole(&["sk-", "ant-api03-", chance, chance]),
        whole(&["ph", "x_", chance]),
        whole(&["ey", "JhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.", chance]),
        (["postgres://ann:", "l3tm31n-", "q7Zt", "@db.example.com/app"].concat(), "l3tm31n-q7Zt".to_owned()),
        (["DB_PASSWORD=", "l3tm31n-", "q7Zt"].concat(), "l3tm31n-q7Zt".to_owned()),
        (["Authorization: Bearer ", chance].concat(), chance.to_owned()),
        (["{\"api_key\": \"", chance, "\"}"].concat(), chance.to_owned()),
        (
            ["-----BEGIN ", "PRIVATE KEY-----\n", chance, chance, "\n", chance, "\n-----END ", "PRIVATE KEY-----"]
                .concat(),
            chance.to_owned(),
        ),
    ]
}

/// Nothing of the secret, not even a part of eight characters, is in what came out.
fn assert_gone(bytes: &[u8], secret: &str, what: &str) {
    let out = String::from_utf8_lossy(bytes);
    for part in secret.as_bytes().windows(8) {
        let part = std::str::from_utf8(part).unwrap();
        assert!(!out.contains(part), "{what}: {part:?} of {secret:?} in {out}");
    }
}

#[test]
fn no_secret_leaves_from_any_text() {
    for (text, secret) in secrets() {
        let escaped = serde_json::to_string(&text).unwrap();
        for planted in [format!(" {text} "), format!("\n{escaped}\n"), format!("say \"{text}\" now")] {
            for by_prompt in [false, true] {
                let case = session_with(&planted);
                let converted = if by_prompt { case.by_prompt().run() } else { case.run() };
                assert_gone(&converted.bytes, &secret, &planted);
                assert!(converted.traces().iter().any(|p| p["claude_code_redactions"].as_u64() > Some(0)), "{planted}");
                assert!(converted.counts.redactions.values().sum::<u64>() > 0, "{planted}");
            }
        }
    }
}

#[test]
fn no_secret_leaves_where_a_text_is_cut() {
    for (text, secret) in secrets() {
        for limit in (0..200).step_by(9).chain([600]) {
            for fill in [0, 40, 150] {
                let planted = format!("{} {text} {}", "a ".repeat(fill / 2), "b ".repeat(400));
                let converted = session_with(&planted).options(|o| o.max_attribute_length = limit).run();
                assert_gone(&converted.bytes, &secret, &format!("limit {limit}, after {fill}"));
            }
        }
    }
}

/// Puts a secret into each string of a line, but for those that make it the line that it is.
fn plant(value: &mut Value, key: &str, secret: &str) {
    match value {
        Value::String(text) if !["type", "role", "timestamp", "subtype", "stop_reason"].contains(&key) => {
            *text = format!("{text} {secret}");
        }
        Value::Array(values) => values.iter_mut().for_each(|value| plant(value, key, secret)),
        Value::Object(members) => members.iter_mut().for_each(|(key, value)| plant(value, key, secret)),
        _ => {}
    }
}

#[test]
fn no_secret_leaves_from_names_ids_and_unknown_fields() {
    for (text, secret) in secrets() {
        for privacy in [false, true] {
            let mut lines = vec![
                user(0, "hello"),
                reply(1, "m", json!([call_of("Bash", "t", json!({"command": "ls"}))])).with(json!({
                    "gitBranch": "main", "effort": "high", "attributionSkill": "s", "attributionAgent": "a", "cwd": "/home/dev/shop",
                })),
                result(2, "t", "done"),
                other("hologram").with(json!({"content": "x"})),
            ];
            for line in &mut lines {
                plant(&mut line.0, "", &text);
            }
            lines.push(other(&text));
            let converted = session(lines).options(|o| o.privacy_mode = privacy).run();
            assert!(converted.counts.generations > 0);
            assert_gone(&converted.bytes, &secret, &text);
            assert_gone(format!("{:?}", converted.counts).as_bytes(), &secret, &text);
        }
    }
}

#[test]
fn no_secret_leaves_from_the_options() {
    for (text, secret) in secrets().into_iter().filter(|(text, _)| !text.contains('\n')) {
        let converted = session(vec![user(0, "hello"), reply(1, "m", json!([super::lines::text("hi")]))])
            .options(|o| {
                o.distinct_id = Some(format!("me {text}"));
                o.git_repo = Some(format!("me/{text}"));
                o.purpose = Some(format!("for {text}"));
                o.custom_properties =
                    Some(json!({"note": text, "list": [{"deep": text}], (text.as_str()): 1}).to_string());
            })
            .run();
        assert_gone(&converted.bytes, &secret, &text);
        assert!(converted.counts.redactions.values().sum::<u64>() > 0);
    }
}

#[test]
fn what_was_delivered_before_is_not_counted_again() {
    let key = ["gh", "p_", "q7Zt3Lw9Xe2Rv6Ny4Kb8Hc1Jd5Mf0PsTgUaQo"].concat();
    let lines = || {
        vec![user(0, "hello"), reply(1, "m", json!([text(&key)])), user(2, "and"), reply(3, "n", json!([text("no")]))]
    };
    let first = session(lines()).run();
    assert_eq!(first.traces()[0]["claude_code_redactions"], 1);
    let delivered = first.sent()[0];
    let rest = session(lines()).exclude([delivered]).run();
    assert_eq!(rest.traces()[0]["claude_code_redactions"], 0);
}

#[test]
fn with_redaction_off_texts_leave_as_they_are_and_the_users_patterns_still_count() {
    let lines = || vec![user(0, "EMP-123456 password=hunter22"), reply(1, "m", json!([text("ok")]))];
    let off = session(lines()).options(|o| o.redact_secrets = false).run();
    assert_eq!(off.generations()[0]["$ai_user_prompt"], "EMP-123456 password=hunter22");
    let patterns = r#"[{"name": "employee", "pattern": "EMP-[0-9]{6}"}]"#;
    let own =
        session(lines()).options(|o| (o.redact_secrets, o.redact_patterns) = (false, Some(patterns.to_owned()))).run();
    assert_eq!(own.generations()[0]["$ai_user_prompt"], "[redacted:employee] password=hunter22");
}
