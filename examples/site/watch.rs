//! A store that counts and times what the store inside it is asked.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use cachette::{Cache, Result, Value, async_trait, forward_cache};
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

    /// What was seen so far.
    pub(crate) fn read(&self) -> serde_json::Value {
        let [hits, misses, writes, errors] =
            [&self.hits, &self.misses, &self.writes, &self.errors].map(|count| count.load(Relaxed));
        json!({
            "hits": hits, "misses": misses, "writes": writes, "errors": errors,
            "hit": self.hit.read(), "miss": self.miss.read(), "write": self.write.read(),
        })
    }

    fn looked_up<T>(&self, start: Instant, answer: &Result<T>, hit: impl FnOnce(&T) -> bool) {
        let took = start.elapsed();
        let (count, timings) = match answer {
            Ok(found) if hit(found) => (&self.hits, &self.hit),
            Ok(_) => (&self.misses, &self.miss),
            Err(_) => {
                self.errors.fetch_add(1, Relaxed);
                return;
            }
        };
        count.fetch_add(1, Relaxed);
        timings.add(took);
    }

    fn wrote<T>(&self, start: Instant, answer: &Result<T>) {
        let count = if answer.is_ok() { &self.writes } else { &self.errors };
        count.fetch_add(1, Relaxed);
        self.write.add(start.elapsed());
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl Cache for Watch {
    forward_cache!(
        self.store,
        except get, get_now, get_many, contains, set, set_now, set_many, add, incr
    );

    async fn get(&self, key: &str) -> Result<Option<Value>> {
        let start = Instant::now();
        let answer = self.store.get(key).await;
        self.looked_up(start, &answer, Option::is_some);
        answer
    }

    fn get_now(&self, key: &str) -> Option<Result<Option<Value>>> {
        let start = Instant::now();
        let answer = self.store.get_now(key)?;
        self.looked_up(start, &answer, Option::is_some);
        Some(answer)
    }

    async fn get_many(&self, keys: &[&str]) -> Result<Vec<Option<Value>>> {
        let start = Instant::now();
        let answer = self.store.get_many(keys).await;
        for place in 0..keys.len() {
            self.looked_up(start, &answer, |values| values.get(place).is_some_and(Option::is_some));
        }
        answer
    }

    async fn contains(&self, key: &str) -> Result<bool> {
        let start = Instant::now();
        let answer = self.store.contains(key).await;
        self.looked_up(start, &answer, |there| *there);
        answer
    }

    async fn set(&self, key: &str, value: Value, ttl: Option<Duration>) -> Result<()> {
        let start = Instant::now();
        let answer = self.store.set(key, value, ttl).await;
        self.wrote(start, &answer);
        answer
    }

    fn set_now(&self, key: &str, value: Value, ttl: Option<Duration>) -> Result<Result<()>, Value> {
        let start = Instant::now();
        let answer = self.store.set_now(key, value, ttl)?;
        self.wrote(start, &answer);
        Ok(answer)
    }

    async fn set_many(
        &self,
        entries: &[(&str, Value)],
        ttl: Option<Duration>,
    ) -> Result<Vec<usize>> {
        let start = Instant::now();
        let answer = self.store.set_many(entries, ttl).await;
        self.wrote(start, &answer);
        answer
    }

    async fn add(&self, key: &str, value: Value, ttl: Option<Duration>) -> Result<bool> {
        let start = Instant::now();
        let answer = self.store.add(key, value, ttl).await;
        self.wrote(start, &answer);
        answer
    }

    async fn incr(&self, key: &str, delta: i64) -> Result<Option<i64>> {
        let start = Instant::now();
        let answer = self.store.incr(key, delta).await;
        self.wrote(start, &answer);
        answer
    }
}
