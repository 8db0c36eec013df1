//! A pool of connections to any of the databases.

/// One of the pools.
#[derive(Clone, Debug)]
pub(crate) enum Pool {
    #[cfg(feature = "sqlite")]
    Sqlite(sqlx::SqlitePool),
    #[cfg(feature = "postgres")]
    Postgres(sqlx::PgPool),
    #[cfg(feature = "mysql")]
    Mysql(sqlx::MySqlPool),
}

impl Pool {
    pub(crate) async fn close(&self) {
        match *self {
            #[cfg(feature = "sqlite")]
            Self::Sqlite(ref pool) => pool.close().await,
            #[cfg(feature = "postgres")]
            Self::Postgres(ref pool) => pool.close().await,
            #[cfg(feature = "mysql")]
            Self::Mysql(ref pool) => pool.close().await,
        }
    }
}
