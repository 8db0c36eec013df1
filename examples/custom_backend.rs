//! A custom store: a `HashMap` behind a lock, configured by name, tested by the conformance suite.
//!
//! Run it with `cargo run --example custom_backend`, and the suite with
//! `cargo test --example custom_backend`.

#![allow(clippy::print_stdout, reason = "an example prints its results")]

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard},
    time::Duration,
};

use cachette::{
    Cache, Caches, Clock, Error, Moment, Result, Timeout, Ttl, Value, async_trait,
    config::StoreConfig,
};

#[derive(Debug)]
struct MapCache {
    entries: Mutex<HashMap<String, Entry>>,
    clock: Clock,
}

#[derive(Debug)]
struct Entry {
    value: Value,
    deadline: Moment,
}

impl MapCache {
    fn new(clock: Clock) -> Self {
        Self { entries: Mutex::default(), clock }
    }

    fn entry(&self, value: Value, ttl: Option<Duration>) -> Entry {
        Entry { value, deadline: ttl.map_or(Moment::NEVER, |ttl| self.clock.now() + ttl) }
    }

    /// Removes expired entries and returns the others. A real store would not scan all of them.
    fn entries(&self) -> MutexGuard<'_, HashMap<String, Entry>> {
        let mut entries = self.entries.lock().expect("no panic while the lock is held");
        entries.retain(|_, entry| !self.clock.has_passed(entry.deadline));
        entries
    }
}

#[async_trait]
impl Cache for MapCache {
    fn name(&self) -> &str {
        "map"
    }
    async fn get(&self, key: &str) -> Result<Option<Value>> {
        Ok(self.entries().get(key).map(|entry| entry.value.clone()))
    }
    async fn set(&self, key: &str, value: Value, ttl: Option<Duration>) -> Result<()> {
        self.entries().insert(key.into(), self.entry(value, ttl));
        Ok(())
    }
    async fn add(&self, key: &str, value: Value, ttl: Option<Duration>) -> Result<bool> {
        let mut entries = self.entries();
        let is_absent = !entries.contains_key(key);
        entries.entry(key.into()).or_insert_with(|| self.entry(value, ttl));
        Ok(is_absent)
    }
    async fn touch(&self, key: &str, ttl: Option<Duration>) -> Result<bool> {
        let mut entries = self.entries();
        let Some(entry) = entries.get_mut(key) else { return Ok(false) };
        *entry = self.entry(entry.value.clone(), ttl);
        Ok(true)
    }
    async fn incr(&self, key: &str, delta: i64) -> Result<Option<i64>> {
        let mut entries = self.entries();
        let Some(entry) = entries.get_mut(key) else { return Ok(None) };
        let Value::Int(number) = entry.value else { return Err(Error::not_an_integer(key)) };
        let sum = number.checked_add(delta).ok_or_else(|| Error::overflow(key, number, delta))?;
        entry.value = Value::Int(sum);
        Ok(Some(sum))
    }
    async fn delete(&self, key: &str) -> Result<bool> {
        Ok(self.entries().remove(key).is_some())
    }
    async fn ttl(&self, key: &str) -> Result<Option<Ttl>> {
        let Some(deadline) = self.entries().get(key).map(|entry| entry.deadline) else {
            return Ok(None);
        };
        let left = deadline.since(self.clock.now());
        Ok(if deadline == Moment::NEVER {
            Some(Ttl::Never)
        } else {
            (!left.is_zero()).then_some(Ttl::Left(left))
        })
    }
    async fn clear(&self) -> Result<()> {
        self.entries().clear();
        Ok(())
    }
}

#[tokio::main]
async fn main() -> Result<()> {
    let caches = Caches::builder()
        .backend("map", async |config: StoreConfig| Ok(MapCache::new(config.clock)))
        .toml("[default]\nbackend = 'map'\nkey_prefix = 'example'")
        .build()
        .await?;
    let cache = caches.get("default")?;

    cache.set("visits", &41, Timeout::Never).await?;
    println!("{} visits in the {} store", cache.incr("visits", 1).await?, cache.store().name());
    Ok(())
}

#[cfg(test)]
mod tests {
    use cache_conformance::Harness;
    use cachette::ManualClock;

    use super::*;

    fn harness() -> Harness {
        let time = ManualClock::new();
        let clock = time.clock();
        Harness::new(move || std::future::ready(MapCache::new(clock.clone()))).driven_by(time)
    }

    cache_conformance::suite!(harness());
}
