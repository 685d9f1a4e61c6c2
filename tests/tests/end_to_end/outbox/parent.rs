//! A session that belongs to another program's trace, because whatever started the client said so.

use super::*;
use std::collections::BTreeSet;

const TRACE: &str = "POSTHOG_LLMA_PARENT_TRACE_ID";
const SPAN: &str = "POSTHOG_LLMA_PARENT_SPAN_ID";
const TRACEPARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

/// The trace IDs of all events, and the parents of the events that stand for sessions.
fn traces(events: &[Value]) -> (BTreeSet<&str>, Vec<&str>) {
    let traces = events.iter().filter_map(|event| event["properties"]["$ai_trace_id"].as_str()).collect();
    let sessions = events.iter().filter(|event| event["properties"]["$ai_span_type"] == "agent");
    (traces, sessions.filter_map(|event| event["properties"]["$ai_parent_id"].as_str()).collect())
}

#[track_caller]
fn are_attached(events: &[Value], trace: &str, span: &str) {
    assert_eq!(traces(events), (BTreeSet::from([trace]), vec![span]), "{events:#?}");
    assert!(events.iter().all(|event| event["event"] != "$ai_trace"));
}

#[track_caller]
fn are_a_trace(events: &[Value], id: &str) {
    assert_eq!(traces(events), (BTreeSet::from([id]), Vec::new()));
    assert_eq!(events.iter().filter(|event| event["event"] == "$ai_trace").count(), 1);
}

#[test]
fn a_session_of_a_job_is_a_span_of_the_job_s_trace() {
    let (home, posthog) = (Home::new(), posthog());
    let transcript = session(&home, "aaaa", &Transcript::new().turns(2));
    home.hook(&posthog, "SessionEnd", &transcript).env(TRACE, "job-17").env(SPAN, "step-2").run().exits_with(0);
    until_nothing_is_owed(&home, &posthog);
    are_attached(&posthog.events(), "job-17", "step-2");
}

#[test]
fn what_is_owed_keeps_the_trace_that_it_was_seen_with() {
    let (home, posthog) = (Home::new(), posthog());
    let of_job = session(&home, "aaaa", &Transcript::new().turns(1));
    let lock = home.write(".local/state/posthog-llma/delivery-1.lock", "");
    let lock = File::open(lock).unwrap();
    lock.lock().unwrap();
    home.hook(&posthog, "SessionEnd", &of_job).env(TRACE, "job-17").run().exits_with(0);
    home.until_quiet();
    lock.unlock().unwrap();
    // From a terminal, where nothing is said of a trace.
    home.ready("flush", &posthog).run().exits_with(0);
    are_attached(&posthog.events(), "job-17", "job-17");
    // And what ran without one stays without, whoever delivers it.
    let alone = session(&home, "bbbb", &Transcript::new().turns(1));
    owe(&home, &posthog, &alone);
    home.ready("flush", &posthog).env(TRACE, "job-18").run().exits_with(0);
    let events = posthog.events();
    let of_second: Vec<_> = events.into_iter().filter(|e| e["properties"]["$ai_session_id"] == "bbbb").collect();
    are_a_trace(&of_second, "bbbb");
}

#[test]
fn each_delivery_of_an_attached_session_adds_a_span_and_the_sums_are_right() {
    let (home, posthog) = (Home::new(), posthog());
    let lines = Transcript::new().turns(3).text();
    let first: String = lines.split_inclusive('\n').take(2).collect();
    let transcript = home.write(".claude/projects/-work/aaaa.jsonl", first);
    let hook = || home.hook(&posthog, "SessionEnd", &transcript).env(TRACE, "job-17").run().exits_with(0);
    hook();
    until_nothing_is_owed(&home, &posthog);
    std::fs::write(&transcript, &lines).unwrap();
    hook();
    until_nothing_is_owed(&home, &posthog);
    let events = posthog.events();
    let sessions: Vec<_> = events.iter().filter(|event| event["properties"]["$ai_span_type"] == "agent").collect();
    assert_eq!(sessions.len(), 2);
    assert_eq!(sessions[0]["properties"]["$ai_span_id"], sessions[1]["properties"]["$ai_span_id"]);
    assert!(arrivals(&posthog).values().all(|times| *times == 1));
    let output = |event: &Value| event["properties"]["$ai_total_output_tokens"].as_u64();
    let total: u64 = sessions.iter().filter_map(|event| output(event)).sum();
    assert_eq!(total, sum(&events, "$ai_generation", "$ai_output_tokens"));
}

#[test]
fn every_command_attaches_what_it_is_told_to() {
    let (home, posthog) = (Home::new(), posthog());
    let transcript = session(&home, "aaaa", &Transcript::new().turns(1));
    let converted = home.convert(&transcript).env(TRACE, "job-17").env(SPAN, "s").run().exits_with(0);
    are_attached(&converted.events(), "job-17", "s");
    let seen = home.program(["view"]).arg(&transcript).env(TRACE, "job-17").run().exits_with(0);
    seen.prints(&["attached to the trace job-17"]);
    home.send(&posthog, &transcript).env(TRACE, "job-17").run().exits_with(0);
    are_attached(&posthog.events(), "job-17", "job-17");
    let other = LocalPostHog::start(Config::default()).unwrap();
    home.ready("ingest", &other).arg("--all").env(TRACE, "job-18").run().exits_with(0);
    are_attached(&other.events(), "job-18", "job-18");
}

#[test]
fn a_traceparent_counts_from_the_client_s_own_environment_alone() {
    let theirs = TRACEPARENT.replace("0af76519", "ffffffff");
    let given = [("TRACEPARENT", theirs.as_str())];
    let project = |home: &Home| home.path().join("work");
    // Its own.
    let (home, posthog) = (Home::new(), posthog());
    let transcript = session(&home, "aaaa", &Transcript::new().turns(1));
    let hook = home.hook(&posthog, "SessionEnd", &transcript).env(TRACE, "traceparent").env("TRACEPARENT", TRACEPARENT);
    hook.below_client(&project(&home), &given).run().exits_with(0);
    until_nothing_is_owed(&home, &posthog);
    are_attached(&posthog.events(), "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331");
    // One that the client, or a project by it, gives; and one in a file.
    let (home, posthog) = (Home::new(), self::posthog());
    home.write(".claude/settings.json", serde_json::json!({"env": {"TRACEPARENT": theirs}}).to_string());
    let transcript = session(&home, "aaaa", &Transcript::new().turns(1));
    let hook = home.hook(&posthog, "SessionEnd", &transcript).env(TRACE, "traceparent");
    hook.below_client(&project(&home), &given).run().exits_with(0);
    until_nothing_is_owed(&home, &posthog);
    are_a_trace(&posthog.events(), "aaaa");
    // One that nobody asked for; and a project's wish for it.
    let (home, posthog) = (Home::new(), self::posthog());
    let transcript = session(&home, "aaaa", &Transcript::new().turns(1));
    let hook = home.hook(&posthog, "SessionEnd", &transcript).env("TRACEPARENT", TRACEPARENT);
    hook.below_client(&project(&home), &[(TRACE, "traceparent"), (SPAN, "x")]).run().exits_with(0);
    until_nothing_is_owed(&home, &posthog);
    are_a_trace(&posthog.events(), "aaaa");
}

#[test]
fn what_is_no_trace_is_an_error_everywhere() {
    let (home, posthog) = (Home::new(), posthog());
    let transcript = session(&home, "aaaa", &Transcript::new().turns(1));
    for (variables, says) in [
        (&[(TRACE, "job 17")][..], TRACE),
        (&[(TRACE, "traceparent"), ("TRACEPARENT", "00-x")], "TRACEPARENT"),
        (&[(SPAN, "s")], TRACE),
        (&[("POSTHOG_LLMA_PARENT_TRACE", "t")], TRACE),
    ] {
        let with = |mut program: posthog_llma_tests::program::Program| {
            for (name, value) in variables {
                program = program.env(name, value);
            }
            program.run()
        };
        with(home.convert(&transcript)).exits_with(2).says(&[says]);
        with(home.send(&posthog, &transcript)).exits_with(2).says(&[says]);
        with(home.hook(&posthog, "SessionEnd", &transcript)).exits_with(0).says_nothing();
        let failure = &home.status(&posthog)["hook_failure"]["error"];
        assert!(failure.as_str().unwrap().contains(says), "{failure}");
    }
    assert!(posthog.requests().is_empty());
}
