//! Sessions that end more than once, that are copied, and that end without a hook.

use super::*;
use std::fs;

/// Two turns, and the same two followed by one more.
fn grown() -> (String, String) {
    let lines = Transcript::new().turns(3).text();
    let turns: Vec<_> = lines.split_inclusive('\n').collect();
    (turns[..4].concat(), lines)
}

#[test]
fn a_session_that_ends_again_sends_what_is_new_and_its_trace_covers_just_that() {
    let (home, posthog) = (Home::new(), posthog());
    let (before, after) = grown();
    let transcript = home.write(".claude/projects/-work/aaaa.jsonl", before);
    home.hook(&posthog, "SessionEnd", &transcript).run().exits_with(0);
    until_nothing_is_owed(&home, &posthog);
    let first = posthog.events();
    assert_eq!(first.len(), 3);

    fs::write(&transcript, after).unwrap();
    home.hook(&posthog, "SessionStart", &transcript).run().exits_with(0);
    home.hook(&posthog, "SessionEnd", &transcript).run().exits_with(0);
    until_nothing_is_owed(&home, &posthog);
    let all = posthog.events();
    assert_eq!(all.len(), 5, "one generation more, and a trace over it");
    assert!(arrivals(&posthog).values().all(|times| *times == 1));
    traces_add_up(&all);
}

#[test]
fn a_session_that_ends_again_with_nothing_new_sends_nothing() {
    let (home, posthog) = (Home::new(), posthog());
    let transcript = session(&home, "aaaa", &Transcript::new().turns(2));
    for _ in 0..3 {
        home.hook(&posthog, "SessionEnd", &transcript).run().exits_with(0);
        until_nothing_is_owed(&home, &posthog);
    }
    assert_eq!(posthog.requests().len(), 1);
}

#[test]
fn a_fork_sends_only_what_its_origin_did_not() {
    let (home, posthog) = (Home::new(), posthog());
    let (origin, fork) = grown();
    let origin = home.write(".claude/projects/-work/origin.jsonl", origin);
    home.hook(&posthog, "SessionEnd", &origin).run().exits_with(0);
    until_nothing_is_owed(&home, &posthog);
    let fork = home.write(".claude/projects/-work/fork.jsonl", fork);
    home.hook(&posthog, "SessionEnd", &fork).run().exits_with(0);
    until_nothing_is_owed(&home, &posthog);
    let of_fork: Vec<_> =
        posthog.events().into_iter().filter(|event| event["properties"]["$ai_session_id"] == "fork").collect();
    assert_eq!(of_fork.len(), 2);
    assert!(arrivals(&posthog).values().all(|times| *times == 1));
    traces_add_up(&posthog.events());
}

#[test]
fn each_destination_has_a_record_of_its_own() {
    let (home, one, other) = (Home::new(), posthog(), posthog());
    let before = Transcript::new().turns(2).text();
    let transcript = home.write(".claude/projects/-work/aaaa.jsonl", &before);
    home.hook(&one, "SessionEnd", &transcript).run().exits_with(0);
    until_nothing_is_owed(&home, &one);
    fs::write(&transcript, before + &Transcript::of_days_ago(-1).turns(1).text()).unwrap();
    home.hook(&other, "SessionEnd", &transcript).run().exits_with(0);
    until_nothing_is_owed(&home, &other);
    assert_eq!(one.events().len(), 3, "nothing more goes to the old one");
    assert_eq!(other.events().len(), 2, "the new one gets what comes from then on");
    // Another key is another destination, too.
    let another_key = "phc_another000000000000000000000000000";
    home.hook(&other, "SessionEnd", &transcript).env("POSTHOG_API_KEY", another_key).run().exits_with(0);
    until("the other project has it", || other.events().len() == 4);
    assert_eq!(home.status(&one)["coverage"]["delivered"], 1);
}

#[test]
fn what_is_owed_to_another_destination_stays_owed_to_it() {
    let (home, other) = (Home::new(), posthog());
    let down = {
        let refusing = posthog();
        refusing.origin()
    };
    let transcript = session(&home, "aaaa", &Transcript::new().turns(1));
    home.hook(&other, "SessionEnd", &transcript).env("POSTHOG_HOST", &down).run().exits_with(0);
    let at_down = || home.ready("status", &other).env("POSTHOG_HOST", &down).arg("--json").run().json();
    until("the server is found to be down", || at_down()["last_error"].is_string());
    home.ready("flush", &other).run().exits_with(0).prints(&["1 session waiting for another host or token"]);
    assert!(other.requests().is_empty());
    assert_eq!(at_down()["coverage"]["owed"], 1);
}

#[test]
fn a_session_whose_client_was_killed_is_delivered_when_the_next_one_starts() {
    let (home, posthog) = (Home::new(), posthog());
    let killed = session(&home, "killed", &Transcript::new().turns(2));
    let client = home.hook(&posthog, "SessionStart", &killed).under(&CLIENT_THAT_DIES).start();
    until("it is written down", || home.status(&posthog)["coverage"]["running"] == 1);
    client.wait().exits_with(0);
    home.until_quiet();

    let next = home.path().join(".claude/projects/-work/next.jsonl");
    home.hook(&posthog, "SessionStart", &next).run().exits_with(0);
    until("the killed session arrives", || posthog.events().len() == 3);
    until_nothing_is_owed(&home, &posthog);
    assert_eq!(home.status(&posthog)["coverage"]["running"], 1, "the next one");
}

#[test]
fn a_session_that_runs_is_left_alone() {
    let (home, posthog) = (Home::new(), posthog());
    // This test is its client, and lives.
    let running = session(&home, "running", &Transcript::new().turns(2));
    home.hook(&posthog, "SessionStart", &running).run().exits_with(0);
    let other = session(&home, "other", &Transcript::new().turns(1));
    home.hook(&posthog, "SessionEnd", &other).run().exits_with(0);
    until_nothing_is_owed(&home, &posthog);
    home.ready("flush", &posthog).run().exits_with(0);
    assert_eq!(posthog.events().len(), 2);
}

#[test]
fn what_is_owed_is_taken_up_by_the_hook_of_any_session() {
    let (home, posthog) = (
        Home::new(),
        LocalPostHog::start(Config { script: vec![Answer::CloseBeforeAnswer; 4], ..Config::default() }).unwrap(),
    );
    let first = session(&home, "first", &Transcript::new().turns(1));
    home.hook(&posthog, "SessionEnd", &first).run().exits_with(0);
    until("the first attempt fails", || home.status(&posthog)["last_error"].is_string());
    let second = session(&home, "second", &Transcript::new().turns(1));
    home.hook(&posthog, "SessionEnd", &second).run().exits_with(0);
    // Five seconds later, by our own back-off.
    until("both arrive", || posthog.events().len() == 4);
    until_nothing_is_owed(&home, &posthog);
}

#[test]
fn an_owed_session_keeps_the_privacy_of_its_project() {
    let home = Home::new();
    let script = vec![Answer::CloseBeforeAnswer; 4];
    let posthog = LocalPostHog::start(Config { script, ..Config::default() }).unwrap();
    let private = session(&home, "private", &Transcript::new().turn("the secret plan", "the secret answer"));
    let hook = home.hook(&posthog, "SessionEnd", &private).env("POSTHOG_LLMA_PRIVACY_MODE", "true");
    hook.run().exits_with(0);
    until("the first attempt fails", || home.status(&posthog)["last_error"].is_string());
    // Another project's process takes it up, without privacy mode.
    home.ready("flush", &posthog).run().exits_with(0);
    let events = posthog.events();
    assert_eq!(events.len(), 2);
    assert!(!serde_json::to_string(&events).unwrap().contains("secret"));
}

#[test]
fn sub_agents_are_delivered_with_their_session() {
    let (home, posthog) = (Home::new(), posthog());
    let fixture = posthog_llma_tests::fixtures::transcripts("2.1.330/sub2").unwrap().remove(0);
    home.hook(&posthog, "SessionEnd", &fixture).run().exits_with(0);
    until_nothing_is_owed(&home, &posthog);
    assert_eq!(arrivals(&posthog).len(), expected(&home, &fixture).len());
}
