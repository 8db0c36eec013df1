//! Stores with several databases.
#![cfg(feature = "sqlite")]

use std::{path::Path, time::Duration};

use cache_core::{Cache, Clock, ErrorKind, Ttl, Value};
use cache_db::{Database, DbCache, DbOptions, Router};
use tempfile::TempDir;

const HOUR: Option<Duration> = Some(Duration::from_secs(3600));

fn temporary_directory() -> TempDir {
    TempDir::new().expect("the directory is created")
}

fn open(folder: &Path, options: DbOptions) -> DbCache {
    DbCache::open("cache", options, Some(folder), Clock::system()).expect("valid options")
}

/// A store on one file.
fn store_on(folder: &Path, file: &str) -> DbCache {
    open(folder, DbOptions::new(format!("sqlite:{file}")).create_table(true))
}

/// A store that writes to `primary.db` and reads from `replica.db`.
fn with_replica(folder: &Path) -> DbCache {
    open(folder, DbOptions::new("sqlite:primary.db").read_url("sqlite:replica.db"))
}

async fn set(store: &DbCache, number: i64, ttl: Option<Duration>) {
    store.set("k", Value::Int(number), ttl).await.expect("set succeeds");
}

async fn get(store: &DbCache) -> Option<Value> {
    store.get("k").await.expect("get succeeds")
}

#[tokio::test]
async fn read_url_serves_reads_and_url_all_other_operations() {
    let folder = temporary_directory();
    let primary = store_on(folder.path(), "primary.db");
    let replica = store_on(folder.path(), "replica.db");
    let both = with_replica(folder.path());
    set(&primary, 1, HOUR).await;
    set(&replica, 100, None).await;

    assert_eq!(get(&both).await, Some(Value::Int(100)));
    let values = both.get_many(&["k"]).await.expect("get_many succeeds");
    assert_eq!(values, [Some(Value::Int(100))]);
    assert_eq!(both.ttl("k").await.expect("ttl succeeds"), Some(Ttl::Never));
    assert_eq!(both.incr("k", 1).await.expect("incr succeeds"), Some(2));
    assert!(!both.add("k", Value::Int(7), HOUR).await.expect("add succeeds"));
    assert!(both.delete("k").await.expect("delete succeeds"));
    assert_eq!(get(&primary).await, None);
    assert_eq!(get(&replica).await, Some(Value::Int(100)));
}

#[tokio::test]
async fn incr_of_an_absent_key_does_not_ask_the_replica() {
    let folder = temporary_directory();
    let replica = store_on(folder.path(), "replica.db");
    let both = with_replica(folder.path());
    both.create_table(false).await.expect("the table is created");
    set(&replica, 100, None).await;
    assert_eq!(both.incr("k", 1).await.expect("incr succeeds"), None);
}

#[tokio::test]
async fn table_is_created_only_where_the_router_allows_it() {
    let folder = temporary_directory();
    let both = with_replica(folder.path());
    let creations = both.create_table(false).await.expect("the table is created");
    assert_eq!(creations.len(), 1);
    assert!(creations[0].database.ends_with("primary.db"), "{creations:?}");
    assert!(!folder.path().join("replica.db").exists());
}

/// Chooses by the name of the table, and allows no table in the archive.
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
    let in_memory = || Database::from_url("sqlite::memory:", &options, None).expect("valid URL");
    let databases = [("default", in_memory()), ("archive", in_memory())];
    DbCache::with_router(table, databases, ByTable, options.clone(), Clock::system())
        .expect("valid options")
}

#[tokio::test]
async fn custom_router_chooses_databases_by_name() {
    let creations = routed("pages").create_table(false).await.expect("the table is created");
    assert_eq!(creations.len(), 1, "the router forbids changes of the archive");
    let store = routed("pages");
    set(&store, 1, HOUR).await;
    assert_eq!(get(&store).await, Some(Value::Int(1)));
}

#[tokio::test]
async fn unknown_database_from_a_router_is_an_error_with_the_known_ones() {
    let error = routed("lost").get("k").await.expect_err("the database is unknown");
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(error.to_string().contains("\"nowhere\""), "{error}");
    assert!(error.to_string().contains("archive, default"), "{error}");
}
