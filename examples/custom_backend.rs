//! A store of one's own: a shelf of items behind a lock, configured by its name and held to the conformance suite.
//!
//! `cargo run --example custom_backend`, and `cargo test --example custom_backend` for the suite.

#![allow(clippy::print_stdout, reason = "an example shows what it does by printing")]

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
struct Shelf {
    items: Mutex<HashMap<String, Item>>,
    clock: Clock,
}

#[derive(Debug)]
struct Item {
    value: Value,
    deadline: Moment,
}

impl Shelf {
    fn new(clock: Clock) -> Self {
        Self { items: Mutex::default(), clock }
    }

    fn item(&self, value: Value, ttl: Option<Duration>) -> Item {
        Item { value, deadline: ttl.map_or(Moment::NEVER, |ttl| self.clock.now() + ttl) }
    }

    /// The items that have not expired. All of them are looked at: a real store would be more careful.
    fn items(&self) -> MutexGuard<'_, HashMap<String, Item>> {
        let mut items = self.items.lock().expect("nobody panics while holding the lock");
        items.retain(|_, item| !self.clock.has_passed(item.deadline));
        items
    }
}

#[async_trait]
impl Cache for Shelf {
    fn name(&self) -> &str {
        "shelf"
    }
    async fn get(&self, key: &str) -> Result<Option<Value>> {
        Ok(self.items().get(key).map(|item| item.value.clone()))
    }
    async fn set(&self, key: &str, value: Value, ttl: Option<Duration>) -> Result<()> {
        self.items().insert(key.into(), self.item(value, ttl));
        Ok(())
    }
    async fn add(&self, key: &str, value: Value, ttl: Option<Duration>) -> Result<bool> {
        let mut items = self.items();
        let absent = !items.contains_key(key);
        items.entry(key.into()).or_insert_with(|| self.item(value, ttl));
        Ok(absent)
    }
    async fn touch(&self, key: &str, ttl: Option<Duration>) -> Result<bool> {
        let mut items = self.items();
        let Some(item) = items.get_mut(key) else { return Ok(false) };
        *item = self.item(item.value.clone(), ttl);
        Ok(true)
    }
    async fn incr(&self, key: &str, delta: i64) -> Result<Option<i64>> {
        let mut items = self.items();
        let Some(item) = items.get_mut(key) else { return Ok(None) };
        let Value::Int(number) = item.value else { return Err(Error::not_an_integer(key)) };
        let sum = number.checked_add(delta).ok_or_else(|| Error::overflow(key, number, delta))?;
        item.value = Value::Int(sum);
        Ok(Some(sum))
    }
    async fn delete(&self, key: &str) -> Result<bool> {
        Ok(self.items().remove(key).is_some())
    }
    async fn ttl(&self, key: &str) -> Result<Option<Ttl>> {
        let Some(deadline) = self.items().get(key).map(|item| item.deadline) else {
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
        self.items().clear();
        Ok(())
    }
}

#[tokio::main]
async fn main() -> Result<()> {
    let caches = Caches::builder()
        .backend("shelf", async |config: StoreConfig| Ok(Shelf::new(config.clock)))
        .toml("[default]\nbackend = 'shelf'\nkey_prefix = 'mine'")
        .build()
        .await?;
    let cache = caches.get("default")?;

    cache.set("books", &41, Timeout::Never).await?;
    println!("{} books on the {}", cache.incr("books", 1).await?, cache.store().name());
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
        Harness::new(move || std::future::ready(Shelf::new(clock.clone()))).driven_by(time)
    }

    cache_conformance::suite!(harness());
}
