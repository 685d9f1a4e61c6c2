//! The examples of other hosts, each as its README says it is run.

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

/// What this prints that must succeed.
fn printed(command: &mut Command) -> Vec<u8> {
    let Output { status, stdout, stderr } = command.output().unwrap();
    assert!(status.success(), "{status}: {}", String::from_utf8_lossy(&stderr));
    stdout
}

/// Node.js with a script of `examples/node`.
fn node_script(folder: &Path, script: &str) -> Command {
    let mut command = Command::new("node");
    command.arg(folder.join(script));
    command
}

/// Python with a script of `examples/python` and the component that it runs.
fn python_script(python: &Path, script: &str, world: &str) -> Command {
    let mut command = Command::new(python);
    // `-B`: no compiled files beside the sources.
    command.arg("-B").arg(example("python").join(script)).arg(component(world));
    command
}
