//! The command line.

use crate::claude_code::client::Process;
use crate::claude_code::settings::Scope;
use crate::delivery::hook::Input;
use crate::delivery::send::PATIENCE;
use crate::outbox::now;
use crate::system::detach::Stdin;
use clap::{ArgAction, Args, Parser, Subcommand, ValueEnum, ValueHint};
use posthog_llma_pipeline::{options, time};
use posthog_llma_sandbox::Limits;
use posthog_llma_sandbox::bindings::exports::posthog::llm_analytics::delivery::Patience;
use std::ffi::OsString;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::time::Duration;

/// Exit codes, as `--help` gives them.
const EXIT_CODES: &str = "\
Exit codes:
  0  done: every event was accepted
  1  failed: something was not delivered, or could not be read
  2  called wrongly, or a setting cannot be used";

/// What is set by variables, as `--help` gives it.
fn settings() -> String {
    let mut text = "\
Settings come from the environment; where a variable is not set, from the `env` block of ~/.claude/settings.json. The
settings of a project can only make them stricter:"
        .to_owned();
    for entry in options::table() {
        let default = entry.default().map(|default| format!(" [{default}]")).unwrap_or_default();
        let _ = write!(text, "\n  {:<34} {}{default}", entry.variable, entry.help);
    }
    text
}

/// Claude Code sessions in PostHog: cost, tools, errors, and the course of every session.
///
/// A session's transcript is converted and sent by a WebAssembly component in a sandbox. It can read that session's files
/// and reach the one PostHog host, and nothing else.
#[derive(Debug, Parser)]
#[command(name = "posthog-llma", version, after_help = settings(), after_long_help = format!("{}\n\n{EXIT_CODES}", settings()))]
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

Colors: in a terminal, unless NO_COLOR is set.")]
    View(View),
    /// Send past sessions: by default the newest one of the current project. What was delivered before is skipped
    #[command(after_help = "\
Times are UTC: 2026-11-01, 2026-11-01T09:30:00Z, or 7d, 12h, 30m ago.
Ctrl-C stops after the batches that are under way; the same command goes on from there (exit code 130).

Examples:
  posthog-llma ingest                           the newest session of this project
  posthog-llma ingest 0b2a846a 77f1             sessions by the beginning of their ids
  posthog-llma ingest --list --all --since 7d   what there is
  posthog-llma ingest --all --dry-run           what would be sent
  posthog-llma ingest --all                     everything that was not delivered yet
  posthog-llma ingest --project ~/code/shop --since 2026-11-01 --until 2026-12-01")]
    Ingest(Ingest),
    /// Deliver what is owed now, whatever went wrong before
    #[command(after_help = "\
Examples:
  posthog-llma flush
  posthog-llma flush --failed          also what was given up
  posthog-llma flush --wait 120        as the last step of a CI job: also sessions that no hook has ended
  posthog-llma flush --json | jq .owed")]
    Flush(Flush),
    /// Say whether sessions are sent by themselves, what was delivered, what is owed, and what went wrong
    #[command(after_help = "\
Exit code 0: healthy; 1: something needs you.

Examples:
  posthog-llma status
  posthog-llma status --json | jq .coverage")]
    Status(Status),
    /// Check all that delivery needs, one thing after the other, and say what to do
    #[command(after_help = "\
Exit code 0: all is well; 1: something is not.

Examples:
  posthog-llma doctor
  posthog-llma doctor --json | jq '.checks[] | select(.ok | not)'")]
    Doctor(Doctor),
    /// Print a shell's completions of this program
    #[command(after_help = "\
Examples:
  posthog-llma completions bash > ~/.local/share/bash-completion/completions/posthog-llma
  posthog-llma completions zsh > \"${fpath[1]}/_posthog-llma\"
  posthog-llma completions fish > ~/.config/fish/completions/posthog-llma.fish
  posthog-llma completions powershell >> $PROFILE")]
    Completions(Completions),
    /// Print the manual page of this program, or of one of its commands
    #[command(after_help = "\
Examples:
  posthog-llma man | man -l -
  posthog-llma man send | man -l -
  posthog-llma man --out ~/.local/share/man/man1     all pages, a file each")]
    Man(Man),
    /// What Claude Code calls when a session begins and ends: writes down what is owed, and ends at once
    #[command(after_help = "\
Reads the hook's JSON from standard input, prints nothing, and always exits with 0. The plugin calls it. Example:
  echo '{\"hook_event_name\":\"SessionEnd\",\"session_id\":\"…\",\"transcript_path\":\"/…/….jsonl\"}' | posthog-llma hook")]
    Hook,
    /// A copy of this program that starts another one and ends
    #[command(hide = true)]
    Detach(Detach),
    /// What goes on after a hook
    #[command(hide = true)]
    Worker(Worker),
    /// Set up sending: the project key, where to, what of it. Asks on a terminal; each answer is also a flag
    #[command(after_help = "\
Writes the `env` block of a settings file of Claude Code and leaves the rest of it as it is; then runs `doctor`. The key is
never an argument, because other users of a machine see those. New sessions take the settings.

Examples:
  posthog-llma setup                                            asks
  posthog-llma setup --key-stdin --region eu < key.txt
  POSTHOG_API_KEY=phc_… posthog-llma setup --key-env --region us --privacy true
  posthog-llma setup --scope project-local --enabled false      not for this project
  posthog-llma setup --region eu --dry-run                      shows what would be written

Exit code 0: written, and all is well; 1: not written, or `doctor` found something; 2: called wrongly.")]
    Setup(Setup),
    /// Decide on what this project asks for: a destination of its own, or that its sessions be sent by themselves
    #[command(after_help = "\
What stands in a project's files, `.claude/settings.local.json` included, counts only after a typed yes: whoever wrote a
repository must not decide where your sessions go. What your own settings and your shell say needs none.

Examples:
  posthog-llma trust                    shows what the project asks for, and asks you
  posthog-llma trust --list             all decisions

Exit code 2: there is no terminal to answer in.")]
    Trust(Trust),
    /// Take back what `trust` approved
    #[command(after_help = "\
Examples:
  posthog-llma untrust                  this project's approvals
  posthog-llma untrust --refuse         what it asks for does not count: its sessions go where your own settings say")]
    Untrust(Untrust),
    /// Send nothing until `resume`, or for some time. What runs meanwhile is sent only when you name it
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
    /// Never send anything of a folder, or of a transcript
    #[command(after_help = "\
Examples:
  posthog-llma never ~/code/secret
  posthog-llma never                    the list
  posthog-llma never --remove ~/code/secret")]
    Never(Never),
    /// Send a sample session to a PostHog inside this program, and show the trace. Needs no account and no network
    #[command(after_help = "\
Examples:
  posthog-llma demo
  posthog-llma demo --json | jq .sandbox.refused")]
    Demo(Demo),
    /// Print text from standard input without its secrets, as it would be sent: to try rules and patterns
    #[command(after_help = "\
Examples:
  posthog-llma redact < notes.txt
  git diff | posthog-llma redact --json | jq .redactions
  POSTHOG_LLMA_REDACT_PATTERNS='[{\"name\": \"employee\", \"pattern\": \"EMP-[0-9]{6}\"}]' posthog-llma redact < notes.txt")]
    Redact(Redact),
}

/// `trust`
#[derive(Debug, Args)]
pub struct Trust {
    /// The project; the current one unless given
    #[arg(value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub project: Option<PathBuf>,
    /// Show all decisions, and what projects ask for
    #[arg(long, conflicts_with = "project")]
    pub list: bool,
    /// With --list: print one JSON object
    #[arg(long, requires = "list")]
    pub json: bool,
}

/// `untrust`
#[derive(Debug, Args)]
pub struct Untrust {
    /// The project; the current one unless given
    #[arg(value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub project: Option<PathBuf>,
    /// Also do not ask again: what the project asks for does not count
    #[arg(long)]
    pub refuse: bool,
}

/// `pause`
#[derive(Debug, Args)]
pub struct Pause {
    /// How long, such as 30m, 2h or 7d; until `resume` unless given
    #[arg(value_name = "TIME", value_parser = duration)]
    pub time: Option<Duration>,
}

/// `never`
#[derive(Debug, Args)]
pub struct Never {
    /// The folder or transcript; without one, the list is shown
    #[arg(value_name = "PATH", value_hint = ValueHint::AnyPath)]
    pub path: Option<PathBuf>,
    /// Take it off the list
    #[arg(long, requires = "path")]
    pub remove: bool,
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
    /// Send what was delivered before, too: PostHog's trace views then count it twice
    #[arg(long)]
    pub again: bool,
    #[command(flatten)]
    #[expect(missing_docs, reason = "clap would show it as the command's own")]
    pub patience: PatienceArguments,
    #[command(flatten)]
    #[expect(missing_docs, reason = "clap would show it as the command's own")]
    pub limits: LimitArguments,
}

/// `redact`
#[derive(Debug, Args)]
pub struct Redact {
    /// Print one JSON object: the text, how often each rule found something, and where
    #[arg(long)]
    pub json: bool,
}

/// `completions`
#[derive(Debug, Args)]
pub struct Completions {
    /// The shell
    #[arg(value_enum)]
    pub shell: clap_complete::Shell,
}

/// `man`
#[derive(Debug, Args)]
pub struct Man {
    /// One of the commands
    pub command: Option<String>,
    /// Write all pages into this folder instead, a file each
    #[arg(long, value_name = "FOLDER", conflicts_with = "command", value_hint = ValueHint::DirPath)]
    pub out: Option<PathBuf>,
}

/// `setup`
#[derive(Debug, Args)]
pub struct Setup {
    /// The settings file to write
    #[arg(long, value_enum, default_value = "user")]
    pub scope: ScopeArgument,
    /// Read the project key from standard input
    #[arg(long, conflicts_with = "key_env")]
    pub key_stdin: bool,
    /// Take the project key from an environment variable
    #[arg(long, value_name = "VARIABLE", num_args = 0..=1, default_missing_value = "POSTHOG_API_KEY")]
    pub key_env: Option<String>,
    /// PostHog Cloud's region
    #[arg(long, value_enum, conflicts_with = "host")]
    pub region: Option<Region>,
    /// Another PostHog: scheme, host and port, such as <https://posthog.example.com>
    #[arg(long, value_name = "ORIGIN", value_hint = ValueHint::Url)]
    pub host: Option<String>,
    /// The host may be one that is neither in posthog.com nor this machine
    #[arg(long, requires = "host")]
    pub allow_custom_host: bool,
    /// Send no text, only numbers, names and ids
    #[arg(long, value_name = "true|false", num_args = 0..=1, default_missing_value = "true", action = ArgAction::Set)]
    pub privacy: Option<bool>,
    /// One trace for each session, or for each message
    #[arg(long, value_enum)]
    pub grouping: Option<Grouping>,
    /// Send sessions by themselves when they end; true as soon as there is a key, unless set before
    #[arg(long, value_name = "true|false", num_args = 0..=1, default_missing_value = "true", action = ArgAction::Set)]
    pub enabled: Option<bool>,
    /// Ask nothing: what no flag says stays as it is
    #[arg(long, short)]
    pub yes: bool,
    /// Show what would be written, and write nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Do not run `doctor` afterwards
    #[arg(long)]
    pub no_check: bool,
}

/// A settings file that is the user's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ScopeArgument {
    /// ~/.claude/settings.json: all projects
    User,
    /// .claude/settings.local.json of the current project: this one
    ProjectLocal,
}

impl From<ScopeArgument> for Scope {
    fn from(argument: ScopeArgument) -> Self {
        match argument {
            ScopeArgument::User => Self::User,
            ScopeArgument::ProjectLocal => Self::ProjectLocal,
        }
    }
}

/// A region of PostHog Cloud.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Region {
    /// In the United States: us.i.posthog.com
    Us,
    /// In the European Union: eu.i.posthog.com
    Eu,
}

/// What becomes a trace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Grouping {
    /// A session
    Session,
    /// A message of the user's, with what follows from it
    Message,
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

/// `ingest`
#[derive(Debug, Args)]
pub struct Ingest {
    /// Transcripts' paths, sessions' ids, or the beginnings of some
    #[arg(value_name = "TRANSCRIPT | SESSION-ID")]
    pub sessions: Vec<OsString>,
    /// The sessions of all projects
    #[arg(long, conflicts_with_all = ["sessions", "project"])]
    pub all: bool,
    /// The sessions that began in this folder or below it
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath, conflicts_with = "sessions")]
    pub project: Option<PathBuf>,
    /// Those that began at this time or later. Alone, of the current project
    #[arg(long, value_name = "TIME", value_parser = point_in_time)]
    pub since: Option<i64>,
    /// Those that began before this time. Alone, of the current project
    #[arg(long, value_name = "TIME", value_parser = point_in_time)]
    pub until: Option<i64>,
    /// List the sessions, the latest first; send nothing
    #[arg(long, conflicts_with_all = ["dry_run", "force"])]
    pub list: bool,
    /// Say what would be sent; send nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Send what was delivered before, too: PostHog's trace views then count it twice
    #[arg(long)]
    pub force: bool,
    /// Print the report as one JSON object
    #[arg(long)]
    pub json: bool,
    /// Sessions that are read at the same time; one for each core unless set
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    pub jobs: Option<u16>,
    #[command(flatten)]
    #[expect(missing_docs, reason = "clap would show it as the command's own")]
    pub patience: PatienceArguments,
    #[command(flatten)]
    #[expect(missing_docs, reason = "clap would show it as the command's own")]
    pub limits: LimitArguments,
}

/// A day, a time, or a time ago, in milliseconds since 1970.
fn point_in_time(text: &str) -> Result<i64, String> {
    let ago = [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000)].into_iter().find_map(|(unit, milliseconds)| {
        let number: i64 = text.strip_suffix(unit)?.parse().ok().filter(|number| *number >= 0)?;
        Some(now().saturating_sub(number.saturating_mul(milliseconds)))
    });
    ago.or_else(|| time::parse(text))
        .or_else(|| time::parse(&format!("{text}T00:00:00Z")))
        .ok_or_else(|| "is no time such as 2026-11-01, 2026-11-01T09:30:00Z, 7d, 12h or 30m".to_owned())
}

/// `flush`
#[derive(Debug, Args)]
pub struct Flush {
    /// Also deliver what was given up
    #[arg(long)]
    pub failed: bool,
    /// Also when the server has asked to wait
    #[arg(long)]
    pub now: bool,
    /// Wait until nothing is owed any more, at most so many seconds: for jobs that end with all their processes
    #[arg(long, value_name = "SECONDS", num_args = 0..=1, default_missing_value = "60")]
    pub wait: Option<u32>,
    #[command(flatten)]
    #[expect(missing_docs, reason = "clap would show it as the command's own")]
    pub patience: PatienceArguments,
    /// Print the report as one JSON object
    #[arg(long)]
    pub json: bool,
}

/// `status`
#[derive(Debug, Args)]
pub struct Status {
    /// Print everything as one JSON object
    #[arg(long)]
    pub json: bool,
}

/// `doctor`
#[derive(Debug, Args)]
pub struct Doctor {
    /// Print everything as one JSON object
    #[arg(long)]
    pub json: bool,
}

/// `detach`
#[derive(Debug, Args)]
pub struct Detach {
    /// The other one reads this one's standard input
    #[arg(long)]
    pub stdin: bool,
    /// The other one's arguments
    #[arg(last = true)]
    pub command: Vec<OsString>,
}

impl Detach {
    /// Where the other one's input comes from.
    pub fn stdin(&self) -> Stdin {
        if self.stdin { Stdin::Inherit } else { Stdin::Null }
    }
}

/// `worker`
#[derive(Debug, Args)]
pub struct Worker {
    /// The hook's event. Without the four, they are read from standard input
    #[arg(long, requires = "transcript")]
    pub event: Option<String>,
    /// The session's id
    #[arg(long, requires = "transcript")]
    pub session: Option<String>,
    /// Its main transcript
    #[arg(long, requires_all = ["event", "session", "at"])]
    pub transcript: Option<PathBuf>,
    /// When the hook was called, in milliseconds since 1970
    #[arg(long, requires = "transcript")]
    pub at: Option<i64>,
    /// The client's process: its number and its start
    #[arg(long, value_parser = process)]
    pub client: Option<Process>,
}

impl Worker {
    /// The hook's input, if the hook had read it.
    pub fn input(self) -> Option<Input> {
        Some(Input { event: self.event?, session_id: self.session?, transcript: self.transcript?, at: self.at? })
    }
}

fn process(text: &str) -> Result<Process, String> {
    let (process, started) = text.split_once(':').ok_or("is no process")?;
    let number = |error: std::num::ParseIntError| error.to_string();
    Ok((process.parse().map_err(number)?, started.parse().map_err(number)?))
}

/// `demo`
#[derive(Debug, Args)]
pub struct Demo {
    /// Print everything as one JSON object
    #[arg(long)]
    pub json: bool,
}

/// Bounds of the delivery.
#[derive(Debug, Args)]
pub struct PatienceArguments {
    /// Time of one request, from its start to the end of the answer
    #[arg(long, value_name = "SECONDS", default_value = "60", value_parser = seconds)]
    pub timeout: Duration,
    /// How often a request is sent again after a failure that may pass
    #[arg(long, value_name = "N", default_value = "3", value_parser = clap::value_parser!(u32).range(0..=20))]
    pub retries: u32,
}

impl PatienceArguments {
    /// The time of the whole request bounds its parts.
    pub fn patience(&self) -> Patience {
        let request_timeout = u32::try_from(self.timeout.as_millis()).unwrap_or(u32::MAX);
        Patience {
            connect_timeout: PATIENCE.connect_timeout.min(request_timeout),
            first_byte_timeout: PATIENCE.first_byte_timeout.min(request_timeout),
            request_timeout,
            max_retries: self.retries,
            ..PATIENCE
        }
    }
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

impl From<&LimitArguments> for Limits {
    fn from(arguments: &LimitArguments) -> Self {
        Self { memory: arguments.max_memory as usize * 1024 * 1024, time: arguments.max_time }
    }
}

fn duration(text: &str) -> Result<Duration, String> {
    let units = [("d", 86_400), ("h", 3600), ("m", 60), ("s", 1)];
    let found = units.into_iter().find_map(|(unit, seconds)| {
        let number: u32 = text.strip_suffix(unit)?.parse().ok().filter(|number| *number > 0)?;
        Some(Duration::from_secs(u64::from(number) * seconds))
    });
    found.ok_or_else(|| "is no time such as 30m, 2h or 7d".to_owned())
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
    fn every_command_has_examples() {
        let command = Cli::command();
        let shown = command.get_subcommands().filter(|command| !command.is_hide_set());
        for command in shown {
            let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            assert!(help.contains(&format!("posthog-llma {}", command.get_name())), "{}", command.get_name());
        }
    }

    #[test]
    fn times_are_days_times_or_times_ago() {
        assert_eq!(point_in_time("2026-11-01"), point_in_time("2026-11-01T00:00:00Z"));
        assert_eq!(point_in_time("2026-11-01T01:00:00+01:00"), point_in_time("2026-11-01"));
        for (ago, milliseconds) in [("7d", 604_800_000), ("12h", 43_200_000), ("30m", 1_800_000), ("0d", 0)] {
            let difference = now() - milliseconds - point_in_time(ago).unwrap();
            assert!((0..1000).contains(&difference), "{ago}: {difference}");
        }
        for bad in ["", "d", "-1d", "yesterday", "2026-13-01", "7w", "99999999999999999999d"] {
            assert!(point_in_time(bad).is_err(), "{bad}");
        }
        assert!(point_in_time("9000000000000000000d").is_ok(), "long ago, and no overflow");
    }

    #[test]
    fn seconds_are_bounded() {
        assert_eq!(seconds("0.5"), Ok(Duration::from_millis(500)));
        for bad in ["", "x", "-1", "0", "NaN", "inf", "1e99"] {
            assert!(seconds(bad).is_err(), "{bad}");
        }
    }
}
