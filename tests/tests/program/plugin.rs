//! The plugin's files, and how it finds its program. `tests/tests/claude_code.rs` has it in the real client.

#![cfg(unix)]

use serde_json::Value;
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use tempfile::TempDir;

fn workspace() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

fn json(path: &str) -> Value {
    serde_json::from_slice(&fs::read(workspace().join(path)).unwrap()).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// A copy of the plugin, where Claude Code might have put it, and a machine with no program yet.
struct Installed {
    folder: TempDir,
}

impl Installed {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("it's a \"plugin\" $HOME");
        for directory in ["scripts", "bin"] {
            fs::create_dir_all(root.join(directory)).unwrap();
        }
        fs::copy(workspace().join("plugin/scripts/run"), root.join("scripts/run")).unwrap();
        Self { folder }
    }

    fn root(&self) -> PathBuf {
        self.folder.path().join("it's a \"plugin\" $HOME")
    }

    /// Puts a program there, of the machine's folder or of the plugin's, that says its name, its arguments and its input.
    fn program(&self, path: impl AsRef<Path>, rest: &str) {
        let path = self.folder.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let said = self.folder.path().join("said");
        let name = path.strip_prefix(self.folder.path()).unwrap().display().to_string().replace('\'', "");
        fs::write(&path, format!("#!/bin/sh\necho '{name}' \"$@\" \"$(cat)\" | tee -a '{}'\n{rest}\n", said.display()))
            .unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }

    fn said(&self) -> String {
        fs::read_to_string(self.folder.path().join("said")).unwrap_or_default()
    }

    /// Runs a shell command of the plugin's as Claude Code does, with `input`.
    fn shell(&self, command: &str, input: &str) -> Output {
        let path = format!("{}:/usr/bin:/bin", self.folder.path().join("path").display());
        let mut child = Command::new("sh")
            .args(["-c", command])
            .env_clear()
            .env("PATH", path)
            .env("HOME", self.folder.path().join("home"))
            .env("CLAUDE_PLUGIN_ROOT", self.root())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // It may end without reading.
        let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
        child.wait_with_output().unwrap()
    }

    #[track_caller]
    fn hook(&self) {
        let hooks = json("plugin/hooks/hooks.json");
        let command = hooks["hooks"]["SessionEnd"][0]["hooks"][0]["command"].as_str().unwrap();
        let output = self.shell(command, "{\"hook_event_name\":\"SessionEnd\"}");
        assert!(output.status.success() && output.stdout.is_empty() && output.stderr.is_empty(), "{output:?}");
    }

    #[track_caller]
    fn command(&self, arguments: &str) -> String {
        let output = self.shell(&format!("sh \"${{CLAUDE_PLUGIN_ROOT}}/scripts/run\" {arguments}"), "not for it");
        assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    }
}

#[test]
fn the_manifests_agree_with_the_workspace_and_with_each_other() {
    let (plugin, marketplace) = (json("plugin/.claude-plugin/plugin.json"), json(".claude-plugin/marketplace.json"));
    let entry = &marketplace["plugins"][0];
    assert_eq!(plugin["name"], "posthog");
    assert_eq!(plugin["version"], env!("CARGO_PKG_VERSION"), "users get an update when the version changes");
    for member in ["name", "description", "homepage", "license"] {
        assert_eq!(entry[member], plugin[member], "{member}");
    }
    assert_eq!(entry["source"], "./plugin");
    // 2.0.76 rejects the whole manifest for a member that it does not know, such as `userConfig`.
    let known = ["name", "version", "description", "author", "homepage", "repository", "license", "keywords"];
    for member in plugin.as_object().unwrap().keys() {
        assert!(known.contains(&member.as_str()), "{member}");
    }
}

#[test]
fn each_hook_and_each_command_calls_the_launcher() {
    let hooks = json("plugin/hooks/hooks.json");
    let events: Vec<_> = hooks["hooks"].as_object().unwrap().keys().collect();
    assert_eq!(events, ["SessionEnd", "SessionStart"]);
    for event in events {
        let hook = &hooks["hooks"][event][0]["hooks"][0];
        // The shell form: versions before 2.1.139 do not know the other.
        assert_eq!(hook["command"], "sh \"${CLAUDE_PLUGIN_ROOT}/scripts/run\" hook; exit 0");
        assert!(hook["args"].is_null() && hook["async"].is_null(), "{hook}");
    }
    for name in ["status", "ingest", "setup"] {
        let text = fs::read_to_string(workspace().join(format!("plugin/commands/llma-cc-{name}.md"))).unwrap();
        assert!(text.contains(&format!("!`sh \"${{CLAUDE_PLUGIN_ROOT}}/scripts/run\" {name}")), "{text}");
        assert!(text.contains("disable-model-invocation: true\n"), "only the user may run it");
    }
}

#[test]
fn the_packaged_program_goes_before_the_one_on_the_path_and_that_before_cargos() {
    let installed = Installed::new();
    installed.program("home/.cargo/bin/posthog-llma", "");
    assert_eq!(installed.command("status"), "home/.cargo/bin/posthog-llma status \n");
    installed.program("path/posthog-llma", "");
    assert_eq!(installed.command("status --json"), "path/posthog-llma status --json \n");
    installed.program(installed.root().join("bin/posthog-llma"), "");
    assert_eq!(installed.command("status"), "its a \"plugin\" $HOME/bin/posthog-llma status \n");
}

#[test]
fn a_hook_hands_its_input_to_the_program_and_says_nothing() {
    let installed = Installed::new();
    installed.program("path/posthog-llma", "echo loud; echo loud >&2; exit 3");
    installed.hook();
    assert_eq!(installed.said(), "path/posthog-llma hook {\"hook_event_name\":\"SessionEnd\"}\n");
}

#[test]
fn a_hook_without_a_program_says_nothing_and_succeeds() {
    Installed::new().hook();
}

#[test]
fn a_hook_whose_program_cannot_run_says_nothing_and_succeeds() {
    let installed = Installed::new();
    installed.program("path/posthog-llma", "");
    fs::write(installed.folder.path().join("path/posthog-llma"), [0x7f, b'E', b'L', b'F', 0, 0]).unwrap();
    installed.hook();
}

#[test]
fn a_command_without_a_program_says_in_one_line_how_to_install_it() {
    let said = Installed::new().command("status");
    assert_eq!(said.lines().count(), 1);
    assert!(
        said.contains("not installed") && said.contains("https://github.com/posthog/posthog-llma#install"),
        "{said}"
    );
}

#[test]
fn what_a_failing_command_says_is_shown_all_the_same() {
    let installed = Installed::new();
    installed.program("path/posthog-llma", "echo 'the reason' >&2; exit 2");
    assert_eq!(installed.command("ingest --all"), "path/posthog-llma ingest --all \nthe reason\n(exit code 2)\n");
}
