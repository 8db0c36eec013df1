//! The store of cachette that stores nothing: for development, and for switching a cache off by configuration.
//!
//! It answers what [Django's](https://docs.djangoproject.com/en/5.2/topics/cache/#dummy-caching-for-development) does: every
//! read misses, `add` succeeds, `incr` finds nothing. Keys and values are checked and encoded as ever, so that what goes
//! wrong with another store goes wrong here as well. OPTIONS are not looked at.

use std::time::Duration;

use cache_core::{Cache, Result, Stats, Ttl, Value, async_trait};

/// A store that stores nothing.
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
    async fn purge_expired(&self, _: u64) -> Result<Option<u64>> {
        Ok(Some(0))
    }
}
