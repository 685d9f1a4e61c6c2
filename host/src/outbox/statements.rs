//! Statements that a connection keeps: to prepare one takes longer than to run it.

use rusqlite::{Connection, Params, Row};

/// How many a connection keeps: more than there are.
pub(super) const MOST_KEPT: usize = 100;

/// Runs statements that are kept.
pub(super) trait Statements {
    /// Runs a statement that returns nothing. Returns the number of rows that it changed.
    fn run(&self, sql: &str, params: impl Params) -> rusqlite::Result<usize>;

    /// Runs a query for a single row.
    fn row<T>(
        &self,
        sql: &str,
        params: impl Params,
        map: impl FnOnce(&Row<'_>) -> rusqlite::Result<T>,
    ) -> rusqlite::Result<T>;
}

impl Statements for Connection {
    fn run(&self, sql: &str, params: impl Params) -> rusqlite::Result<usize> {
        self.prepare_cached(sql)?.execute(params)
    }

    fn row<T>(
        &self,
        sql: &str,
        params: impl Params,
        map: impl FnOnce(&Row<'_>) -> rusqlite::Result<T>,
    ) -> rusqlite::Result<T> {
        self.prepare_cached(sql)?.query_row(params, map)
    }
}
