//! `--list`: prints the sessions as a table, newest first.

use super::remembered::Remembered;
use super::sent_before::known_destination;
use super::{STOP, jobs};
use crate::commands::cli::Ingest as Arguments;
use crate::commands::ingest::progress::IngestProgress;
use crate::delivery::ingest::{Ingest, IngestOutcome, PastSession};
use crate::delivery::{cost, report, send};
use crate::outbox::{self, Outbox};
use crate::program::Program;
use crate::system::terminal::{print, tell};
use posthog_llma_pipeline::redact::Redactor;
use posthog_llma_pipeline::time;
use posthog_llma_sandbox::Sandbox;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::fmt::Write as _;
use std::path::Path;
use std::process::ExitCode;

/// A session and what is known about it.
struct Row<'a> {
    session: &'a PastSession,
    /// Its secrets are replaced: a list can be shown to others.
    prompt: Option<String>,
    tokens: [u64; 4],
    events: u64,
    is_delivered: bool,
    has_nothing: bool,
}

/// Converts all these sessions and lists their contents. Sends nothing.
pub(super) fn list(
    program: &Program,
    sandbox: &Sandbox,
    arguments: &Arguments,
    mut sessions: Vec<PastSession>,
) -> anyhow::Result<ExitCode> {
    let directory = outbox::directory()?;
    let outbox = Outbox::open_to_read(&directory)?;
    let destination = known_destination(program, outbox.as_ref())?;
    // Without a record, a conversion counts everything, delivered or not.
    let ingest = Ingest {
        program,
        sandbox,
        directory: &directory,
        destination: None,
        known: None,
        patience: send::PATIENCE,
        force: false,
        // Listing a session does not send it.
        named: true,
        sent_before: &HashMap::new(),
        jobs: jobs(arguments),
        on_wait: &|seconds| tell(&format!("PostHog accepts no more for now. Retrying in {seconds} s.")),
        stop: &STOP,
    };
    let mut outcomes = counted(program, &ingest, &sessions, arguments.json)?;
    let is_delivered = |session: &PastSession| -> anyhow::Result<bool> {
        let (Some(outbox), Some(destination)) = (&outbox, destination) else { return Ok(false) };
        let Ok(files) = program.session_of(&session.transcript) else { return Ok(false) };
        Ok(outbox.is_delivered_at(destination, &session.transcript, &files.state())?)
    };
    sessions.reverse();
    outcomes.reverse();
    let redactor = Redactor::new();
    let mut rows = Vec::new();
    for (session, outcome) in sessions.iter().zip(&outcomes) {
        let (tokens, events) = match outcome {
            IngestOutcome::Sent(sent) => (sent.tokens, sent.events),
            _ => ([0; 4], 0),
        };
        let has_nothing = matches!(outcome, IngestOutcome::NothingToSend);
        let prompt =
            session.head.prompt.as_ref().map(|prompt| redactor.redact(prompt).unwrap_or_else(|| prompt.clone()));
        rows.push(Row { session, prompt, tokens, events, is_delivered: is_delivered(session)?, has_nothing });
    }
    if arguments.json {
        let rows: Vec<_> = rows.iter().map(Row::json).collect();
        print(&format!("{:#}\n", Value::from(rows)))?;
    } else {
        print(&table(&rows))?;
    }
    Ok(ExitCode::SUCCESS)
}

impl Row<'_> {
    fn json(&self) -> Value {
        let Self { session, prompt, tokens, events, is_delivered, has_nothing } = self;
        json!({
            "session_id": session.id,
            "transcript": session.transcript,
            "started": time::format(session.started),
            "project": session.head.directory,
            "prompt": prompt,
            "bytes": session.bytes,
            "tokens": tokens,
            "events": events,
            "estimated_dollars": cost::dollars(*events),
            "delivered": is_delivered,
            "nothing_to_send": has_nothing,
        })
    }
}

fn table(rows: &[Row<'_>]) -> String {
    let mut out = format!(
        "{:<16}  {:<8}  {:<16}  {:>9}  {:>11}  {:>11}  {:>7}  {:<9}  PROMPT\n",
        "BEGAN (UTC)", "SESSION", "PROJECT", "SIZE", "IN", "OUT", "EVENTS", "DELIVERED"
    );
    for Row { session, prompt, tokens, events, is_delivered, has_nothing } in rows {
        let is_unknown = report::are_uncounted(*tokens, *events);
        let shown = |n: u64| if is_unknown { "?".to_owned() } else { report::number(n) };
        let [input, output, read, creation] = *tokens;
        let began = time::format(session.started);
        let project = session.head.directory.as_deref().and_then(Path::file_name).unwrap_or_default().to_string_lossy();
        let _ = writeln!(
            out,
            "{:<16}  {:<8}  {:<16}  {:>9}  {:>11}  {:>11}  {:>7}  {:<9}  {}",
            began[..16].replace('T', " "),
            session.id.chars().filter(|c| !c.is_control()).take(8).collect::<String>(),
            short(&project, 16),
            report::bytes(session.bytes),
            shown(input.saturating_add(read).saturating_add(creation)),
            shown(output),
            report::number(events),
            match (has_nothing, is_delivered) {
                (true, _) => "nothing",
                (_, true) => "yes",
                (_, false) => "no",
            },
            short(prompt.as_deref().unwrap_or("–"), 60),
        );
    }
    let events = rows.iter().map(|row| row.events).sum();
    let _ = writeln!(
        out,
        "{}, {}, {} in PostHog ({})",
        report::count(rows.len() as u64, "session"),
        report::count(events, "event"),
        cost::shown(events),
        cost::basis()
    );
    out
}

/// What each session contains: remembered, or determined now.
fn counted(
    program: &Program,
    ingest: &Ingest<'_>,
    sessions: &[PastSession],
    quiet: bool,
) -> anyhow::Result<Vec<IngestOutcome>> {
    let remembered = Remembered::read();
    let key = Remembered::key(program, sessions);
    if let Some(outcomes) = key.as_ref().and_then(|key| remembered.outcomes(key, sessions.len())) {
        return Ok(outcomes);
    }
    let progress = IngestProgress::new(sessions, quiet);
    let (outcomes, _) = ingest.run(sessions, |index, outcome| progress.done(&sessions[index], outcome))?;
    progress.end();
    if let Some(key) = key {
        remembered.note(key, &outcomes);
    }
    Ok(outcomes)
}

/// The beginning of a text, made safe for a terminal.
fn short(text: &str, most: usize) -> String {
    let text: String = text.chars().filter(|c| !c.is_control()).collect();
    if text.chars().count() <= most {
        return text;
    }
    text.chars().take(most - 1).chain(['…']).collect()
}
