//! A connection while it is in use.

use std::time::Duration;

use tokio::runtime::Handle;

use super::{
    adrift::Drift,
    pool::{Loan, Pool},
};
use crate::statement::{Outcome, Statement};

/// A connection on loan. One whose statement was not seen to end, as its caller went away or lost patience, is closed
/// and not given back: the pool would wait for its answer, and be short of it as long as the database is silent.
#[derive(Debug)]
pub(crate) struct Lease {
    connection: Option<Connection>,
    fine: bool,
    /// While something is written: what a caller that goes away leaves [adrift](super::adrift), and how long it is waited for.
    writing: Option<(Drift, Duration)>,
}

#[derive(Debug)]
enum Connection {
    #[cfg(feature = "sqlite")]
    Sqlite(Loan<sqlx::Sqlite>),
    #[cfg(feature = "postgres")]
    Postgres(Loan<sqlx::Postgres>),
    #[cfg(feature = "mysql")]
    Mysql(Loan<sqlx::MySql>),
}

impl Lease {
    /// A free connection, or a new one. `precious` ones are given back in any case.
    pub(crate) async fn of(pool: &Pool, precious: bool) -> sqlx::Result<Self> {
        let connection = match *pool {
            #[cfg(feature = "sqlite")]
            Pool::Sqlite(ref supply) => Connection::Sqlite(supply.lend().await?),
            #[cfg(feature = "postgres")]
            Pool::Postgres(ref supply) => Connection::Postgres(supply.lend().await?),
            #[cfg(feature = "mysql")]
            Pool::Mysql(ref supply) => Connection::Mysql(supply.lend().await?),
        };
        Ok(Self { connection: Some(connection), fine: precious, writing: None })
    }

    /// Says that what is run now writes. Should it be dropped before it is [settled](Self::settle), it is waited for for so long.
    pub(crate) fn begin_to_write(&mut self, drift: Drift, patience: Duration) {
        self.writing = Some((drift, patience));
    }

    /// Says that the outcome is known, or will never be.
    pub(crate) fn settle(&mut self) {
        self.writing = None;
    }

    /// Says that the connection is fit for the next one.
    pub(crate) fn give_back(mut self) {
        self.fine = true;
    }

    /// Runs the statements, several or `explicit` ones in a transaction.
    pub(crate) async fn perform(
        &mut self,
        plan: &[Statement<'_>],
        explicit: bool,
    ) -> sqlx::Result<Vec<Outcome>> {
        let Some(connection) = &mut self.connection else { return Err(sqlx::Error::PoolClosed) };
        match *connection {
            #[cfg(feature = "sqlite")]
            Connection::Sqlite(ref mut loan) => {
                sqlite::perform(loan.connection(), plan, false).await
            }
            #[cfg(feature = "postgres")]
            Connection::Postgres(ref mut loan) => {
                postgres::perform(loan.connection(), plan, explicit).await
            }
            #[cfg(feature = "mysql")]
            Connection::Mysql(ref mut loan) => mysql::perform(loan.connection(), plan, false).await,
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let Some(connection) = self.connection.take() else { return };
        if !self.fine
            && let Some((drift, patience)) = self.writing.take()
            && let Ok(runtime) = Handle::try_current()
        {
            let adrift = drift.begin();
            runtime.spawn(async move {
                connection.outlast(patience).await;
                drop(adrift);
            });
            return;
        }
        match connection {
            #[cfg(feature = "sqlite")]
            Connection::Sqlite(loan) if self.fine => loan.give_back(),
            #[cfg(feature = "sqlite")]
            Connection::Sqlite(loan) => loan.discard(),
            #[cfg(feature = "postgres")]
            Connection::Postgres(loan) if self.fine => loan.give_back(),
            #[cfg(feature = "postgres")]
            Connection::Postgres(loan) => loan.discard(),
            #[cfg(feature = "mysql")]
            Connection::Mysql(loan) if self.fine => loan.give_back(),
            #[cfg(feature = "mysql")]
            Connection::Mysql(loan) => loan.discard(),
        }
    }
}

impl Connection {
    /// Waits for the end of the statement that is under way, and closes the connection.
    async fn outlast(self, patience: Duration) {
        match self {
            #[cfg(feature = "sqlite")]
            Self::Sqlite(loan) => loan.outlast(patience).await,
            #[cfg(feature = "postgres")]
            Self::Postgres(loan) => loan.outlast(patience).await,
            #[cfg(feature = "mysql")]
            Self::Mysql(loan) => loan.outlast(patience).await,
        }
    }
}

/// Makes the module of a driver: how it runs a plan.
#[cfg(any(feature = "sqlite", feature = "postgres", feature = "mysql"))]
macro_rules! driver {
    ($module:ident, $connection:ty) => {
        mod $module {
            use sqlx::Connection as _;

            use crate::statement::{Outcome, Statement, $module::perform as perform_one};

            pub(super) async fn perform(
                connection: &mut $connection,
                plan: &[Statement<'_>],
                explicit: bool,
            ) -> sqlx::Result<Vec<Outcome>> {
                if let [statement] = plan
                    && !explicit
                {
                    return Ok(vec![perform_one(connection, statement, true).await?]);
                }
                let mut transaction = connection.begin().await?;
                let mut outcomes = Vec::with_capacity(plan.len());
                for statement in plan {
                    outcomes.push(perform_one(&mut transaction, statement, !explicit).await?);
                }
                transaction.commit().await?;
                Ok(outcomes)
            }
        }
    };
}

#[cfg(feature = "sqlite")]
driver!(sqlite, sqlx::SqliteConnection);
#[cfg(feature = "postgres")]
driver!(postgres, sqlx::PgConnection);
#[cfg(feature = "mysql")]
driver!(mysql, sqlx::MySqlConnection);
