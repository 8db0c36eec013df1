//! Statements on a rusqlite connection.

use std::{cell::Cell, time::Duration};

use rusqlite::{CachedStatement, OpenFlags, Row as RawRow, types::FromSqlResult};

use crate::statement::{Arg, Columns, Outcome, Row, Scope, Statement};

/// The number of statements that stay prepared. A store has about ten, and one for each power of
/// two up to the largest batch.
const PREPARED: usize = 64;

thread_local! {
    /// The number of pages in the WAL after the last commit of this thread.
    static WAL_PAGES: Cell<u32> = const { Cell::new(0) };
}

/// An open connection.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) raw: rusqlite::Connection,
    /// How long a statement waits for locks of other processes.
    busy_timeout: Option<Duration>,
}

impl Connection {
    pub(super) fn new(raw: rusqlite::Connection) -> Self {
        raw.set_prepared_statement_cache_capacity(PREPARED);
        Self { raw, busy_timeout: None }
    }

    pub(super) fn in_memory() -> rusqlite::Result<Self> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        rusqlite::Connection::open_in_memory_with_flags(flags).map(Self::new)
    }

    /// Sets how long statements wait for locks of other processes.
    pub(super) fn wait_for_locks(&mut self, timeout: Duration) -> rusqlite::Result<()> {
        if self.busy_timeout != Some(timeout) {
            self.raw.busy_timeout(timeout)?;
            self.busy_timeout = Some(timeout);
        }
        Ok(())
    }

    /// Counts the pages in the WAL after each commit, for [`wal_pages`](Self::wal_pages).
    pub(super) fn count_wal_pages(&self) {
        self.raw.wal_hook(Some(|_, pages| {
            WAL_PAGES.set(u32::try_from(pages).unwrap_or(0));
            Ok(())
        }));
    }

    /// Returns the number of pages in the WAL if this thread has committed since the last call,
    /// otherwise 0.
    pub(super) fn take_wal_pages() -> u32 {
        WAL_PAGES.replace(0)
    }

    /// Runs statements that change nothing: one as it is, several on one snapshot.
    pub(super) fn read(&self, statements: &[Statement<'_>]) -> rusqlite::Result<Vec<Outcome>> {
        match statements {
            [statement] => Ok(vec![self.run(statement)?]),
            statements => self.transaction("BEGIN", |connection| connection.run_all(statements)),
        }
    }

    /// Runs statements: one as it is, several in one transaction.
    pub(super) fn write(&self, statements: &[Statement<'_>]) -> rusqlite::Result<Vec<Outcome>> {
        match statements {
            [statement] => Ok(vec![self.run(statement)?]),
            statements => self.write_transaction(|connection| connection.run_all(statements)),
        }
    }

    /// Runs `work` in a transaction that takes the write lock at once.
    pub(super) fn write_transaction<T>(
        &self,
        work: impl FnOnce(&Self) -> rusqlite::Result<T>,
    ) -> rusqlite::Result<T> {
        self.transaction("BEGIN IMMEDIATE", work)
    }

    fn transaction<T>(
        &self,
        begin: &str,
        work: impl FnOnce(&Self) -> rusqlite::Result<T>,
    ) -> rusqlite::Result<T> {
        self.control(begin)?;
        let result = work(self).and_then(|done| self.control("COMMIT").map(|()| done));
        // Some errors have ended the transaction already.
        if result.is_err() && !self.raw.is_autocommit() {
            self.control("ROLLBACK")?;
        }
        result
    }

    /// Runs the statements within the current transaction. If one fails, undoes the others.
    pub(super) fn run_nested(
        &self,
        statements: &[Statement<'_>],
    ) -> rusqlite::Result<Vec<Outcome>> {
        if let [statement] = statements {
            return Ok(vec![self.run(statement)?]);
        }
        self.control("SAVEPOINT call")?;
        let result = self.run_all(statements);
        if result.is_err() && !self.raw.is_autocommit() {
            self.control("ROLLBACK TO call")?;
        }
        if !self.raw.is_autocommit() {
            self.control("RELEASE call")?;
        }
        result
    }

    fn run_all(&self, statements: &[Statement<'_>]) -> rusqlite::Result<Vec<Outcome>> {
        statements.iter().map(|statement| self.run(statement)).collect()
    }

    fn run(&self, statement: &Statement<'_>) -> rusqlite::Result<Outcome> {
        match statement.scope {
            Scope::Entries => {
                let mut prepared: CachedStatement<'_> = self.raw.prepare_cached(&statement.sql)?;
                execute(&mut prepared, statement)
            }
            Scope::Table => execute(&mut self.raw.prepare(&statement.sql)?, statement),
        }
    }

    /// Runs a statement without arguments and rows.
    fn control(&self, sql: &str) -> rusqlite::Result<()> {
        self.raw.prepare_cached(sql)?.raw_execute().map(drop)
    }
}

fn execute(
    prepared: &mut rusqlite::Statement<'_>,
    statement: &Statement<'_>,
) -> rusqlite::Result<Outcome> {
    for (index, arg) in (1..).zip(&statement.args) {
        bind(prepared, index, arg)?;
    }
    if statement.columns == Columns::None {
        let affected = prepared.raw_execute()? as u64;
        return Ok(Outcome { affected, ..Outcome::default() });
    }
    let mut rows = prepared.raw_query();
    let mut decoded = Vec::new();
    while let Some(row) = rows.next()? {
        decoded.push(decode(row, statement.columns)?);
    }
    Ok(Outcome { affected: decoded.len() as u64, rows: decoded, ..Outcome::default() })
}

fn bind(
    prepared: &mut rusqlite::Statement<'_>,
    index: usize,
    arg: &Arg<'_>,
) -> rusqlite::Result<()> {
    match arg {
        Arg::Bytes(bytes) => prepared.raw_bind_parameter(index, bytes.as_deref()),
        Arg::Int(number) => prepared.raw_bind_parameter(index, number),
        Arg::Text(text) => prepared.raw_bind_parameter(index, &**text),
        Arg::BytesArray(_) | Arg::IntArray(_) => {
            unreachable!("statements for SQLite have no array arguments")
        }
    }
}

fn decode(row: &RawRow<'_>, columns: Columns) -> rusqlite::Result<Row> {
    let bytes = |index| -> rusqlite::Result<Option<Vec<u8>>> {
        let bytes: FromSqlResult<_> = row.get_ref(index)?.as_bytes_or_null();
        Ok(bytes?.map(<[u8]>::to_vec))
    };
    let number =
        |index| -> rusqlite::Result<Option<i64>> { Ok(row.get_ref(index)?.as_i64_or_null()?) };
    let empty = Row::default();
    Ok(match columns {
        Columns::None => empty,
        Columns::Entry => Row { value: bytes(0)?, number: number(1)?, ..empty },
        Columns::KeyedEntry => Row {
            key: bytes(0)?.unwrap_or_default(),
            value: bytes(1)?,
            number: number(2)?,
            ..empty
        },
        Columns::Leasable => Row {
            value: bytes(0)?,
            number: number(1)?,
            expires: number(2)?,
            marks: number(3)?.unwrap_or_default(),
            ..empty
        },
        Columns::Key => Row { key: bytes(0)?.unwrap_or_default(), ..empty },
        Columns::Listed => Row {
            key: bytes(0)?.unwrap_or_default(),
            expires: number(1)?,
            number: number(2)?,
            ..empty
        },
        Columns::Number => Row { number: number(0)?, ..empty },
        Columns::Inspection => {
            Row { texts: [row.get(0)?, row.get(1)?], number: number(2)?, ..empty }
        }
    })
}
