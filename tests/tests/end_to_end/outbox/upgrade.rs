//! A state file from the first version, with sessions that are waiting to be sent.

use super::*;
use posthog_llma_pipeline::identity::EventId;
use posthog_llma_tests::program::KEY;
use rusqlite::{Connection, params};
use std::os::unix::ffi::OsStrExt as _;

/// A session's settings as the first version stored them; the next one renamed them.
const OPTIONS: &str = r#"{"distinct_id":"me@example.com","purpose":null,"by_message":false,"privacy_mode":false,
    "redact_secrets":true,"max_attribute_length":12000,"custom_properties":null}"#;

/// The file as the first version left it: one session is waiting to be sent, and the server had already accepted
/// `accepted`.
fn old_file(home: &Home, posthog: &LocalPostHog, transcript: &Path, options: &str, accepted: &[String]) -> PathBuf {
    let path = record(home);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    let db = Connection::open(&path).unwrap();
    db.execute_batch(include_str!("../../../fixtures/state/first.sql")).unwrap();
    db.pragma_update(None, "user_version", 1).unwrap();
    let key = EventId::other("project-key", KEY).to_string();
    db.execute("INSERT INTO destination (origin, key_hash) VALUES (?1, ?2)", params![posthog.origin(), key]).unwrap();
    let id = transcript.file_stem().unwrap().to_str().unwrap();
    db.execute(
        "INSERT INTO session (destination, transcript, session_id, options, seen_at, owed_at) VALUES (1, ?1, ?2, ?3, 1000, 1000)",
        params![transcript.as_os_str().as_bytes(), id, options],
    )
    .unwrap();
    for event in accepted {
        let hex: String = event.chars().filter(|c| *c != '-').collect();
        let bytes: Vec<u8> = (0..16).map(|i| u8::from_str_radix(&hex[2 * i..2 * i + 2], 16).unwrap()).collect();
        db.execute("INSERT INTO accepted VALUES (1, ?1, 1, 0)", params![bytes]).unwrap();
    }
    path
}

#[test]
fn what_an_older_version_owes_is_sent_and_what_it_sent_is_not_sent_again() {
    let (home, posthog) = (Home::new(), posthog());
    let transcript = session(&home, "aaaa", &Transcript::new().turns(3));
    let events = home.convert(&transcript).run().exits_with(0).events();
    let sent: Vec<String> = vec![events[0]["uuid"].as_str().unwrap().to_owned()];
    let path = old_file(&home, &posthog, &transcript, "", &sent);
    let before = home.status(&posthog);
    assert_eq!((&before["coverage"]["owed"], posthog.events().len()), (&1.into(), 0), "{before:#}");

    // The first hook of the new version: its own session, and what is owed.
    let other = session(&home, "bbbb", &Transcript::new().turns(1));
    home.hook(&posthog, "SessionEnd", &other).run().exits_with(0);
    until_nothing_is_owed(&home, &posthog);
    let arrived = arrivals(&posthog);
    assert!(arrived.values().all(|times| *times == 1) && !arrived.contains_key(&sent[0]), "{arrived:?}");
    let expected = expected(&home, &transcript);
    let missing: Vec<_> = expected.keys().filter(|uuid| !arrived.contains_key(*uuid)).collect();
    assert_eq!(missing, [&sent[0]], "all but what the older version had sent");
    // The trace covers that, too.
    let trace =
        |event: &&Value| event["event"] == "$ai_trace" && expected.contains_key(event["uuid"].as_str().unwrap());
    let all = posthog.events();
    assert_eq!(all.iter().find(trace).unwrap()["properties"]["claude_code_generations"], 3);

    // The file has the new format, which an older program does not go on with: it would not see what was taken since.
    let db = Connection::open(path).unwrap();
    let version: i64 = db.query_row("PRAGMA user_version", [], |row| row.get(0)).unwrap();
    let owed: i64 =
        db.query_row("SELECT count(*) FROM session WHERE owed_at IS NOT NULL", [], |row| row.get(0)).unwrap();
    assert_eq!((version, owed), (2, 0));
}

#[test]
fn settings_that_an_older_version_wrote_down_in_its_own_words_count_as_private() {
    let (home, posthog) = (Home::new(), posthog());
    let transcript = session(&home, "aaaa", &Transcript::new().turn("a clandestine plan", "a clandestine answer"));
    old_file(&home, &posthog, &transcript, OPTIONS, &[]);
    home.ready("flush", &posthog).run().exits_with(0);
    let events = posthog.events();
    assert_eq!(events.iter().filter(|event| event["event"] == "$ai_trace").count(), 1);
    assert!(!format!("{events:?}").contains("clandestine"), "{events:#?}");
}
