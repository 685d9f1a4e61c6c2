//! What `status` reports about the record.

use super::ids::{DestinationId, key_hash, path_of};
use super::notes::redactions;
use super::{Millis, Outbox, OutboxError};
use posthog_llma_pipeline::options::ApiKey;
use posthog_llma_pipeline::origin::Origin;
use rusqlite::{OptionalExtension as _, params};
use std::path::PathBuf;

/// A destination's sessions by outcome.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct Counts {
    /// Completely delivered.
    pub delivered: u64,
    /// Waiting to be sent, at least in part.
    pub owed: u64,
    /// Given up.
    pub failed: u64,
    /// Seen at their start, and not ended yet.
    pub running: u64,
}

/// A destination's state.
#[derive(Debug, Clone, Default, serde::Serialize)]
pub struct DestinationSummary {
    /// Its sessions.
    pub sessions: Counts,
    /// The time of the last delivery.
    pub delivered_at: Option<Millis>,
    /// Consecutive runs in which the server accepted nothing.
    pub attempts: u32,
    /// The reason.
    pub last_error: Option<String>,
    /// Only the user can fix the failure.
    pub refused: bool,
    /// When it is tried next, at the earliest.
    pub due_at: Millis,
    /// Events that the server permanently refused.
    pub quarantined: u64,
    /// Events that the server accepted.
    pub events: u64,
}

/// A session that is owed after a failure or was given up.
#[derive(Debug, Clone, serde::Serialize)]
pub struct FailedSession {
    /// Its ID.
    pub session_id: String,
    /// Its main transcript.
    pub transcript: PathBuf,
    /// The reason.
    pub error: String,
    /// When it is tried next; `None` if it was given up.
    pub due_at: Option<Millis>,
}

/// An event that a server permanently refused.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Quarantined {
    /// Its session's ID.
    pub session_id: String,
    /// `$ai_generation`, `$ai_span` or `$ai_trace`.
    pub event: String,
    /// The response's status code.
    pub status: u16,
    /// The server's message.
    pub message: String,
    /// When it was refused.
    pub at: Millis,
}

/// Everything that `status` reports.
#[derive(Debug, Clone, Default)]
pub struct Summary {
    /// The current destination's state.
    pub destination: DestinationSummary,
    /// Other destinations with owed sessions, and how many.
    pub owed_to: Vec<(String, u64)>,
    /// Failed sessions, newest first, at most [`SHOWN`](Self::SHOWN).
    pub failed: Vec<FailedSession>,
    /// Refused events, newest first, at most [`SHOWN`](Self::SHOWN).
    pub quarantined: Vec<Quarantined>,
    /// Line types that this version does not know, and the most lines of each in one session.
    pub unknown_types: Vec<(String, u64)>,
    /// How many secrets each rule has replaced in deliveries, to any destination.
    pub redactions: Vec<(String, u64)>,
    /// Transcripts of all sessions known for this destination.
    pub known: Vec<PathBuf>,
    /// Sessions that are sent only from some time on: sending was switched on, or switched to this destination, while
    /// they were running.
    pub in_part: u64,
}

impl Summary {
    /// The most rows listed one by one.
    pub const SHOWN: u32 = 20;

    /// The number of sessions owed to other destinations.
    pub fn owed_elsewhere(&self) -> u64 {
        self.owed_to.iter().map(|(_, sessions)| sessions).sum()
    }

    /// What to do about them.
    pub const GIVE_OR_REDIRECT: &str = "`posthog-llma flush --host HOST --key-env`, with that project's token in POSTHOG_API_KEY, \
                                        delivers it there; `posthog-llma flush --redirect` sends it to the current project";
}

impl Outbox {
    /// The destination's number, if the destination is known.
    pub fn known_destination(&self, origin: &Origin, key: &ApiKey) -> Result<Option<DestinationId>, OutboxError> {
        self.read(|db| {
            let select = "SELECT id FROM destination WHERE origin = ?1 AND key_hash = ?2";
            let id = db.query_row(select, [origin.to_string(), key_hash(key)], |row| row.get(0)).optional()?;
            Ok(id.map(DestinationId))
        })
    }

    /// The transcripts of all sessions, for any destination.
    pub fn known_transcripts(&self) -> Result<Vec<PathBuf>, OutboxError> {
        self.read(|db| {
            let mut select = db.prepare("SELECT DISTINCT transcript FROM session")?;
            let rows = select.query_map([], |row| row.get(0).map(path_of))?;
            rows.collect()
        })
    }

    /// What `status` reports about a destination.
    pub fn summary(&self, destination: Option<DestinationId>) -> Result<Summary, OutboxError> {
        let id = destination.map_or(0, |destination| destination.0);
        self.read(|db| {
            let mut summary = Summary::default();
            let found = db
                .query_row(
                    "SELECT delivered_at, attempts, last_error, refused, max(due_at, asked_until),
                         (SELECT count(*) FROM quarantined WHERE quarantined.destination = destination.id),
                         (SELECT count(*) FROM accepted WHERE accepted.destination = destination.id)
                             + (SELECT coalesce(sum(length(events)) / 16, 0) FROM taken
                                WHERE taken.destination = destination.id)
                     FROM destination WHERE id = ?1",
                    [id],
                    |row| {
                        // Refused events are settled, too.
                        let (quarantined, done): (i64, i64) = (row.get(5)?, row.get(6)?);
                        Ok(DestinationSummary {
                            sessions: Counts::default(),
                            delivered_at: row.get(0)?,
                            attempts: row.get(1)?,
                            last_error: row.get(2)?,
                            refused: row.get(3)?,
                            due_at: row.get(4)?,
                            quarantined: quarantined as u64,
                            events: (done - quarantined).max(0) as u64,
                        })
                    },
                )
                .optional()?;
            summary.destination = found.unwrap_or_default();
            summary.destination.sessions = db.query_row(
                "SELECT count(*) FILTER (WHERE owed_at IS NULL AND delivered_at IS NOT NULL),
                     count(*) FILTER (WHERE owed_at IS NOT NULL AND failed_at IS NULL),
                     count(*) FILTER (WHERE failed_at IS NOT NULL),
                     count(*) FILTER (WHERE running = 1)
                 FROM session WHERE destination = ?1",
                [id],
                |row| {
                    let count = |i| row.get::<_, i64>(i).map(|n| n as u64);
                    Ok(Counts { delivered: count(0)?, owed: count(1)?, failed: count(2)?, running: count(3)? })
                },
            )?;
            let in_part = "SELECT count(*) FROM session WHERE destination = ?1 AND since IS NOT NULL";
            summary.in_part = db.query_row(in_part, [id], |row| row.get::<_, i64>(0))? as u64;
            let mut elsewhere = db.prepare(
                "SELECT origin, count(*) FROM session JOIN destination ON destination.id = session.destination
                 WHERE destination <> ?1 AND owed_at IS NOT NULL GROUP BY destination.id ORDER BY origin",
            )?;
            let rows = elsewhere.query_map([id], |row| Ok((row.get(0)?, row.get::<_, i64>(1)? as u64)))?;
            summary.owed_to = rows.collect::<Result<_, _>>()?;
            let mut failed = db.prepare(
                "SELECT session_id, transcript, last_error, due_at, failed_at FROM session
                 WHERE destination = ?1 AND owed_at IS NOT NULL AND last_error IS NOT NULL
                 ORDER BY failed_at IS NULL, seen_at DESC LIMIT ?2",
            )?;
            let rows = failed.query_map(params![id, Summary::SHOWN], |row| {
                let given_up: Option<Millis> = row.get(4)?;
                Ok(FailedSession {
                    session_id: row.get(0)?,
                    transcript: path_of(row.get(1)?),
                    error: row.get(2)?,
                    due_at: if given_up.is_some() { None } else { row.get(3)? },
                })
            })?;
            summary.failed = rows.collect::<Result<_, _>>()?;
            let mut quarantined = db.prepare(
                "SELECT coalesce((SELECT session_id FROM session WHERE id = quarantined.session), ''), name, status, message, at
                 FROM quarantined WHERE destination = ?1 ORDER BY at DESC LIMIT ?2",
            )?;
            let rows = quarantined.query_map(params![id, Summary::SHOWN], |row| {
                Ok(Quarantined {
                    session_id: row.get(0)?,
                    event: row.get(1)?,
                    status: row.get(2)?,
                    message: row.get(3)?,
                    at: row.get(4)?,
                })
            })?;
            summary.quarantined = rows.collect::<Result<_, _>>()?;
            let mut types = db.prepare("SELECT name, lines FROM unknown_type ORDER BY name")?;
            let rows = types.query_map([], |row| Ok((row.get(0)?, row.get::<_, i64>(1)? as u64)))?;
            summary.unknown_types = rows.collect::<Result<_, _>>()?;
            summary.redactions = redactions(db)?;
            let mut known = db.prepare("SELECT transcript FROM session WHERE destination = ?1")?;
            let rows = known.query_map([id], |row| row.get(0).map(path_of))?;
            summary.known = rows.collect::<Result<_, _>>()?;
            Ok(summary)
        })
    }
}
