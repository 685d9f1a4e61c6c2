//! What the delivery under way covers, and what is held back of a session.

use super::ids::SessionId;
use super::owed::{OWED, owed};
use super::{Millis, Outbox, OutboxError, Owed, now};
use rusqlite::{OptionalExtension as _, params};

impl Outbox {
    /// What the delivery covers that was begun and has not ended.
    pub fn extent(&self, session: SessionId) -> Result<Option<String>, OutboxError> {
        self.read(|db| {
            let select = "SELECT ends FROM session WHERE id = ?1";
            db.query_row(select, [session.0], |row| row.get(0)).optional().map(Option::flatten)
        })
    }

    /// A delivery begins, and covers this.
    pub fn begin(&mut self, session: SessionId, extent: &str) -> Result<(), OutboxError> {
        self.write(|db| db.execute("UPDATE session SET ends = ?2 WHERE id = ?1", params![session.0, extent]).map(drop))
    }

    /// All of the session was delivered, whatever it was seen first for.
    pub fn delivered_whole(&mut self, session: SessionId) -> Result<(), OutboxError> {
        self.write(|db| db.execute("UPDATE session SET since = NULL WHERE id = ?1", [session.0]).map(drop))
    }

    /// The delivery that was begun has nothing to deliver.
    pub fn abandon(&mut self, session: SessionId) -> Result<(), OutboxError> {
        self.write(|db| db.execute("UPDATE session SET ends = NULL WHERE id = ?1", [session.0]).map(drop))
    }

    /// Something of a session is held back: it is owed, and due then. It goes on running if it does.
    pub fn hold(&mut self, session: SessionId, due_at: Millis) -> Result<(), OutboxError> {
        let now = now();
        self.write(|db| {
            db.execute(
                "UPDATE session SET owed_at = coalesce(owed_at, ?2), due_at = ?3, attempts = 0,
                     turn_at = CASE WHEN running = 1 THEN coalesce(turn_at, ?2) END WHERE id = ?1",
                params![session.0, now, due_at],
            )
            .map(drop)
        })
    }

    /// Does this session run, as far as hooks have told?
    pub fn is_running(&self, session: SessionId) -> Result<bool, OutboxError> {
        self.read(|db| {
            let select = "SELECT running FROM session WHERE id = ?1";
            db.query_row(select, [session.0], |row| row.get(0)).optional().map(Option::unwrap_or_default)
        })
    }

    /// A session by its number, as one that is owed.
    pub fn as_owed(&self, session: SessionId) -> Result<Option<Owed>, OutboxError> {
        self.read(|db| {
            let select = format!("SELECT {OWED} FROM session WHERE id = ?1");
            db.query_row(&select, [session.0], owed).optional()
        })
    }
}
