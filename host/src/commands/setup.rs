//! `setup`: asks the user for settings and writes them to one of Claude Code's settings files.

pub mod plugin;

use super::destination::origin;
use super::{Answers, doctor, trust, unusable};
use crate::claude_code::settings::edit::{EditError, set_variables};
use crate::claude_code::settings::{Environment, Settings, SettingsError, Source, read_file};
use crate::commands::cli::{Grouping, Region, ScopeArgument, Setup};
use crate::outbox;
use crate::outbox::decisions::Decisions;
use crate::program;
use crate::program::ProgramError;
use crate::system::atomic;
use crate::system::git;
use crate::system::terminal::{self, hide, print, tell, warn};
use anyhow::{Context as _, anyhow};
use posthog_llma_pipeline::options::{
    self, ALLOW_CUSTOM_HOST, API_KEY, ApiKey, ENABLED, HOST, Options, PRIVACY_MODE, TRACE_GROUPING, TraceGrouping,
};
use posthog_llma_pipeline::origin::Origin;
use std::fmt::Write as _;
use std::fs;
use std::io::{self, BufRead as _};
use std::path::Path;
use std::process::ExitCode;

/// Runs the command.
pub fn run(arguments: &Setup) -> anyhow::Result<ExitCode> {
    let environment = Environment::of_process();
    let directory = std::env::current_dir().context("cannot use the current directory")?;
    let path = Settings::file(&environment, arguments.scope.into(), &directory)
        .ok_or_else(|| anyhow!("no home directory found: set HOME or CLAUDE_CONFIG_DIR"))?;
    let before = Settings::of_file(&path, arguments.scope.into()).map_err(ProgramError::from)?;
    let key = before.get(API_KEY).and_then(|(key, _)| ApiKey::parse(key).ok());
    hide(key.as_ref());

    let mut answers = of_flags(arguments)?;
    let asked = !arguments.yes && terminal::is_interactive();
    if asked {
        ask(&mut Terminal, &before, &mut answers).map_err(|error| anyhow!("nothing was written: {error}"))?;
    }
    if answers.is_empty() {
        // The plugin's copy of the program is not in `PATH`.
        let own = std::env::current_exe().map_or_else(|_| "posthog-llma".to_owned(), |path| path.display().to_string());
        return Err(unusable(format!(
            "nothing to set: run `{own} setup` in a terminal, where it asks, or give the answers as flags \
             (--help has them)"
        )));
    }
    let is_new = |name: &str| !answers.iter().any(|(answered, _)| *answered == name) && before.get(name).is_none();
    if answers.iter().any(|(name, _)| *name == API_KEY) && is_new(ENABLED) {
        answers.push((ENABLED, "true".to_owned()));
    }
    check(&before, &answers, &path)?;
    if !asked {
        keep_a_good_key(key.as_ref(), &answers, &path)?;
    }

    answers.retain(|(name, value)| before.get(name).is_none_or(|(old, _)| old != value));
    print(&summary(&path, &answers, arguments.dry_run))?;
    if arguments.dry_run {
        return Ok(ExitCode::SUCCESS);
    }
    if !answers.is_empty() {
        write(&path, &answers)?;
    }
    warn(&warnings(&environment, &directory, &path, &answers));
    if arguments.scope == ScopeArgument::ProjectLocal {
        approve(arguments, asked)?;
    }
    if arguments.no_check {
        return Ok(ExitCode::SUCCESS);
    }
    print("\n")?;
    doctor::after_setup()
}

/// Approves what a project's file asks for: such a file has no effect without the person's approval. Someone who just
/// gave the complete destination, at a terminal or in flags, has approved it.
fn approve(arguments: &Setup, asked: bool) -> anyhow::Result<()> {
    let program = super::load()?;
    let Some(ask) = &program.ask else { return Ok(()) };
    let Ok((origin, _)) = &ask.pair else { return Err(unusable(ask.question())) };
    let gives_host = arguments.destination.give_host() || *origin == Origin::default();
    if asked || !(arguments.destination.give_key() && gives_host) {
        if !trust::decide(ask, "posthog-llma trust")? {
            tell("Not approved: the project's sessions are not sent there.");
        }
        return Ok(());
    }
    let pair = program::asked(ask).pair;
    Decisions::change(&outbox::directory()?, |decisions| decisions.approve(&pair))?;
    Ok(())
}

/// The answers given in flags.
fn of_flags(arguments: &Setup) -> anyhow::Result<Answers> {
    let mut answers = arguments.destination.of_process()?;
    if let Some(privacy) = arguments.privacy {
        answers.push((PRIVACY_MODE, privacy.to_string()));
    }
    if let Some(grouping) = arguments.grouping {
        answers.push((TRACE_GROUPING, name_of(grouping).to_owned()));
    }
    if let Some(enabled) = arguments.enabled {
        answers.push((ENABLED, enabled.to_string()));
    }
    Ok(answers)
}

fn name_of(grouping: Grouping) -> &'static str {
    match grouping {
        Grouping::Session => "session",
        Grouping::Message => "message",
    }
}

/// The person to ask.
trait Person {
    /// Shows a text.
    fn tell(&mut self, text: &str);
    /// Asks a question and returns the answer without surrounding white space. The end of the input is an error.
    fn ask(&mut self, question: &str) -> io::Result<String>;
    /// Like [`ask`](Self::ask), but does not show the answer while it is typed.
    fn ask_secret(&mut self, question: &str) -> io::Result<String>;
}

/// The user at the terminal. Questions go to standard error: standard output has the result.
struct Terminal;

impl Person for Terminal {
    fn tell(&mut self, text: &str) {
        tell(text);
    }

    fn ask(&mut self, question: &str) -> io::Result<String> {
        terminal::ask(question)?;
        let mut line = String::new();
        if io::stdin().lock().read_line(&mut line)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(line.trim().to_owned())
    }

    fn ask_secret(&mut self, question: &str) -> io::Result<String> {
        terminal::ask(question)?;
        Ok(rpassword::read_password()?.trim().to_owned())
    }
}

/// Asks for what no flag specifies. An empty answer keeps the current value.
fn ask(person: &mut impl Person, before: &Settings, answers: &mut Answers) -> io::Result<()> {
    let set = |name: &str| before.get(name).map(|(value, _)| value.to_owned());
    let options = Options::parse(set).unwrap_or_default();
    let is_open = |answers: &Answers, name: &str| !answers.iter().any(|(answered, _)| *answered == name);
    person.tell("Where your sessions go, and what is sent. Enter keeps the value in [brackets].\n");
    if is_open(answers, API_KEY)
        && let Some(key) = ask_key(person, options.api_key.as_ref())?
    {
        answers.push((API_KEY, key.expose().to_owned()));
    }
    if is_open(answers, HOST)
        && let Some(host) = ask_host(person, &options.origin)?
    {
        if !is_posthog(&host) {
            answers.push((ALLOW_CUSTOM_HOST, "true".to_owned()));
        }
        answers.push((HOST, host.to_string()));
    }
    if is_open(answers, PRIVACY_MODE) {
        let question = "Privacy mode: leave out prompts, answers, and tool inputs and outputs?";
        answers.push((PRIVACY_MODE, yes_or_no(person, question, options.conversion.privacy_mode)?.to_string()));
    }
    if is_open(answers, TRACE_GROUPING) {
        answers.push((TRACE_GROUPING, ask_grouping(person, options.conversion.trace_grouping)?.to_owned()));
    }
    if is_open(answers, ENABLED) {
        let default = options.enabled || before.get(ENABLED).is_none();
        let enabled = yes_or_no(person, "Send sessions automatically?", default)?;
        answers.push((ENABLED, enabled.to_string()));
    }
    Ok(())
}

fn ask_key(person: &mut impl Person, old: Option<&ApiKey>) -> io::Result<Option<ApiKey>> {
    let old = old.map_or_else(|| "none".to_owned(), ToString::to_string);
    let question = format!("Project token (phc_…), from the project's settings in PostHog (not shown) [{old}]:");
    loop {
        let text = person.ask_secret(&question)?;
        if text.is_empty() {
            return Ok(None);
        }
        match ApiKey::parse(&text) {
            Ok(key) => {
                hide(Some(&key));
                // Confirm the key, since it was not shown while typing.
                person.tell(&format!("  Received: {key}"));
                if !key.looks_like_project_key() {
                    person.tell("  It does not look like a project token (phc_…). It is kept as you typed it; Ctrl-C stops without writing.");
                }
                return Ok(Some(key));
            }
            Err(error) => person.tell(&format!("  It cannot be used: {error}.")),
        }
    }
}

fn ask_host(person: &mut impl Person, old: &Origin) -> io::Result<Option<Origin>> {
    let shown = match old.to_string() {
        host if host == origin(Region::Us) => "us".to_owned(),
        host if host == origin(Region::Eu) => "eu".to_owned(),
        host => host,
    };
    loop {
        let text = person.ask(&format!("Region (us, eu), or scheme and host of another PostHog [{shown}]:"))?;
        let host = match text.to_lowercase().as_str() {
            "" => return Ok(None),
            "us" => origin(Region::Us),
            "eu" => origin(Region::Eu),
            _ => &text,
        };
        match Origin::parse(host, true) {
            Err(error) => person.tell(&format!("  Please answer us, eu or an origin: {error}.")),
            Ok(host) => {
                let question = format!("  {host} is neither in posthog.com nor this machine. Send sessions there?");
                if is_posthog(&host) || yes_or_no(person, &question, false)? {
                    return Ok(Some(host));
                }
            }
        }
    }
}

fn is_posthog(host: &Origin) -> bool {
    Origin::parse(&host.to_string(), false).is_ok()
}

fn ask_grouping(person: &mut impl Person, old: TraceGrouping) -> io::Result<&'static str> {
    let old = old.as_str();
    loop {
        let answer = person.ask(&format!("One trace per session, or one per prompt (session, message)? [{old}]"))?;
        match answer.to_lowercase().as_str() {
            "" => return Ok(old),
            "session" => return Ok("session"),
            "message" => return Ok("message"),
            _ => person.tell("  Please answer session or message."),
        }
    }
}

fn yes_or_no(person: &mut impl Person, question: &str, default: bool) -> io::Result<bool> {
    loop {
        let answer = person.ask(&format!("{question} [{}]", if default { "yes" } else { "no" }))?;
        match answer.to_lowercase().as_str() {
            "" => return Ok(default),
            "y" | "yes" | "true" => return Ok(true),
            "n" | "no" | "false" => return Ok(false),
            _ => person.tell("  Please answer yes or no."),
        }
    }
}

/// Would the resulting settings be valid? Any error is about what the file already contains, since the answers
/// themselves are valid.
fn check(before: &Settings, answers: &Answers, path: &Path) -> Result<(), ProgramError> {
    let value = |name: &str| {
        let answer = answers.iter().rev().find(|(answered, _)| *answered == name);
        answer.map(|(_, value)| value.clone()).or_else(|| before.get(name).map(|(value, _)| value.to_owned()))
    };
    let checked = Options::parse(value);
    checked
        .map(drop)
        .map_err(|error| SettingsError::Invalid { source_of_value: Source::File(path.to_owned()), error }.into())
}

/// Fails when a key that nobody can look at, of a flag or of standard input, would replace a project token by something that
/// does not look like one: `PostHog` would accept the sessions, and drop them.
fn keep_a_good_key(old: Option<&ApiKey>, answers: &Answers, path: &Path) -> anyhow::Result<()> {
    let Some(old) = old.filter(|old| old.looks_like_project_key()) else { return Ok(()) };
    let new = answers.iter().find(|(name, _)| *name == API_KEY).and_then(|(_, text)| ApiKey::parse(text).ok());
    let Some(new) = new.filter(|new| !new.looks_like_project_key()) else { return Ok(()) };
    Err(unusable(format!(
        "nothing was written: {new} does not look like a project token (phc_…) and would replace {old} in {}; to use it \
         all the same, first remove {API_KEY} from that file",
        path.display()
    )))
}

/// A summary of what is written, safe to show.
fn summary(path: &Path, answers: &Answers, dry_run: bool) -> String {
    if answers.is_empty() {
        return format!("{}: nothing to change\n", path.display());
    }
    let mut text = format!("{}{}\n", path.display(), if dry_run { " would get" } else { "" });
    for (name, value) in answers {
        let shown = options::entry(name).map_or_else(String::new, |entry| entry.shown(value));
        let _ = writeln!(text, "  {name:<30}  {shown}");
    }
    text
}

/// Writes the answers, unless another process writes the file at the same time.
fn write(path: &Path, answers: &Answers) -> anyhow::Result<()> {
    let old = read_file(path).map_err(ProgramError::from)?;
    let text = String::from_utf8(old.clone().unwrap_or_default())
        .map_err(|_| anyhow!("{} is not UTF-8; nothing was written", path.display()))?;
    let answers: Vec<(&str, &str)> = answers.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let new = set_variables(&text, &answers)
        .map_err(|error: EditError| anyhow!("{} {error}; nothing was written", path.display()))?;
    let failed = |error: io::Error| anyhow!("cannot write {}: {error}", path.display());
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(failed)?;
    }
    if read_file(path).map_err(ProgramError::from)? != old {
        return Err(anyhow!("{} was changed by another program in the meantime; run this again", path.display()));
    }
    atomic::write(path, new.as_bytes()).map_err(failed)
}

/// Warnings about what was written.
fn warnings(environment: &Environment, directory: &Path, path: &Path, answers: &Answers) -> Vec<String> {
    let mut warnings = Vec::new();
    if let Ok(settings) = Settings::load(environment, directory) {
        for (name, value) in answers {
            if let Some((other, source)) = settings.get(name)
                && other != value
            {
                warnings.push(format!("{name} has another value in {source}, which overrides {}", path.display()));
            }
        }
    }
    if answers.iter().any(|(name, _)| *name == API_KEY) {
        #[cfg(unix)]
        if let Ok(metadata) = path.metadata() {
            use std::os::unix::fs::PermissionsExt as _;
            let mode = metadata.permissions().mode() & 0o777;
            if mode & 0o077 != 0 {
                warnings.push(format!(
                    "other users can read the key in {} (mode {mode:o}); run `chmod 600` on it",
                    path.display()
                ));
            }
        }
        if git::is_ignored(path) == git::Ignored::No {
            warnings.push(format!("git does not ignore {}; take care not to commit the key", path.display()));
        }
    }
    warnings
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::VecDeque;

    /// Gives these answers and records what it was told.
    struct Scripted {
        answers: VecDeque<&'static str>,
        said: String,
    }

    impl Scripted {
        fn new(answers: &[&'static str]) -> Self {
            Self { answers: answers.iter().copied().collect(), said: String::new() }
        }
    }

    impl Person for Scripted {
        fn tell(&mut self, text: &str) {
            let _ = writeln!(self.said, "{text}");
        }

        fn ask(&mut self, question: &str) -> io::Result<String> {
            self.tell(question);
            self.answers.pop_front().map(str::to_owned).ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
        }

        fn ask_secret(&mut self, question: &str) -> io::Result<String> {
            self.ask(question)
        }
    }

    fn asked(before: &str, given: &[&'static str]) -> (Answers, String) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("settings.json");
        fs::write(&path, before).unwrap();
        let before = Settings::of_file(&path, crate::claude_code::settings::Scope::User).unwrap();
        let (mut person, mut answers) = (Scripted::new(given), Answers::new());
        ask(&mut person, &before, &mut answers).unwrap();
        assert!(person.answers.is_empty(), "{:?} was not asked for", person.answers);
        (answers, person.said)
    }

    #[test]
    fn each_answer_becomes_a_variable() {
        let (answers, _) = asked("{}", &["phc_0123456789abcdefghij", "EU", "yes", "Message", ""]);
        let expected = [
            (API_KEY, "phc_0123456789abcdefghij"),
            (HOST, "https://eu.i.posthog.com"),
            (PRIVACY_MODE, "true"),
            (TRACE_GROUPING, "message"),
            (ENABLED, "true"),
        ];
        assert_eq!(answers, expected.map(|(name, value)| (name, value.to_owned())));
    }

    #[test]
    fn an_empty_answer_keeps_what_is_set() {
        let before = r#"{"env": {"POSTHOG_API_KEY": "phc_0123456789abcdefghij", "POSTHOG_HOST": "https://eu.i.posthog.com",
            "POSTHOG_LLMA_PRIVACY_MODE": "true", "POSTHOG_LLMA_CC_ENABLED": "false"}}"#;
        let (answers, said) = asked(before, &["", "", "", "", ""]);
        let expected = [(PRIVACY_MODE, "true"), (TRACE_GROUPING, "session"), (ENABLED, "false")];
        assert_eq!(answers, expected.map(|(name, value)| (name, value.to_owned())));
        assert!(said.contains("[phc_…ghij]") && said.contains("[eu]"), "{said}");
        assert!(!said.contains("abcdef"), "{said}");
    }

    #[test]
    fn what_cannot_be_used_is_asked_again() {
        let (answers, said) = asked(
            "{}",
            &[
                "phx_personal",
                "",
                "http://x",
                "https://x.example",
                "no",
                "https://x.example",
                "y",
                "maybe",
                "n",
                "?",
                "",
                "n",
            ],
        );
        let expected = [
            (ALLOW_CUSTOM_HOST, "true"),
            (HOST, "https://x.example"),
            (PRIVACY_MODE, "false"),
            (TRACE_GROUPING, "session"),
            (ENABLED, "false"),
        ];
        assert_eq!(answers, expected.map(|(name, value)| (name, value.to_owned())));
        for reason in ["personal API key", "not encrypted", "neither in posthog.com", "yes or no", "session or message"]
        {
            assert!(said.contains(reason), "{reason:?}: {said}");
        }
    }

    #[test]
    fn the_end_of_the_input_is_an_error() {
        ask(&mut Scripted::new(&["", "us"]), &Settings::default(), &mut Answers::new()).unwrap_err();
    }
}
