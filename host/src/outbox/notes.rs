//! Notes: what the record says of itself and of the last hook, by name.

use super::{Millis, Outbox, OutboxError, now};
use rusqlite::{Connection, OptionalExtension as _, params};

/// Something that was noted, and when.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Note {
    /// What.
    pub text: String,
    /// When.
    pub at: Millis,
}

/// Name of the note of the last hook: its text is the event's name.
pub const HOOK: &str = "hook";
/// Name of the note of why a hook could do nothing. The next hook that can drops it.
pub const HOOK_FAILURE: &str = "hook-failure";
/// Name of the note of a damaged record that was replaced.
pub const DAMAGED: &str = "damaged";

pub(super) fn note(db: &Connection, name: &str, text: &str) -> rusqlite::Result<()> {
    let insert = "INSERT INTO note (name, text, at) VALUES (?1, ?2, ?3)
                  ON CONFLICT DO UPDATE SET text = excluded.text, at = excluded.at";
    db.execute(insert, params![name, text, now()]).map(drop)
}

impl Outbox {
    /// Takes a note, in place of an earlier one of this name.
    pub fn note(&mut self, name: &str, text: &str) -> Result<(), OutboxError> {
        self.write(|db| note(db, name, text))
    }

    /// Drops a note.
    pub fn unnote(&mut self, name: &str) -> Result<(), OutboxError> {
        self.write(|db| db.execute("DELETE FROM note WHERE name = ?1", [name]).map(drop))
    }

    /// The note of this name.
    pub fn noted(&self, name: &str) -> Result<Option<Note>, OutboxError> {
        self.read(|db| {
            let select = "SELECT text, at FROM note WHERE name = ?1";
            db.query_row(select, [name], |row| Ok(Note { text: row.get(0)?, at: row.get(1)? })).optional()
        })
    }
}
