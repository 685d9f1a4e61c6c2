//! Sends many past sessions on all cores, each event once.
//!
//! A fork contains its origin's events. Which of them sends these must not depend on timing, and they must not both
//! send them. So sessions claim their events in order of start time and leave out what another one has claimed.

mod outcome;

use crate::claude_code::sessions::Head;
use crate::delivery::conversion::{self, ConversionError};
use crate::delivery::courier::{self, Courier, CourierError, DeliveryLock};
use crate::delivery::extent::Extent;
use crate::delivery::record::Record;
use crate::delivery::report;
use crate::delivery::send::{self, Destination, SendError};
use crate::outbox::stored_options;
use crate::outbox::{self, DestinationId, Outbox, OutboxError, SessionId, Sighting, Stored};
use crate::program::{LocalSession, Program};
use posthog_llma_pipeline::delivery::lane::Lane;
use posthog_llma_sandbox::bindings::exports::posthog::llm_analytics::delivery::{BatchReport, DeliveryError, Patience};
use posthog_llma_sandbox::bindings::posthog::llm_analytics::types::{ConversionReport, EventId};
use posthog_llma_sandbox::{Runtime, Sandbox, SandboxError};
use std::collections::{HashMap, HashSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

pub use outcome::{IngestOutcome, Sent};

/// How many times in a row a session waits for a server that accepts no more for now.
const MOST_WAITS: u32 = 5;

/// The first such wait; each further one is longer by this amount. Their total leaves time within the limit of a run.
const FIRST_WAIT: Duration = Duration::from_secs(15);

/// A session to consider for sending.
#[derive(Debug, Clone)]
pub struct PastSession {
    /// Its ID.
    pub id: String,
    /// Its main transcript; the first one if there are several.
    pub transcript: PathBuf,
    /// The size of its main transcripts in bytes.
    pub bytes: u64,
    /// When it began, in milliseconds since 1970; the time its file was last modified if its lines do not say.
    pub started: i64,
    /// When its file was created, if the system reports it: a fork has the same start time as its origin.
    pub created: Option<SystemTime>,
    /// Facts from the transcript's beginning.
    pub head: Head,
}

/// How sessions are sent.
pub struct Ingest<'a> {
    /// The settings.
    pub program: &'a Program,
    /// The sandbox, shared by all threads.
    pub sandbox: &'a Sandbox,
    /// The record's directory.
    pub directory: &'a Path,
    /// The destination. Without one, this is a dry run and nothing is sent.
    pub destination: Option<&'a Destination>,
    /// The current destination's number in the record, so that a dry run knows what was delivered there.
    pub known: Option<DestinationId>,
    /// How patient delivery is.
    pub patience: Patience,
    /// Also send what was already delivered.
    pub force: bool,
    /// The user named each session explicitly.
    pub named: bool,
    /// Sessions that are left out because another program has sent them or may have, by main transcript.
    pub sent_before: &'a HashMap<PathBuf, String>,
    /// The number of threads.
    pub jobs: usize,
    /// Called when the server accepts no more for now, with the number of seconds until the next attempt.
    pub on_wait: &'a (dyn Fn(u64) + Sync),
    /// Set by Ctrl-C: current deliveries finish their batch.
    pub stop: &'a AtomicBool,
}

/// What stops the whole run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IngestError {
    /// The record cannot be used: nothing may be sent that cannot be recorded.
    #[error(transparent)]
    Outbox(#[from] OutboxError),
    /// The sessions that hooks made owed in the meantime cannot be delivered.
    #[error(transparent)]
    Courier(#[from] CourierError),
    /// A thread cannot be set up.
    #[error(transparent)]
    Sandbox(#[from] SandboxError),
}

/// The state that all threads share.
struct Shared {
    next: AtomicUsize,
    /// Why the run stopped: the server accepts nothing more, or the record cannot be written.
    stopped: Mutex<Option<String>>,
    claims: Mutex<Claims>,
    claimed: Condvar,
}

#[derive(Default)]
struct Claims {
    /// The session whose turn it is to claim.
    turn: usize,
    /// Events that a session has claimed.
    events: HashSet<(u64, u64)>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A thread that panicked while holding the lock left the data consistent.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Ingest<'_> {
    /// Sends these sessions, which must be sorted by start time. Calls `done` for each, from several threads. The
    /// second value says what stopped the run, if anything did.
    pub fn run(
        &self,
        sessions: &[PastSession],
        done: impl Fn(usize, &IngestOutcome) + Sync,
    ) -> Result<(Vec<IngestOutcome>, Option<String>), IngestError> {
        let mut id = self.known;
        let mut own = None;
        if let Some(destination) = self.destination {
            let (mut outbox, _) = Outbox::open_and_check(self.directory)?;
            let to = outbox.destination(&destination.origin, &destination.api_key)?;
            // Keeps hooks' processes from delivering the same sessions in the meantime.
            let lock = DeliveryLock::take(&outbox, to)?;
            own = Some((outbox.in_bulk()?, lock));
            id = Some(to);
        }
        let shared = Shared {
            next: AtomicUsize::new(0),
            stopped: Mutex::new(None),
            claims: Mutex::default(),
            claimed: Condvar::new(),
        };
        let outcomes = Mutex::new(vec![IngestOutcome::NotReached; sessions.len()]);
        std::thread::scope(|scope| {
            let threads: Vec<_> = (0..self.jobs.clamp(1, sessions.len().max(1)))
                .map(|_| {
                    scope.spawn(|| -> Result<(), IngestError> {
                        let mut outbox = match id {
                            Some(_) => Some(self.open_record()?),
                            None => None,
                        };
                        // This thread sends everything over one connection.
                        let runtime = Runtime::new()?;
                        loop {
                            let index = shared.next.fetch_add(1, Ordering::Relaxed);
                            let Some(candidate) = sessions.get(index) else { return Ok(()) };
                            // Whatever the outcome, the next session must get its turn.
                            let turn = ClaimTurn { shared: &shared, index };
                            if self.stop.load(Ordering::Relaxed) || lock(&shared.stopped).is_some() {
                                return Ok(());
                            }
                            let record = outbox.as_mut().zip(id);
                            let outcome = self.send(record, candidate, &runtime, &turn);
                            drop(turn);
                            done(index, &outcome);
                            lock(&outcomes)[index] = outcome;
                        }
                    })
                })
                .collect();
            threads
                .into_iter()
                .try_for_each(|thread| thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
        })?;
        let stopped = shared.stopped.into_inner().unwrap_or_else(PoisonError::into_inner);
        if let (Some((mut outbox, lock)), Some(destination), Some(id)) = (own, self.destination, id)
            && stopped.is_none()
            && !self.stop.load(Ordering::Relaxed)
        {
            outbox.end_bulk()?;
            drop(lock);
            // Deliver sessions that ended in the meantime: their own processes found the lock taken and exited.
            Courier::new(self.program, destination.clone(), id).work_off(&mut outbox, Duration::ZERO)?;
        }
        Ok((outcomes.into_inner().unwrap_or_else(PoisonError::into_inner), stopped))
    }

    fn open_record(&self) -> Result<Outbox, OutboxError> {
        let (outbox, _) = Outbox::open(self.directory, outbox::PATIENCE)?;
        // A dry run only reads.
        if self.destination.is_some() { outbox.in_bulk() } else { Ok(outbox) }
    }

    fn send(
        &self,
        record: Option<(&mut Outbox, DestinationId)>,
        candidate: &PastSession,
        runtime: &Runtime,
        turn: &ClaimTurn<'_>,
    ) -> IngestOutcome {
        let shared = turn.shared;
        let failed = |error: String, events| IngestOutcome::Failed { error, events };
        let mut session = match self.program.session_of(&candidate.transcript) {
            Ok(session) => session,
            Err(error) => return failed(error.to_string(), 0),
        };
        let state = session.state();
        if let Some(reason) = self.program.withholds(&session, self.named) {
            return IngestOutcome::Withheld { reason: reason.to_string() };
        }
        if let Some(reason) = self.sent_before.get(&candidate.transcript) {
            return IngestOutcome::Withheld { reason: reason.clone() };
        }
        let transcript = std::path::absolute(&candidate.transcript).unwrap_or_else(|_| candidate.transcript.clone());
        let stored = match record.as_ref().map(|(outbox, _)| outbox.stored(&transcript)) {
            None => Stored::default(),
            Some(Ok(stored)) => stored,
            Some(Err(error)) => return self.all_stops(shared, error.to_string(), 0),
        };
        let own = self.program.options_for(&session, &stored);
        let options = stored_options::to_text(&own);
        let project = own.project_name.clone().unwrap_or_else(|| session.project());
        let sighting = Sighting {
            transcript: &transcript,
            session_id: &candidate.id,
            options: &options,
            project: Some(&project),
            hook: None,
            at: outbox::now(),
        };
        let known = record.map(|(outbox, destination)| {
            let id = match self.destination {
                Some(_) => Some(outbox.see(destination, &sighting)?),
                None => outbox.session(destination, &transcript)?,
            };
            let delivered = !self.force && id.map_or(Ok(false), |id| outbox.is_delivered(id, &state))?;
            Ok((Known { outbox, destination, session: id }, delivered))
        });
        let known = match known.transpose() {
            Ok(Some((_, true))) => return IngestOutcome::DeliveredBefore,
            Ok(known) => known.map(|(known, _)| known),
            Err(error) => return self.all_stops(shared, OutboxError::to_string(&error), 0),
        };
        let mut options = self.program.conversion_options(&session, own);
        let mut known = known;
        let (extent, was_begun) = match self.begin(&mut known, &mut session) {
            Ok(begun) => begun,
            Err(error) => return self.all_stops(shared, error.to_string(), 0),
        };
        extent.apply(&mut options);
        let state = extent.state_at_last();
        let mut record =
            IngestRecord { ingest: self, known, state: &state, shared, turn, waits: 0, is_complete: false };
        let Some(to) = self.destination else {
            let mut bytes = Counting(0);
            let converted =
                runtime.block_on(conversion::convert_new(self.sandbox, &session, &options, &mut record, &mut bytes));
            return match converted {
                Ok(converted) => {
                    let sent = Sent::of_conversion(&converted.report, bytes.0);
                    IngestOutcome::of(sent, converted.report.excluded_events)
                }
                Err(ConversionError::Record(error)) => self.all_stops(shared, error.to_string(), 0),
                Err(error) => failed(error.to_string(), 0),
            };
        };
        let delivered =
            runtime.block_on(send::deliver(self.sandbox, &session, &options, to, self.patience, &mut record));
        courier::log_end(&candidate.id, &delivered);
        let sent = Sent::of_delivery(&delivered);
        let error = match delivered.error {
            None => {
                let outcome = IngestOutcome::of(
                    sent.clone(),
                    delivered.report.as_ref().map_or(0, |report| report.excluded_events),
                );
                if let Err(error) = record.complete(&extent, delivered.report.as_ref()) {
                    return self.all_stops(shared, error.to_string(), sent.events);
                }
                let grown =
                    || self.program.session_of(&candidate.transcript).is_ok_and(|s| s.state() != extent.state());
                return match record.known {
                    // Deliver what was written since the start of the unfinished delivery that this one has finished.
                    Some(Known { outbox, destination, .. }) if was_begun && (extent.is_part() || grown()) => {
                        outcome.and(self.send(Some((outbox, destination)), candidate, runtime, turn))
                    }
                    _ => outcome,
                };
            }
            Some(SendError::Record(OutboxError::Stopped)) => return IngestOutcome::NotReached,
            Some(error) => error,
        };
        let of_server =
            matches!(&error, SendError::Delivery(error) if !matches!(error, DeliveryError::UnreadableFile(_)));
        let error = error.to_string();
        if of_server { self.all_stops(shared, error, sent.events) } else { failed(error, sent.events) }
    }

    /// What a delivery covers (an unfinished one's extent, or everything there is now), and whether it was begun.
    fn begin(&self, known: &mut Option<Known<'_>>, session: &mut LocalSession) -> Result<(Extent, bool), OutboxError> {
        let now = outbox::now();
        let Some(Known { outbox, session: Some(id), .. }) = known else {
            return Ok((Extent::of(session, now, false), false));
        };
        if self.destination.is_none() {
            if !self.force {
                session.read_before = outbox.read_before(*id)?;
            }
            return Ok((Extent::of(session, now, outbox.is_running(*id)?), false));
        }
        if !self.force
            && let Some(begun) = Extent::resume(outbox, *id, session)?
        {
            return Ok((begun, true));
        }
        let extent = Extent::of(session, now, outbox.is_running(*id)?);
        extent.begin(outbox, *id, session, self.force)?;
        Ok((extent, false))
    }

    /// Stops the run: this failure would affect every other session, too.
    fn all_stops(&self, shared: &Shared, error: String, events: u64) -> IngestOutcome {
        let error = match self.destination {
            Some(destination) => crate::system::terminal::without_key(&error, &destination.api_key),
            None => error,
        };
        lock(&shared.stopped).get_or_insert_with(|| error.clone());
        IngestOutcome::Failed { error, events }
    }
}

/// One session's turn to claim its events.
struct ClaimTurn<'a> {
    shared: &'a Shared,
    index: usize,
}

impl ClaimTurn<'_> {
    /// Waits until all sessions before this one have claimed.
    fn wait(&self) -> MutexGuard<'_, Claims> {
        let claims = lock(&self.shared.claims);
        let waited = self.shared.claimed.wait_while(claims, |claims| claims.turn < self.index);
        waited.unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for ClaimTurn<'_> {
    fn drop(&mut self) {
        let mut claims = self.wait();
        claims.turn = claims.turn.max(self.index + 1);
        self.shared.claimed.notify_all();
    }
}

/// What the record knows about a session.
struct Known<'a> {
    outbox: &'a mut Outbox,
    destination: DestinationId,
    /// `None` in a dry run for a session that was never seen.
    session: Option<SessionId>,
}

/// The record of one session among many.
struct IngestRecord<'a> {
    ingest: &'a Ingest<'a>,
    known: Option<Known<'a>>,
    state: &'a str,
    shared: &'a Shared,
    turn: &'a ClaimTurn<'a>,
    /// How often this session has waited for the server.
    waits: u32,
    /// The last batch was recorded, and with it that the whole session is delivered.
    is_complete: bool,
}

impl IngestRecord<'_> {
    /// Marks the whole session as delivered.
    fn complete(&mut self, extent: &Extent, report: Option<&ConversionReport>) -> Result<(), OutboxError> {
        let Some(Known { outbox, session: Some(session), .. }) = &mut self.known else { return Ok(()) };
        if let Some(report) = report {
            outbox.unknown_types(report)?;
            outbox.count_redactions(report)?;
        }
        // A session with nothing to send does not count as delivered; if it was owed, it no longer is.
        let is_nothing = report.is_some_and(report::has_nothing);
        if is_nothing && !outbox.is_owed(*session)? {
            return outbox.abandon(*session);
        }
        // The last batch already recorded this, unless something may be held back.
        if self.is_complete && extent.state_at_last() == extent.state_after(report) {
            return outbox.delivered_whole(*session);
        }
        outbox.complete(*session, &extent.state_after(report))?;
        outbox.delivered_whole(*session)
    }
}

impl Record for IngestRecord<'_> {
    fn known(&mut self, events: &[EventId]) -> Result<Vec<EventId>, OutboxError> {
        let mut known = match &self.known {
            Some(Known { session, outbox, destination }) if !self.ingest.force => {
                outbox.known(*destination, *session, events)?
            }
            _ => Vec::new(),
        };
        let before: HashSet<_> = known.iter().map(|id| (id.high, id.low)).collect();
        let mut claims = self.turn.wait();
        let (ours, others): (Vec<EventId>, Vec<EventId>) = events
            .iter()
            .filter(|event| !before.contains(&(event.high, event.low)))
            .partition(|event| claims.events.insert((event.high, event.low)));
        if let Some(Known { session: Some(session), outbox, destination }) = &mut self.known
            && self.ingest.force
            && self.ingest.destination.is_some()
        {
            outbox.forget(*destination, *session, &ours)?;
        }
        known.extend(others);
        Ok(known)
    }

    fn uncovered(&mut self) -> Result<Vec<EventId>, OutboxError> {
        // By the time this is called, all events are claimed.
        let mut claims = self.turn.wait();
        claims.turn = claims.turn.max(self.turn.index + 1);
        self.shared.claimed.notify_all();
        drop(claims);
        match &self.known {
            Some(Known { outbox, session: Some(session), .. }) if !self.ingest.force => outbox.uncovered(*session),
            _ => Ok(Vec::new()),
        }
    }

    fn batch(&mut self, batch: &BatchReport) -> Result<(), OutboxError> {
        if let Some(Known { outbox, destination, session: Some(session) }) = &mut self.known {
            outbox.record(*destination, *session, batch, self.state)?;
            self.is_complete |= batch.last;
        }
        self.waits = 0;
        if self.ingest.stop.load(Ordering::Relaxed) && !batch.last {
            return Err(OutboxError::Stopped);
        }
        Ok(())
    }

    fn lane(&mut self) -> Result<Option<Lane>, OutboxError> {
        self.known.as_ref().map_or(Ok(None), |known| known.outbox.lane(known.destination))
    }

    fn wait(&mut self, error: &DeliveryError) -> Option<Duration> {
        if !send::takes_no_more_for_now(error) || self.waits == MOST_WAITS || self.ingest.stop.load(Ordering::Relaxed) {
            return None;
        }
        self.waits += 1;
        let time = FIRST_WAIT * self.waits;
        (self.ingest.on_wait)(time.as_secs());
        Some(time)
    }
}

/// Counts what is written to it.
struct Counting(u64);

impl io::Write for Counting {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
