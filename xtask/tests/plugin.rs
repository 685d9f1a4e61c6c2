//! The plugin's files, and how it finds its program. `launcher.rs` has how it fetches one, and `tests/tests/claude_code.rs` has
//! it in the real client.

#![cfg(unix)]
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

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
    /// The system says that the account's home is the machine's.
    has_account: bool,
}

impl Installed {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("it's a \"plugin\" $HOME");
        for file in ["scripts/run", "scripts/fetch", "bin/posthog-llma"] {
            let to = root.join(file);
            fs::create_dir_all(to.parent().unwrap()).unwrap();
            fs::copy(workspace().join("plugin").join(file), to).unwrap();
        }
        Self { folder, has_account: false }
    }

    /// The same, where the account's home is the machine's `home`. None where that cannot be made.
    fn with_account(test: &str) -> Option<Self> {
        let installed = Self { has_account: true, ..Self::new() };
        let home = installed.folder.path().join("home");
        fs::create_dir(&home).unwrap();
        fs::write(installed.passwd(), format!("root:x:0:0::{}:/bin/sh\n", home.display())).unwrap();
        let tried = installed.run(Command::new("sh").args(["-c", "echo ~root"]), "");
        if String::from_utf8_lossy(&tried.stdout).trim() == home.to_str().unwrap() {
            return Some(installed);
        }
        let _ = writeln!(std::io::stderr(), "skipped: {test} needs util-linux's `unshare` and user namespaces");
        None
    }

    fn passwd(&self) -> PathBuf {
        self.folder.path().join("passwd")
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

    /// Runs a command on this machine, with `input`.
    fn run(&self, command: &mut Command, input: &str) -> Output {
        let path = format!("{}:/usr/bin:/bin", self.folder.path().join("path").display());
        let home = self.folder.path().join("home");
        let mut in_account = Command::new("unshare");
        let mount = "mount --bind \"$0\" /etc/passwd && exec \"$@\"";
        in_account.args(["--map-root-user", "--mount", "sh", "-c", mount]).arg(self.passwd());
        in_account.arg(command.get_program()).args(command.get_args());
        let command = if self.has_account { &mut in_account } else { command };
        let mut child = command
            .env_clear()
            .env("PATH", path)
            .env("HOME", if self.has_account { Path::new("/nowhere") } else { &home })
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

    /// Calls the hook as Claude Code does: without a shell.
    #[track_caller]
    fn hook(&self) {
        let hooks = json("plugin/hooks/hooks.json");
        let hook = &hooks["hooks"]["SessionEnd"][0]["hooks"][0];
        let program = hook["command"].as_str().unwrap().replace("${CLAUDE_PLUGIN_ROOT}", self.root().to_str().unwrap());
        let arguments = hook["args"].as_array().unwrap().iter().map(|argument| argument.as_str().unwrap());
        let output = self.run(Command::new(program).args(arguments), "{\"hook_event_name\":\"SessionEnd\"}");
        assert!(output.status.success() && output.stdout.is_empty() && output.stderr.is_empty(), "{output:?}");
    }

    /// Runs a slash command as Claude Code does: with a shell.
    #[track_caller]
    fn command(&self, arguments: &str) -> String {
        let script = format!("sh \"${{CLAUDE_PLUGIN_ROOT}}/scripts/run\" '' {arguments}");
        let output = self.run(Command::new("sh").args(["-c", &script]), "not for it");
        assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    }
}

#[test]
fn the_manifests_agree_with_the_workspace_and_with_each_other() {
    let (plugin, marketplace) = (json("plugin/.claude-plugin/plugin.json"), json(".claude-plugin/marketplace.json"));
    assert_eq!(plugin["name"], "posthog");
    assert_eq!(plugin["version"], env!("CARGO_PKG_VERSION"), "users get an update when the version changes");
    for (entry, name) in marketplace["plugins"].as_array().unwrap().iter().zip(["posthog", "posthog-standalone"]) {
        assert_eq!(entry["name"], name);
        assert!(entry["description"].as_str().unwrap().starts_with(plugin["description"].as_str().unwrap()));
        for member in ["homepage", "license", "version"] {
            assert_eq!(entry[member], plugin[member], "{member}");
        }
    }
    let said = plugin["description"].as_str().unwrap();
    assert!(said.starts_with("Sends") && said.contains("POSTHOG_LLMA_CC_ENABLED=false"), "what it sends, and how not");
}

#[test]
fn the_options_are_known_settings_and_the_key_is_a_secret() {
    let plugin = json("plugin/.claude-plugin/plugin.json");
    let settings = fs::read_to_string(workspace().join("docs/configuration.md")).unwrap();
    for (name, option) in plugin["userConfig"].as_object().unwrap() {
        assert!(settings.contains(&format!("| `{name}` |")), "{name} is not a setting");
        assert_eq!(option["sensitive"] == true, name == "POSTHOG_API_KEY", "{name}");
    }
}

#[test]
fn each_hook_calls_the_launcher_without_a_shell_and_each_command_with_one() {
    let hooks = json("plugin/hooks/hooks.json");
    for (event, entries) in hooks["hooks"].as_object().unwrap() {
        let hook = &entries[0]["hooks"][0];
        assert_eq!(hook["command"], "${CLAUDE_PLUGIN_ROOT}/bin/posthog-llma", "{event}");
        assert_eq!(hook["args"], serde_json::json!(["hook"]), "{event}");
        assert!(hook["async"].is_null(), "{event}");
    }
    for event in ["SessionStart", "SessionEnd"] {
        assert!(hooks["hooks"][event].is_array(), "{event}");
    }
    for name in ["status", "ingest", "setup"] {
        let text = fs::read_to_string(workspace().join(format!("plugin/commands/llma-cc-{name}.md"))).unwrap();
        let run = "!`sh \"${CLAUDE_PLUGIN_ROOT}/scripts/run\" \"${CLAUDE_PLUGIN_DATA}\"";
        assert!(text.contains(&format!("{run} {name}")), "{text}");
        assert!(text.contains("disable-model-invocation: true\n"), "only the user may run it");
    }
}

#[test]
fn the_plugins_own_program_goes_before_an_installed_one_and_path_is_not_asked() {
    let installed = Installed::new();
    installed.program("path/posthog-llma", "");
    assert!(installed.command("status").contains("not installed"), "a project's settings can set PATH");
    installed.program(installed.root().join("program/posthog-llma"), "");
    assert_eq!(installed.command("status"), "its a \"plugin\" $HOME/program/posthog-llma status \n");
    installed.program(installed.root().join("node_modules/@posthog/llma-linux-x64/bin/posthog-llma"), "");
    assert!(installed.command("status").contains("node_modules/@posthog/llma-linux-x64/bin/posthog-llma status"));
}

#[test]
fn a_projects_home_chooses_no_program_and_the_accounts_does() {
    let installed = Installed::new();
    for folder in [".local/bin", ".cargo/bin"] {
        installed.program(format!("home/{folder}/posthog-llma"), "");
    }
    assert!(installed.command("status").contains("not installed"), "a project's settings can set HOME");
    installed.hook();
    assert_eq!(installed.said(), "");

    let Some(installed) = Installed::with_account("the account's home") else { return };
    installed.program("home/.cargo/bin/posthog-llma", "");
    assert_eq!(installed.command("status"), "home/.cargo/bin/posthog-llma status \n");
    installed.program("home/.local/bin/posthog-llma", "");
    assert_eq!(installed.command("status --json"), "home/.local/bin/posthog-llma status --json \n");
    // It saves the fetching.
    fs::write(installed.root().join("program.sha256"), "version 1.0.0\nfrom https://127.0.0.1:1\n").unwrap();
    installed.hook();
    assert!(installed.said().ends_with("home/.local/bin/posthog-llma hook {\"hook_event_name\":\"SessionEnd\"}\n"));
}

#[test]
fn a_hook_hands_its_input_to_the_program_and_says_nothing() {
    let installed = Installed::new();
    installed.program(installed.root().join("program/posthog-llma"), "echo loud; echo loud >&2; exit 3");
    installed.hook();
    let said = installed.said();
    assert!(said.ends_with("program/posthog-llma hook {\"hook_event_name\":\"SessionEnd\"}\n"), "{said}");
}

#[test]
fn what_a_hook_has_for_the_user_is_passed_on_and_nothing_else() {
    let installed = Installed::new();
    let program = installed.root().join("program/posthog-llma");
    let say = |text: &str| {
        fs::write(&program, format!("#!/bin/sh\ncat > /dev/null\nprintf '%s' '{text}'\n")).unwrap();
        let output = installed.run(Command::new(installed.root().join("bin/posthog-llma")).arg("hook"), "{}");
        assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    installed.program(&program, "");
    let message = "{\"systemMessage\":\"posthog-llma: the project asks \\\\ \"}";
    assert_eq!(say(message), format!("{message}\n"));
    for other in
        ["", "Segmentation fault", "{\"decision\":\"block\"}", "x {\"systemMessage\":\"x\"}", "{\"systemMessage\":"]
    {
        assert_eq!(say(other), "", "{other}");
    }
}

#[test]
fn a_hook_does_not_wait_for_what_outlives_the_program() {
    let installed = Installed::new();
    let ended = installed.root().join("ended");
    let outlives = format!("(sleep 20; : > '{}') > /dev/null 2>&1 < /dev/null &", ended.display());
    installed.program(installed.root().join("program/posthog-llma"), &outlives);
    installed.hook();
    assert!(!ended.exists());
}

#[test]
fn a_hook_without_a_program_says_nothing_and_succeeds() {
    Installed::new().hook();
}

#[test]
fn a_hook_whose_program_cannot_run_says_nothing_and_succeeds() {
    let installed = Installed::new();
    let program = installed.root().join("program/posthog-llma");
    installed.program(&program, "");
    fs::write(program, [0x7f, b'E', b'L', b'F', 0, 0]).unwrap();
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
    installed.program(installed.root().join("program/posthog-llma"), "echo 'the reason' >&2; exit 2");
    assert_eq!(
        installed.command("ingest --all"),
        "its a \"plugin\" $HOME/program/posthog-llma ingest --all \nthe reason\n(exit code 2)\n"
    );
}
