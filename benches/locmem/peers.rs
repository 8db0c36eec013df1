//! The candidates: what a user would put in locmem's place.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use cache_core::{Cache, Value};
use cache_locmem::{LocMemCache, LocMemOptions};
use dashmap::DashMap;
use foldhash::fast::RandomState;
use quick_cache::{
    UnitWeighter,
    sync::{Cache as QuickCache, DefaultLifecycle},
};

/// How long every entry lives: longer than any run.
pub(crate) const TTL: Duration = Duration::from_secs(3600);

/// A map from keys to bytes that may lose entries.
pub(crate) trait Peer: Sync {
    fn look_up(&self, key: &str) -> Option<Bytes>;
    fn store(&self, key: &str, value: Bytes);
}

/// The limit: a map that neither evicts nor expires.
pub(crate) struct Map(DashMap<Box<str>, Bytes, RandomState>);

impl Map {
    pub(crate) fn new() -> Self {
        Self(DashMap::default())
    }
}

impl Peer for Map {
    fn look_up(&self, key: &str) -> Option<Bytes> {
        self.0.get(key).map(|value| value.clone())
    }

    fn store(&self, key: &str, value: Bytes) {
        self.0.insert(key.into(), value);
    }
}

pub(crate) type Quick<V> = QuickCache<Box<str>, V, UnitWeighter, RandomState>;

/// A `quick_cache` of so many entries.
pub(crate) fn quick<V: Clone>(capacity: usize) -> Quick<V> {
    Quick::with(
        capacity,
        size(capacity),
        UnitWeighter,
        RandomState::default(),
        DefaultLifecycle::default(),
    )
}

impl Peer for Quick<Bytes> {
    fn look_up(&self, key: &str) -> Option<Bytes> {
        self.get(key)
    }

    fn store(&self, key: &str, value: Bytes) {
        self.insert(key.into(), value);
    }
}

/// A `quick_cache` whose user keeps a deadline with each value.
impl Peer for Quick<(Bytes, Instant)> {
    fn look_up(&self, key: &str) -> Option<Bytes> {
        let (value, deadline) = self.get(key)?;
        if deadline <= Instant::now() {
            self.remove(key);
            return None;
        }
        Some(value)
    }

    fn store(&self, key: &str, value: Bytes) {
        self.insert(key.into(), (value, Instant::now() + TTL));
    }
}

/// moka, with a time to live for each entry.
pub(crate) struct Moka(moka::sync::Cache<Box<str>, (Bytes, Duration), RandomState>);

impl Moka {
    pub(crate) fn new(capacity: usize) -> Self {
        let builder =
            moka::sync::Cache::builder().max_capacity(size(capacity)).expire_after(OwnTtl);
        Self(builder.build_with_hasher(RandomState::default()))
    }
}

struct OwnTtl;

impl moka::Expiry<Box<str>, (Bytes, Duration)> for OwnTtl {
    fn expire_after_create(
        &self,
        _: &Box<str>,
        entry: &(Bytes, Duration),
        _: Instant,
    ) -> Option<Duration> {
        Some(entry.1)
    }

    fn expire_after_update(
        &self,
        _: &Box<str>,
        entry: &(Bytes, Duration),
        _: Instant,
        _: Option<Duration>,
    ) -> Option<Duration> {
        Some(entry.1)
    }
}

impl Peer for Moka {
    fn look_up(&self, key: &str) -> Option<Bytes> {
        self.0.get(key).map(|(value, _)| value)
    }

    fn store(&self, key: &str, value: Bytes) {
        self.0.insert(key.into(), (value, TTL));
    }
}

/// foyer's cache in memory, under S3-FIFO.
pub(crate) type Foyer = foyer_memory::Cache<Box<str>, Bytes, RandomState>;

/// A foyer of so many entries.
pub(crate) fn foyer(capacity: usize) -> Foyer {
    let builder =
        foyer_memory::CacheBuilder::new(capacity).with_hash_builder(RandomState::default());
    builder.with_eviction_config(foyer_memory::S3FifoConfig::default()).build()
}

impl Peer for Foyer {
    fn look_up(&self, key: &str) -> Option<Bytes> {
        self.get(key).map(|entry| entry.value().clone())
    }

    fn store(&self, key: &str, value: Bytes) {
        self.insert(key.into(), value);
    }
}

/// cached's LRU in shards, which hashes as it comes.
pub(crate) type Cached = cached::ShardedLruCache<Box<str>, Bytes>;

impl Peer for Cached {
    fn look_up(&self, key: &str) -> Option<Bytes> {
        self.get(key)
    }

    fn store(&self, key: &str, value: Bytes) {
        self.set(key.into(), value);
    }
}

fn size(capacity: usize) -> u64 {
    u64::try_from(capacity).expect("a small number")
}

/// A locmem store of so many entries.
pub(crate) fn locmem(max_entries: usize) -> Arc<dyn Cache> {
    let options = LocMemOptions::default().max_entries(max_entries);
    Arc::new(LocMemCache::new(options).expect("valid options"))
}

impl Peer for Arc<dyn Cache> {
    fn look_up(&self, key: &str) -> Option<Bytes> {
        match self.get_now(key)?.expect("no failure")? {
            Value::Bytes(value) => Some(value),
            other => unreachable!("only bytes were stored, not {other:?}"),
        }
    }

    fn store(&self, key: &str, value: Bytes) {
        self.set_now(key, value.into(), Some(TTL)).expect("it never waits").expect("no failure");
    }
}
