//! Uses the outbox as the record of one session's delivery.

use super::{Courier, CourierError, DeliveryLock};
use crate::delivery::extent::Extent;
use crate::delivery::record::Record;
use crate::delivery::send::Destination;
use crate::outbox::stored_options;
use crate::outbox::{self, DestinationId, Outbox, OutboxError, SessionId, Sighting};
use crate::program::{LocalSession, Program};
use posthog_llma_pipeline::delivery::lane::Lane;
use posthog_llma_pipeline::options::ConversionOptions;
use posthog_llma_sandbox::bindings::exports::posthog::llm_analytics::delivery::BatchReport;
use posthog_llma_sandbox::bindings::posthog::llm_analytics::types::{ConversionReport, EventId};

/// The record for a command that sends a session.
#[derive(Debug)]
pub struct SessionRecord {
    outbox: Outbox,
    destination: DestinationId,
    session: SessionId,
    extent: Extent,
    state: String,
    again: bool,
    _lock: DeliveryLock,
}

impl SessionRecord {
    /// Opens the record for a session, once no other process is delivering to the destination, and reports damage to
    /// the record. `again` forgets earlier deliveries. An unfinished delivery is finished first. Anything written to
    /// the session from now on is left out.
    pub fn open(
        program: &Program,
        destination: &Destination,
        session: &mut LocalSession,
        options: &ConversionOptions,
        again: bool,
    ) -> Result<(Self, Option<String>), CourierError> {
        let (mut outbox, warning) = Outbox::open_and_check(&outbox::directory()?)?;
        let id = outbox.destination(&destination.origin, &destination.api_key)?;
        let lock = DeliveryLock::take(&outbox, id)?;
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
        let begun = outbox.extent(known)?.filter(|_| !again);
        // If the files have not changed since, this delivery finishes the earlier one.
        let unchanged = begun
            .as_deref()
            .and_then(Extent::parse)
            .filter(|begun| begun.state() == session.state() && !begun.is_part());
        if begun.is_some()
            && unchanged.is_none()
            && let Some(owed) = outbox.as_owed(known)?
        {
            Courier::new(program, destination.clone(), id).deliver_once(&mut outbox, &owed)?;
        }
        let extent = match unchanged {
            Some(begun) => begun,
            None => Extent::of(session, outbox::now(), outbox.is_running(known)?),
        };
        extent.begin(&mut outbox, known, session, again)?;
        let state = extent.state_at_last();
        Ok((Self { outbox, destination: id, session: known, extent, state, again, _lock: lock }, warning))
    }

    /// How many of the session's events a server permanently refused, now or earlier.
    pub fn refused(&self) -> Result<u64, OutboxError> {
        self.outbox.refused(self.session)
    }

    /// What this delivery covers.
    pub fn extent(&self) -> &Extent {
        &self.extent
    }

    /// Marks everything as delivered, except for what is held back.
    pub fn complete(&mut self, report: Option<&ConversionReport>) -> Result<(), OutboxError> {
        if let Some(report) = report {
            self.outbox.count_redactions(report)?;
        }
        self.outbox.complete(self.session, &self.extent.state_after(report))?;
        self.outbox.delivered_whole(self.session)
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

/// An optional record, and a callback for each batch.
pub struct Told<'a, F> {
    /// The record.
    pub record: Option<&'a mut SessionRecord>,
    /// The callback.
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

/// A session's part of the outbox during its delivery.
pub(super) struct OutboxRecord<'a> {
    pub(super) outbox: &'a mut Outbox,
    pub(super) destination: DestinationId,
    pub(super) session: SessionId,
    pub(super) state: &'a str,
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
