//! Delivery during a session and after it ends.

use super::*;
use posthog_llma::outbox::Live;
use serde_json::json;
use std::fs::{self, File, FileTimes};
use std::time::{Duration, SystemTime};

fn turns(lines: &str, count: usize) -> String {
    lines.split_inclusive('\n').take(2 * count).collect()
}

/// Reports a Stop this long ago, in a session that was not written to since.
pub(super) fn stopped(home: &Home, posthog: &LocalPostHog, transcript: &Path, ago: Duration) {
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

#[test]
fn a_running_session_is_ingested_only_when_it_is_named() {
    let (home, posthog) = (Home::new(), posthog());
    let running = session(&home, "aaaa", &Transcript::new().turns(1));
    session(&home, "bbbb", &Transcript::new().turns(2));
    // The test is its client.
    home.hook(&posthog, "SessionStart", &running).run().exits_with(0);
    home.until_quiet();
    let ingest = || home.ready("ingest", &posthog);
    ingest().arg("--all").run().exits_with(0).prints(&["1 session sent"]);
    assert_eq!(posthog.events().len(), 3);
    ingest().arg("aaaa").run().exits_with(0);
    assert_eq!(posthog.events().len(), 5);
    session(&home, "cccc", &Transcript::new().turns(1));
    ingest().arg("--all").env("CLAUDE_CODE_SESSION_ID", "cccc").run().exits_with(0).prints(&["0 sessions sent"]);
}

#[test]
fn beside_another_sender_hooks_send_nothing_until_the_user_does() {
    let (home, posthog) = (Home::new(), posthog());
    home.write(
        ".claude/plugins/installed_plugins.json",
        serde_json::json!({"plugins": {"posthog@posthog-llma": [{}], "posthog-telemetry@x": [{}]}}).to_string(),
    );
    let transcript = session(&home, "aaaa", &Transcript::new().turns(1));
    home.hook(&posthog, "SessionEnd", &transcript).run().exits_with(0);
    home.until_quiet();
    assert!(posthog.requests().is_empty());
    home.ready("status", &posthog).run().exits_with(1).prints(&["posthog-telemetry@x also sends these sessions"]);
    home.ready("flush", &posthog).run().exits_with(0);
    assert_eq!(posthog.events().len(), 2);
}

#[test]
fn what_a_server_has_is_found_out_once() {
    let home = Home::new();
    let config = Config { missing_events_path: Some(404), ..Config::default() };
    let posthog = LocalPostHog::start(config).unwrap();
    for (id, paths) in [("aaaa", &["/i/v1/ai/events", "/i/v0/ai/batch/"][..]), ("bbbb", &["/i/v0/ai/batch/"])] {
        let before = posthog.requests().len();
        let transcript = session(&home, id, &Transcript::new().turns(1));
        home.hook(&posthog, "SessionEnd", &transcript).run().exits_with(0);
        until_nothing_is_owed(&home, &posthog);
        let requests = posthog.requests();
        let asked: Vec<_> = requests[before..].iter().map(|request| request.path.as_str()).collect();
        assert_eq!(asked, paths);
    }
}

#[test]
fn what_is_owed_of_several_sessions_goes_over_one_connection() {
    let (home, posthog) = (Home::new(), posthog());
    for id in ["aaaa", "bbbb", "cccc"] {
        let transcript = session(&home, id, &Transcript::new().turns(150));
        let lock = home.write(".local/state/posthog-llma/delivery-1.lock", "");
        let lock = File::open(lock).unwrap();
        lock.lock().unwrap();
        home.hook(&posthog, "SessionEnd", &transcript).run().exits_with(0);
        home.until_quiet();
    }
    home.ready("flush", &posthog).run().exits_with(0);
    assert_eq!((posthog.requests().len(), posthog.connections()), (6, 1));
}

/// A turn with a tool: the lines up to the call, and those from its result on, which come `takes` milliseconds later.
fn turn_with_tool(at: i64, number: usize, takes: i64) -> (String, String) {
    let tool = format!("toolu_{number:022}");
    let assistant = |message: String, content: Value, stop: &str| {
        json!({"type": "assistant", "version": "2.1.330", "message": {"id": message, "role": "assistant", "model": "claude-opus-5-5",
            "stop_reason": stop, "content": [content],
            "usage": {"input_tokens": 3, "output_tokens": 7, "cache_read_input_tokens": 11, "cache_creation_input_tokens": 13}}})
    };
    let prompt = json!({"type": "user", "promptId": format!("prompt-{number}"), "message": {"role": "user", "content": "Go on."}});
    let call = json!({"type": "tool_use", "id": tool, "name": "Bash", "input": {"command": "make"}});
    let result = json!({"type": "user", "message": {"role": "user", "content": [{"type": "tool_result", "tool_use_id": tool, "content": "x"}]}});
    let done = json!({"type": "text", "text": "done"});
    let begin =
        Transcript::beginning_at(at).line(prompt).line(assistant(format!("msg_{number:021}a"), call, "tool_use"));
    let end = Transcript::beginning_at(at + takes).line(result).line(assistant(
        format!("msg_{number:021}b"),
        done,
        "end_turn",
    ));
    (begin.text(), end.text())
}

/// Three days of hooks' and files' times, each delivery by the real worker when the rules say that one is due. By its own
/// clock nobody has written to the session for long, so a call in progress is sent without its result, and once.
#[test]
fn a_session_of_three_days_and_five_hundred_turns_is_delivered_live_each_event_once() {
    const TURNS: usize = 500;
    let (home, posthog) = (Home::new(), posthog());
    let transcript = home.write(".claude/projects/-work/aaaa.jsonl", "");
    let write = |text: &str| {
        let mut file = File::options().append(true).open(&transcript).unwrap();
        std::io::Write::write_all(&mut file, text.as_bytes()).unwrap();
    };
    let now = posthog_llma_tests::transcript::now();
    let deliver = |at: i64| stopped(&home, &posthog, &transcript, Duration::from_millis((now - at).unsigned_abs()));
    let (minute, mut clock) = (60_000, now - 3 * 86_400_000 - 3_600_000);
    let (mut deliveries, mut owed_since, mut written) = (0, None, 0);
    let mut in_the_middle = 0;
    for number in 0..TURNS {
        // A quarter of an hour between some, less than two minutes between most; each 40th works for 12 minutes.
        clock += if number % 6 == 0 { 45 * minute } else { minute };
        let takes = if number % 40 == 5 { 12 * minute } else { 1000 };
        let (begin, end) = turn_with_tool(clock, number, takes);
        if let Some(since) = owed_since
            && Live::due(written, since) <= clock
        {
            deliver(written);
            (deliveries, owed_since) = (deliveries + 1, None);
        }
        write(&begin);
        written = clock;
        if takes > 10 * minute {
            // What is complete is due in the middle of this turn; its call has no result yet.
            let since = owed_since.take().unwrap_or(clock);
            assert!(Live::due(written, since) <= clock + takes);
            deliver(written);
            (deliveries, in_the_middle) = (deliveries + 1, in_the_middle + 1);
        }
        clock += takes;
        write(&end);
        written = clock;
        owed_since = owed_since.or(Some(clock));
    }
    home.hook(&posthog, "SessionEnd", &transcript).run().exits_with(0);
    until_nothing_is_owed(&home, &posthog);
    let events = posthog.events();
    let count = |name: &str| events.iter().filter(|event| event["event"] == name).count();
    assert!(deliveries > 80 && in_the_middle > 10, "{deliveries} deliveries, {in_the_middle} in the middle of a turn");
    assert!(arrivals(&posthog).values().all(|times| *times == 1));
    assert_eq!((count("$ai_generation"), count("$ai_span")), (2 * TURNS, TURNS));
    assert!(count("$ai_trace") <= deliveries + 1, "{} traces of {deliveries} deliveries", count("$ai_trace"));
    traces_add_up(&events);
    assert_eq!(sum(&events, "$ai_trace", "claude_code_turns"), TURNS as u64);
    assert_eq!(sum(&events, "$ai_trace", "claude_code_tool_calls"), TURNS as u64);
}
