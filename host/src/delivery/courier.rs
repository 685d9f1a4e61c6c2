//! Delivers owed sessions one at a time and records the outcomes.

use crate::claude_code::client;
use crate::claude_code::sessions::{self, TranscriptError};
use crate::delivery::extent::Extent;
use crate::delivery::outcome::Outcome;
use crate::delivery::send::{self, Delivered, Destination, PATIENCE, SendError};
use crate::delivery::status_file::StatusFile;
use crate::outbox::stored_options;
use crate::outbox::{self, Backoff, DestinationId, Live, Millis, Outbox, OutboxError, Owed, Part};
use crate::program::{self, LocalSession, Program, Withheld};
use crate::system::regular;
use crate::system::terminal::tell;
use posthog_llma_pipeline::delivery::lane::Lane;
use posthog_llma_sandbox::bindings::exports::posthog::llm_analytics::delivery::{BatchReport, DeliveryError, Patience};
use posthog_llma_sandbox::bindings::posthog::llm_analytics::types::ConversionReport;
use posthog_llma_sandbox::{Limits, Runtime, Sandbox, SandboxError};
use std::collections::HashSet;
use std::fs::{File, TryLockError};
use std::io;
use std::path::Path;
use std::time::{Duration, Instant, UNIX_EPOCH};
use tracing::{debug, info, warn};

mod records;

use records::OutboxRecord;
pub use records::{SessionRecord, Told};

/// If the client's process is unknown (because the system does not report it), a session counts as running when it was
/// written to within this time.
const QUIET: Duration = Duration::from_mins(30);

/// The wait before delivering what was written during a delivery: the client may still be writing.
pub const SETTLE: Duration = Duration::from_secs(2);

/// Maximum number of further deliveries of one session in a row, after the first.
const MOST_PARTS: usize = 2;

/// How often the watching process checks whether something is due.
const LOOK: Duration = Duration::from_secs(2);

/// The lock for delivering to a destination. Only one process holds it at a time; it is released when the process ends,
/// however that happens.
#[derive(Debug)]
pub struct DeliveryLock(#[expect(dead_code, reason = "it is held, not used")] File);

impl DeliveryLock {
    /// Takes the lock if nobody holds it.
    pub fn try_take(outbox: &Outbox, destination: DestinationId) -> Result<Option<Self>, OutboxError> {
        Self::try_lock(outbox, &format!("delivery-{destination}.lock"))
    }

    /// Takes the lock for waiting for what is due later, so that not every hook's process waits.
    fn try_watch(outbox: &Outbox, destination: DestinationId) -> Result<Option<Self>, OutboxError> {
        Self::try_lock(outbox, &format!("watch-{destination}.lock"))
    }

    fn try_lock(outbox: &Outbox, name: &str) -> Result<Option<Self>, OutboxError> {
        let path = outbox.path().with_file_name(name);
        let failed = |error: io::Error| OutboxError::Directory { path: path.clone(), error };
        let file = regular::open_lock(&path).map_err(failed)?;
        match file.try_lock() {
            Ok(()) => Ok(Some(Self(file))),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(failed(error)),
        }
    }

    /// Waits for the lock, and tells the user.
    pub fn take(outbox: &Outbox, destination: DestinationId) -> Result<Self, OutboxError> {
        let mut told = false;
        loop {
            if let Some(lock) = Self::try_take(outbox, destination)? {
                return Ok(lock);
            }
            if !std::mem::replace(&mut told, true) {
                tell(
                    "Another process delivers to the same project. Waiting for it (Ctrl-C stops this one, not that one).",
                );
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}

/// A session and its outcome.
#[derive(Debug, Clone, serde::Serialize)]
pub struct SessionOutcome {
    /// The session's ID.
    pub session_id: String,
    /// The outcome.
    #[serde(flatten)]
    pub outcome: Outcome,
}

/// What stops all deliveries.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CourierError {
    /// The record cannot be used: nothing may be sent that cannot be recorded.
    #[error(transparent)]
    Outbox(#[from] OutboxError),
    /// The sandbox cannot be set up.
    #[error(transparent)]
    Sandbox(#[from] SandboxError),
    /// A transcript cannot be read.
    #[error("the transcript cannot be read: {0}")]
    Transcript(#[from] io::Error),
}

/// Delivers to one destination.
pub struct Courier<'a> {
    program: &'a Program,
    destination: Destination,
    id: DestinationId,
    patience: Patience,
    limits: Limits,
    /// Whether incomplete parts are held back for a while.
    holds: bool,
    /// Created on first use: most runs have nothing to deliver. All deliveries share one connection.
    sandbox: Option<(Sandbox, Runtime)>,
}

impl<'a> Courier<'a> {
    /// Creates a courier for this destination.
    pub fn new(program: &'a Program, destination: Destination, id: DestinationId) -> Self {
        Self { program, destination, id, patience: PATIENCE, limits: Limits::default(), holds: true, sandbox: None }
    }

    /// Replaces the default bounds.
    #[must_use]
    pub fn with(self, patience: Patience, limits: Limits) -> Self {
        Self { patience, limits, ..self }
    }

    /// Holds nothing back: no process will be left to deliver incomplete parts later.
    #[must_use]
    pub fn without_hold(self) -> Self {
        Self { holds: false, ..self }
    }

    /// Makes sessions owed that were seen running and have ended without a hook reporting it.
    pub fn catch_up(&self, outbox: &mut Outbox) -> Result<(), OutboxError> {
        for (session, client) in outbox.running(self.id)? {
            let files = self.program.session_of(&session.transcript);
            let runs = match (client, &files) {
                (Some(client), _) => client::is_running(client),
                (None, Ok(files)) => was_written_within(files, QUIET),
                (None, Err(_)) => false,
            };
            if runs {
                continue;
            }
            match files {
                Ok(files) if session.delivered_state != Some(files.state()) => outbox.owe_what_grew(&session, 0)?,
                // There is nothing new, or the session never got a transcript.
                _ => outbox.ended_quietly(session.id)?,
            }
        }
        Ok(())
    }

    /// Makes sessions owed that are marked as running but have no client known to run: where no process outlives the
    /// job, a hook may never report their end. What they write later is owed again.
    pub fn take_running(&self, outbox: &mut Outbox) -> Result<(), OutboxError> {
        for (session, client) in outbox.running(self.id)? {
            if !client.is_some_and(client::is_running) && session.transcript.exists() {
                outbox.owe_again(session.id, 0)?;
            }
        }
        Ok(())
    }

    /// Makes ended, delivered sessions owed again that have been written to since: an agent may continue after the end
    /// of its session. Returns whether one of them may still be written to.
    pub fn look_again(&self, outbox: &mut Outbox) -> Result<bool, OutboxError> {
        let mut grows = false;
        for session in outbox.ended_lately(self.id)? {
            let Ok(files) = self.program.session_of(&session.transcript) else { continue };
            let written = written_at(&files);
            grows |=
                written.is_some_and(|written| outbox::now() - written < millis(Live::QUIET)) && has_open_agent(&files);
            if session.delivered_state != Some(files.state()) {
                let due = written.map_or(0, |written| Live::due(written, outbox::now()));
                outbox.owe_what_grew(&session, due)?;
            }
        }
        Ok(grows)
    }

    /// Waits for what is due within minutes and delivers it, as long as there is something: turns of running sessions,
    /// and what agents write after their session's end. One process does this for all sessions.
    pub fn watch(&mut self, outbox: &mut Outbox) -> Result<(), CourierError> {
        let Some(_watch) = DeliveryLock::try_watch(outbox, self.id)? else { return Ok(()) };
        loop {
            let grows = self.look_again(outbox)?;
            let (server_due, _) = outbox.destination_due(self.id)?;
            // The next hook handles a failing server and sessions that failed on their own.
            if server_due > outbox::now() {
                return Ok(());
            }
            let due = outbox.next_untried(self.id)?.map(|due| due - outbox::now());
            match due {
                None if !grows => return Ok(()),
                // The next hook handles what was postponed for this long.
                Some(wait) if wait > millis(Live::LONGEST) => return Ok(()),
                Some(wait) if wait <= 0 => {
                    // The holder checks again after releasing the lock.
                    let Some(_lock) = DeliveryLock::try_take(outbox, self.id)? else { return Ok(()) };
                    self.deliver_owed(outbox, false, |_| {})?;
                }
                // Another process may record something that is due earlier.
                Some(wait) => std::thread::sleep(LOOK.min(Duration::from_millis(wait.unsigned_abs()))),
                None => std::thread::sleep(LOOK),
            }
        }
    }

    /// When a running session's turn that is due now is really due: the session may not be quiet.
    fn not_before(&self, owed: &Owed) -> Option<Millis> {
        let turn_at = owed.turn_at?;
        let files = self.program.session_of(&owed.transcript).ok()?;
        Some(Live::due(written_at(&files)?, turn_at)).filter(|due| *due > outbox::now())
    }

    /// Delivers the owed sessions; `all` includes those that are not due yet. Continues until every session was tried
    /// or the server fails. Calls `done` for each.
    pub fn deliver_owed(
        &mut self,
        outbox: &mut Outbox,
        all: bool,
        mut done: impl FnMut(&SessionOutcome),
    ) -> Result<(), CourierError> {
        let mut tried = HashSet::new();
        loop {
            if self.program.is_paused() {
                return Ok(());
            }
            let owed = outbox.owed(self.id, all)?;
            // A session that was written to during its delivery is owed again, but not retried in this loop.
            let Some(owed) = owed.into_iter().find(|owed| tried.insert(owed.id)) else { return Ok(()) };
            if !all && let Some(due) = self.not_before(&owed) {
                outbox.postpone(owed.id, due)?;
                continue;
            }
            let outcome = self.deliver(outbox, &owed)?;
            let stop = matches!(outcome, Outcome::ServerFailed { .. });
            done(&SessionOutcome { session_id: owed.session_id, outcome });
            if stop {
                return Ok(());
            }
        }
    }

    /// Takes the lock and delivers what is due now or within `stays`, unless another process holds the lock. The holder
    /// checks again after releasing the lock, so it does not miss what a process that failed to get the lock has
    /// recorded.
    pub fn work_off(&mut self, outbox: &mut Outbox, stays: Duration) -> Result<(), CourierError> {
        let end = Instant::now() + stays;
        loop {
            if self.program.is_paused() {
                return Ok(());
            }
            let (server_due, _) = outbox.destination_due(self.id)?;
            let Some(due) = outbox.next_due(self.id)? else { return Ok(()) };
            let wait = Duration::from_millis((due.max(server_due) - outbox::now()).max(0) as u64);
            if Instant::now() + wait > end {
                return Ok(());
            }
            std::thread::sleep(wait);
            let Some(_lock) = DeliveryLock::try_take(outbox, self.id)? else { return Ok(()) };
            self.deliver_owed(outbox, false, |_| {})?;
        }
    }

    /// Delivers what is new in a session. Finishes an unfinished delivery first.
    pub fn deliver(&mut self, outbox: &mut Outbox, owed: &Owed) -> Result<Outcome, CourierError> {
        let in_parts = outbox.extent(owed.id)?.is_some() || outbox.part(owed.id)?.is_some();
        let (mut outcome, mut grown) = self.deliver_once(outbox, owed)?;
        // Up to three parts: the unfinished delivery, the part from before hooks sent the session elsewhere, and what
        // came since.
        for _ in 0..MOST_PARTS {
            let (true, Outcome::Delivered { events, rejected }) = (in_parts && grown, &outcome) else { break };
            let (events, rejected) = (*events, *rejected);
            let (next, has_more) = self.deliver_once(outbox, owed)?;
            grown = has_more;
            outcome = match next {
                Outcome::Delivered { events: more, rejected: also } => {
                    Outcome::Delivered { events: events + more, rejected: rejected + also }
                }
                Outcome::ServerFailed { error, events: more } => Outcome::ServerFailed { error, events: events + more },
                other => other,
            };
        }
        Ok(outcome)
    }

    /// What a delivery covers, and whether it was already begun: the extent of the unfinished delivery, or everything
    /// there is now that belongs to this destination.
    fn begin(
        &self,
        outbox: &mut Outbox,
        owed: &Owed,
        part: Option<Part>,
        session: &mut LocalSession,
    ) -> Result<(Extent, bool), CourierError> {
        if let Some(begun) = Extent::resume(outbox, owed.id, session)? {
            return Ok((begun, true));
        }
        let extent = Extent::of(session, outbox::now(), owed.turn_at.is_some());
        let extent = match part {
            Some(part) => extent.since(part.since).until(part.until)?,
            None if self.holds => extent.since(owed.since),
            None => extent.since(owed.since).without_hold(),
        };
        extent.begin(outbox, owed.id, session, false)?;
        Ok((extent, false))
    }

    /// Makes one delivery. The second value says whether the session has grown since the delivery began.
    fn deliver_once(&mut self, outbox: &mut Outbox, owed: &Owed) -> Result<(Outcome, bool), CourierError> {
        let mut session = match self.program.session_of(&owed.transcript) {
            Ok(session) => session,
            Err(error) if is_gone(&error) => {
                let gone = format!("the transcript is gone: {}", owed.transcript.display());
                warn!(session = ?owed.session_id, "given up: its transcript is gone");
                outbox.give_up(owed.id, &gone)?;
                return Ok((Outcome::Gone, false));
            }
            Err(error) => return Ok((self.failed(outbox, owed, &error.to_string())?, false)),
        };
        if let Some(reason) = self.program.withholds(&session, false)
            // The destination's project was already decided when the session became owed.
            && !matches!(reason, Withheld::OtherProject(_))
        {
            info!(session = ?owed.session_id, "not to be sent");
            outbox.forgo(owed.id)?;
            return Ok((Outcome::Withheld { reason: reason.to_string() }, false));
        }
        let stored = outbox.stored(&owed.transcript)?;
        let current = self.program.options_for(&session, &stored);
        let own = stored_options::read(&owed.options, current);
        let mut options = self.program.conversion_options(&session, own);
        let part = outbox.part(owed.id)?;
        let (extent, was_begun) = match self.begin(outbox, owed, part, &mut session) {
            Ok(begun) => begun,
            Err(CourierError::Transcript(error)) => return Ok((self.failed(outbox, owed, &error.to_string())?, false)),
            Err(error) => return Err(error),
        };
        extent.apply(&mut options);
        let (sandbox, runtime) = match &mut self.sandbox {
            Some(ready) => ready,
            none => none.insert((program::sandbox(self.limits)?, Runtime::new()?)),
        };
        let state = extent.state_at_last();
        info!(session = ?owed.session_id, attempts = owed.attempts, running = owed.turn_at.is_some(), "delivering");
        let mut record = OutboxRecord { outbox: &mut *outbox, destination: self.id, session: owed.id, state: &state };
        let delivered =
            runtime.block_on(send::deliver(sandbox, &session, &options, &self.destination, self.patience, &mut record));
        if let Some(report) = &delivered.report {
            outbox.unknown_types(report)?;
        }
        log_end(&owed.session_id, &delivered);
        let events: u64 = delivered.batches.iter().map(|batch| batch.accepted().count() as u64).sum();
        let rejected = delivered.batches.iter().map(|batch| batch.rejected().count() as u64).sum();
        let status = StatusFile::new(self.program, &self.destination, &session, &options, &delivered);
        let mut grown = false;
        let outcome = match delivered.error {
            None => {
                if let Some(report) = &delivered.report {
                    outbox.count_redactions(report)?;
                }
                let part = part.map(|part| (part, was_begun));
                grown = self.end(outbox, owed, &extent, part, delivered.report.as_ref())?;
                Outcome::Delivered { events, rejected }
            }
            Some(SendError::Record(error)) => return Err(error.into()),
            Some(SendError::Delivery(error)) if !matches!(error, DeliveryError::UnreadableFile(_)) => {
                let (refused, retry_after) = match &error {
                    DeliveryError::Unavailable(answer) => {
                        (false, answer.retry_after.map(|seconds| Duration::from_secs(seconds.into())))
                    }
                    // The plan may cover more next month, or once the user has paid.
                    DeliveryError::BillingLimit(_) => (true, Some(Backoff::LONGEST)),
                    DeliveryError::Refused(_) | DeliveryError::NotPosthog(_) => (true, None),
                    _ => (false, None),
                };
                let error = self.without_key(&SendError::Delivery(error).to_string());
                outbox.server_failed(self.id, &error, refused, retry_after)?;
                Outcome::ServerFailed { error, events }
            }
            Some(error) => self.failed(outbox, owed, &error.to_string())?,
        };
        if let Some(status) = status {
            status.write(outbox, &outcome);
        }
        Ok((outcome, grown))
    }

    /// Ends a delivery: what it held back is owed, and so is what was written in the meantime. Returns whether anything
    /// was written.
    fn end(
        &self,
        outbox: &mut Outbox,
        owed: &Owed,
        extent: &Extent,
        part: Option<(Part, bool)>,
        report: Option<&ConversionReport>,
    ) -> Result<bool, OutboxError> {
        outbox.complete(owed.id, &extent.state_after(report))?;
        let now = outbox::now();
        let soon = now + millis(SETTLE);
        match part {
            // The delivery that was begun earlier may not cover the whole part.
            Some((_, true)) => {
                outbox.hold(owed.id, soon)?;
                return Ok(true);
            }
            Some((Part { goes_on: true, .. }, false)) => {
                outbox.part_delivered(owed.id, soon)?;
                return Ok(true);
            }
            // The session continues at another destination.
            Some((_, false)) => return Ok(false),
            None => {}
        }
        let held = Extent::held_until(report, now).filter(|_| self.holds);
        let files = self.program.session_of(&owed.transcript).ok();
        let grown = files.as_ref().filter(|files| files.state() != extent.state());
        let due = match grown {
            // The session may have reached the end of a turn.
            Some(files) if owed.turn_at.is_some() => written_at(files).map(|written| Live::due(written, now)),
            Some(_) => Some(soon),
            None => held,
        };
        if let Some(due) = due {
            outbox.hold(owed.id, due.max(soon))?;
        }
        Ok(grown.is_some())
    }

    fn failed(&self, outbox: &mut Outbox, owed: &Owed, error: &str) -> Result<Outcome, CourierError> {
        let error = self.without_key(error);
        outbox.session_failed(owed.id, &error)?;
        Ok(Outcome::Failed { error })
    }

    /// Masks the key: a server may repeat it, but the record must not contain it.
    fn without_key(&self, text: &str) -> String {
        crate::system::terminal::without_key(text, &self.destination.api_key)
    }
}

/// Logs how a delivery went, in numbers and our own words.
pub fn log_end(session: &str, delivered: &Delivered) {
    for batch in &delivered.batches {
        debug!(
            ?session,
            path = Lane::of_path(&batch.path).map_or("none", Lane::path),
            accepted = batch.accepted().count(),
            refused = batch.rejected().count(),
            requests = batch.requests,
            bytes = batch.sent_bytes,
            "a batch was decided"
        );
    }
    let sum = |count: fn(&BatchReport) -> u64| delivered.batches.iter().map(count).sum::<u64>();
    let (accepted, refused) =
        (sum(|batch| batch.accepted().count() as u64), sum(|batch| batch.rejected().count() as u64));
    match &delivered.error {
        None => info!(?session, accepted, refused, "delivered"),
        Some(error) => {
            let (kind, status) = error.kind();
            warn!(?session, accepted, refused, kind, status, "not delivered whole");
        }
    }
}

fn is_gone(error: &TranscriptError) -> bool {
    matches!(error, TranscriptError::Unreadable { error, .. } if error.kind() == io::ErrorKind::NotFound)
}

fn was_written_within(session: &LocalSession, time: Duration) -> bool {
    written_at(session).is_some_and(|written| outbox::now() - written < millis(time))
}

/// When any of the session's files was last written to.
fn written_at(session: &LocalSession) -> Option<Millis> {
    let modified = |path: &Path| path.metadata().and_then(|metadata| metadata.modified()).ok();
    let latest = session.transcripts().filter_map(|(path, _)| modified(path)).max()?;
    Some(millis(latest.duration_since(UNIX_EPOCH).ok()?))
}

/// Does the session have an agent that is still open?
fn has_open_agent(session: &LocalSession) -> bool {
    session.files.agents.iter().any(|agent| sessions::is_open(&agent.path))
}

fn millis(time: Duration) -> Millis {
    time.as_millis() as Millis
}
