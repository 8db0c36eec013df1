//! The memory that an entry takes in addition to its key and value. See this crate's `README.md`.

use allocation_counter::measure;
use bytes::Bytes;
use cache_core::Cache;
use cache_locmem::{LocMemCache, LocMemOptions, Policy};
use cached::ShardedLruCache;
use cachette_benches::{
    Comparison, Report, ready,
    workload::{HOUR, KEYS, VALUE_LENGTH, keys},
};
use foyer_memory::{Cache as Foyer, CacheBuilder, S3FifoConfig};

type Key = Box<str>;

fn main() {
    let mut report = Report::default();
    report.add(comparison("memory per entry", shareable_value).run(1));
    report.add(comparison("memory per entry that was never hit", fresh_value).run(1));
    report.draw_bars("Memory of an entry over key and value", "memory per entry");
    report.publish();
}

fn comparison(name: &str, value: fn() -> Bytes) -> Comparison<'static> {
    let quick_cache = || quick_cache::sync::Cache::<Key, Bytes>::new(KEYS);
    let moka = || moka::sync::Cache::<Key, Bytes>::new(KEYS as u64);
    let foyer = || -> Foyer<Key, Bytes> {
        CacheBuilder::new(KEYS).with_eviction_config(S3FifoConfig::default()).build()
    };
    let cached = || ShardedLruCache::<Key, Bytes>::new(KEYS);
    let locmem = move |policy| overhead(value, || locmem(policy), set, LocMemCache::entries);
    Comparison::new(name)
        .unit("bytes")
        .candidate("locmem, LRU", move || locmem(Policy::Lru))
        .candidate("locmem, S3-FIFO", move || locmem(Policy::S3Fifo))
        .candidate("quick_cache", move || {
            overhead(
                value,
                quick_cache,
                |c, key, value| c.insert(key.into(), value),
                quick_cache::sync::Cache::len,
            )
        })
        .candidate("moka", move || {
            overhead(value, moka, |c, key, value| c.insert(key.into(), value), moka_entries)
        })
        .candidate("foyer, S3-FIFO", move || {
            let insert =
                |c: &Foyer<Key, Bytes>, key: &str, value| drop(c.insert(key.into(), value));
            overhead(value, foyer, insert, Foyer::usage)
        })
        .candidate("cached", move || {
            let set =
                |c: &ShardedLruCache<Key, Bytes>, key: &str, value| drop(c.set(key.into(), value));
            overhead(value, cached, set, ShardedLruCache::len)
        })
}

/// Stores twice as many entries as a cache has space for. Returns the bytes per remaining entry,
/// without its key and value.
#[expect(clippy::cast_precision_loss, reason = "small numbers")]
fn overhead<C>(
    value: fn() -> Bytes,
    new: impl FnOnce() -> C,
    store: impl Fn(&C, &str, Bytes),
    entries: impl FnOnce(&C) -> usize,
) -> f64 {
    let keys = keys("there", 2 * KEYS);
    let mut cache = None;
    let mut count = 0;
    let allocated = measure(|| {
        let cache = cache.insert(new());
        keys.iter().for_each(|key| store(cache, key, value()));
        count = entries(cache);
    });
    allocated.bytes_current as f64 / count as f64 - (keys[0].len() + VALUE_LENGTH) as f64
}

fn fresh_value() -> Bytes {
    Bytes::from(vec![b'v'; VALUE_LENGTH])
}

/// A value with its reference count, which the first clone allocates: at the latest, a hit.
fn shareable_value() -> Bytes {
    let value = fresh_value();
    drop(value.clone());
    value
}

fn locmem(policy: Policy) -> LocMemCache {
    let options = LocMemOptions::default().max_entries(KEYS).cull_frequency(KEYS).policy(policy);
    LocMemCache::new(options).expect("valid options")
}

fn set(cache: &LocMemCache, key: &str, value: Bytes) {
    ready(cache.set(key, value.into(), Some(HOUR))).expect("no error");
}

/// moka evicts in the background.
fn moka_entries(cache: &moka::sync::Cache<Key, Bytes>) -> usize {
    cache.run_pending_tasks();
    usize::try_from(cache.entry_count()).expect("a small number")
}
