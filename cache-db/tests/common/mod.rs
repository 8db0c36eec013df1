//! Databases for tests.
#![allow(dead_code, reason = "each test file uses a part of it")]

pub(crate) mod child;
pub(crate) mod gate;
pub(crate) mod pooler;

use std::{
    env,
    path::PathBuf,
    process,
    sync::{
        OnceLock,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use cache_core::Clock;
use cache_db::{DbCache, DbOptions};
use tempfile::TempDir;

/// Creates a store with its own new table.
pub(crate) async fn fresh(options: DbOptions, clock: Clock) -> DbCache {
    let store =
        DbCache::open(&fresh_name("conformance"), options, None, clock).expect("valid options");
    store.create_table(false).await.expect("the table is created");
    store
}

/// A name that no other test has used, in this run or an earlier one.
pub(crate) fn fresh_name(prefix: &str) -> String {
    static NUMBER: AtomicUsize = AtomicUsize::new(0);
    format!("{prefix} {} {}", process::id(), NUMBER.fetch_add(1, Ordering::Relaxed))
}

/// Options for a new file in the temporary directory of this process.
pub(crate) fn sqlite_file() -> DbOptions {
    static NUMBER: AtomicUsize = AtomicUsize::new(0);
    let path = folder().join(format!("{}.db", NUMBER.fetch_add(1, Ordering::Relaxed)));
    patient(format!("sqlite:{}", path.display()))
}

pub(crate) fn postgres() -> DbOptions {
    patient(url("CACHETTE_POSTGRES_URL"))
}

pub(crate) fn pgbouncer() -> DbOptions {
    patient(url("CACHETTE_PGBOUNCER_URL")).pgbouncer(true)
}

pub(crate) fn mysql() -> DbOptions {
    patient(url("CACHETTE_MYSQL_URL"))
}

/// Options with few connections, because many tests run at once, and with long timeouts,
/// because the machine may be busy.
fn patient(url: String) -> DbOptions {
    DbOptions::new(url)
        .pool_size(4)
        .connect_timeout(Duration::from_secs(20))
        .statement_timeout(Duration::from_secs(20))
}

pub(crate) fn url(variable: &str) -> String {
    env::var(variable).unwrap_or_else(|_| {
        panic!("{variable} is not set: run `cargo xtask test`, which starts the servers")
    })
}

fn folder() -> PathBuf {
    static FOLDER: OnceLock<TempDir> = OnceLock::new();
    FOLDER.get_or_init(|| TempDir::new().expect("the directory is created")).path().to_owned()
}
