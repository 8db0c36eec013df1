//! Making the table, by every name, and recognising it.
#![cfg(all(feature = "sqlite", feature = "postgres", feature = "mysql"))]

mod common;

use std::time::Duration;

use cache_core::{Cache, Clock, ErrorKind, Value};
use cache_db::{DbCache, DbOptions, TableCreation, TableState};
use tokio::task::JoinSet;

/// What is run on each database.
const ALL: [fn() -> DbOptions; 3] = [common::sqlite_file, common::postgres, common::mysql];

const HOUR: Option<Duration> = Some(Duration::from_secs(3600));

fn store(table: &str, options: &DbOptions) -> DbCache {
    DbCache::new(table, options.clone()).expect("it is fine")
}

async fn create(store: &DbCache) -> TableCreation {
    store.create_table(false).await.expect("it is made").remove(0)
}

/// Runs SQL of a test's own.
async fn execute(options: &DbOptions, sql: String) {
    let sql = sqlx::AssertSqlSafe(sql);
    if options.url.starts_with("sqlite") {
        let options =
            sqlx::sqlite::SqliteConnectOptions::new().filename(&options.url["sqlite:".len()..]);
        let pool = sqlx::SqlitePool::connect_with(options.create_if_missing(true))
            .await
            .expect("it connects");
        sqlx::raw_sql(sql).execute(&pool).await.expect("it is SQL");
    } else if options.url.starts_with("postgres") {
        let pool = sqlx::PgPool::connect(&options.url).await.expect("it connects");
        sqlx::raw_sql(sql).execute(&pool).await.expect("it is SQL");
    } else {
        let pool = sqlx::MySqlPool::connect(&options.url).await.expect("it connects");
        sqlx::raw_sql(sql).execute(&pool).await.expect("it is SQL");
    }
}

async fn rows(options: &DbOptions, quoted: &str) -> i64 {
    let sql = sqlx::AssertSqlSafe(format!("SELECT COUNT(*) FROM {quoted}"));
    let count = if options.url.starts_with("sqlite") {
        let pool = sqlx::SqlitePool::connect(&options.url).await.expect("it connects");
        sqlx::query_scalar(sql).fetch_one(&pool).await
    } else if options.url.starts_with("postgres") {
        let pool = sqlx::PgPool::connect(&options.url).await.expect("it connects");
        sqlx::query_scalar(sql).fetch_one(&pool).await
    } else {
        let pool = sqlx::MySqlPool::connect(&options.url).await.expect("it connects");
        sqlx::query_scalar(sql).fetch_one(&pool).await
    };
    count.expect("it is counted")
}

fn quoted(options: &DbOptions, name: &str) -> String {
    if options.url.starts_with("mysql") { format!("`{name}`") } else { format!("\"{name}\"") }
}

#[tokio::test]
async fn it_is_made_once_and_then_found() {
    for options in ALL.map(|options| options()) {
        let store = store(&common::fresh_name("once"), &options);
        let first = create(&store).await;
        assert_eq!(first.state, TableState::Missing);
        assert!(first.to_string().starts_with("created table \"once "), "{first}");
        let second = create(&store).await;
        assert_eq!((second.state, second.sql.len()), (TableState::Current, 0));
        assert!(second.to_string().contains("is up to date"), "{second}");
    }
}

#[tokio::test]
async fn a_dry_run_shows_the_sql_and_makes_nothing() {
    for options in ALL.map(|options| options()) {
        let store = store(&common::fresh_name("dry"), &options);
        let shown = store.create_table(true).await.expect("it answers").remove(0);
        assert!(shown.sql[0].starts_with("CREATE TABLE IF NOT EXISTS"), "{shown:?}");
        assert!(shown.to_string().starts_with("would create"), "{shown}");
        assert!(store.get("k").await.is_err(), "there is no table");
        for sql in shown.sql {
            execute(&options, sql).await;
        }
        assert_eq!(create(&store).await.state, TableState::Current, "it is what was shown");
    }
}

#[tokio::test]
async fn any_name_is_one_table_and_harms_no_other() {
    for options in ALL.map(|options| options()) {
        let victim = store("y", &options);
        create(&victim).await;
        victim.set("k", Value::Int(7), None).await.expect("it is stored");
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
            let store = store(name, &options);
            create(&store).await;
            store.clear().await.expect("it is emptied");
            store.set("k", Value::Int(1), HOUR).await.expect(name);
            assert_eq!(store.incr("k", 1).await.expect(name), Some(2));
            let entries = [("a", Value::Int(1)), ("b", Value::Int(2))];
            store.set_many(&entries, HOUR).await.expect(name);
            assert_eq!(store.delete_many(&["a", "b"]).await.expect(name), 2);
            assert_eq!(store.entries().await.expect(name), 1);
            assert_eq!(create(&store).await.state, TableState::Current, "{name}");
            store.close().await.expect("it closes");
        }
        assert_eq!(victim.get("k").await.expect("it is there"), Some(Value::Int(7)));
    }
}

#[tokio::test]
async fn a_name_that_the_database_would_change_or_refuse_is_a_mistake() {
    let refused = [
        ("sqlite::memory:", "sqlite_mine"),
        ("sqlite::memory:", "nul\0"),
        ("postgres://h/d", &"ž".repeat(32)),
        ("mysql://h/d", &"ž".repeat(65)),
        ("mysql://h/d", "blank "),
        ("mysql://h/d", "😀"),
    ];
    for (url, name) in refused {
        let error = DbCache::new(name, DbOptions::new(url)).expect_err(name);
        assert_eq!(error.kind(), ErrorKind::Config);
        assert!(error.to_string().starts_with("LOCATION: found "), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_may_make_it_at_once() {
    for options in ALL.map(|options| options()) {
        for _ in 0..5 {
            let name = common::fresh_name("at once");
            let mut makers = JoinSet::new();
            for _ in 0..8 {
                let store = store(&name, &options);
                makers.spawn(async move { store.create_table(false).await.map(drop) });
            }
            while let Some(made) = makers.join_next().await {
                made.expect("nobody panics").expect("it is made, by whomever");
            }
            assert_eq!(create(&store(&name, &options)).await.state, TableState::Current);
        }
    }
}

#[tokio::test]
async fn a_table_without_index_and_version_is_brought_up_to_date_and_keeps_its_entries() {
    for options in ALL.map(|options| options()) {
        let name = common::fresh_name("older");
        let store = store(&name, &options);
        let bytes = if options.url.starts_with("postgres") { "bytea" } else { "BLOB" };
        let key = if options.url.starts_with("mysql") { "VARBINARY(1024)" } else { bytes };
        let columns = format!(
            "expires BIGINT NOT NULL, cache_key {key} PRIMARY KEY, number BIGINT, value {bytes}"
        );
        execute(&options, format!("CREATE TABLE {} ({columns})", quoted(&options, &name))).await;
        store.set("k", Value::Int(7), None).await.expect("it is stored");
        let done = create(&store).await;
        assert_eq!(done.state, TableState::Outdated);
        assert!(done.to_string().starts_with("upgraded table"), "{done}");
        assert_eq!(create(&store).await.state, TableState::Current);
        assert_eq!(store.get("k").await.expect("it answers"), Some(Value::Int(7)));
    }
}

#[tokio::test]
async fn a_table_of_a_newer_version_is_left_alone() {
    let options = common::postgres();
    let name = common::fresh_name("newer");
    let store = store(&name, &options);
    create(&store).await;
    execute(&options, format!("COMMENT ON TABLE {} IS 'cachette 99'", quoted(&options, &name)))
        .await;
    let error = store.create_table(false).await.expect_err("it is newer");
    assert!(
        error.to_string().contains("has version 99, and this program supports versions up to 1"),
        "{error}"
    );
}

#[tokio::test]
async fn a_table_of_something_else_is_left_alone() {
    for options in ALL.map(|options| options()) {
        for (columns, told) in [
            (
                "cache_key varchar(255) PRIMARY KEY, value text, expires timestamp",
                "is a cache table of Django",
            ),
            ("id int PRIMARY KEY, name text", "is not a cache table"),
        ] {
            let name = common::fresh_name("else");
            execute(&options, format!("CREATE TABLE {} ({columns})", quoted(&options, &name)))
                .await;
            let error =
                store(&name, &options).create_table(false).await.expect_err("it is something else");
            assert_eq!(error.kind(), ErrorKind::Config);
            assert!(error.to_string().contains(told), "{error}");
        }
    }
}

/// It takes as long as it says: more than a statement that meets a lock is tried again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_another_process_has_just_begun_is_waited_for() {
    use sqlx::{ConnectOptions as _, sqlite::SqliteConnectOptions};

    let options = common::sqlite_file();
    let file = SqliteConnectOptions::new()
        .filename(&options.url["sqlite:".len()..])
        .create_if_missing(true);
    let mut other = file.connect().await.expect("it connects");
    sqlx::raw_sql("CREATE TABLE other (number); BEGIN IMMEDIATE")
        .execute(&mut other)
        .await
        .expect("it is SQL");
    let making = tokio::spawn(async move { store("cache", &options).create_table(false).await });
    tokio::time::sleep(Duration::from_millis(600)).await;
    assert!(!making.is_finished(), "it is written to");
    sqlx::raw_sql("COMMIT").execute(&mut other).await.expect("it is SQL");
    making.await.expect("it does not panic").expect("it is made");
}

/// As when several processes of a new version start at once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_may_bring_a_table_up_to_date_at_once() {
    for (options, columns) in [
        (
            common::sqlite_file(),
            "cache_key BLOB NOT NULL PRIMARY KEY, value BLOB, number INTEGER, expires INTEGER NOT NULL",
        ),
        (
            common::postgres(),
            "cache_key bytea NOT NULL PRIMARY KEY, value bytea, number bigint, expires bigint NOT NULL",
        ),
        (
            common::mysql(),
            "cache_key VARBINARY(1024) NOT NULL PRIMARY KEY, value LONGBLOB, number BIGINT, expires BIGINT NOT NULL",
        ),
    ] {
        let name = common::fresh_name("old");
        execute(&options, format!("CREATE TABLE {} ({columns})", quoted(&options, &name))).await;
        let mut makers = JoinSet::new();
        for _ in 0..6 {
            let store = store(&name, &options);
            makers.spawn(async move { store.create_table(false).await });
        }
        while let Some(made) = makers.join_next().await {
            made.expect("it does not panic").expect("nobody is in another's way");
        }
        assert_eq!(create(&store(&name, &options)).await.state, TableState::Current);
    }
}

/// As when LOCATION names the wrong one: whatever is called, its rows stay.
#[tokio::test]
async fn nothing_is_removed_from_a_table_of_something_else() {
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
            let store = store(&name, &options);
            let answers = [
                ("clear", store.clear().await),
                ("purge_expired", store.purge_expired(1000).await.map(drop)),
                ("get", store.get("k").await.map(drop)),
                ("set", store.set("k", Value::Int(7), HOUR).await),
            ];
            for (verb, answer) in answers {
                let error = answer.expect_err(verb);
                assert_eq!(error.kind(), ErrorKind::Config, "{verb}: {error}");
                assert!(error.to_string().contains("choose another LOCATION"), "{verb}: {error}");
            }
            assert_eq!(rows(&options, &quoted).await, 1, "{columns}");
        }
    }
}

#[tokio::test]
async fn a_table_that_is_dropped_is_told_with_the_command_or_made_again_where_that_is_asked_for() {
    for mut options in ALL.map(|options| options()) {
        let name = common::fresh_name("dropped");
        let strict = store(&name, &options);
        create(&strict).await;
        strict.set("k", Value::Int(7), None).await.expect("it is stored");
        execute(&options, format!("DROP TABLE {}", quoted(&options, &name))).await;
        let error = strict.set("k", Value::Int(7), None).await.expect_err("the table is gone");
        assert_eq!(error.kind(), ErrorKind::Backend);
        assert!(
            error.to_string().contains(&format!("has no table {name:?}: create it with")),
            "{error}"
        );

        options.create_table = true;
        let making = store(&name, &options);
        making.set("k", Value::Int(7), None).await.expect("the table is made");
        assert_eq!(strict.get("k").await.expect("it is back"), Some(Value::Int(7)));
    }
}

#[tokio::test]
async fn an_unlogged_table_is_unlogged() {
    let mut options = common::postgres();
    options.unlogged = true;
    let store = store(&common::fresh_name("unlogged"), &options);
    assert!(create(&store).await.sql[0].starts_with("CREATE UNLOGGED TABLE"));
    store.set("k", Value::Int(7), None).await.expect("it is stored");
}

#[tokio::test]
async fn a_long_name_has_an_index_of_its_own() {
    for options in [common::postgres(), common::mysql()] {
        let (one, other) = ("l".repeat(63), format!("{}m", "l".repeat(62)));
        for name in [&one, &other] {
            let store = store(name, &options);
            create(&store).await;
            assert_eq!(create(&store).await.state, TableState::Current);
        }
    }
}

#[tokio::test]
async fn a_key_that_is_too_long_is_refused_before_anything_is_done() {
    let store = common::fresh(DbOptions::new("sqlite::memory:"), Clock::system()).await;
    let key = "k".repeat(cache_db::MAX_KEY_BYTES + 1);
    let refused = [
        store.get(&key).await.map(drop),
        store.set(&key, Value::Int(1), None).await,
        store.set_many(&[("fine", Value::Int(1)), (&key, Value::Int(1))], None).await.map(drop),
        store.delete_many(&["fine", &key]).await.map(drop),
    ];
    for answer in refused {
        assert_eq!(answer.expect_err("it is refused").kind(), ErrorKind::InvalidKey);
    }
    assert_eq!(store.entries().await.expect("it answers"), 0);
}

#[tokio::test]
async fn more_keys_than_a_statement_takes_are_fine() {
    for mut options in ALL.map(|options| options()) {
        options.max_entries = 100_000;
        let store = common::fresh(options, Clock::system()).await;
        let keys: Vec<String> = (0..12_345).map(|number| format!("key-{number}")).collect();
        let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
        let entries: Vec<(&str, Value)> =
            keys.iter().zip(0..).map(|(key, number)| (*key, Value::Int(number))).collect();
        store.set_many(&entries, HOUR).await.expect("they are stored");
        let values = store.get_many(&keys).await.expect("they are there");
        assert!(
            values.into_iter().zip(0..).all(|(value, number)| value == Some(Value::Int(number)))
        );
        assert_eq!(store.delete_many(&keys).await.expect("they are removed"), keys.len());
    }
}

#[tokio::test]
async fn of_several_entries_with_one_key_the_last_is_stored() {
    for options in ALL.map(|options| options()) {
        let store = common::fresh(options, Clock::system()).await;
        let entries = [("k", Value::Int(1)), ("other", Value::Int(2)), ("k", Value::Int(3))];
        store.set_many(&entries, HOUR).await.expect("they are stored");
        assert_eq!(store.get("k").await.expect("it is there"), Some(Value::Int(3)));
        assert_eq!(store.delete_many(&["k", "k"]).await.expect("it is removed"), 1);
    }
}

/// MariaDB takes 16 MiB at once, as it comes, and hangs up on who sends more: of much more, it does not even say why.
#[tokio::test]
async fn a_value_that_is_too_large_costs_the_calls_after_it_no_connection() {
    let mut options = common::mysql();
    options.pool_size = 1;
    let store = common::fresh(options, Clock::system()).await;
    store.set("n", Value::Int(0), HOUR).await.expect("it is stored");
    for (mebibytes, sum) in [(16, 1), (17, 2), (40, 3)] {
        let giant = Value::Bytes(vec![7; mebibytes << 20].into());
        let error = store.add("giant", giant, HOUR).await.expect_err("it is too large");
        assert_eq!(error.kind(), ErrorKind::TooLarge, "{mebibytes}: {error}");
        assert_eq!(
            store.incr("n", 1).await.expect("it is not sent twice, and need not be"),
            Some(sum)
        );
    }
}

/// The same.
#[tokio::test]
async fn a_value_that_is_too_large_is_refused_and_leaves_nothing() {
    let store = common::fresh(common::mysql(), Clock::system()).await;
    let giant = || Value::Bytes(vec![7; 40 << 20].into());
    store.set("k", Value::Int(1), HOUR).await.expect("it is stored");
    assert_eq!(
        store.set("k", giant(), HOUR).await.expect_err("too large").kind(),
        ErrorKind::TooLarge
    );
    assert_eq!(store.get("k").await.expect("it answers"), None);
    let refused = store
        .set_many(&[("a", Value::Int(1)), ("giant", giant()), ("b", Value::Int(2))], HOUR)
        .await;
    assert_eq!(refused.expect("the others are stored"), [1]);
    assert_eq!(store.get("b").await.expect("it answers"), Some(Value::Int(2)));
}
