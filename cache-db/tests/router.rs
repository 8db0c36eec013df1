//! Several databases.
#![cfg(feature = "sqlite")]

use std::{path::Path, time::Duration};

use cache_core::{Cache, Clock, ErrorKind, Value};
use cache_db::{Database, DbCache, DbOptions, Router};
use tempfile::TempDir;

const HOUR: Option<Duration> = Some(Duration::from_secs(3600));

fn folder() -> TempDir {
    TempDir::new().expect("there is room")
}

/// A store on one file alone.
async fn alone(folder: &Path, name: &str) -> DbCache {
    let mut options = DbOptions::new(&format!("sqlite:{name}"));
    options.create_table = true;
    DbCache::open("cache", options, Some(folder), Clock::system()).expect("it is fine")
}

#[tokio::test]
async fn with_a_read_url_reads_go_there_and_all_else_to_the_primary() {
    let folder = folder();
    let (primary, replica) =
        (alone(folder.path(), "primary.db").await, alone(folder.path(), "replica.db").await);
    let mut options = DbOptions::new("sqlite:primary.db");
    options.read_url = Some("sqlite:replica.db".into());
    let both =
        DbCache::open("cache", options, Some(folder.path()), Clock::system()).expect("it is fine");
    primary.set("k", Value::Int(1), HOUR).await.expect("it is stored");
    replica.set("k", Value::Int(100), None).await.expect("it is stored");

    assert_eq!(both.get("k").await.expect("it answers"), Some(Value::Int(100)));
    assert_eq!(both.get_many(&["k"]).await.expect("it answers"), [Some(Value::Int(100))]);
    assert_eq!(both.ttl("k").await.expect("it answers"), Some(cache_core::Ttl::Never));
    assert_eq!(both.incr("k", 1).await.expect("it counts"), Some(2));
    assert!(!both.add("k", Value::Int(7), HOUR).await.expect("it answers"));
    assert!(both.delete("k").await.expect("it answers"));
    assert_eq!(primary.get("k").await.expect("it answers"), None);
    assert_eq!(replica.get("k").await.expect("it answers"), Some(Value::Int(100)));
}

#[tokio::test]
async fn why_a_counter_cannot_be_counted_is_not_asked_of_a_replica() {
    let folder = folder();
    let replica = alone(folder.path(), "replica.db").await;
    let mut options = DbOptions::new("sqlite:primary.db");
    options.read_url = Some("sqlite:replica.db".into());
    let both =
        DbCache::open("cache", options, Some(folder.path()), Clock::system()).expect("it is fine");
    both.create_table(false).await.expect("it is made");
    replica.set("k", Value::Int(100), None).await.expect("it is stored");
    assert_eq!(both.incr("k", 1).await.expect("it answers"), None);
}

#[tokio::test]
async fn a_table_is_made_only_where_it_is_allowed() {
    let folder = folder();
    let mut options = DbOptions::new("sqlite:primary.db");
    options.read_url = Some("sqlite:replica.db".into());
    let both =
        DbCache::open("cache", options, Some(folder.path()), Clock::system()).expect("it is fine");
    let made = both.create_table(false).await.expect("it is made");
    assert_eq!(made.len(), 1);
    assert!(made[0].database.ends_with("primary.db"), "{made:?}");
    assert!(!folder.path().join("replica.db").exists());
}

/// By the table's name; no table may be made in the archive.
#[derive(Debug)]
struct ByTable;

impl Router for ByTable {
    fn db_for_write(&self, table: &str) -> &str {
        match table {
            "archive" => "archive",
            "lost" => "nowhere",
            _ => "default",
        }
    }

    fn allow_migrate(&self, database: &str, _: &str) -> bool {
        database != "archive"
    }
}

fn routed(table: &str) -> DbCache {
    let options = DbOptions::default();
    let memory = || Database::from_url("sqlite::memory:", &options, None).expect("it is a URL");
    let databases = [("default", memory()), ("archive", memory())];
    DbCache::with_router(table, databases, ByTable, options.clone(), Clock::system())
        .expect("it is fine")
}

#[tokio::test]
async fn a_router_of_one_s_own_chooses_by_name() {
    let made = routed("pages").create_table(false).await.expect("it is made");
    assert_eq!(made.len(), 1, "the archive is not to be touched");
    let store = routed("pages");
    store.set("k", Value::Int(1), HOUR).await.expect("it is stored");
    assert_eq!(store.get("k").await.expect("it answers"), Some(Value::Int(1)));
}

#[tokio::test]
async fn a_database_that_the_router_names_and_nobody_knows_is_a_mistake() {
    let error = routed("lost").get("k").await.expect_err("there is no such database");
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(error.to_string().contains("\"nowhere\""), "{error}");
    assert!(error.to_string().contains("archive, default"), "{error}");
}

#[tokio::test]
async fn a_pool_that_was_handed_over_is_used_and_left_open() {
    let folder = folder();
    let path = folder.path().join("mine.db");
    let connect = sqlx::sqlite::SqliteConnectOptions::new().filename(path).create_if_missing(true);
    let pool = sqlx::SqlitePool::connect_with(connect).await.expect("it connects");
    let databases = [("default", Database::from(pool.clone()))];
    let store =
        DbCache::with_router("cache", databases, ByTable, DbOptions::default(), Clock::system());
    let store = store.expect("it is fine");
    store.create_table(false).await.expect("it is made");
    store.set("k", Value::Int(1), HOUR).await.expect("it is stored");
    store.close().await.expect("it closes what is its own");
    assert!(!pool.is_closed());
    assert_eq!(store.get("k").await.expect("it answers"), Some(Value::Int(1)));
}
