//! Creation, inspection and upgrade of the table.
#![cfg(all(feature = "sqlite", feature = "postgres", feature = "mysql"))]

mod common;

use std::time::Duration;

use cache_core::{Acquired, Ask, Cache, Clock, ErrorKind, Result, Value};
use cache_db::{DbCache, DbOptions, TableCreation, TableState};
use tokio::task::JoinSet;

/// The databases that the tests run on.
const ALL: [fn() -> DbOptions; 3] = [common::sqlite_file, common::postgres, common::mysql];

const HOUR: Option<Duration> = Some(Duration::from_secs(3600));

fn store_on(table: &str, options: &DbOptions) -> DbCache {
    DbCache::new(table, options.clone()).expect("valid options")
}

async fn create(store: &DbCache) -> TableCreation {
    store.create_table(false).await.expect("the table is created").remove(0)
}

async fn acquire(store: &DbCache, key: &str) -> Result<Acquired> {
    let leases = store.leases().expect("the store has leases");
    leases.acquire(key, Ask::Any { side: "side" }, Duration::from_secs(60)).await
}

/// Runs SQL on a separate connection.
async fn execute(options: &DbOptions, sql: String) {
    let sql = sqlx::AssertSqlSafe(sql);
    if options.url.starts_with("sqlite") {
        let options =
            sqlx::sqlite::SqliteConnectOptions::new().filename(&options.url["sqlite:".len()..]);
        let pool = sqlx::SqlitePool::connect_with(options.create_if_missing(true))
            .await
            .expect("the database accepts connections");
        sqlx::raw_sql(sql).execute(&pool).await.expect("valid SQL");
    } else if options.url.starts_with("postgres") {
        let pool =
            sqlx::PgPool::connect(&options.url).await.expect("the database accepts connections");
        sqlx::raw_sql(sql).execute(&pool).await.expect("valid SQL");
    } else {
        let pool =
            sqlx::MySqlPool::connect(&options.url).await.expect("the database accepts connections");
        sqlx::raw_sql(sql).execute(&pool).await.expect("valid SQL");
    }
}

async fn rows(options: &DbOptions, quoted: &str) -> i64 {
    let sql = sqlx::AssertSqlSafe(format!("SELECT COUNT(*) FROM {quoted}"));
    let count = if options.url.starts_with("sqlite") {
        let pool = sqlx::SqlitePool::connect(&options.url)
            .await
            .expect("the database accepts connections");
        sqlx::query_scalar(sql).fetch_one(&pool).await
    } else if options.url.starts_with("postgres") {
        let pool =
            sqlx::PgPool::connect(&options.url).await.expect("the database accepts connections");
        sqlx::query_scalar(sql).fetch_one(&pool).await
    } else {
        let pool =
            sqlx::MySqlPool::connect(&options.url).await.expect("the database accepts connections");
        sqlx::query_scalar(sql).fetch_one(&pool).await
    };
    count.expect("valid SQL")
}

fn quoted(options: &DbOptions, name: &str) -> String {
    if options.url.starts_with("mysql") { format!("`{name}`") } else { format!("\"{name}\"") }
}

#[tokio::test]
async fn table_is_created_once_and_then_up_to_date() {
    for options in ALL.map(|options| options()) {
        let store = store_on(&common::fresh_name("once"), &options);
        let first = create(&store).await;
        assert_eq!(first.state, TableState::Missing);
        assert!(first.to_string().starts_with("created table \"once "), "{first}");
        let second = create(&store).await;
        assert_eq!((second.state, second.sql.len()), (TableState::Current, 0));
        assert!(second.to_string().contains("is up to date"), "{second}");
    }
}

#[tokio::test]
async fn dry_run_returns_the_sql_and_creates_nothing() {
    for options in ALL.map(|options| options()) {
        let store = store_on(&common::fresh_name("dry"), &options);
        let planned = store.create_table(true).await.expect("the dry run succeeds").remove(0);
        assert!(planned.sql[0].starts_with("CREATE TABLE IF NOT EXISTS"), "{planned:?}");
        assert_eq!((planned.state, planned.dry_run), (TableState::Missing, true));
        assert!(store.get("k").await.is_err(), "the table was created");
        for sql in planned.sql {
            execute(&options, sql).await;
        }
        assert_eq!(create(&store).await.state, TableState::Current, "the SQL creates the table");
    }
}

#[tokio::test]
async fn hostile_table_name_affects_no_other_table() {
    for options in ALL.map(|options| options()) {
        let victim = store_on("y", &options);
        create(&victim).await;
        victim.set("k", Value::Int(7), None).await.expect("set succeeds");
        let names = [
            "x\"; DROP TABLE y; --",
            "x`; DROP TABLE y; --",
            "x'); DROP TABLE y; --",
            "two words",
            "Žluťoučký kůň",
            "a ? b $1 :c",
            "{t}",
            "{i}",
            "a.b",
            "back\\slash",
            "line\nbreak",
            "select",
            "percent % s",
            "/* cachette 9 */",
        ];
        for name in names {
            let store = store_on(name, &options);
            create(&store).await;
            store.clear().await.expect("clear succeeds");
            store.set("k", Value::Int(1), HOUR).await.expect(name);
            assert_eq!(store.incr("k", 1).await.expect(name), Some(2));
            let entries = [("a", Value::Int(1)), ("b", Value::Int(2))];
            store.set_many(&entries, HOUR).await.expect(name);
            assert_eq!(store.delete_many(&["a", "b"]).await.expect(name), 2);
            for key in ["absent", "k"] {
                let lease = acquire(&store, key).await.expect(name).lease.expect(name);
                let leases = store.leases().expect("the store has leases");
                assert!(leases.fill(key, lease, Value::Int(3), HOUR).await.expect(name));
            }
            assert!(store.delete("absent").await.expect(name));
            assert_eq!(store.entries().await.expect(name), 1);
            assert_eq!(create(&store).await.state, TableState::Current, "{name}");
            store.close().await.expect("close succeeds");
        }
        assert_eq!(victim.get("k").await.expect("get succeeds"), Some(Value::Int(7)));
    }
}

#[tokio::test]
async fn table_name_that_the_database_changes_or_rejects_is_an_error() {
    let rejected = [
        ("sqlite::memory:", "sqlite_mine"),
        ("sqlite::memory:", "nul\0"),
        ("postgres://h/d", &"ž".repeat(32)),
        ("mysql://h/d", &"ž".repeat(65)),
        ("mysql://h/d", "blank "),
        ("mysql://h/d", "😀"),
    ];
    for (url, name) in rejected {
        let error = DbCache::new(name, DbOptions::new(url)).expect_err(name);
        assert_eq!(error.kind(), ErrorKind::Config);
        assert!(error.to_string().starts_with("LOCATION: "), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrent_creations_succeed() {
    for options in ALL.map(|options| options()) {
        for _ in 0..5 {
            let name = common::fresh_name("concurrent");
            let mut creations = JoinSet::new();
            for _ in 0..8 {
                let store = store_on(&name, &options);
                creations.spawn(async move { store.create_table(false).await.map(drop) });
            }
            while let Some(creation) = creations.join_next().await {
                creation.expect("the task does not panic").expect("the table is created");
            }
            assert_eq!(create(&store_on(&name, &options)).await.state, TableState::Current);
        }
    }
}

#[tokio::test]
async fn upgrade_of_an_outdated_table_keeps_its_entries() {
    for options in ALL.map(|options| options()) {
        let name = common::fresh_name("outdated");
        let store = store_on(&name, &options);
        let bytes = if options.url.starts_with("postgres") { "bytea" } else { "BLOB" };
        let key = if options.url.starts_with("mysql") { "VARBINARY(1024)" } else { bytes };
        let columns = format!(
            "expires BIGINT NOT NULL, cache_key {key} PRIMARY KEY, number BIGINT, value {bytes}"
        );
        execute(&options, format!("CREATE TABLE {} ({columns})", quoted(&options, &name))).await;
        store.set("k", Value::Int(7), None).await.expect("set succeeds");
        assert_eq!(create(&store).await.state, TableState::Outdated);
        assert_eq!(create(&store).await.state, TableState::Current);
        assert_eq!(store.get("k").await.expect("get succeeds"), Some(Value::Int(7)));
    }
}

#[tokio::test]
async fn table_of_a_newer_version_is_an_error() {
    let options = common::postgres();
    let name = common::fresh_name("newer");
    let store = store_on(&name, &options);
    create(&store).await;
    execute(&options, format!("COMMENT ON TABLE {} IS 'cachette 99'", quoted(&options, &name)))
        .await;
    let error = store.create_table(false).await.expect_err("the version is newer");
    assert!(
        error.to_string().contains("has version 99, and this program supports versions up to 1"),
        "{error}"
    );
}

#[tokio::test]
async fn table_of_another_application_is_an_error() {
    for options in ALL.map(|options| options()) {
        for (columns, fact) in [
            ("cache_key varchar(255) PRIMARY KEY, value text, expires timestamp", "Django"),
            ("id int PRIMARY KEY, name text", "its columns are "),
        ] {
            let name = common::fresh_name("foreign");
            execute(&options, format!("CREATE TABLE {} ({columns})", quoted(&options, &name)))
                .await;
            let error = store_on(&name, &options)
                .create_table(false)
                .await
                .expect_err("the table is foreign");
            assert_eq!(error.kind(), ErrorKind::Config);
            assert!(error.to_string().contains(fact), "{error}");
        }
    }
}

/// The lock is held for longer than all retries of a statement take.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn creation_waits_for_another_process_that_creates_the_file() {
    use sqlx::{ConnectOptions as _, sqlite::SqliteConnectOptions};

    let options = common::sqlite_file();
    let file = SqliteConnectOptions::new()
        .filename(&options.url["sqlite:".len()..])
        .create_if_missing(true);
    let mut other = file.connect().await.expect("the database accepts connections");
    sqlx::raw_sql("CREATE TABLE other (number); BEGIN IMMEDIATE")
        .execute(&mut other)
        .await
        .expect("valid SQL");
    let creation =
        tokio::spawn(async move { store_on("cache", &options).create_table(false).await });
    tokio::time::sleep(Duration::from_millis(600)).await;
    assert!(!creation.is_finished(), "the file is locked");
    sqlx::raw_sql("COMMIT").execute(&mut other).await.expect("valid SQL");
    creation.await.expect("the task does not panic").expect("the table is created");
}

/// Several processes of a new version may start at once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrent_upgrades_succeed() {
    for (options, columns) in [
        (
            common::sqlite_file(),
            "cache_key BLOB NOT NULL PRIMARY KEY, value BLOB, number INTEGER, \
             expires INTEGER NOT NULL",
        ),
        (
            common::postgres(),
            "cache_key bytea NOT NULL PRIMARY KEY, value bytea, number bigint, \
             expires bigint NOT NULL",
        ),
        (
            common::mysql(),
            "cache_key VARBINARY(1024) NOT NULL PRIMARY KEY, value LONGBLOB, number BIGINT, \
             expires BIGINT NOT NULL",
        ),
    ] {
        let name = common::fresh_name("old");
        execute(&options, format!("CREATE TABLE {} ({columns})", quoted(&options, &name))).await;
        let mut upgrades = JoinSet::new();
        for _ in 0..6 {
            let store = store_on(&name, &options);
            upgrades.spawn(async move { store.create_table(false).await });
        }
        while let Some(upgrade) = upgrades.join_next().await {
            upgrade.expect("the task does not panic").expect("the table is upgraded");
        }
        assert_eq!(create(&store_on(&name, &options)).await.state, TableState::Current);
    }
}

/// LOCATION may name the wrong table by mistake.
#[tokio::test]
async fn no_operation_changes_a_table_of_another_application() {
    for options in ALL.map(|options| options()) {
        for (columns, row) in [
            (
                "cache_key varchar(255) PRIMARY KEY, value text, expires timestamp",
                "'k', 'v', '2001-01-01 00:00:00'",
            ),
            ("id int PRIMARY KEY, name text", "1, 'ada'"),
        ] {
            let name = common::fresh_name("foreign");
            let quoted = quoted(&options, &name);
            execute(&options, format!("CREATE TABLE {quoted} ({columns})")).await;
            execute(&options, format!("INSERT INTO {quoted} VALUES ({row})")).await;
            let store = store_on(&name, &options);
            let results = [
                ("clear", store.clear().await),
                ("purge_expired", store.purge_expired(1000).await.map(drop)),
                ("get", store.get("k").await.map(drop)),
                ("set", store.set("k", Value::Int(7), HOUR).await),
                ("acquire", acquire(&store, "k").await.map(drop)),
            ];
            for (operation, result) in results {
                let error = result.expect_err(operation);
                assert_eq!(error.kind(), ErrorKind::Config, "{operation}: {error}");
                assert!(error.to_string().contains("LOCATION"), "{operation}: {error}");
            }
            assert_eq!(rows(&options, &quoted).await, 1, "{columns}");
        }
    }
}

#[tokio::test]
async fn missing_table_is_an_error_unless_the_option_create_table_is_set() {
    for options in ALL.map(|options| options()) {
        let name = common::fresh_name("dropped");
        let strict = store_on(&name, &options);
        create(&strict).await;
        strict.set("k", Value::Int(7), None).await.expect("set succeeds");
        execute(&options, format!("DROP TABLE {}", quoted(&options, &name))).await;
        let error = strict.set("k", Value::Int(7), None).await.expect_err("the table is missing");
        assert_eq!(error.kind(), ErrorKind::Backend);
        let message = error.to_string();
        assert!(message.contains(&format!("{name:?}")), "{message}");
        assert!(message.contains("DbCache::create_table"), "{message}");

        let creating = store_on(&name, &options.create_table(true));
        creating.set("k", Value::Int(7), None).await.expect("the table is created");
        assert_eq!(strict.get("k").await.expect("get succeeds"), Some(Value::Int(7)));
    }
}

#[tokio::test]
async fn option_unlogged_creates_an_unlogged_table() {
    let options = common::postgres().unlogged(true);
    let store = store_on(&common::fresh_name("unlogged"), &options);
    assert!(create(&store).await.sql[0].starts_with("CREATE UNLOGGED TABLE"));
    store.set("k", Value::Int(7), None).await.expect("set succeeds");
}

#[tokio::test]
async fn tables_with_long_names_have_separate_indexes() {
    for options in [common::postgres(), common::mysql()] {
        let (one, other) = ("l".repeat(63), format!("{}m", "l".repeat(62)));
        for name in [&one, &other] {
            let store = store_on(name, &options);
            create(&store).await;
            assert_eq!(create(&store).await.state, TableState::Current);
        }
    }
}

#[tokio::test]
async fn too_long_key_is_rejected_before_anything_is_written() {
    let store = common::fresh(DbOptions::new("sqlite::memory:"), Clock::system()).await;
    let key = "k".repeat(cache_db::MAX_KEY_BYTES + 1);
    let results = [
        store.get(&key).await.map(drop),
        store.set(&key, Value::Int(1), None).await,
        store.set_many(&[("fine", Value::Int(1)), (&key, Value::Int(1))], None).await.map(drop),
        store.delete_many(&["fine", &key]).await.map(drop),
    ];
    for result in results {
        assert_eq!(result.expect_err("the key is too long").kind(), ErrorKind::InvalidKey);
    }
    assert_eq!(store.entries().await.expect("entries succeeds"), 0);
}

#[tokio::test]
async fn more_keys_than_one_statement_can_take_succeed() {
    for options in ALL.map(|options| options()) {
        let store = common::fresh(options.max_entries(100_000), Clock::system()).await;
        let keys: Vec<String> = (0..12_345).map(|number| format!("key-{number}")).collect();
        let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
        let entries: Vec<(&str, Value)> =
            keys.iter().zip(0..).map(|(key, number)| (*key, Value::Int(number))).collect();
        store.set_many(&entries, HOUR).await.expect("set_many succeeds");
        let values = store.get_many(&keys).await.expect("get_many succeeds");
        assert!(
            values.into_iter().zip(0..).all(|(value, number)| value == Some(Value::Int(number)))
        );
        assert_eq!(store.delete_many(&keys).await.expect("delete_many succeeds"), keys.len());
    }
}

#[tokio::test]
async fn set_many_with_a_repeated_key_stores_the_last_value() {
    for options in ALL.map(|options| options()) {
        let store = common::fresh(options, Clock::system()).await;
        let entries = [("k", Value::Int(1)), ("other", Value::Int(2)), ("k", Value::Int(3))];
        store.set_many(&entries, HOUR).await.expect("set_many succeeds");
        assert_eq!(store.get("k").await.expect("get succeeds"), Some(Value::Int(3)));
        assert_eq!(store.delete_many(&["k", "k"]).await.expect("delete_many succeeds"), 1);
    }
}

/// MariaDB accepts packets of at most 16 MiB by default, and closes the connection after a larger
/// one. If the packet is much larger, it does so without an error message.
#[tokio::test]
async fn too_large_value_does_not_break_the_connection() {
    let store = common::fresh(common::mysql().pool_size(1), Clock::system()).await;
    store.set("n", Value::Int(0), HOUR).await.expect("set succeeds");
    for (mebibytes, sum) in [(16, 1), (17, 2), (40, 3)] {
        let giant = Value::Bytes(vec![7; mebibytes << 20].into());
        let error = store.add("giant", giant, HOUR).await.expect_err("the value is too large");
        assert_eq!(error.kind(), ErrorKind::TooLarge, "{mebibytes}: {error}");
        // `incr` is not retried after a lost connection.
        assert_eq!(store.incr("n", 1).await.expect("incr succeeds"), Some(sum));
    }
}

#[tokio::test]
async fn too_large_value_is_rejected_and_removes_the_old_entry() {
    let store = common::fresh(common::mysql(), Clock::system()).await;
    let giant = || Value::Bytes(vec![7; 40 << 20].into());
    store.set("k", Value::Int(1), HOUR).await.expect("set succeeds");
    assert_eq!(
        store.set("k", giant(), HOUR).await.expect_err("the value is too large").kind(),
        ErrorKind::TooLarge
    );
    assert_eq!(store.get("k").await.expect("get succeeds"), None);
    let rejected = store
        .set_many(&[("a", Value::Int(1)), ("giant", giant()), ("b", Value::Int(2))], HOUR)
        .await;
    assert_eq!(rejected.expect("set_many succeeds"), [1]);
    assert_eq!(store.get("b").await.expect("get succeeds"), Some(Value::Int(2)));
}
