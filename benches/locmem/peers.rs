//! The candidates: what a user would choose instead of locmem.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use cache_core::{Cache, Value};
use cache_locmem::{LocMemCache, LocMemOptions};
use cachette_benches::workload::HOUR;
use dashmap::DashMap;
use foldhash::fast::RandomState;
use quick_cache::{
    UnitWeighter,
    sync::{Cache as QuickCache, DefaultLifecycle},
};

/// A map from keys to bytes that may evict entries.
pub(crate) trait Peer: Sync {
    fn look_up(&self, key: &str) -> Option<Bytes>;
    fn store(&self, key: &str, value: Bytes);
}

/// Implements [`Peer`] with a get and an insert.
macro_rules! peer {
    ($cache:ty, |$self:ident, $key:ident, $value:ident| $get:expr, $insert:expr) => {
        impl Peer for $cache {
            fn look_up(&self, $key: &str) -> Option<Bytes> {
                let $self = self;
                $get
            }

            fn store(&self, $key: &str, $value: Bytes) {
                let $self = self;
                $insert;
            }
        }
    };
}

/// The limit: a map without eviction or expiry.
pub(crate) type Map = DashMap<Box<str>, Bytes, RandomState>;

peer!(
    Map,
    |map, key, value| map.get(key).map(|value| value.clone()),
    map.insert(key.into(), value)
);

pub(crate) type Quick<V> = QuickCache<Box<str>, V, UnitWeighter, RandomState>;

/// Creates a `quick_cache`.
pub(crate) fn quick<V: Clone>(capacity: usize) -> Quick<V> {
    let (size, hasher) = (size(capacity), RandomState::default());
    Quick::with(capacity, size, UnitWeighter, hasher, DefaultLifecycle::default())
}

peer!(Quick<Bytes>, |quick, key, value| quick.get(key), quick.insert(key.into(), value));

// A `quick_cache` whose user stores a deadline with each value.
peer!(
    Quick<(Bytes, Instant)>,
    |quick, key, value| {
        let (value, deadline) = quick.get(key)?;
        if deadline <= Instant::now() {
            quick.remove(key);
            return None;
        }
        Some(value)
    },
    quick.insert(key.into(), (value, Instant::now() + HOUR))
);

/// moka with a time to live for each entry.
pub(crate) type Moka = moka::sync::Cache<Box<str>, (Bytes, Duration), RandomState>;

/// Creates a moka.
pub(crate) fn moka(capacity: usize) -> Moka {
    let builder = moka::sync::Cache::builder().max_capacity(size(capacity)).expire_after(EntryTtl);
    builder.build_with_hasher(RandomState::default())
}

struct EntryTtl;

impl moka::Expiry<Box<str>, (Bytes, Duration)> for EntryTtl {
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

peer!(
    Moka,
    |moka, key, value| moka.get(key).map(|(value, _)| value),
    moka.insert(key.into(), (value, HOUR))
);

/// foyer's cache in memory with S3-FIFO.
pub(crate) type Foyer = foyer_memory::Cache<Box<str>, Bytes, RandomState>;

/// Creates a foyer.
pub(crate) fn foyer(capacity: usize) -> Foyer {
    let builder =
        foyer_memory::CacheBuilder::new(capacity).with_hash_builder(RandomState::default());
    builder.with_eviction_config(foyer_memory::S3FifoConfig::default()).build()
}

peer!(
    Foyer,
    |foyer, key, value| foyer.get(key).map(|entry| entry.value().clone()),
    foyer.insert(key.into(), value)
);

/// cached's sharded LRU with its own hasher.
pub(crate) type Cached = cached::ShardedLruCache<Box<str>, Bytes>;

peer!(Cached, |cached, key, value| cached.get(key), cached.set(key.into(), value));

fn size(capacity: usize) -> u64 {
    u64::try_from(capacity).expect("a small number")
}

/// Creates a locmem store.
pub(crate) fn locmem(max_entries: usize) -> Arc<dyn Cache> {
    let options = LocMemOptions::default().max_entries(max_entries);
    Arc::new(LocMemCache::new(options).expect("valid options"))
}

peer!(
    Arc<dyn Cache>,
    |cache, key, value| match cache.get_now(key)?.expect("no error")? {
        Value::Bytes(value) => Some(value),
        other => unreachable!("only bytes were stored, not {other:?}"),
    },
    cache.set_now(key, value.into(), Some(HOUR)).expect("it never waits").expect("no error")
);
