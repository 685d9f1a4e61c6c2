//! Completions and manual pages.

use super::*;
use std::process::{Command, Stdio};

const SHELLS: [&str; 5] = ["bash", "zsh", "fish", "powershell", "elvish"];

#[test]
fn every_shell_has_completions_that_know_the_commands_and_their_flags() {
    for shell in SHELLS {
        let outcome = Home::new().program(["completions", shell]).run().exits_with(0).says_nothing();
        let outcome = outcome.prints(&["doctor", "flush", "html", "allow-custom-host"]);
        assert!(!outcome.stdout.contains("worker"), "{shell} completes a hidden command");
    }
}

#[test]
fn bash_completes_a_command() {
    let script = Home::new().program(["completions", "bash"]).run().exits_with(0).stdout;
    let ask = "complete=$(complete -p posthog-llma); complete=${complete#*-F }; \
        COMP_WORDS=(posthog-llma fl); COMP_CWORD=1; ${complete%% *} posthog-llma fl posthog-llma; echo \"${COMPREPLY[@]}\"";
    let Ok(output) = Command::new("bash").args(["-c", &format!("{script}\n{ask}")]).stdin(Stdio::null()).output()
    else {
        return;
    };
    assert_eq!(String::from_utf8(output.stdout).unwrap(), "flush\n");
}

#[test]
fn an_unknown_shell_is_an_error_that_lists_the_known_ones() {
    Home::new().program(["completions", "csh"]).run().exits_with(2).says(&SHELLS);
}

#[test]
fn there_is_a_manual_page_of_the_program_and_of_each_command() {
    let page = Home::new().program(["man"]).run().exits_with(0).says_nothing();
    page.prints(&[".TH posthog-llma 1", "posthog\\-llma\\-send(1)", "POSTHOG_LLMA_PRIVACY_MODE", "Exit codes"]);
    for command in ["convert", "send", "view", "setup", "status", "doctor", "completions", "man"] {
        let page = Home::new().program(["man", command]).run().exits_with(0).says_nothing();
        page.prints(&[&format!(".TH posthog-llma-{command} 1"), "Example"]);
    }
}

#[test]
fn all_manual_pages_can_be_written_at_once() {
    let home = Home::new();
    home.program(["man", "--out", "share/man1"]).run().exits_with(0).says_nothing();
    let folder = home.path().join("work/share/man1");
    for page in ["posthog-llma.1", "posthog-llma-setup.1"] {
        assert!(folder.join(page).is_file(), "{page}");
    }
    assert!(!folder.join("posthog-llma-worker.1").exists(), "it is hidden");
    home.write("work/file", "");
    home.program(["man", "--out", "file"]).run().exits_with(1).says(&["cannot write the pages to file"]);
}

#[test]
fn a_manual_page_of_an_unknown_or_hidden_command_is_an_error() {
    for command in ["frobnicate", "worker", "hook"] {
        Home::new().program(["man", command]).run().exits_with(2).says(&["no such command", command]);
    }
}
