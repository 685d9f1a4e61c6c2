//! Columns added since the first version of the tables.
//!
//! A column with a default does not change what an older program reads and writes: it can keep using the same file
//! without losing anything. So columns are only ever added, in this order; the file's `application_id` says how many it
//! has. `user_version` is raised only for a change that an older program must not touch.

use rusqlite::{Connection, OptionalExtension as _};

/// The number of additions.
const COUNT: u16 = 10;

/// Table, column and the column's declaration.
const ADDITIONS: [(&str, &str, &str); COUNT as usize] = [
    // The lane that the server last accepted, if it is not the newest, and how long to rely on that.
    ("destination", "lane", "TEXT"),
    ("destination", "lane_until", "INTEGER NOT NULL DEFAULT 0"),
    // The PostHog project has reached the limit of its plan.
    ("destination", "over_limit", "INTEGER NOT NULL DEFAULT 0"),
    // A hook saw the session: what is written to it later is owed, too.
    ("session", "hooked", "INTEGER NOT NULL DEFAULT 0"),
    // Since when the session has had a complete, undelivered turn while it is still running.
    ("session", "turn_at", "INTEGER"),
    // How far the current delivery reads at most: a JSON object of paths and bytes.
    ("session", "ends", "TEXT"),
    // Only events after this time are sent.
    ("session", "since", "INTEGER"),
    // The name of the session's project when it was first seen; empty if only its folder suggests one.
    ("session", "project", "TEXT"),
    // The part still owed from before hooks sent the session elsewhere for a while: a JSON object of two times.
    ("session", "part", "TEXT"),
    // How far complete deliveries have read each file: a JSON object of paths and bytes.
    ("session", "read_before", "TEXT"),
];

/// Adds the missing columns. Returns whether any were missing.
pub(super) fn add_missing(db: &Connection) -> rusqlite::Result<bool> {
    if has_all(db)? {
        return Ok(false);
    }
    for (table, column, declaration) in ADDITIONS {
        let has = db
            .query_row("SELECT 1 FROM pragma_table_info(?1) WHERE name = ?2", [table, column], |_| Ok(()))
            .optional()?;
        if has.is_none() {
            db.execute_batch(&format!("ALTER TABLE {table} ADD COLUMN {column} {declaration}"))?;
        }
    }
    // A newer program's file has additional columns, which stay.
    db.pragma_update(None, "application_id", COUNT)?;
    Ok(true)
}

/// Does the file have all additions?
pub(super) fn has_all(db: &Connection) -> rusqlite::Result<bool> {
    let count: i64 = db.query_row("PRAGMA application_id", [], |row| row.get(0))?;
    Ok(count >= COUNT.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn columns(db: &Connection, table: &str) -> Vec<String> {
        let mut select = db.prepare("SELECT name FROM pragma_table_info(?1) ORDER BY name").unwrap();
        select.query_map([table], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
    }

    #[test]
    fn an_older_file_gets_the_columns_of_a_new_one_and_keeps_its_rows() {
        let new = Connection::open_in_memory().unwrap();
        new.execute_batch(include_str!("schema.sql")).unwrap();
        assert!(has_all(&new).unwrap());
        let old = Connection::open_in_memory().unwrap();
        let mut schema = include_str!("schema.sql").replace("PRAGMA application_id = 10;", "");
        for (_, column, declaration) in ADDITIONS {
            schema = schema.replace(&format!("    {column} {declaration},\n"), "");
        }
        old.execute_batch(&schema).unwrap();
        assert!(!columns(&old, "session").contains(&"turn_at".to_owned()));
        old.execute("INSERT INTO destination (origin, key_hash) VALUES ('o', 'k')", []).unwrap();
        assert!(!has_all(&old).unwrap());
        assert!(add_missing(&old).unwrap());
        assert!(!add_missing(&old).unwrap());
        for table in ["destination", "session"] {
            assert_eq!(columns(&old, table), columns(&new, table));
        }
        let rows: i64 = old.query_row("SELECT count(*) FROM destination", [], |row| row.get(0)).unwrap();
        assert_eq!(rows, 1);
    }
}
