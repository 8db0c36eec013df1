//! What a miss of `get_or_set` and `fetch` costs, and what it leaves if something fails or changes
//! meanwhile.

mod faults;
mod late_fills;
mod round_trips;

use std::{sync::Arc, time::Duration};

use cache_core::{
    Cache, CacheHandle, ErrorKind, FetchError, Leases, ManualClock, Result, Settings, Timeout,
    async_trait, forward_cache,
};
use cache_locmem::{LocMemCache, LocMemOptions};

const PATIENCE: Duration = Duration::from_secs(5);
const TTL: Duration = Duration::from_secs(300);

/// A verb that produces missing values.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Producing {
    GetOrSet,
    Fetch,
}

impl Producing {
    const ALL: [Self; 2] = [Self::GetOrSet, Self::Fetch];

    /// Calls the verb for the key `k`. If there is no value, it waits for `meanwhile` and then
    /// produces `value`.
    async fn call<F>(
        self,
        cache: &CacheHandle,
        value: i64,
        meanwhile: impl FnOnce() -> F + Send + 'static,
    ) -> Result<i64>
    where
        F: Future<Output = ()> + Send + 'static,
    {
        match self {
            Self::GetOrSet => {
                let produce = async || {
                    meanwhile().await;
                    value
                };
                cache.get_or_set("k", TTL, produce).await
            }
            Self::Fetch => {
                let produce = async move |_| {
                    meanwhile().await;
                    value
                };
                let fetched = cache.fetch("k", produce).ttl(TTL).jitter(0.0).await;
                fetched.map_err(|error| match error {
                    FetchError::Cache(error) => error,
                    other => cache_core::Error::new(ErrorKind::Backend, other.to_string()),
                })
            }
        }
    }

    /// Like [`call`](Self::call), without waiting.
    async fn produce(self, cache: &CacheHandle, value: i64) -> Result<i64> {
        self.call(cache, value, async || ()).await
    }
}

fn locmem(time: &ManualClock) -> Arc<dyn Cache> {
    let store = LocMemCache::with_clock(LocMemOptions::default(), time.clock());
    Arc::new(store.expect("the options are valid"))
}

/// A handle like that of another process, if the store is shared with other ones.
fn process(store: &Arc<dyn Cache>, time: &ManualClock) -> CacheHandle {
    let settings = Settings { patience: PATIENCE, ..Settings::default() };
    CacheHandle::new("default", Arc::clone(store), settings).with_clock(time.clock())
}

async fn cached(cache: &CacheHandle) -> Option<i64> {
    cache.get("k").await.expect("the store works")
}

/// A wrapper that was written before there were leases.
#[derive(Debug)]
struct Leaseless(Arc<dyn Cache>);

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl Cache for Leaseless {
    forward_cache!(self.0, except leases);

    fn leases(&self) -> Option<&dyn Leases> {
        None
    }
}
