//! The commands: they turn arguments into values, and results into output. No lower layer knows the command line.

mod checks;
pub mod cli;
mod convert;
mod demo;
mod destination;
mod doctor;
mod flush;
mod ingest;
mod pause;
mod redact;
mod send;
mod setup;
mod shell;
mod status;
mod trust;
mod view;

use crate::claude_code::first_environment;
use crate::delivery::hook;
use crate::outbox::Millis;
use crate::program::{Program, ProgramError};
use crate::system::log::{self, Detail};
use crate::system::terminal::{complain, hide, tell, warn};
use crate::system::{detach, open_files};
use clap::Parser as _;
use cli::{Cli, Command, DestinationArguments};
use posthog_llma_pipeline::time;
use std::borrow::Cow;
use std::path::Path;
use std::process::ExitCode;

/// Exit code: something was not delivered or could not be read.
const FAILED: u8 = 1;
/// Exit code: wrong usage, or an invalid setting. (clap uses the same code.)
const UNUSABLE: u8 = 2;

/// A setting is missing or invalid, and the user has to change it.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Unusable(pub Cow<'static, str>);

impl Unusable {
    /// There is no project token.
    pub const NO_KEY: Self = Self(Cow::Borrowed(
        "POSTHOG_API_KEY is not set: copy the project token (phc_…) from the project's settings in PostHog",
    ));
}

/// A command's flags as variable names with their values.
type Answers = Vec<(&'static str, String)>;

fn unusable(message: String) -> anyhow::Error {
    Unusable(Cow::Owned(message)).into()
}

/// Loads the settings, see [`Program::load`], and hides the key in output from now on.
fn load() -> Result<Program, ProgramError> {
    load_with(Answers::new())
}

fn load_with(flags: Answers) -> Result<Program, ProgramError> {
    let program = Program::load(flags)?;
    hide(program.options.api_key.as_ref());
    warn(&program.warnings);
    if let Some(path) = program.log() {
        log_to(&path);
    }
    Ok(program)
}

/// Starts the log in this file, unless there is already a log.
fn log_to(path: &Path) {
    if let Err(error) = log::start(path, Detail::Full) {
        complain("warning", &format!("cannot write the log {}: {error}; continuing without it", path.display()));
    }
}

/// Like [`load`], for a command that sends. Fails while sending is paused, and while a request from the project is
/// undecided.
fn load_to_send(destination: &DestinationArguments) -> anyhow::Result<Program> {
    let program = load_with(destination.of_process()?)?;
    if let Some(until) = program.decisions.paused() {
        return Err(Unusable(Cow::Owned(format!(
            "sending is paused{} (`posthog-llma resume` ends that)",
            until_text(until)
        )))
        .into());
    }
    if let Some(ask) = program.ask.as_ref().filter(|ask| ask.redirects) {
        return Err(Unusable(Cow::Owned(ask.question() + ": run `posthog-llma trust` in a terminal to decide")).into());
    }
    warn(&program.warnings);
    Ok(program)
}

/// ` until 2026-11-01 09:30 UTC`, or nothing for a pause without an end.
fn until_text(until: Millis) -> String {
    if until == Millis::MAX {
        return String::new();
    }
    let text = time::format(until);
    let (day, time) = text.split_once('T').unwrap_or((&text, ""));
    format!(" until {day} {} UTC", time.get(..5).unwrap_or(time))
}

/// Was this process started as the client starts a hook? To describe the command line to clap takes as many instructions as
/// everything else until a hook knows that it has nothing to do.
fn is_hook() -> bool {
    let mut arguments = std::env::args_os().skip(1);
    arguments.next().is_some_and(|command| command == hook::COMMAND) && arguments.next().is_none()
}

/// Runs the command that this process was started with.
pub fn run() -> ExitCode {
    first_environment::adopt();
    if is_hook() {
        hook::run();
        return ExitCode::SUCCESS;
    }
    open_files::raise_limit();
    let arguments = match Cli::try_parse() {
        Ok(arguments) => arguments,
        // clap's message repeats the arguments, which can be anyone's text.
        Err(error) if error.use_stderr() => {
            tell(error.render().to_string().trim_end());
            return ExitCode::from(UNUSABLE);
        }
        Err(help) => help.exit(),
    };
    if let Some(path) = &arguments.log {
        log_to(path);
    }
    let outcome = match arguments.command {
        Command::Convert(arguments) => convert::run(&arguments),
        Command::Send(arguments) => send::run(&arguments),
        Command::Completions(arguments) => shell::completions(&arguments),
        Command::Man(arguments) => shell::man(&arguments),
        Command::Setup(arguments) => setup::run(&arguments),
        Command::View(arguments) => view::run(&arguments),
        Command::Demo(arguments) => demo::run(&arguments),
        Command::Redact(arguments) => redact::run(&arguments),
        Command::Hook => {
            hook::run();
            Ok(ExitCode::SUCCESS)
        }
        Command::Ingest(arguments) => ingest::run(&arguments),
        Command::Flush(arguments) => flush::run(&arguments),
        Command::Trust(arguments) => trust::run(&arguments),
        Command::Untrust(arguments) => trust::undo(&arguments),
        Command::Pause(arguments) => pause::pause(&arguments),
        Command::Plugin(arguments) => setup::plugin::run(&arguments),
        Command::Resume => pause::resume(),
        Command::Never(arguments) => pause::never(&arguments),
        Command::Status(arguments) => status::run(&arguments),
        Command::Doctor(arguments) => doctor::run(&arguments),
        Command::Detach(arguments) => detach::pass_on(&arguments.command, arguments.stdin())
            .map(|()| ExitCode::SUCCESS)
            .map_err(anyhow::Error::from),
        Command::Worker(arguments) => {
            let client = arguments.client;
            hook::work(arguments.input(), client)
        }
        .map(|()| ExitCode::SUCCESS),
    };
    match outcome {
        Ok(code) => code,
        Err(error) => {
            complain("error", &message(&error));
            ExitCode::from(if is_settings(&error) { UNUSABLE } else { FAILED })
        }
    }
}

/// An error with its causes, except for causes that its message already contains.
fn message(error: &anyhow::Error) -> String {
    let mut message = String::new();
    for part in error.chain().map(ToString::to_string) {
        if message.is_empty() {
            message = part;
        } else if !message.contains(&part) {
            message = format!("{message}: {part}");
        }
    }
    message
}

fn is_settings(error: &anyhow::Error) -> bool {
    error.is::<Unusable>()
        || matches!(
            error.downcast_ref(),
            Some(ProgramError::Settings(_) | ProgramError::Patterns(_) | ProgramError::Decisions(_))
        )
}
