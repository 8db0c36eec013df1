//! Real servers that die, come back, and fall silent.
#![cfg(all(feature = "sqlite", feature = "postgres", feature = "mysql"))]

mod common;

use std::time::{Duration, Instant};

use cache_core::{Cache, Clock, Error, ErrorKind, Value};
use cache_db::{DbCache, DbOptions};
use tokio::{
    task::JoinSet,
    time::{sleep, timeout},
};
use xtask::{
    proxy::Proxy,
    servers::{Kind, Server},
};

use self::common::gate::Gate;

const HOUR: Option<Duration> = Some(Duration::from_secs(3600));

/// More than the timeouts, for a machine that is busy with others.
const SLACK: Duration = Duration::from_secs(3);

fn server(kind: Kind) -> Server {
    Server::start(kind).unwrap_or_else(|why| panic!("{why}"))
}

async fn on(server: &Server) -> DbCache {
    let mut options = DbOptions::new(&server.url());
    options.connect_timeout = Duration::from_millis(500);
    options.statement_timeout = Duration::from_millis(500);
    let store = DbCache::new("cache", options).expect("it is fine");
    store.create_table(false).await.expect("it is made");
    store
}

/// Every verb, and that each is told as it should be, in time.
async fn all_are_unavailable(store: &DbCache) {
    let answers: [(&str, Result<(), Error>); 6] = [
        ("get", in_time(store.get("k")).await),
        ("set", in_time(store.set("k", Value::Int(2), HOUR)).await),
        ("add", in_time(store.add("k", Value::Int(2), HOUR)).await),
        ("incr", in_time(store.incr("n", 1)).await),
        ("get_many", in_time(store.get_many(&["k", "n"])).await),
        ("delete", in_time(store.delete("k")).await),
    ];
    for (verb, answer) in answers {
        let error = answer.expect_err(verb);
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{verb}: {error}");
        assert!(error.is_temporary(), "{verb}");
    }
}

async fn in_time<T>(call: impl Future<Output = Result<T, Error>>) -> Result<(), Error> {
    let start = Instant::now();
    let answer = call.await.map(drop);
    let took = start.elapsed();
    assert!(took < Duration::from_secs(1) + SLACK, "it took {took:?}");
    answer
}

async fn a_server_is_killed_and_comes_back(kind: Kind) {
    let mut server = server(kind);
    let store = on(&server).await;
    store.set("k", Value::Int(1), HOUR).await.expect("it is stored");
    server.kill().expect("it is killed");
    all_are_unavailable(&store).await;
    server.restart().expect("it starts again");
    store.set("k", Value::Int(3), HOUR).await.expect("the first call finds it again");
    assert_eq!(store.get("k").await.expect("it answers"), Some(Value::Int(3)));
}

/// The pool is full of connections to a server that is no more.
async fn a_restart_between_two_calls_is_not_noticed(kind: Kind) {
    let mut server = server(kind);
    let store = on(&server).await;
    store.set("n", Value::Int(0), HOUR).await.expect("it is stored");
    let mut calls = JoinSet::new();
    for _ in 0..10 {
        let store = store.clone();
        calls.spawn(async move { store.incr("n", 1).await });
    }
    while let Some(call) = calls.join_next().await {
        call.expect("nobody panics").expect("it counts");
    }
    server.kill().expect("it is killed");
    server.restart().expect("it starts again");
    sleep(Duration::from_secs(1)).await;
    // What was not flushed may be gone, as these servers run without durability: so it is set anew.
    store.set("n", Value::Int(10), HOUR).await.expect("it is stored");
    for sum in 11..21 {
        assert_eq!(store.incr("n", 1).await.expect("it counts"), Some(sum));
    }
}

async fn a_server_falls_silent_and_goes_on(kind: Kind) {
    let server = server(kind);
    let store = on(&server).await;
    store.set("k", Value::Int(1), HOUR).await.expect("it is stored");
    server.freeze().expect("it is stopped");
    all_are_unavailable(&store).await;
    server.thaw().expect("it goes on");
    store.set("k", Value::Int(3), HOUR).await.expect("it is stored");
    assert_eq!(store.get("k").await.expect("it answers"), Some(Value::Int(3)));
}

/// Connections of which nothing is heard any more, not even their end, as when a machine behind an address is replaced by
/// another. They may take up no room in the pool, whether callers waited for them or went away.
async fn dead_connections_make_room_for_new_ones(kind: Kind) {
    let server = server(kind);
    let proxy = Proxy::before(server.port()).unwrap_or_else(|why| panic!("{why}"));
    let mut options = DbOptions::new(
        &server.url().replace(&server.port().to_string(), &proxy.port().to_string()),
    );
    options.pool_size = 3;
    let store = DbCache::new("cache", options).expect("it is fine");
    store.create_table(false).await.expect("it is made");
    store.set("k", Value::Int(1), HOUR).await.expect("it is stored");
    fill_the_pool(&store, 10).await;
    proxy.strand();
    for _ in 0..10 {
        let _ = timeout(Duration::from_millis(5), store.get("k")).await;
    }
    let start = Instant::now();
    assert_eq!(store.get("k").await.expect("it answers"), Some(Value::Int(1)));
    assert!(start.elapsed() < Duration::from_secs(1), "{:?}", start.elapsed());
}

async fn fill_the_pool(store: &DbCache, number: usize) {
    let mut gets = JoinSet::new();
    for _ in 0..number {
        let store = store.clone();
        gets.spawn(async move { store.get("k").await.map(drop) });
    }
    while let Some(got) = gets.join_next().await {
        got.expect("nobody panics").expect("it answers");
    }
}

#[tokio::test]
async fn a_killed_postgres_is_unavailable_until_it_is_back() {
    a_server_is_killed_and_comes_back(Kind::Postgres).await;
}

#[tokio::test]
async fn a_killed_mariadb_is_unavailable_until_it_is_back() {
    a_server_is_killed_and_comes_back(Kind::Mariadb).await;
}

#[tokio::test]
async fn a_postgres_that_restarts_between_two_calls_goes_unnoticed() {
    a_restart_between_two_calls_is_not_noticed(Kind::Postgres).await;
}

#[tokio::test]
async fn a_mariadb_that_restarts_between_two_calls_goes_unnoticed() {
    a_restart_between_two_calls_is_not_noticed(Kind::Mariadb).await;
}

#[tokio::test]
async fn a_frozen_postgres_is_unavailable_in_time_and_recovers() {
    a_server_falls_silent_and_goes_on(Kind::Postgres).await;
}

#[tokio::test]
async fn a_frozen_mariadb_is_unavailable_in_time_and_recovers() {
    a_server_falls_silent_and_goes_on(Kind::Mariadb).await;
}

#[tokio::test]
async fn dead_connections_to_postgres_make_room_for_new_ones() {
    dead_connections_make_room_for_new_ones(Kind::Postgres).await;
}

#[tokio::test]
async fn dead_connections_to_mariadb_make_room_for_new_ones() {
    dead_connections_make_room_for_new_ones(Kind::Mariadb).await;
}

#[tokio::test]
async fn an_address_where_nobody_listens_is_unavailable_in_time_and_told_without_its_password() {
    for url in ["postgres://ada:hunter2@127.0.0.1:1/db", "mysql://ada:hunter2@127.0.0.1:1/db"] {
        let mut options = DbOptions::new(url);
        options.connect_timeout = Duration::from_millis(300);
        let store = DbCache::new("cache", options).expect("it is fine");
        let start = Instant::now();
        let error = store.get("k").await.expect_err("nobody listens");
        assert_eq!(error.kind(), ErrorKind::Unavailable);
        assert!(start.elapsed() < Duration::from_millis(300) + SLACK);
        assert!(!format!("{error} {error:?} {store:?}").contains("hunter2"), "{error:?}");
        assert!(error.to_string().contains("***@127.0.0.1:1/db"), "{error}");
    }
}

/// As when the tests of a service share its caches: each has a runtime of its own.
#[test]
fn connections_of_a_runtime_that_ended_are_not_met_by_a_call() {
    for kind in [Kind::Postgres, Kind::Mariadb] {
        let runtime =
            || tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let first = runtime().expect("there are threads");
        let server = server(kind);
        let store = first.block_on(async {
            let store = on(&server).await;
            store.set("n", Value::Int(1), HOUR).await.expect("it is stored");
            store
        });
        drop(first);
        let second = runtime().expect("there are threads");
        assert_eq!(second.block_on(store.incr("n", 1)).expect("it connects"), Some(2));
    }
}

#[tokio::test]
async fn what_postgres_refuses_is_told_in_its_words_alone() {
    let server = server(Kind::Postgres);
    let url = server.url();
    let (address, _) = url.rsplit_once('/').expect("it names a database");
    let store =
        DbCache::new("cache", DbOptions::new(&format!("{address}/nowhere"))).expect("it is fine");
    let error = store.get("k").await.expect_err("there is no such database");
    assert!(error.to_string().ends_with("database \"nowhere\" does not exist"), "{error}");
}

#[tokio::test]
async fn a_file_that_cannot_be_opened_is_unavailable_and_named() {
    let store = DbCache::new("cache", DbOptions::new("sqlite:/no/such/folder/cache.db"))
        .expect("it is fine");
    let error = store.get("k").await.expect_err("there is no such folder");
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.to_string().contains("/no/such/folder/cache.db"), "{error}");
}

/// Another process that writes for long: temporary, and no longer than was said.
#[tokio::test]
async fn a_locked_file_is_a_temporary_error_in_time_and_readers_go_on() {
    let mut options = common::sqlite_file();
    options.connect_timeout = Duration::from_millis(200);
    options.statement_timeout = Duration::from_millis(500);
    options.busy_timeout = Duration::from_millis(100);
    let store = common::fresh(options.clone(), Clock::system()).await;
    store.set("k", Value::Int(1), HOUR).await.expect("it is stored");
    store.close().await.expect("it closes");

    let connect =
        sqlx::sqlite::SqliteConnectOptions::new().filename(&options.url["sqlite:".len()..]);
    let other = sqlx::SqlitePool::connect_with(connect).await.expect("it connects");
    let lock = other.begin_with("BEGIN IMMEDIATE").await.expect("it locks");
    let start = Instant::now();
    let error = store.set("k", Value::Int(2), HOUR).await.expect_err("it is locked");
    assert!(error.is_temporary(), "{error}");
    assert!(start.elapsed() < Duration::from_millis(700) + SLACK, "{:?}", start.elapsed());
    assert_eq!(store.get("k").await.expect("it answers"), Some(Value::Int(1)));

    lock.rollback().await.expect("it lets go");
    store.set("k", Value::Int(2), HOUR).await.expect("it is stored");
}

/// Two entries, written by many in both orders: whoever loses tries again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn those_who_write_the_same_keys_at_once_do_not_hear_of_deadlocks() {
    for options in [common::sqlite_file(), common::postgres(), common::mysql()] {
        let store = common::fresh(options, Clock::system()).await;
        let keys: Vec<String> = (0..50).map(|number| format!("key-{number}")).collect();
        let mut writers = JoinSet::new();
        for writer in 0..8_i64 {
            let (store, keys) = (store.clone(), keys.clone());
            writers.spawn(async move {
                for _ in 0..10 {
                    let keys: Vec<&str> = match writer % 2 {
                        0 => keys.iter().map(String::as_str).collect(),
                        _ => keys.iter().rev().map(String::as_str).collect(),
                    };
                    let entries: Vec<(&str, Value)> =
                        keys.iter().map(|key| (*key, Value::Int(writer))).collect();
                    store.set_many(&entries, HOUR).await.expect("it is stored");
                    store.delete_many(&keys[..10]).await.expect("it is removed");
                    store.set(keys[0], Value::Int(writer), HOUR).await.expect("it is stored");
                }
            });
        }
        while let Some(writer) = writers.join_next().await {
            writer.expect("no error");
        }
    }
}

/// A write whose caller stopped waiting is applied before the next write of the same store, although
/// that one uses another connection.
///
/// The gate holds the statement back, so that it is certain to be in flight when its future is
/// dropped, and certain to be applied last if the next write does not wait for it.
async fn a_write_that_is_dropped_midway_is_not_done_after_the_next(kind: Kind) {
    let server = server(kind);
    let gate = Gate::before(server.port()).await;
    let url = server.url().replace(&server.port().to_string(), &gate.port().to_string());
    let mut options = DbOptions::new(&url);
    // A quarter of it is how long the next write waits: much longer than any step of this test.
    options.connect_timeout = Duration::from_secs(60);
    options.statement_timeout = Duration::from_secs(60);
    let store = DbCache::new("cache", options).expect("the options are valid");
    store.create_table(false).await.expect("the table is created");
    for round in 0..60 {
        // Three idle connections. None has prepared the statement of `set`, because each connection
        // that did is closed at the end of its round.
        let ready = tokio::join!(store.get("a"), store.get("b"), store.get("c"));
        assert_eq!((ready.0.is_ok(), ready.1.is_ok(), ready.2.is_ok()), (true, true, true));

        // Held before it is prepared, before it is executed, or with a part of its value sent.
        let size = 50_000 * (round / 3 % 4);
        let pieces_before = if size == 0 { round % 2 } else { round % 3 };
        gate.hold_after(pieces_before);
        let mut set = store.set("k", Value::Bytes(vec![7; size].into()), HOUR);
        tokio::select! {
            set = &mut set => panic!("round {round}: the statement was not held: {set:?}"),
            () = gate.is_holding() => {}
        }
        drop(set);

        let mut next = tokio::spawn({
            let store = store.clone();
            async move {
                match round % 5 {
                    0 | 1 => store.delete("k").await.map(drop),
                    2 | 3 => store.delete_many(&["k"]).await.map(drop),
                    _ => store.clear().await,
                }
            }
        });
        let overtook = timeout(Duration::from_millis(20), &mut next).await;
        assert!(overtook.is_err(), "round {round}: the next write did not wait");
        gate.release().await;
        next.await.expect("the task does not panic").expect("the next write succeeds");
        for _ in 0..4 {
            assert_eq!(store.get("k").await.expect("the server responds"), None, "round {round}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_that_is_dropped_midway_is_not_done_after_the_next_on_postgres() {
    a_write_that_is_dropped_midway_is_not_done_after_the_next(Kind::Postgres).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_that_is_dropped_midway_is_not_done_after_the_next_on_mariadb() {
    a_write_that_is_dropped_midway_is_not_done_after_the_next(Kind::Mariadb).await;
}
