//! A host or a key that changes, and changes back: what each destination gets.

use super::*;
use posthog_llma_tests::transcript::now;
use std::fs::OpenOptions;
use std::io::Write as _;

/// A key other than the tests' own.
const OTHER_KEY: &str = "phc_another000000000000000000000000000";

/// A session that continues while its settings change.
struct Session {
    home: Home,
    transcript: PathBuf,
    turns: usize,
}

impl Session {
    fn new() -> Self {
        let home = Home::new();
        let transcript = home.write(".claude/projects/-work/aaaa.jsonl", "");
        Self { home, transcript, turns: 0 }
    }

    /// Adds a turn now; a hook follows it.
    fn turn(&mut self) {
        self.turns += 1;
        let turn = Transcript::beginning_at(now()).turn(&format!("prompt {}", self.turns), "answer");
        let mut file = OpenOptions::new().append(true).open(&self.transcript).unwrap();
        file.write_all(turn.text().as_bytes()).unwrap();
    }

    fn hook(&self, event: &str, posthog: &LocalPostHog, key: &str) {
        self.home.hook(posthog, event, &self.transcript).env("POSTHOG_API_KEY", key).run().exits_with(0);
        self.home.until_quiet();
    }

    fn flush(&self, posthog: &LocalPostHog, key: &str) {
        self.home.ready("flush", posthog).env("POSTHOG_API_KEY", key).run();
    }
}

/// The prompts that a server has answers to, sorted; none may have arrived twice.
#[track_caller]
fn prompts(events: &[Value]) -> Vec<String> {
    let of = |event: &Value| event["properties"]["$ai_user_prompt"].as_str().map(str::to_owned);
    let mut prompts: Vec<_> = events.iter().filter(|e| e["event"] == "$ai_generation").filter_map(of).collect();
    prompts.sort();
    let count = prompts.len();
    prompts.dedup();
    assert_eq!(prompts.len(), count, "one arrived twice: {prompts:?}");
    prompts
}

const KEY: &str = posthog_llma_tests::program::KEY;

#[test]
fn a_switch_back_does_not_send_the_middle_to_the_old_host() {
    let (mut session, one, other) = (Session::new(), posthog(), posthog());
    for posthog in [&one, &other, &one, &other] {
        session.hook("SessionStart", posthog, KEY);
        session.turn();
        session.hook("SessionEnd", posthog, KEY);
        until_nothing_is_owed(&session.home, posthog);
    }
    assert_eq!(prompts(&one.events()), ["prompt 1", "prompt 3"]);
    assert_eq!(prompts(&other.events()), ["prompt 2", "prompt 4"]);
    traces_add_up(&one.events());
    traces_add_up(&other.events());
}

#[test]
fn a_switch_in_a_session_that_nobody_leaves_is_the_same() {
    // The settings are read for each hook: no session need end for them to change.
    let (mut session, one, other) = (Session::new(), posthog(), posthog());
    for posthog in [&one, &other, &one] {
        session.turn();
        session.hook("SessionEnd", posthog, KEY);
        until_nothing_is_owed(&session.home, posthog);
    }
    assert_eq!(prompts(&one.events()), ["prompt 1", "prompt 3"]);
    assert_eq!(prompts(&other.events()), ["prompt 2"]);
}

#[test]
fn another_key_is_another_destination() {
    let (mut session, posthog) = (Session::new(), posthog());
    let mut sent = Vec::new();
    for key in [KEY, OTHER_KEY, KEY] {
        let before = posthog.events().len();
        session.turn();
        session.hook("SessionEnd", &posthog, key);
        until("it arrives", || posthog.events().len() > before);
        session.home.until_quiet();
        sent.push(prompts(&posthog.events()[before..]));
    }
    assert_eq!(sent, [["prompt 1"], ["prompt 2"], ["prompt 3"]]);
}

#[test]
fn what_was_owed_before_a_switch_goes_to_the_old_one_when_it_can_and_nothing_of_what_came_after() {
    let (mut session, one, other) = owed_to_one_and_sent_to_another();
    assert!(prompts(&one.posthog.events()).is_empty());
    let said = session.home.ready("status", &other).run();
    assert!(said.stdout.contains(&one.posthog.origin()), "{}", said.stdout);

    one.up();
    session.home.ready("flush", &one.posthog).arg("--now").run().exits_with(0);
    assert_eq!(prompts(&one.posthog.events()), ["prompt 1"]);
    assert_eq!(prompts(&other.events()), ["prompt 2"]);
    session.flush(&one.posthog, KEY);
    session.turn();
    session.hook("SessionEnd", &one.posthog, KEY);
    until_nothing_is_owed(&session.home, &one.posthog);
    assert_eq!(prompts(&one.posthog.events()), ["prompt 1", "prompt 3"]);
    assert_eq!(prompts(&other.events()), ["prompt 2"]);
}

#[test]
fn a_switch_back_while_something_is_owed_loses_nothing_and_sends_no_middle() {
    let (mut session, one, other) = owed_to_one_and_sent_to_another();
    session.turn();
    session.hook("SessionEnd", &one.posthog, KEY);
    one.up();
    session.home.ready("flush", &one.posthog).arg("--now").run().exits_with(0);
    assert_eq!(prompts(&one.posthog.events()), ["prompt 1", "prompt 3"]);
    assert_eq!(prompts(&other.events()), ["prompt 2"]);
    traces_add_up(&one.posthog.events());
}

#[test]
fn what_is_owed_to_a_destination_that_is_no_more_can_be_redirected() {
    let (session, one, other) = owed_to_one_and_sent_to_another();
    session.home.ready("flush", &other).run().prints(&["1 session waiting for another host or token", "--redirect"]);
    session.home.ready("flush", &other).arg("--redirect").run().exits_with(0);
    assert_eq!(prompts(&other.events()), ["prompt 1", "prompt 2"]);
    traces_add_up(&other.events());
    let coverage = session.home.status(&other)["coverage"].clone();
    assert_eq!((&coverage["owed"], &coverage["owed_elsewhere"]), (&0.into(), &0.into()), "{coverage}");
    // Neither has anything more to get.
    one.up();
    session.home.ready("flush", &one.posthog).arg("--now").run().exits_with(0);
    assert!(one.posthog.events().is_empty());
    session.home.ready("flush", &other).arg("--redirect").run().exits_with(0);
    assert_eq!(prompts(&other.events()).len(), 2);
}

/// A session whose first turn is owed to a server that is down, and whose second turn another server has.
fn owed_to_one_and_sent_to_another() -> (Session, Switchable, LocalPostHog) {
    let (mut session, one, other) = (Session::new(), Switchable::new(), posthog());
    session.turn();
    session.hook("SessionEnd", &one.posthog, KEY);
    session.turn();
    session.hook("SessionEnd", &other, KEY);
    until_nothing_is_owed(&session.home, &other);
    (session, one, other)
}

/// A server that is down until it is switched on.
struct Switchable {
    posthog: LocalPostHog,
    is_up: std::sync::Arc<std::sync::atomic::AtomicBool>,
}

impl Switchable {
    fn new() -> Self {
        let is_up = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
        let seen = std::sync::Arc::clone(&is_up);
        let reject = move |_: &Value| {
            let down = !seen.load(std::sync::atomic::Ordering::Relaxed);
            down.then(|| (401, "not now".to_owned()))
        };
        let config = Config { reject_event: Some(std::sync::Arc::new(reject)), ..Config::default() };
        Self { posthog: LocalPostHog::start(config).unwrap(), is_up }
    }

    fn up(&self) {
        self.is_up.store(true, std::sync::atomic::Ordering::Relaxed);
    }
}
