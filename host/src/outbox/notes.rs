//! Notes: what the record says of itself and of the last hook, by name.

use super::{DestinationId, Millis, Outbox, OutboxError, now};
use posthog_llma_pipeline::origin::Origin;
use posthog_llma_sandbox::bindings::posthog::llm_analytics::types::{ConversionReport, NamedCount};
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

/// Name of the note of what the last hook was given.
const HOOK_SETTINGS: &str = "hook-settings";

/// What the last hook was given: a terminal may lack it.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct HookSettings {
    destination: i64,
    /// Where it sends to.
    pub origin: String,
    /// The names of the variables in its environment.
    pub variables: Vec<String>,
}

impl HookSettings {
    /// The destination's number.
    pub fn destination(&self) -> DestinationId {
        DestinationId(self.destination)
    }
}

pub(super) fn note(db: &Connection, name: &str, text: &str) -> rusqlite::Result<()> {
    let insert = "INSERT INTO note (name, text, at) VALUES (?1, ?2, ?3)
                  ON CONFLICT DO UPDATE SET text = excluded.text, at = excluded.at";
    db.execute(insert, params![name, text, now()]).map(drop)
}

/// What the names of notes begin with that count what a rule has replaced; so the component's report names them, too.
const REDACTED: &str = "redacted:";

/// How often each rule has replaced something, in the order of their names.
pub(super) fn redactions(db: &Connection) -> rusqlite::Result<Vec<(String, u64)>> {
    let mut select =
        db.prepare("SELECT substr(name, 10), text FROM note WHERE name GLOB 'redacted:*' ORDER BY name")?;
    let rows = select.query_map([], |row| Ok((row.get(0)?, row.get::<_, String>(1)?.parse().unwrap_or(0))))?;
    rows.collect()
}

impl Outbox {
    /// Adds what was replaced in a session that is delivered now.
    pub fn count_redactions(&mut self, report: &ConversionReport) -> Result<(), OutboxError> {
        let counts: Vec<_> = report.other_counts.iter().filter(|count| count.name.starts_with(REDACTED)).collect();
        if counts.is_empty() {
            return Ok(());
        }
        let now = now();
        self.write(|db| {
            let mut insert = db.prepare(
                "INSERT INTO note (name, text, at) VALUES (?1, ?2, ?3)
                 ON CONFLICT DO UPDATE SET text = CAST(text AS INTEGER) + CAST(excluded.text AS INTEGER), at = excluded.at",
            )?;
            for NamedCount { name, count } in counts {
                insert.execute(params![name, count.to_string(), now])?;
            }
            Ok(())
        })
    }

    /// Takes a note, in place of an earlier one of this name.
    pub fn note(&mut self, name: &str, text: &str) -> Result<(), OutboxError> {
        self.write(|db| note(db, name, text))
    }

    /// Takes a note of what a hook was given: names, no values.
    pub fn note_hook_settings(
        &mut self,
        destination: DestinationId,
        origin: &Origin,
        variables: Vec<String>,
    ) -> Result<(), OutboxError> {
        let settings = HookSettings { destination: destination.0, origin: origin.to_string(), variables };
        let text = serde_json::to_string(&settings).unwrap_or_default();
        if self.noted(HOOK_SETTINGS)?.is_some_and(|note| note.text == text) {
            return Ok(());
        }
        self.note(HOOK_SETTINGS, &text)
    }

    /// What the last hook was given that could send.
    pub fn hook_settings(&self) -> Result<Option<HookSettings>, OutboxError> {
        Ok(self.noted(HOOK_SETTINGS)?.and_then(|note| serde_json::from_str(&note.text).ok()))
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
