//! What the components can ask of a host, read from their files. Each line added here is a new capability.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use posthog_llma_sandbox::COMPONENT;
use posthog_llma_tests::components::component;
use std::fs;
use wasmtime::Engine;
use wasmtime::component::Component;

/// The imports and exports of this world's component, sorted.
fn interface(world: &str) -> (Vec<String>, Vec<String>) {
    let engine = Engine::default();
    let compiled = Component::from_file(&engine, component(world)).unwrap();
    let kind = compiled.component_type();
    let mut imports: Vec<_> = kind.imports(&engine).map(|(name, _)| name.to_owned()).collect();
    let mut exports: Vec<_> = kind.exports(&engine).map(|(name, _)| name.to_owned()).collect();
    imports.sort();
    exports.sort();
    (imports, exports)
}

#[test]
fn the_converter_imports_nothing() {
    let (imports, exports) = interface("converter");
    assert_eq!(imports, [""; 0]);
    assert_eq!(exports, ["posthog:llm-analytics/conversion@0.1.0", "posthog:llm-analytics/types@0.1.0"]);
}

/// No environment, no directory, no input: the program hands over files by their handles, and everything else is an argument.
#[test]
fn the_exporter_imports_files_by_handle_requests_clocks_and_random_numbers() {
    let (imports, exports) = interface("exporter");
    let expected = [
        // Types without functions.
        "posthog:llm-analytics/types@0.1.0",
        // What a panic says.
        "wasi:cli/stderr@0.2.12",
        // Time-outs.
        "wasi:clocks/monotonic-clock@0.2.12",
        // The time of a request, in its headers.
        "wasi:clocks/wall-clock@0.2.12",
        "wasi:filesystem/types@0.2.12",
        "wasi:http/outgoing-handler@0.2.12",
        "wasi:http/types@0.2.12",
        "wasi:io/error@0.2.12",
        "wasi:io/poll@0.2.12",
        "wasi:io/streams@0.2.12",
        // Waits between attempts.
        "wasi:random/random@0.2.12",
    ];
    assert_eq!(imports, expected);
    assert_eq!(exports, ["posthog:llm-analytics/conversion@0.1.0", "posthog:llm-analytics/delivery@0.1.0"]);
}

#[test]
fn the_command_imports_what_a_command_has() {
    let (imports, exports) = interface("command");
    let expected = [
        "wasi:cli/environment@0.2.12",
        "wasi:cli/exit@0.2.12",
        "wasi:cli/stderr@0.2.12",
        "wasi:cli/stdin@0.2.12",
        "wasi:cli/stdout@0.2.12",
        // What Rust's standard library asks to learn whether it prints to a terminal.
        "wasi:cli/terminal-input@0.2.12",
        "wasi:cli/terminal-output@0.2.12",
        "wasi:cli/terminal-stderr@0.2.12",
        "wasi:cli/terminal-stdin@0.2.12",
        "wasi:cli/terminal-stdout@0.2.12",
        "wasi:clocks/monotonic-clock@0.2.12",
        "wasi:clocks/wall-clock@0.2.12",
        "wasi:filesystem/preopens@0.2.12",
        "wasi:filesystem/types@0.2.12",
        "wasi:http/outgoing-handler@0.2.12",
        "wasi:http/types@0.2.12",
        "wasi:io/error@0.2.12",
        "wasi:io/poll@0.2.12",
        "wasi:io/streams@0.2.12",
        // Seeds of hash maps.
        "wasi:random/insecure-seed@0.2.12",
        // Waits between attempts.
        "wasi:random/random@0.2.12",
    ];
    assert_eq!(imports, expected);
    assert_eq!(exports, ["wasi:cli/run@0.2.12"]);
}

#[test]
fn the_server_imports_variables_requests_clocks_and_random_numbers_and_no_files() {
    let (imports, exports) = interface("server");
    let expected = [
        "wasi:cli/environment@0.2.12",
        "wasi:clocks/monotonic-clock@0.2.12",
        // The time of a request, in its headers.
        "wasi:clocks/wall-clock@0.2.12",
        "wasi:http/outgoing-handler@0.2.12",
        "wasi:http/types@0.2.12",
        "wasi:io/error@0.2.12",
        "wasi:io/poll@0.2.12",
        "wasi:io/streams@0.2.12",
        "wasi:random/random@0.2.12",
    ];
    assert_eq!(imports, expected);
    assert_eq!(exports, ["wasi:http/incoming-handler@0.2.12"]);
}

/// The total length of the sections in these bytes, each with its header, if all of them are custom sections, which
/// describe a component and do nothing.
fn custom_sections(mut bytes: &[u8]) -> Option<usize> {
    let mut sections = 0;
    while let [id, rest @ ..] = bytes {
        let digits = rest.iter().position(|byte| byte & 0x80 == 0)? + 1;
        let length = rest[..digits].iter().rev().fold(0_usize, |length, byte| length << 7 | usize::from(byte & 0x7f));
        bytes = rest.get(digits + length..).filter(|_| *id == 0)?;
        sections += 1;
    }
    Some(sections)
}

#[test]
fn the_program_carries_the_exporter_that_anyone_can_build() {
    let file = fs::read(component("exporter")).unwrap();
    let metadata = file.strip_prefix(COMPONENT).expect("the published file begins with the program's component");
    assert!(
        custom_sections(metadata).is_some_and(|sections| sections > 0),
        "behind it stands what says something of it"
    );
}

#[test]
fn a_section_that_does_something_is_not_custom() {
    assert_eq!(custom_sections(&[0, 2, 1, 2, 0, 0x80, 0]), Some(2));
    assert_eq!(custom_sections(&[0, 1, 1, 7, 1, 1]), None);
    assert_eq!(custom_sections(&[0, 9, 1]), None);
}
