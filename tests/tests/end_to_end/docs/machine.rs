//! The machines that run the documentation's commands: a user's, or this one with the repository.

use posthog_llma_local_posthog::{Config, LocalPostHog};
use posthog_llma_tests::fixtures;
use posthog_llma_tests::program::{Home, KEY, binary};
use std::ffi::OsString;
use std::path::Path;
use std::process::{Command, Output};

/// The start of a clone's commands for a new toolchain. Here the targets are already installed, because tests need
/// them.
const ADD_TARGET: &str = "rustup target add ";

pub fn workspace() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

/// Cargo's target directory: the one that this test was built into.
pub fn target_directory() -> &'static Path {
    Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap()
}

/// A user's machine with the demo's session, and a PostHog server.
pub struct Machine {
    pub home: Home,
    pub posthog: LocalPostHog,
}

impl Machine {
    pub fn new() -> Self {
        let home = Home::new();
        fixtures::copy(&workspace().join("tests/fixtures/demo"), &home.path().join(".claude")).unwrap();
        Self { home, posthog: LocalPostHog::start(Config::default()).unwrap() }
    }

    /// A shell that finds the program. It has the settings of a user who has set up the program, and none of the
    /// caller's.
    pub fn shell(&self, script: &str) -> Command {
        let mut path = OsString::from(binary().parent().unwrap());
        path.push(":");
        path.push(std::env::var_os("PATH").unwrap_or_default());
        let mut shell = Command::new("sh");
        shell
            .args(["-euc", script])
            .current_dir(self.home.path().join("work"))
            .env_clear()
            .env("PATH", path)
            .env("HOME", self.home.path())
            .env("POSTHOG_API_KEY", KEY)
            .env("POSTHOG_LLMA_CC_ENABLED", "true")
            .env("POSTHOG_HOST", self.posthog.origin());
        shell
    }
}

/// The output of a command, which must have succeeded.
pub fn succeeded(output: &Output) -> String {
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {errors}", output.status);
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// Runs a command, without the part that installs targets.
pub fn run_in_the_clone(command: &str, target_directory: &Path) -> String {
    let command = match command.split_once(" && ") {
        Some((first, rest)) if first.starts_with(ADD_TARGET) => rest,
        _ => command,
    };
    let mut shell = Command::new("sh");
    without_cargo_variables(&mut shell).current_dir(workspace()).env("CARGO_TARGET_DIR", target_directory);
    succeeded(&shell.args(["-euc", command]).output().unwrap())
}

/// Lets cargo run as a user runs it. Removes all variables that the cargo running this test has set: build scripts
/// watch them, and half of the dependencies would be rebuilt.
fn without_cargo_variables(command: &mut Command) -> &mut Command {
    let of_a_package = ["CARGO_MANIFEST_DIR", "CARGO_MANIFEST_PATH", "CARGO_CRATE_NAME", "CARGO_PRIMARY_PACKAGE"];
    let of_a_test = ["CARGO_TARGET_TMPDIR", "OUT_DIR", "LD_LIBRARY_PATH", "DYLD_FALLBACK_LIBRARY_PATH"];
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("CARGO_PKG_") || of_a_package.contains(&&*text) || of_a_test.contains(&&*text) {
            command.env_remove(&name);
        }
    }
    command
}
