//! What the README says is done: its commands run, its demo prints what it shows, its names exist.

#![cfg(unix)]
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use posthog_llma_local_posthog::{Config, LocalPostHog};
use posthog_llma_pipeline::options;
use posthog_llma_tests::program::{Home, binary};
use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs;
use std::path::Path;
use std::process::{Command, Output};

const README: &str = include_str!("../../README.md");

/// Blocks that are not run here, and why.
const NOT_RUN: [(&str, &str); 5] = [
    (
        "claude plugin marketplace add posthog/posthog-llma\nclaude plugin install posthog@posthog-llma --config POSTHOG_API_KEY=phc_your_project_key --config POSTHOG_LLMA_CC_ENABLED=true",
        "needs Claude Code and a registry; `.ci/npm` runs it in the real one",
    ),
    ("posthog-llma status\nposthog-llma flush", "`outbox.rs` runs both, with sessions that are owed"),
    ("posthog-llma setup", "asks on a terminal; `program/setup.rs` runs it with flags"),
    (
        "rustup target add wasm32-wasip2 wasm32-unknown-unknown && cargo test --workspace",
        "would run this test; CI runs it, see below",
    ),
    (".ci/run", "would run this test"),
];

/// What a command in the README begins with when the toolchain is new. Here the targets are installed: tests need them.
const ADD_TARGET: &str = "rustup target add ";

/// Blocks of this language, in order.
fn blocks(language: &str) -> Vec<&'static str> {
    let mut blocks = Vec::new();
    let mut rest = README;
    while let Some((_, after)) = rest.split_once("\n```") {
        let (first, after) = after.split_once('\n').unwrap();
        let (block, after) = after.split_once("\n```").unwrap_or_else(|| panic!("a block of {first:?} has no end"));
        if first == language {
            blocks.push(block);
        }
        rest = after;
    }
    blocks
}

fn block_with(text: &str) -> &'static str {
    let found: Vec<_> = blocks("sh").into_iter().filter(|block| block.contains(text)).collect();
    assert_eq!(found.len(), 1, "blocks with {text:?}: {found:#?}");
    found[0]
}

fn workspace() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

/// Cargo as a user calls it. Of what the cargo that runs this test has set, nothing may remain: build scripts look at it,
/// and half of the dependencies would be built anew.
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

/// What cargo builds into: the directory that this test was built into.
fn target_directory() -> &'static Path {
    Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap()
}

/// A user's machine with the demo's session, and a PostHog.
struct Machine {
    home: Home,
    posthog: LocalPostHog,
}

impl Machine {
    fn new() -> Self {
        let home = Home::new();
        copy(&workspace().join("tests/fixtures/demo"), &home.path().join("claude"));
        Self { home, posthog: LocalPostHog::start(Config::default()).unwrap() }
    }

    /// A shell that finds the program, and of the caller's settings none.
    fn shell(&self, script: &str) -> Command {
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
            .env("XDG_CACHE_HOME", Path::new(env!("CARGO_TARGET_TMPDIR")).join("readme-cache"))
            .env("CLAUDE_CONFIG_DIR", self.home.path().join("claude"))
            .env("POSTHOG_HOST", self.posthog.origin());
        shell
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &to);
        } else {
            fs::copy(entry.path(), to).unwrap();
        }
    }
}

/// The output of a command that must have succeeded.
fn succeeded(output: &Output) -> String {
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {errors}", output.status);
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// The command without the part that a machine with the targets does not need.
fn run_in_workspace(command: &str, target_directory: &Path) -> String {
    let command = match command.split_once(" && ") {
        Some((first, rest)) if first.starts_with(ADD_TARGET) => rest,
        _ => command,
    };
    let mut shell = Command::new("sh");
    without_cargo_variables(&mut shell).current_dir(workspace()).env("CARGO_TARGET_DIR", target_directory);
    succeeded(&shell.args(["-euc", command]).output().unwrap())
}

#[test]
fn ingest_lists_says_and_sends_what_there_is() {
    let machine = Machine::new();
    let mut shell = machine.shell(block_with("posthog-llma ingest"));
    let printed = succeeded(&shell.env("POSTHOG_API_KEY", "phc_your_project_key").output().unwrap());
    assert!(printed.contains("44e37528") && printed.contains("1 sessions to send"), "{printed}");
    assert!(printed.contains("1 sessions sent, 0 delivered before"), "{printed}");
    assert_eq!(machine.posthog.events().len(), 18);
}

#[test]
fn every_block_is_run_or_has_a_reason_not_to() {
    let run = [
        "-- demo",
        "posthog-llma convert",
        "posthog-llma view",
        "posthog-llma send",
        "posthog-llma status",
        "posthog-llma ingest",
        "cargo xtask components",
    ];
    let run: BTreeSet<_> = run.iter().map(|text| block_with(text)).collect();
    for block in blocks("sh") {
        assert!(run.contains(block) || NOT_RUN.iter().any(|(known, _)| *known == block), "nothing runs {block:?}");
    }
    for (block, _) in NOT_RUN {
        assert!(blocks("sh").contains(&block), "{block:?} is not in the README");
    }
}

#[test]
fn ci_runs_the_command_for_all_tests() {
    let output = Command::new(workspace().join(".ci/run")).arg("test-command").output().unwrap();
    assert_eq!(succeeded(&output).trim_end(), block_with("cargo test"));
}

#[test]
fn the_demo_prints_what_the_readme_shows() {
    let printed = run_in_workspace(block_with("-- demo"), target_directory());
    let printed: Vec<_> = printed.lines().map(without_port).collect();
    let shown = blocks("text");
    assert_eq!(shown.len(), 1);
    let mut after = printed.iter();
    for line in shown[0].lines().filter(|line| *line != "[…]" && !line.is_empty()) {
        let line = without_port(line);
        assert!(after.any(|printed| *printed == line), "the demo does not print {line:?} there: {printed:#?}");
    }
}

/// The port is another one each time.
fn without_port(line: &str) -> String {
    let Some((before, after)) = line.split_once("http://127.0.0.1:") else { return line.to_owned() };
    format!("{before}http://127.0.0.1:{}", after.trim_start_matches(|c: char| c.is_ascii_digit()))
}

#[test]
fn convert_prints_events_and_sends_nothing() {
    let machine = Machine::new();
    let printed = succeeded(&machine.shell(block_with("posthog-llma convert")).output().unwrap());
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
fn view_prints_a_tree_and_writes_a_page() {
    let machine = Machine::new();
    let printed = succeeded(&machine.shell(block_with("posthog-llma view")).output().unwrap());
    assert!(printed.contains("└─ ❯ Try again."), "{printed}");
    assert!(printed.contains("session.html: 18 events"), "{printed}");
    let page = fs::read_to_string(machine.home.path().join("work/session.html")).unwrap();
    assert!(page.contains("drawTrace("));
}

#[test]
fn status_and_flush_say_how_it_stands() {
    let machine = Machine::new();
    let settings = "export POSTHOG_API_KEY=phc_your_project_key POSTHOG_LLMA_CC_ENABLED=true";
    // Without the plugin, `status` says so and exits with 1.
    let commands = block_with("posthog-llma status").replacen("posthog-llma status", "posthog-llma status || true;", 1);
    let script = format!("{settings}\n{commands}");
    let printed = succeeded(&machine.shell(&script).output().unwrap());
    assert!(printed.contains("last delivery") && printed.contains("owed"), "{printed}");
}

#[test]
fn send_delivers_the_session() {
    let machine = Machine::new();
    let printed = succeeded(&machine.shell(block_with("posthog-llma send")).output().unwrap());
    // Two commands: for people, and for scripts.
    let (text, json) = printed.split_at(printed.find('{').unwrap());
    assert!(text.contains("delivered to"), "{text}");
    assert_eq!(serde_json::from_str::<serde_json::Value>(json).unwrap()["complete"], true);
    assert_eq!(machine.posthog.events().len(), 18, "the second one sends nothing twice");
}

#[test]
fn the_components_are_built_where_the_readme_says() {
    // Where build scripts have built them, so that they need not be built again.
    let directory = target_directory().join("debug/component/posthog_llma_component");
    // The same program, which is built: cargo alone would build it anew, with other features than the workspace has.
    let xtask = posthog_llma_tests::components::xtask();
    let command = block_with("cargo xtask components").replace("cargo xtask", xtask.to_str().unwrap());
    let command = format!("{command} --target-dir {}", directory.display());
    run_in_workspace(&command, target_directory());
    for said in README.split('`').filter(|text| text.starts_with("target/components/")) {
        let component = fs::read(directory.join(said.strip_prefix("target/").unwrap())).unwrap();
        assert!(component.starts_with(b"\0asm"), "{said}");
    }
}

/// The README says more of an option than its entry, but nothing else.
#[test]
fn the_table_of_settings_is_the_table_of_options() {
    let (_, table) = README.split_once("\n| Variable | Default | Meaning |\n|---|---|---|\n").unwrap();
    let rows: Vec<&str> = table.lines().take_while(|line| line.starts_with('|')).collect();
    let plain = |text: &str| text.replace('`', "");
    for (row, entry) in rows.iter().zip(options::table()) {
        let default = entry.default().unwrap_or_else(|| "none".to_owned());
        let expected = format!("| {} | {default} | {}", entry.variable, entry.help);
        assert!(plain(row).to_lowercase().starts_with(&expected.to_lowercase()), "{row}\n{expected}");
    }
    assert_eq!(rows.len(), options::table().count());
}

#[test]
fn the_help_says_every_option() {
    let help = succeeded(&Machine::new().shell("posthog-llma --help").output().unwrap());
    for entry in options::table() {
        let line = help.lines().find(|line| line.trim_start().starts_with(&format!("{} ", entry.variable)));
        assert!(line.is_some_and(|line| line.contains(entry.help)), "{}: {line:?}", entry.variable);
    }
}

#[test]
fn every_link_leads_to_a_file() {
    let mut links = 0;
    let examples = ["README.md", "rust/README.md", "node/README.md", "python/README.md", "browser/README.md"];
    let examples = examples.map(|page| format!("examples/{page}"));
    let pages = ["README.md", "docs/architecture.md", "docs/embedding.md", "CHANGELOG.md"].map(str::to_owned);
    for page in pages.into_iter().chain(examples) {
        let text = fs::read_to_string(workspace().join(&page)).unwrap();
        for target in text.split("](").skip(1).map(|rest| rest.split(')').next().unwrap()) {
            if !target.starts_with("https://") && !target.starts_with('#') {
                assert!(workspace().join(&page).with_file_name(target).exists(), "{page} links to {target}");
                links += 1;
            }
        }
    }
    assert!(links > 3, "only {links} links were found");
}

#[test]
fn every_file_that_is_named_is_there() {
    for page in ["README.md", "docs/architecture.md"] {
        let text = fs::read_to_string(workspace().join(page)).unwrap();
        let places = ["guest/", "host/", "tests/", "wit/", "docs/", "examples/", "xtask/", ".ci/"];
        let named =
            text.split('`').filter(|t| places.iter().any(|p| t.starts_with(p)) && !t.contains(['<', ' ', '\n']));
        for name in named {
            assert!(workspace().join(name).exists(), "{page} names {name}");
        }
    }
}
