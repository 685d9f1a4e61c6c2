//! What is counted by lines adds up over the deliveries of a session.

use super::live::stopped;
use super::*;
use std::fs;
use std::time::Duration;

/// The first lines.
fn first(lines: &str, count: usize) -> String {
    lines.split_inclusive('\n').take(count).collect()
}

fn turns(posthog: &LocalPostHog) -> u64 {
    sum(&posthog.events(), "$ai_trace", "claude_code_turns")
}

#[track_caller]
fn all_is_there_once(posthog: &LocalPostHog, expected: u64) {
    let events = posthog.events();
    let generations = events.iter().filter(|event| event["event"] == "$ai_generation").count() as u64;
    assert_eq!((generations, turns(posthog)), (expected, expected));
    assert_eq!(sum(&events, "$ai_trace", "claude_code_bad_lines"), 0);
    assert!(arrivals(posthog).values().all(|times| *times == 1));
    traces_add_up(&events);
}

#[test]
fn a_prompt_counts_in_the_delivery_that_reads_it_and_a_half_written_line_waits() {
    let (home, posthog) = (Home::new(), posthog());
    let lines = Transcript::new().turns(4).text();
    // Up to the second prompt: it counts before it is answered.
    let transcript = home.write(".claude/projects/-work/aaaa.jsonl", first(&lines, 3));
    stopped(&home, &posthog, &transcript, Duration::from_secs(700));
    assert_eq!((posthog.events().len(), turns(&posthog)), (2, 2));
    // Up to the middle of the third prompt, which neither counts nor is a damaged line.
    let whole = first(&lines, 4);
    let third = &first(&lines, 5)[whole.len()..];
    fs::write(&transcript, whole.clone() + &third[..third.len() / 2]).unwrap();
    stopped(&home, &posthog, &transcript, Duration::from_secs(650));
    assert_eq!((posthog.events().len(), turns(&posthog)), (4, 2));
    fs::write(&transcript, &lines).unwrap();
    home.hook(&posthog, "SessionEnd", &transcript).run().exits_with(0);
    until_nothing_is_owed(&home, &posthog);
    all_is_there_once(&posthog, 4);
}

#[test]
fn what_a_delivery_without_events_read_counts_with_the_next() {
    let (home, posthog) = (Home::new(), posthog());
    let lines = Transcript::new().turns(3).text();
    let transcript = home.write(".claude/projects/-work/aaaa.jsonl", "");
    for (end, expected) in [(2, 1), (3, 1), (5, 3), (6, 3)] {
        fs::write(&transcript, first(&lines, end)).unwrap();
        home.hook(&posthog, "SessionEnd", &transcript).run().exits_with(0);
        until_nothing_is_owed(&home, &posthog);
        assert_eq!(turns(&posthog), expected, "{end}");
    }
    all_is_there_once(&posthog, 3);
}

#[test]
fn a_delivery_that_was_interrupted_counts_once() {
    for script in [vec![Answer::CloseHalfWay], vec![Answer::Normal, Answer::CloseHalfWay]] {
        let home = Home::new();
        let posthog = LocalPostHog::start(Config { script, ..Config::default() }).unwrap();
        let lines = Transcript::new().turns(160).text();
        let transcript = home.write(".claude/projects/-work/aaaa.jsonl", first(&lines, 301));
        home.ready("ingest", &posthog).args(["aaaa", "--retries", "0"]).run().exits_with(1);
        fs::write(&transcript, &lines).unwrap();
        home.ready("ingest", &posthog).arg("aaaa").run().exits_with(0);
        let once: BTreeMap<_, _> = posthog.events().into_iter().map(|e| (e["uuid"].to_string(), e)).collect();
        let once: Vec<_> = once.into_values().collect();
        assert_eq!(sum(&once, "$ai_trace", "claude_code_turns"), 160);
        // Sent again, all of it counts again.
        home.ready("ingest", &posthog).args(["aaaa", "--force"]).run().exits_with(0);
        let last = posthog.events().into_iter().rfind(|event| event["event"] == "$ai_trace").unwrap();
        assert_eq!(last["properties"]["claude_code_turns"], 160);
    }
}

#[test]
fn a_session_that_goes_on_in_another_folder_or_another_home_is_one() {
    let lines = Transcript::new().turns(4).text();
    // In the other folder there may be a copy of what was.
    for (other, from) in [("one/projects/-other", 3), ("two/projects/-work", 3), ("two/projects/-aside", 0)] {
        let (home, posthog) = (Home::new(), posthog());
        let homes = ["one", "two"].map(|name| home.path().join(name).display().to_string()).join(",");
        let deliver = || {
            home.ready("ingest", &posthog).arg("aaaa").env("CLAUDE_CONFIG_DIR", &homes).run().exits_with(0);
        };
        fs::create_dir_all(home.path().join("two/projects")).unwrap();
        home.write("one/projects/-work/aaaa.jsonl", first(&lines, 3));
        deliver();
        assert_eq!(turns(&posthog), 2, "{other}");
        for end in [6, 8] {
            home.write(format!("{other}/aaaa.jsonl"), &first(&lines, end)[first(&lines, from).len()..]);
            deliver();
        }
        all_is_there_once(&posthog, 4);
    }
}
