//! `trust` and `untrust`: the person's decisions about a project's requests.

use super::{FAILED, Unusable, load, until_text};
use crate::claude_code::project::Ask;
use crate::commands::cli::{Trust, Untrust};
use crate::outbox::decisions::{Decisions, Pair, Verdict, resolved};
use crate::outbox::{self, now};
use crate::program;
use crate::system::terminal::{self, print, tell};
use serde_json::json;
use std::borrow::Cow;
use std::fmt::Write as _;
use std::io::{self, BufRead as _};
use std::process::ExitCode;

/// Runs `trust`.
pub fn run(arguments: &Trust) -> anyhow::Result<ExitCode> {
    let directory = outbox::directory()?;
    if arguments.list {
        return list(&Decisions::load(&directory)?, arguments.json);
    }
    if let Some(project) = &arguments.project {
        std::env::set_current_dir(project)
            .map_err(|error| Unusable(Cow::Owned(format!("cannot enter {}: {error}", project.display()))))?;
    }
    let program = load()?;
    let Some(ask) = &program.ask else {
        print(
            "This project asks for nothing you have not decided (`posthog-llma trust --list` shows your decisions)\n",
        )?;
        return Ok(ExitCode::SUCCESS);
    };
    if ask.pair.is_err() {
        return Err(Unusable(Cow::Owned(ask.question())).into());
    }
    if decide(ask, "posthog-llma trust")? {
        print(
            "Approved. `posthog-llma flush` in this project sends what is waiting; new sessions are sent automatically\n",
        )?;
        return Ok(ExitCode::SUCCESS);
    }
    print("Nothing was changed\n")?;
    Ok(ExitCode::from(FAILED))
}

/// Shows what the project asks for and approves it if the person types yes. Without a terminal this is an error that
/// names the command to run in one.
pub fn decide(ask: &Ask, command: &str) -> anyhow::Result<bool> {
    let Ok((origin, key)) = &ask.pair else { return Ok(false) };
    if !terminal::is_interactive() {
        let message = format!("{}: run `{command}` in a terminal to decide", ask.question());
        return Err(Unusable(Cow::Owned(message)).into());
    }
    tell(&format!("Project  {}\nSends to {origin}\nToken    {key}\nSet in   {}\n", ask.project.display(), ask.source));
    terminal::ask("Send this project's sessions there? Type yes:")?;
    let mut line = String::new();
    io::stdin().lock().read_line(&mut line)?;
    if !line.trim().eq_ignore_ascii_case("yes") {
        return Ok(false);
    }
    let pair = Pair::new(&ask.project, origin, key);
    Decisions::change(&outbox::directory()?, |decisions| decisions.approve(&pair))?;
    Ok(true)
}

/// Runs `untrust`.
pub fn undo(arguments: &Untrust) -> anyhow::Result<ExitCode> {
    let project = resolved(arguments.project.as_deref().unwrap_or(std::path::Path::new(".")));
    let directory = outbox::directory()?;
    if arguments.refuse {
        std::env::set_current_dir(&project)
            .map_err(|error| Unusable(Cow::Owned(format!("cannot enter {}: {error}", project.display()))))?;
    }
    let ask = if arguments.refuse { load()?.ask } else { None };
    let mut forgotten = 0;
    Decisions::change(&directory, |decisions| {
        forgotten = decisions.forget(&project);
        if let Some(ask) = &ask {
            decisions.refuse(&program::asked(ask).pair);
        }
    })?;
    match (ask, forgotten) {
        (Some(ask), _) => print(&format!(
            "Refused: what {} asks for is ignored. Its sessions go where your own settings say\n",
            ask.project.display()
        ))?,
        (None, 0) => print(&format!("No decisions about {}\n", project.display()))?,
        (None, _) => print(&format!("Decisions about {} removed\n", project.display()))?,
    }
    Ok(ExitCode::SUCCESS)
}

fn list(decisions: &Decisions, as_json: bool) -> anyhow::Result<ExitCode> {
    if as_json {
        print(&format!("{:#}\n", json!(decisions)))?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut text = String::new();
    for (what, pairs) in [("approved", &decisions.approved), ("refused", &decisions.refused)] {
        for pair in pairs {
            let _ = writeln!(text, "{what:<9} {}  {}  {}", pair.project, pair.origin, pair.key);
        }
    }
    for asked in decisions.asked.iter().filter(|asked| decisions.verdict(&asked.pair) == Verdict::Open) {
        let _ = writeln!(
            text,
            "asked     {}  {}  {}  ({})",
            asked.pair.project, asked.pair.origin, asked.pair.key, asked.source
        );
    }
    for path in &decisions.never {
        let _ = writeln!(text, "never     {path}");
    }
    if let Some(until) = decisions.paused_until.filter(|until| *until > now()) {
        let _ = writeln!(text, "paused   {}", until_text(until));
    }
    if text.is_empty() {
        text.push_str("No decisions: your own settings apply\n");
    }
    print(&text)?;
    Ok(ExitCode::SUCCESS)
}
