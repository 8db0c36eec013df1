//! Databases for tests.
#![allow(dead_code, reason = "no test needs all of it")]

pub(crate) mod gate;

use std::{
    env,
    path::PathBuf,
    process,
    sync::{
        OnceLock,
        atomic::{AtomicUsize, Ordering},
    },
};

use cache_core::Clock;
use cache_db::{DbCache, DbOptions};
use tempfile::TempDir;

/// A store in a table of its own.
pub(crate) async fn fresh(options: DbOptions, clock: Clock) -> DbCache {
    let store = DbCache::open(&fresh_name("conformance"), options, None, clock)
        .expect("the options are fine");
    store.create_table(false).await.expect("the database is there");
    store
}

/// A name that no other test has, in this run or an earlier one.
pub(crate) fn fresh_name(about: &str) -> String {
    static NUMBER: AtomicUsize = AtomicUsize::new(0);
    format!("{about} {} {}", process::id(), NUMBER.fetch_add(1, Ordering::Relaxed))
}

/// A file of its own, in a folder that goes with the process's temporary files.
pub(crate) fn sqlite_file() -> DbOptions {
    static NUMBER: AtomicUsize = AtomicUsize::new(0);
    let path = folder().join(format!("{}.db", NUMBER.fetch_add(1, Ordering::Relaxed)));
    patient(&format!("sqlite:{}", path.display()))
}

pub(crate) fn postgres() -> DbOptions {
    patient(&url("CACHETTE_POSTGRES_URL"))
}

pub(crate) fn pgbouncer() -> DbOptions {
    let mut options = patient(&url("CACHETTE_PGBOUNCER_URL"));
    options.pgbouncer = true;
    options
}

pub(crate) fn mysql() -> DbOptions {
    patient(&url("CACHETTE_MYSQL_URL"))
}

/// Few connections, as many tests are at work, and time for a machine that is busy with others.
fn patient(url: &str) -> DbOptions {
    let mut options = DbOptions::new(url);
    options.pool_size = 4;
    options.connect_timeout = std::time::Duration::from_secs(20);
    options.statement_timeout = std::time::Duration::from_secs(20);
    options
}

pub(crate) fn url(variable: &str) -> String {
    env::var(variable).unwrap_or_else(|_| {
        panic!("{variable} is not set: run this test by `cargo xtask test`, which starts the servers that it needs")
    })
}

fn folder() -> PathBuf {
    static FOLDER: OnceLock<TempDir> = OnceLock::new();
    FOLDER.get_or_init(|| TempDir::new().expect("there is room")).path().to_owned()
}
