//! Connection pools.
//!
//! sqlx's own pool is used only if the application passes one in. It pings each connection that is
//! returned, which doubles the round trips, and it waits for the reply as long as a dead network is
//! silent.

use std::{
    fmt,
    future::pending,
    pin::Pin,
    sync::{Arc, Weak},
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use sqlx::{Connection as _, pool::PoolConnection};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    task::AbortHandle,
    time::timeout,
};

use super::{
    connector::Connector,
    driver::{Driver, dispatch},
};
use crate::statement::{Outcome, Statement};

/// A connection that was idle for longer is pinged before it is used, so that calls do not fail on
/// a server that was restarted. A busy pool never pings.
const PING_AFTER: Duration = Duration::from_secs(1);
/// A connection that was idle for longer is closed.
const IDLE_TIMEOUT: Duration = Duration::from_secs(600);
/// A connection that is older is closed, so that the load spreads to new servers behind one
/// address.
const MAX_LIFETIME: Duration = Duration::from_secs(1800);

/// The pool of a database.
#[derive(Clone, Debug)]
pub(crate) enum AnyPool {
    #[cfg(feature = "postgres")]
    Postgres(Pool<sqlx::Postgres>),
    #[cfg(feature = "mysql")]
    Mysql(Pool<sqlx::MySql>),
}

impl AnyPool {
    /// An empty pool with the same settings.
    pub(crate) fn renewed(&self) -> Self {
        dispatch!(*self, AnyPool(ref pool) => pool.renewed().into())
    }

    /// Closes the idle connections. Those in use are closed when they are released, because then
    /// nothing else refers to this pool.
    pub(crate) async fn close(&self) {
        dispatch!(*self, AnyPool(ref pool) => pool.close().await);
    }
}

macro_rules! from_pool {
    ($feature:literal, $variant:ident, $database:ty) => {
        #[cfg(feature = $feature)]
        impl From<Pool<$database>> for AnyPool {
            fn from(pool: Pool<$database>) -> Self {
                Self::$variant(pool)
            }
        }
    };
}

from_pool!("postgres", Postgres, sqlx::Postgres);
from_pool!("mysql", Mysql, sqlx::MySql);

/// A pool of connections to one kind of database: our own, or sqlx's if the application passed it
/// in.
#[derive(Debug)]
pub(crate) enum Pool<D: Driver> {
    Own(Arc<OwnPool<D>>),
    External(sqlx::Pool<D>),
}

impl<D: Driver> Clone for Pool<D> {
    fn clone(&self) -> Self {
        match self {
            Self::Own(pool) => Self::Own(Arc::clone(pool)),
            Self::External(pool) => Self::External(pool.clone()),
        }
    }
}

type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Prepares a new connection for use.
pub(crate) type Setup<D> = Box<
    dyn Fn(&mut <D as sqlx::Database>::Connection) -> BoxFuture<'_, sqlx::Result<()>> + Send + Sync,
>;

/// How a pool connects.
pub(crate) struct PoolConfig<D: sqlx::Database> {
    pub(crate) connector: Connector<D>,
    pub(crate) setup: Option<Setup<D>>,
    pub(crate) size: u32,
    pub(crate) ping_timeout: Duration,
}

pub(crate) struct OwnPool<D: sqlx::Database> {
    config: Arc<PoolConfig<D>>,
    idle: Mutex<Vec<Idle<D>>>,
    permits: Arc<Semaphore>,
}

impl<D: sqlx::Database> fmt::Debug for OwnPool<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OwnPool").field("size", &self.config.size).finish_non_exhaustive()
    }
}

struct Idle<D: sqlx::Database> {
    connection: D::Connection,
    origin: Origin,
    since: Instant,
}

/// When a connection was opened, and in which runtime.
///
/// A connection does not work after its runtime has ended, which happens if tests with a runtime
/// each share a cache.
#[derive(Debug)]
pub(crate) struct Origin {
    opened_at: Instant,
    runtime: Weak<()>,
    runtime_task: AbortHandle,
}

impl Origin {
    fn current() -> Self {
        let alive = Arc::new(());
        let runtime = Arc::downgrade(&alive);
        // A runtime that ends drops its tasks, and this one drops `alive`.
        let task = tokio::spawn(async move {
            let _alive = alive;
            pending::<()>().await;
        });
        Self { opened_at: Instant::now(), runtime, runtime_task: task.abort_handle() }
    }

    fn runtime_has_ended(&self) -> bool {
        self.runtime.strong_count() == 0
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        self.runtime_task.abort();
    }
}

impl<D: Driver> Pool<D> {
    pub(crate) fn new(config: PoolConfig<D>) -> Self {
        Self::with_config(Arc::new(config))
    }

    fn with_config(config: Arc<PoolConfig<D>>) -> Self {
        let permits = Arc::new(Semaphore::new(config.size as usize));
        Self::Own(Arc::new(OwnPool { config, idle: Mutex::default(), permits }))
    }

    fn renewed(&self) -> Self {
        match self {
            Self::Own(pool) => Self::with_config(Arc::clone(&pool.config)),
            Self::External(pool) => Self::External(pool.clone()),
        }
    }

    /// Takes an idle connection, or opens a new one. The caller limits the time.
    pub(crate) async fn acquire(&self) -> sqlx::Result<PooledConnection<D>> {
        match self {
            Self::Own(pool) => pool.acquire().await,
            Self::External(pool) => Ok(PooledConnection::External(pool.acquire().await?)),
        }
    }

    async fn close(&self) {
        let Self::Own(pool) = self else { return };
        let idle = std::mem::take(&mut *pool.idle.lock());
        for idle in idle {
            // The connection is dropped in any case.
            let _ = idle.connection.close().await;
        }
    }
}

impl<D: Driver> OwnPool<D> {
    async fn acquire(self: &Arc<Self>) -> sqlx::Result<PooledConnection<D>> {
        let permits = Arc::clone(&self.permits);
        let permit = permits.acquire_owned().await.map_err(|_| sqlx::Error::PoolClosed)?;
        let (connection, origin) = match self.take_idle().await {
            Some(found) => found,
            None => (self.connect().await?, Origin::current()),
        };
        Ok(PooledConnection::Own { connection, origin, pool: Arc::clone(self), permit })
    }

    /// Takes the connection that was used last, if it is alive. If it is not, the others are not
    /// either and are dropped.
    async fn take_idle(&self) -> Option<(D::Connection, Origin)> {
        let Idle { mut connection, origin, since } = self.pop()?;
        if since.elapsed() < PING_AFTER {
            return Some((connection, origin));
        }
        if origin.opened_at.elapsed() < MAX_LIFETIME
            && matches!(timeout(self.config.ping_timeout, connection.ping()).await, Ok(Ok(())))
        {
            return Some((connection, origin));
        }
        let others = std::mem::take(&mut *self.idle.lock());
        drop(others);
        None
    }

    fn pop(&self) -> Option<Idle<D>> {
        loop {
            let idle = self.idle.lock().pop()?;
            if !idle.origin.runtime_has_ended() {
                return Some(idle);
            }
        }
    }

    async fn connect(&self) -> sqlx::Result<D::Connection> {
        let mut connection = self.config.connector.connect().await?;
        if let Some(setup) = &self.config.setup {
            setup(&mut connection).await?;
        }
        Ok(connection)
    }

    fn put_back(&self, connection: D::Connection, origin: Origin) {
        let mut idle = self.idle.lock();
        idle.push(Idle { connection, origin, since: Instant::now() });
        if idle[0].since.elapsed() > IDLE_TIMEOUT {
            let expired = idle.remove(0);
            drop(idle);
            drop(expired);
        }
    }
}

/// A connection taken from a pool.
#[derive(Debug)]
pub(crate) enum PooledConnection<D: Driver> {
    Own {
        connection: D::Connection,
        origin: Origin,
        pool: Arc<OwnPool<D>>,
        permit: OwnedSemaphorePermit,
    },
    External(PoolConnection<D>),
}

impl<D: Driver> PooledConnection<D> {
    fn connection(&mut self) -> &mut D::Connection {
        match self {
            Self::Own { connection, .. } => connection,
            Self::External(connection) => connection,
        }
    }

    /// Runs the statements, see [`Driver::run`].
    pub(crate) async fn run(
        &mut self,
        statements: &[Statement<'_>],
        explicit: bool,
    ) -> sqlx::Result<Vec<Outcome>> {
        D::run(self.connection(), statements, explicit).await
    }

    /// Gives the connection back to the pool.
    pub(crate) fn release(self) {
        if let Self::Own { connection, origin, pool, permit } = self {
            pool.put_back(connection, origin);
            // The next holder of the permit must find the connection.
            drop(permit);
        }
    }

    /// Waits until the current statement has ended, for at most `limit`, and closes the connection.
    pub(crate) async fn finish_and_close(mut self, limit: Duration) {
        // The reply to a ping follows the one to that statement.
        let _ = timeout(limit, self.connection().ping()).await;
        self.close();
    }

    pub(crate) fn close(self) {
        if let Self::External(connection) = self {
            drop(connection.detach());
        }
    }
}
