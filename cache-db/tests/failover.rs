//! Servers that become replicas, and connections that the server ends.
#![cfg(all(feature = "sqlite", feature = "postgres", feature = "mysql"))]

mod common;

use std::time::Duration;

use cache_core::{Cache, ErrorKind, Value};
use cache_db::{DbCache, DbOptions};
use sqlx::{AssertSqlSafe, Connection as _, Executor as _, MySqlConnection, PgConnection};
use tokio::{task::JoinSet, time::sleep};
use xtask::{
    proxy::Proxy,
    servers::{Kind, Server},
};

/// Starts a server with a table whose entry `n` is this number.
async fn server_with(kind: Kind, number: i64) -> Server {
    let server = Server::start(kind).unwrap_or_else(|error| panic!("{error}"));
    if kind == Kind::Mariadb {
        // `read_only` does not concern root.
        execute_on_mariadb(&server, "CREATE USER shop").await;
        execute_on_mariadb(&server, "GRANT ALL ON cachette.* TO shop").await;
    }
    let store = store_at(kind, server.port());
    store.create_table(false).await.expect("the table is created");
    store.set("n", Value::Int(number), None).await.expect("set succeeds");
    server
}

fn store_at(kind: Kind, port: u16) -> DbCache {
    let url = match kind {
        Kind::Postgres => format!("postgres://postgres@127.0.0.1:{port}/postgres"),
        _ => format!("mysql://shop@127.0.0.1:{port}/cachette"),
    };
    let options = DbOptions::new(url)
        .connect_timeout(Duration::from_secs(20))
        .statement_timeout(Duration::from_secs(20));
    DbCache::new("cache", options).expect("valid options")
}

async fn execute_on_mariadb(server: &Server, sql: &'static str) {
    let mut root = MySqlConnection::connect(&server.url()).await.expect("root connects");
    root.execute(sql).await.expect(sql);
}

async fn execute_on_postgres(server: &Server, sql: &'static str) {
    let mut admin = PgConnection::connect(&server.url()).await.expect("the administrator connects");
    admin.execute(sql).await.expect(sql);
}

/// Makes the server reject writes, as a replica does. It may take a moment.
async fn demote(kind: Kind, server: &Server) {
    if kind == Kind::Mariadb {
        return execute_on_mariadb(server, "SET GLOBAL read_only = 1").await;
    }
    execute_on_postgres(server, "ALTER SYSTEM SET default_transaction_read_only = on").await;
    execute_on_postgres(server, "SELECT pg_reload_conf()").await;
}

async fn concurrent_increments(store: &DbCache, count: usize) -> Vec<i64> {
    let mut calls = JoinSet::new();
    for _ in 0..count {
        let store = store.clone();
        calls.spawn(async move { store.incr("n", 1).await });
    }
    let results = calls.join_all().await;
    let mut sums: Vec<i64> =
        results.into_iter().flat_map(|result| result.expect("incr succeeds")).collect();
    sums.sort_unstable();
    sums
}

/// Reads until the pool has several connections: how many calls meet depends on the scheduler.
async fn fill_the_pool(store: &DbCache, proxy: &Proxy) {
    while proxy.open() < 3 {
        let gets = [(); 10].map(|()| {
            let store = store.clone();
            tokio::spawn(async move { store.get("n").await })
        });
        for get in gets {
            get.await.expect("the task does not panic").expect("get succeeds");
        }
    }
}

async fn writes_reach_the_new_primary_behind_the_same_address(kind: Kind) {
    let (old, new) = (server_with(kind, 0).await, server_with(kind, 1000).await);
    demote(kind, &old).await;
    let mut sum = 1000;
    // As many calls as connections, and one call, which must not be repeated on another of them.
    for calls in [10, 1] {
        let proxy = Proxy::before(old.port()).unwrap_or_else(|error| panic!("{error}"));
        let store = store_at(kind, proxy.port());
        let error = loop {
            match store.incr("n", 1).await {
                Ok(_) => sleep(Duration::from_millis(5)).await,
                Err(error) => break error,
            }
        };
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
        assert!(error.is_temporary(), "{error}");

        // Reads still work, so the pool is full of connections to the old primary.
        fill_the_pool(&store, &proxy).await;
        proxy.lead_to(new.port());
        let sums = concurrent_increments(&store, calls).await;
        let expected: Vec<i64> = (sum..).skip(1).take(calls).collect();
        assert_eq!(sums, expected, "each is executed once");
        sum = expected[calls - 1];
        for _ in 0..20 {
            assert_eq!(store.get("n").await.expect("get succeeds"), Some(Value::Int(sum)));
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writes_reach_the_new_primary_behind_the_same_address_on_postgres() {
    writes_reach_the_new_primary_behind_the_same_address(Kind::Postgres).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writes_reach_the_new_primary_behind_the_same_address_on_mariadb() {
    writes_reach_the_new_primary_behind_the_same_address(Kind::Mariadb).await;
}

#[tokio::test]
async fn increment_on_a_connection_that_postgres_ended_is_repeated() {
    let server = server_with(Kind::Postgres, 0).await;
    let store = store_at(Kind::Postgres, server.port());
    for sum in 1..10 {
        assert_eq!(store.incr("n", 1).await.expect("incr succeeds"), Some(sum));
        end_sessions_of_the_store(&server).await;
    }
}

/// Ends the connections of the store, and waits until the server has none left.
async fn end_sessions_of_the_store(server: &Server) {
    const OTHERS: &str = "FROM pg_stat_activity WHERE application_name = 'cachette'";
    let mut admin = PgConnection::connect(&server.url()).await.expect("the administrator connects");
    let end = AssertSqlSafe(format!("SELECT pg_terminate_backend(pid) {OTHERS}"));
    admin.execute(end).await.expect("the sessions are ended");
    loop {
        let count = AssertSqlSafe(format!("SELECT COUNT(*) {OTHERS}"));
        let count: i64 = sqlx::query_scalar(count).fetch_one(&mut admin).await.expect("a number");
        if count == 0 {
            return;
        }
        sleep(Duration::from_millis(5)).await;
    }
}
