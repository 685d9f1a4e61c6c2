//! The smallest host of the converter: `posthog-llma-example COMPONENT TRANSCRIPT` prints the session's events.

#![allow(missing_docs, clippy::pedantic, reason = "generated code")]

use anyhow::{Context as _, Result, anyhow};
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::{env, fs::File, io};
use wasmtime::component::{Component, Linker};
use wasmtime::{Engine, Store};

wasmtime::component::bindgen!({ path: "../../wit", world: "converter" });

use exports::posthog::llm_analytics::types::{ConversionOptions, FileRole, ToolSpans, TraceGrouping};

fn main() -> Result<()> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [component, transcript] = arguments.as_slice() else {
        return Err(anyhow!("usage: posthog-llma-example COMPONENT TRANSCRIPT"));
    };
    let engine = Engine::default();
    let component = Component::from_file(&engine, component)?;
    let mut store = Store::new(&engine, ());
    // The linker is empty: whatever the component contains, it can reach nothing.
    let converter = Converter::instantiate(&mut store, &component, &Linker::new(&engine))?;
    let session = converter.posthog_llm_analytics_conversion().session();

    let options = ConversionOptions {
        distinct_id: None,
        git_repo: None,
        project_name: None,
        parent_trace_id: None,
        parent_span_id: None,
        purpose: None,
        trace_grouping: TraceGrouping::Session,
        tool_spans: ToolSpans::All,
        privacy_mode: false,
        redact_secrets: true,
        max_attribute_length: 12_000,
        custom_properties: None,
        redact_patterns: None,
        hold_after: None,
        hold_calls: false,
        since: None,
    };
    let id = Path::new(transcript).file_stem().and_then(|stem| stem.to_str()).context("not a session ID")?;
    let opened = session.call_open(&mut store, id, &[FileRole::Main], &options)?;
    let this = opened.map_err(|option| anyhow!("{}: {}", option.name, option.reason))?;

    let mut file = BufReader::with_capacity(64 << 10, File::open(transcript).context("the transcript")?);
    while let piece @ [_, ..] = file.fill_buf()? {
        session.call_scan(&mut store, this, 0, piece)??;
        let length = piece.len();
        file.consume(length);
    }
    let mut file = BufReader::with_capacity(64 << 10, File::open(transcript)?);
    while let piece @ [_, ..] = file.fill_buf()? {
        session.call_convert(&mut store, this, 0, piece)??;
        let length = piece.len();
        file.consume(length);
        io::stdout().write_all(&session.call_take_events(&mut store, this, u32::MAX)?)?;
    }
    session.call_finish(&mut store, this)??;
    io::stdout().write_all(&session.call_take_events(&mut store, this, u32::MAX)?)?;
    Ok(())
}
