//! The examples of other hosts, each run as its README says.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use posthog_llma_local_posthog::{Config, LocalPostHog};
use posthog_llma_tests::components::component;
use posthog_llma_tests::examples::{example, node, python};
use posthog_llma_tests::fixtures;
use posthog_llma_tests::program::KEY;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

mod browser;
mod deliver;
mod same_bytes;
mod wasmtime_cli;

/// A session with sub-agents.
fn transcript() -> PathBuf {
    fixtures::transcripts("2.1.330/subfg").unwrap().remove(0)
}

/// The output of a command, which must succeed.
fn printed(command: &mut Command) -> Vec<u8> {
    let Output { status, stdout, stderr } = command.output().unwrap();
    assert!(status.success(), "{status}: {}", String::from_utf8_lossy(&stderr));
    stdout
}

/// Runs a script of `examples/node` in Node.js.
fn node_script(folder: &Path, script: &str) -> Command {
    let mut command = Command::new("node");
    command.arg(folder.join(script));
    command
}

/// Runs a script of `examples/python` in Python, with the component that it hosts.
fn python_script(python: &Path, script: &str, world: &str) -> Command {
    let mut command = Command::new(python);
    // `-B`: no compiled files beside the sources.
    command.arg("-B").arg(example("python").join(script)).arg(component(world));
    command
}
