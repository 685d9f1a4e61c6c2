//! `send`: sends one session and reports what arrived.

use super::cli::Send;
use super::ingest::sent_before::{SentByPython, known_destination};
use super::{FAILED, Unusable, load_to_send};
use crate::delivery::courier::{self, SessionRecord, Told};
use crate::delivery::report::{self, SendReport};
use crate::delivery::send::{self, Destination};
use crate::outbox::{self, Outbox, now};
use crate::program::stored;
use crate::system::terminal::{complain, end_progress, is_watched, print, show_progress, warn};
use posthog_llma_sandbox::bindings::exports::posthog::llm_analytics::delivery::BatchReport;
use posthog_llma_sandbox::{Limits, block_on};
use std::process::ExitCode;

/// Sends a session.
pub fn run(arguments: &Send) -> anyhow::Result<ExitCode> {
    let program = load_to_send(&arguments.destination)?;
    let Some(api_key) = program.options.api_key.clone() else { return Err(Unusable::NO_KEY.into()) };
    let mut session = program.session(&arguments.session)?;
    if let Some(reason) = program.withholds(&session, true) {
        return Err(Unusable(format!("the session is not sent: {reason}").into()).into());
    }
    // A record that cannot be read is a warning, below.
    let known = outbox::directory().and_then(|directory| Outbox::open_to_read(&directory)).ok().flatten();
    let destination = known_destination(&program, known.as_ref()).ok().flatten();
    let named = [(session.files.id.as_str(), session.files.main.as_path())];
    let by_python = SentByPython::find(&program, known.as_ref(), destination, named)?;
    drop(known);
    if let Some(reason) = by_python.decide(arguments.sent_before.python_plugin)?.into_values().next() {
        return Err(Unusable(format!("the session is not sent: {reason}").into()).into());
    }
    let mut warnings = program.demands(&session).unreadable().collect::<Vec<_>>();
    if !api_key.looks_like_project_key() {
        warnings.push(format!(
            "POSTHOG_API_KEY ({api_key}) does not look like a project token (phc_…): PostHog accepts events with any token and drops those it \
             doesn't know"
        ));
    }
    let (sandbox, mut options) = program.prepare(&session, Limits::from(&arguments.limits))?;
    let destination = Destination { origin: program.options.origin.clone(), api_key };
    let patience = arguments.patience.patience();
    let size: u64 = session.transcripts().filter_map(|(path, _)| path.metadata().ok()).map(|m| m.len()).sum();
    let progress = SendProgress::new(size * 2);
    let strict = program.options_for(&session, &stored(&session));
    let mut record = match SessionRecord::open(&program, &destination, &mut session, &strict, arguments.again) {
        Ok((record, warning)) => {
            warnings.extend(warning);
            Some(record)
        }
        Err(error) => {
            warnings.push(format!("cannot record what is sent, so a later delivery sends it again: {error}"));
            None
        }
    };
    if let Some(record) = &record {
        record.extent().apply(&mut options);
    }
    let on_batch = |batch: &BatchReport| progress.show(batch.bytes_read);
    let mut told = Told { record: record.as_mut(), on_batch };
    let delivered = block_on(send::deliver(&sandbox, &session, &options, &destination, patience, &mut told))?;
    courier::log_end(&session.files.id, &delivered);
    if let Some(record) = record.as_mut().filter(|_| delivered.error.is_none()) {
        record.complete(delivered.report.as_ref())?;
    }
    let refused = record.as_ref().map_or(Ok(0), SessionRecord::refused)?;
    progress.end();
    let report =
        SendReport::of(&session.files.id, &destination.origin, &delivered, warnings, now()).with_refused(refused);
    if arguments.json {
        print(&format!("{:#}\n", report.json()))?;
    } else {
        print(&report.text())?;
        warn(&report.warnings);
        if let Some(error) = &report.error {
            complain("error", error);
        }
    }
    Ok(if report.is_complete() { ExitCode::SUCCESS } else { ExitCode::from(FAILED) })
}

/// Shows the progress of a long delivery on a terminal.
struct SendProgress {
    total: u64,
    shown: bool,
}

impl SendProgress {
    /// Smaller sessions finish before anyone could read the progress.
    const WORTH_IT: u64 = 8 << 20;

    fn new(total: u64) -> Self {
        Self { total, shown: total > Self::WORTH_IT && is_watched() }
    }

    fn show(&self, bytes: u64) {
        if self.shown {
            let percent = (bytes * 100).checked_div(self.total).unwrap_or(100).min(100);
            show_progress(&format!("{percent:3}% of {}", report::bytes(self.total / 2)));
        }
    }

    fn end(&self) {
        if self.shown {
            end_progress();
        }
    }
}
