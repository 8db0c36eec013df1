//! Allocations of batches on SQLite, which run on the caller's thread.
#![cfg(feature = "sqlite")]

mod common;

use std::time::Duration;

use allocation_counter::measure;
use cache_core::{Bytes, Cache, Value};
use cache_db::{DbCache, DbOptions};
use tokio::runtime::Runtime;

const HOUR: Option<Duration> = Some(Duration::from_secs(3600));
const KEYS: usize = 100;
const MAX_ALLOCATIONS: u64 = 299;

fn keys() -> Vec<String> {
    (0..KEYS).map(|number| format!("key {number}")).collect()
}

/// Counts the allocations of an operation that has run once before.
fn allocations(options: DbOptions, operation: &impl AsyncFn(&DbCache)) -> u64 {
    let runtime = Runtime::new().expect("the runtime starts");
    let store = DbCache::new("cache", options.create_table(true)).expect("valid options");
    runtime.block_on(operation(&store));
    measure(|| runtime.block_on(operation(&store))).count_total
}

async fn set_many(store: &DbCache, keys: &[String]) {
    let value = Value::Bytes(Bytes::from_static(&[7; 100]));
    let entries: Vec<_> = keys.iter().map(|key| (key.as_str(), value.clone())).collect();
    let rejected = store.set_many(&entries, HOUR).await.expect("set_many succeeds");
    assert!(rejected.is_empty(), "{rejected:?}");
}

#[test]
fn set_many_of_100_keys_makes_fewer_than_300_allocations() {
    let keys = keys();
    let count = allocations(common::sqlite_file(), &async |store| set_many(store, &keys).await);
    assert!(count <= MAX_ALLOCATIONS, "{count}");
}

#[test]
fn get_many_of_100_keys_makes_fewer_than_300_allocations() {
    let keys = keys();
    let refs: Vec<&str> = keys.iter().map(String::as_str).collect();
    let options = common::sqlite_file();
    let writer = DbCache::new("cache", options.clone().create_table(true)).expect("valid options");
    Runtime::new().expect("the runtime starts").block_on(set_many(&writer, &keys));
    let count = allocations(options, &async |store: &DbCache| {
        let found = store.get_many(&refs).await.expect("get_many succeeds");
        assert_eq!(found.iter().flatten().count(), KEYS);
    });
    assert!(count <= MAX_ALLOCATIONS, "{count}");
}
