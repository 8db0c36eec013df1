//! What is counted.

use std::{hint::black_box, sync::Arc, time::Instant};

use bytes::Bytes;
use cache_core::{CacheHandle, Settings, Timeout};
use cache_locmem::{LocMemCache, LocMemOptions, Policy};
use cachette_benches::{
    ready,
    workload::{VALUE, keys},
};

use crate::{
    DASHMAP, LOCMEM, MOKA, QUICK, QUICK_TTL, S3_FIFO,
    peers::{Map, Peer, Quick, locmem, moka, quick},
};

/// So few that the traces are short.
pub(crate) const KEYS: usize = 250;
/// So many that locmem has shards. Nothing is evicted.
const CAPACITY: usize = 100_000;

/// A call with a key.
type Call = Box<dyn Fn(&str) + Sync>;

/// What is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Job {
    /// A get of `Bytes` through the handle.
    Get,
    /// A get of a shared object through the handle.
    GetShared,
    /// A set of `Bytes` through the handle.
    Set,
    /// A hit through the trait of the store.
    StoreHit,
    StoreSet,
    /// A set of a value that has its reference count.
    StoreSetShareable,
}

impl Job {
    pub(crate) const ALL: [Self; 6] = [
        Self::Get,
        Self::GetShared,
        Self::Set,
        Self::StoreHit,
        Self::StoreSet,
        Self::StoreSetShareable,
    ];

    /// Fills a cache. Returns the call of a user who has this cache.
    pub(crate) fn call(self, candidate: &str) -> Call {
        match (self, candidate) {
            (Self::Get | Self::GetShared | Self::Set, LOCMEM) => self.on_handle(Policy::Lru),
            (Self::Get | Self::GetShared | Self::Set, S3_FIFO) => self.on_handle(Policy::S3Fifo),
            (Self::GetShared, QUICK) => {
                let cache: Quick<Arc<String>> = quick(CAPACITY);
                names().for_each(|key| cache.insert(key, Arc::new(object())));
                Box::new(move |key| drop(black_box(cache.get(key))))
            }
            (_, LOCMEM) => self.on(locmem(CAPACITY)),
            (_, DASHMAP) => self.on(Map::default()),
            (_, QUICK) => self.on(quick::<Bytes>(CAPACITY)),
            (_, QUICK_TTL) => self.on(quick::<(Bytes, Instant)>(CAPACITY)),
            (_, MOKA) => self.on(moka(CAPACITY)),
            _ => panic!("no candidate {candidate:?} for {self:?}"),
        }
    }

    fn on<P: Peer + 'static>(self, cache: P) -> Call {
        names().for_each(|key| cache.store(&key, fresh_value()));
        match self {
            Self::Get | Self::GetShared | Self::StoreHit => {
                Box::new(move |key| drop(black_box(cache.look_up(key))))
            }
            Self::Set | Self::StoreSet => Box::new(move |key| cache.store(key, fresh_value())),
            Self::StoreSetShareable => Box::new(move |key| cache.store(key, shareable_value())),
        }
    }

    fn on_handle(self, policy: Policy) -> Call {
        let options = LocMemOptions::default().max_entries(CAPACITY).policy(policy);
        let store = Arc::new(LocMemCache::new(options).expect("valid options"));
        let settings = Settings { key_prefix: "shop".into(), ..Settings::default() };
        let cache = CacheHandle::new("default", store, settings);
        let set = |cache: &CacheHandle, key: &str| {
            ready(cache.set(key, &fresh_value(), Timeout::Default)).expect("no error");
        };
        names().for_each(|key| set(&cache, &key));
        match self {
            Self::Set | Self::StoreSet | Self::StoreSetShareable => {
                Box::new(move |key| set(&cache, key))
            }
            Self::Get | Self::StoreHit => {
                Box::new(move |key| drop(black_box(ready(cache.get::<Bytes>(key)))))
            }
            Self::GetShared => {
                for key in names() {
                    let object = Arc::new(object());
                    ready(cache.set_shared(&key, &object, Timeout::Default)).expect("no error");
                }
                Box::new(move |key| drop(black_box(ready(cache.get_shared::<String>(key)))))
            }
        }
    }
}

fn names() -> impl Iterator<Item = Box<str>> {
    keys("there", KEYS).into_iter()
}

fn fresh_value() -> Bytes {
    Bytes::copy_from_slice(black_box(&VALUE))
}

fn shareable_value() -> Bytes {
    let value = fresh_value();
    drop(value.clone());
    value
}

fn object() -> String {
    "v".repeat(100)
}
