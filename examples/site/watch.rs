//! A wrapper that counts and times the calls of a store.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use cachette::{Acquired, Ask, Cache, Lease, Leases, Result, Value, async_trait, forward_cache};
use serde_json::json;

use crate::timings::Timings;

#[derive(Debug)]
pub(crate) struct Watch {
    store: Arc<dyn Cache>,
    hits: AtomicU64,
    misses: AtomicU64,
    writes: AtomicU64,
    errors: AtomicU64,
    hit: Timings,
    miss: Timings,
    write: Timings,
}

impl Watch {
    pub(crate) fn new(store: Arc<dyn Cache>) -> Self {
        let zero = || AtomicU64::new(0);
        Self {
            store,
            hits: zero(),
            misses: zero(),
            writes: zero(),
            errors: zero(),
            hit: Timings::default(),
            miss: Timings::default(),
            write: Timings::default(),
        }
    }

    /// The counts and the timings since the start.
    pub(crate) fn statistics(&self) -> serde_json::Value {
        let [hits, misses, writes, errors] =
            [&self.hits, &self.misses, &self.writes, &self.errors].map(|count| count.load(Relaxed));
        json!({
            "hits": hits, "misses": misses, "writes": writes, "errors": errors,
            "hit": self.hit.percentiles(), "miss": self.miss.percentiles(),
            "write": self.write.percentiles(),
        })
    }

    fn record_lookup<T>(
        &self,
        start: Instant,
        result: &Result<T>,
        is_hit: impl FnOnce(&T) -> bool,
    ) {
        let elapsed = start.elapsed();
        let (count, timings) = match result {
            Ok(found) if is_hit(found) => (&self.hits, &self.hit),
            Ok(_) => (&self.misses, &self.miss),
            Err(_) => {
                self.errors.fetch_add(1, Relaxed);
                return;
            }
        };
        count.fetch_add(1, Relaxed);
        timings.add(elapsed);
    }

    fn wrapped_leases(&self) -> &dyn Leases {
        self.store.leases().expect("`leases` returned this wrapper")
    }

    fn record_write<T>(&self, start: Instant, result: &Result<T>) {
        let count = if result.is_ok() { &self.writes } else { &self.errors };
        count.fetch_add(1, Relaxed);
        self.write.add(start.elapsed());
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl Cache for Watch {
    forward_cache!(
        self.store,
        except get, get_now, get_many, get_and_touch, contains, set, set_now, set_many, add, incr,
        incr_or_set, leases
    );

    async fn get(&self, key: &str) -> Result<Option<Value>> {
        let start = Instant::now();
        let result = self.store.get(key).await;
        self.record_lookup(start, &result, Option::is_some);
        result
    }

    fn get_now(&self, key: &str) -> Option<Result<Option<Value>>> {
        let start = Instant::now();
        let result = self.store.get_now(key)?;
        self.record_lookup(start, &result, Option::is_some);
        Some(result)
    }

    async fn get_many(&self, keys: &[&str]) -> Result<Vec<Option<Value>>> {
        let start = Instant::now();
        let result = self.store.get_many(keys).await;
        for index in 0..keys.len() {
            self.record_lookup(start, &result, |values| {
                values.get(index).is_some_and(Option::is_some)
            });
        }
        result
    }

    async fn get_and_touch(&self, key: &str, ttl: Option<Duration>) -> Result<Option<Value>> {
        let start = Instant::now();
        let result = self.store.get_and_touch(key, ttl).await;
        self.record_lookup(start, &result, Option::is_some);
        result
    }

    async fn contains(&self, key: &str) -> Result<bool> {
        let start = Instant::now();
        let result = self.store.contains(key).await;
        self.record_lookup(start, &result, |is_present| *is_present);
        result
    }

    async fn set(&self, key: &str, value: Value, ttl: Option<Duration>) -> Result<()> {
        let start = Instant::now();
        let result = self.store.set(key, value, ttl).await;
        self.record_write(start, &result);
        result
    }

    fn set_now(&self, key: &str, value: Value, ttl: Option<Duration>) -> Result<Result<()>, Value> {
        let start = Instant::now();
        let result = self.store.set_now(key, value, ttl)?;
        self.record_write(start, &result);
        Ok(result)
    }

    async fn set_many(
        &self,
        entries: &[(&str, Value)],
        ttl: Option<Duration>,
    ) -> Result<Vec<usize>> {
        let start = Instant::now();
        let result = self.store.set_many(entries, ttl).await;
        self.record_write(start, &result);
        result
    }

    async fn add(&self, key: &str, value: Value, ttl: Option<Duration>) -> Result<bool> {
        let start = Instant::now();
        let result = self.store.add(key, value, ttl).await;
        self.record_write(start, &result);
        result
    }

    async fn incr(&self, key: &str, delta: i64) -> Result<Option<i64>> {
        let start = Instant::now();
        let result = self.store.incr(key, delta).await;
        self.record_write(start, &result);
        result
    }

    async fn incr_or_set(
        &self,
        key: &str,
        delta: i64,
        initial: i64,
        ttl: Option<Duration>,
    ) -> Result<i64> {
        let start = Instant::now();
        let result = self.store.incr_or_set(key, delta, initial, ttl).await;
        self.record_write(start, &result);
        result
    }

    fn leases(&self) -> Option<&dyn Leases> {
        self.store.leases().map(|_| self as &dyn Leases)
    }
}

#[async_trait]
impl Leases for Watch {
    async fn acquire(&self, key: &str, ask: Ask<'_>, hold: Duration) -> Result<Acquired> {
        let start = Instant::now();
        let result = self.wrapped_leases().acquire(key, ask, hold).await;
        self.record_lookup(start, &result, |acquired| acquired.value.is_some());
        result
    }

    async fn fill(
        &self,
        key: &str,
        lease: Lease,
        value: Value,
        ttl: Option<Duration>,
    ) -> Result<bool> {
        let start = Instant::now();
        let result = self.wrapped_leases().fill(key, lease, value, ttl).await;
        self.record_write(start, &result);
        result
    }

    async fn release(&self, key: &str, lease: Lease, keep: Duration) -> Result<()> {
        self.wrapped_leases().release(key, lease, keep).await
    }

    async fn revoke(&self, key: &str, side: &str) -> Result<()> {
        self.wrapped_leases().revoke(key, side).await
    }
}
