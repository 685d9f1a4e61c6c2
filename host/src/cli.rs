//! The command line.

use clap::{Args, Parser, Subcommand, ValueHint};
use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

/// Exit codes, as `--help` gives them.
const EXIT_CODES: &str = "\
Exit codes:
  0  done: every event was accepted
  1  failed: something was not delivered, or could not be read
  2  called wrongly, or a setting cannot be used";

const SETTINGS: &str = "\
Settings come from the environment; where a variable is not set, from the `env` block of the current project's
.claude/settings.local.json, then of ~/.claude/settings.json:
  POSTHOG_API_KEY                    project key, phc_…; needed to send
  POSTHOG_HOST                       https://us.i.posthog.com unless set
  POSTHOG_LLMA_ALLOW_CUSTOM_HOST     true: POSTHOG_HOST need not be *.posthog.com
  POSTHOG_LLMA_PRIVACY_MODE          true: send no text, only numbers, names and ids
  POSTHOG_LLMA_DISTINCT_ID           whom events belong to; else git's user.email
  POSTHOG_LLMA_TRACE_GROUPING        session (one trace for each session) or message (for each prompt)
  POSTHOG_LLMA_MAX_ATTRIBUTE_LENGTH  characters kept of each text; 12000
  POSTHOG_LLMA_CUSTOM_PROPERTIES     JSON object, added to every event
  POSTHOG_LLMA_REDACT_SECRETS        true; no pattern is built in yet
  POSTHOG_AI_PURPOSE                 $ai_purpose";

/// Claude Code sessions in PostHog: cost, tools, errors, and the course of every session.
///
/// A session's transcript is converted and sent by a WebAssembly component in a sandbox. It can read that session's files
/// and reach the one PostHog host, and nothing else.
#[derive(Debug, Parser)]
#[command(name = "posthog-llma", version, after_help = SETTINGS, after_long_help = format!("{SETTINGS}\n\n{EXIT_CODES}"))]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Print a session's events, one JSON object a line, exactly as they would be sent. Sends nothing
    #[command(after_help = "\
Examples:
  posthog-llma convert 0b2a846a                     a session by the beginning of its id
  posthog-llma convert path/to/session.jsonl | jq .event
  POSTHOG_LLMA_PRIVACY_MODE=true posthog-llma convert 0b2a846a    what privacy mode leaves")]
    Convert(Convert),
    /// Send a session to PostHog, and say what arrived
    #[command(after_help = "\
Examples:
  POSTHOG_API_KEY=phc_… posthog-llma send 0b2a846a
  posthog-llma send --json path/to/session.jsonl | jq .rejected")]
    Send(Send),
    /// Show a session: what follows from each prompt, with tokens, seconds and errors. Sends nothing
    #[command(after_help = "\
Examples:
  posthog-llma view 0b2a846a                        a tree in the terminal
  posthog-llma view 0b2a846a --html session.html    a page with a waterfall, filters and all that would be sent
  POSTHOG_LLMA_PRIVACY_MODE=true posthog-llma view 0b2a846a --html private.html    what privacy mode leaves

Colours: in a terminal, unless NO_COLOR is set.")]
    View(View),
    /// Send a sample session to a PostHog inside this program, and show the trace. Needs no account and no network
    #[command(after_help = "\
Examples:
  posthog-llma demo
  posthog-llma demo --json | jq .sandbox.refused")]
    Demo(Demo),
}

/// `convert`
#[derive(Debug, Args)]
pub struct Convert {
    /// A transcript's path, a session's id, or the beginning of one
    #[arg(value_name = "TRANSCRIPT | SESSION-ID")]
    pub session: OsString,
    #[command(flatten)]
    #[expect(missing_docs, reason = "clap would show it as the command's own")]
    pub limits: LimitArguments,
}

/// `send`
#[derive(Debug, Args)]
pub struct Send {
    /// A transcript's path, a session's id, or the beginning of one
    #[arg(value_name = "TRANSCRIPT | SESSION-ID")]
    pub session: OsString,
    /// Print the report as one JSON object
    #[arg(long)]
    pub json: bool,
    /// Time of one request, from its start to the end of the answer
    #[arg(long, value_name = "SECONDS", default_value = "60", value_parser = seconds)]
    pub timeout: Duration,
    /// How often a request is sent again after a failure that may pass
    #[arg(long, value_name = "N", default_value = "3", value_parser = clap::value_parser!(u32).range(0..=20))]
    pub retries: u32,
    #[command(flatten)]
    #[expect(missing_docs, reason = "clap would show it as the command's own")]
    pub limits: LimitArguments,
}

/// `view`
#[derive(Debug, Args)]
pub struct View {
    /// A transcript's path, a session's id, or the beginning of one
    #[arg(value_name = "TRANSCRIPT | SESSION-ID")]
    pub session: OsString,
    /// Write a self-contained page to this file instead; it replaces what is there
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub html: Option<PathBuf>,
    #[command(flatten)]
    #[expect(missing_docs, reason = "clap would show it as the command's own")]
    pub limits: LimitArguments,
}

/// `demo`
#[derive(Debug, Args)]
pub struct Demo {
    /// Print everything as one JSON object
    #[arg(long)]
    pub json: bool,
}

/// Bounds of the sandbox.
#[derive(Debug, Args)]
pub struct LimitArguments {
    /// Memory that the component may use
    #[arg(long, value_name = "MIB", default_value = "256", value_parser = clap::value_parser!(u32).range(8..=4096))]
    pub max_memory: u32,
    /// Time that the component may take
    #[arg(long, value_name = "SECONDS", default_value = "600", value_parser = seconds)]
    pub max_time: Duration,
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| "is no number of seconds".to_owned())?;
    if !(0.01..=86_400.0).contains(&seconds) {
        return Err("must be between 0.01 and 86400 seconds".to_owned());
    }
    Ok(Duration::from_secs_f64(seconds))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn the_arguments_are_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_variable_is_in_the_help() {
        for variable in posthog_llma_guest::options::VARIABLES {
            // The one that only the hook reads is in the README.
            assert!(SETTINGS.contains(variable) || *variable == "POSTHOG_LLMA_CC_ENABLED", "{variable}");
        }
    }

    #[test]
    fn seconds_are_bounded() {
        assert_eq!(seconds("0.5"), Ok(Duration::from_millis(500)));
        for bad in ["", "x", "-1", "0", "NaN", "inf", "1e99"] {
            assert!(seconds(bad).is_err(), "{bad}");
        }
    }
}
