//! What the current delivery covers, and which parts of a session are held back.

use super::ids::{DestinationId, SessionId};
use super::owed::{OWED, owed};
use super::statements::Statements as _;
use super::{Millis, Outbox, OutboxError, Owed, journal, now};
use rusqlite::{Connection, OptionalExtension as _, params};
use std::collections::BTreeMap;

/// The part of a session that belongs to a destination; hooks sent the rest elsewhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
pub struct Part {
    /// Anything written earlier is not part of it.
    pub since: Option<Millis>,
    /// Anything written later is not part of it.
    pub until: Millis,
    /// Hooks send the session to this destination again, so what they have seen since is owed, too.
    #[serde(skip)]
    pub goes_on: bool,
}

impl Outbox {
    /// The part of a session that is owed to its destination, if hooks have since sent the session elsewhere, or did
    /// for a while.
    pub fn part(&self, session: SessionId) -> Result<Option<Part>, OutboxError> {
        self.read(|db| {
            let select = "SELECT part, since, seen_at, hooked AND EXISTS (
                     SELECT 1 FROM session AS other WHERE other.session_id = session.session_id
                     AND other.destination <> session.destination AND other.hooked = 1 AND other.seen_at > session.seen_at)
                 FROM session WHERE id = ?1";
            let row = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?));
            let found: Option<(Option<String>, Option<Millis>, Millis, bool)> =
                db.row(select, [session.0], row).optional()?;
            Ok(found.and_then(|(part, since, seen_at, went_on_elsewhere)| {
                let written_down = part.and_then(|part| serde_json::from_str::<Part>(&part).ok());
                let before = written_down.map(|part| Part { goes_on: true, ..part });
                before.or_else(|| went_on_elsewhere.then_some(Part { since, until: seen_at, goes_on: false }))
            }))
        })
    }

    /// Marks the earlier part as delivered; what came after it is owed and due at `due_at`.
    pub fn part_delivered(&mut self, session: SessionId, due_at: Millis) -> Result<(), OutboxError> {
        self.write(|db| db.run("UPDATE session SET part = NULL WHERE id = ?1", [session.0]).map(drop))?;
        self.hold(session, due_at)
    }

    /// Moves what is owed to other destinations to this one, except for what they already have. Returns the number of
    /// sessions.
    pub fn redirect(&mut self, to: DestinationId) -> Result<usize, OutboxError> {
        let now = now();
        self.write(|db| {
            journal::settle(db)?;
            let mut select = db.prepare_cached("SELECT id FROM session WHERE destination <> ?1 AND owed_at IS NOT NULL")?;
            let owed: Vec<i64> = select.query_map([to.0], |row| row.get(0))?.collect::<Result<_, _>>()?;
            for id in &owed {
                let here: i64 = db.row(
                    "INSERT INTO session (destination, transcript, session_id, options, seen_at, hooked, since, project, owed_at)
                     SELECT ?2, transcript, session_id, options, seen_at, hooked, since, project, owed_at
                     FROM session WHERE id = ?1
                     ON CONFLICT DO UPDATE SET owed_at = coalesce(session.owed_at, ?3), since = excluded.since, due_at = 0,
                         failed_at = NULL, attempts = 0
                     RETURNING id",
                    params![id, to.0, now],
                    |row| row.get(0),
                )?;
                // The other destination already has these events and their trace.
                db.run(
                    "INSERT INTO accepted (destination, event, session, covered)
                     SELECT ?2, event, ?3, 1 FROM accepted WHERE session = ?1 ON CONFLICT DO NOTHING",
                    params![id, to.0, here],
                )?;
                add_read(db, here, read_before(db, *id)?)?;
                db.run(
                    "UPDATE session SET owed_at = NULL, turn_at = NULL, failed_at = NULL, running = 0, ends = NULL, part = NULL
                     WHERE id = ?1",
                    [id],
                )?;
            }
            Ok(owed.len())
        })
    }

    /// What the unfinished delivery covers, if there is one.
    pub fn extent(&self, session: SessionId) -> Result<Option<String>, OutboxError> {
        self.read(|db| {
            let select = "SELECT ends FROM session WHERE id = ?1";
            db.row(select, [session.0], |row| row.get(0)).optional().map(Option::flatten)
        })
    }

    /// How many bytes of each file earlier deliveries have read, by path: what the lines there count was sent with them.
    pub fn read_before(&self, session: SessionId) -> Result<BTreeMap<String, u64>, OutboxError> {
        self.read(|db| read_before(db, session.0))
    }

    /// Starts a delivery that covers this extent.
    pub fn begin(&mut self, session: SessionId, extent: &str) -> Result<(), OutboxError> {
        self.write(|db| db.run("UPDATE session SET ends = ?2 WHERE id = ?1", params![session.0, extent]).map(drop))
    }

    /// Marks the whole session as delivered, regardless of the time from which it was to be sent.
    pub fn delivered_whole(&mut self, session: SessionId) -> Result<(), OutboxError> {
        // Nearly always there is no such time, and reading is cheaper than writing.
        let select = "SELECT 1 FROM session WHERE id = ?1 AND (since IS NOT NULL OR part IS NOT NULL)";
        if !self.read(|db| db.prepare_cached(select)?.exists([session.0]))? {
            return Ok(());
        }
        self.write(|db| db.run("UPDATE session SET since = NULL, part = NULL WHERE id = ?1", [session.0]).map(drop))
    }

    /// Ends a delivery that turned out to have nothing to deliver.
    pub fn abandon(&mut self, session: SessionId) -> Result<(), OutboxError> {
        self.write(|db| db.run("UPDATE session SET ends = NULL WHERE id = ?1", [session.0]).map(drop))
    }

    /// Records that part of a session is held back: it is owed and due at `due_at`. A running session stays marked as
    /// running.
    pub fn hold(&mut self, session: SessionId, due_at: Millis) -> Result<(), OutboxError> {
        let now = now();
        self.write(|db| {
            db.run(
                "UPDATE session SET owed_at = coalesce(owed_at, ?2), due_at = ?3, attempts = 0,
                     turn_at = CASE WHEN running = 1 THEN coalesce(turn_at, ?2) END WHERE id = ?1",
                params![session.0, now, due_at],
            )
            .map(drop)
        })
    }

    /// Is this session running, according to the hooks?
    pub fn is_running(&self, session: SessionId) -> Result<bool, OutboxError> {
        self.read(|db| {
            let select = "SELECT running FROM session WHERE id = ?1";
            db.row(select, [session.0], |row| row.get(0)).optional().map(Option::unwrap_or_default)
        })
    }

    /// Looks up a session by its number, in the form of an owed one.
    pub fn as_owed(&self, session: SessionId) -> Result<Option<Owed>, OutboxError> {
        self.read(|db| {
            let select = format!("SELECT {OWED} FROM session WHERE id = ?1");
            db.row(&select, [session.0], owed).optional()
        })
    }
}

/// The current delivery is complete: its `$ai_trace`s cover what it read.
pub(super) fn read_to_its_end(db: &Connection, session: SessionId) -> rusqlite::Result<()> {
    /// An extent, as far as it matters here.
    #[derive(serde::Deserialize)]
    struct Extent {
        ends: BTreeMap<String, u64>,
    }

    let select = "SELECT ends FROM session WHERE id = ?1";
    let extent: Option<String> = db.row(select, [session.0], |row| row.get(0)).optional()?.flatten();
    let extent = extent.and_then(|extent| serde_json::from_str::<Extent>(&extent).ok());
    extent.map_or(Ok(()), |extent| add_read(db, session.0, extent.ends))
}

fn read_before(db: &Connection, session: i64) -> rusqlite::Result<BTreeMap<String, u64>> {
    let select = "SELECT read_before FROM session WHERE id = ?1";
    let text: Option<String> = db.row(select, [session], |row| row.get(0)).optional()?.flatten();
    Ok(text.and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default())
}

/// Records that files were read this far. A file that this delivery did not have keeps what earlier ones read of it.
fn add_read(db: &Connection, session: i64, ends: BTreeMap<String, u64>) -> rusqlite::Result<()> {
    let mut all = read_before(db, session)?;
    for (path, end) in ends {
        let read = all.entry(path).or_default();
        *read = end.max(*read);
    }
    let text = (!all.is_empty()).then(|| serde_json::to_string(&all).unwrap_or_default());
    db.run("UPDATE session SET read_before = ?2 WHERE id = ?1", params![session, text]).map(drop)
}
