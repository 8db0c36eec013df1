//! A connection while a call uses it.

use std::time::Duration;

use tokio::time::timeout;

use super::{
    detachable::{BoxFuture, Detachable},
    driver::dispatch,
    orphaned_writes::OrphanedWrites,
    pool::{AnyPool, PooledConnection},
};
use crate::{
    dialect::Dialect,
    error::Failure,
    statement::{Outcome, Statement},
};

/// A connection taken from the pool. It is closed when it is dropped, unless it is
/// [released](Self::release).
#[derive(Debug)]
pub(crate) enum Connection {
    #[cfg(feature = "postgres")]
    Postgres(PooledConnection<sqlx::Postgres>),
    #[cfg(feature = "mysql")]
    Mysql(PooledConnection<sqlx::MySql>),
}

macro_rules! from_connection {
    ($feature:literal, $variant:ident, $database:ty) => {
        #[cfg(feature = $feature)]
        impl From<PooledConnection<$database>> for Connection {
            fn from(connection: PooledConnection<$database>) -> Self {
                Self::$variant(connection)
            }
        }
    };
}

from_connection!("postgres", Postgres, sqlx::Postgres);
from_connection!("mysql", Mysql, sqlx::MySql);

/// What happens to statements whose call was cancelled.
#[derive(Debug)]
pub(crate) struct OnCancel {
    /// How long they continue. Then the connection is closed.
    pub(crate) limit: Duration,
    /// Where they are registered meanwhile if they write.
    pub(crate) orphaned_writes: Option<OrphanedWrites>,
}

/// A connection whose statements have ended.
pub(crate) struct Ended {
    connection: Connection,
    result: sqlx::Result<Vec<Outcome>>,
}

impl Connection {
    /// Takes a connection from the pool.
    pub(crate) async fn acquire(pool: &AnyPool) -> sqlx::Result<Self> {
        Ok(dispatch!(*pool, AnyPool(ref pool) => pool.acquire().await?.into()))
    }

    /// Gives the connection back to the pool.
    pub(crate) fn release(self) {
        dispatch!(self, Self(connection) => connection.release());
    }

    /// Runs the statements, see [`Driver::run`](super::driver::Driver::run). The caller limits the
    /// time: if it has passed, it aborts them.
    ///
    /// If the call is cancelled, they run to their end in the background, and then the connection
    /// returns to the pool. It keeps its place in the pool until then, so that cancelled calls do
    /// not open more connections than `pool_size`.
    pub(crate) fn run(
        self,
        statements: &[Statement<'_>],
        explicit: bool,
        dialect: &'static Dialect,
        on_cancel: OnCancel,
    ) -> Detachable<Ended, impl FnOnce(BoxFuture<'static, Ended>) -> BoxFuture<'static, ()>> {
        let running: BoxFuture<'static, Ended> = dispatch!(self, Self(mut connection) => {
            let statements = connection.bind(statements);
            Box::pin(async move {
                let result = connection.run(statements, explicit).await;
                Ended { connection: connection.into(), result }
            })
        });
        Detachable::new(running, move |running| {
            let write = on_cancel.orphaned_writes.map(OrphanedWrites::register);
            Box::pin(async move {
                if let Ok(ended) = timeout(on_cancel.limit, running).await
                    && let Ok((_, connection)) = ended.conclude(dialect)
                {
                    connection.release();
                }
                drop(write);
            })
        })
    }
}

impl Ended {
    /// Returns the outcomes and the connection. If the statements failed, the connection is
    /// released or closed.
    pub(crate) fn conclude(self, dialect: &Dialect) -> Result<(Vec<Outcome>, Connection), Failure> {
        match self.result {
            Ok(outcomes) => Ok((outcomes, self.connection)),
            Err(error) => {
                let failure = Failure::from_sqlx(dialect, &error);
                if failure.fault.keeps_the_connection() {
                    self.connection.release();
                }
                Err(failure)
            }
        }
    }
}
