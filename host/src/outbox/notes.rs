//! Named notes about the record itself and the last hook.

use super::{DestinationId, Millis, Outbox, OutboxError, now};
use posthog_llma_pipeline::origin::Origin;
use posthog_llma_sandbox::bindings::posthog::llm_analytics::types::{ConversionReport, NamedCount};
use rusqlite::{Connection, OptionalExtension as _, params};

/// A note and its time.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Note {
    /// The note's text.
    pub text: String,
    /// When it was taken.
    pub at: Millis,
}

/// Name of the note about the last hook; its text is the event's name.
pub const HOOK: &str = "hook";
/// Name of the note about why a hook failed. The next hook that succeeds removes it.
pub const HOOK_FAILURE: &str = "hook-failure";
/// Name of the note about a damaged record that was replaced.
pub const DAMAGED: &str = "damaged";

/// Name of the note about the last hook's settings.
const HOOK_SETTINGS: &str = "hook-settings";

/// The last hook's settings, which a terminal may lack.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct HookSettings {
    destination: i64,
    /// The origin it sends to.
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

/// Name prefix of the notes that count a rule's replacements. The component's report uses the same names.
const REDACTED: &str = "redacted:";

/// How often each rule has replaced something, sorted by the rule's name.
pub(super) fn redactions(db: &Connection) -> rusqlite::Result<Vec<(String, u64)>> {
    let mut select =
        db.prepare("SELECT substr(name, 10), text FROM note WHERE name GLOB 'redacted:*' ORDER BY name")?;
    let rows = select.query_map([], |row| Ok((row.get(0)?, row.get::<_, String>(1)?.parse().unwrap_or(0))))?;
    rows.collect()
}

impl Outbox {
    /// Adds the replacements in a session that is being delivered.
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

    /// Stores a note, replacing an earlier one of this name.
    pub fn note(&mut self, name: &str, text: &str) -> Result<(), OutboxError> {
        self.write(|db| note(db, name, text))
    }

    /// Stores a note of a hook's settings: variable names, no values.
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

    /// The settings of the last hook that could send.
    pub fn hook_settings(&self) -> Result<Option<HookSettings>, OutboxError> {
        Ok(self.noted(HOOK_SETTINGS)?.and_then(|note| serde_json::from_str(&note.text).ok()))
    }

    /// Removes a note.
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
