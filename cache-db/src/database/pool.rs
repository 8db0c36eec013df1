//! Connections that are kept for the next call.
//!
//! Not the driver's own pool, but where an application hands one over: that one asks each connection whether it is alive when
//! it comes back, which doubles the round trips, and waits for the answer for as long as a dead network is silent.

use std::{
    future::pending,
    pin::Pin,
    sync::{Arc, Weak},
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use sqlx::{ConnectOptions as _, Connection, pool::PoolConnection};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    task::AbortHandle,
    time::timeout,
};

/// One that was idle for so long is asked whether it is alive: a server that was restarted meanwhile is then not met by a
/// statement, and a busy pool pays nothing.
const STALE: Duration = Duration::from_secs(1);
/// One that was idle for so long is closed.
const IDLE: Duration = Duration::from_secs(600);
/// One that is so old is closed, so that servers behind one address get their share in time.
const OLD: Duration = Duration::from_secs(1800);

/// A supply of connections to any of the databases.
#[derive(Clone, Debug)]
pub(crate) enum Pool {
    #[cfg(feature = "sqlite")]
    Sqlite(Supply<sqlx::Sqlite>),
    #[cfg(feature = "postgres")]
    Postgres(Supply<sqlx::Postgres>),
    #[cfg(feature = "mysql")]
    Mysql(Supply<sqlx::MySql>),
}

impl Pool {
    /// Closes what is not in use. What is, is closed when it comes back, as nobody has this value then.
    pub(crate) async fn close(&self) {
        match *self {
            #[cfg(feature = "sqlite")]
            Self::Sqlite(ref supply) => supply.close().await,
            #[cfg(feature = "postgres")]
            Self::Postgres(ref supply) => supply.close().await,
            #[cfg(feature = "mysql")]
            Self::Mysql(ref supply) => supply.close().await,
        }
    }
}

/// Connections of one kind: our own, or those of a pool that was handed over.
#[derive(Debug)]
pub(crate) enum Supply<D: sqlx::Database> {
    Own(Arc<Own<D>>),
    Given(sqlx::Pool<D>),
}

impl<D: sqlx::Database> Clone for Supply<D> {
    fn clone(&self) -> Self {
        match self {
            Self::Own(own) => Self::Own(Arc::clone(own)),
            Self::Given(pool) => Self::Given(pool.clone()),
        }
    }
}

type Ready<'a> = Pin<Box<dyn Future<Output = sqlx::Result<()>> + Send + 'a>>;

/// What is done with a connection before it is used.
pub(crate) type Prepare<D> =
    Box<dyn Fn(&mut <D as sqlx::Database>::Connection) -> Ready<'_> + Send + Sync>;

/// How to connect.
pub(crate) struct Plan<D: sqlx::Database> {
    pub(crate) options: <D::Connection as Connection>::Options,
    pub(crate) prepare: Option<Prepare<D>>,
    pub(crate) size: u32,
    /// How long one may take to say that it is alive.
    pub(crate) patience: Duration,
    /// Whether a connection is never closed for its age.
    pub(crate) precious: bool,
}

pub(crate) struct Own<D: sqlx::Database> {
    plan: Plan<D>,
    idle: Mutex<Vec<Idle<D>>>,
    permits: Arc<Semaphore>,
}

struct Idle<D: sqlx::Database> {
    connection: D::Connection,
    birth: Birth,
    since: Instant,
}

/// When a connection was made, and on which runtime: on no other can it be used once that one has ended, as when a service's
/// tests share their caches.
#[derive(Debug)]
pub(crate) struct Birth {
    at: Instant,
    runtime: Weak<()>,
    watch: AbortHandle,
}

impl Birth {
    fn here() -> Self {
        let alive = Arc::new(());
        let runtime = Arc::downgrade(&alive);
        // A runtime that ends drops its tasks.
        let watch = tokio::spawn(async move {
            let _alive = alive;
            pending::<()>().await;
        });
        Self { at: Instant::now(), runtime, watch: watch.abort_handle() }
    }

    fn is_of_a_runtime_that_ended(&self) -> bool {
        self.runtime.strong_count() == 0
    }
}

impl Drop for Birth {
    fn drop(&mut self) {
        self.watch.abort();
    }
}

impl<D: sqlx::Database> std::fmt::Debug for Own<D> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Own").field("size", &self.plan.size).finish_non_exhaustive()
    }
}

impl<D: sqlx::Database> Supply<D> {
    pub(crate) fn own(plan: Plan<D>) -> Self {
        let permits = Arc::new(Semaphore::new(plan.size as usize));
        Self::Own(Arc::new(Own { plan, idle: Mutex::default(), permits }))
    }

    /// A connection that was alive a moment ago. The caller bounds the time.
    pub(crate) async fn lend(&self) -> sqlx::Result<Loan<D>> {
        match self {
            Self::Own(own) => own.lend().await,
            Self::Given(pool) => Ok(Loan::Given(pool.acquire().await?)),
        }
    }

    async fn close(&self) {
        let Self::Own(own) = self else { return };
        let idle = std::mem::take(&mut *own.idle.lock());
        for idle in idle {
            // It is dropped in any case.
            let _ = idle.connection.close().await;
        }
    }
}

impl<D: sqlx::Database> Own<D> {
    async fn lend(self: &Arc<Self>) -> sqlx::Result<Loan<D>> {
        let permit =
            Arc::clone(&self.permits).acquire_owned().await.map_err(|_| sqlx::Error::PoolClosed)?;
        let (connection, birth) = match self.take_alive().await {
            Some(found) => found,
            None => (self.connect().await?, Birth::here()),
        };
        Ok(Loan::Own { connection, birth, home: Arc::clone(self), permit })
    }

    /// The one that was used last, if it is alive. If not, the others will not be either.
    async fn take_alive(&self) -> Option<(D::Connection, Birth)> {
        let Idle { mut connection, birth, since } = self.pop()?;
        if self.plan.precious || since.elapsed() < STALE {
            return Some((connection, birth));
        }
        if birth.at.elapsed() < OLD
            && matches!(timeout(self.plan.patience, connection.ping()).await, Ok(Ok(())))
        {
            return Some((connection, birth));
        }
        let suspects = std::mem::take(&mut *self.idle.lock());
        drop(suspects);
        None
    }

    fn pop(&self) -> Option<Idle<D>> {
        loop {
            let idle = self.idle.lock().pop()?;
            if self.plan.precious || !idle.birth.is_of_a_runtime_that_ended() {
                return Some(idle);
            }
        }
    }

    async fn connect(&self) -> sqlx::Result<D::Connection> {
        let mut connection = self.plan.options.connect().await?;
        if let Some(prepare) = &self.plan.prepare {
            prepare(&mut connection).await?;
        }
        Ok(connection)
    }

    fn keep(&self, connection: D::Connection, birth: Birth) {
        let mut idle = self.idle.lock();
        idle.push(Idle { connection, birth, since: Instant::now() });
        if !self.plan.precious && idle[0].since.elapsed() > IDLE {
            let unused = idle.remove(0);
            drop(idle);
            drop(unused);
        }
    }
}

/// A connection in use.
#[derive(Debug)]
pub(crate) enum Loan<D: sqlx::Database> {
    Own { connection: D::Connection, birth: Birth, home: Arc<Own<D>>, permit: OwnedSemaphorePermit },
    Given(PoolConnection<D>),
}

impl<D: sqlx::Database> Loan<D> {
    pub(crate) fn connection(&mut self) -> &mut D::Connection {
        match self {
            Self::Own { connection, .. } => connection,
            Self::Given(connection) => connection,
        }
    }

    /// Keeps it for the next one.
    pub(crate) fn give_back(self) {
        if let Self::Own { connection, birth, home, permit } = self {
            home.keep(connection, birth);
            // Only now may the next one look for it.
            drop(permit);
        }
    }

    /// Closes it when the statement that is under way has ended, or is not heard of for so long.
    pub(crate) async fn outlast(mut self, patience: Duration) {
        // It answers after that statement.
        let _ = timeout(patience, self.connection().ping()).await;
        self.discard();
    }

    /// Closes it.
    pub(crate) fn discard(self) {
        if let Self::Given(connection) = self {
            drop(connection.detach());
        }
    }
}
