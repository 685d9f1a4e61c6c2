//! `flush`: delivers everything that is waiting, now.

use super::load_to_send;
use crate::commands::cli::Flush;
use crate::delivery::courier::{Courier, DeliveryLock, SessionOutcome};
use crate::delivery::outcome::Outcome;
use crate::delivery::report::count as counted;
use crate::delivery::send::Destination;
use crate::outbox::{self, Outbox, Summary, now};
use crate::program::Program;
use crate::system::terminal::{complain, print, tell};
use posthog_llma_pipeline::time;
use posthog_llma_sandbox::Limits;
use serde_json::json;
use std::fmt::Write as _;
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// How often `--wait` retries.
const AGAIN: Duration = Duration::from_secs(2);

/// Runs the command. Exit code 0: nothing is owed anymore.
pub fn run(arguments: &Flush) -> anyhow::Result<ExitCode> {
    let program = load_to_send(&arguments.destination)?;
    let destination = destination(&program)?;
    let origin = destination.origin.to_string();
    let (mut outbox, warning) = Outbox::open_and_check(&outbox::directory()?)?;
    if let Some(warning) = warning {
        complain("warning", &warning);
    }
    let id = outbox.destination(&destination.origin, &destination.api_key)?;
    let _lock = DeliveryLock::take(&outbox, id)?;
    if arguments.failed {
        outbox.retry_failed(id)?;
    }
    if arguments.redirect {
        outbox.redirect(id)?;
    }
    let patience = arguments.patience.patience();
    let mut courier = Courier::new(&program, destination, id).with(patience, Limits::default());
    courier.catch_up(&mut outbox)?;
    courier.look_again(&mut outbox)?;
    let (_, asked_until) = outbox.destination_due(id)?;
    let waits = asked_until > now() && !arguments.now;
    let mut outcomes = Vec::new();
    let end = Instant::now() + Duration::from_secs(arguments.wait.unwrap_or(0).into());
    if arguments.wait.is_some() {
        // No process outlives this job.
        courier = courier.without_hold();
        courier.take_running(&mut outbox)?;
    }
    loop {
        if waits {
            break;
        }
        courier.deliver_owed(&mut outbox, true, |ended| {
            if !arguments.json {
                tell(&line(ended));
            }
            outcomes.push(ended.clone());
        })?;
        let grows = arguments.wait.is_some() && courier.look_again(&mut outbox)?;
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() || !grows && outbox.next_due(id)?.is_none() {
            break;
        }
        std::thread::sleep(AGAIN.min(left));
    }
    let summary = outbox.summary(Some(id))?;
    let sessions = summary.destination.sessions;
    if arguments.json {
        let report = json!({
            "destination": origin,
            "sessions": outcomes,
            "owed": sessions.owed,
            "failed": sessions.failed,
            "owed_elsewhere": summary.owed_elsewhere(),
            "asked_to_wait_until": waits.then(|| time::format(asked_until)),
        });
        print(&format!("{report:#}\n"))?;
    } else {
        let count = |matches: fn(&Outcome) -> bool| outcomes.iter().filter(|ended| matches(&ended.outcome)).count();
        let delivered = count(|outcome| matches!(outcome, Outcome::Delivered { .. }));
        let mut text = format!(
            "{} delivered to {origin}, {} still waiting, {} given up\n",
            counted(delivered as u64, "session"),
            sessions.owed,
            sessions.failed
        );
        if waits {
            let until = time::format(asked_until);
            let _ = writeln!(text, "The server asked to wait until {until} (--now tries anyway)");
        }
        if sessions.failed > 0 {
            text +=
                "`posthog-llma status` shows what was given up and why; `posthog-llma flush --failed` tries again\n";
        }
        if !summary.owed_to.is_empty() {
            let elsewhere = counted(summary.owed_elsewhere(), "session");
            let _ = writeln!(
                text,
                "{elsewhere} waiting for another host or token than the current settings have: {}",
                Summary::GIVE_OR_REDIRECT
            );
        }
        print(&text)?;
    }
    Ok(ExitCode::from(u8::from(sessions.owed + sessions.failed > 0)))
}

/// The destination according to the settings.
pub fn destination(program: &Program) -> anyhow::Result<Destination> {
    let Some(api_key) = program.options.api_key.clone() else { return Err(super::Unusable::NO_KEY.into()) };
    Ok(Destination { origin: program.options.origin.clone(), api_key })
}

/// The outcome of a session as a line.
fn line(ended: &SessionOutcome) -> String {
    let id = &ended.session_id;
    match &ended.outcome {
        Outcome::Delivered { events: 0, rejected: 0 } => format!("{id}  nothing new"),
        Outcome::Delivered { events, rejected: 0 } => format!("{id}  {} delivered", counted(*events, "event")),
        Outcome::Delivered { events, rejected } => {
            format!("{id}  {} delivered, {rejected} rejected", counted(*events, "event"))
        }
        Outcome::Failed { error } => format!("{id}  failed: {error}"),
        Outcome::ServerFailed { error, events: 0 } => format!("{id}  not delivered: {error}"),
        Outcome::ServerFailed { error, events } => {
            format!("{id}  {} delivered, then: {error}", counted(*events, "event"))
        }
        Outcome::Withheld { reason } => format!("{id}  not sent: {reason}"),
        Outcome::Gone => format!("{id}  given up: its transcript no longer exists"),
    }
}
