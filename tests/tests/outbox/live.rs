//! Delivery during a session, and after its end.

use super::*;
use std::fs::{self, File, FileTimes};
use std::time::{Duration, SystemTime};

fn turns(lines: &str, count: usize) -> String {
    lines.split_inclusive('\n').take(2 * count).collect()
}

/// A Stop so long ago, of a session that was not written to since.
fn stopped(home: &Home, posthog: &LocalPostHog, transcript: &Path, ago: Duration) {
    let at = SystemTime::now() - ago;
    File::options().append(true).open(transcript).unwrap().set_times(FileTimes::new().set_modified(at)).unwrap();
    let at = at.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_millis();
    let id = transcript.file_stem().unwrap().to_str().unwrap();
    let worker = home.ready("worker", posthog).args(["--event=Stop", &format!("--session={id}"), "--transcript"]);
    worker.arg(transcript).arg(format!("--at={at}")).run().exits_with(0);
}

#[test]
fn a_turn_is_owed_while_its_session_runs_and_is_delivered_when_it_is_quiet() {
    let (home, posthog) = (Home::new(), posthog());
    let lines = Transcript::new().turns(3).text();
    let transcript = home.write(".claude/projects/-work/aaaa.jsonl", turns(&lines, 1));
    stopped(&home, &posthog, &transcript, Duration::from_secs(130));
    assert_eq!(posthog.events().len(), 2, "a generation and its trace");
    let coverage = home.status(&posthog)["coverage"].clone();
    assert_eq!((&coverage["running"], &coverage["owed"]), (&1.into(), &0.into()), "{coverage}");

    fs::write(&transcript, turns(&lines, 2)).unwrap();
    stopped(&home, &posthog, &transcript, Duration::from_secs(125));
    fs::write(&transcript, &lines).unwrap();
    home.hook(&posthog, "SessionEnd", &transcript).run().exits_with(0);
    until_nothing_is_owed(&home, &posthog);
    let events = posthog.events();
    assert_eq!(events.len(), 6, "each generation once, one trace for each of three deliveries");
    assert!(arrivals(&posthog).values().all(|times| *times == 1));
    traces_add_up(&events);
}

#[test]
fn flush_does_not_wait_for_quiet() {
    let (home, posthog) = (Home::new(), posthog());
    let transcript = session(&home, "aaaa", &Transcript::new().turns(2));
    home.hook(&posthog, "SessionStart", &transcript).run().exits_with(0);
    home.until_quiet();
    let lock = home.write(".local/state/posthog-llma/watch-1.lock", "");
    let lock = File::open(lock).unwrap();
    lock.lock().unwrap();
    home.hook(&posthog, "Stop", &transcript).run().exits_with(0);
    home.until_quiet();
    assert!(posthog.requests().is_empty());
    assert_eq!(home.status(&posthog)["coverage"]["owed"], 1);
    home.ready("flush", &posthog).run().exits_with(0);
    assert_eq!(posthog.events().len(), 3);
}

#[test]
fn flush_waits_for_a_session_that_no_hook_has_ended() {
    let (home, posthog) = (Home::new(), posthog());
    let transcript = session(&home, "aaaa", &Transcript::new().turns(2));
    let at = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_millis();
    let worker = home.ready("worker", &posthog).args(["--event=SessionStart", "--session=aaaa", "--transcript"]);
    worker.arg(&transcript).arg(format!("--at={at}")).run().exits_with(0);
    assert!(posthog.events().is_empty());
    home.ready("flush", &posthog).run().exits_with(0);
    assert!(posthog.events().is_empty(), "it may run");
    home.ready("flush", &posthog).arg("--wait=20").run().exits_with(0);
    assert_eq!(posthog.events().len(), 3);
}

#[test]
fn without_live_delivery_a_turn_is_not_owed() {
    let (home, posthog) = (Home::new(), posthog());
    let transcript = session(&home, "aaaa", &Transcript::new().turns(1));
    home.hook(&posthog, "Stop", &transcript).env("POSTHOG_LLMA_CC_LIVE", "false").run().exits_with(0);
    home.until_quiet();
    let coverage = home.status(&posthog)["coverage"].clone();
    assert_eq!((&coverage["running"], &coverage["owed"]), (&1.into(), &0.into()), "{coverage}");
    assert!(posthog.requests().is_empty());
}

#[test]
fn what_is_written_after_the_end_is_delivered_at_the_next_chance() {
    let (home, posthog) = (Home::new(), posthog());
    let lines = Transcript::new().turns(3).text();
    let transcript = home.write(".claude/projects/-work/aaaa.jsonl", turns(&lines, 2));
    home.hook(&posthog, "SessionEnd", &transcript).run().exits_with(0);
    until_nothing_is_owed(&home, &posthog);
    fs::write(&transcript, &lines).unwrap();
    home.ready("flush", &posthog).run().exits_with(0);
    assert_eq!(posthog.events().len(), 5);
    assert!(arrivals(&posthog).values().all(|times| *times == 1));
    traces_add_up(&posthog.events());
}

#[test]
fn a_session_that_only_a_command_has_sent_is_not_looked_at_again() {
    let (home, posthog) = (Home::new(), posthog());
    let lines = Transcript::new().turns(2).text();
    let transcript = home.write(".claude/projects/-work/aaaa.jsonl", turns(&lines, 1));
    home.send(&posthog, &transcript).run().exits_with(0);
    fs::write(&transcript, &lines).unwrap();
    home.ready("flush", &posthog).run().exits_with(0);
    assert_eq!(posthog.events().len(), 2);
}
