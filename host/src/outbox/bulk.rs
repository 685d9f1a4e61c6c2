//! Many sessions delivered in a row, by one run that holds the lock for that.

use super::ids::SessionId;
use super::{Outbox, OutboxError};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Pages in the write-ahead log before a checkpoint: 16 MiB.
const LOG_PAGES: u32 = 4000;

/// How often a run waits for the disk. Each wait takes milliseconds, as long as a small session does. A killed process
/// loses nothing in between, because the system has the data; a machine that loses power sends at most this much again.
const SYNC_EVERY: Duration = Duration::from_millis(200);

/// Waits until no other thread of this process writes to a record in bulk.
pub(super) fn turn() -> MutexGuard<'static, ()> {
    static WRITING: Mutex<()> = Mutex::new(());
    WRITING.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What a connection knows about the run.
#[derive(Debug)]
pub(super) struct Bulk {
    pub(super) synced: Instant,
    /// The session that is being delivered, and its first row in the journal.
    current: Option<(SessionId, i64)>,
}

impl Bulk {
    /// The first row in the journal that may be of this session: the run has delivered it from the beginning.
    pub(super) fn first_row(&self, session: SessionId) -> i64 {
        self.current.filter(|(current, _)| *current == session).map_or(i64::MAX, |(_, row)| row)
    }

    /// Remembers a row of this session.
    pub(super) fn appended(&mut self, session: SessionId, row: i64) {
        // Rows are numbered from 1 again after another process has moved them all.
        if self.first_row(session) > row {
            self.current = Some((session, row));
        }
    }
}

impl Outbox {
    /// For a run that delivers many sessions and holds the lock for that. The run knows what it has delivered itself,
    /// so it only looks up what was there before, and sorts its own rows in at the end ([`Outbox::end_bulk`]).
    pub fn in_bulk(mut self) -> Result<Self, OutboxError> {
        self.settle()?;
        self.read(|db| db.pragma_update(None, "wal_autocheckpoint", LOG_PAGES))?;
        self.wait_for_disk(false)?;
        self.bulk = Some(Bulk { synced: Instant::now(), current: None });
        Ok(self)
    }

    /// Ends the bulk delivery.
    pub fn end_bulk(&mut self) -> Result<(), OutboxError> {
        self.bulk = None;
        self.wait_for_disk(true)?;
        self.settle()
    }

    /// Is it time for a transaction that waits for the disk? It takes those before it to the disk, too.
    pub(super) fn is_sync_due(&self) -> bool {
        self.bulk.as_ref().is_some_and(|bulk| bulk.synced.elapsed() >= SYNC_EVERY)
    }

    /// The transactions of this connection wait for the disk from now on, or not.
    pub(super) fn wait_for_disk(&mut self, wait: bool) -> Result<(), OutboxError> {
        if let Some(bulk) = self.bulk.as_mut().filter(|_| !wait) {
            bulk.synced = Instant::now();
        }
        self.read(|db| db.pragma_update(None, "synchronous", if wait { "FULL" } else { "NORMAL" }))
    }

    /// The first row in the journal that may be of this session.
    pub(super) fn first_row(&self, session: SessionId) -> i64 {
        self.bulk.as_ref().map_or(0, |bulk| bulk.first_row(session))
    }
}
