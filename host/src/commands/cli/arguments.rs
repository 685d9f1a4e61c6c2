//! The arguments of each command.

use super::values::{duration, point_in_time, process, seconds};
use crate::claude_code::client::Process;
use crate::claude_code::settings::Scope;
use crate::delivery::hook::HookInput;
use crate::delivery::send::PATIENCE;
use crate::system::detach::Stdin;
use clap::{ArgAction, Args, ValueEnum, ValueHint};
use posthog_llma_sandbox::Limits;
use posthog_llma_sandbox::bindings::exports::posthog::llm_analytics::delivery::Patience;
use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

/// `trust`
#[derive(Debug, Args)]
pub struct Trust {
    /// The project [default: the current one]
    #[arg(value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub project: Option<PathBuf>,
    /// List all decisions, and what projects ask for
    #[arg(long, conflicts_with = "project")]
    pub list: bool,
    /// With --list: print one JSON object
    #[arg(long, requires = "list")]
    pub json: bool,
}

/// `untrust`
#[derive(Debug, Args)]
pub struct Untrust {
    /// The project [default: the current one]
    #[arg(value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub project: Option<PathBuf>,
    /// Also stop asking: what the project asks for is ignored
    #[arg(long)]
    pub refuse: bool,
}

/// `pause`
#[derive(Debug, Args)]
pub struct Pause {
    /// How long, such as 30m, 2h or 7d [default: until `resume`]
    #[arg(value_name = "TIME", value_parser = duration)]
    pub time: Option<Duration>,
}

/// `never`
#[derive(Debug, Args)]
pub struct Never {
    /// The folder or transcript [default: show the list]
    #[arg(value_name = "PATH", value_hint = ValueHint::AnyPath)]
    pub path: Option<PathBuf>,
    /// Remove it from the list
    #[arg(long, requires = "path")]
    pub remove: bool,
}

/// `convert`
#[derive(Debug, Args)]
pub struct Convert {
    /// A transcript's path, a session ID, or the beginning of one
    #[arg(value_name = "TRANSCRIPT | SESSION-ID")]
    pub session: OsString,
    #[command(flatten)]
    #[expect(missing_docs, reason = "clap would show it as the command's own")]
    pub limits: LimitArguments,
}

/// `send`
#[derive(Debug, Args)]
pub struct Send {
    /// A transcript's path, a session ID, or the beginning of one
    #[arg(value_name = "TRANSCRIPT | SESSION-ID")]
    pub session: OsString,
    /// Print the report as one JSON object
    #[arg(long)]
    pub json: bool,
    /// Also send what was delivered before; PostHog's trace views then count it twice
    #[arg(long, visible_alias = "force")]
    pub again: bool,
    #[command(flatten)]
    #[expect(missing_docs, reason = "clap would show it as the command's own")]
    pub sent_before: SentBeforeArguments,
    #[command(flatten)]
    #[expect(missing_docs, reason = "clap would show it as the command's own")]
    pub destination: DestinationArguments,
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
    /// Print one JSON object: the text, how often each rule matched, and where
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
    /// The command [default: the program]
    pub command: Option<String>,
    /// Write all pages to this folder instead, one file each
    #[arg(long, value_name = "FOLDER", conflicts_with = "command", value_hint = ValueHint::DirPath)]
    pub out: Option<PathBuf>,
}

/// `setup`
#[derive(Debug, Args)]
pub struct Setup {
    /// The settings file to write
    #[arg(long, value_enum, default_value = "user")]
    pub scope: ScopeArgument,
    #[command(flatten)]
    #[expect(missing_docs, reason = "clap would show it as the command's own")]
    pub destination: DestinationArguments,
    /// Send no text, only numbers, names and IDs
    #[arg(long, value_name = "true|false", num_args = 0..=1, default_missing_value = "true", action = ArgAction::Set)]
    pub privacy: Option<bool>,
    /// One trace per session, or one per prompt
    #[arg(long, value_enum)]
    pub grouping: Option<Grouping>,
    /// Send sessions automatically; defaults to true once a token is set
    #[arg(long, value_name = "true|false", num_args = 0..=1, default_missing_value = "true", action = ArgAction::Set)]
    pub enabled: Option<bool>,
    /// Ask nothing; whatever has no flag stays as it is
    #[arg(long, short)]
    pub yes: bool,
    /// Show what would be written; write nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Do not run `doctor` afterwards
    #[arg(long)]
    pub no_check: bool,
}

/// Where to send. A token is never an argument, because other users of a machine can see arguments.
#[derive(Debug, Default, Args)]
pub struct DestinationArguments {
    /// Read the project token from standard input
    #[arg(long, conflicts_with = "key_env", help_heading = "Destination")]
    pub key_stdin: bool,
    /// Read the project token from an environment variable, by default from `POSTHOG_API_KEY`
    #[arg(long, value_name = "VARIABLE", num_args = 0..=1, default_missing_value = "POSTHOG_API_KEY", help_heading = "Destination")]
    pub key_env: Option<String>,
    /// PostHog Cloud's region
    #[arg(long, value_enum, conflicts_with = "host", help_heading = "Destination")]
    pub region: Option<Region>,
    /// Another PostHog server: scheme, host and optional port, such as `https://posthog.example.com`
    #[arg(long, value_name = "ORIGIN", value_hint = ValueHint::Url, help_heading = "Destination")]
    pub host: Option<String>,
    /// Allow a host outside posthog.com that is not this machine
    #[arg(long, requires = "host", help_heading = "Destination")]
    pub allow_custom_host: bool,
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
    /// One trace per session
    Session,
    /// One trace per prompt, with everything that follows from it
    Message,
}

/// `view`
#[derive(Debug, Args)]
pub struct View {
    /// A transcript's path, a session ID, or the beginning of one
    #[arg(value_name = "TRANSCRIPT | SESSION-ID")]
    pub session: OsString,
    /// Write a self-contained page to this file instead; an existing file is replaced
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub html: Option<PathBuf>,
    #[command(flatten)]
    #[expect(missing_docs, reason = "clap would show it as the command's own")]
    pub limits: LimitArguments,
}

/// `ingest`
#[derive(Debug, Args)]
pub struct Ingest {
    /// Paths of transcripts, session IDs, or the beginnings of IDs
    #[arg(value_name = "TRANSCRIPT | SESSION-ID")]
    pub sessions: Vec<OsString>,
    /// Sessions of all projects
    #[arg(long, conflicts_with_all = ["sessions", "project"])]
    pub all: bool,
    /// Sessions that began in this folder or below it
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath, conflicts_with = "sessions")]
    pub project: Option<PathBuf>,
    /// Sessions that began at this time or later; of the current project, unless --all or --project is given
    #[arg(long, value_name = "TIME", value_parser = point_in_time)]
    pub since: Option<i64>,
    /// Sessions that began before this time; of the current project, unless --all or --project is given
    #[arg(long, value_name = "TIME", value_parser = point_in_time)]
    pub until: Option<i64>,
    /// List sessions, newest first; send nothing
    #[arg(long, conflicts_with_all = ["dry_run", "force"])]
    pub list: bool,
    /// Show what would be sent; send nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Also send what was delivered before; PostHog's trace views then count it twice
    #[arg(long, visible_alias = "again")]
    pub force: bool,
    #[command(flatten)]
    #[expect(missing_docs, reason = "clap would show it as the command's own")]
    pub sent_before: SentBeforeArguments,
    /// Print the report as one JSON object
    #[arg(long)]
    pub json: bool,
    /// Number of sessions to read at the same time [default: one per core]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    pub jobs: Option<u16>,
    #[command(flatten)]
    #[expect(missing_docs, reason = "clap would show it as the command's own")]
    pub destination: DestinationArguments,
    #[command(flatten)]
    #[expect(missing_docs, reason = "clap would show it as the command's own")]
    pub patience: PatienceArguments,
    #[command(flatten)]
    #[expect(missing_docs, reason = "clap would show it as the command's own")]
    pub limits: LimitArguments,
}

/// What another program may have sent.
#[derive(Debug, Clone, Copy, Args)]
pub struct SentBeforeArguments {
    /// What to do with a session that PostHog's Python plugin sent or may have sent: leave it out, or send it too. Without
    /// this, the command asks
    #[arg(long, value_enum, value_name = "WHAT")]
    pub python_plugin: Option<SentBefore>,
}

/// What to do with what another program has sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum SentBefore {
    /// Leave it out
    Skip,
    /// Send it too; PostHog then counts it twice
    Send,
}

/// `flush`
#[derive(Debug, Args)]
pub struct Flush {
    /// Also deliver what was given up
    #[arg(long)]
    pub failed: bool,
    /// Also deliver what is waiting for another host or token, to the current destination; skips what it already has
    #[arg(long)]
    pub redirect: bool,
    /// Don't wait, even if the server asked to
    #[arg(long)]
    pub now: bool,
    /// Wait until nothing is left to deliver, at most this many seconds. For jobs that end with all their processes
    #[arg(long, value_name = "SECONDS", num_args = 0..=1, default_missing_value = "60")]
    pub wait: Option<u32>,
    #[command(flatten)]
    #[expect(missing_docs, reason = "clap would show it as the command's own")]
    pub destination: DestinationArguments,
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
    /// Also write a file for a bug report, without content, the token or values of settings
    #[arg(
        long,
        value_name = "FILE",
        num_args = 0..=1,
        default_missing_value = "posthog-llma-support.json",
        value_hint = ValueHint::FilePath
    )]
    pub bundle: Option<PathBuf>,
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
    pub fn input(self) -> Option<HookInput> {
        let (session_id, transcript) = (self.session?, self.transcript?);
        Some(HookInput { event: self.event?, source: String::new(), session_id, transcript, at: self.at? })
    }
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
    /// Time limit of one request, from its start to the end of the answer
    #[arg(long, value_name = "SECONDS", default_value = "60", value_parser = seconds)]
    pub timeout: Duration,
    /// Number of retries after a temporary failure
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
    /// Memory limit of the sandbox
    #[arg(long, value_name = "MIB", default_value = "256", value_parser = clap::value_parser!(u32).range(8..=4096))]
    pub max_memory: u32,
    /// Time limit of the sandbox
    #[arg(long, value_name = "SECONDS", default_value = "600", value_parser = seconds)]
    pub max_time: Duration,
}

impl From<&LimitArguments> for Limits {
    fn from(arguments: &LimitArguments) -> Self {
        Self { memory: arguments.max_memory as usize * 1024 * 1024, time: arguments.max_time }
    }
}
