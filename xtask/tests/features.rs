//! Cargo unites the features of all packages that are built together. Each dependency that has others in the workspace than
//! in the program is built twice, which can take minutes: for `cargo test --workspace`, and for `cargo run -p posthog-llma`.
//! So that it is only wasmtime, which has its compiler in tests, and never in the program.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::collections::BTreeSet;
use std::process::Command;
use xtask::workspace;

/// What the compiler needs more of than the program.
const WITH_COMPILER: [&str; 7] =
    ["bumpalo v", "gimli v", "hashbrown v", "object v", "posthog-llma-", "pulley-interpreter v", "wasmtime"];

/// The dependencies of the selected packages, with their features.
fn dependencies(selection: &[&str]) -> BTreeSet<String> {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["tree", "--locked", "--offline", "--edges", "normal", "--prefix", "none", "--format", "{p} {f}"]);
    let output = cargo.args(selection).current_dir(workspace()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let lines = String::from_utf8(output.stdout).unwrap();
    lines.lines().map(|line| line.trim_end_matches(" (*)").to_owned()).collect()
}

#[test]
fn the_program_has_the_features_of_the_workspace_but_for_the_compiler() {
    let (program, workspace) = (dependencies(&["--package", "posthog-llma"]), dependencies(&["--workspace"]));
    assert!(program.len() > 100);
    let is_with_compiler = |line: &&String| WITH_COMPILER.iter().any(|name| line.starts_with(name));
    let others: Vec<_> = program.difference(&workspace).filter(|line| !is_with_compiler(line)).collect();
    assert!(others.is_empty(), "the workspace has other features of {others:#?}");
}

#[test]
fn the_program_has_no_compiler() {
    let has_compiler =
        |selection: &[&str]| dependencies(selection).iter().any(|line| line.starts_with("cranelift-codegen v"));
    assert!(!has_compiler(&["--package", "posthog-llma"]));
    assert!(has_compiler(&["--package", "posthog-llma-tests"]), "the test looks for another name");
}
