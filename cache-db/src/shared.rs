//! State shared by all clones of a [`DbCache`](crate::DbCache).

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use cache_core::{Clock, Error, Result, config};

use crate::{
    database::Effect,
    error::Failure,
    fault::Fault,
    options::{DbOptions, option},
    router::Router,
    schema,
    statement::{Outcome, Row, Statement},
    statements::NEVER,
    table::Table,
};

/// The tables of a store, one per database, and how a call chooses one and reads the time.
pub(crate) struct Shared {
    pub(crate) table_name: String,
    pub(crate) options: DbOptions,
    /// By the names of the databases.
    pub(crate) tables: BTreeMap<String, Table>,
    pub(crate) router: Arc<dyn Router>,
    pub(crate) clock: Clock,
    /// The command that creates a missing table, for error messages.
    pub(crate) create_command: String,
}

impl Shared {
    /// The current time in microseconds since 1970 UTC.
    pub(crate) fn now(&self) -> i64 {
        i64::try_from(self.clock.unix_time().as_micros()).unwrap_or(NEVER - 1).min(NEVER - 1)
    }

    /// The `expires` of an entry that is written now.
    pub(crate) fn deadline(&self, ttl: Option<Duration>) -> i64 {
        let now = self.clock.unix_time();
        let deadline = ttl.and_then(|ttl| i64::try_from(now.checked_add(ttl)?.as_micros()).ok());
        deadline.filter(|&deadline| deadline < NEVER).unwrap_or_else(|| NEVER + self.now())
    }

    /// The table that is written to.
    pub(crate) fn writer(&self) -> Result<&Table> {
        self.table_in(self.router.db_for_write(&self.table_name))
    }

    /// The table that is read from.
    pub(crate) fn reader(&self) -> Result<&Table> {
        self.table_in(self.router.db_for_read(&self.table_name))
    }

    fn table_in(&self, database: &str) -> Result<&Table> {
        self.tables.get(database).ok_or_else(|| {
            let known: Vec<&str> = self.tables.keys().map(String::as_str).collect();
            let found = format!("the database {database:?} from the router");
            let expected = format!("one of {}", known.join(", "));
            config::invalid_setting(&option("url"), &found, &expected).in_store("db")
        })
    }

    /// Like [`run`](Self::run), but returns `None` instead of waiting. Nothing was changed then.
    pub(crate) fn run_now(
        &self,
        table: &Table,
        statement: Statement<'_>,
        effect: Effect,
    ) -> Option<Result<Outcome>> {
        match table.database.run_now(&[statement], effect)? {
            Ok(outcomes) => Some(Ok(outcomes.into_iter().next().unwrap_or_default())),
            Err(failure) if self.creates_the_table(table, &failure) => None,
            Err(failure) => Some(Err(self.error_from(table, failure))),
        }
    }

    /// Runs the statements. If the table is missing and the options allow it, creates the table and
    /// runs them again.
    pub(crate) async fn run(
        &self,
        table: &Table,
        statements: &[Statement<'_>],
        effect: Effect,
    ) -> Result<Vec<Outcome>> {
        let failure = match table.database.run(statements, effect).await {
            Ok(outcomes) => return Ok(outcomes),
            Err(failure) => failure,
        };
        if !self.creates_the_table(table, &failure) {
            return Err(self.error_from(table, failure));
        }
        schema::create(self.writer()?, self.options.unlogged, false).await?;
        let result = table.database.run(statements, effect).await;
        result.map_err(|failure| self.error_from(table, failure))
    }

    /// Whether to create the table and try again.
    fn creates_the_table(&self, table: &Table, failure: &Failure) -> bool {
        failure.fault == Fault::MissingTable
            && (self.options.create_table || table.database.is_in_memory())
    }

    pub(crate) fn error_from(&self, table: &Table, failure: Failure) -> Error {
        failure.into_error(table.database.location(), &self.table_name, &self.create_command)
    }

    pub(crate) async fn run_one(
        &self,
        table: &Table,
        statement: Statement<'_>,
        effect: Effect,
    ) -> Result<Outcome> {
        let outcomes = self.run(table, &[statement], effect).await?;
        Ok(outcomes.into_iter().next().unwrap_or_default())
    }

    /// Runs a query.
    pub(crate) async fn select(&self, table: &Table, statement: Statement<'_>) -> Result<Vec<Row>> {
        Ok(self.run_one(table, statement, Effect::Read).await?.rows)
    }

    /// Runs a query for one number, which is `None` if no row matches.
    pub(crate) async fn select_number(
        &self,
        table: &Table,
        statement: Statement<'_>,
    ) -> Result<Option<i64>> {
        Ok(self.run_one(table, statement, Effect::Read).await?.number())
    }

    /// Runs an idempotent write. Returns the number of rows changed.
    pub(crate) async fn write(&self, table: &Table, statement: Statement<'_>) -> Result<u64> {
        Ok(self.run_one(table, statement, Effect::Idempotent).await?.affected)
    }

    /// Runs a write that must not be repeated. Returns the number of rows changed.
    pub(crate) async fn write_once(&self, table: &Table, statement: Statement<'_>) -> Result<u64> {
        Ok(self.run_one(table, statement, Effect::NotIdempotent).await?.affected)
    }

    /// Counts the rows that expire after `now`.
    pub(crate) async fn count(&self, now: i64) -> Result<u64> {
        let table = self.writer()?;
        let count = self.select_number(table, table.statements.count(now)).await?;
        Ok(count.map_or(0, i64::cast_unsigned))
    }
}
