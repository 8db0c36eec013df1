//! Settings of sessions: what the store sets when it connects, and what it checks in a pool of the
//! application.
#![cfg(all(feature = "sqlite", feature = "postgres", feature = "mysql"))]

mod common;

use std::time::Duration;

use cache_core::{Cache, Clock, Error, ErrorKind, Value};
use cache_db::{Database, DbCache, DbOptions, Router};
use sqlx::{
    AssertSqlSafe, Connection as _, Executor as _, MySqlConnection, PgConnection,
    mysql::MySqlPoolOptions,
};
use xtask::servers::{Kind, Server};

use self::common::pooler;

/// Settings of a MySQL server that lose writes or values if a session inherits them.
const HARMFUL: [&str; 4] = [
    "autocommit = 0",
    "completion_type = 'CHAIN'",
    "sql_mode = 'EMPTY_STRING_IS_NULL'",
    "sql_select_limit = 1",
];

fn start(kind: Kind) -> Server {
    Server::start(kind).unwrap_or_else(|error| panic!("{error}"))
}

/// With long timeouts, because the machine may be busy.
fn patient() -> DbOptions {
    DbOptions::default()
        .connect_timeout(Duration::from_secs(20))
        .statement_timeout(Duration::from_secs(20))
}

fn store_at(url: &str) -> DbCache {
    DbCache::new("cache", patient().url(url)).expect("valid options")
}

fn bytes(text: &'static str) -> Value {
    Value::Bytes(text.into())
}

/// Sets a default for new sessions.
async fn set_global(server: &Server, setting: &str) {
    let mut root = MySqlConnection::connect(&server.url()).await.expect("root connects");
    let set = format!("SET GLOBAL {setting}");
    root.execute(AssertSqlSafe(set)).await.expect(setting);
}

async fn reset_global(server: &Server, setting: &str) {
    let (name, _) = setting.split_once(' ').expect("a name and a value");
    set_global(server, &format!("{name} = DEFAULT")).await;
}

#[tokio::test]
async fn defaults_of_a_mysql_server_do_not_lose_writes_or_values() {
    let server = start(Kind::Mariadb);
    store_at(&server.url()).create_table(false).await.expect("the table is created");
    let others =
        ["group_concat_max_len = 4", "sql_mode = 'ORACLE'", "tx_isolation = 'SERIALIZABLE'"];
    for setting in HARMFUL.into_iter().chain(others) {
        set_global(&server, setting).await;
        let store = store_at(&server.url());
        store.create_table(false).await.expect("the table is recognised");
        let entries = [("a", bytes("")), ("b", bytes(setting))];
        store.set_many(&entries, None).await.expect("set_many succeeds");
        store.set("c", bytes(""), None).await.expect("set succeeds");
        store.set("d", bytes(setting), None).await.expect("set succeeds");
        reset_global(&server, setting).await;

        let expected = ["", setting, "", setting].map(|text| Some(bytes(text)));
        for reader in [store, store_at(&server.url())] {
            let found = reader.get_many(&["a", "b", "c", "d"]).await.expect("get_many succeeds");
            assert_eq!(found, expected, "{setting}");
        }
        store_at(&server.url()).clear().await.expect("clear succeeds");
    }
}

#[derive(Debug)]
struct One;

impl Router for One {
    fn db_for_write(&self, _: &str) -> &str {
        "default"
    }
}

fn store_on(pool: impl Into<Database>) -> DbCache {
    let databases = [("default", pool.into())];
    DbCache::with_router("cache", databases, One, patient(), Clock::system())
        .expect("valid options")
}

async fn call_each_verb(store: &DbCache) -> [Result<(), Error>; 2] {
    [store.get("k").await.map(drop), store.set("k", Value::Int(1), None).await]
}

#[tokio::test]
async fn pool_whose_sessions_lose_writes_is_an_error_that_names_the_setting() {
    let server = start(Kind::Mariadb);
    store_at(&server.url()).create_table(false).await.expect("the table is created");
    for setting in HARMFUL {
        set_global(&server, setting).await;
        let pool = MySqlPoolOptions::new().max_connections(1);
        let pool = pool.connect(&server.url()).await.expect("the pool connects");
        reset_global(&server, setting).await;
        let (name, _) = setting.split_once(' ').expect("a name and a value");
        for result in call_each_verb(&store_on(pool.clone())).await {
            let error = result.expect_err(setting);
            assert_eq!(error.kind(), ErrorKind::Config, "{error}");
            assert!(error.to_string().contains(name), "{error}");
        }
        // The application's sessions are as they were.
        let select = AssertSqlSafe(format!("SELECT @@{name} = @@GLOBAL.{name}"));
        let is_default: i64 = sqlx::query_scalar(select).fetch_one(&pool).await.expect("a number");
        assert_eq!(is_default, 0, "{setting}");
    }
    let pool = sqlx::MySqlPool::connect(&server.url()).await.expect("the pool connects");
    for result in call_each_verb(&store_on(pool)).await {
        result.expect("the pool is usable");
    }
}

/// Rejects rows from sessions with other settings than the store relies on.
const CHECK_SESSION: &str = "
    CREATE FUNCTION check_session() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
        IF current_setting('transaction_isolation') <> 'read committed'
            OR current_setting('statement_timeout') <> '7s'
        THEN RAISE EXCEPTION '%, %', current_setting('transaction_isolation'),
            current_setting('statement_timeout');
        END IF;
        RETURN NEW;
    END $$;
    CREATE TRIGGER check_session BEFORE INSERT ON cache FOR EACH ROW
        EXECUTE FUNCTION check_session();
    ALTER ROLE postgres SET default_transaction_isolation = 'serializable';";

async fn postgres_with_checked_sessions() -> Server {
    let server = start(Kind::Postgres);
    store_at(&server.url()).create_table(false).await.expect("the table is created");
    let mut admin = PgConnection::connect(&server.url()).await.expect("the administrator connects");
    admin.execute(CHECK_SESSION).await.expect("the trigger is created");
    server
}

async fn assert_sessions_are_safe(url: String) {
    let options = patient().url(url).statement_timeout(Duration::from_secs(7));
    let store = DbCache::new("cache", options).expect("valid options");
    store.set("k", Value::Int(1), None).await.expect("the settings are right");
    let entries = [("a", Value::Int(1)), ("b", Value::Int(2))];
    store.set_many(&entries, None).await.expect("the settings are right");
}

#[tokio::test]
async fn defaults_of_a_postgres_role_do_not_concern_the_store() {
    let server = postgres_with_checked_sessions().await;
    assert_sessions_are_safe(server.url()).await;
}

#[tokio::test]
async fn pooler_that_rejects_startup_options_gets_the_settings_as_statements() {
    let server = postgres_with_checked_sessions().await;
    let port = pooler::start(server.port()).await;
    assert_sessions_are_safe(format!("postgres://postgres@127.0.0.1:{port}/postgres")).await;
}

/// The options of the user are not dropped: they may decide which table is used.
#[tokio::test]
async fn startup_options_of_the_url_that_a_pooler_rejects_are_an_error() {
    let port = pooler::start(1).await;
    let options = "options=-c%20search_path%3Dshop";
    let store = store_at(&format!("postgres://postgres@127.0.0.1:{port}/postgres?{options}"));
    let error = store.get("k").await.expect_err("the pooler rejects the options");
    assert!(error.to_string().contains("command-line options"), "{error}");
}

#[tokio::test]
async fn ipv6_address_is_not_looked_up_as_a_name() {
    for scheme in ["postgres", "mysql"] {
        // The zone is the number of the loopback interface.
        let urls = ["[::1]", "[::1%1]", "[::1%251]"].map(|address| format!("ada@{address}:1/shop"));
        let by_parameter = (scheme == "postgres").then(|| "/shop?host=[::1]&port=1".to_owned());
        for url in urls.into_iter().chain(by_parameter) {
            let store = store_at(&format!("{scheme}://{url}"));
            let error = store.get("k").await.expect_err("no server listens");
            assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
            assert!(!error.to_string().contains("lookup"), "{error}");
        }
    }
}
