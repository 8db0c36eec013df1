//! Pools that the application passes in.
#![cfg(all(feature = "sqlite", feature = "postgres", feature = "mysql"))]

mod common;

use cache_core::{Cache, Clock, Error, ErrorKind, Value};
use cache_db::{Database, DbCache, DbOptions, Router};
use sqlx::sqlite::SqliteConnectOptions;

#[derive(Debug)]
struct Default;

impl Router for Default {
    fn db_for_write(&self, _: &str) -> &str {
        "default"
    }
}

fn store_on(pool: impl Into<Database>) -> Result<DbCache, Error> {
    let (databases, table) = ([("default", pool.into())], common::fresh_name("pool"));
    DbCache::with_router(&table, databases, Default, DbOptions::default(), Clock::system())
}

#[tokio::test]
async fn close_leaves_an_external_pool_open() {
    let url = common::url("CACHETTE_POSTGRES_URL");
    let pool = sqlx::PgPool::connect(&url).await.expect("the server accepts connections");
    let store = store_on(pool.clone()).expect("valid options");
    store.create_table(false).await.expect("the table is created");
    store.set("k", Value::Int(1), None).await.expect("set succeeds");
    store.close().await.expect("close succeeds");
    assert!(!pool.is_closed());
    assert_eq!(store.get("k").await.expect("get succeeds"), Some(Value::Int(1)));
}

#[tokio::test]
async fn pool_of_sqlite_is_an_error_that_names_the_option_url_with_its_path() {
    let connect = SqliteConnectOptions::new().filename("/srv/the shop.db");
    let error = store_on(sqlx::SqlitePool::connect_lazy_with(connect)).expect_err("not a server");
    assert_eq!(error.kind(), ErrorKind::Config);
    let message = error.to_string();
    assert!(message.contains("url = \"sqlite:/srv/the shop.db\""), "{message}");
    assert!(message.contains("found an sqlx pool of SQLite"), "{message}");
}
