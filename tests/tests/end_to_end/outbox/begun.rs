//! What a delivery covers is recorded before it begins, and what is unfinished is held back.

use super::*;
use posthog_llma_tests::transcript::now;
use serde_json::json;
use std::fs;
use std::io::Write as _;
use std::time::Duration;

/// Appends a session's lines, except for those it started with.
fn grow(transcript: &Path, lines: &str, from: usize) {
    let rest: String = lines.split_inclusive('\n').skip(from).collect();
    append(transcript, &rest);
}

fn append(transcript: &Path, lines: &str) {
    File::options().append(true).open(transcript).unwrap().write_all(lines.as_bytes()).unwrap();
}

fn beginning(lines: &str, count: usize) -> String {
    lines.split_inclusive('\n').take(count).collect()
}

fn traces(posthog: &LocalPostHog) -> usize {
    let traces = posthog.events().into_iter().filter(|event| event["event"] == "$ai_trace");
    traces.map(|event| event["uuid"].to_string()).collect::<std::collections::BTreeSet<_>>().len()
}

#[test]
fn a_delivery_whose_last_answer_was_lost_is_repeated_as_it_was_though_the_session_has_grown() {
    // The server took the last batch, with the trace in it; nobody was told.
    for script in [
        vec![Answer::Normal, Answer::Normal, Answer::CloseHalfWay],
        vec![Answer::Normal, Answer::CloseHalfWay],
        vec![Answer::CloseHalfWay],
    ] {
        let home = Home::new();
        let posthog = LocalPostHog::start(Config { script, ..Config::default() }).unwrap();
        let lines = Transcript::new().turns(280).text();
        let transcript = home.write(".claude/projects/-work/aaaa.jsonl", beginning(&lines, 500));
        owe(&home, &posthog, &transcript);
        home.ready("flush", &posthog).args(["--retries", "0"]).run().exits_with(1);
        grow(&transcript, &lines, 500);
        home.ready("flush", &posthog).arg("--now").run().exits_with(0);
        same_bytes_under_the_same_id(&posthog);
        assert_eq!(traces(&posthog), 2, "one for what was begun, one for the rest");
        assert_eq!(arrivals(&posthog).len(), 280 + 2);
        traces_add_up_once(&posthog.events());
        // All of it is delivered now.
        let before = posthog.requests().len();
        home.ready("ingest", &posthog).arg("aaaa").run().exits_with(0).prints(&["1 delivered before"]);
        assert_eq!(posthog.requests().len(), before);
    }
}

#[test]
fn killed_between_batches_a_session_that_grows_meanwhile_adds_up() {
    for moment in [150, 300, 450] {
        let home = Home::new();
        let script = vec![Answer::Trickle { every: Duration::from_millis(2) }; 3];
        let posthog = LocalPostHog::start(Config { script, ..Config::default() }).unwrap();
        let lines = Transcript::new().turns(260).text();
        let transcript = home.write(".claude/projects/-work/aaaa.jsonl", beginning(&lines, 500));
        owe(&home, &posthog, &transcript);
        let delivery = home.ready("flush", &posthog).start();
        std::thread::sleep(Duration::from_millis(moment));
        delivery.kill();
        grow(&transcript, &lines, 500);
        home.ready("flush", &posthog).run().exits_with(0);
        same_bytes_under_the_same_id(&posthog);
        assert_eq!(arrivals(&posthog).len() - traces(&posthog), 260);
        traces_add_up_once(&posthog.events());
    }
}

#[test]
fn ingest_and_send_bring_to_its_end_what_was_begun() {
    for command in ["ingest", "send"] {
        let home = Home::new();
        let script = vec![Answer::Normal, Answer::CloseHalfWay];
        let posthog = LocalPostHog::start(Config { script, ..Config::default() }).unwrap();
        let lines = Transcript::new().turns(160).text();
        let transcript = home.write(".claude/projects/-work/aaaa.jsonl", beginning(&lines, 300));
        home.ready("ingest", &posthog).args(["aaaa", "--retries", "0"]).run().exits_with(1);
        grow(&transcript, &lines, 300);
        home.ready(command, &posthog).arg("aaaa").run().exits_with(0);
        same_bytes_under_the_same_id(&posthog);
        assert_eq!((arrivals(&posthog).len(), traces(&posthog)), (160 + 2, 2), "{command}");
        traces_add_up_once(&posthog.events());
    }
}

/// A line of a response, written this long ago, and unfinished if it has no stop reason.
fn open_line(id: &str, uuid: &str, ago: i64, tokens: u64, stop: Option<&str>) -> String {
    let time = posthog_llma_pipeline::time::format(now() - ago);
    let block = json!({"type": "text", "text": format!("answer {uuid}")});
    let line = json!({"type": "assistant", "uuid": uuid, "timestamp": time, "cwd": "/home/dev/shop", "version": "2.1.330",
        "message": {"id": id, "role": "assistant", "model": "claude-opus-5-5", "stop_reason": stop, "content": [block],
            "usage": {"input_tokens": 3, "output_tokens": tokens}}});
    line.to_string() + "\n"
}

const OPEN: &str = "msg_01AbCdEfGhIjKlMnOpQrStUv";

#[test]
fn an_open_response_is_held_back_and_sent_once_with_its_final_count() {
    let (home, posthog) = (Home::new(), posthog());
    let lines = Transcript::new().turns(2).text();
    let transcript = home.write(".claude/projects/-work/aaaa.jsonl", lines + &open_line(OPEN, "o1", 1000, 1, None));
    owe(&home, &posthog, &transcript);
    home.ready("flush", &posthog).run().exits_with(1).prints(&["1 still waiting"]);
    assert_eq!(posthog.events().len(), 3, "two generations and a trace");
    assert_eq!(home.status(&posthog)["coverage"]["owed"], 1);
    // Nothing came: nothing is sent, and it stays owed.
    home.ready("flush", &posthog).run().exits_with(1);
    assert_eq!(posthog.events().len(), 3);
    append(&transcript, &open_line(OPEN, "o2", 500, 77, Some("end_turn")));
    home.ready("flush", &posthog).run().exits_with(0);
    let events = posthog.events();
    assert_eq!(events.len(), 5);
    let last = events.iter().rfind(|event| event["event"] == "$ai_generation").unwrap();
    assert_eq!(last["properties"]["$ai_output_tokens"], 77);
    assert_eq!(last["properties"].get("claude_code_output_tokens_partial"), None);
    assert!(arrivals(&posthog).values().all(|times| *times == 1));
    traces_add_up(&events);
}

#[test]
fn after_ten_minutes_an_open_response_is_sent_as_it_is_and_never_again() {
    let (home, posthog) = (Home::new(), posthog());
    let lines = Transcript::new().turns(1).text();
    let transcript = home.write(".claude/projects/-work/aaaa.jsonl", lines + &open_line(OPEN, "o1", 601_000, 1, None));
    owe(&home, &posthog, &transcript);
    home.ready("flush", &posthog).run().exits_with(0);
    let partial = |events: &[Value]| sum(events, "$ai_trace", "claude_code_partial_generations");
    assert_eq!((posthog.events().len(), partial(&posthog.events())), (3, 1));
    append(&transcript, &open_line(OPEN, "o2", 500, 77, Some("end_turn")));
    home.ready("flush", &posthog).run().exits_with(0);
    assert_eq!(posthog.events().len(), 3, "no second generation");
}

#[test]
fn where_nothing_outlives_the_job_nothing_is_held() {
    let (home, posthog) = (Home::new(), posthog());
    let transcript = home.write(".claude/projects/-work/aaaa.jsonl", open_line(OPEN, "o1", 1000, 1, None));
    owe(&home, &posthog, &transcript);
    home.ready("flush", &posthog).arg("--wait=20").run().exits_with(0);
    assert_eq!(posthog.events().len(), 2);
}

#[test]
fn ingest_says_what_is_open_and_sends_it_the_next_time() {
    let (home, posthog) = (Home::new(), posthog());
    let lines = Transcript::new().turns(1).text();
    let transcript = home.write(".claude/projects/-work/aaaa.jsonl", lines + &open_line(OPEN, "o1", 1000, 1, None));
    let ingest = || home.ready("ingest", &posthog).arg("aaaa").run().exits_with(0);
    ingest().says(&["1 event still in progress"]);
    assert_eq!(posthog.events().len(), 2);
    fs::write(&transcript, fs::read_to_string(&transcript).unwrap() + &open_line(OPEN, "o2", 10, 9, Some("end_turn")))
        .unwrap();
    ingest();
    assert_eq!(posthog.events().len(), 4);
    ingest().prints(&["1 delivered before"]);
}

#[test]
fn a_session_with_several_folders_is_delivered_as_one_whichever_hook_says_so() {
    let (home, posthog) = (Home::new(), posthog());
    let lines = Transcript::new().turns(4).text();
    let first = home.write(".claude/projects/-work/aaaa.jsonl", beginning(&lines, 4));
    home.hook(&posthog, "SessionEnd", &first).run().exits_with(0);
    until_nothing_is_owed(&home, &posthog);
    let rest: String = lines.split_inclusive('\n').skip(4).collect();
    let second = home.write(".claude/projects/-games/aaaa.jsonl", rest);
    home.hook(&posthog, "SessionEnd", &second).run().exits_with(0);
    until_nothing_is_owed(&home, &posthog);
    assert_eq!(posthog.events().len(), 4 + 2);
    assert!(arrivals(&posthog).values().all(|times| *times == 1));
    traces_add_up(&posthog.events());
    assert_eq!(home.status(&posthog)["coverage"]["delivered"], 1, "one session");
    for named in [first.as_path(), second.as_path(), Path::new("aaaa")] {
        assert_eq!(home.convert(named).run().exits_with(0).events().len(), 5, "{}", named.display());
    }
}

#[test]
fn the_strictest_of_a_session_s_projects_counts() {
    let (home, posthog) = (Home::new(), posthog());
    let lines = Transcript::new().turn("the secret plan", "the secret answer").text();
    let games = home.path().join("games");
    home.write("games/.claude/settings.json", json!({"env": {"POSTHOG_LLMA_PRIVACY_MODE": "true"}}).to_string());
    home.write(".claude/projects/-work/aaaa.jsonl", lines);
    home.write(".claude/projects/-games/aaaa.jsonl", json!({"type": "mode", "cwd": games}).to_string() + "\n");
    home.ready("ingest", &posthog).arg("--all").run().exits_with(0);
    assert_eq!(posthog.events().len(), 2);
    assert!(!serde_json::to_string(&posthog.events()).unwrap().contains("secret"));
}

#[test]
fn of_a_session_that_ran_while_sending_was_off_only_what_comes_after_is_sent() {
    let (home, posthog) = (Home::new(), posthog());
    let before = Transcript::new().turns(3).text();
    let after = Transcript::of_days_ago(-1).turns(2).text();
    let transcript = home.write(".claude/projects/-work/aaaa.jsonl", &before);
    let an_hour_ago = std::time::SystemTime::now() - Duration::from_hours(1);
    File::options().append(true).open(&transcript).unwrap().set_modified(an_hour_ago).unwrap();
    home.hook(&posthog, "SessionStart", &transcript).run().exits_with(0);
    home.until_quiet();
    fs::write(&transcript, before + &after).unwrap();
    home.hook(&posthog, "SessionEnd", &transcript).run().exits_with(0);
    until_nothing_is_owed(&home, &posthog);
    assert_eq!(posthog.events().len(), 3, "two generations and a trace over them");
    traces_add_up(&posthog.events());
    let status = home.ready("status", &posthog).run();
    assert!(status.stdout.contains("`posthog-llma ingest SESSION` sends the rest"), "{}", status.stdout);
    home.ready("ingest", &posthog).arg("aaaa").run().exits_with(0);
    assert_eq!(posthog.events().len(), 7);
    assert!(arrivals(&posthog).values().all(|times| *times == 1));
    traces_add_up(&posthog.events());
    home.ready("ingest", &posthog).arg("aaaa").run().exits_with(0).prints(&["1 delivered before"]);
}

#[test]
fn a_new_destination_gets_what_comes_from_then_on() {
    let (home, one, other) = (Home::new(), posthog(), posthog());
    let parts = [0, -1, -2].map(|days| Transcript::of_days_ago(days).turns(1).text());
    let transcript = home.write(".claude/projects/-work/aaaa.jsonl", &parts[0]);
    home.hook(&one, "SessionEnd", &transcript).run().exits_with(0);
    until_nothing_is_owed(&home, &one);
    fs::write(&transcript, parts[..2].concat()).unwrap();
    home.hook(&other, "SessionEnd", &transcript).run().exits_with(0);
    until_nothing_is_owed(&home, &other);
    assert_eq!((one.events().len(), other.events().len()), (2, 2), "what came from then on");
}
