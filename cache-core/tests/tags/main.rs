//! Tags of values.

#[cfg(feature = "fetch")]
mod fetch;
mod model;
mod records;
mod round_trips;
mod verbs;

use std::{sync::Arc, time::Duration};

use cache_core::{
    Cache, CacheHandle, ManualClock, Settings, Tags, Timeout,
    tags::{Generation, GenerationId},
};
use cache_locmem::{LocMemCache, LocMemOptions};
use cache_testing::{Recorder, Remote};

const TTL: Duration = Duration::from_secs(300);
const DAY: Duration = Duration::from_secs(86_400);

/// A cache with a clock for its store and its handle, and a record of its calls.
struct Fixture {
    time: ManualClock,
    recorder: Recorder,
    cache: CacheHandle,
}

impl Fixture {
    /// A store that processes share.
    fn remote() -> Self {
        let time = ManualClock::new();
        let store = Remote::new(locmem(&time));
        Self::on(time, Arc::new(store))
    }

    /// A store of this process.
    fn local() -> Self {
        let time = ManualClock::new();
        let store = locmem(&time);
        Self::on(time, store)
    }

    fn both() -> [Self; 2] {
        [Self::remote(), Self::local()]
    }

    fn on(time: ManualClock, store: Arc<dyn Cache>) -> Self {
        // Generations are younger than the beginning of time.
        time.advance(DAY);
        let recorder = Recorder::new(store);
        let store = Arc::new(recorder.clone());
        let cache = CacheHandle::new("default", store, Settings::default());
        Self { cache: cache.with_clock(time.clock()), time, recorder }
    }

    /// A handle that shares nothing with the first one but the store, like that of another process.
    fn other(&self) -> CacheHandle {
        self.cache.with_store(Arc::clone(self.cache.store()))
    }

    async fn set(&self, key: &str, value: &str, tags: &[&str]) {
        let tags = Tags::of(tags);
        self.cache.set_with(key, value, TTL, &tags).await.expect("the store works");
    }

    async fn get(&self, key: &str) -> Option<String> {
        self.cache.get(key).await.expect("the store works")
    }

    /// Removes the record of a tag, as a full store may.
    async fn evict(&self, tag: &str) -> bool {
        let record = self.cache.tag_record(tag);
        self.cache.store().delete(&record).await.expect("the store works")
    }

    /// The number of round trips of `call`.
    async fn round_trips<T>(&self, call: impl Future<Output = T>) -> usize {
        self.recorder.reset();
        call.await;
        self.recorder.round_trips()
    }
}

fn locmem(time: &ManualClock) -> Arc<LocMemCache> {
    let store = LocMemCache::with_clock(LocMemOptions::default(), time.clock());
    Arc::new(store.expect("the options are valid"))
}

#[test]
fn generations_of_different_stores_are_different() {
    let (one, other) = (LocMemCache::default(), LocMemCache::default());
    assert_eq!(GenerationId::new(&one, "k"), GenerationId::new(&one, "k"));
    assert_ne!(GenerationId::new(&one, "k"), GenerationId::new(&one, "l"));
    assert_ne!(GenerationId::new(&one, "k"), GenerationId::new(&other, "k"));
}

#[tokio::test]
async fn record_of_a_tag_is_shared_by_all_versions_and_separate_from_entries() {
    let Fixture { cache, .. } = Fixture::remote();
    assert_eq!(cache.tag_record("user:42"), ":~:tag:user:42");
    assert_eq!(cache.version(2).tag_record("user:42"), ":~:tag:user:42");
    cache.set_with("k", "v", Timeout::Default, &Tags::of(["t"])).await.expect("the store works");
    let record = cache.store().get(":~:tag:t").await.expect("the store works");
    let cache_core::Value::Bytes(record) = record.expect("it was created") else {
        panic!("a record is bytes");
    };
    assert!(Generation::from_bytes(&record[2..]).is_some());
}
