//! The commands: arguments become values here, and results become words. Nothing below knows the command line.

pub mod cli;
mod convert;
mod demo;
mod doctor;
mod flush;
mod ingest;
mod send;
mod setup;
mod shell;
mod status;
mod view;

use crate::delivery::hook;
use crate::program::{Program, ProgramError};
use crate::system::detach;
use crate::system::terminal::complain;
use crate::system::terminal::hide;
use clap::Parser as _;
use cli::{Cli, Command};
use std::borrow::Cow;
use std::process::ExitCode;

/// Something was not delivered, or could not be read.
const FAILED: u8 = 1;
/// Called wrongly, or a setting cannot be used. (clap uses the same.)
const UNUSABLE: u8 = 2;

/// What is missing in the settings, or cannot be used: the user has to set it.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Unusable(pub Cow<'static, str>);

impl Unusable {
    /// There is no project key.
    pub const NO_KEY: Self = Self(Cow::Borrowed(
        "POSTHOG_API_KEY is not set: it is the project key (phc_…), in the project's settings in PostHog",
    ));
}

/// The settings, see [`Program::load`]. From here on the key is known.
fn load() -> Result<Program, ProgramError> {
    let program = Program::load()?;
    hide(program.options.api_key.as_ref());
    Ok(program)
}

/// Runs the command that this process was started with.
pub fn run() -> ExitCode {
    let outcome = match Cli::parse().command {
        Command::Convert(arguments) => convert::run(&arguments),
        Command::Send(arguments) => send::run(&arguments),
        Command::Completions(arguments) => shell::completions(&arguments),
        Command::Man(arguments) => shell::man(&arguments),
        Command::Setup(arguments) => setup::run(&arguments),
        Command::View(arguments) => view::run(&arguments),
        Command::Demo(arguments) => demo::run(&arguments),
        Command::Hook => {
            hook::run();
            Ok(ExitCode::SUCCESS)
        }
        Command::Ingest(arguments) => ingest::run(&arguments),
        Command::Flush(arguments) => flush::run(&arguments),
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
            complain("error", &format!("{error:#}"));
            ExitCode::from(if is_settings(&error) { UNUSABLE } else { FAILED })
        }
    }
}

fn is_settings(error: &anyhow::Error) -> bool {
    error.is::<Unusable>() || matches!(error.downcast_ref(), Some(ProgramError::Settings(_)))
}
