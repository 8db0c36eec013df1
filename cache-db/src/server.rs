//! PostgreSQL, MySQL and MariaDB, through sqlx: a pool, and statements with time limits and
//! retries.

mod connection;
mod connector;
mod detachable;
mod driver;
mod failure;
mod orphaned_writes;
mod pool;
mod target;

use std::{
    any::Any,
    fmt,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use cache_core::{Error, Result, config::invalid_setting};
use parking_lot::Mutex;
use sqlx::ConnectOptions as _;
use tokio::time::{Instant, sleep, timeout, timeout_at};

#[cfg(feature = "mysql")]
pub(crate) use self::target::mysql;
#[cfg(feature = "postgres")]
pub(crate) use self::target::postgres;
use self::{
    connection::{Connection, OnCancel},
    orphaned_writes::OrphanedWrites,
    pool::{AnyPool, Pool},
    target::Target,
};
use crate::{
    database::Effect,
    dialect::Dialect,
    error::Failure,
    fault::Fault,
    limits::Limits,
    options::{DbOptions, option},
    statement::{Columns, Outcome, Scope, Statement},
};

/// A database on a server. It connects when it is first used.
pub(crate) struct Server {
    target: Target,
    pool: Mutex<CurrentPool>,
    limits: Limits,
    orphaned_writes: OrphanedWrites,
    /// Whether the sessions of an application's pool have been checked.
    is_checked: AtomicBool,
}

/// The pool that calls use, and how many there were before it.
struct CurrentPool {
    pool: AnyPool,
    generation: u64,
}

impl CurrentPool {
    /// Replaces the pool by an empty one, and returns the old one.
    fn replace(&mut self) -> AnyPool {
        self.generation += 1;
        let renewed = self.pool.renewed();
        std::mem::replace(&mut self.pool, renewed)
    }
}

/// The maximum number of attempts, including the first.
const MAX_ATTEMPTS: u32 = 6;

impl Server {
    fn new(target: Target, pool: AnyPool, limits: Limits) -> Self {
        let pool = Mutex::new(CurrentPool { pool, generation: 0 });
        let is_checked = AtomicBool::new(!target.is_external);
        Self { target, pool, limits, orphaned_writes: OrphanedWrites::default(), is_checked }
    }

    pub(crate) fn dialect(&self) -> &'static Dialect {
        self.target.dialect
    }

    /// The location, without secrets.
    pub(crate) fn location(&self) -> &str {
        &self.target.location
    }

    /// Applies the options to a pool that the application passed in.
    pub(crate) fn apply(&mut self, options: &DbOptions) {
        if self.target.is_external {
            self.limits = Limits::from(options);
        }
    }

    /// Runs the statements in order, several in one transaction, and returns their outcomes.
    ///
    /// Retries if it is certain that nothing was changed, and after a lost connection if the
    /// statements are idempotent: several times after a lock, once on a new connection. All
    /// attempts together take at most `connect_timeout` plus `statement_timeout`.
    pub(crate) async fn run(
        &self,
        statements: &[Statement<'_>],
        effect: Effect,
    ) -> Result<Vec<Outcome>, Failure> {
        let deadline = Instant::now() + self.limits.connect_timeout + self.limits.statement_timeout;
        // The first attempt needs no timer for the deadline: its own limits add up to it.
        let mut result = self.attempt(statements, effect).await;
        let mut reconnects = self.max_reconnects();
        for attempt in 1..MAX_ATTEMPTS {
            let failure = match result {
                Ok(outcomes) => return Ok(outcomes),
                Err(failure) => failure,
            };
            let pause = match failure.fault {
                Fault::Busy => backoff(attempt),
                Fault::Disconnected if effect == Effect::NotIdempotent => return Err(failure),
                Fault::Reconnect | Fault::Disconnected if reconnects > 0 => {
                    reconnects -= 1;
                    Duration::ZERO
                }
                _ => return Err(failure),
            };
            if Instant::now() + pause >= deadline {
                return Err(failure);
            }
            tracing::debug!(database = self.location(), attempt, ?failure, "retrying");
            sleep(pause).await;
            let retried = timeout_at(deadline, self.attempt(statements, effect)).await;
            result = retried.unwrap_or_else(|_| Err(Failure::timed_out()));
        }
        result
    }

    async fn attempt(
        &self,
        statements: &[Statement<'_>],
        effect: Effect,
    ) -> Result<Vec<Outcome>, Failure> {
        let (pool, generation) = self.current_pool();
        let connection = self.take_connection(&pool, effect).await?;
        let result = self.attempt_on(connection, statements, effect).await;
        if result.as_ref().is_err_and(|failure| failure.fault.concerns_all_connections()) {
            self.retire(generation);
        }
        result
    }

    /// Takes a connection from the pool, for a write once orphaned writes have ended.
    async fn take_connection(&self, pool: &AnyPool, effect: Effect) -> Result<Connection, Failure> {
        let connect = async {
            if effect != Effect::Read {
                self.orphaned_writes.finished().await;
            }
            let acquired = Connection::acquire(pool).await;
            acquired.map_err(|error| Failure::from_sqlx(self.dialect(), &error).before_sending())
        };
        let connected = timeout(self.limits.connect_timeout, connect).await;
        connected.unwrap_or_else(|_| Err(Failure::no_connection()))
    }

    async fn attempt_on(
        &self,
        mut connection: Connection,
        statements: &[Statement<'_>],
        effect: Effect,
    ) -> Result<Vec<Outcome>, Failure> {
        if let Err(failure) = self.check_size(statements) {
            connection.release();
            return Err(failure);
        }
        if !self.is_checked.load(Ordering::Relaxed) {
            connection = self.check_session(connection).await?;
        }
        let (outcomes, connection) = self.run_on(connection, statements, effect).await?;
        connection.release();
        Ok(outcomes)
    }

    /// Runs the statements. If they fail, the connection is released or closed.
    async fn run_on(
        &self,
        connection: Connection,
        statements: &[Statement<'_>],
        effect: Effect,
    ) -> Result<(Vec<Outcome>, Connection), Failure> {
        let explicit = self.limits.pgbouncer && self.dialect().pgbouncer;
        let on_cancel = OnCancel {
            limit: self.limits.connect_timeout / 4,
            orphaned_writes: (effect != Effect::Read).then(|| self.orphaned_writes.clone()),
        };
        let mut running = connection.run(statements, explicit, self.dialect(), on_cancel);
        if let Ok(ended) = timeout(self.limits.statement_timeout, &mut running).await {
            return ended.conclude(self.dialect());
        }
        // The connection may be dead.
        running.abort();
        Err(Failure::timed_out())
    }

    /// Checks that the sessions of an application's pool keep what the store writes. Their settings
    /// belong to the application and are not changed.
    async fn check_session(&self, connection: Connection) -> Result<Connection, Failure> {
        let Some(select) = self.dialect().unsafe_settings else { return Ok(connection) };
        let select = Statement {
            sql: select.into(),
            args: Vec::new(),
            columns: Columns::Inspection,
            scope: Scope::Table,
        };
        let (outcomes, connection) = self.run_on(connection, &[select], Effect::Read).await?;
        if let Some(row) = outcomes.into_iter().flat_map(|outcome| outcome.rows).next() {
            connection.release();
            let [requirement, found] = row.texts.map(Option::unwrap_or_default);
            return Err(Failure::unsafe_session(&requirement, &found));
        }
        self.is_checked.store(true, Ordering::Relaxed);
        Ok(connection)
    }

    /// Rejects statements that the database would reject. They are not sent, because MySQL may
    /// close the connection before the client has read the error.
    fn check_size(&self, statements: &[Statement<'_>]) -> Result<(), Failure> {
        let Some(max) = self.target.max_statement_bytes() else { return Ok(()) };
        match statements.iter().map(Statement::size).find(|size| *size > max) {
            Some(size) => Err(Failure::too_large(size, max)),
            None => Ok(()),
        }
    }

    /// The pool, and its generation.
    fn current_pool(&self) -> (AnyPool, u64) {
        let current = self.pool.lock();
        (current.pool.clone(), current.generation)
    }

    /// Replaces the pool of this generation, because its connections lead to a server that is gone
    /// or became a replica. Those that are in use are closed when they are released.
    ///
    /// The store cannot replace the pool of an application, which loses one connection at a time.
    fn retire(&self, generation: u64) {
        let mut current = self.pool.lock();
        if current.generation == generation && !self.target.is_external {
            let retired = current.replace();
            drop(current);
            drop(retired);
        }
    }

    /// How often a call is repeated on another connection. After the first failure, all connections
    /// of an own pool are new.
    fn max_reconnects(&self) -> u32 {
        if self.target.is_external { MAX_ATTEMPTS } else { 1 }
    }

    /// Closes the connections; the next use opens new ones. Does nothing if the application passed
    /// the pool in.
    pub(crate) async fn close(&self) {
        if self.target.is_external {
            return;
        }
        let pool = self.pool.lock().replace();
        // Connections that do not respond are dropped.
        let _ = timeout(self.limits.statement_timeout, pool.close()).await;
    }
}

/// The pause before a retry: 2, 4, 8 … ms, plus up to as much again, so that clients that collided
/// do not collide again.
fn backoff(attempt: u32) -> Duration {
    let base = Duration::from_millis(1 << attempt);
    base + base.mul_f64(fastrand::f64())
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server")
            .field("location", &self.location())
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}

/// Uses a pool that the application passed in.
///
/// # Errors
///
/// Returns an error if the store cannot use a pool of this database.
pub(crate) fn from_pool<D: sqlx::Database>(pool: sqlx::Pool<D>) -> Result<Server> {
    let rejection = rejected_pool(&pool);
    let pool: Box<dyn Any> = Box::new(pool);
    let limits = Limits::from(&DbOptions::default());
    #[cfg(feature = "postgres")]
    let pool = match pool.downcast::<sqlx::PgPool>() {
        Ok(pool) => {
            let target = Target::external(&crate::dialect::postgres::POSTGRES);
            return Ok(Server::new(target, Pool::External(*pool).into(), limits));
        }
        Err(pool) => pool,
    };
    #[cfg(feature = "mysql")]
    let pool = match pool.downcast::<sqlx::MySqlPool>() {
        Ok(pool) => {
            let target = Target::external(&crate::dialect::mysql::MYSQL);
            return Ok(Server::new(target, Pool::External(*pool).into(), limits));
        }
        Err(pool) => pool,
    };
    drop(pool);
    Err(rejection)
}

/// The error for a pool that the store cannot use, which names the option to set instead.
fn rejected_pool<D: sqlx::Database>(pool: &sqlx::Pool<D>) -> Error {
    let found = format!("an sqlx pool of {}", D::NAME);
    let expected = match D::NAME {
        "SQLite" => {
            let url = sqlite_url(pool.connect_options().to_url_lossy().as_str());
            format!("the option url = {url:?} instead, because the store opens SQLite files itself")
        }
        _ => "a pool of a database that is enabled in this build".into(),
    };
    invalid_setting(&option("database"), &found, &expected)
}

/// The URL of an sqlx pool as the option `url`: without escapes and parameters.
fn sqlite_url(url: &str) -> String {
    let (location, parameters) = url.split_once('?').unwrap_or((url, ""));
    let path = location.strip_prefix("sqlite://").unwrap_or(location);
    if path == ":memory:" || parameters.contains("mode=memory") {
        return "sqlite::memory:".into();
    }
    format!("sqlite:{}", percent_encoding::percent_decode_str(path).decode_utf8_lossy())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn url_of_a_sqlite_pool_becomes_the_option_url() {
        for (pool, option) in [
            ("sqlite:///srv/my%20shop.db?mode=rwc&cache=private", "sqlite:/srv/my shop.db"),
            ("sqlite://shop.db?mode=rw", "sqlite:shop.db"),
            ("sqlite://file:sqlx-in-memory-0?mode=memory&cache=shared", "sqlite::memory:"),
        ] {
            assert_eq!(sqlite_url(pool), option);
        }
    }
}
