//! What a server took, batch by batch, as it was written down: a row for each, behind those before.
//!
//! Ids of events are random. Written straight into the table that is searched by them, each would change a page of its own:
//! a batch would write a hundred. So a batch is one row here, and many rows go into that table together, in the order of the
//! ids. Whoever looks for events looks at both.

use super::delivered::{blob, event};
use super::ids::{DestinationId, SessionId};
use posthog_llma_sandbox::bindings::posthog::llm_analytics::types::EventId;
use rusqlite::{Connection, params};
use std::collections::HashSet;

/// The table, and how sessions are found by their id; files of version 1 do not have them.
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

/// Bytes of ids that may wait here, where single sessions are delivered: whoever looks for an event reads them all.
const MOST: i64 = 2000 * 16;

/// A row.
struct Row {
    destination: i64,
    session: i64,
    covered: bool,
    events: Vec<[u8; 16]>,
}

/// Writes a batch down.
pub(super) fn append(
    db: &Connection,
    destination: DestinationId,
    session: SessionId,
    events: impl Iterator<Item = EventId>,
    covered: bool,
) -> rusqlite::Result<()> {
    let events: Vec<u8> = events.flat_map(blob).collect();
    let insert = "INSERT INTO taken (destination, session, covered, events) VALUES (?1, ?2, ?3, ?4)";
    db.prepare(insert)?.execute(params![destination.0, session.0, covered, events]).map(drop)
}

/// All of the session is covered that stands here.
pub(super) fn cover(db: &Connection, session: SessionId) -> rusqlite::Result<()> {
    db.execute("UPDATE taken SET covered = 1 WHERE session = ?1 AND covered = 0", [session.0]).map(drop)
}

/// The rows in their order, each with whether it is covered: by its own batch, or by a later one of its session.
fn rows(db: &Connection) -> rusqlite::Result<Vec<Row>> {
    let mut select = db.prepare("SELECT destination, session, covered, events FROM taken ORDER BY id DESC")?;
    let mut complete = HashSet::new();
    let rows = select.query_map([], |row| {
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

/// Which of these events stand here, unless they are the session's own and not covered.
pub(super) fn known(
    db: &Connection,
    destination: DestinationId,
    session: i64,
    wanted: &[EventId],
) -> rusqlite::Result<HashSet<[u8; 16]>> {
    let rows = rows(db)?;
    let here = rows.iter().filter(|row| row.destination == destination.0 && (row.session != session || row.covered));
    let here: HashSet<[u8; 16]> = here.flat_map(|row| row.events.iter().copied()).collect();
    Ok(wanted.iter().map(|event| blob(*event)).filter(|event| here.contains(event)).collect())
}

/// Events of the session that stand here and are not covered.
pub(super) fn uncovered(db: &Connection, session: SessionId) -> rusqlite::Result<Vec<EventId>> {
    let rows = rows(db)?;
    let open = rows.iter().rev().filter(|row| row.session == session.0 && !row.covered);
    Ok(open.flat_map(|row| row.events.iter().copied().map(event)).collect())
}

/// Have so many gathered that they belong into the table that is searched?
pub(super) fn is_long(db: &Connection) -> rusqlite::Result<bool> {
    let bytes: i64 = db.query_row("SELECT coalesce(sum(length(events)), 0) FROM taken", [], |row| row.get(0))?;
    Ok(bytes > MOST)
}

/// Moves all of it into the table that is searched.
pub(super) fn settle(db: &Connection) -> rusqlite::Result<()> {
    let mut events: Vec<_> = rows(db)?
        .into_iter()
        .rev()
        .flat_map(|Row { destination, session, covered, events }| {
            events.into_iter().map(move |event| (destination, event, session, covered))
        })
        .collect();
    if events.is_empty() {
        return db.execute("DELETE FROM taken", []).map(drop);
    }
    // Stable: of two rows with one event, the first one counts.
    events.sort_by_key(|(destination, event, ..)| (*destination, *event));
    let mut insert = db.prepare(
        "INSERT INTO accepted (destination, event, session, covered) VALUES (?1, ?2, ?3, ?4) ON CONFLICT DO NOTHING",
    )?;
    for (destination, event, session, covered) in events {
        insert.execute(params![destination, event, session, covered])?;
    }
    db.execute("DELETE FROM taken", []).map(drop)
}
