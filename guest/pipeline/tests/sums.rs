//! A session is written with known counts, and the events must add up to exactly those.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod generator;

use generator::{Expected, Failure, GeneratedSession, Place, Size, ToolOutcome, Trace, generate, sizes};
use posthog_llma_pipeline::events::event::Kind;
use posthog_llma_pipeline::identity::EventId;
use posthog_llma_pipeline::session::{AgentFile, ConversionOptions, Counts, FileRole, Session, TraceGrouping};
use proptest::prelude::{ProptestConfig, proptest};
use serde_json::Value;
use std::collections::BTreeMap;

/// The events of a session by their IDs, and the conversion's own counts.
struct Converted {
    generations: BTreeMap<String, Value>,
    spans: BTreeMap<String, Value>,
    traces: Vec<Value>,
    counts: Counts,
}

fn convert(session: &GeneratedSession, grouping: TraceGrouping, piece: usize) -> Converted {
    let mut files = vec![(FileRole::Main, &session.main)];
    files.extend(session.agents.iter().map(|agent| {
        let role = FileRole::Agent(AgentFile {
            agent_id: agent.agent_id.clone(),
            metadata: agent.metadata.clone(),
            workflow_run: agent.workflow_run.clone(),
        });
        (role, &agent.bytes)
    }));
    let roles: Vec<_> = files.iter().map(|(role, _)| role.clone()).collect();
    let options = ConversionOptions { trace_grouping: grouping, ..ConversionOptions::default() };
    let mut conversion = Session::open(&session.id, &roles, options).unwrap();
    for (i, (_, bytes)) in (0..).zip(&files) {
        for piece in bytes.chunks(piece) {
            conversion.scan(i, piece).unwrap();
        }
    }
    for (i, (_, bytes)) in (0..).zip(&files) {
        for piece in bytes.chunks(piece) {
            conversion.convert(i, piece).unwrap();
        }
    }
    conversion.finish().unwrap();
    let mut converted = Converted {
        generations: BTreeMap::new(),
        spans: BTreeMap::new(),
        traces: Vec::new(),
        counts: conversion.counts(),
    };
    while let Some(event) = conversion.next_event() {
        let id = event.id.to_string();
        let json: Value = serde_json::from_slice(&event.json).unwrap();
        assert_eq!(json["uuid"], id);
        let before = match event.kind {
            Kind::Generation => converted.generations.insert(id, json),
            Kind::Span => converted.spans.insert(id, json),
            Kind::Trace | Kind::Session => {
                converted.traces.push(json);
                None
            }
        };
        assert_eq!(before, None, "an event came twice, session {}", session.id);
    }
    converted
}

/// The id of a generation whose key is a `message.id`, or a line's `uuid` where there is none.
fn generation_id<'a>(key: &str, converted: &'a Converted) -> (String, Option<&'a Value>) {
    let ids = [EventId::generation(key), EventId::generation_of_line(key)].map(|id| id.to_string());
    let found = ids.iter().find_map(|id| Some((id.clone(), converted.generations.get(id)?)));
    found.map_or_else(|| (ids[0].clone(), None), |(id, event)| (id, Some(event)))
}

/// A failed call's id is the client's own, not of Anthropic's shape: its time and its words tell which it is.
fn failed_call<'a>(failure: &Failure, converted: &'a Converted) -> Option<&'a Value> {
    let at = posthog_llma_pipeline::time::format(failure.at);
    converted
        .generations
        .values()
        .find(|event| event["timestamp"] == at.as_str() && event["properties"]["$ai_error"] == failure.text.as_str())
}

/// The id of a span: that of its `tool_use` id alone, or below its call where the call has no id of the first kind.
fn span_id(key: &str, expected: &Expected, converted: &Converted) -> String {
    let alone = EventId::span(key);
    let Some(span) = expected.spans.get(key).filter(|_| !converted.spans.contains_key(&alone.to_string())) else {
        return alone.to_string();
    };
    let (call, _) = generation_id(&span.generation, converted);
    let call = EventId(u128::from_str_radix(&call.replace('-', ""), 16).unwrap());
    EventId::span_of(call, key).to_string()
}

fn milliseconds(latency: &Value) -> Option<u64> {
    latency.as_f64().map(|seconds| (seconds * 1000.0).round() as u64)
}

fn check(seed: u64, size: Size) {
    let session = generate(seed, size);
    let expected = &session.expected;
    for grouping in [TraceGrouping::Session, TraceGrouping::Message] {
        let converted = convert(&session, grouping, 4096);
        check_generations(seed, &session, &converted, grouping);
        check_spans(seed, &session, &converted, grouping);
        check_traces(seed, expected, &converted, grouping);
        let counts = &converted.counts;
        assert_eq!(counts.unknown_types, expected.unknown_types, "seed {seed}");
        assert!(
            expected.bad_lines().contains(&counts.bad_lines),
            "seed {seed}: {} bad lines, not {:?}",
            counts.bad_lines,
            expected.bad_lines()
        );
    }
}

fn check_generations(seed: u64, session: &GeneratedSession, converted: &Converted, grouping: TraceGrouping) {
    let expected = &session.expected;
    for (key, generation) in &expected.generations {
        let event = match &generation.failure {
            Some(failure) => failed_call(failure, converted),
            None => generation_id(key, converted).1,
        };
        let event = event.unwrap_or_else(|| panic!("seed {seed}: generation {key} is missing"));
        let p = &event["properties"];
        let at = format!("seed {seed}, generation {key}: {p:#}");
        assert_eq!(p["$ai_model"].as_str(), generation.model.as_deref(), "{at}");
        let tokens = &generation.tokens;
        for (name, count) in [
            ("$ai_input_tokens", tokens.input),
            ("$ai_output_tokens", tokens.output),
            ("$ai_cache_read_input_tokens", tokens.cache_read),
            ("$ai_cache_creation_input_tokens", tokens.cache_creation),
            ("$ai_cache_creation_5m_input_tokens", tokens.cache_creation_5m),
            ("$ai_cache_creation_1h_input_tokens", tokens.cache_creation_1h),
        ] {
            assert_eq!(p[name].as_u64(), count, "{name}, {at}");
        }
        assert_eq!(p["$ai_is_error"] == true, generation.failure.is_some(), "{at}");
        if let Some(failure) = &generation.failure {
            assert_eq!(p["$ai_error"].as_str(), Some(failure.text.as_str()), "{at}");
            if failure.status.is_some() {
                assert_eq!(p["$ai_http_status"].as_u64(), failure.status.map(u64::from), "{at}");
            }
        } else {
            assert_eq!(milliseconds(&p["$ai_latency"]), generation.latency_ms, "{at}");
            assert_eq!(p["claude_code_output_tokens_partial"] == true, generation.stop_reason.is_none(), "{at}");
            assert_eq!(p["$ai_tool_call_count"], generation.tools.len(), "{at}");
            assert_eq!(p["$ai_tools_called"].as_str().unwrap_or(""), generation.tools.join(","), "{at}");
            let answer = p["$ai_output_choices"].to_string();
            for text in generation.texts.iter().chain(&generation.thinking).filter(|t| !t.is_empty()) {
                let text = serde_json::to_string(text).unwrap();
                assert!(answer.contains(text.trim_matches('"')), "{text} is missing, {at}");
            }
        }
        assert_eq!(p["claude_code_interrupted"] == true, generation.interrupted, "{at}");
        // Wherever it went, a session has one project.
        assert_eq!(p["$ai_project_name"], converted.traces[0]["properties"]["$ai_project_name"], "{at}");
        assert_eq!(p["$ai_git_branch"].as_str(), generation.branch.as_deref(), "{at}");
        let parent = match &generation.place.call {
            Some(call) => span_id(call, expected, converted),
            None => p["$ai_trace_id"].as_str().unwrap().to_owned(),
        };
        assert_eq!(p["$ai_parent_id"], parent, "{at}");
        assert_eq!(p["$ai_agent_name"].as_str(), generation.place.agent_type.as_deref(), "{at}");
        check_place(&at, session, p, &generation.place, grouping);
    }
    assert_eq!(converted.generations.len(), expected.generations.len(), "seed {seed}");
}

fn check_place(at: &str, session: &GeneratedSession, p: &Value, place: &Place, grouping: TraceGrouping) {
    let id = match (grouping, place.trace) {
        (_, Trace::Unspecified) => return,
        (TraceGrouping::Session, _) | (_, Trace::Session) => session.id.clone(),
        (TraceGrouping::Message, Trace::Prompt(index)) => {
            let prompt = &session.expected.prompts[index];
            match (&prompt.prompt_id, &prompt.uuid) {
                (Some(id), _) => EventId::other("prompt", id).to_string(),
                (None, Some(uuid)) => EventId::other("prompt-line", uuid).to_string(),
                (None, None) => return,
            }
        }
    };
    assert_eq!(p["$ai_trace_id"], id, "{at}");
}

fn check_spans(seed: u64, session: &GeneratedSession, converted: &Converted, grouping: TraceGrouping) {
    let expected = &session.expected;
    for (key, span) in &expected.spans {
        let event = converted.spans.get(&span_id(key, expected, converted));
        let event = event.unwrap_or_else(|| panic!("seed {seed}: span {key} is missing"));
        let p = &event["properties"];
        let at = format!("seed {seed}, span {key}: {p:#}");
        assert_eq!(p["$ai_span_name"], span.name.as_str(), "{at}");
        assert_eq!(p["$ai_parent_id"], generation_id(&span.generation, converted).0, "{at}");
        match span.outcome {
            ToolOutcome::Result { error, latency_ms } => {
                assert_eq!(p["$ai_is_error"], error, "{at}");
                let waited = milliseconds(&p["claude_code_wait_seconds"]).unwrap_or(0);
                assert_eq!(milliseconds(&p["$ai_latency"]).map(|ran| ran + waited), Some(latency_ms), "{at}");
                assert_eq!(p["claude_code_no_result"], Value::Null, "{at}");
            }
            ToolOutcome::None => {
                assert_eq!(p["$ai_is_error"], false, "{at}");
                assert_eq!(p["claude_code_no_result"], true, "{at}");
                assert_eq!(p["$ai_latency"], Value::Null, "{at}");
            }
            ToolOutcome::Server => assert_eq!(p["$ai_is_error"], false, "{at}"),
        }
        check_place(&at, session, p, &span.place, grouping);
    }
    assert_eq!(converted.spans.len(), expected.spans.len(), "seed {seed}");
}

/// How many turns there are: a command that no model answers is none.
fn turns(expected: &Expected) -> u64 {
    expected.prompts.iter().filter(|prompt| !prompt.command).count() as u64
}

fn check_traces(seed: u64, expected: &Expected, converted: &Converted, grouping: TraceGrouping) {
    let sum = |name: &str| converted.traces.iter().filter_map(|t| t["properties"][name].as_u64()).sum::<u64>();
    let tokens = expected.tokens();
    for (name, count) in [
        ("$ai_total_input_tokens", tokens.input),
        ("$ai_total_output_tokens", tokens.output),
        ("$ai_total_cache_read_input_tokens", tokens.cache_read),
        ("$ai_total_cache_creation_input_tokens", tokens.cache_creation),
        ("claude_code_generations", Some(expected.generations.len() as u64)),
        ("claude_code_tool_calls", Some(expected.spans.len() as u64)),
        ("claude_code_tool_errors", Some(expected.tool_errors() as u64)),
    ] {
        assert_eq!(Some(sum(name)), count, "seed {seed}: {name}");
    }
    if grouping == TraceGrouping::Session && !converted.traces.is_empty() {
        assert_eq!(sum("claude_code_turns"), turns(expected), "turns, seed {seed}");
        assert_eq!(sum("claude_code_compactions"), expected.compactions, "compactions, seed {seed}");
        assert_eq!(sum("claude_code_unknown_lines"), expected.unknown_lines(), "unknown lines, seed {seed}");
        assert_eq!(sum("claude_code_bad_lines"), converted.counts.bad_lines, "bad lines, seed {seed}");
        let agents = expected.agents.len() as u64;
        assert!(
            (agents..=agents + expected.agents_without_call.len() as u64).contains(&sum("claude_code_subagents")),
            "seed {seed}"
        );
    }
    let failed = converted.traces.iter().any(|t| t["properties"]["$ai_is_error"] == true);
    assert_eq!(failed, expected.failed_calls() > 0, "seed {seed}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_events_add_up_to_what_was_written(seed in 0..u64::MAX, size in sizes()) {
        check(seed, size);
    }

    #[test]
    fn pieces_of_any_size_give_the_same_events(seed in 0..u64::MAX, size in sizes(), piece in 1usize..5000) {
        let session = generate(seed, size);
        let whole = convert(&session, TraceGrouping::Session, usize::MAX);
        let pieces = convert(&session, TraceGrouping::Session, piece);
        assert_eq!(whole.generations, pieces.generations);
        assert_eq!(whole.spans, pieces.spans);
        assert_eq!(whole.traces, pieces.traces);
        assert_eq!(whole.counts, pieces.counts);
    }
}

#[test]
fn a_long_session_adds_up() {
    check(7, Size::any(60, 6));
}
