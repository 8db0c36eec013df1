//! Connection pools.
//!
//! sqlx's own pool is used only if the application passes one in. It pings each connection that is
//! returned, which doubles the round trips, it waits for the reply as long as a dead network is
//! silent, and an attempt to connect ends with the call that started it.

mod attempt;
mod live;
mod own;

use std::sync::Arc;

use sqlx::pool::PoolConnection;

use self::own::{Lent, OwnPool};
pub(super) use self::own::{PoolConfig, Setup};
use super::driver::{Bound, Driver, dispatch};
use crate::statement::{Outcome, Statement};

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

impl<D: Driver> Pool<D> {
    pub(crate) fn new(config: PoolConfig<D>) -> Self {
        Self::Own(OwnPool::new(Arc::new(config)))
    }

    fn renewed(&self) -> Self {
        match self {
            Self::Own(pool) => Self::Own(pool.renewed()),
            Self::External(pool) => Self::External(pool.clone()),
        }
    }

    /// Takes an idle connection, or opens a new one. The caller limits the time.
    pub(crate) async fn acquire(&self) -> sqlx::Result<PooledConnection<D>> {
        match self {
            Self::Own(pool) => Ok(PooledConnection::Own(pool.acquire().await?)),
            Self::External(pool) => {
                Ok(PooledConnection::External(External(Some(pool.acquire().await?))))
            }
        }
    }

    async fn close(&self) {
        if let Self::Own(pool) = self {
            pool.close().await;
        }
    }
}

/// A connection taken from a pool. It is closed when it is dropped, unless it is released.
#[derive(Debug)]
pub(crate) enum PooledConnection<D: Driver> {
    Own(Lent<D>),
    External(External<D>),
}

/// A connection of a pool that the application passed in, until it is released.
#[derive(Debug)]
pub(crate) struct External<D: Driver>(Option<PoolConnection<D>>);

impl<D: Driver> Drop for External<D> {
    fn drop(&mut self) {
        drop(self.0.take().map(PoolConnection::detach));
    }
}

impl<D: Driver> PooledConnection<D> {
    /// Encodes the arguments of the statements.
    pub(crate) fn bind(&self, statements: &[Statement<'_>]) -> Vec<Bound<D>> {
        statements.iter().map(D::bind).collect()
    }

    /// Runs the statements, see [`Driver::run`].
    pub(crate) async fn run(
        &mut self,
        statements: Vec<Bound<D>>,
        explicit: bool,
    ) -> sqlx::Result<Vec<Outcome>> {
        let connection = match self {
            Self::Own(lent) => lent.connection(),
            Self::External(External(Some(connection))) => connection,
            Self::External(External(None)) => return Err(sqlx::Error::PoolClosed),
        };
        D::run(connection, statements, explicit).await
    }

    /// Gives the connection back to the pool.
    pub(crate) fn release(self) {
        match self {
            Self::Own(lent) => lent.release(),
            Self::External(mut external) => drop(external.0.take()),
        }
    }
}
