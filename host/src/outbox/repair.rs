//! Moves a damaged record aside and copies its readable rows: losing them would mean sending everything again.

use super::notes::DAMAGED;
use super::{Outbox, OutboxError, now};
use crate::system::regular;
use rusqlite::{Connection, OpenFlags};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Tables whose rows are copied, in the order of their references.
const TABLES: [&str; 7] = ["destination", "session", "accepted", "taken", "quarantined", "unknown_type", "note"];

/// Moves the damaged file aside and opens a new one. If several processes find the damage, only one does this.
pub(super) fn replace(
    path: &Path,
    open: impl Fn() -> Result<Outbox, OutboxError>,
) -> Result<(Outbox, Option<String>), OutboxError> {
    let failed = |error: io::Error| OutboxError::Directory { path: path.to_owned(), error };
    let lock = regular::open_lock(&path.with_extension("repair")).map_err(failed)?;
    lock.lock().map_err(failed)?;
    // Another process may have been faster.
    let damage = match open() {
        Err(OutboxError::Damaged { damage, .. }) => damage,
        opened => return Ok((opened?, None)),
    };
    let aside = path.with_extension(format!("damaged-{}", now()));
    fs::rename(path, &aside).map_err(failed)?;
    for journal in ["-wal", "-shm"] {
        match fs::rename(with_suffix(path, journal), with_suffix(&aside, journal)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
            _ => {}
        }
    }
    let mut outbox = open()?;
    // Noted first, so that it is known even if this process is killed.
    outbox.note(DAMAGED, &format!("the delivery record was damaged ({damage}): it is kept as {}", aside.display()))?;
    let rows = salvage(&aside, &mut outbox);
    let note = format!(
        "the delivery record was damaged ({damage}): it is kept as {}, and {rows} rows of it were recovered. A \
         session that is missing from them is sent again if it ends again",
        aside.display()
    );
    outbox.note(DAMAGED, &note)?;
    Ok((outbox, Some(note)))
}

/// Finishes a replacement whose process was killed midway, as a hook may be: copies the rows of the file that was moved
/// aside, and reports that.
pub(super) fn go_on(outbox: &mut Outbox) -> Result<(), OutboxError> {
    if outbox.noted(DAMAGED)?.is_some() {
        return Ok(());
    }
    let Some(stem) = outbox.path().file_stem().map(|stem| format!("{}.damaged-", stem.to_string_lossy())) else {
        return Ok(());
    };
    let folder = outbox.path().parent().and_then(|folder| fs::read_dir(folder).ok()).into_iter().flatten().flatten();
    let number = |name: &str| name.strip_prefix(&stem)?.parse::<u64>().ok();
    let named = folder.filter_map(|entry| Some((number(entry.file_name().to_str()?)?, entry.path())));
    let Some((_, aside)) = named.max() else { return Ok(()) };
    let rows = salvage(&aside, outbox);
    outbox.note(
        DAMAGED,
        &format!(
            "the delivery record was damaged: it is kept as {}, and {rows} rows of it were recovered",
            aside.display()
        ),
    )
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// Copies the rows that can still be read and returns their number.
fn salvage(damaged: &Path, outbox: &mut Outbox) -> usize {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let Ok(from) = Connection::open_with_flags(damaged, flags) else { return 0 };
    let version: i64 = from.query_row("PRAGMA user_version", [], |row| row.get(0)).unwrap_or(0);
    if !(1..=super::VERSION).contains(&version) {
        return 0;
    }
    let copied = outbox.write(|db| TABLES.iter().map(|table| copy(&from, db, table)).sum());
    copied.unwrap_or(0)
}

/// Copies a table up to the first row that cannot be read.
fn copy(from: &Connection, to: &Connection, table: &str) -> rusqlite::Result<usize> {
    let Ok(mut select) = from.prepare(&format!("SELECT * FROM {table}")) else { return Ok(0) };
    // An older or newer program may have written the file: copy columns by name, as far as this version knows them.
    let known: Vec<String> = to.prepare(&format!("SELECT * FROM {table}"))?.column_names().map(str::to_owned).collect();
    let (indices, names): (Vec<usize>, Vec<String>) =
        (select.column_names().map(str::to_owned).enumerate()).filter(|(_, name)| known.contains(name)).unzip();
    let places = vec!["?"; names.len()].join(", ");
    let names = names.join(", ");
    let mut insert = to.prepare(&format!("INSERT OR IGNORE INTO {table} ({names}) VALUES ({places})"))?;
    let Ok(mut rows) = select.query([]) else { return Ok(0) };
    let mut copied = 0;
    while let Ok(Some(row)) = rows.next() {
        let values: rusqlite::Result<Vec<rusqlite::types::Value>> = indices.iter().map(|i| row.get(*i)).collect();
        let Ok(values) = values else { break };
        // A row that violates its table's constraints is not ours.
        copied += insert.execute(rusqlite::params_from_iter(values)).unwrap_or(0);
    }
    Ok(copied)
}
