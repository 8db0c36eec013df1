//! A database: its pool, and statements with time limits and retries.

mod connection;
mod driver;
mod limits;
mod orphaned_writes;
mod pool;
mod target;

use std::{fmt, path::Path, time::Duration};

use cache_core::Result;
use parking_lot::Mutex;
use tokio::{
    sync::Semaphore,
    time::{Instant, sleep, timeout, timeout_at},
};

#[cfg(any(feature = "sqlite", feature = "postgres", feature = "mysql"))]
use self::pool::Pool;
use self::{
    connection::Connection, limits::Limits, orphaned_writes::OrphanedWrites, pool::AnyPool,
    target::Target,
};
use crate::{
    dialect::Dialect,
    error::Failure,
    fault::Fault,
    options::{DbOptions, option},
    statement::{Outcome, Statement},
};

/// A database that holds the table of a [`DbCache`](crate::DbCache). It connects when it is first
/// used.
///
/// It is created from a URL, or from an sqlx pool that the application already has.
///
/// # Examples
///
/// ```
/// # #[cfg(feature = "sqlite")]
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> cache_core::Result<()> {
/// use cache_core::Clock;
/// use cache_db::{Database, DbCache, DbOptions, ReadFromReplica};
///
/// let pool = sqlx::SqlitePool::connect_lazy("sqlite::memory:").expect("valid URL");
/// let databases = [("default", Database::from(pool))];
/// let options = DbOptions::default();
/// let store =
///     DbCache::with_router("cache", databases, ReadFromReplica, options, Clock::default())?;
/// # Ok(()) }
/// # #[cfg(not(feature = "sqlite"))] fn main() {}
/// ```
pub struct Database {
    target: Target,
    pool: Mutex<AnyPool>,
    limits: Limits,
    /// Admits one writer at a time if the database is a [`single_writer`](Dialect::single_writer).
    writer: Semaphore,
    orphaned_writes: OrphanedWrites,
}

/// What statements do to the database, which decides whether they can be retried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Effect {
    /// They change nothing.
    Read,
    /// Running them twice has the same effect and result as running them once.
    Idempotent,
    /// Running them twice differs from running them once.
    NotIdempotent,
}

/// The maximum number of attempts, including the first.
const MAX_ATTEMPTS: u32 = 6;

impl Database {
    /// Creates a database from a URL as described at [`DbOptions::url`]. Relative paths are
    /// resolved against `folder`, or against the working directory of the process.
    ///
    /// # Errors
    ///
    /// Returns [`ErrorKind::Config`](cache_core::ErrorKind::Config) if the URL is invalid or names
    /// a database that this build does not support.
    pub fn from_url(url: &str, options: &DbOptions, folder: Option<&Path>) -> Result<Self> {
        Self::from_setting(&option("url"), url, options, folder)
    }

    /// Creates a database from a URL, which errors call the value of `setting`.
    pub(crate) fn from_setting(
        setting: &str,
        url: &str,
        options: &DbOptions,
        folder: Option<&Path>,
    ) -> Result<Self> {
        let limits = Limits::from(options);
        let (target, pool) = Target::parse(setting, url, limits, folder)?;
        Ok(Self::new(target, pool, limits))
    }

    fn new(target: Target, pool: AnyPool, limits: Limits) -> Self {
        Self {
            target,
            pool: Mutex::new(pool),
            limits,
            writer: Semaphore::new(1),
            orphaned_writes: OrphanedWrites::default(),
        }
    }

    pub(crate) fn dialect(&self) -> &'static Dialect {
        self.target.dialect
    }

    /// Whether the data is lost when the connection is closed.
    pub(crate) fn is_in_memory(&self) -> bool {
        self.target.is_in_memory
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
    /// statements are idempotent. All attempts together take at most `connect_timeout` plus
    /// `statement_timeout`.
    pub(crate) async fn run(
        &self,
        statements: &[Statement<'_>],
        effect: Effect,
    ) -> Result<Vec<Outcome>, Failure> {
        let deadline = Instant::now() + self.limits.connect_timeout + self.limits.statement_timeout;
        // The first attempt needs no timer for the deadline: its own limits add up to it.
        let mut result = self.attempt(statements, effect).await;
        for attempt in 1..MAX_ATTEMPTS {
            let failure = match result {
                Ok(outcomes) => return Ok(outcomes),
                Err(failure) => failure,
            };
            let pause = match failure.fault {
                Fault::Busy => backoff(attempt),
                Fault::Unavailable
                    if effect != Effect::NotIdempotent && failure.is_lost_connection =>
                {
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
        let writes = effect != Effect::Read;
        let connect = async {
            if writes {
                self.orphaned_writes.finished().await;
            }
            let writer = if writes && self.dialect().single_writer {
                self.writer.acquire().await.ok()
            } else {
                None
            };
            (writer, self.connect().await)
        };
        let connected = timeout(self.limits.connect_timeout, connect).await;
        let (_writer, connection) = connected.map_err(|_| Failure::timed_out())?;
        let mut connection = connection?;
        if let Err(failure) = self.check_size(statements) {
            connection.release();
            return Err(failure);
        }
        if writes {
            connection.begin_write(self.orphaned_writes.clone(), self.limits.connect_timeout / 4);
        }
        let explicit = self.limits.pgbouncer && self.dialect().pgbouncer;
        let run = connection.run(statements, explicit);
        let result = timeout(self.limits.statement_timeout, run).await;
        connection.settle();
        match result {
            Ok(Ok(outcomes)) => {
                connection.release();
                Ok(outcomes)
            }
            Ok(Err(error)) => {
                let failure = Failure::new(self.dialect(), &error);
                // MySQL closes the connection after a statement that is too large.
                if !matches!(failure.fault, Fault::Unavailable | Fault::TooLarge) {
                    connection.release();
                }
                Err(failure)
            }
            Err(_) => Err(Failure::timed_out()),
        }
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

    /// Takes a connection from the pool. The caller limits the time.
    ///
    /// Retries if a SQLite file is locked: its journal mode cannot be set while another process
    /// creates the file, and SQLite's busy timeout does not cover that.
    async fn connect(&self) -> Result<Connection, Failure> {
        let pool = self.pool.lock().clone();
        let mut attempt = 1;
        loop {
            match Connection::acquire(&pool, self.is_in_memory()).await {
                Ok(connection) => return Ok(connection),
                Err(error) => {
                    let failure = Failure::new(self.dialect(), &error);
                    if failure.fault != Fault::Busy {
                        return Err(failure);
                    }
                    sleep(backoff(attempt)).await;
                }
            }
            attempt = (attempt + 1).min(MAX_ATTEMPTS);
        }
    }

    /// Closes the connections; the next use opens new ones. Does nothing if the application passed
    /// the pool in, or if the data would be lost.
    pub(crate) async fn close(&self) {
        if self.target.is_external || self.is_in_memory() {
            return;
        }
        let pool = {
            let mut pool = self.pool.lock();
            let renewed = pool.renewed();
            std::mem::replace(&mut *pool, renewed)
        };
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

impl fmt::Debug for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Database")
            .field("location", &self.location())
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}

macro_rules! from_pool {
    ($feature:literal, $pool:ty, $dialect:path) => {
        #[cfg(feature = $feature)]
        impl From<$pool> for Database {
            fn from(pool: $pool) -> Self {
                let limits = Limits::from(&DbOptions::default());
                Self::new(Target::external(&$dialect), Pool::External(pool).into(), limits)
            }
        }
    };
}

from_pool!("sqlite", sqlx::SqlitePool, crate::dialect::sqlite::SQLITE);
from_pool!("postgres", sqlx::PgPool, crate::dialect::postgres::POSTGRES);
from_pool!("mysql", sqlx::MySqlPool, crate::dialect::mysql::MYSQL);
