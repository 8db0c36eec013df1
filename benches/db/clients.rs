//! Clients that a user would write with sqlx.

use std::time::SystemTime;

use cache_core::async_trait;
use cachette_benches::{
    Client,
    workload::{HOUR, VALUE},
};
use sqlx::{
    AssertSqlSafe, Connection, MySql, Pool, Postgres, Row as _, Sqlite, pool::PoolConnection,
};
use tokio::sync::{Mutex, MutexGuard};

use crate::sql::Sql;

/// Microseconds since 1970.
pub(crate) fn now() -> i64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("it is later");
    i64::try_from(now.as_micros()).expect("it fits")
}

/// The expiry of what is stored now.
pub(crate) fn deadline() -> i64 {
    now() + i64::try_from(HOUR.as_micros()).expect("it fits")
}

pub(crate) struct Sqlx<D: sqlx::Database> {
    source: Source<D>,
    sql: Sql,
}

enum Source<D: sqlx::Database> {
    Pool(Pool<D>),
    /// A single connection, which calls wait for.
    One(Mutex<D::Connection>),
}

enum Acquired<'a, D: sqlx::Database> {
    Pool(PoolConnection<D>),
    One(MutexGuard<'a, D::Connection>),
}

impl<D: sqlx::Database> Sqlx<D> {
    pub(crate) fn pool(pool: Pool<D>, sql: Sql) -> Self {
        Self { source: Source::Pool(pool), sql }
    }

    pub(crate) async fn one(options: &<D::Connection as Connection>::Options, sql: Sql) -> Self {
        let connection = D::Connection::connect_with(options).await.expect("it connects");
        Self { source: Source::One(Mutex::new(connection)), sql }
    }

    async fn acquire(&self) -> Acquired<'_, D> {
        match &self.source {
            Source::Pool(pool) => Acquired::Pool(pool.acquire().await.expect("it connects")),
            Source::One(connection) => Acquired::One(connection.lock().await),
        }
    }
}

impl<D: sqlx::Database> Acquired<'_, D> {
    fn connection(&mut self) -> &mut D::Connection {
        match self {
            Self::Pool(connection) => connection,
            Self::One(connection) => connection,
        }
    }
}

type Query<'q, D> = sqlx::query::Query<'q, D, <D as sqlx::Database>::Arguments>;

/// Implements [`Client`] with two functions that bind keys, and keys with values.
macro_rules! client {
    ($database:ty, $bind_keys:expr, $bind_rows:expr) => {
        #[async_trait]
        impl Client for Sqlx<$database> {
            async fn get(&self, key: &str) {
                let get = sqlx::query_as(AssertSqlSafe(self.sql.get.as_str()));
                let get = get.bind(key.as_bytes()).bind(now());
                let row: (Option<Vec<u8>>, Option<i64>) =
                    get.fetch_one(self.acquire().await.connection()).await.expect("a row");
                assert!(row.0.is_some(), "{key}");
            }

            async fn set(&self, key: &str) {
                let set = sqlx::query(AssertSqlSafe(self.sql.set.as_str())).bind(key.as_bytes());
                let set = set.bind(&VALUE[..]).bind(deadline());
                set.execute(self.acquire().await.connection()).await.expect("no error");
            }

            async fn get_many(&self, keys: &[&str]) {
                let bind: fn(Query<'static, $database>, &[&str]) -> Query<'static, $database> =
                    $bind_keys;
                let get = bind(sqlx::query(AssertSqlSafe(self.sql.get_many.clone())), keys);
                let get = get.bind(now()).fetch_all(self.acquire().await.connection()).await;
                let rows = get.expect("no error");
                let found: Vec<(Vec<u8>, Option<Vec<u8>>, Option<i64>)> =
                    rows.iter().map(|row| (row.get(0), row.get(1), row.get(2))).collect();
                assert_eq!(found.len(), keys.len());
            }

            async fn set_many(&self, keys: &[&str]) {
                let bind: fn(Query<'static, $database>, &[&str]) -> Query<'static, $database> =
                    $bind_rows;
                let set = bind(sqlx::query(AssertSqlSafe(self.sql.set_many.clone())), keys);
                set.execute(self.acquire().await.connection()).await.expect("no error");
            }
        }
    };
}

/// Binds each key, or each key with its value and deadline.
macro_rules! client_with_question_marks {
    ($database:ty) => {
        client!(
            $database,
            |query, keys| bytes(keys).into_iter().fold(query, |query, key| query.bind(key)),
            |query, keys| bytes(keys)
                .into_iter()
                .fold(query, |query, key| query.bind(key).bind(&VALUE[..]).bind(deadline()))
        );
    };
}

client_with_question_marks!(Sqlite);
client_with_question_marks!(MySql);
client!(Postgres, |query, keys| query.bind(bytes(keys)), |query, keys| query
    .bind(bytes(keys))
    .bind(vec![&VALUE[..]; keys.len()])
    .bind(deadline()));

fn bytes(keys: &[&str]) -> Vec<Vec<u8>> {
    keys.iter().map(|key| key.as_bytes().to_vec()).collect()
}
