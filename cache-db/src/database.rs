//! A database: its pool, and how statements are run on it in time.

mod adrift;
mod lease;
mod pool;
mod target;

use std::{
    fmt,
    path::Path,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use cache_core::Result;
use parking_lot::Mutex;
use tokio::{
    sync::Semaphore,
    time::{Instant, sleep, timeout, timeout_at},
};

#[cfg(any(feature = "sqlite", feature = "postgres", feature = "mysql"))]
use self::pool::Supply;
use self::{adrift::Drift, lease::Lease, pool::Pool, target::Target};
use crate::{
    DbOptions,
    dialect::Dialect,
    error::{Failure, Fault, fault_of},
    options::option,
    statement::{Outcome, Statement},
};

/// A database that a [`DbCache`](crate::DbCache) keeps its table in. It connects when it is first used.
///
/// It is made of a URL, or of a pool that the application has anyway:
///
/// ```
/// # #[cfg(feature = "sqlite")]
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> cache_core::Result<()> {
/// use cache_core::Clock;
/// use cache_db::{Database, DbCache, DbOptions, ReadFromReplica};
///
/// let pool = sqlx::SqlitePool::connect_lazy("sqlite::memory:").expect("it is a URL");
/// let databases = [("default", Database::from(pool))];
/// let store = DbCache::with_router("cache", databases, ReadFromReplica, DbOptions::default(), Clock::default())?;
/// # Ok(()) }
/// # #[cfg(not(feature = "sqlite"))] fn main() {}
/// ```
pub struct Database {
    target: Target,
    pool: Mutex<Option<Pool>>,
    limits: Limits,
    /// Lets one writer at a time into a SQLite file: it knows no queue, and its own waiting is a lottery.
    writer: Semaphore,
    /// What was written by callers that are gone.
    drift: Drift,
}

/// How long things may take, and how statements are sent.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) pool_size: u32,
    pub(crate) connect_timeout: Duration,
    pub(crate) statement_timeout: Duration,
    pub(crate) busy_timeout: Duration,
    pub(crate) pgbouncer: bool,
}

impl From<&DbOptions> for Limits {
    fn from(options: &DbOptions) -> Self {
        Self {
            pool_size: options.pool_size,
            connect_timeout: options.connect_timeout,
            statement_timeout: options.statement_timeout,
            busy_timeout: options.busy_timeout,
            pgbouncer: options.pgbouncer,
        }
    }
}

/// What a plan does to the database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Effect {
    /// It changes nothing.
    Read,
    /// Doing it twice is as good as doing it once, and answers the same.
    Idempotent,
    /// Doing it twice would do harm.
    Once,
}

/// How often a plan is tried in all.
const ATTEMPTS: u32 = 6;

impl Database {
    /// The database at this URL, as [`DbOptions::url`] tells. Relative paths start at `folder`, or at the process's working
    /// directory.
    ///
    /// # Errors
    /// [`ErrorKind::Config`](cache_core::ErrorKind) where the URL is none, or of a database that this build lacks.
    pub fn at(url: &str, options: &DbOptions, folder: Option<&Path>) -> Result<Self> {
        Self::of(&option("url"), url, options, folder)
    }

    /// The database at this URL, which stands in this setting.
    pub(crate) fn of(
        setting: &str,
        url: &str,
        options: &DbOptions,
        folder: Option<&Path>,
    ) -> Result<Self> {
        let limits = Limits::from(options);
        Ok(Self::new(Target::of(setting, url, limits, folder)?, None, limits))
    }

    fn new(target: Target, pool: Option<Pool>, limits: Limits) -> Self {
        Self {
            target,
            pool: Mutex::new(pool),
            limits,
            writer: Semaphore::new(1),
            drift: Drift::default(),
        }
    }

    pub(crate) fn dialect(&self) -> Dialect {
        self.target.dialect()
    }

    /// Whether what it holds is gone with its connection.
    pub(crate) fn is_in_memory(&self) -> bool {
        self.target.is_in_memory()
    }

    /// Where it is, without secrets.
    pub(crate) fn shown(&self) -> &str {
        self.target.shown()
    }

    /// Takes over what can be set about a pool that was handed over.
    pub(crate) fn limit(&mut self, options: &DbOptions) {
        if self.target.is_given() {
            self.limits = Limits::from(options);
        }
    }

    /// Runs the statements one after the other, several in one transaction, and answers what came of each.
    ///
    /// What is known to have changed nothing is tried again, and so is what a lost connection cut short, where that does no
    /// harm; all within `connect_timeout` plus `statement_timeout`.
    pub(crate) async fn run(
        &self,
        plan: &[Statement<'_>],
        effect: Effect,
    ) -> Result<Vec<Outcome>, Failure> {
        let deadline = Instant::now() + self.limits.connect_timeout + self.limits.statement_timeout;
        // The limits of the first attempt come to as much, so that it needs no third timer.
        let mut attempted = self.attempt(plan, effect).await;
        for attempt in 1..ATTEMPTS {
            let failure = match attempted {
                Ok(outcomes) => return Ok(outcomes),
                Err(failure) => failure,
            };
            let pause = match failure.fault {
                Fault::Busy => pause(attempt),
                Fault::Away if effect != Effect::Once && failure.is_lost_connection() => {
                    Duration::ZERO
                }
                _ => return Err(failure),
            };
            if Instant::now() + pause >= deadline {
                return Err(failure);
            }
            tracing::debug!(database = self.shown(), attempt, ?failure, "trying again");
            sleep(pause).await;
            let again = timeout_at(deadline, self.attempt(plan, effect)).await;
            attempted = again.unwrap_or_else(|_| Err(Failure::silent()));
        }
        attempted
    }

    async fn attempt(
        &self,
        plan: &[Statement<'_>],
        effect: Effect,
    ) -> Result<Vec<Outcome>, Failure> {
        let turn = async {
            if self.dialect() == Dialect::Sqlite && effect != Effect::Read {
                return self.writer.acquire().await.ok();
            }
            None
        };
        let connect = async {
            if effect != Effect::Read {
                self.drift.over().await;
            }
            let turn = turn.await;
            (turn, self.lease().await)
        };
        let connected = timeout(self.limits.connect_timeout, connect).await;
        let (_turn, lease) = connected.map_err(|_| Failure::silent())?;
        let mut lease = lease.map_err(|error| Failure::of(self.dialect(), error))?;
        if let Err(failure) = self.check_size(plan) {
            lease.give_back();
            return Err(failure);
        }
        if effect != Effect::Read {
            lease.begin_to_write(self.drift.clone(), self.limits.connect_timeout / 4);
        }
        let performed =
            timeout(self.limits.statement_timeout, lease.perform(plan, self.limits.pgbouncer))
                .await;
        lease.settle();
        match performed {
            Ok(Ok(outcomes)) => {
                lease.give_back();
                Ok(outcomes)
            }
            Ok(Err(error)) => {
                let failure = Failure::of(self.dialect(), error);
                // MySQL hangs up on who sends too much.
                if !matches!(failure.fault, Fault::Away | Fault::TooLarge) {
                    lease.give_back();
                }
                Err(failure)
            }
            Err(_) => Err(Failure::silent()),
        }
    }

    /// Refuses what the database would: before it is sent, for who sends more than MySQL takes may be hung up on before hearing
    /// why.
    fn check_size(&self, plan: &[Statement<'_>]) -> Result<(), Failure> {
        let Some(most) = self.target.largest() else { return Ok(()) };
        match plan.iter().map(Statement::size).find(|size| *size > most) {
            Some(size) => Err(Failure::too_large(size, most)),
            None => Ok(()),
        }
    }

    /// A connection. The caller bounds the time: of a SQLite file that somebody else is about to make, the journal can't be
    /// changed, and SQLite does not wait for that by itself.
    async fn lease(&self) -> sqlx::Result<Lease> {
        let pool = self.pool.lock().get_or_insert_with(|| self.target.pool(self.limits)).clone();
        let mut attempt = 1;
        loop {
            match Lease::of(&pool, self.is_in_memory()).await {
                Err(error) if fault_of(self.dialect(), &error) == Fault::Busy => {
                    sleep(pause(attempt)).await
                }
                lease => return lease,
            }
            attempt = (attempt + 1).min(ATTEMPTS);
        }
    }

    /// Closes the connections; the next use opens others. Leaves alone a pool that was handed over, and what would be gone
    /// with its connection.
    pub(crate) async fn close(&self) {
        if self.target.is_given() || self.is_in_memory() {
            return;
        }
        let pool = self.pool.lock().take();
        if let Some(pool) = pool {
            // Connections that do not answer are dropped.
            let _ = timeout(self.limits.statement_timeout, pool.close()).await;
        }
    }
}

/// 2, 4, 8… ms, and up to as much again, lest those who met once meet again.
fn pause(attempt: u32) -> Duration {
    static SPREAD: AtomicU64 = AtomicU64::new(0);
    let spread = SPREAD.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed) >> 48;
    let base = Duration::from_millis(1 << attempt);
    base + base.mul_f64(spread as f64 / f64::from(u16::MAX))
}

impl fmt::Debug for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Database")
            .field("at", &self.shown())
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}

#[cfg(feature = "sqlite")]
impl From<sqlx::SqlitePool> for Database {
    fn from(pool: sqlx::SqlitePool) -> Self {
        Self::new(
            Target::given(Dialect::Sqlite),
            Some(Pool::Sqlite(Supply::Given(pool))),
            Limits::from(&DbOptions::default()),
        )
    }
}

#[cfg(feature = "postgres")]
impl From<sqlx::PgPool> for Database {
    fn from(pool: sqlx::PgPool) -> Self {
        Self::new(
            Target::given(Dialect::Postgres),
            Some(Pool::Postgres(Supply::Given(pool))),
            Limits::from(&DbOptions::default()),
        )
    }
}

#[cfg(feature = "mysql")]
impl From<sqlx::MySqlPool> for Database {
    fn from(pool: sqlx::MySqlPool) -> Self {
        Self::new(
            Target::given(Dialect::Mysql),
            Some(Pool::Mysql(Supply::Given(pool))),
            Limits::from(&DbOptions::default()),
        )
    }
}
