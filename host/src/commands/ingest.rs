//! `ingest`: sends past sessions.

mod list;
mod progress;
mod remembered;
mod select;
pub mod sent_before;

use super::{FAILED, UNUSABLE, load_to_send, load_with};
use crate::commands::cli::Ingest as Arguments;
use crate::delivery::cost;
use crate::delivery::ingest::{Ingest, IngestOutcome, PastSession, Sent};
use crate::delivery::report::{self, CONTENT_DAYS};
use crate::outbox::{self, Outbox, now};
use crate::program;
use crate::system::terminal::{complain, print, tell, warn};
use posthog_llma_pipeline::time;
use posthog_llma_sandbox::Limits;
use progress::IngestProgress;
use sent_before::{SentByPython, known_destination};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::fmt::Write as _;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};

/// Shells' exit code for a command ended by Ctrl-C.
const INTERRUPTED: u8 = 130;

/// How many failures are listed one by one.
const SHOWN: usize = 20;

/// Set by Ctrl-C.
static STOP: AtomicBool = AtomicBool::new(false);

/// Runs the command. Exit code 0: every event of every session was accepted, now or earlier, and no session that the user
/// named was kept back.
pub fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let sends = !arguments.dry_run && !arguments.list;
    let program =
        if sends { load_to_send(&arguments.destination)? } else { load_with(arguments.destination.of_process()?)? };
    let program = program.indexed();
    let sessions = select::sessions(&program, arguments)?;
    let limits = Limits::from(&arguments.limits);
    let sandbox = program::sandbox(limits)?;
    if arguments.list {
        return list::list(&program, &sandbox, arguments, sessions);
    }
    // A dry run needs no key, but with one it knows what was delivered.
    let destination = if sends { Some(super::flush::destination(&program)?) } else { None };
    let directory = outbox::directory()?;
    let record = Outbox::open_to_read(&directory)?;
    let known = known_destination(&program, record.as_ref())?;
    let selected = sessions.iter().map(|session| (session.id.as_str(), session.transcript.as_path()));
    let by_python = SentByPython::find(&program, record.as_ref(), known, selected)?;
    let answer = arguments.sent_before.python_plugin;
    let perhaps_twice = by_python.warning().filter(|_| !sends && answer.is_none());
    // A dry run sends nothing, so it needs no decision.
    let sent_before = if sends || answer.is_some() { by_python.decide(answer)? } else { HashMap::new() };
    if sends {
        stop_on_interrupt();
    }
    let ingest = Ingest {
        program: &program,
        sandbox: &sandbox,
        directory: &directory,
        destination: destination.as_ref(),
        known,
        patience: arguments.patience.patience(),
        force: arguments.force,
        named: !arguments.sessions.is_empty(),
        sent_before: &sent_before,
        jobs: jobs(arguments),
        on_wait: &|seconds| tell(&format!("PostHog accepts no more for now. Retrying in {seconds} s.")),
        stop: &STOP,
    };
    let progress = IngestProgress::new(&sessions, arguments.json);
    let (outcomes, stopped) = ingest.run(&sessions, |index, outcome| progress.done(&sessions[index], outcome))?;
    progress.end();
    let report = IngestReport { perhaps_twice, ..IngestReport::of(&sessions, &outcomes, stopped, sends) };
    if arguments.json {
        print(&format!("{:#}\n", report.json(&sessions, &outcomes)))?;
    } else {
        for failure in report.failures.iter().take(SHOWN) {
            complain("error", failure);
        }
        if let Some(more) = report.failures.len().checked_sub(SHOWN).filter(|more| *more > 0) {
            complain("error", &format!("and {more} more (--json has all)"));
        }
        print(&report.text())?;
        warn(&report.warnings());
    }
    Ok(match () {
        () if STOP.load(Ordering::Relaxed) => ExitCode::from(INTERRUPTED),
        () if !report.is_complete() => ExitCode::from(FAILED),
        // As `send` of the one session: a setting is in its way.
        () if ingest.named && !report.withheld.is_empty() => ExitCode::from(UNUSABLE),
        () => ExitCode::SUCCESS,
    })
}

fn jobs(arguments: &Arguments) -> usize {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    arguments.jobs.map_or(cores, usize::from)
}

/// The first Ctrl-C stops after the current batches, the second one immediately.
fn stop_on_interrupt() {
    std::thread::spawn(|| {
        let interrupts = async {
            if tokio::signal::ctrl_c().await.is_err() {
                return;
            }
            STOP.store(true, Ordering::Relaxed);
            tell("Finishing the batches in flight. Press Ctrl-C again to stop now.");
            if tokio::signal::ctrl_c().await.is_ok() {
                std::process::exit(INTERRUPTED.into());
            }
        };
        posthog_llma_sandbox::block_on(interrupts)
    });
}

/// Sums over all sessions.
#[derive(Debug, Default)]
struct IngestReport {
    sends: bool,
    sent: u64,
    before: u64,
    /// Sessions without events.
    nothing: u64,
    failed: u64,
    not_reached: u64,
    /// Sessions that must not be sent, with the reason.
    withheld: Vec<String>,
    sums: Sent,
    /// Sessions too old for `PostHog` to keep their content.
    old: u64,
    failures: Vec<String>,
    stopped: Option<String>,
    /// A warning that another program may have sent some of the sessions.
    perhaps_twice: Option<String>,
}

impl IngestReport {
    fn of(sessions: &[PastSession], outcomes: &[IngestOutcome], stopped: Option<String>, sends: bool) -> Self {
        let mut report = Self { sends, stopped, ..Self::default() };
        for (session, outcome) in sessions.iter().zip(outcomes) {
            match outcome {
                IngestOutcome::Sent(sent) => {
                    report.sent += 1;
                    let sums = &mut report.sums;
                    for (sum, more) in [
                        (&mut sums.events, sent.events),
                        (&mut sums.spans, sent.spans),
                        (&mut sums.rejected, sent.rejected),
                        (&mut sums.held, sent.held),
                        (&mut sums.bytes, sent.bytes),
                    ] {
                        *sum = sum.saturating_add(more);
                    }
                    sums.tokens = std::array::from_fn(|i| sums.tokens[i].saturating_add(sent.tokens[i]));
                    sums.tool_calls = std::array::from_fn(|i| sums.tool_calls[i].saturating_add(sent.tool_calls[i]));
                    for (rule, count) in &sent.redactions {
                        let sum = sums.redactions.entry(rule.clone()).or_default();
                        *sum = sum.saturating_add(*count);
                    }
                    sums.odd_lines = std::array::from_fn(|i| sums.odd_lines[i].saturating_add(sent.odd_lines[i]));
                    let is_old = |earliest| now() - earliest > CONTENT_DAYS * 86_400_000;
                    report.old += u64::from(sent.earliest.is_some_and(is_old));
                    if sent.rejected > 0 {
                        let rejected = sent.rejected;
                        report.failures.push(format!("{}: {} rejected", session.id, report::count(rejected, "event")));
                    }
                }
                IngestOutcome::DeliveredBefore => report.before += 1,
                IngestOutcome::NothingToSend => report.nothing += 1,
                IngestOutcome::Failed { error, events } => {
                    report.failed += 1;
                    report.sums.events += events;
                    report.failures.push(format!("{}: {error}", session.id));
                }
                IngestOutcome::Withheld { reason } => report.withheld.push(format!("{}: {reason}", session.id)),
                IngestOutcome::NotReached => report.not_reached += 1,
            }
        }
        report
    }

    fn is_complete(&self) -> bool {
        self.failed + self.not_reached + self.sums.rejected == 0
    }

    fn warnings(&self) -> Vec<String> {
        let mut warnings: Vec<_> =
            self.withheld.iter().take(SHOWN).map(|session| format!("not sent: {session}")).collect();
        if let Some(more) = self.withheld.len().checked_sub(SHOWN).filter(|more| *more > 0) {
            warnings.push(format!("not sent: {more} more (--json has all)"));
        }
        warnings.extend(self.perhaps_twice.clone());
        if self.old > 0 {
            let old = report::count(self.old, "session");
            warnings.push(format!(
                "{old} more than {CONTENT_DAYS} days old: PostHog does not keep their prompts, answers and tool output"
            ));
        }
        if self.sums.held > 0 {
            let held = report::count(self.sums.held, "event");
            warnings.push(format!("{held} still in progress: a later delivery sends them"));
        }
        let [bad, unknown] = self.sums.odd_lines;
        if bad + unknown > 0 {
            warnings.push(format!(
                "{} damaged, {unknown} of unknown types; the readable parts were used",
                report::count(bad, "line")
            ));
        }
        warnings
    }

    fn text(&self) -> String {
        let mut out = String::new();
        let Self { sent, not_reached, sums, .. } = self;
        let [before, nothing, failed] = [self.before, self.nothing, self.failed].map(report::number);
        let (done, would) = if self.sends { ("sent", "") } else { ("to send", "would be ") };
        let _ = writeln!(
            out,
            "{} {done}, {before} delivered before, {nothing} with nothing to send, {failed} failed, {} not reached",
            report::count(*sent, "session"),
            report::number(not_reached)
        );
        let events = sums.events;
        let (shown, bytes) = (report::number(events), report::bytes(sums.bytes));
        let _ = writeln!(out, "  events  {shown} {would}accepted, {bytes} before compression");
        if events > 0 {
            let _ = writeln!(out, "  tokens  {}", report::tokens(sums.tokens, events));
        }
        if !sums.redactions.is_empty() {
            let rules: Vec<_> = sums.redactions.iter().map(|(rule, count)| format!("{count} {rule}")).collect();
            let _ = writeln!(out, "  redacted  {}", rules.join(", "));
        }
        if events > 0 {
            let _ = writeln!(out, "  cost    {} in PostHog ({})", cost::shown(events), cost::basis());
        }
        let [failed, left_out] = sums.tool_calls;
        if let Some(line) = cost::of_tool_calls(sums.spans, failed, left_out).filter(|_| !self.sends || left_out > 0) {
            let _ = writeln!(out, "          {line}");
        }
        if let Some(stopped) = &self.stopped {
            let _ = writeln!(out, "Stopped: {stopped}");
        }
        if *not_reached > 0 {
            out.push_str("Run the same command again to continue\n");
        }
        out
    }

    fn json(&self, sessions: &[PastSession], outcomes: &[IngestOutcome]) -> Value {
        let rows = sessions.iter().zip(outcomes).map(|(session, outcome)| {
            let mut row = json!({"session_id": session.id, "transcript": session.transcript, "started": time::format(session.started)});
            let outcome = serde_json::to_value(outcome).unwrap_or_default();
            for (name, value) in outcome.as_object().into_iter().flatten() {
                row[name] = value.clone();
            }
            row
        });
        let rows: Vec<_> = rows.collect();
        json!({
            "dry_run": !self.sends,
            "complete": self.is_complete(),
            "sent": self.sent,
            "delivered_before": self.before,
            "nothing_to_send": self.nothing,
            "failed": self.failed,
            "not_reached": self.not_reached,
            "events": self.sums.events,
            "spans": self.sums.spans,
            "failed_spans": self.sums.tool_calls[0],
            "spans_left_out": self.sums.tool_calls[1],
            "left_out_saves_dollars": cost::dollars(self.sums.tool_calls[1]),
            "estimated_dollars": cost::dollars(self.sums.events),
            "estimate_is_of": cost::AS_OF,
            "rejected": self.sums.rejected,
            "redactions": self.sums.redactions,
            "held_events": self.sums.held,
            "bytes": self.sums.bytes,
            "tokens": self.sums.tokens,
            "stopped": self.stopped,
            "warnings": self.warnings(),
            "sessions": rows,
        })
    }
}
