//! Every transcript that the real client wrote, converted in each way. In this process, because a process for each
//! would take minutes.

use super::*;
use posthog_llma::claude_code::sessions::SessionFiles;
use posthog_llma::delivery::conversion;
use posthog_llma::delivery::record::Unrecorded;
use posthog_llma::delivery::send::{self, Destination};
use posthog_llma::program::LocalSession;
use posthog_llma_pipeline::options::ApiKey;
use posthog_llma_pipeline::origin::Origin;
use posthog_llma_pipeline::session;
use posthog_llma_sandbox::bindings::posthog::llm_analytics::types::{ConversionOptions, TraceGrouping};
use posthog_llma_sandbox::proxy::ProxySettings;
use posthog_llma_sandbox::{Limits, Sandbox, block_on};
use serde_json::Value;
use std::sync::LazyLock;

static SANDBOX: LazyLock<Sandbox> =
    LazyLock::new(|| Sandbox::new(Limits::default(), ProxySettings::default()).unwrap());

fn converted(session: &LocalSession, options: &ConversionOptions) -> String {
    let mut events = Vec::new();
    block_on(conversion::convert(&SANDBOX, session, options, &mut events)).unwrap().unwrap();
    String::from_utf8(events).unwrap()
}

/// Each fixture is converted twice to the same bytes, sent as exactly these bytes, and accepted by the strict rules.
/// Returns the events of all fixtures.
fn every_fixture_is_accepted(options: &ConversionOptions) -> Vec<Value> {
    let transcripts = fixtures::transcripts("").unwrap();
    assert!(transcripts.len() > 100);
    let mut events = Vec::new();
    for path in transcripts {
        let session = LocalSession::new(SessionFiles::of_transcript(&path).unwrap(), None);
        let expected = converted(&session, options);
        assert_eq!(converted(&session, options), expected, "{}", path.display());

        let posthog = posthog();
        let origin = Origin::parse(&posthog.origin(), false).unwrap();
        let destination = Destination { origin, api_key: ApiKey::parse(KEY).unwrap() };
        let mut record = Unrecorded;
        let deliver = send::deliver(&SANDBOX, &session, options, &destination, send::PATIENCE, &mut record);
        let delivered = block_on(deliver).unwrap();
        assert!(delivered.error.is_none(), "{}: {:?}", path.display(), delivered.error);
        for batch in &delivered.batches {
            assert_eq!(batch.rejected().count(), 0, "{}: {:?}", path.display(), batch.events);
        }
        assert_eq!(sent(&posthog), expected, "{}", path.display());
        events.extend(posthog.events());
    }
    assert!(events.len() > 500, "{}", events.len());
    events
}

fn options() -> ConversionOptions {
    session::ConversionOptions::default().into()
}

#[test]
fn every_fixture_arrives_as_it_is_converted() {
    every_fixture_is_accepted(&options());
}

#[test]
fn every_fixture_arrives_as_it_is_converted_with_a_trace_for_each_prompt() {
    every_fixture_is_accepted(&ConversionOptions { trace_grouping: TraceGrouping::Message, ..options() });
}

#[test]
fn every_fixture_arrives_as_it_is_converted_in_privacy_mode() {
    let events = every_fixture_is_accepted(&ConversionOptions { privacy_mode: true, ..options() });
    let texts =
        ["$ai_input", "$ai_output_choices", "$ai_input_state", "$ai_output_state", "$ai_user_prompt", "$ai_trace_name"];
    for (event, text) in events.iter().flat_map(|event| texts.map(|text| (event, text))) {
        assert_eq!(event["properties"].get(text), None, "{event}");
    }
}
