//! Which sessions are owed to a destination (waiting to be sent), and when to retry them.

use super::ids::{DestinationId, SessionId, bytes_of, key_hash, path_of};
use super::notes::{HOOK, note};
use super::statements::Statements as _;
use super::{Millis, Outbox, OutboxError, now};
use crate::claude_code::sessions::is_same_session;
use posthog_llma_pipeline::options::ApiKey;
use posthog_llma_pipeline::origin::Origin;
use rusqlite::{Connection, OptionalExtension as _, Row, params};
use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

/// A session as seen by a hook or a command.
#[derive(Debug, Clone)]
pub struct Sighting<'a> {
    /// Its main transcript.
    pub transcript: &'a Path,
    /// Its ID.
    pub session_id: &'a str,
    /// Its conversion options, see [`stored_options`](super::stored_options).
    pub options: &'a str,
    /// The name of its project, if its repository has one. The first name recorded counts.
    pub project: Option<&'a str>,
    /// The hook's event, if a hook saw it.
    pub hook: Option<&'a str>,
    /// When it was seen. Later sightings already in the record take precedence.
    pub at: Millis,
}

/// What the record stores with a session, across all its destinations.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Stored {
    /// Its settings, for each destination.
    pub options: Vec<String>,
    /// The name of its project; empty if its repository has none.
    pub project: Option<String>,
}

/// A session with something to send.
#[derive(Debug, Clone)]
pub struct Owed {
    /// Its number in the record.
    pub id: SessionId,
    /// Its main transcript.
    pub transcript: PathBuf,
    /// Its ID.
    pub session_id: String,
    /// Its conversion options.
    pub options: String,
    /// Since when it has been owed.
    pub owed_at: Millis,
    /// Failed runs that were the session's own fault rather than the server's.
    pub attempts: u32,
    /// The state of its files when all of it was delivered.
    pub delivered_state: Option<String>,
    /// Since when it has had a complete, undelivered turn, if it is still running.
    pub turn_at: Option<Millis>,
    /// Anything written before this time is not sent.
    pub since: Option<Millis>,
}

/// How long to wait between failed runs, and when to give up.
pub struct Backoff;

impl Backoff {
    /// The wait before the second run.
    pub const FIRST: Duration = Duration::from_secs(5);
    /// The longest wait between runs.
    pub const LONGEST: Duration = Duration::from_hours(6);
    /// A session that could not be delivered for this long is given up: it shows as failed until the user acts.
    pub const GIVE_UP: Duration = Duration::from_hours(7 * 24);

    /// The wait after this many failed runs: four times longer each time, plus up to a tenth of jitter, so that many
    /// machines do not retry at the same time.
    pub fn after(attempts: u32) -> Duration {
        let factor = 4_u32.saturating_pow(attempts.saturating_sub(1).min(15));
        let wait = Self::FIRST.saturating_mul(factor).min(Self::LONGEST);
        let chance = RandomState::new().build_hasher().finish() % 1024;
        wait + wait.mul_f64(chance as f64 / 10_240.0)
    }
}

/// When to deliver what a session has so far, while it is running or continues after its end.
pub struct Live;

impl Live {
    /// A session with no writes for this long is quiet.
    pub const QUIET: Duration = Duration::from_mins(2);
    /// A turn is delivered after this long even if the session is never quiet.
    pub const LONGEST: Duration = Duration::from_mins(10);
    /// How long an ended session's files are watched: agents can outlive it.
    pub const LOOKED_AT: Duration = Duration::from_hours(7 * 24);

    /// When a turn that was complete at `turn_at` is due, given the session's last write.
    pub fn due(written_at: Millis, turn_at: Millis) -> Millis {
        let millis = |time: Duration| time.as_millis() as Millis;
        (written_at + millis(Self::QUIET)).min(turn_at + millis(Self::LONGEST))
    }
}

/// The wait after a number of failed runs, in milliseconds.
fn backoff(attempts: u32) -> Millis {
    Backoff::after(attempts).as_millis() as Millis
}

/// How long before its first hook a new session may have been written to.
const JUST_NOW: Duration = Duration::from_secs(10);

/// The hook event at the start of a session.
const SESSION_START: &str = "SessionStart";

/// A client: its process ID and its start time.
pub type ClientProcess = (u32, u64);

impl Outbox {
    /// The destination's number.
    pub fn destination(&mut self, origin: &Origin, key: &ApiKey) -> Result<DestinationId, OutboxError> {
        let (origin, hash) = (origin.to_string(), key_hash(key));
        if let Some(id) = self.read(|db| destination_id(db, &origin, &hash))? {
            return Ok(DestinationId(id));
        }
        self.write(|db| {
            let insert = "INSERT INTO destination (origin, key_hash) VALUES (?1, ?2) ON CONFLICT DO NOTHING";
            db.run(insert, [&origin, &hash])?;
            Ok(DestinationId(destination_id(db, &origin, &hash)?.unwrap_or_default()))
        })
    }

    /// Records that the session is running, in this client process.
    pub fn runs(
        &mut self,
        destination: DestinationId,
        sighting: &Sighting<'_>,
        client: Option<(u32, u64)>,
    ) -> Result<SessionId, OutboxError> {
        let (pid, started) = client.unzip();
        self.write(|db| {
            if let Some(known) = seen_since(db, destination, sighting)? {
                return Ok(known);
            }
            let id = see(db, destination, sighting)?;
            let update = "UPDATE session SET running = 1, client_pid = ?2, client_started = ?3 WHERE id = ?1";
            db.run(update, params![id, pid, started.map(u64::cast_signed)])?;
            Ok(SessionId(id))
        })
    }

    /// Records that the session has ended: what is new in it is owed from now on and due at `due_at`.
    pub fn owe(
        &mut self,
        destination: DestinationId,
        sighting: &Sighting<'_>,
        due_at: Millis,
    ) -> Result<SessionId, OutboxError> {
        self.write(|db| {
            if let Some(known) = seen_since(db, destination, sighting)? {
                return Ok(known);
            }
            let id = see(db, destination, sighting)?;
            owe(db, SessionId(id), due_at)?;
            Ok(SessionId(id))
        })
    }

    /// Records that a running session has a complete turn: its complete part is owed, and due once the session has been
    /// quiet for a while. The session stays marked as running.
    pub fn turn_ended(
        &mut self,
        destination: DestinationId,
        sighting: &Sighting<'_>,
        client: Option<(u32, u64)>,
    ) -> Result<SessionId, OutboxError> {
        let known = self.runs(destination, sighting, client)?;
        let due = |turn_at: Millis| Live::due(sighting.at, turn_at);
        self.write(|db| {
            let select = "SELECT coalesce(turn_at, ?2), running FROM session WHERE id = ?1";
            let (turn_at, running): (Millis, bool) =
                db.row(select, params![known.0, sighting.at], |row| Ok((row.get(0)?, row.get(1)?)))?;
            // The session's end was reported first.
            if !running {
                return Ok(known);
            }
            db.run(
                "UPDATE session SET turn_at = ?2, owed_at = coalesce(owed_at, ?3), due_at = ?4 WHERE id = ?1",
                params![known.0, turn_at, sighting.at, due(turn_at)],
            )?;
            Ok(known)
        })
    }

    /// Postpones delivering a turn, because the session is not quiet yet.
    pub fn postpone(&mut self, session: SessionId, due_at: Millis) -> Result<(), OutboxError> {
        self.write(|db| db.run("UPDATE session SET due_at = ?2 WHERE id = ?1", params![session.0, due_at]).map(drop))
    }

    /// Ended sessions that hooks saw and that were delivered recently: what is written to them later is owed, too.
    pub fn ended_lately(&self, destination: DestinationId) -> Result<Vec<Owed>, OutboxError> {
        let since = now() - Live::LOOKED_AT.as_millis() as Millis;
        self.read(|db| {
            let select = format!(
                "SELECT {OWED} FROM session WHERE destination = ?1 AND hooked = 1 AND running = 0 AND owed_at IS NULL
                     AND failed_at IS NULL AND delivered_at >= ?2"
            );
            let mut select = db.prepare_cached(&select)?;
            let rows = select.query_map(params![destination.0, since], owed)?;
            rows.collect()
        })
    }

    /// Records a session that a command sends itself. This does not make it owed, and does not replace the project's
    /// settings if a hook recorded them.
    pub fn see(&mut self, destination: DestinationId, sighting: &Sighting<'_>) -> Result<SessionId, OutboxError> {
        if let Some(known) = self.session(destination, sighting.transcript)? {
            return Ok(known);
        }
        self.write(|db| see(db, destination, sighting).map(SessionId))
    }

    /// The session's number by its main transcript, if the session is known.
    pub fn session(&self, destination: DestinationId, transcript: &Path) -> Result<Option<SessionId>, OutboxError> {
        self.read(|db| {
            let key = key(db, destination, transcript)?;
            let select = "SELECT id FROM session WHERE destination = ?1 AND transcript = ?2";
            db.row(select, params![destination.0, bytes_of(&key)], |row| row.get(0).map(SessionId)).optional()
        })
    }

    /// What the record stores with a session.
    pub fn stored(&self, transcript: &Path) -> Result<Stored, OutboxError> {
        self.read(|db| {
            // Query by the leading columns of the indexes: there may be thousands of sessions, and this runs for each.
            let mut select = db.prepare_cached(
                "SELECT options, project, transcript FROM session
                 WHERE (destination IN (SELECT id FROM destination) AND transcript = ?1) OR session_id = ?2 ORDER BY id",
            )?;
            let row = |row: &Row<'_>| Ok((row.get(0)?, row.get(1)?, path_of(row.get(2)?)));
            let rows = select.query_map(params![bytes_of(transcript), id_of(transcript)], row)?;
            let mut stored = Stored::default();
            for row in rows {
                let (options, project, other): (String, Option<String>, PathBuf) = row?;
                if is_same_session(transcript, &other) {
                    stored.options.push(options);
                    stored.project = stored.project.or(project);
                }
            }
            Ok(stored)
        })
    }

    /// Drops a session that must not be sent: it is no longer owed.
    pub fn forgo(&mut self, session: SessionId) -> Result<(), OutboxError> {
        self.write(|db| {
            let update = "UPDATE session SET running = 0, client_pid = NULL, client_started = NULL, owed_at = NULL, failed_at = NULL,
                              ends = NULL, part = NULL WHERE id = ?1";
            db.run(update, [session.0]).map(drop)
        })
    }

    /// Is this session owed?
    pub fn is_owed(&self, session: SessionId) -> Result<bool, OutboxError> {
        self.read(|db| {
            let select = "SELECT owed_at IS NOT NULL FROM session WHERE id = ?1";
            db.row(select, [session.0], |row| row.get(0)).optional().map(|owed| owed.unwrap_or(false))
        })
    }

    /// Makes a known session owed because its client is gone or its files have grown.
    pub fn owe_again(&mut self, session: SessionId, due_at: Millis) -> Result<(), OutboxError> {
        self.write(|db| owe(db, session, due_at))
    }

    /// Makes a session owed because its files have grown since the delivery in `seen`, unless another process has
    /// delivered it in the meantime.
    pub fn owe_what_grew(&mut self, seen: &Owed, due_at: Millis) -> Result<(), OutboxError> {
        self.write(|db| {
            let select = "SELECT 1 FROM session WHERE id = ?1 AND delivered_state IS ?2";
            if db.prepare_cached(select)?.exists(params![seen.id.0, seen.delivered_state])? {
                owe(db, seen.id, due_at)?;
            }
            Ok(())
        })
    }

    /// Sessions that were seen running and have nothing owed yet, with the client's process.
    #[expect(clippy::type_complexity, reason = "rows, used once")]
    pub fn running(&self, destination: DestinationId) -> Result<Vec<(Owed, Option<(u32, u64)>)>, OutboxError> {
        self.read(|db| {
            let select = format!(
                "SELECT {OWED}, client_pid, client_started FROM session WHERE destination = ?1 AND running = 1"
            );
            let mut select = db.prepare_cached(&select)?;
            let rows = select.query_map([destination.0], |row| {
                let client = row.get::<_, Option<u32>>(9)?.zip(row.get::<_, Option<i64>>(10)?);
                Ok((owed(row)?, client.map(|(pid, started)| (pid, started.cast_unsigned()))))
            })?;
            rows.collect()
        })
    }

    /// IDs of sessions that were seen running, for any destination, with their clients' processes.
    pub fn clients(&self) -> Result<Vec<(String, ClientProcess)>, OutboxError> {
        self.read(|db| {
            let mut select = db.prepare_cached(
                "SELECT session_id, client_pid, client_started FROM session WHERE running = 1 AND client_pid IS NOT NULL
                     AND client_started IS NOT NULL",
            )?;
            let rows =
                select.query_map([], |row| Ok((row.get(0)?, (row.get(1)?, row.get::<_, i64>(2)?.cast_unsigned()))))?;
            rows.collect()
        })
    }

    /// Records that a session is no longer running and has nothing new.
    pub fn ended_quietly(&mut self, session: SessionId) -> Result<(), OutboxError> {
        self.write(|db| {
            let update = "UPDATE session SET running = 0, client_pid = NULL, client_started = NULL, turn_at = NULL WHERE id = ?1";
            db.run(update, [session.0]).map(drop)
        })
    }

    /// The sessions owed to a destination, oldest first. `all` includes those that are not due yet. Sessions that were
    /// given up are never included.
    pub fn owed(&self, destination: DestinationId, all: bool) -> Result<Vec<Owed>, OutboxError> {
        let due = if all { Millis::MAX } else { now() };
        self.read(|db| {
            let select = format!(
                "SELECT {OWED} FROM session WHERE destination = ?1 AND owed_at IS NOT NULL AND failed_at IS NULL AND due_at <= ?2
                 ORDER BY owed_at, id"
            );
            let mut select = db.prepare_cached(&select)?;
            let rows = select.query_map(params![destination.0, due], owed)?;
            rows.collect()
        })
    }

    /// When the next owed session is due.
    pub fn next_due(&self, destination: DestinationId) -> Result<Option<Millis>, OutboxError> {
        self.read(|db| {
            let select =
                "SELECT min(due_at) FROM session WHERE destination = ?1 AND owed_at IS NOT NULL AND failed_at IS NULL";
            db.row(select, [destination.0], |row| row.get(0))
        })
    }

    /// When the next owed session that has not failed is due.
    pub fn next_untried(&self, destination: DestinationId) -> Result<Option<Millis>, OutboxError> {
        self.read(|db| {
            let select =
                "SELECT min(due_at) FROM session WHERE destination = ?1 AND owed_at IS NOT NULL AND failed_at IS NULL
                 AND attempts = 0";
            db.row(select, [destination.0], |row| row.get(0))
        })
    }

    /// When the destination may be tried again: by our own back-off, and by what the server asked for.
    pub fn destination_due(&self, destination: DestinationId) -> Result<(Millis, Millis), OutboxError> {
        self.read(|db| {
            let select = "SELECT max(due_at, asked_until), asked_until FROM destination WHERE id = ?1";
            db.row(select, [destination.0], |row| Ok((row.get(0)?, row.get(1)?)))
        })
    }

    /// Records a run in which the server accepted nothing. `refused` means that only the user can fix it.
    pub fn server_failed(
        &mut self,
        destination: DestinationId,
        error: &str,
        refused: bool,
        retry_after: Option<Duration>,
    ) -> Result<(), OutboxError> {
        let now = now();
        let asked = retry_after.map_or(0, |wait| now.saturating_add(wait.as_millis() as Millis));
        self.write(|db| {
            let select = "SELECT attempts FROM destination WHERE id = ?1";
            let attempts: u32 = db.row(select, [destination.0], |row| row.get(0))?;
            let attempts = attempts.saturating_add(1);
            let due = now.saturating_add(backoff(attempts));
            db.run(
                "UPDATE destination SET attempts = ?2, last_error = ?3, refused = ?4, failed_at = ?5, due_at = ?6,
                     asked_until = ?7 WHERE id = ?1",
                params![destination.0, attempts, error, refused, now, due, asked],
            )?;
            give_up(db, destination, now, error)
        })
    }

    /// Records that a session failed for its own reasons: its files cannot be read, or the component failed on them.
    pub fn session_failed(&mut self, session: SessionId, error: &str) -> Result<(), OutboxError> {
        let now = now();
        self.write(|db| {
            let select = "SELECT attempts, owed_at FROM session WHERE id = ?1";
            let (attempts, owed_at): (u32, Option<Millis>) =
                db.row(select, [session.0], |row| Ok((row.get(0)?, row.get(1)?)))?;
            let attempts = attempts.saturating_add(1);
            let failed = owed_at.is_some_and(|owed| is_over(owed, now)).then_some(now);
            let due = now.saturating_add(backoff(attempts));
            let update = "UPDATE session SET attempts = ?2, last_error = ?3, due_at = ?4, failed_at = ?5 WHERE id = ?1";
            db.run(update, params![session.0, attempts, error, due, failed]).map(drop)
        })
    }

    /// Gives up a session for which another attempt won't help: the transcript is gone.
    pub fn give_up(&mut self, session: SessionId, error: &str) -> Result<(), OutboxError> {
        self.write(|db| {
            let update = "UPDATE session SET last_error = ?2, failed_at = ?3, running = 0 WHERE id = ?1";
            db.run(update, params![session.0, error, now()]).map(drop)
        })
    }

    /// Makes the sessions that were given up owed again, as if they had ended now.
    pub fn retry_failed(&mut self, destination: DestinationId) -> Result<usize, OutboxError> {
        self.write(|db| {
            db.run(
                "UPDATE session SET failed_at = NULL, attempts = 0, due_at = 0, owed_at = ?2
                 WHERE destination = ?1 AND failed_at IS NOT NULL",
                params![destination.0, now()],
            )
        })
    }
}

/// The columns for [`Owed`].
pub(super) const OWED: &str =
    "id, transcript, session_id, options, coalesce(owed_at, 0), attempts, delivered_state, turn_at, since";

pub(super) fn owed(row: &Row<'_>) -> rusqlite::Result<Owed> {
    Ok(Owed {
        id: SessionId(row.get(0)?),
        transcript: path_of(row.get(1)?),
        session_id: row.get(2)?,
        options: row.get(3)?,
        owed_at: row.get(4)?,
        attempts: row.get(5)?,
        delivered_state: row.get(6)?,
        turn_at: row.get(7)?,
        since: row.get(8)?,
    })
}

/// The session, if it was seen at this time or later: the hook already recorded what its worker records again, or the
/// session's next hook was faster than the worker of the previous one.
fn seen_since(
    db: &Connection,
    destination: DestinationId,
    sighting: &Sighting<'_>,
) -> rusqlite::Result<Option<SessionId>> {
    let select = "SELECT id FROM session WHERE destination = ?1 AND transcript = ?2 AND seen_at >= ?3";
    let known = params![destination.0, bytes_of(&key(db, destination, sighting.transcript)?), sighting.at];
    db.row(select, known, |row| row.get(0).map(SessionId)).optional()
}

/// The main transcript under which this transcript's session is recorded: after `/cd` it has several.
fn key(db: &Connection, destination: DestinationId, transcript: &Path) -> rusqlite::Result<PathBuf> {
    let mut select = db.prepare_cached(
        "SELECT transcript FROM session
         WHERE (destination = ?1 AND transcript = ?2) OR (+destination = ?1 AND session_id = ?3)
         ORDER BY transcript <> ?2, id",
    )?;
    let of_id = params![destination.0, bytes_of(transcript), id_of(transcript)];
    let known = select.query_map(of_id, |row| row.get(0).map(path_of))?;
    for known in known {
        let known = known?;
        if is_same_session(transcript, &known) {
            return Ok(known);
        }
    }
    Ok(transcript.to_owned())
}

/// The session ID in a main transcript's name.
fn id_of(transcript: &Path) -> String {
    transcript.file_stem().unwrap_or_default().to_string_lossy().into_owned()
}

fn see(db: &Connection, destination: DestinationId, sighting: &Sighting<'_>) -> rusqlite::Result<i64> {
    if let Some(event) = sighting.hook {
        note(db, HOOK, event)?;
    }
    let key = key(db, destination, sighting.transcript)?;
    // Until this time, hooks sent the session elsewhere.
    let elsewhere: Option<Millis> = match sighting.hook {
        Some(_) => seen_elsewhere(db, destination, sighting.transcript)?,
        None => None,
    };
    // The session is resumed and ran before hooks sent it.
    let resumed = sighting.hook == Some(SESSION_START) && was_written_before(sighting.transcript, sighting.at);
    let since = elsewhere.max(Some(sighting.at).filter(|_| resumed));
    db.row(
        "INSERT INTO session (destination, transcript, session_id, options, seen_at, hooked, since, project)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?9)
         ON CONFLICT DO UPDATE SET session_id = excluded.session_id, options = excluded.options, seen_at = excluded.seen_at,
             hooked = max(hooked, excluded.hooked), project = coalesce(project, excluded.project),
             part = CASE WHEN ?8 > session.seen_at AND session.owed_at IS NOT NULL AND session.part IS NULL
                 THEN json_object('since', session.since, 'until', session.seen_at) ELSE session.part END,
             since = CASE WHEN ?8 > session.seen_at AND (session.owed_at IS NULL OR session.part IS NULL)
                 THEN ?8 ELSE session.since END
         RETURNING id",
        params![
            destination.0,
            bytes_of(&key),
            sighting.session_id,
            sighting.options,
            sighting.at,
            sighting.hook.is_some(),
            since,
            elsewhere,
            sighting.project
        ],
        |row| row.get(0),
    )
}

/// Was this transcript written to some time ago? One that was written to just now is a new session.
fn was_written_before(transcript: &Path, at: Millis) -> bool {
    let modified = transcript.metadata().and_then(|metadata| metadata.modified()).ok();
    let modified = modified.and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    modified.is_some_and(|time| at.saturating_sub(time.as_millis() as Millis) > JUST_NOW.as_millis() as Millis)
}

/// When a hook that sends to another destination last saw the session.
fn seen_elsewhere(db: &Connection, destination: DestinationId, transcript: &Path) -> rusqlite::Result<Option<Millis>> {
    let mut select = db.prepare_cached(
        "SELECT seen_at, transcript FROM session
         WHERE ((destination IN (SELECT id FROM destination) AND transcript = ?2) OR session_id = ?3)
             AND +destination <> ?1 AND hooked = 1",
    )?;
    let of_id = params![destination.0, bytes_of(transcript), id_of(transcript)];
    let rows = select.query_map(of_id, |row| Ok((row.get(0)?, path_of(row.get(1)?))))?;
    let mut latest = None;
    for row in rows {
        let (seen_at, other): (Millis, PathBuf) = row?;
        if is_same_session(transcript, &other) {
            latest = latest.max(Some(seen_at));
        }
    }
    Ok(latest)
}

fn owe(db: &Connection, session: SessionId, due_at: Millis) -> rusqlite::Result<()> {
    // An owed session keeps its age; one that was given up starts over.
    db.run(
        "UPDATE session SET running = 0, client_pid = NULL, client_started = NULL, turn_at = NULL, due_at = ?3, attempts = 0,
             owed_at = CASE WHEN owed_at IS NULL OR failed_at IS NOT NULL THEN ?2 ELSE owed_at END, failed_at = NULL
         WHERE id = ?1",
        params![session.0, now(), due_at],
    )
    .map(drop)
}

/// Gives up sessions that have been owed for too long to a failing server.
fn give_up(db: &Connection, destination: DestinationId, now: Millis, error: &str) -> rusqlite::Result<()> {
    let oldest = now - Backoff::GIVE_UP.as_millis() as Millis;
    db.run(
        "UPDATE session SET failed_at = ?2, last_error = ?3 WHERE destination = ?1 AND owed_at < ?4 AND failed_at IS NULL",
        params![destination.0, now, error, oldest],
    )
    .map(drop)
}

fn is_over(owed_at: Millis, now: Millis) -> bool {
    now.saturating_sub(owed_at) > Backoff::GIVE_UP.as_millis() as Millis
}

fn destination_id(db: &Connection, origin: &str, hash: &str) -> rusqlite::Result<Option<i64>> {
    let mut select = db.prepare_cached("SELECT id FROM destination WHERE origin = ?1 AND key_hash = ?2")?;
    select.query_row([origin, hash], |row| row.get(0)).optional()
}
