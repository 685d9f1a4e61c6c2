//! If the program is killed at any moment, nothing is lost and little is repeated.

use super::*;
use posthog_llma_local_posthog::EventResult;
use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Pseudo-random moments, the same in every run.
struct Moments(u64);

impl Moments {
    fn next(&mut self, below: Duration) -> Duration {
        // Numerical Recipes' generator: good enough to be all over the place.
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        below.mul_f64((self.0 >> 33) as f64 / f64::from(1_u32 << 31))
    }
}

/// Kills a delivery after this time and lets another one finish it. Returns the number of events that had arrived before.
fn killed_and_finished(home: &Home, posthog: &LocalPostHog, after: Duration) -> usize {
    let delivery = home.ready("flush", posthog).start();
    std::thread::sleep(after);
    delivery.kill();
    let before = posthog.events().len();
    home.ready("flush", posthog).run().exits_with(0);
    before
}

#[test]
fn killed_at_fifty_moments_of_a_delivery_every_event_arrives_and_none_more_than_twice() {
    let mut moments = Moments(7);
    let mut killed_in_the_middle = 0;
    for _ in 0..50 {
        let home = Home::new();
        // Each answer takes some time, so that many of the moments are within a request.
        let script = vec![Answer::Trickle { every: Duration::from_millis(1) }; 3];
        let posthog = LocalPostHog::start(Config { script, ..Config::default() }).unwrap();
        let transcript = session(&home, "aaaa", &Transcript::new().turns(250));
        let expected = expected(&home, &transcript);
        owe(&home, &posthog, &transcript);
        let before = killed_and_finished(&home, &posthog, moments.next(Duration::from_millis(600)));
        killed_in_the_middle += usize::from(before > 0 && before < expected.len());

        let events = posthog.events();
        let arrivals = arrivals(&posthog);
        assert_eq!(
            arrivals.keys().collect::<Vec<_>>(),
            expected.keys().collect::<Vec<_>>(),
            "none is lost, none is new"
        );
        assert!(arrivals.values().all(|times| *times <= 2));
        traces_add_up_once(&events);
        let twice = arrivals.values().filter(|times| **times == 2).count();
        assert!(twice <= 100, "at most one batch: {twice}");
        same_bytes_under_the_same_id(&posthog);
        for event in &events {
            let expected = &expected[event["uuid"].as_str().unwrap()];
            assert_eq!(event, expected, "a double is the same in all");
        }
    }
    assert!(killed_in_the_middle >= 5, "only {killed_in_the_middle} of 50 moments were in the middle of a delivery");
}

/// An event's result, by its ID: a quarter of all events get one other than `ok`.
fn verdict(uuid: &str, times: u32) -> (&'static str, &'static str) {
    let id: u32 = uuid.bytes().map(u32::from).sum();
    match id % 16 {
        0 => ("drop", "event_restriction_drop"),
        1 if times == 1 => ("retry", "not_persisted"),
        2 if times == 1 => ("retry", ""),
        3 => ("warning", "person_processing_disabled"),
        _ => ("ok", ""),
    }
}

fn is_dropped(uuid: &str) -> bool {
    verdict(uuid, 1) == ("drop", "event_restriction_drop")
}

#[test]
fn killed_among_partial_verdicts_every_event_arrives_or_is_put_aside() {
    killed_among_partial_verdicts(10);
}

#[test]
#[ignore = "takes four minutes: run it with --ignored"]
fn killed_at_fifty_moments_among_partial_verdicts_every_event_arrives_or_is_put_aside() {
    killed_among_partial_verdicts(50);
}

fn killed_among_partial_verdicts(count: usize) {
    let mut moments = Moments(11);
    let mut killed_in_the_middle = 0;
    for _ in 0..count {
        let home = Home::new();
        let seen: Mutex<HashMap<String, u32>> = Mutex::default();
        let judge = move |event: &Value| {
            let uuid = event["uuid"].as_str().unwrap();
            let mut seen = seen.lock().unwrap();
            let times = seen.entry(uuid.to_owned()).or_default();
            *times += 1;
            let (result, details) = verdict(uuid, *times);
            Some(EventResult::new(result, details))
        };
        let script = vec![Answer::Trickle { every: Duration::from_millis(1) }; 6];
        let posthog =
            LocalPostHog::start(Config { script, judge_event: Some(Arc::new(judge)), ..Config::default() }).unwrap();
        let transcript = session(&home, "aaaa", &Transcript::new().turns(250));
        let expected = expected(&home, &transcript);
        owe(&home, &posthog, &transcript);
        let before = killed_and_finished(&home, &posthog, moments.next(Duration::from_millis(1800)));
        killed_in_the_middle += usize::from(before > 0 && before < expected.len());

        let (dropped, wanted): (BTreeSet<&String>, BTreeSet<&String>) =
            expected.keys().partition(|uuid| is_dropped(uuid));
        let arrivals = arrivals(&posthog);
        assert_eq!(arrivals.keys().collect::<BTreeSet<_>>(), wanted, "none is lost, none is new");
        assert!(arrivals.values().all(|times| *times <= 2));
        let twice = arrivals.values().filter(|times| **times == 2).count();
        assert!(twice <= 100, "at most one batch: {twice}");
        let status = home.status(&posthog);
        assert_eq!(status["quarantined_events"], dropped.len(), "{status:#}");
        assert_eq!(status["coverage"]["owed"], 0);
        same_bytes_under_the_same_id(&posthog);
        // Nothing of it is ever sent again.
        let requests = posthog.requests().len();
        home.ready("flush", &posthog).run().exits_with(0);
        assert_eq!(posthog.requests().len(), requests);
    }
    assert!(
        killed_in_the_middle >= count / 10,
        "only {killed_in_the_middle} of {count} moments were in the middle of a delivery"
    );
}

#[test]
fn a_hook_that_is_killed_after_twenty_milliseconds_costs_nothing() {
    for _ in 0..5 {
        let (home, posthog) = (Home::new(), posthog());
        let transcript = session(&home, "aaaa", &Transcript::new().turns(2));
        home.hook(&posthog, "SessionStart", &transcript).under(&CLIENT_THAT_DIES).run().exits_with(0);
        let hook = home.hook(&posthog, "SessionEnd", &transcript).start();
        std::thread::sleep(Duration::from_millis(20));
        hook.kill();
        // The next chance.
        let next = home.path().join(".claude/projects/-work/next.jsonl");
        home.hook(&posthog, "SessionStart", &next).run().exits_with(0);
        until("the session arrives", || posthog.events().len() >= 3);
        until_nothing_is_owed(&home, &posthog);
        assert!(arrivals(&posthog).values().all(|times| *times == 1));
    }
}

#[test]
fn the_worker_outlives_the_process_group_and_the_session_of_the_hook() {
    let (home, posthog) = (Home::new(), posthog());
    let transcript = session(&home, "aaaa", &Transcript::new().turns(2));
    let input =
        serde_json::json!({"hook_event_name": "SessionEnd", "session_id": "aaaa", "transcript_path": transcript});
    // `setsid -w` begins a session; when its leader ends, everything in it that is left is killed.
    let script = format!("echo '{input}' | \"$0\" hook; kill -KILL -$$");
    let binary = posthog_llma_tests::program::binary();
    let shell = ["setsid", "-w", "sh", "-c", &script, binary.to_str().unwrap()];
    let mut command = std::process::Command::new(shell[0]);
    command.args(&shell[1..]).env_clear().env("HOME", home.path()).env("PATH", std::env::var_os("PATH").unwrap());
    command.env("POSTHOG_LLMA_CC_ENABLED", "true").env("POSTHOG_HOST", posthog.origin());
    command.env("POSTHOG_API_KEY", posthog_llma_tests::program::KEY);
    assert!(!command.status().unwrap().success(), "the group was killed");
    until("the session arrives", || posthog.events().len() == 3);
    until_nothing_is_owed(&home, &posthog);
}
