//! The store of cachette that stores nothing: for development, and for disabling a cache by
//! configuration.
//!
//! ```
//! # use std::sync::Arc;
//! # use cache_core::{CacheHandle, Result, Settings, Timeout};
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<()> {
//! use cache_dummy::DummyCache;
//!
//! let cache = CacheHandle::new("default", Arc::new(DummyCache), Settings::default());
//! cache.set("greeting", "hello", Timeout::Default).await?;
//! assert_eq!(cache.get::<String>("greeting").await?, None);
//! # Ok(()) }
//! ```
//!
//! It returns what [Django's dummy cache][django] returns: every read is a miss, `add` succeeds,
//! and `incr` finds no key. `incr_or_set` returns its initial value each time, so a rate limiter
//! lets every call pass. Every caller gets a [lease](cache_core::Leases), so that none waits for
//! another. The handle still checks keys and encodes values, so that errors of other stores also
//! show up here. OPTIONS are ignored.
//!
//! # Performance
//!
//! No operation waits.
//!
//! [django]: https://docs.djangoproject.com/en/5.2/topics/cache/#dummy-caching-for-development

use std::time::Duration;

use cache_core::{
    Acquired, Ask, Cache, Finding, Lease, Leases, Result, Stats, Ttl, Value, async_trait,
};

/// A store that stores nothing. See the [crate documentation](crate).
#[derive(Clone, Copy, Debug, Default)]
pub struct DummyCache;

#[async_trait]
impl Cache for DummyCache {
    fn name(&self) -> &str {
        "dummy"
    }
    fn get_now(&self, _: &str) -> Option<Result<Option<Value>>> {
        Some(Ok(None))
    }
    fn set_now(&self, _: &str, _: Value, _: Option<Duration>) -> Result<Result<()>, Value> {
        Ok(Ok(()))
    }
    async fn get(&self, _: &str) -> Result<Option<Value>> {
        Ok(None)
    }
    async fn set(&self, _: &str, _: Value, _: Option<Duration>) -> Result<()> {
        Ok(())
    }
    async fn add(&self, _: &str, _: Value, _: Option<Duration>) -> Result<bool> {
        Ok(true)
    }
    async fn touch(&self, _: &str, _: Option<Duration>) -> Result<bool> {
        Ok(false)
    }
    async fn incr(&self, _: &str, _: i64) -> Result<Option<i64>> {
        Ok(None)
    }
    async fn incr_or_set(&self, _: &str, _: i64, initial: i64, _: Option<Duration>) -> Result<i64> {
        Ok(initial)
    }
    async fn get_and_touch(&self, _: &str, _: Option<Duration>) -> Result<Option<Value>> {
        Ok(None)
    }
    async fn delete(&self, _: &str) -> Result<bool> {
        Ok(false)
    }
    async fn ttl(&self, _: &str) -> Result<Option<Ttl>> {
        Ok(None)
    }
    async fn clear(&self) -> Result<()> {
        Ok(())
    }
    async fn stats(&self) -> Result<Stats> {
        Ok(Stats { entries: Some(0), expired: Some(0), bytes: Some(0), ..Stats::default() })
    }
    async fn diagnose(&self) -> Result<Vec<Finding>> {
        let finding = Finding::info("dummy", "stores nothing, so that every read is a miss");
        Ok(vec![finding.with_remedy("configure another store, except for development")])
    }
    async fn purge_expired(&self, _: u64) -> Result<Option<u64>> {
        Ok(Some(0))
    }
    fn leases(&self) -> Option<&dyn Leases> {
        Some(self)
    }
}

/// Always grants a lease, and stores nothing.
#[async_trait]
impl Leases for DummyCache {
    async fn acquire(&self, _: &str, _: Ask<'_>, _: Duration) -> Result<Acquired> {
        Ok(Acquired { value: None, lease: Some(Lease::new(())) })
    }
    async fn fill(&self, _: &str, _: Lease, _: Value, _: Option<Duration>) -> Result<bool> {
        Ok(true)
    }
    async fn release(&self, _: &str, _: Lease, _: Duration) -> Result<()> {
        Ok(())
    }
    async fn revoke(&self, _: &str, _: &str) -> Result<()> {
        Ok(())
    }
}
