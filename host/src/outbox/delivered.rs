//! What a server accepted.

use super::ids::{DestinationId, SessionId};
use super::statements::Statements as _;
use super::{Outbox, OutboxError, extents, journal, now};
use posthog_llma_pipeline::delivery::lane::Lane;
use posthog_llma_pipeline::identity;
use posthog_llma_sandbox::bindings::exports::posthog::llm_analytics::delivery::BatchReport;
use posthog_llma_sandbox::bindings::posthog::llm_analytics::types::{ConversionReport, EventId, NamedCount};
use rusqlite::{Connection, OptionalExtension as _, params};
use std::collections::HashSet;
use std::path::Path;
use std::time::Duration;

impl Outbox {
    /// Which of these events were delivered or permanently refused, in any session, along with the `$ai_trace` that
    /// covers them.
    pub fn known(
        &self,
        destination: DestinationId,
        session: Option<SessionId>,
        events: &[EventId],
    ) -> Result<Vec<EventId>, OutboxError> {
        let session = session.map_or(0, |session| session.0);
        self.read(|db| {
            let mut accepted = db.prepare_cached(
                "SELECT 1 FROM accepted WHERE destination = ?1 AND event = ?2 AND NOT (session = ?3 AND covered = 0)",
            )?;
            let taken =
                if self.bulk.is_some() { HashSet::new() } else { journal::known(db, destination, session, events)? };
            let mut known = Vec::new();
            for event in events {
                let id = blob(*event);
                if taken.contains(&id) || accepted.exists(params![destination.0, id, session])? {
                    known.push(*event);
                }
            }
            Ok(known)
        })
    }

    /// Events of this session from deliveries that ended before the `$ai_trace` that covers them was accepted, along
    /// with those of its `$ai_trace`s that were accepted.
    pub fn uncovered(&self, session: SessionId) -> Result<Vec<EventId>, OutboxError> {
        self.read(|db| {
            let mut select = db.prepare_cached("SELECT event FROM accepted WHERE session = ?1 AND covered = 0")?;
            let rows = select.query_map([session.0], |row| row.get(0).map(event))?;
            let mut uncovered: Vec<EventId> = rows.collect::<rusqlite::Result<_>>()?;
            if self.bulk.is_none() {
                uncovered.extend(journal::uncovered(db, session, 0)?);
            }
            Ok(uncovered)
        })
    }

    /// Records the outcome of a batch. The last batch ends the delivery: `state` describes the files at its start.
    pub fn record(
        &mut self,
        destination: DestinationId,
        session: SessionId,
        batch: &BatchReport,
        state: &str,
    ) -> Result<(), OutboxError> {
        let now = now();
        let bulk = self.bulk.is_some();
        let row = self.write(|db| {
            // A permanently refused event is settled, like an accepted one.
            let events = batch.events.iter().map(|event| event.id);
            let row = journal::append(db, destination, session, events, batch.last)?;
            let mut insert = db.prepare_cached(
                "INSERT INTO quarantined (destination, event, session, name, status, message, at)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7) ON CONFLICT DO NOTHING",
            )?;
            for (event, refusal) in batch.rejected() {
                let (id, name) = (blob(event.id), event.kind.name());
                insert.execute(params![destination.0, id, session.0, name, refusal.status, refusal.message, now])?;
            }
            if batch.accepted().next().is_some() {
                // At most once a second: otherwise every batch would write this row.
                db.run(
                    "UPDATE destination SET attempts = 0, last_error = NULL, refused = 0, failed_at = NULL, due_at = 0,
                         asked_until = 0, delivered_at = ?2
                     WHERE id = ?1 AND NOT (attempts = 0 AND last_error IS NULL AND refused = 0 AND failed_at IS NULL
                         AND due_at = 0 AND asked_until = 0 AND coalesce(delivered_at, 0) BETWEEN ?2 - 1000 AND ?2)",
                    params![destination.0, now],
                )?;
                remember_lane(db, destination, &batch.path, now)?;
            }
            if batch.last {
                extents::read_to_its_end(db, session)?;
                complete(db, session, state, now)?;
            }
            if !bulk && journal::is_long(db)? {
                journal::settle(db)?;
            }
            Ok(row)
        })?;
        if let Some(bulk) = &mut self.bulk {
            bulk.appended(session, row);
        }
        Ok(())
    }

    /// The lane that a server last accepted, if it is not the newest one and was found recently.
    pub fn lane(&self, destination: DestinationId) -> Result<Option<Lane>, OutboxError> {
        self.read(|db| {
            let select = "SELECT lane FROM destination WHERE id = ?1 AND lane_until > ?2";
            let path: Option<Option<String>> =
                db.row(select, params![destination.0, now()], |row| row.get(0)).optional()?;
            Ok(path.flatten().and_then(|path| Lane::of_path(&path)))
        })
    }

    /// Marks the whole session as delivered, in the state its files had at the start of the delivery.
    pub fn complete(&mut self, session: SessionId, state: &str) -> Result<(), OutboxError> {
        let first = self.first_row(session);
        self.write(|db| {
            // A delivery that sends nothing has no `$ai_trace`: the next one counts its lines. But everything may have
            // been accepted by one that was interrupted before it could record its last batch.
            let accepted = "SELECT 1 FROM accepted WHERE session = ?1 AND covered = 0";
            if db.prepare_cached(accepted)?.exists([session.0])? || !journal::uncovered(db, session, first)?.is_empty()
            {
                extents::read_to_its_end(db, session)?;
            }
            journal::cover(db, session, first)?;
            complete(db, session, state, now())
        })
    }

    /// Forgets a session's deliveries, so that all of it is sent again.
    pub fn forget(
        &mut self,
        destination: DestinationId,
        session: SessionId,
        events: &[EventId],
    ) -> Result<(), OutboxError> {
        self.write(|db| {
            journal::settle(db)?;
            let mut delete = db.prepare_cached("DELETE FROM accepted WHERE destination = ?1 AND event = ?2")?;
            for event in events {
                delete.execute(params![destination.0, blob(*event)])?;
            }
            db.run("UPDATE session SET ends = NULL, read_before = NULL WHERE id = ?1", [session.0])?;
            db.run("DELETE FROM accepted WHERE session = ?1", [session.0])?;
            db.run("DELETE FROM quarantined WHERE session = ?1", [session.0]).map(drop)
        })
    }

    /// How many of the session's events were permanently refused.
    pub fn refused(&self, session: SessionId) -> Result<u64, OutboxError> {
        self.read(|db| {
            let select = "SELECT count(*) FROM quarantined WHERE session = ?1";
            db.row(select, [session.0], |row| row.get::<_, i64>(0)).map(|count| count as u64)
        })
    }

    /// Was everything delivered that the session's files contained in this state?
    pub fn is_delivered(&self, session: SessionId, state: &str) -> Result<bool, OutboxError> {
        self.read(|db| {
            let select = "SELECT delivered_state FROM session WHERE id = ?1 AND owed_at IS NULL AND since IS NULL";
            let delivered: Option<Option<String>> = db.row(select, [session.0], |row| row.get(0)).optional()?;
            Ok(delivered.flatten().as_deref() == Some(state))
        })
    }

    /// Like [`is_delivered`](Self::is_delivered), for a session by its main transcript.
    pub fn is_delivered_at(
        &self,
        destination: DestinationId,
        transcript: &Path,
        state: &str,
    ) -> Result<bool, OutboxError> {
        self.session(destination, transcript)?.map_or(Ok(false), |session| self.is_delivered(session, state))
    }

    /// Was any part of this session delivered?
    pub fn has_delivered(&self, destination: DestinationId, transcript: &Path) -> Result<bool, OutboxError> {
        let Some(session) = self.session(destination, transcript)? else { return Ok(false) };
        self.read(|db| {
            db.prepare_cached("SELECT 1 FROM session WHERE id = ?1 AND delivered_at IS NOT NULL")?.exists([session.0])
        })
    }

    /// Records line types that this version does not know.
    pub fn unknown_types(&mut self, report: &ConversionReport) -> Result<(), OutboxError> {
        if report.unknown_types.is_empty() {
            return Ok(());
        }
        let now = now();
        self.write(|db| {
            let mut insert = db.prepare_cached(
                "INSERT INTO unknown_type (name, lines, seen_at) VALUES (?1, ?2, ?3)
                 ON CONFLICT DO UPDATE SET lines = max(lines, excluded.lines), seen_at = excluded.seen_at",
            )?;
            for NamedCount { name, count: lines } in &report.unknown_types {
                insert.execute(params![name, i64::try_from(*lines).unwrap_or(i64::MAX), now])?;
            }
            Ok(())
        })
    }
}

/// Remembers the lane. A server with only an older lane may be upgraded any day, so the memory lasts for one day.
fn remember_lane(db: &Connection, destination: DestinationId, path: &str, now: i64) -> rusqlite::Result<()> {
    let path = Some(path).filter(|path| *path != Lane::default().path());
    db.run(
        "UPDATE destination SET lane = ?2,
             lane_until = CASE WHEN lane IS ?2 AND lane_until > ?3 THEN lane_until ELSE ?3 + ?4 END
         WHERE id = ?1 AND NOT (lane IS ?2 AND lane_until > ?3)",
        params![destination.0, path, now, LANE_BELIEVED.as_millis() as i64],
    )
    .map(drop)
}

/// How long an older lane is assumed to be the only one.
const LANE_BELIEVED: Duration = Duration::from_hours(24);

fn complete(db: &Connection, session: SessionId, state: &str, now: i64) -> rusqlite::Result<()> {
    db.run("UPDATE accepted SET covered = 1 WHERE session = ?1 AND covered = 0", [session.0])?;
    db.run(
        "UPDATE session SET owed_at = NULL, turn_at = NULL, attempts = 0, last_error = NULL, due_at = 0, failed_at = NULL, delivered_at = ?2,
             delivered_state = ?3, ends = NULL WHERE id = ?1",
        params![session.0, now, state],
    )
    .map(drop)
}

pub(super) fn blob(event: EventId) -> [u8; 16] {
    identity::EventId::from(event).0.to_be_bytes()
}

pub(super) fn event(blob: [u8; 16]) -> EventId {
    let id = u128::from_be_bytes(blob);
    identity::EventId(id).into()
}
