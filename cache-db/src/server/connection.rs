//! A connection while a call uses it.

use std::time::Duration;

use tokio::runtime::Handle;

use super::{
    driver::dispatch,
    orphaned_writes::OrphanedWrites,
    pool::{AnyPool, PooledConnection},
};
use crate::statement::{Outcome, Statement};

/// A connection taken from the pool.
///
/// It is closed when it is dropped, unless it is [released](Self::release). The pool must not get a
/// connection back whose statement did not end, because the call was cancelled or timed out: it
/// would have to wait for the reply, and lack the connection while the database does not respond.
#[derive(Debug)]
pub(crate) struct Connection {
    connection: Option<AnyConnection>,
    is_reusable: bool,
    /// Set during a write. If the connection is dropped then, the write is registered as orphaned,
    /// and its end is awaited for this time.
    write: Option<(OrphanedWrites, Duration)>,
}

#[derive(Debug)]
enum AnyConnection {
    #[cfg(feature = "postgres")]
    Postgres(PooledConnection<sqlx::Postgres>),
    #[cfg(feature = "mysql")]
    Mysql(PooledConnection<sqlx::MySql>),
}

macro_rules! from_connection {
    ($feature:literal, $variant:ident, $database:ty) => {
        #[cfg(feature = $feature)]
        impl From<PooledConnection<$database>> for AnyConnection {
            fn from(connection: PooledConnection<$database>) -> Self {
                Self::$variant(connection)
            }
        }
    };
}

from_connection!("postgres", Postgres, sqlx::Postgres);
from_connection!("mysql", Mysql, sqlx::MySql);

impl Connection {
    /// Takes a connection from the pool.
    pub(crate) async fn acquire(pool: &AnyPool) -> sqlx::Result<Self> {
        let connection = dispatch!(*pool, AnyPool(ref pool) => pool.acquire().await?.into());
        Ok(Self { connection: Some(connection), is_reusable: false, write: None })
    }

    /// Marks the start of a write. If the connection is dropped before [`settle`](Self::settle),
    /// the write is orphaned and its end is awaited for at most `limit`.
    pub(crate) fn begin_write(&mut self, orphaned: OrphanedWrites, limit: Duration) {
        self.write = Some((orphaned, limit));
    }

    /// Marks that the outcome of the write is known or will never be.
    pub(crate) fn settle(&mut self) {
        self.write = None;
    }

    /// Gives the connection back to the pool.
    pub(crate) fn release(mut self) {
        self.is_reusable = true;
    }

    /// Runs the statements, see [`Driver::run`](super::driver::Driver::run).
    pub(crate) async fn run(
        &mut self,
        statements: &[Statement<'_>],
        explicit: bool,
    ) -> sqlx::Result<Vec<Outcome>> {
        let Some(connection) = &mut self.connection else { return Err(sqlx::Error::PoolClosed) };
        dispatch!(
            *connection,
            AnyConnection(ref mut connection) => connection.run(statements, explicit).await
        )
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        let Some(connection) = self.connection.take() else { return };
        if self.is_reusable {
            return connection.release();
        }
        let Some((orphaned, limit)) = self.write.take() else { return connection.close() };
        let Ok(runtime) = Handle::try_current() else { return connection.close() };
        let write = orphaned.register();
        runtime.spawn(async move {
            connection.finish_and_close(limit).await;
            drop(write);
        });
    }
}

impl AnyConnection {
    fn release(self) {
        dispatch!(self, AnyConnection(connection) => connection.release());
    }

    fn close(self) {
        dispatch!(self, AnyConnection(connection) => connection.close());
    }

    async fn finish_and_close(self, limit: Duration) {
        dispatch!(self, AnyConnection(connection) => connection.finish_and_close(limit).await);
    }
}
