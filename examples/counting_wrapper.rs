//! A wrapper that counts the calls of every store: `cargo run --example counting_wrapper`.

#![allow(clippy::print_stdout, reason = "an example prints its results")]

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::{sync::Arc, time::Duration};

use cachette::{
    Acquired, Ask, Cache, Caches, Lease, Leases, Result, Timeout, Value, async_trait, forward_cache,
};

#[derive(Debug)]
struct Counting {
    store: Arc<dyn Cache>,
    gets: AtomicU64,
    sets: AtomicU64,
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl Cache for Counting {
    forward_cache!(self.store, except get, get_now, set, set_now, leases);

    async fn get(&self, key: &str) -> Result<Option<Value>> {
        self.gets.fetch_add(1, Relaxed);
        self.store.get(key).await
    }

    // After `None`, the caller calls `get`, which counts.
    fn get_now(&self, key: &str) -> Option<Result<Option<Value>>> {
        let result = self.store.get_now(key)?;
        self.gets.fetch_add(1, Relaxed);
        Some(result)
    }

    async fn set(&self, key: &str, value: Value, ttl: Option<Duration>) -> Result<()> {
        self.sets.fetch_add(1, Relaxed);
        self.store.set(key, value, ttl).await
    }

    fn set_now(&self, key: &str, value: Value, ttl: Option<Duration>) -> Result<Result<()>, Value> {
        let result = self.store.set_now(key, value, ttl)?;
        self.sets.fetch_add(1, Relaxed);
        Ok(result)
    }

    // `get_or_set` reads and stores through the leases of a store that has them.
    fn leases(&self) -> Option<&dyn Leases> {
        self.store.leases().map(|_| self as &dyn Leases)
    }
}

impl Counting {
    fn wrapped_leases(&self) -> &dyn Leases {
        self.store.leases().expect("`leases` returned this wrapper")
    }
}

#[async_trait]
impl Leases for Counting {
    async fn acquire(&self, key: &str, ask: Ask<'_>, hold: Duration) -> Result<Acquired> {
        self.gets.fetch_add(1, Relaxed);
        self.wrapped_leases().acquire(key, ask, hold).await
    }

    async fn fill(
        &self,
        key: &str,
        lease: Lease,
        value: Value,
        ttl: Option<Duration>,
    ) -> Result<bool> {
        self.sets.fetch_add(1, Relaxed);
        self.wrapped_leases().fill(key, lease, value, ttl).await
    }

    async fn release(&self, key: &str, lease: Lease, keep: Duration) -> Result<()> {
        self.wrapped_leases().release(key, lease, keep).await
    }

    async fn revoke(&self, key: &str, side: &str) -> Result<()> {
        self.wrapped_leases().revoke(key, side).await
    }
}

#[tokio::main]
async fn main() -> Result<()> {
    let count = |store| Counting { store, gets: AtomicU64::new(0), sets: AtomicU64::new(0) };
    let caches = Caches::builder().url("default", "locmem://").wrap(count).build().await?;
    let cache = caches.get("default")?;

    cache.set("greeting", "hello", Timeout::Default).await?;
    for key in ["greeting", "greeting", "missing"] {
        println!("{key}: {:?}", cache.get::<String>(key).await?);
    }
    let counting = cache.store().downcast_ref::<Counting>().expect("every store is wrapped");
    println!("gets: {}, sets: {}", counting.gets.load(Relaxed), counting.sets.load(Relaxed));
    Ok(())
}
