//! The documentation is true: its commands run, its links lead somewhere, and its tables match the program.
//!
//! Every block of shell commands is run, unless a comment above it says otherwise:
//!
//! - `<!-- not run: WHY -->`
//! - `<!-- exits with 1: WHY -->`: it is run, and must exit with this code
//! - `<!-- runs in the clone -->`: it is run in this repository

#![cfg(unix)]
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod commands;
mod links;
mod machine;
mod page;
mod settings;

use machine::{Machine, run_in_the_clone, succeeded, target_directory, workspace};
use page::{How, Page};
use std::fs;
use std::process::Command;

/// The shell command blocks of all pages.
fn blocks() -> impl Iterator<Item = page::Block> {
    Page::all().into_iter().flat_map(|page| page.blocks("sh"))
}

#[test]
fn every_block_of_commands_runs_or_says_why_not() {
    let mut ran = 0;
    for block in blocks() {
        let code = match block.how() {
            How::Run => 0,
            How::Fail(code) => code,
            How::Clone | How::Not => continue,
        };
        let output = Machine::new().shell(&block.text).output().unwrap();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{}: {:?}: {errors}", block.place, block.text);
        ran += 1;
    }
    assert!(ran > 10, "only {ran} blocks were run");
}

/// A fence without a language is one that no test looks at.
#[test]
fn every_block_has_a_language_and_json_is_json() {
    for page in Page::all() {
        for block in page.every_block() {
            assert!(!block.language.is_empty(), "{}: no language", block.place);
            if block.language == "json" {
                let parsed: Result<serde_json::Value, _> = serde_json::from_str(&block.text);
                assert!(parsed.is_ok(), "{}: {parsed:?}", block.place);
            }
        }
    }
}

#[test]
fn commands_for_a_clone_work() {
    let commands: std::collections::BTreeSet<String> =
        blocks().filter(|block| matches!(block.how(), How::Clone)).map(|block| block.text).collect();
    for command in commands {
        if command.contains("cargo xtask components") {
            the_components_are_built(&command);
        } else if command.ends_with(" -- demo") {
            // The same program, which is built: cargo alone would build it anew, without the compiler.
            let program = posthog_llma_tests::program::binary().to_str().unwrap();
            let command = command.replace("cargo run -p posthog-llma --", program);
            assert!(command.contains(program), "{command}");
            let printed = run_in_the_clone(&command, target_directory());
            for said in ["Why does the checkout test fail? Fix it.", "What the sandbox allowed", "What it refused"] {
                assert!(printed.contains(said), "{said}: {printed}");
            }
        } else {
            run_in_the_clone(&command, target_directory());
        }
    }
}

fn the_components_are_built(command: &str) {
    // Where build scripts have built them, so that they need not be built again.
    let directory = target_directory().join("debug/component/posthog_llma_component");
    // The same program, which is built: cargo alone would build it anew, with other features than the workspace has.
    let xtask = posthog_llma_tests::components::xtask();
    let command = command.replace("cargo xtask", xtask.to_str().unwrap());
    run_in_the_clone(&format!("{command} --target-dir {}", directory.display()), target_directory());
    let mut named = 0;
    for page in Page::all() {
        for file in page.text.split(['`', ' ', '\n']).filter_map(|text| text.strip_prefix("target/components/")) {
            let component = fs::read(directory.join("components").join(file)).unwrap();
            assert!(component.starts_with(b"\0asm"), "{file}");
            named += 1;
        }
    }
    assert!(named > 2, "only {named} components are named");
}

#[test]
fn ci_runs_the_readmes_command_for_all_tests() {
    let output = Command::new(workspace().join(".ci/run")).arg("test-command").output().unwrap();
    let command = succeeded(&output);
    assert!(blocks().any(|block| block.text == command.trim_end()), "{command}");
}

/// This page's only block with this text.
fn block(page: &str, text: &str) -> String {
    let found: Vec<_> = Page::read(page).blocks("sh").into_iter().filter(|block| block.text.contains(text)).collect();
    assert_eq!(found.len(), 1, "{page}: blocks with {text:?}");
    found.into_iter().next().unwrap().text
}

#[test]
fn convert_prints_events_and_sends_nothing() {
    let machine = Machine::new();
    let script = block("docs/privacy.md", "posthog-llma convert");
    let printed = succeeded(&machine.shell(&script).output().unwrap());
    let events: Vec<serde_json::Value> = printed.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    // Two commands: with texts, and in privacy mode.
    let (with_texts, private) = events.split_at(events.len() / 2);
    let texts =
        |events: &[serde_json::Value]| events.iter().filter(|e| e["properties"]["$ai_input"].is_array()).count();
    assert_eq!((with_texts.len(), private.len()), (18, 18));
    assert!(texts(with_texts) > 0);
    assert_eq!(texts(private), 0);
    assert!(machine.posthog.requests().is_empty());
}

#[test]
fn a_secret_on_the_privacy_page_is_replaced() {
    let printed = succeeded(&Machine::new().shell(&block("docs/privacy.md", "posthog-llma redact")).output().unwrap());
    assert!(printed.contains("[redacted:") && !printed.contains("hunter2"), "{printed}");
}

#[test]
fn view_prints_a_tree_and_writes_a_page() {
    let machine = Machine::new();
    let printed = succeeded(&machine.shell(&block("docs/tours.md", "posthog-llma view 44e37528\n")).output().unwrap());
    assert!(printed.contains("└─ ❯ Try again."), "{printed}");
    assert!(printed.contains("session.html: 18 events"), "{printed}");
    let page = fs::read_to_string(machine.home.path().join("work/session.html")).unwrap();
    assert!(page.contains("drawTrace("));
}

#[test]
fn send_delivers_a_session_once() {
    let machine = Machine::new();
    let script = block("docs/past-sessions.md", "posthog-llma send");
    let printed = succeeded(&machine.shell(&script).output().unwrap());
    // Two commands: for people, and for scripts.
    let (text, json) = printed.split_at(printed.find('{').unwrap());
    assert!(text.contains("delivered to"), "{text}");
    assert_eq!(serde_json::from_str::<serde_json::Value>(json).unwrap()["complete"], true);
    assert_eq!(machine.posthog.events().len(), 18, "the second one sends nothing twice");
}

#[test]
fn ingest_lists_says_and_sends_what_there_is() {
    let machine = Machine::new();
    let script = block("docs/past-sessions.md", "ingest --all --dry-run");
    let printed = succeeded(&machine.shell(&script).output().unwrap());
    assert!(printed.contains("44e37528") && printed.contains("1 session to send"), "{printed}");
    assert!(printed.contains("1 session sent, 0 delivered before"), "{printed}");
    assert_eq!(machine.posthog.events().len(), 18);
}
