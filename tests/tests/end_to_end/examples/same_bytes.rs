//! The same sessions become the same events, byte for byte, in every host.

use super::*;
use posthog_llma::claude_code::sessions::SessionFiles;
use posthog_llma::delivery::conversion;
use posthog_llma::program::LocalSession;
use posthog_llma_pipeline::options::ConversionOptions;
use posthog_llma_pipeline::session as native;
use posthog_llma_sandbox::proxy::ProxySettings;
use posthog_llma_sandbox::{Limits, Sandbox, block_on};
use posthog_llma_tests::components::built;
use std::fs;
use wasmtime::component::{Component, Linker};
use wasmtime::{Engine, Store};

mod bindings {
    #![allow(missing_docs, unreachable_pub, clippy::pedantic, reason = "generated code")]
    wasmtime::component::bindgen!({ path: "../wit", world: "converter" });
}
use bindings::exports::posthog::llm_analytics::types;

const DISTINCT_ID: &str = "dev@example.com";

fn options() -> ConversionOptions {
    ConversionOptions { distinct_id: Some(DISTINCT_ID.to_owned()), ..ConversionOptions::default() }
}

/// Converts with the library, without WebAssembly.
fn natively(files: &SessionFiles, options: &ConversionOptions) -> Vec<u8> {
    let agents = files.agents.iter().map(|agent| {
        native::FileRole::Agent(native::AgentFile {
            agent_id: agent.agent_id.clone(),
            metadata: agent.metadata.clone(),
            workflow_run: agent.workflow_run.clone(),
        })
    });
    let roles: Vec<_> = files.mains().map(|_| native::FileRole::Main).chain(agents).collect();
    let mut session = native::Session::open(&files.id, &roles, options.clone()).unwrap();
    for (index, bytes) in (0..).zip(contents(files)) {
        session.scan(index, &bytes).unwrap();
    }
    for (index, bytes) in (0..).zip(contents(files)) {
        session.convert(index, &bytes).unwrap();
    }
    session.finish().unwrap();
    session.take_events(usize::MAX)
}

fn contents(files: &SessionFiles) -> impl Iterator<Item = Vec<u8>> {
    let paths = files.mains().chain(files.agents.iter().map(|agent| agent.path.as_path()));
    paths.map(|path| fs::read(path).unwrap())
}

/// Converts with the converter, instantiated with an empty linker.
fn in_the_converter(engine: &Engine, component: &Component, files: &SessionFiles) -> Vec<u8> {
    let mut store = Store::new(engine, ());
    let converter = bindings::Converter::instantiate(&mut store, component, &Linker::new(engine)).unwrap();
    let session = converter.posthog_llm_analytics_conversion().session();
    let agents = files.agents.iter().map(|agent| {
        types::FileRole::Agent(types::AgentFile {
            agent_id: agent.agent_id.clone(),
            metadata: agent.metadata.clone(),
            workflow_run: agent.workflow_run.clone(),
        })
    });
    let roles: Vec<_> = files.mains().map(|_| types::FileRole::Main).chain(agents).collect();
    let options = types::ConversionOptions {
        distinct_id: Some(DISTINCT_ID.to_owned()),
        git_repo: None,
        project_name: None,
        parent_trace_id: None,
        parent_span_id: None,
        purpose: None,
        trace_grouping: types::TraceGrouping::Session,
        tool_spans: types::ToolSpans::All,
        privacy_mode: false,
        redact_secrets: true,
        max_attribute_length: 12_000,
        custom_properties: None,
        redact_patterns: None,
        hold_after: None,
        hold_calls: false,
        since: None,
    };
    let this = session.call_open(&mut store, &files.id, &roles, &options).unwrap().unwrap();
    for (index, bytes) in (0..).zip(contents(files)) {
        session.call_scan(&mut store, this, index, &bytes).unwrap().unwrap();
    }
    for (index, bytes) in (0..).zip(contents(files)) {
        session.call_convert(&mut store, this, index, &bytes).unwrap().unwrap();
    }
    session.call_finish(&mut store, this).unwrap().unwrap();
    session.call_take_events(&mut store, this, u32::MAX).unwrap()
}

#[test]
fn every_host_gives_the_same_events_byte_for_byte() {
    let mut transcripts = fixtures::transcripts("").unwrap();
    assert!(transcripts.len() > 100);
    // And one that went on in another project's folder, whichever of the two transcripts is named.
    let home = tempfile::tempdir().unwrap();
    let folders = ["projects/-b-first", "projects/-a-second"].map(|name| home.path().join(name));
    transcripts.extend(fixtures::in_two_folders(&transcript(), folders.each_ref().map(PathBuf::as_path)).unwrap());

    let sandbox = Sandbox::new(Limits::default(), ProxySettings::default()).unwrap();
    let engine = Engine::default();
    let converter = Component::from_file(&engine, component("converter")).unwrap();
    let options = options().into();
    let mut expected = Vec::new();
    for path in &transcripts {
        let files = SessionFiles::of_transcript(path).unwrap();
        let events = natively(&files, &self::options());
        assert!(in_the_converter(&engine, &converter, &files) == events, "converter: {}", path.display());

        let session = LocalSession::new(files, None);
        let mut in_our_host = Vec::new();
        let outcome = block_on(conversion::convert(&sandbox, &session, &options, &mut in_our_host)).unwrap();
        outcome.unwrap();
        assert!(in_our_host == events, "our host: {}", path.display());
        expected.extend(events);
    }

    // All in one process each; what is not the same shows in which line.
    if let Some(folder) = node() {
        let mut convert = node_script(folder, "convert.mjs");
        let events = printed(convert.args(&transcripts).env("POSTHOG_LLMA_DISTINCT_ID", DISTINCT_ID));
        same("Node.js", &events, &expected);
    }
    if let Some(python) = python() {
        let mut convert = python_script(python, "convert.py", "converter");
        let events = printed(convert.args(&transcripts).env("POSTHOG_LLMA_DISTINCT_ID", DISTINCT_ID));
        same("Python", &events, &expected);
    }
}

fn same(host: &str, events: &[u8], expected: &[u8]) {
    let lines = |bytes: &[u8]| bytes.split(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect::<Vec<_>>();
    for (number, (line, expected)) in lines(events).iter().zip(lines(expected)).enumerate() {
        assert!(*line == expected, "{host}: line {number}: {}", String::from_utf8_lossy(line));
    }
    assert_eq!(events.len(), expected.len(), "{host}");
}

#[test]
fn the_smallest_host_converts_in_less_than_seventy_lines() {
    let source = fs::read_to_string(example("rust").join("src/main.rs")).unwrap();
    assert!(source.lines().count() < 70);
    let transcript = fixtures::transcripts("2.1.330/parallel").unwrap().remove(0);
    let files = SessionFiles::of_transcript(&transcript).unwrap();
    assert!(files.agents.is_empty());
    let events = printed(Command::new(built("posthog-llma-example")).arg(component("converter")).arg(&transcript));
    same("examples/rust", &events, &natively(&files, &ConversionOptions::default()));
}

#[test]
fn python_runs_the_command_with_nothing_behind_its_requests() {
    let Some(python) = python() else { return };
    let files = SessionFiles::of_transcript(&transcript()).unwrap();
    let mut convert = python_script(python, "command.py", "command");
    let events = printed(convert.arg(transcript()).env("POSTHOG_LLMA_DISTINCT_ID", DISTINCT_ID));
    same("Python", &events, &natively(&files, &options()));
}
