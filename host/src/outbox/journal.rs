//! The journal of accepted batches: one row for each batch, appended in order.
//!
//! Event IDs are random. Written straight into the table that is searched by ID, each one would change a different
//! page: a batch would write a hundred. So a batch is one row here, and many rows move into that table together, sorted
//! by ID. Lookups search both.

use super::delivered::{blob, event};
use super::ids::{DestinationId, SessionId};
use super::statements::Statements as _;
use posthog_llma_sandbox::bindings::posthog::llm_analytics::types::EventId;
use rusqlite::{Connection, params};
use std::collections::HashSet;

/// The table, and the index that finds sessions by ID; files of version 1 have neither.
pub(super) const TABLE: &str = "CREATE INDEX IF NOT EXISTS session_by_id ON session (session_id);
CREATE TABLE IF NOT EXISTS taken (
    id INTEGER PRIMARY KEY,
    destination INTEGER NOT NULL,
    session INTEGER NOT NULL,
    -- 1: the $ai_trace over them was taken, too, and over those of the session in the rows before.
    covered INTEGER NOT NULL,
    -- Ids of 16 bytes, one behind the other.
    events BLOB NOT NULL
) STRICT;";

/// How many bytes of IDs may wait here while single sessions are delivered: every lookup reads them all.
const MOST: i64 = 2000 * 16;

/// A row.
struct Row {
    destination: i64,
    session: i64,
    covered: bool,
    events: Vec<[u8; 16]>,
}

/// Appends a batch. Returns the number of its row.
pub(super) fn append(
    db: &Connection,
    destination: DestinationId,
    session: SessionId,
    events: impl Iterator<Item = EventId>,
    covered: bool,
) -> rusqlite::Result<i64> {
    let events: Vec<u8> = events.flat_map(blob).collect();
    let insert = "INSERT INTO taken (destination, session, covered, events) VALUES (?1, ?2, ?3, ?4)";
    db.prepare_cached(insert)?.insert(params![destination.0, session.0, covered, events])
}

/// Marks all of the session's rows as covered. It has none before `first`.
pub(super) fn cover(db: &Connection, session: SessionId, first: i64) -> rusqlite::Result<()> {
    let update = "UPDATE taken SET covered = 1 WHERE id >= ?2 AND session = ?1 AND covered = 0";
    db.run(update, [session.0, first]).map(drop)
}

/// The rows from this one on in order, each with whether its own batch, or a later one of its session, covers it.
fn rows(db: &Connection, first: i64) -> rusqlite::Result<Vec<Row>> {
    let mut select =
        db.prepare_cached("SELECT destination, session, covered, events FROM taken WHERE id >= ?1 ORDER BY id DESC")?;
    let mut complete = HashSet::new();
    let rows = select.query_map([first], |row| {
        let (session, covered): (i64, bool) = (row.get(1)?, row.get(2)?);
        if covered {
            complete.insert(session);
        }
        let events = row.get_ref(3)?.as_blob()?;
        let events = events.chunks_exact(16).filter_map(|id| id.try_into().ok()).collect();
        Ok(Row { destination: row.get(0)?, session, covered: complete.contains(&session), events })
    })?;
    rows.collect()
}

/// Which of these events are in the journal, except for the session's own uncovered ones.
pub(super) fn known(
    db: &Connection,
    destination: DestinationId,
    session: i64,
    wanted: &[EventId],
) -> rusqlite::Result<HashSet<[u8; 16]>> {
    let rows = rows(db, 0)?;
    let here = rows.iter().filter(|row| row.destination == destination.0 && (row.session != session || row.covered));
    let here: HashSet<[u8; 16]> = here.flat_map(|row| row.events.iter().copied()).collect();
    Ok(wanted.iter().map(|event| blob(*event)).filter(|event| here.contains(event)).collect())
}

/// The session's uncovered events in the journal. It has none before the row `first`.
pub(super) fn uncovered(db: &Connection, session: SessionId, first: i64) -> rusqlite::Result<Vec<EventId>> {
    let rows = rows(db, first)?;
    let open = rows.iter().rev().filter(|row| row.session == session.0 && !row.covered);
    Ok(open.flat_map(|row| row.events.iter().copied().map(event)).collect())
}

/// Is the journal long enough to move it into the searched table?
pub(super) fn is_long(db: &Connection) -> rusqlite::Result<bool> {
    let bytes: i64 = db.row("SELECT coalesce(sum(length(events)), 0) FROM taken", [], |row| row.get(0))?;
    Ok(bytes > MOST)
}

/// Moves the whole journal into the searched table.
pub(super) fn settle(db: &Connection) -> rusqlite::Result<()> {
    let mut events: Vec<_> = rows(db, 0)?
        .into_iter()
        .rev()
        .flat_map(|Row { destination, session, covered, events }| {
            events.into_iter().map(move |event| (destination, event, session, covered))
        })
        .collect();
    if events.is_empty() {
        return db.run("DELETE FROM taken", []).map(drop);
    }
    // The sort is stable: if two rows have the same event, the first one counts.
    events.sort_by_key(|(destination, event, ..)| (*destination, *event));
    let mut insert = db.prepare_cached(
        "INSERT INTO accepted (destination, event, session, covered) VALUES (?1, ?2, ?3, ?4) ON CONFLICT DO NOTHING",
    )?;
    for (destination, event, session, covered) in events {
        insert.execute(params![destination, event, session, covered])?;
    }
    db.run("DELETE FROM taken", []).map(drop)
}
