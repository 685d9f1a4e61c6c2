//! The durable record of what is owed (waiting to be sent) and what was delivered, so that a crash at any point loses
//! nothing and repeats little.
//!
//! PostHog's trace views do not deduplicate, so this record decides what is sent: events count as delivered only after
//! the server answered 200, and they are marked batch by batch. Each destination (an origin and a hash of the key) has
//! its own entries. They hold references to transcripts and event IDs, but no content and no key. Many processes use
//! the record at the same time.

mod additions;
mod bulk;
pub mod decisions;
mod delivered;
mod extents;
mod ids;
mod journal;
mod notes;
mod owed;
mod repair;
mod statements;
pub mod stored_options;
mod summary;

pub use extents::Part;
pub use ids::{DestinationId, SessionId};
pub use notes::{DAMAGED, HOOK, HOOK_FAILURE, HookSettings, Note};
pub use owed::{Backoff, Live, Owed, Sighting, Stored};
pub use summary::{Counts, DestinationSummary, FailedSession, Quarantined, Summary};

#[cfg(test)]
mod tests;

use crate::system::directories;
use bulk::Bulk;
use rusqlite::{Connection, ErrorCode, OpenFlags, TransactionBehavior};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Name of the file in the state directory.
pub const FILE_NAME: &str = "outbox.sqlite";

/// Version of the schema, stored as the file's `user_version`. Version 1 had no journal.
const VERSION: i64 = 2;

/// How long a command waits for other writers. Each holds the file for milliseconds.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// The record.
#[derive(Debug)]
pub struct Outbox {
    db: Connection,
    path: PathBuf,
    /// Set while many sessions are delivered in a row: see [`Outbox::in_bulk`].
    bulk: Option<Bulk>,
}

/// Why the record cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OutboxError {
    /// The environment does not determine the directory.
    #[error("no directory for the delivery record: set HOME or POSTHOG_LLMA_STATE_DIR")]
    NoPlace,
    /// The state directory cannot be created or is not ours.
    #[error("cannot use the state directory {}: {error} (POSTHOG_LLMA_STATE_DIR sets another one)", path.display())]
    Directory {
        /// The directory.
        path: PathBuf,
        /// The reason.
        error: io::Error,
    },
    /// A newer version of this program wrote the record. This version must not guess what it means.
    #[error(
        "{} was written by a newer version of posthog-llma (its format is {found}, this version knows {VERSION}): update this \
         program, or set POSTHOG_LLMA_STATE_DIR to another directory",
        path.display()
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// The file's version.
        found: i64,
    },
    /// The user asked to stop. Everything sent so far is recorded.
    #[error("stopped")]
    Stopped,
    /// The file is not a record, or part of it is missing.
    #[error("{} is damaged: {damage}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// The database's error.
        damage: String,
    },
    /// The record cannot be read or written: no permission, no space, or locked for too long.
    #[error("cannot use {}: {error}", path.display())]
    Unusable {
        /// The file.
        path: PathBuf,
        /// The database's error.
        error: rusqlite::Error,
    },
}

/// Milliseconds since 1970.
pub type Millis = i64;

/// The current time, in milliseconds since 1970.
pub fn now() -> Millis {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(now.as_millis()).unwrap_or(i64::MAX)
}

/// The record's directory, according to this process's environment.
pub fn directory() -> Result<PathBuf, OutboxError> {
    directories::state(|name| std::env::var_os(name)).ok_or(OutboxError::NoPlace)
}

impl Outbox {
    /// Opens the record in this directory and creates both if they are missing. A damaged record is moved aside and its
    /// readable rows are copied over; the second value then reports that.
    pub fn open(directory: &Path, patience: Duration) -> Result<(Self, Option<String>), OutboxError> {
        Self::open_with(directory, patience, Self::open_file)
    }

    /// Like [`open`](Self::open), but reads the whole file to find damage that would only show later. That takes
    /// milliseconds for each MiB, which a hook cannot afford.
    pub fn open_and_check(directory: &Path) -> Result<(Self, Option<String>), OutboxError> {
        Self::open_with(directory, PATIENCE, |path, flags, patience| {
            let outbox = Self::open_file(path, flags, patience)?;
            let found: String = outbox.read(|db| db.query_row("PRAGMA quick_check(1)", [], |row| row.get(0)))?;
            if found == "ok" { Ok(outbox) } else { Err(OutboxError::Damaged { path: path.to_owned(), damage: found }) }
        })
        .and_then(|(mut outbox, warning)| {
            repair::go_on(&mut outbox)?;
            Ok((outbox, warning))
        })
    }

    fn open_with(
        directory: &Path,
        patience: Duration,
        open: impl Fn(&Path, OpenFlags, Duration) -> Result<Self, OutboxError>,
    ) -> Result<(Self, Option<String>), OutboxError> {
        let failed = |error| OutboxError::Directory { path: directory.to_owned(), error };
        if !directory.is_absolute() {
            return Err(failed(io::Error::other("it is not absolute")));
        }
        directories::make_private(directory).map_err(failed)?;
        let path = directory.join(FILE_NAME);
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE;
        match open(&path, flags, patience) {
            Err(OutboxError::Damaged { .. }) => repair::replace(&path, || open(&path, flags, patience)),
            opened => Ok((opened?, None)),
        }
    }

    /// Opens the record to look at it; `None` if there is no record.
    pub fn open_to_read(directory: &Path) -> Result<Option<Self>, OutboxError> {
        let path = directory.join(FILE_NAME);
        match fs::metadata(&path) {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(OutboxError::Directory { path: directory.to_owned(), error }),
        }
        // Not read-only: if a process was killed, its journal must first be applied to the file.
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE;
        match Self::open_file(&path, flags, PATIENCE) {
            Err(OutboxError::Unusable { .. }) => {
                Self::open_file(&path, OpenFlags::SQLITE_OPEN_READ_ONLY, PATIENCE).map(Some)
            }
            opened => opened.map(Some),
        }
    }

    /// Retries on its own: the database's busy timeout does not cover everything that happens while other processes
    /// create the file, or while the last one closes it.
    fn open_file(path: &Path, flags: OpenFlags, patience: Duration) -> Result<Self, OutboxError> {
        let end = Instant::now() + patience;
        loop {
            match Self::try_open_file(path, flags, patience) {
                Err(OutboxError::Unusable { error, .. }) if is_busy(&error) && Instant::now() < end => {
                    std::thread::sleep(Duration::from_millis(3));
                }
                opened => return opened,
            }
        }
    }

    fn try_open_file(path: &Path, flags: OpenFlags, patience: Duration) -> Result<Self, OutboxError> {
        let failed = |error| classify(path, error);
        decisions::check_database_files(path)?;
        let db = Connection::open_with_flags(path, flags | OpenFlags::SQLITE_OPEN_NO_MUTEX).map_err(failed)?;
        db.busy_timeout(patience).map_err(failed)?;
        db.set_prepared_statement_cache_capacity(statements::MOST_KEPT);
        let mut outbox = Self { db, path: path.to_owned(), bulk: None };
        match outbox.version()? {
            VERSION => outbox.add_missing()?,
            1 => outbox.upgrade()?,
            0 => outbox.create()?,
            found => return Err(OutboxError::Newer { path: path.to_owned(), found }),
        }
        Ok(outbox)
    }

    /// Adds what a file from an earlier version of this program lacks.
    fn add_missing(&mut self) -> Result<(), OutboxError> {
        if self.read(additions::has_all)? {
            return Ok(());
        }
        self.write(additions::add_missing).map(drop)
    }

    /// Upgrades a file of version 1 to this version. An older program must not use the file afterward: it would not see
    /// the journal's contents.
    fn upgrade(&mut self) -> Result<(), OutboxError> {
        self.write(|db| {
            additions::add_missing(db)?;
            db.execute_batch(journal::TABLE)?;
            db.pragma_update(None, "user_version", VERSION)
        })
    }

    /// Moves the rows that were written batch by batch into the table that is searched by event.
    pub fn settle(&mut self) -> Result<(), OutboxError> {
        self.write(journal::settle)
    }

    fn version(&self) -> Result<i64, OutboxError> {
        let version = self.db.query_row("PRAGMA user_version", [], |row| row.get(0));
        version.map_err(|error| classify(&self.path, error))
    }

    /// Creates the tables. If several processes try at once, the first one succeeds.
    fn create(&mut self) -> Result<(), OutboxError> {
        // In WAL mode, readers do not wait for a writer, and a commit is a single append. The mode is persistent.
        let wal = self.db.query_row("PRAGMA journal_mode = WAL", [], |_| Ok(()));
        wal.map_err(|error| classify(&self.path, error))?;
        self.write(|db| {
            let version: i64 = db.query_row("PRAGMA user_version", [], |row| row.get(0))?;
            if version == 0 {
                db.execute_batch(include_str!("outbox/schema.sql"))?;
                db.execute_batch(journal::TABLE)?;
                db.pragma_update(None, "user_version", VERSION)?;
            }
            Ok(())
        })
    }

    /// The record's file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Runs one transaction: all or nothing, whatever happens.
    fn write<T>(&mut self, work: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T, OutboxError> {
        let is_sync_due = self.is_sync_due();
        if is_sync_due {
            self.wait_for_disk(true)?;
        }
        // The database polls for its lock with pauses of milliseconds.
        let turn = self.bulk.as_ref().map(|_| bulk::turn());
        let written = self.transact(work);
        drop(turn);
        if is_sync_due {
            self.wait_for_disk(false)?;
        }
        written
    }

    fn transact<T>(&mut self, work: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T, OutboxError> {
        let path = &self.path;
        let db = &mut self.db;
        // Immediate, because a transaction that starts with a read cannot wait for its turn to write.
        let run = || {
            let transaction = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let value = work(&transaction)?;
            transaction.commit()?;
            Ok(value)
        };
        run().map_err(|error| classify(path, error))
    }

    fn read<T>(&self, work: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T, OutboxError> {
        work(&self.db).map_err(|error| classify(&self.path, error))
    }
}

fn is_busy(error: &rusqlite::Error) -> bool {
    matches!(error.sqlite_error_code(), Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked))
}

fn classify(path: &Path, error: rusqlite::Error) -> OutboxError {
    let path = path.to_owned();
    match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
            OutboxError::Damaged { path, damage: error.to_string() }
        }
        // The file lacks tables that its version should have.
        Some(ErrorCode::Unknown) if error.to_string().contains("no such table") => {
            OutboxError::Damaged { path, damage: error.to_string() }
        }
        _ => OutboxError::Unusable { path, error },
    }
}
