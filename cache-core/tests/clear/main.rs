//! Clearing by a generation in the keys.

mod model;
mod outages;
mod producers;
mod round_trips;
mod verbs;

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use cache_core::{Bytes, Cache, CacheHandle, Clear, ManualClock, Settings, Value};
use cache_locmem::{LocMemCache, LocMemOptions};
use cache_testing::{Recorder, Remote};

const TTL: Duration = Duration::from_secs(300);
/// For how long another process may use the previous generation.
const MEMO: Duration = Duration::from_secs(1);

/// A cache with a clock for its store and its handle, and a record of its calls.
struct Fixture {
    time: ManualClock,
    /// Different in each test: the handles of a process share what they know of one prefix.
    prefix: String,
    recorder: Recorder,
    cache: CacheHandle,
}

impl Fixture {
    /// A store that processes share.
    fn remote() -> Self {
        let time = ManualClock::new();
        let store = locmem(&time);
        Self::on(time, Arc::new(Remote::new(store)))
    }

    fn on(time: ManualClock, store: Arc<dyn Cache>) -> Self {
        static NUMBER: AtomicUsize = AtomicUsize::new(0);
        let prefix = format!("shop{}", NUMBER.fetch_add(1, Relaxed));
        let recorder = Recorder::new(store);
        let cache = CacheHandle::new("shop", Arc::new(recorder.clone()), settings(&prefix));
        Self { cache: cache.with_clock(time.clock()), time, prefix, recorder }
    }

    fn settings(&self) -> Settings {
        settings(&self.prefix)
    }

    /// The key of the generation.
    fn record(&self) -> String {
        format!("{}:~:clear", self.prefix)
    }

    /// A handle that shares nothing with the first one but the store.
    fn other(&self) -> CacheHandle {
        self.cache.with_store(Arc::clone(self.cache.store()))
    }

    /// Clears the cache as another process does, unseen by the handles of this one.
    async fn clear_elsewhere(&self) {
        let store = self.cache.store();
        let record = store.get(&self.record()).await.expect("the store works");
        let Some(Value::Bytes(record)) = record else { panic!("the generation was read") };
        let mut changed = record.to_vec();
        let middle = changed.len() / 2;
        changed[3..middle].iter_mut().for_each(|byte| *byte = byte.wrapping_add(1));
        let changed = Value::Bytes(Bytes::from(changed));
        store.set(&self.record(), changed, None).await.expect("the store works");
    }

    /// Loses the generation, as a full store may.
    async fn evict(&self) {
        self.cache.store().delete(&self.record()).await.expect("the store works");
    }

    async fn set(&self, key: &str, value: &str) {
        self.cache.set(key, value, TTL).await.expect("the store works");
    }

    async fn get(&self, key: &str) -> Option<String> {
        self.cache.get(key).await.expect("the store works")
    }
}

fn settings(prefix: &str) -> Settings {
    Settings { key_prefix: prefix.into(), clear: Clear::Generation, ..Settings::default() }
}

fn locmem(time: &ManualClock) -> Arc<LocMemCache> {
    let store = LocMemCache::with_clock(LocMemOptions::default(), time.clock());
    Arc::new(store.expect("the options are valid"))
}

async fn get(cache: &CacheHandle, key: &str) -> Option<String> {
    cache.get(key).await.expect("the store works")
}
