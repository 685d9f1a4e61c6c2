//! Delivery that survives the hook: the real program, called as Claude Code calls it, killed, and called again.

#![cfg(target_os = "linux")]
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use posthog_llma_local_posthog::{Answer, Config, LocalPostHog};
use posthog_llma_tests::program::{Home, until};
use posthog_llma_tests::transcript::Transcript;
use serde_json::Value;
use serde_json::value::RawValue;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

mod begun;
mod crashes;
mod destinations;
mod doctor;
mod files;
mod hook;
mod live;
mod log;
mod parent;
mod servers;
mod sessions;
mod status;
mod sums;
mod upgrade;

/// A server that only applies the rules.
fn posthog() -> LocalPostHog {
    LocalPostHog::start(Config::default()).unwrap()
}

/// The path of a home's delivery record.
fn record(home: &Home) -> PathBuf {
    home.path().join(".local/state/posthog-llma/outbox.sqlite")
}

/// Writes a session of this home, with its transcript at Claude Code's path.
fn session(home: &Home, id: &str, transcript: &Transcript) -> PathBuf {
    home.write(format!(".claude/projects/-work/{id}.jsonl"), transcript.text())
}

/// Waits until the processes that hooks left behind are done; nothing may be waiting to be sent.
#[track_caller]
fn until_nothing_is_owed(home: &Home, posthog: &LocalPostHog) {
    home.until_quiet();
    let status = home.status(posthog);
    assert_eq!(status["coverage"]["owed"], 0, "{status:#}");
}

/// Makes a session wait to be sent, without an attempt to deliver it: another process holds the delivery lock
/// meanwhile.
fn owe(home: &Home, posthog: &LocalPostHog, transcript: &Path) {
    let lock = home.write(".local/state/posthog-llma/delivery-1.lock", "");
    let lock = File::open(lock).unwrap();
    lock.lock().unwrap();
    home.hook(posthog, "SessionEnd", transcript).run().exits_with(0);
    home.until_quiet();
    assert_eq!(home.status(posthog)["coverage"]["owed"], 1);
}

/// `timeout` stands in for the client: a process that is not a shell, and that ends some time after the hook.
const CLIENT_THAT_DIES: [&str; 5] = ["timeout", "60", "sh", "-c", "\"$0\" \"$@\"; sleep 1"];

/// The number of times each event arrived.
fn arrivals(posthog: &LocalPostHog) -> BTreeMap<String, usize> {
    let mut arrivals = BTreeMap::new();
    for event in posthog.events() {
        *arrivals.entry(event["uuid"].as_str().unwrap().to_owned()).or_default() += 1;
    }
    arrivals
}

/// The session's events by `uuid`, according to `convert`.
fn expected(home: &Home, transcript: &Path) -> BTreeMap<String, Value> {
    let events = home.convert(transcript).run().exits_with(0).events();
    events.into_iter().map(|event| (event["uuid"].as_str().unwrap().to_owned(), event)).collect()
}

/// The sum of a property over the events with this name.
fn sum(events: &[Value], name: &str, property: &str) -> u64 {
    let named = events.iter().filter(|event| event["event"] == name);
    named.filter_map(|event| event["properties"][property].as_u64()).sum()
}

/// Each event's bytes as sent, by `uuid`, from all requests.
fn bytes_sent(posthog: &LocalPostHog) -> BTreeMap<String, Vec<String>> {
    let mut sent: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for request in posthog.requests() {
        let mut text = String::new();
        flate2::read::GzDecoder::new(&request.body[..]).read_to_string(&mut text).unwrap();
        let body: BTreeMap<String, Box<RawValue>> = serde_json::from_str(&text).unwrap();
        for event in serde_json::from_str::<Vec<Box<RawValue>>>(body["batch"].get()).unwrap() {
            let uuid: Value = serde_json::from_str(event.get()).unwrap();
            let uuid = uuid["uuid"].as_str().unwrap().to_owned();
            sent.entry(uuid).or_default().push(event.get().to_owned());
        }
    }
    sent
}

/// Asserts that the same `uuid` always has the same bytes.
#[track_caller]
fn same_bytes_under_the_same_id(posthog: &LocalPostHog) {
    for (uuid, texts) in bytes_sent(posthog) {
        for text in &texts {
            assert_eq!(*text, texts[0], "{uuid}");
        }
    }
}

/// Asserts that the traces add up, ignoring duplicate events.
#[track_caller]
fn traces_add_up_once(events: &[Value]) {
    let once: BTreeMap<_, _> = events.iter().map(|event| (event["uuid"].to_string(), event.clone())).collect();
    traces_add_up(&once.into_values().collect::<Vec<_>>());
}

/// Asserts that the totals of `$ai_trace` equal the sums over the events that the traces cover.
#[track_caller]
fn traces_add_up(events: &[Value]) {
    for (total, part) in [
        ("$ai_total_input_tokens", "$ai_input_tokens"),
        ("$ai_total_output_tokens", "$ai_output_tokens"),
        ("$ai_total_cache_read_input_tokens", "$ai_cache_read_input_tokens"),
    ] {
        assert_eq!(sum(events, "$ai_trace", total), sum(events, "$ai_generation", part), "{total}");
    }
    let generations = events.iter().filter(|event| event["event"] == "$ai_generation").count();
    assert_eq!(sum(events, "$ai_trace", "claude_code_generations"), generations as u64);
}
