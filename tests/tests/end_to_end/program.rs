//! The real program against a strict local `PostHog`, as a user runs it.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use flate2::read::GzDecoder;
use posthog_llma_local_posthog::{Answer, Config, LocalPostHog, Received};
use posthog_llma_tests::fixtures;
use posthog_llma_tests::program::{Home, KEY, Program, SESSION_ID};
use posthog_llma_tests::transcript::Transcript;
use std::io::Read;
use std::path::PathBuf;

mod convert;
mod demo;
mod errors;
mod every_fixture;
mod faults;
mod flags;
mod network;
mod privacy;
mod redaction;
mod secrets;
mod send;
mod sessions;
mod settings;
mod setup;
mod shell;
mod verdicts;
mod view;
mod warnings;

/// A session with nearly everything: parallel tools, a failing one, a sub-agent, a failed call.
const DEMO: &str = "demo";

/// The first transcript of a fixture.
fn fixture(folder: &str) -> PathBuf {
    fixtures::transcripts(folder).unwrap().remove(0)
}

/// A server that only applies the rules.
fn posthog() -> LocalPostHog {
    LocalPostHog::start(Config::default()).unwrap()
}

/// The decompressed text of a request's body.
fn decompressed(request: &Received) -> String {
    let mut text = String::new();
    GzDecoder::new(&request.body[..]).read_to_string(&mut text).unwrap();
    text
}

/// The events of all accepted requests, one per line, in the exact bytes that were sent, except for the newest route's
/// options.
fn sent(posthog: &LocalPostHog) -> String {
    let requests = posthog.requests();
    let batches = requests.iter().filter(|request| request.status == Some(200)).map(|request| {
        let body = decompressed(request);
        let (head, batch) = body.split_once("\"batch\":[").unwrap();
        assert!(head.starts_with("{\"created_at\":\"") || head == format!("{{\"api_key\":\"{KEY}\","), "{head}");
        let mut events = batch.strip_suffix("]}").unwrap().replace("},{\"event\":", "}\n{\"event\":") + "\n";
        for person in ["", ",\"process_person_profile\":false"] {
            events = events.replace(&format!(",\"options\":{{\"disable_skew_correction\":true{person}}}}}"), "}");
        }
        events
    });
    batches.collect()
}
