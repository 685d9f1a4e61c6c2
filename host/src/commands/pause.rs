//! `pause`, `resume` and `never`: the user's own ways to stop sending.

use super::{Unusable, until_text};
use crate::commands::cli::{Never, Pause};
use crate::outbox::decisions::{Decisions, resolved};
use crate::outbox::{self, Millis, now};
use crate::system::terminal::{complain, print};
use std::borrow::Cow;
use std::path::Path;
use std::process::ExitCode;

/// Runs `pause`.
pub fn pause(arguments: &Pause) -> anyhow::Result<ExitCode> {
    let until = arguments.time.map_or(Millis::MAX, |time| now().saturating_add(time.as_millis() as Millis));
    Decisions::change(&outbox::directory()?, |decisions| decisions.paused_until = Some(until))?;
    print(&format!(
        "Paused{}: nothing is sent, and sessions from this time are sent only if you name them\n",
        until_text(until)
    ))?;
    Ok(ExitCode::SUCCESS)
}

/// Runs `resume`.
pub fn resume() -> anyhow::Result<ExitCode> {
    let mut was_paused = false;
    Decisions::change(&outbox::directory()?, |decisions| {
        was_paused = decisions.paused().is_some();
        decisions.paused_until = None;
    })?;
    print(if was_paused { "Sending resumed\n" } else { "Sending was not paused\n" })?;
    Ok(ExitCode::SUCCESS)
}

/// Runs `never`.
pub fn never(arguments: &Never) -> anyhow::Result<ExitCode> {
    let directory = outbox::directory()?;
    let Some(path) = &arguments.path else {
        let decisions = Decisions::load(&directory)?;
        let list = if decisions.never.is_empty() {
            "Nothing is on the list: `posthog-llma never PATH` adds a folder or a transcript".to_owned()
        } else {
            decisions.never.join("\n")
        };
        print(&format!("{list}\n"))?;
        return Ok(ExitCode::SUCCESS);
    };
    let path = resolved(path);
    let path = path
        .to_str()
        .ok_or_else(|| Unusable(Cow::Owned(format!("{} is not UTF-8, so it cannot be recorded", path.display()))))?;
    if !arguments.remove && !Path::new(path).exists() {
        complain("warning", &format!("{path} does not exist; check the spelling"));
    }
    let mut was_there = false;
    Decisions::change(&directory, |decisions| {
        was_there = decisions.never.iter().any(|entry| entry == path);
        decisions.never.retain(|entry| entry != path);
        if !arguments.remove {
            decisions.never.push(path.to_owned());
        }
    })?;
    print(&match (arguments.remove, was_there) {
        (false, _) => format!("Nothing from {path} will be sent\n"),
        (true, true) => format!("{path} removed from the list\n"),
        (true, false) => format!("{path} is not on the list\n"),
    })?;
    Ok(ExitCode::SUCCESS)
}
