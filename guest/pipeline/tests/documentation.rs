//! `docs/events.md` names the properties that are sent, and no others.

#![expect(clippy::disallowed_methods, reason = "a test reads the page")]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod conversion;
mod fixtures;

use conversion::{Run, convert};
use posthog_llma_pipeline::session::ConversionOptions;
use std::collections::BTreeSet;
use std::path::Path;

fn page() -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/events.md")).unwrap()
}

/// The section of the page below this heading.
fn section<'a>(page: &'a str, heading: &str) -> &'a str {
    let (_, rest) = page.split_once(&format!("\n## `{heading}`\n")).unwrap();
    rest.split("\n## ").next().unwrap()
}

/// The names of properties in the first column of a section's table.
fn documented(section: &str) -> BTreeSet<String> {
    let rows = section.lines().filter(|line| line.starts_with("| `"));
    let cells = rows.filter_map(|row| row.split('|').nth(1));
    cells.flat_map(|cell| cell.split('`').skip(1).step_by(2).map(str::to_owned)).collect()
}

/// The same of what is sent of all fixtures, but for what every event has.
fn sent(event: &str, privacy_mode: bool) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for fixture in fixtures::all() {
        let options = ConversionOptions { privacy_mode, ..ConversionOptions::default() };
        let converted = convert(&fixture.id, &fixture.files, Run { options, ..Run::default() });
        for event in converted.named(event) {
            names.extend(event["properties"].as_object().unwrap().keys().cloned());
        }
    }
    let common = [
        "$ai_trace_id",
        "$ai_session_id",
        "$ai_project_name",
        "$ai_git_branch",
        "$ai_lib",
        "$ai_lib_version",
        "$lib",
        "$lib_version",
        "$ai_framework",
        "$process_person_profile",
        "claude_code_version",
        "claude_code_entrypoint",
    ];
    names.retain(|name| !common.contains(&name.as_str()));
    names
}

#[test]
fn the_page_has_every_property() {
    let page = page();
    for event in ["$ai_generation", "$ai_span", "$ai_trace"] {
        let missing: Vec<_> = sent(event, false).difference(&documented(section(&page, event))).cloned().collect();
        assert!(missing.is_empty(), "docs/events.md says nothing of {missing:?} of {event}");
    }
}

#[test]
fn the_page_has_no_property_that_is_never_written() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/events");
    let mut code = String::new();
    for file in std::fs::read_dir(folder).unwrap() {
        code += &std::fs::read_to_string(file.unwrap().path()).unwrap();
    }
    let page = page();
    for event in ["$ai_generation", "$ai_span", "$ai_trace"] {
        for name in documented(section(&page, event)) {
            assert!(code.contains(&format!("\"{name}\"")), "{name} of {event} is written nowhere");
        }
    }
}

#[test]
fn privacy_mode_keeps_back_what_the_page_calls_text() {
    let page = page();
    for event in ["$ai_generation", "$ai_span", "$ai_trace"] {
        let (open, private) = (sent(event, false), sent(event, true));
        let rows = section(&page, event).lines().filter(|row| row.to_lowercase().contains("**text**"));
        let texts: BTreeSet<_> = rows.flat_map(documented).collect();
        for name in open.difference(&private) {
            assert!(texts.contains(name), "docs/events.md does not call {name} of {event} a text");
        }
        assert!(private.is_subset(&open), "{event}");
    }
}
