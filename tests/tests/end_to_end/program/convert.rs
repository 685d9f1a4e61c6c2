//! What `convert` prints, and that it makes no request.

use super::*;
use posthog_llma_tests::proxy::{Proxy, ProxyConfig};

#[test]
fn converting_twice_prints_the_same_bytes() {
    for case in [DEMO, "1.0.128/sub2", "2.1.330/workflow"] {
        let (home, other_home, session) = (Home::new(), Home::new(), fixture(case));
        let first = home.convert(&session).run().exits_with(0);
        assert_eq!(other_home.convert(&session).run().exits_with(0).stdout, first.stdout, "{case}");
        assert!(first.events().len() > 5);
    }
}

#[test]
fn every_line_is_one_event_with_an_envelope_and_nothing_else() {
    for event in Home::new().convert(fixture(DEMO)).run().exits_with(0).events() {
        let names: Vec<_> = event.as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(names, ["distinct_id", "event", "properties", "timestamp", "uuid"]);
    }
}

#[test]
fn a_transcript_may_be_named_by_a_link() {
    let home = Home::new();
    let session = fixture(DEMO);
    let direct = home.convert(&session).run().exits_with(0);
    #[cfg(unix)]
    std::os::unix::fs::symlink(&session, home.path().join("work/link.jsonl")).unwrap();
    #[cfg(unix)]
    assert_eq!(home.convert("link.jsonl").run().exits_with(0).stdout, direct.stdout, "with its sub-agent");
    assert!(direct.stdout.contains("\"$ai_agent_name\":\"Explore\""));
}

#[test]
fn no_request_is_made() {
    let (home, posthog) = (Home::new(), posthog());
    let proxy = Proxy::start(ProxyConfig::default()).unwrap();
    let convert = home.convert(fixture(DEMO)).env("POSTHOG_HOST", posthog.origin()).env("POSTHOG_API_KEY", KEY);
    convert.env("HTTPS_PROXY", proxy.url()).env("ALL_PROXY", proxy.url()).run().exits_with(0);
    assert!(posthog.requests().is_empty());
    assert!(proxy.requests().is_empty());
}

#[test]
fn a_reader_that_has_seen_enough_is_no_error() {
    let home = Home::new();
    // More than any pipe holds.
    let session = home.session(Transcript::new().turns(1000).text());
    let outcome = home.convert(&session).start().end_after_first_line().exits_with(0).says_nothing();
    assert!(outcome.stdout.starts_with("{\"event\":\"$ai_generation\""), "{}", outcome.stdout);
}

#[test]
#[cfg(target_os = "linux")]
fn output_that_cannot_be_written_is_an_error() {
    let home = Home::new();
    let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
    let outcome = home.convert(fixture(DEMO)).run_into(full).exits_with(1);
    outcome.says(&["posthog-llma: error: cannot write the events"]);
}
