//! Past sessions: which ones, how many at once, and how an interrupted run continues.

#![cfg(unix)]
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use posthog_llma_local_posthog::{Answer, Config, LocalPostHog};
use posthog_llma_tests::program::{Home, KEY, Program, until};
use posthog_llma_tests::transcript::Transcript;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;

fn posthog() -> LocalPostHog {
    LocalPostHog::start(Config::default()).unwrap()
}

/// `ingest` to this server, with automatic sending off.
fn ingest(home: &Home, posthog: &LocalPostHog, arguments: &[&str]) -> Program {
    let ingest = home.program(["ingest"]).env("POSTHOG_API_KEY", KEY).env("POSTHOG_HOST", posthog.origin());
    ingest.args(arguments)
}

/// Writes a session of a project.
fn session(home: &Home, project: &str, id: &str, transcript: &Transcript) {
    // The name of the folder says nothing; what counts is where the session began to work.
    let text = transcript.text().replace("/home/dev/shop", home.path().join(project).to_str().unwrap());
    fs::create_dir_all(home.path().join(project)).unwrap();
    home.write(format!(".claude/projects/{}/{id}.jsonl", project.replace('/', "-")), text);
}

fn arrivals(posthog: &LocalPostHog) -> BTreeMap<String, usize> {
    let mut arrivals = BTreeMap::new();
    for event in posthog.events() {
        *arrivals.entry(event["uuid"].as_str().unwrap().to_owned()).or_default() += 1;
    }
    arrivals
}

fn sessions_of(posthog: &LocalPostHog) -> Vec<String> {
    let ids = posthog.events().into_iter().map(|e| e["properties"]["$ai_session_id"].as_str().unwrap().to_owned());
    let mut ids: Vec<_> = ids.collect();
    ids.sort();
    ids.dedup();
    ids
}

#[test]
fn two_thousand_sessions_interrupted_continued_and_repeated_arrive_once() {
    let (home, posthog) = (Home::new(), posthog());
    let mut expected = 0;
    for i in 0..2000 {
        let whole = Transcript::new().turns(3).text();
        let lines: Vec<_> = whole.split_inclusive('\n').collect();
        let id = format!("session-{i:04}");
        home.write(format!(".claude/projects/-p{}/{id}.jsonl", i % 7), lines[..4].concat());
        expected += 3;
        // Every tenth was forked: the same lines, and one turn more.
        if i % 10 == 0 {
            home.write(format!(".claude/projects/-p{}/{id}-fork.jsonl", i % 7), &whole);
            expected += 2;
        }
    }
    let running = ingest(&home, &posthog, &["--all"]).start();
    until("some are sent", || posthog.events().len() > 500);
    let outcome = running.interrupt().exits_with(130);
    outcome
        .says(&["Finishing the batches in flight"])
        .prints(&["not reached", "Run the same command again to continue"]);
    let before = posthog.events().len();
    assert!(before < expected, "it was interrupted");

    let report = ingest(&home, &posthog, &["--all", "--json"]).run().exits_with(0).json();
    assert_eq!(report["sent"].as_u64().unwrap() + report["delivered_before"].as_u64().unwrap(), 2200);
    let arrived = arrivals(&posthog);
    assert_eq!(arrived.len(), expected);
    assert!(arrived.values().all(|times| *times == 1), "each exactly once");

    let requests = posthog.requests().len();
    ingest(&home, &posthog, &["--all"]).run().exits_with(0).prints(&["0 sessions sent, 2,200 delivered before"]);
    assert_eq!(posthog.requests().len(), requests);
    // A fork's copies belong to its origin.
    let of_forks = posthog
        .events()
        .iter()
        .filter(|e| e["properties"]["$ai_session_id"].as_str().unwrap().ends_with("fork"))
        .count();
    assert_eq!(of_forks, 2 * 200);
}

#[test]
#[cfg(target_os = "linux")]
fn a_list_is_remembered_in_a_directory_for_this_user_alone() {
    use std::os::unix::fs::PermissionsExt as _;
    let home = Home::new();
    session(&home, "work", "new", &Transcript::of_days_ago(2).turns(1));
    let list = || home.program(["ingest", "--list", "--all"]).run().exits_with(0).stdout;
    let first = list();
    let cache = home.path().join(".cache/posthog-llma");
    assert_eq!(cache.metadata().unwrap().permissions().mode() & 0o777, 0o700);
    let remembered = std::fs::read(cache.join("lists.json")).unwrap();
    assert_eq!(list(), first);
    assert_eq!(std::fs::read(cache.join("lists.json")).unwrap(), remembered);
}

#[test]
fn without_a_word_it_takes_the_newest_session_of_the_current_project() {
    let (home, posthog) = (Home::new(), posthog());
    session(&home, "work", "old", &Transcript::of_days_ago(3).turns(1));
    session(&home, "work/deeper", "new", &Transcript::of_days_ago(2).turns(1));
    session(&home, "other", "newer", &Transcript::of_days_ago(1).turns(1));
    ingest(&home, &posthog, &[]).run().exits_with(0).prints(&["1 session sent"]);
    assert_eq!(sessions_of(&posthog), ["new"]);
}

#[test]
fn sessions_are_chosen_by_id_project_and_time() {
    let home = Home::new();
    for (project, id, days) in [("work", "aaaa-1", 1), ("work", "aaaa-2", 10), ("other", "bbbb-1", 5)] {
        session(&home, project, id, &Transcript::of_days_ago(days).turns(1));
    }
    let other = home.path().join("other");
    for (arguments, chosen) in [
        (&["aaaa-2", "bbbb"][..], &["aaaa-2", "bbbb-1"][..]),
        (&["--all"], &["aaaa-1", "aaaa-2", "bbbb-1"]),
        (&["--project", other.to_str().unwrap()], &["bbbb-1"]),
        (&["--all", "--since", "7d"], &["aaaa-1", "bbbb-1"]),
        (&["--all", "--until", "7d"], &["aaaa-2"]),
        (&["--since", "30d"], &["aaaa-1", "aaaa-2"]),
        (&["--all", "--since", "7d", "--until", "3d"], &["bbbb-1"]),
    ] {
        let posthog = posthog();
        ingest(&home, &posthog, arguments).run().exits_with(0);
        assert_eq!(sessions_of(&posthog), chosen, "{arguments:?}");
    }
    let posthog = posthog();
    let path = home.path().join(".claude/projects/other/bbbb-1.jsonl");
    ingest(&home, &posthog, &[path.to_str().unwrap()]).run().exits_with(0);
    assert_eq!(sessions_of(&posthog), ["bbbb-1"]);
}

#[test]
fn what_is_not_there_is_an_error_that_says_what_to_do() {
    let (home, posthog) = (Home::new(), posthog());
    session(&home, "other", "aaaa", &Transcript::new().turns(1));
    ingest(&home, &posthog, &[]).run().exits_with(1).says(&["no sessions found in ", "--all"]);
    ingest(&home, &posthog, &["--all", "--since", "2100-01-01"])
        .run()
        .exits_with(1)
        .says(&["no sessions found from that time"]);
    ingest(&home, &posthog, &["zzzz"]).run().exits_with(1).says(&["no session \"zzzz\""]);
    ingest(&home, &posthog, &["--since", "soon"]).run().exits_with(2).says(&["is not a time; write"]);
    ingest(&home, &posthog, &["--all", "aaaa"]).run().exits_with(2);
    let without_key = home.program(["ingest", "--all"]).run().exits_with(2);
    without_key.says(&["POSTHOG_API_KEY is not set"]);
    assert!(posthog.requests().is_empty());
}

#[test]
fn where_there_is_no_session_yet_it_says_where_it_looked_and_what_to_do() {
    let (home, posthog) = (Home::new(), posthog());
    let projects = home.path().join(".claude/projects");
    let looks = |found: &str, arguments: &[&str]| {
        let said = ingest(&home, &posthog, arguments).run().exits_with(1);
        let place = projects.display().to_string();
        let said = said.says(&["there are no sessions yet", &place, found, "CLAUDE_CONFIG_DIR"]);
        assert!(!said.stderr.contains("os error"), "{}", said.stderr);
    };
    for arguments in [&["--all"][..], &[], &["--all", "--list"], &["--all", "--dry-run"]] {
        looks("which has none", arguments);
    }
    fs::remove_dir(&projects).unwrap();
    for arguments in [&["--all"][..], &[], &["--all", "--list"]] {
        looks("which does not exist", arguments);
    }
    let said = ingest(&home, &posthog, &["aaaa"]).run().exits_with(1).says(&["no session \"aaaa\"", "does not exist"]);
    assert!(!said.stderr.contains("os error"), "{}", said.stderr);
    // A list of homes that are not there, and one that cannot be a folder.
    home.write("file", "");
    let two = ingest(&home, &posthog, &["--all"]).env("CLAUDE_CONFIG_DIR", "/nowhere/a,/nowhere/b").run().exits_with(1);
    two.says(&["/nowhere/a/projects or /nowhere/b/projects"]);
    let file =
        ingest(&home, &posthog, &["--all"]).env("CLAUDE_CONFIG_DIR", home.path().join("file")).run().exits_with(1);
    file.says(&["sessions cannot be read from"]);
    assert!(posthog.requests().is_empty());
}

/// Writes the Python plugin's status file for a session that it has just sent.
fn sent_by_python(home: &Home, posthog: &LocalPostHog, id: &str) {
    let now = posthog_llma_pipeline::time::format(posthog_llma_tests::transcript::now()).replace('Z', "+00:00");
    let status = json!({"session_id": id, "status": "ok", "error": null, "events_sent": 3, "host": posthog.origin(), "timestamp": now});
    home.write(".claude/posthog-llma-status.json", status.to_string());
}

#[test]
fn what_the_python_plugin_sent_is_not_sent_again_without_a_word() {
    let (home, posthog) = (Home::new(), posthog());
    for id in ["aaaa", "bbbb", "cccc"] {
        session(&home, "work", id, &Transcript::new().turns(1));
    }
    sent_by_python(&home, &posthog, "aaaa");
    let later = std::time::SystemTime::now() + std::time::Duration::from_mins(10);
    let newer = home.path().join(".claude/projects/work/cccc.jsonl");
    fs::File::options().append(true).open(newer).unwrap().set_modified(later).unwrap();

    for arguments in [&["--all"][..], &["--all", "--json"], &["aaaa"], &["bbbb"]] {
        let said = ingest(&home, &posthog, arguments).run().exits_with(2);
        said.says(&["nothing was sent", "PostHog's Python plugin", "--python-plugin=skip", "--python-plugin=send"]);
    }
    ingest(&home, &posthog, &["cccc", "--dry-run"]).run().exits_with(0).says_nothing();
    let dry = ingest(&home, &posthog, &["--all", "--dry-run"]).run().exits_with(0);
    dry.says(&["it sent 1, and may have sent 1 more"]).prints(&["3 sessions to send"]);
    let dry = ingest(&home, &posthog, &["--all", "--dry-run", "--python-plugin=skip"]).run().exits_with(0);
    dry.prints(&["1 session to send"]);
    assert!(posthog.requests().is_empty());

    let skipped = ingest(&home, &posthog, &["--all", "--python-plugin=skip"]).run().exits_with(0);
    skipped.prints(&["1 session sent"]).says(&[
        "aaaa: PostHog's Python plugin has sent it",
        "bbbb: ",
        "may have sent it",
    ]);
    assert_eq!(sessions_of(&posthog), ["cccc"]);

    // The file is replaced when a hook's session is delivered; what it said is still known.
    session(&home, "work", "dddd", &Transcript::new().turns(1));
    home.hook(&posthog, "SessionEnd", &home.path().join(".claude/projects/work/dddd.jsonl")).run().exits_with(0);
    until("the status file is ours", || {
        fs::read_to_string(home.path().join(".claude/posthog-llma-status.json")).unwrap().contains("dddd")
    });
    home.until_quiet();
    ingest(&home, &posthog, &["--all"]).run().exits_with(2).says(&["it sent 1, and may have sent 1 more"]);
    ingest(&home, &posthog, &["--all", "--python-plugin=send"]).run().exits_with(0).prints(&["2 sessions sent"]);
    assert_eq!(sessions_of(&posthog), ["aaaa", "bbbb", "cccc", "dddd"]);
    // What this program has delivered is no question any more.
    ingest(&home, &posthog, &["--all"]).run().exits_with(0).prints(&["0 sessions sent, 4 delivered before"]);
}

#[test]
fn send_asks_about_the_python_plugin_too() {
    let (home, posthog) = (Home::new(), posthog());
    session(&home, "work", "aaaa", &Transcript::new().turns(1));
    sent_by_python(&home, &posthog, "aaaa");
    let send = |arguments: &[&str]| home.send(&posthog, "aaaa").args(arguments).run();
    let said = send(&[]).exits_with(2);
    said.says(&["nothing was sent", "PostHog's Python plugin", "--python-plugin=skip", "--python-plugin=send"]);
    send(&["--python-plugin=skip"]).exits_with(2).says(&["the session is not sent", "Python plugin has sent it"]);
    assert!(posthog.requests().is_empty());
    send(&["--python-plugin=send"]).exits_with(0);
    assert_eq!(sessions_of(&posthog), ["aaaa"]);
    // What this program has delivered is no question any more.
    send(&[]).exits_with(0);
    send(&["--again"]).exits_with(0);
}

#[test]
fn what_the_python_plugin_sent_elsewhere_or_failed_to_send_is_no_question() {
    let home = Home::new();
    let [posthog, other] = [posthog(), posthog()];
    session(&home, "work", "aaaa", &Transcript::new().turns(1));
    sent_by_python(&home, &other, "aaaa");
    ingest(&home, &posthog, &["--all"]).run().exits_with(0).prints(&["1 session sent"]);
    ingest(&home, &other, &["--all"]).run().exits_with(2);
    let path = home.path().join(".claude/posthog-llma-status.json");
    let failed = fs::read_to_string(&path).unwrap().replace("\"ok\"", "\"error\"");
    fs::write(&path, failed).unwrap();
    ingest(&home, &other, &["--all"]).run().exits_with(0).prints(&["1 session sent"]);
}

#[test]
fn all_that_a_thread_sends_goes_over_one_connection() {
    for jobs in [1, 2] {
        let (home, posthog) = (Home::new(), posthog());
        for i in 0..6 {
            session(&home, "work", &format!("{i}"), &Transcript::new().turns(250));
        }
        ingest(&home, &posthog, &["--all", "--jobs", &jobs.to_string()]).run().exits_with(0);
        assert_eq!(posthog.requests().len(), 18, "three batches each");
        assert!(posthog.connections() <= jobs, "{} connections of {jobs} threads", posthog.connections());
    }
}

#[test]
fn a_connection_that_the_server_ends_costs_no_event() {
    let home = Home::new();
    for i in 0..4 {
        session(&home, "work", &format!("{i}"), &Transcript::new().turns(2));
    }
    // Its answers say that it closes the connection.
    let script = vec![Answer::Trickle { every: std::time::Duration::ZERO }; 2];
    let posthog = LocalPostHog::start(Config { script, ..Config::default() }).unwrap();
    ingest(&home, &posthog, &["--all", "--jobs=1"]).run().exits_with(0);
    assert_eq!((posthog.requests().len(), posthog.connections()), (4, 3));
    assert!(arrivals(&posthog).values().all(|times| *times == 1));
    assert_eq!(posthog.events().len(), 12);
}

#[test]
fn a_dry_run_sends_nothing_and_says_what_a_real_one_would() {
    let (home, posthog) = (Home::new(), posthog());
    for id in ["one", "two"] {
        session(&home, "work", id, &Transcript::new().turns(3));
    }
    let report = |arguments: &[&str]| ingest(&home, &posthog, arguments).arg("--json").run().exits_with(0).json();
    let dry = report(&["--all", "--dry-run"]);
    assert!(posthog.requests().is_empty());
    assert!(!home.path().join(".local").exists(), "to look is not to write");
    let real = report(&["--all"]);
    for name in ["sent", "events", "tokens", "delivered_before"] {
        assert_eq!(dry[name], real[name], "{name}");
    }
    assert_eq!((&dry["dry_run"], &real["dry_run"]), (&json!(true), &json!(false)));
    let after = report(&["--all", "--dry-run"]);
    assert_eq!((&after["sent"], &after["delivered_before"]), (&json!(0), &json!(2)));
    // Without a key nothing is known of what was delivered, and nothing can be sent.
    home.program(["ingest", "--all", "--dry-run"]).run().exits_with(0).prints(&["2 sessions to send"]);
}

#[test]
fn what_was_delivered_is_skipped_unless_forced() {
    let (home, posthog) = (Home::new(), posthog());
    session(&home, "work", "aaaa", &Transcript::new().turns(1));
    home.send(&posthog, "aaaa").run().exits_with(0);
    ingest(&home, &posthog, &["--all"]).run().exits_with(0).prints(&["0 sessions sent, 1 delivered before"]);
    assert_eq!(posthog.events().len(), 2);
    ingest(&home, &posthog, &["--all", "--force"]).run().exits_with(0).prints(&["1 session sent"]);
    assert!(arrivals(&posthog).values().all(|times| *times == 2));
    ingest(&home, &posthog, &["--all"]).run().exits_with(0).prints(&["1 delivered before"]);
}

#[test]
fn the_list_says_when_where_what_how_much_and_whether() {
    let (home, posthog) = (Home::new(), posthog());
    session(&home, "work", "aaaa1111-0000", &Transcript::of_days_ago(2).turn("fix the\u{1b}[2J test", "done"));
    session(&home, "work", "bbbb2222-0000", &Transcript::of_days_ago(1).turn("ship it", "done"));
    ingest(&home, &posthog, &["aaaa"]).run().exits_with(0);
    let list = ingest(&home, &posthog, &["--list"]).run().exits_with(0);
    let lines: Vec<_> = list.stdout.lines().collect();
    assert!(lines[0].starts_with("BEGAN (UTC)"));
    assert!(lines[1].contains("bbbb2222") && lines[1].contains(" no ") && lines[1].ends_with("ship it"), "{list:?}");
    assert!(lines[2].contains("aaaa1111") && lines[2].contains(" yes ") && lines[2].contains("fix the"), "{list:?}");
    assert!(!list.stdout.contains('\u{1b}'));
    assert!(lines[3].starts_with("2 sessions, 4 events, less than $0.01 in PostHog"), "{list:?}");
    let rows = ingest(&home, &posthog, &["--list", "--json"]).run().exits_with(0).json();
    assert_eq!((&rows[0]["delivered"], &rows[1]["delivered"]), (&json!(false), &json!(true)));
    assert_eq!(rows[0]["tokens"], json!([3, 7, 11, 13]));
}

#[test]
fn a_session_that_fails_does_not_cost_the_others() {
    let (home, posthog) = (Home::new(), posthog());
    session(&home, "work", "good", &Transcript::new().turns(1));
    let pipe = home.path().join(".claude/projects/work/bad.jsonl");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    // What is not a file is not a session; one that cannot be converted within its limits is one that fails.
    session(&home, "work", "large", &Transcript::new().turns(40_000));
    let outcome = ingest(&home, &posthog, &["--all", "--max-memory", "8"]).run().exits_with(1);
    outcome.says(&["large: ", "memory"]).prints(&["1 session sent", "1 failed"]);
    assert!(sessions_of(&posthog).contains(&"good".to_owned()));
}

#[test]
fn a_server_that_fails_stops_everything_and_the_same_command_goes_on() {
    let home = Home::new();
    for i in 0..30 {
        session(&home, "work", &format!("session-{i:02}"), &Transcript::new().turns(1));
    }
    let no = Answer::Status { code: 401, headers: Vec::new(), body: "no".to_owned() };
    let mut script = vec![Answer::Normal; 5];
    script.extend(vec![no; 40]);
    let posthog = LocalPostHog::start(Config { script, ..Config::default() }).unwrap();
    let outcome = ingest(&home, &posthog, &["--all", "--jobs", "2"]).run().exits_with(1);
    outcome.prints(&[
        "Stopped: the server rejected the request",
        "5 sessions sent",
        "Run the same command again to continue",
    ]);
    assert!(posthog.requests().len() <= 8, "{}", posthog.requests().len());
    let good = self::posthog();
    ingest(&home, &good, &["--all"]).run().exits_with(0).prints(&["30 sessions sent"]);
}

#[test]
fn old_sessions_are_warned_about() {
    let (home, posthog) = (Home::new(), posthog());
    session(&home, "work", "old", &Transcript::of_days_ago(40).turns(1));
    ingest(&home, &posthog, &["--all"]).run().exits_with(0).says(&["1 session more than 30 days old"]);
}

#[test]
fn a_session_that_ends_meanwhile_is_delivered_once() {
    let (home, posthog) = (Home::new(), posthog());
    for i in 0..100 {
        session(&home, "work", &format!("session-{i:03}"), &Transcript::new().turns(2));
    }
    let running = ingest(&home, &posthog, &["--all"]).start();
    for i in (0..100).step_by(9) {
        let transcript = home.path().join(format!(".claude/projects/work/session-{i:03}.jsonl"));
        home.hook(&posthog, "SessionEnd", &transcript).run().exits_with(0);
    }
    running.wait().exits_with(0);
    home.until_quiet();
    let arrived = arrivals(&posthog);
    assert_eq!(arrived.len(), 300);
    assert!(arrived.values().all(|times| *times == 1));
    let value: Value = home.status(&posthog)["coverage"].clone();
    assert_eq!((&value["delivered"], &value["owed"]), (&json!(100), &json!(0)));
}

/// A line from a gateway that gives every call the same ID.
fn gateway_line(session: &str, second: u32, kind: &str, message: &Value) -> String {
    let line = json!({"type": kind, "uuid": format!("{session}-{second}"), "sessionId": session, "cwd": "/home/dev/demo",
        "version": "2.1.220", "timestamp": format!("2026-08-01T0{}:00:{second:02}.000Z", session.len() % 7), "message": message});
    format!("{line}\n")
}

fn asked(session: &str, second: u32, content: &Value) -> String {
    gateway_line(session, second, "user", &json!({"role": "user", "content": content}))
}

fn answered(session: &str, second: u32, id: &str, content: &Value) -> String {
    gateway_line(
        session,
        second,
        "assistant",
        &json!({"id": id, "role": "assistant", "model": "qwen3-coder", "stop_reason": "end_turn", "content": content,
            "usage": {"input_tokens": 1500 + u64::from(second), "output_tokens": 40}}),
    )
}

#[test]
fn two_sessions_of_a_gateway_with_one_id_for_all_calls_both_arrive() {
    for id in ["chatcmpl-0", "msg_gateway", "", "0"] {
        let (home, posthog) = (Home::new(), posthog());
        let of = |session: &str| {
            let turn = |n: u32, prompt: &str| {
                let text = json!([{"type": "text", "text": format!("Answer to {prompt}")}]);
                asked(session, 2 * n, &json!(prompt)) + &answered(session, 2 * n + 1, id, &text)
            };
            turn(0, "one") + &turn(1, "two") + &turn(2, "three")
        };
        for session in ["first", "second-one"] {
            home.write(format!(".claude/projects/-demo/{session}.jsonl"), of(session));
        }
        let report = ingest(&home, &posthog, &["--all", "--json"]).run().exits_with(0).json();
        assert_eq!((&report["sent"], &report["delivered_before"]), (&json!(2), &json!(0)), "{id:?}: {report:#}");
        let events = posthog.events();
        let generations: Vec<_> = events.iter().filter(|event| event["event"] == "$ai_generation").collect();
        assert_eq!(generations.len(), 6, "{id:?}");
        let input: u64 = generations.iter().filter_map(|event| event["properties"]["$ai_input_tokens"].as_u64()).sum();
        assert_eq!(input, 2 * (1501 + 1503 + 1505), "{id:?}");
        assert!(arrivals(&posthog).values().all(|times| *times == 1));
        // And only now they were.
        let again = ingest(&home, &posthog, &["--all", "--json"]).run().exits_with(0).json();
        assert_eq!((&again["sent"], &again["delivered_before"]), (&json!(0), &json!(2)), "{id:?}");
    }
}

#[test]
fn two_sessions_whose_tool_ids_begin_anew_both_arrive_with_their_own_results() {
    let (home, posthog) = (Home::new(), posthog());
    let of = |session: &str, calls: u32| {
        (0..calls).fold(String::new(), |lines, n| {
            // Numbered within the turn.
            let (id, second) = ("functions.Bash:0", 4 * n);
            let call =
                json!([{"type": "tool_use", "id": id, "name": "Bash", "input": {"command": format!("{session} {n}")}}]);
            let result =
                json!([{"type": "tool_result", "tool_use_id": id, "content": format!("result {session} {n}")}]);
            lines
                + &asked(session, second, &json!(format!("do {n}")))
                + &answered(session, second + 1, &format!("chatcmpl-{session}-{n}"), &call)
                + &asked(session, second + 2, &result)
        })
    };
    home.write(".claude/projects/-demo/first.jsonl", of("first", 3));
    home.write(".claude/projects/-demo/second-one.jsonl", of("second-one", 2));
    let report = ingest(&home, &posthog, &["--all", "--json"]).run().exits_with(0).json();
    assert_eq!((&report["sent"], &report["delivered_before"]), (&json!(2), &json!(0)), "{report:#}");
    let events = posthog.events();
    let spans: Vec<_> = events.iter().filter(|event| event["event"] == "$ai_span").map(|e| &e["properties"]).collect();
    assert_eq!(spans.len(), 5);
    for span in spans {
        let asked = span["$ai_input_state"].as_str().unwrap();
        let words =
            asked.split('"').find(|word| word.starts_with("first ") || word.starts_with("second-one ")).unwrap();
        assert_eq!(span["$ai_output_state"], format!("result {words}"));
    }
}

#[test]
fn a_session_without_an_event_is_called_so_by_every_command() {
    let nothing = [
        String::new(),
        json!({"type": "queue-operation", "operation": "enqueue", "content": "hi"}).to_string() + "\n",
        asked("x", 0, &json!("never answered"))
            + &json!({"type": "custom-title", "customTitle": "mine"}).to_string()
            + "\n",
        asked("x", 0, &json!("<command-name>/clear</command-name>")),
    ];
    for lines in nothing {
        let (home, posthog) = (Home::new(), posthog());
        let path = home.write(".claude/projects/-demo/empty.jsonl", &lines);
        for arguments in [&["--all"][..], &["--all", "--dry-run"], &["empty"]] {
            let outcome = ingest(&home, &posthog, arguments).run().exits_with(0);
            outcome.prints(&["0 delivered before, 1 with nothing to send"]);
        }
        let says = "othing to send: no model was called";
        home.program(["view"]).arg(&path).run().exits_with(0).prints(&[says]);
        let converted = home.convert(&path).run().exits_with(0).says(&[says]);
        assert_eq!(converted.stdout, "");
        home.send(&posthog, &path).run().exits_with(0).prints(&[says]);
        let report = home.send(&posthog, &path).arg("--json").run().exits_with(0).json();
        assert_eq!((&report["nothing_to_send"], &report["complete"]), (&json!(true), &json!(true)));
        assert!(posthog.requests().is_empty(), "{lines}");
    }
}
