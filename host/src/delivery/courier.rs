//! Delivers what is owed, one session after the other, and writes down what became of it.

use crate::claude_code::client;
use crate::claude_code::sessions::{self, TranscriptError};
use crate::delivery::outcome::Outcome;
use crate::delivery::send::{self, Delivered, Destination, PATIENCE, Record, SendError};
use crate::delivery::status_file::StatusFile;
use crate::outbox::decisions::is_file_or_absent;
use crate::outbox::stored_options;
use crate::outbox::{self, Backoff, DestinationId, Live, Millis, Outbox, OutboxError, Owed, SessionId, Sighting};
use crate::program::{self, Program, Session, Withheld};
use crate::system::terminal::tell;
use posthog_llma_pipeline::delivery::lane::Lane;
use posthog_llma_pipeline::options::ConversionOptions;
use posthog_llma_sandbox::bindings::exports::posthog::llm_analytics::delivery::{BatchReport, DeliveryError, Patience};
use posthog_llma_sandbox::bindings::posthog::llm_analytics::types::{ConversionReport, EventId};
use posthog_llma_sandbox::{self, Limits, Sandbox, SandboxError};
use std::collections::HashSet;
use std::fs::{File, TryLockError};
use std::io;
use std::path::Path;
use std::time::{Duration, Instant, UNIX_EPOCH};
use tracing::{debug, info, warn};

/// A session whose client's process is not known (the system does not tell) counts as running as long as it was written to
/// within this time.
const QUIET: Duration = Duration::from_mins(30);

/// Wait before what was written during a delivery is delivered: the client may still be writing.
pub const SETTLE: Duration = Duration::from_secs(2);

/// How often whoever waits looks whether something is due.
const LOOK: Duration = Duration::from_secs(2);

/// The right to deliver to a destination. Only one process at a time has it; it ends with the process, whatever ends that.
#[derive(Debug)]
pub struct Turn(#[expect(dead_code, reason = "it is held, not used")] File);

impl Turn {
    /// Takes it, if nobody has it.
    pub fn try_take(outbox: &Outbox, destination: DestinationId) -> Result<Option<Self>, OutboxError> {
        Self::try_lock(outbox, &format!("delivery-{destination}.lock"))
    }

    /// The right to wait for what is due later, so that not every hook's process does.
    fn try_watch(outbox: &Outbox, destination: DestinationId) -> Result<Option<Self>, OutboxError> {
        Self::try_lock(outbox, &format!("watch-{destination}.lock"))
    }

    fn try_lock(outbox: &Outbox, name: &str) -> Result<Option<Self>, OutboxError> {
        let path = outbox.path().with_file_name(name);
        let failed = |error: io::Error| OutboxError::Directory { path: path.clone(), error };
        is_file_or_absent(&path)?;
        let file = File::options().create(true).truncate(false).write(true).open(&path).map_err(failed)?;
        match file.try_lock() {
            Ok(()) => Ok(Some(Self(file))),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(failed(error)),
        }
    }

    /// Waits for it, and says so.
    pub fn take(outbox: &Outbox, destination: DestinationId) -> Result<Self, OutboxError> {
        let mut told = false;
        loop {
            if let Some(turn) = Self::try_take(outbox, destination)? {
                return Ok(turn);
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

/// What became of a session, and which.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Report {
    /// The session's id.
    pub session_id: String,
    /// What became of it.
    #[serde(flatten)]
    pub outcome: Outcome,
}

/// What stops all deliveries.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CourierError {
    /// The record cannot be used: nothing may be sent that cannot be written down.
    #[error(transparent)]
    Outbox(#[from] OutboxError),
    /// The sandbox cannot be set up.
    #[error(transparent)]
    Sandbox(#[from] SandboxError),
}

/// Delivers to one destination.
pub struct Courier<'a> {
    program: &'a Program,
    destination: Destination,
    id: DestinationId,
    patience: Patience,
    limits: Limits,
    /// Made when it is needed first: most runs have nothing to deliver.
    sandbox: Option<Sandbox>,
}

impl<'a> Courier<'a> {
    /// One for the destination of these settings.
    pub fn new(program: &'a Program, destination: Destination, id: DestinationId) -> Self {
        Self { program, destination, id, patience: PATIENCE, limits: Limits::default(), sandbox: None }
    }

    /// Other bounds than the usual ones.
    #[must_use]
    pub fn with(self, patience: Patience, limits: Limits) -> Self {
        Self { patience, limits, ..self }
    }

    /// Sessions that were seen running and do not run any more, without a hook that said so, become owed.
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
                Ok(files) if session.delivered_state != Some(files.state()) => outbox.owe_again(session.id, 0)?,
                // Nothing new; or it never got a transcript.
                _ => outbox.ended_quietly(session.id)?,
            }
        }
        Ok(())
    }

    /// Sessions that seem to run, of which nobody knows better, become owed: where no process outlives the job, no hook may
    /// end them. What they write later is owed again.
    pub fn take_running(&self, outbox: &mut Outbox) -> Result<(), OutboxError> {
        for (session, client) in outbox.running(self.id)? {
            if !client.is_some_and(client::is_running) && session.transcript.exists() {
                outbox.owe_again(session.id, 0)?;
            }
        }
        Ok(())
    }

    /// Sessions that ended and were delivered, and have been written to since, become owed again: an agent goes on after the
    /// end of its session. Says whether one of them may be written to still.
    pub fn look_again(&self, outbox: &mut Outbox) -> Result<bool, OutboxError> {
        let mut grows = false;
        for session in outbox.ended_lately(self.id)? {
            let Ok(files) = self.program.session_of(&session.transcript) else { continue };
            let written = written_at(&files);
            grows |=
                written.is_some_and(|written| outbox::now() - written < millis(Live::QUIET)) && has_open_agent(&files);
            if session.delivered_state != Some(files.state()) {
                let due = written.map_or(0, |written| Live::due(written, outbox::now()));
                outbox.owe_again(session.id, due)?;
            }
        }
        Ok(grows)
    }

    /// Waits for what is due within minutes and delivers it, as long as there is something: turns of running sessions, and
    /// what agents write after the end of theirs. One process does that for all.
    pub fn watch(&mut self, outbox: &mut Outbox) -> Result<(), CourierError> {
        let Some(_watch) = Turn::try_watch(outbox, self.id)? else { return Ok(()) };
        loop {
            let grows = self.look_again(outbox)?;
            let (server_due, _) = outbox.destination_due(self.id)?;
            // A server that fails, and what fails by itself, is for the next hook.
            if server_due > outbox::now() {
                return Ok(());
            }
            let due = outbox.next_untried(self.id)?.map(|due| due - outbox::now());
            match due {
                None if !grows => return Ok(()),
                // What was put off for so long is for the next hook.
                Some(wait) if wait > millis(Live::LONGEST) => return Ok(()),
                Some(wait) if wait <= 0 => {
                    // Whoever has it looks again after it.
                    let Some(_turn) = Turn::try_take(outbox, self.id)? else { return Ok(()) };
                    self.deliver_owed(outbox, false, |_| {})?;
                }
                // Somebody may write down something that is due earlier.
                Some(wait) => std::thread::sleep(LOOK.min(Duration::from_millis(wait.unsigned_abs()))),
                None => std::thread::sleep(LOOK),
            }
        }
    }

    /// When a turn of a running session that is due now is due really: the session may not be quiet.
    fn not_before(&self, owed: &Owed) -> Option<Millis> {
        let turn_at = owed.turn_at?;
        let files = self.program.session_of(&owed.transcript).ok()?;
        Some(Live::due(written_at(&files)?, turn_at)).filter(|due| *due > outbox::now())
    }

    /// Delivers the owed sessions; `all`: those too that are not due yet. Goes on until none is left that was not tried, or
    /// the server fails. `done` is told of each.
    pub fn deliver_owed(
        &mut self,
        outbox: &mut Outbox,
        all: bool,
        mut done: impl FnMut(&Report),
    ) -> Result<(), CourierError> {
        let mut tried = HashSet::new();
        loop {
            if self.program.is_paused() {
                return Ok(());
            }
            let owed = outbox.owed(self.id, all)?;
            // One that was written to during its delivery is owed again, but not at once.
            let Some(owed) = owed.into_iter().find(|owed| tried.insert(owed.id)) else { return Ok(()) };
            if !all && let Some(due) = self.not_before(&owed) {
                outbox.postpone(owed.id, due)?;
                continue;
            }
            let outcome = self.deliver(outbox, &owed)?;
            let stop = matches!(outcome, Outcome::ServerFailed { .. });
            done(&Report { session_id: owed.session_id, outcome });
            if stop {
                return Ok(());
            }
        }
    }

    /// Delivers what is due, and what is due within a time, unless somebody else does: takes the turn for it. Whoever has had
    /// the turn looks again after it, so that nothing is missed that was written down by somebody who did not get it.
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
            let Some(_turn) = Turn::try_take(outbox, self.id)? else { return Ok(()) };
            self.deliver_owed(outbox, false, |_| {})?;
        }
    }

    /// Delivers what is new in a session.
    pub fn deliver(&mut self, outbox: &mut Outbox, owed: &Owed) -> Result<Outcome, CourierError> {
        let session = match self.program.session_of(&owed.transcript) {
            Ok(session) => session,
            Err(error) if is_gone(&error) => {
                let gone = format!("the transcript is gone: {}", owed.transcript.display());
                warn!(session = ?owed.session_id, "given up: its transcript is gone");
                outbox.give_up(owed.id, &gone)?;
                return Ok(Outcome::Gone);
            }
            Err(error) => return self.failed(outbox, owed, &error.to_string()),
        };
        if let Some(reason) = self.program.withholds(&session, false)
            // Of which project a destination is was decided when the session became owed.
            && !matches!(reason, Withheld::OtherProject(_))
        {
            info!(session = ?owed.session_id, "not to be sent");
            outbox.forgo(owed.id)?;
            return Ok(Outcome::Withheld { reason: reason.to_string() });
        }
        let stored = outbox.stored(&owed.transcript)?;
        let current = self.program.options_for(&session, &stored);
        let own = stored_options::read(&owed.options, current);
        let options = self.program.conversion_options(&session, own);
        let sandbox = match &mut self.sandbox {
            Some(sandbox) => sandbox,
            none => none.insert(program::sandbox(self.limits)?.0),
        };
        let state = session.state();
        info!(session = ?owed.session_id, attempts = owed.attempts, running = owed.turn_at.is_some(), "delivering");
        let mut record = OutboxRecord { outbox: &mut *outbox, destination: self.id, session: owed.id, state: &state };
        let delivered = posthog_llma_sandbox::block_on(send::deliver(
            sandbox,
            &session,
            &options,
            &self.destination,
            self.patience,
            &mut record,
        ))?;
        if let Some(report) = &delivered.report {
            outbox.unknown_types(report)?;
        }
        log_end(&owed.session_id, &delivered);
        let events: u64 = delivered.batches.iter().map(|batch| batch.accepted().count() as u64).sum();
        let rejected = delivered.batches.iter().map(|batch| batch.rejected().count() as u64).sum();
        let status = StatusFile::new(self.program, &self.destination, &session, &options, &delivered);
        let outcome = match delivered.error {
            None => {
                if let Some(report) = &delivered.report {
                    outbox.count_redactions(report)?;
                }
                outbox.complete(owed.id, &state)?;
                if session.state() != state {
                    outbox.owe_again(owed.id, outbox::now() + SETTLE.as_millis() as i64)?;
                }
                Outcome::Delivered { events, rejected }
            }
            Some(SendError::Record(error)) => return Err(error.into()),
            Some(SendError::Delivery(error)) if !matches!(error, DeliveryError::UnreadableFile(_)) => {
                let (refused, retry_after) = match &error {
                    DeliveryError::Unavailable(answer) => {
                        (false, answer.retry_after.map(|seconds| Duration::from_secs(seconds.into())))
                    }
                    // The plan may cover more in the next month, or when the user has paid.
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
            status.write(&outcome);
        }
        Ok(outcome)
    }

    fn failed(&self, outbox: &mut Outbox, owed: &Owed, error: &str) -> Result<Outcome, CourierError> {
        let error = self.without_key(error);
        outbox.session_failed(owed.id, &error)?;
        Ok(Outcome::Failed { error })
    }

    /// A server may repeat the key; the record must not.
    fn without_key(&self, text: &str) -> String {
        crate::system::terminal::without_key(text, &self.destination.api_key)
    }
}

/// Writes down how a delivery went, in numbers and in words of ours.
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

fn was_written_within(session: &Session, time: Duration) -> bool {
    written_at(session).is_some_and(|written| outbox::now() - written < millis(time))
}

/// When one of its files was written to last.
fn written_at(session: &Session) -> Option<Millis> {
    let modified = |path: &Path| path.metadata().and_then(|metadata| metadata.modified()).ok();
    let latest = session.transcripts().filter_map(|(path, _)| modified(path)).max()?;
    Some(millis(latest.duration_since(UNIX_EPOCH).ok()?))
}

/// Has it an agent that goes on?
fn has_open_agent(session: &Session) -> bool {
    session.files.agents.iter().any(|agent| sessions::is_open(&agent.path))
}

fn millis(time: Duration) -> Millis {
    time.as_millis() as Millis
}

/// What a command that sends a session writes down.
#[derive(Debug)]
pub struct SessionRecord {
    outbox: Outbox,
    destination: DestinationId,
    session: SessionId,
    state: String,
    again: bool,
    _turn: Turn,
}

impl SessionRecord {
    /// Opens the record for a session, once no other process delivers to the destination; and says what is wrong with it.
    /// `again`: what was delivered before is forgotten.
    pub fn open(
        destination: &Destination,
        session: &Session,
        options: &ConversionOptions,
        again: bool,
    ) -> Result<(Self, Option<String>), OutboxError> {
        let (mut outbox, warning) = Outbox::open_and_check(&outbox::directory()?)?;
        let id = outbox.destination(&destination.origin, &destination.api_key)?;
        let turn = Turn::take(&outbox, id)?;
        let transcript = std::path::absolute(&session.files.main).unwrap_or_else(|_| session.files.main.clone());
        let project = options.project_name.clone().unwrap_or_else(|| session.project());
        let options = stored_options::to_text(options);
        let sighting = Sighting {
            transcript: &transcript,
            session_id: &session.files.id,
            options: &options,
            project: Some(&project),
            hook: None,
            at: outbox::now(),
        };
        let known = outbox.see(id, &sighting)?;
        let state = session.state();
        Ok((Self { outbox, destination: id, session: known, state, again, _turn: turn }, warning))
    }

    /// How many of its events a server refused for good, now or before.
    pub fn refused(&self) -> Result<u64, OutboxError> {
        self.outbox.refused(self.session)
    }

    /// All of it is delivered.
    pub fn complete(&mut self, report: Option<&ConversionReport>) -> Result<(), OutboxError> {
        if let Some(report) = report {
            self.outbox.count_redactions(report)?;
        }
        self.outbox.complete(self.session, &self.state)
    }
}

impl SessionRecord {
    fn borrowed(&mut self) -> OutboxRecord<'_> {
        let Self { outbox, destination, session, state, .. } = self;
        OutboxRecord { outbox, destination: *destination, session: *session, state }
    }
}

impl Record for SessionRecord {
    fn known(&mut self, events: &[EventId]) -> Result<Vec<EventId>, OutboxError> {
        if self.again {
            self.outbox.forget(self.destination, self.session, events)?;
        }
        self.borrowed().known(events)
    }

    fn uncovered(&mut self) -> Result<Vec<EventId>, OutboxError> {
        self.borrowed().uncovered()
    }

    fn lane(&mut self) -> Result<Option<Lane>, OutboxError> {
        self.borrowed().lane()
    }

    fn batch(&mut self, batch: &BatchReport) -> Result<(), OutboxError> {
        self.borrowed().batch(batch)
    }
}

/// A record, if there is one, and somebody who is told of each batch.
pub struct Told<'a, F> {
    /// The record.
    pub record: Option<&'a mut SessionRecord>,
    /// Who is told.
    pub on_batch: F,
}

impl<F: FnMut(&BatchReport)> Record for Told<'_, F> {
    fn known(&mut self, events: &[EventId]) -> Result<Vec<EventId>, OutboxError> {
        self.record.as_mut().map_or_else(|| Ok(Vec::new()), |record| record.known(events))
    }

    fn uncovered(&mut self) -> Result<Vec<EventId>, OutboxError> {
        self.record.as_mut().map_or_else(|| Ok(Vec::new()), |record| record.uncovered())
    }

    fn lane(&mut self) -> Result<Option<Lane>, OutboxError> {
        self.record.as_mut().map_or(Ok(None), |record| record.lane())
    }

    fn batch(&mut self, batch: &BatchReport) -> Result<(), OutboxError> {
        (self.on_batch)(batch);
        self.record.as_mut().map_or(Ok(()), |record| record.batch(batch))
    }
}

/// A session's part of the outbox, while it is delivered.
struct OutboxRecord<'a> {
    outbox: &'a mut Outbox,
    destination: DestinationId,
    session: SessionId,
    state: &'a str,
}

impl Record for OutboxRecord<'_> {
    fn known(&mut self, events: &[EventId]) -> Result<Vec<EventId>, OutboxError> {
        self.outbox.known(self.destination, Some(self.session), events)
    }

    fn uncovered(&mut self) -> Result<Vec<EventId>, OutboxError> {
        self.outbox.uncovered(self.session)
    }

    fn lane(&mut self) -> Result<Option<Lane>, OutboxError> {
        self.outbox.lane(self.destination)
    }

    fn batch(&mut self, batch: &BatchReport) -> Result<(), OutboxError> {
        self.outbox.record(self.destination, self.session, batch, self.state)
    }
}
