//! The command line.

mod arguments;
mod values;

pub use super::setup::plugin::Plugin;
pub use arguments::*;

use clap::{Parser, Subcommand};
use posthog_llma_pipeline::options;
use std::fmt::Write as _;

/// Exit codes, as `--help` lists them.
const EXIT_CODES: &str = "\
Exit codes:
  0    done: every event was accepted
  1    failed: something was not delivered, or could not be read
  2    wrong usage, or an invalid setting
  130  interrupted with Ctrl-C";

/// The settings, as `--help` lists them.
fn settings() -> String {
    let mut text = "\
Settings are environment variables, or entries in the `env` block of ~/.claude/settings.json. A project's settings can only
make them stricter:"
        .to_owned();
    for entry in options::table() {
        let default = entry.default().map(|default| format!(" [{default}]")).unwrap_or_default();
        let _ = write!(text, "\n  {:<34} {}{default}", entry.variable, entry.help);
    }
    text
}

/// Send Claude Code sessions to PostHog AI Observability: cost, tools, errors and the course of every session.
///
/// A WebAssembly component in a sandbox converts a session's transcript and sends it. The component can read that session's
/// files and reach one PostHog host, and nothing else.
#[derive(Debug, Parser)]
#[command(name = "posthog-llma", version, after_help = settings(), after_long_help = format!("{}\n\n{EXIT_CODES}", settings()))]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
    /// Write a log of what is done to this file, without content and without the token
    #[arg(long, global = true, value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    pub log: Option<std::path::PathBuf>,
}

/// What to do. In the order of `--help`: by how often people use them.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Set up sending: project token, region, privacy. Asks in a terminal; every answer is also a flag
    #[command(after_help = "\
Writes the `env` block of a Claude Code settings file, leaves the rest of the file as it is, and runs `doctor`. The token is
never an argument, because other users of a machine can see arguments. New sessions use the new settings.

Examples:
  posthog-llma setup                                            asks
  posthog-llma setup --key-stdin --region eu < key.txt
  POSTHOG_API_KEY=phc_… posthog-llma setup --key-env --region us --privacy true
  posthog-llma setup --scope project-local --enabled false      not for this project
  posthog-llma setup --region eu --dry-run                      shows what would be written

Exit code 0: written, and everything is fine; 1: not written, or `doctor` found a problem; 2: wrong usage.")]
    Setup(Setup),
    /// Show whether sending is on, what was delivered, what is waiting, and what needs your attention
    #[command(after_help = "\
Exit code 0: healthy; 1: something needs your attention.

Examples:
  posthog-llma status
  posthog-llma status --json | jq .coverage")]
    Status(Status),
    /// Check everything that delivery needs, one thing after another, and say how to fix it
    #[command(after_help = "\
Exit code 0: everything is fine; 1: something is not.

Examples:
  posthog-llma doctor
  posthog-llma doctor --bundle          also writes posthog-llma-support.json, for a bug report
  posthog-llma doctor --json | jq '.checks[] | select(.ok | not)'")]
    Doctor(Doctor),
    /// Show a session as a tree or a page: prompts, model calls, tools, tokens, times and errors. Sends nothing
    #[command(after_help = "\
Examples:
  posthog-llma view 0b2a846a                        a tree in the terminal
  posthog-llma view 0b2a846a --html session.html    a page with a waterfall, filters and everything that would be sent
  POSTHOG_LLMA_PRIVACY_MODE=true posthog-llma view 0b2a846a --html private.html    what privacy mode leaves

The tree has colors in a terminal, unless NO_COLOR is set.")]
    View(View),
    /// Send past sessions, by default the newest one of the current project. Skips what was delivered before
    #[command(after_help = "\
Times are UTC: 2026-11-01, 2026-11-01T09:30:00Z, or 7d, 12h, 30m ago.
Ctrl-C stops after the batches in flight (exit code 130); the same command continues from there.

Examples:
  posthog-llma ingest                           the newest session of this project
  posthog-llma ingest 0b2a846a 77f1             sessions, by the beginning of their IDs
  posthog-llma ingest --list --all --since 7d   which sessions there are
  posthog-llma ingest --all --dry-run           what would be sent
  posthog-llma ingest --all                     everything that was not delivered yet
  posthog-llma ingest --project ~/code/shop --since 2026-11-01 --until 2026-12-01")]
    Ingest(Ingest),
    /// Send one session to PostHog and report what arrived
    #[command(after_help = "\
Examples:
  POSTHOG_API_KEY=phc_… posthog-llma send 0b2a846a
  posthog-llma send --json path/to/session.jsonl | jq .rejected
  posthog-llma send --region eu --key-stdin 0b2a846a < token.txt    to another project, once")]
    Send(Send),
    /// Print a session's events exactly as they would be sent, one JSON object per line. Sends nothing
    #[command(after_help = "\
Examples:
  posthog-llma convert 0b2a846a                     a session, by the beginning of its ID
  posthog-llma convert path/to/session.jsonl | jq .event
  POSTHOG_LLMA_PRIVACY_MODE=true posthog-llma convert 0b2a846a    what privacy mode leaves")]
    Convert(Convert),
    /// Deliver everything that is waiting, now
    #[command(after_help = "\
Examples:
  posthog-llma flush
  posthog-llma flush --failed          also what was given up
  posthog-llma flush --wait 120        the last step of a CI job: also sessions that no hook has ended
  posthog-llma flush --json | jq .owed")]
    Flush(Flush),
    /// Send nothing until `resume`, or for some time. Sessions from that time are sent only if you name them
    #[command(after_help = "\
Examples:
  posthog-llma pause
  posthog-llma pause 2h")]
    Pause(Pause),
    /// End `pause`
    #[command(after_help = "\
Example:
  posthog-llma resume")]
    Resume,
    /// Never send anything from a folder or a transcript
    #[command(after_help = "\
Examples:
  posthog-llma never ~/code/secret
  posthog-llma never                    the list
  posthog-llma never --remove ~/code/secret")]
    Never(Never),
    /// Install Claude Code's plugin for this program, or remove it
    #[command(after_help = "\
For a program that came without the plugin: from cargo, Homebrew or an installer. Writes the plugin's files to your
data directory. Its hooks call this program at the path it has now: run `plugin install` again after you move it.

Examples:
  posthog-llma plugin install
  posthog-llma plugin install --files-only     when `claude` is not on the PATH
  posthog-llma plugin uninstall")]
    Plugin(Plugin),
    /// Decide about what this project asks for: its own destination, or turning sending on
    #[command(after_help = "\
A project's files, `.claude/settings.local.json` included, get this only after you type yes: whoever wrote a repository must
not decide where your sessions go. Your own settings and your shell need no approval.

Examples:
  posthog-llma trust                    shows what the project asks for, and asks you
  posthog-llma trust --list             all decisions

Exit code 2: there is no terminal to answer in.")]
    Trust(Trust),
    /// Revoke what `trust` approved
    #[command(after_help = "\
Examples:
  posthog-llma untrust                  this project's approvals
  posthog-llma untrust --refuse         ignore what it asks for: its sessions go where your own settings say")]
    Untrust(Untrust),
    /// Print text from standard input with its secrets replaced, as it would be sent. To try rules and patterns
    #[command(after_help = "\
Examples:
  posthog-llma redact < notes.txt
  git diff | posthog-llma redact --json | jq .redactions
  POSTHOG_LLMA_REDACT_PATTERNS='[{\"name\": \"employee\", \"pattern\": \"EMP-[0-9]{6}\"}]' posthog-llma redact < notes.txt")]
    Redact(Redact),
    /// Send a sample session to a PostHog server inside this program and show the trace. Needs no account and no network
    #[command(after_help = "\
Examples:
  posthog-llma demo
  posthog-llma demo --json | jq .sandbox.refused")]
    Demo(Demo),
    /// Print shell completions
    #[command(after_help = "\
Examples:
  posthog-llma completions bash > ~/.local/share/bash-completion/completions/posthog-llma
  posthog-llma completions zsh > \"${fpath[1]}/_posthog-llma\"
  posthog-llma completions fish > ~/.config/fish/completions/posthog-llma.fish
  posthog-llma completions powershell >> $PROFILE")]
    Completions(Completions),
    /// Print the manual page of this program or of one of its commands
    #[command(after_help = "\
Examples:
  posthog-llma man | man -l -
  posthog-llma man send | man -l -
  posthog-llma man --out ~/.local/share/man/man1     all pages, one file each")]
    Man(Man),
    /// Record which session needs delivery, and exit at once. Claude Code calls it when a session starts and ends
    #[command(
        hide = true,
        after_help = "\
Reads the hook's JSON from standard input, prints nothing, and always exits with 0. The plugin calls it. Example:
  echo '{\"hook_event_name\":\"SessionEnd\",\"session_id\":\"…\",\"transcript_path\":\"/…/….jsonl\"}' | posthog-llma hook"
    )]
    Hook,
    /// A copy of this program that starts another one and ends
    #[command(hide = true)]
    Detach(Detach),
    /// What goes on after a hook
    #[command(hide = true)]
    Worker(Worker),
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::delivery::hook;
    use crate::system::detach;
    use clap::CommandFactory as _;

    #[test]
    fn the_arguments_are_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn help_lists_what_people_use_first_and_nothing_internal() {
        let command = Cli::command();
        let shown: Vec<_> =
            command.get_subcommands().filter(|c| !c.is_hide_set()).map(clap::Command::get_name).collect();
        assert!(shown.starts_with(&["setup", "status", "doctor", "view", "ingest", "send", "convert"]), "{shown:?}");
        // The names that this program is called by are commands.
        for internal in [hook::COMMAND, hook::WORKER, detach::DETACH] {
            assert!(command.find_subcommand(internal).is_some() && !shown.contains(&internal), "{internal}");
        }
    }

    #[test]
    fn every_command_has_examples() {
        let command = Cli::command();
        let shown = command.get_subcommands().filter(|command| !command.is_hide_set());
        for command in shown {
            let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            assert!(help.contains(&format!("posthog-llma {}", command.get_name())), "{}", command.get_name());
        }
    }
}
