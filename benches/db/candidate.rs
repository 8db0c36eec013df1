//! What does the jobs: the store, and what a user would write instead.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use cache_core::{Value, async_trait};
use cache_db::{DbCache, DbOptions};
use cachette_benches::workload::VALUE_LENGTH;

/// How many keys a batch has.
pub(crate) const BATCH: usize = 100;

pub(crate) const VALUE: &[u8] = &[b'v'; VALUE_LENGTH];

pub(crate) const HOUR: Duration = Duration::from_secs(3600);

/// Does each job once. Panics where a key is missing that should be there, or a statement fails.
#[async_trait]
pub(crate) trait Candidate: Send + Sync {
    async fn get(&self, key: &str);
    async fn set(&self, key: &str);
    async fn get_many(&self, keys: &[&str]);
    async fn set_many(&self, keys: &[&str]);
}

/// The store in `table`, which is made where it is missing.
pub(crate) async fn store(url: &str, table: &str, unlogged: bool) -> Arc<DbCache> {
    let mut options = DbOptions::new(url);
    options.max_entries = 10_000_000;
    options.unlogged = unlogged;
    options.statement_timeout = Duration::from_secs(60);
    let store = DbCache::new(table, options).expect("the options are fine");
    store.create_table(false).await.expect("it is made");
    Arc::new(store)
}

#[async_trait]
impl Candidate for DbCache {
    async fn get(&self, key: &str) {
        assert!(cache_core::Cache::get(self, key).await.expect("it answers").is_some(), "{key}");
    }

    async fn set(&self, key: &str) {
        cache_core::Cache::set(self, key, value(), Some(HOUR)).await.expect("it is stored");
    }

    async fn get_many(&self, keys: &[&str]) {
        let found = cache_core::Cache::get_many(self, keys).await.expect("it answers");
        assert!(found.iter().all(Option::is_some));
    }

    async fn set_many(&self, keys: &[&str]) {
        let entries: Vec<_> = keys.iter().map(|key| (*key, value())).collect();
        let refused =
            cache_core::Cache::set_many(self, &entries, Some(HOUR)).await.expect("they are stored");
        assert!(refused.is_empty());
    }
}

pub(crate) fn value() -> Value {
    Value::Bytes(Bytes::from_static(VALUE))
}

/// Microseconds since 1970.
pub(crate) fn now() -> i64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("it is later");
    i64::try_from(now.as_micros()).expect("it fits")
}

/// When what is stored now expires.
pub(crate) fn deadline() -> i64 {
    now() + i64::try_from(HOUR.as_micros()).expect("it fits")
}
