//! `status`: shows whether automatic sending is on, what was delivered, what is owed, and what went wrong.

use super::until_text;
use crate::claude_code::hooks::Hooks;
use crate::claude_code::sessions::{self, Head};
use crate::claude_code::settings::{Environment, Settings};
use crate::commands::checks::{Checks, Seen};
use crate::commands::cli;
use crate::delivery::cost;
use crate::delivery::counted::{count, number};
use crate::outbox::decisions::{Decisions, Verdict};
use crate::outbox::{self, DAMAGED, HOOK, HOOK_FAILURE, HookSettings, Millis, Note, Outbox, OutboxError, Summary, now};
use crate::program::Program;
use crate::system::terminal::{hide, print};
use posthog_llma_pipeline::options::{self, Options};
use posthog_llma_pipeline::time;
use serde_json::{Value, json};
use std::collections::HashSet;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Everything that `status` shows.
#[derive(Debug, Default)]
pub(super) struct Status {
    /// Name, displayable value, source.
    pub(super) settings: Vec<(&'static str, String, String)>,
    /// Why the settings cannot be used.
    pub(super) settings_error: Option<String>,
    /// Warnings about settings that can be used nonetheless.
    settings_warnings: Vec<String>,
    pub(super) options: Option<Options>,
    decisions: Decisions,
    /// What the current project asks for, and which of its files cannot be read.
    of_project: Vec<String>,
    /// Why the record cannot be read.
    pub(super) record_error: Option<String>,
    record: Option<PathBuf>,
    pub(super) hook: Option<Note>,
    pub(super) hook_failure: Option<Note>,
    /// The hooks' settings, if this terminal's settings would send nothing.
    pub(super) hooks_have: Option<HookSettings>,
    pub(super) damaged: Option<Note>,
    pub(super) summary: Summary,
    pub(super) on_disk: u64,
    pub(super) never_seen: u64,
    checks: Checks,
}

/// Runs the command. Exit code 0: healthy; 1: something needs the user's attention.
pub fn run(arguments: &cli::Status) -> anyhow::Result<ExitCode> {
    let status = gather(&Environment::of_process())?;
    let problems = status.problems();
    if arguments.json {
        print(&format!("{:#}\n", status.json(&problems)))?;
    } else {
        print(&status.text(&problems))?;
    }
    Ok(ExitCode::from(u8::from(!problems.is_empty())))
}

pub(super) fn gather(environment: &Environment) -> anyhow::Result<Status> {
    let mut status = Status::default();
    let read = Settings::load(environment, &std::env::current_dir()?).map_err(|error| error.to_string());
    status.settings_error = read.and_then(|settings| status.of_settings(&settings)).err();
    status.record_error = status.of_record().err().map(|error| error.to_string());
    let homes = environment.homes();
    if !homes.is_empty() {
        let seen = seen_by(&homes, status.hook.as_ref().map(|note| note.at), &status.summary.known);
        status.checks.of_hooks(&Hooks::of_all(&homes, &[std::env::current_dir()?]), seen);
        let known: HashSet<PathBuf> = status.summary.known.iter().map(|path| resolved(path.clone())).collect();
        for session in sessions::all(&homes).unwrap_or_default() {
            status.on_disk += 1;
            let is_known = session.paths.into_iter().any(|path| known.contains(&resolved(path)));
            status.never_seen += u64::from(!is_known);
        }
    }
    Ok(status)
}

/// What the record and the folders say about hooks and sessions.
pub(super) fn seen(homes: &[PathBuf]) -> Seen {
    let read = |outbox: &Outbox| Ok((outbox.noted(HOOK)?, outbox.known_transcripts()?));
    let opened = outbox::directory().and_then(|directory| Outbox::open_to_read(&directory));
    // A record that cannot be read is reported elsewhere.
    let (hook, known) =
        opened.and_then(|outbox| outbox.as_ref().map(read).transpose()).ok().flatten().unwrap_or_default();
    seen_by(homes, hook.map(|note| note.at), &known)
}

fn seen_by(homes: &[PathBuf], hook: Option<Millis>, known: &[PathBuf]) -> Seen {
    let modified = |path: &Path| path.metadata().and_then(|metadata| metadata.modified()).ok();
    let newest = sessions::all(homes).unwrap_or_default().into_iter().max_by_key(|session| modified(&session.path));
    let Some((newest, paths)) = newest.map(|session| (session.path, session.paths)) else {
        return Seen { hook, ..Seen::default() };
    };
    let of_file = || Some(modified(&newest)?.duration_since(std::time::UNIX_EPOCH).ok()?.as_millis() as Millis);
    let paths: Vec<_> = paths.into_iter().map(resolved).collect();
    Seen {
        hook,
        newest_session: Head::read(&newest).started.or_else(of_file),
        newest_is_known: known.iter().any(|known| paths.contains(&resolved(known.clone()))),
    }
}

/// The canonical path, so that two paths to one file compare equal.
fn resolved(path: PathBuf) -> PathBuf {
    path.canonicalize().unwrap_or(path)
}

impl Status {
    /// Collects the settings and those of the current project. The error says why they cannot be used.
    fn of_settings(&mut self, settings: &Settings) -> Result<(), String> {
        for entry in options::table() {
            if let Some((value, source)) = settings.get(entry.variable) {
                self.settings.push((entry.variable, entry.shown(value), source.to_string()));
            }
        }
        self.settings_warnings = settings.warnings().to_vec();
        let options = settings.options().map_err(|error| error.to_string())?;
        hide(options.api_key.as_ref());
        let program = Program::load(Vec::new()).map_err(|error| error.to_string())?;
        hide(program.options.api_key.as_ref());
        self.of_project.clone_from(&program.warnings);
        if let Some(ask) = &program.ask {
            self.of_project.push(format!("{} (`posthog-llma trust` decides)", ask.question()));
        }
        self.options = Some(program.options);
        self.decisions = program.decisions;
        Ok(())
    }

    /// Collects what the record says.
    fn of_record(&mut self) -> Result<(), OutboxError> {
        let directory = outbox::directory()?;
        self.record = Some(directory.join(outbox::FILE_NAME));
        let Some(outbox) = Outbox::open_to_read(&directory)? else { return Ok(()) };
        let options = self.options.as_ref();
        let key = options.and_then(|options| Some((&options.origin, options.api_key.as_ref()?)));
        let destination = match key {
            Some((origin, key)) => outbox.known_destination(origin, key)?,
            None => None,
        };
        self.hooks_have = outbox.hook_settings()?.filter(|_| self.own_off().is_some());
        let destination = destination.or_else(|| self.hooks_have.as_ref().map(HookSettings::destination));
        self.summary = outbox.summary(destination)?;
        self.hook = outbox.noted(HOOK)?;
        self.hook_failure = outbox.noted(HOOK_FAILURE)?;
        self.damaged = outbox.noted(DAMAGED)?;
        Ok(())
    }

    /// Why automatic sending is off.
    fn off(&self) -> Option<String> {
        self.own_off().filter(|_| self.hooks_have.is_none())
    }

    /// Why automatic sending is off according to this terminal's settings alone.
    fn own_off(&self) -> Option<String> {
        let Some(options) = &self.options else { return self.settings_error.clone() };
        if !options.enabled {
            let what =
                if self.settings.iter().any(|(name, ..)| *name == options::ENABLED) { "false" } else { "not set" };
            return Some(format!("{} is {what}", options::ENABLED));
        }
        options.api_key.is_none().then(|| format!("{} is not set", options::API_KEY))
    }

    /// The problems that need the user's attention.
    fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        if let Some(off) = self.off() {
            // An invalid setting says itself what to do.
            let advice = if self.settings_error.is_none() { " (`posthog-llma setup` writes the settings)" } else { "" };
            problems.push(format!("automatic sending is off: {off}{advice}"));
        }
        problems.extend(self.record_error.clone());
        problems.extend(self.of_project.iter().cloned());
        for asked in &self.decisions.asked {
            let pair = &asked.pair;
            let is_told = self.of_project.iter().any(|told| told.contains(&format!("{} asks", pair.project)));
            if !is_told && self.decisions.verdict(pair) == Verdict::Open {
                problems.push(format!(
                    "the project {} asked for its sessions to be sent to {} {} (in {}; `posthog-llma trust` in it decides)",
                    pair.project, pair.origin, pair.key, asked.source
                ));
            }
        }
        if let Some(until) = self.decisions.paused() {
            problems.push(format!("sending is paused{} (`posthog-llma resume` ends that)", until_text(until)));
        }
        if let Some(failure) = &self.hook_failure {
            let ago = span(now() - failure.at);
            problems.push(format!("the last hook failed {ago} ago: {}", failure.text));
        }
        problems.extend(self.checks.problems());
        if let Some(key) = self.options.as_ref().and_then(|options| options.api_key.as_ref())
            && !key.looks_like_project_key()
        {
            problems.push(format!(
                "{key} does not look like a project token (phc_…): PostHog accepts events with any token and drops those it doesn't know"
            ));
        }
        let destination = &self.summary.destination;
        if let Some(error) = destination.last_error.as_ref().filter(|_| destination.refused) {
            problems.push(error.clone());
        }
        if destination.sessions.failed > 0 {
            problems.push(format!(
                "gave up on {} (`posthog-llma flush --failed` tries again)",
                count(destination.sessions.failed, "session")
            ));
        }
        problems
    }

    fn json(&self, problems: &[String]) -> Value {
        let settings: serde_json::Map<String, Value> = self
            .settings
            .iter()
            .map(|(name, value, source)| ((*name).to_owned(), json!({"value": value, "source": source})))
            .collect();
        let summary = &self.summary;
        let destination = &summary.destination;
        json!({
            "healthy": problems.is_empty(),
            "asked": self.decisions.asked,
            "never": self.decisions.never,
            "problems": problems,
            "on": self.off().is_none(),
            "off_because": self.off(),
            "hooks_are_given": self.hooks_have.as_ref().map(|hooks| json!({"origin": hooks.origin, "variables": hooks.variables})),
            "settings": settings,
            "settings_warnings": self.settings_warnings,
            "destination": self.options.as_ref().map(|options| options.origin.to_string()),
            "record": self.record,
            "record_error": self.record_error,
            "record_was_damaged": self.damaged,
            "last_hook": self.hook.as_ref().map(|note| json!({"event": note.text, "at": time::format(note.at)})),
            "hook_failure": self.hook_failure.as_ref().map(|note| json!({"error": note.text, "at": time::format(note.at)})),
            "last_delivery": destination.delivered_at.map(time::format),
            "last_error": destination.last_error,
            "next_try": (destination.due_at > now()).then(|| time::format(destination.due_at)),
            "owed_to": summary.owed_to.iter().map(|(origin, sessions)| json!({"origin": origin, "sessions": sessions})).collect::<Vec<_>>(),
            "coverage": {
                "on_disk": self.on_disk,
                "delivered": destination.sessions.delivered,
                "owed": destination.sessions.owed,
                "failed": destination.sessions.failed,
                "running": destination.sessions.running,
                "never_seen": self.never_seen,
                "in_part": self.summary.in_part,
                "owed_elsewhere": summary.owed_elsewhere(),
            },
            "failed": summary.failed.iter().map(|failed| json!({
                "session_id": failed.session_id,
                "transcript": failed.transcript,
                "error": failed.error,
                "next_try": failed.due_at.map(|due| time::format(due.max(destination.due_at))),
            })).collect::<Vec<_>>(),
            "events": destination.events,
            "estimated_dollars": cost::dollars(destination.events),
            "estimate_is_of": cost::AS_OF,
            "redactions": summary.redactions.iter().cloned().collect::<std::collections::BTreeMap<_, _>>(),
            "quarantined_events": destination.quarantined,
            "quarantined": summary.quarantined.iter().map(|event| json!({
                "session_id": event.session_id,
                "event": event.event,
                "status": event.status,
                "message": event.message,
                "at": time::format(event.at),
            })).collect::<Vec<_>>(),
            "unknown_line_types": summary.unknown_types.iter().cloned().collect::<std::collections::BTreeMap<_, _>>(),
        })
    }

    fn text(&self, problems: &[String]) -> String {
        let mut out = String::new();
        let _ = match self.off() {
            None => match (self.decisions.paused(), self.checks.hooks_missing()) {
                (Some(until), _) => writeln!(out, "Paused{}: nothing is sent", until_text(until)),
                (None, true) => {
                    writeln!(out, "On, but Claude Code does not call the plugin: no session is sent automatically")
                }
                (None, false) => writeln!(out, "On: sessions are sent automatically"),
            },
            Some(why) => writeln!(out, "Off: {why}"),
        };
        if let (Some(why), Some(hooks)) = (self.own_off(), &self.hooks_have) {
            let given = hooks.variables.join(", ");
            let _ = writeln!(out, "    Claude Code passes its hooks what this terminal lacks ({why}): {given}");
        }
        self.write_settings(&mut out);
        self.write_delivery(&mut out);
        self.write_sessions(&mut out);
        self.write_oddities(&mut out);
        out.push('\n');
        if problems.is_empty() {
            out.push_str("Healthy\n");
        }
        for problem in problems {
            let _ = writeln!(out, "✗ {problem}");
        }
        out
    }

    fn write_settings(&self, out: &mut String) {
        out.push_str("\nSettings\n");
        for (name, value, source) in &self.settings {
            let _ = writeln!(out, "  {name:<34} {value}  ({source})");
        }
        if self.settings.is_empty() {
            out.push_str("  none set\n");
        }
        for warning in &self.settings_warnings {
            let _ = writeln!(out, "  warning: {warning}");
        }
    }

    fn write_delivery(&self, out: &mut String) {
        let summary = &self.summary;
        let destination = &summary.destination;
        let ago = |at: Option<Millis>| at.map_or_else(|| "never".to_owned(), |at| format!("{} ago", span(now() - at)));
        out.push_str("\nDelivery\n");
        let own = || self.options.as_ref().map_or_else(|| "unknown".to_owned(), |options| options.origin.to_string());
        let origin = self.hooks_have.as_ref().map_or_else(own, |hooks| hooks.origin.clone());
        let _ = writeln!(out, "  destination    {origin}");
        let hook = self.hook.as_ref().map(|note| format!(" ({})", note.text)).unwrap_or_default();
        let _ = writeln!(out, "  last hook      {}{hook}", ago(self.hook.as_ref().map(|note| note.at)));
        let _ = writeln!(out, "  last delivery  {}", ago(destination.delivered_at));
        if let Some(error) = &destination.last_error {
            let wait = destination.due_at - now();
            let next =
                if wait > 0 { format!("in {} at the earliest", span(wait)) } else { "with the next hook".to_owned() };
            let _ = writeln!(out, "  last error     {error}\n  next try       {next}, or `posthog-llma flush`");
        }
        let events = destination.events;
        let _ = writeln!(
            out,
            "  events         {}, {} in PostHog ({})",
            number(events),
            cost::shown(events),
            cost::basis()
        );
        if !summary.redactions.is_empty() {
            let replaced: u64 = summary.redactions.iter().map(|(_, count)| count).sum();
            let _ = writeln!(out, "  redacted       {} (--json counts them by rule)", count(replaced, "secret"));
        }
    }

    fn write_sessions(&self, out: &mut String) {
        let summary = &self.summary;
        let destination = &summary.destination;
        let sessions = destination.sessions;
        out.push_str("\nSessions\n");
        for (name, count) in [
            ("on disk", self.on_disk),
            ("delivered", sessions.delivered),
            ("waiting", sessions.owed),
            ("given up", sessions.failed),
            ("running", sessions.running),
            ("never seen", self.never_seen),
        ] {
            let _ = writeln!(out, "  {name:<13}  {}", number(count));
        }
        for (origin, sessions) in &summary.owed_to {
            let _ = writeln!(out, "  {:<13}  {sessions} (to another project at {origin})", "waiting");
        }
        if !summary.owed_to.is_empty() {
            let _ = writeln!(out, "    {}", Summary::GIVE_OR_REDIRECT);
        }
        if self.never_seen > 0 {
            out.push_str("  `posthog-llma ingest --all` sends the ones never seen\n");
        }
        if summary.in_part > 0 {
            let _ = writeln!(
                out,
                "  {:<13}  {}: sent here only from some point on; `posthog-llma ingest SESSION` sends the rest",
                "in part", summary.in_part
            );
        }
        for failed in &summary.failed {
            let next = match failed.due_at {
                None => "given up".to_owned(),
                Some(due) => format!("next try in {}", span((due.max(destination.due_at) - now()).max(0))),
            };
            let _ = writeln!(out, "  {}: {} ({next})", failed.session_id, failed.error);
        }
    }

    /// Writes what was refused, unknown or damaged.
    fn write_oddities(&self, out: &mut String) {
        let summary = &self.summary;
        let destination = &summary.destination;
        if destination.quarantined > 0 {
            let _ = writeln!(out, "\nEvents that the server rejected: {}", destination.quarantined);
            for event in &summary.quarantined {
                let _ = writeln!(out, "  {} {}: {} {}", event.session_id, event.event, event.status, event.message);
            }
        }
        if !summary.unknown_types.is_empty() {
            let types: Vec<_> =
                summary.unknown_types.iter().map(|(name, lines)| format!("{name:?} ({lines})")).collect();
            let _ = writeln!(out, "\nLine types unknown to this version: {}", types.join(", "));
        }
        if let Some(damaged) = &self.damaged {
            let _ = writeln!(out, "\n{} ago {}", span(now() - damaged.at), damaged.text);
        }
    }
}

/// `12 s`, `5 min`, `3 h`, `2 d`
fn span(milliseconds: Millis) -> String {
    let seconds = milliseconds.max(0) / 1000;
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7200 => format!("{} min", seconds / 60),
        7200..172_800 => format!("{} h", seconds / 3600),
        _ => format!("{} d", seconds / 86_400),
    }
}
