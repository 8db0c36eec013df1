//! Servers that crash, restart and stop responding.
#![cfg(all(feature = "sqlite", feature = "postgres", feature = "mysql"))]

mod common;

use std::{
    task::Poll,
    time::{Duration, Instant},
};

use cache_core::{Cache, Clock, Error, ErrorKind, Result, Value};
use cache_db::{DbCache, DbOptions};
use sqlx::{Connection as _, Executor as _};
use tokio::{
    task::JoinSet,
    time::{sleep, timeout},
};
use xtask::{
    proxy::{Mode, Proxy},
    servers::{Kind, Server},
};

use self::common::gate::Gate;

const HOUR: Option<Duration> = Some(Duration::from_secs(3600));

/// Added to time limits, because the machine may be busy.
const SLACK: Duration = Duration::from_secs(15);

fn start(kind: Kind) -> Server {
    Server::start(kind).unwrap_or_else(|error| panic!("{error}"))
}

fn store_with(options: DbOptions) -> DbCache {
    DbCache::new("cache", options).expect("valid options")
}

/// A store with timeouts that do not expire on a busy machine.
async fn store_on(server: &Server) -> DbCache {
    let patience = Duration::from_secs(60);
    let options =
        DbOptions::new(server.url()).connect_timeout(patience).statement_timeout(patience);
    let store = store_with(options);
    store.create_table(false).await.expect("the table is created");
    store
}

async fn set(store: &DbCache, key: &str, number: i64) {
    store.set(key, Value::Int(number), HOUR).await.expect("set succeeds");
}

async fn get(store: &DbCache, key: &str) -> Option<Value> {
    store.get(key).await.expect("get succeeds")
}

/// Asserts that each operation returns `Unavailable` in time.
async fn assert_unavailable(store: &DbCache) {
    let results: [(&str, Result<()>); 6] = [
        ("get", in_time(store.get("k")).await),
        ("set", in_time(store.set("k", Value::Int(2), HOUR)).await),
        ("add", in_time(store.add("k", Value::Int(2), HOUR)).await),
        ("incr", in_time(store.incr("n", 1)).await),
        ("get_many", in_time(store.get_many(&["k", "n"])).await),
        ("delete", in_time(store.delete("k")).await),
    ];
    for (operation, result) in results {
        let error = result.expect_err(operation);
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{operation}: {error}");
        assert!(error.is_temporary(), "{operation}");
    }
}

async fn in_time<T>(call: impl Future<Output = Result<T>>) -> Result<(), Error> {
    let start = Instant::now();
    let result = call.await.map(drop);
    let elapsed = start.elapsed();
    assert!(elapsed < Duration::from_secs(1) + SLACK, "took {elapsed:?}");
    result
}

/// Sets `k` until a call succeeds: the timeouts of the store are short for a busy machine.
async fn set_until_ok(store: &DbCache, number: i64) {
    let start = Instant::now();
    while let Err(error) = store.set("k", Value::Int(number), HOUR).await {
        assert!(start.elapsed() < Duration::from_secs(60), "{error}");
    }
}

async fn killed_server_is_unavailable_until_restarted(kind: Kind) {
    let mut server = start(kind);
    let store = store_on(&server).await;
    set(&store, "k", 1).await;
    server.kill().expect("the server is killed");
    assert_unavailable(&store).await;
    server.restart().expect("the server starts");
    // The first call reconnects.
    set(&store, "k", 3).await;
    assert_eq!(get(&store, "k").await, Some(Value::Int(3)));
}

/// Afterwards, the pool is full of connections to the old process.
async fn restart_between_calls_causes_no_errors(kind: Kind) {
    let mut server = start(kind);
    let store = store_on(&server).await;
    set(&store, "n", 0).await;
    let mut calls = JoinSet::new();
    for _ in 0..10 {
        let store = store.clone();
        calls.spawn(async move { store.incr("n", 1).await });
    }
    while let Some(call) = calls.join_next().await {
        call.expect("the task does not panic").expect("incr succeeds");
    }
    server.kill().expect("the server is killed");
    server.restart().expect("the server starts");
    sleep(Duration::from_secs(1)).await;
    // Set again, because these servers run without durability and may have lost the entry.
    set(&store, "n", 10).await;
    for sum in 11..21 {
        assert_eq!(store.incr("n", 1).await.expect("incr succeeds"), Some(sum));
    }
}

async fn frozen_server_is_unavailable_until_thawed(kind: Kind) {
    let server = start(kind);
    store_on(&server).await;
    let limit = Duration::from_millis(500);
    let options = DbOptions::new(server.url()).connect_timeout(limit).statement_timeout(limit);
    let store = store_with(options);
    set_until_ok(&store, 1).await;
    server.freeze().expect("the server is stopped");
    assert_unavailable(&store).await;
    server.thaw().expect("the server continues");
    set_until_ok(&store, 3).await;
}

/// A connection is dead without being closed if the machine behind an address is replaced. Such
/// connections must not occupy the pool, whether callers waited for them or were cancelled.
async fn dead_connections_are_replaced(kind: Kind) {
    let server = start(kind);
    let proxy = Proxy::before(server.port()).unwrap_or_else(|error| panic!("{error}"));
    let url = server.url().replace(&server.port().to_string(), &proxy.port().to_string());
    // A call is limited by these, but it need not wait for them.
    let options = DbOptions::new(url).pool_size(3);
    let options =
        options.connect_timeout(Duration::from_secs(8)).statement_timeout(Duration::from_secs(60));
    let store = store_with(options);
    store.create_table(false).await.expect("the table is created");
    set(&store, "k", 1).await;
    fill_the_pool(&store, 10).await;
    proxy.strand();
    for _ in 0..10 {
        let _ = timeout(Duration::from_millis(5), store.get("k")).await;
    }
    let start = Instant::now();
    assert_eq!(get(&store, "k").await, Some(Value::Int(1)));
    assert!(start.elapsed() < Duration::from_secs(20), "{:?}", start.elapsed());
}

/// The first of them that does not respond shows that the others are dead as well: to check each
/// would take longer than a call may wait for a connection.
async fn dead_idle_connections_are_replaced(kind: Kind) {
    let server = start(kind);
    set(&store_on(&server).await, "k", 1).await;
    let proxy = Proxy::before(server.port()).unwrap_or_else(|error| panic!("{error}"));
    let url = server.url().replace(&server.port().to_string(), &proxy.port().to_string());
    let limit = Duration::from_secs(8);
    let store = store_with(DbOptions::new(url).connect_timeout(limit).statement_timeout(limit));
    while proxy.open() < 5 {
        fill_the_pool(&store, 10).await;
    }
    proxy.strand();
    // They are checked if they were idle for a second.
    sleep(Duration::from_millis(1100)).await;
    assert_eq!(get(&store, "k").await, Some(Value::Int(1)));
}

/// The attempt hangs until its limit of four seconds, although the network works again.
async fn lost_attempt_to_connect_fails_no_later_call(kind: Kind) {
    let server = start(kind);
    store_on(&server).await;
    let proxy = Proxy::before(server.port()).unwrap_or_else(|error| panic!("{error}"));
    let url = server.url().replace(&server.port().to_string(), &proxy.port().to_string());
    let store = store_with(DbOptions::new(url).connect_timeout(Duration::from_secs(4)));
    proxy.switch(Mode::Blackhole);
    timeout(Duration::from_secs(2), store.get("k")).await.expect_err("no reply arrives");
    while proxy.accepted() == 0 {
        sleep(Duration::from_millis(1)).await;
    }
    proxy.strand();
    proxy.switch(Mode::Pass);
    assert_eq!(get(&store, "k").await, None);
}

async fn fill_the_pool(store: &DbCache, calls: usize) {
    let mut gets = JoinSet::new();
    for _ in 0..calls {
        let store = store.clone();
        gets.spawn(async move { store.get("k").await.map(drop) });
    }
    while let Some(result) = gets.join_next().await {
        result.expect("the task does not panic").expect("get succeeds");
    }
}

#[tokio::test]
async fn killed_postgres_is_unavailable_until_restarted() {
    killed_server_is_unavailable_until_restarted(Kind::Postgres).await;
}

#[tokio::test]
async fn killed_mariadb_is_unavailable_until_restarted() {
    killed_server_is_unavailable_until_restarted(Kind::Mariadb).await;
}

#[tokio::test]
async fn restart_of_postgres_between_calls_causes_no_errors() {
    restart_between_calls_causes_no_errors(Kind::Postgres).await;
}

#[tokio::test]
async fn restart_of_mariadb_between_calls_causes_no_errors() {
    restart_between_calls_causes_no_errors(Kind::Mariadb).await;
}

#[tokio::test]
async fn frozen_postgres_is_unavailable_until_thawed() {
    frozen_server_is_unavailable_until_thawed(Kind::Postgres).await;
}

#[tokio::test]
async fn frozen_mariadb_is_unavailable_until_thawed() {
    frozen_server_is_unavailable_until_thawed(Kind::Mariadb).await;
}

#[tokio::test]
async fn dead_connections_to_postgres_are_replaced() {
    dead_connections_are_replaced(Kind::Postgres).await;
}

#[tokio::test]
async fn dead_connections_to_mariadb_are_replaced() {
    dead_connections_are_replaced(Kind::Mariadb).await;
}

#[tokio::test]
async fn dead_idle_connections_to_postgres_are_replaced() {
    dead_idle_connections_are_replaced(Kind::Postgres).await;
}

#[tokio::test]
async fn dead_idle_connections_to_mariadb_are_replaced() {
    dead_idle_connections_are_replaced(Kind::Mariadb).await;
}

#[tokio::test]
async fn lost_attempt_to_connect_to_postgres_fails_no_later_call() {
    lost_attempt_to_connect_fails_no_later_call(Kind::Postgres).await;
}

#[tokio::test]
async fn lost_attempt_to_connect_to_mariadb_fails_no_later_call() {
    lost_attempt_to_connect_fails_no_later_call(Kind::Mariadb).await;
}

#[tokio::test]
async fn refused_connection_is_unavailable_in_time_and_hides_the_password() {
    for url in ["postgres://ada:hunter2@127.0.0.1:1/db", "mysql://ada:hunter2@127.0.0.1:1/db"] {
        let limit = Duration::from_millis(300);
        let store = store_with(DbOptions::new(url).connect_timeout(limit));
        let start = Instant::now();
        let error = store.get("k").await.expect_err("no server listens");
        assert_eq!(error.kind(), ErrorKind::Unavailable);
        assert!(start.elapsed() < limit + SLACK);
        assert!(!format!("{error} {error:?} {store:?}").contains("hunter2"), "{error:?}");
        assert!(error.to_string().contains("***@127.0.0.1:1/db"), "{error}");
    }
}

/// This happens if tests with a runtime each share a cache.
#[test]
fn connections_of_an_ended_runtime_are_not_used() {
    for kind in [Kind::Postgres, Kind::Mariadb] {
        let runtime =
            || tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let first = runtime().expect("the runtime starts");
        let server = start(kind);
        let store = first.block_on(async {
            let store = store_on(&server).await;
            set(&store, "n", 1).await;
            store
        });
        drop(first);
        let second = runtime().expect("the runtime starts");
        assert_eq!(second.block_on(store.incr("n", 1)).expect("incr succeeds"), Some(2));
    }
}

#[tokio::test]
async fn postgres_error_ends_with_its_message_and_code() {
    let server = start(Kind::Postgres);
    let url = server.url();
    let (address, _) = url.rsplit_once('/').expect("the URL names a database");
    let store = store_with(DbOptions::new(format!("{address}/nowhere")));
    let error = store.get("k").await.expect_err("the database does not exist");
    let reason = "database \"nowhere\" does not exist (SQLSTATE 3D000)";
    assert!(error.to_string().ends_with(reason), "{error}");
}

#[tokio::test]
async fn sqlite_file_that_cannot_be_opened_is_unavailable_and_named() {
    let store = store_with(DbOptions::new("sqlite:/dev/null/folder/cache.db"));
    let error = store.get("k").await.expect_err("the folder cannot be created");
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.to_string().contains("/dev/null/folder/cache.db"), "{error}");
}

#[tokio::test]
async fn locked_sqlite_file_is_a_temporary_error_for_writers_only() {
    let options = common::sqlite_file();
    let patient = common::fresh(options.clone(), Clock::system()).await;
    let impatient = DbCache::new(
        patient.table(),
        options
            .clone()
            .connect_timeout(Duration::from_millis(200))
            .statement_timeout(Duration::from_millis(500))
            .busy_timeout(Duration::from_millis(100)),
    )
    .expect("the options are valid");
    set(&patient, "k", 1).await;
    patient.close().await.expect("close succeeds");

    let connect =
        sqlx::sqlite::SqliteConnectOptions::new().filename(&options.url["sqlite:".len()..]);
    let other = sqlx::SqlitePool::connect_with(connect).await.expect("the file is opened");
    let lock = other.begin_with("BEGIN IMMEDIATE").await.expect("the file is locked");
    let start = Instant::now();
    let error = impatient.set("k", Value::Int(2), HOUR).await.expect_err("the file is locked");
    assert!(error.is_temporary(), "{error}");
    assert!(start.elapsed() < Duration::from_millis(700) + SLACK, "{:?}", start.elapsed());
    assert_eq!(get(&patient, "k").await, Some(Value::Int(1)));

    lock.rollback().await.expect("the lock is released");
    set(&patient, "k", 2).await;
}

/// The writers use both orders of the keys, and the store retries after deadlocks.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrent_writes_of_the_same_keys_cause_no_errors() {
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
                    store.set_many(&entries, HOUR).await.expect("set_many succeeds");
                    store.delete_many(&keys[..10]).await.expect("delete_many succeeds");
                    set(&store, keys[0], writer).await;
                }
            });
        }
        while let Some(writer) = writers.join_next().await {
            writer.expect("the task does not panic");
        }
    }
}

/// A write whose caller stopped waiting is applied before the next write of the same store,
/// although that one uses another connection.
///
/// The gate holds the statement back, so that it is certain to be in flight when its future is
/// dropped, and certain to be applied last if the next write does not wait for it.
async fn orphaned_write_is_applied_before_the_next_write(kind: Kind) {
    let server = start(kind);
    let gate = Gate::before(server.port()).await;
    let url = server.url().replace(&server.port().to_string(), &gate.port().to_string());
    // The next write waits for a quarter of `connect_timeout`, much longer than any step of the
    // test.
    let options = DbOptions::new(url)
        .connect_timeout(Duration::from_secs(60))
        .statement_timeout(Duration::from_secs(60));
    let store = store_with(options);
    store.create_table(false).await.expect("the table is created");
    for round in 0..60 {
        // Two idle connections, and no attempt to connect that the gate could hold. None has
        // prepared the statement of `set`, because they are closed at the end of the round.
        assert_eq!(get(&store, "a").await, None);
        gate.hold_after(0);
        let mut first = Box::pin(store.get("a"));
        tokio::select! {
            first = &mut first => panic!("round {round}: the statement was not held: {first:?}"),
            () = gate.is_holding() => {}
        }
        assert_eq!(get(&store, "b").await, None);
        gate.release();
        assert_eq!(first.await.expect("get succeeds"), None);

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
        gate.release();
        next.await.expect("the task does not panic").expect("the next write succeeds");
        store.close().await.expect("close succeeds");
        gate.is_closed().await;
        for _ in 0..4 {
            assert_eq!(get(&store, "k").await, None, "round {round}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn orphaned_write_is_applied_before_the_next_write_on_postgres() {
    orphaned_write_is_applied_before_the_next_write(Kind::Postgres).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn orphaned_write_is_applied_before_the_next_write_on_mariadb() {
    orphaned_write_is_applied_before_the_next_write(Kind::Mariadb).await;
}

/// The number of deadlocks that the server has resolved.
async fn deadlocks_of_postgres(server: &Server) -> i64 {
    let mut admin = sqlx::PgConnection::connect(&server.url()).await.expect("connected");
    let count = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()";
    sqlx::query_scalar(count).fetch_one(&mut admin).await.expect("a number")
}

/// Whoever locks rows in another order than the others causes deadlocks. The store retries after
/// them, so PostgreSQL is asked. MariaDB has some in any case, because it also locks gaps.
async fn concurrent_batches_of_the_same_keys_do_not_fail(kind: Kind) {
    let server = start(kind);
    let options = DbOptions::new(server.url())
        .max_entries(30)
        .connect_timeout(Duration::from_secs(60))
        .statement_timeout(Duration::from_secs(60));
    let store = store_with(options);
    store.create_table(false).await.expect("the table is created");
    let keys: Vec<String> = (0..50).map(|number| format!("key-{number}")).collect();
    let mut tasks = JoinSet::new();
    for task in 0..32_usize {
        let (store, mut keys) = (store.clone(), keys.clone());
        keys.rotate_left(task);
        tasks.spawn(async move {
            let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
            let entries: Vec<(&str, Value)> =
                keys.iter().map(|key| (*key, Value::Int(1))).collect();
            let mut descending = entries.clone();
            descending.sort_by_key(|(key, _)| std::cmp::Reverse(*key));
            for call in 0..20 {
                match (task + call) % 4 {
                    0 | 1 => drop(store.set_many(&entries, HOUR).await.expect("set_many succeeds")),
                    2 => drop(store.delete_many(&keys).await.expect("delete_many succeeds")),
                    _ if call > 15 => store.clear().await.expect("clear succeeds"),
                    _ => {
                        // One by one, so that the table does not have the order of the keys.
                        for (key, value) in &descending {
                            store.set(key, value.clone(), HOUR).await.expect("set succeeds");
                        }
                    }
                }
            }
        });
    }
    while let Some(task) = tasks.join_next().await {
        task.expect("the task does not panic");
    }
    // The server counts what a session has seen when that ends, at the latest.
    store.close().await.expect("close succeeds");
    if kind == Kind::Postgres {
        assert_eq!(deadlocks_of_postgres(&server).await, 0);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrent_batches_of_the_same_keys_do_not_fail_on_postgres() {
    concurrent_batches_of_the_same_keys_do_not_fail(Kind::Postgres).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrent_batches_of_the_same_keys_do_not_fail_on_mariadb() {
    concurrent_batches_of_the_same_keys_do_not_fail(Kind::Mariadb).await;
}

/// The number 13 finds no room.
async fn entry_without_room_is_storage_full_and_leaves_nothing(store: &DbCache) {
    set(store, "a", 1).await;
    for attempt in 0..3 {
        let error = store.set("a", Value::Int(13), HOUR).await.expect_err("no room");
        cache_conformance::assert_storage_full(&error);
        let entries = [("a", Value::Int(2)), ("b", Value::Int(13)), ("c", Value::Int(2))];
        let error = store.set_many(&entries, HOUR).await.expect_err("no room");
        cache_conformance::assert_storage_full(&error);
        let found = store.get_many(&["a", "b", "c"]).await.expect("get_many succeeds");
        assert_eq!(found, [Some(Value::Int(1)), None, None], "attempt {attempt}");
    }
    assert!(store.delete("a").await.expect("delete succeeds"));
    set(store, "a", 2).await;
}

#[tokio::test]
async fn full_disk_of_postgres_is_storage_full() {
    const FULL: &str = "
        CREATE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
            RAISE EXCEPTION 'could not extend file' USING ERRCODE = '53100';
        END $$;
        CREATE TRIGGER full_disk BEFORE INSERT ON cache FOR EACH ROW
            WHEN (NEW.number = 13) EXECUTE FUNCTION full_disk();";
    let server = start(Kind::Postgres);
    let store = store_on(&server).await;
    let mut admin = sqlx::PgConnection::connect(&server.url()).await.expect("connected");
    admin.execute(FULL).await.expect("the trigger is created");
    entry_without_room_is_storage_full_and_leaves_nothing(&store).await;
}

#[tokio::test]
async fn full_table_of_mariadb_is_storage_full() {
    const FULL: &str = "CREATE TRIGGER full_table BEFORE INSERT ON cache FOR EACH ROW
        IF NEW.number = 13 THEN
            SIGNAL SQLSTATE 'HY000' SET MYSQL_ERRNO = 1114, MESSAGE_TEXT = 'The table is full';
        END IF";
    let server = start(Kind::Mariadb);
    let store = store_on(&server).await;
    let mut root = sqlx::MySqlConnection::connect(&server.url()).await.expect("connected");
    root.execute(FULL).await.expect("the trigger is created");
    entry_without_room_is_storage_full_and_leaves_nothing(&store).await;
}

/// A new server with an entry, a proxy in front of it, and a store that uses the proxy. Nothing
/// times out on a busy machine.
async fn behind_proxy(kind: Kind, pool_size: u32) -> (Server, Proxy, DbCache) {
    let server = start(kind);
    let proxy = Proxy::before(server.port()).unwrap_or_else(|error| panic!("{error}"));
    let url = server.url().replace(&server.port().to_string(), &proxy.port().to_string());
    let patience = Duration::from_secs(60);
    let options =
        DbOptions::new(server.url()).connect_timeout(patience).statement_timeout(patience);
    let direct = store_with(options.clone());
    direct.create_table(false).await.expect("the table is created");
    set(&direct, "k", 1).await;
    (server, proxy, store_with(options.url(url).pool_size(pool_size)))
}

/// Connecting takes several round trips, and a statement takes two until it is prepared. A call of
/// one and a half round trips succeeds because each continues what earlier ones have begun.
async fn calls_shorter_than_connecting_succeed_soon(kind: Kind) {
    let (_server, proxy, store) = behind_proxy(kind, 3).await;
    proxy.switch(Mode::Delay(Duration::from_millis(200)));
    first_success(|| store.get("k")).await;
    first_success(|| store.set("k", Value::Int(2), HOUR)).await;
    assert!(proxy.accepted() <= 3, "{} connections", proxy.accepted());
    proxy.switch(Mode::Pass);
    assert_eq!(get(&store, "k").await, Some(Value::Int(2)));
}

/// Calls until a call succeeds in 300 ms, at most sixty times.
async fn first_success<T, F: Future<Output = Result<T>>>(call: impl Fn() -> F) {
    for _ in 0..60 {
        if let Ok(result) = timeout(Duration::from_millis(300), call()).await {
            result.expect("the call succeeds");
            return;
        }
    }
    panic!("no call succeeded");
}

#[tokio::test]
async fn calls_shorter_than_connecting_to_postgres_succeed_soon() {
    calls_shorter_than_connecting_succeed_soon(Kind::Postgres).await;
}

#[tokio::test]
async fn calls_shorter_than_connecting_to_mariadb_succeed_soon() {
    calls_shorter_than_connecting_succeed_soon(Kind::Mariadb).await;
}

/// Drops calls after each number of polls, and so at each point at which they wait.
async fn cancelled_calls_keep_their_connections(kind: Kind) {
    let (_server, proxy, store) = behind_proxy(kind, 5).await;
    let number = |task: i64, call: i64| Value::Int(task * 1000 + call % 7);
    let mut tasks = JoinSet::new();
    for task in 0..15_i64 {
        let store = store.clone();
        tasks.spawn(async move {
            for call in 0..300_i64 {
                let (key, value) = (format!("{task} {}", call % 7), number(task, call));
                let other = format!("{task} {}", (call + 1) % 7);
                let work = async {
                    match call % 3 {
                        0 => store.set(&key, value, HOUR).await,
                        1 => store.get(&key).await.map(|found| {
                            assert!(found.is_none_or(|found| found == value), "{key}");
                        }),
                        _ => store.get_many(&[&key, &other]).await.map(|found| {
                            assert!(found[0].as_ref().is_none_or(|found| *found == value));
                        }),
                    }
                };
                if let Some(result) = cancelled_after(usize::try_from(call % 11).ok(), work).await {
                    result.expect("the call succeeds");
                }
            }
        });
    }
    while let Some(task) = tasks.join_next().await {
        task.expect("the task does not panic");
    }
    set(&store, "k", 2).await;
    assert_eq!(get(&store, "k").await, Some(Value::Int(2)));
    assert!(proxy.accepted() <= 5, "{} connections", proxy.accepted());
}

/// Polls a future this often, or until it is ready, and drops it. Other tasks run in between.
async fn cancelled_after<T>(polls: Option<usize>, call: impl Future<Output = T>) -> Option<T> {
    let mut call = std::pin::pin!(call);
    for _ in 0..polls? {
        let poll = std::future::poll_fn(|context| Poll::Ready(call.as_mut().poll(context)));
        if let Poll::Ready(output) = poll.await {
            return Some(output);
        }
        tokio::task::yield_now().await;
    }
    None
}

#[tokio::test]
async fn cancelled_calls_keep_their_connections_to_postgres() {
    cancelled_calls_keep_their_connections(Kind::Postgres).await;
}

#[tokio::test]
async fn cancelled_calls_keep_their_connections_to_mariadb() {
    cancelled_calls_keep_their_connections(Kind::Mariadb).await;
}

/// The connection is never idle, and the first server does not end it.
async fn busy_connection_follows_a_name_that_leads_to_another_server(kind: Kind) {
    let (_first, proxy, store) = behind_proxy(kind, 10).await;
    let second = start(kind);
    store_on(&second).await;
    assert_eq!(get(&store, "k").await, Some(Value::Int(1)));
    proxy.lead_to(second.port());
    assert_eq!(get(&store, "k").await, Some(Value::Int(1)));
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(600)).await;
    tokio::time::resume();
    // No call fails. The new connection is opened in the background.
    let renewed = async { while get(&store, "k").await.is_some() {} };
    timeout(Duration::from_secs(60), renewed).await.expect("it is renewed");
    assert_eq!(proxy.accepted(), 2);
}

#[tokio::test]
async fn busy_connection_follows_a_name_that_leads_to_another_postgres() {
    busy_connection_follows_a_name_that_leads_to_another_server(Kind::Postgres).await;
}

#[tokio::test]
async fn busy_connection_follows_a_name_that_leads_to_another_mariadb() {
    busy_connection_follows_a_name_that_leads_to_another_server(Kind::Mariadb).await;
}
