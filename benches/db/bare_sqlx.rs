//! What a user would write on sqlx.

use cache_core::async_trait;
use sqlx::{AssertSqlSafe, Connection, MySql, Pool, Postgres, Sqlite, pool::PoolConnection};
use tokio::sync::{Mutex, MutexGuard};

use crate::{
    candidate::{Candidate, VALUE, deadline, now},
    sql::Sql,
};

/// Statements, and what they run on.
pub(crate) struct BareSqlx<D: sqlx::Database> {
    source: Source<D>,
    sql: Sql,
}

enum Source<D: sqlx::Database> {
    Pool(Pool<D>),
    /// One connection, which calls would have to queue for.
    One(Mutex<D::Connection>),
}

enum Lent<'a, D: sqlx::Database> {
    Pool(PoolConnection<D>),
    One(MutexGuard<'a, D::Connection>),
}

impl<D: sqlx::Database> BareSqlx<D> {
    pub(crate) fn pool(pool: Pool<D>, sql: Sql) -> Self {
        Self { source: Source::Pool(pool), sql }
    }

    pub(crate) async fn one(options: &<D::Connection as Connection>::Options, sql: Sql) -> Self {
        let connection = D::Connection::connect_with(options).await.expect("it answers");
        Self { source: Source::One(Mutex::new(connection)), sql }
    }

    async fn lend(&self) -> Lent<'_, D> {
        match &self.source {
            Source::Pool(pool) => Lent::Pool(pool.acquire().await.expect("it answers")),
            Source::One(connection) => Lent::One(connection.lock().await),
        }
    }
}

impl<D: sqlx::Database> Lent<'_, D> {
    fn connection(&mut self) -> &mut D::Connection {
        match self {
            Self::Pool(connection) => connection,
            Self::One(connection) => connection,
        }
    }
}

type Query<'q, D> = sqlx::query::Query<'q, D, <D as sqlx::Database>::Arguments>;

macro_rules! candidate {
    ($database:ty, keys: $keys:expr, rows: $rows:expr) => {
        #[async_trait]
        impl Candidate for BareSqlx<$database> {
            async fn get(&self, key: &str) {
                let get = sqlx::query_as(AssertSqlSafe(self.sql.get.as_str()))
                    .bind(key.as_bytes())
                    .bind(now());
                let row: (Option<Vec<u8>>, Option<i64>) =
                    get.fetch_one(self.lend().await.connection()).await.expect("it is there");
                assert!(row.0.is_some(), "{key}");
            }

            async fn set(&self, key: &str) {
                let set = sqlx::query(AssertSqlSafe(self.sql.set.as_str())).bind(key.as_bytes());
                set.bind(VALUE)
                    .bind(deadline())
                    .execute(self.lend().await.connection())
                    .await
                    .expect("it is stored");
            }

            async fn get_many(&self, keys: &[&str]) {
                use sqlx::Row as _;

                let bind: fn(Query<'static, $database>, &[&str]) -> Query<'static, $database> =
                    $keys;
                let query =
                    bind(sqlx::query(AssertSqlSafe(self.sql.get_many.clone())), keys).bind(now());
                let rows =
                    query.fetch_all(self.lend().await.connection()).await.expect("it answers");
                let found: Vec<(Vec<u8>, Option<Vec<u8>>, Option<i64>)> =
                    rows.iter().map(|row| (row.get(0), row.get(1), row.get(2))).collect();
                assert_eq!(found.len(), keys.len());
            }

            async fn set_many(&self, keys: &[&str]) {
                let bind: fn(Query<'static, $database>, &[&str]) -> Query<'static, $database> =
                    $rows;
                let query = bind(sqlx::query(AssertSqlSafe(self.sql.set_many.clone())), keys);
                query.execute(self.lend().await.connection()).await.expect("they are stored");
            }
        }
    };
}

candidate! {
    Sqlite,
    keys: |query, keys| keys.iter().fold(query, |query, key| query.bind(key.as_bytes().to_vec())),
    rows: |query, keys| keys.iter().fold(query, |query, key| query.bind(key.as_bytes().to_vec()).bind(VALUE).bind(deadline()))
}

candidate! {
    MySql,
    keys: |query, keys| keys.iter().fold(query, |query, key| query.bind(key.as_bytes().to_vec())),
    rows: |query, keys| keys.iter().fold(query, |query, key| query.bind(key.as_bytes().to_vec()).bind(VALUE).bind(deadline()))
}

candidate! {
    Postgres,
    keys: |query, keys| query.bind(bytes_of(keys)),
    rows: |query, keys| query.bind(bytes_of(keys)).bind(vec![VALUE; keys.len()]).bind(deadline())
}

fn bytes_of(keys: &[&str]) -> Vec<Vec<u8>> {
    keys.iter().map(|key| key.as_bytes().to_vec()).collect()
}
