//! What becomes of sessions that the real Claude Code wrote: a change of behavior shows as a diff of data.
//!
//! For each session one snapshot with everything that is sent when a session is a trace, and a short one with the shape of
//! the tree when a prompt is. `INSTA_UPDATE=always cargo test -p posthog-llma-pipeline --test snapshots` writes them anew.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod conversion;
mod fixtures;

use conversion::{Converted, Run, convert};
use fixtures::Fixture;
use posthog_llma_pipeline::session::{ConversionOptions, TraceGrouping};
use serde_json::{Map, Value};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind};

#[test]
fn each_session_becomes_these_events() {
    check(".session", |fixture| everything(&converted(fixture, TraceGrouping::Session)));
}

#[test]
fn each_prompt_becomes_a_trace_of_this_shape() {
    check(".message", |fixture| shape(&converted(fixture, TraceGrouping::Message)));
}

fn converted(fixture: &Fixture, trace_grouping: TraceGrouping) -> Converted {
    let options = ConversionOptions {
        trace_grouping,
        distinct_id: Some("dev@example.com".into()),
        max_attribute_length: 200,
        ..ConversionOptions::default()
    };
    convert(&fixture.id, &fixture.files, Run { options, ..Run::default() })
}

/// Compares all, and then fails if any differs: a change of a rule is seen in all that it touches.
fn check(suffix: &str, text: impl Fn(&Fixture) -> String) {
    let mut differing = Vec::new();
    for fixture in fixtures::all() {
        let name = format!("{}-{}{suffix}", fixture.case.replace('/', "-"), &fixture.id[..8]);
        let mut settings = insta::Settings::clone_current();
        settings.set_prepend_module_to_snapshot(false);
        settings.set_omit_expression(true);
        let text = text(&fixture);
        let same = catch_unwind(AssertUnwindSafe(|| settings.bind(|| insta::assert_snapshot!(name.clone(), text))));
        if same.is_err() {
            differing.push(name);
        }
    }
    assert!(differing.is_empty(), "{} snapshots differ: {differing:#?}", differing.len());
}

/// Left out: the same in every event of every session.
const CONSTANT: [&str; 7] =
    ["$ai_lib", "$ai_lib_version", "$lib", "$lib_version", "$ai_framework", "$ai_session_id", "$ai_provider"];

/// All events; what is the same in all of them stands at the top, and IDs have short names.
fn everything(converted: &Converted) -> String {
    let mut out = String::new();
    let names = short_names(converted);
    let common = common_properties(converted);
    for (name, value) in &common {
        let _ = writeln!(out, "{name}: {value}");
    }
    let counts = &converted.counts;
    let _ = writeln!(
        out,
        "{} lines, {} bad, {} unknown {:?}",
        counts.lines, counts.bad_lines, counts.unknown_lines, counts.unknown_types
    );
    for event in &converted.events {
        let id = event["uuid"].as_str().unwrap();
        let (kind, at) = (event["event"].as_str().unwrap(), event["timestamp"].as_str().unwrap());
        let _ = writeln!(out, "\n{kind} {} {at}", names.get(id).map_or("", String::as_str));
        for (name, value) in event["properties"].as_object().unwrap() {
            if CONSTANT.contains(&name.as_str()) || common.contains_key(name) || name == "$ai_span_id" {
                continue;
            }
            let short = value.as_str().and_then(|v| names.get(v)).map_or_else(|| value.to_string(), Clone::clone);
            let _ = writeln!(out, "  {name}: {short}");
        }
    }
    out
}

/// `generation 1`, `span 2`, …, in the order in which they come.
fn short_names(converted: &Converted) -> BTreeMap<String, String> {
    let mut names = BTreeMap::new();
    for kind in ["$ai_generation", "$ai_span"] {
        for (i, event) in converted.named(kind).enumerate() {
            let name = format!("{} {}", &kind[4..], i + 1);
            names.insert(event["uuid"].as_str().unwrap().to_owned(), name);
        }
    }
    names
}

fn common_properties(converted: &Converted) -> BTreeMap<String, Value> {
    let all: Vec<&Map<String, Value>> = converted.events.iter().map(|e| e["properties"].as_object().unwrap()).collect();
    let Some(first) = all.first() else { return BTreeMap::new() };
    let common = first.iter().filter(|(name, value)| {
        !CONSTANT.contains(&name.as_str()) && all.iter().all(|properties| properties.get(*name) == Some(value))
    });
    common.map(|(name, value)| (name.clone(), value.clone())).collect()
}

/// The tree alone, with the real IDs.
fn shape(converted: &Converted) -> String {
    let mut out = String::new();
    let mut traces = BTreeSet::new();
    for event in &converted.events {
        let p = &event["properties"];
        let text = |name: &str| p[name].as_str().unwrap_or("-").to_owned();
        traces.insert(text("$ai_trace_id"));
        let name = match event["event"].as_str().unwrap() {
            "$ai_generation" => text("$ai_model"),
            "$ai_span" => text("$ai_span_name"),
            _ => format!("{:?}", text("$ai_trace_name")),
        };
        let _ = writeln!(
            out,
            "{} {} {name}\n  trace {} parent {} agent {}",
            event["event"].as_str().unwrap(),
            event["uuid"].as_str().unwrap(),
            text("$ai_trace_id"),
            text("$ai_parent_id"),
            text("$ai_agent_name")
        );
    }
    let _ = writeln!(out, "{} traces", traces.len());
    out
}
