//! `setup`: what it writes to Claude Code's settings files, and what it leaves alone. The prompts are tested with their
//! code.

use super::*;
use posthog_llma_tests::program::Program;
use serde_json::{Value, json};
use std::fs;

const USER: &str = ".claude/settings.json";
const LOCAL: &str = "work/.claude/settings.local.json";

/// A run without prompts, because there is no terminal, and without checks, because there is no network.
fn setup(home: &Home, arguments: &[&str]) -> Program {
    home.program(["setup", "--no-check"]).args(arguments)
}

fn read(home: &Home, path: &str) -> String {
    fs::read_to_string(home.path().join(path)).unwrap()
}

fn env(home: &Home, path: &str) -> Value {
    serde_json::from_str::<Value>(&read(home, path)).unwrap()["env"].take()
}

#[test]
fn a_key_and_a_region_are_all_that_it_takes() {
    let home = Home::new();
    let outcome = setup(&home, &["--key-stdin", "--region", "eu"]).input(format!("{KEY}\n")).run().exits_with(0);
    let outcome = outcome.says_nothing().prints(&["POSTHOG_API_KEY", "phc_…LmB8", "https://eu.i.posthog.com"]);
    assert!(outcome.stdout.contains(".claude/settings.json"));
    let expected =
        json!({"POSTHOG_API_KEY": KEY, "POSTHOG_HOST": "https://eu.i.posthog.com", "POSTHOG_LLMA_CC_ENABLED": "true"});
    assert_eq!(env(&home, USER), expected);
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        let mode = fs::metadata(home.path().join(USER)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "it holds a key");
    }
    // What was written is what the other commands read.
    let status = home.program(["status", "--json"]).run().json();
    assert!(status.to_string().contains("https://eu.i.posthog.com"), "{status}");
}

#[test]
fn the_key_may_come_from_the_environment() {
    for (flag, variable) in [(&["--key-env"][..], "POSTHOG_API_KEY"), (&["--key-env", "MY_KEY"], "MY_KEY")] {
        let home = Home::new();
        setup(&home, flag).env(variable, KEY).run().exits_with(0);
        assert_eq!(env(&home, USER)["POSTHOG_API_KEY"], KEY);
    }
    setup(&Home::new(), &["--key-env", "MY_KEY"]).run().exits_with(2).says(&["MY_KEY: this variable is not set"]);
}

#[test]
fn the_rest_of_the_file_stays_as_it_is() {
    let home = Home::new();
    let text =
        "{\n\t\"model\": \"opus\",\n\t\"env\": {\n\t\t\"FOO\": \"bar\"\n\t},\n\t\"hooks\": {\"x\":[ 1.50 ]}\n}\n";
    home.write(USER, text);
    setup(&home, &["--privacy", "--grouping", "message"]).run().exits_with(0).says_nothing();
    let added =
        "\"bar\",\n\t\t\"POSTHOG_LLMA_PRIVACY_MODE\": \"true\",\n\t\t\"POSTHOG_LLMA_TRACE_GROUPING\": \"message\"";
    assert_eq!(read(&home, USER), text.replace("\"bar\"", added));
    setup(&home, &["--privacy", "false"]).run().exits_with(0);
    assert_eq!(read(&home, USER), text.replace("\"bar\"", &added.replace("true", "false")));
    setup(&home, &["--privacy", "false"]).run().exits_with(0).prints(&["nothing to change"]);
}

#[test]
fn a_broken_file_is_an_error_and_stays_as_it_is() {
    for text in ["{\"env\": {", "[]", "{\"env\": 1}", "// mine\n{}"] {
        let home = Home::new();
        home.write(USER, text);
        setup(&home, &["--region", "us"]).run().exits_with(2).says(&[".claude/settings.json"]);
        assert_eq!(read(&home, USER), text);
    }
}

#[test]
fn a_dry_run_writes_nothing() {
    let home = Home::new();
    let outcome = setup(&home, &["--dry-run", "--key-stdin", "--region", "us"]).input(KEY).run().exits_with(0);
    outcome.prints(&["would get", "POSTHOG_HOST", "https://us.i.posthog.com", "phc_…LmB8"]);
    assert!(!home.path().join(USER).exists());
}

#[test]
fn without_answers_and_without_a_terminal_it_says_what_to_do() {
    let home = Home::new();
    home.program(["setup"]).run().exits_with(2).says(&["in a terminal", "flags"]);
    assert!(!home.path().join(USER).exists());
}

#[test]
fn answers_that_cannot_be_used_are_refused_and_nothing_is_written() {
    let refused = |arguments: &[&str], input: &str, reason: &str| {
        let home = Home::new();
        setup(&home, arguments).input(input).run().exits_with(2).says(&[reason]);
        assert!(!home.path().join(USER).exists(), "{arguments:?}");
    };
    refused(&["--key-stdin"], "phx_0123456789", "personal API key");
    refused(&["--key-stdin"], "", "is blank");
    refused(&["--host", "https://posthog.example.com"], "", "--allow-custom-host");
    refused(&["--host", "http://posthog.example.com", "--allow-custom-host"], "", "not encrypted");
    refused(&["--region", "mars"], "", "possible values: us, eu");
    refused(&["--region", "us", "--host", "https://us.i.posthog.com"], "", "cannot be used with");
    refused(&["--privacy", "perhaps"], "", "true");
}

#[test]
fn what_does_not_look_like_a_token_does_not_replace_one() {
    let home = Home::new();
    setup(&home, &["--key-stdin"]).input(KEY).run().exits_with(0);
    let before = read(&home, USER);
    for (flag, variable) in [("--key-stdin", ""), ("--key-env", "hello")] {
        let run = setup(&home, &[flag]).env("POSTHOG_API_KEY", variable).input("hello").run();
        run.exits_with(2).says(&[
            "nothing was written",
            "(phc_…)",
            "phc_…LmB8",
            "remove POSTHOG_API_KEY from that file",
        ]);
        assert_eq!(read(&home, USER), before, "{flag}");
    }
    // Another token, and what replaces nothing.
    setup(&home, &["--key-stdin"]).input("phc_another0123456789").run().exits_with(0);
    setup(&Home::new(), &["--key-stdin"]).input("hello").run().exits_with(0);
}

#[test]
fn a_custom_host_is_written_with_its_permission() {
    let home = Home::new();
    setup(&home, &["--host", "https://PostHog.example.com:8443", "--allow-custom-host"]).run().exits_with(0);
    let expected =
        json!({"POSTHOG_HOST": "https://posthog.example.com:8443", "POSTHOG_LLMA_ALLOW_CUSTOM_HOST": "true"});
    assert_eq!(env(&home, USER), expected);
}

#[test]
fn the_projects_own_file_is_written_where_the_project_is() {
    let home = Home::new();
    fs::create_dir_all(home.path().join("work/.claude")).unwrap();
    fs::create_dir_all(home.path().join("work/src/deep")).unwrap();
    let run = setup(&home, &["--scope", "project-local", "--enabled", "false"])
        .current_dir(home.path().join("work/src/deep"));
    run.run().exits_with(0);
    assert_eq!(env(&home, LOCAL), json!({"POSTHOG_LLMA_CC_ENABLED": "false"}));
    assert!(!home.path().join(USER).exists());
}

#[test]
fn a_key_that_git_would_take_is_warned_about_and_a_file_that_is_checked_in_is_refused() {
    let home = Home::new();
    let git = |arguments: &[&str]| {
        let mut git = std::process::Command::new("git");
        git.args(["-c", "user.name=t", "-c", "user.email=t@example.com"])
            .args(arguments)
            .current_dir(home.path().join("work"));
        assert!(git.output().unwrap().status.success(), "{arguments:?}");
    };
    git(&["init", "-q"]);
    let local = ["--scope", "project-local", "--key-stdin"];
    setup(&home, &local).input(KEY).run().exits_with(0).says(&["git does not ignore", "settings.local.json"]);
    home.write("work/.gitignore", "*.local.json\n");
    let other = KEY.replace("LmB8", "LmB9");
    setup(&home, &local).input(other).run().exits_with(0).says_nothing();
    git(&["add", "-f", ".claude/settings.local.json"]);
    setup(&home, &local).input(KEY).run().exits_with(2).says(&["checked in"]);
}

#[test]
fn what_goes_before_the_file_is_warned_about() {
    let home = Home::new();
    let run = setup(&home, &["--region", "eu"]).env("POSTHOG_HOST", "https://us.i.posthog.com").run().exits_with(0);
    run.says(&["POSTHOG_HOST has another value in the environment"]);
}

#[cfg(unix)]
#[test]
fn a_link_stays_a_link_and_a_mode_that_shows_the_key_is_warned_about() {
    use std::os::unix::fs::{PermissionsExt as _, symlink};
    let home = Home::new();
    let target = home.write("dotfiles/claude.json", "{}");
    fs::set_permissions(&target, fs::Permissions::from_mode(0o644)).unwrap();
    symlink("../dotfiles/claude.json", home.path().join(USER)).unwrap();
    setup(&home, &["--key-stdin"]).input(KEY).run().exits_with(0).says(&["other users can read the key", "mode 644"]);
    assert!(fs::symlink_metadata(home.path().join(USER)).unwrap().is_symlink());
    assert_eq!(env(&home, "dotfiles/claude.json")["POSTHOG_API_KEY"], KEY);
    assert_eq!(fs::metadata(&target).unwrap().permissions().mode() & 0o777, 0o644);
}

#[test]
fn afterwards_the_doctor_has_a_look() {
    let home = Home::new();
    let posthog = posthog();
    let run = home.program(["setup", "--key-stdin", "--host", &posthog.origin()]).input(KEY).run();
    assert!(run.stdout.contains('✓'), "{run:?}");
}

#[test]
fn on_a_fresh_machine_it_ends_well() {
    let posthog = LocalPostHog::start(Config::default()).unwrap();
    let home = Home::new();
    fs::remove_dir_all(home.path().join(".claude")).unwrap();
    let arguments = ["setup", "--key-stdin", "--host", &posthog.origin(), "--yes"];
    let outcome = home.program(arguments).input(KEY).run().exits_with(0);
    outcome.prints(&["→ plugin: not installed", "no sessions yet", "✓ Done: sessions are sent once"]);
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        assert_eq!(home.path().join(USER).metadata().unwrap().permissions().mode() & 0o777, 0o600);
    }
    home.write(
        ".claude/plugins/installed_plugins.json",
        json!({"plugins": {"posthog@posthog-llma": [{}]}}).to_string(),
    );
    home.write(".gitconfig", "[user]\n\temail = me@example.com\n");
    let again = home.program(["setup", "--privacy", "--yes"]).run().exits_with(0);
    again.prints(&["✓ plugin", "✓ Done: new sessions are sent from now on"]);
    // What is wrong with what was written is not a step that is still to come.
    let wrong = ["setup", "--host", "http://127.0.0.1:1", "--yes"];
    home.program(wrong).run().exits_with(1).prints(&["✗ connection"]);
    assert!(posthog.events().is_empty());
}
