//! Cargo unites the features of all packages that are built together. Where the workspace's are not the program's, wasmtime
//! is built twice, which takes minutes: for `cargo test --workspace`, and for `cargo run -p posthog-llma`.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::collections::BTreeSet;
use std::process::Command;
use xtask::workspace;

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
fn the_program_has_the_features_of_the_workspace() {
    let (program, workspace) = (dependencies(&["--package", "posthog-llma"]), dependencies(&["--workspace"]));
    assert!(program.len() > 100);
    let others: Vec<_> = program.difference(&workspace).collect();
    assert!(others.is_empty(), "the workspace has other features of {others:#?}");
}
